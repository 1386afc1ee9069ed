package platform

import (
	"bytes"
	"encoding/binary"
	"errors"
	"path/filepath"
	"time"
)

// The layout of one record of the Mac's process table, struct kinfo_proc of a
// 64-bit program: extern_proc of the SDK's sys/proc.h, and eproc of its
// sys/sysctl.h behind it. The sizes are the same on both kinds of processors.
const (
	recordSize = 648

	recordStartSeconds = 0   // kp_proc.p_starttime.tv_sec, 64 bits
	recordStartMicros  = 8   // kp_proc.p_starttime.tv_usec, 32 bits
	recordState        = 36  // kp_proc.p_stat, 8 bits
	recordPID          = 40  // kp_proc.p_pid, 32 bits
	recordUserStack    = 56  // kp_proc.user_stack, an address of 64 bits
	recordName         = 243 // kp_proc.p_comm
	recordUID          = 420 // kp_eproc.e_ucred.cr_uid, 32 bits: the effective one

	recordNameSize = 17 // MAXCOMLEN + 1
)

// endedProcess is the state of a process that its parent has not waited for yet:
// SZOMB of sys/proc.h. It is no process any more.
const endedProcess = 5

// processRecord is what we need of a record.
type processRecord struct {
	instance programInstance // started in microseconds since 1970
	ended    bool
}

var errProcessTable = errors.New("process table is cut short")

// parseProcessTable reads the kernel's kern.proc.all and hands over each record
// in its order. The addresses in it stay numbers: they are another process's,
// or the kernel's.
func parseProcessTable(table []byte, handle func(processRecord)) error {
	if len(table)%recordSize != 0 {
		return errProcessTable
	}
	for ; len(table) > 0; table = table[recordSize:] {
		handle(parseProcessRecord(table))
	}
	return nil
}

func parseProcessRecord(record []byte) processRecord {
	number := func(at int) uint32 { return binary.NativeEndian.Uint32(record[at:]) }
	seconds := int64(binary.NativeEndian.Uint64(record[recordStartSeconds:]))
	name, _, _ := bytes.Cut(record[recordName:recordName+recordNameSize], []byte{0})
	return processRecord{
		instance: programInstance{
			pid: int(int32(number(recordPID))), started: seconds*1e6 + int64(int32(number(recordStartMicros))),
			uid: number(recordUID), name: string(name),
			argsAddress: binary.NativeEndian.Uint64(record[recordUserStack:]),
		},
		ended: record[recordState] == endedProcess,
	}
}

// vendorProcesses gives the processes of a table that are the vendor's by their
// names; read gives what a process with an id runs.
func (p *programCache) vendorProcesses(table []byte, read func(pid int) runningProgram) ([]Process, error) {
	var processes []Process
	err := parseProcessTable(table, func(record processRecord) {
		found := record.instance
		if record.ended || !isVendorName(found.name) {
			return
		}
		runs := p.lookUp(found, func() runningProgram { return read(found.pid) })
		processes = append(processes, Process{
			PID: found.pid, UID: found.uid, Name: found.name, Started: time.UnixMicro(found.started),
			Path: runs.path, Arguments: runs.arguments,
		})
	})
	p.endCall()
	return processes, err
}

// programOf puts together what a process runs: the kernel's path, and its
// arguments only where that lies in the vendor's bundle (H61). A kernel that has
// no call for the path (known is false) leaves the one beside the arguments,
// which parseProcessArgs says the worth of; a file without a path has none.
func programOf(kernelPath func() (path string, known bool), arguments func() ([]byte, error)) runningProgram {
	path, known := kernelPath()
	if known && !isInside(filepath.Clean(path), VendorBundle) {
		return runningProgram{path: path}
	}
	data, err := arguments()
	if err != nil {
		return runningProgram{path: path}
	}
	called, argv, err := parseProcessArgs(data)
	if !known {
		path = called
	}
	if err != nil || !isInside(filepath.Clean(path), VendorBundle) {
		return runningProgram{path: path}
	}
	return runningProgram{path: path, arguments: parseVMArguments(argv)}
}
