package tool

import (
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// ownGroup makes the program a group leader; the kernel kills it if we die.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// ownSession makes the program a group leader on its standard input, a terminal
// that is its alone; the kernel kills it if we die.
func ownSession() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: true, Setctty: true, Pdeathsig: syscall.SIGKILL}
}

// holdThread keeps the goroutine on its thread: Pdeathsig fires when the thread
// that started the program ends, not the process.
func holdThread() (release func()) {
	runtime.LockOSThread()
	return runtime.UnlockOSThread
}

// The names of the calls that read and write the mode of a terminal.
const (
	getTermios = unix.TCGETS
	setTermios = unix.TCSETS
)
