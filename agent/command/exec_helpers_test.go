package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"prlagent/agent/lane"
	"prlagent/agent/protocol"
	"prlagent/platform"
	"prlagent/platform/tool"
	"prlagent/prlctl"
)

// The test binary plays our own program: named like it, it answers one question about
// a user's files and ends.
func init() {
	if filepath.Base(os.Args[0]) != filepath.Base(platform.Helper) {
		return
	}
	readers := make(map[string]platform.FileReader)
	for name, read := range prlctl.FileReaders() {
		readers[name] = platform.FileReader{Max: prlctl.MaxFile, Read: read}
	}
	if err := platform.AnswerFileQuestions(os.Stdin, readers); err != nil {
		fmt.Println(err)
		syscall.Exit(1)
	}
	syscall.Exit(0)
}

// sudoRunner plays sudo: it starts the program behind -n -H -u '#UID'.
type sudoRunner struct{ *tool.Runner }

func (r sudoRunner) Run(ctx context.Context, c *tool.Command) (tool.Result, error) {
	if len(c.Args) > 4 && strings.HasPrefix(c.Args[3], "#") {
		c.Path, c.Args = c.Args[4], c.Args[5:]
	}
	return r.Runner.Run(ctx, c)
}

// macVM is one entry in an account's list.
type macVM struct {
	id, name, bundle string
	state            prlctl.State
	packed           bool
	disks            []string
	unreadable       bool
}

// testMac is a Mac with real files below a folder, and accounts whose tools do what the
// test says.
type testMac struct {
	t            testing.TB
	root         string
	machine      *platform.Machine
	now          time.Time
	told         []string
	calls        []string
	lifted       int
	asksPassword bool

	mu        sync.Mutex
	vms       map[uint32][]*macVM
	listFails map[uint32]error
	processes []platform.Process
	sessions  []uint32
	stopGuest bool // a clean stop works
	before    map[string]func() error
	after     map[string]func() error
	says      map[string]error
	ignores   map[string]bool
	noFinding bool // the system does not find files by numbers
}

const (
	aliceUID, bobUID = 501, 502
	vmID             = "1a1bcb3b-6466-4b13-86b0-86ff7e2b2030"
	otherID          = "2b1bcb3b-6466-4b13-86b0-86ff7e2b2031"
	sourceID         = "3c1bcb3b-6466-4b13-86b0-86ff7e2b2032"
	aliceBundle      = "/Users/alice/Parallels/w.pvm"
	bobBundle        = "/Users/bob/Parallels/w.pvm"
)

func newTestMac(t testing.TB) *testMac {
	t.Helper()
	m := &testMac{
		t: t, root: t.TempDir(), now: time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC), vms: make(map[uint32][]*macVM), listFails: make(map[uint32]error),
		stopGuest: true, before: make(map[string]func() error), after: make(map[string]func() error), says: make(map[string]error), ignores: make(map[string]bool),
	}
	executable, err := os.Executable()
	m.check(err, os.MkdirAll(filepath.Join(m.root, filepath.Dir(platform.Helper)), 0o755), os.Link(executable, m.path(platform.Helper)))
	m.machine = platform.New(m.root, sudoRunner{&tool.Runner{Root: m.root}})
	m.addVM(aliceUID, &macVM{id: vmID, name: "w", bundle: aliceBundle, state: prlctl.StateStopped}, sourceID, "")
	m.check(os.MkdirAll(m.path("/Users/bob/Parallels"), 0o755), os.MkdirAll(m.path("/Users/Shared"), 0o755))
	return m
}

func (m *testMac) path(macPath string) string { return filepath.Join(m.root, macPath) }

func (m *testMac) check(errs ...error) {
	m.t.Helper()
	if err := errors.Join(errs...); err != nil {
		m.t.Fatal(err)
	}
}

// addVM makes a bundle with a disk and registers it.
func (m *testMac) addVM(uid uint32, vm *macVM, source, linked string) {
	m.writeBundle(vm.bundle, vm.id, source, linked)
	vm.disks = []string{vm.bundle + "/w-0.hdd"}
	m.vms[uid] = append(m.vms[uid], vm)
}

func (m *testMac) writeBundle(bundle, id, source, linked string) {
	config := fmt.Sprintf("<ParallelsVirtualMachine><Identification><VmUuid>{%s}</VmUuid><SourceVmUuid>{%s}</SourceVmUuid><LinkedVmUuid>{%s}</LinkedVmUuid></Identification></ParallelsVirtualMachine>", id, source, linked)
	m.check(os.MkdirAll(m.path(bundle+"/w-0.hdd"), 0o755),
		os.WriteFile(m.path(bundle+"/config.pvs"), []byte(config), 0o600), os.WriteFile(m.path(bundle+"/w-0.hdd/w-0.hds"), []byte("disk"), 0o600))
}

