//go:build !linux

package platform

// Only Linux has the process table that the tests can fill.
func vmAppRole()        {}
func killedDaemonRole() {}
