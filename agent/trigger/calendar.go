package trigger

import (
	"time"
)

// Calendar is when to check in although nothing happened.
type Calendar struct {
	DailyAt   time.Time     `json:"daily_at,omitzero"`
	CadenceAt time.Time     `json:"-"` // zero = the portal did not name an interval
	Interval  time.Duration `json:"-"` // the portal's; the exchange keeps it
}

func (c Calendar) shiftTimes(by time.Duration) Calendar {
	shiftEach(by, &c.DailyAt, &c.CadenceAt)
	return c
}

// Plan sets the due times after a check-in at last. random, in [0, 1), moves
// the portal's interval by a tenth at most.
func (s State) Plan(last time.Time, random float64, interval time.Duration) State {
	s.Calendar = Calendar{DailyAt: DailyAt(last, s.DeviceID, s.Timing.Daily), Interval: interval}
	if interval > 0 {
		s.Calendar.CadenceAt = last.Add(shareOf(interval, 0.9+0.2*random))
	}
	return s
}

// withinInterval are the due times, made anew where one is further away than its
// interval: the interval may have been another one.
func (c Calendar) withinInterval(now time.Time, deviceID string, daily time.Duration) Calendar {
	if c.DailyAt.Sub(now) > daily+daily/5 {
		c.DailyAt = DailyAt(now, deviceID, daily)
	}
	if c.CadenceAt.Sub(now) > c.Interval+c.Interval/5 {
		c.CadenceAt = now.Add(c.Interval)
	}
	return c
}

// onTime turns due times into reasons. One that a sleep or a stop has missed is
// splayed: it was missed by many.
func (s State) onTime(now time.Time, random float64, slept bool) State {
	if !s.Idle() || s.Timing.Daily == 0 {
		return s
	}
	s.Calendar = s.Calendar.withinInterval(now, s.DeviceID, s.Timing.Daily)
	for _, due := range []struct {
		at     *time.Time
		reason Reason
	}{{&s.Calendar.DailyAt, Daily}, {&s.Calendar.CadenceAt, Cadence}} {
		if !isDue(now, *due.at) {
			continue
		}
		tell := now
		if s.wasMissed(now, *due.at) {
			s.Reports = s.Reports.drawSplay(random)
			tell = now.Add(shareOf(s.Timing.WakeSplay, s.Reports.SplayDraw))
		}
		s = s.addReason(now, tell, due.reason, "")
		*due.at = now.Add(s.Timing.Daily) // until a check-in plans anew
	}
	if slept && s.Limits.Failures > 0 && s.wasMissed(now, s.Limits.RetryAt) && !s.Looks.SafetyLookAt.IsZero() { // a start has a splay of its own
		s.Limits.RetryAt = now.Add(shareOf(s.Timing.WakeSplay, random))
	}
	return s
}

// missedAfter is how many ticks late a due time counts as missed.
const missedAfter = 3

// wasMissed reports whether the Mac slept through a time: so did others, who
// wake at the same hour.
func (s State) wasMissed(now, at time.Time) bool {
	return !at.IsZero() && now.Sub(at) > missedAfter*s.Timing.Tick
}

// exchangeAt is the earliest time of the next exchange for some reasons, and
// whether there is a reason for one.
func (s State) exchangeAt(now time.Time, reasons Set) (time.Time, bool) {
	owes := (!reasons.Empty() || s.Limits.Failures > 0 || s.Reports.PortalBehind) && !s.Limits.NoRetry
	return latest(s.Limits.openAt(now, s.Timing), s.Reports.ReportAt), owes
}

// NextAt is when Step wants to be called again without an event, and why; zero
// while a look runs.
func (s State) NextAt(now time.Time) (time.Time, string) {
	if s.Looks.Running {
		return time.Time{}, ""
	}
	next, why := s.Looks.nextLook()
	if s.Limits.Running {
		return next, why
	}
	if at, because := s.AttemptAt(now); next.IsZero() || !at.IsZero() && !next.Before(at) {
		return at, because
	}
	return next, why
}

// AttemptAt is when the agent will try to check in if nothing happens, and why.
func (s State) AttemptAt(now time.Time) (time.Time, string) {
	next, why := time.Time{}, ""
	consider := func(at time.Time, because string) {
		if !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next, why = at, because
		}
	}
	consider(s.Calendar.DailyAt, string(Daily))
	consider(s.Calendar.CadenceAt, string(Cadence))
	if at, owes := s.exchangeAt(now, s.Reports.Unreported); owes && s.Portal {
		consider(latest(at, now), s.reportBecause())
	}
	return next, why
}

func (s State) reportBecause() string {
	if s.Limits.Failures > 0 {
		return "retry"
	}
	return "report owed"
}
