package enforce

import (
	"cmp"
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
	Machines map[protocol.VMKey]Machine
	Events   []protocol.Event // what a person may want to know of it

	ReportChanged bool // Report says something else than before

	version      prlctl.Version
	capabilities prlctl.Capabilities
}

// Plan plans for the machines of a look, but for those that are being set, or were
// while the look ran: of these stands what was planned before. What it found is
// remembered, and is the report from now on. With an error nothing is to be
// carried out.
func (e *Enforcer) Plan(s Situation) (Planned, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.broken != nil {
		return Planned{}, e.broken
	}
	e.parse(s.Content)
	now := e.options.Now().UTC().Truncate(time.Second)
	planned := Planned{
		At: now, Document: e.parsed.document, Enforce: s.Enforce, Machines: make(map[protocol.VMKey]Machine, len(s.Machines)),
		version: s.Version, capabilities: s.Capabilities,
	}
	observed := policy.Observed{Now: now, Version: s.Version, Capabilities: s.Capabilities, Closed: s.Closed, Memory: e.memory}
	there := make(map[protocol.VMKey]bool, len(s.Machines))
	for _, m := range s.Machines {
		there[m.Facts.Key] = true
		planned.Machines[m.Facts.Key] = m
		if !e.unsettled(m.Facts.Key.UID, s.Mark) {
			observed.Machines = append(observed.Machines, m.Facts)
		}
	}
	desired := policy.Desired{
		Document: e.parsed.document, Released: s.Content.Released, Enforce: s.Enforce,
		AllowUnprovenLocks: s.AllowUnprovenLocks, VendorGates: s.VendorGates,
	}
	result := policy.Plan(desired, observed)
	planned.Steps, planned.WouldDo = result.Steps, result.WouldDo
	planned.Events = e.eventsOf(result, planned)
	e.noteTold(result, now)
	if s.Whole && (desired.Document != nil || desired.Released) {
		e.forgetGone(result.Memory, there)
	}
	e.takeVerdicts(result, observed.Machines, there, s)
	report := e.makeReport(planKey(s.Content), s.Enforce)
	if err := e.remember(result.Memory, report); err != nil {
		return Planned{}, err
	}
	planned.ReportChanged = report != nil
	e.planned = planned
	return planned, nil
}

// noteTold adds to a result's memory that people were told: events are what
// everybody gets.
func (e *Enforcer) noteTold(result policy.Result, now time.Time) {
	for _, notice := range result.Notices {
		for _, key := range notice.VMs {
			memory, changed := result.Memory[key]
			if !changed {
				memory = e.memory[key]
			}
			result.Memory[key] = memory.Told(now)
		}
	}
}

// planKey tells apart what a report is about.
func planKey(content policy.Content) string {
	if content.Released {
		return "released " + content.Pointer.SHA256
	}
	return content.Pointer.SHA256
}

// takeVerdicts takes over the verdicts of a plan. What is reported of a machine
// that is about to be set is what was: whoever changes a setting that is put back
// at once makes no report.
func (e *Enforcer) takeVerdicts(result policy.Result, planned []policy.Machine, there map[protocol.VMKey]bool, s Situation) {
	if e.report.Plan != planKey(s.Content) || e.report.Enforce != s.Enforce {
		clear(e.verdicts)
		clear(e.told)
	}
	found := make(map[protocol.VMKey][]policy.Verdict, len(planned)+1)
	for _, verdict := range result.Verdicts {
		found[verdict.VM] = append(found[verdict.VM], verdict)
	}
	isSet := make(map[protocol.VMKey]bool)
	for i := range result.Steps {
		isSet[result.Steps[i].VM] = true
	}
	var document protocol.VMKey
	e.verdicts[document], e.told[document] = found[document], found[document]
	for i := range planned {
		key := planned[i].Key
		e.verdicts[key] = found[key]
		if _, was := e.told[key]; !was || !isSet[key] {
			e.told[key] = found[key]
		}
	}
	for key := range e.verdicts {
		if key != document && !there[key] {
			delete(e.verdicts, key)
			delete(e.told, key)
		}
	}
}

// makeReport makes the report of what is told; nil if it is the one that there is.
func (e *Enforcer) makeReport(plan string, enforce bool) *reportRecord {
	made := reportRecord{Plan: plan, Enforce: enforce}
	var all []policy.Verdict
	for _, key := range sortedKeys(e.told) {
		for _, verdict := range e.told[key] {
			all = append(all, verdict)
			if made.Counts == nil {
				made.Counts = make(map[string]int)
			}
			made.Counts[verdict.Standard]++
			if verdict.Verdict != protocol.VerdictInPlace || verdict.Code != "" {
				made.Verdicts = append(made.Verdicts, reported(verdict))
			}
		}
	}
	made.State = policy.State(all)
	if beyond := len(made.Verdicts) - protocol.MaxVerdicts; beyond > 0 {
		made.Verdicts, made.LeftOut = made.Verdicts[:protocol.MaxVerdicts], beyond
	}
	if made.isSame(e.report) {
		return nil
	}
	return &made
}

func reported(verdict policy.Verdict) protocol.Verdict {
	made := protocol.Verdict{Path: verdict.Path, Verdict: verdict.Verdict, Strength: verdict.Standard, Code: verdict.Code, Since: verdict.Since}
	if verdict.VM != (protocol.VMKey{}) {
		key := verdict.VM
		made.VM = &key
	}
	return made
}

// Report says how far the policy is carried out.
func (e *Enforcer) Report(content policy.Content, gates Gates) protocol.PolicyReport {
	report := Report(content, gates)
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.broken != nil && content.InForce():
		report.State, report.Code = protocol.PolicyFailed, protocol.CodeOf(e.broken)
		return report
	case report.State == protocol.PolicyNotApplicable, report.State == protocol.PolicyFailed, e.report.Plan != planKey(content):
		return report
	}
	// A Mac that only monitors has fetched the policy, and no more.
	if report.State == protocol.PolicyFetched && e.report.Enforce {
		report.State = e.report.State
	}
	report.Counts, report.Verdicts, report.LeftOut = e.report.Counts, e.report.Verdicts, e.report.LeftOut
	report.Code = cmp.Or(report.Code, e.parsed.code)
	return report
}
