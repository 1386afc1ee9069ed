package enforce

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"prlagent/agent/lane"
	"prlagent/agent/policy"
	"prlagent/agent/protocol"
	"prlagent/platform"
	"prlagent/prlctl"
	"prlagent/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// skipLong skips a test with -short, which is for the race detector: in hours of fake
// time, or with megabytes, one goroutine does the same again and again, and that takes
// the race detector long.
func skipLong(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("one goroutine, again and again, which takes the race detector long")
	}
}

// fakeVM is one virtual machine: what the tool shows of it by the places of the
// catalogue, and what config.pvs does.
type fakeVM struct {
	key    protocol.VMKey
	state  prlctl.State
	object map[string]any
	config prlctl.ConfigPVS

	fileAt  time.Time // when what was set last is in the file
	pending prlctl.ConfigPVS
}

func (v *fakeVM) clone() *fakeVM {
	c := *v
	data, _ := json.Marshal(v.object)
	c.object = nil
	_ = json.Unmarshal(data, &c.object)
	return &c
}

// at gives the object that holds the last key of a path, and that key.
func (v *fakeVM) at(path string) (map[string]any, string) {
	keys, object := strings.Split(path, "/"), v.object
	for _, key := range keys[:len(keys)-1] {
		below, is := object[key].(map[string]any)
		if !is {
			below = make(map[string]any)
			object[key] = below
		}
		object = below
	}
	return object, keys[len(keys)-1]
}

// show is what is shown at a path.
func (v *fakeVM) show(path string) string {
	object, key := v.at(path)
	return fmt.Sprint(object[key])
}

// change is what a person does.
func (v *fakeVM) change(path, value string) {
	object, key := v.at(path)
	object[key] = value
	if key == "enabled" {
		object[key] = value == "on"
	}
}

func (v *fakeVM) vm(t testing.TB) prlctl.VM {
	t.Helper()
	v.object["State"], v.object["ID"] = string(v.state), v.key.ID
	data, err := json.Marshal(v.object)
	if err != nil {
		t.Fatal(err)
	}
	var vm prlctl.VM
	if err := vm.UnmarshalJSON(data); err != nil {
		t.Fatal(err)
	}
	return vm
}

// fakeMac is the machines, and how the tool behaves.
type fakeMac struct {
	t  testing.TB
	mu sync.Mutex

	vms   map[protocol.VMKey]*fakeVM
	calls []string // "uid set flag" and "uid get"
	// before and after are told of each call of the tool.
	before, after func(call string)
	// answer, if it is there, says what a set does: whether it takes effect, and
	// what the tool says.
	answer   func(uid uint32, args []string) (works bool, said error)
	fileWait time.Duration // config.pvs is written so long after the call
	fileErr  error         // why config.pvs cannot be read
	getFails error         // what the tool says when it is asked for a machine
	hangs    map[uint32]chan struct{}

	passwords []string // what the host asks a password for
	// meanwhile is what another writer of that list does between our reading and our
	// writing of it, or behind it.
	meanwhile, afterwards func()
}

func (m *fakeMac) hook(hook func(string), call string) {
	if hook != nil {
		hook(call)
	}
}

func (m *fakeMac) sets() (sets []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, call := range m.calls {
		if strings.Contains(call, " set ") {
			sets = append(sets, call)
		}
	}
	return sets
}

func (m *fakeMac) clone() *fakeMac {
	c := &fakeMac{t: m.t, vms: make(map[protocol.VMKey]*fakeVM), passwords: slices.Clone(m.passwords)}
	for key, vm := range m.vms {
		c.vms[key] = vm.clone()
	}
	return c
}

// asUser is the tool as one account.
type asUser struct {
	*fakeMac
	uid uint32
}

