package fleet

import (
	"strconv"

	"prlagent/agent/policy"
	"prlagent/agent/protocol"
)

// Paths of what is done about what is against a security control.
const (
	onViolationPath = protocol.ControlsPath + "on_violation"
	gracePath       = protocol.ControlsPath + "grace_s"
)

func addControls(values map[string]policy.Value, controls *policy.SecurityControls) {
	for name, on := range controls.Set {
		values[protocol.ControlsPath+name] = policy.Value(strconv.FormatBool(on))
	}
	if len(controls.Set) == 0 {
		return // the rest is about them
	}
	values[onViolationPath] = policy.Value(controls.OnViolation)
	if controls.OnViolation == policy.Suspend {
		values[gracePath] = policy.Value(strconv.Itoa(int(controls.Grace.Seconds())))
	}
}

// isAboutViolations reports whether a member of the section is no control: it decides
// over the virtual machines that are against one.
func isAboutViolations(path string) bool { return path == onViolationPath || path == gracePath }

// controlOutcome is what becomes of a control of one Mac.
func (p *predictor) controlOutcome(mac *Known, name string) Outcome {
	path := protocol.ControlsPath + name
	old, managed := p.was[path]
	value, wanted := p.is[path]
	verdict := mac.Verdicts[path]
	switch {
	case !wanted:
		return OutcomeReleased
	case !p.isTold(mac), managed && verdict == nil:
		return OutcomeUnknown
	case managed && old == value && !p.hasSameUpdates(name):
		return p.updatesOutcome(value)
	case managed && old == value:
		return p.effective(mac, outcomeOfControl(verdict))
	}
	return p.controlThatChanges(policy.FindControl(name), managed, value)
}

// outcomeOfControl is what becomes of a control that stays: one that something is
// against is in force all the same.
func outcomeOfControl(verdict *protocol.VerdictGroup) Outcome {
	switch {
	case verdict.IsViolation():
		return OutcomeStays
	case verdict.Code == protocol.CodeControlLifted:
		return OutcomeWaits // for the agent's own work
	}
	return outcomeOf(verdict)
}

// hasSameUpdates reports whether both policies have the updates come from the same
// side, which no_major_upgrade depends on.
func (p *predictor) hasSameUpdates(name string) bool {
	return name != noMajorUpgrade || p.before.Document.HasUpdateServer() == p.next.Document.HasUpdateServer()
}

const noMajorUpgrade = "no_major_upgrade"

// updatesOutcome is what becomes of no_major_upgrade where nothing tells whether a
// profile manages the updates.
func (p *predictor) updatesOutcome(value policy.Value) Outcome {
	switch {
	case value != policy.True:
		return OutcomeStays
	case p.next.Document.HasUpdateServer():
		return OutcomeExcluded
	}
	return OutcomeUnknown
}

// controlThatChanges is the outcome where a control is turned on or off. Whether a
// password may be asked for is up to the Mac's profile, and one that is asked for may
// not be ours: neither is told.
func (p *predictor) controlThatChanges(control *policy.Control, managed bool, value policy.Value) Outcome {
	switch {
	case value != policy.True && !managed:
		return OutcomeStays // nothing was placed for it
	case control.UsesLock():
		return OutcomeUnknown
	case value != policy.True:
		return OutcomeSet // it ends in whatever mode
	case control.NotEnforceable != "":
		return OutcomeExcluded
	case control.Name == noMajorUpgrade:
		return p.updatesOutcome(value)
	}
	return OutcomeSet // what is against it is reported in whatever mode
}

// violationOutcome is what becomes of a virtual machine that is against a control
// which stays: it waits for the end of its grace, and until it runs. One that was
// there before a control is kept, so that a new control is against none.
func (p *predictor) violationOutcome(vm *Known) Outcome {
	suspends, did := isSuspending(p.next.Document), isSuspending(p.before.Document)
	if !suspends && !did {
		return ""
	}
	if !p.isTold(vm) {
		return OutcomeUnknown
	}
	isAgainst := false
	for path, verdict := range vm.Verdicts {
		isAgainst = isAgainst || verdict.IsViolation() && p.is[path] == policy.True && p.was[path] == policy.True
	}
	switch {
	case !isAgainst:
		return ""
	case suspends:
		return p.effective(vm, OutcomeWaits)
	}
	return OutcomeReleased
}

func isSuspending(document *policy.Document) bool {
	return document != nil && document.SecurityControls.OnViolation == policy.Suspend
}
