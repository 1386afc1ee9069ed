package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"
)

// Limits of commands (protocol.md 2.13, H24).
const (
	MaxCommand = 16 << 10 // its payload
	// MaxHoldsCommand is the payload of one that carries the list of all holds of a Mac,
	// which can be MaxHolds.
	MaxHoldsCommand    = 256 << 10
	MaxReceipt         = 32 << 10 // its payload, as the envelope has it
	MaxBlob            = 50 << 20 // what is uploaded on request, such as a support bundle
	MaxCommandLifetime = 90 * 24 * time.Hour
	// CommandsKeptFor is how long the record of a command outlives its expiry: a
	// repeat of its id is answered from the record.
	CommandsKeptFor = 180 * 24 * time.Hour
)

// States of a command (protocol.md 2.9). The Mac sets those from
// CommandAcknowledged on; the portal sets the others, and the last four of
// commands that the Mac never had.
const (
	CommandAwaitingApproval = "awaiting_approval" // fewer keys have signed than its type needs
	CommandPending          = "pending"           // signed, and not sent yet
	CommandDelivered        = "delivered"         // sent in some answer; no proof that it arrived
	CommandUnknown          = "unknown"           // the Mac began a new epoch while it had it

	CommandAcknowledged = "acknowledged" // verified, and kept in the Mac's journal
	CommandDeferred     = "deferred"     // waits, for the reason in the code
	CommandRunning      = "running"      // what it will do is on record; it cannot be cancelled
	CommandSucceeded    = "succeeded"
	CommandFailed       = "failed"
	CommandRejected     = "rejected"
	CommandExpired      = "expired"
	CommandCancelled    = "cancelled"
)

// CommandEnded reports whether nothing follows on a state. After CommandUnknown
// only an administrator goes on, with a command of another id.
func CommandEnded(state string) bool {
	switch state {
	case CommandSucceeded, CommandFailed, CommandRejected, CommandExpired, CommandCancelled, CommandUnknown:
		return true
	}
	return false
}

// Command is the payload of a command envelope (protocol.md 2.9, H20).
type Command struct {
	CommandID string          `json:"command_id"` // UUIDv7
	Type      string          `json:"type"`
	Target    CommandTarget   `json:"target"`
	Params    json.RawMessage `json:"params,omitempty"` // one of the Params types, by Type
	IssuedAt  time.Time       `json:"issued_at"`
	NotBefore time.Time       `json:"not_before,omitzero"`
	ExpiresAt time.Time       `json:"expires_at"`          // the latest start
	TimeoutS  int             `json:"timeout_s,omitempty"` // of one attempt; 0: the type's own
	IssuedBy  string          `json:"issued_by,omitempty"` // who the signing key is registered for, for people
	Reason    string          `json:"reason,omitempty"`
}

// CommandTarget is what the admin saw when the command was signed (H20).
type CommandTarget struct {
	DeviceID  string `json:"device_id"`
	Epoch     string `json:"epoch,omitempty"`
	MacSerial string `json:"mac_serial"`          // the hardware UUID of a Mac without one
	UID       uint32 `json:"uid,omitempty"`       // of the VM's owner
	Owner     string `json:"user_name,omitempty"` // what the owner's account was called, for people
	VMID      string `json:"vm_id,omitempty"`
	VMName    string `json:"vm_name,omitempty"`
	Bundle    Bundle `json:"bundle,omitzero"`
}

// VM is the key of the targeted machine; its ID is empty where the whole Mac is
// the target.
func (t *CommandTarget) VM() VMKey { return VMKey{ID: t.VMID, UID: t.UID} }

// When a machine is deleted that is in use.
const (
	DeleteAtStop = "at_stop" // once it is stopped by whoever uses it; one that is suspended is in use
	DeleteNow    = "now"     // after a minute for a clean stop it is stopped by force
)

// DeleteParams are the Params of vm.delete and of vm.redownload.
type DeleteParams struct {
	When     string    `json:"when,omitempty"`    // empty: DeleteAtStop
	Deadline time.Time `json:"deadline,omitzero"` // from then on as DeleteNow; zero: it waits until it expires
	Offer    *bool     `json:"offer,omitempty"`   // false: no golden image is offered for it later
}

// HoldsParams are the Params of vm.lock and vm.unlock: the whole list of the
// Mac's holds as it is after the command (H69), in an envelope of PayloadHolds.
type HoldsParams struct {
	Holds Envelope `json:"holds"`
}

// RestartParams are the Params of vm.restart.
type RestartParams struct {
	Force bool `json:"force,omitempty"` // a guest that does not restart is killed and started
}

// DeactivateParams are the Params of license.deactivate.
type DeactivateParams struct {
	SkipNetworkErrors bool `json:"skip_network_errors,omitempty"` // the seat may stay taken at the vendor's
	SSO               bool `json:"sso,omitempty"`                 // every user is offered to sign in afterwards (LIC-02)
}

