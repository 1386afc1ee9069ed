package enforce

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"prlagent/agent/lane"
	"prlagent/agent/policy"
	"prlagent/agent/protocol"
	"prlagent/platform"
	"prlagent/store"
)

// Lease is that switches of the host are off for the agent's own work (H68). It is
// kept before anything is lifted, and forgotten once all is put back: whatever
// ends between, the next start finds it and puts back what it says.
type Lease struct {
	enforcer *Enforcer
	number   int
}

// leaseRecord is what the store keeps of a lease.
type leaseRecord struct {
	Number   int       `json:"number"`
	Purpose  string    `json:"purpose"`
	Switches []string  `json:"switches"`         // that stay off as long as it lasts
	Lifted   []string  `json:"lifted,omitempty"` // of these, those that were on before, in the order in which they are lifted
	At       time.Time `json:"at"`
	Until    time.Time `json:"until"`
	// User is the account as which it was lifted: before the first look no other one
	// is known.
	User platform.User `json:"user"`

	// Known is how the lifting ended: else a switch may still be lifted late.
	Known bool `json:"known,omitempty"`

	isLive bool // its holder is of this process
}

// errNotLifted is that the tool did not turn a switch off, or on again.
var errNotLifted = errors.New("the host does not show what was set")

// Events about leases.
const (
	eventPutBack    = "policy_control_put_back" // what was lifted is as it was
	eventNotPutBack = "policy_control_not_put_back"
)

// TakeLease keeps the switches off until the lease is given back, or until a time:
// those that are on are lifted, and no plan places one meanwhile. What another lease
// has lifted is put back by the last one to be given back. With an error nothing
// stays lifted that can be put back now, and the rest is put back later.
func (e *Enforcer) TakeLease(ctx context.Context, purpose string, switches []string, until time.Time) (*Lease, error) {
	e.hostTurn.Lock()
	defer e.hostTurn.Unlock()
	info, err := e.readHost(ctx)
	if err != nil {
		return nil, fmt.Errorf("lift a control: %w", err)
	}
	lifted := e.lifted(func(*leaseRecord) bool { return true }) // also what is still to be put back
	record := leaseRecord{Purpose: purpose, At: e.now(), Until: until.UTC().Truncate(time.Second), isLive: true}
	for i := range policy.HostSwitches {
		s := &policy.HostSwitches[i]
		if !slices.Contains(switches, s.Name) {
			continue
		}
		record.Switches = append(record.Switches, s.Name)
		if s.Shown(info) == "on" || slices.Contains(lifted, s.Name) {
			record.Lifted = append(record.Lifted, s.Name)
		}
	}
	record.Known = len(record.Lifted) == 0
	if err := e.keepLease(&record); err != nil {
		return nil, err
	}
	for _, name := range record.Lifted {
		if err := e.turn(ctx, name, "off"); err != nil {
			if !lane.IsHang(err) && ctx.Err() == nil {
				e.noteKnown(&record)
			}
			return nil, errors.Join(fmt.Errorf("lift a control: %w", err), e.restore(ctx, &record))
		}
	}
	e.noteKnown(&record)
	return &Lease{enforcer: e, number: record.Number}, nil
}

// Restore gives the lease back: what it has lifted is on again. With an error it is
// tried again at each look.
func (l *Lease) Restore(ctx context.Context) error {
	e := l.enforcer
	e.hostTurn.Lock()
	defer e.hostTurn.Unlock()
	e.mu.Lock()
	record := e.leaseOf(l.number)
	e.mu.Unlock()
	if record == nil {
		return nil // its time was over
	}
	return e.restore(ctx, record)
}

// leaseOf is the lease with this number; nil if it was given back. The caller holds the
// lock.
func (e *Enforcer) leaseOf(number int) *leaseRecord {
	for _, record := range e.leases {
		if record.Number == number {
			return record
		}
	}
	return nil
}

