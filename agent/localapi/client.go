package localapi

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"prlagent/agent/protocol"
)

// Error is a refusal or a failure in words for a person, with a stable code.
// Every error of a Client is one, except those of a caller's own function.
type Error struct {
	Code   protocol.Code
	Text   string
	Remedy string
	Err    error // the cause, if there is one
	// RetryAfterS is when to ask again, in seconds; 0 = the daemon does not say.
	RetryAfterS int
}

// Error gives the text.
func (e *Error) Error() string { return e.Text }

// ErrorCode gives the code.
func (e *Error) ErrorCode() string { return string(e.Code) }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

const (
	maxAnswer = 16 << 20 // bytes; 200 rows of the table take about 400 KiB
	maxLine   = 1 << 20  // bytes of one followed event
)

// Client asks the daemon. The time limit of a request is that of its context.
type Client struct {
	// DaemonLives reports whether the daemon's process is there, and is asked where
	// nobody listens at the socket; nil = it is not.
	DaemonLives func() bool
	// Installed reports whether there is a daemon that could run, and is asked where
	// none does; nil = there is.
	Installed func() bool

	socket string
	peerOf func(net.Conn) (Peer, error)
	http   *http.Client
	// followTimeout is how long Follow waits to be let in; after that it waits for
	// events without a limit.
	followTimeout time.Duration
}

// NewClient makes a client for the socket at a path, see SocketUnder. It opens
// nothing yet, and keeps no connection between requests.
func NewClient(socket string) *Client {
	c := &Client{socket: socket, peerOf: peerOf, followTimeout: 10 * time.Second}
	c.http = &http.Client{Transport: &http.Transport{
		DisableKeepAlives:  true,
		DisableCompression: true,
		DialContext:        func(ctx context.Context, _, _ string) (net.Conn, error) { return c.dial(ctx) },
	}}
	return c
}

// errStranger: what answers at the socket is not the daemon.
var errStranger = errors.New("the socket belongs to a process that is not root's")

// dial connects to the daemon, which is root's, or on a simulated Mac the owner's
// of the socket's folder. A Mac's own folder may have a group that can put another
// socket there: nobody takes its word. A system that does not say whose it is, which
// nobody at the other end can bring about, is no reason to say nothing.
func (c *Client) dial(ctx context.Context) (net.Conn, error) {
	var dialer net.Dialer
	connection, err := dialer.DialContext(ctx, "unix", c.socket)
	if err != nil {
		return nil, err
	}
	if peer, err := c.peerOf(connection); err == nil && peer.UID != 0 && peer.UID != ownerOf(filepath.Dir(c.socket)) {
		return nil, errors.Join(errStranger, connection.Close())
	}
	return connection, nil
}

// ownerOf is who owns a folder; root if that cannot be told.
func ownerOf(folder string) uint32 {
	var stat unix.Stat_t
	if err := unix.Stat(folder, &stat); err != nil {
		return 0
	}
	return stat.Uid
}

// Status asks what the daemon is doing and why.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var status Status
	err := c.getDocument(ctx, "/v1/status", &status)
	return status, err
}

// Inventory asks for the table.
func (c *Client) Inventory(ctx context.Context) (Inventory, error) {
	var inventory Inventory
	err := c.getDocument(ctx, "/v1/vms", &inventory)
	return inventory, err
}

// Policy asks how it stands with the policy.
func (c *Client) Policy(ctx context.Context) (Policy, error) {
	var policy Policy
	err := c.getDocument(ctx, "/v1/policy", &policy)
	return policy, err
}

// Events asks for the oldest events after since, one page of them: there may
// be more as long as Next is greater than since.
func (c *Client) Events(ctx context.Context, since uint64) (EventList, error) {
	var list EventList
	query := url.Values{"since": {strconv.FormatUint(since, 10)}}
	err := c.getDocument(ctx, "/v1/events?"+query.Encode(), &list)
	return list, err
}

// Checkin asks for a check-in now, and with wait for how it ended.
func (c *Client) Checkin(ctx context.Context, wait bool) (CheckinResult, error) {
	var result CheckinResult
	err := c.postDocument(ctx, "/v1/checkin", checkinRequest{Wait: wait}, &result)
	var known *Error
	if wait && errors.As(err, &known) && errors.Is(err, context.DeadlineExceeded) {
		if silent := c.probe(ctx); silent != nil {
			return CheckinResult{}, silent
		}
		words := protocol.CodeCheckinTimeout.Text()
		return CheckinResult{}, &Error{Code: protocol.CodeCheckinTimeout, Text: words.Text, Remedy: words.Remedy, Err: err}
	}
	return result, err
}

