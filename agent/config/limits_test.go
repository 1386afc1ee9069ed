package config

import (
	"testing"

	"prlagent/agent/protocol"
)

// Every value of the pace, its default and its range in seconds (protocol.md
// 2.11), and the other numbers of a configuration: a change of one is a change
// of the contract.
func TestDefaultsAndRanges(t *testing.T) {
	t.Parallel()
	type limits struct{ standard, minimum, maximum float64 }
	want := map[string]limits{
		"Debounce":        {15, 0, 600},
		"MinimumGap":      {60, 0, 3600},
		"BucketSize":      {6, 1, 1000},
		"BucketRefill":    {600, 0.01, 86400},
		"Splay":           {300, 0, 86400},
		"WakeSplay":       {600, 0, 86400},
		"NetworkQuiet":    {900, 0, 86400},
		"SafetyNet":       {900, 0.1, 86400},
		"Poll":            {7.5, 0.01, 600},
		"NetworkSettle":   {5, 0.01, 600},
		"WakeStay":        {60, 0.01, 600},
		"EchoWait":        {2, 0.01, 600},
		"StreamRetry":     {1, 0.01, 600},
		"StreamRetryCap":  {300, 0.01, 3600},
		"Tick":            {30, 0.01, 600},
		"Daily":           {86400, 1, 86400},
		"CadenceMinimum":  {300, 1, 86400},
		"CadenceMaximum":  {86400, 1, 86400},
		"RetryBase":       {5, 0.01, 3600},
		"RetryCap":        {1800, 0.01, 86400},
		"CircuitAfter":    {86400, 1, 604800},
		"CircuitInterval": {3600, 0.01, 86400},
		"ProfileGrace":    {600, 0, 86400},
		"UserLook":        {75, 0.1, 600},
		"CommandLook":     {1, 0.01, 60},
		"Count":           {4, 0, 1000},
		"WindowHours":     {24, 1, 8760},
	}
	// given is what is in force of a value under --root.
	given := func(t *testing.T, name string, value float64) float64 {
		t.Helper()
		m := newMac(t)
		m.paths.Root = true
		m.managed(dict{"Timing": dict{name: value}, "DestructiveLimit": dict{name: value}})
		return inForce(loadNow(m.paths), name)
	}
	for name, want := range want {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := inForce(loadNow(newMac(t).paths), name); got != want.standard {
				t.Errorf("default %g, want %g", got, want.standard)
			}
			if got := (limits{want.standard, given(t, name, -1), given(t, name, 1e9)}); got != want {
				t.Errorf("range %g to %g, want %g to %g", got.minimum, got.maximum, want.minimum, want.maximum)
			}
		})
	}
	if rows := len(protocol.Timings()) + len([]intRange{limitCount, limitWindow, bucketSize}); rows != len(want) {
		t.Errorf("%d rows, %d are known here", rows, len(want))
	}
	if maxFile != 1<<20 || maxGroup != 64 {
		t.Errorf("a file has at most %d bytes and a group id %d", maxFile, maxGroup)
	}
}

// inForce is a number of the configuration, in seconds where it is a time.
func inForce(c *Config, name string) float64 {
	switch name {
	case limitCount.name:
		return float64(c.DestructiveLimit.Count)
	case limitWindow.name:
		return float64(c.DestructiveLimit.WindowHours)
	case bucketSize.name:
		return float64(c.Timing.BucketSize)
	}
	for _, row := range protocol.Timings() {
		if row.Name == name {
			return row.Field(&c.Timing).Seconds()
		}
	}
	return -1
}
