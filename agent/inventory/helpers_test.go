package inventory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"prlagent/agent/lane"
	"prlagent/agent/protocol"
	"prlagent/platform"
	"prlagent/platform/safefile"
	"prlagent/platform/tool"
	"prlagent/prlctl"
	"prlagent/store"
)

// Machines of these tests.
const (
	windowsID = "f11d8098-10fe-40d9-871e-27af1e66161e"
	linuxID   = "59c836ea-ac37-4d18-be17-c49763bf46fb"
	macID     = "7d0c9c1e-4f5b-4c39-9d0e-2b7c3a1f6e55"
)

var (
	alice = platform.User{Name: "alice", UID: 501, Home: "/Users/alice"}
	bob   = platform.User{Name: "bob", UID: 502, Home: "/Users/bob"}
)

// disk is the volume of the Mac's files.
const disk = "0E5C2F1A-9C3B-4B7E-8D55-6A0F4C1B7D21"

// noon is when every test begins.
var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// machine is a virtual machine as the tool would print it.
type machine struct {
	id, name, state, os, kind string
	uptime                    int
	home                      string // the bundle; only the query by id names it
	toolsState, toolsVersion  string
	encrypted, cpu, serial    string
	memory                    string
	future                    string // a section that nobody knows yet
	bulkOnly                  bool   // the query by id fails
	sparse                    bool   // the bulk list leaves whole sections out
	between                   string // the memory when the query by id is answered; empty: as listed
	lacks                     string // a key that no list shows
	brokenCode                string // its description cannot be believed; no_id hides the id as well
}

// windows is a machine with all there is.
func windows() *machine {
	return &machine{
		id: windowsID, name: "Windows 11", state: "stopped", os: "win-11", kind: "VM", uptime: 1011878,
		home: "/Users/alice/Parallels/Windows 11.pvm", toolsState: "possibly_installed", toolsVersion: "26.4.0-57513",
		encrypted: "no", cpu: "arm", memory: "8192Mb",
	}
}

func linux() *machine {
	return &machine{
		id: linuxID, name: "Ubuntu", state: "stopped", os: "ubuntu", kind: "VM", uptime: 3600,
		home: "/Users/bob/Parallels/Ubuntu.pvm", toolsState: "possibly_installed", toolsVersion: "26.4.0-57513",
		encrypted: "no", cpu: "x86", memory: "2048Mb",
	}
}

// vm is the machine as prlctl reads it.
func (m *machine) vm(full bool) prlctl.VM {
	object := map[string]any{
		"ID": m.id, "Name": m.name, "State": m.state, "OS": m.os, "Type": m.kind, "Uptime": fmt.Sprint(m.uptime),
		"GuestTools":      map[string]any{"state": m.toolsState, "version": m.toolsVersion},
		"Security":        map[string]any{"Encrypted": m.encrypted},
		"SMBIOS settings": map[string]any{"System serial number": m.serial},
		"Hardware":        map[string]any{"cpu": map[string]any{"type": m.cpu}, "memory": map[string]any{"size": m.memory}},
		"Home":            "", "Home path": "",
	}
	if m.future != "" {
		object["Future"] = map[string]any{"setting": m.future}
	}
	if !full && m.sparse {
		for _, section := range []string{"GuestTools", "Security", "SMBIOS settings", "Hardware", "Future"} {
			delete(object, section)
		}
	}
	delete(object, m.lacks)
	if full && m.between != "" {
		object["Hardware"] = map[string]any{"cpu": map[string]any{"type": m.cpu}, "memory": map[string]any{"size": m.between}}
	}
	if full && m.home != "" {
		object["Home"], object["Home path"] = m.home+"/", m.home+"/config.pvs"
	}
	data, err := json.Marshal(object)
	if err != nil {
		panic(err)
	}
	var vm prlctl.VM
	if err := json.Unmarshal(data, &vm); err != nil {
		panic(err)
	}
	return vm
}

