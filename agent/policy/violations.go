package policy

import (
	"slices"
	"time"

	"prlagent/agent/protocol"
	"prlagent/prlctl"
)

const (
	// installLimit is how long after it came a machine without Parallels Tools is
	// taken to be under installation, during which it is never suspended (H42).
	installLimit = 24 * time.Hour
	// removedKept is how long a removal against a control is told of.
	removedKept = 30 * 24 * time.Hour
	// maxGoneSeen is how many machines that are gone are remembered: one that comes
	// back is no new one.
	maxGoneSeen = 100
)

// aboutMachines are the controls for which it has to be known which machine came
// when.
var aboutMachines = []string{"provisioned_only", "one_provisioned_per_user", "no_removal"}

// followMachines notes which machines came and went.
func (cp *controlsPlan) followMachines() {
	if !slices.ContainsFunc(aboutMachines, cp.isOn) {
		cp.memory.Machines = nil
		return
	}
	host := &cp.p.observed.Host
	present := make(map[protocol.VMKey]bool, len(host.Present))
	for _, key := range host.Present {
		present[key] = true
	}
	for _, key := range host.Present {
		cp.noteSeen(key, present)
	}
	for _, m := range cp.memory.Machines {
		cp.noteGone(m, present)
		cp.noteAge(m)
	}
	for i := range cp.p.observed.Machines {
		m := &cp.p.observed.Machines[i]
		if seen := cp.seen(m.Key); seen != nil && m.Unreadable == "" {
			seen.Provisioned = cp.isProvisioned(m)
		}
	}
}

// seen is when a machine was seen first, and how; nil if nobody has to know.
func (cp *controlsPlan) seen(key protocol.VMKey) *SeenMachine {
	for _, m := range cp.memory.Machines {
		if m.Key == key {
			return m
		}
	}
	return nil
}

// isProvisioned reports whether the machine is of a golden image of the
// organization, or counts as one.
func (cp *controlsPlan) isProvisioned(m *Machine) bool {
	scope, _ := cp.document.scopeOf(m)
	return scope == &cp.document.VMSettings.GoldenImage
}

// noteSeen notes a machine that is there. One that another account has had is no
// new one, and one that was gone is not either.
func (cp *controlsPlan) noteSeen(key protocol.VMKey, present map[protocol.VMKey]bool) {
	moved := -1
	for i, m := range cp.memory.Machines {
		if m.Key == key {
			m.returned(cp.now)
			return
		}
		if m.Key.ID == key.ID && !present[m.Key] {
			moved = i
		}
	}
	if moved >= 0 {
		m := cp.memory.Machines[moved]
		m.returned(cp.now)
		m.Key = key
		// It came to this account last, and takes the place of none that is there.
		copy(cp.memory.Machines[moved:], cp.memory.Machines[moved+1:])
		cp.memory.Machines[len(cp.memory.Machines)-1] = m
		return
	}
	host := &cp.p.observed.Host
	cp.memory.Machines = append(cp.memory.Machines, &SeenMachine{
		Key: key, At: cp.now, Came: host.ListedBefore[key.UID] && host.Listed[key.UID],
	})
}

// returned notes that the machine is there now. The time that it was away does not
// count as grace.
func (m *SeenMachine) returned(now time.Time) {
	if !m.GoneAt.IsZero() && !m.SuspendFrom.IsZero() {
		m.SuspendFrom = m.SuspendFrom.Add(max(now.Sub(m.GoneAt), 0))
	}
	m.GoneAt, m.Removed = time.Time{}, false
	if isAhead(m.At, now) {
		m.At = now
	}
}

// noteGone notes a machine that is not in its account's list any more. Of an account
// whose list has more than is looked at nothing is known to be gone; that says nothing
// of the others.
func (cp *controlsPlan) noteGone(m *SeenMachine, present map[protocol.VMKey]bool) {
	host := &cp.p.observed.Host
	if present[m.Key] || !m.GoneAt.IsZero() || !host.Listed[m.Key.UID] {
		return
	}
	m.GoneAt = cp.now
	// What the agent removes itself, it removes under a lease (H68).
	m.Removed = m.Provisioned && cp.isOn("no_removal") && !slices.Contains(host.Leased, "remove-vm") && !host.OwnRemovals[m.Key.UID]
}

// noteAge notes the controls that have begun, and forgets those that have ended.
func (cp *controlsPlan) noteAge(m *SeenMachine) {
	if slices.Contains(cp.began, "no_removal") {
		m.Removed = false
	}
	isOver := func(name string) bool { return !cp.isOn(name) || slices.Contains(cp.began, name) }
	if len(cp.began) > 0 || slices.ContainsFunc(m.OlderThan, isOver) {
		m.OlderThan = append(slices.DeleteFunc(slices.Clone(m.OlderThan), isOver), cp.began...)
	}
}

// judgeProvisionedOnly finds the machines that came since the control began and
// are of no golden image.
func (cp *controlsPlan) judgeProvisionedOnly(c *Control) (string, protocol.Code) {
	for i := range cp.p.observed.Machines {
		if m := &cp.p.observed.Machines[i]; !cp.isProvisioned(m) {
			cp.judgeMachine(c, m, protocol.CodeVMUnprovisioned)
		}
	}
	return "", ""
}

