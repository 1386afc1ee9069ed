package trigger

import (
	"time"

	"prlagent/agent/protocol"
)

// Limits is what holds the exchange back, and nothing else (H46).
type Limits struct {
	Running      bool          `json:"-"` // an exchange runs
	Bucket       Bucket        `json:"bucket"`
	LastExchange time.Time     `json:"last_exchange,omitzero"` // start of the last exchange
	LastSuccess  time.Time     `json:"-"`                      // end of the last one that went well; the exchange keeps it
	Failures     int           `json:"failures,omitempty"`     // in a row
	FailingSince time.Time     `json:"failing_since,omitzero"` // end of the first of them
	NoRetry      bool          `json:"no_retry,omitempty"`     // the last failure is one that no repetition mends: the next reason will tell
	RetryAt      time.Time     `json:"retry_at,omitzero"`      // no exchange before it, unless a person asks
	NotBefore    time.Time     `json:"not_before,omitzero"`    // nor before this, which the portal has asked for (Retry-After)
	Splay        time.Duration `json:"splay,omitempty"`        // that the portal asked for; it knows how large the fleet is
}

// onAnotherPortal begins with a portal that has refused and asked for nothing
// yet. The gap and the bucket are the Mac's own.
func (l *Limits) onAnotherPortal() {
	*l = Limits{Running: l.Running, Bucket: l.Bucket, LastExchange: l.LastExchange}
}

// onStart takes in that an exchange begins.
func (l *Limits) onStart(now time.Time, timing *protocol.Timing) {
	l.Bucket, _, _ = l.Bucket.Take(now, timing.BucketSize, timing.BucketRefill)
	l.Running, l.LastExchange = true, now
}

// addToken leaves at least one exchange: failures have emptied the bucket, and
// what failed them is over.
func (l *Limits) addToken(now time.Time, timing *protocol.Timing) {
	l.Bucket = l.Bucket.WithOne(now, timing.BucketSize, timing.BucketRefill)
}

// openAt is the earliest time of the next exchange.
func (l *Limits) openAt(now time.Time, timing *protocol.Timing) time.Time {
	at := latest(l.RetryAt, l.NotBefore)
	if !l.LastExchange.IsZero() && l.Failures == 0 { // after a failure the backoff is the gap
		at = latest(at, l.LastExchange.Add(timing.MinimumGap))
	}
	if _, next, ok := l.Bucket.Take(now, timing.BucketSize, timing.BucketRefill); !ok {
		at = latest(at, next)
	}
	return at
}

// maxSplay bounds what a portal may ask for.
const maxSplay = time.Hour

// onSuccess takes in that an exchange went well.
func (l *Limits) onSuccess(now time.Time, splay time.Duration) {
	l.Failures, l.RetryAt, l.LastSuccess = 0, time.Time{}, now
	l.Splay = min(splay, maxSplay)
}

// onFailure takes in that one did not, and plans the next attempt. Whoever then
// has no token does not wait for the very moment of the next one: that is the
// same for all who lost the portal together.
func (l *Limits) onFailure(now time.Time, random float64, floor time.Duration, timing *protocol.Timing) {
	if l.Failures++; l.Failures == 1 {
		l.FailingSince = now
	}
	l.RetryAt = now.Add(Backoff(timing, l.Failures, now.Sub(l.FailingSince), floor, random))
	if _, token, ok := l.Bucket.Take(l.RetryAt, timing.BucketSize, timing.BucketRefill); !ok {
		l.RetryAt = token.Add(shareOf(timing.RetryCap/2, random))
	}
}

func shareOf(whole time.Duration, share float64) time.Duration {
	return time.Duration(float64(whole) * share)
}
