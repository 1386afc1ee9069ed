package trigger

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"prlagent/agent/protocol"
)

// A network that comes up came up for many: the check-in waits for the debounce
// and a random part of the splay, the portal's where it names one, and never
// longer.
func TestTRG_10_NetworkUpWithinTheSplay(t *testing.T) {
	t.Parallel()
	for name, splay := range map[string]time.Duration{"ours": 0, "the portal's": 20 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			longest := cmp.Or(splay, protocol.DefaultTiming().Splay)
			var waits []time.Duration
			for seed := range uint64(40) {
				s := started(t)
				s.portal = func(time.Time) answer {
					return answer{ExchangeDone: ExchangeDone{Splay: splay}}
				}
				s.until(stepNoon.Add(time.Hour))
				s.random, s.passes = rand.New(rand.NewPCG(seed, 13)), nil
				s.tell(SourceEvent{Reason: NetworkUp})
				from := s.now
				s.until(from.Add(time.Hour))
				exchanges := s.exchanges()
				if len(exchanges) != 1 || !exchanges[0].has(NetworkUp) {
					t.Fatalf("seed %d: check-ins %+v", seed, exchanges)
				}
				waits = append(waits, exchanges[0].at.Sub(from)-protocol.DefaultTiming().Debounce)
			}
			least, most := slices.Min(waits), slices.Max(waits)
			if least < 0 || most > longest+time.Second || most-least < longest*3/4 {
				t.Errorf("waits from %s to %s, the splay is %s", least, most, longest)
			}
		})
	}
}
