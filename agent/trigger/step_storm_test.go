package trigger

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"prlagent/agent/protocol"
)

// A clock that jumps delays nothing and starts no storm.
func TestClockJumps(t *testing.T) {
	t.Parallel()
	busy := func(s *simulation) { // an empty bucket, a backoff, reasons owed
		s.portal = down
		for range 20 {
			s.tell(SourceEvent{Reason: VMCreated})
			s.until(s.now.Add(30 * time.Second))
		}
	}
	idle := func(s *simulation) { s.until(s.now.Add(time.Hour)) }
	for name, prepare := range map[string]func(*simulation){"busy": busy, "idle": idle} {
		for _, jump := range []time.Duration{-365 * Day, -Day, -time.Hour, time.Hour, 365 * Day} {
			t.Run(fmt.Sprintf("%s, %s", name, jump), func(t *testing.T) {
				t.Parallel()
				s := started(t)
				s.ticks = true // how the real loop notices a jump
				prepare(s)
				for !s.state.Idle() {
					s.until(s.now.Add(s.takes))
				}
				s.tell(Tick{})
				next, _ := s.state.NextAt(s.now)
				wait := next.Sub(s.now)
				s.now, s.portal, s.passes = s.now.Add(jump), nil, nil
				s.tell(Tick{})
				if next, _ := s.state.NextAt(s.now); jump < 0 && next.Sub(s.now) != wait {
					t.Errorf("the next turn was %s away and is %s away", wait, next.Sub(s.now))
				}
				from := s.now
				s.until(from.Add(45 * time.Minute))
				if name == "busy" && (len(s.exchanges()) == 0 || !s.state.Reports.Unreported.Empty()) {
					t.Errorf("nothing was told within 45 minutes: %+v", s.state)
				}
				if len(s.passes) > 3 {
					t.Errorf("%d passes within 45 minutes", len(s.passes))
				}
				s.passes = nil
				s.until(from.Add(2*Day + 6*time.Hour))
				if len(s.exchanges()) < 2 || len(s.exchanges()) > 3 {
					t.Errorf("%d check-ins in the two days after it", len(s.exchanges()))
				}
			})
		}
	}
}

// A pass that ends at once, in the worst way, is not begun again at the same
// moment for ever: without a gap the bucket ends it, with one the gap.
func TestAThrottledPassDoesNotSpin(t *testing.T) {
	t.Parallel()
	eager := stepTiming
	eager.MinimumGap, eager.RetryBase, eager.RetryCap, eager.BucketSize = 0, 0, 0, 3
	cases := map[string]struct {
		timing protocol.Timing
		ended  answer
		most   int // passes of one moment
	}{
		"nothing was tried":                 {stepTiming, answer{}, 1},
		"the exchange failed":               {stepTiming, answer{ExchangeDone{Code: protocol.CodePortalOutage}, true}, 1},
		"eager: nothing was tried":          {eager, answer{}, 3},
		"eager: the exchange failed":        {eager, answer{ExchangeDone{Code: protocol.CodePortalOutage}, true}, 3},
		"eager: told, but something failed": {eager, answer{ExchangeDone: ExchangeDone{Code: protocol.CodeHeadInvalid}}, 3},
		"success":                           {eager, answer{ExchangeDone: ExchangeDone{}}, 1},
		"a cadence of a second":             {eager, answer{ExchangeDone: ExchangeDone{Interval: time.Second}}, 1},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := simulate(t)
			s.tell(Configured{Portal: true, DeviceID: stepDevice, Timing: c.timing})
			s.tell(SourceEvent{Reason: Manual})
			s.portal = func(time.Time) answer { return c.ended }
			for s.state.Limits.Running && len(s.passes) <= c.most {
				s.tell(s.outcome())
			}
			if len(s.passes) > c.most {
				t.Errorf("more than %d passes at one moment", c.most)
			}
		})
	}
}

// 10,000 Macs that checked in within one minute (the network came up at nine)
// do not meet again the next day, nor at any time of the days after.
func TestTheFleetSpreads(t *testing.T) {
	t.Parallel()
	const devices = 10_000
	random := rand.New(rand.NewPCG(3, 4))
	minutes := make(map[time.Time]int)
	for i := range devices {
		device := fmt.Sprintf("0198f6b2-7c1e-7d0a-9a55-%012x", i)
		state := State{}
		now := stepNoon.Add(time.Duration(random.Int64N(int64(time.Minute))))
		state, _ = Step(now, 0, state, Configured{Portal: true, DeviceID: device, Timing: stepTiming})
		state, _ = Step(now, 0, state, SourceEvent{Reason: AgentStart})
		for range 4 {
			state, _ = Step(now, 0, state, LookDone{Picture: &Picture{At: now}})
			state, _ = Step(now, random.Float64(), state, ExchangeDone{DeviceID: device})
			next, _ := state.NextAt(now)
			minutes[next.Truncate(time.Minute)]++
			now = next
			var actions []Action
			if state, actions = Step(now, 0, state, Tick{}); len(actions) != 1 || actions[0] != (StartLook{}) {
				t.Fatalf("no look at %s", now)
			}
			if exchangeAt, owes := state.exchangeAt(now, state.Reports.InLook); !owes || exchangeAt.After(now) {
				t.Fatalf("no check-in at %s", now)
			}
		}
	}
	peak := 0
	for _, many := range minutes {
		peak = max(peak, many)
	}
	if peak > 110 { // evenly over the hours that a tenth of a day allows: 60 a minute
		t.Errorf("%d devices in one minute", peak)
	}
}

