package checkin

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"prlagent/agent/outbox"
	"prlagent/agent/protocol"
	"prlagent/platform/text"
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
	shed              protocol.Shed      // what the last report could not take along
	record            exchangeRecord
	baseline          protocol.Baseline
	reacted           map[string]bool // problems that were reacted to; each once
	roundTrip         time.Duration   // of the last answer
	anew              anew            // what is left to be done of that
}

func (e *exchange) run() error {
	if e.client.options.ServerURL == nil {
		return withCode(protocol.CodeNotConfigured, errors.New("no ServerURL is configured"))
	}
	if err := e.client.loadIdentity(); err != nil {
		return err
	}
	if e.client.takeReplaced() {
		e.addEvent(protocol.CodeIdentityReset, map[string]string{"reason": "node.json was damaged; it is kept as node.json.damaged"})
	}
	if err := e.shareMarks(); err != nil {
		return err
	}
	if err := e.ensureEnrolled(); err != nil {
		return err
	}
	if err := e.exchangeReports(); err != nil {
		return errors.Join(err, e.refreshContentAnyway(err))
	}
	e.noteShed()
	return e.refreshContent(e.outcome.Reply.Policy)
}

// exchangeReports sends the unanswered report of before, then this one if it
// says anything else, then everything if the portal asks for it.
func (e *exchange) exchangeReports() error {
	found, expired, err := readStoredState(e.client.options.Store, originOf(e.client.options.ServerURL), e.client.options.Privacy, e.client.options.Now())
	if err != nil {
		return err
	}
	e.record, e.baseline = found.record, found.baseline
	if expired != nil {
		e.inheritedTriggers = expired.Triggers
	}
	if found.pending != nil {
		if err := e.deliverReport(found.pending); err != nil {
			return err
		}
		enough, err := e.coveredBy(found.pending)
		if err != nil || enough && !e.anew.report {
			return err
		}
	}
	if e.anew.report {
		e.baseline = protocol.Baseline{}
	}
	if err := e.sendReport(); err != nil {
		return err
	}
	e.anew.report = false
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
func (e *exchange) coveredBy(older *pendingRecord) (bool, error) {
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
	for i := range e.extra.Results {
		news = news || !sent[e.extra.Results[i].CommandID]
	}
	return !news, nil
}

// deliverReport sends a stored report until it is acknowledged, or until there is
// nothing left to try. Each of our problems is reacted to once.
func (e *exchange) deliverReport(pending *pendingRecord) error {
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
		react := reactionTo(name)
		if react == nil || e.reacted[name] {
			return e.giveUp(pending, &problem, err)
		}
		e.reacted[name] = true
		if pending, err = react(e, pending, &problem, err); err != nil {
			return err
		}
	}
}

func (e *exchange) sendPending(pending *pendingRecord) (*protocol.CheckinReply, error) {
	body, packed := pending.Body, false
	if !e.client.noCompression {
		body, packed = compressBody(pending.Body)
	}
	began := e.client.options.Elapsed()
	got, err := e.client.sendRequest(e.ctx, &portalRequest{
		method: http.MethodPost, url: e.client.options.ServerURL.JoinPath("v1", "checkin"), token: e.client.currentIdentity().token,
		body: body, compressed: packed, limit: protocol.MaxReply,
	})
	if err != nil {
		return nil, err
	}
	if got.status != http.StatusOK {
		return nil, e.client.refusalError(got)
	}
	e.roundTrip = min(e.client.options.Elapsed()-began, requestLimit)
	reply, err := e.client.parseReply(got)
	if err != nil {
		return nil, replyError(err)
	}
	return reply, nil
}

// acceptReply stores what the portal has acknowledged, in one commit.
func (e *exchange) acceptReply(pending *pendingRecord, reply *protocol.CheckinReply) error {
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
	acknowledged := acknowledgedOf(pending.Results, reply.Acks)
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
			base = baselineRecords.Put(tx, onlyKey, pending.Baseline)
		}
		if e.extra.Settler != nil && len(acknowledged) > 0 {
			base = errors.Join(base, e.extra.Settler.Settle(tx, acknowledged))
		}
		return errors.Join(base, exchangeRecords.Put(tx, onlyKey, &e.record), clockRecords.Put(tx, onlyKey, clock), pendingRecords.Delete(tx, onlyKey))
	})
	if err != nil {
		return fmt.Errorf("store acknowledgement: %w", err)
	}
	if e.extra.Settler != nil && len(acknowledged) > 0 {
		e.extra.Settler.Settled(acknowledged)
	}
	e.client.noteSeen(reply.ServerTime, &clock.trustedTime)
	e.noteLostEvents(pending.Lost)
	e.keepReply(reply)
	return nil
}

// acknowledgedOf are the results of a report that its answer acknowledges.
func acknowledgedOf(results []string, acks []protocol.Ack) (ids []string) {
	for _, ack := range acks {
		if slices.Contains(results, ack.CommandID) {
			ids = append(ids, ack.CommandID)
		}
	}
	return ids
}

// keepReply puts the reply into the outcome; acknowledgements of an earlier
// reply of the same exchange stay.
func (e *exchange) keepReply(reply *protocol.CheckinReply) {
	if e.outcome.Reply != nil {
		reply.Acks = append(e.outcome.Reply.Acks, reply.Acks...)
	}
	e.outcome.Reply = reply
	e.outcome.NextCheckin = time.Duration(e.record.NextCheckin) * time.Second
	e.outcome.Splay = time.Duration(reply.SplaySecs) * time.Second
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
func (c *Client) parseReply(got *portalAnswer) (*protocol.CheckinReply, error) {
	var reply protocol.CheckinReply
	if err := decodeJSON(got, &reply); err != nil {
		return nil, err
	}
	if err := protocol.Bound(&reply); err != nil {
		return nil, err
	}
	if reply.Inventory != protocol.InventoryOK && reply.Inventory != protocol.InventorySendFull {
		return nil, errors.New("the answer does not say what became of the inventory")
	}
	if !isUsableGroup(&reply.Group, text.NewRedactor(c.currentIdentity().token)) {
		return nil, errors.New("the answer names an unusable group")
	}
	return &reply, nil
}

// isUsableGroup reports whether the group can be asked for and shown. The token
// must not come back as its name. The enrollment secret may: it can be made of
// the group's name.
func isUsableGroup(group *protocol.Group, token text.Redactor) bool {
	for _, part := range []string{group.ID, group.Name, group.Source} {
		if len(part) > protocol.MaxName || token.IsIn(part) {
			return false
		}
	}
	return group.ID == "" || protocol.ValidName(group.ID)
}

func decodeJSON(got *portalAnswer, v any) error {
	if err := got.checkMedia(); err != nil {
		return err
	}
	return protocol.DecodeReply(got.body, v)
}

// plainText accepts what may stand in a header.
func plainText(text string) bool {
	odd := func(r rune) bool { return r <= ' ' || r >= 0x7f }
	return text != "" && len(text) <= protocol.MaxName && !strings.ContainsFunc(text, odd)
}

func publicKey(key ed25519.PrivateKey) ed25519.PublicKey {
	public, _ := key.Public().(ed25519.PublicKey)
	return public
}