// file is what lies under a path of the fake Mac.
type file struct {
	inode  uint64
	uid    uint32
	at     time.Time // last change
	data   string
	failed error // reading it fails
}

// fakeMac plays everything that a look reads. Tests change its fields between
// looks.
type fakeMac struct {
	users    []platform.User
	others   []platform.User // accounts with a record that are no person's
	usersErr error
	console  platform.Console
	host     platform.Host
	hostErr  error

	volume    string // id of the disk that the files are on; empty if it has none that lasts
	device    uint64 // number of that disk, which every boot gives anew
	files     map[string]file
	processes []platform.Process
	machines  map[string][]*machine // by account
	listErr   map[string]error
	getErr    error
	license   prlctl.License
	licErr    error
	version   string
	appErr    error
	untrusted error
	noEntry   bool // launchctl cannot enter a session

	oneAccount bool // one account owns everything, as below a root

	lookErr map[string]error         // looking at files as these accounts fails
	claims  map[string]file          // "alice /path": what alice's process says is there
	holds   map[string]chan struct{} // lists of these accounts wait until it is closed

	holdLicense chan struct{} // not nil: queries for the license wait until it is closed

	mu     sync.Mutex
	inside []string            // calls that went through the user's session
	asked  map[string][]string // by account: paths that were looked at
	calls  []string            // "list alice", "get alice ID", "look alice", "license alice"
}

func (f *fakeMac) Users(context.Context) (platform.Users, error) {
	return platform.Users{People: f.users, Others: f.others}, f.usersErr
}
func (f *fakeMac) Console(context.Context) (platform.Console, error)     { return f.console, nil }
func (f *fakeMac) Host(context.Context) (platform.Host, error)           { return f.host, f.hostErr }
func (f *fakeMac) Processes(context.Context) ([]platform.Process, error) { return f.processes, nil }

// UIDOnDisk is the user's own, unless one account plays all users.
func (f *fakeMac) UIDOnDisk(user platform.User) uint32 {
	if f.oneAccount {
		return 0
	}
	return user.UID
}

// LookAtFiles answers from the files. Who looks sees only what they own.
func (f *fakeMac) LookAtFiles(_ context.Context, user platform.User, questions []platform.FileQuestion) ([]platform.FileAnswer, error) {
	f.note("look " + user.Name)
	answers := make([]platform.FileAnswer, len(questions))
	failed := f.lookErr[user.Name]
	for i, question := range questions {
		f.noteFile(user.Name, question.Path)
		if answers[i].Err = failed; failed == nil {
			answers[i] = f.answer(user, question)
		}
	}
	return answers, failed
}

func (f *fakeMac) answer(user platform.User, question platform.FileQuestion) platform.FileAnswer {
	found, ok := f.files[question.Path]
	if claim, lies := f.claims[user.Name+" "+question.Path]; lies {
		found, ok = claim, true
	}
	switch {
	case !ok:
		return platform.FileAnswer{Err: fs.ErrNotExist}
	case question.Reader == "":
		return platform.FileAnswer{
			Folder: found.inode != 0, Volume: f.volume, Device: f.device, Inode: found.inode, UID: found.uid, ModifiedAt: found.at,
		}
	case found.failed != nil:
		return platform.FileAnswer{Err: found.failed}
	case found.uid != f.UIDOnDisk(user):
		return platform.FileAnswer{Err: errors.New("belongs to somebody else")}
	}
	return readFields([]byte(found.data), question.Reader)
}

// readFields gives what the process of a user tells of a file.
func readFields(content []byte, reader string) platform.FileAnswer {
	if len(content) > prlctl.MaxFile {
		return platform.FileAnswer{Err: safefile.ErrTooLarge}
	}
	found, err := prlctl.FileReaders()[reader](content)
	if err != nil {
		return platform.FileAnswer{Err: platform.ErrNotUnderstood}
	}
	fields, err := json.Marshal(found)
	return platform.FileAnswer{Fields: fields, Err: err}
}

