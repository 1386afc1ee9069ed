//go:build !linux

package platform

// vmAppRole: only Linux has the process table that the tests can fill.
func vmAppRole() {}
