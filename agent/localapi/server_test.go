package localapi

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"prlagent/agent/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeAgent is a daemon whose passes end when the test says so.
type fakeAgent struct {
	asked    atomic.Int32
	waiting  chan struct{} // a wait has begun
	canceled chan struct{} // its context ended
	finish   chan struct{} // nil = waits end at once
}

func (a *fakeAgent) Status() *Status       { return sampleStatus() }
func (a *fakeAgent) Inventory() *Inventory { return sampleInventory() }
func (a *fakeAgent) Policy() *Policy       { return samplePolicy() }

func (a *fakeAgent) Checkin(ctx context.Context, wait bool) CheckinResult {
	a.asked.Add(1)
	result := CheckinResult{Schema: Schema, Accepted: true, Waited: wait}
	if !wait || a.finish == nil {
		return result
	}
	close(a.waiting)
	select {
	case <-a.finish:
		result.Pass = samplePass()
	case <-ctx.Done():
		close(a.canceled)
	}
	return result
}

func (a *fakeAgent) ByHand(_ context.Context, request *HandRequest, by string) *HandResult {
	a.asked.Add(1)
	result := sampleHand()
	result.Setting, result.Value = request.Setting, by
	return result
}

func (a *fakeAgent) GuestPassword(_ context.Context, request *PasswordRequest, by string) *PasswordResult {
	a.asked.Add(1)
	return &PasswordResult{Schema: Schema, User: request.User, Outcome: PasswordAsked, Text: by}
}

// ring is an EventSource in memory.
type ring struct {
	mutex   sync.Mutex
	events  []protocol.Event
	changed chan struct{}
	broken  error
}

func newRing(events ...protocol.Event) *ring {
	return &ring{events: events, changed: make(chan struct{})}
}

func (r *ring) add(event protocol.Event) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	event.Seq = uint64(len(r.events)) + 1
	r.events = append(r.events, event)
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *ring) EventsSince(seq uint64, limit int) ([]protocol.Event, uint64, error) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	first := min(seq, uint64(len(r.events)))
	page := r.events[first:]
	page = slices.Clone(page[:min(limit, len(page))])
	if len(page) == 0 {
		return nil, seq, r.broken
	}
	return page, page[len(page)-1].Seq, r.broken
}

func (r *ring) EventsChanged(seq uint64) <-chan struct{} {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if uint64(len(r.events)) > seq {
		already := make(chan struct{})
		close(already)
		return already
	}
	return r.changed
}

type daemon struct {
	agent  *fakeAgent
	events *ring
	socket string
	client *Client
	stop   func() error // ends the server and gives what Serve returned
}

// socketPath is short, because a unix socket's path must be.
func socketPath(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "prl")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	return filepath.Join(folder, "s")
}

func startDaemon(t *testing.T, actor Actor) *daemon {
	t.Helper()
	return startDaemonBehind(t, actor, func(listener net.Listener) *peerListener { return newPeerListener(listener, 0, uint32(os.Geteuid())) })
}

func startDaemonBehind(t *testing.T, actor Actor, entrance func(net.Listener) *peerListener) *daemon {
	t.Helper()
	return startDaemonWith(t, io.Discard, actor, entrance)
}

func startDaemonWith(t *testing.T, log io.Writer, actor Actor, entrance func(net.Listener) *peerListener) *daemon {
	t.Helper()
	return startDaemonOf(t, Options{Authorize: func(Peer) Actor { return actor }, Log: zerolog.New(log).Level(zerolog.InfoLevel)}, entrance)
}

func startDaemonAuthorizing(t *testing.T, authorize func(Peer) Actor, entrance func(net.Listener) *peerListener) *daemon {
	t.Helper()
	return startDaemonOf(t, Options{Authorize: authorize, Log: zerolog.Nop()}, entrance)
}

