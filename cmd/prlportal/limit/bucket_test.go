package limit

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestH01_LimitsCountNetworks(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"192.0.2.7": "192.0.2.7", "2001:db8::1": "2001:db8::/64", "2001:db8::ffff:1": "2001:db8::/64",
		"2001:db8:0:1::1": "2001:db8:0:1::/64", "::ffff:192.0.2.7": "::ffff:192.0.2.7", "fe80::1%en0": "fe80::/64", "pipe": "pipe",
	} {
		if got := Network(address); got != want {
			t.Errorf("Network(%s) = %s, want %s", address, got, want)
		}
	}
}

func TestH01_LimiterForgetsTheOldestAndStaysSmall(t *testing.T) {
	t.Parallel()
	l := NewBuckets(1, time.Hour, 3)
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	for _, key := range []string{"a", "b", "c", "d"} {
		now = now.Add(time.Second)
		if _, allowed := l.Take(key, now); !allowed {
			t.Fatalf("%s was refused at once", key)
		}
	}
	if len(l.byKey) != 3 {
		t.Errorf("%d keys are kept, want 3", len(l.byKey))
	}
	if _, allowed := l.Take("d", now); allowed {
		t.Error("the newest key was forgotten")
	}
	if _, allowed := l.Take("a", now); !allowed {
		t.Error("the oldest key was kept")
	}
	l.Take("z", now.Add(2*time.Hour))
	if len(l.byKey) != 1 {
		t.Errorf("%d keys are kept after all were full again, want the new one", len(l.byKey))
	}
}

// Requests come at the same time. Without its lock this fails under -race, and
// mostly without.
func TestH01_LimiterCountsRequestsThatComeAtOnce(t *testing.T) {
	t.Parallel()
	const burst = 100
	limits := NewBuckets(burst, time.Hour, 2)
	now := time.Now()
	var allowed atomic.Int64
	var requests sync.WaitGroup
	for range 8 {
		requests.Go(func() {
			for range burst {
				if _, ok := limits.Take("192.0.2.1", now); ok {
					allowed.Add(1)
				}
			}
		})
	}
	requests.Wait()
	if got := allowed.Load(); got != burst {
		t.Errorf("%d requests were allowed, want %d", got, burst)
	}
}
