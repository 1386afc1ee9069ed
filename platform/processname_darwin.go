package platform

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// ProcessName is what the kernel calls the process with an id: the last part of
// its program's path, at most 15 bytes; and whose it is, by the effective uid.
// Everybody may ask, of every process. One that has ended has no name, also while
// its parent has not waited for it yet.
func ProcessName(pid int) (name string, uid uint32, err error) {
	record, err := readProcess(pid)
	if err == nil && record.ended {
		err = fmt.Errorf("read process: %w", unix.ESRCH)
	}
	if err != nil {
		return "", 0, err
	}
	return record.instance.name, record.instance.uid, nil
}
