package command

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"prlagent/agent/protocol"
	"prlagent/platform"
	"prlagent/prlctl"
	"prlagent/store"
)

// holdMac is a Mac whose users' machines run, each with a process, and can be held.
type holdMac struct {
	mu       sync.Mutex
	machines map[protocol.VMKey]*heldMachine
	hung     map[uint32]bool // whose tools do not answer
	root     bool            // one account plays all users
	noTable  bool            // the process table cannot be read
	noUsers  bool            // the accounts cannot be listed
	slow     time.Duration   // what each run of a tool takes
	atOnce   int             // runs of tools now, and the most of them
	mostRuns atomic.Int64
	nextPID  int
	looks    int // at the process table
	runs     int // of tools
	told     []string
	longest  time.Duration // that a machine ran, while there was an agent, before it was asked to suspend
	agentUp  time.Time
}

// heldMachine is one machine.
type heldMachine struct {
	state     prlctl.State
	pid       int
	started   time.Time // its process
	ranFrom   time.Time
	asked     bool // to suspend, since it was started
	autostart string
	takes     time.Duration // to suspend
	refuses   error         // to suspend
	hidden    bool          // no process of it is seen
	silent    bool          // says that it is suspended, and is not
	lies      bool          // is shown as suspended, always
	noPause   bool
	suspends  atomic.Int64
}

func newHoldMac() *holdMac {
	return &holdMac{machines: make(map[protocol.VMKey]*heldMachine), hung: make(map[uint32]bool), nextPID: 100}
}

func (m *holdMac) add(uid uint32, id string) *heldMachine {
	m.mu.Lock()
	defer m.mu.Unlock()
	vm := &heldMachine{state: prlctl.StateStopped, autostart: "off"}
	m.machines[protocol.VMKey{ID: id, UID: uid}] = vm
	return vm
}

// start is what a user does.
func (m *holdMac) start(uid uint32, id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	vm := m.machines[protocol.VMKey{ID: id, UID: uid}]
	switch vm.state {
	case prlctl.StateStopped, prlctl.StateSuspended:
		m.nextPID++
		vm.pid, vm.started, vm.ranFrom, vm.asked = m.nextPID, time.Now(), time.Now(), false
		vm.state = prlctl.StateRunning
	case prlctl.StatePaused:
		vm.ranFrom, vm.asked, vm.state = time.Now(), false, prlctl.StateRunning
	}
}

// spent is what was looked at and run so far.
func (m *holdMac) spent() (looks, runs int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.looks, m.runs
}

func (m *holdMac) stateOf(uid uint32, id string) prlctl.State {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.machines[protocol.VMKey{ID: id, UID: uid}].state
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// measure notes for how long machines run that nobody has asked to suspend.
func (m *holdMac) measure() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for key, vm := range m.machines {
		if vm.state == prlctl.StateRunning && !vm.asked && !m.hung[key.UID] && !m.agentUp.IsZero() {
			m.longest = max(m.longest, time.Since(latest(vm.ranFrom, m.agentUp)))
		}
	}
}

func (m *holdMac) Users(ctx context.Context) (platform.Users, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.noUsers {
		return platform.Users{}, &codeError{code: protocol.CodeTargetUnlisted}
	}
	return (&testMac{}).Users(ctx)
}

func (m *holdMac) Console(context.Context) (platform.Console, error) {
	return platform.Console{Sessions: []uint32{aliceUID, bobUID}}, nil
}

func (m *holdMac) Processes(context.Context) ([]platform.Process, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.looks++
	if m.noTable {
		return nil, &codeError{code: protocol.CodeInternal}
	}
	var processes []platform.Process
	for key, vm := range m.machines {
		if vm.state == prlctl.StateStopped || vm.state == prlctl.StateSuspended || vm.hidden {
			continue
		}
		uid := key.UID
		if m.root {
			uid = 77
		}
		processes = append(processes, platform.Process{
			PID: vm.pid, UID: uid, Name: "prl_vm_app", Started: vm.started,
			Path:      prlctl.AppBundle + "/Contents/MacOS//Parallels VM.app/Contents/MacOS/prl_vm_app",
			Arguments: platform.VMArguments{VMID: "{" + key.ID + "}"},
		})
	}
	return processes, nil
}

// holdUser is prlctl as one of them.
type holdUser struct {
	mac *holdMac
	uid uint32
}

// vm waits for ever where the user's tools hang.
func (u holdUser) vm(ctx context.Context, id string) (*heldMachine, error) {
	u.mac.mu.Lock()
	u.mac.runs++
	u.mac.atOnce++
	u.mac.mostRuns.Store(max(u.mac.mostRuns.Load(), int64(u.mac.atOnce)))
	hung, slow := u.mac.hung[u.uid], u.mac.slow
	u.mac.mu.Unlock()
	time.Sleep(slow)
	defer func() {
		u.mac.mu.Lock()
		defer u.mac.mu.Unlock()
		u.mac.atOnce--
	}()
	if hung {
		<-ctx.Done()
		return nil, &codeError{code: protocol.CodeToolTimeout}
	}
	u.mac.mu.Lock()
	defer u.mac.mu.Unlock()
	vm := u.mac.machines[protocol.VMKey{ID: id, UID: u.uid}]
	if vm == nil {
		return nil, &prlctl.Error{Code: prlctl.CodeVMNotFound}
	}
	return vm, nil
}

