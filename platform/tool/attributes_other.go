//go:build !linux

package tool

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// ownGroup makes the program a group leader. macOS has no parent-death signal,
// and launchd ends only what is in the agent's own group: a program outlives an
// agent that was killed hard until the next one ends it (Runner.Children).
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

// ownSession makes the program a group leader on its standard input, a terminal
// that is its alone.
func ownSession() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: true, Setctty: true}
}

func holdThread() (release func()) { return func() {} }

// The names of the calls that read and write the mode of a terminal.
const (
	getTermios = unix.TIOCGETA
	setTermios = unix.TIOCSETA
)
