package policy

import (
	"reflect"
	"slices"
	"time"

	"prlagent/agent/protocol"
	"prlagent/prlctl"
)

// Host is what was seen of the Mac as a whole.
type Host struct {
	Info *prlctl.ServerInfo // nil: it was not read
	Code protocol.Code      // why not
	// AtWork: switches are being set, so that what Info shows and what is remembered may be
	// of different moments: nothing is concluded from them, and nothing is to be done.
	AtWork bool
	// Leased are the switches that are off for the agent's own work.
	Leased []string
	// OwnRemovals are the accounts, by uid, of which the agent may have removed machines
	// itself since their lists were read last.
	OwnRemovals map[uint32]bool
	// Present are all machines that are known, also those that are not planned for.
	// Listed are the accounts, by uid, whose lists were read now and as a whole;
	// ListedBefore those of which this process has done that before.
	Present      []protocol.VMKey
	Listed       map[uint32]bool
	ListedBefore map[uint32]bool
	// Updates is who decides on the updates in the place of no_major_upgrade.
	Updates UpdateSource
	// RetryNow: somebody asked, so that what failed is tried again without waiting.
	RetryNow bool
}

// HostStep is one call of `prlsrvctl set`.
type HostStep struct {
	Switch   string
	Target   string // as Gap.Target
	Args     []string
	Word     string // that the switch is set to
	Prior    string // what was shown before
	Restores bool   // the switch is ours, and is set to what was there before us
}

// Proven reports whether the host shows what the step wants.
func (s *HostStep) Proven(info *prlctl.ServerInfo) bool {
	return FindHostSwitch(s.Switch).Shown(info) == s.Word
}

// ControlsResult is what a plan says of the security controls.
type ControlsResult struct {
	HostSteps   []HostStep // to be carried out one after the other
	HostWouldDo []HostStep // that monitor mode leaves out
	Suspends    []*Violation
	New         []*Violation // that there were not before
	LowSpace    []LowSpace   // the same
	Began       bool         // a control is in force that was not before
	// Memory is what is remembered now; nil if it is the same as before.
	Memory *ControlsMemory
	// NextAt is when another look is needed: a machine is to be suspended, or it is known
	// then what is not known now. Zero: none is.
	NextAt time.Time
}

// LookAgain has the Mac looked at again at a time at the latest; zero: this needs no look.
func (r *ControlsResult) LookAgain(at time.Time) {
	if !at.IsZero() && (r.NextAt.IsZero() || at.Before(r.NextAt)) {
		r.NextAt = at
	}
}

// NeedsHost reports whether a plan needs to know what the host shows.
func (d *Desired) NeedsHost(memory *ControlsMemory) bool {
	if memory.HoldsSwitch() {
		return true
	}
	if d.Document == nil || d.Released || !d.AllowUnprovenLocks {
		return false
	}
	for i := range Controls {
		if d.Document.SecurityControls.Set[Controls[i].Name] && Controls[i].UsesLock() {
			return true
		}
	}
	return false
}

// controlsPlan is the plan of the security controls in the making.
type controlsPlan struct {
	p        *planner
	now      time.Time
	document *Document // nil: none is in force
	memory   *ControlsMemory
	gaps     []*Gap   // of the switches that are not as they are wanted
	inPlace  []string // switches that are on
	began    []string // controls that are in force since this plan
	kept     []*Violation
	result   *ControlsResult
}

// planControls plans the security controls.
func (p *planner) planControls() {
	before := p.observed.Controls
	if before == nil {
		before = &ControlsMemory{}
	}
	if before.IsEmpty() && (p.document == nil || !p.document.ManagesControls()) {
		return
	}
	cp := &controlsPlan{p: p, now: p.observed.Now.UTC(), document: p.document, memory: before.clone(), result: &p.result.Controls}
	cp.planSwitches()
	if p.document != nil || p.desired.Released {
		cp.beginAndEnd()
		cp.followMachines()
		cp.followSpace()
		for i := range Controls {
			cp.judge(&Controls[i])
		}
		cp.keepViolations()
	}
	if !reflect.DeepEqual(cp.memory, before) {
		cp.result.Memory = cp.memory
	}
}

// isOn reports whether the policy has the control on.
func (cp *controlsPlan) isOn(name string) bool {
	return cp.document != nil && cp.document.SecurityControls.Set[name]
}

// beginAndEnd notes since when each control is in force.
func (cp *controlsPlan) beginAndEnd() {
	for i := range Controls {
		name := Controls[i].Name
		was := cp.memory.Controls[name]
		switch {
		case !cp.isOn(name):
			delete(cp.memory.Controls, name)
		case was == nil:
			if cp.memory.Controls == nil {
				cp.memory.Controls = make(map[string]*ControlMemory)
			}
			cp.memory.Controls[name] = &ControlMemory{Began: cp.now}
			cp.began = append(cp.began, name)
		}
	}
	cp.result.Began = len(cp.began) > 0
	if len(cp.memory.Controls) == 0 {
		cp.memory.Controls = nil
	}
}

