package trigger

import (
	"math/rand/v2"
	"testing"
	"time"

	"prlagent/agent/protocol"
)

const (
	onePortal     = "https://portal.example.com"
	anotherPortal = "https://other.example.com"
)

// pointTo lets the configuration name a portal; an empty origin is none.
func (s *simulation) pointTo(origin string, reasons ...Reason) {
	s.t.Helper()
	s.tell(Configured{Portal: origin != "", Origin: origin, DeviceID: stepDevice, Timing: stepTiming, Reasons: reasons})
}

// refuses is a portal that fails with a code and asks for a wait.
func refuses(code protocol.Code, wait time.Duration) func(time.Time) answer {
	return func(time.Time) answer {
		return answer{ExchangeDone{Code: code, RetryAfter: wait}, true}
	}
}

// expectExchange wants exactly one exchange within a time after something.
func (s *simulation) expectExchange(within time.Duration, after func()) {
	s.t.Helper()
	s.rests()
	s.passes = nil
	from := s.now
	after()
	s.until(from.Add(within))
	if exchanges := s.exchanges(); len(exchanges) != 1 {
		s.t.Fatalf("want one exchange within %s; since %s: %+v", within, from, s.passes)
	}
}

// rests runs to the end of the pass that runs.
func (s *simulation) rests() {
	s.t.Helper()
	for !s.state.Idle() {
		s.until(s.next())
	}
}

// Retry-After is the portal's floor: neither a network that comes up nor an
// event passes it, whether the answer was a failure or not.
func TestTRG_10_NothingPassesTheFloorOfRetryAfter(t *testing.T) {
	t.Parallel()
	for name, portal := range map[string]func(time.Time) answer{
		"with a failure": refuses(protocol.CodePortalBusy, time.Hour),
		"with a good answer": func(time.Time) answer {
			return answer{ExchangeDone: ExchangeDone{RetryAfter: time.Hour}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(10) {
				s := started(t)
				s.random = rand.New(rand.NewPCG(seed, 10))
				s.portal = portal
				s.rests()
				floor := s.now.Add(time.Hour)
				s.portal, s.passes = nil, nil
				s.until(s.now.Add(20 * time.Minute)) // no longer fresh
				s.tell(SourceEvent{Reason: NetworkUp})
				s.tell(SourceEvent{Reason: VMCreated, VMID: "a"})
				s.until(floor.Add(-time.Nanosecond))
				if exchanges := s.exchanges(); len(exchanges) != 0 {
					t.Fatalf("checked in at %s, the floor is at %s", exchanges[0].at, floor)
				}
				s.until(floor.Add(31 * time.Minute)) // and half of it
				if exchanges := s.exchanges(); len(exchanges) != 1 || !exchanges[0].has(NetworkUp) {
					t.Fatalf("after the floor: %+v", exchanges)
				}
			}
		})
	}
}

// What one portal has refused or asked for does not bind another.
func TestAnotherPortalBeginsAnew(t *testing.T) {
	t.Parallel()
	changed := func(s *simulation) func() {
		return func() { s.pointTo(anotherPortal, ProfileChanged) }
	}
	networkUp := func(s *simulation) func() {
		return func() {
			s.pointTo(anotherPortal)
			s.tell(SourceEvent{Reason: NetworkUp})
		}
	}
	t.Run("backoff", func(t *testing.T) {
		t.Parallel()
		s := started(t)
		s.pointTo(onePortal)
		s.portal = down
		s.until(stepNoon.Add(12 * time.Hour))
		s.until(s.state.Limits.RetryAt)
		s.rests() // the next attempt is a quarter of an hour away, or more
		s.expectExchange(protocol.DefaultTiming().MinimumGap, changed(s))
		if s.rests(); s.state.Limits.RetryAt.Sub(s.now) > protocol.DefaultTiming().RetryBase {
			t.Errorf("its first failure is followed by a wait until %s, now %s", s.state.Limits.RetryAt, s.now)
		}
	})
	t.Run("floor", func(t *testing.T) {
		t.Parallel()
		s := started(t)
		s.pointTo(onePortal)
		s.portal = refuses(protocol.CodePortalBusy, 20*time.Hour)
		s.until(stepNoon.Add(5 * time.Minute))
		s.portal = nil
		s.expectExchange(protocol.DefaultTiming().MinimumGap, changed(s))
	})
	t.Run("floor of a good answer", func(t *testing.T) {
		t.Parallel()
		s := started(t)
		s.pointTo(onePortal)
		s.portal = func(time.Time) answer {
			return answer{ExchangeDone: ExchangeDone{RetryAfter: 20 * time.Hour}}
		}
		s.until(stepNoon.Add(5 * time.Minute))
		s.portal = nil
		s.expectExchange(protocol.DefaultTiming().MinimumGap, changed(s))
	})
	t.Run("floor, and no portal in between", func(t *testing.T) {
		t.Parallel()
		s := started(t)
		s.pointTo(onePortal)
		s.portal = refuses(protocol.CodePortalBusy, 20*time.Hour)
		s.until(stepNoon.Add(5 * time.Minute))
		s.portal = nil
		s.pointTo("")
		s.until(s.now.Add(time.Hour))
		s.expectExchange(protocol.DefaultTiming().MinimumGap, changed(s))
	})
	t.Run("a refusal for good", func(t *testing.T) {
		t.Parallel()
		s := started(t)
		s.pointTo(onePortal)
		s.portal = func(time.Time) answer {
			return answer{ExchangeDone{Code: protocol.CodePortalRefused, NoRetry: true}, true}
		}
		s.until(stepNoon.Add(time.Hour))
		if exchanges := s.exchanges(); len(exchanges) != 1 {
			t.Fatalf("asked again although it was refused for good: %+v", exchanges)
		}
		s.portal = nil
		s.expectExchange(time.Second, func() { s.pointTo(anotherPortal) })
	})
	t.Run("interval", func(t *testing.T) {
		t.Parallel()
		s := started(t)
		s.pointTo(onePortal)
		s.portal = cadence(time.Hour)
		s.until(stepNoon.Add(10 * time.Hour))
		s.rests()
		s.portal, s.passes = down, nil
		s.pointTo(anotherPortal, ProfileChanged)
		s.until(s.now.Add(6 * time.Hour))
		for _, pass := range s.passes {
			if pass.has(Cadence) {
				t.Fatalf("a check-in at the interval of the other: %+v", pass)
			}
		}
	})
	t.Run("splay", func(t *testing.T) {
		t.Parallel()
		for seed := range uint64(10) {
			s := started(t)
			s.pointTo(onePortal)
			s.random = rand.New(rand.NewPCG(seed, 11))
			s.portal = func(time.Time) answer {
				return answer{ExchangeDone: ExchangeDone{Splay: time.Hour}}
			}
			s.until(stepNoon.Add(time.Hour))
			s.expectExchange(protocol.DefaultTiming().Splay+within30s, networkUp(s))
		}
	})
	t.Run("last success", func(t *testing.T) {
		t.Parallel()
		s := started(t)
		s.pointTo(onePortal)
		s.until(stepNoon.Add(5 * time.Minute))
		s.expectExchange(protocol.DefaultTiming().Splay+within30s, networkUp(s)) // the first has heard of this Mac lately, the other has not
	})
}

