package trigger

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"prlagent/agent/protocol"
)

// stepNoon is when every test of step begins.
var stepNoon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

const stepDevice = "0198f6b2-7c1e-7d0a-9a55-3f1d0c2b7e11"

// stepTiming is what a Mac gets, without the looks of the safety net: they tell
// nothing here, and have tests of their own.
var stepTiming = func() protocol.Timing {
	timing := protocol.DefaultTiming()
	timing.SafetyNet = 10_000 * Day
	return timing
}()

// passRecord is one pass of a simulated agent.
type passRecord struct {
	at       time.Time
	triggers []protocol.Trigger
	exchange bool
	forgot   bool     // nobody will ask for its reasons
	saw      *Picture // nil: its look failed, and nothing is exchanged
}

// has says whether the pass carries the reason.
func (p passRecord) has(reason Reason) bool { return SetOf(p.triggers).Has(reason) }

// simulation is step with a clock, a Mac that needs a second for a pass, and a
// portal that answers as the test says.
type simulation struct {
	t              testing.TB
	now            time.Time
	state          State
	random         *rand.Rand
	portal         func(now time.Time) answer // nil: it answers everything well
	looks          time.Duration              // the look of a pass
	takes          time.Duration              // the exchange
	passes         []passRecord
	lookEndsAt     time.Time // of the look that runs
	exchangeEndsAt time.Time // of the exchange that runs
	seen           *Picture  // by the look that runs
	sent           *Picture  // by the exchange that runs
	with           string    // whom that is with
	has            *Picture  // what the portal was told last
	sees           Picture
	blind          bool // looks fail
	ticks          bool // the clock is looked at every Tick, as by the real loop
}

func simulate(t testing.TB) *simulation {
	return &simulation{t: t, now: stepNoon, takes: time.Second, random: rand.New(rand.NewPCG(1, 2))}
}

// started is a simulation of an agent that has a portal and has just started.
func started(t testing.TB) *simulation {
	s := simulate(t)
	s.tell(Configured{Portal: true, DeviceID: stepDevice, Timing: stepTiming})
	s.tell(SourceEvent{Reason: AgentStart})
	return s
}

func (s *simulation) tell(what Event) {
	s.t.Helper()
	before := s.state
	state, actions := Step(s.now, s.random.Float64(), s.state, what)
	s.state = state
	checkStep(s.t, s.now, before, state, actions)
	for _, action := range actions {
		switch action := action.(type) {
		case StartLook:
			if s.seen, s.lookEndsAt = s.picture(), s.now.Add(s.looks); s.looks == 0 {
				s.tell(s.look())
			}
		case Conclude:
			s.passes = append(s.passes, passRecord{s.now, action.Triggers.Triggers(), action.Exchange && s.seen != nil, !state.Portal, s.seen})
			if action.Exchange {
				s.exchangeEndsAt, s.sent, s.with = s.now.Add(s.takes), s.seen, state.Origin
			}
		}
	}
}

// picture is what a look sees: what the test put there, taken at once.
func (s *simulation) picture() *Picture {
	if s.blind {
		return nil
	}
	seen := s.sees
	seen.At = s.now
	return &seen
}

// look is the outcome of the look that runs.
func (s *simulation) look() LookDone {
	return LookDone{Picture: s.seen, PortalBehind: s.state.Portal && s.seen != nil && !isTold(s.has, s.seen)}
}

// isTold says whether a portal that was told of one picture has the other.
func isTold(has, seen *Picture) bool {
	return has != nil && has.Product.State == seen.Product.State && has.Product.License == seen.Product.License && slices.EqualFunc(has.VMs, seen.VMs, func(a, b protocol.VM) bool {
		return a.VMKey == b.VMKey && a.State == b.State && a.ConfigHash == b.ConfigHash && a.Stale == b.Stale
	})
}

// checkStep holds every single step to what must always be true.
func checkStep(t testing.TB, now time.Time, before, after State, actions []Action) {
	t.Helper()
	if len(actions) > 2 || len(actions) == 2 && actions[1] != Action(StartLook{}) {
		t.Fatalf("more at once than the end of one look and the begin of another: %v", actions)
	}
	for _, action := range actions {
		switch action := action.(type) {
		case StartLook:
			if before.Looks.Running && len(actions) == 1 || !after.Looks.Running {
				t.Fatal("a look begins while another runs")
			}
		case Conclude:
			if !before.Looks.Running {
				t.Fatal("the end of a look that did not run")
			}
			if action.Exchange && (!after.Portal || before.Limits.Running || !after.Limits.Running) {
				t.Fatal("an exchange without a portal, or beside another")
			}
		}
	}
	if after.Looks.Running || after.Timing.Daily == 0 {
		return
	}
	next, why := after.NextAt(now)
	if (!next.IsZero() || !after.Limits.Running) && (!next.After(now) || why == "") {
		t.Fatalf("no look runs, and the next time is %s (now %s, because %q)", next, now, why)
	}
	if again, actions := Step(now, 0, after, Tick{}); len(actions) != 0 || again.Looks.Running {
		t.Fatalf("the same moment again starts %v", actions)
	}
}

