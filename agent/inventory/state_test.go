package inventory

import (
	"errors"
	"io/fs"
	"testing"
	"time"

	"prlagent/agent/protocol"
	"prlagent/platform"
	"prlagent/platform/tool"
	"prlagent/prlctl"
)

func TestINV_07_StateWords(t *testing.T) {
	t.Parallel()
	cases := []struct {
		said, want string
		gap        protocol.Code
	}{
		{"running", "Running", ""}, {"starting", "Running", ""}, {"resuming", "Running", ""}, {"restoring", "Running", ""},
		{"resetting", "Running", ""}, {"continuing", "Running", ""}, {"snapshoting", "Running", ""}, {"pausing", "Running", ""},
		{"stopped", "Stopped", ""}, {"stopping", "Stopped", ""}, {"compacting", "Stopped", ""}, {"mounted", "Stopped", ""},
		{"suspended", "Suspended", ""}, {"suspending", "Suspended", ""}, {"syncing", "Suspended", ""},
		{"paused", "Suspended", ""}, // it takes memory but computes nothing (facts/prlctl.md 2.3)
		{"invalid", "Unknown", protocol.CodeVMInvalid},
		{"Invalid", "Unknown", protocol.CodeVMInvalid},
		{"unknown", "Unknown", protocol.CodeNotShown},
		{"reconnecting", "Unknown", protocol.CodeNotShown},
		{"a word of the future", "Unknown", protocol.CodeNotShown},
		{"", "Unknown", protocol.CodeNotShown},
		{"RUNNING", "Running", ""},
	}
	for _, c := range cases {
		t.Run(c.said, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.machines["alice"][0].state = c.said
			look := l.look()
			got := row(t, look, "alice", windowsID)
			value, gap := cell(t, look, got, "vm_state")
			wantEqual(t, "state", value, c.want)
			wantEqual(t, "reason", gap, c.gap)
			wantEqual(t, "raw state", got.RawState, c.said)
		})
	}
}

func TestINV_07_AccessFailureIsUnknown(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.look()
	l.listErr["alice"] = &tool.Error{Code: tool.CodeTimeout}
	look := l.look()
	value, gap := cell(t, look, row(t, look, "alice", windowsID), "vm_state")
	wantEqual(t, "state", value, "Unknown")
	wantEqual(t, "reason", gap, protocol.CodeToolTimeout)
}

// What was disputed when it was seen last is no reason any more.
func TestINV_07_ReasonOfAStaleStateIsItsOwn(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.process(501, windowsID, noon)
	l.look()
	l.listErr["alice"] = errService
	look := l.look()
	_, gap := cell(t, look, row(t, look, "alice", windowsID), "vm_state")
	wantEqual(t, "reason", gap, protocol.CodeServiceDown)
}

// shared puts alice's Windows into bob's account too: one bundle, two owners
// of a registration.
func (l *lab) shared(owner uint32) (alices, bobs *machine) {
	alices, bobs = windows(), windows()
	for _, m := range []*machine{alices, bobs} {
		m.home = "/Users/Shared/Parallels/Windows 11.pvm"
	}
	l.bundle(alices.home, owner, 300)
	l.machines["alice"], l.machines["bob"] = []*machine{alices}, []*machine{bobs}
	return alices, bobs
}

// Two accounts' tools can write one path in the two forms of Unicode.
func TestH21_SharedMachineIsOneRowInBothForms(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	alices, bobs := windows(), windows() // nothing but the path tells that it is one
	l.machines["alice"], l.machines["bob"] = []*machine{alices}, []*machine{bobs}
	alices.home, bobs.home = "/Users/Shared/Caf\u00e9.pvm", "/Users/Shared/Cafe\u0301.PVM"
	wantEqual(t, "rows", len(l.look().VMs), 1)
}

