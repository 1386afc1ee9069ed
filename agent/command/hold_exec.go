package command

import (
	"context"

	"prlagent/agent/protocol"
)

// holdExecutor is the executor of vm.lock and vm.unlock: what a command does is to put
// the list that it carries in force. What then becomes of the machine is a state of the
// Mac, told with every check-in, and not the outcome of a command (H69).
type holdExecutor struct{ holds *Holds }

// Executors are those of vm.lock and vm.unlock.
func (h *Holds) Executors() map[string]Executor {
	return map[string]Executor{lockType: &holdExecutor{h}, unlockType: &holdExecutor{h}}
}

// Prepare says whether the list may come into force. A command whose list is older than
// the one in force has nothing to do if that one says the same of its machine: lists
// come with every answer of the portal, and may be ahead of their commands.
func (x *holdExecutor) Prepare(_ context.Context, job *Job) (*Readiness, error) {
	if done := x.holds.outcomeOf(&job.Command); done.State != "" {
		return &Readiness{State: done.State, Code: done.Code, Observed: done.Observed}, nil
	}
	signed, code := x.holds.listOf(&job.Command)
	if code == "" && (holdIn(signed.list.Holds, job.Command.Target.VM()) != nil) != (job.Command.Type == lockType) {
		code = protocol.CodeCommandInvalid
	}
	if code == "" {
		x.holds.mu.Lock()
		now := x.holds.options.Circumstances()
		code = signed.refusedBy(x.holds.current, now, now.Trust.signatures(job.Command.Type))
		x.holds.mu.Unlock()
	}
	switch code {
	case "":
		return &Readiness{}, nil
	case protocol.CodeHoldsOutdated:
		return &Readiness{State: protocol.CommandFailed, Code: code}, nil
	}
	return &Readiness{State: protocol.CommandRejected, Code: code}, nil
}

// Act takes the list.
func (x *holdExecutor) Act(_ context.Context, job *Job) error {
	signed, code := x.holds.listOf(&job.Command)
	if code == "" {
		code = x.holds.take(&signed.envelope, x.holds.options.Circumstances().Trust.signatures(job.Command.Type))
	}
	if code != "" {
		return newCodeError(code, "")
	}
	return nil
}

// Verify sees whether the list in force says of the machine what the command wants.
func (x *holdExecutor) Verify(_ context.Context, job *Job) (*Outcome, error) {
	return x.holds.outcomeOf(&job.Command), nil
}

// listOf is the list that a command carries. The command's own signatures, which the
// engine has judged, are on the list as well: it is part of what they sign.
func (h *Holds) listOf(command *protocol.Command) (*signedHolds, protocol.Code) {
	var params protocol.HoldsParams
	if err := command.DecodeParams(&params); err != nil {
		return nil, protocol.CodeCommandInvalid
	}
	return openHolds(&params.Holds, h.options.Circumstances().Trust.Keys)
}

// outcomeOf is done if the list in force is the command's or a newer one, and says of
// its machine what the command wants.
func (h *Holds) outcomeOf(command *protocol.Command) *Outcome {
	signed, code := h.listOf(command)
	if code != "" {
		return &Outcome{}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.current.list.Version < signed.list.Version || h.current.list.Version == signed.list.Version && h.current.sha256 != signed.sha256 {
		return &Outcome{}
	}
	one := h.holds[command.Target.VM()]
	switch {
	case command.Type == lockType && one != nil:
		return &Outcome{State: protocol.CommandSucceeded, Code: protocol.CodeHoldPlaced, Observed: map[string]string{"state": one.record.State}}
	case command.Type == unlockType && one == nil:
		return &Outcome{State: protocol.CommandSucceeded, Code: protocol.CodeHoldLifted}
	}
	return &Outcome{}
}
