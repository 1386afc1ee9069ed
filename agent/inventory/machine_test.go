package inventory

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"prlagent/agent/policy"
	"prlagent/agent/protocol"
	"prlagent/prlctl"
	"prlagent/store"
)

// machineOf is the one machine of an account with this id.
func machineOf(t testing.TB, look *Look, owner, id string) Machine {
	t.Helper()
	at := slices.IndexFunc(look.Machines, func(m Machine) bool { return m.User.Name == owner && m.VM.ID == id })
	if at < 0 {
		t.Fatalf("%s has no machine %s", owner, id)
	}
	return look.Machines[at]
}

// future is what the tool showed in the section that nobody knows yet.
func future(t testing.TB, m Machine) string {
	t.Helper()
	var described struct{ Future struct{ Setting string } }
	if err := json.Unmarshal(m.VM.Raw, &described); err != nil {
		t.Fatal(err)
	}
	return described.Future.Setting
}

const encryptedPVS = "<ParallelsVirtualMachine><Identification><SourceVmUuid>{" + macID + "}</SourceVmUuid></Identification>" +
	"<Settings><VmEncryptionInfo><PluginId>other</PluginId></VmEncryptionInfo></Settings></ParallelsVirtualMachine>"

func TestMachineHoldsWhatWasObserved(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	vm := l.machines["alice"][0]
	vm.state, vm.encrypted, vm.future = "running", "yes", "kept"
	l.files[vm.home+"/config.pvs"] = file{uid: 501, data: encryptedPVS}
	started := noon.Add(-time.Hour)
	l.process(501, vm.id, started)
	look := l.look()

	m := machineOf(t, look, "alice", windowsID)
	wantEqual(t, "user", m.User, alice)
	wantEqual(t, "session", m.Session, true)
	wantEqual(t, "session of who is away", machineOf(t, look, "bob", linuxID).Session, false)
	wantEqual(t, "bundle", m.Bundle.Path, vm.home)
	wantEqual(t, "bundle's identity", m.Bundle.Identity, protocol.Bundle{Volume: disk, Inode: 100})
	wantEqual(t, "bundle's owner", *m.Bundle.Owner, 501)
	wantEqual(t, "a key that nobody knows", future(t, m), "kept")
	wantEqual(t, "where config.pvs says it came from", m.Config.SourceVMUUID, macID)
	wantEqual(t, "guest", m.Guest, prlctl.GuestOS{Edition: "Pro", Version: "22H2", Build: "22621"})
	wantEqual(t, "state", m.VM.State, prlctl.StateRunning)
	wantEqual(t, "started", m.StartedAt, started)
	wantEqual(t, "stale", m.Stale, "")
	wantEqual(t, "configuration", m.ConfigHash, m.VM.ConfigHash())
	wantEqual(t, "file that was not asked for", machineOf(t, look, "bob", linuxID).Config == nil, true)
}

// What a query by id said outlives the process, also where the list of a later
// one leaves sections out.
func TestDescriptionIsKeptWhileTheConfigurationIs(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	vm := l.machines["alice"][0]
	vm.sparse, vm.future = true, "first"
	l.look()
	before := machineOf(t, l.look(), "alice", windowsID)
	wantEqual(t, "queries by a second look, because the list is not complete", l.runs()["get"], 1)
	vm.state, vm.uptime = "running", vm.uptime+60
	same := func(what string) {
		t.Helper()
		now := machineOf(t, l.look(), "alice", windowsID)
		wantEqual(t, what+": queries", l.runs()["get"], 0)
		wantEqual(t, what+": a key that nobody knows", future(t, now), "first")
		wantEqual(t, what+": description", string(now.VM.Raw), string(before.VM.Raw))
		wantEqual(t, what+": state", now.VM.State, prlctl.StateRunning)
		wantEqual(t, what+": uptime", now.VM.Uptime, time.Duration(vm.uptime)*time.Second)
	}
	same("next look")
	l.restart()
	same("next process")
	vm.future, vm.name = "second", "Renamed"
	wantEqual(t, "after a change", future(t, machineOf(t, l.look(), "alice", windowsID)), "second")
	l.look()
	l.restart()
	wantEqual(t, "after a change, in the next process", future(t, machineOf(t, l.look(), "alice", windowsID)), "second")
	wantEqual(t, "queries", l.runs()["get"], 0)
}

