package checkin

import (
	"cmp"
	"sort"
	"time"

	"prlagent/agent/protocol"
	"prlagent/store"
)

// exchangeRecord is where the exchange with one portal stands.
type exchangeRecord struct {
	Epoch       string         `json:"epoch"`
	Origin      string         `json:"origin"`
	Sequence    uint64         `json:"sequence"` // the last one acknowledged
	Group       protocol.Group `json:"group"`    // the last one believed
	LastSuccess time.Time      `json:"last_success"`
	NextCheckin int            `json:"next_checkin_s,omitempty"`
}

// pendingRecord is a report that was about to be sent and is not answered yet.
type pendingRecord struct {
	Epoch     string             `json:"epoch"`
	Origin    string             `json:"origin"`
	RequestID string             `json:"request_id"`
	Sequence  uint64             `json:"sequence"`
	CreatedAt time.Time          `json:"created_at"`
	Body      []byte             `json:"body"`
	Baseline  *protocol.Baseline `json:"baseline,omitempty"` // once acknowledged; nil = as before
	Triggers  []protocol.Trigger `json:"triggers"`
	Results   []string           `json:"results,omitempty"` // command ids
	LastEvent uint64             `json:"last_event,omitempty"`
	Events    int                `json:"events,omitempty"` // how many
	Lost      int                `json:"lost,omitempty"`   // events before the last one that no ring has any more
	Privacy   protocol.Privacy   `json:"privacy,omitzero"` // that it was made with
}

// pendingLife is how long an unanswered report is worth repeating: as long as a
// portal keeps its answer (protocol.md 2.6).
const pendingLife = 24 * time.Hour

// Every collection has one record, under this key, unless it says otherwise.
const onlyKey = "current"

var (
	exchangeRecords = store.Collection[*exchangeRecord]{Name: "checkin_exchange"}
	baselineRecords = store.Collection[*protocol.Baseline]{Name: "checkin_baseline"}
	pendingRecords  = store.Collection[*pendingRecord]{Name: "checkin_pending"}
)

// Collections names what this package keeps in the store.
func Collections() []string {
	return []string{exchangeRecords.Name, baselineRecords.Name, pendingRecords.Name, clockRecords.Name,
		siteRecords.Name, headMarks.Name, policyRecords.Name, contentProblems.Name}
}

// storedState is what the store says before a report.
type storedState struct {
	record   exchangeRecord
	baseline protocol.Baseline
	pending  *pendingRecord
}

// readStoredState loads where the exchange stands. With another epoch or another
// portal nothing that was acknowledged counts; a pending report of theirs, one
// that is too old, or one with names that are not told any more (INV-32) is
// returned as expired.
//
// Numbers rise through an epoch whatever the portal's address is: the same
// portal may be behind another one, or be the one of before again, and a number
// used twice is a copy of this Mac to it (H02).
func readStoredState(s *store.Store, origin string, privacy protocol.Privacy, now time.Time) (found *storedState, expired *pendingRecord, err error) {
	found = &storedState{}
	epoch := s.Epoch()
	pending := &pendingRecord{}
	var unanswered bool
	err = s.View(func(tx *store.Tx) error {
		if _, err = exchangeRecords.Get(tx, onlyKey, &found.record); err != nil {
			return err
		}
		if _, err = baselineRecords.Get(tx, onlyKey, &found.baseline); err != nil {
			return err
		}
		unanswered, err = pendingRecords.Get(tx, onlyKey, pending)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	if found.record.Epoch != epoch {
		found = &storedState{record: exchangeRecord{Epoch: epoch, Origin: origin}}
	} else if found.record.Origin != origin {
		found = &storedState{record: exchangeRecord{Epoch: epoch, Origin: origin, Sequence: found.record.Sequence}}
	}
	if !unanswered {
		return found, nil, nil
	}
	sameEpoch := pending.Epoch == epoch
	if sameEpoch && pending.Origin == origin && pending.Privacy == privacy && now.Sub(pending.CreatedAt).Abs() < pendingLife {
		found.pending = pending
		return found, nil, nil
	}
	if sameEpoch { // a portal may have it: its number is used up
		found.record.Sequence = max(found.record.Sequence, pending.Sequence)
	}
	return found, pending, nil
}

// reportTriggers are triggers as a report has them: in whole seconds of UTC, and
// no more than fit. A long time offline collects many.
func reportTriggers(older, newer []protocol.Trigger) []protocol.Trigger {
	joined := protocol.CoalesceTriggers(older, newer)
	for i := range joined {
		joined[i].FirstAt = joined[i].FirstAt.UTC().Truncate(time.Second)
		joined[i].LastAt = joined[i].LastAt.UTC().Truncate(time.Second)
	}
	sort.SliceStable(joined, func(i, j int) bool {
		return cmp.Or(joined[i].FirstAt.Compare(joined[j].FirstAt), cmp.Compare(joined[i].Reason, joined[j].Reason)) < 0
	})
	return protocol.LimitTriggers(joined, protocol.MaxTriggers)
}