func (f *fakeMac) noteFile(user, path string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.asked == nil {
		f.asked = make(map[string][]string)
	}
	f.asked[user] = append(f.asked[user], path)
}

// note keeps what was asked; users are asked side by side.
func (f *fakeMac) note(call string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, call)
}

// asUser is prlctl and prlsrvctl as one account. Starting or changing a
// machine is nothing that it could do.
type asUser struct {
	*fakeMac
	user    platform.User
	session bool
}

// ask notes a call of the vendor's tools, and whether it went through the
// session.
func (a asUser) ask(call string) {
	a.note(call)
	if a.session {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.inside = append(a.inside, call)
	}
}

func (a asUser) List(ctx context.Context) (prlctl.Listing, error) {
	a.ask("list " + a.user.Name)
	if hold := a.holds[a.user.Name]; hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return prlctl.Listing{}, &tool.Error{Code: tool.CodeFailed, Err: ctx.Err()}
		}
	}
	if err := a.entering(); err != nil {
		return prlctl.Listing{}, err
	}
	if err := a.listErr[a.user.Name]; err != nil {
		return prlctl.Listing{}, err
	}
	var listing prlctl.Listing
	for _, m := range a.machines[a.user.Name] {
		if m.brokenCode != "" {
			id := m.id
			if m.brokenCode == prlctl.CodeNoID {
				id = ""
			}
			listing.Unreadable = append(listing.Unreadable, prlctl.Unreadable{ID: id, Code: m.brokenCode})
			continue
		}
		listing.VMs = append(listing.VMs, m.vm(false))
	}
	return listing, nil
}

func (a asUser) Get(_ context.Context, id string) (prlctl.VM, error) {
	a.ask("get " + a.user.Name + " " + id)
	if err := a.entering(); err != nil {
		return prlctl.VM{}, err
	}
	if a.getErr != nil {
		return prlctl.VM{}, a.getErr
	}
	for _, m := range a.machines[a.user.Name] {
		if strings.EqualFold(strings.Trim(m.id, "{}"), id) && !m.bulkOnly {
			return m.vm(true), nil
		}
	}
	return prlctl.VM{}, &prlctl.Error{Code: prlctl.CodeVMNotFound}
}

func (a asUser) License(ctx context.Context) (prlctl.License, error) {
	a.ask("license " + a.user.Name)
	if a.holdLicense != nil {
		select {
		case <-a.holdLicense:
		case <-ctx.Done():
			return prlctl.License{}, &tool.Error{Code: tool.CodeFailed, Err: ctx.Err()}
		}
	}
	if err := a.entering(); err != nil {
		return prlctl.License{}, err
	}
	return a.license, a.licErr
}

// entering fails where the call goes through a session that lets nobody in.
func (a asUser) entering() error {
	if a.session && a.noEntry {
		return &prlctl.Error{Code: prlctl.CodeToolFailed, ExitCode: 1}
	}
	return nil
}

// lab is a Mac, a state folder and a clock.
type lab struct {
	*fakeMac
	t         testing.TB
	now       time.Time
	state     *store.Store
	collector *Collector
}

