package watch

import "time"

// longestBurst is how many quiet times a burst may last before it is dealt
// with although it goes on.
const longestBurst = 6

// burstTimer waits for the end of a burst: C fires when nothing more came for the
// quiet time, and at the latest longestBurst quiet times after the first.
type burstTimer struct {
	C <-chan time.Time

	wait  time.Duration
	timer *time.Timer
	began time.Time // zero between bursts
}

// newQuiet returns a quiet whose C does not fire before more was called.
func newQuiet(wait time.Duration) *burstTimer {
	timer := time.NewTimer(wait)
	timer.Stop()
	return &burstTimer{C: timer.C, wait: wait, timer: timer}
}

// onEvent begins the burst, or prolongs it.
func (q *burstTimer) onEvent() {
	now := time.Now()
	if q.began.IsZero() {
		q.began = now
	}
	left := q.began.Add(longestBurst * q.wait).Sub(now)
	q.timer.Reset(max(0, min(q.wait, left)))
}

// isActive reports whether C will fire for a burst.
func (q *burstTimer) isActive() bool { return !q.began.IsZero() }

// endBurst ends a burst, after C fired.
func (q *burstTimer) endBurst() { q.began = time.Time{} }

// fireAgain lets C fire once more, though nothing came.
func (q *burstTimer) fireAgain(wait time.Duration) { q.timer.Reset(wait) }

// stopTimer frees the timer.
func (q *burstTimer) stopTimer() { q.timer.Stop() }