// What is changed after the list and back after the query by id looks as before in
// the next list.
func TestAChangeBetweenListAndQueryIsNotKept(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a machine that is known", "a new one"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			vm := l.machines["alice"][0]
			if name == "a machine that is known" {
				l.look()
			}
			vm.name, vm.between = "Renamed", "1024Mb"
			wantEqual(t, "meanwhile", memoryOf(t, machineOf(t, l.look(), "alice", windowsID)), "1024Mb")
			vm.between = ""
			wantEqual(t, "afterwards", memoryOf(t, machineOf(t, l.look(), "alice", windowsID)), "8192Mb")
			l.look()
			wantEqual(t, "queries once both say the same", l.runs()["get"], 0)
		})
	}
}

func memoryOf(t *testing.T, m Machine) string {
	t.Helper()
	var object struct {
		Hardware struct {
			Memory struct{ Size string } `json:"memory"`
		}
	}
	if err := json.Unmarshal(m.VM.Raw, &object); err != nil {
		t.Fatal(err)
	}
	return object.Hardware.Memory.Size
}

// A query by id that keeps failing is made at every look, and writes nothing.
func TestQueryThatKeepsFailingWritesOnce(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	vm := l.machines["alice"][0]
	vm.state, vm.bulkOnly = "running", true
	l.look()
	commits := l.state.Commits()
	for range 3 {
		vm.uptime += 60
		l.look()
		wantEqual(t, "queries", l.runs()["get"], 1)
	}
	wantEqual(t, "commits", l.state.Commits(), commits)
}

// What a description said of the state and the tools is older than what is
// recalled.
func TestRecallKnowsTheLastState(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	vm := l.machines["alice"][0]
	l.look()
	vm.state, vm.toolsState, vm.toolsVersion = "running", "outdated", "26.3.0-57392"
	l.look()
	l.restart()
	recalled, err := l.collector.Recall()
	if err != nil {
		t.Fatal(err)
	}
	got := row(t, recalled, "alice", windowsID)
	wantEqual(t, "raw state", got.RawState, "running")
	wantEqual(t, "tools", got.ToolsState+" "+got.ToolsVersion, "outdated 26.3.0-57392")
}

// A bulk list that leaves the tools out says nothing of them, also where it is
// all there is.
func TestToolsStayWhereOnlyASparseListAnswers(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	vm := l.machines["alice"][0]
	l.look()
	vm.name, vm.sparse, vm.bulkOnly = "Renamed", true, true
	got := row(t, l.look(), "alice", windowsID)
	wantEqual(t, "name", got.Name, "Renamed")
	wantEqual(t, "tools", got.ToolsVersion, "26.4.0-57513")
}

