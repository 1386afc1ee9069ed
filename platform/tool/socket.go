package tool

import (
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// conversation is a program's standard input that it can answer on: one end of a
// socketpair, of which the kernel tells the program who made it.
type conversation struct {
	theirs  *os.File
	ours    *net.UnixConn
	request []byte
	answer  io.Writer
	streams sync.WaitGroup // that are still written and read

	maxFiles int
	mu       sync.Mutex
	files    []*os.File // descriptors that the program sent
	taken    bool       // nobody wants more of them
}

func newConversation(request []byte, answer io.Writer, maxFiles int) (*conversation, error) {
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, fmt.Errorf("make a socketpair: %w", err)
	}
	return &conversation{theirs: theirs, ours: ours, request: request, answer: answer, maxFiles: maxFiles}, nil
}

// socketPair makes two ends that no other child inherits.
func socketPair() (*net.UnixConn, *os.File, error) {
	syscall.ForkLock.RLock()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		syscall.ForkLock.RUnlock()
		return nil, nil, err
	}
	unix.CloseOnExec(pair[0])
	unix.CloseOnExec(pair[1])
	syscall.ForkLock.RUnlock()

	ours, theirs := os.NewFile(uintptr(pair[0]), "our end"), os.NewFile(uintptr(pair[1]), "their end")
	defer ours.Close()
	connection, err := net.FileConn(ours)
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return connection.(*net.UnixConn), theirs, nil
}

// begin leaves the program's end to the program, and talks to it if it started.
func (c *conversation) begin(started bool) {
	if c == nil {
		return
	}
	_ = c.theirs.Close()
	if !started {
		_ = c.ours.Close()
		return
	}
	c.streams.Go(func() {
		_, _ = c.ours.Write(c.request) // a program that does not read all has its reasons
		_ = c.ours.CloseWrite()
	})
	c.streams.Go(c.read)
}

// read takes what the program says, and the descriptors that it sends with it.
func (c *conversation) read() {
	if c.maxFiles == 0 {
		_, _ = io.Copy(c.answer, c.ours)
		return
	}
	buffer, rights := make([]byte, 4096), make([]byte, unix.CmsgSpace(4*maxRights))
	for {
		n, m, _, _, err := c.ours.ReadMsgUnix(buffer, rights) // sets close-on-exec
		kept := m == 0 || c.keepFiles(rights[:m])
		if err != nil || n == 0 {
			return
		}
		if _, err := c.answer.Write(buffer[:n]); err != nil || !kept {
			_ = c.ours.CloseRead() // else the program waits for us
			return
		}
	}
}

// maxRights is how many descriptors come with one message; more than that, Linux
// sends none (253), and macOS none either.
const maxRights = 253

// keepFiles keeps the descriptors of one message, and reports whether they were all
// wanted.
func (c *conversation) keepFiles(rights []byte) bool {
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	wanted := true
	for i := range messages {
		descriptors, err := unix.ParseUnixRights(&messages[i])
		wanted = wanted && err == nil
		for _, descriptor := range descriptors {
			if wanted = wanted && len(c.files) < c.maxFiles && !c.taken; !wanted {
				_ = unix.Close(descriptor)
				continue
			}
			c.files = append(c.files, os.NewFile(uintptr(descriptor), "sent by a program"))
		}
	}
	return wanted
}

// takeFiles gives the descriptors, or closes them where the run does not count.
func (c *conversation) takeFiles(failed bool) []*os.File {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	files := c.files
	c.files, c.taken = nil, true
	if !failed {
		return files
	}
	for _, file := range files {
		_ = file.Close()
	}
	return nil
}

// end waits, after the program's own end, for what it answered. A process that
// it left behind and that holds its end is not waited for beyond the grace.
func (c *conversation) end(grace time.Duration) {
	if c == nil {
		return
	}
	_ = c.ours.SetDeadline(time.Now().Add(grace))
	c.streams.Wait()
	_ = c.ours.Close()
}
