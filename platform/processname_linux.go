package platform

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// ProcessName is what the kernel calls the process with an id: the last part of
// its program's path, at most 15 bytes. Everybody may ask, of every process.
func ProcessName(pid int) (string, error) {
	name, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/comm")
	if err != nil {
		return "", fmt.Errorf("read process: %w", err)
	}
	return strings.TrimSuffix(string(name), "\n"), nil
}