// What is kept of a machine goes with it.
func TestRemovedMachineIsForgotten(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.look()
	l.machines["alice"] = nil
	l.look()
	err := l.state.View(func(tx *store.Tx) error {
		wantEqual(t, "records", records.Len(tx), 1)
		wantEqual(t, "descriptions", descriptions.Len(tx), 1)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A user can make a description of many megabytes. What is kept of it is small,
// and the row is the same.
func TestH12_DescriptionIsBounded(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	vm := l.machines["alice"][0]
	before := row(t, l.look(), "alice", windowsID)
	vm.future = strings.Repeat("x", 1<<20)
	look := l.look()
	m := machineOf(t, look, "alice", windowsID)
	if len(m.VM.Raw) > maxDescription {
		t.Errorf("%d bytes are kept", len(m.VM.Raw))
	}
	after := row(t, look, "alice", windowsID)
	whole := vm.vm(true)
	wantEqual(t, "hash of the whole", after.ConfigHash, whole.ConfigHash())
	before.ConfigHash = after.ConfigHash
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("row (-small +large):\n%s", diff)
	}
	report := reportOf(t, look)
	l.restart()
	wantEqual(t, "report of the next process", reportOf(t, l.look()), report)
	wantEqual(t, "its queries", l.runs()["get"], 0)
}

// No user gets around a policy by a long description: what a policy looks at is
// kept of it.
func TestH12_PolicySeesThroughALongDescription(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../testdata/prlctl/list-windows-running.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []json.RawMessage
	if err := json.Unmarshal(data, &list); err != nil {
		t.Fatal(err)
	}
	long := strings.Replace(string(list[0]), `"Projects"`, `"`+strings.Repeat("x", maxDescription)+`"`, 1)
	long = strings.Replace(long, `"net0":`, `"net1":{"enabled":true,"type":"bridged","iface":"en5","state":"disconnected"},"net0":`, 1)
	var whole prlctl.VM
	if err := whole.UnmarshalJSON([]byte(long)); err != nil {
		t.Fatal(err)
	}
	kept := bounded(&whole)
	if len(kept.Raw) > maxDescription || len(kept.Raw) == len(whole.Raw) {
		t.Errorf("%d of %d bytes are kept", len(kept.Raw), len(whole.Raw))
	}
	paths := prlctl.NewPaths(policy.Shown()...)
	if diff := cmp.Diff(paths.Read(&whole, nil), paths.Read(kept, nil)); diff != "" {
		t.Errorf("settings (-whole +kept):\n%s", diff)
	}
	if diff := cmp.Diff(whole.Adapters, kept.Adapters); diff != "" || len(kept.Adapters) != 2 {
		t.Errorf("adapters (-whole +kept):\n%s", diff)
	}
}

// A shared machine is one, with everybody who lists it, and its owner's words.
func TestH21_SharedMachineIsOneMachine(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	_, bobs := l.shared(502)
	bobs.name = "as bob says"
	look := l.look()
	wantEqual(t, "machines", len(look.Machines), 1)
	m := look.Machines[0]
	wantEqual(t, "user", m.User, bob)
	wantEqual(t, "session", m.Session, false)
	wantEqual(t, "seen by", fmt.Sprint(m.SeenBy), "[{501 alice}]")
	wantEqual(t, "name", m.VM.Name, "as bob says")
}

// Rows are what the machines are, in the same order; the machines of an account
// with more than a report holds are all there.
func TestRowsAreAProjection(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.look()
	l.listErr["bob"] = errService
	look := l.look()
	wantEqual(t, "machines", len(look.Machines), len(look.VMs))
	for i, m := range look.Machines {
		wantEqual(t, "key", look.VMs[i].VMKey, m.Key())
		wantEqual(t, "state", look.VMs[i].State, m.State())
		wantEqual(t, "stale", look.VMs[i].Stale, m.Stale)
	}
	if diff := cmp.Diff(look.VMs, rowsOf(look.Machines, &look.Product)); diff != "" {
		t.Errorf("(-rows +again):\n%s", diff)
	}
	wantEqual(t, "seen at", machineOf(t, look, "bob", linuxID).SeenAt, noon.Add(time.Minute))

	delete(l.listErr, "bob")
	for i := range protocol.MaxVMs {
		m := windows()
		m.id = fmt.Sprintf("aaaaaaaa-0000-4000-8000-%012d", i)
		l.machines["alice"] = append(l.machines["alice"], m)
	}
	look = l.look()
	wantEqual(t, "rows", len(look.VMs), protocol.MaxVMs)
	wantEqual(t, "machines", len(look.Machines), protocol.MaxVMs+1) // of alice what a look reads, and bob's
}

// The shape of a record before machines were kept is read: nothing of what
// cannot be seen again is lost, and the rest is read anew.
func TestOlderRecords(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	older := store.Collection[*json.RawMessage]{Name: Remembered}
	listed := windows().vm(false)
	err := l.state.Update(func(tx *store.Tx) error {
		return older.Put(tx, "alice/"+windowsID, new(json.RawMessage(`{"user":{"Name":"alice","UID":501,"Home":"/Users/alice","RealName":""},
			"bundle":"/Users/alice/Parallels/Windows 11.pvm","identity":{"device":1,"inode":100},"bundle_uid":501,"listed":"`+listed.ConfigHash()+`",
			"row":{"vm_id":"`+windowsID+`","user_name":"alice","vm_name":"Windows 11","vm_state":"Stopped","raw_state":"stopped",
			"vm_os":"Windows 11","vm_edition":"Pro","vm_os_build":"22621","vm_source":"Other","last_used":"2026-11-20T08:00:00Z"},
			"last_used":"2026-11-20T08:00:00Z","running":false,"windows":true,"seen_at":"2026-11-22T08:00:00Z"}`)))
	})
	if err != nil {
		t.Fatal(err)
	}
	lastUsed := time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)
	recalled, err := l.collector.Recall()
	if err != nil {
		t.Fatal(err)
	}
	got := row(t, recalled, "alice", windowsID)
	wantEqual(t, "recalled", got.Name+"/"+got.OS+"/"+got.Edition+"/"+got.OSBuild, "Windows 11/Windows 11/Pro/22621")
	wantEqual(t, "last used, recalled", got.LastUsedAt, lastUsed)
	wantEqual(t, "bundle, recalled", got.Bundle, protocol.Bundle{Device: 1, Inode: 100})
	wantEqual(t, "seen at, recalled", got.SeenAt, time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC))

	got = row(t, l.look(), "alice", windowsID)
	wantEqual(t, "queries", l.callsOf("alice"), "list alice, get alice "+windowsID+", look alice, license alice")
	wantEqual(t, "last used", got.LastUsedAt, lastUsed)
	shown := windows().vm(true)
	wantEqual(t, "serial", got.Serial, shown.Serial())
	l.look()
	wantRuns(t, l, map[string]int{"list": 2, "license": 1})
}

