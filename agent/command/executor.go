package command

import (
	"context"
	"encoding/json"
	"time"

	"prlagent/agent/protocol"
)

// Executor does the commands of one type (one table: type -> executor).
type Executor interface {
	// Prepare only reads. It says whether the command can start, and gives what must be on record before it does.
	Prepare(ctx context.Context, job Job) (Readiness, error)
	// Act does it, within ctx's limit. Its error is a hint only.
	Act(ctx context.Context, job Job) error
	// Verify only reads: whether it is done. It is asked after Act, whatever that said, and after a crash.
	Verify(ctx context.Context, job Job) (Outcome, error)
}
type Job struct {
	Command protocol.Command
	Attempt int             // 1 or 2 (H23); 0 in the first Prepare
	Intent  json.RawMessage // as Readiness gave it, from the journal
	BegunAt time.Time       // when the running state was kept
}
type Readiness struct {
	State    string // "" = it can start; protocol.CommandDeferred, CommandSucceeded (nothing to do), CommandFailed, CommandRejected
	Code     protocol.Code
	Message  string
	RetryAt  time.Time // of a deferral: look again then, at the latest; zero: at the next look of the agent
	Intent   json.RawMessage
	Observed map[string]string
}
type Outcome struct {
	State    string // protocol.CommandSucceeded or CommandFailed; "" = not done, and may be attempted again
	Code     protocol.Code
	Message  string
	Observed map[string]string
}
