package cmd_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// usage is what the kernel says of a process: proc(5).
type usage struct {
	rss         int64 // bytes
	cpu         time.Duration
	wakeups     int64 // voluntary context switches of all threads
	written     int64 // bytes
	threads     int
	descriptors int
	descendants []descendant
}

func (u usage) String() string {
	return fmt.Sprintf("%d descendants, %d descriptors, %d threads", len(u.descendants), u.descriptors, u.threads)
}

// descendant is a child of a process, or of one of its children.
type descendant struct {
	pid   int
	state string // Z: it ended, and nobody has waited for it
	line  string // its arguments
	rss   int64  // bytes
}

func readUsage(t testing.TB, pid int) usage {
	t.Helper()
	u := usage{
		rss:         field(t, readProc(t, pid, "status"), "VmRSS:") << 10,
		written:     field(t, readProc(t, pid, "io"), "write_bytes:"),
		cpu:         cpuTime(t, pid),
		threads:     entries(t, pid, "task"),
		descriptors: entries(t, pid, "fd"),
		descendants: descendants(pid),
	}
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, thread := range threads {
		if data, err := os.ReadFile(thread); err == nil {
			u.wakeups += field(t, data, "voluntary_ctxt_switches:")
		}
	}
	return u
}

// cpuTime is finer than the ticks of /proc: the clock of a process's processor
// time has this number, as in the kernel's MAKE_PROCESS_CPUCLOCK.
func cpuTime(t testing.TB, pid int) time.Duration {
	t.Helper()
	const scheduler = 2
	var spent unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|scheduler), &spent); err != nil {
		t.Fatal(err)
	}
	return time.Duration(spent.Nano())
}

// descendants are all processes that a process or its children have started,
// and that have not been waited for.
func descendants(pid int) []descendant {
	var found []descendant
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid)) // the pattern is right
	for _, list := range lists {
		children, _ := os.ReadFile(list) // a thread that ended has none
		for _, word := range strings.Fields(string(children)) {
			child, err := strconv.Atoi(word)
			if err != nil {
				continue
			}
			found = append(found, describeProcess(child))
			found = append(found, descendants(child)...)
		}
	}
	return found
}

// describeProcess leaves out what a process that has gone no longer has.
func describeProcess(pid int) descendant {
	described := descendant{pid: pid}
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(status)) {
		switch words := strings.Fields(line); {
		case len(words) > 1 && words[0] == "State:":
			described.state = words[1]
		case len(words) > 1 && words[0] == "VmRSS:":
			kilobytes, _ := strconv.ParseInt(words[1], 10, 64)
			described.rss = kilobytes << 10
		}
	}
	line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	described.line = string(bytes.ReplaceAll(line, []byte{0}, []byte{' '}))
	return described
}

func entries(t testing.TB, pid int, folder string) int {
	t.Helper()
	found, err := os.ReadDir(fmt.Sprintf("/proc/%d/%s", pid, folder))
	if err != nil {
		t.Fatal(err)
	}
	return len(found)
}

func readProc(t testing.TB, pid int, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func field(t testing.TB, data []byte, name string) int64 {
	t.Helper()
	for line := range strings.Lines(string(data)) {
		if value, found := strings.CutPrefix(line, name); found {
			number, err := strconv.ParseInt(strings.Fields(value)[0], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return number
		}
	}
	t.Fatalf("no %s", name)
	return 0
}

func processes(t testing.TB) int {
	t.Helper()
	found, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	return len(found)
}
