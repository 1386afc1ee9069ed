package watch

import (
	"maps"
	"slices"
	"time"

	"prlagent/agent/protocol"
	"prlagent/agent/trigger"
)

// Limits of what one user's stream may cost (H12).
const (
	floodBurst  = 1000                 // events at once
	floodEvery  = 5 * time.Millisecond // one more event each
	floodTold   = 30 * time.Second     // between two hints of one flood
	floodOver   = time.Second          // without an event too many
	maxDoubts   = 256                  // virtual machines
	maxDigests  = 1024                 // virtual machines
	manyDoubted = 5 * time.Minute      // between two looks for more than maxDoubts
)

// floodLimit keeps the events of one user within bounds. What is beyond is
// dropped, and instead of it the user is looked at.
type floodLimit struct {
	bucket trigger.Bucket
	since  time.Time // events were dropped that nobody was told of; zero = none
	last   time.Time // one was dropped
	told   time.Time // of a flood
}

// admitEvent reports whether the event is within bounds, and if not, whether it
// is the first of a flood.
func (f *floodLimit) admitEvent(now time.Time) (admitted, began bool) {
	f.bucket, _, admitted = f.bucket.Take(now, floodBurst, floodEvery)
	if admitted {
		return true, false
	}
	f.last = now
	if began = f.since.IsZero(); began {
		f.since = now
	}
	return false, began
}

// lookDue reports whether a look has to make good for what was dropped: when
// the flood is over, and every floodTold while it lasts, but no sooner than
// that after the last one, because a look may cause the next flood. Else when
// to ask again; 0 = when a flood begins.
func (f *floodLimit) lookDue(now time.Time) (look bool, wait time.Duration) {
	if f.since.IsZero() {
		return false, 0
	}
	over := f.last.Add(floodOver)
	at := latest(soonest(over, f.since.Add(floodTold)), f.told.Add(floodTold))
	if now.Before(at) {
		return false, at.Sub(now)
	}
	f.told = now
	if now.Before(over) {
		f.since = now
		return true, floodOver
	}
	f.since = time.Time{}
	return true, 0
}

// echoFilter tells the echo of our own queries from changes. The window is open
// while a query runs and for a while after the last one.
//
// Whatever the digest of a file becomes, a hint follows: so no change is lost,
// also not one that happens between two readings, or within one. What we change
// ourselves makes the digest unknown, or the user who changes it back before it
// is read would have changed nothing. (A user who changes something and back
// within one window, of which a look saw the middle, waits for the next look.)
type echoFilter struct {
	readers int       // queries that run
	quiet   time.Time // the window is open until then
	doubts  map[string]bool
	many    bool      // others than doubts are in doubt
	told    time.Time // of many
	digests map[string][32]byte
	changes int // of our own
}

func (e *echoFilter) isReading() bool { return e.readers > 0 }

func (e *echoFilter) isOpen(now time.Time) bool { return e.isReading() || now.Before(e.quiet) }

// addDoubt notes a virtual machine that changed within the window, or only seems
// to have. What is not named is one of many.
func (e *echoFilter) addDoubt(vmID string) {
	if vmID == "" || len(e.doubts) == maxDoubts && !e.doubts[vmID] {
		e.many = true
		return
	}
	e.doubts[vmID] = true
}

// takeDoubts gives what is in doubt once the window is over, else how long it
// is still open for sure; 0 = until a query ends, or nothing is in doubt. many
// asks for a look at all of the user's machines: not often, because all of them
// echo at each look, and an account with more than maxDoubts would never be
// quiet.
func (e *echoFilter) takeDoubts(now time.Time) (vmIDs []string, many bool, wait time.Duration) {
	switch {
	case len(e.doubts) == 0 && !e.many, e.isReading():
		return nil, false, 0
	case e.isOpen(now):
		return nil, false, e.quiet.Sub(now)
	}
	vmIDs = slices.Sorted(maps.Keys(e.doubts))
	clear(e.doubts)
	if many = e.many && (e.told.IsZero() || now.Sub(e.told) >= manyDoubted); many {
		e.told = now
	}
	e.many = false
	return vmIDs, many, 0
}

// forget forgets a machine's digest, because we changed the machine.
func (e *echoFilter) forget(vmID string) {
	delete(e.digests, vmID)
	e.changes++
}

// isNewDigest remembers a digest, and reports whether it is new. To forget all
// costs one look for each that is still there.
func (e *echoFilter) isNewDigest(vmID string, digest [32]byte, changes int) bool {
	if changes != e.changes { // it may be from before our change
		return true
	}
	last, known := e.digests[vmID]
	if known && last == digest {
		return false
	}
	if !known && len(e.digests) == maxDigests {
		clear(e.digests)
	}
	e.digests[vmID] = digest
	return true
}

// streamPace says when a stream may start.
type streamPace struct {
	failures int
	began    time.Time // the last start
	next     time.Time // no start before
	open     bool
}

func (p *streamPace) onStart(now time.Time, base time.Duration) {
	p.began, p.next, p.open = now, now.Add(base), true
}

// onFailure sets the wait after a stream that ended by itself: the longer, the
// more have, until one has lived longer than the longest wait.
func (p *streamPace) onFailure(now time.Time, timing protocol.Timing, random float64) (wait time.Duration) {
	if now.Sub(p.began) > timing.RetryCap {
		p.failures = 0
	}
	p.failures++
	wait = trigger.Backoff(&timing, p.failures, 0, 0, random)
	p.next, p.open = now.Add(wait), false
	return wait
}

// onInterrupt is for a stream that did not end by itself, or a wait that has
// lost its cause.
func (p *streamPace) onInterrupt(base time.Duration) {
	p.failures, p.next, p.open = 0, p.began.Add(base), false
}

func soonest(a, b time.Time) time.Time {
	if b.Before(a) {
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