func (a asUser) Set(ctx context.Context, id string, args ...string) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	call := fmt.Sprintf("%d set %s", a.uid, strings.Join(args, " "))
	a.mu.Lock()
	a.calls = append(a.calls, call)
	hold := a.hangs[a.uid]
	a.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
		}
		return &prlctl.Error{Code: string(protocol.CodeToolTimeout)}
	}
	a.hook(a.before, call)
	works, said := true, error(nil)
	if a.answer != nil {
		works, said = a.answer(a.uid, args)
	}
	if works {
		a.mu.Lock()
		a.vms[protocol.VMKey{ID: id, UID: a.uid}].set(a.t, args, a.fileWait)
		a.mu.Unlock()
	}
	a.hook(a.after, call)
	return said
}

func (a asUser) Get(_ context.Context, id string) (prlctl.VM, error) {
	call := fmt.Sprintf("%d get", a.uid)
	a.hook(a.before, call)
	a.mu.Lock()
	a.calls = append(a.calls, call)
	vm := a.vms[protocol.VMKey{ID: id, UID: a.uid}].vm(a.t)
	a.mu.Unlock()
	a.hook(a.after, call)
	return vm, a.getFails
}

// ServerInfo is HostTool.
func (m *fakeMac) ServerInfo(context.Context) (prlctl.ServerInfo, error) {
	m.hook(m.before, "host info")
	m.mu.Lock()
	m.calls = append(m.calls, "host info")
	info := prlctl.ServerInfo{RequirePassword: slices.Clone(m.passwords), PreferencesLocked: prlctl.SwitchOff}
	m.mu.Unlock()
	m.hook(m.after, "host info")
	return info, nil
}

// SetHost is HostTool: the list is read, changed and written.
func (m *fakeMac) SetHost(ctx context.Context, args ...string) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	call := "host set " + strings.Join(args, " ")
	m.hook(m.before, call)
	m.mu.Lock()
	m.calls = append(m.calls, call)
	list := slices.Clone(m.passwords)
	m.mu.Unlock()
	works, said := true, error(nil)
	if m.answer != nil {
		works, said = m.answer(hostUID, args)
	}
	if m.meanwhile != nil {
		m.meanwhile()
	}
	action, word, _ := strings.Cut(args[len(args)-1], ":")
	list = slices.DeleteFunc(list, func(one string) bool { return one == action })
	if word == "on" {
		list = append(list, action)
	}
	if works {
		m.mu.Lock()
		m.passwords = list
		m.mu.Unlock()
	}
	if m.afterwards != nil {
		m.afterwards()
	}
	m.hook(m.after, call)
	return said
}

// asked are what the host asks a password for.
func (m *fakeMac) asked() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := slices.Clone(m.passwords)
	slices.Sort(list)
	return strings.Join(list, " ")
}

// Suspend suspends a machine.
func (a asUser) Suspend(_ context.Context, id string) error {
	call := fmt.Sprintf("%d suspend", a.uid)
	a.hook(a.before, call)
	a.mu.Lock()
	a.calls = append(a.calls, call)
	a.mu.Unlock()
	works, said := true, error(nil)
	if a.answer != nil {
		works, said = a.answer(a.uid, []string{"suspend"})
	}
	a.mu.Lock()
	if vm := a.vms[protocol.VMKey{ID: id, UID: a.uid}]; works && vm.state == prlctl.StateRunning {
		vm.state = prlctl.StateSuspended
	}
	a.mu.Unlock()
	return said
}

// LookAtFiles reads config.pvs, in which the machine is told by its folder.
func (m *fakeMac) LookAtFiles(_ context.Context, user platform.User, questions []platform.FileQuestion) ([]platform.FileAnswer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	answers := make([]platform.FileAnswer, len(questions))
	for i, question := range questions {
		if answers[i].Err = m.fileErr; m.fileErr != nil {
			continue
		}
		key := protocol.VMKey{ID: strings.TrimSuffix(filepath.Base(filepath.Dir(question.Path)), ".pvm"), UID: user.UID}
		vm := m.vms[key]
		if !vm.fileAt.IsZero() && !time.Now().Before(vm.fileAt) {
			vm.config, vm.fileAt = vm.pending, time.Time{}
		}
		answers[i].Fields, answers[i].Err = json.Marshal(vm.config)
	}
	return answers, nil
}

