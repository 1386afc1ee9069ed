package command

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"time"

	"prlagent/agent/protocol"
)

// refusal is why a command does not start; its State is empty if nothing speaks
// against it.
type refusal struct {
	// State is protocol.CommandRejected or CommandExpired; or CommandFailed of an order
	// from before this epoch, which may have been carried out, for all that is known.
	State string
	Code  protocol.Code
}

func rejected(code protocol.Code) refusal { return refusal{protocol.CommandRejected, code} }

// check holds an envelope against the Mac as it is now, in the order in which a
// doubt weighs: nothing of an order is believed before its signatures. It is made
// when the command comes, and again before each attempt (H23).
//
// pruned is the time up to which commands that had expired by then are forgotten:
// whatever the time is said to be, no such command starts again.
// The command is nil where nothing is believed of the order.
func check(open opener, envelope *protocol.Envelope, now *Circumstances, pruned time.Time) (*protocol.Command, refusal) {
	command, err := open(envelope, &now.Trust)
	switch {
	case errors.Is(err, protocol.ErrCommandInvalid):
		return command, rejected(protocol.CodeCommandInvalid)
	case err != nil:
		return command, rejected(protocol.CodeCommandSignature)
	}
	for _, refused := range [...]refusal{
		wrongMac(&command.Target, &now.Target),
		tooLate(command, &now.Clock, pruned),
		lastsTooLong(command, &now.Clock),
		notAllowed(command.Type, &now.Trust),
	} {
		if refused.State != "" {
			return command, refused
		}
	}
	return command, refusal{}
}

// opener gives the command of an envelope if enough keys have signed it; with an error
// also where too few have, but one, and nil where none has.
type opener func(*protocol.Envelope, *Trust) (*protocol.Command, error)

// openSigned gives the command if as many distinct keys have signed it as its type
// needs. The type is read only after one has.
func openSigned(envelope *protocol.Envelope, trust *Trust) (*protocol.Command, error) {
	payload, err := envelope.Verify(protocol.PayloadCommand, trust.Keys, 1)
	if err != nil {
		return nil, err
	}
	command, err := protocol.ParseCommand(payload)
	if err != nil {
		return nil, err
	}
	needed, set := trust.Thresholds[command.Type]
	if !set {
		needed = 1
	}
	_, err = envelope.Verify(protocol.PayloadCommand, trust.Keys, needed)
	return &command, err
}

// wrongMac is why the command is not for this Mac, this account or this epoch
// (H02, H20). The epoch counts where one is named: a command without one is for
// the Mac whatever became of its journal.
func wrongMac(named *protocol.CommandTarget, mac *Target) refusal {
	switch {
	case mac.DeviceID == "" || named.DeviceID != mac.DeviceID, mac.Serial == "" || !strings.EqualFold(named.MacSerial, mac.Serial):
		return rejected(protocol.CodeCommandOtherMac)
	case named.VMID != "" && isOthers(named.VM(), mac.Owners):
		return rejected(protocol.CodeTargetOwner)
	case named.Epoch != "" && named.Epoch != mac.Epoch:
		return refusal{protocol.CommandFailed, protocol.CodeCommandOtherEpoch}
	}
	return refusal{}
}

// isOthers reports whether accounts have a machine of this id, and the one that is
// named is none of them. The same id can be in two accounts (H21).
func isOthers(vm protocol.VMKey, owners func(string) []uint32) bool {
	if owners == nil {
		return false
	}
	known := owners(vm.ID)
	return len(known) > 0 && !slices.Contains(known, vm.UID)
}

func tooLate(command *protocol.Command, clock *Clock, pruned time.Time) refusal {
	if !clock.Trusted.Before(command.ExpiresAt) || !command.ExpiresAt.After(pruned) {
		return refusal{protocol.CommandExpired, protocol.CodeCommandExpired}
	}
	return refusal{}
}

// clockSlack is by how much the clocks of the Mac and of who signs may differ.
const clockSlack = 24 * time.Hour

// lastsTooLong refuses what could start later than in 90 days (H24), as an order could that
// was signed by a clock which is years ahead. Where the time is not known, it waits for
// that.
func lastsTooLong(command *protocol.Command, clock *Clock) refusal {
	if clock.Proven && command.ExpiresAt.After(clock.Likely.Add(protocol.MaxCommandLifetime+clockSlack)) {
		return rejected(protocol.CodeCommandInvalid)
	}
	return refusal{}
}

func notAllowed(kind string, trust *Trust) refusal {
	row, known := protocol.CommandTypeOf(kind)
	switch {
	case !known:
		return rejected(protocol.CodeCommandUnknown)
	case row.Listed && !slices.Contains(trust.Allowed, kind):
		return rejected(protocol.CodeCommandUnlisted)
	case row.Changes && trust.Mode != protocol.ModeEnforce:
		return rejected(protocol.CodeCommandMonitor)
	}
	return refusal{}
}

// claimed is what an envelope says of itself, for the record of a command that is
// not believed; an empty command if that is not ok.
func claimed(envelope *protocol.Envelope) (command *protocol.Command, digest string, ok bool) {
	command = &protocol.Command{}
	payload, err := envelope.Unverified()
	var name struct {
		CommandID string `json:"command_id"`
	}
	if err != nil || protocol.Decode(payload, protocol.MaxHoldsCommand, &name) != nil || !protocol.ValidName(name.CommandID) {
		return command, "", false
	}
	if protocol.Decode(payload, protocol.MaxHoldsCommand, command) != nil {
		*command = protocol.Command{}
	}
	if len(payload) > protocol.MaxPayload(command.Type) {
		return &protocol.Command{}, "", false
	}
	command.CommandID, command.Type = name.CommandID, protocol.CutText(command.Type, protocol.MaxName)
	sum := sha256.Sum256(payload)
	return command, hex.EncodeToString(sum[:]), true
}

// timeout is how long one attempt may take.
func timeout(command *protocol.Command) time.Duration {
	row, _ := protocol.CommandTypeOf(command.Type)
	return cmp.Or(time.Duration(command.TimeoutS)*time.Second, row.Timeout, time.Minute)
}