// judgeOnePerUser finds the accounts with more than one machine of a golden image:
// the one that came first may be there.
func (cp *controlsPlan) judgeOnePerUser(c *Control) (string, protocol.Code) {
	first := make(map[uint32]protocol.VMKey)
	for _, m := range cp.memory.Machines { // in the order in which they came
		if m.Provisioned && m.GoneAt.IsZero() {
			if _, has := first[m.Key.UID]; !has {
				first[m.Key.UID] = m.Key
			}
		}
	}
	for i := range cp.p.observed.Machines {
		m := &cp.p.observed.Machines[i]
		if cp.isProvisioned(m) && first[m.Key.UID] != m.Key {
			cp.judgeMachine(c, m, protocol.CodeSecondProvisioned)
		}
	}
	return "", ""
}

// judgeMachine finds the verdict on a machine that a control does not allow. One
// that was there before the control, or whose source is not known, is kept (H42).
func (cp *controlsPlan) judgeMachine(c *Control, m *Machine, code protocol.Code) {
	seen := cp.seen(m.Key)
	if seen == nil {
		return // it went while this was looked at
	}
	cp.p.result.Verdicts = append(cp.p.result.Verdicts, Verdict{Path: c.Path(), Setting: c.Name, VM: m.Key, Value: True, Strength: &monitored})
	verdict := &cp.p.result.Verdicts[len(cp.p.result.Verdicts)-1]
	switch {
	case slices.Contains(seen.OlderThan, c.Name):
		verdict.Verdict, verdict.Code, verdict.Since = protocol.VerdictNotApplicable, protocol.CodeOlderThanControl, seen.At
	case !seen.Came:
		verdict.Verdict, verdict.Code, verdict.Since = protocol.VerdictNotApplicable, protocol.CodeUnknownSource, seen.At
	case m.Unreadable != "": // it may be of a golden image, for all that is known
		cp.keep(c.Name, m.Key)
		verdict.Verdict, verdict.Code, verdict.Since = protocol.VerdictUnknown, m.Unreadable, seen.At
	default:
		violation := cp.violate(c, m.Key, code)
		verdict.Verdict, verdict.Code, verdict.Since = protocol.VerdictFailed, code, violation.At
		cp.planSuspend(verdict, violation, m, seen)
	}
}

// violate notes what is against a control, once.
func (cp *controlsPlan) violate(c *Control, vm protocol.VMKey, code protocol.Code) *Violation {
	violation := &Violation{Control: c.Name, VM: vm, Code: code, At: cp.now}
	known := cp.memory.violation(c.Name, vm)
	if known != nil {
		*violation = *known
	}
	if code == protocol.CodeRemovedAgainstPolicy || cp.seen(vm) == nil {
		violation.SuspendFrom = time.Time{}
	} else {
		cp.beginGrace(violation, cp.seen(vm))
	}
	cp.kept = append(cp.kept, violation)
	if known == nil {
		cp.result.New = append(cp.result.New, violation)
	}
	return violation
}

// suspends reports whether a machine that is against a control is suspended.
func (cp *controlsPlan) suspends() bool {
	return cp.p.desired.Enforce && cp.document.SecurityControls.OnViolation == Suspend
}

// beginGrace has the grace of a machine begin now, or go on where it was.
func (cp *controlsPlan) beginGrace(violation *Violation, seen *SeenMachine) {
	if violation.SuspendFrom.IsZero() {
		violation.SuspendFrom = seen.SuspendFrom
	}
	switch {
	case !cp.suspends():
		violation.SuspendFrom, violation.Warned = time.Time{}, false
	case violation.SuspendFrom.IsZero() || isAhead(violation.SuspendFrom, cp.now):
		violation.SuspendFrom = cp.now
	}
	seen.SuspendFrom = violation.SuspendFrom
}

// keep keeps what was against a control, and reports whether there was anything: what
// is not known now neither ends a violation nor begins one.
func (cp *controlsPlan) keep(control string, vm protocol.VMKey) bool {
	violation := cp.memory.violation(control, vm)
	if violation != nil {
		cp.keepAsItWas(violation)
	}
	return violation != nil
}

// keepAsItWas keeps a violation, which suspends nothing where the policy does not.
func (cp *controlsPlan) keepAsItWas(violation *Violation) {
	if !cp.suspends() && !violation.SuspendFrom.IsZero() {
		changed := *violation
		changed.SuspendFrom, violation = time.Time{}, &changed
	}
	cp.kept = append(cp.kept, violation)
}

