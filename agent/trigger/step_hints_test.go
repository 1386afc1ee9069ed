package trigger

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"prlagent/agent/protocol"
)

// Hints of an account that were followed by something are not empty, whether
// the look found it or an event had told it before: the account's next hint is
// answered as fast as ever.
func TestTRG_04_CreatedAfterHintsThatProvedTrue(t *testing.T) {
	t.Parallel()
	const times = 5 // more than the doublings of the wait after empty hints
	states := []string{protocol.StateRunning, protocol.StateStopped}
	words := []string{"running", "stopped"}
	for name, hint := range map[string]func(s *simulation, nth int){
		"the look found it": func(s *simulation, nth int) {
			s.becomes(vmRow("alice", "a", protocol.StateStopped, fmt.Sprint("config ", nth)))
			s.tell(aliceHears("a", ""))
		},
		"an event told it": func(s *simulation, nth int) {
			s.becomes(vmRow("alice", "a", states[nth%2], "1"))
			s.tell(aliceHears("a", words[nth%2]))
			s.tell(aliceHears("a", ""))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := lived(t, valid, vmRow("alice", "a", protocol.StateStopped, "1"))
			for nth := range times {
				hint(s, nth)
				s.until(s.now.Add(11 * time.Minute)) // a token of the bucket; no look of the safety net, which forgives
			}
			if slices.ContainsFunc(s.passes, func(p passRecord) bool { return !p.exchange }) || len(s.passes) != times {
				t.Fatalf("passes: %+v", s.passes)
			}
			s.passes = nil
			s.becomes(append(slices.Clone(s.sees.VMs), vmRow("alice", "b", protocol.StateStopped, "1"))...)
			s.tell(aliceHears("b", ""))
			arrival{reason: VMCreated, vmID: "b"}.expect(t, s, s.now, within30s)
		})
	}
}

// Hints that prove empty are answered later each time, up to eight debounces:
// an echo that nobody recognizes does not keep the agent busy.
func TestEmptyHintsAreAnsweredLater(t *testing.T) {
	t.Parallel()
	s := lived(t, valid)
	s.until(s.state.Looks.SafetyLookAt.Add(time.Second + s.looks + s.takes))
	for nth, want := range []time.Duration{1, 2, 4, 8, 8, 8} {
		s.passes = nil
		from := s.now
		s.tell(SourceEvent{UID: 501})
		s.until(from.Add(want*protocol.DefaultTiming().Debounce + s.looks + s.takes))
		if len(s.passes) != 1 || s.passes[0].at.Sub(from) != want*protocol.DefaultTiming().Debounce+s.looks {
			t.Fatalf("hint %d: passes %+v since %s, want one after %d debounces", nth, s.passes, from, want)
		}
	}
}

// A reason that asks for no look of its own and comes while one runs is taken
// along, and no other look follows for its sake. One that does is looked at.
func TestReasonsDuringALookAreTakenAlong(t *testing.T) {
	t.Parallel()
	for reason, looks := range map[Reason]int{NetworkUp: 1, AppLaunch: 2} {
		t.Run(string(reason), func(t *testing.T) {
			t.Parallel()
			s := lived(t, valid)
			s.until(s.state.Looks.SafetyLookAt.Add(s.looks / 2))
			if s.passes = nil; !s.state.Looks.Running {
				t.Fatal("no look runs")
			}
			s.tell(SourceEvent{Reason: reason})
			s.until(s.now.Add(protocol.DefaultTiming().Splay + within30s))
			exchanged := s.exchanges()
			if len(exchanged) != 1 || !exchanged[0].has(reason) {
				t.Fatalf("passes: %+v", s.passes)
			}
			// NetworkUp waits for its splay: the look that took it along, and the one of its exchange.
			if want := looks + map[bool]int{true: 1}[reason == NetworkUp]; len(s.passes) != want {
				t.Errorf("%d passes, want %d: %+v", len(s.passes), want, s.passes)
			}
		})
	}
}
