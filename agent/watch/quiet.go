package watch

import "time"

// longestBurst is how many quiet times a burst may last before it is dealt
// with although it goes on.
const longestBurst = 6

// quiet waits for the end of a burst: C fires when nothing more came for the
// quiet time, and at the latest longestBurst quiet times after the first.
type quiet struct {
	C <-chan time.Time

	wait  time.Duration
	timer *time.Timer
	began time.Time // zero between bursts
}

// newQuiet returns a quiet whose C does not fire before more was called.
func newQuiet(wait time.Duration) *quiet {
	timer := time.NewTimer(wait)
	timer.Stop()
	return &quiet{C: timer.C, wait: wait, timer: timer}
}

// more says that the burst begins or goes on.
func (q *quiet) more() {
	now := time.Now()
	if q.began.IsZero() {
		q.began = now
	}
	left := q.began.Add(longestBurst * q.wait).Sub(now)
	q.timer.Reset(max(0, min(q.wait, left)))
}

// active says whether C will fire for a burst.
func (q *quiet) active() bool { return !q.began.IsZero() }

// over ends a burst, after C fired.
func (q *quiet) over() { q.began = time.Time{} }

// again lets C fire once more, though nothing came.
func (q *quiet) again(wait time.Duration) { q.timer.Reset(wait) }

// stop frees the timer.
func (q *quiet) stop() { q.timer.Stop() }
