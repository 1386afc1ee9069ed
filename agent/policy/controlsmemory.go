package policy

import (
	"cmp"
	"slices"
	"time"

	"prlagent/agent/protocol"
)

// ControlsMemory is what is remembered of the Mac as a whole for the security
// controls. It is a plain value that is kept as JSON.
type ControlsMemory struct {
	// Host is what is remembered of the host's switches, by their targets.
	Host     SettingMemory             `json:"host,omitzero"`
	Controls map[string]*ControlMemory `json:"controls,omitempty"` // that are in force, by their names
	// Machines are those that were seen while a control was in force that is about
	// machines.
	Machines   []*SeenMachine `json:"machines,omitempty"`
	Violations []*Violation   `json:"violations,omitempty"`
	// LowSpace are those that there is no room to encrypt.
	LowSpace []protocol.VMKey `json:"low_space,omitempty"`
}

// ControlMemory is what is remembered of one control that is in force.
type ControlMemory struct {
	Began   time.Time     `json:"began"`
	Verdict string        `json:"verdict"`
	Code    protocol.Code `json:"code,omitempty"`
	Since   time.Time     `json:"since"`           // verdict and code are the same
	Major   int           `json:"major,omitempty"` // of the product, when the control began
}

// SeenMachine is when a machine was seen first, and how.
type SeenMachine struct {
	Key protocol.VMKey `json:"key"`
	At  time.Time      `json:"at"`
	// OlderThan are the controls that began when it was there. Times say nothing of
	// that: clocks are set.
	OlderThan []string `json:"older_than,omitempty"`
	// Came: it came into the list of an account that had been seen without it, so
	// that somebody has created, registered or cloned it then. Of all others the
	// source is not known (H42).
	Came        bool      `json:"came,omitempty"`
	Provisioned bool      `json:"provisioned,omitempty"` // when it was seen last
	GoneAt      time.Time `json:"gone_at,omitzero"`      // it is not in its account's list any more
	Removed     bool      `json:"removed,omitempty"`     // by somebody, against a control
	// SuspendFrom is as that of its violation, and outlives it while the machine is
	// gone: who registers a machine again gets what was left of the grace.
	SuspendFrom time.Time `json:"suspend_from,omitzero"`
}

// Violation is that something is against a control.
type Violation struct {
	Control string         `json:"control"`
	VM      protocol.VMKey `json:"vm,omitzero"` // zero: it is about none
	Code    protocol.Code  `json:"code"`
	At      time.Time      `json:"at"`
	// SuspendFrom is since when the policy has the machine suspended after the grace
	// period; zero: it is only reported.
	SuspendFrom time.Time `json:"suspend_from,omitzero"`
	SuspendedAt time.Time `json:"suspended_at,omitzero"` // last, by the agent
	Warned      bool      `json:"warned,omitempty"`      // its user was told that it will be suspended

	Failures int           `json:"failures,omitempty"` // to suspend it, in a row
	FailedAt time.Time     `json:"failed_at,omitzero"`
	FailCode protocol.Code `json:"fail_code,omitempty"`
}

// IsEmpty reports whether there is nothing to be kept.
func (m *ControlsMemory) IsEmpty() bool {
	return len(m.Host.Calls)+len(m.Controls)+len(m.Machines)+len(m.Violations)+len(m.LowSpace) == 0
}

// clone is a copy that can be changed, but for the calls, the violations and what has
// low space, which never change: others take their places.
func (m *ControlsMemory) clone() *ControlsMemory {
	c := &ControlsMemory{Host: m.Host, Violations: m.Violations, LowSpace: m.LowSpace}
	for _, seen := range m.Machines {
		changed := *seen
		c.Machines = append(c.Machines, &changed)
	}
	if len(m.Controls) > 0 {
		c.Controls = make(map[string]*ControlMemory, len(m.Controls))
		for name, control := range m.Controls {
			changed := *control
			c.Controls[name] = &changed
		}
	}
	return c
}

// HoldsSwitch reports whether a switch of the host that we placed may still be
// there.
func (m *ControlsMemory) HoldsSwitch() bool {
	for i := range m.Host.Calls {
		if m.Host.Calls[i].Word != "" {
			return true
		}
	}
	return false
}

