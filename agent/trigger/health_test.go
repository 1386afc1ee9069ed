package trigger

import (
	"testing"
	"time"

	"prlagent/agent/protocol"
)

// sick is a Mac an hour after its last check-in whose portal does not know its
// health.
func sick(t *testing.T) *simulation {
	t.Helper()
	s := lived(t, valid, vmRow("alice", "a", protocol.StateStopped, "1"))
	s.until(s.now.Add(time.Hour))
	s.passes, s.has = nil, &Picture{} // the portal has another report
	return s
}

// Another health is told by one check-in, within the splay and a look, and never
// again while it stays.
func TestH70_AnotherHealthIsToldOnce(t *testing.T) {
	t.Parallel()
	s := sick(t)
	from := s.now
	s.tell(HealthChanged{PortalBehind: true})
	s.until(from.Add(stepTiming.Splay + time.Minute))
	if told := s.exchanges(); len(told) != 1 || told[0].at.Equal(from) {
		t.Fatalf("check-ins %+v, want one within the splay", told)
	}
	s.until(from.Add(12 * time.Hour))
	if told := s.exchanges(); len(told) != 1 {
		t.Errorf("%d check-ins, want one for one health", len(told))
	}
}

// What went by before it was told is not told.
func TestH70_AHealthThatTheOldOneFollowsIsNotTold(t *testing.T) {
	t.Parallel()
	s := sick(t)
	s.tell(HealthChanged{PortalBehind: true})
	s.has = s.picture()
	s.tell(HealthChanged{PortalBehind: false})
	s.until(s.now.Add(2 * time.Hour))
	if told := s.exchanges(); len(told) != 0 {
		t.Errorf("check-ins %+v", told)
	}
}

// A health that changes at every tick is told no more often than the bucket
// allows, and keeps nothing else from being told.
func TestH70_AFlappingHealthIsBounded(t *testing.T) {
	t.Parallel()
	s := sick(t)
	from := s.now
	for tick := from; tick.Before(from.Add(6 * time.Hour)); tick = tick.Add(stepTiming.Tick) {
		s.until(tick)
		s.has = &Picture{}
		s.tell(HealthChanged{PortalBehind: true})
	}
	most := stepTiming.BucketSize + int(6*time.Hour/stepTiming.BucketRefill) + 1
	if told := s.exchanges(); len(told) == 0 || len(told) > most {
		t.Errorf("%d check-ins in six hours, want at most %d", len(told), most)
	}
	last := from
	for _, told := range s.exchanges() {
		if gap := told.at.Sub(last); gap < stepTiming.MinimumGap && last != from {
			t.Errorf("%s between two check-ins", gap)
		}
		last = told.at
	}
	s.passes = nil
	s.tell(SourceEvent{Reason: Manual})
	s.until(s.now.Add(time.Minute))
	if told := s.exchanges(); len(told) == 0 || !told[0].has(Manual) {
		t.Errorf("who asks waits: %+v", told)
	}
}

// A health that an exchange brings to light waits for the gap, and is told once.
func TestH70_WhatAnExchangeBringsToLightWaitsForTheGap(t *testing.T) {
	t.Parallel()
	s := sick(t)
	s.tell(SourceEvent{Reason: Manual})
	s.until(s.now.Add(s.looks)) // it begins
	from, ended := s.now, s.outcome()
	ended.PortalBehind = true
	s.now = s.exchangeEndsAt
	s.tell(ended)
	s.has = &Picture{}
	s.until(from.Add(stepTiming.MinimumGap - time.Second))
	if told := s.exchanges(); len(told) != 1 {
		t.Errorf("%d check-ins within the gap", len(told))
	}
	s.until(from.Add(12 * time.Hour))
	if told := s.exchanges(); len(told) != 2 || told[1].at.Sub(from) > stepTiming.MinimumGap+s.looks {
		t.Errorf("check-ins %+v, want one more after the gap", told)
	}
}

// The same happens to every Mac of a fleet at the same moment, as when the
// certificate of their portal nears its end.
func TestH70_AHealthThatManyShareIsSplayed(t *testing.T) {
	t.Parallel()
	state := State{}
	state, _ = Step(stepNoon, 0, state, Configured{Portal: true, DeviceID: stepDevice, Timing: stepTiming})
	for name, c := range map[string]struct {
		asked, want time.Duration
		draw        float64
	}{
		"our own":      {0, stepTiming.Splay / 2, 0.5},
		"the portal's": {20 * time.Minute, 15 * time.Minute, 0.75},
	} {
		state := state
		state.Limits.Splay = c.asked
		state, _ = Step(stepNoon, c.draw, state, HealthChanged{PortalBehind: true})
		if at, owes := state.exchangeAt(stepNoon, Set{}); !owes || at.Sub(stepNoon) != c.want {
			t.Errorf("%s: owed %t after %s, want %s", name, owes, at.Sub(stepNoon), c.want)
		}
	}
}

// A health that changes while a portal refuses whatever comes is worth an attempt;
// one that is known is none.
func TestH70_AnotherHealthTriesAgain(t *testing.T) {
	t.Parallel()
	for name, behind := range map[string]bool{"another": true, "known": false} {
		state := State{Limits: Limits{NoRetry: true}}
		state, _ = Step(stepNoon, 0, state, HealthChanged{PortalBehind: behind})
		if state.Limits.NoRetry == behind {
			t.Errorf("%s: no retry is %t", name, state.Limits.NoRetry)
		}
	}
}
