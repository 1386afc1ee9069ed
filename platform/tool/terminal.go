package tool

import (
	"errors"
	"fmt"
	"os"
	"os/exec"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// pseudoTerminal is a pseudo-terminal: a program has one end, we read the other.
//
// It is read with select(2) before each read(2), beside a pipe that stops the
// reading. A blocked read could not be stopped, and Go's own poller can not be
// used: kqueue does not work for this device on macOS (golang.org/issue/22099).
type pseudoTerminal struct {
	ours, theirs *os.File
	// Closing wake makes woken readable, which ends the reading.
	woken, wake *os.File
	silent      chan struct{} // closed when nothing more is read
}

func openTerminal() (*pseudoTerminal, error) {
	ours, theirs, err := pty.Open()
	if err != nil {
		return nil, fmt.Errorf("open terminal: %w", err)
	}
	t := &pseudoTerminal{ours: ours, theirs: theirs}
	if err := t.setUp(); err != nil {
		t.close()
		return nil, fmt.Errorf("prepare terminal: %w", err)
	}
	return t, nil
}

func (t *pseudoTerminal) setUp() (err error) {
	if t.woken, t.wake, err = os.Pipe(); err != nil {
		return err
	}
	if max(t.ours.Fd(), t.woken.Fd()) >= unix.FD_SETSIZE {
		return errors.New("too many open files for select")
	}
	mode, err := unix.IoctlGetTermios(int(t.theirs.Fd()), getTermios)
	if err != nil {
		return err
	}
	mode.Lflag &^= unix.ECHO
	return unix.IoctlSetTermios(int(t.theirs.Fd()), setTermios, mode)
}

// attachTo makes the terminal the program's.
func (t *pseudoTerminal) attachTo(cmd *exec.Cmd) {
	cmd.Stdin, cmd.Stdout, cmd.Stderr = t.theirs, t.theirs, t.theirs
	cmd.SysProcAttr = ownSession()
}

// readLines leaves the program's end to the program, which has it by now, and
// reads until the end of what is printed.
func (t *pseudoTerminal) readLines(out *lineSplitter) {
	_ = t.theirs.Close()
	t.silent = make(chan struct{})
	go func() {
		defer close(t.silent)
		buffer := make([]byte, 4096) // what a terminal holds
		for t.waitReadable() {
			count, err := t.ours.Read(buffer)
			out.write(buffer[:count])
			if err != nil { // EOF on a Mac, EIO on Linux: nobody has the other end any more
				break
			}
		}
		out.flushLast()
	}()
}

// waitReadable waits for something to read or the end of it; false means to stop.
func (t *pseudoTerminal) waitReadable() bool {
	ours, woken := int(t.ours.Fd()), int(t.woken.Fd())
	for {
		var ready unix.FdSet
		ready.Set(ours)
		ready.Set(woken)
		switch _, err := unix.Select(max(ours, woken)+1, &ready, nil, nil, nil); {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return false
		default:
			return !ready.IsSet(woken)
		}
	}
}

// close ends the reading, and gives everything back. Whoever still has the
// other end is hung up on.
func (t *pseudoTerminal) close() {
	if t.wake != nil {
		_ = t.wake.Close()
	}
	if t.silent != nil {
		<-t.silent
	}
	for _, file := range []*os.File{t.ours, t.theirs, t.woken} {
		_ = file.Close() // nil and closed ones are errors without an effect
	}
}
