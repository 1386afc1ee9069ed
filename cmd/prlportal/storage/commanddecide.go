package storage

import (
	"slices"
	"time"

	"prlagent/agent/protocol"
)

// What administrators decide of commands.

// By is who decides, and why.
type By struct {
	Admin  string
	Reason string
	At     time.Time
}

// Add takes in a command that its issuer has signed, and needs that many signatures.
func (l *CommandLog) Add(command Command, needed int, by By) error {
	if l.Find(command.ID) != nil {
		return ErrCommandKnown
	}
	for i := range l.Commands {
		if other := &l.Commands[i]; other.IsOpen() && other.onSame(&command) {
			return ErrCommandOpen
		}
	}
	if l.OpenCount() >= MaxOpenCommands {
		return ErrTooManyCommands
	}
	if command.HoldsVersion > 0 {
		command.HoldsBase = l.Base().Version
		l.HighestHolds = max(l.HighestHolds, command.HoldsVersion)
	}
	command.Needed, command.State = needed, protocol.CommandPending
	if needed > len(command.Signers) {
		command.State = protocol.CommandAwaitingApproval
	}
	command.Since = by.At
	command.note(CommandStep{At: by.At, What: StepIssued, By: command.IssuedBy, Reason: command.Reason})
	if l.Frozen != nil && command.mayHarm() {
		command.withhold(WithheldRestored, by.At)
	}
	l.Commands = append(l.Commands, command)
	return nil
}

// Approve adds a signature. With enough of them the command takes its place at the end
// of the queue: what was signed before it is done before it.
func (l *CommandLog) Approve(id string, signer Signer) error {
	command := l.Find(id)
	switch {
	case command == nil:
		return ErrNoCommand
	case command.State != protocol.CommandAwaitingApproval:
		return ErrNotAwaiting
	case slices.ContainsFunc(command.Signers, func(s Signer) bool { return s.KeyID == signer.KeyID || s.Person == signer.Person }):
		return ErrSameSigner
	case command.HoldsVersion > 0 && command.HoldsBase != l.Base().Version:
		return ErrHoldsMoved
	}
	command.Signers = append(command.Signers, signer)
	step := CommandStep{At: signer.At, What: StepApproved, By: signer.Person}
	if len(command.Signers) < command.Needed {
		command.note(step)
		return nil
	}
	command.become(protocol.CommandPending, step)
	last := *command
	l.Commands = append(slices.DeleteFunc(l.Commands, func(c Command) bool { return c.ID == id }), last)
	return nil
}

// Cancel ends a command that no Mac can have, and asks the Mac about any other: only
// its own answer is the end of that.
func (l *CommandLog) Cancel(id string, by By) error {
	command := l.Find(id)
	switch {
	case command == nil:
		return ErrNoCommand
	case !command.IsOpen() && !command.isLost():
		return ErrCommandEnded
	case l.isBuiltUpon(command):
		return ErrHoldsBuiltUpon
	}
	step := CommandStep{At: by.At, By: by.Admin, Reason: by.Reason}
	switch {
	case command.State == protocol.CommandAwaitingApproval && command.MaybeSent: // with approvals that this portal does not have
		command.CancelAsked, step.Code = by.At, protocol.CodePortalRestored
		command.become(protocol.CommandUnknown, step)
		return nil
	case command.State == protocol.CommandAwaitingApproval, command.State == protocol.CommandPending && !command.MaybeSent:
		command.CancelAsked, step.Code = by.At, protocol.CodeCommandCancelled
		command.become(protocol.CommandCancelled, step)
		return nil
	}
	if command.CancelAsked.IsZero() {
		command.CancelAsked, step.What = by.At, StepCancelAsked
		command.note(step)
	}
	return nil
}

// isLost reports whether only the Mac can say what became of a command that this portal
// has no envelope of. Once it does, it is asked to cancel it.
func (c *Command) isLost() bool { return c.Orphan && c.State == protocol.CommandUnknown }

// isBuiltUpon reports whether a later list of holds was made from that of a command.
func (l *CommandLog) isBuiltUpon(command *Command) bool {
	return command.HoldsVersion > 0 && slices.ContainsFunc(l.Commands, func(c Command) bool {
		return c.IsOpen() && c.HoldsBase >= command.HoldsVersion && c.ID != command.ID
	})
}

