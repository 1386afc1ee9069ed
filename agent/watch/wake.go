package watch

import (
	"context"
	"time"

	"github.com/rs/zerolog"

	"prlagent/agent/trigger"
)

// wakeSlack is how late a tick may be, beyond half a tick, on a busy Mac that
// did not sleep.
const wakeSlack = time.Second

// Wakes tells when the Mac woke from sleep and stayed awake. Go's timers stand
// still while a Mac sleeps and the wall clock does not, so a sleep shows as a
// gap between two ticks (facts/macos.md 2.4).
//
// A Mac that sleeps wakes for maintenance again and again, about 55 s each
// time (a dark wake). No work must come of that, hence Stay. A clock that is
// set forward by more than half a tick looks like a sleep and is told too: what
// is due by the clock is then due as well. A clock set back and a new time zone
// are nothing.
type Wakes struct {
	Tick time.Duration    // between two looks at the clock; 30 s on a Mac
	Stay time.Duration    // how long the Mac is awake before it counts; 60 s on a Mac
	Now  func() time.Time // the wall clock
	Log  zerolog.Logger
}

// Watch tells wakes until ctx is done. It returns nil.
func (w Wakes) Watch(ctx context.Context, tell func(Hint)) error {
	ticker := time.NewTicker(w.Tick)
	defer ticker.Stop()
	var awake awakeTime
	awake.last = w.wallClock()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			if slept := awake.onTick(w.wallClock(), w.Tick, w.Stay); slept > 0 {
				w.Log.Info().Dur("slept", slept).Msg("the Mac woke up")
				tell(Hint{Reason: trigger.Wake})
			}
		}
	}
}

// wallClock is the wall clock alone: the monotonic one stands still in a sleep.
func (w Wakes) wallClock() time.Time { return w.Now().Round(0) }

// awakeTime is how long the Mac is awake, as far as ticks of the clock show.
type awakeTime struct {
	last  time.Time     // the tick before
	slept time.Duration // the gap that is not told yet; 0 = none
	awake time.Duration // since that gap
}

// onTick takes the wall clock of one tick. Once for each sleep, when the Mac has
// been awake for as long as stay after it, it gives how long the sleep was;
// otherwise 0.
func (w *awakeTime) onTick(now time.Time, tick, stay time.Duration) time.Duration {
	gap := now.Sub(w.last)
	w.last = now
	if gap > tick+tick/2+wakeSlack {
		w.slept, w.awake = gap, 0
		return 0
	}
	if w.slept == 0 {
		return 0
	}
	if gap < 0 { // the clock was set back; the time between two ticks passed all the same
		gap = tick
	}
	if w.awake += gap; w.awake < stay {
		return 0
	}
	slept := w.slept
	w.slept = 0
	return slept
}
