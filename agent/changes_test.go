package agent

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"prlagent/agent/inventory"
	"prlagent/agent/protocol"
)

func TestChangesBetweenTwoLooks(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	vm := protocol.VM{VMKey: protocol.VMKey{ID: "id-1", UID: 501}, Owner: "alice", Name: "Windows 11", State: protocol.StateStopped}
	with := func(change func(*protocol.VM)) protocol.VM {
		changed := vm
		change(&changed)
		return changed
	}
	bundle := func(inode uint64) func(*protocol.VM) {
		return func(v *protocol.VM) { v.Bundle = protocol.Bundle{Volume: "v", Inode: inode} }
	}
	about := func(kind string, code protocol.Code, data ...string) protocol.Event {
		return newEvent(at, kind, code, append([]string{"uid", "501", "user_name", "alice", "vm_id", "id-1", "vm_name", "Windows 11"}, data...)...)
	}
	for name, test := range map[string]struct {
		before, now []protocol.VM
		want        []protocol.Event
	}{
		"nothing changed": {[]protocol.VM{vm}, []protocol.VM{vm}, nil},
		"a new machine":   {nil, []protocol.VM{vm}, []protocol.Event{about("vm_added", "", "state", "Stopped")}},
		"a removed one":   {[]protocol.VM{vm}, nil, []protocol.Event{about("vm_removed", "")}},
		"another state": {
			[]protocol.VM{vm}, []protocol.VM{with(func(v *protocol.VM) { v.State = protocol.StateRunning })},
			[]protocol.Event{about("vm_state", "", "from", "Stopped", "to", "Running")},
		},
		"another name": {
			[]protocol.VM{with(func(v *protocol.VM) { v.Name = "Old" })}, []protocol.VM{vm},
			[]protocol.Event{about("vm_renamed", "", "from", "Old")},
		},
		"H21 another bundle": {
			[]protocol.VM{with(bundle(7))}, []protocol.VM{with(bundle(8))}, []protocol.Event{about("vm_bundle_changed", "")},
		},
		"H21 another bundle and another state": {
			[]protocol.VM{with(bundle(7))}, []protocol.VM{with(func(v *protocol.VM) { bundle(8)(v); v.State = protocol.StateRunning })},
			[]protocol.Event{about("vm_bundle_changed", ""), about("vm_state", "", "from", "Stopped", "to", "Running")},
		},
		"H21 a bundle that was not readable": {[]protocol.VM{vm}, []protocol.VM{with(bundle(8))}, nil},
		"H21 another owner's name":           {[]protocol.VM{with(func(v *protocol.VM) { v.Owner = "old" })}, []protocol.VM{vm}, nil},
		"no longer seen": {
			[]protocol.VM{vm}, []protocol.VM{with(func(v *protocol.VM) { v.Stale, v.State = protocol.CodeServiceDown, protocol.StateUnknown })},
			[]protocol.Event{about("vm_stale", protocol.CodeServiceDown)},
		},
		"seen again": {
			[]protocol.VM{with(func(v *protocol.VM) {
				v.Stale, v.State, v.SeenAt = protocol.CodeUnreadableVM, protocol.StateUnknown, at
			})}, []protocol.VM{vm},
			[]protocol.Event{about("vm_state", "", "from", "Unknown", "to", "Stopped")},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := changes(&inventory.Look{At: at, VMs: test.before}, &inventory.Look{At: at, VMs: test.now})
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// An outage of a user's tools is no event of each machine; what happened in its
// time is.
func TestAnOutageOfAUserIsNoEventOfEachMachine(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	fresh := protocol.VM{VMKey: protocol.VMKey{ID: "id-1", UID: 501}, Name: "Windows 11", State: protocol.StateStopped, RawState: "stopped"}
	stale, started := fresh, fresh
	stale.Stale, stale.State, stale.SeenAt = protocol.CodeServiceDown, protocol.StateUnknown, at
	started.State, started.RawState = protocol.StateRunning, "running"
	look := func(vm protocol.VM) *inventory.Look {
		return &inventory.Look{At: at, VMs: []protocol.VM{vm}, Users: []protocol.UserLook{{Name: "alice", UID: 501, Code: vm.Stale}}}
	}
	for name, test := range map[string]struct {
		before, now protocol.VM
		want        int
	}{
		"its begin":               {fresh, stale, 0},
		"its end":                 {stale, fresh, 0},
		"a start in the meantime": {stale, started, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := changes(look(test.before), look(test.now)); len(got) != test.want {
				t.Errorf("%+v, want %d", got, test.want)
			}
		})
	}
}

func TestAnotherVersionOfTheProductIsAnEvent(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	none, old := protocol.Product{}, protocol.Product{Installed: true, Version: "26.4.0", Build: "57513"}
	newer, unread := protocol.Product{Installed: true, Version: "26.5.0", Build: "58001"}, protocol.Product{Installed: true}
	for name, test := range map[string]struct {
		before, now protocol.Product
		want        []protocol.Event
	}{
		"the same":            {old, old, nil},
		"an update":           {old, newer, []protocol.Event{newEvent(at, "product_updated", "", "from", "26.4.0 (57513)", "to", "26.5.0 (58001)")}},
		"installed":           {none, old, []protocol.Event{newEvent(at, "product_installed", "", "version", "26.4.0", "build", "57513")}},
		"removed":             {old, none, []protocol.Event{newEvent(at, "product_removed", "", "version", "26.4.0", "build", "57513")}},
		"not readable now":    {old, unread, nil},
		"not readable before": {unread, old, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			found := &changesAt{now: &inventory.Look{At: at}}
			found.addProduct(&test.before, &test.now)
			if diff := cmp.Diff(test.want, found.events); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// An account is its uid: called otherwise, it is the same. That is told once,
// also where it happened while no agent ran.
func TestH21_INV_02_ARenamedAccountIsAnEvent(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	alice, alicia := protocol.UserLook{Name: "alice", UID: 501}, protocol.UserLook{Name: "alicia", UID: 501}
	renamed := newEvent(at, "account_renamed", "", "uid", "501", "user_name", "alicia", "from", "alice")
	for name, test := range map[string]struct {
		before, now *inventory.Look
		want        []protocol.Event
	}{
		"between two looks": {&inventory.Look{At: at, Users: []protocol.UserLook{alice}}, &inventory.Look{At: at, Users: []protocol.UserLook{alicia}}, []protocol.Event{renamed}},
		"as was remembered": {&inventory.Look{Users: []protocol.UserLook{alice}}, &inventory.Look{At: at, Users: []protocol.UserLook{alicia}}, []protocol.Event{renamed}},
		"not at all":        {&inventory.Look{At: at, Users: []protocol.UserLook{alice}}, &inventory.Look{At: at, Users: []protocol.UserLook{alice}}, nil},
		"a new account":     {&inventory.Look{At: at}, &inventory.Look{At: at, Users: []protocol.UserLook{alice}}, nil},
		"one that is not looked at": {
			&inventory.Look{At: at, Users: []protocol.UserLook{{Name: "uid 70001", UID: 70001, Code: protocol.CodeAccountNotLocal}}},
			&inventory.Look{At: at, Users: []protocol.UserLook{{Name: "network", UID: 70001, Code: protocol.CodeAccountNotLocal}}}, nil,
		},
		"a name that went to another": {
			&inventory.Look{At: at, Users: []protocol.UserLook{alice}}, &inventory.Look{At: at, Users: []protocol.UserLook{{Name: "alice", UID: 502}}}, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(test.want, changes(test.before, test.now)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A bundle that was restored while no agent ran is told by the first look.
func TestH21_ABundleIsComparedWithTheRememberedOne(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	now := protocol.VM{VMKey: protocol.VMKey{ID: "id-1", UID: 501}, State: protocol.StateRunning, Bundle: protocol.Bundle{Volume: "v", Inode: 8}}
	remembered := now
	remembered.Stale, remembered.State, remembered.Bundle.Inode = protocol.CodeNotLookedYet, protocol.StateUnknown, 7
	for name, test := range map[string]struct {
		remembered protocol.VM
		want       []string
	}{
		"another":                {remembered, []string{"vm_bundle_changed"}},
		"the same":               {now, nil},
		"of an agent before":     {protocol.VM{VMKey: now.VMKey, Stale: protocol.CodeNotLookedYet, Bundle: protocol.Bundle{Device: 1, Inode: 8}}, nil},
		"another machine's":      {protocol.VM{VMKey: protocol.VMKey{ID: "id-2", UID: 501}, Bundle: remembered.Bundle}, nil},
		"another account's":      {protocol.VM{VMKey: protocol.VMKey{ID: "id-1", UID: 502}, Bundle: remembered.Bundle}, nil},
		"one that nobody looked": {protocol.VM{VMKey: now.VMKey, Stale: protocol.CodeNotLookedYet}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, event := range changes(&inventory.Look{VMs: []protocol.VM{test.remembered}}, &inventory.Look{At: at, VMs: []protocol.VM{now}}) {
				got = append(got, event.Type)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFirstLookIsNoNews(t *testing.T) {
	t.Parallel()
	now := &inventory.Look{At: time.Now(), VMs: []protocol.VM{{Name: "Windows 11"}}, Product: protocol.Product{State: protocol.ProductKey}}
	if got := changes(&inventory.Look{}, now); len(got) != 0 {
		t.Errorf("events %v at the first look", got)
	}
}

func TestProductStateIsAnEvent(t *testing.T) {
	t.Parallel()
	at := time.Now()
	got := changes(
		&inventory.Look{At: at, Product: protocol.Product{State: protocol.ProductKey}},
		&inventory.Look{At: at, Product: protocol.Product{Gaps: map[string]protocol.Code{"pd_state": protocol.CodeServiceDown}}},
	)
	if len(got) != 1 || got[0].Code != protocol.CodeServiceDown || got[0].Data["to"] != "unknown" {
		t.Errorf("events %+v, want product_state because of service_down", got)
	}
}

// Another edition is no reason to check in, but an event that a person can read;
// an edition that was not known is no other one.
func TestLIC_06_AnotherEditionIsAnEvent(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	for name, test := range map[string]struct {
		before, now string
		want        []protocol.Event
	}{
		"another":            {"business", "enterprise", []protocol.Event{newEvent(at, "product_edition", "", "from", "business", "to", "enterprise")}},
		"the same":           {"business", "business", nil},
		"not known before":   {"", "business", nil},
		"not known any more": {"business", "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			look := func(edition string) *inventory.Look {
				return &inventory.Look{At: at, Product: protocol.Product{State: protocol.ProductKey, Edition: edition}}
			}
			if diff := cmp.Diff(test.want, changes(look(test.before), look(test.now))); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
		})
	}
}
