package command

import (
	"context"
	"strconv"
	"time"

	"prlagent/agent/protocol"
)

// Events of holds.
const (
	eventHoldsRefused   = "vm_holds_refused"   // a list that is not taken
	eventHoldPlaced     = "vm_hold_placed"     // a list names the machine
	eventHoldLifted     = "vm_hold_lifted"     // a list does not name it any more
	eventHoldReleased   = "vm_hold_released"   // by a person on the Mac
	eventHoldEnded      = "vm_hold_ended"      // its time is over
	eventHoldViolated   = "vm_hold_violated"   // it was seen running
	eventHoldSuspended  = "vm_hold_suspended"  // it ran, and does not any more
	eventHoldForced     = "vm_hold_forced"     // it was ended by force
	eventHoldUnenforced = "vm_hold_unenforced" // it runs, and cannot be suspended
	eventHoldNoVM       = "vm_hold_no_vm"      // there is no such machine
	eventHoldAutostart  = "vm_hold_autostart"  // whether it starts by itself was changed, or could not be
)

// setState changes the state of a hold. With mu.
func (h *Holds) setState(one *hold, state string, code protocol.Code) {
	if one.record.State == state && one.record.Code == code {
		return
	}
	if one.record.State != state {
		one.record.Since = seconds(h.options.Circumstances().Clock.Wall)
	}
	one.record.State, one.record.Code = state, code
	if state != protocol.HoldUnenforced {
		one.record.Paused = false
	}
	h.unkept[one.VMKey] = true
}

// setUnenforced says that the machine is not held as it should be. With mu.
func (h *Holds) setUnenforced(one *hold, code protocol.Code, paused bool) {
	isNews := one.record.State != protocol.HoldUnenforced || one.record.Code != code || one.record.Paused != paused
	h.setState(one, protocol.HoldUnenforced, code)
	if one.record.Paused = paused; isNews {
		h.tell(one, eventHoldUnenforced, code)
	}
}

// noteRest takes in that the machine does not run. With mu.
func (h *Holds) noteRest(one *hold) {
	s := &one.sight
	s.restedIn, s.isCounted = h.looks, false
	ran := !s.since.IsZero() || one.record.Paused || one.record.State == protocol.HoldSuspending
	s.settle()
	s.failures, s.nextTry = 0, time.Time{}
	if one.record.State == protocol.HoldNoVM {
		return
	}
	h.setState(one, protocol.HoldKept, "")
	if ran {
		s.autostart.done, s.autostart.next = false, time.Now().Add(firstAutostartPause)
		h.tell(one, eventHoldSuspended, "")
	}
}

// tell has an event about a hold kept, of each kind one in holdNews, and the portal hear
// of it: keepNews does both. With mu.
func (h *Holds) tell(one *hold, kind string, code protocol.Code) {
	if last, told := one.sight.toldAt[kind]; told && time.Since(last) < holdNews {
		return
	}
	if one.sight.toldAt == nil {
		one.sight.toldAt = make(map[string]time.Time)
	}
	one.sight.toldAt[kind] = time.Now()
	h.unkept[one.VMKey] = true
	if len(h.untold) < maxUntold {
		h.untold = h.addEvent(h.untold, kind, &one.record, code)
	}
}

// addEvent adds an event about a hold to others.
func (h *Holds) addEvent(events []protocol.Event, kind string, record *holdRecord, code protocol.Code) []protocol.Event {
	event := protocol.Event{At: seconds(h.options.Circumstances().Clock.Wall), Type: kind, Code: code, Data: map[string]string{
		"vm_id": record.ID, "uid": uidText(record.UID), "command_id": record.CommandID,
	}}
	if record.Violations > 0 {
		event.Data["violations"] = strconv.Itoa(record.Violations)
	}
	if record.Paused {
		event.Data["paused"] = "true"
	}
	return append(events, event)
}

// holdText is what the user of a held machine is told. It is all ours: nothing in it was
// named by somebody else.
const holdText = "Your organization has locked one of your Parallels virtual machines. It is suspended whenever it runs, until the lock is lifted."

// notify tells the machine's user, once in a while. It does not wait.
func (h *Holds) notify(ctx context.Context, key protocol.VMKey, account *Account) {
	isHeld, _ := h.wants(key)
	h.mu.Lock()
	defer h.mu.Unlock()
	one := h.holds[key]
	if !isHeld || one == nil || !account.Session || h.options.Tell == nil || !one.sight.noticedAt.IsZero() && time.Since(one.sight.noticedAt) < holdNotices {
		return
	}
	one.sight.noticedAt = time.Now()
	h.running.Go(func() { h.options.Tell(ctx, &account.User, holdText) })
}
