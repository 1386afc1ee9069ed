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

// Portal returns the inventory's word for the state, by the mapping of
// facts/prlctl.md 2.3. A word that is not in it is Unknown: invalid, unknown,
// reconnecting and whatever a later version says.
func (s State) Portal() string {
	switch State(strings.ToLower(string(s))) {
	case StateRunning, "continuing", "resuming", "restoring", "starting", "resetting", "pausing",
		"snapshoting": // the tool's own spelling
		return PortalRunning
	case StateSuspended, "suspending", "syncing", StatePaused:
		return PortalSuspended
	case StateStopped, "stopping", "compacting", "mounted":
		return PortalStopped
	}
	return PortalUnknown
}
