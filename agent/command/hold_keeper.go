package command

import (
	"context"
	"slices"
	"time"

	"prlagent/agent/protocol"
	"prlagent/platform"
	"prlagent/prlctl"
)

// Run keeps held machines suspended until ctx ends, and returns once all that runs has
// ended. With nothing held it waits, and costs nothing; with something held it looks at
// the process table at every poll, whatever the event streams say.
//
// The process table is the cheap look: one kernel call, in which a machine that runs has
// a process of its own (facts/captures.md 4.3), and no tool of a user's is asked, which
// that user could stop. Only what it leaves open is asked of the tool.
func (h *Holds) Run(ctx context.Context) {
	for ctx.Err() == nil {
		wait, bounded := h.step(ctx)
		if !bounded {
			select {
			case <-ctx.Done():
			case <-h.wake:
			}
			continue
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-h.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
	h.running.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.keep()
}

// step looks once, begins what follows, and says how long to wait for the next look;
// bounded is false if there is nothing to look for.
func (h *Holds) step(ctx context.Context) (wait time.Duration, bounded bool) {
	now := h.options.Circumstances()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.restore(now)
	h.expire(&now.Clock)
	watched := h.consented(now)
	h.takeHints(watched)
	if len(watched) > 0 {
		h.looks++
		h.mu.Unlock()
		processes, err := h.options.Directory.Processes(ctx)
		h.mu.Lock()
		running := thatRunVMs(processes)
		for _, one := range watched {
			isBehind := one.sight.restedIn == h.looks // it may have run when the look began, and came to rest since
			if h.holds[one.VMKey] == one && !one.record.isOver() && !isBehind {
				h.sight(one, running, err, now.Clock.Wall)
			}
		}
	}
	wait, bounded = h.begin(ctx, now)
	h.keepNews()
	return wait, bounded
}

// thatRunVMs are those of the processes that run machines.
func thatRunVMs(processes []platform.Process) (running []*platform.Process) {
	for i := range processes {
		if prlctl.IsVMProgram(processes[i].Path) {
			running = append(running, &processes[i])
		}
	}
	return running
}

// expire ends the holds whose time is over. Only the trusted time counts: setting this
// Mac's clock neither ends a hold nor revives one. With mu.
func (h *Holds) expire(clock *Clock) {
	ended := false
	for _, one := range h.holds {
		if !one.record.isOver() && one.isExpired(clock) {
			h.setState(one, protocol.HoldEnded, "")
			h.tell(one, eventHoldEnded, "")
			ended = true
		}
	}
	if ended {
		h.copy()
	}
}

func (one *hold) isExpired(clock *Clock) bool {
	return !one.ExpiresAt.IsZero() && !clock.Trusted.Before(one.ExpiresAt)
}

// consented are the machines that are to be kept suspended now. Where the Mac's
// configuration does not want that any more, they are said to be unenforced. With mu.
func (h *Holds) consented(now *Circumstances) (watched []*hold) {
	denied := now.Trust.deniedBy()
	for _, one := range h.inOrder() {
		switch {
		case one.record.isOver():
		case denied != "":
			one.sight = holdSight{}
			h.setUnenforced(one, denied, false)
		default:
			watched = append(watched, one)
		}
	}
	return watched
}

// holdSight is what was seen of a machine last. It is in memory only: after a restart
// everything is seen anew.
type holdSight struct {
	running   []holdProcess             // of its owner's, that run it
	cleared   map[holdProcess]time.Time // that may have run it, and when the tool said that they do not
	doubted   []doubtedProcess
	isCounted bool      // its start was counted as the tool told of it, before its process was seen
	shared    []uint32  // other accounts that list it
	hinted    bool      // something says that it runs
	looked    bool      // the process table was read
	restedIn  uint64    // the number of the look before or in which it was found at rest last
	blindAt   time.Time // when it could not be, and the tool was asked in its place

	since    time.Time // it is seen running, and nothing is known of its being suspended; zero: it is not
	doubtAt  time.Time // it may run, and nobody has answered yet whether it does
	why      protocol.Code
	failures int
	nextTry  time.Time

	suspendAgain time.Time // of one that is paused because it could not be suspended
	autostart    retry     // of turning that off

	toldAt    map[string]time.Time // by event
	noticedAt time.Time            // when its user was told
}

// holdProcess is one process, for good.
type holdProcess struct {
	pid     int
	started int64
}

// noteRunning notes since when the machine runs, at the latest.
func (s *holdSight) noteRunning() {
	if s.since.IsZero() {
		s.since, s.why = s.doubtAt, ""
	}
	if s.since.IsZero() {
		s.since = time.Now()
	}
}

// settle notes that the machine is not in use.
func (s *holdSight) settle() { s.since, s.doubtAt, s.why = time.Time{}, time.Time{}, "" }

// clearedFor is how long a process counts as not running the machine. Then it is asked
// about again: from outside of a session the tool is known to call a machine stopped
// that runs (facts/prlctl.md 5.4).
const clearedFor = time.Minute

func (s *holdSight) isCleared(process holdProcess) bool {
	at, cleared := s.cleared[process]
	if cleared && time.Since(at) >= clearedFor {
		delete(s.cleared, process)
		return false
	}
	return cleared
}

// doubtedProcess is one that may run the machine.
type doubtedProcess struct {
	id  holdProcess
	uid uint32
}

// sight takes in what a look at the process table says of a machine: processes are those
// that run machines. With mu.
func (h *Holds) sight(one *hold, processes []*platform.Process, failed error, wall time.Time) {
	s := &one.sight
	var own []holdProcess
	doubted := s.doubted[:0]
	for _, process := range processes {
		id := holdProcess{process.PID, process.Started.UnixNano()}
		switch {
		case h.isOwn(one.VMKey, process):
			own = append(own, id)
			if !slices.Contains(s.running, id) {
				h.noteStart(one, wall)
			}
		case h.mayBe(one, process) && !s.isCleared(id):
			doubted = append(doubted, doubtedProcess{id, process.UID})
		}
	}
	s.doubted = doubted
	if failed != nil && time.Since(s.blindAt) >= h.options.Poll {
		s.hinted, s.blindAt = true, time.Now()
	}
	s.looked = true
	if s.running = own; failed == nil && len(own) == 0 && len(doubted) == 0 && !s.hinted && !h.busy[one.VMKey] {
		h.noteRest(one)
	}
}

// isOwn reports whether a process runs the machine for sure: it has its id, and is its
// owner's. Below a root one account plays all users.
func (h *Holds) isOwn(key protocol.VMKey, process *platform.Process) bool {
	id, err := prlctl.ParseID(process.Arguments.VMID)
	return err == nil && id == key.ID && process.UID == key.UID && h.options.UIDOnDisk(platform.User{UID: key.UID}) == key.UID
}

// mayBe reports whether a process may run the machine: it has its id and is somebody
// else's, with whom the machine may be shared or who has another one of this id; or it
// is its owner's, and does not say what it runs.
func (h *Holds) mayBe(one *hold, process *platform.Process) bool {
	id, err := prlctl.ParseID(process.Arguments.VMID)
	if err != nil {
		return process.UID == h.options.UIDOnDisk(platform.User{UID: one.UID})
	}
	return id == one.ID
}

// noteStart notes that the machine was started. One that ran before it was to be held
// is no violation, and one that was being suspended when the last daemon ended was
// counted. With mu.
func (h *Holds) noteStart(one *hold, wall time.Time) {
	s := &one.sight
	s.failures, s.nextTry = 0, time.Time{}
	s.noteRunning()
	if s.isCounted {
		s.isCounted = false
		return
	}
	if s.looked || one.record.State == protocol.HoldKept || one.record.State == protocol.HoldNoVM {
		h.noteViolation(one, wall)
	}
}

// noteViolation counts. With mu.
func (h *Holds) noteViolation(one *hold, wall time.Time) {
	one.record.Violations++
	one.record.ViolatedAt = seconds(wall)
	h.unkept[one.VMKey] = true
	h.tell(one, eventHoldViolated, "")
}

// begin begins to suspend what runs, and says when to look again. With mu.
func (h *Holds) begin(ctx context.Context, now *Circumstances) (wait time.Duration, bounded bool) {
	wait = h.options.Poll
	for _, one := range h.inOrder() {
		if one.record.isOver() {
			continue
		}
		bounded = bounded || now.Trust.deniedBy() == ""
		if deadline := h.judgeTime(one); deadline > 0 {
			wait = min(wait, deadline)
		}
		switch {
		case h.isDue(one):
			h.start(ctx, one, now.Clock.Wall)
		case one.record.State == protocol.HoldKept && one.sight.autostart.isDue() && !h.setting[one.UID]:
			h.startAutostartOff(ctx, one)
		}
	}
	if pause, any := h.giveBack(ctx); any {
		wait, bounded = min(wait, pause), true
	}
	return wait, bounded
}

// isDue reports whether something is to be done about the machine now.
func (h *Holds) isDue(one *hold) bool {
	s := &one.sight
	seen := len(s.running) > 0 || len(s.doubted) > 0 || s.hinted
	return seen && !h.busy[one.VMKey] && !time.Now().Before(s.nextTry)
}

// judgeTime says of a machine that was seen running for too long, or of which nobody says
// whether it runs, that it is not held, and gives the time that is left of that; zero if
// it is not in question. With mu.
func (h *Holds) judgeTime(one *hold) time.Duration {
	since := one.sight.since
	if since.IsZero() {
		since = one.sight.doubtAt
	}
	if since.IsZero() {
		return 0
	}
	left := holdLimit - h.options.Poll - time.Since(since)
	if left <= 0 {
		h.setUnenforced(one, reasonOr(one.sight.why, protocol.CodeHoldPending), one.record.Paused)
		return 0
	}
	return left
}

func reasonOr(code, otherwise protocol.Code) protocol.Code {
	if code == "" {
		return otherwise
	}
	return code
}

// start has somebody work on the machine. With mu.
func (h *Holds) start(ctx context.Context, one *hold, wall time.Time) {
	s := &one.sight
	work := &suspension{
		holds: h, key: one.VMKey, doubted: slices.Clone(s.doubted), others: s.sharers(),
		isSeen: len(s.running) > 0, wasPaused: one.record.Paused, running: slices.Clone(s.running), wall: wall,
	}
	h.busy[one.VMKey] = true
	if s.hinted = false; s.since.IsZero() && s.doubtAt.IsZero() {
		s.doubtAt = time.Now()
	}
	if work.isSeen && (one.record.State != protocol.HoldUnenforced || one.record.Code == protocol.CodeNotLookedYet) {
		h.setState(one, protocol.HoldSuspending, "")
	}
	turns := h.turns // with mu: a recall makes others
	h.running.Go(func() {
		if leave, err := turns.take(ctx, work.key.UID); err == nil {
			work.run(ctx)
			leave()
		}
		h.mu.Lock()
		delete(h.busy, work.key)
		h.mu.Unlock()
		h.awaken()
	})
}

// sharers are the accounts that list the machine as well and run one of this id.
func (s *holdSight) sharers() (uids []uint32) {
	for _, doubted := range s.doubted {
		if slices.Contains(s.shared, doubted.uid) && !slices.Contains(uids, doubted.uid) {
			uids = append(uids, doubted.uid)
		}
	}
	return uids
}

// maxHoldRuns is how many machines of one user are worked on at the same time. Nobody
// runs as many; what is beyond them is called unenforced in time.
const maxHoldRuns = 4

// SeenVM is one machine as a look at the Mac saw it.
type SeenVM struct {
	protocol.VMKey
	Running bool
	Bundle  protocol.Bundle
	SeenBy  []uint32 // other accounts that list it
	Stale   bool     // it is known from before
}

// Saw is told what a look at the Mac saw: its machines, and the accounts whose list was
// whole.
func (h *Holds) Saw(machines []SeenVM, listed []uint32) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, one := range h.holds {
		var seen *SeenVM
		for i := range machines {
			if machines[i].VMKey == one.VMKey {
				seen = &machines[i]
			}
		}
		switch {
		case one.record.isOver():
		case seen != nil && !seen.Stale:
			h.noteThere(one, seen)
		case seen == nil && slices.Contains(listed, one.UID) && !h.busy[one.VMKey] && len(one.sight.running) == 0:
			h.noteGone(one, machines)
		}
	}
	h.keepNews()
	h.awaken() // the configuration may have changed as well
}

// noteThere takes in that the machine is there. With mu.
func (h *Holds) noteThere(one *hold, seen *SeenVM) {
	if seen.Bundle != (protocol.Bundle{}) && seen.Bundle != one.record.Bundle {
		one.record.Bundle = seen.Bundle
		h.unkept[one.VMKey] = true
	}
	one.sight.hinted, one.sight.shared = one.sight.hinted || seen.Running, seen.SeenBy
	if one.record.State == protocol.HoldNoVM {
		h.setState(one, protocol.HoldKept, "")
	}
}

// noteGone takes in that there is no such machine any more. If its bundle is there under
// another id, it was registered anew, and what is signed does not hold it: that is told,
// and is for an administrator to lock. With mu.
func (h *Holds) noteGone(one *hold, machines []SeenVM) {
	code := protocol.Code("")
	for i := range machines {
		if one.record.Bundle != (protocol.Bundle{}) && machines[i].Bundle == one.record.Bundle {
			code = protocol.CodeTargetChanged
		}
	}
	if one.record.State != protocol.HoldNoVM || one.record.Code != code {
		h.setState(one, protocol.HoldNoVM, code)
		h.tell(one, eventHoldNoVM, code)
	}
}