// until runs the simulation to the given time.
func (s *simulation) until(end time.Time) {
	s.t.Helper()
	for steps := 0; ; steps++ {
		if steps > 200_000 {
			s.t.Fatalf("step spins at %s", s.now)
		}
		next := s.next()
		if next.After(end) {
			s.now = end
			return
		}
		s.now = next
		switch {
		case s.state.Looks.Running && s.lookEndsAt.Equal(next):
			s.tell(s.look())
		case s.state.Limits.Running && s.exchangeEndsAt.Equal(next):
			s.tell(s.outcome())
		default:
			s.tell(Tick{})
		}
	}
}

// next is when something happens in the simulation.
func (s *simulation) next() time.Time {
	next, _ := s.state.NextAt(s.now)
	if s.state.Looks.Running {
		next = s.lookEndsAt
	}
	if s.state.Limits.Running {
		next = soonest(next, s.exchangeEndsAt)
	}
	if tickAt := s.now.Add(s.state.Timing.Tick); s.ticks && s.state.Idle() && tickAt.Before(next) {
		next = tickAt
	}
	return next
}

// outcome is how the exchange that runs ends.
func (s *simulation) outcome() ExchangeDone {
	ended := answer{}
	if s.portal != nil {
		ended = s.portal(s.now)
	}
	ended.DeviceID, ended.Origin = stepDevice, s.with
	if ended.Lost {
		ended.Left = s.state.Reports.Carried
	} else {
		s.has = s.sent
	}
	ended.PortalBehind = s.seen != nil && !isTold(s.has, s.seen)
	return ended.ExchangeDone
}

func (s *simulation) exchanges() []passRecord {
	return slices.DeleteFunc(slices.Clone(s.passes), func(p passRecord) bool { return !p.exchange })
}

// answer is how an exchange ends; with Lost, before the report was stored.
type answer struct {
	ExchangeDone
	Lost bool
}

// down is a portal that does not answer.
func down(time.Time) answer {
	return answer{ExchangeDone{Code: protocol.CodePortalUnreachable}, true}
}

// cadence is a portal that names an interval.
func cadence(interval time.Duration) func(time.Time) answer {
	return func(time.Time) answer { return answer{ExchangeDone: ExchangeDone{Interval: interval}} }
}

func TestTRG_11_OneDailyCheckinAtTheDevicesPhase(t *testing.T) {
	t.Parallel()
	for _, ticks := range []bool{false, true} {
		t.Run(fmt.Sprintf("ticks=%t", ticks), func(t *testing.T) {
			t.Parallel()
			s := started(t)
			s.ticks = ticks
			s.until(stepNoon.Add(11 * Day)) // the phase is found
			s.passes = nil
			idle := s.now
			s.until(idle.Add(5 * Day))
			if len(s.passes) != 5 {
				t.Fatalf("%d passes in five idle days", len(s.passes))
			}
			for _, pass := range s.passes {
				if len(pass.triggers) != 1 || !pass.has(Daily) || pass.triggers[0].Count != 1 || !pass.exchange {
					t.Errorf("pass %+v", pass)
				}
				late := pass.at.Sub(pass.at.Truncate(Day)) - Phase(stepDevice)
				if late < 0 || late > protocol.DefaultTiming().Tick+time.Second {
					t.Errorf("checked in at %s, the phase is %s", pass.at, Phase(stepDevice))
				}
			}
		})
	}
}

// 24 hours after the start, before the phase is found, it is one check-in too.
func TestTRG_11_FirstIdleDay(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		s := simulate(t)
		s.tell(Configured{Portal: true, DeviceID: rapid.String().Draw(rt, "device"), Timing: stepTiming})
		s.tell(SourceEvent{Reason: AgentStart})
		s.until(stepNoon.Add(Day + Day/10 + time.Minute))
		if len(s.passes) != 2 || !s.passes[1].has(Daily) {
			rt.Fatalf("passes: %+v", s.passes)
		}
	})
}

