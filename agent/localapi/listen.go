package localapi

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Errors of Listen.
var (
	errPathTooLong = errors.New("socket path is too long")
	errInUse       = errors.New("another daemon answers at the socket")
	errNotSocket   = errors.New("something else than a socket is in the way")
)

// dialTimeout is how long Listen waits for a daemon that may be there. A full
// queue of a busy one counts as an answer.
const dialTimeout = time.Second

// Listen opens the socket that every user of the Mac may connect to: it
// connects first, removes the file only if it is a socket and nobody answers,
// listens, and sets mode 0666 (facts/macos.md 14). Peer credentials decide who
// may do what. The file goes away when the listener is closed.
func Listen(ctx context.Context, path string) (net.Listener, error) {
	if len(path) >= maxSocketPath {
		return nil, fmt.Errorf("%w: %q has %d bytes, at most %d fit; use a shorter folder",
			errPathTooLong, path, len(path), maxSocketPath-1)
	}
	if err := removeStale(ctx, path); err != nil {
		return nil, err
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		listener.Close()
		return nil, fmt.Errorf("open socket for everyone: %w", err)
	}
	return listener, nil
}

// removeStale leaves path free, or says who holds it.
func removeStale(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at socket: %w", err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%w: %s", errNotSocket, path)
	}
	dialer := net.Dialer{Timeout: dialTimeout}
	connection, err := dialer.DialContext(ctx, "unix", path)
	if err == nil {
		connection.Close()
		return fmt.Errorf("%w: %s", errInUse, path)
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		return fmt.Errorf("%w: %w", errInUse, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove stale socket: %w", err)
	}
	return nil
}

// Connections at a time. Root and the daemon's own user are not counted, so
// nobody else can keep an administrator with sudo out.
const (
	servedPerUser  = 16  // get answers
	openPerUser    = 32  // those above servedPerUser get too_many_requests, those above this nothing
	openForOthers  = 256 // all users that are counted together
	headerTimeout  = 5 * time.Second
	idleTimeout    = 10 * time.Second
	writeTimeout   = 10 * time.Second
	maxHeaderBytes = 8 << 10
)

// peerListener is a listener that knows its peers and counts their connections.
type peerListener struct {
	net.Listener
	exempt map[uint32]bool

	mutex sync.Mutex
	open  map[uint32]int
	total int
}

func newPeerListener(listener net.Listener, exempt ...uint32) *peerListener {
	l := &peerListener{Listener: listener, exempt: make(map[uint32]bool), open: make(map[uint32]int)}
	for _, uid := range exempt {
		l.exempt[uid] = true
	}
	return l
}

// Accept gives the next connection that may stay; the others are closed.
func (l *peerListener) Accept() (net.Conn, error) {
	for {
		connection, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		peer, err := peerOf(connection)
		if err != nil {
			connection.Close()
			continue
		}
		number, ok := l.admitConnection(peer.UID)
		if !ok {
			connection.Close()
			continue
		}
		return &peerConn{Conn: connection, peer: peer, overLimit: number > servedPerUser, leave: l.leaveFunc(peer.UID)}, nil
	}
}

// admitConnection counts a connection in; number is how many its user has with it, 0
// for a user who is not counted.
func (l *peerListener) admitConnection(uid uint32) (number int, ok bool) {
	if l.exempt[uid] {
		return 0, true
	}
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.open[uid] >= openPerUser || l.total >= openForOthers {
		return 0, false
	}
	l.open[uid]++
	l.total++
	return l.open[uid], true
}

// leaveFunc counts the connection out, once.
func (l *peerListener) leaveFunc(uid uint32) func() {
	return sync.OnceFunc(func() {
		if l.exempt[uid] {
			return
		}
		l.mutex.Lock()
		defer l.mutex.Unlock()
		l.total--
		if l.open[uid]--; l.open[uid] == 0 {
			delete(l.open, uid)
		}
	})
}

// peerConn is a connection whose user is known.
type peerConn struct {
	net.Conn
	peer      Peer
	overLimit bool // its user has too many: it gets a refusal and nothing else
	leave     func()
}

// Close gives the place back.
func (c *peerConn) Close() error {
	c.leave()
	return c.Conn.Close()
}
