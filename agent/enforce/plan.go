package enforce

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
	"time"

	"prlagent/agent/policy"
	"prlagent/agent/protocol"
	"prlagent/prlctl"
)

// Planned is a plan that was made and remembered.
type Planned struct {
	At       time.Time
	Document *policy.Document // nil: none is in force
	Enforce  bool
	Steps    []policy.Step // to be carried out
	WouldDo  []policy.Step // that monitor mode leaves out
	Machines map[protocol.VMKey]*Machine
	Events   []protocol.Event // what a person may want to know of it
	Accounts map[uint32]*Account
	// PreferenceSteps are the keys that are written, or that monitor mode leaves out.
	PreferenceSteps []policy.PreferenceStep

	HostSteps   []policy.HostStep // of the host's switches, to be carried out
	HostWouldDo []policy.HostStep // that monitor mode leaves out
	Suspends    []*policy.Violation
	NextAt      time.Time // another look is needed then, see policy.ControlsResult; zero: none is

	ReportChanged bool // Report says something else than before

	byHand       bool              // what a person wants done now, and no plan for the policy
	mark         Mark              // of when it was made
	retries      []protocol.VMKey  // see takeRetry
	standingHost []policy.HostStep // of the plan before, while the host is at work
	version      prlctl.Version
	system       string // version and build of macOS
	capabilities prlctl.Capabilities
	standing     []policy.Step    // of the plan before, at which work goes on
	notices      []*policy.Notice // to be shown
	reminders    []preferenceReminder
	work         []*preferenceWork
	judged       []protocol.VMKey // accounts whose preferences were planned for
	aboutToSet   []protocol.VMKey // of these, those of which some are written
	warnings     []*warning       // that owners are given
}

// Plan plans for the machines of a look, but for those that are being set, or were
// while the look ran: of these stands what was planned before. What it found is
// remembered, and is the report from now on. With an error nothing is to be
// carried out.
func (e *Enforcer) Plan(s *Situation) (*Planned, error) {
	e.readForced(s)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.broken != nil {
		return nil, e.broken
	}
	e.parse(&s.Content)
	resumed, err := e.resume(s)
	if err != nil {
		return nil, err
	}
	now := e.options.Now().UTC().Truncate(time.Second)
	planned := &Planned{
		At: now, Document: e.parsed.document, Enforce: s.Enforce, Machines: make(map[protocol.VMKey]*Machine, len(s.Machines)),
		mark: e.ends, version: s.Version, system: s.System, capabilities: s.Capabilities,
	}
	observed := &policy.Observed{Now: now, Trusted: s.Trusted, Version: s.Version, System: s.System, Capabilities: s.Capabilities, Closed: s.Closed}
	// What failed may be another matter with another version.
	isUpdated := e.planned != nil && (e.planned.version != s.Version || e.planned.system != s.System)
	for _, m := range s.Machines {
		key := m.Facts.Key
		planned.Machines[key] = m
		isAtWork := e.unsettled(key.UID, s.Mark)
		m.Facts.RetryNow = e.takeRetry(planned, key, m.Facts.RetryNow || isUpdated, isAtWork)
		if !isAtWork {
			observed.Machines = append(observed.Machines, m.Facts)
		}
	}
	planned.standing = e.standingSteps(planned, s.Mark)
	if s.Whole {
		if err := e.followMoved(planned); err != nil {
			return nil, err
		}
	}
	observed.Memory, observed.Controls = e.memory, e.controls
	e.observeHost(s, planned, &observed.Host)
	desired := e.desired(s)
	result := policy.Plan(desired, observed)
	e.planPreferences(desired, s, planned, result)
	planned.Steps, planned.WouldDo = result.Steps, result.WouldDo
	planned.HostSteps, planned.HostWouldDo = result.Controls.HostSteps, result.Controls.HostWouldDo
	result.Controls.LookAgain(e.lateLeases())
	planned.Suspends, planned.NextAt = result.Controls.Suspends, result.Controls.NextAt
	planned.Events = resumed
	e.tellOfSettings(result, planned)
	e.tellOfSwitches(result, planned)
	e.tellOfViolations(result, planned)
	planned.tellOfSpace(result)
	e.noteWarnings(result, planned, s.NotifyUsers)
	e.remind(result, planned, s.NotifyUsers)
	if s.Whole && (desired.Document != nil || desired.Released) {
		e.forgetGone(result.Memory, planned)
	}
	if err := e.noteVersion(s, planned); err != nil {
		return nil, err
	}
	e.takeVerdicts(result, observed.Machines, planned, s)
	report := e.makeReport(&s.Content, s.Enforce)
	if err := e.remember(result.Memory, report, result.Controls.Memory); err != nil {
		return nil, err
	}
	e.noteListed(s, result.Controls.Began)
	planned.ReportChanged = report != nil
	e.planned = planned
	return planned, nil
}

