package store_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A recorder runs a role of this test binary under ptrace and notes every system
// call that changes the state folder or flushes it, in order. So the power cuts
// are made from what the store and bbolt do, not from what they are thought to
// do. It needs a process of its own: it waits for every child there is.

var platformRoles = map[string]func(dir string) childResult{"record": record}

const (
	recordingSuffix = ".recording"

	traceOptions = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_EXITKILL
	pathMax      = 4096
	syscallStop  = syscall.SIGTRAP | 0x80
)

// recordRole plays a role for dir and returns what it did to the folder.
func recordRole(t testing.TB, role, dir string) []change {
	t.Helper()
	got := runChild(t, "record", dir, tracedRoleVariable+"="+role)
	skipWithoutPtrace(t, got)
	if got.Error != "" {
		t.Fatalf("record %s: %s", role, got.Error)
	}
	encoded, err := os.ReadFile(dir + recordingSuffix)
	must(t, err)
	var changes []change
	must(t, json.Unmarshal(encoded, &changes))
	return changes
}

// record plays the traced role for a folder. After the folder there may be a tab
// and the number of the change before which the traced child is to be killed.
func record(line string) (result childResult) {
	dir, number, kill := strings.Cut(line, "\t")
	r := recorder{dir: dir, killAt: -1, entered: map[int]syscallInfo{}}
	if kill {
		r.killAt, _ = strconv.Atoi(number)
	}
	if err := r.run(); err != nil {
		return result.failed(err)
	}
	result.Written = len(r.changes)
	if r.killed {
		result.After = "killed"
	}
	encoded, err := json.Marshal(r.changes)
	return result.failed(err).failed(os.WriteFile(dir+recordingSuffix, encoded, 0o600))
}

type recorder struct {
	dir     string
	killAt  int
	pid     int
	killed  bool
	entered map[int]syscallInfo // by thread
	changes []change
}

// syscallInfo is struct ptrace_syscall_info; the meaning of data depends on op.
type syscallInfo struct {
	op   uint8
	_    [3]uint8
	arch uint32
	_    [2]uint64
	data [8]uint64
}

func (i *syscallInfo) number() int           { return int(i.data[0]) }
func (i *syscallInfo) argument(n int) uint64 { return i.data[1+n] }
func (i *syscallInfo) descriptor(n int) int  { return int(int32(i.data[1+n])) }
func (i *syscallInfo) result() int64         { return int64(i.data[0]) }
func (i *syscallInfo) entry() bool           { return i.op == 1 }

func (r *recorder) run() error {
	runtime.LockOSThread() // a tracer is a thread
	self, err := os.Executable()
	if err != nil {
		return err
	}
	child := exec.Command(self)
	child.Env = append(os.Environ(), roleVariable+"="+os.Getenv(tracedRoleVariable), folderVariable+"="+r.dir, "GODEBUG=asyncpreemptoff=1", "GOMAXPROCS=1")
	child.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	if err := child.Start(); err != nil {
		return fmt.Errorf("ptrace refused: %w", err)
	}
	r.pid = child.Process.Pid
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(r.pid, &status, 0, nil); err != nil {
		return err
	}
	if err := syscall.PtraceSetOptions(r.pid, traceOptions); err != nil {
		return fmt.Errorf("ptrace refused: %w", err)
	}
	if err := syscall.PtraceSyscall(r.pid, 0); err != nil {
		return err
	}
	return r.follow()
}

// follow lets the child run from one stop to the next until it ends.
func (r *recorder) follow() error {
	for {
		var status syscall.WaitStatus
		thread, err := syscall.Wait4(-1, &status, unix.WALL, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("wait: %w", err)
		}
		if !status.Stopped() {
			if thread != r.pid {
				continue
			}
			if r.killed = status.Signaled() && r.killAt >= 0; r.killed || status.ExitStatus() == 0 {
				return nil
			}
			return fmt.Errorf("the traced child ended with %#x", status)
		}
		if err := r.stopped(thread, status.StopSignal()); err != nil {
			return errors.Join(err, syscall.Kill(r.pid, syscall.SIGKILL))
		}
	}
}

// stopped looks at one stop of a thread and lets it go on.
func (r *recorder) stopped(thread int, signal syscall.Signal) error {
	deliver := signal
	switch signal {
	case syscallStop:
		if err := r.look(thread); err != nil {
			return err
		}
		deliver = 0
	case syscall.SIGTRAP, syscall.SIGSTOP: // an event; the start of a thread
		deliver = 0
	}
	err := syscall.PtraceSyscall(thread, int(deliver))
	if errors.Is(err, syscall.ESRCH) {
		return nil // it was killed meanwhile
	}
	return err
}

func (r *recorder) look(thread int) error {
	var info syscallInfo
	_, _, errno := syscall.RawSyscall6(syscall.SYS_PTRACE, unix.PTRACE_GET_SYSCALL_INFO, uintptr(thread),
		unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)), 0, 0)
	if errno == syscall.ESRCH {
		return nil
	}
	if errno != 0 {
		return fmt.Errorf("ptrace refused: look at a system call: %w", errno)
	}
	if info.entry() {
		r.entered[thread] = info
		return r.enters(info)
	}
	entered, known := r.entered[thread]
	delete(r.entered, thread)
	if !known || info.result() < 0 {
		return nil
	}
	made, err := r.left(entered, info.result())
	if err != nil || made == nil {
		return err
	}
	r.changes = append(r.changes, *made)
	return nil
}

// enters kills the child before the change it is to be killed before.
func (r *recorder) enters(info syscallInfo) error {
	if _, changing := changingCalls[info.number()]; !changing || len(r.changes) != r.killAt {
		return nil
	}
	return syscall.Kill(r.pid, syscall.SIGKILL)
}

