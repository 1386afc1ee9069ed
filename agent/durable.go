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
	SavedAt      time.Time          `json:"saved_at"`
	Origin       string             `json:"origin,omitempty"`
	Owed         []protocol.Trigger `json:"owed,omitempty"`
	OweAt        time.Time          `json:"owe_at,omitzero"`
	Bucket       trigger.Bucket     `json:"bucket"`
	LastExchange time.Time          `json:"last_exchange,omitzero"`
	Failures     int                `json:"failures,omitempty"`
	FailingSince time.Time          `json:"failing_since,omitzero"`
	NoRetry      bool               `json:"no_retry,omitempty"`
	RetryAt      time.Time          `json:"retry_at,omitzero"`
	NotBefore    time.Time          `json:"not_before,omitzero"`
	Splay        time.Duration      `json:"splay,omitempty"`
	DailyAt      time.Time          `json:"daily_at,omitzero"`
	// Beliefs are kept with the reasons that made them: kept apart, a crash
	// between the two would lose a reason or tell it twice.
	Beliefs trigger.Beliefs `json:"beliefs"`
}

var schedules = store.NewCollection[scheduleRecord]("schedule")

const scheduleKey = "loop"

// record is the state as it is kept, with the reasons of the pass that runs as
// far as no stored report has them. Without a portal none are kept.
func (s loopState) record(inPass trigger.Set) scheduleRecord {
	owed := inPass.Merge(s.Owed).Merge(s.Waiting)
	if !s.Portal {
		owed = trigger.Set{}
	}
	return scheduleRecord{
		SavedAt: s.Seen, Origin: s.Origin,
		Owed: slices.DeleteFunc(owed.Limited(protocol.MaxTriggers).Triggers(), recurs), OweAt: s.OweAt,
		Bucket: s.Bucket, LastExchange: s.LastExchange,
		Failures: s.Failures, FailingSince: s.FailingSince, NoRetry: s.NoRetry, RetryAt: s.RetryAt, NotBefore: s.NotBefore,
		Splay: s.Splay, DailyAt: s.DailyAt, Beliefs: s.Beliefs,
	}
}

func recurs(entry protocol.Trigger) bool { return trigger.Kinds[trigger.Reason(entry.Reason)].Recurs }

// recall is the state that begins where the record ends.
func (r scheduleRecord) recall() loopState {
	return loopState{
		Seen: r.SavedAt, Origin: r.Origin, Beliefs: r.Beliefs,
		Owed: trigger.SetOf(r.Owed), OweAt: r.OweAt,
		Bucket: r.Bucket, LastExchange: r.LastExchange,
		Failures: r.Failures, FailingSince: r.FailingSince, NoRetry: r.NoRetry, RetryAt: r.RetryAt, NotBefore: r.NotBefore,
		Splay: r.Splay, DailyAt: r.DailyAt,
	}
}

// mustBeKept says that a crash would lose something if the record stayed as the
// older one. Counts, tokens and due times are worth no commit of their own, and
// neither is a belief that gave no reason: it would give none again.
func (r scheduleRecord) mustBeKept(older scheduleRecord) bool {
	now, before := trigger.SetOf(r.Owed), trigger.SetOf(older.Owed)
	return before.Adds(now) || now.Adds(before) ||
		r.Failures != older.Failures || r.NoRetry != older.NoRetry ||
		r.Beliefs.Known != older.Beliefs.Known || r.Beliefs.Product != older.Beliefs.Product
}

// scheduleKeeper keeps the record up to date with as few commits as possible.
// The loop says what its state is, and the exchange what it stored: both write
// the same record, each in its own transaction.
type scheduleKeeper struct {
	store *store.Store
	log   zerolog.Logger

	kept scheduleRecord // what is on the disk, as far as the loop knows

	mu    sync.Mutex // taken within a transaction, never around one
	state loopState
	left  *trigger.Set // reasons of the pass that no stored report has; nil = all of them
	stale bool         // the exchange has written a record since
}

// load gives the record of before, and whether there is one.
func (k *scheduleKeeper) load() (scheduleRecord, bool) {
	record, found, err := k.read()
	if err != nil {
		k.log.Error().Err(err).Msg("recall the schedule")
		return scheduleRecord{}, false
	}
	k.kept = record
	return record, found
}

func (k *scheduleKeeper) read() (record scheduleRecord, found bool, err error) {
	err = k.store.View(func(tx *store.Tx) (err error) {
		record, found, err = schedules.Get(tx, scheduleKey)
		return err
	})
	return record, found, err
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
	record, stale := k.record(), k.stale
	k.stale = false
	k.mu.Unlock()
	if stale {
		if onDisk, _, err := k.read(); err == nil {
			k.kept = onDisk
		}
	}
	if !record.mustBeKept(k.kept) {
		return
	}
	err := k.store.Update(func(tx *store.Tx) error { return schedules.Put(tx, scheduleKey, record) })
	if err != nil {
		k.log.Error().Err(err).Msg("keep the schedule") // the next event tries again
		return
	}
	k.kept = record
}

// keep is checkin.Extra.Keep. Whether its commit succeeds only note can tell.
func (k *scheduleKeeper) keep(tx *store.Tx, left []protocol.Trigger) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	set := trigger.SetOf(left)
	k.left, k.stale = &set, true
	if err := schedules.Put(tx, scheduleKey, k.record()); err != nil {
		return fmt.Errorf("keep the schedule: %w", err)
	}
	return nil
}

// record must be called with the lock held.
func (k *scheduleKeeper) record() scheduleRecord {
	if k.left != nil && k.state.running() {
		return k.state.record(*k.left)
	}
	return k.state.record(k.state.InPass)
}