func TestTRG_12_StepPostponesTheDailyCheckin(t *testing.T) {
	t.Parallel()
	s := started(t)
	event := stepNoon.Add(10 * time.Hour)
	s.until(event)
	s.tell(SourceEvent{Reason: VMCreated, VMID: "a"})
	s.until(stepNoon.Add(2 * Day))
	if len(s.passes) != 3 || !s.passes[1].has(VMCreated) || !s.passes[2].has(Daily) {
		t.Fatalf("passes: %+v", s.passes)
	}
	wait := s.passes[2].at.Sub(event)
	if wait < Day-Day/10 || wait > Day+Day/10 {
		t.Errorf("the daily check-in came %s after the one by event", wait)
	}
}

// A failed attempt is no check-in: the daily look comes all the same, once.
func TestDailyLookWhileThePortalIsDown(t *testing.T) {
	t.Parallel()
	s := started(t)
	s.until(stepNoon.Add(time.Minute))
	s.portal, s.passes = down, nil
	s.until(stepNoon.Add(4 * Day))
	daily := 0
	for i, pass := range s.passes {
		if pass.has(Daily) && (i == 0 || !s.passes[i-1].has(Daily)) {
			daily++
		}
	}
	if daily != 1 { // heard once, then owed with every attempt, and counted
		t.Errorf("the daily reason came and went %d times", daily)
	}
	last := s.passes[len(s.passes)-1]
	if at := slices.IndexFunc(last.triggers, func(t protocol.Trigger) bool { return t.Reason == "daily" }); at < 0 || last.triggers[at].Count != 4 {
		t.Errorf("owed after four days: %+v", last.triggers)
	}
}

func TestCadenceOfThePortal(t *testing.T) {
	t.Parallel()
	s := started(t)
	s.portal = cadence(time.Hour)
	s.until(stepNoon.Add(10 * Day))
	waits := make(map[time.Duration]int)
	for i, pass := range s.passes[1:] {
		wait := pass.at.Sub(s.passes[i].at) - s.takes
		if wait < 54*time.Minute || wait > 66*time.Minute {
			t.Fatalf("the wait is %s", wait)
		}
		if pass.has(Daily) || !pass.has(Cadence) {
			t.Fatalf("reasons %+v", pass.triggers)
		}
		waits[wait.Truncate(time.Minute)]++
	}
	if len(s.passes) < 230 || len(s.passes) > 250 || len(waits) < 10 {
		t.Errorf("%d passes in ten days, waits %v", len(s.passes), waits)
	}
	s.portal = nil // it names no interval any more: the guide's daily check remains
	s.until(s.now.Add(2 * time.Hour))
	s.passes = nil
	s.until(s.now.Add(2*Day + Day/5))
	if len(s.passes) != 2 || !s.passes[0].has(Daily) {
		t.Errorf("without an interval: %+v", s.passes)
	}
}

// While the portal is down its cadence goes on as a look.
func TestCadenceWhileThePortalIsDown(t *testing.T) {
	t.Parallel()
	s := started(t)
	s.portal = cadence(6 * time.Hour)
	s.until(stepNoon.Add(time.Minute))
	s.portal = down
	s.until(stepNoon.Add(30 * time.Hour))
	last := s.passes[len(s.passes)-1]
	if at := slices.IndexFunc(last.triggers, func(t protocol.Trigger) bool { return t.Reason == "cadence" }); at < 0 || last.triggers[at].Count < 3 || last.triggers[at].Count > 5 {
		t.Errorf("owed after 30 hours: %+v", last.triggers)
	}
}

func TestEventsDuringALookAreOneMoreLook(t *testing.T) {
	t.Parallel()
	s := simulate(t)
	s.looks = time.Second
	s.start()
	for range 5 {
		s.tell(SourceEvent{Reason: VMCreated, VMID: "a"})
		s.now = s.now.Add(10 * time.Millisecond)
	}
	s.until(stepNoon.Add(5 * time.Second))
	if len(s.passes) != 2 {
		t.Fatalf("%d passes", len(s.passes))
	}
	want := protocol.Trigger{Reason: "vm_created", VMID: "a", Count: 5, FirstAt: stepNoon, LastAt: stepNoon.Add(40 * time.Millisecond)}
	if got := s.passes[1].triggers; len(got) != 1 || got[0] != want {
		t.Errorf("got %+v", got)
	}
}

