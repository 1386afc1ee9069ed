package command

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

type jobContext = context.Context

// histories is how many are tried on the model; rapid's own -rapid.checks wins.
const histories = 10_000

func drawHistory(t *rapid.T) []move {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) move {
		return move{rapid.SampledFrom(moves).Draw(t, "move"), rapid.IntRange(0, 39).Draw(t, "n")}
	}), 1, 60).Draw(t, "history")
}

// playHistory plays a history to its end, and holds everything against it.
func playHistory(side agentSide, history []move, fail func(string, ...any)) *world {
	w := newWorld(side, fail)
	for _, next := range history {
		w.play(next)
	}
	w.wantTruth(w.heal())
	w.wantSoFar()
	side.stop()
	return w
}

// For every id at most one effect; if the Mac comes back in time exactly one, or a
// failure that is true; and in the end the portal says what the Mac did: whatever
// crashes, is lost, doubled, restored or set.
func TestH22_H23_H26_H30_PROTOCOL10_Model(t *testing.T) {
	t.Parallel()
	checks := fmt.Sprint(histories)
	if given := flag.Lookup("rapid.checks"); given != nil && given.Value.String() != given.DefValue {
		checks = given.Value.String()
	}
	if err := flag.Set("rapid.checks", checks); err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		playHistory(newMemorySide(""), drawHistory(t), t.Fatalf)
	})
}

// Each sync, count and check of the order of writes is needed: without it the model
// fails. The histories are the same for all, and are drawn from a fixed seed.
func TestH22_H23_H24_H31_EveryStepIsNeeded(t *testing.T) {
	t.Parallel()
	for _, fault := range []string{
		"acknowledged not synced", "running not synced", "intent not synced", "result not synced", "settled when it is sent",
		"intents not counted", "attempts not counted", "limit not counted",
		"act again after a crash", "repeats not answered", "forgotten at once",
		"no proof of time", "trust of the start", "epoch of before",
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(20_000) {
				if failed := failureOf(fault, randomHistory(seed)); failed != "" {
					t.Logf("found by history %d: %s", seed, failed)
					return
				}
			}
			t.Error("no history needs it")
		})
	}
}

func randomHistory(seed uint64) []move {
	random := rand.New(rand.NewPCG(seed, 14))
	history := make([]move, 5+random.IntN(55))
	for i := range history {
		history[i] = move{moves[random.IntN(len(moves))], random.IntN(40)}
	}
	return history
}

// failureOf plays a history with a fault, and gives the first failure.
func failureOf(fault string, history []move) (failed string) {
	type stopped struct{}
	defer func() {
		if r := recover(); r != nil {
			if _, is := r.(stopped); !is {
				panic(r)
			}
		}
	}()
	playHistory(newMemorySide(fault), history, func(format string, args ...any) {
		if failed == "" {
			failed = fmt.Sprintf(format, args...)
		}
		panic(stopped{})
	})
	return failed
}