// planSuspend plans that a machine is suspended, if the policy wants that and its
// grace is over.
func (cp *controlsPlan) planSuspend(verdict *Verdict, v *Violation, m *Machine, seen *SeenMachine) {
	if v.SuspendFrom.IsZero() || m.activity() != activityRunning {
		return
	}
	gap := &Gap{Target: "suspend", Wanted: string(prlctl.StateSuspended), Shown: string(prlctl.StateRunning), Verdict: protocol.VerdictPending, Code: protocol.CodeNotSetYet}
	due := v.SuspendFrom.Add(cp.document.SecurityControls.Grace)
	verdict.Wait = &Wait{Since: v.SuspendFrom, Deadline: due}
	tools := &m.VM.GuestTools
	installing := (tools.Version == "" || tools.State == "not_installed") && cp.now.Before(seen.At.Add(installLimit))
	switch {
	case cp.p.observed.Closed != "" || m.Stale != "" || m.Disputed:
		return
	case cp.now.Before(due):
		gap.Code = protocol.CodeGracePeriod
		cp.result.LookAgain(due)
	case installing:
		gap.Verdict, gap.Code = protocol.VerdictDeferred, protocol.CodeVMInstalling
		cp.result.LookAgain(seen.At.Add(installLimit))
	default:
		if v.Failures > 0 {
			gap.Verdict, gap.Code = protocol.VerdictFailed, v.FailCode
		}
		if !cp.isSuspended(v.VM) && (m.RetryNow || cp.isRetried(v.Failures, v.FailedAt, v.FailCode)) {
			cp.result.Suspends = append(cp.result.Suspends, v)
		}
	}
	verdict.Gaps = []Gap{*gap}
}

// isSuspended reports whether it is planned already that the machine is suspended.
func (cp *controlsPlan) isSuspended(vm protocol.VMKey) bool {
	for _, v := range cp.result.Suspends {
		if v.VM == vm {
			return true
		}
	}
	return false
}

// keepViolations keeps what is still against a control, and of machines that this
// plan does not look at what was.
func (cp *controlsPlan) keepViolations() {
	looked := make(map[protocol.VMKey]bool)
	for i := range cp.p.observed.Machines {
		looked[cp.p.observed.Machines[i].Key] = true
	}
	for _, v := range cp.memory.Violations {
		if seen := cp.seen(v.VM); seen != nil && seen.GoneAt.IsZero() && !looked[v.VM] && cp.isOn(v.Control) {
			cp.keepAsItWas(v)
		}
	}
	cp.memory.Violations = cp.kept
	isAgainst := make(map[protocol.VMKey]bool)
	for _, v := range cp.kept {
		isAgainst[v.VM] = true
	}
	for _, m := range cp.memory.Machines {
		if m.GoneAt.IsZero() && looked[m.Key] && !isAgainst[m.Key] {
			m.SuspendFrom = time.Time{}
		}
	}
	cp.forgetGone()
}

// forgetGone forgets the machines that went first, of those that are gone.
func (cp *controlsPlan) forgetGone() {
	gone := 0
	for _, m := range cp.memory.Machines {
		if !m.GoneAt.IsZero() {
			gone++
		}
	}
	kept := cp.memory.Machines[:0]
	for _, m := range cp.memory.Machines {
		if !m.GoneAt.IsZero() && gone > maxGoneSeen {
			gone--
			continue
		}
		kept = append(kept, m)
	}
	cp.memory.Machines = kept
}

// judgeNoRemoval finds the machines that somebody has removed.
func (cp *controlsPlan) judgeNoRemoval(c *Control) (verdict string, code protocol.Code) {
	for _, m := range cp.memory.Machines {
		if m.Removed && cp.p.passed(m.GoneAt) < removedKept {
			cp.violate(c, m.Key, protocol.CodeRemovedAgainstPolicy)
			verdict, code = protocol.VerdictFailed, protocol.CodeRemovedAgainstPolicy
		}
	}
	return verdict, code
}

// judgeNoMajorUpgrade compares the product's major version with the one when the
// control began. What was against the control stays so when an account then sets an
// update server of its own.
func (cp *controlsPlan) judgeNoMajorUpgrade(c *Control) (string, protocol.Code) {
	updates, memory, now := &cp.p.observed.Host.Updates, cp.memory.Controls[c.Name], cp.p.observed.Version.Major
	if updates.ByHand > 0 {
		cp.keep(c.Name, protocol.VMKey{})
	}
	switch {
	case updates.Elsewhere != "":
		return protocol.VerdictNotApplicable, updates.Elsewhere
	case updates.Unread && memory.Verdict == protocol.VerdictNotApplicable: // as long as nobody knows better
		return memory.Verdict, memory.Code
	case memory.Major == 0:
		memory.Major = now
	case now > memory.Major:
		cp.violate(c, protocol.VMKey{}, protocol.CodeMajorUpgrade)
		return protocol.VerdictFailed, protocol.CodeMajorUpgrade
	case now == 0 && cp.keep(c.Name, protocol.VMKey{}): // as while the application is replaced
		return protocol.VerdictFailed, protocol.CodeMajorUpgrade
	}
	return "", ""
}

// judgeNotEnforceable is the verdict on a control that holds only by a switch which
// the profile has to allow.
func (cp *controlsPlan) judgeNotEnforceable(c *Control) (string, protocol.Code) {
	for _, name := range c.switches() {
		gap := cp.gapOf(name)
		if gap == nil || gap.Code != protocol.CodeReleaseUnproven {
			return "", "" // it is placed, or will be
		}
	}
	return protocol.VerdictUnsupported, protocol.CodeNotEnforceable
}
