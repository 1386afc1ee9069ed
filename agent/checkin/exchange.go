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

// exchange is one Do with the portal.
type exchange struct {
	client            *Client
	ctx               context.Context
	report            *protocol.Report
	extra             Extra
	outcome           Outcome
	inheritedTriggers []protocol.Trigger // of a stored report that the next one replaces
	droppedUpTo       uint64             // up to this event the portal would not have any; 0 = none
	record            exchangeRecord
	baseline          protocol.Baseline
	reacted           map[string]bool // problems that were reacted to; each once
	roundTrip         time.Duration   // of the last answer
}

func (e *exchange) run() error {
	if e.client.options.ServerURL == nil {
		return &exchangeError{Code: protocol.CodeNotConfigured, Err: errors.New("no ServerURL is configured")}
	}
	if err := e.client.loadIdentity(); err != nil {
		return err
	}
	if e.client.takeReplaced() {
		e.addEvent(protocol.CodeIdentityReset, map[string]string{"reason": "node.json was damaged; it is kept as node.json.damaged"})
	}
	if err := e.ensureEnrolled(); err != nil {
		return err
	}
	if err := e.exchangeReports(); err != nil {
		return err
	}
	return e.refreshContent(e.outcome.Reply.Policy)
}

// exchangeReports sends the unanswered report of before, then this one if it
// says anything else, then everything if the portal asks for it.
func (e *exchange) exchangeReports() error {
	found, expired, err := readStoredState(e.client.options.Store, originOf(e.client.options.ServerURL), e.client.options.Now())
	if err != nil {
		return err
	}
	e.record, e.baseline = found.record, found.baseline
	if expired != nil {
		e.inheritedTriggers = expired.Triggers
	}
	if found.pending != nil {
		resumed := *found.pending
		if err := e.deliverReport(resumed); err != nil {
			return err
		}
		enough, err := e.coveredBy(resumed)
		if err != nil || enough {
			return err
		}
	}
	if err := e.sendReport(); err != nil {
		return err
	}
	if e.outcome.Reply.Inventory != protocol.InventorySendFull {
		return nil
	}
	e.outcome.SendFull = true
	return e.sendReport()
}

func (e *exchange) sendReport() error {
	pending, err := e.prepareReport(protocol.MaxEvents)
	if err != nil {
		return err
	}
	return e.deliverReport(pending)
}

// coveredBy reports whether an older report that was just acknowledged has told
// the portal everything that this one would.
func (e *exchange) coveredBy(older pendingRecord) (bool, error) {
	now, err := e.report.Baseline()
	if err != nil {
		return false, fmt.Errorf("hash report: %w", err)
	}
	sent := make(map[string]bool, len(older.Results))
	for _, id := range older.Results {
		sent[id] = true
	}
	unsent, err := e.client.options.Outbox.Unsent()
	if err != nil {
		return false, err
	}
	news := now.Hash != e.baseline.Hash || len(e.client.options.Outbox.Carried()) > 0 || len(unsent) > 0
	for _, result := range e.extra.Results {
		news = news || !sent[result.CommandID]
	}
	return !news, nil
}

// prepareReport makes the next report, with at most that many events, and
// stores it before anybody sends it.
func (e *exchange) prepareReport(events int) (pendingRecord, error) {
	pending, err := e.composeReport(events)
	if err != nil {
		return pendingRecord{}, err
	}
	err = e.client.options.Outbox.Update(func(tx *store.Tx, change *outbox.Change) error {
		change.Seal()
		change.Settle(e.droppedUpTo)
		return pendingRecords.Put(tx, onlyKey, pending)
	})
	if err != nil {
		return pendingRecord{}, fmt.Errorf("store report: %w", err)
	}
	e.inheritedTriggers = nil // they are in the stored report now
	return pending, nil
}

// composeReport builds the report's exact bytes. If it is too large, half of its
// events wait for the next report, the newer ones: what is acknowledged is
// everything up to a number.
func (e *exchange) composeReport(events int) (pendingRecord, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return pendingRecord{}, fmt.Errorf("make request id: %w", err)
	}
	unsent, err := e.client.options.Outbox.Unsent()
	if err != nil {
		return pendingRecord{}, err
	}
	triggers := reportTriggers(e.inheritedTriggers, e.client.options.Outbox.Carried())
	now := e.client.options.Now().UTC()
	pending := pendingRecord{
		Epoch: e.record.Epoch, Origin: e.record.Origin, RequestID: id.String(),
		Sequence: e.record.Sequence + 1, CreatedAt: now, Triggers: triggers,
	}
	request := protocol.CheckinRequest{
		Protocol: protocol.Version, RequestID: pending.RequestID, Epoch: pending.Epoch, Sequence: pending.Sequence,
		SentAt: now.Truncate(time.Second), Triggers: triggers,
		OpenCommands: e.extra.OpenCommands, Results: e.extra.Results,
	}
	request.Events = unsent[:min(len(unsent), events)]
	baseline, err := e.report.Fill(&request, e.baseline)
	if err != nil {
		return pendingRecord{}, fmt.Errorf("fill report: %w", err)
	}
	if baseline.Hash != e.baseline.Hash {
		pending.Baseline = &baseline
	}
	if pending.Body, err = json.Marshal(request); err != nil {
		return pendingRecord{}, fmt.Errorf("encode report: %w", err)
	}
	if tooLarge(pending.Body) {
		if len(request.Events) > 0 {
			return e.composeReport(len(request.Events) / 2)
		}
		return pendingRecord{}, &exchangeError{Code: protocol.CodeReportTooLarge, Err: errors.New("the report is larger than the protocol allows")}
	}
	pending.noteRequest(request)
	return pending, nil
}

