package trigger

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"prlagent/agent/protocol"
)

// within30s is how long the conformance rows give a reason that has no splay.
const within30s = 30 * time.Second

// uids are the accounts of these tests.
var uids = map[string]uint32{"alice": 501, "bob": 502, "carol": 503}

// vmRow is a row of the inventory as a look makes it.
func vmRow(owner, id, state, config string) protocol.VM {
	return protocol.VM{VMKey: protocol.VMKey{UID: uids[owner], ID: id}, Owner: owner, State: state, ConfigHash: config}
}

var (
	valid       = protocol.Product{Installed: true, State: protocol.ProductKey, License: "AAAAA-*****-A"}
	deactivated = protocol.Product{Installed: true, State: protocol.ProductDeactivated}
)

// lived is a simulation of a Mac with the product and some virtual machines,
// an hour after the agent's first check-in, with the timings of a Mac.
func lived(t testing.TB, product protocol.Product, vms ...protocol.VM) *simulation {
	s := simulate(t)
	s.ticks, s.looks = true, time.Second
	s.sees = Picture{VMs: vms, Product: product}
	s.tell(Configured{Portal: true, DeviceID: stepDevice, Timing: protocol.DefaultTiming()})
	s.tell(SourceEvent{Reason: AgentStart})
	s.until(stepNoon.Add(time.Hour))
	if len(s.exchanges()) != 1 {
		t.Fatalf("%d check-ins in the first hour", len(s.exchanges()))
	}
	s.passes = nil
	return s
}

// becomes lets the Mac have these virtual machines from now on.
func (s *simulation) becomes(vms ...protocol.VM) { s.sees.VMs = vms }

// aliceHears is one event of the stream of alice's virtual machines.
func aliceHears(vmID, word string) SourceEvent {
	state := map[string]string{
		"running": protocol.StateRunning, "suspended": protocol.StateSuspended, "paused": protocol.StateSuspended, "stopped": protocol.StateStopped,
		"starting": Transient, "suspending": Transient, "pausing": Transient, "resuming": Transient, "stopping": Transient,
	}[word]
	return SourceEvent{UID: 501, VMID: vmID, State: state}
}

// arrival is one line of the guide's list: what happens on a Mac, and the only
// reason that the portal is told.
type arrival struct {
	name    string
	product protocol.Product
	before  []protocol.VM
	prepare func(*simulation) // nil: nothing
	change  func(*simulation) // of the Mac; nil: nothing that a look sees
	told    []Event           // by the sources, half a second apart
	reason  Reason
	vmID    string
	within  time.Duration
}

