package enforce

import (
	"cmp"
	"context"
	"strconv"
	"strings"
	"time"

	"prlagent/agent/policy"
	"prlagent/agent/protocol"
	"prlagent/prlctl"
)

// Events about what is against a control.
const (
	eventSuspended       = "policy_violation_suspended" // the machine, by the agent
	eventNotSuspended    = "policy_violation_not_suspended"
	eventViolationNotice = "policy_violation_notice" // its user was told
	actionReported       = "reported"
	actionSuspendedAfter = "suspended_after_grace"
)

// violationEvents tell what is against a control and was not before, with what
// will be done about it. The caller holds the lock, and has not remembered the
// plan yet.
func (e *Enforcer) violationEvents(result *policy.Result, planned *Planned, notify bool) (events []protocol.Event) {
	for i := range result.Controls.New {
		v := &result.Controls.New[i]
		data := []string{"control", v.Control, "action", actionReported}
		if !v.SuspendFrom.IsZero() {
			due := v.SuspendFrom.Add(planned.Document.SecurityControls.Grace)
			data[3] = actionSuspendedAfter
			data = append(data, "suspend_at", due.UTC().Format(time.RFC3339))
			if notify && planned.Machines[v.VM].Owner.Session {
				planned.warned = append(planned.warned, *v)
			}
		}
		if v.VM == (protocol.VMKey{}) {
			events = append(events, planned.hostEvent(protocol.EventViolation, v.Code, data...))
			continue
		}
		if planned.Machines[v.VM] == nil { // it is gone: what it was called, and whose it was, was seen before
			data = append(data, e.namesOf(v.VM)...)
		}
		events = append(events, planned.event(v.VM, protocol.EventViolation, v.Code, data...))
	}
	return events
}

// lowSpaceEvents tell of machines that there is no room to encrypt, which there was
// before (conformance ENC-10).
func (p *Planned) lowSpaceEvents(result *policy.Result) (events []protocol.Event) {
	megabytes := func(bytes uint64) string { return strconv.FormatUint(bytes>>20, 10) }
	for _, low := range result.Controls.LowSpace {
		events = append(events, p.event(low.VM, string(protocol.CodeDiskLow), protocol.CodeDiskLow, "used_mb", megabytes(low.Used), "free_mb", megabytes(low.Free)))
	}
	return events
}

// namesOf is what the machine and its owner were called at the last plan.
func (e *Enforcer) namesOf(key protocol.VMKey) []string {
	if e.planned == nil || e.planned.Machines[key] == nil {
		return nil
	}
	machine := e.planned.Machines[key]
	return []string{"user_name", machine.Owner.User.Name, "vm_name", machine.Name}
}

// warn asks the Mac to tell the owners that machines of theirs will be suspended,
// each once, and does not wait.
func (e *Enforcer) warn(ctx context.Context, planned *Planned) {
	for _, v := range planned.warned {
		due := v.SuspendFrom.Add(planned.Document.SecurityControls.Grace)
		text := "Your organization does not allow one of your Parallels virtual machines. It will be suspended on " + due.Local().Format(dueForm)
		e.notify(ctx, planned.Machines[v.VM].Owner.User, "tell a user of a violation", text, func(outcome string, code protocol.Code) protocol.Event {
			return planned.event(v.VM, eventViolationNotice, code, "notification", outcome)
		})
	}
}

// suspend suspends the machines that are against a control and whose grace is over.
func (a *application) suspend(ctx context.Context, violations []policy.Violation) {
	ctx, cancel := context.WithTimeout(ctx, applyLimit)
	defer cancel()
	for i := range violations {
		if ctx.Err() == nil && !a.hung {
			a.suspendOne(ctx, &violations[i])
		}
	}
}

// suspendOne suspends a machine that still runs. What holds is the state that a
// look shows afterwards.
func (a *application) suspendOne(ctx context.Context, v *policy.Violation) {
	e, machine := a.enforcer, a.planned.Machines[v.VM]
	if state, err := a.state(ctx, machine); err != nil || state != prlctl.StateRunning {
		return // the next plan says what it means
	}
	var said error
	err := e.options.Lanes.Run(ctx, v.VM.UID, hangsAfter, func() error {
		said = e.options.Suspend(ctx, machine.Owner.User, machine.Owner.Session, v.VM.ID)
		return said
	})
	if err != nil {
		e.options.Log.Warn().Err(err).Str("vm", v.VM.String()).Msg("suspend")
	}
	a.outcome.Begun++
	isSuspended := a.seesSuspended(ctx, machine)
	if ctx.Err() != nil && !isSuspended {
		return // nobody knows how it ended: the next plan looks
	}
	code, kind := protocol.Code(""), eventSuspended
	if isSuspended {
		a.outcome.Proven++
	} else {
		code, kind = cmp.Or(protocol.CodeOf(said), protocol.CodeNotVerified), eventNotSuspended
	}
	if isSuspended || v.Failures == 0 {
		a.outcome.Events = append(a.outcome.Events, a.planned.event(v.VM, kind, cmp.Or(code, v.Code), "control", v.Control, "action", "suspend"))
	}
	err = e.changeControls(func(m policy.ControlsMemory) policy.ControlsMemory { return m.Suspended(v.VM, code, e.now()) })
	if err != nil {
		e.options.Log.Error().Err(err).Msg("keep what became of a machine that was suspended")
	}
}

// seesSuspended looks until the machine's saved state is there: it may follow the
// call by some moments (facts/prlctl.md 9).
func (a *application) seesSuspended(ctx context.Context, machine *Machine) bool {
	for waited := time.Duration(0); ; waited += filePoll {
		state, err := a.state(ctx, machine)
		if err == nil && (state == prlctl.StateSuspended || state == prlctl.StateStopped) {
			return true
		}
		if waited >= fileLimit || ctx.Err() != nil || a.hung {
			return false
		}
		select {
		case <-time.After(filePoll):
		case <-ctx.Done():
		}
	}
}

// state asks for the machine's state.
func (a *application) state(ctx context.Context, machine *Machine) (prlctl.State, error) {
	vm, err := a.get(ctx, machine)
	return prlctl.State(strings.ToLower(string(vm.State))), err
}

// Violations is how many things are against a control.
func (e *Enforcer) Violations() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.controls.Violations)
}