func TestH21_SharedMachineIsOneRow(t *testing.T) {
	t.Parallel()
	for owner, uid := range map[string]uint32{"alice": 501, "bob": 502} {
		t.Run("of "+owner, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			alices, bobs := l.shared(uid)
			alices.name, bobs.name = "as alice says", "as bob says"
			look := l.look()
			wantEqual(t, "rows", len(look.VMs), 1)
			got := look.VMs[0]
			other := map[string]string{"alice": "bob", "bob": "alice"}[owner]
			wantEqual(t, "owner", got.Owner, owner)
			wantEqual(t, "seen by", got.SeenBy[0].Name, other)
			wantEqual(t, "who describes it", got.Name, "as "+owner+" says")
			wantEqual(t, "bundle", got.Bundle, protocol.Bundle{Volume: disk, Inode: 300})

			l.listErr[other] = errService
			wantEqual(t, "stale while one of two answers", l.look().VMs[0].Stale, "")
			l.listErr[owner] = errService
			look = l.look()
			wantEqual(t, "rows while nobody answers", len(look.VMs), 1)
			wantEqual(t, "stale while nobody answers", look.VMs[0].Stale, protocol.CodeServiceDown)
			delete(l.listErr, other)
			look = l.look()
			wantEqual(t, "owner while the other answers", look.VMs[0].Owner, owner)
			wantEqual(t, "who describes it meanwhile", look.VMs[0].Name, "as "+other+" says")
		})
	}
}

func TestH21_SameIDInTwoAccountsIsTwoRows(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	copied := windows()
	copied.home, copied.name = "/Users/bob/Parallels/Windows 11.pvm", "Copy"
	l.machines["bob"] = []*machine{copied}
	l.bundle(copied.home, 502, 201)
	look := l.look()
	wantEqual(t, "rows", names(look), "alice/Windows 11 bob/Copy")
	for _, vm := range look.VMs {
		wantEqual(t, "seen by others", len(vm.SeenBy), 0)
	}
	t.Run("nor are two whose bundles nobody can see", func(t *testing.T) {
		l.machines["alice"][0].home, copied.home = "", ""
		l.restart()
		wantEqual(t, "rows", names(l.look()), "alice/Windows 11 bob/Copy")
	})
}

func TestINV_08_StatusFollowsTheProduct(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	status := func() string {
		look := l.look()
		value, _ := cell(t, look, row(t, look, "bob", linuxID), "vm_status")
		return value
	}
	wantEqual(t, "status", status(), "Active")
	l.license = prlctl.License{Status: "EXPIRED"}
	wantEqual(t, "status of a deactivated product", status(), "Deactivated")
	l.license = prlctl.License{Status: "ACTIVE"}
	wantEqual(t, "status after reactivation", status(), "Active")
	l.licErr = errService
	look := l.look()
	value, gap := cell(t, look, row(t, look, "bob", linuxID), "vm_status")
	wantEqual(t, "status while nobody knows", value, "")
	wantEqual(t, "reason", gap, protocol.CodeServiceDown)
}

func TestINV_16_LastUsed(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	vm := l.machines["alice"][0]
	lastUsed := func() time.Time { return row(t, l.look(), "alice", windowsID).LastUsedAt }

	look := l.look()
	value, gap := cell(t, look, row(t, look, "alice", windowsID), "last_used")
	wantEqual(t, "before any start was seen", value, "")
	wantEqual(t, "reason", gap, protocol.CodeNotSeenRunning)

	started := noon.Add(-90*time.Minute + 123456789)
	vm.state = "running"
	l.process(501, vm.id, started.In(time.FixedZone("CET", 3600)))
	wantEqual(t, "the process's start, to the second, UTC", lastUsed(), started.Truncate(time.Second))
	l.processes[0].Started = started.Add(time.Second) // the same start, counted by a corrected clock
	wantEqual(t, "the same start", lastUsed(), started.Truncate(time.Second))

	vm.state, l.processes = "stopped", nil
	wantEqual(t, "kept after the stop", lastUsed(), started.Truncate(time.Second))
	l.restart()
	vm.memory = "4096Mb"
	wantEqual(t, "kept over a restart and a change of configuration", lastUsed(), started.Truncate(time.Second))

	vm.state = "running"
	byLook := lastUsed()
	wantEqual(t, "the look's time where there is no process", byLook, l.now)
	wantEqual(t, "still that start", lastUsed(), byLook)
	l.process(501, vm.id, time.Time{})
	wantEqual(t, "a process without a time says nothing", lastUsed(), byLook)

	vm.state, l.processes = "suspended", nil
	lastUsed()
	vm.state = "running"
	wantEqual(t, "a resume is a start", lastUsed(), l.now)
}