// H46: every event is looked at; only the exchange waits.
func TestH46_OnlyTheExchangeIsThrottled(t *testing.T) {
	t.Parallel()
	for name, portal := range map[string]func(time.Time) answer{"portal up": nil, "portal down": down} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := started(t)
			s.portal = portal
			for i := range 100 {
				before, heard := len(s.passes), s.now
				s.tell(SourceEvent{Reason: VMCreated, VMID: fmt.Sprint(i)})
				s.until(s.now.Add(2 * s.takes)) // a pass may run, and then the next one
				looked := func(p passRecord) bool {
					return slices.ContainsFunc(p.triggers, func(t protocol.Trigger) bool { return t.LastAt.Equal(heard) })
				}
				if !slices.ContainsFunc(s.passes[before:], looked) {
					t.Fatalf("event %d was not looked at", i)
				}
			}
			if many := len(s.exchanges()); many > 7 {
				t.Errorf("%d exchanges in 200 seconds", many)
			}
		})
	}
}

func TestGapAndBucket(t *testing.T) {
	t.Parallel()
	s := started(t)
	for s.now.Before(stepNoon.Add(3 * time.Hour)) {
		s.tell(SourceEvent{Reason: VMCreated})
		s.until(s.now.Add(7 * time.Second))
	}
	exchanges := s.exchanges()
	for i, pass := range exchanges[1:] {
		if gap := pass.at.Sub(exchanges[i].at); gap < time.Minute {
			t.Errorf("%s between two exchanges", gap)
		}
	}
	if most := 6 + 18; len(exchanges) > most || len(exchanges) < most-2 {
		t.Errorf("%d exchanges in three hours, the bucket allows %d", len(exchanges), most)
	}
}

// A person passes the gap, the bucket and a backoff.
func TestManualPassesTheThrottle(t *testing.T) {
	t.Parallel()
	s := started(t)
	s.portal = func(time.Time) answer {
		return answer{ExchangeDone{Code: protocol.CodePortalBusy, RetryAfter: time.Hour}, true}
	}
	s.until(stepNoon.Add(2 * time.Second))
	for i := range 10 {
		before := len(s.passes)
		s.tell(SourceEvent{Reason: VMCreated})
		if s.passes[before].exchange {
			t.Fatal("an event passed the backoff")
		}
		s.until(s.now.Add(2 * time.Second))
		s.tell(SourceEvent{Reason: Manual})
		if len(s.passes) != before+2 || !s.passes[before+1].exchange || !s.passes[before+1].has(Manual) {
			t.Fatalf("wish %d: %+v", i, s.passes[before:])
		}
		s.until(s.now.Add(2 * time.Second))
	}
	if next, why := s.state.NextAt(s.now); next.Sub(s.now) < 59*time.Minute || why != "retry" {
		t.Errorf("a wish that failed makes the portal's floor void: next at %s, %s", next, why)
	}
}

func TestBackoffGrowsAndIsForgotten(t *testing.T) {
	t.Parallel()
	s := started(t)
	s.portal = down
	s.until(stepNoon.Add(12 * time.Hour))
	var waits []time.Duration
	exchanges := s.exchanges()
	for i, pass := range exchanges[1:] {
		waits = append(waits, pass.at.Sub(exchanges[i].at)-s.takes)
	}
	late := waits[len(waits)-10:]
	if slices.Min(late) < 15*time.Minute || slices.Max(late) > 30*time.Minute || slices.Max(late)-slices.Min(late) < 3*time.Minute {
		t.Errorf("waits at the cap: %s", late)
	}
	s.portal = nil
	s.until(s.now.Add(31 * time.Minute))
	if s.state.Limits.Failures != 0 || !s.state.Reports.Unreported.Empty() || !s.state.Limits.RetryAt.IsZero() {
		t.Errorf("after the portal is back: %+v", s.state)
	}
	s.portal = down
	s.until(s.now.Add(time.Hour))
	s.tell(SourceEvent{Reason: VMCreated})
	s.until(s.now.Add(2 * time.Second))
	if wait := s.state.Limits.RetryAt.Sub(s.now); wait > 5*time.Second {
		t.Errorf("the first failure of a new row waits %s", wait)
	}
}

// Two bad days: an attempt an hour, and every duty on the Mac goes on.
func TestCircuitAfterADayOfFailures(t *testing.T) {
	t.Parallel()
	s := started(t)
	s.portal, s.ticks = down, true // it knows by them that it was awake
	s.until(stepNoon.Add(25 * time.Hour))
	s.passes = nil
	from := s.now
	s.until(from.Add(Day))
	if many := len(s.exchanges()); many < 19 || many > 32 {
		t.Errorf("%d attempts a day", many)
	}
}

