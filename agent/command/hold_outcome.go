package command

import (
	"slices"
	"time"

	"prlagent/agent/protocol"
	"prlagent/prlctl"
)

// What the work on a machine has come to. Each finds the hold anew: a list may have come
// meanwhile.

// of runs something on a hold that is in force.
func (h *Holds) of(key protocol.VMKey, do func(*hold)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if one := h.holds[key]; one != nil && !one.record.isOver() {
		do(one)
		h.keepNews()
	}
}

// wants reports whether a machine is still to be kept suspended, and whether by force:
// it is asked again before each thing that is done to one.
func (h *Holds) wants(key protocol.VMKey) (isHeld, isForced bool) {
	now := h.options.Circumstances()
	h.mu.Lock()
	defer h.mu.Unlock()
	one := h.holds[key]
	if one == nil || one.record.isOver() || one.isExpired(&now.Clock) || now.Trust.deniedBy() != "" {
		return false, false
	}
	return true, one.Force
}

// asked notes that the machine is asked to suspend.
func (h *Holds) asked(key protocol.VMKey) {
	h.of(key, func(one *hold) {
		if one.record.State != protocol.HoldUnenforced || one.record.Code == protocol.CodeNotLookedYet {
			h.setState(one, protocol.HoldSuspending, "")
		}
	})
}

// confirmed notes that the machine is being suspended.
func (h *Holds) confirmed(key protocol.VMKey) {
	h.of(key, func(one *hold) {
		one.sight.settle()
		h.setState(one, protocol.HoldSuspending, "")
	})
}

// doubts notes why it cannot be seen whether the machine is being suspended.
func (h *Holds) doubts(key protocol.VMKey, why protocol.Code) {
	h.of(key, func(one *hold) { one.sight.why = why })
}

// rested notes that the machine does not run any more, and none of the processes that ran
// it. Another one may have begun since the tool was asked: what is then, a look says.
func (h *Holds) rested(key protocol.VMKey, ran []holdProcess, forced bool) {
	h.of(key, func(one *hold) {
		if forced {
			h.tell(one, eventHoldForced, "")
		}
		if one.hasOther(ran) {
			return
		}
		one.sight.running = nil // a process that lingers is looked at anew
		h.noteRest(one)
	})
}

// maxCleared bounds what is remembered of processes that come and go.
const maxCleared = 64

// clear notes that the machine does not run, whatever the processes look like.
func (h *Holds) clear(key protocol.VMKey, processes []doubtedProcess) {
	h.of(key, func(one *hold) {
		if one.sight.cleared == nil || len(one.sight.cleared) >= maxCleared {
			one.sight.cleared = make(map[holdProcess]time.Time)
		}
		for _, process := range processes {
			one.sight.cleared[process.id] = time.Now()
		}
		one.sight.doubted = nil
		if !one.hasOther(nil) {
			h.noteRest(one)
		}
	})
}

// failed notes that nothing could be asked, for a reason.
func (h *Holds) failed(key protocol.VMKey, why protocol.Code) {
	h.of(key, func(one *hold) {
		one.sight.noteRunning() // for all that is known
		one.sight.why = why
		one.sight.retryLater(h.options.Poll)
	})
}

// unenforced notes that the machine cannot be suspended, for a reason, and whether it is
// paused at least.
func (h *Holds) unenforced(key protocol.VMKey, why protocol.Code, paused bool) {
	h.of(key, func(one *hold) {
		s := &one.sight
		s.why = why
		s.retryLater(h.options.Poll)
		s.hinted = s.hinted || len(s.running) == 0 // what only the tool shows stays in doubt until the tool says otherwise
		if paused {
			s.settle()
			s.suspendAgain = s.nextTry
			s.nextTry = time.Now().Add(h.options.Poll) // whether it was resumed
		}
		h.setUnenforced(one, why, paused)
	})
}

// The first attempts follow each other as the polls do; then they are rarer, because
// each costs a run of the tool.
const (
	holdQuickTries = 12
	holdSlowTry    = time.Minute
)

func (s *holdSight) retryLater(poll time.Duration) {
	s.failures++
	pause := poll
	if s.failures > holdQuickTries {
		pause = holdSlowTry
	}
	s.nextTry = time.Now().Add(pause)
}

// noteSeenRunning notes that the tool says that the machine runs. Each time is counted
// once: the process that shows it was counted when it began. One that was paused and is
// being suspended was not resumed.
func (h *Holds) noteSeenRunning(key protocol.VMKey, state prlctl.State, wall time.Time) {
	h.of(key, func(one *hold) {
		isResumed := one.record.Paused && !slices.Contains(suspendCall.ending, state)
		if isResumed || one.sight.since.IsZero() && (one.record.State == protocol.HoldKept || one.record.State == protocol.HoldNoVM) {
			h.noteViolation(one, wall)
			one.sight.isCounted = len(one.sight.running) == 0
		}
		one.record.Paused = false
		one.sight.noteRunning()
		if one.record.State == protocol.HoldNoVM {
			h.setState(one, protocol.HoldSuspending, "")
		}
	})
}

// maySuspendPaused reports whether a machine that is paused is to be asked to suspend: it
// is tried again now and then, if it could not be suspended before.
func (h *Holds) maySuspendPaused(key protocol.VMKey) (may bool) {
	h.of(key, func(one *hold) {
		s := &one.sight
		if may = !one.record.Paused || !time.Now().Before(s.suspendAgain); !may {
			s.settle()
			s.nextTry = time.Now().Add(h.options.Poll)
		}
	})
	return may
}

// startedAgain notes that the machine was suspended and runs anew. Where a process shows
// that, it is counted with the process.
func (h *Holds) startedAgain(key protocol.VMKey, wall time.Time) {
	h.of(key, func(one *hold) {
		s := &one.sight
		s.nextTry, s.failures = time.Time{}, 0
		s.noteRunning()
		if len(s.running) == 0 {
			h.noteViolation(one, wall)
			s.hinted, s.isCounted = true, true
		}
	})
}

// hasOther reports whether another process was seen to run the machine than those. With mu.
func (one *hold) hasOther(than []holdProcess) (has bool) {
	for _, process := range one.sight.running {
		has = has || !slices.Contains(than, process)
	}
	return has
}
