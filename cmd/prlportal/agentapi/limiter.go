package agentapi

import (
	"net/netip"
	"sync"
	"time"
)

// rateLimiter is a token bucket for each key. It remembers a bounded number of
// keys; when it must forget, it forgets full buckets first, which nobody can
// tell from new ones, and then the oldest.
type rateLimiter struct {
	burst  float64
	refill time.Duration // from empty to full
	keep   int

	mutex   sync.Mutex
	buckets map[string]tokenBucket
}

type tokenBucket struct {
	tokens float64
	at     time.Time
}

func newRateLimiter(burst int, refill time.Duration, keep int) *rateLimiter {
	return &rateLimiter{burst: float64(burst), refill: refill, keep: keep, buckets: make(map[string]tokenBucket)}
}

// take uses one token of the key's bucket. Without one it says how long to wait.
func (l *rateLimiter) take(key string, now time.Time) (wait time.Duration, allowed bool) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	current, known := l.buckets[key]
	if !known {
		l.makeRoom(now)
		current = tokenBucket{tokens: l.burst, at: now}
	}
	current = tokenBucket{tokens: l.tokens(current, now), at: now}
	if current.tokens < 1 {
		l.buckets[key] = current
		return time.Duration((1 - current.tokens) / l.burst * float64(l.refill)), false
	}
	current.tokens--
	l.buckets[key] = current
	return 0, true
}

func (l *rateLimiter) tokens(b tokenBucket, now time.Time) float64 {
	elapsed := max(now.Sub(b.at), 0)
	return min(l.burst, b.tokens+l.burst*float64(elapsed)/float64(l.refill))
}

func (l *rateLimiter) makeRoom(now time.Time) {
	if len(l.buckets) < l.keep {
		return
	}
	var oldest string
	var oldestAt time.Time
	for key, b := range l.buckets {
		if l.tokens(b, now) >= l.burst {
			delete(l.buckets, key)
		} else if oldest == "" || b.at.Before(oldestAt) {
			oldest, oldestAt = key, b.at
		}
	}
	if len(l.buckets) >= l.keep {
		delete(l.buckets, oldest)
	}
}

// sourceNetwork is what a rate limit counts against: an IPv4 address, or the
// network of an IPv6 address, within which anybody can take as many as they like.
func sourceNetwork(address string) string {
	parsed, err := netip.ParseAddr(address)
	if err != nil || parsed.Unmap().Is4() {
		return address
	}
	prefix, err := parsed.WithZone("").Prefix(64)
	if err != nil {
		return address
	}
	return prefix.String()
}