func arrivals() []arrival {
	stopped, running, suspended := vmRow("alice", "a", protocol.StateStopped, "1"), vmRow("alice", "a", protocol.StateRunning, "1"), vmRow("alice", "a", protocol.StateSuspended, "1")
	bystander := vmRow("bob", "b", protocol.StateRunning, "1")
	state := func(row, name string, from, to protocol.VM, reason Reason, words ...string) arrival {
		one := arrival{name: row + " " + name, product: valid, before: []protocol.VM{from, bystander}, reason: reason, vmID: "a", within: within30s}
		one.change = func(s *simulation) { s.becomes(to, bystander) }
		for _, word := range words {
			one.told = append(one.told, aliceHears("a", word))
		}
		return one
	}
	license := func(row, name string, before protocol.Product, reason Reason, after protocol.Product) arrival {
		return arrival{
			name: row + " " + name, product: before, reason: reason, within: within30s,
			change: func(s *simulation) { s.sees.Product = after },
			told:   []Event{SourceEvent{}},
		}
	}
	again := license("TRG_03", "activated again", valid, Reactivation, valid)
	again.prepare = func(s *simulation) {
		s.sees.Product = deactivated
		s.tell(SourceEvent{})
		s.until(s.now.Add(time.Hour))
		s.passes = nil // the portal was told, without a reason
	}
	otherKey := valid
	otherKey.License = "BBBBB-*****-B"
	signedIn := protocol.Product{Installed: true, State: protocol.ProductSSO}
	created := state("TRG_04", "created", stopped, stopped, VMCreated, "")
	created.before = []protocol.VM{bystander}
	removed := state("ours", "removed", stopped, stopped, VMRemoved, "")
	removed.change = func(s *simulation) { s.becomes(bystander) }
	changed := stopped
	changed.ConfigHash = "2"
	return []arrival{
		{name: "TRG_01 application launched", product: valid, told: []Event{SourceEvent{Reason: AppLaunch}}, reason: AppLaunch, within: within30s},
		license("TRG_02", "activated", deactivated, Activation, valid),
		again,
		license("GRP_11", "another key", valid, Reactivation, otherKey),
		license("TRG_03", "from a sign-in to a key", signedIn, Reactivation, valid),
		created,
		state("TRG_05", "started", stopped, running, VMStarted, "starting", "running"),
		state("TRG_06", "suspended", running, suspended, VMSuspended, "suspending", "suspended"),
		state("TRG_06", "paused", running, suspended, VMSuspended, "pausing", "paused"),
		state("TRG_07", "resumed", suspended, running, VMResumed, "resuming", "running"),
		state("TRG_07", "a suspended one starts", suspended, running, VMResumed, "starting", "running"),
		state("TRG_08", "shut down by the guest", running, stopped, VMShutdown, "stopping", "stopped"),
		state("TRG_08", "stopped by force", running, stopped, VMShutdown, "stopped"),
		state("TRG_08", "a suspended one is stopped", suspended, stopped, VMShutdown, "stopped"),
		state("TRG_09", "another memory size", stopped, changed, VMConfigChanged, ""),
		removed,
		{name: "TRG_10 network up", product: valid, told: []Event{SourceEvent{Reason: NetworkUp}}, reason: NetworkUp, within: protocol.DefaultTiming().Splay + within30s},
		{
			name: "TRG_11 daily", product: valid, reason: Daily, within: within30s + 2*time.Second, // one tick
			prepare: func(s *simulation) { s.until(s.state.Calendar.DailyAt.Add(-time.Nanosecond)); s.passes = nil },
		},
	}
}

// expect waits for an arrival and lets nothing else arrive within an hour.
func (a arrival) expect(t *testing.T, s *simulation, from time.Time, within time.Duration) {
	t.Helper()
	s.until(from.Add(within + time.Hour))
	exchanges := s.exchanges()
	if len(exchanges) != 1 {
		t.Fatalf("%d check-ins: %+v", len(exchanges), exchanges)
	}
	if wait := exchanges[0].at.Sub(from); wait > within {
		t.Errorf("arrived after %s, want %s", wait, within)
	}
	expectTriggers(t, exchanges[0].triggers, protocol.Trigger{Reason: string(a.reason), VMID: a.vmID, Count: 1})
}

// expectTriggers compares all but the times.
func expectTriggers(t *testing.T, got []protocol.Trigger, want ...protocol.Trigger) {
	t.Helper()
	got = append([]protocol.Trigger(nil), got...)
	for i := range got {
		got[i].FirstAt, got[i].LastAt = time.Time{}, time.Time{}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("reasons (-want +got):\n%s", diff)
	}
}

