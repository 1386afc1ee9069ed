package policy

import (
	"maps"
	"time"

	"prlagent/agent/protocol"
)

// machinePlan is the plan of one machine in the making.
type machinePlan struct {
	p           *planner
	m           *Machine
	memory      VMMemory
	guest       Guests
	activity    activity
	untouchable protocol.Code // why nothing can be set now
	steps       []Step
	gaps        int                       // where those of this machine begin in the plan's
	left        int                       // machines that are still to be planned, with this one
	changed     map[string]*SettingMemory // what to remember, if it is not what was
	judged      int                       // settings so far of which something was remembered
	lock        *wanted                   // a lock of ours that is in place
	placing     *wanted                   // a lock that a step places
	probes      bool                      // the steps find out whether the lock can be lifted
	stuck       *CallMemory               // of a lock of ours that could not be lifted; empty if there is none
}

// judgement is one setting of one machine being judged.
type judgement struct {
	p       *planner
	mp      *machinePlan
	m       *Machine
	w       *wanted
	before  *SettingMemory // what is remembered of it, not to be changed
	after   SettingMemory
	changed bool // what is remembered of a flag
	gaps    int  // where those of this setting begin in the plan's
	inPlace int  // parts that are as they are wanted
	steps   int  // that it has added
	waits   bool
	lifting bool // a lock, because a person wants that
}

// rank orders verdicts: of a setting's parts the highest counts. The lowest is
// that of what is in place.
func rank(verdict string) int {
	switch verdict {
	case protocol.VerdictNotApplicable:
		return 1
	case protocol.VerdictUnknown:
		return 2
	case protocol.VerdictUnsupported:
		return lastingRank
	case protocol.VerdictPending:
		return 4
	case protocol.VerdictDeferred:
		return 5
	case protocol.VerdictContended:
		return 6
	case protocol.VerdictFailed:
		return 7
	}
	return 0
}

// lastingRank is the highest rank of what no step could change.
const lastingRank = 3

// begin begins to judge a setting of which this is remembered. It fills in what
// is there, and gives nothing: with what is remembered that is large, and there
// are thousands.
func (j *judgement) begin(mp *machinePlan, w *wanted, before *SettingMemory) {
	j.p, j.mp, j.m, j.w, j.gaps = mp.p, mp, mp.m, w, len(mp.p.gaps)
	j.before = before
	j.after = *before
}

// judge finds the verdict on a setting, and the steps that it needs.
func (mp *machinePlan) judge(w *wanted) {
	if w.setting.Lock && mp.p.desired.LiftLocks && mp.memory.HoldsLock() {
		return // it is lifted, as if it were not managed
	}
	var j judgement
	j.begin(mp, w, mp.memory.Setting(w.setting.Name))
	j.after.Path, j.after.Value, j.after.ByHand = w.path, w.value, false
	if j.before.Value != w.value {
		j.after.WaitingSince, j.after.SeenAtRest, j.after.Established = time.Time{}, false, false
	}
	verdict, code := j.ruleOut()
	if verdict == "" {
		verdict, code = j.look()
	}
	if w.setting.Lock && verdict == protocol.VerdictInPlace {
		code = mp.holdsLock(&j)
	}
	j.conclude(verdict, code)
}

// judgeUnknown is the verdict on a setting that is not in the catalogue.
func (mp *machinePlan) judgeUnknown(name, path string) {
	unknown := &Setting{Name: name, Strength: &notEnforceable}
	var j judgement
	j.begin(mp, &wanted{setting: unknown, path: path}, mp.memory.Setting(name))
	j.after = SettingMemory{Path: path, Since: j.before.Since, Verdict: j.before.Verdict, Code: j.before.Code}
	j.conclude(protocol.VerdictUnsupported, protocol.CodeSettingUnknown)
}

