package platform

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// clockTicks a second is what Linux uses in /proc on every architecture we build for.
const clockTicks = 100

// Processes gives the processes of this machine. Below a root it gives only
// those whose program lies in it, called by its whole path, with the Mac's path:
// two simulated Macs do not see each other.
func (m *Machine) Processes(ctx context.Context) ([]Process, error) {
	booted, err := bootTime()
	if err != nil {
		return nil, fmt.Errorf("read boot time: %w", err)
	}
	folders, err := filepath.Glob("/proc/[1-9]*")
	if err != nil {
		return nil, fmt.Errorf("read process table: %w", err)
	}
	var processes []Process
	for _, folder := range folders {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		process, err := readProcess(folder, booted, m.root != "")
		if err != nil {
			continue // it ended meanwhile
		}
		if m.root == "" || m.adopt(&process) {
			processes = append(processes, process)
		}
	}
	return processes, nil
}

// adopt turns the path on this disk into the Mac's.
func (m *Machine) adopt(process *Process) bool {
	path, inside := strings.CutPrefix(process.Path, m.Path("/")+"/")
	process.Path = "/" + path
	process.Name = filepath.Base(path)
	return inside
}

func readProcess(folder string, booted time.Time, always bool) (Process, error) {
	var owner unix.Stat_t
	if err := unix.Stat(folder, &owner); err != nil {
		return Process{}, err
	}
	line, err := os.ReadFile(filepath.Join(folder, "stat"))
	if err != nil {
		return Process{}, err
	}
	process, err := parseProcessStat(line, booted)
	if err != nil {
		return Process{}, err
	}
	process.UID = owner.Uid
	if always || isVendorName(process.Name) {
		process.Path, process.Args = readCommandLine(folder)
	}
	return process, nil
}

func readCommandLine(folder string) (path string, args []string) {
	data, err := os.ReadFile(filepath.Join(folder, "cmdline"))
	if err != nil || len(data) == 0 {
		return "", nil
	}
	words := strings.Split(strings.TrimSuffix(string(data), "\x00"), "\x00")
	return words[0], words[1:]
}

// parseProcessStat reads /proc/PID/stat: `PID (NAME) STATE …`, where NAME can
// hold anything and the start time is the 22nd field.
func parseProcessStat(line []byte, booted time.Time) (Process, error) {
	opening, closing := bytes.IndexByte(line, '('), bytes.LastIndexByte(line, ')')
	if opening < 1 || closing < opening {
		return Process{}, errors.New("process status without a name")
	}
	pid, err := strconv.Atoi(string(bytes.TrimSpace(line[:opening])))
	if err != nil {
		return Process{}, fmt.Errorf("read process id: %w", err)
	}
	fields := strings.Fields(string(line[closing+1:]))
	const startField = 22 - 3
	if len(fields) <= startField {
		return Process{}, errors.New("process status is cut short")
	}
	ticks, err := strconv.ParseInt(fields[startField], 10, 64)
	if err != nil {
		return Process{}, fmt.Errorf("read start time: %w", err)
	}
	started := booted.Add(time.Duration(ticks) * (time.Second / clockTicks))
	return Process{PID: pid, Name: string(line[opening+1 : closing]), Started: started}, nil
}

func bootTime() (time.Time, error) {
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		return time.Time{}, err
	}
	for line := range strings.Lines(string(data)) {
		if text, found := strings.CutPrefix(line, "btime "); found {
			seconds, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
			return time.Unix(seconds, 0), err
		}
	}
	return time.Time{}, fmt.Errorf("boot time: %w", fs.ErrNotExist)
}
