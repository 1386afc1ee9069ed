package trigger

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"prlagent/agent/protocol"
)

// sleeps is a sleep of the Mac: the clock goes on and nothing else does. The
// loop's first tick after it sees the time, and the source tells the wake when
// the Mac has stayed awake for a minute.
func (s *simulation) sleeps(length time.Duration) (woke time.Time) {
	s.t.Helper()
	for !s.state.Idle() {
		s.until(s.next())
	}
	s.now = s.now.Add(length)
	woke = s.now
	s.tell(Tick{})
	s.until(woke.Add(time.Minute))
	s.tell(SourceEvent{Reason: Wake})
	return woke
}

// A check-in that the Mac slept through is made after the wake, within its
// splay, and says that it is because of both.
func TestTRG_11_WakeAfterAMissedCheck(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		portal func(time.Time) answer
		missed Reason
	}{
		"daily":   {nil, Daily},
		"cadence": {cadence(6 * time.Hour), Cadence},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var waits []time.Duration
			for seed := range uint64(20) {
				s := started(t)
				s.ticks, s.portal = true, test.portal
				s.random = rand.New(rand.NewPCG(seed, 12))
				s.until(stepNoon.Add(time.Hour))
				s.passes = nil
				length := 30 * time.Hour
				if test.missed == Cadence {
					length = 10 * time.Hour
				}
				woke := s.sleeps(length)
				s.until(woke.Add(stepTiming.WakeSplay + 2*time.Minute))
				exchanges := s.exchanges()
				if len(exchanges) != 1 || !exchanges[0].has(test.missed) {
					t.Fatalf("seed %d: check-ins %+v", seed, exchanges)
				}
				wait := exchanges[0].at.Sub(woke)
				if waits = append(waits, wait); wait > time.Minute { // else it was made before the wake was told
					expectTriggers(t, exchanges[0].triggers,
						protocol.Trigger{Reason: string(test.missed), Count: 1}, protocol.Trigger{Reason: string(Wake), Count: 1})
				}
			}
			if slices.Max(waits)-slices.Min(waits) < stepTiming.WakeSplay/2 {
				t.Errorf("waits after the wake: %s", waits)
			}
		})
	}
}

// What happened in a short sleep, of which nobody told, is found by a look after
// the wake; the wake itself is no reason when no check-in was missed.
func TestTRG_04_CreatedInAShortSleep(t *testing.T) {
	t.Parallel()
	stopped := vmRow("alice", "a", protocol.StateStopped, "1")
	begin := func(t *testing.T) *simulation {
		s := lived(t, valid, stopped)
		s.until(s.state.Looks.SafetyLookAt.Add(3 * time.Minute)) // 12 minutes to the next look of the safety net
		s.passes = nil
		return s
	}
	t.Run("something", func(t *testing.T) {
		t.Parallel()
		s := begin(t)
		s.becomes(stopped, vmRow("alice", "b", protocol.StateStopped, "1"))
		s.sleeps(5 * time.Minute)
		arrival{reason: VMCreated, vmID: "b"}.expect(t, s, s.now, within30s)
	})
	t.Run("nothing", func(t *testing.T) {
		t.Parallel()
		s := begin(t)
		s.sleeps(5 * time.Minute)
		s.until(s.now.Add(within30s))
		if len(s.passes) != 1 || s.passes[0].exchange || len(s.passes[0].triggers) != 0 {
			t.Errorf("want a look and no check-in: %+v", s.passes)
		}
	})
}