func startDaemonOf(t *testing.T, options Options, entrance func(net.Listener) *peerListener) *daemon {
	t.Helper()
	d := &daemon{agent: &fakeAgent{}, events: newRing(sampleEvents()...), socket: socketPath(t)}
	listener, err := Listen(t.Context(), d.socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	options.Agent, options.Events, options.Hands = d.agent, d.events, d.agent
	go func() { ended <- serveConnections(ctx, entrance(listener), options) }()
	d.stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() {
		if err := d.stop(); err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	d.client = NewClient(d.socket)
	return d
}

// raw sends a request that the client would not make.
func (d *daemon) raw(t *testing.T, method, path, body string) *http.Response {
	t.Helper()
	response, err := d.client.sendRequest(t.Context(), method, path, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { response.Body.Close() })
	return response
}

func TestListenRefusesWhatItMustNotReplace(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name    string
		prepare func(t *testing.T, path string) string
		want    error
	}{
		{"a daemon that answers", func(t *testing.T, path string) string {
			listener, err := Listen(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { listener.Close() })
			return path
		}, errInUse},
		{"a file", func(t *testing.T, path string) string {
			if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
			return path
		}, errNotSocket},
		{"a link to a stale socket", func(t *testing.T, path string) string {
			leaveStale(t, path+"t")
			if err := os.Symlink(path+"t", path); err != nil {
				t.Fatal(err)
			}
			return path
		}, errNotSocket},
		{"a path that does not fit", func(_ *testing.T, path string) string {
			return path + strings.Repeat("x", maxSocketPath-len(path))
		}, errPathTooLong},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path := c.prepare(t, socketPath(t))
			listener, err := Listen(t.Context(), path)
			if err == nil {
				listener.Close()
			}
			if !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}

// leaveStale leaves the socket of a daemon that was killed.
func leaveStale(t *testing.T, path string) {
	t.Helper()
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	listener.SetUnlinkOnClose(false)
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestListenReplacesAStaleSocket(t *testing.T) {
	t.Parallel()
	path := socketPath(t)
	leaveStale(t, path)
	listener, err := Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o666 {
		t.Errorf("mode %v, want 0666", info.Mode().Perm())
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket stays after its daemon: %v", err)
	}
}

func TestTheLongestPathThatFitsWorks(t *testing.T) {
	t.Parallel()
	path := socketPath(t)
	path += strings.Repeat("x", maxSocketPath-1-len(path))
	listener, err := Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
}

func TestThePeerIsTheOneWhoConnects(t *testing.T) {
	t.Parallel()
	path := socketPath(t)
	listener, err := Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	client, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	connection, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	peer, err := peerOf(connection)
	if err != nil {
		t.Fatal(err)
	}
	if want := (Peer{UID: uint32(os.Geteuid()), PID: os.Getpid()}); peer != want {
		t.Errorf("%+v, want %+v", peer, want)
	}
}

func TestOnlyAUnixSocketHasAPeer(t *testing.T) {
	t.Parallel()
	one, other := net.Pipe()
	defer one.Close()
	defer other.Close()
	if _, err := peerOf(one); !errors.Is(err, errNoSocket) {
		t.Errorf("%v", err)
	}
}

// H16: who is no administrator does nothing by hand.
func TestH16_ByHandIsForAdministrators(t *testing.T) {
	t.Parallel()
	request := HandRequest{Setting: "network", Value: "shared", All: true}
	for _, actor := range []Actor{{UID: 504, Name: "mallory"}, {UID: 505}, {}} {
		daemon := startDaemon(t, actor)
		for _, asked := range []HandRequest{request, {ReleaseLocks: true}} {
			if _, err := daemon.client.ByHand(t.Context(), asked); protocol.CodeOf(err) != protocol.CodeNotAllowed {
				t.Errorf("%+v: %v", actor, err)
			}
		}
		if daemon.agent.asked.Load() != 0 {
			t.Errorf("%+v: the agent was asked", actor)
		}
	}
	for by, actor := range map[string]Actor{"carol": {UID: 503, Name: "carol", Admin: true}, "uid 0": {Admin: true}} {
		result, err := startDaemon(t, actor).client.ByHand(t.Context(), request)
		if err != nil || result.Setting != "network" || result.Value != by || len(result.VMs) == 0 {
			t.Errorf("%+v, %v", result, err)
		}
	}
}

func TestRequestsThatMakeNoSense(t *testing.T) {
	t.Parallel()
	daemon := startDaemon(t, Actor{UID: 503, Name: "carol", Admin: true})
	cases := []struct {
		name, method, path, body string
		status                   int
	}{
		{"unknown path", "GET", "/v1/secrets", "", http.StatusNotFound},
		{"the root", "GET", "/", "", http.StatusNotFound},
		{"a path that climbs", "GET", "/v1/../v1/status", "", http.StatusNotFound},
		{"wrong method", "POST", "/v1/status", "", http.StatusMethodNotAllowed},
		{"check-in by GET", "GET", "/v1/checkin", "", http.StatusMethodNotAllowed},
		{"by hand by GET", "GET", "/v1/byhand", "", http.StatusMethodNotAllowed},
		{"by hand without anything", "POST", "/v1/byhand", "{}", http.StatusBadRequest},
		{"by hand without machines", "POST", "/v1/byhand", `{"setting":"network","value":"shared"}`, http.StatusBadRequest},
		{"by hand two things", "POST", "/v1/byhand", `{"setting":"network","value":"shared","all":true,"release_locks":true}`, http.StatusBadRequest},
		{"by hand some and all", "POST", "/v1/byhand", `{"setting":"network","value":"shared","all":true,"vm_ids":["a"]}`, http.StatusBadRequest},
		{"by hand too large", "POST", "/v1/byhand", `{"x":"` + strings.Repeat("x", maxHandBody) + `"}`, http.StatusBadRequest},
		{"since is no number", "GET", "/v1/events?since=-1", "", http.StatusBadRequest},
		{"body is no JSON", "POST", "/v1/checkin", "wait", http.StatusBadRequest},
		{"body has a key twice", "POST", "/v1/checkin", `{"wait":true,"wait":false}`, http.StatusBadRequest},
		{"body is too large", "POST", "/v1/checkin", `{"x":"` + strings.Repeat("x", maxBody) + `"}`, http.StatusBadRequest},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			response := daemon.raw(t, c.method, c.path, c.body)
			if response.StatusCode != c.status {
				t.Errorf("status %d, want %d", response.StatusCode, c.status)
			}
			if err := readRefusal(response); protocol.CodeOf(err) != protocol.CodeBadRequest {
				t.Errorf("%v, want code bad_request", err)
			}
		})
	}
	if asked := daemon.agent.asked.Load(); asked != 0 {
		t.Errorf("the agent was asked %d times", asked)
	}
}

func TestHeadersAreLimited(t *testing.T) {
	t.Parallel()
	daemon := startDaemon(t, Actor{Admin: true})
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://prlagentd/v1/status", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Long", strings.Repeat("x", 4*maxHeaderBytes))
	response, err := daemon.client.http.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %d", response.StatusCode)
	}
}

