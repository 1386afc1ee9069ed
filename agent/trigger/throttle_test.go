package trigger

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"prlagent/agent/protocol"
)

func TestPhaseSpreadsTheFleet(t *testing.T) {
	t.Parallel()
	hours := make([]int, 24)
	for i := range 24_000 {
		phase := Phase(fmt.Sprintf("0198f6b2-7c1e-7d0a-9a55-%012x", i))
		if phase < 0 || phase >= Day || phase%time.Second != 0 {
			t.Fatalf("phase %s", phase)
		}
		hours[phase/time.Hour]++
	}
	for hour, devices := range hours {
		if devices < 800 || devices > 1200 {
			t.Errorf("%d of 24,000 devices in hour %d", devices, hour)
		}
	}
	if got := Phase("a device"); got != 12*time.Hour+53*time.Minute+23*time.Second { // it stays through updates of the agent
		t.Errorf("the phase of a device is %s", got)
	}
}

// The daily check is a day after the last check-in, a tenth of it either way.
func TestTRG_12_DailyIsADayAfterTheLastCheckin(t *testing.T) {
	t.Parallel()
	for hour := range 24 {
		last := noon.Add(time.Duration(hour) * time.Hour)
		for number := range 500 {
			wait := DailyAt(last, fmt.Sprint(number), Day).Sub(last)
			if wait < Day-Day/10 || wait > Day+Day/10 {
				t.Fatalf("device %d: the daily check is %s after the last one at hour %d", number, wait, last.Hour())
			}
		}
	}
}

// Day by day the check gets nearer to the device's phase, whatever the time of
// the first one, and then stays there.
func TestTRG_11_DailyFindsThePhase(t *testing.T) {
	t.Parallel()
	for hour := range 24 {
		for number := range 50 {
			device := fmt.Sprint("device ", number)
			due := noon.Add(time.Duration(hour) * time.Hour)
			for range 11 { // half a day, by at least a twentieth of one
				due = DailyAt(due, device, Day)
			}
			for range 3 {
				if phase := due.Sub(due.Truncate(Day)); phase != Phase(device) {
					t.Fatalf("%s, first at hour %d: at %s, the phase is %s", device, hour, phase, Phase(device))
				}
				next := DailyAt(due, device, Day)
				if next.Sub(due) != Day {
					t.Fatalf("%s: the next one is %s later", device, next.Sub(due))
				}
				due = next
			}
		}
	}
}

func TestDailyOfAnotherLengthIsExact(t *testing.T) {
	t.Parallel()
	if got := DailyAt(noon, "device", time.Minute); !got.Equal(at(1)) {
		t.Errorf("got %s", got)
	}
}

func TestBucket(t *testing.T) {
	t.Parallel()
	const size, every = 6, 10 * time.Minute
	var bucket Bucket
	take := func(now time.Time) (time.Time, bool) {
		next, when, ok := bucket.Take(now, size, every)
		bucket = next
		return when, ok
	}
	for i := range size {
		if _, ok := take(noon); !ok {
			t.Fatalf("no token %d of the burst", i+1)
		}
	}
	next, ok := take(noon)
	if ok || !next.Round(time.Millisecond).Equal(at(10)) {
		t.Fatalf("a token beyond the burst: %t, next at %s", ok, next)
	}
	if next, ok = take(at(4)); ok || !next.Round(time.Millisecond).Equal(at(10)) {
		t.Fatalf("asking again moves it: %t, next at %s", ok, next)
	}
	if _, ok = take(next); !ok {
		t.Fatal("no token when it was promised")
	}
	if next, ok = take(noon.AddDate(-1, 0, 0)); ok || next.Sub(noon.AddDate(-1, 0, 0)) > every+1 {
		t.Fatalf("a clock set back: %t, next at %s", ok, next)
	}
	if _, ok = take(next); !ok {
		t.Fatal("a clock set back stops the bucket")
	}
	for range size {
		if _, ok = take(noon.AddDate(1, 0, 0)); !ok {
			t.Fatal("a clock set forward fills the bucket")
		}
	}
	if _, ok = take(noon.AddDate(1, 0, 0)); ok {
		t.Fatal("a clock set forward fills it beyond its size")
	}
}

// One token more than none is given, never one more than there are.
func TestBucketWithOne(t *testing.T) {
	t.Parallel()
	const size, every = 6, 10 * time.Minute
	for name, level := range map[string]float64{"empty": 0, "half a token": 0.5, "some": 3.5, "full": size} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bucket := Bucket{Level: level, At: noon}.WithOne(noon, size, every)
			if want := max(level, 1); bucket.Level != want {
				t.Errorf("%g tokens, want %g", bucket.Level, want)
			}
			if _, _, ok := bucket.Take(noon, size, every); !ok {
				t.Error("no token")
			}
		})
	}
}