func TestINV_16_TwoOfOneName(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	second := windows()
	second.id, second.home = "aaaaaaaa-0000-4000-8000-000000000001", "/Users/alice/Parallels/Second.pvm"
	l.machines["alice"] = append(l.machines["alice"], second)
	l.machines["alice"][0].state, second.state = "running", "running"
	l.process(501, windowsID, noon.Add(-2*time.Hour))
	l.process(501, secondID, noon.Add(-time.Hour))
	look := l.look()
	wantEqual(t, "the first", row(t, look, "alice", windowsID).LastUsedAt, noon.Add(-2*time.Hour))
	wantEqual(t, "the second", row(t, look, "alice", secondID).LastUsedAt, noon.Add(-time.Hour))
	l = newLab(t)
	l.machines["alice"][0].state = "running"
	l.process(501, windowsID, noon.Add(-2*time.Hour))
	l.process(501, windowsID, noon.Add(-time.Hour))
	look = l.look()
	wantEqual(t, "nobody knows which of two processes is the machine's", row(t, look, "alice", windowsID).LastUsedAt, look.At)
}

func TestINV_19_ProductState(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		license prlctl.License
		err     error
		want    string
		gap     protocol.Code
	}{
		"SSO":               {prlctl.License{Status: "ACTIVE", ActivationType: "SSO"}, nil, "Activated (SSO)", ""},
		"key":               {prlctl.License{Status: "ACTIVE", ActivationType: "LIC_KEY"}, nil, "Activated (License Key)", ""},
		"old version":       {prlctl.License{Status: "ACTIVE"}, nil, "Activated (License Key)", ""},
		"not active":        {prlctl.License{Status: "EXPIRED", ActivationType: "SSO"}, nil, "Deactivated", ""},
		"in grace":          {prlctl.License{Status: "GRACED", ActivationType: "SSO"}, nil, "Activated (SSO)", ""},
		"expired, in words": {prlctl.License{}, &prlctl.Error{Code: prlctl.CodeLicenseExpired}, "Deactivated", ""},
		"no license":        {prlctl.License{}, nil, "Deactivated", ""},
		"unreadable":        {prlctl.License{}, &prlctl.Error{Code: prlctl.CodeLicenseUnreadable}, "Deactivated", ""},
		"service down":      {prlctl.License{}, errService, "", protocol.CodeServiceDown},
		"only the gate":     {prlctl.License{}, &prlctl.Error{Code: prlctl.CodeEdition}, "", protocol.CodeEdition},
		"hanging":           {prlctl.License{}, &tool.Error{Code: tool.CodeTimeout}, "", protocol.CodeToolTimeout},
		"Standard edition": {prlctl.License{Status: "ACTIVE", Edition: "standard", ActivationType: "LIC_KEY",
			Notes: []string{prlctl.NoteEditionNotice}}, nil, "Activated (License Key)", ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.license, l.licErr = c.license, c.err
			look := l.look()
			value, gap := cell(t, look, row(t, look, "alice", windowsID), "pd_state")
			wantEqual(t, "state", value, c.want)
			wantEqual(t, "reason", gap, c.gap)
			wantEqual(t, "version all the same", look.Product.Version, "26.4.0")
			wantEqual(t, "code of the look", look.Code, c.gap)
		})
	}
}

