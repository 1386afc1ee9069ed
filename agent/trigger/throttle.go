package trigger

import (
	"hash/fnv"
	"time"

	"prlagent/agent/protocol"
)

// Day is the interval of the guide's daily check.
const Day = 24 * time.Hour

// dailySlack is how far the daily check may move to get nearer to the
// device's phase: a tenth of a day either way.
const dailySlack = Day / 10

// Phase is the device's place in the day, the same through all reboots, so
// that a fleet spreads itself: seconds since midnight UTC by a hash.
func Phase(deviceID string) time.Duration {
	return time.Duration(hash(deviceID, "phase") % uint64(Day/time.Second) * uint64(time.Second))
}

// DailyAt is when the daily check is due after a check-in at last: a day
// later, moved by at most a tenth of a day towards the device's phase. How far
// it may move differs by device, so that Macs that checked in together (all at
// nine, when the network came up) do not meet again a day later.
func DailyAt(last time.Time, deviceID string, daily time.Duration) time.Time {
	due := last.Add(daily)
	if daily != Day {
		return due
	}
	slack := dailySlack/2 + time.Duration(hash(deviceID, "slack")%uint64(dailySlack/2))
	target := nearestWithPhase(due, Phase(deviceID))
	switch move := target.Sub(due); {
	case move > slack:
		return due.Add(slack)
	case move < -slack:
		return due.Add(-slack)
	}
	return target
}

// nearestWithPhase is the moment closest to at that has the phase.
func nearestWithPhase(at time.Time, phase time.Duration) time.Time {
	candidate := at.UTC().Truncate(Day).Add(phase)
	for _, other := range []time.Time{candidate.Add(-Day), candidate.Add(Day)} {
		if at.Sub(other).Abs() < at.Sub(candidate).Abs() {
			candidate = other
		}
	}
	return candidate
}

func hash(parts ...string) uint64 {
	sum := fnv.New64a()
	for _, part := range parts {
		_, _ = sum.Write([]byte(part))
		_, _ = sum.Write([]byte{0})
	}
	return sum.Sum64()
}

// Bucket limits exchanges: Level tokens are there, one more each interval.
type Bucket struct {
	Level float64
	At    time.Time // when Level was true
}

// fillTo is the bucket at now. A clock that went back gives nothing and takes
// nothing.
func (b Bucket) fillTo(now time.Time, size int, every time.Duration) Bucket {
	if b.At.IsZero() {
		return Bucket{Level: float64(size), At: now}
	}
	if elapsed := now.Sub(b.At); elapsed > 0 && every > 0 {
		b.Level = min(float64(size), b.Level+float64(elapsed)/float64(every))
	}
	b.At = now
	return b
}

// Take takes a token. If there is none it says when there will be one.
func (b Bucket) Take(now time.Time, size int, every time.Duration) (Bucket, time.Time, bool) {
	b = b.fillTo(now, size, every)
	if b.Level < 1 {
		// Rounded up: at that moment the token must be whole.
		return b, now.Add(time.Duration((1-b.Level)*float64(every)) + 1), false
	}
	b.Level--
	return b, time.Time{}, true
}

// WithOne is the bucket with at least one token.
func (b Bucket) WithOne(now time.Time, size int, every time.Duration) Bucket {
	b = b.fillTo(now, size, every)
	b.Level = max(b.Level, 1)
	return b
}

// Backoff is how long to wait after the given number of failures in a row, the
// first of which was failing ago: doubling up to the cap, then a random half
// off, so that the jitter also spreads those who are at the cap. After a long
// outage attempts are as rare as Timing.CircuitInterval says. random is in
// [0, 1). floor is what a server asked for with Retry-After; half of it may
// come on top.
func Backoff(timing *protocol.Timing, failures int, failing, floor time.Duration, random float64) time.Duration {
	wait := timing.RetryBase
	for i := 1; i < min(failures, 64) && wait < timing.RetryCap; i++ {
		wait *= 2
	}
	wait = spreadWait(min(wait, timing.RetryCap), 0.5, random)
	if timing.CircuitAfter > 0 && failing >= timing.CircuitAfter {
		wait = max(wait, spreadWait(timing.CircuitInterval, 0.75, random))
	}
	if floor > 0 {
		wait = max(wait, min(max(floor, time.Second), Day+Day/2))
	}
	return wait
}

// spreadWait is from the given share of a wait to half a wait more than that.
func spreadWait(wait time.Duration, share, random float64) time.Duration {
	return time.Duration(float64(wait) * (share + random/2))
}
