//go:build !linux

package tool

import "syscall"

// ownGroup makes the program a group leader. macOS has no parent-death signal:
// a program outlives an agent that was killed hard until its own end.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

func holdThread() (release func()) { return func() {} }