func TestADefectOfTheRingIsNotTold(t *testing.T) {
	t.Parallel()
	daemon := startDaemon(t, Actor{UID: 502, Name: "bob"})
	daemon.events.broken = errors.New("secret path")
	_, err := daemon.client.Events(t.Context(), 0)
	if protocol.CodeOf(err) != protocol.CodeInternal || strings.Contains(err.Error(), "secret") {
		t.Errorf("%v", err)
	}
}

func TestAUserCannotStarveTheSocket(t *testing.T) {
	t.Parallel()
	var entrance *peerListener
	daemon := startDaemonBehind(t, Actor{UID: 504, Name: "mallory"}, func(listener net.Listener) *peerListener {
		entrance = newPeerListener(listener)
		return entrance
	})
	var held []net.Conn
	connect := func() net.Conn {
		connection, err := net.Dial("unix", daemon.socket)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, connection)
		return connection
	}
	ask := func(connection net.Conn) (int, error) {
		if _, err := fmt.Fprint(connection, "GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			return 0, err
		}
		response, err := http.ReadResponse(bufio.NewReader(connection), nil)
		if err != nil {
			return 0, err
		}
		_, err = io.Copy(io.Discard, response.Body)
		return response.StatusCode, errors.Join(err, response.Body.Close())
	}
	for number := 1; number <= servedPerUser; number++ {
		if status, err := ask(connect()); err != nil || status != http.StatusOK {
			t.Fatalf("connection %d: %d, %v", number, status, err)
		}
	}
	if status, err := ask(connect()); err != nil || status != http.StatusTooManyRequests {
		t.Errorf("one too many: %d, %v; want 429", status, err)
	}
	for _, connection := range held {
		connection.Close()
	}
	if err := daemon.stop(); err != nil {
		t.Fatal(err)
	}
	if entrance.total != 0 || len(entrance.open) != 0 {
		t.Errorf("%d places are still taken, by %v", entrance.total, entrance.open)
	}
}

