package watch

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"prlagent/agent/trigger"
)

// heard keeps what a source told. It is safe for concurrent use.
type heard struct {
	mu    sync.Mutex
	hints []Hint
}

func (h *heard) tell(hint Hint) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hints = append(h.hints, hint)
}

// take gives what was told since it was called before.
func (h *heard) take() []Hint {
	h.mu.Lock()
	defer h.mu.Unlock()
	hints := h.hints
	h.hints = nil
	return hints
}

// watching runs a source until the test ends, and gives what it told.
func watching(t *testing.T, watch func(context.Context, func(Hint)) error) *heard {
	t.Helper()
	var told heard
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- watch(ctx, told.tell) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the source ended with %v", err)
		}
	})
	return &told
}

// wallClock is a clock that goes on while the Mac sleeps, and that people set.
type wallClock struct {
	mu     sync.Mutex
	offset time.Duration
	zone   *time.Location
}

func (c *wallClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now().Add(c.offset) // still with its monotonic part, as time.Now has it
	if c.zone != nil {
		now = now.In(c.zone)
	}
	return now
}

func (c *wallClock) jump(by time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset += by
}

func (c *wallClock) travel(zone *time.Location) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.zone = zone
}

// A sleep is a jump of the wall clock: Go's timers, and the bubble's, stand
// still meanwhile (facts/macos.md 2.4).
func TestWakesTellsSleepsThatEnded(t *testing.T) {
	t.Parallel()
	awake := func(d time.Duration) func(*wallClock) { return func(*wallClock) { time.Sleep(d) } }
	asleep := func(d time.Duration) func(*wallClock) { return func(c *wallClock) { c.jump(d) } }
	var darkWakes []func(*wallClock)
	for range 30 {
		darkWakes = append(darkWakes, asleep(15*time.Minute), awake(55*time.Second))
	}
	cases := map[string]struct {
		day  []func(*wallClock)
		want int
	}{
		"awake all day":                 {[]func(*wallClock){awake(24 * time.Hour)}, 0},
		"one night":                     {[]func(*wallClock){awake(time.Hour), asleep(9 * time.Hour), awake(time.Hour)}, 1},
		"not yet awake for long enough": {[]func(*wallClock){awake(time.Hour), asleep(9 * time.Hour), awake(59 * time.Second)}, 0},
		"awake for long enough":         {[]func(*wallClock){awake(time.Hour), asleep(9 * time.Hour), awake(91 * time.Second)}, 1},
		"a short nap":                   {[]func(*wallClock){awake(70 * time.Second), asleep(time.Minute), awake(time.Hour)}, 1},
		"three nights": {[]func(*wallClock){
			awake(time.Hour), asleep(9 * time.Hour), awake(time.Hour), asleep(9 * time.Hour), awake(time.Hour), asleep(9 * time.Hour), awake(time.Hour)}, 3},
		"dark wakes":                       {darkWakes, 0},
		"dark wakes, then a person":        {append(darkWakes[:len(darkWakes):len(darkWakes)], awake(time.Hour)), 1},
		"a tick that comes late":           {[]func(*wallClock){awake(70 * time.Second), asleep(15 * time.Second), awake(time.Hour)}, 0},
		"a clock set back":                 {[]func(*wallClock){awake(time.Hour), asleep(-24 * time.Hour), awake(time.Hour)}, 0},
		"a clock set forward":              {[]func(*wallClock){awake(time.Hour), asleep(24 * time.Hour), awake(time.Hour)}, 1},
		"a clock set back after a sleep":   {[]func(*wallClock){awake(time.Hour), asleep(9 * time.Hour), awake(40 * time.Second), asleep(-3 * time.Hour), awake(time.Hour)}, 1},
		"a clock set back again and again": {[]func(*wallClock){awake(time.Minute), asleep(-time.Hour), awake(time.Minute), asleep(-time.Hour), awake(time.Hour)}, 0},
		"summer time":                      {[]func(*wallClock){awake(time.Hour), func(c *wallClock) { c.travel(time.FixedZone("CEST", 2*3600)) }, awake(time.Hour)}, 0},
		"across the Pacific": {[]func(*wallClock){
			awake(time.Hour), func(c *wallClock) { c.travel(time.FixedZone("NZDT", 13*3600)) }, asleep(11 * time.Hour),
			func(c *wallClock) { c.travel(time.FixedZone("PST", -8*3600)) }, awake(time.Hour)}, 1},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var clock wallClock
				told := watching(t, Wakes{Tick: 30 * time.Second, Stay: 60 * time.Second, Now: clock.now, Log: zerolog.Nop()}.Watch)
				synctest.Wait()
				for _, step := range c.day {
					step(&clock)
					synctest.Wait()
				}
				var want []Hint
				for range c.want {
					want = append(want, Hint{Reason: trigger.Wake})
				}
				if diff := cmp.Diff(want, told.take()); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		})
	}
}

// However the sleep falls between two ticks, a Mac that stays awake is told
// within Stay and a tick and a half, and a dark wake never.
func TestWakesAtEveryPhaseOfTheTick(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var clock wallClock
		told := watching(t, Wakes{Tick: 30 * time.Second, Stay: time.Minute, Now: clock.now, Log: zerolog.Nop()}.Watch)
		synctest.Wait()
		for second := range 30 {
			time.Sleep(10*time.Minute + time.Duration(second)*time.Second)
			clock.jump(time.Hour)
			time.Sleep(55 * time.Second)
			clock.jump(time.Hour)
			synctest.Wait()
			if hints := told.take(); hints != nil {
				t.Fatalf("%d s into the tick: a dark wake told %v", second, hints)
			}
			time.Sleep(95 * time.Second)
			synctest.Wait()
			if hints := told.take(); len(hints) != 1 {
				t.Fatalf("%d s into the tick: told %v", second, hints)
			}
		}
	})
}