// A token is there at the moment that was promised, and is then gone: what is
// nearly whole is no token, or every one would be had twice.
func TestBucketKeepsItsPromises(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		every := time.Duration(rapid.Int64Range(int64(10*time.Millisecond), int64(Day)).Draw(t, "every"))
		var bucket Bucket
		var ok bool
		now := noon
		bucket, _, _ = bucket.Take(now, 1, every)
		for range 20 {
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(every)-1).Draw(t, "wait")))
			var next time.Time
			if bucket, next, ok = bucket.Take(now, 1, every); ok {
				continue
			}
			if bucket, _, ok = bucket.Take(next, 1, every); !ok {
				t.Fatalf("no token at %s", next)
			}
			if _, _, ok = bucket.Take(next, 1, every); ok {
				t.Fatal("two tokens at once")
			}
			now = next
		}
	})
}

// Never more than the burst and what has dripped in since.
func TestBucketBoundsEveryWindow(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(1, 6).Draw(t, "size")
		every := time.Duration(rapid.IntRange(1, 600).Draw(t, "every")) * time.Second
		waits := rapid.SliceOfN(rapid.IntRange(0, 900), 1, 60).Draw(t, "waits")
		var bucket Bucket
		var taken []time.Time
		now := noon
		for _, wait := range waits {
			now = now.Add(time.Duration(wait) * time.Second)
			next, _, ok := bucket.Take(now, size, every)
			if bucket = next; ok {
				taken = append(taken, now)
			}
		}
		for first := range taken {
			for last := first; last < len(taken); last++ {
				most := float64(size) + float64(taken[last].Sub(taken[first]))/float64(every)
				if float64(last-first+1) > most+1e-6 {
					t.Fatalf("%d tokens in %s", last-first+1, taken[last].Sub(taken[first]))
				}
			}
		}
	})
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		failures       int
		failing, floor time.Duration
		least, most    time.Duration // for random 0 and for random 1
	}{
		"first":                          {1, 0, 0, 2500 * time.Millisecond, 5 * time.Second},
		"second":                         {2, 0, 0, 5 * time.Second, 10 * time.Second},
		"fifth":                          {5, 0, 0, 40 * time.Second, 80 * time.Second},
		"at the cap the jitter is whole": {10, 0, 0, 15 * time.Minute, 30 * time.Minute},
		"for ever":                       {1 << 40, 0, 0, 15 * time.Minute, 30 * time.Minute},
		"none":                           {0, 0, 0, 2500 * time.Millisecond, 5 * time.Second},
		"Retry-After":                    {1, 0, time.Minute, time.Minute, time.Minute},
		"Retry-After below the backoff":  {10, 0, time.Minute, 15 * time.Minute, 30 * time.Minute},
		"Retry-After of a blink":         {0, 0, time.Nanosecond, 2500 * time.Millisecond, 5 * time.Second},
		"Retry-After of 10^9 s":          {1, 0, 1e9 * time.Second, Day + Day/2, Day + Day/2},
		"Retry-After below zero":         {1, 0, -time.Hour, 2500 * time.Millisecond, 5 * time.Second},
		"a day of failures":              {70, Day, 0, 45 * time.Minute, 75 * time.Minute},
		"nearly a day of failures":       {70, Day - 1, 0, 15 * time.Minute, 30 * time.Minute},
	}
	timing := protocol.DefaultTiming()
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for random, want := range map[float64]time.Duration{0: c.least, 1: c.most} {
				if got := Backoff(&timing, c.failures, c.failing, c.floor, random); got != want {
					t.Errorf("random %g: got %s, want %s", random, got, want)
				}
			}
		})
	}
}

// Without a time for it no outage is long enough to make attempts rare: what
// follows streams of events has none.
func TestBackoffWithoutACircuit(t *testing.T) {
	t.Parallel()
	timing := protocol.DefaultTiming()
	timing.CircuitAfter = 0
	for _, failing := range []time.Duration{0, Day, 365 * Day} {
		if got := Backoff(&timing, 70, failing, 0, 0); got != timing.RetryCap/2 {
			t.Errorf("failing for %s: %s", failing, got)
		}
	}
}

// Waits grow with the failures, are never negative and never beyond the cap,
// whatever the settings are.
func TestBackoffGrowsToItsCap(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		timing := protocol.Timing{
			RetryBase: time.Duration(rapid.Int64Range(1, int64(Day)).Draw(t, "base")),
			RetryCap:  time.Duration(rapid.Int64Range(1, int64(Day)).Draw(t, "cap")),
		}
		random := rapid.Float64Range(0, 0.999).Draw(t, "random")
		before := time.Duration(0)
		for failures := range 100 {
			wait := Backoff(&timing, failures, 0, 0, random)
			if wait < before || wait > timing.RetryCap || wait < min(timing.RetryBase, timing.RetryCap)/2 {
				t.Fatalf("failure %d: %s after %s", failures, wait, before)
			}
			before = wait
		}
	})
}
