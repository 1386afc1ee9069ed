package agent

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"prlagent/agent/config"
	"prlagent/agent/trigger"
)

// The loop goes by the configuration's pace, and a Mac on which nobody
// configured anything has the pace of protocol.md 2.11: one set of values, here
// by name.
func TestTheLoopsPaceIsTheConfigurations(t *testing.T) {
	t.Parallel()
	protocolsPace := trigger.Timing{
		Debounce:        15 * time.Second,
		MinimumGap:      60 * time.Second,
		BucketSize:      6,
		BucketEvery:     10 * time.Minute,
		Splay:           300 * time.Second,
		WakeSplay:       600 * time.Second,
		FreshFor:        15 * time.Minute,
		SafetyNet:       15 * time.Minute,
		RetryBase:       5 * time.Second,
		RetryCap:        30 * time.Minute,
		Tick:            30 * time.Second,
		Daily:           24 * time.Hour,
		CircuitAfter:    24 * time.Hour,
		CircuitInterval: time.Hour,
	}
	if diff := cmp.Diff(protocolsPace, trigger.DefaultTiming); diff != "" {
		t.Errorf("the default (-protocol +default):\n%s", diff)
	}
	none := t.TempDir() + "/none"
	if diff := cmp.Diff(protocolsPace, timingOf(config.Load(config.Paths{Managed: none, Local: none}).Timing)); diff != "" {
		t.Errorf("of a Mac without a configuration (-protocol +Mac):\n%s", diff)
	}
}

// Each value of the configuration is the loop's value of that meaning.
func TestEveryValueOfThePaceReachesTheLoop(t *testing.T) {
	t.Parallel()
	given := config.Timing{
		Debounce: 1, MinimumGap: 2, BucketSize: 3, BucketRefill: 4, Splay: 5, WakeSplay: 6, NetworkQuiet: 7, SafetyNet: 8,
		RetryBase: 9, RetryCap: 10, Tick: 11, Daily: 12, CircuitAfter: 13, CircuitInterval: 14,
	}
	want := trigger.Timing{
		Debounce: 1, MinimumGap: 2, BucketSize: 3, BucketEvery: 4, Splay: 5, WakeSplay: 6, FreshFor: 7, SafetyNet: 8,
		RetryBase: 9, RetryCap: 10, Tick: 11, Daily: 12, CircuitAfter: 13, CircuitInterval: 14,
	}
	if diff := cmp.Diff(want, timingOf(given)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// The limits of this package: each is a promise, or the reason of one.
func TestLimits(t *testing.T) {
	t.Parallel()
	for name, limit := range map[string]struct{ got, want any }{
		"a stop waits":                              {stopLimit, 2 * time.Second},
		"a tool ends by itself within":              {toolGrace, time.Second},
		"people ask at once":                        {personBurst, 30},
		"people ask once more after":                {personEvery, 2 * time.Second},
		"a backup is no older than":                 {backupEvery, 24 * time.Hour},
		"doublings after empty hints":               {patientAfter, 3},
		"the longest splay that a portal may ask":   {maxSplay, time.Hour},
		"ticks after which a time counts as missed": {missedAfter, 3},
		"ticks between two looks at a watched file": {fileBackstop, 10},
		"a file that is replaced must be quiet for": {fileSettle, 500 * time.Millisecond},
	} {
		if fmt.Sprint(limit.got) != fmt.Sprint(limit.want) {
			t.Errorf("%s: %v, want %v", name, limit.got, limit.want)
		}
	}
}
