package command

import (
	"slices"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/storage"
)

// What must be true of the world: at each message, at each act, and at the end.

// wantOnDisk: what the Mac tells is on its disk, whatever happens to it next.
func (w *world) wantOnDisk(open []protocol.OpenCommand, results []protocol.Result) {
	for _, one := range open {
		r, found := w.side.onDisk(one.CommandID)
		if !found || one.State == protocol.CommandRunning && r.State != protocol.CommandRunning {
			w.fail("%s is told as %s, and is on the disk as %q", one.CommandID, one.State, r.State)
		}
	}
	for _, one := range results {
		if r, found := w.side.onDisk(one.CommandID); !found || r.State != one.State {
			w.fail("%s is told as %s, and is on the disk as %q", one.CommandID, one.State, r.State)
		}
	}
}

// wantRemembered: what the portal has acknowledged is still there to answer from.
func (w *world) wantRemembered(ids []string) {
	for _, id := range ids {
		if _, found := w.side.onDisk(id); !found && !w.forgotten[id] {
			w.fail("%s is forgotten once it is acknowledged", id)
		}
	}
}

// wantTold: every report has all results that the portal does not have. Of one that was put
// back the Mac cannot know which it has lost: it tells of them once their orders come again.
func (w *world) wantTold(results []protocol.Result) {
	if w.restored {
		return
	}
	for _, id := range w.names {
		r, found := w.side.onDisk(id)
		if !found || !r.hasEnded() || r.Epoch != w.side.epoch() || w.forgotten[id] {
			continue
		}
		order, known := w.portal.order(id)
		if known && order.open() && !slices.ContainsFunc(results, func(told protocol.Result) bool { return told.CommandID == id }) {
			w.fail("%s is %s on the Mac, and a report does not say so", id, r.State)
		}
	}
}

// wantMaySend holds what a portal sends against what an admin may rely on: what was
// cancelled is not sent (H30), nor what too few have signed (H31), nor, before it is
// confirmed, what is of before the Mac enrolled again (H69), nor what is destructive to a Mac
// that is ahead (H30).
func (w *world) wantMaySend(answer protocol.CheckinReply) {
	for _, envelope := range answer.Commands {
		said, _, _ := claimed(&envelope)
		id := said.CommandID
		row, _ := protocol.CommandTypeOf(said.Type)
		switch {
		case w.cancelled[id]:
			w.fail("%s is sent although it was cancelled", id)
		case len(envelope.Signatures) < w.trust.Thresholds[said.Type]:
			w.fail("%s is sent with %d signatures", id, len(envelope.Signatures))
		case w.confirmed[id]:
		case slices.Index(w.names, id) < w.enrolled:
			w.fail("%s is sent to a Mac that has enrolled again", id)
		case row.Destructive && w.isAhead:
			w.fail("%s is sent to a Mac that is ahead of the portal", id)
		}
	}
}

// wantKept: what the portal says is on its disk, whatever happens to it next.
func (w *world) wantKept(answer protocol.CheckinReply) {
	for _, envelope := range answer.Commands {
		said, _, _ := claimed(&envelope)
		order, _ := w.portal.order(said.CommandID)
		if slices.Contains([]string{"", protocol.CommandPending, protocol.CommandAwaitingApproval}, order.state) {
			w.fail("%s is sent, and is %q at the portal", said.CommandID, order.state)
		}
	}
	for _, ack := range answer.Acks {
		if order, known := w.portal.order(ack.CommandID); known && order.open() {
			w.fail("%s is acknowledged, and is %s at the portal", ack.CommandID, order.state)
		}
	}
}

// wantMayAct holds an act, at its moment, against everything that must be so.
func (w *world) wantMayAct(job *Job) {
	command, id := job.Command, job.Command.CommandID
	row, _ := protocol.CommandTypeOf(command.Type)
	now := w.circumstances()
	if r, found := w.side.onDisk(id); !found || r.State != protocol.CommandRunning || r.Attempts != job.Attempt {
		w.fail("%s: attempt %d is made, and the disk has %q with %d", id, job.Attempt, r.State, r.Attempts)
	} else if r.Epoch != w.side.epoch() {
		w.fail("%s: it is from another epoch", id)
	} else if r.Envelope == nil {
		w.fail("%s: its envelope is gone", id)
	}
	w.wantNothingAgainst(&command, now)
	w.wantNothingBefore(&command)
	if row.Changes && w.side.lastOnDisk(id) < job.Attempt {
		w.fail("%s: attempt %d is made, and is not in the intent file", id, job.Attempt)
	}
	if w.inEpoch[id].acts >= maxAttempts || w.acts[id] >= maxAttempts && protocol.IsHazardous(command.Type) {
		w.fail("%s: it is tried once more", id)
	}
	if w.inEpoch[id].told == protocol.CommandCancelled && !w.forgotten[id] {
		w.fail("%s: an attempt is made after it was cancelled", id)
	}
	if row.Counted && w.acts[id] == 0 {
		w.starts = append(w.starts, w.clock().Trusted)
		if recent := slices.DeleteFunc(slices.Clone(w.starts), func(at time.Time) bool {
			return !at.After(w.clock().Trusted.Add(-w.trust.Window))
		}); len(recent) > w.trust.Limit {
			w.fail("%s: it is destructive command %d of the window", id, len(recent))
		}
	}
}