// Confirm lets a withheld command be delivered to the device as it is now. While the
// device is frozen, who confirms what it withholds knows of that; who confirms what
// another reason withholds does not.
func (l *CommandLog) Confirm(id string, by By) error {
	command := l.Find(id)
	switch {
	case command == nil:
		return ErrNoCommand
	case !command.IsOpen():
		return ErrCommandEnded
	case command.Withheld == nil:
		return ErrNotWithheld
	case command.Withheld.Because == WithheldEpoch:
		return ErrOldEpoch
	}
	because := command.Withheld.Because
	command.Withheld = nil
	command.note(CommandStep{At: by.At, What: StepConfirmed, By: by.Admin, Reason: by.Reason})
	if l.Frozen != nil && because != WithheldRestored && command.mayHarm() {
		command.withhold(WithheldRestored, by.At)
	}
	return nil
}

// Thaw ends the freeze of a device, and lets the commands be delivered that it withheld.
func (l *CommandLog) Thaw(by By) {
	l.Frozen = nil
	for i := range l.Commands {
		c := &l.Commands[i]
		if c.IsOpen() && c.Withheld != nil && c.Withheld.Because == WithheldRestored {
			c.Withheld = nil
			c.note(CommandStep{At: by.At, What: StepConfirmed, By: by.Admin, Reason: by.Reason})
		}
	}
}

// withheldInOrder are the reasons to withhold a command: a later one stands in the place
// of an earlier one, and is not lifted with it.
var withheldInOrder = []string{WithheldRestored, WithheldEnrolled, WithheldEpoch}

// withhold marks an open command that is not marked for as good a reason yet.
func (c *Command) withhold(because string, now time.Time) {
	if c.Withheld != nil && slices.Index(withheldInOrder, c.Withheld.Because) >= slices.Index(withheldInOrder, because) {
		return
	}
	c.Withheld = &Withheld{At: now, Because: because}
	c.note(CommandStep{At: now, What: StepWithheld, Reason: because})
}

// Reenrolled withholds everything that is open: who comes back under a known name gets
// no old command by itself (H69).
func (l *CommandLog) Reenrolled(now time.Time) {
	for i := range l.Commands {
		if c := &l.Commands[i]; c.IsOpen() {
			c.withhold(WithheldEnrolled, now)
		}
	}
}

// Freeze withholds what may harm, also what comes later, because the device is ahead of
// the portal (H30).
func (l *CommandLog) Freeze(because string, now time.Time) {
	if l.Frozen == nil {
		l.Frozen = &Freeze{At: now, Because: because}
	}
	l.doubt(now)
}

// doubt notes of everything that is open that a Mac may have had it from this portal as it
// was before, and withholds what may harm.
func (l *CommandLog) doubt(now time.Time) {
	for i := range l.Commands {
		c := &l.Commands[i]
		if !c.IsOpen() {
			continue
		}
		c.MaybeSent = true
		if c.mayHarm() {
			c.withhold(WithheldRestored, now)
		}
	}
}

// PutBack withholds what may harm and is of before the portal was made of a backup: what
// was cancelled since then, this portal does not know, and a Mac that was away neither
// (H30). It reports whether the log was judged by this restore before; then nothing
// changes.
func (l *CommandLog) PutBack(restoredAt, now time.Time) (isDone bool) {
	if !l.RestoredAt.Before(restoredAt) {
		return true
	}
	l.RestoredAt = restoredAt
	l.doubt(now)
	return false
}

// HasWithheld reports whether a command waits for that reason.
func (l *CommandLog) HasWithheld(because string) bool {
	return slices.ContainsFunc(l.Commands, func(c Command) bool { return c.IsOpen() && c.Withheld != nil && c.Withheld.Because == because })
}

// Restore notes a command that the audit log has and this portal has no envelope of:
// whether the Mac had it, only the Mac can say.
func (l *CommandLog) Restore(command Command, now time.Time) {
	if l.Find(command.ID) != nil || l.orphans() >= maxOrphans {
		return
	}
	command.Orphan = true
	command.become(protocol.CommandUnknown, CommandStep{At: now, Code: protocol.CodePortalRestored})
	l.Commands = append(l.Commands, command)
}

func (l *CommandLog) orphans() (count int) {
	for i := range l.Commands {
		if l.Commands[i].Orphan {
			count++
		}
	}
	return count
}

// CancelAgain asks the Mac to cancel what was cancelled once, also where this portal has
// not sent it: the one that had it before may have (H30).
func (l *CommandLog) CancelAgain(id string, by By) {
	command := l.Find(id)
	if command == nil || !command.IsOpen() || !command.CancelAsked.IsZero() {
		return
	}
	command.CancelAsked = by.At
	command.note(CommandStep{At: by.At, What: StepCancelAsked, By: by.Admin, Reason: by.Reason})
}
