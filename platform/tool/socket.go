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
}

func newConversation(request []byte, answer io.Writer) (*conversation, error) {
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, fmt.Errorf("make a socketpair: %w", err)
	}
	return &conversation{theirs: theirs, ours: ours, request: request, answer: answer}, nil
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
	c.streams.Go(func() { _, _ = io.Copy(c.answer, c.ours) })
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
