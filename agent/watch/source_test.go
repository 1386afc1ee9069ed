package watch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"prlagent/agent/trigger"
)

// What an inbox keeps of what it is told, in which order.
func TestInboxKeepsStatesInTheirOrder(t *testing.T) {
	t.Parallel()
	state := func(uid uint32, word string) Hint { return Hint{UID: uid, VMID: first, State: word} }
	for name, test := range map[string]struct{ told, want []Hint }{
		"nothing": {nil, nil},
		"one of what says the same": {
			[]Hint{{}, {UID: alice, VMID: first}, {}, {UID: alice, VMID: first}, {Reason: trigger.AppLaunch}, {Reason: trigger.AppLaunch}},
			[]Hint{{}, {UID: alice, VMID: first}, {Reason: trigger.AppLaunch}},
		},
		"a state told twice": {
			[]Hint{state(alice, "running"), state(alice, "running")}, []Hint{state(alice, "running")},
		},
		"TRG-05 TRG-08 back in the state of before": {
			[]Hint{state(alice, "running"), state(alice, "stopped"), state(alice, "running")},
			[]Hint{state(alice, "running"), state(alice, "stopped"), state(alice, "running")},
		},
		"a hint without a state in between": {
			[]Hint{state(alice, "running"), {UID: alice, VMID: first}, state(alice, "running")},
			[]Hint{state(alice, "running"), {UID: alice, VMID: first}},
		},
		"H21 the same id of two users": {
			[]Hint{state(alice, "running"), state(bob, "stopped"), state(alice, "running"), state(bob, "stopped")},
			[]Hint{state(alice, "running"), state(bob, "stopped")},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inbox := NewInbox()
			for _, hint := range test.told {
				inbox.Tell(hint)
			}
			if got := inbox.Take(); !slices.Equal(got, test.want) {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
			for _, hint := range test.told { // what was taken is not what waits
				inbox.Tell(hint)
			}
			if got := inbox.Take(); !slices.Equal(got, test.want) {
				t.Errorf("the second time: got %+v, want %+v", got, test.want)
			}
		})
	}
}

// Beyond its bound an inbox keeps what is about no virtual machine, and a hint
// to look at everything.
func TestH12_AFloodedInboxAsksForALook(t *testing.T) {
	t.Parallel()
	inbox := NewInbox()
	inbox.Tell(Hint{Reason: trigger.NetworkUp})
	for i := range 3 * maxHints {
		inbox.Tell(Hint{UID: alice, VMID: fmt.Sprint(i), State: "running"})
	}
	got := inbox.Take()
	if len(got) > maxHints || !slices.Contains(got, Hint{}) || got[0] != (Hint{Reason: trigger.NetworkUp}) {
		t.Errorf("%d hints, first %+v", len(got), got[0])
	}
	inbox.Tell(Hint{})
	inbox.Tell(Hint{})
	if got := inbox.Take(); len(got) != 1 {
		t.Errorf("afterwards: %+v", got)
	}
}

// Many sources tell at once while the loop takes: nothing is lost or doubled.
func TestInboxIsSafeForManySources(t *testing.T) {
	t.Parallel()
	const sources, each = 8, 100
	inbox := NewInbox()
	var telling sync.WaitGroup
	for source := range uint32(sources) {
		telling.Go(func() {
			for i := range each {
				inbox.Tell(Hint{UID: 1 + source, VMID: fmt.Sprint(i)})
			}
		})
	}
	seen := make(map[Hint]int)
	for len(seen) < sources*each {
		<-inbox.Ready()
		for _, hint := range inbox.Take() {
			seen[hint]++
		}
	}
	telling.Wait()
	for hint, times := range seen {
		if times != 1 {
			t.Errorf("%+v came %d times", hint, times)
		}
	}
	if rest := inbox.Take(); len(rest) != 0 {
		t.Errorf("left: %v", rest)
	}
}

// mortal is a source that fails again and again.
type mortal struct {
	mu     sync.Mutex
	lives  time.Duration // before it fails
	starts []time.Time
}

func (m *mortal) watch(ctx context.Context, _ func(Hint)) error {
	m.mu.Lock()
	m.starts = append(m.starts, time.Now())
	lives := m.lives
	m.mu.Unlock()
	if !sleepOrDone(ctx, lives) {
		return ctx.Err()
	}
	return errors.New("broken")
}

// waits are the times between its starts of the last while.
func (m *mortal) waits(while time.Duration) (waits []time.Duration) {
	m.mu.Lock()
	m.starts = nil
	m.mu.Unlock()
	time.Sleep(while)
	synctest.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := 1; i < len(m.starts); i++ {
		waits = append(waits, m.starts[i].Sub(m.starts[i-1]))
	}
	return waits
}

// A source that fails is started again, later each time, and each start asks for
// a look at everything; one that lived for long is started again soon.
func TestAFailedSourceIsStartedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := &mortal{}
		ctx, stop := context.WithCancel(t.Context())
		told, ended := &heard{}, make(chan struct{})
		go func() {
			defer close(ended)
			Supervise(ctx, []Source{{Name: "mortal", Watch: source.watch}}, told.tell, zerolog.Nop())
		}()
		waits := source.waits(time.Hour)
		var want []time.Duration
		for i := range waits {
			want = append(want, min(restartBase<<i, restartCap))
		}
		if diff := cmp.Diff(want, waits); diff != "" || len(waits) < 10 {
			t.Errorf("times between starts (-want +got):\n%s", diff)
		}
		if hints := told.take(); !slices.Equal(hints, make([]Hint, len(waits))) {
			t.Errorf("hints of %d starts again: %v", len(waits), hints)
		}
		source.mu.Lock()
		source.lives = restartCap + time.Second
		source.mu.Unlock()
		source.waits(2 * restartCap) // until it has lived for long
		if waits := source.waits(4 * restartCap); len(waits) < 2 || slices.Max(waits) != source.lives+restartBase {
			t.Errorf("times between starts of one that lives for long: %v", waits)
		}
		stop()
		<-ended
	})
}

// Supervise returns when the last source has ended, not when it is told to: what
// a source started must not outlive the daemon.
func TestSuperviseWaitsForItsSources(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		slow := Source{Name: "slow", Watch: func(ctx context.Context, _ func(Hint)) error {
			<-ctx.Done()
			time.Sleep(time.Second) // its tool is killed
			return nil
		}}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			Supervise(ctx, []Source{slow, slow}, func(Hint) { t.Error("a hint of a source that did not fail") }, zerolog.Nop())
		}()
		synctest.Wait()
		stop()
		began := time.Now()
		<-ended
		if waited := time.Since(began); waited != time.Second {
			t.Errorf("ended after %s, its sources need a second", waited)
		}
	})
}