// RestoreLeases puts back what is lifted and nobody needs any more: of leases
// whose time is over, and of those that an earlier process has left. It is called
// before every look, and so before the first exchange (H68).
func (e *Enforcer) RestoreLeases(ctx context.Context) (events []protocol.Event) {
	e.mu.Lock()
	none := len(e.leases) == 0
	e.mu.Unlock()
	if none {
		return nil
	}
	e.hostTurn.Lock()
	defer e.hostTurn.Unlock()
	for _, record := range e.endedLeases() {
		data := map[string]string{"purpose": record.Purpose, "switches": strings.Join(record.Lifted, " ")}
		event := protocol.Event{At: e.now(), Type: eventPutBack, Data: data}
		var isTold bool
		if err := e.restore(ctx, record); err != nil {
			e.options.Log.Error().Err(err).Msg("put a lifted control back")
			event.Type, event.Code = eventNotPutBack, protocol.CodeOf(err)
			data["command"] = commandsFor(record)
			isTold = e.firstFailure(record)
		} else {
			isTold = e.isForgotten(record) // else it is put back again, and told then
		}
		if isTold {
			events = append(events, event)
		}
	}
	return events
}

// isForgotten reports whether a lease is over for good.
func (e *Enforcer) isForgotten(record *leaseRecord) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.leaseOf(record.Number) == nil
}

// lateLeases is when all of the leases is known that was lifted and may still take effect;
// zero: nothing may. The caller holds the lock.
func (e *Enforcer) lateLeases() (until time.Time) {
	for _, record := range e.leases {
		if late := e.lateUntil(record); !record.isLive && late.After(until) {
			until = late
		}
	}
	return until
}

// lateUntil is until when what a lease lifts may still take effect, because nobody has seen
// that; zero: it may not.
func (e *Enforcer) lateUntil(record *leaseRecord) time.Time {
	if record.Known {
		return time.Time{}
	}
	return policy.LateUntil(record.At, e.now())
}

// noteKnown keeps that it is known how a lease's lifting ended, if it is not known already:
// a lease that lifts nothing costs no second write. Where that cannot be kept,
// the next process puts it back twice.
func (e *Enforcer) noteKnown(record *leaseRecord) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if record.Known {
		return
	}
	record.Known = true
	if err := e.putLease(record); err != nil {
		e.options.Log.Error().Err(err).Msg("keep what became of a lease")
	}
}

// endedLeases are those to be put back, in order.
func (e *Enforcer) endedLeases() (ended []*leaseRecord) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.now()
	for _, record := range e.leases {
		if !record.isLive || !now.Before(record.Until) || record.At.After(now) {
			ended = append(ended, record)
		}
	}
	return ended
}

// firstFailure reports whether it was not told before that a lease could not be put
// back.
func (e *Enforcer) firstFailure(record *leaseRecord) bool {
	e.mu.Lock()
	first := e.stuckLease != record.Number
	e.stuckLease = record.Number
	e.mu.Unlock()
	return first
}

// restore turns on again what a lease has lifted and no other one needs, and then
// forgets it, unless it may still be lifted late. One that fails has no holder any more,
// so that it is tried again at the next look. The caller has the host's turn.
func (e *Enforcer) restore(ctx context.Context, record *leaseRecord) error {
	e.mu.Lock()
	record.isLive = false
	e.mu.Unlock()
	beside := e.lifted(func(other *leaseRecord) bool { return other.isLive })
	for _, name := range record.Lifted {
		if slices.Contains(beside, name) {
			continue
		}
		if err := e.turn(ctx, name, "on"); err != nil {
			return fmt.Errorf("put a control back: %w", err)
		}
	}
	e.mu.Lock()
	late := e.lateUntil(record)
	e.mu.Unlock()
	if !late.IsZero() {
		return nil // the look behind that puts it back again
	}
	return e.forgetLease(record)
}

