package agent

import (
	"time"

	"prlagent/agent/protocol"
	"prlagent/agent/trigger"
)

// loopState is everything that the loop decides by. It is a value: step takes
// one and gives another, so that the loop can be tested and simulated without
// a clock or a machine.
type loopState struct {
	Timing   trigger.Timing
	DeviceID string // spreads the fleet; empty before the first enrollment
	Portal   bool   // there is a portal to check in with

	Seen    time.Time   // when step was called last
	Waiting trigger.Set // reasons to look that no look has answered
	LookAt  time.Time   // when the next look is due; zero = there is no reason
	Owed    trigger.Set // reasons that were looked at and that no check-in has carried
	InPass  trigger.Set // reasons of the pass that runs
	Running bool        // a pass runs

	Bucket       trigger.Bucket
	LastExchange time.Time // start of the last exchange
	Failures     int       // exchanges that failed, in a row
	FailingSince time.Time // end of the first of them
	RetryAt      time.Time // no exchange before it, unless a person asks
	DailyAt      time.Time
	CadenceAt    time.Time     // zero = the portal did not name an interval
	Interval     time.Duration // the portal's interval
}

// event is what the loop is told. Every event carries the wall-clock time at
// which step sees it.
type event interface{ isEvent() }

// tick says that time has passed.
type tick struct{}

// happened says: look again, because.
type happened struct {
	Reason trigger.Reason
	VMID   string
}

// configured says what the configuration is now.
type configured struct {
	Portal   bool
	DeviceID string
	Timing   trigger.Timing
	Because  []trigger.Reason // reasons to look that came with it
}

// passEnded is the outcome of a pass.
type passEnded struct {
	Exchanged  bool          // an exchange was tried
	Code       protocol.Code // why it failed; empty = it did not
	Carried    bool          // the portal has the reasons, whatever else happened
	RetryAfter time.Duration // the portal's floor under the next attempt
	Interval   time.Duration // the portal's wish for the next quiet check-in; zero = none
	DeviceID   string
	Random     float64 // for the jitter, in [0, 1)
}

func (tick) isEvent()       {}
func (happened) isEvent()   {}
func (configured) isEvent() {}
func (passEnded) isEvent()  {}

// action is what the loop does next.
type action interface{ isAction() }

// startPass runs one pass: look, and exchange if Exchange.
type startPass struct {
	Triggers trigger.Set
	Exchange bool
}

func (startPass) isAction() {}

// step is the loop's core: what follows from an event. It has no clock, no I/O
// and no memory but its arguments.
func step(now time.Time, state loopState, what event) (loopState, []action) {
	state = state.follow(now)
	switch what := what.(type) {
	case happened:
		state = state.hear(now, what)
	case configured:
		state = state.configure(now, what)
	case passEnded:
		state = state.finish(now, what)
	case tick:
	}
	state = state.schedule(now)
	return state.begin(now)
}

// follow takes everything that was planned along with a clock that was set
// back: what was a minute away stays a minute away, and what happened a minute
// ago stays a minute old. A clock that was set forward only makes things due.
func (s loopState) follow(now time.Time) loopState {
	back := s.Seen.Sub(now)
	if s.Seen = now; back <= 0 {
		return s
	}
	for _, at := range []*time.Time{
		&s.LookAt, &s.Bucket.At, &s.LastExchange, &s.FailingSince, &s.RetryAt, &s.DailyAt, &s.CadenceAt,
	} {
		if !at.IsZero() {
			*at = at.Add(-back)
		}
	}
	return s
}

// hear takes a reason in. Reasons that tend to come in bunches wait for more.
func (s loopState) hear(now time.Time, what happened) loopState {
	due := now
	if trigger.Kinds[what.Reason].Settle {
		due = now.Add(s.Timing.Debounce)
	}
	s.Waiting = s.Waiting.Add(now, what.Reason, what.VMID)
	s.LookAt = soonest(s.LookAt, due)
	return s
}

func (s loopState) configure(now time.Time, what configured) loopState {
	s.Timing, s.DeviceID, s.Portal = what.Timing, what.DeviceID, what.Portal
	if s.DailyAt.IsZero() {
		s.DailyAt = trigger.DailyAt(now, s.DeviceID, s.Timing.Daily)
	}
	for _, reason := range what.Because {
		s = s.hear(now, happened{Reason: reason})
	}
	return s
}