// ruleOut is the verdict on a setting that is not for this machine, or that
// cannot be set anywhere; empty if it has to be looked at.
func (j *judgement) ruleOut() (string, protocol.Code) {
	switch {
	case j.m.Unreadable != "":
		return protocol.VerdictUnknown, j.m.Unreadable
	case j.p.gated:
		return protocol.VerdictNotApplicable, protocol.CodePDVersionTooOld
	}
	if code := j.w.setting.whyNotGuest(&j.m.VM, j.mp.guest, j.p.document.VMSettings.BeyondGuide); code != "" {
		return protocol.VerdictNotApplicable, code
	}
	if isAmong(j.w.setting.NoWay, j.w.set) {
		return protocol.VerdictUnsupported, protocol.CodeNoPublicWay
	}
	return "", ""
}

// look compares every part with what the machine shows.
func (j *judgement) look() (string, protocol.Code) {
	parts, set := 0, false // set: the part before is being set
	for i := range j.w.parts {
		part := j.w.parts[i]
		steps := len(j.mp.steps)
		switch {
		case part.Keep != "":
			j.keep(part)
			continue
		case part.isUnread():
			if set && !part.absent && !j.isRefused(j.recall(part.Flag), part) {
				j.addStep(part, part.Flag, "", "")
			}
			continue
		case part.Adapters:
			parts++ // a machine without an adapter has no network
			for k := range j.m.VM.Adapters {
				adapter := &j.m.VM.Adapters[k]
				word := adapterWord(adapter)
				j.lookAt(part, part.Flag+" "+adapter.Name, adapter.Name, word, word != "")
			}
		default:
			shown, known := part.show(j.p.values, part.places, j.m.Config)
			if !known && part.absent {
				continue // this version has nothing of the kind
			}
			parts++
			j.lookAt(part, part.Flag, "", shown, known)
		}
		set = len(j.mp.steps) > steps
	}
	if parts == 0 {
		return protocol.VerdictNotApplicable, protocol.CodeUnrecognized
	}
	return j.worst()
}

// lookAt compares one flag, or one adapter, with what is shown.
func (j *judgement) lookAt(part *wantedPart, target, adapter, shown string, known bool) {
	if known && part.satisfies(part.word, shown) {
		j.inPlace++
		j.noteInPlace(target, part.word.Set[0])
		return
	}
	gap := Gap{Target: target, Wanted: part.word.Set[0], Shown: shown}
	if other := j.mp.gapOf(target); other != nil { // another setting wants the same
		gap.Verdict, gap.Code = other.Verdict, other.Code
	} else {
		j.noteDrift(target, part.word.Set[0])
		var step bool
		if gap.Verdict, gap.Code, step = j.whatToDo(part, target, known); step && j.isTurn() {
			j.addStep(part, target, adapter, shown)
		}
	}
	j.waits = j.waits || gap.Verdict == protocol.VerdictDeferred
	j.p.gaps = append(j.p.gaps, gap)
}

// isTurn reports whether what is to be set has its turn on this machine: a lock
// may have to wait for another machine's.
func (j *judgement) isTurn() bool {
	if !j.w.setting.Lock || j.w.set != True {
		return true
	}
	j.mp.placing = j.w
	return j.mp.mayLock()
}

// gapOf is the gap that was found for this flag of the machine; nil if none was.
func (mp *machinePlan) gapOf(target string) *Gap {
	for i := mp.gaps; i < len(mp.p.gaps); i++ {
		if mp.p.gaps[i].Target == target {
			return &mp.p.gaps[i]
		}
	}
	return nil
}