func TestTheGateCounts(t *testing.T) {
	t.Parallel()
	t.Run("a user's connections end at the limit, others' do not", func(t *testing.T) {
		t.Parallel()
		g := newPeerListener(nil, 0)
		for range openPerUser {
			if _, ok := g.admitConnection(501); !ok {
				t.Fatal("refused too early")
			}
		}
		if _, ok := g.admitConnection(501); ok {
			t.Error("a connection over the limit was let in")
		}
		if _, ok := g.admitConnection(502); !ok {
			t.Error("another user was kept out")
		}
		if number, ok := g.admitConnection(0); !ok || number != 0 {
			t.Errorf("root: %d, %t", number, ok)
		}
	})
	t.Run("many users together end at the total", func(t *testing.T) {
		t.Parallel()
		g := newPeerListener(nil, 0)
		for i := range openForOthers {
			if _, ok := g.admitConnection(uint32(501 + i)); !ok {
				t.Fatal("refused too early")
			}
		}
		if _, ok := g.admitConnection(9999); ok {
			t.Error("a connection over the total was let in")
		}
		if _, ok := g.admitConnection(0); !ok {
			t.Error("root was kept out")
		}
	})
	t.Run("who leaves twice is counted out once", func(t *testing.T) {
		t.Parallel()
		g := newPeerListener(nil)
		g.admitConnection(501)
		g.admitConnection(501)
		leave := g.leaveFunc(501)
		leave()
		leave()
		if g.open[501] != 1 || g.total != 1 {
			t.Errorf("%d of the user, %d in all; want 1 and 1", g.open[501], g.total)
		}
		g.leaveFunc(501)()
		if len(g.open) != 0 || g.total != 0 {
			t.Errorf("%v, %d; want nothing", g.open, g.total)
		}
	})
}

func TestACrowdedConnectionIsRefused(t *testing.T) {
	t.Parallel()
	daemon := startDaemonBehind(t, Actor{Admin: true}, func(listener net.Listener) *peerListener {
		g := newPeerListener(listener)
		g.open[uint32(os.Geteuid())] = servedPerUser
		return g
	})
	if _, err := daemon.client.Status(t.Context()); protocol.CodeOf(err) != protocol.CodeTooManyRequests {
		t.Errorf("%v, want too_many_requests", err)
	}
}

func TestWaitingForACheckin(t *testing.T) {
	t.Parallel()
	start := func(t *testing.T) *daemon {
		d := startDaemon(t, Actor{Admin: true})
		d.agent.waiting, d.agent.canceled, d.agent.finish = make(chan struct{}), make(chan struct{}), make(chan struct{})
		return d
	}
	t.Run("ends with the pass", func(t *testing.T) {
		t.Parallel()
		daemon := start(t)
		go func() {
			<-daemon.agent.waiting
			close(daemon.agent.finish)
		}()
		result, err := daemon.client.Checkin(t.Context(), true)
		if err != nil || result.Pass == nil || result.Pass.Number != 9 {
			t.Errorf("%+v, %v", result, err)
		}
	})
	t.Run("ends for the agent when the client leaves", func(t *testing.T) {
		t.Parallel()
		daemon := start(t)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-daemon.agent.waiting
			cancel()
		}()
		if _, err := daemon.client.Checkin(ctx, true); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
		<-daemon.agent.canceled
	})
	t.Run("has a code when the time is up", func(t *testing.T) {
		t.Parallel()
		daemon := start(t)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if _, err := daemon.client.Checkin(ctx, true); protocol.CodeOf(err) != protocol.CodeCheckinTimeout {
			t.Errorf("%v, want checkin_timeout", err)
		}
	})
	t.Run("ends when the daemon stops", func(t *testing.T) {
		t.Parallel()
		daemon := start(t)
		go func() {
			<-daemon.agent.waiting
			daemon.stop()
		}()
		if _, err := daemon.client.Checkin(t.Context(), true); err != nil {
			t.Errorf("%v", err)
		}
		<-daemon.agent.canceled
	})
}

