// Package outbox holds what the portal must still hear: the reasons of
// check-ins and the events of this Mac. What a report takes along is sealed in
// the very commit that stores the report, and settled in the commit that stores
// its acknowledgement; so whenever the agent is killed, everything is in exactly
// one place, and nothing is lost or told twice.
//
// The loop decides when there is a reason to check in. An exchange carries the
// reasons that the loop gave it; what none carries waits.
package outbox

import (
	"fmt"
	"slices"
	"sync"

	"prlagent/agent/protocol"
	"prlagent/store"
)

// Events is the ring of what happened on this Mac.
type Events interface {
	// EventsSince gives the oldest events after seq, at most limit, and the
	// number to go on with.
	EventsSince(seq uint64, limit int) ([]protocol.Event, uint64, error)
}

// reasonsRecord is what of the outbox is on disk.
type reasonsRecord struct {
	Reasons []protocol.Trigger `json:"reasons,omitempty"` // in no stored report
}

var (
	reasonRecords = store.Collection[*reasonsRecord]{Name: "outbox"}
	eventMarks    = store.Collection[*uint64]{Name: "marks"}
)

// Keys of the only records.
const (
	reasonsKey = "reasons"
	eventsKey  = "events_sent" // the highest event that the portal has
)

// Collections names what this package keeps in the store.
func Collections() []string {
	return []string{reasonRecords.Name, eventMarks.Name}
}

// Outbox is safe for concurrent use: the loop and one exchange share it.
type Outbox struct {
	store  *store.Store
	events Events
	lasts  func(protocol.Trigger) bool

	mu       sync.Mutex // taken around a transaction, never within one
	reasons  openReasons
	together func(*store.Tx) error // see Wait
}

// openReasons are the reasons that no stored report has. It is a value, so that a
// commit that fails leaves what was.
type openReasons struct {
	waiting []protocol.Trigger // that no exchange carries
	carried []protocol.Trigger // by the exchange that runs
	kept    []protocol.Trigger // that are on disk
}

// New makes an outbox. lasts reports whether a reason must survive a restart:
// others come again by themselves.
func New(state *store.Store, events Events, lasts func(protocol.Trigger) bool) *Outbox {
	return &Outbox{store: state, events: events, lasts: lasts}
}

// Load gives the reasons that the last daemon could not tell.
func (o *Outbox) Load() ([]protocol.Trigger, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var found reasonsRecord
	_, err := reasonRecords.Load(o.store, reasonsKey, &found)
	if err != nil {
		return nil, fmt.Errorf("recall the outbox: %w", err)
	}
	o.reasons = openReasons{waiting: found.Reasons, kept: found.Reasons}
	return slices.Clone(found.Reasons), nil
}

// Wait notes the reasons that no exchange carries, and keeps them where a crash
// would lose or double one; it reports whether it did. together stores what the
// loop decides by in each commit in which reasons change place, from now on; by
// itself that is worth a commit only if it must be kept.
func (o *Outbox) Wait(waiting []protocol.Trigger, must bool, together func(*store.Tx) error) (kept bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.reasons.waiting, o.together = slices.Clone(waiting), together
	if !must && sameCauses(o.reasons.kept, o.lastingReasons(o.reasons)) {
		return false, nil
	}
	err = o.updateLocked(func(_ *store.Tx, change *Change) error {
		change.changed = true
		return nil
	})
	return err == nil, err
}

// Carry gives reasons to the exchange that begins.
func (o *Outbox) Carry(carried []protocol.Trigger) {
	o.mu.Lock()
	o.reasons.carried = slices.Clone(carried)
	o.mu.Unlock()
}

// Carried are the reasons of the exchange that runs which no stored report has.
func (o *Outbox) Carried() []protocol.Trigger {
	o.mu.Lock()
	carried := slices.Clone(o.reasons.carried)
	o.mu.Unlock()
	return carried
}