func (u holdUser) Get(ctx context.Context, id string) (prlctl.VM, error) {
	vm, err := u.vm(ctx, id)
	if err != nil {
		return prlctl.VM{}, err
	}
	u.mac.mu.Lock()
	defer u.mac.mu.Unlock()
	shown := vm.state
	if vm.lies {
		shown = prlctl.StateSuspended
	}
	raw, _ := json.Marshal(map[string]any{"ID": id, "State": shown, "Startup and Shutdown": map[string]string{"Autostart": vm.autostart}})
	return prlctl.VM{ID: id, State: shown, Raw: raw}, nil
}

func (u holdUser) Suspend(ctx context.Context, id string) error {
	vm, err := u.vm(ctx, id)
	if err != nil {
		return err
	}
	u.mac.mu.Lock()
	vm.suspends.Add(1)
	vm.asked = true
	if vm.silent || vm.refuses != nil || vm.state != prlctl.StateRunning && vm.state != prlctl.StatePaused {
		defer u.mac.mu.Unlock()
		return vm.refuses
	}
	vm.state = "suspending"
	takes := vm.takes
	u.mac.mu.Unlock()
	ended := make(chan struct{})
	time.AfterFunc(takes, func() { // it goes on, also if the tool is killed
		u.mac.mu.Lock()
		defer u.mac.mu.Unlock()
		vm.state = prlctl.StateSuspended
		close(ended)
	})
	select {
	case <-ended:
	case <-ctx.Done():
	}
	return ctx.Err()
}

func (u holdUser) change(ctx context.Context, id string, to prlctl.State, may func(*heldMachine) bool) error {
	vm, err := u.vm(ctx, id)
	if err != nil {
		return err
	}
	u.mac.mu.Lock()
	defer u.mac.mu.Unlock()
	if !may(vm) {
		return &prlctl.Error{Code: prlctl.CodeToolFailed}
	}
	vm.state = to
	return nil
}

func (u holdUser) Pause(ctx context.Context, id string) error {
	return u.change(ctx, id, prlctl.StatePaused, func(vm *heldMachine) bool { return vm.state == prlctl.StateRunning && !vm.noPause })
}

func (u holdUser) Kill(ctx context.Context, id string) error {
	return u.change(ctx, id, prlctl.StateStopped, func(*heldMachine) bool { return true })
}

func (u holdUser) Set(ctx context.Context, id string, args ...string) error {
	vm, err := u.vm(ctx, id)
	if err != nil {
		return err
	}
	u.mac.mu.Lock()
	defer u.mac.mu.Unlock()
	vm.autostart = args[0][len(autostartFlag):]
	return nil
}

// holdBench is Holds on a real store.
type holdBench struct {
	t      testing.TB
	folder string
	store  *store.Store
	holds  *Holds
	mac    *holdMac
	shift  time.Duration // of the wall clock
	began  time.Time
	now    Circumstances
	stop   func()

	mu        sync.Mutex
	events    []protocol.Event
	commits   atomic.Int64
	disk      chan struct{} // nothing is written before it is closed
	fullDisk  bool
	storeDies bool

	// Where they are set, they stand before the Mac's.
	directory Directory
	tool      func(holdUser) HoldTool
	tell      func(user *platform.User)
}

func holdCircumstances() Circumstances {
	now := goodCircumstances()
	now.Trust.Allowed = allListed()
	return now
}

func newHoldBench(t testing.TB) *holdBench {
	b := &holdBench{t: t, folder: testFolder(t), mac: newHoldMac(), now: holdCircumstances(), began: time.Now()}
	b.open()
	return b
}

