package daemon

import (
	"runtime/metrics"
	"testing"
)

// Work is followed by two collections, and what an idle daemon allocates by one as soon
// as it is worth it.
func TestMemoryIsGivenBack(t *testing.T) {
	m := new(memory)
	for _, step := range []struct {
		name        string
		garbage     int
		idle        bool
		collections uint64
	}{
		{"at work", 2 * idleGarbage, false, 0},
		{"idle", 0, true, 2},
		{"idle, and little was allocated", idleGarbage / 4, true, 0},
		{"idle, and enough was", 2 * idleGarbage, true, 1},
		{"idle, right after that", 0, true, 0},
		{"at work again", 0, false, 0},
		{"idle again", 0, true, 2},
	} {
		before := forcedCollections()
		for range step.garbage >> 10 {
			waste = make([]byte, 1<<10)
		}
		if m.onIdle(step.idle); forcedCollections()-before != step.collections {
			t.Errorf("%s: %d collections, want %d", step.name, forcedCollections()-before, step.collections)
		}
	}
}

var waste []byte

func forcedCollections() uint64 {
	cycles := []metrics.Sample{{Name: "/gc/cycles/forced:gc-cycles"}}
	metrics.Read(cycles)
	return cycles[0].Value.Uint64()
}
