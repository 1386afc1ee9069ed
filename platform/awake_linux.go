package platform

import (
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"prlagent/platform/safefile"
)

// AwakeTime is how long the machine has been awake since the boot that is told by
// an id. No clock that is set, and no sleep, makes it longer.
func AwakeTime() (boot string, awake time.Duration, err error) {
	id, err := safefile.ReadFile("/proc/sys/kernel/random/boot_id", 64)
	if err != nil {
		return "", 0, fmt.Errorf("read boot session: %w", err)
	}
	var now unix.Timespec
	if err = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return "", 0, fmt.Errorf("read awake time: %w", err)
	}
	return strings.TrimSpace(string(id)), time.Duration(now.Nano()), nil
}