// probeLimit is how long a daemon that is said to work on something may take to
// say that it is there.
const probeLimit = time.Second

// probe tells a daemon that takes its time from one that hangs: the error is that
// of a daemon without an answer, or nil.
func (c *Client) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeLimit)
	defer cancel()
	if _, err := c.Status(ctx); UnansweredState(err) != "" {
		return err
	}
	return nil
}

// Follow calls each with every event after since, the past ones first, until
// each fails, ctx is done (then the error is ctx's) or the daemon stops (code
// daemon_not_running).
func (c *Client) Follow(ctx context.Context, since uint64, each func(protocol.Event) error) error {
	query := url.Values{"follow": {"1"}, "since": {strconv.FormatUint(since, 10)}}
	bounded, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	patience := time.AfterFunc(c.followTimeout, func() { cancel(context.DeadlineExceeded) })
	response, err := c.sendRequest(bounded, http.MethodGet, "/v1/events?"+query.Encode(), nil)
	patience.Stop()
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return readRefusal(response)
	}
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var event protocol.Event
		if err := protocol.Decode(lines.Bytes(), maxLine, &event); err != nil {
			return unreadableAnswer(err)
		}
		if err := each(event); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return &Error{
		Code: protocol.CodeDaemonNotRunning, Text: "prlagentd stopped.", Remedy: protocol.CodeDaemonNotRunning.Text().Remedy, Err: lines.Err(),
	}
}

func (c *Client) getDocument(ctx context.Context, path string, document any) error {
	return c.askDaemon(ctx, http.MethodGet, path, nil, document)
}

func (c *Client) postDocument(ctx context.Context, path string, request, document any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	return c.askDaemon(ctx, http.MethodPost, path, body, document)
}

func (c *Client) askDaemon(ctx context.Context, method, path string, body []byte, document any) error {
	response, err := c.sendRequest(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return readRefusal(response)
	}
	data, err := protocol.ReadLimited(response.Body, maxAnswer)
	if err != nil && !errors.Is(err, protocol.ErrTooLarge) {
		return c.unreachableError(err)
	}
	if err == nil {
		err = protocol.Decode(data, maxAnswer, document)
	}
	if err != nil {
		return unreadableAnswer(err)
	}
	return nil
}

func (c *Client) sendRequest(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://prlagentd"+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, c.unreachableError(err)
	}
	return response, nil
}

// unreachableError tells a daemon that is not there, or never was, from one that
// does not answer: it hangs, it dropped the connection, or its socket is gone.
func (c *Client) unreachableError(err error) error {
	code := protocol.CodeDaemonSilent
	if isNobodyThere(err) && (c.DaemonLives == nil || !c.DaemonLives()) {
		code = protocol.CodeDaemonNotRunning
		if c.Installed != nil && !c.Installed() {
			code = protocol.CodeDaemonMissing
		}
	}
	words := code.Text()
	found := &Error{Code: code, Text: words.Text, Remedy: words.Remedy, Err: err}
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, errStranger):
		found.Text, found.Remedy = "Something else than prlagentd answers at its socket.", "See whose process it is: sudo lsof "+c.socket
	case errors.Is(err, context.DeadlineExceeded):
		found.Text = "prlagentd does not answer in time."
	case len(c.socket) >= maxSocketPath:
		found.Code = protocol.CodeDaemonNotRunning
		found.Text = fmt.Sprintf("The socket's path is too long: %d bytes, at most %d.", len(c.socket), maxSocketPath-1)
		found.Remedy = "Use a shorter --root folder."
	}
	return found
}

// isNobodyThere reports whether there is no socket, or nobody who listens at it.
func isNobodyThere(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED)
}

// readRefusal reads the body of an answer that is not 200.
func readRefusal(response *http.Response) error {
	data, err := protocol.ReadLimited(response.Body, maxBody)
	if err != nil {
		return unreadableAnswer(err)
	}
	var body ErrorBody
	if err := protocol.Decode(data, maxBody, &body); err != nil || body.Code == "" {
		return unreadableAnswer(fmt.Errorf("status %d", response.StatusCode))
	}
	return &Error{Code: body.Code, Text: body.Text, Remedy: body.Remedy, RetryAfterS: body.RetryAfterS}
}

func unreadableAnswer(err error) error {
	return &Error{
		Code: protocol.CodeInternal, Text: "prlagentd gave an answer that could not be read.",
		Remedy: "Check that prlagent and prlagentd have the same version.", Err: err,
	}
}
