package trigger

import (
	"slices"
	"testing"
	"time"

	"prlagent/agent/protocol"
)

// slowPortal is a simulation of a Mac whose portal needs a while for an answer,
// while an exchange with it runs.
func slowPortal(t testing.TB, takes time.Duration) *simulation {
	s := lived(t, valid, vmRow("alice", "a", protocol.StateStopped, "1"))
	s.until(s.now.Add(time.Hour)) // the bucket fills, the gap is over
	s.takes = takes
	s.tell(SourceEvent{Reason: AppLaunch})
	for !s.state.Limits.Running {
		s.until(s.now.Add(time.Second))
	}
	s.passes = nil
	return s
}

// A virtual machine that starts while an exchange runs is looked at after its
// debounce, and the portal is told when the exchange has ended and the gap is
// over: once.
func TestH59_LooksGoOnWhileAnExchangeRuns(t *testing.T) {
	t.Parallel()
	s := slowPortal(t, 50*time.Second)
	from := s.now
	s.becomes(vmRow("alice", "a", protocol.StateRunning, "1"))
	s.tell(aliceHears("a", "running"))
	s.until(from.Add(s.state.Timing.Debounce + 2*s.looks))
	if !s.state.Limits.Running {
		t.Fatal("the exchange has ended")
	}
	if len(s.passes) != 1 || s.passes[0].exchange || !s.passes[0].has(VMStarted) {
		t.Fatalf("looks while the exchange runs: %+v", s.passes)
	}
	s.until(from.Add(10 * time.Minute))
	told := 0
	for _, pass := range s.exchanges() {
		if pass.has(VMStarted) {
			told++
		}
	}
	if told != 1 {
		t.Errorf("told %d times: %+v", told, s.exchanges())
	}
}

// Hours of an exchange that never ends: the safety net looks on, and there is
// never a second exchange beside the first.
func TestH59_AnExchangeThatNeverEnds(t *testing.T) {
	t.Parallel()
	s := slowPortal(t, 1000*Day)
	s.until(s.now.Add(6 * time.Hour))
	if len(s.exchanges()) != 0 {
		t.Errorf("exchanges beside the first: %+v", s.exchanges())
	}
	if looks := len(s.passes); looks < 23 || looks > 26 {
		t.Errorf("%d looks in six hours", looks)
	}
}

// A person's wish that comes while an exchange runs is answered by the next one,
// at once when the first has ended.
func TestH59_AWishDuringAnExchangeWaitsForItOnly(t *testing.T) {
	t.Parallel()
	s := slowPortal(t, 50*time.Second)
	s.tell(SourceEvent{Reason: Manual})
	s.until(s.now.Add(5 * time.Second))
	if len(s.passes) != 1 || s.passes[0].exchange || !s.passes[0].has(Manual) {
		t.Fatalf("the wish is not looked at: %+v", s.passes)
	}
	ends := s.exchangeEndsAt
	s.until(ends.Add(2 * s.looks))
	exchanges := s.exchanges()
	if len(exchanges) != 1 || !exchanges[0].has(Manual) || exchanges[0].at.Sub(ends) > s.looks {
		t.Errorf("after the first exchange: %+v", exchanges)
	}
	s.until(s.now.Add(10 * time.Minute))
	if slices.ContainsFunc(s.exchanges()[1:], func(p passRecord) bool { return p.has(Manual) }) {
		t.Errorf("answered twice: %+v", s.exchanges())
	}
}

// What fails while looks go on keeps the reasons of all of them.
func TestH59_AFailedExchangeLosesNothing(t *testing.T) {
	t.Parallel()
	s := slowPortal(t, 50*time.Second)
	s.portal = down
	s.becomes(vmRow("alice", "a", protocol.StateRunning, "1"))
	s.tell(aliceHears("a", "running"))
	s.until(s.now.Add(55 * time.Second))
	s.portal, s.takes = nil, time.Second
	s.until(s.now.Add(10 * time.Minute))
	exchanges := s.exchanges()
	if len(exchanges) != 1 || !exchanges[0].has(AppLaunch) || !exchanges[0].has(VMStarted) {
		t.Errorf("told: %+v", exchanges)
	}
}

// A network that flaps while an exchange runs is answered by that exchange,
// also where a look has taken the reason along.
func TestH59_TRG_10_FlapsDuringAnExchangeAreAnswered(t *testing.T) {
	t.Parallel()
	s := lived(t, valid)
	s.until(s.now.Add(3 * time.Hour))
	s.takes, s.looks = s.state.Timing.Debounce+10*time.Second, 20*time.Second
	s.tell(SourceEvent{Reason: AppLaunch})
	for !s.state.Limits.Running {
		s.until(s.now.Add(time.Second))
	}
	s.passes = nil
	s.tell(SourceEvent{Reason: AppLaunch}) // a look begins beside the exchange
	s.tell(SourceEvent{Reason: NetworkUp})
	s.until(s.now.Add(2 * time.Hour))
	for _, pass := range s.exchanges() {
		if pass.has(NetworkUp) {
			t.Errorf("told again: %+v", pass)
		}
	}
}
