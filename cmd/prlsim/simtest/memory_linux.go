// Package simtest is what the tests share that make simulated Macs.
package simtest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// memoryFolder is where Linux has a file system in memory, and memoryPrefix how the
// folders of tests there begin, before the process's number: short, because the path of
// a Mac's socket has room for some hundred bytes.
const (
	memoryFolder = "/dev/shm"
	memoryPrefix = "prl"
)

// enoughMemory is what must be free there, in bytes: the tests use a sixth of it.
const enoughMemory = 2 << 30

// UseMemory has this process, and those that it starts, make temporary folders in
// memory, where there is room and programs may run, and gives the function that removes
// them. A simulated Mac is hundreds of small files, and to make and remove them on a
// disk is most of what the simulator's tests compute. TMPDIR decides where it is set. It
// is not for tests of an agent: only a disk's file system tells it whether a file that
// has no path any more is still there.
func UseMemory() (end func()) {
	removeOld(memoryFolder)
	var there unix.Statfs_t
	if os.Getenv("TMPDIR") != "" || unix.Statfs(memoryFolder, &there) != nil || there.Type != unix.TMPFS_MAGIC ||
		there.Flags&unix.ST_NOEXEC != 0 || there.Bavail*uint64(there.Bsize) < enoughMemory {
		return func() {}
	}
	folder := filepath.Join(memoryFolder, fmt.Sprint(memoryPrefix, os.Getpid()))
	if os.Mkdir(folder, 0o755) != nil { // other accounts play a part in tests
		return func() {}
	}
	if err := os.Setenv("TMPDIR", folder); err != nil {
		panic(err)
	}
	return func() { _ = os.RemoveAll(folder) }
}

// removeOld removes the folders of tests that were killed.
func removeOld(folder string) {
	names, _ := filepath.Glob(filepath.Join(folder, memoryPrefix+"*"))
	for _, name := range names {
		pid, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(name), memoryPrefix))
		if err == nil && syscall.Kill(pid, 0) == syscall.ESRCH {
			_ = os.RemoveAll(name)
		}
	}
}
