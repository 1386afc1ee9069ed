// Package limit bounds what one device, one Mac or one network may ask of the
// portal, before the portal works for it (H56).
package limit

import (
	"container/list"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Buckets is a token bucket for each key. It remembers a bounded number of
// keys: it forgets those that are full again, which nobody can tell from new
// ones, and when there are still too many, the one that was asked for longest
// ago. Its methods are safe for concurrent use.
type Buckets struct {
	burst  int
	refill time.Duration // from empty to full
	keep   int

	mutex   sync.Mutex
	byKey   map[string]*list.Element
	byTaken list.List // of *bucket, the one that was asked for last at the back
}

type bucket struct {
	key     string
	limiter *rate.Limiter
	takenAt time.Time
}

// NewBuckets makes buckets of burst tokens, each of which is full again in
// refill; at most keep of them are remembered.
func NewBuckets(burst int, refill time.Duration, keep int) *Buckets {
	return &Buckets{burst: burst, refill: refill, keep: keep, byKey: make(map[string]*list.Element)}
}

// Take uses one token of the key's bucket. Without one it says how long to wait.
func (b *Buckets) Take(key string, now time.Time) (wait time.Duration, allowed bool) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	reservation := b.find(key, now).ReserveN(now, 1)
	if wait = reservation.DelayFrom(now); wait > 0 {
		reservation.CancelAt(now)
		return wait, false
	}
	return 0, true
}

// find gives the key's bucket, which then is the last one to be forgotten.
func (b *Buckets) find(key string, now time.Time) *rate.Limiter {
	if element, known := b.byKey[key]; known {
		found := element.Value.(*bucket)
		found.takenAt = now
		b.byTaken.MoveToBack(element)
		return found.limiter
	}
	b.makeRoom(now)
	made := &bucket{key: key, limiter: rate.NewLimiter(rate.Limit(float64(b.burst)/b.refill.Seconds()), b.burst), takenAt: now}
	b.byKey[key] = b.byTaken.PushBack(made)
	return made.limiter
}

// makeRoom looks at the buckets in the order in which they are forgotten, so it
// costs no more when there are many.
func (b *Buckets) makeRoom(now time.Time) {
	for oldest := b.byTaken.Front(); oldest != nil; oldest = b.byTaken.Front() {
		found := oldest.Value.(*bucket)
		if isFull := now.Sub(found.takenAt) >= b.refill; !isFull && b.byTaken.Len() < b.keep {
			return
		}
		delete(b.byKey, found.key)
		b.byTaken.Remove(oldest)
	}
}

// Network is what a limit for each source counts against: an IPv4 address, or
// the network of an IPv6 address, within which anybody can take as many as they
// like.
func Network(address string) string {
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