func TestRetryAfterIsAFloor(t *testing.T) {
	t.Parallel()
	for asked, want := range map[time.Duration]time.Duration{
		20 * time.Minute: 20 * time.Minute, 1e9 * time.Second: Day, time.Nanosecond: time.Second,
	} {
		t.Run(asked.String(), func(t *testing.T) {
			t.Parallel()
			s := started(t)
			s.portal = func(time.Time) answer {
				return answer{ExchangeDone{Code: protocol.CodePortalBusy, RetryAfter: asked}, true}
			}
			s.until(stepNoon.Add(s.takes))
			wait := s.state.Limits.RetryAt.Sub(s.now)
			if wait < want || wait > max(want+want/2, 5*time.Second) {
				t.Errorf("asked for %s, waits %s", asked, wait)
			}
		})
	}
}

func TestWithoutAPortal(t *testing.T) {
	t.Parallel()
	s := simulate(t)
	s.tell(Configured{Timing: stepTiming})
	s.tell(SourceEvent{Reason: AgentStart})
	s.until(stepNoon.Add(10 * Day))
	if len(s.passes) < 10 || len(s.passes) > 11 || len(s.exchanges()) != 0 {
		t.Fatalf("%d looks and %d exchanges in ten days", len(s.passes), len(s.exchanges()))
	}
	s.tell(Configured{Portal: true, DeviceID: stepDevice, Timing: stepTiming, Reasons: []Reason{ProfileChanged}})
	last := s.passes[len(s.passes)-1]
	if len(s.exchanges()) != 1 || len(last.triggers) != 1 || !last.has(ProfileChanged) {
		t.Errorf("a portal appears, and is told what happened before: %+v", last)
	}
}

// What a pass could not tell waits for the next exchange, with everything that
// came meanwhile, and is then forgotten.
func TestOwedReasonsAreCarriedOnce(t *testing.T) {
	t.Parallel()
	s := started(t)
	s.portal = down
	s.until(stepNoon.Add(2 * time.Second))
	s.tell(SourceEvent{Reason: VMCreated, VMID: "a"})
	s.until(s.now.Add(2 * time.Second))
	s.portal = nil
	s.until(s.now.Add(10 * time.Minute))
	last := s.passes[len(s.passes)-1]
	if !last.exchange || !last.has(AgentStart) || !last.has(VMCreated) || len(last.triggers) != 2 {
		t.Errorf("carried: %+v", last)
	}
	before := len(s.passes)
	s.until(s.now.Add(time.Hour))
	if len(s.passes) != before || !s.state.Reports.Unreported.Empty() {
		t.Errorf("carried again: %+v", s.passes[before:])
	}
}

// A portal that has the reasons, though something else failed, does not get
// them twice.
func TestCarriedReasonsAreNotOwed(t *testing.T) {
	t.Parallel()
	s := started(t)
	s.portal = func(time.Time) answer {
		return answer{ExchangeDone: ExchangeDone{Code: protocol.CodeHeadSignature}}
	}
	s.until(stepNoon.Add(10 * time.Minute))
	if len(s.passes) < 2 || len(s.passes[1].triggers) != 0 || !s.passes[1].exchange {
		t.Errorf("passes: %+v", s.passes)
	}
}

// A Mac that sleeps through its next attempt does not make it the moment it
// wakes: everybody's opens at nine.
func TestAnAttemptThatWasSleptThroughIsSplayed(t *testing.T) {
	t.Parallel()
	var waits []time.Duration
	for seed := range uint64(20) {
		s := started(t)
		s.random = rand.New(rand.NewPCG(seed, 3))
		s.portal = down
		s.until(stepNoon.Add(time.Hour))
		for !s.state.Idle() {
			s.until(s.now.Add(s.takes))
		}
		s.now = s.now.Add(8 * time.Hour)
		woke := s.now
		s.portal, s.passes = nil, nil
		s.tell(Tick{})
		s.until(woke.Add(stepTiming.WakeSplay + time.Minute))
		if len(s.exchanges()) != 1 {
			t.Fatalf("%d check-ins", len(s.exchanges()))
		}
		waits = append(waits, s.exchanges()[0].at.Sub(woke))
	}
	if slices.Max(waits)-slices.Min(waits) < stepTiming.WakeSplay/2 {
		t.Errorf("waits %s", waits)
	}
}