// newLab is a healthy Mac of alice, who sits at it and has Windows, and bob,
// who is away and has Linux.
func newLab(t testing.TB) *lab {
	t.Helper()
	state, _, err := store.Open(context.Background(), filepath.Join(t.TempDir(), "state"), store.Options{Collections: []string{Remembered}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = state.Close() })
	l := &lab{t: t, now: noon, state: state, fakeMac: &fakeMac{
		users:  []platform.User{alice, bob},
		volume: disk, device: 1,
		console:  platform.Console{User: "alice", UID: 501, Sessions: []uint32{501}},
		host:     platform.Host{ComputerName: "Alice's Mac", Serial: "C02XL0THJGH5", HardwareUUID: "D16E8CA5-3B60-5BBE-AFF4-5BA1012DD0CC", CPU: platform.CPUArm},
		machines: map[string][]*machine{"alice": {windows()}, "bob": {linux()}},
		files: map[string]file{
			"/Users/alice":           {uid: 501},
			"/Users/alice/Parallels": {uid: 501},
			"/Users/bob":             {uid: 502},
			"/Users/bob/Parallels":   {uid: 502},
		},
		listErr: map[string]error{},
		license: prlctl.License{Status: "ACTIVE", Edition: "enterprise", ActivationType: "LIC_KEY"},
		version: "26.4.0",
	}}
	l.bundle(windows().home, 501, 100)
	l.windowsInfo(windows().home, windowsPro, "22621")
	l.bundle(linux().home, 502, 200)
	l.info(linux().home, "Ubuntu 24.04.1 LTS", "6.8.0-45")
	l.restart()
	return l
}

// restart is a new process of the agent: what it remembers is in the store.
func (l *lab) restart() {
	as := func(user platform.User, session bool) asUser { return asUser{l.fakeMac, user, session} }
	l.collector = New(Sources{
		Mac: l.fakeMac, Files: l.fakeMac, Processes: l.fakeMac,
		Lister:     func(user platform.User, session bool) Lister { return as(user, session) },
		Licensing:  func(user platform.User, session bool) Licensing { return as(user, session) },
		AppVersion: func() (string, string, error) { return l.version, "57513", l.appErr },
		Trusted:    func(context.Context) error { return l.untrusted },
	}, lane.New(), l.state, func() time.Time { return l.now }, zerolog.Nop())
}

func (l *lab) bundle(path string, uid uint32, inode uint64) {
	l.files[path] = file{uid: uid, inode: inode}
}

// Windows' numbers of its editions.
const (
	windowsEnterprise = 4
	windowsPro        = 48
	windowsHome       = 101
)

// windowsInfo puts what a Windows told about itself into a bundle.
func (l *lab) windowsInfo(bundle string, edition int, build string) {
	l.guestInfo(bundle, fmt.Sprintf("<RealOsType>Microsoft Windows, 64bit, 4 cpu(s), page: 4096b</RealOsType><RealOsTypeId>8</RealOsTypeId>"+
		"<RealOsVersion>10.0.%s, </RealOsVersion><DisplayVersion>22H2</DisplayVersion>"+
		"<RealOsDetails>ServicePack: 0.0; SuiteMask: 0x100; ProductType: 1; ProductEdition: %d</RealOsDetails>", build, edition))
}

// info puts what a guest that is no Windows told about itself into a bundle, in
// one of the forms that it may have.
func (l *lab) info(bundle, version, kernel string) {
	l.files[bundle+"/VmInfo.pvi"] = file{uid: l.files[bundle].uid, data: "<ParallelsVmInfo><GuestOsInformation><RealOsVersion>" +
		version + "</RealOsVersion><OsKernelVersion>" + kernel + "</OsKernelVersion></GuestOsInformation></ParallelsVmInfo>"}
}

// guestInfo puts the elements of GuestOsInformation into a bundle, in the real
// file's form (captures 2).
func (l *lab) guestInfo(bundle, elements string) {
	l.files[bundle+"/VmInfo.pvi"] = file{uid: l.files[bundle].uid,
		data: `<VmInfo dyn_lists="" schemaVersion="1.0"><GuestOsInformation dyn_lists="">` + elements + `</GuestOsInformation></VmInfo>`}
}

// look makes one look, which must succeed, a minute after the one before.
func (l *lab) look() *Look {
	l.t.Helper()
	l.now = l.now.Add(time.Minute)
	l.mu.Lock()
	l.calls, l.inside = nil, nil
	l.mu.Unlock()
	look, err := l.collector.Collect(context.Background(), DefaultPatience)
	if err != nil {
		l.t.Fatalf("look: %v", err)
	}
	for _, vm := range look.VMs {
		checkGaps(l.t, look, vm)
	}
	return look
}