// set does what a call says.
func (v *fakeVM) set(t testing.TB, args []string, fileWait time.Duration) {
	flag, value, joined := strings.Cut(args[0], "=")
	if !joined { // --device-set netN …
		base := "Hardware/" + args[1] + "/"
		for i := 2; i < len(args); i++ {
			switch args[i] {
			case "--type", "--iface":
				v.change(base+strings.TrimPrefix(args[i], "--"), args[i+1])
				i++
			case "--connect":
				v.change(base+"state", "connected")
			case "--disconnect":
				v.change(base+"state", "disconnected")
			}
		}
		return
	}
	part := partOf(flag)
	if part.File == nil && len(part.Shown) == 0 {
		return // nothing shows it
	}
	if part.File == nil || len(part.Shown) > 0 && flag != "--isolate-vm" && flag != "--lock-on-suspend" {
		v.change(part.Shown[0], value)
		return
	}
	next := v.config
	if !v.fileAt.IsZero() {
		next = v.pending
	}
	switch flag {
	case "--isolate-vm":
		next.IsolatedVM = prlctl.ParseSwitch(value)
		if value == "on" {
			v.change("USB and Bluetooth/Automatic sharing gamepads", "on") // prlctl 6
		}
	case "--tools-autoupdate":
		next.AutoUpdate = prlctl.ParseSwitch(value)
	case "--lock-on-suspend":
		next.LockGuestOnSuspend = prlctl.ParseSwitch(value)
	case "--asset-id":
		next.AssetID = value
	default:
		t.Errorf("%s is not in this file", flag)
	}
	if fileWait == 0 {
		v.config = next
		return
	}
	v.pending, v.fileAt = next, time.Now().Add(fileWait)
}

func partOf(flag string) *policy.Part {
	for i := range policy.Settings {
		for j := range policy.Settings[i].Parts {
			if part := &policy.Settings[i].Parts[j]; part.Flag == flag {
				return part
			}
		}
	}
	return nil
}

// Accounts of these tests.
var (
	alice = platform.User{Name: "alice", UID: 501, Home: "/Users/alice"}
	bob   = platform.User{Name: "bob", UID: 502, Home: "/Users/bob"}
)

// version is the product of these tests.
var version = prlctl.Version{Major: 26, Minor: 4}

// lab is a Mac with an enforcer and its store.
type lab struct {
	*fakeMac
	t        testing.TB
	folder   string
	state    *store.Store
	enforcer *Enforcer
	posted   chan uint32
	refused  []string
	events   []protocol.Event // of what was done by hand
	shown    chan string      // notifications: uid and text
	ctx      context.Context
	stop     context.CancelFunc // ends ctx, as the daemon's end does

	content policy.Content
	monitor bool
	notify  bool // users are notified
	absent  bool // nobody has a GUI session

	notifyFails error

	locks    bool
	version  prlctl.Version
	system   string // macOS
	flags    prlctl.Capabilities
	started  time.Time // of every machine
	retryNow bool
	gone     bool             // no machine is there
	partial  bool             // not every machine that there is was seen
	look     func(*Situation) // changes what a look sees; nil: nothing
}

// newLab is a Mac of alice and bob, who have a Windows each, which is shut down.
func newLab(t testing.TB, document string) *lab {
	t.Helper()
	mac := &fakeMac{t: t, vms: make(map[protocol.VMKey]*fakeVM)}
	for _, user := range []platform.User{alice, bob} {
		mac.add(user)
	}
	return labOn(t, mac, t.TempDir(), document)
}

