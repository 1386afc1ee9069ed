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
	vm := protocol.VM{VMKey: protocol.VMKey{ID: "id-1", Owner: "alice"}, Name: "Windows 11", State: protocol.StateStopped}
	with := func(change func(*protocol.VM)) protocol.VM {
		changed := vm
		change(&changed)
		return changed
	}
	about := func(kind string, code protocol.Code, data ...string) protocol.Event {
		return newEvent(at, kind, code, append([]string{"user_name", "alice", "vm_id", "id-1", "vm_name", "Windows 11"}, data...)...)
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
		"no longer seen": {
			[]protocol.VM{vm}, []protocol.VM{with(func(v *protocol.VM) { v.Stale, v.State = protocol.CodeServiceDown, protocol.StateUnknown })},
			[]protocol.Event{about("vm_stale", protocol.CodeServiceDown)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := changes(inventory.Look{At: at, VMs: test.before}, inventory.Look{At: at, VMs: test.now})
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFirstLookIsNoNews(t *testing.T) {
	t.Parallel()
	now := inventory.Look{At: time.Now(), VMs: []protocol.VM{{Name: "Windows 11"}}, Product: protocol.Product{State: protocol.ProductKey}}
	if got := changes(inventory.Look{}, now); len(got) != 0 {
		t.Errorf("events %v at the first look", got)
	}
}

func TestProductStateIsAnEvent(t *testing.T) {
	t.Parallel()
	at := time.Now()
	got := changes(
		inventory.Look{At: at, Product: protocol.Product{State: protocol.ProductKey}},
		inventory.Look{At: at, Product: protocol.Product{Gaps: map[string]protocol.Code{"pd_state": protocol.CodeServiceDown}}},
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
			look := func(edition string) inventory.Look {
				return inventory.Look{At: at, Product: protocol.Product{State: protocol.ProductKey, Edition: edition}}
			}
			if diff := cmp.Diff(test.want, changes(look(test.before), look(test.now))); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
		})
	}
}