func (m *testMac) vm(uid uint32, id string) *macVM {
	for _, vm := range m.vms[uid] {
		if vm.id == id {
			return vm
		}
	}
	return nil
}

func (m *testMac) unregister(uid uint32, id string) {
	m.vms[uid] = slices.DeleteFunc(m.vms[uid], func(vm *macVM) bool { return vm.id == id })
}

// Users is the directory's answer.
func (m *testMac) Users(context.Context) (platform.Users, error) {
	return platform.Users{People: []platform.User{
		{Name: "alice", UID: aliceUID, Home: "/Users/alice"}, {Name: "bob", UID: bobUID, Home: "/Users/bob"}, {Name: "carol", UID: 503, Home: "/Users/carol"},
	}}, nil
}

// Console says who has a session.
func (m *testMac) Console(context.Context) (platform.Console, error) {
	return platform.Console{Sessions: m.sessions}, nil
}

// Processes are the vendor's.
func (m *testMac) Processes(context.Context) ([]platform.Process, error) { return m.processes, nil }

// FindFiles is the machine's, unless the system has no such way.
func (m *testMac) FindFiles(ctx context.Context, u platform.User, path string, ids []string) ([]string, string, error) {
	present, volume, err := m.machine.FindFiles(ctx, u, path, ids)
	if m.noFinding && err == nil {
		return nil, volume, platform.ErrNotFindable
	}
	return present, volume, err
}

// needsFindFiles skips a test where files cannot be found by their numbers: by other
// accounts than root, and on file systems whose id does not last.
func (m *testMac) needsFindFiles() {
	m.t.Helper()
	if _, _, err := m.machine.FindFiles(m.t.Context(), platform.User{UID: aliceUID}, aliceBundle, nil); errors.Is(err, platform.ErrNotFindable) {
		m.t.Skip("files cannot be found by their numbers: run as root, with TMPDIR on ext4 or btrfs")
	}
}

func (m *testMac) LookAtFiles(ctx context.Context, u platform.User, questions []platform.FileQuestion) ([]platform.FileAnswer, error) {
	return m.machine.LookAtFiles(ctx, u, questions)
}

func (m *testMac) HoldFiles(ctx context.Context, u platform.User, paths []string) (*platform.Held, error) {
	return m.machine.HoldFiles(ctx, u, paths)
}

func (m *testMac) FindFolder(ctx context.Context, u platform.User, near string, search platform.FolderSearch) (platform.FoundFolder, error) {
	return m.machine.FindFolder(ctx, u, near, search)
}

func (m *testMac) mac() *Mac {
	return &Mac{
		Directory: m, Files: m, Lanes: lane.New(), Now: func() time.Time { return m.now }, Log: zerolog.Nop(),
		Tool: func(account *Account) VMTool { return &userTool{m, account.User.UID} },
		Tell: func(_ context.Context, user *platform.User, text string) {
			m.told = append(m.told, user.Name+": "+text)
		},
		Pause: func(_ context.Context, wait time.Duration) { m.now = m.now.Add(wait) },
	}
}

// userTool is prlctl as one user.
type userTool struct {
	mac *testMac
	uid uint32
}

// List lists as the bulk form does: without the bundles.
func (u *userTool) List(context.Context) (prlctl.Listing, error) {
	u.mac.mu.Lock()
	defer u.mac.mu.Unlock()
	var listing prlctl.Listing
	for _, vm := range u.mac.vms[u.uid] {
		if vm.unreadable {
			listing.Unreadable = append(listing.Unreadable, prlctl.Unreadable{ID: vm.id, Code: prlctl.CodeDuplicateKey})
			continue
		}
		listing.VMs = append(listing.VMs, prlctl.VM{ID: vm.id, Name: vm.name, State: vm.state})
	}
	return listing, u.mac.listFails[u.uid]
}

func (u *userTool) Get(_ context.Context, id string) (prlctl.VM, error) {
	u.mac.mu.Lock()
	defer u.mac.mu.Unlock()
	vm := u.mac.vm(u.uid, id)
	if vm == nil {
		return prlctl.VM{}, &prlctl.Error{Code: prlctl.CodeVMNotFound}
	}
	full := prlctl.VM{ID: vm.id, Name: vm.name, State: vm.state, Home: vm.bundle + "/"}
	if vm.packed {
		full.Security.Packed = prlctl.SwitchOn
	}
	for i, image := range vm.disks {
		full.Disks = append(full.Disks, prlctl.Disk{Name: fmt.Sprintf("hdd%d", i), Image: image})
	}
	return full, nil
}

