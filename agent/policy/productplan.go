package policy

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"prlagent/agent/protocol"
	"prlagent/prlctl"
)

// Account is what PlanPreferences has to know of one account of the Mac.
type Account struct {
	UID uint32
	// Domain is what cfprefsd says of the account's domain of preferences, as
	// platform/plist decodes it; the values of other keys than the catalogue's may be
	// missing. Unread is why nothing is known of it; empty if something is. With
	// not_looked_yet, what is remembered stands.
	Domain map[string]any
	Unread protocol.Code
	// Forced are the values that MDM profiles force for the account, by their keys.
	Forced map[ManagedKey]any
	// Runs names the application's runs of this account that go on now; empty if it
	// does not run. A run has another name than every one before it.
	Runs []string
	// RetryNow: somebody asked, so that what failed is tried again without waiting.
	RetryNow bool
}

// ProductFacts is what was seen of the product.
type ProductFacts struct {
	Now     time.Time
	Version prlctl.Version // zero if not known
	Edition string         // empty if not known
	Closed  protocol.Code  // why there is nothing to be set; empty if something is
}

// PreferenceStep is one key that is to be written for one account.
type PreferenceStep struct {
	UID     uint32
	Setting string // name of the preference
	Path    string // of it in the document
	Value   Value  // that the policy wants
	Key     string
	Write   any      // a string, a boolean or an integer
	Word    string   // the same, for people
	Prior   string   // what was there before; empty if nothing was
	Runs    []string // of the application, which take no notice of it

	preference *Preference
}

// Proven reports whether the domain has what the step wants.
func (s *PreferenceStep) Proven(domain map[string]any) bool {
	return s.preference.reads(s.Write, domain[s.Key])
}

// PreferencePlan is a plan for one account.
type PreferencePlan struct {
	Steps    []PreferenceStep // to be carried out
	WouldDo  []PreferenceStep // that monitor mode leaves out
	Verdicts []Verdict        // whose VM has the account's uid, and no id
	Memory   *VMMemory        // what to remember now; nil: what there was. One that IsEmpty is forgotten
	// Restart: the user is to be told that values wait for the application to be quit,
	// and PutBack that a value was put back; each once, and not more than once a day.
	Restart, PutBack bool
}

// tellAgain is how long a user who was told of preferences is not told again.
const tellAgain = 24 * time.Hour

// AccountKey is under what the preferences of an account are remembered and
// reported: a key without a machine.
func AccountKey(uid uint32) protocol.VMKey { return protocol.VMKey{UID: uid} }

// PlanPreferences says what to write so that an account's preferences are as the
// policy wants them, and how they are. It is a function of its arguments. A document
// without preferences, or a release, leaves all values, and forgets.
func PlanPreferences(desired Desired, facts *ProductFacts, account *Account, memory VMMemory) *PreferencePlan {
	p := &preferencePlanner{
		desired: desired, facts: facts, account: account, memory: memory,
		after: VMMemory{ToldAt: memory.ToldAt, Settings: make(map[string]*SettingMemory)},
	}
	if desired.Document == nil && !desired.Released {
		return &p.plan
	}
	p.changed = desired.Document == nil && len(memory.Settings) > 0
	if desired.Document != nil && !desired.Released {
		wanted := desired.Document.Product.Preferences
		for i := range Preferences {
			if value, managed := wanted[Preferences[i].Name]; managed {
				p.judge(&Preferences[i], value)
			}
		}
	}
	if facts.Now.Sub(memory.ToldAt).Abs() < tellAgain {
		p.plan.Restart, p.plan.PutBack = false, false
	}
	p.changed = p.changed || len(p.after.Settings) != len(memory.Settings)
	if p.changed {
		if len(p.after.Settings) == 0 {
			p.after.ToldAt = time.Time{}
		}
		p.plan.Memory = &p.after
	}
	return &p.plan
}

// preferencePlanner is one plan in the making.
type preferencePlanner struct {
	desired Desired
	facts   *ProductFacts
	account *Account
	memory  VMMemory
	after   VMMemory
	changed bool
	plan    PreferencePlan
}

// preferenceJudgement is one preference of one account being judged.
type preferenceJudgement struct {
	p          *preferencePlanner
	preference *Preference
	value      Value
	path       string
	word       any
	found      any
	before     *SettingMemory // not to be changed
	after      SettingMemory
	call       CallMemory // of the key
	noted      bool       // call is another one than it was
	gaps       []Gap
}

// judge finds the verdict on a preference, and the step that it needs.
func (p *preferencePlanner) judge(preference *Preference, value Value) {
	before := p.memory.Setting(preference.Name)
	j := preferenceJudgement{
		p: p, preference: preference, value: value, path: preference.Path(), found: p.account.Domain[preference.Key],
		before: before, after: *before, call: *before.Call(preference.Key),
	}
	j.after.Path, j.after.Value = j.path, value
	if p.account.Unread == protocol.CodeNotLookedYet {
		j.recall()
		return
	}
	word, known := preference.word(value, p.facts.Version)
	j.word = word
	verdict, code := j.ruleOut(known)
	if verdict == "" {
		verdict, code = j.look()
	}
	j.conclude(verdict, code)
}

