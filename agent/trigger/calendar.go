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

// Plan sets the due times after a check-in at last. random, in [0, 1), moves
// the portal's interval by a tenth at most.
func (s *State) Plan(last time.Time, random float64, interval time.Duration) {
	s.Calendar = Calendar{DailyAt: DailyAt(last, s.DeviceID, s.Timing.Daily), Interval: interval}
	if interval > 0 {
		s.Calendar.CadenceAt = last.Add(shareOf(interval, 0.9+0.2*random))
	}
}

// keepWithinInterval makes a due time anew that is further away than its interval:
// the interval may have been another one.
func (c *Calendar) keepWithinInterval(now time.Time, deviceID string, daily time.Duration) {
	if c.DailyAt.Sub(now) > daily+daily/5 {
		c.DailyAt = DailyAt(now, deviceID, daily)
	}
	if c.CadenceAt.Sub(now) > c.Interval+c.Interval/5 {
		c.CadenceAt = now.Add(c.Interval)
	}
}

// onTime turns due times into reasons. One that a sleep or a stop has missed is
// splayed: it was missed by many.
func (s *State) onTime(now time.Time, random float64, slept bool) {
	if !s.Idle() || s.Timing.Daily == 0 {
		return
	}
	s.Calendar.keepWithinInterval(now, s.DeviceID, s.Timing.Daily)
	s.onDue(now, random, &s.Calendar.DailyAt, Daily)
	s.onDue(now, random, &s.Calendar.CadenceAt, Cadence)
	if slept && s.Limits.Failures > 0 && s.wasMissed(now, s.Limits.RetryAt) && !s.Looks.SafetyLookAt.IsZero() { // a start has a splay of its own
		s.Limits.RetryAt = now.Add(shareOf(s.Timing.WakeSplay, random))
	}
}

// onDue makes a reason of one of the due times, if it has come.
func (s *State) onDue(now time.Time, random float64, due *time.Time, reason Reason) {
	if !isDue(now, *due) {
		return
	}
	tell := now
	if s.wasMissed(now, *due) {
		s.Reports.drawSplay(random)
		tell = now.Add(shareOf(s.Timing.WakeSplay, s.Reports.SplayDraw))
	}
	s.addReason(now, tell, reason, "")
	*due = now.Add(s.Timing.Daily) // until a check-in plans anew
}

// missedAfter is how many ticks late a due time counts as missed.
const missedAfter = 3

// wasMissed reports whether the Mac slept through a time: so did others, who
// wake at the same hour.
func (s *State) wasMissed(now, at time.Time) bool {
	return !at.IsZero() && now.Sub(at) > missedAfter*s.Timing.Tick
}

// exchangeAt is the earliest time of the next exchange for some reasons, and
// whether there is a reason for one.
func (s *State) exchangeAt(now time.Time, reasons Set) (time.Time, bool) {
	owes := (!reasons.Empty() || s.Limits.Failures > 0 || s.Reports.PortalBehind) && !s.Limits.NoRetry
	return latest(s.Limits.openAt(now, &s.Timing), s.Reports.ReportAt), owes
}

// NextAt is when Step wants to be called again without an event, and why; zero
// while a look runs.
func (s *State) NextAt(now time.Time) (time.Time, string) {
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
func (s *State) AttemptAt(now time.Time) (time.Time, string) {
	next, why := s.Calendar.next()
	at, owes := s.exchangeAt(now, s.Reports.Unreported)
	if at = latest(at, now); owes && s.Portal && (next.IsZero() || at.Before(next)) {
		return at, s.reportBecause()
	}
	return next, why
}

// next is the due time that comes first, if there is one, and whose it is.
func (c *Calendar) next() (time.Time, string) {
	switch {
	case !c.CadenceAt.IsZero() && (c.DailyAt.IsZero() || c.CadenceAt.Before(c.DailyAt)):
		return c.CadenceAt, string(Cadence)
	case !c.DailyAt.IsZero():
		return c.DailyAt, string(Daily)
	}
	return time.Time{}, ""
}

func (s *State) reportBecause() string {
	if s.Limits.Failures > 0 {
		return "retry"
	}
	return "report owed"
}