// do is one verb: what happens just before it, what it does, and what it says.
func (u *userTool) do(verb, id string, act func(*macVM) error) error {
	m := u.mac
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls = append(m.calls, verb)
	if before := m.before[verb]; before != nil {
		m.check(before())
	}
	vm := m.vm(u.uid, id)
	if vm == nil {
		return &prlctl.Error{Code: prlctl.CodeVMNotFound, ExitCode: 255}
	}
	if !m.ignores[verb] {
		if err := act(vm); err != nil {
			return err
		}
	}
	if after := m.after[verb]; after != nil {
		m.check(after())
	}
	return m.says[verb]
}

func (u *userTool) change(verb, id string, to prlctl.State, from ...prlctl.State) error {
	return u.do(verb, id, func(vm *macVM) error {
		if !slices.Contains(from, vm.state) {
			return &prlctl.Error{Code: prlctl.CodeToolFailed, ExitCode: 255}
		}
		vm.state = to
		return nil
	})
}

func (u *userTool) Start(_ context.Context, id string) error {
	return u.change("start", id, prlctl.StateRunning, prlctl.StateStopped, prlctl.StateSuspended)
}

func (u *userTool) Stop(_ context.Context, id string) error {
	if !u.mac.stopGuest {
		u.mac.ignores["stop"] = true
	}
	return u.change("stop", id, prlctl.StateStopped, prlctl.StateRunning)
}

func (u *userTool) Kill(_ context.Context, id string) error {
	return u.change("kill", id, prlctl.StateStopped, prlctl.StateRunning, prlctl.StatePaused)
}

func (u *userTool) DropState(_ context.Context, id string) error {
	return u.change("drop", id, prlctl.StateStopped, prlctl.StateSuspended)
}

func (u *userTool) Restart(_ context.Context, id string) error {
	return u.change("restart", id, prlctl.StateRunning, prlctl.StateRunning)
}

// Delete removes a stopped machine and its files.
func (u *userTool) Delete(_ context.Context, id string) error {
	return u.do("delete", id, func(vm *macVM) error {
		if vm.state != prlctl.StateStopped {
			return &prlctl.Error{Code: prlctl.CodeToolFailed, ExitCode: 255}
		}
		if u.mac.asksPassword && u.mac.lifted == 0 {
			return &prlctl.Error{Code: prlctl.CodeAdminPassword, ExitCode: 255}
		}
		bundle := vm.bundle
		for uid := range u.mac.vms { // a machine that is shared goes from all lists
			u.mac.vms[uid] = slices.DeleteFunc(u.mac.vms[uid], func(other *macVM) bool { return other.id == id && other.bundle == bundle })
		}
		return os.RemoveAll(u.mac.path(bundle))
	})
}

// target is what an admin has seen of alice's machine.
func (m *testMac) target() protocol.CommandTarget {
	answers, err := m.machine.LookAtFiles(m.t.Context(), platform.User{UID: aliceUID}, []platform.FileQuestion{{Path: aliceBundle}})
	m.check(err, answers[0].Err)
	return protocol.CommandTarget{DeviceID: "d", MacSerial: "S", UID: aliceUID, Owner: "alice", VMID: vmID, VMName: "w", Bundle: bundleIdentity(&answers[0])}
}

func (m *testMac) command(kind string, params any) protocol.Command {
	data, err := json.Marshal(params)
	m.check(err)
	return protocol.Command{
		CommandID: "0193a000-0000-7000-8000-000000000001", Type: kind, Target: m.target(), Params: data,
		IssuedAt: m.now.Add(-time.Hour), ExpiresAt: m.now.Add(30 * 24 * time.Hour),
	}
}

// carryOut does with a command what the engine does with it: no more than two attempts,
// each prepared anew, and what became of it is verified whatever the act said.
func carryOut(t testing.TB, executor Executor, command protocol.Command) (*Readiness, *Outcome, error) {
	t.Helper()
	job := &Job{Command: command}
	seen := &Outcome{}
	if remembers, is := executor.(remembering); is {
		defer remembers.Forget(command.CommandID)
	}
	for job.Attempt < 2 {
		ready, err := executor.Prepare(t.Context(), job)
		if err != nil {
			return &Readiness{}, seen, err
		}
		if ready.State != "" {
			return ready, seen, nil
		}
		job.Attempt++
		job.Intent = ready.Intent
		_ = executor.Act(t.Context(), job)
		if seen, err = executor.Verify(t.Context(), job); err != nil {
			return ready, &Outcome{}, err
		}
		if seen.State != "" {
			return ready, seen, nil
		}
	}
	return &Readiness{}, &Outcome{State: protocol.CommandFailed, Code: protocol.CodeNotDone}, nil
}

func (m *testMac) exists(macPath string) bool {
	var stat unix.Stat_t
	return unix.Lstat(m.path(macPath), &stat) == nil
}
