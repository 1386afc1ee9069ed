package platform

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Processes gives every process of the Mac, from one kernel call; only those of
// Parallels Desktop cost a second one each, for path and arguments. A process
// that ends meanwhile keeps an empty path.
func (m *Machine) Processes(ctx context.Context) ([]Process, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	table, err := unix.SysctlKinfoProcSlice("kern.proc.all")
	if err != nil {
		return nil, fmt.Errorf("read process table: %w", err)
	}
	processes := make([]Process, 0, len(table))
	for index := range table {
		processes = append(processes, processFrom(&table[index]))
	}
	return processes, nil
}

func processFrom(record *unix.KinfoProc) Process {
	process := Process{
		PID:     int(record.Proc.P_pid),
		UID:     record.Eproc.Ucred.Uid,
		Name:    unix.ByteSliceToString(record.Proc.P_comm[:]),
		Started: time.Unix(record.Proc.P_starttime.Unix()),
	}
	if !isVendorName(process.Name) {
		return process
	}
	if data, err := unix.SysctlRaw("kern.procargs2", process.PID); err == nil {
		if path, args, err := parseProcessArgs(data); err == nil {
			process.Path, process.Args = path, args
		}
	}
	return process
}
