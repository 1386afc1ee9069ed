package localapi

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"prlagent/agent/protocol"
	"prlagent/platform/text"
)

// frozenClock stands until the test sets it on.
type frozenClock struct{ passed atomic.Int64 }

var frozenBegin = time.Date(2026, 11, 28, 9, 0, 0, 0, time.UTC)

func (c *frozenClock) now() time.Time          { return frozenBegin.Add(time.Duration(c.passed.Load())) }
func (c *frozenClock) advance(d time.Duration) { c.passed.Add(int64(d)) }
func (c *frozenClock) limiter() *rateLimiter   { return newRateLimiter(c.now, map[uint32]bool{0: true}) }
func takes(l *rateLimiter, uid uint32) (many int) { // until it is refused
	for ; many < 10_000; many++ {
		if _, ok := l.take(uid); !ok {
			return many
		}
	}
	return many
}

func TestTheRateOfAUser(t *testing.T) {
	t.Parallel()
	clock := &frozenClock{}
	limiter := clock.limiter()
	const alice, bob = 501, 502
	if got := takes(limiter, alice); got != visitBurst {
		t.Errorf("at once a user gets %d, want %d", got, visitBurst)
	}
	if wait, ok := limiter.take(alice); ok || wait != time.Second/visitRate {
		t.Errorf("then the wait is %v, want %v", wait, time.Second/visitRate)
	}
	if got := takes(limiter, bob); got != visitBurst {
		t.Errorf("another user gets %d, want %d", got, visitBurst)
	}
	if got := takes(limiter, 0); got != 10_000 {
		t.Errorf("root gets %d", got)
	}
	clock.advance(10 * time.Second)
	if got := takes(limiter, alice); got != 10*visitRate {
		t.Errorf("after ten seconds a user gets %d, want %v", got, 10*visitRate)
	}
	clock.advance(time.Hour)
	if got := takes(limiter, alice); got != visitBurst {
		t.Errorf("after an hour a user gets %d, want %d", got, visitBurst)
	}
	limiter.charge(alice, 1<<30)
	if wait, _ := limiter.take(alice); wait != time.Duration((1+maxDebt)/visitRate*float64(time.Second)) {
		t.Errorf("after an endless answer the wait is %v", wait)
	}
}

func TestQuietUsersAreForgotten(t *testing.T) {
	t.Parallel()
	clock := &frozenClock{}
	limiter := clock.limiter()
	for uid := range uint32(rememberedUsers) {
		limiter.take(1000 + uid)
	}
	limiter.take(1)
	if got := len(limiter.users); got != rememberedUsers+1 {
		t.Errorf("busy users are remembered: %d, want %d", got, rememberedUsers+1)
	}
	clock.advance(time.Hour)
	limiter.take(2)
	if got := len(limiter.users); got != 1 {
		t.Errorf("quiet users are remembered: %d, want 1", got)
	}
}

// busyDaemon answers users whose uids the test sets, by a clock that stands.
func busyDaemon(t *testing.T) (d *daemon, uid *atomic.Uint32, clock *frozenClock) {
	t.Helper()
	uid, clock = &atomic.Uint32{}, &frozenClock{}
	d = startDaemonBehind(t, Actor{UID: 501, Name: "alice", Admin: true}, func(listener net.Listener) *peerListener {
		entrance := newPeerListener(listener, 0)
		entrance.peerOf = func(net.Conn) (Peer, error) { return Peer{UID: uid.Load()}, nil }
		entrance.rate.now = clock.now
		return entrance
	})
	return d, uid, clock
}

// A user who asks as fast as it goes gets as many answers as there are, is told
// a few times when to ask again, and then costs nothing but the closing of a
// connection; root and another user are answered all the while.
func TestOneUserDoesNotGetTheDaemonsTime(t *testing.T) {
	t.Parallel()
	d, uid, clock := busyDaemon(t)
	const flood = 1000
	ask := func(who uint32) error {
		uid.Store(who)
		_, err := d.client.Status(t.Context())
		return err
	}
	answered, told, closed := 0, 0, 0
	for i := range flood {
		var refusal *Error
		switch err := ask(501); {
		case err == nil:
			answered++
		case errors.As(err, &refusal) && refusal.Code == protocol.CodeTooManyRequests:
			told++
			if refusal.RetryAfterS != 1 || !strings.Contains(refusal.Remedy, "in 1 s") {
				t.Fatalf("it is told %+v", refusal)
			}
		case protocol.CodeOf(err) == protocol.CodeDaemonSilent:
			closed++
		default:
			t.Fatal(err)
		}
		if i%10 != 0 {
			continue
		}
		if err := ask(0); err != nil {
			t.Fatalf("root, beside %d: %v", i, err)
		}
	}
	if answered != visitBurst/2 || told != toldBurst || closed != flood-visitBurst/2-toldBurst {
		t.Errorf("answered %d, told %d, closed %d; want %d, %d and the rest", answered, told, closed, visitBurst/2, toldBurst)
	}
	if err := ask(502); err != nil {
		t.Errorf("another user: %v", err)
	}
	clock.advance(time.Second)
	for i := range int(visitRate/2) + 1 {
		if err := ask(501); (err == nil) != (i < visitRate/2) {
			t.Errorf("a second later, request %d: %v", i, err)
		}
	}
}

