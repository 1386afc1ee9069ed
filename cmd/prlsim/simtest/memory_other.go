//go:build !linux

package simtest

// UseMemory does nothing: only Linux has a folder in memory.
func UseMemory() (end func()) { return func() {} }
