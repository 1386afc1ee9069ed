package sim

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// bellFolder holds a named pipe for each process that waits for changes of the
// Mac. Who changes something writes a byte into each, so that the waiting cost
// nothing and are told at once; a slow look at the folder besides tells them
// when the Mac is gone.
const bellFolder = "bells"

// bell is the reading end of a process's pipe. It is the writing end as well:
// such a pipe never ends.
type bell struct {
	descriptor int    // -1: there is none
	file       string // empty: made by who started this process
}

// openBell makes a pipe that nobody rings before it has a name.
func (m Mac) openBell() (*bell, error) {
	folder := m.marker(bellFolder)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, fmt.Errorf("make folder of bells: %w", err)
	}
	file := filepath.Join(folder, fmt.Sprintf(".%d-%d", os.Getpid(), time.Now().UnixNano()))
	if err := unix.Mkfifo(file, 0o644); err != nil {
		return nil, fmt.Errorf("make bell: %w", err)
	}
	descriptor, err := unix.Open(file, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open bell: %w", err)
	}
	return &bell{descriptor, file}, nil
}

// name lets the bell be rung. It has a reader then, as a named bell must: ring
// removes those without one.
func (b *bell) name(listener Listener) error {
	named := filepath.Join(filepath.Dir(b.file), listener.bell())
	if err := os.Rename(b.file, named); err != nil {
		return fmt.Errorf("name bell: %w", err)
	}
	b.file = named
	return nil
}

// bellAt is the bell that a process was given as its input, if it was.
func bellAt(descriptor int) *bell {
	var info unix.Stat_t
	if err := unix.Fstat(descriptor, &info); err != nil || info.Mode&unix.S_IFMT != unix.S_IFIFO {
		return &bell{descriptor: -1}
	}
	if err := unix.SetNonblock(descriptor, true); err != nil {
		return &bell{descriptor: -1}
	}
	return &bell{descriptor: descriptor}
}

func (b *bell) close() {
	if b.descriptor >= 0 {
		_ = unix.Close(b.descriptor)
	}
	if b.file != "" {
		_ = os.Remove(b.file)
	}
}

// wait returns when somebody rings, after the limit, or, with lost set, when
// nobody reads any more what is written to the output. An output below 0 is not
// watched.
func (b *bell) wait(limit time.Duration, output int) (lost bool) {
	watched := []unix.PollFd{{Fd: int32(b.descriptor), Events: unix.POLLIN}, {Fd: int32(output)}}
	if _, err := unix.Poll(watched, int(limit.Milliseconds())); err != nil {
		return false // interrupted: the caller looks, and waits again
	}
	if watched[0].Revents != 0 {
		b.hush()
	}
	return watched[1].Revents != 0
}

// hush takes the rings out of the pipe.
func (b *bell) hush() {
	var rings [4096]byte
	count, err := unix.Read(b.descriptor, rings[:])
	if count == 0 && err == nil { // a pipe of strangers that has ended
		b.descriptor = -1
	}
}

// ring wakes every process that waits. It is a courtesy: they look by
// themselves now and then.
func (m Mac) ring() {
	folder := m.marker(bellFolder)
	for _, name := range m.bells() {
		pipe := filepath.Join(folder, name)
		descriptor, err := unix.Open(pipe, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			if errors.Is(err, unix.ENXIO) { // its process is gone
				_ = os.Remove(pipe)
			}
			continue
		}
		_, _ = unix.Write(descriptor, []byte{'\n'}) // a full pipe rings already
		_ = unix.Close(descriptor)
	}
}

// bells names the pipes, also those whose process is gone.
func (m Mac) bells() []string {
	entries, err := os.ReadDir(m.marker(bellFolder))
	if err != nil {
		return nil
	}
	var names []string
	for _, entry := range entries {
		if entry.Type()&fs.ModeNamedPipe != 0 && !strings.HasPrefix(entry.Name(), ".") {
			names = append(names, entry.Name())
		}
	}
	return names
}

// Listener is a process that has a bell: a running `prlctl monitor-events`, or,
// with an empty user, a program that lives with the Mac.
type Listener struct {
	User string `json:"user"`
	PID  int    `json:"pid"`
}

func (l Listener) bell() string { return fmt.Sprintf("%s@%d", l.User, l.PID) }

// listeners lists the processes that wait. Those that have ended are forgotten:
// their pipes have no reader.
func (m Mac) listeners() []Listener {
	m.ring()
	var listeners []Listener
	for _, name := range m.bells() {
		user, id, _ := strings.Cut(name, "@")
		if pid, err := strconv.Atoi(id); err == nil {
			listeners = append(listeners, Listener{User: user, PID: pid})
		}
	}
	return listeners
}

// Monitors lists the streams of events that are connected: what is recorded
// from now on reaches them.
func (m Mac) Monitors() []Listener {
	return slices.DeleteFunc(append([]Listener{}, m.listeners()...), func(l Listener) bool { return l.User == "" })
}

// How long settle waits at most, and how often it looks.
const (
	settleLimit = 2 * time.Second
	settlePoll  = 2 * time.Millisecond
)

// settle waits until the programs that are no longer needed have ended. One that
// is stopped or busy is not waited for long.
func (m Mac) settle() {
	for waited := time.Duration(0); waited < settleLimit && m.hasLeftovers(); waited += settlePoll {
		time.Sleep(settlePoll)
	}
}

func (m Mac) hasLeftovers() bool {
	return slices.ContainsFunc(m.listeners(), func(l Listener) bool { return l.User == "" && !m.runsAs(l.PID) })
}