// A connection that stays open is no way around it, and a large answer costs
// more than a small one.
func TestWhatARequestCosts(t *testing.T) {
	t.Parallel()
	d, uid, _ := busyDaemon(t)
	uid.Store(501)
	kept := &http.Client{Transport: &http.Transport{DialContext: d.client.http.Transport.(*http.Transport).DialContext}}
	defer kept.CloseIdleConnections()
	get := func() (status int, after string) {
		t.Helper()
		response, err := kept.Get("http://prlagentd/v1/status")
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		var body ErrorBody
		if err := json.NewDecoder(response.Body).Decode(&body); err != nil {
			t.Fatal(err)
		}
		if response.StatusCode == http.StatusTooManyRequests && (!response.Close || strconv.Itoa(body.RetryAfterS) != response.Header.Get("Retry-After")) {
			t.Errorf("the refusal: %+v, %v", body, response.Header)
		}
		return response.StatusCode, response.Header.Get("Retry-After")
	}
	for i := range visitBurst - 1 { // one is the connection's
		if status, _ := get(); status != http.StatusOK {
			t.Fatalf("request %d: %d", i, status)
		}
	}
	if status, after := get(); status != http.StatusTooManyRequests || after != "1" {
		t.Errorf("one too many: %d, %s", status, after)
	}

	charged := 0
	writer := &countedWriter{ResponseWriter: discarded{}, charge: func(units int) { charged += units }}
	for range 10 {
		if _, err := writer.Write(make([]byte, answerUnit/4)); err != nil {
			t.Fatal(err)
		}
	}
	if charged != 2 {
		t.Errorf("two units and a half cost %d", charged)
	}
}

type discarded struct{ http.ResponseWriter }

func (discarded) Write(part []byte) (int, error) { return len(part), nil }

// Whatever a user sends, and however often, no line of the log at its usual level
// is about it.
func TestNoRequestOfAUserFillsTheLog(t *testing.T) {
	t.Parallel()
	var lines countedLines
	d := startLoggingDaemon(t, &lines)
	var senders sync.WaitGroup
	for _, request := range []string{
		"GET /v1/checkin HTTP/1.1\r\nHost: x\r\n\r\n", "POST /v1/checkin HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n{{{{{",
		"DELETE /v1/status HTTP/1.1\r\nHost: x\r\n\r\n", "GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /v1/events?since=x HTTP/1.1\r\nHost: x\r\n\r\n", "\x00\x00\x00\x00\r\n\r\n", "GET / HTTP/9.9\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 2*maxHeaderBytes) + "\r\n\r\n", "",
	} {
		for range 20 {
			senders.Go(func() { d.send(t, request) })
		}
	}
	senders.Wait()
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	if got := lines.many.Load(); got != 0 {
		t.Errorf("%d lines, the last: %s", got, text.Display(lines.last.Load().(string)))
	}
}

// send sends bytes on a connection of their own, and waits for the answer.
func (d *daemon) send(t *testing.T, request string) {
	connection, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: d.socket, Net: "unix"})
	if err != nil {
		t.Error(err)
		return
	}
	_, _ = connection.Write([]byte(request)) // the other end may have left
	_ = connection.CloseWrite()
	_, _ = io.Copy(io.Discard, connection)
	_ = connection.Close()
}

// countedLines is a log that counts.
type countedLines struct {
	many atomic.Int32
	last atomic.Value
}

func (c *countedLines) Write(line []byte) (int, error) {
	c.many.Add(1)
	c.last.Store(string(line))
	return len(line), nil
}

func startLoggingDaemon(t *testing.T, log *countedLines) *daemon {
	t.Helper()
	return startDaemonWith(t, log, Actor{UID: 504, Name: "mallory"}, func(listener net.Listener) *peerListener {
		return newPeerListener(listener, 0, uint32(os.Geteuid()))
	})
}
