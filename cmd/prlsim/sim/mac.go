package sim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	markerFolder   = ".prlsim"
	appFolder      = "/Applications/Parallels Desktop.app"
	appTools       = appFolder + "/Contents/MacOS"
	vmAppPath      = appTools + "/Parallels VM.app/Contents/MacOS/prl_vm_app"
	clientAppPath  = appTools + "/prl_client_app"
	dispatcherPath = appTools + "/Parallels Service.app/Contents/MacOS/prl_disp_service"
	sharedVMHome   = "/Users/Shared/Parallels"
)

// errNoMac means that no simulated Mac contains the path.
var errNoMac = errors.New("not inside a simulated Mac (no .prlsim folder here or above)")

// Mac is one simulated Mac: the folder that stands for its root volume.
type Mac struct {
	Dir string // absolute
}

// findMac returns the Mac that contains path, walking up to the marker folder.
func findMac(path string) (Mac, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return Mac{}, fmt.Errorf("find simulated Mac: %w", err)
	}
	for dir := absolute; ; dir = filepath.Dir(dir) {
		if info, err := os.Stat(filepath.Join(dir, markerFolder)); err == nil && info.IsDir() {
			return Mac{Dir: dir}, nil
		}
		if dir == filepath.Dir(dir) {
			return Mac{}, fmt.Errorf("%s: %w", absolute, errNoMac)
		}
	}
}

// Path turns a Mac's absolute path into the path below the folder.
func (m Mac) Path(macPath string) string {
	return filepath.Join(m.Dir, filepath.Clean("/"+macPath))
}

func (m Mac) markerPath(name string) string {
	return filepath.Join(m.Dir, markerFolder, name)
}

// Load reads the state. It takes no lock: the file is only ever replaced whole.
func (m Mac) Load() (*State, error) {
	raw, err := os.ReadFile(m.markerPath("state.json"))
	if err != nil {
		return nil, fmt.Errorf("read state: %w", err)
	}
	state := &State{}
	if err := json.Unmarshal(raw, state); err != nil {
		return nil, fmt.Errorf("decode state: %w", err)
	}
	return state, nil
}

// update runs change on the state under the Mac's lock and writes the result,
// unless change fails. The events of the change are recorded last, so that who
// reads the state after an event sees what it reports. Then the processes that
// wait are woken.
func (m Mac) update(change func(*State) error) error {
	unlock, err := m.lock(unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer unlock()
	state, err := m.Load()
	if err != nil {
		return err
	}
	before := state.sessions()
	if err := change(state); err != nil {
		return err
	}
	if err := m.settleSessions(before, state); err != nil {
		return err
	}
	if err := m.syncService(state); err != nil {
		return err
	}
	if err := m.recordEffects(state); err != nil {
		return err
	}
	if err := m.saveState(state); err != nil {
		return err
	}
	err = appendRecords(m, "events", state.pendingEvents)
	m.wakeAll()
	return err
}

// lock takes the Mac's lock with the flock operation given.
func (m Mac) lock(operation int) (unlock func(), err error) {
	return m.openLock(os.O_CREATE|os.O_RDWR, operation)
}

func (m Mac) openLock(flags, operation int) (unlock func(), err error) {
	file, err := os.OpenFile(m.markerPath("lock"), flags, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	for {
		err = unix.Flock(int(file.Fd()), operation)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("take lock: %w", err)
	}
	return func() { file.Close() }, nil
}

func (m Mac) saveState(state *State) error {
	raw, err := json.MarshalIndent(state, "", " ")
	if err != nil {
		return fmt.Errorf("encode state: %w", err)
	}
	return writeFile(m.markerPath("state.json"), append(raw, '\n'))
}

// writeFile replaces a file, which everybody may read, atomically and makes its
// folder.
func writeFile(path string, content []byte) error { return writeFileMode(path, content, 0o644) }

// writeFileMode is writeFile with permissions.
func writeFileMode(path string, content []byte, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	temporary, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return fmt.Errorf("write file: %w", err)
	}
	defer os.Remove(temporary.Name())
	_, err = temporary.Write(content)
	err = errors.Join(err, temporary.Chmod(mode), temporary.Close())
	if err == nil {
		err = os.Rename(temporary.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write file: %w", err)
	}
	return nil
}

// appendRecords adds one JSON line for each record to a record file of the Mac.
// One write with O_APPEND keeps lines of parallel tools whole.
func appendRecords[T any](m Mac, file string, records []T) error {
	if len(records) == 0 {
		return nil
	}
	var lines bytes.Buffer
	encoder := json.NewEncoder(&lines)
	for _, record := range records {
		if err := encoder.Encode(record); err != nil {
			return fmt.Errorf("encode record: %w", err)
		}
	}
	out, err := os.OpenFile(m.markerPath(file), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("open record file: %w", err)
	}
	_, err = out.Write(lines.Bytes())
	if err := errors.Join(err, out.Close()); err != nil {
		return fmt.Errorf("write record: %w", err)
	}
	return nil
}

// eventRecord is a record of `.prlsim/events`: what the dispatcher would send
// to the event monitors of the users named (facts/prlctl.md 3).
type eventRecord struct {
	Timestamp string   `json:"timestamp"` // local time, "2006-01-02 15:04:05"
	Users     []string `json:"users"`     // accounts that see the VM
	VM        string   `json:"vm"`
	Name      string   `json:"event"`
	State     string   `json:"state,omitempty"` // "Vm state name" of a state change
}

// callRecord is a record of `.prlsim/log`: one run of a tool that leaves no other
// trace.
type callRecord struct {
	Time string   `json:"time"` // RFC 3339, UTC
	Tool string   `json:"tool"`
	User string   `json:"user"`
	Args []string `json:"args"`
}

func (s *State) newEvent(vm *VM, name, vmState string) eventRecord {
	return eventRecord{
		Timestamp: time.Now().Format(time.DateTime), Users: s.viewersOf(vm),
		VM: vm.ID, Name: name, State: vmState,
	}
}

// recordEvents records events that come without a change of the state.
func (m Mac) recordEvents(events ...eventRecord) error {
	err := appendRecords(m, "events", events)
	m.wakeAll()
	return err
}

// addEvent notes an event that update records with the change.
func (s *State) addEvent(vm *VM, name, vmState string) {
	s.pendingEvents = append(s.pendingEvents, s.newEvent(vm, name, vmState))
}

// installTools gives the Mac a copy of the program for all of its tools. Links to
// the program itself would change when another Mac is made or removed: a link more
// or less changes the file's status time, and an agent does not trust a tool that
// changes (hardening H10).
func (m Mac) installTools(program string) error {
	first := m.Path(toolPaths[0])
	for _, tool := range toolPaths {
		if err := os.MkdirAll(filepath.Dir(m.Path(tool)), 0o755); err != nil {
			return fmt.Errorf("make folder: %w", err)
		}
	}
	if err := copyProgram(program, first); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	for _, tool := range toolPaths[1:] {
		if err := os.Link(first, m.Path(tool)); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("link program: %w", err)
		}
	}
	return nil
}

// copyProgram copies a program. The lock keeps this process from starting another
// one meanwhile, which would hold the copy open for writing for a moment, and so
// not executable.
func copyProgram(source, destination string) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	in, err := os.Open(source)
	if err != nil {
		return fmt.Errorf("copy program: %w", err)
	}
	defer in.Close()
	out, err := os.OpenFile(destination, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return fmt.Errorf("copy program: %w", err)
	}
	_, err = io.Copy(out, in)
	if err := errors.Join(err, out.Close()); err != nil {
		return fmt.Errorf("copy program: %w", err)
	}
	return nil
}