// wantNothingBefore: nothing is done to a machine of which nobody knows what became of an
// older command.
func (w *world) wantNothingBefore(command *protocol.Command) {
	this, _ := w.side.onDisk(command.CommandID)
	for other, acts := range w.acts {
		target := w.commands[other].Target
		if acts == 0 || command.Target.VMID == "" || target.VM() != command.Target.VM() {
			continue
		}
		r, found := w.side.onDisk(other)
		if found && r.Arrival < this.Arrival && r.State == protocol.CommandRunning && !r.hasEnded() {
			w.fail("%s: an attempt is made while nobody knows what became of %s", command.CommandID, other)
		}
	}
}

// wantNothingAgainst says once more, in other words than check, what a Mac does not do.
func (w *world) wantNothingAgainst(command *protocol.Command, now *Circumstances) {
	row, _ := protocol.CommandTypeOf(command.Type)
	for because, isSo := range map[string]bool{
		"no admin gave it":              w.forged[command.CommandID],
		"it was cancelled before":       w.stopped[command.CommandID],
		"its keys are trusted no more":  now.Trust.Mode == "",
		"the Mac only monitors":         row.Changes && now.Trust.Mode != protocol.ModeEnforce,
		"it is for another epoch":       command.Target.Epoch != "" && command.Target.Epoch != now.Target.Epoch,
		"it has expired, or may have":   !now.Clock.Likely.Before(command.ExpiresAt) || !now.Clock.Trusted.Before(command.ExpiresAt),
		"it is too early":               now.Clock.Trusted.Before(command.NotBefore),
		"there is no proof of the time": row.Destructive && !now.Clock.Proven,
	} {
		if isSo {
			w.fail("%s: an attempt is made although %s", command.CommandID, because)
		}
	}
}

// wantSoFar holds at every moment. What only looks is in no intent file: another epoch, whose
// journal is not of the one before, may do it again.
func (w *world) wantSoFar() {
	for id, count := range w.effects {
		row, _ := protocol.CommandTypeOf(w.commands[id].Type)
		if count > 1 && row.Changes || w.inEpoch[id].effects > 1 {
			w.fail("%s has taken effect %d times", id, count)
		}
		if w.inEpoch[id].acts > maxAttempts || row.Once && w.acts[id] > 1 {
			w.fail("%s was tried %d times", id, w.acts[id])
		}
	}
}

// heal lets everything be well again, and the world go on until every command has
// ended one way or another. It says which could still have been done in time.
func (w *world) heal() (inTime map[string]bool) {
	w.online, w.busy, w.blind, w.silent, w.broken, w.offset, w.late = true, false, false, false, false, 0, ""
	w.mac, w.server = disk{}, disk{}
	w.trust.Mode, w.trust.Limit = protocol.ModeEnforce, 100
	inTime = map[string]bool{}
	for id, command := range w.commands {
		inTime[id] = w.now.Add(time.Hour).Before(command.ExpiresAt) && !command.NotBefore.After(w.now)
	}
	settle := func(rounds int) {
		for range rounds {
			w.tend()
			w.then(func() { w.exchange(route{}) })
			w.then(w.side.work)
			w.pass(lastPause, false)
		}
	}
	settle(7)
	w.wantHeard()
	w.pass(91*24*time.Hour, false)
	settle(6)
	return inTime
}

// wantHeard: a portal hears what the Mac knows as long as it sends the order again.
func (w *world) wantHeard() {
	for _, id := range w.names {
		order, known := w.portal.order(id)
		r, found := w.side.onDisk(id)
		if !known || !found || !order.open() || !r.hasEnded() || r.Epoch != w.side.epoch() || w.forgotten[id] || !w.now.Before(w.commands[id].ExpiresAt) {
			continue
		}
		w.fail("%s is %s on the Mac, and %s at the portal", id, r.State, order.state)
	}
}

// tend is what an admin does who has everything done: what waits for a person is
// approved and confirmed, and what was signed for an epoch that is over is cancelled.
func (w *world) tend() {
	if w.portal.revive() {
		w.enroll(false)
	}
	w.thaw()
	for _, id := range w.names {
		order, known := w.portal.order(id)
		switch {
		case !known || !order.open():
		case order.state == protocol.CommandAwaitingApproval:
			w.portal.approve(id)
		case order.withheld == storage.WithheldEpoch:
			w.cancelOrder(id)
		case order.withheld != "":
			w.confirm(id)
		}
	}
}

// unseenCodes say that nobody knows what became of a command.
var unseenCodes = []protocol.Code{protocol.CodeOutcomeUnknown, protocol.CodeNotObservable}

