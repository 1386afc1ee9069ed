package agent

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"prlagent/agent/inventory"
	"prlagent/agent/protocol"
	"prlagent/agent/trigger"
)

var drawnUIDs = map[string]uint32{"alice": 501, "bob": 502}

// drawnRow is a row as a look may make it: of one's own machine or of a shared
// one, with a bundle that could be looked at or not, fresh or stale.
func drawnRow(t *rapid.T, id, owner string) protocol.VM {
	vm := protocol.VM{
		VMKey: protocol.VMKey{ID: id, UID: drawnUIDs[owner]}, Owner: owner,
		Name: rapid.SampledFrom([]string{"Windows", "Linux"}).Draw(t, "name"),
		State: rapid.SampledFrom([]string{
			protocol.StateRunning, protocol.StateStopped, protocol.StateSuspended, protocol.StateUnknown,
		}).Draw(t, "state"),
		ConfigHash: rapid.SampledFrom([]string{"1", "2"}).Draw(t, "config"),
	}
	if rapid.Bool().Draw(t, "bundle could be looked at") {
		vm.Bundle = protocol.Bundle{Volume: "disk", Inode: rapid.Uint64Range(7, 8).Draw(t, "inode")}
	}
	if rapid.Bool().Draw(t, "shared") {
		other := map[string]string{"alice": "bob", "bob": "alice"}[owner]
		vm.SeenBy = []protocol.Account{{UID: drawnUIDs[other], Name: other}}
	}
	switch rapid.SampledFrom([]string{"", "", "", "stale", "never read"}).Draw(t, "freshness") {
	case "stale":
		vm.Stale, vm.SeenAt, vm.State = protocol.CodeUserLate, time.Unix(1, 0), protocol.StateUnknown
	case "never read":
		vm.Stale, vm.State = protocol.CodeUnreadableVM, protocol.StateUnknown
	}
	return vm
}

func drawnLook(t *rapid.T, at time.Time) *inventory.Look {
	look := &inventory.Look{At: at, Truncated: rapid.Float64Range(0, 1).Draw(t, "truncated") > 0.9}
	for _, id := range []string{"a", "b", "c"} {
		for _, owner := range []string{"alice", "bob"} {
			if rapid.Bool().Draw(t, "there") {
				look.VMs = append(look.VMs, drawnRow(t, id, owner))
			}
		}
	}
	return look
}

// threeWords are what reasons, events and the delta say of two looks.
type threeWords struct {
	reasons map[trigger.Reason][]string // VM ids, sorted
	events  map[string][]protocol.Event
	delta   protocol.Inventory
}

func compareLooks(t *rapid.T, before, now *inventory.Look) threeWords {
	said := threeWords{reasons: make(map[trigger.Reason][]string), events: make(map[string][]protocol.Event)}
	picture := func(look *inventory.Look) *trigger.Picture {
		return &trigger.Picture{At: look.At, VMs: look.VMs, Truncated: look.Truncated}
	}
	var beliefs trigger.Beliefs
	beliefs.OnPicture(picture(before))
	for _, one := range beliefs.OnPicture(picture(now)) {
		said.reasons[one.Reason] = append(said.reasons[one.Reason], one.VMID)
	}
	for _, event := range changes(before, now) {
		said.events[event.Type] = append(said.events[event.Type], event)
	}
	older, newer := protocol.Report{VMs: before.VMs, Truncated: before.Truncated}, protocol.Report{VMs: now.VMs, Truncated: now.Truncated}
	base, err := older.Baseline()
	if err != nil {
		t.Fatal(err)
	}
	var request protocol.CheckinRequest
	if _, err := newer.Fill(&request, base); err != nil {
		t.Fatal(err)
	}
	said.delta = request.Inventory
	return said
}

func idsOf(events []protocol.Event) (ids []string) {
	for _, event := range events {
		ids = append(ids, event.Data["vm_id"])
	}
	slices.Sort(ids)
	return ids
}

// Whatever two looks saw: the reasons of a check-in, the events that people read
// and the delta that the portal gets say the same of what came, went and changed.
func TestReasonsEventsAndDeltaAgree(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	rapid.Check(t, func(t *rapid.T) {
		before, now := drawnLook(t, noon), drawnLook(t, noon.Add(time.Minute))
		said := compareLooks(t, before, now)
		for kind, reason := range map[string]trigger.Reason{"vm_added": trigger.VMCreated, "vm_removed": trigger.VMRemoved} {
			ids := said.reasons[reason]
			slices.Sort(ids)
			if diff := cmp.Diff(ids, idsOf(said.events[kind])); diff != "" {
				t.Fatalf("%s and %s differ (-reasons +events):\n%s", reason, kind, diff)
			}
		}
		for _, event := range said.events["vm_state"] {
			from, to := event.Data["from"], event.Data["to"]
			if from == protocol.StateUnknown || to == protocol.StateUnknown {
				continue // reasons go by what was known before
			}
			reason := map[string]trigger.Reason{
				protocol.StateStopped + protocol.StateRunning:   trigger.VMStarted,
				protocol.StateSuspended + protocol.StateRunning: trigger.VMResumed,
				protocol.StateRunning + protocol.StateSuspended: trigger.VMSuspended,
				protocol.StateStopped + protocol.StateSuspended: trigger.VMSuspended,
				protocol.StateRunning + protocol.StateStopped:   trigger.VMShutdown,
				protocol.StateSuspended + protocol.StateStopped: trigger.VMShutdown,
			}[from+to]
			if !slices.Contains(said.reasons[reason], event.Data["vm_id"]) {
				t.Fatalf("event %+v without its reason among %v", event.Data, said.reasons)
			}
		}
		for _, event := range said.events["vm_bundle_changed"] {
			if !slices.Contains(said.reasons[trigger.VMConfigChanged], event.Data["vm_id"]) {
				t.Fatalf("event %+v without its reason among %v", event.Data, said.reasons)
			}
		}
		checkDelta(t, before, now, said)
	})
}

// checkDelta holds the delta against what the others say.
func checkDelta(t *rapid.T, before, now *inventory.Look, said threeWords) {
	sent := func(id string) bool {
		return slices.ContainsFunc(said.delta.VMs, func(vm protocol.VM) bool { return vm.ID == id })
	}
	removed := func(id string) bool {
		return slices.ContainsFunc(said.delta.Removed, func(key protocol.VMKey) bool { return key.ID == id })
	}
	for reason, ids := range said.reasons {
		for _, id := range ids {
			if reason == trigger.VMRemoved && !removed(id) || reason != trigger.VMRemoved && !sent(id) && !said.delta.Full {
				t.Fatalf("%s of %s is not in the delta %+v", reason, id, said.delta)
			}
		}
	}
	for _, key := range said.delta.Removed {
		gone := slices.Contains(said.reasons[trigger.VMRemoved], key.ID)
		stillThere := slices.ContainsFunc(now.VMs, func(vm protocol.VM) bool { return vm.ID == key.ID })
		wasNeverRead := slices.ContainsFunc(before.VMs, func(vm protocol.VM) bool {
			return vm.VMKey == key && vm.Stale == protocol.CodeUnreadableVM
		})
		if !gone && !stillThere && !now.Truncated && !wasNeverRead {
			t.Fatalf("the delta removes %+v, and no reason says that it went", key)
		}
	}
}
