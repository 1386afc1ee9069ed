package fleet

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"
)

// Counts is how many devices there are of each kind; those that are retired are in
// States only.
type Counts struct {
	States   map[string]int // by the words of a device's state
	Health   map[string]int // by HealthWords, and "" where none is told
	Versions map[string]int // of agents; the most frequent ones, and VersionOther
	Seen     map[string]int // by the words of SeenWithin
	Missing  int            // virtual machines that no row is for
}

// VersionOther stands for all versions beyond the most frequent ones: a Mac can
// call its agent's version whatever it likes.
const VersionOther = "other"

const maxVersions = 20

// SeenWithin are the spans in which a device may have checked in last, the
// shortest first. The last one is any other.
var SeenWithin = []struct {
	Word string
	Span time.Duration
}{{"hour", time.Hour}, {"day", 24 * time.Hour}, {"week", 7 * 24 * time.Hour}, {"longer", 0}}

// Counts counts the devices.
func (s Scan) Counts(ctx context.Context) (Counts, error) {
	counted := Counts{States: make(map[string]int), Health: make(map[string]int), Seen: make(map[string]int)}
	versions := make(map[string]int)
	_, err := s.Devices(ctx, func(view *Device) error {
		counted.States[view.State]++
		if view.State == StateRetired {
			return nil
		}
		counted.Health[view.Health]++
		versions[view.AgentVersion]++
		counted.Seen[s.seenWord(view.LastCheckinAt)]++
		counted.Missing += view.VMsMissing
		return nil
	})
	counted.Versions = mostFrequent(versions)
	return counted, err
}

func (s Scan) seenWord(at time.Time) string {
	for _, within := range SeenWithin {
		if s.Now.Sub(at) < within.Span {
			return within.Word
		}
	}
	return SeenWithin[len(SeenWithin)-1].Word
}

func mostFrequent(versions map[string]int) map[string]int {
	ranked := slices.SortedFunc(maps.Keys(versions), func(a, b string) int {
		return cmp.Or(cmp.Compare(versions[b], versions[a]), cmp.Compare(a, b))
	})
	kept := make(map[string]int)
	for i, version := range ranked {
		name := version
		if i >= maxVersions {
			name = VersionOther
		}
		kept[name] += versions[version]
	}
	return kept
}
