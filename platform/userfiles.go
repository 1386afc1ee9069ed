package platform

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"prlagent/platform/tool"
)

// Helper is our own program, which also answers questions about a user's files
// when it is run as that user with HelperCommand: it then is AnswerFileQuestions
// on its standard input.
const (
	Helper        = "/Library/Application Support/prlagent/bin/prlagentd"
	HelperCommand = "look"
)

// Limits of one look at a user's files.
const (
	maxFileQuestions = 1024
	maxFileContent   = 16 << 20  // bytes of all files that are read together, and of what is answered about them; later ones are safefile.ErrTooLarge
	maxFileFields    = 512 << 10 // bytes of what is answered about one file; more is safefile.ErrTooLarge

	lookLimit     = 20 * time.Second // a dead mount holds the child no longer
	maxUserPath   = 4096             // bytes; a Mac's own limit is 1,024
	maxAnswerLine = 512              // bytes of an answer without the fields
)

// FileQuestion asks about one path under a user's control.
type FileQuestion struct {
	Path   string // absolute Mac path; what stands in it is the user's word
	Reader string // empty: only what lies there; else what the reader of that name finds in the content of a regular file
	Space  bool   // of a folder also what it takes, and what is free: every file in it is looked at
}

// FileReader reads the fields of one kind of file that root may know, from the
// content of a file of at most Max bytes. They leave the child as JSON; the
// content does not (H60).
type FileReader struct {
	Max  int64
	Read func(content []byte) (fields any, err error)
}

// ErrNotUnderstood is a file that its reader makes no sense of.
var ErrNotUnderstood = errors.New("not understood")

// FileAnswer is what the user's own process saw at a path. Without an Err, a
// question with a Reader has its Fields, and every other one the rest. The user can
// make that process say anything: to believe it is to believe the user about
// the user's own files.
type FileAnswer struct {
	Folder bool // a folder, and not a link to one
	// Volume is the id of a folder's volume, the same after each reboot; empty
	// where it has none. Device is st_dev, which is another one in each boot.
	Volume     string
	Device     uint64
	Inode      uint64
	UID        uint32    // who owns it; below a root the account that plays all users
	ModifiedAt time.Time // last change of its content, to the second
	Space      Space     // of a folder, where that was asked
	Fields     []byte    // one JSON value
	// Err unwraps to an error of safefile, to fs.ErrNotExist, fs.ErrPermission (and
	// unix.EPERM where the privacy control refused) or ErrNotUnderstood; it holds no
	// path and no content.
	Err error
}

// LookAtFiles has a child process with the user's uid look at paths under that
// user's control, so that root touches nothing there and no link, FIFO, device
// or dead mount of one user holds anybody else (H11). The child follows no link
// at the last component of a path, opens without blocking, reads regular files
// of that user only, and is killed after 20 s.
//
// The way is `sudo -n -H -u '#UID'`, as for the vendor's tools (facts/macos.md
// 7.1). That a child of ours started through sudo still counts as the daemon
// for the privacy grants of facts/macos.md 7 is inferred; where it does not,
// bundles in protected places are fs.ErrPermission.
//
// There is one answer for each question, in their order. When the child fails
// or is killed, the questions that it did not get to are answered with that
// error, which is returned as well: a *tool.Error, with tool_missing where there
// is no helper, and tool_refused where it is a file that somebody else than root
// could have changed.
func (m *Machine) LookAtFiles(ctx context.Context, u User, questions []FileQuestion) ([]FileAnswer, error) {
	answers := make([]FileAnswer, len(questions))
	request := fileRequest{UID: m.UIDOnDisk(u)}
	var asked []int // indexes of the questions that are sent
	for i, question := range questions {
		if err := question.validate(); err != nil || len(asked) == maxFileQuestions {
			answers[i].Err = errors.Join(errNotAsked, err)
			continue
		}
		asked = append(asked, i)
		request.Questions = append(request.Questions, pathOnDisk{[]byte(m.Path(question.Path)), question.Reader, question.Space})
	}
	if len(asked) == 0 {
		return answers, nil
	}
	result, err := m.runHelper(ctx, u, request)
	seen, parseError := parseAnswers(result.Stdout, request.Questions)
	if err == nil && parseError != nil {
		err = &tool.Error{Code: tool.CodeFailed, Path: Helper, Err: parseError}
	}
	for i, at := range asked {
		switch {
		case i < len(seen):
			answers[at] = seen[i]
		default:
			answers[at].Err = err
		}
	}
	return answers, err
}

var errNotAsked = errors.New("not a path to look at")

// validate refuses what is no path. Paths come from the tools, and so from users.
func (q FileQuestion) validate() error {
	switch {
	case !filepath.IsAbs(q.Path) || filepath.Clean(q.Path) != q.Path:
		return errors.New("not absolute and clean")
	case len(q.Path) > maxUserPath:
		return errors.New("too long")
	case strings.ContainsRune(q.Path, 0):
		return errors.New("has a zero byte")
	case len(q.Reader) > maxReaderName:
		return errors.New("no name of a reader")
	}
	return nil
}

// runHelper runs our own program as the user. Beside an error the result holds
// what the child said up to then.
func (m *Machine) runHelper(ctx context.Context, u User, request fileRequest) (tool.Result, error) {
	if err := m.CheckRootOwned(Helper); errors.Is(err, fs.ErrNotExist) {
		return tool.Result{}, &tool.Error{Code: tool.CodeMissing, Path: Helper, Err: err}
	} else if err != nil {
		return tool.Result{}, &tool.Error{Code: tool.CodeRefused, Path: Helper, Err: err}
	}
	input, err := json.Marshal(request)
	if err != nil {
		return tool.Result{}, &tool.Error{Code: tool.CodeRefused, Path: Helper, Err: err}
	}
	maxFiles := 0
	if request.Hold != nil {
		maxFiles = maxHeld
	}
	result, err := m.As(u, false).Run(ctx, &tool.Command{
		Path: Helper, Args: []string{HelperCommand}, Stdin: input, Socket: true, MaxFiles: maxFiles,
		Limit: lookLimit, MaxOutput: maxFileContent + maxFileQuestions*maxAnswerLine,
	})
	if err == nil && result.ExitCode != 0 {
		err = &tool.Error{Code: tool.CodeFailed, Path: Helper, Err: fmt.Errorf("exit code %d", result.ExitCode)}
	}
	return result, err
}
