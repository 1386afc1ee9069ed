package command

import (
	"errors"
	"strconv"
	"time"

	"prlagent/agent/protocol"
)

// Limits of what a portal can fill the journal with. What does not fit is not
// taken, and comes again: delivery is level-triggered.
const (
	maxOpen     = 256
	maxCancels  = 256       // of one answer
	maxRefusals = 20 * 1000 // commands to answer from, beyond which nobody's unsigned word is kept
)

// take takes in what an answer of the portal has: first what is cancelled, then
// what is ordered (H03). What is new is in the journal when it returns.
func (e *engine) take(cancel []string, orders []protocol.Envelope, settled int) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.circumstances()
	fresh := make(map[string]*Record)
	var failures []error // of one of them, which keeps no other out
	for _, id := range cancel[:min(len(cancel), maxCancels)] {
		failures = append(failures, e.takeCancel(id, now, settled, fresh))
	}
	for i := range min(len(orders), protocol.MaxCommandReply) {
		failures = append(failures, e.takeOrder(&orders[i], now, settled, fresh))
	}
	return errors.Join(append(failures, e.keepFresh(fresh))...)
}

// keepFresh keeps what an answer has brought, in one commit. With mu.
func (e *engine) keepFresh(fresh map[string]*Record) error {
	if len(fresh) == 0 {
		return nil
	}
	var events []protocol.Event
	added := make([]*Record, 0, len(fresh))
	for _, r := range fresh {
		added = append(added, r)
		kind := "command_received"
		if r.hasEnded() {
			kind = "command_ended"
		}
		events = append(events, e.event(kind, r, "state", r.State))
	}
	if err := e.journal.keep(events, added...); err != nil {
		return err
	}
	for id, r := range fresh {
		e.records[id] = r
		if r.hasEnded() {
			delete(e.unkept, id)
			e.noteEnded(r)
		}
	}
	return nil
}

// takeCancel notes that a command is not wanted any more, and ends it at once if it can
// be: its machine may be busy with another one for long. One that has not come yet is
// cancelled as well: an answer that was lost can come late.
func (e *engine) takeCancel(id string, now *Circumstances, settled int, fresh map[string]*Record) error {
	if r := e.records[id]; r != nil {
		if r.hasEnded() || r.CancelAsked {
			return nil
		}
		r.CancelAsked, r.waits, e.unkept[id] = true, false, true
		if next := decide(r, e.situation(r)); next.action == doEnd {
			fresh[id] = e.withResult(r, &next.Outcome, now.Clock.Wall)
		}
		return nil
	}
	known, err := e.answered(id)
	if known || err != nil || !protocol.ValidName(id) || !e.hasRoom(fresh) || settled > maxRefusals {
		return err
	}
	r := &Record{ID: id, Epoch: now.Target.Epoch, ReceivedAt: now.Clock.Likely, Command: protocol.Command{CommandID: id}}
	r.end(&Outcome{State: protocol.CommandCancelled, Code: protocol.CodeCommandCancelled}, now.Clock.Wall)
	e.addFresh(r, fresh)
	return nil
}

// takeOrder takes in an order. One that is in the journal is never looked at
// again: what comes under its name is answered from the record.
func (e *engine) takeOrder(order *protocol.Envelope, now *Circumstances, settled int, fresh map[string]*Record) error {
	said, digest, named := claimed(order)
	if !named {
		e.log.Warn().Msg("a command without an id is not taken")
		return nil
	}
	if e.records[said.CommandID] != nil || fresh[said.CommandID] != nil {
		return nil
	}
	known, err := e.answered(said.CommandID)
	if known || err != nil || !e.hasRoom(fresh) {
		return err
	}
	command, refused := check(e.verify, order, now, e.intents.prunedTo())
	if refused.Code == protocol.CodeCommandSignature && settled > maxRefusals {
		return nil
	}
	if command == nil || command.CommandID == "" {
		command = said
	}
	kept := *order // the answer that it came with is not kept for it
	r := received(&kept, command, digest, now)
	if end := e.refuse(r, refused); end != nil {
		r.Envelope, r.Steps = nil, nil
		trimRefused(&r.Command, refused)
		r = e.withResult(r, end, now.Clock.Wall)
	}
	e.addFresh(r, fresh)
	return nil
}

