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

// Socket is the listener of the daemon. It knows its file, and makes it anew if
// something removed it: Restore. Connections that are open stay.
type Socket struct {
	path string

	mutex    sync.Mutex
	listener *net.UnixListener
	file     fs.FileInfo // ours, at path
	closed   bool
}

// Listen opens the socket that every user of the Mac may connect to: it
// connects first, removes the file only if it is a socket and nobody answers,
// listens, and sets mode 0666 (facts/macos.md 14). Peer credentials decide who
// may do what. The file goes away when the listener is closed.
func Listen(ctx context.Context, path string) (*Socket, error) {
	if len(path) >= maxSocketPath {
		return nil, fmt.Errorf("%w: %q has %d bytes, at most %d fit; use a shorter folder",
			errPathTooLong, path, len(path), maxSocketPath-1)
	}
	s := &Socket{path: path}
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// open listens at the path, where nobody may listen already.
func (s *Socket) open(ctx context.Context) error {
	if err := removeStale(ctx, s.path); err != nil {
		return err
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: s.path, Net: "unix"})
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	listener.SetUnlinkOnClose(false) // it does not look whose file that is
	file, err := os.Lstat(s.path)
	if err == nil {
		err = openForEveryone(s.path)
	}
	if err != nil {
		listener.Close()
		return fmt.Errorf("open socket for everyone: %w", err)
	}
	s.listener, s.file = listener, file
	return nil
}

// openForEveryone follows no link: a Mac's /var/run may have a group that writes
// there.
func openForEveryone(path string) error {
	err := unix.Fchmodat(unix.AT_FDCWD, path, 0o666, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.EOPNOTSUPP) { // Linux before 6.6
		return os.Chmod(path, 0o666)
	}
	return err
}

// Restore makes the socket's file anew if it is not there, and reports whether
// it has.
func (s *Socket) Restore(ctx context.Context) (restored bool, err error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.closed || s.isThere() {
		return false, nil
	}
	before := s.listener
	if err := s.open(ctx); err != nil {
		return false, fmt.Errorf("restore socket: %w", err)
	}
	return true, before.Close()
}

// isThere reports whether the file at the path is ours.
func (s *Socket) isThere() bool {
	found, err := os.Lstat(s.path)
	return err == nil && os.SameFile(found, s.file)
}

// Accept waits for the next connection, wherever the socket is by then.
func (s *Socket) Accept() (net.Conn, error) {
	for {
		listener := s.current()
		connection, err := listener.Accept()
		if err == nil || s.current() == listener {
			return connection, err
		}
	}
}

func (s *Socket) current() *net.UnixListener {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.listener
}

// Addr is the path.
func (s *Socket) Addr() net.Addr { return s.current().Addr() }

// Close removes the file, if it is ours, and ends Accept.
func (s *Socket) Close() error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	s.closed = true
	var removal error
	if s.isThere() {
		removal = os.Remove(s.path)
	}
	return errors.Join(removal, s.listener.Close())
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