// Unsent are the oldest events that the portal does not have, as many as a
// report holds.
func (o *Outbox) Unsent() ([]protocol.Event, error) {
	var sent uint64
	_, err := eventMarks.Load(o.store, eventsKey, &sent)
	if err != nil {
		return nil, fmt.Errorf("read mark of events: %w", err)
	}
	events, _, err := o.events.EventsSince(sent, protocol.MaxEvents)
	return events, err
}

// Lost is how many events the portal will not hear of once it has these, which
// are the oldest of Unsent: they were flushed before anybody told them.
func (o *Outbox) Lost(events []protocol.Event) (int, error) {
	if len(events) == 0 {
		return 0, nil
	}
	var sent uint64
	_, err := eventMarks.Load(o.store, eventsKey, &sent)
	if err != nil {
		return 0, fmt.Errorf("read mark of events: %w", err)
	}
	last := events[len(events)-1].Seq
	if last < sent { // numbers began anew
		sent = 0
	}
	return max(int(last-sent)-len(events), 0), nil
}

// Forget empties the outbox after the store was erased.
func (o *Outbox) Forget() {
	o.mu.Lock()
	o.reasons = openReasons{}
	o.mu.Unlock()
}

// Update runs one transaction of the exchange: what happens to a report, and
// what that means for the outbox, is committed together or not at all. The
// function must not use the outbox but through its Change.
func (o *Outbox) Update(transact func(*store.Tx, *Change) error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.updateLocked(transact)
}

func (o *Outbox) updateLocked(transact func(*store.Tx, *Change) error) error {
	change := Change{reasons: o.reasons}
	err := o.store.Update(func(tx *store.Tx) error {
		if err := transact(tx, &change); err != nil {
			return err
		}
		return o.putReasons(tx, &change)
	})
	if err == nil {
		o.reasons = change.reasons
	}
	return err
}

func (o *Outbox) putReasons(tx *store.Tx, change *Change) error {
	if change.settled > 0 {
		if err := eventMarks.Put(tx, eventsKey, &change.settled); err != nil {
			return fmt.Errorf("keep mark of events: %w", err)
		}
	}
	if !change.changed {
		return nil
	}
	change.reasons.kept = o.lastingReasons(change.reasons)
	if err := reasonRecords.Put(tx, reasonsKey, &reasonsRecord{Reasons: change.reasons.kept}); err != nil {
		return fmt.Errorf("keep the outbox: %w", err)
	}
	if o.together == nil {
		return nil
	}
	return o.together(tx)
}

// lastingReasons is what of the reasons must be on disk.
func (o *Outbox) lastingReasons(all openReasons) []protocol.Trigger {
	lasting := slices.DeleteFunc(protocol.CoalesceTriggers(all.carried, all.waiting),
		func(one protocol.Trigger) bool { return !o.lasts(one) })
	return protocol.LimitTriggers(lasting, protocol.MaxTriggers)
}

// Change is what one transaction changes in the outbox.
type Change struct {
	reasons openReasons
	settled uint64 // the highest event that the portal has; 0 = as before
	changed bool
}

// Seal notes that the report which is stored in this transaction has all that
// is carried.
func (c *Change) Seal() { c.reasons.carried, c.changed = nil, true }

// Return takes the reasons of a report back that is forgotten in this
// transaction.
func (c *Change) Return(reasons []protocol.Trigger) {
	c.reasons.carried, c.changed = protocol.CoalesceTriggers(reasons, c.reasons.carried), true
}

// Settle notes that the portal has acknowledged every event up to a number; 0 =
// the report had none.
func (c *Change) Settle(lastEvent uint64) { c.settled = max(c.settled, lastEvent) }

// sameCauses reports whether two lists hold the same reasons of the same
// machines. How often and when is worth no commit.
func sameCauses(a, b []protocol.Trigger) bool {
	return !protocol.HasNewCause(a, b) && !protocol.HasNewCause(b, a)
}
