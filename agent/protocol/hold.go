package protocol

import (
	"fmt"
	"time"
)

// MaxHolds is how many machines of one Mac can be held.
const MaxHolds = MaxVMs

// HoldList is the payload of an envelope of PayloadHolds: all machines of one Mac
// that are to stay suspended (H69). Each lock and unlock signs the whole list, one
// version higher; a lower one is refused. It belongs to no epoch: a Mac that lost
// its journal takes it again.
type HoldList struct {
	DeviceID  string    `json:"device_id"`
	MacSerial string    `json:"mac_serial"` // the hardware UUID of a Mac without one
	Version   uint64    `json:"version"`
	IssuedAt  time.Time `json:"issued_at"`
	Holds     []Hold    `json:"holds"` // none: every machine may run
}

// Hold is one machine that is to stay suspended (H27).
type Hold struct {
	VMKey
	Owner     string    `json:"user_name,omitempty"` // what the owner's account was called, for people
	VMName    string    `json:"vm_name,omitempty"`
	Since     time.Time `json:"since"`
	ExpiresAt time.Time `json:"expires_at,omitzero"` // it ends by itself then; zero: it does not
	Force     bool      `json:"force,omitempty"`     // what cannot be suspended is stopped by force
	CommandID string    `json:"command_id"`          // of the lock that placed it
	Reason    string    `json:"reason,omitempty"`
}

// ParseHoldList reads the payload of a verified envelope of PayloadHolds.
func ParseHoldList(payload []byte) (HoldList, error) {
	var list HoldList
	if err := Decode(payload, MaxPolicy, &list); err != nil {
		return HoldList{}, fmt.Errorf("read list of holds: %w", err)
	}
	if list.DeviceID == "" || list.MacSerial == "" || list.Version == 0 || list.Version > MaxVersion || len(list.Holds) > MaxHolds {
		return HoldList{}, fmt.Errorf("read list of holds: %w", ErrCommandInvalid)
	}
	seen := make(map[VMKey]bool, len(list.Holds))
	for i := range list.Holds {
		hold := &list.Holds[i]
		if hold.ID == "" || hold.UID == 0 || hold.Since.IsZero() || seen[hold.VMKey] {
			return HoldList{}, fmt.Errorf("read list of holds: %w", ErrCommandInvalid)
		}
		seen[hold.VMKey] = true
	}
	return list, nil
}

// States of a hold on the Mac.
const (
	HoldKept       = "held"       // the machine was not running when it was looked at last
	HoldSuspending = "suspending" // it was seen running, and is being suspended
	HoldUnenforced = "unenforced" // it runs, and cannot be suspended, for the reason in the code
	HoldNoVM       = "no_vm"      // no such machine is there
	HoldReleased   = "released"   // by a person on the Mac, until a newer list names it again
	HoldEnded      = "ended"      // its time is over
)

// HoldReport is what a Mac says of its holds in every check-in.
type HoldReport struct {
	Version uint64      `json:"version"` // of the list that is in force
	Holds   []HoldState `json:"holds,omitempty"`
}

// HoldState is how one hold stands. It names the lock that placed it, as it was signed: a
// portal that was put back to before that builds the next list upon what is in force.
type HoldState struct {
	VMKey
	CommandID  string    `json:"command_id"`
	LockedAt   time.Time `json:"locked_at"` // Hold.Since
	ExpiresAt  time.Time `json:"expires_at,omitzero"`
	Force      bool      `json:"force,omitempty"`
	State      string    `json:"state"` // one of the Hold words
	Code       Code      `json:"code,omitempty"`
	Paused     bool      `json:"paused,omitempty"`     // it is paused at least; its user can let it go on
	Since      time.Time `json:"since"`                // of the state
	Violations int       `json:"violations,omitempty"` // how often the machine was seen running
	ViolatedAt time.Time `json:"violated_at,omitzero"` // the last time
}

// InForce are the holds that the next list is made from: those of the last one. Where the
// Mac has a newer one, as after the portal was put back to an older state, they are what
// is in force there: what was unlocked since is not locked again, what a person has
// released stays released, and what ends by itself does.
func (l HoldList) InForce(reported *HoldReport) (holds []Hold) {
	if reported == nil || reported.Version <= l.Version {
		return l.Holds
	}
	for at := range reported.Holds {
		state := &reported.Holds[at]
		if state.State == HoldEnded {
			continue
		}
		hold := Hold{
			VMKey: state.VMKey, Since: state.LockedAt, ExpiresAt: state.ExpiresAt, Force: state.Force,
			CommandID: state.CommandID, Reason: "as the Mac reported",
		}
		for i := range l.Holds {
			signed := &l.Holds[i]
			if signed.VMKey == state.VMKey && signed.CommandID == state.CommandID {
				hold = *signed
			}
		}
		holds = append(holds, hold)
	}
	return holds
}
