package storage

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"prlagent/agent/protocol"
)

// Bounds of what is kept of a device's commands (H56).
const (
	MaxOpenCommands  = 64 // of one device, that have not ended
	MaxKeptCommands  = 500
	MaxCommandBytes  = 1 << 20 // of all but their envelopes
	MaxCommandSteps  = 64      // of one command; the first and the newest stay
	maxOrphans       = 64      // that a device may tell of
	maxEnvelopeBytes = 6 * protocol.MaxPolicy
)

// Errors of a command that an administrator issues or decides on.
var (
	ErrCommandKnown    = errors.New("there is a command with this id already")
	ErrCommandOpen     = errors.New("a command of this type waits for this target already; cancel it first")
	ErrTooManyCommands = errors.New("too many commands of this device wait already")
	ErrNoCommand       = errors.New("there is no such command")
	ErrCommandEnded    = errors.New("the command has ended")
	ErrNotAwaiting     = errors.New("the command waits for no approval")
	ErrSameSigner      = errors.New("who has signed a command cannot approve it")
	ErrHoldsMoved      = errors.New("the list of holds has changed since the command was signed; cancel it and issue it anew")
	ErrHoldsBuiltUpon  = errors.New("a later list of holds is built upon that of this command; unlock the virtual machine instead")
	ErrNotWithheld     = errors.New("the command is not withheld")
	ErrOldEpoch        = errors.New("the command was signed for an epoch of the Mac that has ended; cancel it and issue it anew")
)

// Why a command is not delivered before an administrator confirms or cancels it
// (H30, H69).
const (
	WithheldEnrolled = "reenrolled"                        // the Mac enrolled again after the command was issued
	WithheldRestored = string(protocol.CodePortalRestored) // the Mac is ahead of this portal, whose database is an older one
	WithheldEpoch    = string(protocol.CodeEpochChanged)   // the Mac began a new epoch; the command is for the one before
)

// CommandLog is all commands of one device, in the order in which they are
// delivered, and its holds (protocol.md 2.9, H69).
type CommandLog struct {
	Commands []Command `json:"commands,omitempty"`
	// Holds is the list of holds that was in force on the Mac last.
	Holds HoldsMark `json:"holds,omitzero"`
	// HighestHolds is the highest version of a list that there ever was, whatever
	// became of it: no version is used twice.
	HighestHolds uint64 `json:"highest_holds,omitempty"`
	// AheadHolds is the highest version of which the Mac told and this portal knew nothing.
	AheadHolds uint64 `json:"ahead_holds,omitempty"`
	// Reported is what the Mac says of its holds, and ReportedAt when that changed.
	Reported   *protocol.HoldReport `json:"reported,omitempty"`
	ReportedAt time.Time            `json:"reported_at,omitzero"`
	// Frozen: the device is ahead of the portal, and gets nothing that may harm (H30).
	Frozen *Freeze `json:"frozen,omitempty"`
	// RestoredAt is when the portal was made of a backup for the last time that this log
	// was judged by.
	RestoredAt time.Time `json:"restored_at,omitzero"`
}

// HoldsMark names a list of holds by the command that carried it.
type HoldsMark struct {
	Version   uint64 `json:"version"`
	CommandID string `json:"command_id"`
	Held      int    `json:"held"` // machines in it
}

// Freeze says why a device gets no destructive commands.
type Freeze struct {
	At      time.Time `json:"at"`
	Because string    `json:"because"` // what showed it, for people
}

