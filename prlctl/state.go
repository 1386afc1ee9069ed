package prlctl

import "strings"

// State is a virtual machine's state in the tool's own word. Unknown words are
// kept.
type State string

// States that last. All others pass by themselves.
const (
	StateRunning   State = "running"
	StateSuspended State = "suspended"
	StatePaused    State = "paused"
	StateStopped   State = "stopped"
	StateInvalid   State = "invalid" // bundle missing or damaged
)

// The four states of the portal's inventory (conformance INV-07).
const (
	PortalRunning   = "Running"
	PortalSuspended = "Suspended"
	PortalStopped   = "Stopped"
	PortalUnknown   = "Unknown"
)

// portalStates is the mapping of facts/prlctl.md 2.3. A word that is not in it
// is Unknown: invalid, unknown, reconnecting and whatever a later version says.
var portalStates = map[State]string{
	StateRunning:  PortalRunning,
	"continuing":  PortalRunning,
	"resuming":    PortalRunning,
	"restoring":   PortalRunning,
	"starting":    PortalRunning,
	"resetting":   PortalRunning,
	"snapshoting": PortalRunning, // the tool's own spelling
	"pausing":     PortalRunning,

	StateSuspended: PortalSuspended,
	"suspending":   PortalSuspended,
	"syncing":      PortalSuspended,
	StatePaused:    PortalSuspended,

	StateStopped: PortalStopped,
	"stopping":   PortalStopped,
	"compacting": PortalStopped,
	"mounted":    PortalStopped,
}

// Portal returns the inventory's word for the state.
func (s State) Portal() string {
	if word, known := portalStates[State(strings.ToLower(string(s)))]; known {
		return word
	}
	return PortalUnknown
}
