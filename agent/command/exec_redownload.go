package command

import (
	"context"

	"prlagent/agent/protocol"
)

// Redownload refuses vm.redownload before anything is deleted: this version provides no
// golden images.
type Redownload struct{}

// Prepare refuses.
func (*Redownload) Prepare(context.Context, *Job) (*Readiness, error) {
	return rejectedAs(protocol.CodeImageNotSupported, ""), nil
}

// Act does nothing.
func (*Redownload) Act(context.Context, *Job) error { return nil }

// Verify says that nothing was done.
func (*Redownload) Verify(context.Context, *Job) (*Outcome, error) {
	return failedAs(protocol.CodeImageNotSupported, ""), nil
}
