package platform

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// processTable is what is remembered from one call of Processes to the next.
type processTable struct {
	mu       sync.Mutex
	programs programCache
}

// Processes gives the processes of Parallels Desktop and of everybody who calls
// a program like one of its own; Path tells them apart. It is one kernel call
// for the whole table, and two more, for path and arguments, for each such
// program that was not there at the call before.
func (m *Machine) Processes(ctx context.Context) ([]Process, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	table, err := readProcessTable()
	if err != nil {
		return nil, fmt.Errorf("read process table: %w", err)
	}
	m.processes.mu.Lock()
	defer m.processes.mu.Unlock()
	processes, err := m.processes.programs.vendorProcesses(table, func(pid int) runningProgram {
		return programOf(
			func() (string, bool) { return processPath(pid) },
			func() ([]byte, error) { return unix.SysctlRaw("kern.procargs2", pid) },
		)
	})
	if err != nil {
		return nil, fmt.Errorf("read process table: %w", err)
	}
	return processes, nil
}

// readProcessTable asks again when more processes began between the kernel's two
// answers, of the size and of the table, than it leaves room for.
func readProcessTable() (table []byte, err error) {
	for range 3 {
		table, err = unix.SysctlRaw("kern.proc.all")
		if !errors.Is(err, unix.ENOMEM) {
			break
		}
	}
	return table, err
}

// readProcess gives the record of one process.
func readProcess(pid int) (processRecord, error) {
	record, err := unix.SysctlRaw("kern.proc.pid", pid)
	switch {
	case err != nil:
		return processRecord{}, fmt.Errorf("read process: %w", err)
	case len(record) != recordSize: // nothing for one that is not there
		return processRecord{}, fmt.Errorf("read process: %w", unix.ESRCH)
	}
	return parseProcessRecord(record), nil
}

// Numbers of the call that libproc's proc_pidpath makes (xnu,
// bsd/sys/proc_info.h and libsyscall/wrappers/libproc).
const (
	callPIDInfo = 2    // PROC_INFO_CALL_PIDINFO
	flavorPath  = 11   // PROC_PIDPATHINFO
	pathSize    = 1024 // PROC_PIDPATHINFO_SIZE
)

// processPath is the path of the file that a process executes, as the kernel
// finds it from the file: absolute, without links, and nothing that the process
// could write. It is empty for a process that has ended and for a file that was
// deleted; known is false on a kernel that does not take the call. Not tried on
// a Mac; sing-box and mihomo, which have no C either, ask in the same way.
func processPath(pid int) (path string, known bool) {
	var answer [pathSize]byte
	//lint:ignore SA1019 the library has no wrapper for proc_info; the call goes through libSystem's syscall
	_, _, failed := unix.Syscall6(unix.SYS_PROC_INFO, callPIDInfo, uintptr(pid), flavorPath, 0,
		uintptr(unsafe.Pointer(&answer[0])), uintptr(len(answer)))
	runtime.KeepAlive(&answer)
	if failed != 0 {
		return "", failed == unix.ESRCH || failed == unix.ENOENT
	}
	return unix.ByteSliceToString(answer[:]), true
}
