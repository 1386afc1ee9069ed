package checkin

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"prlagent/agent/outbox"
	"prlagent/agent/protocol"
	"prlagent/store"
)

// pass is one Do.
type pass struct {
	client    *Client
	ctx       context.Context
	report    *protocol.Report
	extra     Extra
	outcome   Outcome
	inherited []protocol.Trigger // of a stored report that the next one replaces
	givenUp   uint64             // up to this event the portal would not have any; 0 = none
	record    exchangeRecord
	base      protocol.Baseline
	reacted   map[string]bool // problems that were reacted to; each once
	roundTrip time.Duration   // of the last answer
}

func (p *pass) run() error {
	if p.client.options.ServerURL == nil {
		return &Error{Code: protocol.CodeNotConfigured, Err: errors.New("no ServerURL is configured")}
	}
	if err := p.client.loadIdentity(); err != nil {
		return err
	}
	if p.client.wasReplaced() {
		p.notice(protocol.CodeIdentityReset, map[string]string{"reason": "node.json was damaged; it is kept as node.json.damaged"})
	}
	if err := p.ensureEnrolled(); err != nil {
		return err
	}
	if err := p.exchangeReports(); err != nil {
		return err
	}
	return p.refreshContent(p.outcome.Reply.Policy)
}

// exchangeReports sends the unanswered report of before, then this one if it
// says anything else, then everything if the portal asks for it.
func (p *pass) exchangeReports() error {
	found, expired, err := readStanding(p.client.options.Store, origin(p.client.options.ServerURL), p.client.options.Now())
	if err != nil {
		return err
	}
	p.record, p.base = found.record, found.base
	if expired != nil {
		p.inherited = expired.Triggers
	}
	if found.pending != nil {
		resumed := *found.pending
		if err := p.deliver(resumed); err != nil {
			return err
		}
		enough, err := p.saidBy(resumed)
		if err != nil || enough {
			return err
		}
	}
	if err := p.sendReport(); err != nil {
		return err
	}
	if p.outcome.Reply.Inventory != protocol.InventorySendFull {
		return nil
	}
	p.outcome.SendFull = true
	return p.sendReport()
}

func (p *pass) sendReport() error {
	pending, err := p.prepare(protocol.MaxEvents)
	if err != nil {
		return err
	}
	return p.deliver(pending)
}

// saidBy tells whether an older report that was just acknowledged has told the
// portal everything that this one would.
func (p *pass) saidBy(older pendingRecord) (bool, error) {
	now, err := p.report.Baseline()
	if err != nil {
		return false, fmt.Errorf("hash report: %w", err)
	}
	sent := make(map[string]bool, len(older.Results))
	for _, id := range older.Results {
		sent[id] = true
	}
	unsent, err := p.client.options.Outbox.Unsent()
	if err != nil {
		return false, err
	}
	news := now.Hash != p.base.Hash || len(p.client.options.Outbox.Carried()) > 0 || len(unsent) > 0
	for _, result := range p.extra.Results {
		news = news || !sent[result.CommandID]
	}
	return !news, nil
}

// prepare makes the next report, with at most that many events, and stores it
// before anybody sends it.
func (p *pass) prepare(events int) (pendingRecord, error) {
	pending, err := p.compose(events)
	if err != nil {
		return pendingRecord{}, err
	}
	err = p.client.options.Outbox.Update(func(tx *store.Tx, change *outbox.Change) error {
		change.Seal()
		change.Settle(p.givenUp)
		return pendings.Put(tx, onlyKey, pending)
	})
	if err != nil {
		return pendingRecord{}, fmt.Errorf("store report: %w", err)
	}
	p.inherited = nil // they are in the stored report now
	return pending, nil
}

// compose builds the report's exact bytes. If it is too large, half of its
// events wait for the next report, the newer ones: what is acknowledged is
// everything up to a number.
func (p *pass) compose(events int) (pendingRecord, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return pendingRecord{}, fmt.Errorf("make request id: %w", err)
	}
	unsent, err := p.client.options.Outbox.Unsent()
	if err != nil {
		return pendingRecord{}, err
	}
	triggers := reportTriggers(p.inherited, p.client.options.Outbox.Carried())
	now := p.client.options.Now().UTC()
	pending := pendingRecord{
		Epoch: p.record.Epoch, Origin: p.record.Origin, RequestID: id.String(),
		Sequence: p.record.Sequence + 1, CreatedAt: now, Triggers: triggers,
	}
	request := protocol.CheckinRequest{
		Protocol: protocol.Version, RequestID: pending.RequestID, Epoch: pending.Epoch, Sequence: pending.Sequence,
		SentAt: now.Truncate(time.Second), Triggers: triggers,
		OpenCommands: p.extra.OpenCommands, Results: p.extra.Results,
	}
	request.Events = unsent[:min(len(unsent), events)]
	baseline, err := p.report.Fill(&request, p.base)
	if err != nil {
		return pendingRecord{}, fmt.Errorf("fill report: %w", err)
	}
	if baseline.Hash != p.base.Hash {
		pending.Baseline = &baseline
	}
	if pending.Body, err = json.Marshal(request); err != nil {
		return pendingRecord{}, fmt.Errorf("encode report: %w", err)
	}
	if tooLarge(pending.Body) {
		if len(request.Events) > 0 {
			return p.compose(len(request.Events) / 2)
		}
		return pendingRecord{}, &Error{Code: protocol.CodeReportTooLarge, Err: errors.New("the report is larger than the protocol allows")}
	}
	pending.note(request)
	return pending, nil
}

// note keeps what of the request must be known once it is acknowledged.
func (r *pendingRecord) note(request protocol.CheckinRequest) {
	for _, result := range request.Results {
		r.Results = append(r.Results, result.CommandID)
	}
	r.Events = len(request.Events)
	for _, event := range request.Events {
		r.LastEvent = max(r.LastEvent, event.Seq)
	}
}

