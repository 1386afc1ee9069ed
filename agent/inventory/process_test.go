package inventory

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"prlagent/agent/protocol"
	"prlagent/platform"
)

// process is one that runs the machine with that id (captures 4.3).
func (l *lab) process(uid uint32, id string, started time.Time) {
	l.processIn(uid, id, fmt.Sprintf("%08x-0000-4000-8000-000000000000", uid), started)
}

// processIn says which directory of virtual machines it has.
func (l *lab) processIn(uid uint32, id, directory string, started time.Time) {
	l.processes = append(l.processes, platform.Process{
		PID: 4711, UID: uid, Name: "prl_vm_app", Started: started,
		Path:      "/Applications/Parallels Desktop.app/Contents/MacOS//Parallels VM.app/Contents/MacOS/prl_vm_app",
		Arguments: platform.VMArguments{VMID: "{" + strings.ToUpper(id) + "}", DirectoryID: "{" + directory + "}"},
	})
}

// secondID is the id of another machine of alice's, of the same name.
const secondID = "aaaaaaaa-0000-4000-8000-000000000001"

// What processes there are against what the tool says (facts/prlctl.md 5.4).
func TestINV_07_StateAgainstProcesses(t *testing.T) {
	t.Parallel()
	second := func() *machine { // alice's other machine, of the same name
		m := windows()
		m.id, m.home = secondID, "/Users/alice/Parallels/Second.pvm"
		return m
	}
	cases := map[string]struct {
		states []string // of alice's machines, all of one name
		alices []string // ids of the machines that her processes run
		bobs   []string // and his
		want   []string
	}{
		"stopped, and no process":           {[]string{"stopped"}, nil, nil, []string{"Stopped"}},
		"stopped, but a process":            {[]string{"stopped"}, []string{windowsID}, nil, []string{"Unknown"}},
		"stopped, process of somebody else": {[]string{"stopped"}, nil, []string{windowsID}, []string{"Stopped"}},
		"running":                           {[]string{"running"}, []string{windowsID}, nil, []string{"Running"}},
		"running without a process":         {[]string{"running"}, nil, nil, []string{"Running"}},
		"stopping":                          {[]string{"stopping"}, []string{windowsID}, nil, []string{"Stopped"}},
		"suspended, but a process":          {[]string{"suspended"}, []string{windowsID}, nil, []string{"Suspended"}},
		"one of two runs":                   {[]string{"running", "stopped"}, []string{windowsID}, nil, []string{"Running", "Stopped"}},
		"one of two is paused":              {[]string{"paused", "stopped"}, []string{windowsID}, nil, []string{"Suspended", "Stopped"}},
		"one of two is stopping":            {[]string{"stopping", "stopped"}, []string{windowsID}, nil, []string{"Stopped", "Stopped"}},
		"one runs, both have processes":     {[]string{"running", "stopped"}, []string{windowsID, secondID}, nil, []string{"Running", "Unknown"}},
		"the second of two has a process":   {[]string{"stopped", "stopped"}, []string{secondID}, nil, []string{"Stopped", "Unknown"}},
		"nobody lists what runs":            {[]string{"stopped", "stopped"}, []string{linuxID}, nil, []string{"Stopped", "Stopped"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.machines["alice"] = []*machine{windows(), second()}[:len(c.states)]
			l.bundle(second().home, 501, 101)
			for i, state := range c.states {
				l.machines["alice"][i].state = state
			}
			for _, id := range c.alices {
				l.process(501, id, noon)
			}
			for _, id := range c.bobs {
				l.process(502, id, noon)
			}
			look := l.look()
			for i, want := range c.want {
				got := row(t, look, "alice", l.machines["alice"][i].id)
				wantEqual(t, "state", got.State, want)
				if _, gap := cell(t, look, got, "vm_state"); want == "Unknown" {
					wantEqual(t, "reason", gap, protocol.CodeStateDisputed)
				}
			}
			if _, disputed := row(t, look, "alice", windowsID).Gaps["vm_state"]; disputed {
				l.processes = nil
				wantEqual(t, "state once the process is gone", row(t, l.look(), "alice", windowsID).State, protocol.StateStopped)
			}
		})
	}
}

