package tool

import (
	"runtime"
	"syscall"
)

// ownGroup makes the program a group leader; the kernel kills it if we die.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// holdThread keeps the goroutine on its thread: Pdeathsig fires when the thread
// that started the program ends, not the process.
func holdThread() (release func()) {
	runtime.LockOSThread()
	return runtime.UnlockOSThread
}
