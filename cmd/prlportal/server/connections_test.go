package server

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"prlagent/cmd/prlportal/site"
)

// pipeFrom is a connection of an address, of which only closing it is tested.
type pipeFrom struct {
	net.Conn
	address string
	closed  bool
}

func (p *pipeFrom) RemoteAddr() net.Addr { return stringAddr(p.address) }
func (p *pipeFrom) Close() error         { p.closed = true; return nil }

type stringAddr string

func (a stringAddr) Network() string { return "tcp" }
func (a stringAddr) String() string  { return string(a) }

// opened makes connections of an address, numbered by their ports.
func opened(limiter *connectionLimiter, address string, n int) []*pipeFrom {
	conns := make([]*pipeFrom, n)
	for i := range conns {
		conns[i] = &pipeFrom{address: net.JoinHostPort(address, fmt.Sprint(i+1))}
		limiter.onState(conns[i], http.StateNew)
	}
	return conns
}

func closedOf(conns []*pipeFrom) (closed []int) {
	for i, conn := range conns {
		if conn.closed {
			closed = append(closed, i)
		}
	}
	return closed
}

func TestH56_OneSourceClosesItsOwnConnectionsOnly(t *testing.T) {
	t.Parallel()
	limiter := newConnectionLimiter(4, 100)
	good := opened(limiter, "192.0.2.1", 4)
	bad := opened(limiter, "192.0.2.2", 10)
	network := append(opened(limiter, "2001:db8::1", 3), opened(limiter, "2001:db8::2", 3)...) // one network
	if got := fmt.Sprint(closedOf(good), closedOf(bad), closedOf(network)); got != "[] [0 1 2 3 4 5] [0 1]" {
		t.Errorf("closed are %s", got)
	}
	for _, conn := range append(append(good, bad...), network...) {
		limiter.onState(conn, http.StateClosed)
	}
	if len(limiter.byConn) != 0 || len(limiter.sources) != 0 {
		t.Errorf("%d connections and %d sources are remembered that are gone", len(limiter.byConn), len(limiter.sources))
	}
}

func TestH56_IdleConnectionsAreClosedFirstThenTheOldest(t *testing.T) {
	t.Parallel()
	limiter := newConnectionLimiter(4, 100)
	conns := opened(limiter, "192.0.2.1", 4)
	for _, answered := range []int{3, 2} {
		limiter.onState(conns[answered], http.StateActive)
		limiter.onState(conns[answered], http.StateIdle)
	}
	limiter.onState(conns[0], http.StateActive) // sends its request: later than 1 has done anything
	var order []int
	for range 4 {
		before := len(closedOf(conns))
		opened(limiter, "192.0.2.1", 1)
		if closed := closedOf(conns); len(closed) == before+1 {
			for _, i := range closed {
				if !slices.Contains(order, i) {
					order = append(order, i)
				}
			}
		}
	}
	if got := fmt.Sprint(order); got != "[3 2 1 0]" {
		t.Errorf("closed in the order %s", got)
	}
}

func TestH56_OfTooManyInAllTheLargestSourceGivesWay(t *testing.T) {
	t.Parallel()
	limiter := newConnectionLimiter(6, 10)
	good, bad := opened(limiter, "192.0.2.1", 3), opened(limiter, "192.0.2.2", 6)
	other := opened(limiter, "192.0.2.3", 3)
	if got := fmt.Sprint(closedOf(good), closedOf(bad), closedOf(other)); got != "[] [0 1] []" || len(limiter.byConn) != 10 {
		t.Errorf("closed are %s, %d are open", got, len(limiter.byConn))
	}
}

