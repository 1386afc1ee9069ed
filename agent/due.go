package agent

import (
	"time"

	"prlagent/agent/trigger"
)

// plan sets the due times after a check-in.
func (s loopState) plan(last time.Time, luck float64, interval time.Duration) loopState {
	s.DailyAt = trigger.DailyAt(last, s.DeviceID, s.Timing.Daily)
	s.Interval, s.CadenceAt = interval, time.Time{}
	if interval > 0 {
		jitter := 0.9 + 0.2*luck
		s.CadenceAt = last.Add(time.Duration(float64(interval) * jitter))
	}
	return s
}

// schedule turns due times into reasons. A due time that is further away than
// its interval is made anew: the interval may have been another one. One that a
// sleep or a stop has missed is splayed: it was missed by many.
func (s loopState) schedule(now time.Time, luck float64, slept bool) loopState {
	if s.running() || s.Timing.Daily == 0 {
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
		if due.at.IsZero() || now.Before(*due.at) {
			continue
		}
		tell := now
		if s.wasMissed(now, *due.at) {
			s = s.draw(luck)
			tell = now.Add(part(s.Timing.WakeSplay, s.Lot))
		}
		s = s.because(now, tell, due.reason, "")
		*due.at = now.Add(s.Timing.Daily) // until a check-in plans anew
	}
	if slept && s.Failures > 0 && s.wasMissed(now, s.RetryAt) && !s.NetAt.IsZero() { // a start has a splay of its own
		s.RetryAt = now.Add(part(s.Timing.WakeSplay, luck))
	}
	return s
}

// wasMissed says that the Mac slept through a time: so did others, who wake at
// the same hour.
func (s loopState) wasMissed(now, at time.Time) bool {
	return !at.IsZero() && now.Sub(at) > missedAfter*s.Timing.Tick
}

// missedAfter is how many ticks late a due time counts as missed.
const missedAfter = 3

func isDue(now, at time.Time) bool { return !at.IsZero() && !now.Before(at) }

// lookAt is when the next look is due, and why.
func (s loopState) lookAt() (time.Time, string) {
	if s.LookAt.IsZero() || !s.NetAt.IsZero() && s.NetAt.Before(s.LookAt) {
		return s.NetAt, "safety net"
	}
	return s.LookAt, "events"
}

// exchangeAt is the earliest time of the next exchange for some reasons, and
// whether there is a reason for one.
func (s loopState) exchangeAt(now time.Time, reasons trigger.Set) (time.Time, bool) {
	owes := (!reasons.Empty() || s.Failures > 0 || s.Untold) && !s.NoRetry
	at := latest(latest(s.RetryAt, s.NotBefore), s.OweAt)
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
	if s.running() {
		return time.Time{}, ""
	}
	next, why := s.attemptAt(now)
	if at, because := s.lookAt(); !at.IsZero() && (next.IsZero() || at.Before(next)) {
		return at, because
	}
	return next, why
}

// attemptAt is when the agent will try to check in if nothing happens, and why.
func (s loopState) attemptAt(now time.Time) (time.Time, string) {
	next, why := time.Time{}, ""
	consider := func(at time.Time, because string) {
		if !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next, why = at, because
		}
	}
	consider(s.DailyAt, string(trigger.Daily))
	consider(s.CadenceAt, string(trigger.Cadence))
	if at, owes := s.exchangeAt(now, s.Owed); owes && s.Portal {
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