// A profile that is gone for a while and back with the same portal makes its
// wishes not void.
func TestTheSamePortalAgainBindsAsBefore(t *testing.T) {
	t.Parallel()
	s := started(t)
	s.pointTo(onePortal)
	s.portal = refuses(protocol.CodePortalBusy, 5*time.Hour)
	s.rests()
	floor := s.now.Add(5 * time.Hour)
	s.portal = nil
	s.pointTo("")
	s.until(s.now.Add(time.Hour))
	s.rests()
	s.passes = nil
	s.pointTo(onePortal, ProfileChanged)
	s.until(floor.Add(-time.Second))
	if exchanges := s.exchanges(); len(exchanges) != 0 {
		t.Errorf("checked in at %s, the floor is at %s", exchanges[0].at, floor)
	}
}

// What a portal has refused or asked for in an exchange that ends after another one was
// configured does not bind that other one either.
func TestAnotherPortalDuringAnExchange(t *testing.T) {
	t.Parallel()
	for name, ended := range map[string]ExchangeDone{
		"a floor":               {Code: protocol.CodePortalBusy, RetryAfter: 20 * time.Hour},
		"a refusal for good":    {Code: protocol.CodePortalRefused, NoRetry: true},
		"a floor of a good one": {RetryAfter: 20 * time.Hour},
		"all is well":           {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := started(t)
			s.pointTo(onePortal)
			s.until(stepNoon.Add(time.Hour))
			s.portal = func(time.Time) answer { return answer{ended, ended.Code != ""} }
			s.takes = 30 * time.Second
			s.tell(SourceEvent{Reason: Manual})
			s.until(s.now.Add(10 * time.Second))
			s.expectExchangeOf(anotherPortal)
		})
	}
}

// expectExchangeOf points to a portal while an exchange runs, and wants one with that
// portal within the gap.
func (s *simulation) expectExchangeOf(origin string) {
	s.t.Helper()
	if !s.state.Limits.Running {
		s.t.Fatal("no exchange runs")
	}
	s.passes = nil
	s.pointTo(origin, ProfileChanged)
	s.rests()
	s.portal = nil
	s.until(s.now.Add(stepTiming.MinimumGap))
	exchanges := s.exchanges()
	if len(exchanges) != 1 || s.state.Limits.Failures > 0 || s.state.Limits.NoRetry {
		s.t.Errorf("with %s: %+v, %+v", origin, exchanges, s.state.Limits)
	}
}

// A refusal for good is about what was told: what came since the exchange began is told.
func TestWhatComesDuringARefusalIsTold(t *testing.T) {
	t.Parallel()
	for name, came := range map[string][]Event{"nothing": nil, "a reason": {SourceEvent{Reason: VMCreated, VMID: "a"}}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := started(t)
			s.until(stepNoon.Add(time.Hour))
			s.takes = 30 * time.Second
			s.portal = func(time.Time) answer {
				return answer{ExchangeDone{Code: protocol.CodePortalRefused, NoRetry: true}, true}
			}
			s.tell(SourceEvent{Reason: Manual})
			s.until(s.now.Add(10 * time.Second))
			for _, what := range came {
				s.tell(what)
			}
			s.rests()
			s.portal, s.passes = nil, nil
			s.until(s.now.Add(time.Hour))
			if exchanges := s.exchanges(); len(exchanges) != len(came) || len(came) > 0 && !exchanges[0].has(VMCreated) {
				t.Errorf("check-ins %+v", exchanges)
			}
		})
	}
}