// neverBegun are the ends of a command that was not begun.
var neverBegun = []string{protocol.CommandRejected, protocol.CommandCancelled, protocol.CommandExpired}

// wantTruth holds the portal's word against the Mac, at the end.
func (w *world) wantTruth(inTime map[string]bool) {
	for _, id := range w.names {
		order, known := w.portal.order(id)
		if !known {
			if w.effects[id] > 0 && !w.restored {
				w.fail("%s was done, and the portal does not know it", id)
			}
			continue
		}
		w.happened["in the end "+order.state]++
		w.happened["in the end "+string(order.code)]++
		w.wantTruthOf(id, order, inTime[id])
	}
}

// isOfBefore reports whether the portal's word of a command is of an epoch before this one: the
// first result stays, and what is for another epoch is judged by nobody in this one.
func (w *world) isOfBefore(command *protocol.Command, order portalOrder) bool {
	epoch := w.side.epoch()
	return w.epochs > 1 && (order.hasResult && order.epoch != epoch || protocol.IsHazardous(command.Type) && command.Target.Epoch != epoch)
}

// isAnew reports whether what a command did and what the portal says of it are of different
// epochs. Only a command that says what is to be, as a lock, is sent in more than one: with the
// journal of the one before its effect may be gone as well, so that each does it, or refuses it.
func (w *world) isAnew(command *protocol.Command, order portalOrder) bool {
	return w.epochs > 1 && !protocol.IsHazardous(command.Type) && (w.inEpoch[command.CommandID].effects == 0 || w.isOfBefore(command, order))
}

// isBegun reports whether whoever ended a command could know that it was begun: the Mac in
// the epoch in which it was, or a portal that nobody has put back.
func (w *world) isBegun(id string, order portalOrder) bool {
	if order.hasResult && order.epoch == w.side.epoch() {
		return w.inEpoch[id].acts > 0
	}
	return w.acts[id] > 0 && w.epochs == 1 && !w.restored
}

// mayBeUnknown reports whether a portal has to say of a command that it does not know what
// became of it, because of what it gives as the reason: the Mac began a new epoch, and what
// must not be done twice may have been done in the one before; or the portal is, or by what
// it was told may be, older than the Mac.
func (w *world) mayBeUnknown(command *protocol.Command, order portalOrder) bool {
	isOlder := w.restored || w.happened["audit log replayed"] > 0 || len(w.forged) > 0
	switch order.code {
	case protocol.CodeEpochChanged:
		return w.epochs > 1 && (order.orphan && isOlder || protocol.IsHazardous(command.Type) && command.Target.Epoch != w.side.epoch())
	case protocol.CodePortalRestored:
		return isOlder
	}
	return false
}

func (w *world) wantTruthOf(id string, order portalOrder, inTime bool) {
	command, effects := w.commands[id], w.effects[id]
	row, _ := protocol.CommandTypeOf(command.Type)
	isLost := order.code == protocol.CodeJournalLost || order.code == protocol.CodeCommandOtherEpoch
	isUnseen := slices.Contains(unseenCodes, order.code) || isLost && (row.Once || w.everBad)
	isAnew, isOfBefore := w.isAnew(&command, order), w.isOfBefore(&command, order)
	isDone := effects == 1 || effects > 1 && !row.Changes
	switch {
	case order.open():
		w.fail("%s (%s) is %s %q for ever", id, command.Type, order.state, order.code)
	case order.state == protocol.CommandSucceeded && effects == 0:
		w.fail("%s (%s) is succeeded %q at the portal, and was not done", id, command.Type, order.code)
	case w.isBegun(id, order) && !w.forgotten[id] && slices.Contains(neverBegun, order.state):
		w.fail("%s (%s) was begun, and is %s", id, command.Type, order.state)
	case order.code == protocol.CodeJournalLost && w.epochs == 1 && !w.forgotten[id] && !w.torn:
		w.fail("%s (%s) has failed as if the journal were lost", id, command.Type)
	case order.state == protocol.CommandUnknown && !w.mayBeUnknown(&command, order):
		w.fail("%s (%s) is unknown %q, and nothing was lost", id, command.Type, order.code)
	case order.state == protocol.CommandUnknown, isUnseen, w.forgotten[id]:
	case isAnew:
	case order.state == protocol.CommandExpired && inTime:
		w.fail("%s (%s) has expired although the Mac came back in time", id, command.Type)
	case order.state == protocol.CommandSucceeded && !isDone, order.state != protocol.CommandSucceeded && effects != 0:
		w.fail("%s (%s) is %s %q at the portal, with %d effects", id, command.Type, order.state, order.code, effects)
	}
	// What a portal gave up as unknown with a reason stays so where the Mac told of it before
	// that portal was put back, and has settled it: no order of it comes again.
	if r, found := w.side.onDisk(id); found && r.hasEnded() && r.Epoch == w.side.epoch() && order.state != r.State &&
		order.state != protocol.CommandUnknown && !w.forgotten[id] && !isOfBefore {
		w.fail("%s is %s at the portal, and %s on the Mac", id, order.state, r.State)
	}
}
