package platform

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// AwakeTime is how long the Mac has been awake since the boot that is told by an
// id (facts/macos.md 2.4). No clock that is set, and no sleep, makes it longer:
// the clock is that of Go's timers. Not tried on a Mac.
func AwakeTime() (boot string, awake time.Duration, err error) {
	if boot, err = unix.Sysctl("kern.bootsessionuuid"); err != nil {
		return "", 0, fmt.Errorf("read boot session: %w", err)
	}
	var now unix.Timespec
	if err = unix.ClockGettime(unix.CLOCK_UPTIME_RAW, &now); err != nil {
		return "", 0, fmt.Errorf("read awake time: %w", err)
	}
	return boot, time.Duration(now.Nano()), nil
}