// finish takes the outcome of a pass in.
func (s loopState) finish(now time.Time, what passEnded) loopState {
	s.Running = false
	s.DeviceID = what.DeviceID
	if !what.Carried {
		s.Owed = s.InPass.Merge(s.Owed)
	}
	s.InPass = trigger.Set{}
	if !what.Exchanged {
		return s
	}
	if what.Code != "" {
		if s.Failures++; s.Failures == 1 {
			s.FailingSince = now
		}
		s.RetryAt = now.Add(trigger.Backoff(s.Timing, s.Failures, now.Sub(s.FailingSince), what.RetryAfter, what.Random))
		return s
	}
	s.Failures, s.RetryAt = 0, time.Time{}
	s.DailyAt = trigger.DailyAt(now, s.DeviceID, s.Timing.Daily)
	s.Interval, s.CadenceAt = what.Interval, time.Time{}
	if what.Interval > 0 {
		jitter := 0.9 + 0.2*what.Random
		s.CadenceAt = now.Add(time.Duration(float64(what.Interval) * jitter))
	}
	return s
}

// schedule turns due times into reasons. A due time that is further away than
// its interval is made anew: the interval may have been another one.
func (s loopState) schedule(now time.Time) loopState {
	if s.Running || s.Timing.Daily == 0 {
		return s
	}
	if s.DailyAt.Sub(now) > s.Timing.Daily+s.Timing.Daily/5 {
		s.DailyAt = trigger.DailyAt(now, s.DeviceID, s.Timing.Daily)
	}
	if s.CadenceAt.Sub(now) > s.Interval+s.Interval/5 {
		s.CadenceAt = now.Add(s.Interval)
	}
	for _, due := range []struct {
		at     *time.Time
		reason trigger.Reason
	}{{&s.DailyAt, trigger.Daily}, {&s.CadenceAt, trigger.Cadence}} {
		if !due.at.IsZero() && !now.Before(*due.at) {
			s = s.hear(now, happened{Reason: due.reason})
			*due.at = now.Add(s.Timing.Daily) // a check-in that succeeds sets it right
		}
	}
	return s
}

// begin starts a pass if one is due and none runs. Looking is never throttled;
// the exchange is (H46).
func (s loopState) begin(now time.Time) (loopState, []action) {
	if s.Running {
		return s, nil
	}
	lookDue := !s.LookAt.IsZero() && !now.Before(s.LookAt)
	exchangeAt, owes := s.exchangeAt(now)
	exchange := s.Portal && (owes || lookDue) && !now.Before(exchangeAt)
	if !lookDue && !exchange {
		return s, nil
	}
	reasons := s.Owed.Merge(s.Waiting)
	if exchange {
		s.Bucket, _, _ = s.Bucket.Take(now, s.Timing.BucketSize, s.Timing.BucketEvery)
		s.LastExchange = now
	}
	s.InPass, s.Owed, s.Waiting, s.LookAt = reasons, trigger.Set{}, trigger.Set{}, time.Time{}
	s.Running = true
	return s, []action{startPass{Triggers: reasons, Exchange: exchange}}
}

// exchangeAt is the earliest time of the next exchange, and whether a reason
// for one is there already.
func (s loopState) exchangeAt(now time.Time) (time.Time, bool) {
	if s.Waiting.Urgent() {
		return now, true
	}
	owes := !s.Owed.Empty() || s.Failures > 0
	at := s.RetryAt
	if !s.LastExchange.IsZero() && s.Failures == 0 { // after a failure the backoff is the gap
		at = latest(at, s.LastExchange.Add(s.Timing.MinimumGap))
	}
	if _, next, ok := s.Bucket.Take(now, s.Timing.BucketSize, s.Timing.BucketEvery); !ok {
		at = latest(at, next)
	}
	return at, owes
}

// nextAt is when step wants to be called again without an event, and why; zero
// while a pass runs.
func (s loopState) nextAt(now time.Time) (time.Time, string) {
	if s.Running {
		return time.Time{}, ""
	}
	next, why := time.Time{}, ""
	consider := func(at time.Time, because string) {
		if !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next, why = at, because
		}
	}
	consider(s.LookAt, "events")
	consider(s.DailyAt, string(trigger.Daily))
	consider(s.CadenceAt, string(trigger.Cadence))
	if at, owes := s.exchangeAt(now); owes && s.Portal {
		consider(latest(at, now), s.owedBecause())
	}
	return next, why
}

func (s loopState) owedBecause() string {
	if s.Failures > 0 {
		return "retry"
	}
	return "report owed"
}

func soonest(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