// Every reason of the guide arrives in one check-in and alone, whether its
// events come, come twice, come while a look runs, or never come: then the look
// of the safety net finds it.
func TestEveryReasonOfTheGuideOnce(t *testing.T) {
	t.Parallel()
	for _, row := range arrivals() {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			begin := func(t *testing.T) *simulation {
				s := lived(t, row.product, row.before...)
				if row.prepare != nil {
					row.prepare(s)
				}
				if len(s.exchanges()) != 0 {
					t.Fatalf("before it: %+v", s.exchanges())
				}
				return s
			}
			t.Run("told", func(t *testing.T) {
				t.Parallel()
				s := begin(t)
				from := row.happen(s, 1)
				row.expect(t, s, from, row.within)
			})
			if row.change == nil { // only its source knows
				return
			}
			t.Run("told twice", func(t *testing.T) {
				t.Parallel()
				s := begin(t)
				from := row.happen(s, 2)
				row.expect(t, s, from, row.within)
			})
			t.Run("not told", func(t *testing.T) {
				t.Parallel()
				s := begin(t)
				row.change(s)
				row.expect(t, s, s.now, protocol.DefaultTiming().SafetyNet+within30s)
			})
			for _, moment := range []time.Duration{1, time.Second / 2, time.Second} {
				t.Run(fmt.Sprintf("told %s after a look began", moment), func(t *testing.T) {
					t.Parallel()
					s := begin(t)
					s.until(s.state.Looks.SafetyLookAt.Add(moment))
					from := row.happen(s, 1)
					row.expect(t, s, from, row.within)
				})
			}
		})
	}
}

// happen changes the Mac and tells its events, each some times; it gives the
// time of the last one.
func (a arrival) happen(s *simulation, times int) time.Time {
	if a.change != nil {
		a.change(s)
	}
	last := s.now
	for i, what := range a.told {
		if i > 0 {
			s.until(s.now.Add(time.Second / 2))
		}
		for range times {
			s.tell(what)
			last = s.now
		}
	}
	return last
}

// An account whose ordinary events were heard all day is not the last to be
// looked at: what is created there arrives as fast as anywhere.
func TestTRG_04_CreatedAfterABusyDay(t *testing.T) {
	t.Parallel()
	stopped, running := vmRow("alice", "a", protocol.StateStopped, "1"), vmRow("alice", "a", protocol.StateRunning, "1")
	s := lived(t, valid, stopped)
	for range 10 {
		s.becomes(running)
		s.tell(aliceHears("a", "starting"))
		s.until(s.now.Add(2 * time.Second))
		s.tell(aliceHears("a", "running"))
		s.until(s.now.Add(30 * time.Minute))
		s.becomes(stopped)
		s.tell(aliceHears("a", "stopping"))
		s.until(s.now.Add(2 * time.Second))
		s.tell(aliceHears("a", "stopped"))
		s.until(s.now.Add(30 * time.Minute))
	}
	s.until(s.now.Add(5 * time.Minute)) // the next look of the safety net is far away
	s.passes = nil
	s.becomes(stopped, vmRow("alice", "b", protocol.StateStopped, "1"))
	s.tell(aliceHears("b", ""))
	arrival{reason: VMCreated, vmID: "b"}.expect(t, s, s.now, within30s)
}

// Hints that proved empty in the morning do not delay the news of the evening.
func TestTRG_04_CreatedLongAfterEmptyHints(t *testing.T) {
	t.Parallel()
	s := lived(t, valid)
	for range 10 {
		s.tell(SourceEvent{UID: 501})
		s.until(s.now.Add(3 * time.Minute))
	}
	s.until(s.now.Add(6 * time.Hour))
	s.until(s.state.Looks.SafetyLookAt.Add(5 * time.Minute)) // far from any look of the safety net
	s.passes = nil
	s.becomes(vmRow("alice", "b", protocol.StateStopped, "1"))
	s.tell(aliceHears("b", ""))
	arrival{reason: VMCreated, vmID: "b"}.expect(t, s, s.now, within30s)
}

// restarted is the simulation of a daemon that begins where the other's ended.
func (s *simulation) restarted(away time.Duration) *simulation {
	next := simulate(s.t)
	next.now, next.ticks, next.looks, next.sees = s.now.Add(away), s.ticks, s.looks, s.sees
	next.state = kept(s.t, s.state)
	next.state.Limits.LastSuccess, next.state.DeviceID, next.state.Timing = s.state.Limits.LastSuccess, stepDevice, protocol.DefaultTiming()
	next.state.Plan(s.state.Limits.LastSuccess, 0.5, s.state.Calendar.Interval)
	return next
}

