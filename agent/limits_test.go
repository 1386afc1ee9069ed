package agent

import (
	"fmt"
	"testing"
	"time"
)

// The limits of this package: each is a promise, or the reason of one.
func TestLimits(t *testing.T) {
	t.Parallel()
	for name, limit := range map[string]struct{ got, want any }{
		"a stop waits":                              {stopLimit, 2 * time.Second},
		"a tool ends by itself within":              {toolGrace, time.Second},
		"people ask at once":                        {personBurst, 30},
		"people ask once more after":                {personEvery, 2 * time.Second},
		"a backup is no older than":                 {backupEvery, 24 * time.Hour},
		"news have the agent check in at once":      {newsBurst, 60},
		"and once more after":                       {newsEvery, 30 * time.Second},
		"a backup follows on another after":         {backupPause, time.Minute},
		"an exchange takes at most (H59)":           {exchangeLimit, 90 * time.Second},
		"ticks between two looks at a watched file": {fileBackstop, 10},
		"a file that is replaced must be quiet for": {fileSettle, 500 * time.Millisecond},
	} {
		if fmt.Sprint(limit.got) != fmt.Sprint(limit.want) {
			t.Errorf("%s: %v, want %v", name, limit.got, limit.want)
		}
	}
}