// whatToDo is the verdict on a flag that is not as it is wanted, and whether it
// is to be set now.
func (j *judgement) whatToDo(part *wantedPart, target string, known bool) (verdict string, code protocol.Code, step bool) {
	call := j.recall(target)
	switch {
	case !known:
		return protocol.VerdictUnknown, protocol.CodeNotObservable, false
	case part.absent:
		return protocol.VerdictNotApplicable, protocol.CodeUnrecognized, false
	case j.w.setting.Lock && call.Word != lockedWord && !j.p.placesLocks():
		return protocol.VerdictUnsupported, protocol.CodeReleaseUnproven, false
	case j.isRefused(call, part):
		return protocol.VerdictNotApplicable, call.Code, false
	case j.w.setting.Lock && j.w.set == True && !j.p.desired.Enforce && !j.p.desired.LiftLocks && !j.p.locks.lifted:
		return protocol.VerdictPending, protocol.CodeReleaseUnproven, j.mp.untouchable == "" // enforcing finds out whether it is placed
	case j.mp.untouchable != "":
		return protocol.VerdictDeferred, j.mp.untouchable, false
	case j.mp.m.Held && part.Flag == autostartFlag && !part.has(autostartOff):
		return protocol.VerdictDeferred, protocol.CodeVMHeld, false
	case part.Stopped && j.mp.activity != activityStopped:
		return protocol.VerdictDeferred, protocol.CodeVMRunning, false
	case j.mp.activity == activityRunning && j.wouldInterrupt():
		return protocol.VerdictDeferred, protocol.CodeVMInUse, false
	case j.p.desired.LiftLocks && !j.lifting:
		return protocol.VerdictPending, protocol.CodeLocksReleased, true
	case !j.p.desired.Enforce && !j.lifting:
		return protocol.VerdictPending, protocol.CodeMonitorMode, true
	case call.Contended:
		return protocol.VerdictContended, protocol.CodeContended, j.isDue(call.WrittenAt)
	case j.mp.stuck.Failures > 0 && !j.w.setting.Lock: // behind our lock nothing can be set
		call = j.mp.stuck
	}
	switch {
	case call.Failures == 0:
		return protocol.VerdictPending, protocol.CodeNotSetYet, true
	case Passes(call.Code): // it waits for somebody else to be done
		return protocol.VerdictDeferred, call.Code, j.isRetried(call)
	}
	return protocol.VerdictFailed, call.Code, j.isRetried(call)
}

// isRetried reports whether what failed is to be tried again now.
func (j *judgement) isRetried(call *CallMemory) bool {
	return call.Failures < firstRetries || j.m.RetryNow || j.isDue(call.FailedAt) ||
		Passes(call.Code) && j.p.passed(call.FailedAt) >= passingRetry
}

// isRefused reports whether this version of the product has refused to write
// this word here.
func (j *judgement) isRefused(call *CallMemory, part *wantedPart) bool {
	return call.Refused != "" && call.Refused == j.p.version && part.has(call.Word)
}

// isDue reports whether what was done at that time may be done again: once an
// hour, and after each start of the machine (H41).
func (j *judgement) isDue(last time.Time) bool {
	return j.p.passed(last) >= slowRetry || j.m.StartedAt.After(last)
}

// passed is how long ago something was. A clock that was set back since makes it
// the future, which is as long ago: nothing waits for a time that never was.
func (p *planner) passed(last time.Time) time.Duration { return p.observed.Now.Sub(last).Abs() }

// wouldInterrupt reports whether setting the value while the machine runs may
// interrupt somebody's work. What was in place before, and was changed by
// somebody, is put back at once.
func (j *judgement) wouldInterrupt() bool {
	if !j.m.AtWork || !isAmong(j.w.setting.Disruptive, j.w.value) {
		return false
	}
	waiting := j.after.WaitingSince
	atRest := j.after.SeenAtRest || !waiting.IsZero() && (j.m.isAtRest() || j.m.StartedAt.After(waiting))
	return !j.after.Established && !atRest && !j.p.isOver(j.deadline())
}

// isOver reports whether a deadline is over. Setting the clock forward does not make
// it so, where there is a time that can be trusted.
func (p *planner) isOver(deadline time.Time) bool {
	trusted := p.observed.Trusted
	return !deadline.IsZero() && !p.observed.Now.Before(deadline) && (trusted.IsZero() || !trusted.Before(deadline))
}