// kept is a state after a restart: what is stored of it, and the reasons that
// the outbox gives back.
func kept(t testing.TB, state State) State {
	t.Helper()
	data, err := json.Marshal(state)
	var next State
	if err == nil {
		err = json.Unmarshal(data, &next)
	}
	if err != nil {
		t.Fatal(err)
	}
	if state.Portal {
		next.Reports.Unreported = state.Reports.All().Durable()
	}
	return next
}

// start is how the loop of a daemon begins.
func (s *simulation) start() {
	s.tell(Configured{Portal: true, DeviceID: stepDevice, Timing: protocol.DefaultTiming()})
	s.tell(SourceEvent{Reason: AgentStart})
}

// The first look after a start finds what happened while nobody watched; it
// goes with the start, once.
func TestWhatHappenedWhileTheDaemonWasAway(t *testing.T) {
	t.Parallel()
	before := lived(t, deactivated,
		vmRow("alice", "a", protocol.StateRunning, "1"), vmRow("alice", "b", protocol.StateSuspended, "1"), vmRow("bob", "c", protocol.StateStopped, "1"))
	s := before.restarted(5 * time.Minute)
	s.sees.Product = valid
	s.becomes(vmRow("alice", "a", protocol.StateStopped, "1"), vmRow("alice", "b", protocol.StateRunning, "2"), vmRow("bob", "d", protocol.StateStopped, "1"))
	from := s.now
	s.start()
	s.until(from.Add(2 * time.Hour))
	exchanges := s.exchanges()
	if len(exchanges) != 1 || exchanges[0].at.Sub(from) > protocol.DefaultTiming().Splay+within30s {
		t.Fatalf("check-ins: %+v", exchanges)
	}
	one := func(reason Reason, vmID string) protocol.Trigger {
		return protocol.Trigger{Reason: string(reason), VMID: vmID, Count: 1}
	}
	expectTriggers(t, exchanges[0].triggers, one(AgentStart, ""), one(VMShutdown, "a"), one(VMResumed, "b"),
		one(VMConfigChanged, "b"), one(VMCreated, "d"), one(VMRemoved, "c"), one(Activation, ""))
}

// A daemon that starts where nothing changed has nothing to tell but that.
func TestNothingHappenedWhileTheDaemonWasAway(t *testing.T) {
	t.Parallel()
	s := lived(t, valid, vmRow("alice", "a", protocol.StateRunning, "1")).restarted(5 * time.Minute)
	from := s.now
	s.start()
	arrival{reason: AgentStart}.expect(t, s, from, protocol.DefaultTiming().Splay+within30s)
}

// A reason that no check-in carried before the end is carried after it, with
// what is new, once.
func TestTRG_16_CreatedWhileThePortalWasAway(t *testing.T) {
	t.Parallel()
	before := lived(t, valid)
	before.portal = down
	before.becomes(vmRow("alice", "a", protocol.StateStopped, "1"))
	before.tell(aliceHears("a", ""))
	before.until(before.now.Add(time.Hour))
	s := before.restarted(time.Hour)
	from := s.now
	s.start()
	s.until(from.Add(20 * time.Second))
	s.tell(SourceEvent{Reason: NetworkUp})
	s.until(from.Add(2 * time.Hour))
	exchanges := s.exchanges()
	if len(exchanges) != 1 {
		t.Fatalf("check-ins: %+v", exchanges)
	}
	got := SetOf(exchanges[0].triggers)
	if !got.Has(VMCreated) || !got.Has(AgentStart) || exchanges[0].at.Sub(from) > protocol.DefaultTiming().Splay+within30s {
		t.Errorf("carried after %s: %+v", exchanges[0].at.Sub(from), exchanges[0].triggers)
	}
}

