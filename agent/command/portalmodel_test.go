package command

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/audit"
	"prlagent/cmd/prlportal/storage"
)

// firstPerson is who issues commands, and secondPerson who approves them.
const (
	firstPerson  = "operator"
	secondPerson = "bob"
)

// modelPortal is a portal in memory: what it decides by is the portal's own log of
// commands, and around that is a model of its database, of the audit log beside it and
// of what becomes of a check-in.
type modelPortal struct {
	fault string
	w     *world
	disk  portalDisk
	saved *portalDisk
	lines []auditLine
	token int // that the Mac has

	savedLines int
	restoredAt time.Time
}

// portalDisk is what is kept in one commit.
type portalDisk struct {
	log       storage.CommandLog
	envelopes map[string]protocol.Envelope
	epoch     string
	sequence  uint64
	request   string // the last one
	heardAt   time.Time
	tokens    []int
	isRetired bool
	mark      int // of the audit log
}

func (d portalDisk) clone() portalDisk {
	d.log = cloneLog(d.log)
	d.tokens = slices.Clone(d.tokens)
	envelopes := make(map[string]protocol.Envelope, len(d.envelopes))
	for id, envelope := range d.envelopes {
		envelopes[id] = envelope
	}
	d.envelopes = envelopes
	return d
}

func cloneLog(log storage.CommandLog) storage.CommandLog {
	log.Commands = slices.Clone(log.Commands)
	for i := range log.Commands {
		c := &log.Commands[i]
		c.Steps, c.Signers = slices.Clone(c.Steps), slices.Clone(c.Signers)
	}
	return log
}

// auditLine is a decision.
type auditLine struct {
	action  string
	command storage.Command
}

func (p *modelPortal) start(w *world) {
	p.w = w
	w.open = p.verify
	w.device = protocol.CommandTarget{DeviceID: "device-1", MacSerial: "SERIAL", Epoch: "none"}
}

// verify counts the keys that have signed, and believes them: signatures have tests of
// their own.
func (p *modelPortal) verify(envelope *protocol.Envelope, trust *Trust) (*protocol.Command, error) {
	said, _, _ := claimed(envelope)
	command, known := p.w.commands[said.CommandID]
	if !known {
		command = *said
	}
	signed := 0
	for _, signature := range envelope.Signatures {
		if signature.KeyID == firstPerson || signature.KeyID == secondPerson {
			signed++
		}
	}
	if trust.Mode == "" || signed < max(1, trust.Thresholds[command.Type]) { // no mode is the model's word for a key that is trusted no more
		return &command, protocol.ErrSignature
	}
	return &command, nil
}

func (p *modelPortal) sign(payloadType string, payload []byte) protocol.Envelope {
	return protocol.Envelope{PayloadType: payloadType, Payload: base64.StdEncoding.EncodeToString(payload), Signatures: []protocol.Signature{{KeyID: firstPerson}}}
}

// save is one commit, before and after which the portal may crash.
func (p *modelPortal) save(next portalDisk) error {
	if err := p.w.server.mayWrite(); err != nil {
		return err
	}
	p.disk = next
	return p.w.server.point()
}

// restart replays the audit log, as the portal does when it starts (H30).
func (p *modelPortal) restart() {
	if len(p.lines) <= p.disk.mark || p.fault == "audit log not replayed" {
		return
	}
	missed, now := p.lines[p.disk.mark:], p.w.now
	p.disk.log.Freeze(fmt.Sprintf("the audit log has %d decisions more", len(missed)), now)
	for _, line := range missed {
		switch line.action {
		case audit.ActionCommand:
			p.disk.log.Restore(line.command, now)
		case audit.ActionCancelCommand:
			p.disk.log.CancelAgain(line.command.ID, storage.By{Admin: firstPerson, At: now})
		}
	}
	p.disk.mark = len(p.lines)
	p.w.happened["audit log replayed"]++
}

