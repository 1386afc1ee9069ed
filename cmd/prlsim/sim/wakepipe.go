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

// wakePipeFolder holds a named pipe for each process that waits for changes of
// the Mac. Who changes something writes a byte into each, so that waiting costs
// nothing and ends at once; a slow poll of the folder besides notices when the
// Mac is gone.
const wakePipeFolder = "bells"

// wakePipe is the reading end of a process's pipe. It is the writing end as well:
// such a pipe never ends.
type wakePipe struct {
	descriptor int    // -1: there is none
	file       string // empty: made by who started this process
}

// createWakePipe makes a pipe that nobody writes to before it is published.
func (m Mac) createWakePipe() (*wakePipe, error) {
	folder := m.markerPath(wakePipeFolder)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, fmt.Errorf("make folder of wake pipes: %w", err)
	}
	file := filepath.Join(folder, fmt.Sprintf(".%d-%d", os.Getpid(), time.Now().UnixNano()))
	if err := unix.Mkfifo(file, 0o644); err != nil {
		return nil, fmt.Errorf("make wake pipe: %w", err)
	}
	descriptor, err := unix.Open(file, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open wake pipe: %w", err)
	}
	return &wakePipe{descriptor, file}, nil
}

// publish gives the pipe the name under which it is written to. It has a reader
// by then, as it must: wakeAll removes those without one.
func (p *wakePipe) publish(reader waitingProcess) error {
	named := filepath.Join(filepath.Dir(p.file), reader.pipeName())
	if err := os.Rename(p.file, named); err != nil {
		return fmt.Errorf("publish wake pipe: %w", err)
	}
	p.file = named
	return nil
}

// inheritedWakePipe is the pipe that a process was given as its input, if it was.
func inheritedWakePipe(descriptor int) *wakePipe {
	var info unix.Stat_t
	if err := unix.Fstat(descriptor, &info); err != nil || info.Mode&unix.S_IFMT != unix.S_IFIFO {
		return &wakePipe{descriptor: -1}
	}
	if err := unix.SetNonblock(descriptor, true); err != nil {
		return &wakePipe{descriptor: -1}
	}
	return &wakePipe{descriptor: descriptor}
}

func (p *wakePipe) close() {
	if p.descriptor >= 0 {
		_ = unix.Close(p.descriptor)
	}
	if p.file != "" {
		_ = os.Remove(p.file)
	}
}

// wait returns when somebody writes to the pipe, after the limit, or, with lost
// set, when nobody reads any more what is written to the output. An output
// below 0 is not watched.
func (p *wakePipe) wait(limit time.Duration, output int) (lost bool) {
	watched := []unix.PollFd{{Fd: int32(p.descriptor), Events: unix.POLLIN}, {Fd: int32(output)}}
	if _, err := unix.Poll(watched, int(limit.Milliseconds())); err != nil {
		return false // interrupted: the caller polls, and waits again
	}
	if watched[0].Revents != 0 {
		p.drain()
	}
	return watched[1].Revents != 0
}

// drain takes what was written out of the pipe.
func (p *wakePipe) drain() {
	var written [4096]byte
	count, err := unix.Read(p.descriptor, written[:])
	if count == 0 && err == nil { // the pipe of another program, which has ended
		p.descriptor = -1
	}
}

// wakeAll wakes every process that waits. A pipe that fails is no error: its
// process polls by itself now and then.
func (m Mac) wakeAll() {
	folder := m.markerPath(wakePipeFolder)
	for _, name := range m.wakePipeNames() {
		pipe := filepath.Join(folder, name)
		descriptor, err := unix.Open(pipe, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			if errors.Is(err, unix.ENXIO) { // its process is gone
				_ = os.Remove(pipe)
			}
			continue
		}
		_, _ = unix.Write(descriptor, []byte{'\n'}) // a full pipe wakes already
		_ = unix.Close(descriptor)
	}
}

// wakePipeNames names the pipes, also those whose process is gone.
func (m Mac) wakePipeNames() []string {
	entries, err := os.ReadDir(m.markerPath(wakePipeFolder))
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

// waitingProcess is a process that has a wake pipe: a running
// `prlctl monitor-events`, or, with an empty user, a background program.
type waitingProcess struct {
	User string `json:"user"`
	PID  int    `json:"pid"`
}

func (w waitingProcess) pipeName() string { return fmt.Sprintf("%s@%d", w.User, w.PID) }

// waitingProcesses lists the processes that wait. Those that have ended are
// forgotten: their pipes have no reader.
func (m Mac) waitingProcesses() []waitingProcess {
	m.wakeAll()
	var waiting []waitingProcess
	for _, name := range m.wakePipeNames() {
		user, id, _ := strings.Cut(name, "@")
		if pid, err := strconv.Atoi(id); err == nil {
			waiting = append(waiting, waitingProcess{User: user, PID: pid})
		}
	}
	return waiting
}

// connectedStreams lists the streams of events that are connected: what is
// recorded from now on reaches them.
func (m Mac) connectedStreams() []waitingProcess {
	return slices.DeleteFunc(append([]waitingProcess{}, m.waitingProcesses()...), func(w waitingProcess) bool { return w.User == "" })
}

// How long waitForExits waits at most, and how often it polls.
const (
	exitWaitLimit = 2 * time.Second
	exitWaitPoll  = 2 * time.Millisecond
)

// waitForExits waits until the programs that are no longer needed have ended.
// One that is stopped or busy is not waited for long.
func (m Mac) waitForExits() {
	for waited := time.Duration(0); waited < exitWaitLimit && m.hasLeftoverProcesses(); waited += exitWaitPoll {
		time.Sleep(exitWaitPoll)
	}
}

func (m Mac) hasLeftoverProcesses() bool {
	waiting := m.waitingProcesses()
	state, err := m.Load()
	return slices.ContainsFunc(waiting, func(w waitingProcess) bool { return w.User == "" && (err != nil || !state.ownsProcess(w.PID)) })
}