// Command is one command, with everything but its envelopes.
type Command struct {
	ID        string                 `json:"command_id"`
	Type      string                 `json:"type"`
	Target    protocol.CommandTarget `json:"target"`
	Params    string                 `json:"params,omitempty"` // for people; without the list of holds
	IssuedAt  time.Time              `json:"issued_at"`
	NotBefore time.Time              `json:"not_before,omitzero"`
	ExpiresAt time.Time              `json:"expires_at"`
	IssuedBy  string                 `json:"issued_by,omitempty"` // person that the signing key is registered for
	Reason    string                 `json:"reason,omitempty"`
	SHA256    string                 `json:"sha256,omitempty"` // of the payload; hex
	Bytes     int                    `json:"bytes,omitempty"`  // of the payload; 0: at most protocol.MaxCommand

	State   string        `json:"state"`
	Code    protocol.Code `json:"code,omitempty"`
	Since   time.Time     `json:"since"`             // of State, by the portal's clock
	Needed  int           `json:"needed,omitempty"`  // signatures
	Signers []Signer      `json:"signers,omitempty"` // the issuer first
	Steps   []CommandStep `json:"steps,omitempty"`   // oldest first

	DeliveredAt time.Time `json:"delivered_at,omitzero"` // for the first time
	Epoch       string    `json:"epoch,omitempty"`       // the Mac's, when it was delivered or heard of last
	Sequence    uint64    `json:"sequence,omitempty"`    // of the check-in that it was delivered with first in Epoch
	Withheld    *Withheld `json:"withheld,omitempty"`
	// MaybeSent: it is not known that it was sent, but the portal was put back to an older
	// state since it was issued.
	MaybeSent   bool      `json:"maybe_sent,omitempty"`
	CancelAsked time.Time `json:"cancel_asked,omitzero"`
	// CancelSent is the sequence of the check-in that was told of it first in Epoch.
	CancelSent uint64           `json:"cancel_sent,omitempty"`
	Result     *protocol.Result `json:"result,omitempty"`  // as the Mac said it, without its receipt
	Receipt    *ReceiptCheck    `json:"receipt,omitempty"` // of Result, when that arrived
	Orphan     bool             `json:"orphan,omitempty"`  // this portal has no envelope of it
	// HoldsVersion is of the list that a lock or unlock carries, HoldsBase of the
	// one that it was made from; Held counts its machines.
	HoldsVersion uint64 `json:"holds_version,omitempty"`
	HoldsBase    uint64 `json:"holds_base,omitempty"`
	Held         int    `json:"held,omitempty"`

	News []CommandStep `json:"-"` // steps that no change has kept yet, oldest first
}

// CommandNews is what happened to a command with a change.
type CommandNews struct {
	Command Command
	Step    CommandStep
}

// Signer is one signature under a command.
type Signer struct {
	KeyID  string    `json:"key_id"`
	Person string    `json:"person"`          // that the key is registered for
	Admin  string    `json:"admin,omitempty"` // whose token uploaded it
	At     time.Time `json:"at"`
}

// Withheld marks a command that waits for an administrator.
type Withheld struct {
	At      time.Time `json:"at"`
	Because string    `json:"because"` // one of the Withheld words
}

// What a step is, where it is no change of the state.
const (
	StepIssued      = "issued"
	StepApproved    = "approved"
	StepCancelAsked = "cancel_asked"
	StepWithheld    = "withheld"
	StepConfirmed   = "confirmed"
)

// CommandStep is one thing that happened to a command.
type CommandStep struct {
	At     time.Time     `json:"at"` // by the portal's clock
	State  string        `json:"state"`
	What   string        `json:"what,omitempty"` // one of the Step words; empty: State is new
	Code   protocol.Code `json:"code,omitempty"`
	MacAt  time.Time     `json:"mac_at,omitzero"` // by the Mac's clock, where the Mac said it
	Epoch  string        `json:"epoch,omitempty"`
	By     string        `json:"by,omitempty"` // administrator or person
	Reason string        `json:"reason,omitempty"`
}

// CommandEnvelopes are what was signed about one command, byte for byte.
type CommandEnvelopes struct {
	CommandID string            `json:"command_id"`
	Command   protocol.Envelope `json:"command,omitzero"`
	// Holds is the list of holds of a lock or unlock, with the signatures of those
	// who approved it.
	Holds   *protocol.Envelope `json:"holds,omitempty"`
	Receipt *protocol.Envelope `json:"receipt,omitempty"`
	// Keys are the signed lists of who may sign commands by which the signatures were
	// judged, oldest first: a person whose registration has ended has still signed.
	Keys []protocol.Envelope `json:"keys,omitempty"`
}

// IsOpen reports whether something is still to follow.
func (c *Command) IsOpen() bool { return !protocol.CommandEnded(c.State) }

// IsHazardous reports whether a repetition could do what nothing puts back, or do
// again what cannot be seen: the envelope is for one epoch, and after a change of the
// epoch nobody but an administrator goes on (H22, H26). All others say what is to be,
// or only look: they are delivered again.
func (c *Command) IsHazardous() bool { return protocol.IsHazardous(c.Type) }

// isDestructive reports whether it takes away what nothing puts back.
func (c *Command) isDestructive() bool {
	row, known := protocol.CommandTypeOf(c.Type)
	return !known || row.Destructive
}

// mayHarm reports whether carrying it out although it is not wanted any more could do what
// nothing puts back: it destroys, it restarts, or it lets go what is held. A portal that
// may not know of a cancel sends none by itself (H30).
func (c *Command) mayHarm() bool { return c.IsHazardous() || c.Type == "vm.unlock" }

// isSigned reports whether as many have signed it as must.
func (c *Command) isSigned() bool { return len(c.Signers) >= c.Needed }

// onSame reports whether both are of one type and have one target (H69).
func (c *Command) onSame(other *Command) bool {
	return c.Type == other.Type && c.Target.VM() == other.Target.VM()
}