// A description that is lost, or that this version cannot read, is read anew.
func TestDescriptionIsLost(t *testing.T) {
	t.Parallel()
	key := recordKey(alice.UID, windowsID)
	cases := map[string]func(*store.Tx) error{
		"not there":  func(tx *store.Tx) error { return descriptions.Delete(tx, key) },
		"unreadable": func(tx *store.Tx) error { return descriptions.Put(tx, key, &storedDescription{"", []byte(`{"ID":1}`)}) },
		"another one": func(tx *store.Tx) error {
			return descriptions.Put(tx, key, &storedDescription{"x", []byte(`{"ID":"` + windowsID + `"}`)})
		},
	}
	for name, lose := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.process(501, windowsID, noon)
			l.machines["alice"][0].state = "running"
			before := row(t, l.look(), "alice", windowsID)
			if err := l.state.Update(lose); err != nil {
				t.Fatal(err)
			}
			l.restart()
			l.listErr["alice"] = errService
			stale := l.look()
			_, gap := cell(t, stale, row(t, stale, "alice", windowsID), "vm_name")
			wantEqual(t, "reason until it is read", gap, protocol.CodeNotLookedYet)
			delete(l.listErr, "alice")
			l.processes = nil
			if diff := cmp.Diff(before, row(t, l.look(), "alice", windowsID)); diff != "" {
				t.Errorf("row (-before +after):\n%s", diff)
			}
			wantEqual(t, "queries", l.runs()["get"], 1)
			l.restart()
			l.look()
			wantEqual(t, "queries of the next process", l.runs()["get"], 0)
		})
	}
}

// A store that was erased, as on a disk that was cloned, is filled again (H02).
func TestH02_MemoryThatWasErased(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.look()
	if err := l.state.Erase(); err != nil {
		t.Fatal(err)
	}
	l.look()
	wantEqual(t, "queries", l.runs()["get"], 2)
	l.restart()
	l.look()
	wantEqual(t, "queries of the next process", l.runs()["get"], 0)
}