func (p *modelPortal) enroll(freshKey bool) (deviceID, serial, problem string) {
	if p.disk.isRetired {
		return "", "", isRetired
	}
	next := p.disk.clone()
	if freshKey {
		next.settle()
	}
	p.token++
	next.tokens = append(next.tokens, p.token)
	if p.fault != "enrolled again, not withheld" {
		next.log.Reenrolled(p.w.now)
	}
	if p.save(next) != nil {
		return "", "", noAnswer
	}
	return "device-1", "SERIAL", answered
}

func (p *modelPortal) checkin(m message) (reply protocol.CheckinReply, problem string) {
	switch {
	case p.disk.isRetired, !slices.Contains(p.disk.tokens, p.token):
		return reply, notKnown
	}
	next, now := p.disk.clone(), p.w.now
	word := storage.CommandWord{Epoch: m.epoch, Sequence: m.sequence, Open: m.open, Results: m.results, At: now}
	var sent storage.Delivery
	if isRepeat := m.requestID == next.request; isRepeat {
		sent = next.log.Deliver(word)
	} else {
		isAhead := !p.restoredAt.IsZero() && next.heardAt.Before(p.restoredAt) && (m.epoch != next.epoch || m.sequence != next.sequence+1)
		if m.epoch == next.epoch && m.sequence <= next.sequence {
			return reply, protocol.ProblemDuplicateIdentity
		}
		if isAhead && p.fault != "ahead, and not frozen" {
			next.log.Freeze("its report has another number", now)
		}
		next.epoch, next.sequence, next.request, next.heardAt = m.epoch, m.sequence, m.requestID, now
		next.log.Expire(now)
		if len(next.log.Commands) > 0 || len(m.open) > 0 || len(m.results) > 0 {
			next.log.Hear(word)
			sent = next.log.Deliver(word)
		}
		next.tokens = next.tokens[slices.Index(next.tokens, p.token):]
	}
	reply = protocol.CheckinReply{ServerTime: now, Inventory: protocol.InventoryOK, Cancel: sent.Cancel}
	for _, result := range m.results {
		reply.Acks = append(reply.Acks, protocol.Ack{CommandID: result.CommandID})
	}
	for _, id := range sent.Commands {
		reply.Commands = append(reply.Commands, next.envelopes[id])
	}
	if p.fault == "sent before it is kept" {
		_ = p.w.server.point()
		if !p.w.server.down {
			p.disk = next
		}
		return reply, answered
	}
	if p.save(next) != nil {
		return reply, noAnswer
	}
	return reply, answered
}

// decide records a decision and keeps it.
func (p *modelPortal) decide(action, id string, decide func(*portalDisk) error) bool {
	next := p.disk.clone()
	next.log.Expire(p.w.now)
	if decide(&next) != nil {
		return false
	}
	line := auditLine{action: action, command: storage.Command{ID: id}}
	if action == audit.ActionCommand {
		line.command = storageCommand(p.w.commands[id])
	}
	if p.w.server.mayWriteSecond() != nil {
		return false
	}
	p.lines = append(p.lines, line)
	next.mark = len(p.lines)
	if p.w.server.point() != nil {
		return false
	}
	err := p.save(next)
	if err != nil && !p.w.server.down {
		p.lines[len(p.lines)-1] = auditLine{} // it has failed, and a line says so
	}
	return err == nil
}

func storageCommand(command protocol.Command) storage.Command {
	return storage.Command{
		ID: command.CommandID, Type: command.Type, Target: command.Target, IssuedAt: command.IssuedAt, ExpiresAt: command.ExpiresAt,
		IssuedBy: command.IssuedBy, Reason: command.Reason, Needed: 1,
	}
}

func (p *modelPortal) issue(command protocol.Command) bool {
	if p.disk.isRetired || protocol.IsHazardous(command.Type) && command.Target.Epoch != p.disk.epoch {
		return false
	}
	return p.decide(audit.ActionCommand, command.CommandID, func(d *portalDisk) error {
		payload, err := json.Marshal(command)
		if err != nil {
			return err
		}
		issued := storageCommand(command)
		issued.Signers = []storage.Signer{{KeyID: firstPerson, Person: firstPerson, At: p.w.now}}
		if list, carries := p.w.lists[command.CommandID]; carries {
			issued.HoldsVersion, issued.Held = list.Version, len(list.Holds)
		}
		d.envelopes[command.CommandID] = p.sign(protocol.PayloadCommand, payload)
		return d.log.Add(issued, max(1, p.w.trust.Thresholds[command.Type]), storage.By{Admin: firstPerson, At: p.w.now})
	})
}