// add gives an account one more machine.
func (m *fakeMac) add(user platform.User) *fakeVM {
	data, err := os.ReadFile("../../testdata/prlctl/list-windows-running.json")
	if err != nil {
		m.t.Fatal(err)
	}
	var list []map[string]any
	if err := json.Unmarshal(data, &list); err != nil {
		m.t.Fatal(err)
	}
	key := protocol.VMKey{ID: fmt.Sprintf("%08d-10fe-40d9-871e-27af1e66161e", len(m.vms)+1), UID: user.UID}
	list[0]["Home"] = user.Home + "/" + key.ID + ".pvm/"
	list[0]["Home path"] = user.Home + "/" + key.ID + ".pvm/config.pvs"
	vm := &fakeVM{key: key, state: prlctl.StateStopped, object: list[0], config: prlctl.ConfigPVS{
		AutoUpdate: prlctl.SwitchOn, IsolatedVM: prlctl.SwitchOff, LockGuestOnSuspend: prlctl.SwitchOff,
	}}
	m.vms[key] = vm
	return vm
}

// labOn is an enforcer on a Mac, with its state in a folder.
func labOn(t testing.TB, mac *fakeMac, folder, document string) *lab {
	t.Helper()
	state, _, err := store.Open(context.Background(), filepath.Join(folder, "state"), store.Options{Log: zerolog.Nop(), Collections: Collections()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &lab{fakeMac: mac, t: t, folder: folder, state: state, posted: make(chan uint32, 100), shown: make(chan string, 100), ctx: ctx, stop: cancel, version: version, content: contentOf(document, 7)}
	l.enforcer = New(Options{
		Store: state, Lanes: lane.New(), Files: mac, Now: time.Now, Log: zerolog.Nop(),
		Host: func(platform.User, bool) HostTool { return mac },
		Suspend: func(ctx context.Context, user platform.User, _ bool, id string) error {
			return asUser{mac, user.UID}.Suspend(ctx, id)
		},
		Tool:   func(user platform.User, _ bool) Tool { return asUser{mac, user.UID} },
		Refuse: func(_ prlctl.Version, flag string) error { l.refused = append(l.refused, flag); return nil },
		Posted: func(uid uint32) { l.posted <- uid }, Reminded: func() {},
		Notify: func(_ context.Context, user platform.User, text string) error {
			l.shown <- fmt.Sprint(user.UID, " ", text)
			return l.notifyFails
		},
	})
	t.Cleanup(func() {
		cancel()
		l.enforcer.Close()
		_ = state.Close()
	})
	return l
}

func contentOf(settings string, revision uint64) policy.Content {
	document := fmt.Sprintf(`{"schema":1,"policy_id":"finance","revision":%d,"name":"Finance","groups":["finance"],"vm_settings":{"other":{%s}}}`, revision, settings)
	return policy.Content{Verified: true, HeadVersion: revision, Document: []byte(document), Pointer: protocol.PointTo("finance", revision, []byte(document))}
}

// situation is what a look at the Mac sees.
func (l *lab) situation() *Situation {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := &Situation{
		Content: l.content, Enforce: !l.monitor, AllowUnprovenLocks: l.locks, Mark: l.enforcer.Mark(), NotifyUsers: l.notify,
		Version: l.version, System: l.system, Capabilities: l.flags, Whole: !l.partial,
		Host: policy.Host{Listed: map[uint32]bool{alice.UID: true, bob.UID: true}, RetryNow: l.retryNow}, HostOwner: &Owner{User: alice, Session: true},
	}
	for _, key := range inOrder(maps.Keys(l.vms)) {
		if l.gone {
			break
		}
		vm := l.vms[key]
		user := alice
		if key.UID == bob.UID {
			user = bob
		}
		if !vm.fileAt.IsZero() && !time.Now().Before(vm.fileAt) {
			vm.config, vm.fileAt = vm.pending, time.Time{}
		}
		seen, config := vm.vm(l.t), vm.config
		s.Machines = append(s.Machines, &Machine{
			Facts: policy.Machine{Key: key, VM: seen, Config: &config, StartedAt: l.started, AtWork: true, RetryNow: l.retryNow},
			Owner: Owner{User: user, Session: !l.absent}, Name: "Windows 11", Bundle: user.Home + "/" + key.ID + ".pvm", ConfigHash: seen.ConfigHash(),
		})
	}
	if l.look != nil {
		l.look(s)
	}
	return s
}

func (l *lab) plan() *Planned {
	l.t.Helper()
	s := l.situation()
	l.enforcer.LookAtHost(l.ctx, s)
	planned, err := l.enforcer.Plan(s)
	if err != nil {
		l.t.Fatal(err)
	}
	return planned
}

// apply plans once and carries out what is planned.
func (l *lab) apply() (planned *Planned, applied []Applied) {
	l.t.Helper()
	planned = l.plan()
	owners := make(map[uint32]bool)
	for _, step := range planned.Steps {
		owners[step.VM.UID] = true
	}
	for _, v := range planned.Suspends {
		owners[v.VM.UID] = true
	}
	if len(planned.HostSteps) > 0 {
		owners[hostUID] = true
	}
	l.enforcer.Apply(l.ctx, planned)
	for range owners {
		uid := <-l.posted
		outcome, ended := l.enforcer.Take(uid)
		if !ended {
			l.t.Fatalf("nothing to take of %d", uid)
		}
		applied = append(applied, *outcome)
	}
	return planned, applied
}

// converge goes on until nothing is to be done.
func (l *lab) converge() {
	l.t.Helper()
	for range 20 {
		if planned, _ := l.apply(); len(planned.Steps) == 0 {
			return
		}
	}
	l.t.Fatalf("it does not end: %v", l.sets())
}

// report is what is told.
func (l *lab) report() protocol.PolicyReport { return l.enforcer.Report(&l.content, Gates{}) }

// told are the verdicts that the portal is told, but for what is simply in place.
func (l *lab) told() (told []protocol.VerdictGroup) {
	report := l.enforcer.Verdicts()
	report.Each(func(_ protocol.VMKey, group *protocol.VerdictGroup) {
		if !group.IsSimplyInPlace() {
			told = append(told, *group)
		}
	})
	return told
}

// verdicts are what is told of each machine and setting, in short.
func (l *lab) verdicts() map[string]string {
	found := make(map[string]string)
	for _, one := range l.enforcer.View().Settings {
		found[fmt.Sprintf("%d %s", one.Verdict.VM.UID, one.Verdict.Setting)] = strings.TrimSpace(one.Verdict.Verdict + " " + string(one.Verdict.Code))
	}
	return found
}

func (l *lab) wantVerdict(setting, want string) {
	l.t.Helper()
	if got := l.verdicts()["501 "+setting]; got != want {
		l.t.Errorf("alice's %s is %q, want %q", setting, got, want)
	}
}

func (l *lab) wantSets(want ...string) {
	l.t.Helper()
	if got := l.sets(); !slices.Equal(got, want) {
		l.t.Errorf("sets\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// forget forgets the calls so far.
func (l *lab) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls = nil
}

func (l *lab) vmOf(uid uint32) *fakeVM {
	for _, key := range inOrder(maps.Keys(l.vms)) {
		if key.UID == uid {
			return l.vms[key]
		}
	}
	l.t.Fatalf("%d has no machine", uid)
	return nil
}

// memoryOf is what the store has of alice's machine.
func (l *lab) memoryOf(uid uint32) policy.VMMemory {
	return l.stored()[l.vmOf(uid).key]
}

// stored is what the store has of machines and accounts.
func (l *lab) stored() policy.Memory {
	l.t.Helper()
	fresh := &Enforcer{options: Options{Store: l.state}}
	if err := fresh.loadMemory(); err != nil {
		l.t.Fatal(err)
	}
	return fresh.memory
}

func eventTypes(applied []Applied) []string {
	types := make(map[string]bool)
	for _, one := range applied {
		for _, event := range one.Events {
			types[event.Type] = true
		}
	}
	return slices.Sorted(maps.Keys(types))
}
