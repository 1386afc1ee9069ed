package watch

import (
	"fmt"
	"testing"
	"time"
)

// The limits of this package: each is a promise, or the reason of one.
func TestLimits(t *testing.T) {
	t.Parallel()
	for name, limit := range map[string]struct{ got, want any }{
		"a failed source starts again after":  {restartBase, time.Second},
		"and at the latest after":             {restartCap, 5 * time.Minute},
		"hints that wait":                     {maxHints, 1024},
		"streams (H12)":                       {maxStreams, 32},
		"events of a user at once (H12)":      {floodBurst, 1000},
		"one more event after":                {floodEvery, 5 * time.Millisecond},
		"between two hints of one flood":      {floodTold, 30 * time.Second},
		"a flood is over after":               {floodOver, time.Second},
		"machines in doubt":                   {maxDoubts, 256},
		"digests of machines":                 {maxDigests, 1024},
		"between two looks for more doubts":   {manyDoubted, 5 * time.Minute},
		"a stream is subscribed soon":         {subscribedSoon, 2 * time.Second},
		"a stream is subscribed late":         {subscribedLate, 30 * time.Second},
		"entries of a folder that is watched": {maxWatched, 256},
		"quiet times of the longest burst":    {longestBurst, 6},
		"a tick of a busy Mac is late by":     {wakeSlack, time.Second},
	} {
		if fmt.Sprint(limit.got) != fmt.Sprint(limit.want) {
			t.Errorf("%s: %v, want %v", name, limit.got, limit.want)
		}
	}
}