// shownSteps are the steps of machines, for people: those that were planned, or that
// monitor mode leaves out, behind those of the plan before at which work goes on.
func (p *Planned) shownSteps() []policy.Step {
	if p.Enforce {
		return slices.Concat(p.standing, p.Steps)
	}
	return slices.Concat(p.standing, p.WouldDo)
}

// shownHostSteps are the steps of the host's switches, for people, as shownSteps.
func (p *Planned) shownHostSteps() []policy.HostStep {
	if p.Enforce {
		return slices.Concat(p.standingHost, p.HostSteps)
	}
	return slices.Concat(p.standingHost, p.HostWouldDo)
}

// planInForce is the newest plan, if it was for the document in force: one for another
// says nothing about this one; else nil. The caller holds the lock.
func (e *Enforcer) planInForce() *Planned {
	if e.planned == nil || e.planned.Document != e.parsed.document {
		return nil
	}
	return e.planned
}

// standingSteps are the shown steps of the plan before for machines that this one does
// not plan for, because they are being set. The caller holds the lock.
func (e *Enforcer) standingSteps(planned *Planned, since Mark) (steps []policy.Step) {
	before := e.planInForce()
	if before == nil {
		return nil
	}
	shown := before.shownSteps()
	for i := range shown {
		step := &shown[i]
		if planned.Machines[step.VM] != nil && e.unsettled(step.VM.UID, since) {
			steps = append(steps, *step)
		}
	}
	return steps
}

// standingPreferences are the shown keys of the plan before for an account that this one
// does not plan for, because it is being read or set. The caller holds the lock.
func (e *Enforcer) standingPreferences(uid uint32) (steps []policy.PreferenceStep) {
	before := e.planInForce()
	if before == nil {
		return nil
	}
	for i := range before.PreferenceSteps {
		if step := &before.PreferenceSteps[i]; step.UID == uid {
			steps = append(steps, *step)
		}
	}
	return steps
}

// desired is what is wanted in this situation. The caller holds the lock.
func (e *Enforcer) desired(s *Situation) policy.Desired {
	return policy.Desired{
		Document: e.parsed.document, Released: s.Content.Released, Enforce: s.Enforce,
		AllowUnprovenLocks: s.AllowUnprovenLocks, VendorGates: s.VendorGates, LiftLocks: e.released != nil,
	}
}

// observeHost is what is known of the Mac as a whole. While its switches are being set
// the steps stand that were planned before. The caller holds the lock.
func (e *Enforcer) observeHost(s *Situation, planned *Planned, host *policy.Host) {
	*host = s.Host
	host.AtWork = e.tasks.Pending(hostUID)
	host.RetryNow = e.takeRetry(planned, hostKey, host.RetryNow, host.AtWork)
	if before := e.planInForce(); host.AtWork && before != nil {
		planned.standingHost = before.shownHostSteps()
	}
	host.Info, host.Code, host.Leased = e.shown.info, e.shown.code, e.leasedNow()
	host.OwnRemovals = e.lentTo("remove-vm", host.Listed)
	host.ListedBefore = e.listedBefore
	host.Updates = e.updateSource(s)
	host.Present = make([]protocol.VMKey, 0, len(s.Machines))
	for _, m := range s.Machines {
		host.Present = append(host.Present, m.Facts.Key)
	}
}

// noteListed notes whose lists this plan knew: what comes into them from now on was
// seen to come. Where a control has begun, only what comes from now on was seen to come
// after that.
func (e *Enforcer) noteListed(s *Situation, began bool) {
	if e.parsed.document == nil || !e.parsed.document.ManagesControls() {
		e.listedBefore = nil
		return
	}
	if e.listedBefore == nil || began {
		e.listedBefore = make(map[uint32]bool)
	}
	for uid := range s.Host.Listed {
		e.listedBefore[uid], e.listedAt[uid] = true, s.Mark
	}
}

// planKey tells apart what a report is about.
func planKey(content *policy.Content) string {
	if content.Released {
		return "released " + content.Pointer.SHA256
	}
	return content.Pointer.SHA256
}