// servedSite is a portal as serve runs it, on loopback.
func servedSite(t *testing.T) (address string, trusted *tls.Config) {
	t.Helper()
	dir := t.TempDir()
	options := site.Options{Name: "Example Org", Hosts: []string{"localhost", "127.0.0.1"}, PrimaryGroup: "default", Now: time.Now()}
	if _, err := options.Create(dir); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		ended <- Serve(ctx, Options{Folder: filepath.Join(dir, site.PortalFolder), Listen: "127.0.0.1:0", Demo: true}, zerolog.Nop(), func(url string) error {
			ready <- url
			return nil
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	select {
	case url := <-ready:
		return strings.TrimPrefix(url, "https://"), &tls.Config{InsecureSkipVerify: true, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	case err := <-ended:
		ended <- nil
		t.Fatalf("serve: %v", err)
		return "", nil
	}
}

// halfSent are connections that send a part of a request and no more: nothing of
// a handshake, a part of a head, or a part of an enrollment's body.
func halfSent(t *testing.T, address string, trusted *tls.Config, n int) []net.Conn {
	t.Helper()
	conns := make([]net.Conn, n)
	var group sync.WaitGroup
	for worker := range 8 {
		group.Go(func() {
			for i := worker; i < n; i += 8 {
				conn, err := net.Dial("tcp", address)
				if err != nil {
					t.Errorf("connection %d: %v", i, err)
					return
				}
				conns[i] = conn
				if i%3 == 0 {
					continue
				}
				secure := tls.Client(conn, trusted)
				head := "POST /v1/enroll HTTP/1.1\r\nHost: portal\r\n"
				if i%3 == 2 {
					head += "Content-Length: 16000\r\n\r\n{"
				}
				_, _ = secure.Write([]byte(head)) // the portal may have closed it already
			}
		})
	}
	group.Wait()
	return conns
}

// stillOpen counts the connections that the other side has not closed.
func stillOpen(t *testing.T, conns []net.Conn) (open int) {
	t.Helper()
	for _, conn := range conns {
		_ = conn.SetReadDeadline(time.Now().Add(time.Millisecond))
		if _, err := io.Copy(io.Discard, conn); isTimeout(err) {
			open++
		}
	}
	return open
}

func isTimeout(err error) bool {
	var failure net.Error
	return errors.As(err, &failure) && failure.Timeout()
}

func memoryInUse() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapInuse + stats.StackInuse
}

func descriptorLimit(t *testing.T) int {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	return int(min(limit.Cur, 1<<20))
}

// 3,000 connections that never finish what they send, and one that does.
func TestH56_HalfSentConnectionsHoldUpNobody(t *testing.T) {
	attackers := min(3000, (descriptorLimit(t)-500)/2) // both ends are ours
	if testing.Short() {
		attackers = min(attackers, 800)
	}
	address, trusted := servedSite(t)
	before := memoryInUse()
	conns := halfSent(t, address, trusted, attackers)
	defer func() {
		for _, conn := range conns {
			if conn != nil {
				conn.Close()
			}
		}
	}()
	good, err := tls.Dial("tcp", address, trusted)
	if err != nil {
		t.Fatalf("a good connection: %v", err)
	}
	defer good.Close()
	for range 2 { // the second request on the warm connection
		if _, err := fmt.Fprint(good, "GET /healthz HTTP/1.1\r\nHost: portal\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		response, err := http.ReadResponse(bufio.NewReader(good), nil)
		if err != nil {
			t.Fatalf("a good connection: %v", err)
		}
		body, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != http.StatusOK {
			t.Fatalf("a good connection was answered %d %s (%v)", response.StatusCode, body, err)
		}
	}
	taken := int64(memoryInUse()) - int64(before)
	open := stillOpen(t, conns)
	for tries := 0; open > maxConnectionsPerSource && tries < 10; tries++ { // who reads from one closes it last
		open = stillOpen(t, conns)
	}
	t.Logf("%d of %d connections are open, %d bytes of memory", open, attackers, taken)
	if open > maxConnectionsPerSource {
		t.Errorf("%d half-sent connections are open, want at most %d", open, maxConnectionsPerSource)
	}
	if taken > 64<<20 {
		t.Errorf("they take %d bytes of memory", taken)
	}
}
