package platform

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// ProcessName is what the kernel calls the process with an id: the last part of
// its program's path, at most 15 bytes. Everybody may ask, of every process. One
// that has ended has no name, also while its parent has not waited for it yet.
func ProcessName(pid int) (string, error) {
	record, err := readProcess(pid)
	if err == nil && record.ended {
		err = fmt.Errorf("read process: %w", unix.ESRCH)
	}
	if err != nil {
		return "", err
	}
	return record.instance.name, nil
}
