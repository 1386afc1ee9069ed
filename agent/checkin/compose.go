package checkin

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"prlagent/agent/outbox"
	"prlagent/agent/protocol"
	"prlagent/store"
)

// prepareReport makes the next report, with at most that many events, and
// stores it before anybody sends it.
func (e *exchange) prepareReport(events int) (*pendingRecord, error) {
	pending, err := e.composeReport(events)
	if err != nil {
		return nil, err
	}
	err = e.client.options.Outbox.Update(func(tx *store.Tx, change *outbox.Change) error {
		change.Seal()
		change.Settle(e.droppedUpTo)
		return pendingRecords.Put(tx, onlyKey, pending)
	})
	if err != nil {
		return nil, fmt.Errorf("store report: %w", err)
	}
	e.inheritedTriggers = nil // they are in the stored report now
	return pending, nil
}

// composeReport builds the report's exact bytes. What does not fit is left for
// a later one (H51).
func (e *exchange) composeReport(events int) (*pendingRecord, error) {
	if e.record.Sequence >= protocol.MaxVersion {
		if err := e.renewEpoch("the numbers of reports are used up"); err != nil {
			return nil, err
		}
	}
	unsent, err := e.client.options.Outbox.Unsent()
	if err != nil {
		return nil, err
	}
	triggers := reportTriggers(e.inheritedTriggers, e.client.options.Outbox.Carried())
	now := e.client.options.Now().UTC()
	pending := &pendingRecord{
		Epoch: e.record.Epoch, Origin: e.record.Origin, RequestID: protocol.NewRequestID(now, protocol.RequestID{}).String(),
		Sequence: e.record.Sequence + 1, CreatedAt: now, Triggers: triggers, Privacy: e.client.options.Privacy,
	}
	composed, err := e.report.Compose(protocol.CheckinRequest{
		Protocol: protocol.Version, RequestID: pending.RequestID, Epoch: pending.Epoch, Sequence: pending.Sequence,
		SentAt: now.Truncate(time.Second), Triggers: triggers,
		OpenCommands: e.extra.OpenCommands, Results: e.extra.Results, Holds: e.extra.Holds, Events: e.client.options.Privacy.Events(unsent[:min(len(unsent), events)]),
	}, e.baseline, fitsWire)
	if errors.Is(err, protocol.ErrReportTooLarge) {
		return nil, withCode(protocol.CodeReportTooLarge, err)
	}
	if err != nil {
		return nil, fmt.Errorf("compose report: %w", err)
	}
	if composed.Baseline.Hash != e.baseline.Hash {
		pending.Baseline = &composed.Baseline
	}
	pending.Body, e.shed = composed.Body, composed.Shed
	if pending.Lost, err = e.client.options.Outbox.Lost(composed.Request.Events); err != nil {
		return nil, err
	}
	pending.noteRequest(&composed.Request)
	return pending, nil
}

// noteRequest keeps what of the request must be known once it is acknowledged.
func (r *pendingRecord) noteRequest(request *protocol.CheckinRequest) {
	for i := range request.Results {
		r.Results = append(r.Results, request.Results[i].CommandID)
	}
	r.Events = len(request.Events)
	for i := range request.Events {
		r.LastEvent = max(r.LastEvent, request.Events[i].Seq)
	}
}

// fitsWire reports whether a portal takes the body.
func fitsWire(body []byte) bool {
	if protocol.CheckRequest(body) != nil {
		return false
	}
	packed, _ := compressBody(body)
	return len(packed) <= protocol.MaxRequestGzip
}

// noteShed says that the portal does not have everything of this Mac, and that
// it was so for the first time.
func (e *exchange) noteShed() {
	before := e.client.trimmed
	if e.client.trimmed = e.shed.IsTrimmed(); !e.client.trimmed {
		return
	}
	detail := e.shed.String() + " wait for a report with more room"
	if e.outcome.Code == "" {
		e.outcome.Code, e.outcome.Detail = protocol.CodeReportTrimmed, detail
	}
	if !before {
		e.addEvent(protocol.CodeReportTrimmed, map[string]string{"detail": detail})
	}
}

// noteLostEvents says how many events the portal will never hear of.
func (e *exchange) noteLostEvents(count int) {
	if count > 0 {
		e.addEvent(protocol.CodeEventsDropped, map[string]string{"count": strconv.Itoa(count)})
	}
}

// judgeSequence is the number of the last report, so that the next one has the
// number that the portal expects. What it expects beyond what can be, once
// stored, would end check-ins for good: then a new epoch begins (H52).
func (e *exchange) judgeSequence(ours, expected uint64) (uint64, error) {
	switch {
	case expected <= ours: // none, or one that is used up
		return ours, nil
	case expected-ours <= protocol.MaxSequenceJump && expected <= protocol.MaxVersion:
		return expected - 1, nil
	}
	return 0, e.renewEpoch("the portal expected report " + strconv.FormatUint(expected, 10) + " after " + strconv.FormatUint(ours, 10))
}

// renewEpoch begins to count anew, with everything to be told.
func (e *exchange) renewEpoch(reason string) error {
	epoch, err := e.client.options.Store.NewEpoch()
	if err != nil {
		return fmt.Errorf("renew epoch: %w", err)
	}
	e.record.Epoch, e.record.Sequence, e.baseline = epoch, 0, protocol.Baseline{}
	e.outcome.Code, e.outcome.Detail = protocol.CodeEpochRenewed, reason
	e.addEvent(protocol.CodeEpochRenewed, map[string]string{"reason": reason})
	return nil
}