// recall repeats the verdict that is remembered, until the domain is read.
func (j *preferenceJudgement) recall() {
	verdict, code := j.before.Verdict, j.before.Code
	if verdict == "" || j.before.Value != j.value {
		verdict, code = protocol.VerdictPending, protocol.CodeNotLookedYet
	}
	v := Verdict{Path: j.path, Setting: j.preference.Name, VM: AccountKey(j.p.account.UID), Value: j.value, Verdict: verdict, Code: code, Since: j.before.Since}
	if v.Since.IsZero() {
		v.Since = j.p.facts.Now.UTC()
	}
	v.Strength = j.strength(verdict)
	j.p.plan.Verdicts = append(j.p.plan.Verdicts, v)
	if j.before.Verdict != "" {
		j.p.after.Settings[j.preference.Name] = j.before
	}
}

// ruleOut is the verdict on a preference that the agent has no say in, or knows
// nothing of; empty if it has to be looked at.
func (j *preferenceJudgement) ruleOut(wordKnown bool) (string, protocol.Code) {
	switch {
	case j.p.facts.Closed != "":
		return protocol.VerdictNotApplicable, j.p.facts.Closed
	case j.preference.NotInStandard && strings.EqualFold(j.p.facts.Edition, "standard"):
		return protocol.VerdictNotApplicable, protocol.CodeEdition
	case !wordKnown:
		return protocol.VerdictUnknown, protocol.CodeNotLookedYet
	}
	for _, key := range append([]ManagedKey{{prlctl.PreferenceDomain, j.preference.Key}}, j.preference.ManagedBy...) {
		forced, is := j.p.account.Forced[key]
		switch {
		case !is:
		case key.Key == j.preference.Key && j.preference.agrees(j.word, forced):
			return protocol.VerdictInPlace, protocol.CodeManaged
		default:
			j.addGap(forced, protocol.VerdictNotApplicable, protocol.CodeManaged)
			return protocol.VerdictNotApplicable, protocol.CodeManaged
		}
	}
	if j.p.account.Unread != "" {
		return protocol.VerdictUnknown, j.p.account.Unread
	}
	return "", ""
}

// agrees reports whether a forced value says what the word does. The vendor's own
// domain has other case in its words (facts/acting.md 2).
func (p *Preference) agrees(word, forced any) bool {
	text, isText := word.(string)
	other, isOther := forced.(string)
	return p.reads(word, forced) || isText && isOther && len(p.ManagedBy) > 0 && strings.EqualFold(text, other)
}

// look compares the domain with what is wanted.
func (j *preferenceJudgement) look() (string, protocol.Code) {
	if j.preference.reads(j.word, j.found) {
		j.noteInPlace()
		if j.isUnnoticed() {
			return protocol.VerdictPending, protocol.CodePendingRestart
		}
		return protocol.VerdictInPlace, ""
	}
	if j.isKept() {
		j.addGap(j.found, protocol.VerdictNotApplicable, protocol.CodeValueKept)
		return protocol.VerdictNotApplicable, protocol.CodeValueKept
	}
	j.noteDrift()
	verdict, code, step := j.whatToDo()
	j.addGap(j.found, verdict, code)
	if step {
		j.addStep()
	}
	return verdict, code
}

// isUnnoticed reports whether a run of the application goes on that began before
// the value was written: it takes effect when that ends.
func (j *preferenceJudgement) isUnnoticed() bool {
	return slices.ContainsFunc(j.call.Runs, func(run string) bool { return slices.Contains(j.p.account.Runs, run) })
}

// isKept reports whether the policy leaves the value, which was there before.
func (j *preferenceJudgement) isKept() bool {
	return j.p.desired.Document.Product.OnExisting == Keep && j.found != nil && j.call.Word == "" && !j.call.Holds
}

// whatToDo is the verdict on a value that is not as it is wanted, and whether it is
// to be written now.
func (j *preferenceJudgement) whatToDo() (verdict string, code protocol.Code, step bool) {
	switch {
	case j.p.desired.LiftLocks:
		return protocol.VerdictPending, protocol.CodeLocksReleased, true
	case !j.p.desired.Enforce:
		return protocol.VerdictPending, protocol.CodeMonitorMode, true
	case j.call.Contended:
		return protocol.VerdictContended, protocol.CodeContended, j.isDue(j.call.WrittenAt)
	case j.call.Failures == 0:
		return protocol.VerdictPending, protocol.CodeNotSetYet, true
	}
	retry := j.call.Failures < firstRetries || j.p.account.RetryNow || j.isDue(j.call.FailedAt)
	return protocol.VerdictFailed, j.call.Code, retry
}