// noteRequest keeps what of the request must be known once it is acknowledged.
func (r *pendingRecord) noteRequest(request protocol.CheckinRequest) {
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
	packed, _ := compressBody(body)
	return len(packed) > protocol.MaxRequestGzip
}

// deliverReport sends a stored report until it is acknowledged, or until there is
// nothing left to try. Each of our problems is reacted to once.
func (e *exchange) deliverReport(pending pendingRecord) error {
	for {
		reply, err := e.sendPending(pending)
		if err == nil {
			return e.acceptReply(pending, reply)
		}
		var problem protocol.Problem
		if !errors.As(err, &problem) {
			return err
		}
		name := problem.Name()
		react, known := problemReactions[name]
		if !known || e.reacted[name] {
			return e.giveUp(pending, problem, err)
		}
		e.reacted[name] = true
		if pending, err = react(e, pending, problem, err); err != nil {
			return err
		}
	}
}

func (e *exchange) sendPending(pending pendingRecord) (protocol.CheckinReply, error) {
	body, packed := pending.Body, false
	if !e.client.noCompression {
		body, packed = compressBody(pending.Body)
	}
	began := e.client.options.Elapsed()
	got, err := e.client.sendRequest(e.ctx, portalRequest{
		method: http.MethodPost, url: e.client.options.ServerURL.JoinPath("v1", "checkin"), token: e.client.currentIdentity().token,
		body: body, compressed: packed, limit: protocol.MaxReply,
	})
	if err != nil {
		return protocol.CheckinReply{}, err
	}
	if got.status != http.StatusOK {
		return protocol.CheckinReply{}, got.refusalError(e.client.options.Now())
	}
	e.roundTrip = min(e.client.options.Elapsed()-began, requestLimit)
	reply, err := parseReply(got)
	if err != nil {
		return protocol.CheckinReply{}, replyError(err)
	}
	return reply, nil
}

// acceptReply stores what the portal has acknowledged, in one commit.
func (e *exchange) acceptReply(pending pendingRecord, reply protocol.CheckinReply) error {
	e.record.Sequence = pending.Sequence
	e.record.LastSuccess = e.client.options.Now().UTC()
	e.record.NextCheckin = e.client.clampCadence(reply.NextCheckin)
	if err := e.adoptGroup(reply.Group); err != nil {
		return err
	}
	clock, err := e.noteServerTime(reply.ServerTime)
	if err != nil {
		return err
	}
	full := reply.Inventory == protocol.InventorySendFull
	switch {
	case full:
		e.baseline = protocol.Baseline{}
	case pending.Baseline != nil:
		e.baseline = *pending.Baseline
	}
	err = e.client.options.Outbox.Update(func(tx *store.Tx, change *outbox.Change) error {
		change.Settle(pending.LastEvent)
		var base error
		if full {
			base = baselineRecords.Delete(tx, onlyKey)
		} else if pending.Baseline != nil {
			base = baselineRecords.Put(tx, onlyKey, *pending.Baseline)
		}
		return errors.Join(base, exchangeRecords.Put(tx, onlyKey, e.record), clockRecords.Put(tx, onlyKey, clock), pendingRecords.Delete(tx, onlyKey))
	})
	if err != nil {
		return fmt.Errorf("store acknowledgement: %w", err)
	}
	e.keepReply(pending, reply)
	return nil
}

// keepReply puts the reply into the outcome; acknowledgements of an earlier
// reply of the same exchange stay.
func (e *exchange) keepReply(pending pendingRecord, reply protocol.CheckinReply) {
	if e.outcome.Reply != nil {
		reply.Acks = append(e.outcome.Reply.Acks, reply.Acks...)
	}
	e.outcome.Reply = &reply
	e.outcome.NextCheckin = time.Duration(e.record.NextCheckin) * time.Second
	e.outcome.Splay = time.Duration(max(reply.SplaySecs, 0)) * time.Second
}

// clampCadence clamps what the portal asks for, in seconds; nothing asked stays
// nothing.
func (c *Client) clampCadence(asked int) int {
	if asked <= 0 {
		return 0
	}
	low, high := c.options.Timing.CadenceMinimum, c.options.Timing.CadenceMaximum
	return min(max(asked, int(low.Seconds())), int(high.Seconds()))
}

// parseReply reads an acknowledgement. A captive network's page has the wrong
// media type or no sense, and is a failure.
func parseReply(got portalAnswer) (protocol.CheckinReply, error) {
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

func decodeJSON(got portalAnswer, v any) error {
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