// turn has a switch at this word, if it is not.
func (e *Enforcer) turn(ctx context.Context, name, word string) error {
	s := policy.FindHostSwitch(name)
	if s == nil {
		return nil // of another version of the agent
	}
	info, err := e.readHost(ctx)
	if err != nil || s.Shown(info) == word {
		return err
	}
	proven, said := e.setHost(ctx, name, word)
	if proven {
		return nil
	}
	return errors.Join(said, fmt.Errorf("%s %s: %w", name, word, errNotLifted))
}

// lifted are the switches that some of the leases have lifted.
func (e *Enforcer) lifted(counts func(*leaseRecord) bool) (names []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, record := range e.leases {
		if counts(record) {
			names = append(names, record.Lifted...)
		}
	}
	return names
}

// commandsFor is what a person types to put back what a lease has lifted.
func commandsFor(record *leaseRecord) string {
	var commands []string
	for _, name := range record.Lifted {
		if s := policy.FindHostSwitch(name); s != nil {
			commands = append(commands, hostCommand(s.Args("on")))
		}
	}
	return strings.Join(commands, "; ")
}

// leased are the switches that stay off now.
func (e *Enforcer) leased() []string {
	e.mu.Lock()
	names := e.leasedNow()
	e.mu.Unlock()
	return names
}

// leasedNow is leased for who holds the lock.
func (e *Enforcer) leasedNow() (names []string) {
	for _, record := range e.leases {
		names = append(names, record.Switches...)
	}
	return names
}

// lentTo are those of the accounts, which are listed now, since whose last list a switch
// was off for the agent's own work at some moment. The caller holds the lock.
func (e *Enforcer) lentTo(name string, listed map[uint32]bool) map[uint32]bool {
	lent, isLentNow := make(map[uint32]bool), slices.Contains(e.leasedNow(), name)
	for uid := range listed {
		lent[uid] = isLentNow || e.lentUntil[name] > e.listedAt[uid]
	}
	return lent
}

// keepLease keeps a lease, in the store first, before anything is lifted.
func (e *Enforcer) keepLease(record *leaseRecord) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	record.Number, record.User = e.lastLease+1, e.hostOwner.User
	if err := e.putLease(record); err != nil {
		return fmt.Errorf("keep what is lifted: %w", err)
	}
	e.lastLease, e.leases = record.Number, append(e.leases, record)
	return nil
}

func (e *Enforcer) putLease(record *leaseRecord) error {
	return e.options.Store.Update(func(tx *store.Tx) error { return leases.Put(tx, strconv.Itoa(record.Number), record) })
}

func (e *Enforcer) forgetLease(record *leaseRecord) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	err := e.options.Store.Update(func(tx *store.Tx) error { return leases.Delete(tx, strconv.Itoa(record.Number)) })
	if err != nil {
		return fmt.Errorf("forget what was lifted: %w", err)
	}
	var others []*leaseRecord
	for _, other := range e.leases {
		if other.Number != record.Number {
			others = append(others, other)
		}
	}
	e.leases = others
	e.ends++
	for _, name := range record.Switches {
		e.lentUntil[name] = e.ends
	}
	return nil
}

var leases = store.Collection[*leaseRecord]{Name: "policy_leases"}

// loadLeases finds what an earlier process has left lifted.
func (e *Enforcer) loadLeases() error {
	e.leases, e.lastLease, e.stuckLease, e.hostOwner = nil, 0, 0, Owner{}
	e.lentUntil, e.listedAt = make(map[string]Mark), make(map[uint32]Mark)
	err := leases.LoadEach(e.options.Store, func(_ string, record *leaseRecord) error {
		e.leases = append(e.leases, record)
		e.hostOwner = Owner{User: record.User}
		e.lastLease = max(e.lastLease, record.Number)
		return nil
	})
	if err != nil {
		return fmt.Errorf("recall what is lifted: %w", err)
	}
	sort.SliceStable(e.leases, func(i, j int) bool { return e.leases[i].Number < e.leases[j].Number })
	return nil
}
