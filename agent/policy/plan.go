package policy

import (
	"cmp"
	"slices"
	"time"

	"prlagent/agent/protocol"
	"prlagent/prlctl"
)

// Desired is what is wanted of this Mac.
type Desired struct {
	// Document is the last good policy. Without one nothing is planned, and
	// nothing that is remembered is forgotten, unless Released.
	Document *Document
	// Released: a signed head says that the group has no policy. Management
	// ends: values stay, locks that we placed are lifted.
	Released bool
	Enforce  bool // false: monitor mode (H40)
	// AllowUnprovenLocks: locks whose release was not seen on a real Mac may be
	// placed (H67).
	AllowUnprovenLocks bool
	// VendorGates: VM settings need the version that the vendor's portal needs
	// (H43).
	VendorGates bool
	// LiftLocks: a person wants the locks lifted that we placed (H47). That is
	// done whatever the mode, and nothing else is.
	LiftLocks bool
}

// Observed is what was seen of this Mac.
type Observed struct {
	Now time.Time
	// Trusted is the least that the time of day can be by a clock that nobody can
	// set; zero if there is none. Now may be set.
	Trusted      time.Time
	Version      prlctl.Version // of the installed product; zero if not known
	System       string         // version and build of macOS; empty if not known
	Capabilities prlctl.Capabilities
	// Closed is why nothing may be run at all; empty if something may.
	Closed   protocol.Code
	Machines []Machine
	Memory   Memory
	Host     Host            // for the security controls, as is:
	Controls *ControlsMemory // nil: nothing is remembered
}

// Result is a plan.
type Result struct {
	// Steps are what to do, those of one machine in their order and side by
	// side. Empty where everything is as it is wanted, and in monitor mode.
	Steps []Step
	// WouldDo are the steps that monitor mode leaves out.
	WouldDo []Step
	// Verdicts has one for each setting of each machine in a managed scope, in
	// the order of the machines and of the catalogue, and then those on the
	// document as a whole.
	Verdicts []Verdict
	Notices  []*Notice // to people, at most one for each user
	// Memory are the machines of which something else is remembered now. One that
	// IsEmpty is forgotten.
	Memory Memory
	// Controls is what is said of the security controls. Their verdicts stand among
	// the others: those on the Mac as a whole have no machine.
	Controls ControlsResult
}

// Verdict is whether one setting of one machine is as it is wanted, and why not.
type Verdict struct {
	Path    string // of the setting in the document
	Setting string
	VM      protocol.VMKey // zero for a part of the document that is not carried out
	Value   Value          // that the policy wants

	Verdict  string        // a Verdict word of protocol
	Code     protocol.Code // why; empty where nothing is to be said
	Strength *Strength
	Since    time.Time // verdict and code are the same
	Wait     *Wait     // of a deferred one
	// Gaps are the flags that are not as they are wanted.
	Gaps   []Gap
	Beside *Beside // of a security control on the Mac as a whole
}

// GapOf is what of this target is not as it is wanted; nil if that is.
func (v *Verdict) GapOf(target string) *Gap {
	for i := range v.Gaps {
		if v.Gaps[i].Target == target {
			return &v.Gaps[i]
		}
	}
	return nil
}

// Beside is what is said of a security control beside its verdict.
type Beside struct {
	Observed string // that it is about, for people; empty if there is nothing
	Acts     []ActStrength
}

// Strength is how firmly a setting holds: Strength words of protocol.
type Strength struct {
	Standard string // for a standard user
	Admin    string // for an administrator of the Mac
}

// Wait is for how long a setting has to wait for its machine.
type Wait struct {
	Since    time.Time
	Deadline time.Time // by the policy; zero: without end
	Overdue  bool      // that is over
}

// Gap is one flag of a setting that is not as it is wanted.
type Gap struct {
	Target  string // as Step.Target
	Wanted  string
	Shown   string // empty: nothing shows it
	Verdict string
	Code    protocol.Code
}

// Notice is what one user is to be told: machines of theirs wait for them.
type Notice struct {
	UID      uint32
	VMs      []protocol.VMKey
	Deadline time.Time // the earliest; zero: none
	ShutDown bool      // for one of them to suspend it is not enough
}

// vendorVersion is the first version in which the vendor's portal sets VM
// settings (conformance VMS-01).
var vendorVersion = prlctl.Version{Major: 26, Minor: 1}

// Plan says what to do so that the machines are as the policy wants them, and
// how they are. It is a function of its arguments.
func Plan(desired Desired, observed *Observed) *Result {
	p := newPlanner(desired, observed)
	if desired.Document == nil && !desired.Released && !desired.LiftLocks {
		return p.result
	}
	for i := range observed.Machines {
		p.plan(&observed.Machines[i], len(observed.Machines)-i)
	}
	p.planControls()
	p.notCarriedOut()
	p.notify()
	return p.result
}

