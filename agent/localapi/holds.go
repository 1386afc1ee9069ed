package localapi

import (
	"time"

	"prlagent/agent/protocol"
)

// Holds are the machines of this Mac that are to stay suspended, as the signed list of
// holds says (H27, H69).
type Holds struct {
	Version uint64   `json:"version"`       // of the list in force
	Held    int      `json:"held"`          // how many are to stay suspended now
	VMs     []HeldVM `json:"vms,omitempty"` // admins only
}

// HeldVM is one of them, and how it stands.
type HeldVM struct {
	protocol.VMKey
	Name       string        `json:"vm_name,omitempty"`
	Owner      string        `json:"user_name,omitempty"`
	State      string        `json:"state"` // one of the Hold words of package protocol
	Code       protocol.Code `json:"code,omitempty"`
	Text       string        `json:"text,omitempty"`
	Remedy     string        `json:"remedy,omitempty"`
	Paused     bool          `json:"paused,omitempty"`
	Since      time.Time     `json:"since"` // of the state
	Violations int           `json:"violations"`
	ViolatedAt time.Time     `json:"violated_at,omitzero"`
	LockedAt   time.Time     `json:"locked_at"`
	ExpiresAt  time.Time     `json:"expires_at,omitzero"`
	Force      bool          `json:"force,omitempty"`
	CommandID  string        `json:"command_id"`
	Reason     string        `json:"reason,omitempty"`
	ReleasedBy string        `json:"released_by,omitempty"`
	ReleasedAt time.Time     `json:"released_at,omitzero"`
}

// IsLoose reports whether the machine runs, or may run, although it is to be held: it
// cannot be suspended, or is registered anew under an id that is not.
func (v *HeldVM) IsLoose() bool {
	return v.State == protocol.HoldUnenforced && v.Code != protocol.CodeNotLookedYet || v.State == protocol.HoldNoVM && v.Code == protocol.CodeTargetChanged
}

// IsOver reports whether the hold does not hold any more on this Mac.
func (v *HeldVM) IsOver() bool {
	return v.State == protocol.HoldReleased || v.State == protocol.HoldEnded
}

// forEveryone is how many there are, and no more.
func (h *Holds) forEveryone() *Holds { return &Holds{Version: h.Version, Held: h.Held} }
