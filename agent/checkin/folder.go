package checkin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path/filepath"
	"time"

	"prlagent/agent/protocol"
	"prlagent/platform/safefile"
	"prlagent/store"
)

// Refresh takes over what there is of content on this Mac: the policy of the
// configuration, and a folder of signed ones that was changed. It gives events.
// While an exchange runs it does nothing: that reads the folder when it ends, and
// the next Refresh goes on. Where the folder is not good, it is read again only
// if it was changed a moment ago, or retry asks for that.
func (c *Client) Refresh(ctx context.Context, retry bool) []protocol.Event {
	if !c.exchangeMutex.TryLock() {
		return nil
	}
	defer c.exchangeMutex.Unlock()
	e := &exchange{client: c, ctx: ctx}
	err := c.keepDictionary()
	if err == nil && c.options.ContentFolder != "" {
		err = e.refreshFolder(retry)
	}
	if err != nil && retry {
		c.options.Log.Warn().Str("detail", c.explainError(err)).Msg("read the policy on this Mac")
	}
	return e.outcome.Events
}

// folderStamp changes with the head of a group, and with what policies there are.
func (c *Client) folderStamp(group string) string {
	root := c.options.ContentFolder
	return fmt.Sprintf("%s %s %s", group, safefile.Stamp(filepath.Join(root, "heads", group+".dsse.json")), safefile.Stamp(filepath.Join(root, "policies")))
}

// refreshFolder reads the group's head and its policy if they are not as they
// were, or, with retry, were not good. Only the store's errors, and those of the identity, are
// errors: all others are the content's problem.
func (e *exchange) refreshFolder(retry bool) error {
	c := e.client
	if !c.options.hasHeads() {
		return nil
	}
	var record exchangeRecord
	var problem contentProblem
	err := c.options.Store.View(func(tx *store.Tx) (err error) {
		if _, err = exchangeRecords.Get(tx, onlyKey, &record); err == nil {
			_, err = contentProblems.Get(tx, onlyKey, &problem)
		}
		return err
	})
	if err != nil {
		return err
	}
	group := c.groupOf(&record).ID
	stamp := c.folderStamp(group)
	if group == "" || c.sawFolder(stamp, problem.Code == "") && (problem.Code == "" || !retry) {
		return nil
	}
	if err := errors.Join(c.loadIdentity(), e.shareMarks()); err != nil {
		return err
	}
	stored, _, err := c.storedPolicy()
	if err != nil {
		return err
	}
	if err = e.fetchContent(stored, group); store.Failed(err) {
		return err
	}
	c.noteFolder(stamp)
	if err == nil {
		return e.recordContentProblem("", "")
	}
	e.outcome.Code, e.outcome.Detail = contentCode(err), c.explainError(err)
	return e.recordContentProblem(e.outcome.Code, e.outcome.Detail)
}

// folderSettles is for how long whoever fills the folder may not have finished: a
// file gets its name before its content, which no stamp shows.
const folderSettles = 10 * time.Second

// folderReading is how the folder was when it was read; zero before.
type folderReading struct {
	stamp string
	since time.Time // first read with this stamp
}

// sawFolder reports whether the folder was like this when it was read. What was not
// good then does not count until the folder has settled.
func (c *Client) sawFolder(stamp string, good bool) bool {
	c.stateMutex.Lock()
	defer c.stateMutex.Unlock()
	return c.folderSeen.stamp == stamp && (good || c.options.Now().Sub(c.folderSeen.since).Abs() > folderSettles)
}

// noteFolder notes how the folder was before it was read.
func (c *Client) noteFolder(stamp string) {
	c.stateMutex.Lock()
	defer c.stateMutex.Unlock()
	if c.folderSeen.stamp != stamp {
		c.folderSeen = folderReading{stamp, c.options.Now()}
	}
}

// readContent reads a file of the folder as a server would give it. Nobody but
// root can have changed it, and no link is followed.
func (c *Client) readContent(limit int, folder, name string) (*portalAnswer, error) {
	data, err := safefile.ReadGuardedFile(filepath.Join(c.options.ContentFolder, folder, name), int64(limit))
	switch {
	case err == nil:
		return &portalAnswer{status: http.StatusOK, header: http.Header{}, body: data}, nil
	case errors.Is(err, fs.ErrNotExist) && folder == "heads":
		return &portalAnswer{status: http.StatusNotFound}, nil
	case errors.Is(err, safefile.ErrTooLarge):
		err = errors.Join(err, protocol.ErrTooLarge)
	}
	code := protocol.CodeOf(err)
	if code == "" {
		code = protocol.CodeContentUnreadable
	}
	return nil, withCode(code, err)
}