// LateUntil is until when a switch that we placed, and that was not there at this time, may
// still come; zero: none may.
func (m *ControlsMemory) LateUntil(now time.Time) (until time.Time) {
	for i := range m.Host.Calls {
		until = latest(until, m.Host.Calls[i].lateUntil(now))
	}
	return until
}

// SwitchesOf are what is remembered of the switches of a control.
func (m *ControlsMemory) SwitchesOf(control string) (calls []CallMemory) {
	c := FindControl(control)
	if c == nil {
		return nil
	}
	for _, name := range c.switches() {
		if call := m.Host.find(FindHostSwitch(name).Target()); call != nil {
			calls = append(calls, *call)
		}
	}
	return calls
}

// Begin is the memory to keep before a step is carried out: what will be
// written, and what was there before.
func (m *ControlsMemory) Begin(step *HostStep, now time.Time) *ControlsMemory {
	m = m.clone()
	m.Host.change(step.Target).beginLock(step.Restores, step.Word, step.Prior, now)
	return m
}

// End is the memory to keep after a step was carried out and looked at.
func (m *ControlsMemory) End(step *HostStep, outcome Outcome, version string, now time.Time) *ControlsMemory {
	m = m.clone()
	call := m.Host.change(step.Target)
	switch {
	case outcome.Proven && step.Restores:
		if call.proved(step.Word); call.lateUntil(now).IsZero() {
			m.forgetSwitch(step.Target)
		}
		return m
	case outcome.Proven:
		call.proved(step.Word)
		return m
	case outcome.NotApplicable && !step.Restores: // what was placed by a flag is not lifted without it
		call.Refused, call.Code = version, outcome.Code
		return m
	}
	call.failed(cmp.Or(outcome.Code, protocol.CodeNotVerified), now)
	if step.Restores && !Passes(call.Code) {
		call.Stuck = version
	}
	return m
}

func (m *ControlsMemory) forgetSwitch(target string) {
	var kept []CallMemory
	for i := range m.Host.Calls {
		if m.Host.Calls[i].Target != target {
			kept = append(kept, m.Host.Calls[i])
		}
	}
	m.Host.Calls = kept
}

// IsToBeSuspended reports whether the machine is against the control, and the policy
// has it suspended for that.
func (m *ControlsMemory) IsToBeSuspended(control string, vm protocol.VMKey) bool {
	violation := m.violation(control, vm)
	return violation != nil && !violation.SuspendFrom.IsZero()
}

// violation is what is remembered of a machine, or with an empty key of the Mac, that
// is against a control, not to be changed; nil if nothing is.
func (m *ControlsMemory) violation(control string, vm protocol.VMKey) *Violation {
	for _, v := range m.Violations {
		if v.Control == control && v.VM == vm {
			return v
		}
	}
	return nil
}

// Warned is the memory after the users of these machines were told that they will be
// suspended.
func (m *ControlsMemory) Warned(vms []protocol.VMKey) *ControlsMemory {
	m = m.clone()
	violations := make([]*Violation, len(m.Violations))
	for i, v := range m.Violations {
		changed := *v
		changed.Warned = v.Warned || slices.Contains(vms, v.VM)
		violations[i] = &changed
	}
	m.Violations = violations
	return m
}

// Suspended is the memory after the agent has tried to suspend a machine, with
// the code of why it could not; empty if it could.
func (m *ControlsMemory) Suspended(vm protocol.VMKey, code protocol.Code, now time.Time) *ControlsMemory {
	m = m.clone()
	violations := make([]*Violation, len(m.Violations))
	for i, v := range m.Violations {
		changed := *v
		switch {
		case v.VM != vm:
		case code == "":
			changed.SuspendedAt, changed.Failures, changed.FailedAt, changed.FailCode = now.UTC(), 0, time.Time{}, ""
		default:
			changed.Failures++
			changed.FailedAt, changed.FailCode = now.UTC(), code
		}
		violations[i] = &changed
	}
	m.Violations = violations
	return m
}
