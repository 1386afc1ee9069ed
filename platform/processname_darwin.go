package platform

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// ProcessName is what the kernel calls the process with an id: the last part of
// its program's path, at most 15 bytes. Everybody may ask, of every process.
func ProcessName(pid int) (string, error) {
	record, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil {
		return "", fmt.Errorf("read process: %w", err)
	}
	return unix.ByteSliceToString(record.Proc.P_comm[:]), nil
}
