package trigger

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"prlagent/agent/protocol"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func at(minutes int) time.Time { return noon.Add(time.Duration(minutes) * time.Minute) }

// The words of triggers[].reason are part of the protocol.
func TestReasonsAreTheGuidesWords(t *testing.T) {
	t.Parallel()
	guide := []Reason{
		"app_launch", "activation", "reactivation", "vm_created", "vm_started", "vm_suspended", "vm_resumed", "vm_shutdown",
		"vm_config_changed", "network_up", "daily", "agent_start", "wake", "manual", "command_result", "profile_changed", "vm_removed", "cadence",
	}
	ours := []Reason{
		AppLaunch, Activation, Reactivation, VMCreated, VMStarted, VMSuspended, VMResumed, VMShutdown,
		VMConfigChanged, NetworkUp, Daily, AgentStart, Wake, Manual, CommandResult, ProfileChanged, VMRemoved, Cadence,
	}
	if diff := cmp.Diff(guide, ours); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, row := range kinds {
		found := false
		for _, known := range ours {
			found = found || known == row.Reason
		}
		if !found {
			t.Errorf("the table has %q, which is no reason", row.Reason)
		}
	}
}

func TestSetCoalesces(t *testing.T) {
	t.Parallel()
	set := Set{}.
		Add(at(3).In(time.FixedZone("CET", 3600)), VMStarted, "a").
		Add(at(1), Daily, "").
		Add(at(5), VMStarted, "a").
		Add(at(4), VMStarted, "b").
		Add(at(2), VMStarted, "a")
	want := []protocol.Trigger{
		{Reason: "daily", Count: 1, FirstAt: at(1), LastAt: at(1)},
		{Reason: "vm_started", Count: 3, FirstAt: at(2), LastAt: at(5), VMID: "a"},
		{Reason: "vm_started", Count: 1, FirstAt: at(4), LastAt: at(4), VMID: "b"},
	}
	if diff := cmp.Diff(want, set.Triggers()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if set.Empty() || !(Set{}).Empty() {
		t.Error("Empty is wrong")
	}
	if !set.Has(Daily) || set.Has(Manual) {
		t.Error("Has is wrong")
	}
	if set.Urgent() || !set.Add(at(9), Manual, "").Urgent() {
		t.Error("only a person's wish is urgent")
	}
}

// A set is a value: whoever holds one keeps what they hold.
func TestSetIsAValue(t *testing.T) {
	t.Parallel()
	first := Set{}.Add(at(1), Daily, "")
	before := first.Triggers()
	first.Add(at(2), Daily, "")
	first.Merge(Set{}.Add(at(0), Manual, ""))
	first.Triggers()[0].Count = 99
	if diff := cmp.Diff(before, first.Triggers()); diff != "" {
		t.Errorf("(-before +after):\n%s", diff)
	}
	given := []protocol.Trigger{{Reason: "daily", Count: 1}}
	made := SetOf(given)
	given[0].Count = 99
	if made.Triggers()[0].Count != 1 {
		t.Error("SetOf holds the caller's slice")
	}
}

// However events are grouped, no occurrence is lost or counted twice.
func TestSetMergeLosesNothing(t *testing.T) {
	t.Parallel()
	reasons := []Reason{Daily, VMStarted, Manual, Cadence}
	rapid.Check(t, func(t *rapid.T) {
		occurrences := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) protocol.Trigger {
			when := at(rapid.IntRange(-1000, 1000).Draw(t, "minute"))
			return protocol.Trigger{
				Reason: string(rapid.SampledFrom(reasons).Draw(t, "reason")), Count: 1, FirstAt: when, LastAt: when,
				VMID: rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "vm"),
			}
		}), 0, 30).Draw(t, "occurrences")
		cut := rapid.IntRange(0, len(occurrences)).Draw(t, "cut")
		one, left, right := Set{}, Set{}, Set{}
		for i, o := range occurrences {
			one = one.Add(o.FirstAt, Reason(o.Reason), o.VMID)
			if i < cut {
				left = left.Add(o.FirstAt, Reason(o.Reason), o.VMID)
			} else {
				right = right.Add(o.FirstAt, Reason(o.Reason), o.VMID)
			}
		}
		type key struct{ reason, vm string }
		index := func(set Set) map[key]protocol.Trigger {
			out := make(map[key]protocol.Trigger)
			total := 0
			for _, entry := range set.Triggers() {
				out[key{entry.Reason, entry.VMID}] = entry
				total += entry.Count
			}
			if total != len(occurrences) || len(out) != len(set.Triggers()) {
				t.Fatalf("%d occurrences in %d entries, want %d", total, len(set.Triggers()), len(occurrences))
			}
			return out
		}
		if diff := cmp.Diff(index(one), index(left.Merge(right))); diff != "" {
			t.Fatalf("(-one by one +merged):\n%s", diff)
		}
	})
}

// Every reason has a row that says how it is treated, and nothing else has.
func TestEveryReasonHasARow(t *testing.T) {
	t.Parallel()
	for _, reason := range []Reason{
		AppLaunch, Activation, Reactivation, VMCreated, VMStarted, VMSuspended, VMResumed, VMShutdown,
		VMConfigChanged, NetworkUp, Daily, AgentStart, Wake, Manual, CommandResult, ProfileChanged, VMRemoved, Cadence,
	} {
		if reason.Kind() == &unknownKind {
			t.Errorf("%s has no row", reason)
		}
	}
	if len(kinds) != 18 {
		t.Errorf("%d rows", len(kinds))
	}
}

// What is too much for a check-in loses its VMs, never its counts: the reason
// with the most VMs first.
func TestSetLimited(t *testing.T) {
	t.Parallel()
	var set Set
	for i := range 100 {
		set = set.Add(at(i), VMCreated, string(rune('a'+i%50))+string(rune('0'+i/50)))
	}
	set = set.Add(at(3), VMStarted, "x").Add(at(4), VMStarted, "y").Add(at(5), Daily, "")
	limited := set.Limited(64)
	want := []protocol.Trigger{
		{Reason: "vm_created", Count: 100, FirstAt: at(0), LastAt: at(99)},
		{Reason: "vm_started", Count: 1, FirstAt: at(3), LastAt: at(3), VMID: "x"},
		{Reason: "vm_started", Count: 1, FirstAt: at(4), LastAt: at(4), VMID: "y"},
		{Reason: "daily", Count: 1, FirstAt: at(5), LastAt: at(5)},
	}
	if diff := cmp.Diff(want, limited.Triggers()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if few := limited.Limited(4); len(few.Triggers()) != 4 {
		t.Errorf("what fits was cut: %v", few.Triggers())
	}
	if least := limited.Limited(1); len(least.Triggers()) != 3 {
		t.Errorf("reasons themselves were lost: %v", least.Triggers())
	}
}