// checkGaps holds every row to the rule that an empty cell has a reason of its
// own, and that a cell with a value has none.
func checkGaps(t testing.TB, look *Look, vm protocol.VM) {
	t.Helper()
	row := protocol.Row{VM: vm, Host: look.Host, Product: look.Product, Status: protocol.StatusOf(look.Product, false),
		LastCommand: protocol.CommandNone, LastReportedAt: look.At}
	for _, column := range protocol.Columns {
		gap := column.Gap(&row)
		empty := column.Value(&row) == "" || column.ID == "vm_state" && vm.State == protocol.StateUnknown
		if empty && (gap == "" || gap == protocol.CodeNotReportedYet) {
			t.Errorf("%s of %q is empty without a reason (%q)", column.ID, vm.Name, gap)
		}
		if _, explained := vm.Gaps[column.ID]; explained && !empty && column.Remark(&row) == "" {
			t.Errorf("%s of %q is %q and has the reason %q", column.ID, vm.Name, column.Value(&row), vm.Gaps[column.ID])
		}
		if gap != "" && !slices.ContainsFunc(protocol.Codes, func(row protocol.CodeText) bool { return row.Code == gap }) {
			t.Errorf("%s of %q: the code %q is in no table", column.ID, vm.Name, gap)
		}
	}
}

// row is the one row of an account with this id.
func row(t testing.TB, look *Look, owner, id string) protocol.VM {
	t.Helper()
	var found []protocol.VM
	for _, vm := range look.VMs {
		if vm.Owner == owner && vm.ID == id {
			found = append(found, vm)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d rows of %s with the id %s in %s", len(found), owner, id, names(look))
	}
	return found[0]
}

// names are all rows in short: "alice/Windows 11 bob/Ubuntu".
func names(look *Look) string {
	var out []string
	for _, vm := range look.VMs {
		out = append(out, vm.Owner+"/"+vm.Name)
	}
	return strings.Join(out, " ")
}

// userLook is what a look says of listing one account.
func userLook(t testing.TB, look *Look, name string) protocol.UserLook {
	t.Helper()
	at := slices.IndexFunc(look.Users, func(user protocol.UserLook) bool { return user.Name == name })
	if at < 0 {
		t.Fatalf("%s was not listed", name)
	}
	return look.Users[at]
}

// cell is a column of a row, as the table shows it.
func cell(t testing.TB, look *Look, vm protocol.VM, id string) (value string, gap protocol.Code) {
	t.Helper()
	column, ok := protocol.ColumnByID(id)
	if !ok {
		t.Fatalf("no column %s", id)
	}
	row := protocol.Row{VM: vm, Host: look.Host, Product: look.Product, Status: protocol.StatusOf(look.Product, false)}
	return column.Value(&row), column.Gap(&row)
}

// runs counts the calls of the vendor's tools in the last look by their first
// word.
func (l *lab) runs() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	count := map[string]int{}
	for _, call := range l.calls {
		if verb, _, _ := strings.Cut(call, " "); verb != "look" {
			count[verb]++
		}
	}
	return count
}

// callsOf are the calls of the last look as one user, in their order.
func (l *lab) callsOf(user string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var calls []string
	for _, call := range l.calls {
		if strings.Fields(call)[1] == user {
			calls = append(calls, call)
		}
	}
	return strings.Join(calls, ", ")
}

func wantRuns(t testing.TB, l *lab, want map[string]int) {
	t.Helper()
	if got := l.runs(); !maps.Equal(got, want) {
		t.Errorf("tool calls %v, want %v: %v", got, want, l.calls)
	}
}

func wantEqual[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

var errService = &prlctl.Error{Code: prlctl.CodeServiceDown, ExitCode: 253}