// trimRefused leaves of a refused command what its record keeps. What too few have
// signed are a stranger's words: none of them is shown to anybody, says how long it is
// kept, or fills the journal.
func trimRefused(command *protocol.Command, refused refusal) {
	if refused.Code == protocol.CodeCommandSignature {
		*command = protocol.Command{CommandID: command.CommandID, Type: command.Type}
	}
	command.Params = nil
}

// refuse is how a refused command ends at once, or nil. Of one that may have been done,
// a look decides; but nothing is looked at for who has not signed.
func (e *engine) refuse(r *Record, refused refusal) *Outcome {
	if refused.State == "" {
		return nil
	}
	written, err := e.intents.written(r.ID, r.Command.IssuedAt)
	mayBeDone := err != nil || written > 0 || refused.State == protocol.CommandFailed
	switch isSigned := refused.Code != protocol.CodeCommandSignature && refused.Code != protocol.CodeCommandInvalid; {
	case !mayBeDone:
		return &Outcome{State: refused.State, Code: refused.Code}
	case isSigned:
		return nil
	}
	return &Outcome{State: protocol.CommandFailed, Code: protocol.CodeOutcomeUnknown}
}

// answered reports whether the command has a settled record, and has its result
// told again.
func (e *engine) answered(id string) (bool, error) {
	r, err := e.journal.ended(id)
	if r == nil || err != nil {
		return false, err
	}
	if _, waits := e.repeats[id]; !waits && len(e.repeats) < protocol.MaxResults {
		e.repeats[id] = r.Result
		e.news++
	}
	return true, nil
}

func (e *engine) hasRoom(fresh map[string]*Record) bool { return len(e.records)+len(fresh) < maxOpen }

func (e *engine) addFresh(r *Record, fresh map[string]*Record) {
	e.arrivals++
	r.Arrival = e.arrivals
	fresh[r.ID] = r
}

// dueLane is a virtual machine, or the whole Mac, with the commands on it that can go on.
type dueLane struct {
	name string
	uid  uint32   // whose machine it is
	ids  []string // in the order in which they came
	// usesTools: one of them has tools of the user run. Those of the whole Mac have a lane of
	// their own, and a list of holds needs none.
	usesTools bool
}

// due gives the lanes with commands that can go on now, in the order in which the first of
// these came, and when the first of the others can.
func (e *engine) due(wall time.Time) (lanes []*dueLane, next time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	byName := make(map[string]*dueLane)
	held := make(map[string]bool) // by one that waits for what became of it
	for _, r := range e.inOrder() {
		lane := laneOf(r)
		switch {
		case r.hasEnded(), held[lane]:
		case r.waits && r.retryAt.IsZero():
		case r.rests(wall):
			if next.IsZero() || r.retryAt.Before(next) {
				next = r.retryAt
			}
		default:
			found := byName[lane]
			if found == nil {
				found = &dueLane{name: lane, uid: r.Command.Target.UID}
				byName[lane], lanes = found, append(lanes, found)
			}
			found.ids = append(found.ids, r.ID)
			found.usesTools = found.usesTools || r.Command.Target.VMID != "" && !protocol.ChangesHolds(r.Command.Type)
			continue
		}
		held[lane] = held[lane] || r.isUnseen()
	}
	return lanes, next
}

// isHeld reports whether an older command on the same machine has begun and waits
// for what became of it: nothing else is done to the machine meanwhile.
func (e *engine) isHeld(id string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	r := e.records[id]
	for _, other := range e.records {
		if r != nil && other.Arrival < r.Arrival && other.isUnseen() && laneOf(other) == laneOf(r) {
			return true
		}
	}
	return false
}

// look lets everything that waits be looked at again: something may have changed.
func (e *engine) look() {
	e.mu.Lock()
	e.looks++
	for _, r := range e.records {
		r.waits = false
	}
	e.mu.Unlock()
}

// laneOf is the machine of a command, or the whole Mac; what only looks at that waits
// for nothing but its like.
func laneOf(r *Record) string {
	target := &r.Command.Target
	if target.VMID == "" {
		if row, known := protocol.CommandTypeOf(r.Command.Type); known && !row.Changes {
			return row.Type
		}
		return ""
	}
	return uidText(target.UID) + "/" + target.VMID
}

func uidText(uid uint32) string { return strconv.FormatUint(uint64(uid), 10) }
