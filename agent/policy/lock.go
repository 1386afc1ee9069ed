package policy

import (
	"slices"
	"time"

	"prlagent/agent/protocol"
)

// lockedWord is what the lock's flag is set to, and shows, while it is placed.
const lockedWord = "on"

// lockProof is what is known of locks of ours with the versions of now: whether
// what was locked can be unlocked is found out on one machine, before others are
// locked, and with each version anew (H45).
type lockProof struct {
	lifted bool // one was lifted, and seen to be
	stuck  bool // one was not
	probed bool // this plan has steps that find it out
}

func (p *planner) proveLocks() {
	for _, memory := range p.observed.Memory {
		lock := memory.Setting(catalogue.lock.Name)
		if call := lock.find(lockFlag); call != nil {
			p.locks.lifted = p.locks.lifted || call.Lifted == p.version
			p.locks.stuck = p.locks.stuck || call.Stuck == p.version
		}
	}
}

// placesLocks reports whether a lock that is not there may be placed: not before
// the profile says so (H67), and not after this version did not lift one of ours
// on any machine, which cannot be set since (H45).
func (p *planner) placesLocks() bool { return p.desired.AllowUnprovenLocks && !p.locks.stuck }

// mayLock reports whether the lock is placed on this machine now. Where nothing
// was lifted yet it is placed on the first machine, to be lifted and placed again,
// and the others wait for what becomes of that.
func (mp *machinePlan) mayLock() bool {
	locks := &mp.p.locks
	return !mp.p.desired.Enforce || locks.lifted || locks.stuck || mp.probeLock()
}

// probeLock has the plan find out on this machine whether the lock can be lifted,
// if that is not known, and reports whether it does.
func (mp *machinePlan) probeLock() bool {
	locks := &mp.p.locks
	if locks.lifted || locks.stuck || locks.probed || !mp.p.desired.Enforce || !mp.p.desired.AllowUnprovenLocks {
		return false
	}
	locks.probed, mp.probes = true, true
	return true
}

// stuckLock is what is remembered of a lock of ours that is in place and was not
// lifted when that was tried last; empty if there is none.
func (mp *machinePlan) stuckLock() *CallMemory {
	memory := mp.memory.Setting(catalogue.lock.Name)
	call, part := memory.find(lockFlag), &catalogue.lock.Parts[0]
	if call == nil || call.Failures == 0 || call.Word != lockedWord {
		return &mp.p.noCall
	}
	if shown, _ := part.show(mp.p.values, part.slots(), mp.m.Config); shown != lockedWord {
		return &mp.p.noCall
	}
	return call
}

// release ends the management of what the policy does not manage any more. A
// value stays as it is; a lock that we placed is lifted, and stays remembered
// until it is seen to be gone.
func (mp *machinePlan) release() {
	if mp.judged == len(mp.memory.Settings) {
		return // all that is remembered is still managed
	}
	for name, memory := range mp.memory.Settings {
		if mp.isManaged(name) {
			continue
		}
		setting := Find(name)
		isLock := setting != nil && setting.Lock
		if isLock && mp.lifts(setting, memory) || !isLock && mp.p.document == nil && !mp.p.desired.Released {
			continue
		}
		mp.forget(name)
	}
}

// isManaged reports whether a verdict on the setting was found.
func (mp *machinePlan) isManaged(name string) bool {
	verdicts := mp.p.result.Verdicts
	for i := len(verdicts) - 1; i >= 0 && verdicts[i].VM == mp.m.Key; i-- {
		if verdicts[i].Setting == name {
			return true
		}
	}
	return false
}

