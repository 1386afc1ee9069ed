package platform

import (
	"context"
	"fmt"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// processTable is what is remembered from one call of Processes to the next.
type processTable struct {
	mu       sync.Mutex
	programs programCache
}

// endedProcess is the state of a process that its parent has not waited for yet:
// SZOMB of sys/proc.h. It is no process any more.
const endedProcess = 5

// Processes gives the processes of Parallels Desktop and of everybody who calls
// a program like one of its own; Path tells them apart. It is one kernel call
// for the whole table, and a second one, for path and arguments, for each such
// program that was not there at the call before.
func (m *Machine) Processes(ctx context.Context) ([]Process, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	table, err := unix.SysctlKinfoProcSlice("kern.proc.all")
	if err != nil {
		return nil, fmt.Errorf("read process table: %w", err)
	}
	m.processes.mu.Lock()
	defer m.processes.mu.Unlock()
	var processes []Process
	for index := range table {
		if process := &table[index].Proc; isVendorName(process.P_comm[:]) && process.P_stat != endedProcess {
			processes = append(processes, m.processes.programs.processFrom(&table[index]))
		}
	}
	m.processes.programs.endCall()
	return processes, nil
}

func (p *programCache) processFrom(record *unix.KinfoProc) Process {
	process := Process{
		PID:     int(record.Proc.P_pid),
		UID:     record.Eproc.Ucred.Uid,
		Name:    unix.ByteSliceToString(record.Proc.P_comm[:]),
		Started: time.Unix(record.Proc.P_starttime.Unix()),
	}
	runs := p.lookUp(programInstance{
		pid:         process.PID,
		started:     process.Started.UnixNano(),
		uid:         process.UID,
		name:        process.Name,
		argsAddress: uint64(uintptr(unsafe.Pointer(record.Proc.User_stack))),
	}, func() (string, []string) { return programOf(process.PID) })
	process.Path, process.Args = runs.path, runs.args
	return process
}

// programOf gives nothing for a process that ended meanwhile.
func programOf(pid int) (path string, args []string) {
	data, err := unix.SysctlRaw("kern.procargs2", pid)
	if err != nil {
		return "", nil
	}
	path, args, err = parseProcessArgs(data)
	if err != nil {
		return "", nil
	}
	return path, args
}
