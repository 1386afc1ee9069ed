package trigger

import (
	"maps"
	"time"
)

// Looks is what is to be looked at, and when.
type Looks struct {
	Running      bool
	At           time.Time  // when the next look is due; zero = nothing calls for one
	SafetyLookAt time.Time  // when the next look is due although nothing was heard
	HintsNext    hintCounts // accounts whose hints the next look answers
	HintsNow     hintCounts // those whose hints the look that runs answers
	EmptyHints   hintCounts // looks in a row in which an account's hints proved empty
	OwnNext      bool       // the next look follows what the agent itself has written
	OwnNow       bool       // so does the look that runs
}

// hintCounts counts by account (uid); 0 stands for everybody. It is never changed
// in place.
type hintCounts map[uint32]int

func (h hintCounts) withCount(uid uint32, count int) hintCounts {
	changed := maps.Clone(h)
	if changed == nil {
		changed = hintCounts{}
	}
	changed[uid] = count
	return changed
}

func (l Looks) shiftTimes(by time.Duration) Looks {
	shiftEach(by, &l.At, &l.SafetyLookAt)
	return l
}

// nextLook is when the next look is due, and why.
func (l Looks) nextLook() (time.Time, string) {
	if l.At.IsZero() || !l.SafetyLookAt.IsZero() && l.SafetyLookAt.Before(l.At) {
		return l.SafetyLookAt, "safety net"
	}
	return l.At, "events"
}

// onStart are the looks when one begins, which answers every hint so far.
func (l Looks) onStart() Looks {
	l.Running, l.At = true, time.Time{}
	l.HintsNow, l.HintsNext = l.HintsNext, nil
	l.OwnNow, l.OwnNext = l.OwnNext, false
	return l
}

// onOwnHand asks for a look after the agent has written settings of an account's
// machines. That these tell so is no empty hint, and what their user changes next
// is looked at without another wait.
func (l Looks) onOwnHand(now time.Time, uid uint32) Looks {
	l.OwnNext = true
	l.EmptyHints = l.EmptyHints.withCount(uid, 0)
	l.At = soonest(l.At, now)
	return l
}

// patientAfter is how many doublings the wait after empty hints may reach: two
// minutes with the debounce of protocol.md 2.11.
const patientAfter = 3

// onHint asks for a look. An account whose hints proved empty waits longer each
// time: what its tools say then has no meaning, as an echo of our own reading
// would, and must not keep the agent busy.
func (l Looks) onHint(now time.Time, uid uint32, debounce time.Duration) Looks {
	l.HintsNext = l.HintsNext.withCount(uid, 1)
	l.At = soonest(l.At, now.Add(debounce<<min(l.EmptyHints[uid], patientAfter)))
	return l
}

// judgeHints remembers whose hints proved empty. A look that nobody hinted at
// forgives everybody: it is the safety net's, after a quiet time.
func (l Looks) judgeHints(foundSomething bool) Looks {
	if l.OwnNow {
		return l
	}
	if len(l.HintsNow) == 0 {
		l.EmptyHints = nil
	}
	for uid := range l.HintsNow {
		empty := 0
		if !foundSomething {
			empty = min(l.EmptyHints[uid]+1, patientAfter)
		}
		l.EmptyHints = l.EmptyHints.withCount(uid, empty)
	}
	return l
}
