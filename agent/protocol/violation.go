package protocol

import (
	"slices"
	"strings"
)

// eventViolation is the type of the event that something is against a security control.
const eventViolation = "policy_violation"

// Codes of what is against a security control.
const (
	codeUnprovisioned Code = "vm_unprovisioned"
	codeSecond        Code = "second_provisioned_vm"
	codeRemoved       Code = "removed_against_policy"
	codeUpgraded      Code = "major_upgrade"
)

var violationCodes = []Code{codeUnprovisioned, codeSecond, codeRemoved, codeUpgraded}

// controlsPath begins the paths of security controls in a policy.
const controlsPath = "security_controls."

// IsViolation reports whether the verdict says that something is against a security
// control, and not that the control could not be put in place.
func (g *VerdictGroup) IsViolation() bool {
	return strings.HasPrefix(g.Path, controlsPath) && slices.Contains(violationCodes, g.Code)
}
