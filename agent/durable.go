package agent

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"prlagent/agent/protocol"
	"prlagent/agent/trigger"
	"prlagent/store"
)

// scheduleRecord is what of the loop's state survives a stop or a crash: what
// no report has told yet, and how patient the agent must be. Due times are not
// in it where they follow from the last check-in, which the exchange keeps.
type scheduleRecord struct {
	SavedAt      time.Time             `json:"saved_at"`
	Owed         []protocol.Trigger    `json:"owed,omitempty"`
	OweAt        time.Time             `json:"owe_at,omitzero"`
	Bucket       trigger.Bucket        `json:"bucket"`
	LastExchange time.Time             `json:"last_exchange,omitzero"`
	Failures     int                   `json:"failures,omitempty"`
	FailingSince time.Time             `json:"failing_since,omitzero"`
	NoRetry      bool                  `json:"no_retry,omitempty"`
	RetryAt      time.Time             `json:"retry_at,omitzero"`
	NotBefore    time.Time             `json:"not_before,omitzero"`
	Splay        time.Duration         `json:"splay,omitempty"`
	DailyAt      time.Time             `json:"daily_at,omitzero"`
	Product      trigger.ProductBelief `json:"product,omitzero"`
}

var schedules = store.NewCollection[scheduleRecord]("schedule")

const scheduleKey = "loop"

// record is the state as it is kept, with the reasons of the pass that runs as
// far as no stored report has them.
func (s loopState) record(inPass trigger.Set) scheduleRecord {
	owed := inPass.Merge(s.Owed).Merge(s.Waiting).Triggers()
	return scheduleRecord{
		SavedAt: s.Seen,
		Owed:    slices.DeleteFunc(owed, recurs), OweAt: s.OweAt,
		Bucket: s.Bucket, LastExchange: s.LastExchange,
		Failures: s.Failures, FailingSince: s.FailingSince, NoRetry: s.NoRetry, RetryAt: s.RetryAt, NotBefore: s.NotBefore,
		Splay: s.Splay, DailyAt: s.DailyAt, Product: s.Beliefs.Product,
	}
}

func recurs(entry protocol.Trigger) bool { return trigger.Kinds[trigger.Reason(entry.Reason)].Recurs }

// recall is the state that begins where the record ends.
func (r scheduleRecord) recall(vms []protocol.VM) loopState {
	return loopState{
		Seen: r.SavedAt, Beliefs: trigger.Remember(vms, r.Product),
		Owed: trigger.SetOf(r.Owed), OweAt: r.OweAt,
		Bucket: r.Bucket, LastExchange: r.LastExchange,
		Failures: r.Failures, FailingSince: r.FailingSince, NoRetry: r.NoRetry, RetryAt: r.RetryAt, NotBefore: r.NotBefore,
		Splay: r.Splay, DailyAt: r.DailyAt,
	}
}

// mustBeKept says that a crash would lose something if the record stayed as the
// older one. Counts, tokens and due times are worth no commit of their own.
func (r scheduleRecord) mustBeKept(older scheduleRecord) bool {
	return trigger.SetOf(older.Owed).Adds(trigger.SetOf(r.Owed)) || trigger.SetOf(r.Owed).Adds(trigger.SetOf(older.Owed)) ||
		r.Failures != older.Failures || r.NoRetry != older.NoRetry || r.Product != older.Product
}

// scheduleKeeper keeps the record up to date with as few commits as possible.
// The loop says what its state is, and the exchange what it stored: both write
// the same record, each in its own transaction.
type scheduleKeeper struct {
	store *store.Store
	log   zerolog.Logger

	mu    sync.Mutex // taken within a transaction, never around one
	state loopState
	left  *trigger.Set // reasons of the pass that no stored report has; nil = all of them
	kept  scheduleRecord
}

// load gives the record of before, and whether there is one.
func (k *scheduleKeeper) load() (record scheduleRecord, found bool) {
	err := k.store.View(func(tx *store.Tx) (err error) {
		record, found, err = schedules.Get(tx, scheduleKey)
		return err
	})
	if err != nil {
		k.log.Error().Err(err).Msg("recall the schedule")
		return scheduleRecord{}, false
	}
	k.kept = record
	return record, found
}

// begin says that a new pass has all its reasons before it.
func (k *scheduleKeeper) begin() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.left = nil
}

// note takes the loop's state in, and keeps it if a crash would lose something.
func (k *scheduleKeeper) note(state loopState) {
	k.mu.Lock()
	k.state = state
	must := k.record().mustBeKept(k.kept)
	k.mu.Unlock()
	if !must {
		return
	}
	if err := k.store.Update(k.put); err != nil {
		k.log.Error().Err(err).Msg("keep the schedule") // the next change tries again
	}
}

// keep is checkin.Extra.Keep.
func (k *scheduleKeeper) keep(tx *store.Tx, left []protocol.Trigger) error {
	k.mu.Lock()
	set := trigger.SetOf(left)
	k.left = &set
	k.mu.Unlock()
	return k.put(tx)
}

func (k *scheduleKeeper) put(tx *store.Tx) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	record := k.record()
	if err := schedules.Put(tx, scheduleKey, record); err != nil {
		return fmt.Errorf("keep the schedule: %w", err)
	}
	k.kept = record
	return nil
}

// record must be called with the lock held.
func (k *scheduleKeeper) record() scheduleRecord {
	if k.left != nil && k.state.running() {
		return k.state.record(*k.left)
	}
	return k.state.record(k.state.InPass)
}