// isDue reports whether what was done at that time may be done again: once an hour,
// and after the application was launched or quit (H41, H44).
func (j *preferenceJudgement) isDue(last time.Time) bool {
	return j.p.facts.Now.Sub(last).Abs() >= slowRetry || !slices.Equal(j.call.Runs, j.p.account.Runs)
}

func (j *preferenceJudgement) addGap(found any, verdict string, code protocol.Code) {
	j.gaps = append(j.gaps, Gap{Target: j.preference.Key, Wanted: spell(j.word), Shown: spell(found), Verdict: verdict, Code: code})
}

func (j *preferenceJudgement) addStep() {
	steps := &j.p.plan.WouldDo
	if j.enforces() {
		steps = &j.p.plan.Steps
	}
	*steps = append(*steps, PreferenceStep{
		UID: j.p.account.UID, Setting: j.preference.Name, Path: j.path, Value: j.value, Key: j.preference.Key,
		Write: j.word, Word: spell(j.word), Prior: spell(j.found), Runs: j.p.account.Runs, preference: j.preference,
	})
}

// enforces reports whether what is seen counts as drift and calm.
func (j *preferenceJudgement) enforces() bool { return j.p.desired.Enforce && !j.p.desired.LiftLocks }

// noteInPlace remembers that the value was seen as it is wanted.
func (j *preferenceJudgement) noteInPlace() {
	j.noted = j.enforces() && j.call.sawInPlace(spell(j.word), false, j.p.facts.Now) || j.noted
}

// noteDrift remembers that the value was found changed after it had been in place.
func (j *preferenceJudgement) noteDrift() {
	j.noted = j.enforces() && j.call.sawDrift(spell(j.word), j.p.facts.Now) || j.noted
}

// conclude makes the verdict, and remembers what the next plan needs of it.
func (j *preferenceJudgement) conclude(verdict string, code protocol.Code) {
	now := j.p.facts.Now.UTC()
	if j.after.Since.IsZero() || isAhead(j.after.Since, now) || j.before.Verdict != verdict || j.before.Code != code || j.before.Value != j.value {
		j.after.Since = now
	}
	j.after.Verdict, j.after.Code = verdict, code
	if j.noted {
		*j.after.change(j.preference.Key) = j.call
	}
	v := Verdict{
		Path: j.path, Setting: j.preference.Name, VM: AccountKey(j.p.account.UID), Value: j.value,
		Verdict: verdict, Code: code, Since: j.after.Since, Gaps: j.gaps,
	}
	v.Strength = j.strength(verdict)
	j.p.plan.Verdicts = append(j.p.plan.Verdicts, v)
	told, drifts := j.p.memory.ToldAt, j.call.LastDrifts
	j.p.plan.Restart = j.p.plan.Restart || code == protocol.CodePendingRestart && j.call.WrittenAt.After(told)
	j.p.plan.PutBack = j.p.plan.PutBack || j.call.Holds && len(drifts) > 0 && drifts[len(drifts)-1].After(told)
	j.p.changed = j.p.changed || j.noted || !j.after.sameBut(j.before)
	after := j.after
	j.p.after.Settings[j.preference.Name] = &after
}

// strength is how firmly the preference holds under this verdict.
func (j *preferenceJudgement) strength(verdict string) *Strength {
	switch verdict {
	case protocol.VerdictNotApplicable, protocol.VerdictUnknown, protocol.VerdictFailed:
		return &notEnforceable
	}
	if !j.enforces() {
		return &monitored
	}
	return j.preference.Strength
}

// BeginPreference is the memory to keep before a key is written: what will be
// written, what was there before, and which runs of the application will not know
// it.
func (m VMMemory) BeginPreference(step *PreferenceStep, now time.Time) VMMemory {
	m, call := m.changePreference(step)
	call.begin(step.Word, step.Prior, now)
	call.Runs = step.Runs
	return m
}

// EndPreference is the memory to keep after a key was written, and the domain was
// read again. The code is what the tool's answer meant; empty where it said nothing.
func (m VMMemory) EndPreference(step *PreferenceStep, proven bool, code protocol.Code, now time.Time) VMMemory {
	m, call := m.changePreference(step)
	if proven {
		call.proved(step.Word)
	} else {
		call.failed(cmp.Or(code, protocol.CodePreferenceLost), now)
	}
	return m
}

// changePreference is a copy of the memory, and what it remembers of the step's key,
// to be changed.
func (m VMMemory) changePreference(step *PreferenceStep) (VMMemory, *CallMemory) {
	setting := *m.Setting(step.Setting)
	call := setting.change(step.Key)
	return m.with(step.Setting, &setting), call
}