// planner is one plan in the making.
type planner struct {
	desired  Desired
	observed *Observed
	document *Document // nil while released
	gated    bool
	version  string
	golden   scopePlan
	other    scopePlan
	locks    lockProof
	values   []string // what a machine shows at the catalogue's paths
	steps    []Step   // room for those of a machine
	gaps     []Gap    // of all verdicts so far
	gapsEach int      // of the machine before
	waiting  []int    // the verdicts of what waits
	waits    []Wait   // of these
	noCall   CallMemory
	result   *Result
}

// scopePlan is a scope of the document, prepared once for all machines.
type scopePlan struct {
	path    string
	wanted  []wanted // in the order of setting
	unknown []string
}

// wanted is one setting of a scope.
type wanted struct {
	setting *Setting
	path    string
	value   Value // the policy's
	set     Value // what is set for it: a stricter one, where that is asked for
	parts   []*wantedPart
}

// wantedPart is one flag of a wanted setting.
type wantedPart struct {
	*Part
	word   *Word
	spells []spelling // ways to write it, the preferred first
	places []int
	absent bool // this version does not have the flag
}

// spelling is one way to write a word, and the call that does.
type spelling struct {
	word string
	args []string
}

func newPlanner(desired Desired, observed *Observed) *planner {
	desired.Enforce = desired.Enforce && !desired.LiftLocks
	p := &planner{desired: desired, observed: observed, version: VersionKey(observed.Version, observed.System)}
	p.result = &Result{Memory: make(Memory)}
	p.proveLocks()
	p.gated = desired.VendorGates && !observed.Version.IsZero() && observed.Version.Compare(vendorVersion) < 0
	if !desired.Released {
		p.document = desired.Document
	}
	if p.document != nil {
		p.prepare(&p.golden, &p.document.VMSettings.GoldenImage, "vm_settings.golden_image")
		p.prepare(&p.other, &p.document.VMSettings.Other, "vm_settings.other")
		p.result.Verdicts = make([]Verdict, 0, len(observed.Machines)*max(len(p.golden.wanted), len(p.other.wanted)))
	}
	return p
}

func (p *planner) prepare(prepared *scopePlan, scope *Scope, path string) {
	prepared.path, prepared.unknown = path, scope.Unknown
	for _, setting := range catalogue.inOrder {
		value, managed := scope.Settings[setting.Name]
		if !managed {
			continue
		}
		prepared.wanted = append(prepared.wanted, wanted{setting: setting, path: below(path, setting.Name), value: value, set: value})
		w := &prepared.wanted[len(prepared.wanted)-1]
		if stricter := setting.StricterThan(value); stricter != "" && p.document.VMSettings.OnUnsupported == Stricter {
			w.set = stricter
		}
		for j := range setting.Parts {
			part := &setting.Parts[j]
			word := part.WordFor(w.set)
			if part.Keep != "" && w.set == True {
				word = &Word{Set: []string{part.Keep}}
			}
			if word != nil {
				w.parts = append(w.parts, p.preparePart(part, word))
			}
		}
	}
}

func (p *planner) preparePart(part *Part, word *Word) *wantedPart {
	ability := p.observed.Capabilities.Flag(part.Flag)
	prepared := &wantedPart{Part: part, word: word, places: part.slots()}
	prepared.absent = ability.Support == prlctl.Unsupported || part.Evidence.Level == Unknown && ability.Support != prlctl.Supported
	offered := func(text string) bool { return slices.Contains(ability.Values, text) }
	helpful := slices.ContainsFunc(word.Set, offered)
	for _, text := range word.Set {
		if !helpful || offered(text) {
			prepared.spells = append(prepared.spells, spelling{text, []string{argument(part.Flag, text)}})
		}
	}
	return prepared
}

// spell is how to write the word now: as it was written last, or if that failed
// in the next way.
func (p *wantedPart) spell(call *CallMemory) *spelling {
	if call == nil || len(p.spells) == 1 {
		return &p.spells[0]
	}
	at := max(0, p.find(call.Word))
	if call.Failures > 0 {
		at = (at + 1) % len(p.spells)
	}
	return &p.spells[at]
}

// has reports whether the word is one of the ways to write it.
func (p *wantedPart) has(word string) bool { return p.find(word) >= 0 }

// find is where the word is among the ways to write it; -1 if it is not.
func (p *wantedPart) find(word string) int {
	for i := range p.spells {
		if p.spells[i].word == word {
			return i
		}
	}
	return -1
}