// judge finds the verdict on one control on this Mac as a whole.
func (cp *controlsPlan) judge(c *Control) {
	value, managed := false, false
	if cp.document != nil {
		value, managed = cp.document.SecurityControls.Set[c.Name]
	}
	if !managed {
		return
	}
	at := len(cp.p.result.Verdicts)
	cp.p.result.Verdicts = append(cp.p.result.Verdicts, Verdict{Path: c.Path(), Setting: c.Name, Value: True})
	own := &cp.p.result.Verdicts[at]
	own.Verdict, own.Code = cp.worstOf(c, own)
	if !value {
		own.Value, own.Strength = False, &monitored
		return
	}
	own.Strength = c.strength(cp.inPlace)
	verdict, code := c.judge(cp, c) // which may add verdicts on machines
	own = &cp.p.result.Verdicts[at]
	if verdict != "" {
		own.Verdict, own.Code = verdict, code
	}
	own.Beside = &Beside{cp.observed(c), c.acts(cp.inPlace)}
	if own.Verdict == protocol.VerdictNotApplicable || own.Verdict == protocol.VerdictUnsupported {
		own.Strength = &notEnforceable
	}
	memory := cp.memory.Controls[c.Name]
	if memory.Since.IsZero() || isAhead(memory.Since, cp.now) || memory.Verdict != own.Verdict || memory.Code != own.Code {
		memory.Verdict, memory.Code, memory.Since = own.Verdict, own.Code, cp.now
	}
	own.Since = memory.Since
}

// gapOf is the gap that was found for a switch; nil if none was.
func (cp *controlsPlan) gapOf(name string) *Gap {
	target := FindHostSwitch(name).Target()
	for _, gap := range cp.gaps {
		if gap.Target == target {
			return gap
		}
	}
	return nil
}

// worstOf is the verdict on the switches of a control together. That one may not
// be placed leaves what is reported, which is in place.
func (cp *controlsPlan) worstOf(c *Control, v *Verdict) (verdict string, code protocol.Code) {
	verdict = protocol.VerdictInPlace
	for _, name := range c.switches() {
		gap := cp.gapOf(name)
		if gap == nil {
			continue
		}
		v.Gaps = append(v.Gaps, *gap)
		switch {
		case gap.Code == protocol.CodeReleaseUnproven:
			if verdict == protocol.VerdictInPlace {
				code = gap.Code
			}
		case rank(gap.Verdict) > rank(verdict):
			verdict, code = gap.Verdict, gap.Code
		}
	}
	if verdict == protocol.VerdictNotApplicable { // this version has no such switch: the rest holds
		verdict = protocol.VerdictPartial
	}
	return verdict, code
}

// planSwitches plans what the host's switches have to be set to.
func (cp *controlsPlan) planSwitches() {
	wanted := make(map[string]bool)
	for i := range Controls {
		if cp.isOn(Controls[i].Name) && !cp.p.desired.LiftLocks {
			for _, name := range Controls[i].switches() {
				wanted[name] = true
			}
		}
	}
	for i := range HostSwitches {
		s := &HostSwitches[i]
		shown := s.Shown(cp.p.observed.Host.Info)
		if shown == switchOn {
			cp.inPlace = append(cp.inPlace, s.Name)
		}
		switch {
		case slices.Contains(cp.p.observed.Host.Leased, s.Name):
			cp.noteLifted(s, shown, wanted[s.Name])
		case wanted[s.Name]:
			cp.place(s, shown)
		default:
			cp.release(s, shown)
		}
	}
}

// noteLifted leaves a switch alone that is off for the agent's own work.
func (cp *controlsPlan) noteLifted(s *HostSwitch, shown string, wanted bool) {
	gap := &Gap{Target: s.Target(), Wanted: switchOn, Shown: shown, Verdict: protocol.VerdictPending, Code: protocol.CodeControlLifted}
	if call := cp.memory.Host.Call(s.Target()); call.Word == "" && !cp.p.desired.AllowUnprovenLocks {
		gap.Verdict, gap.Code = protocol.VerdictUnsupported, protocol.CodeReleaseUnproven
	}
	if wanted {
		cp.gaps = append(cp.gaps, gap)
	}
}