// Whose tools answer for the license of the whole Mac.
func TestINV_19_WhoAsksForTheLicense(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		console platform.Console
		want    string
	}{
		"who sits at the Mac": {platform.Console{User: "bob", UID: 502, Sessions: []uint32{501, 502}}, "license bob"},
		"who has a session":   {platform.Console{Sessions: []uint32{502}}, "license bob"},
		"else the first":      {platform.Console{}, "license alice"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.console = c.console
			l.look()
			for _, call := range l.calls {
				if call == c.want {
					return
				}
			}
			t.Errorf("no call %q in %q", c.want, l.calls)
		})
	}
	t.Run("nobody", func(t *testing.T) {
		t.Parallel()
		l := newLab(t)
		l.users = nil
		wantEqual(t, "reason", l.look().Product.Gaps["pd_state"], protocol.CodeUserSession)
	})
}

func TestH10_UntrustedToolsRunNothing(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.look()
	l.untrusted = &tool.Error{Code: platform.CodeToolsUntrusted, Err: errors.New("no signature")}
	look := l.look()
	wantRuns(t, l, map[string]int{})
	for _, vm := range look.VMs {
		wantEqual(t, "stale", vm.Stale, protocol.CodeToolsUntrusted)
	}
	wantEqual(t, "rows", len(look.VMs), 2)
	wantEqual(t, "reason of the product's state", look.Product.Gaps["pd_state"], protocol.CodeToolsUntrusted)
	wantEqual(t, "code", look.Code, protocol.CodeToolsUntrusted)
}

func TestProductIsNotInstalled(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.look()
	l.appErr = fs.ErrNotExist
	look := l.look()
	wantRuns(t, l, map[string]int{})
	wantEqual(t, "installed", look.Product.Installed, false)
	wantEqual(t, "code", look.Code, protocol.CodePDNotInstalled)
	wantEqual(t, "what is left of it", row(t, look, "bob", linuxID).Stale, protocol.CodePDNotInstalled)
	l.appErr = errors.New("not a property list")
	look = l.look()
	wantEqual(t, "installed, but not readable", look.Product.Installed, true)
	wantEqual(t, "reason", look.Product.Gaps["pd_version"], protocol.CodeNotReadable)
	wantEqual(t, "rows", row(t, look, "bob", linuxID).Stale, "")
}

// A user can stop every program that runs as them: that costs the look one
// time limit, not one for each of their machines.
func TestH12_UserWhoseToolsHangDelaysTheLookOnce(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	second := windows()
	second.id = macID
	l.machines["alice"] = append(l.machines["alice"], second)
	l.getErr = &tool.Error{Code: tool.CodeTimeout}
	look := l.look()
	wantRuns(t, l, map[string]int{"license": 1, "list": 2, "get": 2}) // one for each user
	wantEqual(t, "rows", len(look.VMs), 3)
	l.getErr = nil
	l.look()
	wantRuns(t, l, map[string]int{"license": 1, "list": 2, "get": 3})
}

// What is shown before the first look of a process is what the last one knew.
func TestRecallShowsTheLastKnownRowsAsStale(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	if recalled, err := l.collector.Recall(); err != nil || len(recalled.VMs) != 0 {
		t.Errorf("a new Mac: %d rows, %v", len(recalled.VMs), err)
	}
	seen := l.look()
	l.restart()
	recalled, err := l.collector.Recall()
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "time of the look", recalled.At.IsZero(), true)
	wantEqual(t, "rows", names(recalled), names(seen))
	for _, vm := range recalled.VMs {
		wantEqual(t, vm.Name+" is stale", vm.Stale, protocol.CodeNotLookedYet)
		wantEqual(t, vm.Name+" state", vm.State, protocol.StateUnknown)
	}
	wantEqual(t, "machines of bob", userLook(t, recalled, "bob").Count, 1)
	wantEqual(t, "version", recalled.Product.Version, "26.4.0")
	wantEqual(t, "why no state", recalled.Product.Gaps["pd_state"], protocol.CodeNotLookedYet)
	commits := l.state.Commits()
	after := l.look()
	wantEqual(t, "rows of the next look", row(t, after, "alice", windowsID).Stale, "")
	wantEqual(t, "commits of the next look", l.state.Commits(), commits)
}