// stepModel is the agent's loop under any sequence of events; what rapid finds
// out is whether a reason is ever lost, doubled or late.
type stepModel struct {
	sim   *simulation
	heard int // reasons, with those that fell due by themselves
	told  int // that a portal has
	up    bool
}

func TestStepLosesNothing(t *testing.T) {
	t.Parallel()
	reasons := []Reason{VMCreated, VMCreated, AppLaunch, Manual}
	rapid.Check(t, func(rt *rapid.T) {
		sim := simulate(t)
		model := stepModel{sim: sim, up: true}
		sim.tell(Configured{Portal: rapid.Bool().Draw(rt, "portal"), DeviceID: stepDevice, Timing: stepTiming})
		rt.Repeat(map[string]func(*rapid.T){
			"": func(rt *rapid.T) { model.check(rt) },
			"event": func(rt *rapid.T) {
				vm := rapid.SampledFrom([]string{"", "a", "b"}).Draw(rt, "vm")
				sim.tell(SourceEvent{Reason: rapid.SampledFrom(reasons).Draw(rt, "reason"), VMID: vm})
				model.heard++
			},
			"time": func(rt *rapid.T) {
				wait := rapid.SampledFrom([]time.Duration{0, time.Millisecond, time.Second, time.Minute, time.Hour, 30 * time.Hour}).Draw(rt, "wait")
				sim.now = sim.now.Add(wait)
				sim.tell(Tick{})
			},
			"clock": func(rt *rapid.T) {
				sim.now = sim.now.Add(time.Duration(rapid.IntRange(-20_000, 20_000).Draw(rt, "hours")) * time.Hour)
				sim.tell(Tick{})
			},
			"configuration": func(rt *rapid.T) {
				sim.tell(Configured{Portal: rapid.Bool().Draw(rt, "portal"), DeviceID: stepDevice, Timing: stepTiming})
			},
			"end": func(rt *rapid.T) {
				if !sim.state.Limits.Running {
					return
				}
				ended := ExchangeDone{DeviceID: stepDevice}
				stored := rapid.Bool().Draw(rt, "stored")
				ended.Interval = rapid.SampledFrom([]time.Duration{0, time.Hour}).Draw(rt, "interval")
				if !stored || rapid.Bool().Draw(rt, "failed") {
					ended.Code, ended.Interval = protocol.CodePortalOutage, 0
				}
				if !stored {
					ended.Left = sim.state.Reports.Carried
				}
				model.told += count(sim.state.Reports.Carried) - count(ended.Left)
				if !sim.state.Portal { // nobody to tell: forgotten
					model.told += count(ended.Left) + count(sim.state.Reports.Unreported)
				}
				sim.tell(ended)
			},
		})
		model.comesToRest(rt)
	})
}

func count(set Set) int {
	total := 0
	for _, entry := range set.Triggers() {
		total += entry.Count
	}
	return total
}

// open are all reasons that no portal has.
func (m *stepModel) open() int {
	return count(m.sim.state.Reports.All())
}

// check compares what was heard with what is open or told. Reasons that fell
// due by themselves count as heard when they appear.
func (m *stepModel) check(rt *rapid.T) {
	for _, pass := range m.sim.passes {
		if pass.forgot {
			m.told += count(SetOf(pass.triggers))
		}
	}
	m.sim.passes = nil
	byThemselves := m.open() + m.told - m.heard
	if byThemselves < 0 {
		rt.Fatalf("%d reasons lost", -byThemselves)
	}
	if byThemselves > 2 { // a step makes a daily and a cadence reason at most
		rt.Fatalf("%d reasons doubled", byThemselves)
	}
	m.heard += byThemselves
}

// comesToRest lets the portal answer: within two hours nothing is owed, and what
// falls due at their very end is told a minute later.
func (m *stepModel) comesToRest(rt *rapid.T) {
	m.sim.tell(Configured{Portal: true, DeviceID: stepDevice, Timing: stepTiming})
	m.sim.exchangeEndsAt = m.sim.now.Add(time.Second)
	m.sim.until(m.sim.now.Add(2 * time.Hour))
	if m.open() != 0 {
		m.sim.until(m.sim.now.Add(time.Minute))
	}
	if open := m.open(); open != 0 || m.sim.state.Limits.Failures != 0 {
		rt.Fatalf("%d reasons still open, %d failures", open, m.sim.state.Limits.Failures)
	}
}
