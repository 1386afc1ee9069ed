package prlctl

import (
	"context"
	"time"

	"prlagent/platform/tool"
)

// SetLimit is after how long a `prlctl set` is killed: one that asks for a
// password waits for an answer that never comes (hardening H67).
const SetLimit = 15 * time.Second

// ChangedBy gives the id of the virtual machine that a call of ours changes, or may
// change; empty if it changes none.
func ChangedBy(c *tool.Command) (vmID string) {
	if c.Path != Prlctl || len(c.Args) < 2 || c.Args[0] == "list" {
		return ""
	}
	vmID, _ = ParseID(c.Args[1]) // a help page is of no machine
	return vmID
}

// Set runs `prlctl set ID` with these arguments, of which each holds an option
// and its value. It has no terminal and an empty standard input. A string that is
// no UUID is refused before anything is started (invalid_vm_id), and so is a call
// without an argument or with an empty one (tool_refused).
//
// The error is a hint, and so is that there is none: the tool is known to say
// the one and to do the other (facts/prlctl.md 5). What holds is what a new look
// at the machine shows. Every error is an *Error; IsNotApplicable says whether
// this version or this guest has no such setting.
func (c *Client) Set(ctx context.Context, id string, args ...string) error {
	id, err := ParseID(id)
	if err != nil {
		return err
	}
	if len(args) == 0 || args[0] == "" {
		return &Error{Code: tool.CodeRefused}
	}
	return c.change(ctx, &tool.Command{Path: Prlctl, Args: append([]string{"set", id}, args...), Limit: SetLimit})
}

// SetHost runs `prlsrvctl set` with these arguments, which changes what holds for
// the whole Mac. The four actions of --require-pwd are one list that the tool
// reads, changes and writes: no two calls may run at a time (facts/acting.md 1).
// Input, errors and what they are worth are as those of Set.
func (c *Client) SetHost(ctx context.Context, args ...string) error {
	if len(args) == 0 || args[0] == "" {
		return &Error{Code: tool.CodeRefused}
	}
	return c.change(ctx, &tool.Command{Path: Prlsrvctl, Args: append([]string{"set"}, args...), Limit: SetLimit})
}

// SuspendLimit is after how long a `prlctl suspend` is killed: the machine's
// memory is written to the disk. Other tools wait for ten minutes
// (facts/prlctl.md 9), and look at the state all the same.
const SuspendLimit = 2 * time.Minute

// Suspend runs `prlctl suspend ID`. Errors are as those of Set, and hints; the
// state may follow the call by some moments.
func (c *Client) Suspend(ctx context.Context, id string) error {
	return c.actOn(ctx, id, SuspendLimit, nil, "suspend")
}

// change runs a call that changes something.
func (c *Client) change(ctx context.Context, command *tool.Command) error {
	command.MaxOutput = maxHelp
	result, err := c.runner.Run(ctx, command)
	known, isKnown := knownFailure(&result)
	if err != nil && !(isKnown && known.Code == CodeAdminPassword) { // one that waits for an answer is killed
		return runError(err)
	}
	if isKnown {
		return known
	}
	if result.ExitCode != 0 {
		return exitError(&result)
	}
	return nil
}
