package trigger

import "time"

// Looks is what is to be looked at, and when.
type Looks struct {
	Running      bool
	At           time.Time  // when the next look is due; zero = nothing calls for one
	SafetyLookAt time.Time  // when the next look is due although nothing was heard
	HintsNext    hintCounts // accounts whose hints the next look answers
	HintsNow     hintCounts // those whose hints the look that runs answers
	EmptyHints   hintCounts // looks in a row in which an account's hints proved empty
	AskedNext    bool       // the next look is for what is no reason and no hint
	OwnNext      bool       // the next look follows what the agent itself has written
	OwnNow       bool       // so does the look that runs
}

// hintCounts counts by account, of which few ever hint. It is never changed in
// place: copies of a State share it.
type hintCounts []hintCount

type hintCount struct {
	uid   uint32 // 0 stands for everybody
	count int
}

func (h hintCounts) of(uid uint32) int {
	for _, one := range h {
		if one.uid == uid {
			return one.count
		}
	}
	return 0
}

func (h hintCounts) withCount(uid uint32, count int) hintCounts {
	changed := hintCounts{{uid, count}}
	for _, one := range h {
		if one.uid != uid {
			changed = append(changed, one)
		}
	}
	return changed
}

// nextLook is when the next look is due, and why.
func (l *Looks) nextLook() (time.Time, string) {
	if l.At.IsZero() || !l.SafetyLookAt.IsZero() && l.SafetyLookAt.Before(l.At) {
		return l.SafetyLookAt, "safety net"
	}
	return l.At, "events"
}

// onStart begins a look, which answers every hint so far.
func (l *Looks) onStart() {
	l.Running, l.At = true, time.Time{}
	l.HintsNow, l.HintsNext = l.HintsNext, nil
	l.OwnNow, l.OwnNext, l.AskedNext = l.OwnNext, false, false
}

// ask asks for a look that no reason and no hint stands for. A look that runs may have
// seen the Mac before that.
func (l *Looks) ask(at time.Time) { l.AskedNext, l.At = true, soonest(l.At, at) }

// onOwnHand asks for a look after the agent has written settings of an account's
// machines. That these tell so is no empty hint, and what their user changes next
// is looked at without another wait.
func (l *Looks) onOwnHand(now time.Time, uid uint32) {
	l.OwnNext = true
	l.EmptyHints = l.EmptyHints.withCount(uid, 0)
	l.ask(now)
}

// patientAfter is how many doublings the wait after empty hints may reach: two
// minutes with the debounce of protocol.md 2.11.
const patientAfter = 3

// onHint asks for a look. An account whose hints proved empty waits longer each
// time: what its tools say then has no meaning, as an echo of our own reading
// would, and must not keep the agent busy.
func (l *Looks) onHint(now time.Time, uid uint32, debounce time.Duration) {
	l.HintsNext = l.HintsNext.withCount(uid, 1)
	l.At = soonest(l.At, now.Add(debounce<<min(l.EmptyHints.of(uid), patientAfter)))
}

// judgeHints remembers whose hints proved empty. A look that nobody hinted at
// forgives everybody: it is the safety net's, after a quiet time.
func (l *Looks) judgeHints(foundSomething bool) {
	if l.OwnNow {
		return
	}
	if len(l.HintsNow) == 0 {
		l.EmptyHints = nil
	}
	for _, hinted := range l.HintsNow {
		empty := 0
		if !foundSomething {
			empty = min(l.EmptyHints.of(hinted.uid)+1, patientAfter)
		}
		l.EmptyHints = l.EmptyHints.withCount(hinted.uid, empty)
	}
}
