package trigger

import (
	"time"

	"prlagent/agent/protocol"
)

// State is everything that the loop decides by, one part for each concern. It
// is a value: Step takes one and gives another, so that the loop can be tested
// and simulated without a clock or a machine. As JSON it is what of it survives
// a stop or a crash; the reasons, which must not be lost, are kept by the outbox.
type State struct {
	Seen     time.Time       `json:"seen"`             // when Step was called last
	Origin   string          `json:"origin,omitempty"` // of the portal
	Timing   protocol.Timing `json:"-"`
	DeviceID string          `json:"-"` // spreads the fleet; empty before the first enrollment
	Portal   bool            `json:"-"` // there is a portal to check in with

	Looks    Looks    `json:"-"`
	Reports  Reports  `json:"reports"`
	Limits   Limits   `json:"limits"`
	Calendar Calendar `json:"calendar"`
	// Beliefs are kept with the reasons that made them, in one commit: kept
	// apart, a crash between the two would lose a reason or tell it twice.
	Beliefs Beliefs `json:"beliefs"`
}

// Idle reports whether neither a look nor an exchange runs.
func (s *State) Idle() bool { return !s.Looks.Running && !s.Limits.Running }

// ForgetOtherMac goes on when it turns out, by a look, that the state was another
// Mac's: what that one had to tell and believed is forgotten. That the agent
// started, that somebody asks, and what is to be looked at, is this Mac's own.
func (s *State) ForgetOtherMac() {
	inLook, _ := s.Reports.InLook.Split(Reason.Recurs)
	waiting, _ := s.Reports.Waiting.Split(Reason.Recurs)
	looks := s.Looks
	looks.AskedNext = looks.AskedNext || !looks.At.IsZero() // for reasons that are forgotten
	*s = State{
		Seen: s.Seen, Timing: s.Timing, Portal: s.Portal, Looks: looks,
		Reports: Reports{InLook: inLook, Waiting: waiting, Urgent: s.Reports.Urgent, HadReason: s.Reports.HadReason},
	}
}

// onClock takes everything that was planned along with a clock that was set
// back: what was a minute away stays a minute away, and what happened a minute
// ago stays a minute old. A clock that was set forward, like a sleep, only makes
// things due: an outage is no longer by it.
func (s *State) onClock(now time.Time) {
	back, missed := s.Seen.Sub(now), s.wasMissed(now, s.Seen)
	if s.Seen = now; back <= 0 {
		if missed {
			shiftEach(-back, &s.Limits.FailingSince)
		}
		return
	}
	looks, limits, calendar := &s.Looks, &s.Limits, &s.Calendar
	shiftEach(-back, &looks.At, &looks.SafetyLookAt, &s.Reports.ReportAt, &calendar.DailyAt, &calendar.CadenceAt)
	shiftEach(-back, &limits.Bucket.At, &limits.LastExchange, &limits.LastSuccess, &limits.FailingSince, &limits.RetryAt, &limits.NotBefore)
	s.Beliefs.OnAnotherClock()
}

// Worth reports whether a crash would lose something if an older state stayed
// the one that is kept. Counts, tokens and due times are worth no commit of
// their own, and neither is a belief that gave no reason: it would give none
// again.
func (s *State) Worth(older *State) bool {
	return s.Limits.Failures != older.Limits.Failures || s.Limits.NoRetry != older.Limits.NoRetry ||
		s.Beliefs.Known != older.Beliefs.Known || s.Beliefs.Product != older.Beliefs.Product
}

// shiftEach moves times that are set.
func shiftEach(by time.Duration, times ...*time.Time) {
	for _, at := range times {
		if !at.IsZero() {
			*at = at.Add(by)
		}
	}
}

func isDue(now, at time.Time) bool { return !at.IsZero() && !now.Before(at) }

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
