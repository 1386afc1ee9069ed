package protocol

import (
	"slices"
	"strings"
)

// EventViolation is the type of the event that something is against a security control.
const EventViolation = "policy_violation"

var violationCodes = []Code{CodeVMUnprovisioned, CodeSecondProvisioned, CodeRemovedAgainstPolicy, CodeMajorUpgrade}

// ControlsPath begins the paths of security controls in a policy.
const ControlsPath = "security_controls."

// IsControl reports whether the verdict is on a security control.
func (g *VerdictGroup) IsControl() bool { return strings.HasPrefix(g.Path, ControlsPath) }

// IsViolation reports whether the verdict says that something is against a security
// control, and not that the control could not be put in place.
func (g *VerdictGroup) IsViolation() bool {
	return g.IsControl() && slices.Contains(violationCodes, g.Code)
}