// deadline is when the setting has waited for long enough; zero: never.
func (j *judgement) deadline() time.Time {
	if j.after.WaitingSince.IsZero() || j.p.document == nil || j.p.document.VMSettings.MaxWait == 0 {
		return time.Time{}
	}
	return j.after.WaitingSince.Add(j.p.document.VMSettings.MaxWait)
}

// keep puts back what setting the others changes: in the same go, and, if that
// was interrupted, once they are in place.
func (j *judgement) keep(part *wantedPart) {
	shown, known := part.show(j.p.values, part.places, j.m.Config)
	call := j.recall(part.Flag)
	switch {
	case !known || part.absent:
	case j.steps > 0 && shown == part.Keep:
		if j.p.desired.Enforce && (call.Prior != part.Keep || call.Holds) {
			changed := j.change(part.Flag)
			changed.Prior, changed.Holds = part.Keep, false
		}
		j.addStep(part, part.Flag, "", shown)
	case j.steps > 0 || call.Prior != part.Keep || call.Holds:
	case shown == part.Keep:
		j.change(part.Flag).Holds = true
	case j.inPlace > 0 && j.mp.untouchable == "" && !j.isRefused(call, part) && j.isRetried(call) && j.isRetried(j.mp.stuck):
		j.addStep(part, part.Flag, "", shown)
	}
}

// addStep plans one call.
func (j *judgement) addStep(part *wantedPart, target, adapter, shown string) {
	spell := part.spell(j.after.find(target))
	j.mp.steps = append(j.mp.steps, Step{
		VM: j.m.Key, Setting: j.w.setting.Name, Path: j.w.path, Value: j.w.value,
		Target: target, Word: spell.word, Args: spell.args, Prior: shown, InFile: part.File != nil && described(j.p.values, part.places) == "",
		part: part.Part, word: part.word, adapter: adapter, waited: j.after.WaitingSince,
	})
	step := &j.mp.steps[len(j.mp.steps)-1]
	step.Unlocks = j.w.setting.Lock && step.Word != lockedWord
	switch {
	case part.Stopped:
		step.IfRunning = protocol.CodeVMRunning
	case j.wouldInterrupt():
		step.IfRunning = protocol.CodeVMInUse
	}
	if adapter != "" {
		step.Args = append([]string{part.Flag, adapter}, part.word.With...)
	}
	j.steps++
}

// noteInPlace remembers that a flag was seen as it is wanted.
func (j *judgement) noteInPlace(target, word string) {
	call := *j.recall(target)
	call.Target = target
	// That a lock is in place says nothing of whether it can be lifted.
	isStuck := j.w.setting.Lock && j.mp.stuck.Failures > 0
	if j.w.setting.Lock && word != lockedWord && !call.lateUntil(j.p.observed.Now).IsZero() {
		return // that it is not there is not known yet
	}
	if j.counts() && call.sawInPlace(word, isStuck, j.p.observed.Now) {
		*j.change(target) = call
	}
}

// noteDrift remembers that a flag was found changed after it had been in place.
func (j *judgement) noteDrift(target, word string) {
	call := *j.recall(target)
	call.Target = target
	if j.counts() && call.sawDrift(word, j.p.observed.Now) {
		*j.change(target) = call
	}
}

// counts reports whether what is seen counts as drift and calm.
func (j *judgement) counts() bool { return j.p.desired.Enforce && j.m.Stale == "" }

// recall is what is remembered of a flag, not to be changed; empty if nothing is.
func (j *judgement) recall(target string) *CallMemory {
	if call := j.after.find(target); call != nil {
		return call
	}
	return &j.p.noCall
}

// change is what is remembered of a flag, to be changed at once.
func (j *judgement) change(target string) *CallMemory {
	j.changed = true
	return j.after.change(target)
}

