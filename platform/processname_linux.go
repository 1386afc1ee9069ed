package platform

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// ProcessName is what the kernel calls the process with an id: the last part of
// its program's path, at most 15 bytes; and whose it is, by the effective uid.
// Everybody may ask, of every process. One that has ended has no name, also while
// its parent has not waited for it yet.
func ProcessName(pid int) (name string, uid uint32, err error) {
	folder := "/proc/" + strconv.Itoa(pid)
	var owner unix.Stat_t
	stat, err := os.ReadFile(folder + "/stat")
	if err := errors.Join(err, unix.Stat(folder, &owner)); err != nil {
		return "", 0, fmt.Errorf("read process: %w", err)
	}
	// The name is in parentheses and may have some itself; the state is behind it.
	begin, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	if begin < 0 || end < begin || len(stat) < end+3 || bytes.IndexByte([]byte("ZX"), stat[end+2]) >= 0 {
		return "", 0, fmt.Errorf("read process: %w", unix.ESRCH)
	}
	return string(stat[begin+1 : end]), owner.Uid, nil
}
