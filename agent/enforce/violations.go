package enforce

import (
	"cmp"
	"context"
	"fmt"
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
	actionSuspended      = "suspended"
	actionNotSuspended   = "not_suspended"
)

// tellOfViolations tells what is against a control and was not before, with what
// will be done about it. The caller holds the lock, and has not remembered the
// plan yet.
func (e *Enforcer) tellOfViolations(result *policy.Result, planned *Planned) {
	for _, v := range result.Controls.New {
		data := []string{"control", v.Control, "action", actionReported}
		if !v.SuspendFrom.IsZero() {
			due := v.SuspendFrom.Add(planned.Document.SecurityControls.Grace)
			data[3] = actionSuspendedAfter
			data = append(data, "suspend_at", due.UTC().Format(time.RFC3339))
		}
		if v.VM == (protocol.VMKey{}) {
			planned.tellOfMac(&planned.Events, protocol.EventViolation, v.Code, data...)
			continue
		}
		if planned.Machines[v.VM] == nil { // it is gone: what it was called, and whose it was, was seen before
			data = append(data, e.namesOf(v.VM)...)
		}
		planned.tell(&planned.Events, v.VM, protocol.EventViolation, v.Code, data...)
	}
}

// tellOfSpace tells of machines that there is no room to encrypt, which there was
// before (conformance ENC-10).
func (p *Planned) tellOfSpace(result *policy.Result) {
	megabytes := func(bytes uint64) string { return strconv.FormatUint(bytes>>20, 10) }
	for _, low := range result.Controls.LowSpace {
		p.tell(&p.Events, low.VM, string(protocol.CodeDiskLow), protocol.CodeDiskLow, "used_mb", megabytes(low.Used), "free_mb", megabytes(low.Free))
	}
}

// namesOf is what the machine and its owner were called at the last plan.
func (e *Enforcer) namesOf(key protocol.VMKey) []string {
	if e.planned == nil || e.planned.Machines[key] == nil {
		return nil
	}
	machine := e.planned.Machines[key]
	return []string{"user_name", machine.Owner.User.Name, "vm_name", machine.Name}
}

// warning is what the owner of machines that will be suspended is told, in one
// notification however many they are.
type warning struct {
	owner *Owner
	vms   []protocol.VMKey
	due   time.Time // of the first one that still has grace; zero where none has
}

// noteWarnings decides who is told that machines of theirs will be suspended, each
// once, and adds that to the plan's memory, which is kept before anything is shown.
// Who has no GUI session is told at the first plan when they have one. The caller
// holds the lock.
func (e *Enforcer) noteWarnings(result *policy.Result, planned *Planned, notify bool) {
	memory := result.Controls.Memory
	if memory == nil {
		memory = e.controls
	}
	if !notify || planned.Document == nil {
		return
	}
	var warned []protocol.VMKey
	for _, v := range memory.Violations {
		machine := planned.Machines[v.VM]
		if v.Warned || v.SuspendFrom.IsZero() || machine == nil || !machine.Owner.Session {
			continue
		}
		planned.warn(&machine.Owner, v)
		warned = append(warned, v.VM)
	}
	if len(warned) > 0 {
		result.Controls.Memory = memory.Warned(warned)
	}
}

// warn adds a machine to what its owner is told.
func (p *Planned) warn(owner *Owner, v *policy.Violation) {
	due := v.SuspendFrom.Add(p.Document.SecurityControls.Grace)
	if !due.After(p.At) {
		due = time.Time{} // told late: that it will be suspended then would be untrue
	}
	for _, w := range p.warnings {
		if w.owner.User.UID != owner.User.UID {
			continue
		}
		w.vms = append(w.vms, v.VM)
		if w.due.IsZero() || !due.IsZero() && due.Before(w.due) {
			w.due = due
		}
		return
	}
	p.warnings = append(p.warnings, &warning{owner, []protocol.VMKey{v.VM}, due})
}

// text is what the owner is told.
func (w *warning) text() string {
	one, many := "It is suspended whenever it runs.", "They are suspended whenever they run."
	if !w.due.IsZero() {
		due := strings.TrimSuffix(w.due.Local().Format(dueForm), ".")
		one, many = "From "+due+" on it is suspended whenever it runs.", "From "+due+" on they are suspended whenever they run."
	}
	if len(w.vms) == 1 {
		return "Your organization does not allow one of your Parallels virtual machines. " + one
	}
	return fmt.Sprintf("Your organization does not allow %d of your Parallels virtual machines. %s", len(w.vms), many)
}

// warn asks the Mac to tell the owners of a plan's warnings, and does not wait.
func (e *Enforcer) warn(ctx context.Context, planned *Planned) {
	for _, w := range planned.warnings {
		e.notify(ctx, &notification{
			user: w.owner.User, what: "tell a user of a violation", text: w.text(),
			planned: planned, about: w.vms[0], kind: eventViolationNotice, data: []string{"vms", strconv.Itoa(len(w.vms))},
		})
	}
}

// suspend suspends the machines that are against a control and whose grace is over.
func (a *application) suspend(ctx context.Context, violations []*policy.Violation) {
	ctx, cancel := context.WithTimeout(ctx, applyLimit)
	defer cancel()
	for _, violation := range violations {
		if ctx.Err() == nil && !a.hung {
			a.suspendOne(ctx, violation)
		}
	}
}

// suspendOne suspends a machine that still runs. What holds is the state that a
// look shows afterwards.
func (a *application) suspendOne(ctx context.Context, v *policy.Violation) {
	e, machine := a.enforcer, a.planned.Machines[v.VM]
	if e.isVoid(a.planned) || !e.isToBeSuspended(v) {
		return
	}
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
	code, kind, action := protocol.Code(""), eventSuspended, actionSuspended
	if isSuspended {
		a.outcome.Proven++
	} else {
		code, kind, action = cmp.Or(protocol.CodeOf(said), protocol.CodeNotVerified), eventNotSuspended, actionNotSuspended
	}
	if isSuspended || v.Failures == 0 {
		a.planned.tell(&a.outcome.Events, v.VM, kind, cmp.Or(code, v.Code), "control", v.Control, "action", action)
	}
	err = e.changeControls(func(m *policy.ControlsMemory) *policy.ControlsMemory { return m.Suspended(v.VM, code, e.now()) })
	if err != nil {
		e.options.Log.Error().Err(err).Msg("keep what became of a machine that was suspended")
	}
}

// isToBeSuspended reports whether what was planned for a violation still stands: a
// newer plan, or a person, may have ended it.
func (e *Enforcer) isToBeSuspended(v *policy.Violation) bool {
	e.mu.Lock()
	released, controls := e.released, e.controls
	e.mu.Unlock()
	return released == nil && controls.IsToBeSuspended(v.Control, v.VM)
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
	controls := e.controls
	e.mu.Unlock()
	return len(controls.Violations)
}
