package trigger

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"prlagent/agent/protocol"
)

// noise is something that happens again and again within a minute.
type noise struct {
	times int
	make  func(s *simulation, nth int)
}

// A minute of noise, as a Mac with busy tools makes it: the check-ins are those
// that the bucket and the gap allow, looks are few, and what the portal was told
// last is the truth. What really happened is told with its count.
func TestAMinuteOfNoise(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			s := lived(t, valid, vmRow("alice", "a", protocol.StateStopped, "1"), vmRow("bob", "b", protocol.StateRunning, "1"))
			s.random = rand.New(rand.NewPCG(seed, 60))
			s.tell(SourceEvent{Reason: Manual}) // the network that flaps is no reason after it
			s.until(s.now.Add(5 * time.Minute))
			s.passes = nil
			from := s.now
			s.rumble(time.Minute)
			if many := len(s.exchanges()); many > 2 {
				t.Errorf("%d check-ins within the minute: the gap allows 2, the bucket 6", many)
			}
			if many := len(s.passes); many > 5 {
				t.Errorf("%d looks within the minute, the debounce allows 5", many)
			}
			s.until(from.Add(2*time.Minute + 30*time.Second)) // debounce, gap and two passes
			if !isTold(s.has, s.picture()) {
				t.Errorf("the portal has %+v, true is %+v", s.has.VMs, s.sees.VMs)
			}
			s.until(from.Add(time.Hour))
			if many := len(s.exchanges()); many > 4 {
				t.Errorf("%d check-ins in all", many)
			}
			told := make(map[string]int)
			for _, pass := range s.exchanges() {
				for _, one := range pass.triggers {
					told[one.Reason+" "+one.VMID] += one.Count
				}
			}
			if told["vm_started a"] != 50 || told["vm_shutdown a"] != 50 || len(told) != 2 {
				t.Errorf("told: %v, want 50 starts and stops", told)
			}
		})
	}
}

// rumble makes all noises, mixed, within a time.
func (s *simulation) rumble(within time.Duration) {
	bob := s.sees.VMs[1]
	alice := func(state string) { s.becomes(vmRow("alice", "a", state, "1"), bob) }
	noises := []noise{
		// Echoes that the source could not tell from changes, and changes of the
		// uptime alone: the configuration's hash stays.
		{1000, func(s *simulation, _ int) { s.tell(aliceHears("a", "")) }},
		{500, func(s *simulation, _ int) { s.tell(SourceEvent{UID: 502, VMID: "b"}) }},
		// Edges of networks that nobody cares for end in the source (trigger); even
		// if they did not.
		{200, func(s *simulation, _ int) { s.tell(SourceEvent{Reason: NetworkUp}) }},
		{50, func(s *simulation, nth int) {
			s.tell(aliceHears("a", "starting"))
			alice(protocol.StateRunning)
			s.tell(aliceHears("a", "running"))
			s.tell(aliceHears("a", "stopping"))
			alice(protocol.StateStopped)
			s.tell(aliceHears("a", "stopped"))
		}},
	}
	type moment struct {
		after time.Duration
		noise int
		nth   int
	}
	var moments []moment
	for which, noise := range noises {
		for nth := range noise.times {
			moments = append(moments, moment{time.Duration(s.random.Int64N(int64(within))), which, nth})
		}
	}
	slices.SortFunc(moments, func(a, b moment) int { return int(a.after - b.after) })
	from := s.now
	for _, moment := range moments {
		s.until(from.Add(moment.after))
		noises[moment.noise].make(s, moment.nth)
	}
	s.until(from.Add(within))
}

// Noise that never ends costs what the bucket gives: a check-in every ten
// minutes; and noise without any change costs none, and a look in two minutes.
func TestADayOfNoise(t *testing.T) {
	t.Parallel()
	t.Run("changes", func(t *testing.T) {
		t.Parallel()
		s := lived(t, valid, vmRow("alice", "a", protocol.StateStopped, "1"))
		s.ticks = false
		for i := range 24 * 360 {
			s.becomes(vmRow("alice", "a", protocol.StateStopped, fmt.Sprint(i)))
			s.tell(aliceHears("a", ""))
			s.until(s.now.Add(10 * time.Second))
		}
		if many := len(s.exchanges()); many > 6+24*6 || many < 24*6 {
			t.Errorf("%d check-ins in a day", many)
		}
		s.until(s.now.Add(protocol.DefaultTiming().BucketRefill + 30*time.Second))
		if !isTold(s.has, s.picture()) {
			t.Errorf("the portal has %+v, true is %+v", s.has.VMs, s.sees.VMs)
		}
	})
	t.Run("echoes", func(t *testing.T) {
		t.Parallel()
		s := lived(t, valid, vmRow("alice", "a", protocol.StateStopped, "1"))
		s.ticks = false
		s.until(s.now.Add(s.state.Calendar.DailyAt.Sub(s.now) + time.Minute))
		s.passes = nil
		for range 12 * 360 {
			s.tell(aliceHears("a", ""))
			s.until(s.now.Add(10 * time.Second))
		}
		if len(s.exchanges()) != 0 || len(s.passes) > 12*30+5 {
			t.Errorf("%d check-ins and %d looks in twelve hours", len(s.exchanges()), len(s.passes))
		}
	})
}