// changingCalls say what became of a call that succeeded; nil is nothing of
// interest. What Go's os package would use instead of one of these is noticed by
// replaying the recording: it must end with the folder as it is.
var changingCalls = map[int]func(r *recorder, call syscallInfo, result int64) (*change, error){
	unix.SYS_OPENAT: func(r *recorder, call syscallInfo, _ int64) (*change, error) {
		name, err := r.nameAt(call, 0)
		if name == "" || call.argument(2)&unix.O_CREAT == 0 {
			return nil, err
		}
		return &change{Op: opCreate, Name: name}, nil
	},
	unix.SYS_WRITE:           func(r *recorder, call syscallInfo, n int64) (*change, error) { return r.wrote(call, 0, n) },
	unix.SYS_COPY_FILE_RANGE: func(r *recorder, call syscallInfo, n int64) (*change, error) { return r.wrote(call, 2, n) },
	unix.SYS_SENDFILE:        func(r *recorder, call syscallInfo, n int64) (*change, error) { return r.wrote(call, 0, n) },
	unix.SYS_PWRITE64: func(r *recorder, call syscallInfo, n int64) (*change, error) {
		return r.wroteAt(call.descriptor(0), int64(call.argument(3)), n)
	},
	unix.SYS_FTRUNCATE: func(r *recorder, call syscallInfo, _ int64) (*change, error) {
		return r.onFile(call, change{Op: opTruncate, At: int64(call.argument(1))})
	},
	unix.SYS_FSYNC: func(r *recorder, call syscallInfo, _ int64) (*change, error) {
		return r.onFile(call, change{Op: opSync})
	},
	unix.SYS_FDATASYNC: func(r *recorder, call syscallInfo, _ int64) (*change, error) {
		return r.onFile(call, change{Op: opSync})
	},
	unix.SYS_RENAMEAT: func(r *recorder, call syscallInfo, _ int64) (*change, error) {
		return r.onNames(call, opRename, 0, 2)
	},
	unix.SYS_LINKAT:   func(r *recorder, call syscallInfo, _ int64) (*change, error) { return r.onNames(call, opLink, 0, 2) },
	unix.SYS_UNLINKAT: func(r *recorder, call syscallInfo, _ int64) (*change, error) { return r.onNames(call, opRemove, 0, 0) },
}

func (r *recorder) left(call syscallInfo, result int64) (*change, error) {
	made, known := changingCalls[call.number()]
	if !known {
		return nil, nil
	}
	return made(r, call, result)
}

// nameAt reads a path from the child's memory, that of the argument after the
// folder which it is relative to, and returns the name in the folder, or "".
func (r *recorder) nameAt(call syscallInfo, argument int) (string, error) {
	raw, err := r.memory(call.argument(argument+1), pathMax)
	end, _, _ := bytes.Cut(raw, []byte{0})
	path := string(end)
	if !filepath.IsAbs(path) && r.nameOfDescriptor(call.descriptor(argument)) == folderItself {
		path = filepath.Join(r.dir, path)
	}
	return r.nameOf(path), err
}

func (r *recorder) nameOf(path string) string {
	if path == r.dir {
		return folderItself
	}
	if filepath.Dir(path) != r.dir {
		return ""
	}
	return filepath.Base(path)
}

func (r *recorder) memory(address uint64, length int) ([]byte, error) {
	memory, err := os.Open(fmt.Sprintf("/proc/%d/mem", r.pid))
	if err != nil {
		return nil, err
	}
	defer memory.Close()
	buffer := make([]byte, length)
	n, err := memory.ReadAt(buffer, int64(address))
	if n > 0 { // the memory may end behind the string
		err = nil
	}
	return buffer[:n], err
}

// nameOfDescriptor returns the name in the folder of an open file, or "".
func (r *recorder) nameOfDescriptor(descriptor int) string {
	path, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", r.pid, descriptor))
	if err != nil {
		return ""
	}
	return r.nameOf(path)
}

func (r *recorder) onFile(call syscallInfo, made change) (*change, error) {
	if made.Name = r.nameOfDescriptor(call.descriptor(0)); made.Name == "" {
		return nil, nil
	}
	return &made, nil
}

func (r *recorder) onNames(call syscallInfo, op string, from, to int) (*change, error) {
	name, err := r.nameAt(call, from)
	if err != nil || name == "" {
		return nil, err
	}
	target, err := r.nameAt(call, to)
	return &change{Op: op, Name: name, To: target}, err
}

// wrote is a write at the position of the file, or a word of the child to us.
func (r *recorder) wrote(call syscallInfo, argument int, length int64) (*change, error) {
	if call.number() == unix.SYS_WRITE && call.descriptor(0) == 1 {
		said, err := r.memory(call.argument(1), int(length))
		return &change{Op: opSaid, Name: strings.TrimSpace(string(said))}, err
	}
	descriptor := call.descriptor(argument)
	if r.nameOfDescriptor(descriptor) == "" || length == 0 {
		return nil, nil
	}
	info, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%d", r.pid, descriptor))
	if err != nil {
		return nil, err
	}
	var position int64
	if _, err := fmt.Sscanf(string(info), "pos: %d", &position); err != nil {
		return nil, fmt.Errorf("read position: %w", err)
	}
	return r.wroteAt(descriptor, position-length, length)
}

// wroteAt reads what was written back from the file.
func (r *recorder) wroteAt(descriptor int, at, length int64) (*change, error) {
	name := r.nameOfDescriptor(descriptor)
	if name == "" {
		return nil, nil
	}
	file, err := os.Open(filepath.Join(r.dir, name))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data := make([]byte, length)
	_, err = file.ReadAt(data, at)
	return &change{Op: opWrite, Name: name, At: at, Data: data}, err
}
