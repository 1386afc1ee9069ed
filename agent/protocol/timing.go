package protocol

import (
	"slices"
	"time"
)

// Timing is the agent's pace (protocol.md 2.11). Other values than the
// defaults are honored only under --root, for tests that cannot wait (DESIGN 4).
type Timing struct {
	Debounce        time.Duration // how long events of one kind may gather
	MinimumGap      time.Duration // between two check-ins that nobody asked for
	BucketSize      int           // check-ins that may come as a burst
	BucketRefill    time.Duration // one more check-in each
	Splay           time.Duration // longest random wait for common causes, unless the portal says
	WakeSplay       time.Duration // the same for a daily check that a sleep has missed
	NetworkQuiet    time.Duration // so long after a check-in a network that comes up is no reason for another
	SafetyNet       time.Duration // from one look to the next, whatever no event has told
	Poll            time.Duration // of the process table: a quarter of a tick, to wake the Mac with it; debounce and tools must fit into 30 s beside it (TRG-01)
	NetworkSettle   time.Duration // how long the network must be quiet before it is judged
	WakeStay        time.Duration // how long the Mac must stay awake before it counts as awake
	EchoWait        time.Duration // how long after a query its echoes may come
	StreamRetry     time.Duration // first wait before an event stream is started again, doubled each time
	StreamRetryCap  time.Duration
	Tick            time.Duration // how often the wall clock is compared with the due times
	Daily           time.Duration // the guide's daily check
	CadenceMinimum  time.Duration // lowest next_checkin_s that is believed
	CadenceMaximum  time.Duration // highest
	RetryBase       time.Duration // first wait after a failure, doubled with each
	RetryCap        time.Duration // longest wait after a failure
	CircuitAfter    time.Duration // failing this long, attempts are rare; 0 = never
	CircuitInterval time.Duration // how rare
	ProfileGrace    time.Duration // how long a missing profile stays in force (H06)
	UserLook        time.Duration // how long a look waits for one user (H12)
	CommandLook     time.Duration // between two looks at what a command has done; how often it looks is fixed
}

// TimingRow is one duration of Timing: its name in a configuration, default
// and range in seconds. Minimums are for tests.
type TimingRow struct {
	Name                       string
	Standard, Minimum, Maximum float64
	Field                      func(*Timing) *time.Duration
}

// timingTable is the table of protocol.md 2.11.
var timingTable = []TimingRow{
	{"Debounce", 15, 0, 600, func(t *Timing) *time.Duration { return &t.Debounce }},
	{"MinimumGap", 60, 0, 3600, func(t *Timing) *time.Duration { return &t.MinimumGap }},
	{"BucketRefill", 600, 0.01, 86400, func(t *Timing) *time.Duration { return &t.BucketRefill }},
	{"Splay", 300, 0, 86400, func(t *Timing) *time.Duration { return &t.Splay }},
	{"WakeSplay", 600, 0, 86400, func(t *Timing) *time.Duration { return &t.WakeSplay }},
	{"NetworkQuiet", 900, 0, 86400, func(t *Timing) *time.Duration { return &t.NetworkQuiet }},
	{"SafetyNet", 900, 0.1, 86400, func(t *Timing) *time.Duration { return &t.SafetyNet }},
	{"Poll", 7.5, 0.01, 600, func(t *Timing) *time.Duration { return &t.Poll }},
	{"NetworkSettle", 5, 0.01, 600, func(t *Timing) *time.Duration { return &t.NetworkSettle }},
	{"WakeStay", 60, 0.01, 600, func(t *Timing) *time.Duration { return &t.WakeStay }},
	{"EchoWait", 2, 0.01, 600, func(t *Timing) *time.Duration { return &t.EchoWait }},
	{"StreamRetry", 1, 0.01, 600, func(t *Timing) *time.Duration { return &t.StreamRetry }},
	{"StreamRetryCap", 300, 0.01, 3600, func(t *Timing) *time.Duration { return &t.StreamRetryCap }},
	{"Tick", 30, 0.01, 600, func(t *Timing) *time.Duration { return &t.Tick }},
	{"Daily", 86400, 1, 86400, func(t *Timing) *time.Duration { return &t.Daily }},
	{"CadenceMinimum", 300, 1, 86400, func(t *Timing) *time.Duration { return &t.CadenceMinimum }},
	{"CadenceMaximum", 86400, 1, 86400, func(t *Timing) *time.Duration { return &t.CadenceMaximum }},
	{"RetryBase", 5, 0.01, 3600, func(t *Timing) *time.Duration { return &t.RetryBase }},
	{"RetryCap", 1800, 0.01, 86400, func(t *Timing) *time.Duration { return &t.RetryCap }},
	{"CircuitAfter", 86400, 1, 604800, func(t *Timing) *time.Duration { return &t.CircuitAfter }},
	{"CircuitInterval", 3600, 0.01, 86400, func(t *Timing) *time.Duration { return &t.CircuitInterval }},
	{"ProfileGrace", 600, 0, 86400, func(t *Timing) *time.Duration { return &t.ProfileGrace }},
	{"UserLook", 75, 0.1, 600, func(t *Timing) *time.Duration { return &t.UserLook }},
	{"CommandLook", 1, 0.01, 60, func(t *Timing) *time.Duration { return &t.CommandLook }},
}

// defaultBucketSize is how many check-ins may come as a burst.
const defaultBucketSize = 6

// Timings are the durations of Timing, each with its default and its range.
func Timings() []TimingRow { return slices.Clone(timingTable) }

// DefaultTiming is what a Mac gets.
func DefaultTiming() Timing {
	timing := Timing{BucketSize: defaultBucketSize}
	for _, row := range timingTable {
		*row.Field(&timing) = Seconds(row.Standard)
	}
	return timing
}

// Seconds is a duration of that many seconds.
func Seconds(value float64) time.Duration { return time.Duration(value * float64(time.Second)) }