// note adds a step; of too many the first and the newest stay.
func (c *Command) note(step CommandStep) {
	step.State = c.State
	c.Steps, c.News = append(c.Steps, step), append(c.News, step)
	if excess := len(c.Steps) - MaxCommandSteps; excess > 0 {
		c.Steps = slices.Delete(c.Steps, 1, 1+excess)
	}
}

// become changes the state.
func (c *Command) become(state string, step CommandStep) {
	c.State, c.Code, c.Since = state, step.Code, step.At
	c.note(step)
}

// Find is the command of that id; nil if there is none.
func (l *CommandLog) Find(id string) *Command {
	for i := range l.Commands {
		if l.Commands[i].ID == id {
			return &l.Commands[i]
		}
	}
	return nil
}

// OpenCount is how many have not ended.
func (l *CommandLog) OpenCount() (open int) {
	for i := range l.Commands {
		if l.Commands[i].IsOpen() {
			open++
		}
	}
	return open
}

// IsEmpty reports whether there was never anything.
func (l *CommandLog) IsEmpty() bool {
	return len(l.Commands) == 0 && l.HighestHolds == 0 && l.Reported == nil && l.Frozen == nil
}

// Base is the list of holds that the next one is made from: the newest that waits for
// the Mac or is in force, and is not to be cancelled. Its version is 0 where nothing was
// ever held.
func (l *CommandLog) Base() HoldsMark {
	base := l.Holds
	for i := range l.Commands {
		c := &l.Commands[i]
		if c.IsOpen() && c.State != protocol.CommandAwaitingApproval && c.CancelAsked.IsZero() && c.HoldsVersion > base.Version {
			base = HoldsMark{Version: c.HoldsVersion, CommandID: c.ID, Held: c.Held}
		}
	}
	return base
}

// NextHolds is the version of the next list.
func (l *CommandLog) NextHolds() uint64 {
	next := max(l.HighestHolds, l.Holds.Version)
	if l.Reported != nil {
		next = max(next, l.Reported.Version)
	}
	return next + 1
}

// ReasonsNotToRetire are what a device has that its retirement would leave behind
// (H69); none where it can be retired.
func (l *CommandLog) ReasonsNotToRetire(now time.Time) (reasons []string) {
	held := l.Holds.Held
	if l.Reported != nil {
		held = 0
		for _, hold := range l.Reported.Holds {
			if hold.State != protocol.HoldEnded && hold.State != protocol.HoldNoVM {
				held++
			}
		}
		held = max(held, l.Base().Held)
	}
	if held > 0 {
		reasons = append(reasons, fmt.Sprintf("%d of its virtual machines are held", held))
	}
	for i := range l.Commands {
		if c := &l.Commands[i]; c.IsOpen() && c.isDestructive() && now.Before(c.ExpiresAt) {
			reasons = append(reasons, fmt.Sprintf("%s %s is %s", c.Type, c.ID, c.State))
		}
	}
	return reasons
}

// KeepCommands puts the log into the change, and what a device's own record says of it.
func (c *Change) KeepCommands(log CommandLog, now time.Time) error {
	dropped, err := log.forget(now)
	if err != nil {
		return err
	}
	for i := range log.Commands {
		command := &log.Commands[i]
		for _, step := range command.News {
			c.News = append(c.News, CommandNews{*command, step})
		}
		command.News = nil
	}
	c.Commands, c.DroppedCommands = &log, append(c.DroppedCommands, dropped...)
	c.Device.HasCommands, c.Device.OpenCommands = !log.IsEmpty(), log.OpenCount()
	return nil
}

// forget drops records that nothing can ask about any more, and the oldest ended
// ones beyond the bounds. The list of holds that is in force stays.
func (l *CommandLog) forget(now time.Time) (dropped []string, err error) {
	droppable := func(c *Command) bool { return !c.IsOpen() && c.ID != l.Holds.CommandID }
	l.Commands = slices.DeleteFunc(l.Commands, func(c Command) bool {
		if !droppable(&c) || now.Before(c.ExpiresAt.Add(protocol.CommandsKeptFor)) {
			return false
		}
		dropped = append(dropped, c.ID)
		return true
	})
	keep, err := countNewest(l.Commands, MaxKeptCommands, MaxCommandBytes-64<<10, func(Command) bool { return true })
	if err != nil {
		return nil, fmt.Errorf("encode command: %w", err)
	}
	for excess := len(l.Commands) - keep; excess > 0; excess-- {
		at := slices.IndexFunc(l.Commands, func(c Command) bool { return droppable(&c) })
		if at < 0 {
			break
		}
		dropped = append(dropped, l.Commands[at].ID)
		l.Commands = slices.Delete(l.Commands, at, at+1)
	}
	return dropped, nil
}