func tooLarge(body []byte) bool {
	if len(body) > protocol.MaxRequest {
		return true
	}
	packed, _ := pack(body)
	return len(packed) > protocol.MaxRequestGzip
}

// deliver sends a stored report until it is acknowledged, or until there is
// nothing left to try. Each of our problems is reacted to once.
func (p *pass) deliver(pending pendingRecord) error {
	for {
		reply, err := p.send(pending)
		if err == nil {
			return p.accept(pending, reply)
		}
		var problem protocol.Problem
		if !errors.As(err, &problem) {
			return err
		}
		name := problem.Name()
		react, known := reactions[name]
		if !known || p.reacted[name] {
			return p.giveUp(pending, problem, err)
		}
		p.reacted[name] = true
		if pending, err = react(p, pending, problem, err); err != nil {
			return err
		}
	}
}

func (p *pass) send(pending pendingRecord) (protocol.CheckinReply, error) {
	body, packed := pending.Body, false
	if !p.client.plain {
		body, packed = pack(pending.Body)
	}
	began := p.client.options.Elapsed()
	got, err := p.client.exchange(p.ctx, call{
		method: http.MethodPost, url: p.client.options.ServerURL.JoinPath("v1", "checkin"), token: p.client.identity().token,
		body: body, packed: packed, limit: protocol.MaxReply,
	})
	if err != nil {
		return protocol.CheckinReply{}, err
	}
	if got.status != http.StatusOK {
		return protocol.CheckinReply{}, got.refusal(p.client.options.Now())
	}
	p.roundTrip = min(p.client.options.Elapsed()-began, requestLimit)
	reply, err := parseReply(got)
	if err != nil {
		return protocol.CheckinReply{}, replyError(err)
	}
	return reply, nil
}

// accept stores what the portal has acknowledged, in one commit.
func (p *pass) accept(pending pendingRecord, reply protocol.CheckinReply) error {
	p.record.Sequence = pending.Sequence
	p.record.LastSuccess = p.client.options.Now().UTC()
	p.record.NextCheckin = p.client.cadence(reply.NextCheckin)
	if err := p.adoptGroup(reply.Group); err != nil {
		return err
	}
	clock, err := p.hearTime(reply.ServerTime)
	if err != nil {
		return err
	}
	full := reply.Inventory == protocol.InventorySendFull
	switch {
	case full:
		p.base = protocol.Baseline{}
	case pending.Baseline != nil:
		p.base = *pending.Baseline
	}
	err = p.client.options.Outbox.Update(func(tx *store.Tx, change *outbox.Change) error {
		change.Settle(pending.LastEvent)
		var base error
		if full {
			base = baselines.Delete(tx, onlyKey)
		} else if pending.Baseline != nil {
			base = baselines.Put(tx, onlyKey, *pending.Baseline)
		}
		return errors.Join(base, exchanges.Put(tx, onlyKey, p.record), clocks.Put(tx, onlyKey, clock), pendings.Delete(tx, onlyKey))
	})
	if err != nil {
		return fmt.Errorf("store acknowledgement: %w", err)
	}
	p.keep(pending, reply)
	return nil
}

// keep puts the reply into the outcome; acknowledgements of an earlier reply of
// the same pass stay.
func (p *pass) keep(pending pendingRecord, reply protocol.CheckinReply) {
	if p.outcome.Reply != nil {
		reply.Acks = append(p.outcome.Reply.Acks, reply.Acks...)
	}
	p.outcome.Reply = &reply
	p.outcome.NextCheckin = time.Duration(p.record.NextCheckin) * time.Second
	p.outcome.Splay = time.Duration(max(reply.SplaySecs, 0)) * time.Second
}

// cadence clamps what the portal asks for, in seconds; nothing asked stays
// nothing.
func (c *Client) cadence(asked int) int {
	if asked <= 0 {
		return 0
	}
	low, high := c.options.Timing.CadenceMinimum, c.options.Timing.CadenceMaximum
	return min(max(asked, int(low.Seconds())), int(high.Seconds()))
}

// parseReply reads an acknowledgement. A captive network's page has the wrong
// media type or no sense, and is a failure.
func parseReply(got answer) (protocol.CheckinReply, error) {
	var reply protocol.CheckinReply
	if err := decodeJSON(got, &reply); err != nil {
		return protocol.CheckinReply{}, err
	}
	if reply.Inventory != protocol.InventoryOK && reply.Inventory != protocol.InventorySendFull {
		return protocol.CheckinReply{}, errors.New("the answer does not say what became of the inventory")
	}
	if group := reply.Group; group.ID != "" && !plainText(group.ID) || len(group.Name) > protocol.MaxName || len(group.Source) > protocol.MaxName {
		return protocol.CheckinReply{}, errors.New("the answer names an unusable group")
	}
	// Delivery is level-triggered: what is cut off comes again.
	reply.Commands = reply.Commands[:min(len(reply.Commands), protocol.MaxCommandReply)]
	return reply, nil
}

func decodeJSON(got answer, v any) error {
	if err := got.checkMedia(); err != nil {
		return err
	}
	return protocol.Decode(got.body, protocol.MaxReply, v)
}

// plainText accepts what may stand in a header, a path and a table.
func plainText(text string) bool {
	odd := func(r rune) bool { return r <= ' ' || r >= 0x7f }
	return text != "" && len(text) <= protocol.MaxName && !strings.ContainsFunc(text, odd)
}

func publicKey(key ed25519.PrivateKey) ed25519.PublicKey {
	public, _ := key.Public().(ed25519.PublicKey)
	return public
}
