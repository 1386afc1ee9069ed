package platform

import (
	"bytes"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// ProcessName is what the kernel calls the process with an id: the last part of
// its program's path, at most 15 bytes. Everybody may ask, of every process. One
// that has ended has no name, also while its parent has not waited for it yet.
func ProcessName(pid int) (string, error) {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return "", fmt.Errorf("read process: %w", err)
	}
	// The name is in parentheses and may have some itself; the state is behind it.
	begin, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	if begin < 0 || end < begin || len(stat) < end+3 || bytes.IndexByte([]byte("ZX"), stat[end+2]) >= 0 {
		return "", fmt.Errorf("read process: %w", unix.ESRCH)
	}
	return string(stat[begin+1 : end]), nil
}