func (p *modelPortal) approve(id string) bool {
	return p.decide(audit.ActionApproveCommand, id, func(d *portalDisk) error {
		envelope := d.envelopes[id]
		envelope.Signatures = append(slices.Clone(envelope.Signatures), protocol.Signature{KeyID: secondPerson})
		d.envelopes[id] = envelope
		return d.log.Approve(id, storage.Signer{KeyID: secondPerson, Person: secondPerson, At: p.w.now})
	})
}

func (p *modelPortal) cancel(id string) bool {
	return p.decide(audit.ActionCancelCommand, id, func(d *portalDisk) error { return d.log.Cancel(id, p.by()) })
}

func (p *modelPortal) confirm(id string) bool {
	return p.decide(audit.ActionConfirmCommand, id, func(d *portalDisk) error { return d.log.Confirm(id, p.by()) })
}

func (p *modelPortal) by() storage.By {
	return storage.By{Admin: firstPerson, Reason: "test", At: p.w.now}
}

var errRefused = fmt.Errorf("refused")

func (p *modelPortal) thaw() bool {
	return p.decide(audit.ActionConfirm, "", func(d *portalDisk) error {
		if d.log.Frozen == nil {
			return errRefused
		}
		d.log.Thaw(p.by())
		return nil
	})
}

func (p *modelPortal) retire(lost bool) bool {
	return p.decide(audit.ActionRetire, "", func(d *portalDisk) error {
		switch {
		case d.isRetired, lost && p.w.now.Sub(d.heardAt) < lostAfter, !lost && len(d.log.ReasonsNotToRetire(p.w.now)) > 0:
			return errRefused
		}
		d.isRetired = true
		d.settle()
		return nil
	})
}

// lostAfter is as the portal's Freshness.
const lostAfter = 48 * time.Hour

func (p *modelPortal) revive() bool {
	return p.decide(audit.ActionApprove, "", func(d *portalDisk) error {
		if !d.isRetired {
			return errRefused
		}
		d.isRetired = false
		d.settle()
		return nil
	})
}

// settle is as that of storage.Device.
func (d *portalDisk) settle() { d.tokens, d.epoch, d.sequence, d.request = nil, "", 0, "" }

func (p *modelPortal) backUp() {
	saved := p.disk.clone()
	p.saved, p.savedLines = &saved, len(p.lines)
}

func (p *modelPortal) restore(auditToo bool) bool {
	if p.saved == nil {
		return false
	}
	p.disk, p.restoredAt = p.saved.clone(), p.w.now
	p.disk.log.PutBack(p.restoredAt, p.w.now)
	if auditToo {
		p.lines = p.lines[:p.savedLines]
	}
	p.restart()
	return true
}

func (p *modelPortal) order(id string) (portalOrder, bool) { return orderOf(&p.disk.log, id) }

func orderOf(log *storage.CommandLog, id string) (portalOrder, bool) {
	c := log.Find(id)
	if c == nil {
		return portalOrder{}, false
	}
	order := portalOrder{state: c.State, code: c.Code, hasResult: c.Result != nil, epoch: c.Epoch, orphan: c.Orphan}
	if c.Withheld != nil {
		order.withheld = c.Withheld.Because
	}
	return order, true
}

func (p *modelPortal) base() (next uint64, commandID string) {
	return p.disk.log.NextHolds(), p.disk.log.Base().CommandID
}

func (p *modelPortal) stop() {}

func newModelPortal(fault string) *modelPortal {
	return &modelPortal{fault: fault, disk: portalDisk{envelopes: map[string]protocol.Envelope{}}}
}