// Captures 4.3: the name in a process's arguments is the one at its start. A
// machine that was renamed while it runs keeps its process, and another that
// bears the old name now has none.
func TestCaptures_4_3_RenamedWhileItRuns(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	heir := windows()
	heir.id, heir.home = secondID, "/Users/alice/Parallels/Second.pvm"
	l.machines["alice"] = append(l.machines["alice"], heir)
	l.machines["alice"][0].name, l.machines["alice"][0].state = "Accounting", "running"
	l.process(501, windowsID, noon.Add(-time.Hour))
	look := l.look()
	wantEqual(t, "the renamed one", row(t, look, "alice", windowsID).State, protocol.StateRunning)
	wantEqual(t, "its start", row(t, look, "alice", windowsID).LastUsedAt, noon.Add(-time.Hour))
	wantEqual(t, "its heir", row(t, look, "alice", secondID).State, protocol.StateStopped)
}

// One id in two accounts is two machines, each with its own process: by the uid,
// or where that tells nothing by the account's directory of virtual machines.
func TestCaptures_4_3_OneIDInTwoAccounts(t *testing.T) {
	t.Parallel()
	const alicesDirectory, bobsDirectory = "a0000000-0000-4000-8000-000000000000", "b0000000-0000-4000-8000-000000000000"
	for name, prepare := range map[string]func(l *lab){
		"by the uid": func(l *lab) { l.processIn(502, windowsID, bobsDirectory, noon) },
		"by the directory, one account plays all": func(l *lab) {
			l.oneAccount = true
			l.processIn(0, linuxID, bobsDirectory, noon) // which only bob lists
			l.processIn(0, windowsID, bobsDirectory, noon)
		},
		"by the directory, root runs them": func(l *lab) {
			l.processIn(0, linuxID, bobsDirectory, noon)
			l.processIn(0, windowsID, bobsDirectory, noon)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			copied := windows()
			copied.home, copied.state = "/Users/bob/Parallels/Windows 11.pvm", "running"
			l.bundle(copied.home, 502, 201)
			l.machines["bob"][0].state = "running"
			l.machines["bob"] = append(l.machines["bob"], copied)
			prepare(l)
			look := l.look()
			wantEqual(t, "alice's", row(t, look, "alice", windowsID).State, protocol.StateStopped)
			wantEqual(t, "bob's start", row(t, look, "bob", windowsID).LastUsedAt, noon)
			l.processIn(l.processes[0].UID, windowsID, alicesDirectory, noon)
			if l.processes[0].UID == 502 { // who runs what, a process may say what it likes
				wantEqual(t, "alice's, by another's word", row(t, l.look(), "alice", windowsID).State, protocol.StateStopped)
			}
		})
	}
}

// A directory that two accounts seem to have tells nothing: the process may be
// either's.
func TestCaptures_4_3_DirectoryOfTwoAccounts(t *testing.T) {
	t.Parallel()
	const directory = "a0000000-0000-4000-8000-000000000000"
	l := newLab(t)
	l.oneAccount = true
	copied := windows()
	copied.home = "/Users/bob/Parallels/Windows 11.pvm"
	l.bundle(copied.home, 502, 201)
	alices := windows()
	alices.id, alices.home, alices.state = secondID, "/Users/alice/Parallels/Second.pvm", "running"
	l.machines["bob"][0].state = "running"
	l.machines["bob"], l.machines["alice"] = append(l.machines["bob"], copied), append(l.machines["alice"], alices)
	l.processIn(0, linuxID, directory, noon)   // only bob's
	l.processIn(0, secondID, directory, noon)  // only alice's
	l.processIn(0, windowsID, directory, noon) // of both
	look := l.look()
	wantEqual(t, "alice's", row(t, look, "alice", windowsID).State, protocol.StateUnknown)
	wantEqual(t, "bob's", row(t, look, "bob", windowsID).State, protocol.StateUnknown)
}

