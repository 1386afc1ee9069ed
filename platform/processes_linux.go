package platform

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// clockTicks a second is what Linux uses in /proc on every architecture we build for.
	clockTicks = 100

	// settledAge is how old a process is that will hardly execute another program.
	settledAge = 20 * time.Second

	// rereadRotation is how many calls it takes to read the names of all settled processes.
	rereadRotation = 12
)

// processTable is what is remembered from one call of Processes to the next, so
// that a call costs little: to read the status of each process takes most of
// it.
//
// A process is known by its id and the inode of its folder in /proc, which
// comes with the listing and is another one when the id is used again. Its name
// can not be remembered like that: a process that executes another program
// keeps both, and nothing but the name tells. The programs that do so (a shell,
// sudo) do it soon after they began, so that young processes are read at every
// call; of the settled ones each call reads a part: a process of the vendor's
// that began as something else long ago is found by the fourth call at the
// latest. A thread of the kernel's own never executes anything, nor does a
// process that has ended and whose parent does not wait for it: that one is no
// process any more.
type processTable struct {
	settled time.Duration // 0 is settledAge

	mu          sync.Mutex
	booted      time.Time // read once: two calls must agree on when a process started
	known       map[int]knownProcess
	currentCall uint64
	programs    programCache
	buffer      [8192]byte // of the listing
	line        [2048]byte // of a status
}

// knownProcess is what is known of one process.
type knownProcess struct {
	inode      uint64 // of its folder in /proc
	started    int64  // clock ticks since boot
	vendor     bool   // by its name
	neverExecs bool   // never runs a program any more: a thread of the kernel's own, or one that is only not waited for
	lastCall   uint64 // the last one that found it
}

// Processes gives the processes of Parallels Desktop and of everybody who calls
// a program like one of its own; Path tells them apart. Below a root it gives
// only those whose program lies in it, called by its whole path, with the Mac's
// path: two simulated Macs do not see each other.
//
// It costs little to call it every few seconds: most processes that are known to
// be others are only listed. One that executes a vendor's program in its first
// minute is found at the next call, one that does so later at the fourth.
func (m *Machine) Processes(ctx context.Context) ([]Process, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.processes.mu.Lock()
	defer m.processes.mu.Unlock()
	all, err := m.processes.scanAll(m.Path(VendorBundle))
	if err != nil {
		return nil, fmt.Errorf("read process table: %w", err)
	}
	if m.root == "" {
		return all, nil
	}
	var ours []Process
	for i := range all {
		process := &all[i]
		if m.toMacPath(process) {
			ours = append(ours, *process)
		}
	}
	return ours, nil
}

// toMacPath turns the path on this disk into the Mac's.
func (m *Machine) toMacPath(process *Process) bool {
	path, inside := strings.CutPrefix(process.Path, m.Path("/")+"/")
	process.Path = "/" + path
	process.Name = filepath.Base(path)
	return inside
}