func TestEventsComeInPages(t *testing.T) {
	t.Parallel()
	daemon := startDaemon(t, Actor{Admin: true})
	for range maxEventPage {
		daemon.events.add(protocol.Event{Type: "tick"})
	}
	first, err := daemon.client.Events(t.Context(), 0)
	if err != nil || len(first.Events) != maxEventPage || first.Next != maxEventPage {
		t.Fatalf("%d events, next %d, %v", len(first.Events), first.Next, err)
	}
	second, err := daemon.client.Events(t.Context(), first.Next)
	if err != nil || len(second.Events) != 4 || second.Next != maxEventPage+4 {
		t.Fatalf("%d events, next %d, %v", len(second.Events), second.Next, err)
	}
	last, err := daemon.client.Events(t.Context(), second.Next)
	if err != nil || last.Events == nil || len(last.Events) != 0 || last.Next != second.Next {
		t.Fatalf("%+v, %v", last, err)
	}
}

func TestFollowing(t *testing.T) {
	t.Parallel()
	t.Run("gives the past, then what comes, until the client has enough", func(t *testing.T) {
		t.Parallel()
		daemon := startDaemon(t, Actor{Admin: true})
		enough := errors.New("enough")
		var seen []uint64
		err := daemon.client.Follow(t.Context(), 2, func(event protocol.Event) error {
			seen = append(seen, event.Seq)
			if event.Seq == 4 {
				daemon.events.add(protocol.Event{Type: "new"})
			}
			if event.Type == "new" {
				return enough
			}
			return nil
		})
		if !errors.Is(err, enough) || !slices.Equal(seen, []uint64{3, 4, 5}) {
			t.Errorf("%v, %v", seen, err)
		}
	})
	t.Run("shows a user no more than a list does", func(t *testing.T) {
		t.Parallel()
		daemon := startDaemon(t, Actor{UID: 504, Name: "mallory"})
		enough := errors.New("enough")
		var seen []protocol.Event
		err := daemon.client.Follow(t.Context(), 0, func(event protocol.Event) error {
			seen = append(seen, event)
			if event.Seq == 4 {
				daemon.events.add(protocol.Event{Type: "vm_started", Data: map[string]string{"vm_id": "x"}})
				daemon.events.add(protocol.Event{Type: "new", Data: map[string]string{"path": "x"}})
			}
			if event.Type == "new" {
				return enough
			}
			return nil
		})
		if !errors.Is(err, enough) || len(seen) != 3 || seen[2].Seq != 6 || seen[2].Data != nil {
			t.Errorf("%+v, %v", seen, err)
		}
	})
	t.Run("says that each line is one event", func(t *testing.T) {
		t.Parallel()
		daemon := startDaemon(t, Actor{Admin: true})
		response := daemon.raw(t, http.MethodGet, "/v1/events?follow=1", "")
		if got := response.Header.Get("Content-Type"); got != "application/x-ndjson" {
			t.Errorf("Content-Type is %q", got)
		}
	})
	t.Run("ends with the daemon", func(t *testing.T) {
		t.Parallel()
		daemon := startDaemon(t, Actor{Admin: true})
		err := daemon.client.Follow(t.Context(), 3, func(protocol.Event) error {
			go daemon.stop()
			return nil
		})
		if protocol.CodeOf(err) != protocol.CodeDaemonNotRunning {
			t.Errorf("%v", err)
		}
	})
	t.Run("ends with the context", func(t *testing.T) {
		t.Parallel()
		daemon := startDaemon(t, Actor{Admin: true})
		ctx, cancel := context.WithCancel(t.Context())
		err := daemon.client.Follow(ctx, 3, func(protocol.Event) error { cancel(); return nil })
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	})
}

func TestAnswersAreForThisMomentOnly(t *testing.T) {
	t.Parallel()
	daemon := startDaemon(t, Actor{Admin: true})
	response := daemon.raw(t, http.MethodGet, "/v1/status", "")
	if got := response.Header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control is %q", got)
	}
	if got := response.Header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type is %q", got)
	}
	var status Status
	if err := json.NewDecoder(response.Body).Decode(&status); err != nil || status.Schema != Schema {
		t.Errorf("schema %d, %v", status.Schema, err)
	}
}