// Rows of a user who could not be listed are no reason, nor are they when they
// are fresh again: the portal is told both, as what it lacks. What changed
// meanwhile is a reason.
func TestStaleRowsAreNoReason(t *testing.T) {
	t.Parallel()
	stopped := vmRow("alice", "a", protocol.StateStopped, "1")
	stale := stopped
	stale.Stale = protocol.CodeServiceDown
	s := lived(t, valid, stopped)
	for _, row := range []protocol.VM{stale, stopped, stale, vmRow("alice", "a", protocol.StateRunning, "2")} {
		s.becomes(row)
		s.until(s.now.Add(time.Hour))
	}
	exchanges := s.exchanges()
	if len(exchanges) != 4 {
		t.Fatalf("check-ins: %+v", exchanges)
	}
	for _, pass := range exchanges[:3] {
		expectTriggers(t, pass.triggers)
	}
	expectTriggers(t, exchanges[3].triggers,
		protocol.Trigger{Reason: "vm_started", VMID: "a", Count: 1}, protocol.Trigger{Reason: "vm_config_changed", VMID: "a", Count: 1})
}

// An event whose virtual machine no look can see is told at once, and its state
// as soon as a look sees it.
func TestEventOfAStaleRow(t *testing.T) {
	t.Parallel()
	stopped, running := vmRow("alice", "a", protocol.StateStopped, "1"), vmRow("alice", "a", protocol.StateRunning, "1")
	stale := stopped
	stale.Stale = protocol.CodeServiceDown
	s := lived(t, valid, stopped)
	s.becomes(stale)
	s.tell(aliceHears("a", "running"))
	s.until(s.now.Add(time.Hour))
	s.becomes(running)
	s.until(s.now.Add(time.Hour))
	exchanges := s.exchanges()
	if len(exchanges) != 2 || s.has.VMs[0].State != protocol.StateRunning {
		t.Fatalf("check-ins: %+v, the portal has %+v", exchanges, s.has)
	}
	expectTriggers(t, exchanges[0].triggers, protocol.Trigger{Reason: "vm_started", VMID: "a", Count: 1})
	expectTriggers(t, exchanges[1].triggers)
}

// A clock that is set back freezes no belief: a change that no event told is
// found by the next look, not when the old time comes again.
func TestLostEventAfterTheClockWasSetBack(t *testing.T) {
	t.Parallel()
	s := lived(t, valid, vmRow("alice", "a", protocol.StateStopped, "1"))
	s.until(s.state.Looks.SafetyLookAt.Add(time.Minute))
	s.becomes(vmRow("alice", "a", protocol.StateRunning, "1"))
	s.tell(aliceHears("a", "running"))
	s.until(s.now.Add(5 * time.Second)) // before the look
	s.now = s.now.Add(-30 * Day)
	s.tell(Tick{})
	s.until(s.now.Add(5 * time.Minute))
	if exchanges := s.exchanges(); len(exchanges) != 1 || !exchanges[0].has(VMStarted) {
		t.Fatalf("check-ins: %+v", exchanges)
	}
	s.passes = nil
	s.becomes(vmRow("alice", "a", protocol.StateStopped, "1"))
	arrival{reason: VMShutdown, vmID: "a"}.expect(t, s, s.now, protocol.DefaultTiming().SafetyNet+within30s)
}

// A network that comes up while an exchange runs, which then fails because it
// began before, does not wait for the backoff.
func TestTRG_10_NetworkUpWhileAnExchangeFails(t *testing.T) {
	t.Parallel()
	s := lived(t, valid)
	s.portal = down
	s.tell(SourceEvent{Reason: AppLaunch})
	s.until(s.now.Add(6 * time.Hour)) // the backoff is at its cap
	s.until(s.state.Limits.RetryAt.Add(s.looks + s.takes/2))
	if !s.state.Limits.Running {
		t.Fatal("no exchange runs")
	}
	from := s.now
	s.tell(SourceEvent{Reason: NetworkUp})
	s.until(s.exchangeEndsAt)
	s.portal, s.passes = nil, nil
	s.until(from.Add(protocol.DefaultTiming().Splay + within30s))
	if exchanges := s.exchanges(); len(exchanges) != 1 || !exchanges[0].has(NetworkUp) || !exchanges[0].has(AppLaunch) {
		t.Errorf("check-ins: %+v, the next attempt is at %s", exchanges, s.state.Limits.RetryAt)
	}
}