// plan plans one machine, with which so many are left.
func (p *planner) plan(m *Machine, left int) {
	p.gaps = roomLike(p.gaps, p.gapsEach, left)
	p.values = catalogue.paths.Read(&m.VM, p.values)
	mp := &machinePlan{
		p: p, m: m, memory: p.observed.Memory[m.Key], steps: p.steps[:0], gaps: len(p.gaps), left: left,
		guest: guestOf(&m.VM), activity: m.activity(), untouchable: cmp.Or(p.observed.Closed, m.whyUntouchable()),
	}
	mp.stuck = mp.stuckLock()
	if p.document != nil {
		scope := &p.other
		if chosen, _ := p.document.scopeOf(m); chosen == &p.document.VMSettings.GoldenImage {
			scope = &p.golden
		}
		for i := range scope.wanted {
			mp.judge(&scope.wanted[i])
		}
		for _, name := range scope.unknown {
			mp.judgeUnknown(name, below(scope.path, name))
		}
	}
	mp.release()
	p.gapsEach = len(p.gaps) - mp.gaps
	p.take(mp)
}

// take takes what was planned for a machine into the result.
func (p *planner) take(mp *machinePlan) {
	p.steps = mp.steps
	steps := mp.orderedSteps()
	done := len(steps)
	if !p.desired.Enforce {
		done = 0
		for p.desired.LiftLocks && done < len(steps) && steps[done].Restores {
			done++
		}
	}
	p.result.Steps = append(roomLike(p.result.Steps, done, mp.left), steps[:done]...)
	p.result.WouldDo = append(roomLike(p.result.WouldDo, len(steps)-done, mp.left), steps[done:]...)
	if mp.changed != nil {
		p.result.Memory[mp.m.Key] = VMMemory{Settings: mp.changed, ToldAt: mp.memory.ToldAt}
	}
}

// roomLike makes room for what is to come, if there is none for this machine:
// the machines that are left are taken to be like it.
func roomLike[T any](list []T, each, left int) []T {
	if cap(list)-len(list) >= each {
		return list
	}
	return slices.Grow(list, each*left)
}

// notCarriedOut adds a verdict for each part of the document that this version
// only knows by name. It has no machine, and no time of its own.
func (p *planner) notCarriedOut() {
	if p.document == nil {
		return
	}
	for _, path := range p.document.NotCarriedOut {
		p.unsupported(path, protocol.CodeSectionNotSupported)
	}
	for _, name := range p.document.Product.Unknown {
		p.unsupported(below("product", name), protocol.CodeSettingUnknown)
	}
}

func (p *planner) unsupported(path string, code protocol.Code) {
	p.result.Verdicts = append(p.result.Verdicts, Verdict{Path: path, Verdict: protocol.VerdictUnsupported, Code: code, Strength: &notEnforceable})
}

// notify finds who is to be told that machines of theirs have to be suspended or
// shut down: nobody more often than the policy says.
func (p *planner) notify() {
	if len(p.waiting) == 0 || p.document == nil || !p.desired.Enforce || p.document.VMSettings.RemindEvery == 0 {
		return
	}
	told := make(map[uint32]time.Time)
	for key, memory := range p.observed.Memory {
		if key.ID != "" && memory.ToldAt.After(told[key.UID]) {
			told[key.UID] = memory.ToldAt
		}
	}
	for _, at := range p.waiting {
		v := &p.result.Verdicts[at]
		waits := v.Code == protocol.CodeVMRunning || v.Code == protocol.CodeVMInUse
		if last := told[v.VM.UID]; !waits || !last.IsZero() && p.passed(last) < p.document.VMSettings.RemindEvery {
			continue
		}
		p.addNotice(v)
	}
}

func (p *planner) addNotice(v *Verdict) {
	var notice *Notice
	for _, other := range p.result.Notices {
		if other.UID == v.VM.UID {
			notice = other
		}
	}
	if notice == nil {
		notice = &Notice{UID: v.VM.UID}
		p.result.Notices = append(p.result.Notices, notice)
	}
	if last := len(notice.VMs) - 1; last < 0 || notice.VMs[last] != v.VM { // a machine's verdicts stand together
		notice.VMs = append(notice.VMs, v.VM)
	}
	notice.ShutDown = notice.ShutDown || v.Code == protocol.CodeVMRunning
	if deadline := v.Wait.Deadline; !deadline.IsZero() && (notice.Deadline.IsZero() || deadline.Before(notice.Deadline)) {
		notice.Deadline = deadline
	}
}

// State is how far a policy is carried out, by its verdicts: one of the Policy
// words of protocol. What waits for a machine or its user is still converging.
func State(verdicts []*Verdict) string {
	state := protocol.PolicyConverged
	for _, v := range verdicts {
		switch v.Verdict {
		case protocol.VerdictInPlace, protocol.VerdictNotApplicable:
		case protocol.VerdictPending, protocol.VerdictDeferred:
			state = protocol.PolicyConverging
		default:
			return protocol.PolicyPartial
		}
	}
	return state
}