// place plans that a switch is on. One that was on before us is not ours, and is not
// remembered.
func (cp *controlsPlan) place(s *HostSwitch, shown string) {
	target, host := s.Target(), &cp.memory.Host
	call := *host.Call(target)
	late := call.lateUntil(cp.now)
	if shown == switchOn {
		cp.result.LookAgain(late) // it may be lifted late
	}
	counts := call.Word != "" && cp.p.desired.Enforce && !cp.p.observed.Host.AtWork && (shown == switchOff || late.IsZero())
	if counts && (shown == switchOn && call.sawInPlace(switchOn, false, cp.now) || shown == switchOff && call.sawDrift(switchOn, cp.now)) {
		*host.change(target) = call
	}
	if shown == switchOn {
		return
	}
	gap := &Gap{Target: target, Wanted: switchOn, Shown: shown}
	var step bool
	gap.Verdict, gap.Code, step = cp.whatToDo(&call, shown)
	cp.gaps = append(cp.gaps, gap)
	if step {
		cp.addStep(&HostStep{Switch: s.Name, Target: target, Args: s.Args(switchOn), Word: switchOn, Prior: shown})
	}
}

// whatToDo is the verdict on a switch that is not on, and whether it is to be set
// now.
func (cp *controlsPlan) whatToDo(call *CallMemory, shown string) (verdict string, code protocol.Code, step bool) {
	d, observed := &cp.p.desired, cp.p.observed
	switch {
	case call.Word == "" && (!d.AllowUnprovenLocks || cp.isStuck()):
		return protocol.VerdictUnsupported, protocol.CodeReleaseUnproven, false
	case call.Refused != "" && call.Refused == cp.p.version:
		return protocol.VerdictNotApplicable, call.Code, false
	case observed.Closed != "":
		return protocol.VerdictDeferred, observed.Closed, false
	case shown == "" && observed.Host.Info == nil && observed.Host.Code != "":
		return protocol.VerdictUnknown, observed.Host.Code, false
	case shown == "":
		return protocol.VerdictUnknown, protocol.CodeNotObservable, false
	case !d.Enforce:
		return protocol.VerdictPending, protocol.CodeMonitorMode, true
	case call.Contended:
		return protocol.VerdictContended, protocol.CodeContended, cp.p.passed(call.WrittenAt) >= slowRetry
	case call.Failures == 0:
		return protocol.VerdictPending, protocol.CodeNotSetYet, true
	}
	return protocol.VerdictFailed, call.Code, cp.isRetried(call.Failures, call.FailedAt, call.Code)
}

// isStuck reports whether this version did not lift a switch of ours.
func (cp *controlsPlan) isStuck() bool {
	for i := range cp.memory.Host.Calls {
		if cp.memory.Host.Calls[i].Stuck == cp.p.version {
			return true
		}
	}
	return false
}

// isRetried reports whether what failed is to be tried again now.
func (cp *controlsPlan) isRetried(failures int, failedAt time.Time, code protocol.Code) bool {
	ago := cp.p.passed(failedAt)
	return failures < firstRetries || cp.p.observed.Host.RetryNow || ago >= slowRetry || Passes(code) && ago >= passingRetry
}

// release plans that a switch which we have set is what it was before us.
func (cp *controlsPlan) release(s *HostSwitch, shown string) {
	target := s.Target()
	call := cp.memory.Host.Call(target)
	isGone, late := shown != "" && shown != call.Word, call.lateUntil(cp.now)
	switch {
	case call.Word == "", isGone && !cp.p.observed.Host.AtWork && late.IsZero():
		cp.memory.forgetSwitch(target) // it never was ours, or is gone
		return
	case shown == "" && cp.p.observed.Host.Info == nil, cp.p.observed.Closed != "":
		return // it is not known whether it is there
	}
	gap := &Gap{Target: target, Wanted: call.Prior, Shown: shown, Verdict: protocol.VerdictPending, Code: protocol.CodeLockReleasing}
	if call.Failures > 0 {
		gap.Verdict, gap.Code = protocol.VerdictFailed, call.Code
	}
	cp.gaps = append(cp.gaps, gap)
	if isGone {
		cp.result.LookAgain(late)
		return
	}
	if cp.isRetried(call.Failures, call.FailedAt, call.Code) {
		cp.addStep(&HostStep{Switch: s.Name, Target: target, Args: s.Args(call.Prior), Word: call.Prior, Prior: shown, Restores: true})
	}
}

// addStep adds a step to those that are carried out, or that monitor mode leaves
// out. What a person wants lifted is lifted in every mode.
func (cp *controlsPlan) addStep(step *HostStep) {
	if cp.p.observed.Host.AtWork {
		return
	}
	steps := &cp.result.HostWouldDo
	if cp.p.desired.Enforce || step.Restores && cp.p.desired.LiftLocks {
		steps = &cp.result.HostSteps
	}
	*steps = append(*steps, *step)
}
