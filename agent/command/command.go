// Package command carries out what an administrator has signed, so that it takes
// effect once: on the machine that was meant, also where the Mac sleeps, crashes,
// is offline for days, or where either side is restored from a backup.
//
// A delivery that happens exactly once is impossible; an effect that does needs a
// durable intent before, and an observation after it (protocol.md 2.10). The order
// of the writes of one command, each flushed to the disk:
//
//  1. the journal has it: acknowledged
//  2. the journal has the attempt: running, with its number and its intent
//  3. the intent file, which no restore of the journal takes back, has a line
//  4. after the act and the look at what became of it, the journal has the result
//  5. the portal has acknowledged the result, in the commit that settles the report
//
// The attempt is in the journal before it is in the intent file. So a crash between
// the two costs an attempt, and a journal that does not know of an attempt which the
// file has is older than the act: nothing is done again then (H22).
//
// Who reads on begins with machine.go, which decides and does nothing; engine.go
// does what it says, and runner.go gives every machine's commands a lane.
package command

import (
	"context"
	"encoding/json"
	"time"

	"prlagent/agent/protocol"
)

// Executor does the commands of one type.
type Executor interface {
	// Prepare only reads. It says whether the command can start, and gives what must
	// be on record before it does. An error says that it cannot be told now; without
	// one there is an answer.
	Prepare(ctx context.Context, job *Job) (*Readiness, error)
	// Act does it, within ctx's limit. Its error is a hint only.
	Act(ctx context.Context, job *Job) error
	// Verify only reads: whether it is done. It is asked after Act, whatever that
	// said, and after a crash. An error says that it cannot be told now; without one
	// there is an answer.
	Verify(ctx context.Context, job *Job) (*Outcome, error)
}

// remembering is an executor that remembers what it saw of commands, for its Verify.
type remembering interface {
	// Forget is called once the result of a command is on the disk, and not before: until
	// then it can be verified again.
	Forget(commandID string)
}

// Job is a command as its executor gets it, which changes nothing in it.
type Job struct {
	Command protocol.Command
	Attempt int // that was begun last: 1 or 2; 0 in the first Prepare
	// Intent is as Readiness gave it, from the journal. It is nil before the first
	// attempt, and in a Verify of a command whose attempt the journal has lost (H22).
	Intent  json.RawMessage
	BegunAt time.Time // when the running state was kept; zero where Intent is nil
}

// Readiness is what Prepare says.
type Readiness struct {
	// State is empty if the command can start, else protocol.CommandDeferred, or how
	// it ends: CommandSucceeded if nothing is left to do, CommandFailed,
	// CommandRejected.
	State   string
	Code    protocol.Code
	Message string
	// RetryAt is when to look again at the latest, of a deferral, by the likely time of
	// day; zero: at the next look of the agent.
	RetryAt  time.Time
	Intent   json.RawMessage
	Observed map[string]string
}

// Outcome is what Verify says, and how a command ends.
type Outcome struct {
	// State is protocol.CommandSucceeded or CommandFailed; empty if it is not done,
	// and may be attempted again.
	State    string
	Code     protocol.Code
	Message  string
	Observed map[string]string
}

// Clock is what is known of the time of day (H24).
type Clock struct {
	Wall time.Time // this Mac's own clock, which anybody may have set
	// Trusted is the least that it can be: nobody on the Mac can set it, it never
	// goes back, and it lags by the time that the Mac was asleep.
	Trusted time.Time
	// Likely is what it is if this Mac's own clock goes right; never before Trusted.
	Likely time.Time
	// Proven says that the portal's time was seen since the Mac started, or that the
	// Mac's clock is not behind the last trusted time.
	Proven bool
}

// onWall is what this Mac's own clock says at a time; zero stays zero.
func (c *Clock) onWall(likely time.Time) time.Time {
	if likely.IsZero() {
		return likely
	}
	return c.Wall.Add(likely.Sub(c.Likely))
}

// Trust is what the Mac's configuration says of commands.
type Trust struct {
	Keys       []protocol.TrustedKey
	Thresholds map[string]int // by type: how many keys must have signed; 0: it does not run at all
	Allowed    []string
	Mode       string
	// Limit is how many commands of a counted type may start within the window (H31).
	Limit  int
	Window time.Duration
}

// Target is what this Mac is.
type Target struct {
	DeviceID string
	Serial   string // the hardware UUID of a Mac without one
	Epoch    string
	// Owners are the accounts, by uid, that have a virtual machine of this id; none if
	// no look has seen any.
	Owners func(vmID string) []uint32
}

// isKnown reports whether it is known which Mac this is, as not before a daemon has
// recalled or seen it.
func (t *Target) isKnown() bool { return t.DeviceID != "" && t.Serial != "" }

// Circumstances are what an order is held against; they are asked for anew before
// each attempt (H23).
type Circumstances struct {
	Clock  Clock
	Trust  Trust
	Target Target
}
