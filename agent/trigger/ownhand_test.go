package trigger

import (
	"testing"
	"time"

	"prlagent/agent/protocol"
)

// What the agent itself has set is no reason to check in: neither the look after
// it, nor the echo of the tools, tells it. What somebody changes beside it is one.
func TestTRG_OurOwnSetsAreNoReason(t *testing.T) {
	t.Parallel()
	alices := protocol.VMKey{ID: "a", UID: uids["alice"]}
	for name, c := range map[string]struct {
		after string // what the next look sees
		want  int    // reasons
	}{
		"our own":                  {"ours", 0},
		"and somebody's behind it": {"theirs", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := lived(t, valid, vmRow("alice", "a", protocol.StateStopped, "before"))
			s.becomes(vmRow("alice", "a", protocol.StateStopped, c.after))
			s.tell(Converged{Look: true, UID: alices.UID, Own: []OwnHand{{Key: alices, Before: "before", After: "ours"}}})
			s.tell(aliceHears("a", "")) // the echo
			s.until(s.now.Add(time.Minute))
			told := 0
			for _, pass := range s.passes {
				if pass.has(VMConfigChanged) {
					told++
				}
			}
			if told != c.want || len(s.passes) == 0 {
				t.Errorf("%d reasons in %d passes, want %d: %+v", told, len(s.passes), c.want, s.passes)
			}
		})
	}
}

// The echoes of our own sets are no empty hints: what the user changes next is
// looked at after the debounce (H46).
func TestH46_OurOwnSetsMakeNobodyWait(t *testing.T) {
	t.Parallel()
	alices := protocol.VMKey{ID: "a", UID: uids["alice"]}
	s := lived(t, valid, vmRow("alice", "a", protocol.StateStopped, "1"))
	for range 10 {
		s.tell(Converged{Look: true, UID: alices.UID})
		s.tell(aliceHears("a", ""))
		s.until(s.now.Add(30 * time.Second))
	}
	if waits := s.state.Looks.EmptyHints.of(alices.UID); waits > 1 {
		t.Errorf("the next hint of the account waits %d doublings of the debounce", waits)
	}
}

// What could not even be begun, as on a full disk or with tools that do not answer, is
// looked at ever less often, and not without end.
func TestH46_WhatCannotBeBegunKeepsNobodyBusy(t *testing.T) {
	t.Parallel()
	alices := protocol.VMKey{ID: "a", UID: uids["alice"]}
	s := lived(t, valid, vmRow("alice", "a", protocol.StateStopped, "1"))
	s.passes = nil
	end := s.now.Add(time.Hour)
	for seen := -1; s.now.Before(end); s.until(s.now.Add(time.Second)) {
		if len(s.passes) > seen {
			seen = len(s.passes)
			s.tell(Converged{Look: true, Idle: true, UID: alices.UID})
		}
	}
	if len(s.passes) < 10 || len(s.passes) > 100 {
		t.Errorf("%d looks in an hour", len(s.passes))
	}
}

// That the portal does not know how it ended is told once, in its turn.
func TestConvergedOwesAReport(t *testing.T) {
	t.Parallel()
	s := lived(t, valid, vmRow("alice", "a", protocol.StateStopped, "1"))
	s.until(s.now.Add(time.Hour))
	s.passes = nil
	s.has = &Picture{} // the portal has another report
	s.tell(Converged{PortalBehind: true})
	s.until(s.now.Add(2 * time.Minute))
	if len(s.passes) != 1 || !s.passes[0].exchange {
		t.Errorf("passes %+v", s.passes)
	}
}

// What the agent has set, and what a Mac that slept did not tell, while a look runs that
// may have seen the Mac before that, is looked at once more behind that look; what is
// about the portal alone is not.
func TestH46_WhatComesDuringALook(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		what  Event
		looks int
	}{
		"nothing":                {Tick{}, 1},
		"our own sets":           {Converged{Look: true, UID: uids["alice"]}, 2},
		"a wake":                 {SourceEvent{Reason: Wake}, 2},
		"a hint":                 {aliceHears("a", ""), 2},
		"a change":               {SourceEvent{Reason: ProfileChanged}, 2},
		"the network is there":   {SourceEvent{Reason: NetworkUp}, 1},
		"the report has changed": {Converged{PortalBehind: true}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := lived(t, valid, vmRow("alice", "a", protocol.StateStopped, "1"))
			s.looks = 10 * time.Second
			s.tell(Converged{Look: true, UID: uids["alice"]})
			for !s.state.Looks.Running {
				s.until(s.now.Add(time.Second))
			}
			s.passes = nil
			s.tell(c.what)
			s.until(s.now.Add(time.Minute))
			if len(s.passes) != c.looks {
				t.Errorf("%d looks: %+v", len(s.passes), s.passes)
			}
		})
	}
}