// lifts plans the lifting of a lock that is not wanted any more. It reports
// whether it is ours and may still be there.
func (mp *machinePlan) lifts(setting *Setting, memory *SettingMemory) bool {
	part := &setting.Parts[0]
	call := memory.Call(part.Flag)
	shown, known := part.show(mp.p.values, part.slots(), mp.m.Config)
	isGone, late := known && shown != lockedWord && mp.m.Stale == "", call.lateUntil(mp.p.observed.Now)
	if call.Word != lockedWord || isGone && late.IsZero() {
		return false
	}
	if memory.ByHand && !mp.p.desired.LiftLocks {
		return true // it is that person's, until one wants it lifted
	}
	w := &wanted{setting: setting, path: memory.Path, value: memory.Value, set: False,
		parts: []*wantedPart{mp.p.preparePart(part, part.WordFor(False))}}
	w.parts[0].absent = false // it was placed by this flag
	var j judgement
	j.begin(mp, w, memory)
	j.lifting = mp.p.desired.LiftLocks
	if isGone {
		mp.p.result.Controls.LookAgain(late)
		j.conclude(protocol.VerdictPending, protocol.CodeLockReleasing)
		return true
	}
	verdict, code, step := j.whatToDo(w.parts[0], part.Flag, known)
	if step {
		j.addStep(w.parts[0], part.Flag, "", shown)
		mp.steps[len(mp.steps)-1].Restores = true
	}
	if verdict == protocol.VerdictPending && (mp.p.desired.Enforce || j.lifting) {
		code = protocol.CodeLockReleasing
	}
	j.waits = verdict == protocol.VerdictDeferred
	j.conclude(verdict, code)
	return true
}

// holdsLock notes that our lock is where it is wanted, or that it was seen to be
// gone: one that is there later is not ours. It gives what is to be said of one
// that is in place: that nobody has seen it lifted.
func (mp *machinePlan) holdsLock(j *judgement) protocol.Code {
	switch ours := j.after.Call(lockFlag).Word == lockedWord; {
	case ours && j.w.set == True:
		mp.lock = j.w
		if mp.untouchable == "" && j.isRetried(mp.stuck) {
			mp.probeLock()
		}
		if !mp.p.locks.lifted {
			return protocol.CodeReleaseUnproven
		}
	case ours && mp.m.Stale == "":
		if late := j.after.Call(lockFlag).lateUntil(mp.p.observed.Now); !late.IsZero() {
			mp.p.result.Controls.LookAgain(late)
			return ""
		}
		call := j.change(lockFlag)
		call.Word, call.Prior = "", ""
	}
	return ""
}

// orderedSteps are the steps in the order in which they can succeed: a lock of
// ours is lifted before all others, and placed again behind them. One that is
// placed to find out whether it can be lifted is placed twice (H45).
func (mp *machinePlan) orderedSteps() []Step {
	if len(mp.steps) == 0 && !mp.probes {
		return nil
	}
	for at := range mp.steps {
		if mp.steps[at].Unlocks {
			mp.steps[at].StopsOthers = len(mp.steps) > 1
			return slices.Concat(mp.steps[at:at+1], mp.steps[:at], mp.steps[at+1:])
		}
	}
	others := mp.steps
	switch {
	case mp.lock != nil:
		relock := mp.relock(mp.lock)
		return slices.Concat(relock[:1], others, relock[1:])
	case mp.probes: // the lock is the last of the others
		others[len(others)-1].StopsOthers = true
		return slices.Concat(others, mp.relock(mp.placing))
	}
	return others
}

// relock are the two steps that lift our lock and place it again.
func (mp *machinePlan) relock(lock *wanted) []Step {
	mp.steps = nil
	var j judgement
	j.begin(mp, lock, &SettingMemory{})
	for _, value := range []Value{False, True} {
		part := mp.p.preparePart(lock.parts[0].Part, lock.parts[0].WordFor(value))
		j.addStep(part, part.Flag, "", lockedWord)
	}
	mp.steps[0].StopsOthers = true
	return mp.steps
}

// HoldsLock reports whether a lock that we placed on the machine may still be
// there.
func (m VMMemory) HoldsLock() bool {
	for name, memory := range m.Settings {
		if setting := Find(name); setting != nil && setting.Lock && memory.Call(setting.Parts[0].Flag).Word == lockedWord {
			return true
		}
	}
	return false
}

// LateUntil is until when a lock that we placed, and that was not there at this time, may
// still come; zero: it may not.
func (m VMMemory) LateUntil(now time.Time) time.Time {
	return m.Setting(catalogue.lock.Name).Call(lockFlag).lateUntil(now)
}