// NoParams are the Params of all other types.
type NoParams struct{}

// ErrCommandInvalid says that a command is signed well and says nothing that can
// be carried out.
var ErrCommandInvalid = errors.New("command is not valid")

// ParseCommand reads the payload of a verified envelope of PayloadCommand. What
// it names is as it should be then, with params that fit its type, where the
// type is known.
func ParseCommand(payload []byte) (Command, error) {
	var command Command
	if err := Decode(payload, MaxHoldsCommand, &command); err != nil {
		return Command{}, fmt.Errorf("%w: %w", ErrCommandInvalid, err)
	}
	if most := MaxPayload(command.Type); len(payload) > most {
		return Command{}, fmt.Errorf("%w: %w: %d bytes, at most %d", ErrCommandInvalid, ErrTooLarge, len(payload), most)
	}
	if wrong := command.wrong(); wrong != "" {
		return Command{}, fmt.Errorf("%w: %s", ErrCommandInvalid, wrong)
	}
	if row, known := CommandTypeOf(command.Type); known {
		if err := command.DecodeParams(reflect.New(reflect.TypeOf(row.params).Elem()).Interface()); err != nil {
			return Command{}, err
		}
	}
	return command, nil
}

// MaxPayload is how many bytes the payload of a command of the type may have.
func MaxPayload(kind string) int {
	if ChangesHolds(kind) {
		return MaxHoldsCommand
	}
	return MaxCommand
}

// wrong is what is not as it should be; empty if all is.
func (c *Command) wrong() string {
	row, _ := CommandTypeOf(c.Type)
	switch {
	case !ValidName(c.CommandID):
		return "command_id is no id"
	case c.Type == "" || len(c.Type) > MaxName:
		return "type is missing"
	case c.Target.DeviceID == "" || c.Target.MacSerial == "":
		return "target names no Mac"
	case row.OnVM != (c.Target.VMID != ""):
		return "target.vm_id does not fit the type"
	case row.OnVM && c.Target.UID == 0:
		return "target.uid is missing"
	case c.IssuedAt.IsZero() || !c.IssuedAt.Before(c.ExpiresAt):
		return "expires_at is not after issued_at"
	case c.ExpiresAt.Sub(c.IssuedAt) > MaxCommandLifetime:
		return "it may wait for longer than 90 days"
	case c.TimeoutS < 0 || c.TimeoutS > int(MaxCommandLifetime/time.Second):
		return "timeout_s is out of bounds"
	}
	return ""
}

// DecodeParams reads the params into a pointer to one of the Params types. A
// field that the type does not have is refused: who wrote it meant something.
func (c *Command) DecodeParams(into any) error {
	params := []byte(c.Params)
	if len(params) == 0 {
		params = []byte("{}")
	}
	decoder := json.NewDecoder(bytes.NewReader(params))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return fmt.Errorf("%w: params: %w", ErrCommandInvalid, err)
	}
	if judged, ok := into.(interface{ wrong() string }); ok && judged.wrong() != "" {
		return fmt.Errorf("%w: params: %s", ErrCommandInvalid, judged.wrong())
	}
	return nil
}

func (p *DeleteParams) wrong() string {
	if p.When != "" && p.When != DeleteAtStop && p.When != DeleteNow {
		return "when is neither at_stop nor now"
	}
	return ""
}

func (p *HoldsParams) wrong() string {
	if p.Holds.PayloadType != PayloadHolds {
		return "holds is no list of holds"
	}
	return ""
}

// Ack says that a command's result is on record.
type Ack struct {
	CommandID string `json:"command_id"`
}

// OpenCommand is a command that the agent holds and has not finished.
type OpenCommand struct {
	CommandID string    `json:"command_id"`
	State     string    `json:"state"`
	Code      Code      `json:"code,omitempty"` // why it waits
	At        time.Time `json:"at"`             // since when it is in the state
}

// Result is how a command ended.
type Result struct {
	CommandID string            `json:"command_id"`
	State     string            `json:"state"`
	Code      Code              `json:"code"`
	Message   string            `json:"message,omitempty"` // at most MaxText bytes
	StartedAt time.Time         `json:"started_at,omitzero"`
	EndedAt   time.Time         `json:"ended_at"`
	Observed  map[string]string `json:"observed,omitempty"`
	// Receipt is a Receipt of this result, signed with the device's own key.
	Receipt *Envelope `json:"receipt,omitempty"`
}

// Receipt is the payload of an envelope of PayloadReceipt: a device says how a
// command ended, and by what it knows it. Its result has no receipt in it.
type Receipt struct {
	DeviceID      string `json:"device_id"`
	MacSerial     string `json:"mac_serial"`
	Epoch         string `json:"epoch"`
	CommandSHA256 string `json:"command_sha256"` // of the command's payload, hex
	Result        Result `json:"result"`
}