// Two accounts have a machine of one name: each is judged by its own processes.
func TestINV_07_SameNameInTwoAccounts(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.machines["bob"][0].name = "Windows 11"
	l.machines["bob"][0].state = "running"
	l.process(502, linuxID, noon)
	look := l.look()
	wantEqual(t, "alice's", row(t, look, "alice", windowsID).State, protocol.StateStopped)
	wantEqual(t, "bob's", row(t, look, "bob", linuxID).State, protocol.StateRunning)
	wantEqual(t, "bob's start", row(t, look, "bob", linuxID).LastUsedAt, noon)
}

// Programs that are no virtual machine prove nothing.
func TestINV_07_OtherProcesses(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	args := platform.VMArguments{VMID: windowsID}
	const program = "/Applications/Parallels Desktop.app/Contents/MacOS/prl_vm_app"
	l.processes = []platform.Process{
		{UID: 501, Path: "/tmp/editor", Arguments: args}, {UID: 501, Arguments: args},
		{UID: 501, Path: "/Applications/prl_vm_app", Arguments: args},
		{UID: 501, Path: "/Applications/Parallels Desktop.app/../prl_vm_app", Arguments: args},
		{UID: 501, Path: "/Users/alice/prl_vm_app", Arguments: args},
		{UID: 501, Path: program},
		{UID: 501, Path: program, Arguments: platform.VMArguments{DirectoryID: windowsID}},
		{UID: 501, Path: program, Arguments: platform.VMArguments{VMID: "Windows 11"}},
		{UID: 501, Path: program, Arguments: platform.VMArguments{VMID: windowsID + windowsID}},
	}
	wantEqual(t, "state", row(t, l.look(), "alice", windowsID).State, protocol.StateStopped)
}

// A process that was started by a clock that was ahead is no start in the future;
// one whose look has a clock that is behind gets its start back from the next look.
func TestINV_11_AStartInTheFutureIsNotBelieved(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.machines["alice"][0].state = "running"
	id := l.machines["alice"][0].id
	l.process(501, id, noon.Add(30*24*time.Hour))
	look := l.look()
	wantEqual(t, "last used", row(t, look, "alice", id).LastUsedAt, look.At.Truncate(time.Second))
	l.processes = nil
	l.process(501, id, noon.Add(-time.Hour))
	wantEqual(t, "with the right clock", row(t, l.look(), "alice", id).LastUsedAt, noon.Add(-time.Hour))
}

// A shared machine has one process, wherever it is listed.
func TestINV_07_SharedMachineCountsOnce(t *testing.T) {
	t.Parallel()
	own := func(l *lab, account string) *machine { // of the same name, stopped
		m := windows()
		m.id, m.home = "aaaaaaaa-0000-4000-8000-000000000001", "/Users/"+account+"/Parallels/Own.pvm"
		l.machines[account] = append(l.machines[account], m)
		return m
	}
	t.Run("run by its lister", func(t *testing.T) {
		t.Parallel()
		l := newLab(t)
		alices, bobs := l.shared(501)
		alices.state, bobs.state = "running", "running"
		l.process(502, windowsID, noon)
		m := own(l, "bob")
		look := l.look()
		wantEqual(t, "rows", len(look.VMs), 2)
		wantEqual(t, "shared", row(t, look, "alice", windowsID).State, protocol.StateRunning)
		wantEqual(t, "its start, whoever of its listers started it", row(t, look, "alice", windowsID).LastUsedAt, noon)
		wantEqual(t, "bob's own", row(t, look, "bob", m.id).State, protocol.StateStopped)
	})
	t.Run("one account plays all users, as below a root", func(t *testing.T) {
		t.Parallel()
		l := newLab(t)
		alices, bobs := l.shared(0)
		alices.state, bobs.state = "running", "running"
		l.oneAccount = true
		m := own(l, "bob")
		l.process(0, windowsID, noon)
		l.process(0, m.id, noon)
		look := l.look()
		wantEqual(t, "shared", row(t, look, "alice", windowsID).State, protocol.StateRunning)
		wantEqual(t, "the second process is another machine's", row(t, look, "bob", m.id).State, protocol.StateUnknown)
	})
}