func (t *processTable) scanAll(bundle string) ([]Process, error) {
	if err := t.initialize(); err != nil {
		return nil, err
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return nil, err
	}
	folder, err := unix.Open("/proc", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(folder)

	visit := tableScan{table: t, folder: folder, bundle: bundle, now: now.Nano() / int64(time.Second/clockTicks)}
	for {
		size, err := unix.Getdents(folder, t.buffer[:])
		if err != nil {
			return nil, err
		}
		if size == 0 {
			break
		}
		eachProcessFolder(t.buffer[:size], visit.scanProcess)
	}
	t.endCall()
	return visit.found, nil
}

func (t *processTable) initialize() (err error) {
	if t.known == nil {
		t.known = make(map[int]knownProcess)
	}
	if t.booted.IsZero() {
		t.booted, err = bootTime()
	}
	return err
}

// endCall forgets the processes that are gone.
func (t *processTable) endCall() {
	for pid, seen := range t.known {
		if seen.lastCall != t.currentCall {
			delete(t.known, pid)
		}
	}
	t.programs.endCall()
	t.currentCall++
}

// eachProcessFolder reads what getdents(2) gives: for each entry its inode, a
// cookie, its length, its type, and its name closed by a zero byte.
func eachProcessFolder(entries []byte, handle func(pid int, inode uint64)) {
	const lengthAt, nameAt = 16, 19
	for len(entries) > nameAt {
		length := int(binary.NativeEndian.Uint16(entries[lengthAt:]))
		if length <= nameAt || length > len(entries) {
			return
		}
		name, _, _ := bytes.Cut(entries[nameAt:length], []byte{0})
		if len(name) > 0 && name[0] >= '1' && name[0] <= '9' { // the others are not processes, and an error costs
			if pid, err := strconv.Atoi(string(name)); err == nil {
				handle(pid, binary.NativeEndian.Uint64(entries))
			}
		}
		entries = entries[length:]
	}
}

// tableScan is one call's way through the table.
type tableScan struct {
	table  *processTable
	folder int    // descriptor of /proc
	bundle string // the vendor's, as a path on this disk
	now    int64  // clock ticks since boot
	found  []Process
}

func (v *tableScan) scanProcess(pid int, inode uint64) {
	t := v.table
	seen, known := t.known[pid]
	if known && seen.inode == inode && !v.mustReread(pid, seen) {
		seen.lastCall = t.currentCall
		t.known[pid] = seen
		return
	}
	status, err := v.readStatus(pid)
	if err != nil {
		return // it ended meanwhile
	}
	vendor := isVendorName(status.name) && !status.ended
	t.known[pid] = knownProcess{inode: inode, started: status.started, vendor: vendor, neverExecs: status.kernel || status.ended, lastCall: t.currentCall}
	if vendor {
		v.addProcess(status)
	}
}

// mustReread reports whether a known process must be read again.
func (v *tableScan) mustReread(pid int, seen knownProcess) bool {
	settled := v.table.settled
	if settled == 0 {
		settled = settledAge
	}
	young := v.now-seen.started < int64(settled/(time.Second/clockTicks))
	itsTurn := uint64(pid)%rereadRotation == v.table.currentCall%rereadRotation
	return seen.vendor || !seen.neverExecs && (young || itsTurn)
}

func (v *tableScan) addProcess(status processStatus) {
	folder := filepath.Join("/proc", strconv.Itoa(status.pid))
	var owner unix.Stat_t
	if err := unix.Stat(folder, &owner); err != nil {
		return
	}
	process := Process{
		PID: status.pid, UID: owner.Uid, Name: string(status.name),
		Started: v.table.booted.Add(time.Duration(status.started) * (time.Second / clockTicks)),
	}
	runs := v.table.programs.lookUp(programInstance{
		pid: process.PID, started: status.started, uid: process.UID, name: process.Name, argsAddress: status.argsAddress,
	}, func() runningProgram { return readCommandLine(folder, v.bundle) })
	process.Path, process.Arguments = runs.path, runs.arguments
	v.found = append(v.found, process)
}

// readStatus gives a status that is valid until the next one is read.
func (v *tableScan) readStatus(pid int) (processStatus, error) {
	var space [32]byte
	name := append(strconv.AppendInt(space[:0], int64(pid), 10), "/stat"...)
	file, err := unix.Openat(v.folder, string(name), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return processStatus{}, err
	}
	defer unix.Close(file)
	size, err := unix.Read(file, v.table.line[:])
	if err != nil {
		return processStatus{}, err
	}
	return parseProcessStatus(v.table.line[:size])
}

// readCommandLine gives what a process runs. Its path is what it is called by:
// a tool of a simulated Mac is a link, and the kernel would tell where that
// leads. The arguments count only where the path lies in the vendor's bundle
// (H61).
func readCommandLine(folder, bundle string) runningProgram {
	file, err := os.Open(filepath.Join(folder, "cmdline"))
	if err != nil {
		return runningProgram{}
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxArguments))
	if err != nil {
		return runningProgram{}
	}
	path, _, whole := bytes.Cut(data, []byte{0})
	if !whole {
		return runningProgram{}
	}
	program := runningProgram{path: string(path)}
	if isInside(filepath.Clean(program.path), bundle) {
		program.arguments = parseVMArguments(data)
	}
	return program
}

// processStatus is what we need of /proc/PID/stat.
type processStatus struct {
	pid         int
	name        []byte // part of the line
	kernel      bool   // a thread of the kernel's own
	ended       bool   // its parent has not waited for it yet
	started     int64  // clock ticks since boot
	argsAddress uint64 // where its arguments lie; 0 where we may not know
}

// parseProcessStatus reads /proc/PID/stat: `PID (NAME) STATE …`, where NAME can
// hold anything, the state is the 3rd field, the flags are the 9th, the start
// time is the 22nd, and the place of the arguments the 48th, which old kernels
// do not have.
func parseProcessStatus(line []byte) (processStatus, error) {
	opening, closing := bytes.IndexByte(line, '('), bytes.LastIndexByte(line, ')')
	if opening < 1 || closing < opening {
		return processStatus{}, errors.New("process status without a name")
	}
	pid, err := strconv.Atoi(string(bytes.TrimSpace(line[:opening])))
	if err != nil {
		return processStatus{}, fmt.Errorf("read process id: %w", err)
	}
	status := processStatus{pid: pid, name: line[opening+1 : closing], started: -1}
	const kernelThread = 0x00200000 // PF_KTHREAD
	field := 2
	for text := range bytes.FieldsSeq(line[closing+1:]) {
		switch field++; field {
		case 3:
			status.ended = text[0] == 'Z' || text[0] == 'X' // proc(5)
		case 9:
			var flags uint64
			flags, err = strconv.ParseUint(string(text), 10, 64)
			status.kernel = flags&kernelThread != 0
		case 22:
			status.started, err = strconv.ParseInt(string(text), 10, 64)
		case 48:
			status.argsAddress, err = strconv.ParseUint(string(text), 10, 64)
		}
		if err != nil {
			return processStatus{}, fmt.Errorf("read process status: %w", err)
		}
	}
	if status.started < 0 {
		return processStatus{}, errors.New("process status is cut short")
	}
	return status, nil
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