// open is a start of the daemon.
func (b *holdBench) open() {
	b.t.Helper()
	state, _, err := store.Open(context.Background(), filepath.Join(b.folder, "state"), store.Options{Log: zerolog.Nop(), Collections: Collections()})
	if err != nil {
		b.t.Fatal(err)
	}
	b.store = state
	directory := b.directory
	if directory == nil {
		directory = b.mac
	}
	b.holds, err = NewHolds(&HoldOptions{
		Store: state, Folder: b.folder, Circumstances: b.circumstances, Directory: directory, Log: zerolog.Nop(),
		Commit: func(change func(*store.Tx) error, events ...protocol.Event) error {
			b.mu.Lock()
			disk, isFull := b.disk, b.fullDisk
			b.mu.Unlock()
			if isFull {
				return &codeError{code: protocol.CodeInternal}
			}
			if disk != nil {
				<-disk
			}
			b.mu.Lock()
			b.events = append(b.events, events...)
			b.commits.Add(1)
			b.mu.Unlock()
			return state.Update(change)
		},
		UIDOnDisk: func(user platform.User) uint32 {
			if b.mac.root {
				return 77
			}
			return user.UID
		},
		Tool: func(account *Account) HoldTool {
			if user := (holdUser{b.mac, account.User.UID}); b.tool == nil {
				return user
			} else {
				return b.tool(user)
			}
		},
		Tell: func(_ context.Context, user *platform.User, text string) {
			if b.tell != nil {
				b.tell(user)
			}
			b.mac.mu.Lock()
			defer b.mac.mu.Unlock()
			b.mac.told = append(b.mac.told, user.Name)
		},
		News: func() {},
	})
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	b.mac.mu.Lock()
	b.mac.agentUp = time.Now()
	b.mac.mu.Unlock()
	go func() {
		defer close(ended)
		b.holds.Run(ctx)
	}()
	b.stop = func() {
		b.mac.mu.Lock()
		b.mac.agentUp = time.Time{}
		b.mac.mu.Unlock()
		cancel()
		<-ended
		_ = state.Close()
	}
	synctest.Wait()
}

// loseStore ends the daemon, and has it begin without its database.
func (b *holdBench) loseStore() {
	b.t.Helper()
	b.stop()
	b.openAnew()
}

func (b *holdBench) openAnew() {
	b.t.Helper()
	if err := os.RemoveAll(filepath.Join(b.folder, "state")); err != nil {
		b.t.Fatal(err)
	}
	b.open()
}

// kill is an end in which nothing can be kept any more.
func (b *holdBench) kill() {
	_ = b.store.Close()
	b.stop()
	b.open()
}

// restart ends the daemon, which is away for a while.
func (b *holdBench) restart(away time.Duration) {
	b.stop()
	time.Sleep(away)
	b.open()
}

func (b *holdBench) circumstances() *Circumstances {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now
	now.Clock.Trusted = testNow.Add(time.Since(b.began))
	now.Clock.Wall = now.Clock.Trusted.Add(b.shift)
	now.Clock.Likely = latest(now.Clock.Wall, now.Clock.Trusted)
	return &now
}

func (b *holdBench) change(do func(*Circumstances)) {
	b.mu.Lock()
	do(&b.now)
	b.mu.Unlock()
	b.holds.awaken()
	synctest.Wait()
}

func holdOf(uid uint32, id string) protocol.Hold {
	return protocol.Hold{VMKey: protocol.VMKey{ID: id, UID: uid}, Since: testNow, CommandID: "lock-" + id}
}

func listOf(version uint64, holds ...protocol.Hold) protocol.HoldList {
	return protocol.HoldList{DeviceID: "device-1", MacSerial: "C02TEST", Version: version, IssuedAt: testNow, Holds: holds}
}

func signHolds(t testing.TB, list protocol.HoldList, keys ...ed25519.PrivateKey) protocol.Envelope {
	t.Helper()
	if list.Holds == nil {
		list.Holds = []protocol.Hold{}
	}
	payload, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	return protocol.Sign(protocol.PayloadHolds, payload, keys...)
}

// give delivers a list, and lets what follows happen as far as it does at once.
func (b *holdBench) give(version uint64, holds ...protocol.Hold) {
	b.t.Helper()
	if code := b.holds.take(new(signHolds(b.t, listOf(version, holds...), testKey(1))), 0); code != "" {
		b.t.Fatalf("the list is refused: %s", code)
	}
	synctest.Wait()
}

// state is how a machine stands, as the portal is told.
func (b *holdBench) state(uid uint32, id string) protocol.HoldState {
	b.t.Helper()
	report := b.holds.Report()
	if report == nil {
		b.t.Fatal("there is no report")
	}
	for _, one := range report.Holds {
		if one.VMKey == (protocol.VMKey{ID: id, UID: uid}) {
			return one
		}
	}
	return protocol.HoldState{}
}

// words are the state without its key, whose String would stand for all of it.
func words(state protocol.HoldState) string {
	return fmt.Sprint(state.State, " ", state.Code, " paused ", state.Paused, " violations ", state.Violations)
}

func (b *holdBench) wantState(uid uint32, id, state string, code protocol.Code) {
	b.t.Helper()
	if got := b.state(uid, id); got.State != state || got.Code != code {
		b.t.Errorf("the hold of %d is %s %s, want %s %s", uid, got.State, got.Code, state, code)
	}
}

func (b *holdBench) count(kind string) (count int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, event := range b.events {
		if event.Type == kind {
			count++
		}
	}
	return count
}

func inHoldBubble(t *testing.T, test func(*holdBench)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newHoldBench(t)
		defer func() { b.stop() }()
		test(b)
	})
}

func (m *holdMac) set(uid uint32, id, autostart string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.machines[protocol.VMKey{ID: id, UID: uid}].autostart = autostart
}

func (m *holdMac) autostart(uid uint32, id string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.machines[protocol.VMKey{ID: id, UID: uid}].autostart
}

func (m *holdMac) hang(uid uint32, hung bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hung[uid] = hung
}