// takeVerdicts takes over the verdicts of a plan. What is reported of a machine
// that is about to be set is what was: whoever changes a setting that is put back
// at once makes no report.
func (e *Enforcer) takeVerdicts(result *policy.Result, machines []policy.Machine, planned *Planned, s *Situation) {
	if e.report.Plan != planKey(&s.Content) || e.report.Enforce != s.Enforce {
		clear(e.verdicts)
		clear(e.reported)
	}
	looked := map[protocol.VMKey]bool{{}: true} // with what is about no machine
	for i := range machines {
		looked[machines[i].Key] = true
	}
	isSet := make(map[protocol.VMKey]bool)
	for _, key := range planned.judged {
		looked[key] = true
	}
	for _, key := range planned.aboutToSet {
		isSet[key] = true
	}
	for i := range result.Steps {
		isSet[result.Steps[i].VM] = true
	}
	for key := range looked {
		delete(e.verdicts, key)
	}
	for i := range result.Verdicts {
		verdict := &result.Verdicts[i]
		e.verdicts[verdict.VM] = append(e.verdicts[verdict.VM], verdict)
	}
	for key := range looked {
		if _, was := e.reported[key]; !was || !isSet[key] {
			e.reported[key] = e.verdicts[key]
		}
	}
	e.dropGone(s)
}

// dropGone forgets the verdicts on machines and accounts that are not there any more.
func (e *Enforcer) dropGone(s *Situation) {
	there := map[protocol.VMKey]bool{{}: true}
	for _, m := range s.Machines {
		there[m.Facts.Key] = true
	}
	for i := range s.Accounts {
		there[policy.AccountKey(s.Accounts[i].User.UID)] = true
	}
	for key := range e.reported {
		if !there[key] {
			delete(e.verdicts, key)
			delete(e.reported, key)
		}
	}
	for key := range e.retries {
		if !there[key] {
			delete(e.retries, key)
		}
	}
}

// verdictsInOrder are the verdicts on all machines, in the order of their keys.
func verdictsInOrder(verdicts map[protocol.VMKey][]*policy.Verdict) (all []*policy.Verdict) {
	for _, key := range inOrder(maps.Keys(verdicts)) {
		all = append(all, verdicts[key]...)
	}
	return all
}

// makeReport makes the report of what is to be told; nil if it is the one that
// there is.
func (e *Enforcer) makeReport(content *policy.Content, enforce bool) *told {
	made := &told{Plan: planKey(content), Enforce: enforce}
	grouping := protocol.NewVerdictGrouping(content.Pointer.SHA256)
	all := verdictsInOrder(e.reported)
	for _, verdict := range all {
		if made.Counts == nil {
			made.Counts = make(map[string]int)
		}
		made.Counts[verdict.Strength.Standard]++
		group := protocol.VerdictGroup{Path: verdict.Path, Verdict: verdict.Verdict, Strength: verdict.Strength.Standard, Code: verdict.Code}
		if !group.IsSimplyInPlace() {
			group.Since = verdict.Since
		}
		grouping.Add(verdict.VM, &group)
	}
	made.State = policy.State(all)
	if len(all) > 0 { // of a policy that manages nothing, there is nothing to tell
		made.Verdicts = grouping.Report
	}
	if reflect.DeepEqual(made, e.report) {
		return nil
	}
	return made
}

// Report says how far the policy is carried out.
func (e *Enforcer) Report(content *policy.Content, gates Gates) protocol.PolicyReport {
	report := Report(content, gates)
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.broken != nil && content.InForce():
		report.State, report.Code = protocol.PolicyFailed, cmp.Or(protocol.CodeOf(e.broken), protocol.CodeStoreDamaged)
		return report
	case report.State == protocol.PolicyNotApplicable, report.State == protocol.PolicyFailed, e.report.Plan != planKey(content):
		return report
	}
	// A Mac that only monitors has fetched the policy, and no more.
	if report.State == protocol.PolicyFetched && e.report.Enforce {
		report.State = e.report.State
	}
	report.Counts = e.report.Counts
	report.Code = cmp.Or(report.Code, e.parsed.code)
	return report
}

// Verdicts are what is told of each setting: of the newest plan, also while
// another policy is there that none was made for yet.
func (e *Enforcer) Verdicts() protocol.VerdictReport {
	e.mu.Lock()
	report := e.report // which nobody changes
	e.mu.Unlock()
	return report.Verdicts
}