// worst is the verdict of the parts together: the one of the highest rank, or
// that a part is not to be had.
func (j *judgement) worst() (string, protocol.Code) {
	verdict, code := protocol.VerdictInPlace, protocol.Code("")
	if len(j.p.gaps) == j.gaps && j.w.set == j.w.value {
		return verdict, code
	}
	for i := j.gaps; i < len(j.p.gaps); i++ {
		gap := &j.p.gaps[i]
		if rank(gap.Verdict) > rank(verdict) {
			verdict, code = gap.Verdict, gap.Code
		}
	}
	switch {
	case verdict == protocol.VerdictInPlace && j.w.set != j.w.value:
		code = protocol.CodeStricterValue
	case rank(verdict) > 0 && rank(verdict) <= lastingRank && j.inPlace > 0:
		verdict = protocol.VerdictPartial
	}
	return verdict, code
}

// conclude makes the verdict, and remembers what the next plan needs of it.
func (j *judgement) conclude(verdict string, code protocol.Code) {
	now := j.p.observed.Now.UTC()
	if j.after.Since.IsZero() || isAhead(j.after.Since, now) || j.before.Verdict != verdict || j.before.Code != code || j.before.Value != j.w.value {
		j.after.Since = now
	}
	if j.before.Verdict != "" {
		j.mp.judged++
	}
	j.after.Verdict, j.after.Code = verdict, code
	j.noteWaiting(now)
	if !j.p.desired.Enforce {
		j.after.Established = false
	} else if !j.after.Established && j.inPlace > 0 && j.m.Stale == "" && rank(verdict) <= lastingRank {
		j.after.Established = true
	}
	j.p.result.Verdicts = append(j.p.result.Verdicts, Verdict{
		Path: j.w.path, Setting: j.w.setting.Name, VM: j.m.Key, Value: j.w.value,
		Verdict: verdict, Code: code, Since: j.after.Since, Strength: j.strength(verdict),
	})
	v := &j.p.result.Verdicts[len(j.p.result.Verdicts)-1]
	if end := len(j.p.gaps); end > j.gaps {
		v.Gaps = j.p.gaps[j.gaps:end:end]
	}
	if j.waits {
		deadline := j.deadline()
		j.p.waits = append(roomLike(j.p.waits, 1, len(j.p.observed.Machines)), Wait{j.after.WaitingSince, deadline, j.p.isOver(deadline)})
		v.Wait = &j.p.waits[len(j.p.waits)-1]
		j.p.waiting = append(j.p.waiting, len(j.p.result.Verdicts)-1)
	}
	if j.changed || !j.after.sameBut(j.before) {
		after := j.after
		j.mp.remember(j.w.setting.Name, &after)
	}
}

// noteWaiting dates the wait of what is deferred, and notes that meanwhile the
// machine was at rest.
func (j *judgement) noteWaiting(now time.Time) {
	if !j.waits {
		j.after.WaitingSince, j.after.SeenAtRest = time.Time{}, false
		return
	}
	if j.after.WaitingSince.IsZero() || isAhead(j.after.WaitingSince, now) {
		j.after.WaitingSince = now
	}
	j.after.SeenAtRest = j.after.SeenAtRest || j.m.isAtRest()
}

// Strengths that are not a setting's own.
var (
	notEnforceable = Strength{protocol.StrengthNotEnforceable, protocol.StrengthNotEnforceable}
	monitored      = Strength{protocol.StrengthMonitored, protocol.StrengthMonitored}
)

// strength is how firmly the setting holds under this verdict.
func (j *judgement) strength(verdict string) *Strength {
	switch verdict {
	case protocol.VerdictNotApplicable, protocol.VerdictUnsupported, protocol.VerdictUnknown, protocol.VerdictFailed:
		return &notEnforceable
	}
	if !j.p.desired.Enforce {
		return &monitored
	}
	return j.w.setting.Strength
}

// remember changes what is remembered of one setting.
func (mp *machinePlan) remember(name string, memory *SettingMemory) {
	if mp.changed == nil {
		mp.changed = make(map[string]*SettingMemory, len(mp.memory.Settings)+1)
		maps.Copy(mp.changed, mp.memory.Settings)
	}
	mp.changed[name] = memory
}

func (mp *machinePlan) forget(name string) {
	mp.remember(name, nil)
	delete(mp.changed, name)
}
