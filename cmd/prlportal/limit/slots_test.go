package limit

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

func TestH56_SlotsAreCountedForEachKey(t *testing.T) {
	t.Parallel()
	slots := NewSlots(2)
	first, second, third := slots.Take("a"), slots.Take("a"), slots.Take("a")
	if !first || !second || third {
		t.Error("a has not exactly two slots")
	}
	if !slots.Take("b") {
		t.Error("b got none because a has all of its own")
	}
	slots.Release("a")
	if !slots.Take("a") {
		t.Error("a slot that was given back is not free")
	}
	for _, key := range []string{"a", "a", "b"} {
		slots.Release(key)
	}
	if len(slots.taken) != 0 {
		t.Errorf("%d keys are remembered that have nothing under way", len(slots.taken))
	}
}

func TestH56_TurnsAreBoundedAndEndWithTheirContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		turns, release := NewTurns(2), make(chan struct{})
		working := 0
		for range 3 {
			go func() { _ = turns.Do(t.Context(), func() error { working++; <-release; return nil }) }()
			synctest.Wait()
		}
		if working != 2 {
			t.Errorf("%d work at the same time, want 2", working)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := turns.Do(ctx, func() error { return nil }); !errors.Is(err, context.Canceled) {
			t.Errorf("who does not wait any more got %v", err)
		}
		close(release)
		synctest.Wait()
		if working != 3 || len(turns) != 0 {
			t.Errorf("%d had their turn, %d are still taken", working, len(turns))
		}
	})
}
