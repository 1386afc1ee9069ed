package storage

import (
	"fmt"
	"slices"
	"time"

	"prlagent/agent/protocol"
)

// Bounds of what is kept of a device's events. They are read and written as one
// record, with each check-in that has any.
const (
	MaxKeptEvents  = 500
	MaxEventsBytes = 128 << 10 // of its events
	// Events of security stay beyond those: a storm of others must not flush them
	// (H18).
	MaxSecurityEvents = 100
	MaxSecurityBytes  = 32 << 10
	maxEventRecord    = MaxEventsBytes + MaxSecurityBytes + 4<<10
)

// EventLog is what happened on the Mac, as it told the portal, oldest first.
type EventLog struct {
	Events []KeptEvent `json:"events,omitempty"`
	Last   uint64      `json:"last,omitempty"` // number of the newest event that there ever was
	// ForgottenTo is when the newest event that was forgotten had arrived.
	ForgottenTo time.Time `json:"forgotten_to,omitzero"`
}

// KeptEvent is one event with its number at this device, which stays its own.
type KeptEvent struct {
	Number     uint64         `json:"number"` // from 1, rising
	ReceivedAt time.Time      `json:"received_at"`
	Epoch      string         `json:"epoch"` // of the Mac's own number
	Event      protocol.Event `json:"event"`
}

// told is what an event is known by that is told again, after a Mac or a portal
// was put back to an earlier state.
type told struct {
	epoch string
	seq   uint64
	at    time.Time
	kind  string
}

func (e KeptEvent) told() told { return told{e.Epoch, e.Event.Seq, e.Event.At.UTC(), e.Event.Type} }

// Add appends events that were received now, each once, and forgets the oldest
// ones beyond the bounds. It reports whether there was a new one.
func (l *EventLog) Add(events []protocol.Event, epoch string, now time.Time) (added bool, err error) {
	known := make(map[told]bool, len(l.Events))
	for _, kept := range l.Events {
		known[kept.told()] = kept.Event.Seq != 0
	}
	for _, event := range events {
		next := KeptEvent{Number: l.Last + 1, ReceivedAt: now, Epoch: epoch, Event: event}
		if known[next.told()] {
			continue
		}
		known[next.told()] = event.Seq != 0
		l.Last, added = next.Number, true
		l.Events = append(l.Events, next)
	}
	return added, l.forget()
}

// forget drops the oldest events beyond the bounds, and those of security beyond
// bounds of their own.
func (l *EventLog) forget() error {
	keep, err := countNewest(l.Events, MaxKeptEvents, MaxEventsBytes, func(KeptEvent) bool { return true })
	if err != nil {
		return fmt.Errorf("encode event: %w", err)
	}
	older := slices.Clone(l.Events[:len(l.Events)-keep])
	security := slices.DeleteFunc(older, func(kept KeptEvent) bool { return !kept.Event.IsSecurity() })
	keepSecurity, err := countNewest(security, MaxSecurityEvents, MaxSecurityBytes, func(KeptEvent) bool { return true })
	if err != nil {
		return fmt.Errorf("encode event: %w", err)
	}
	security = security[len(security)-keepSecurity:]
	for _, kept := range slices.Backward(l.Events[:len(l.Events)-keep]) {
		if !slices.ContainsFunc(security, func(one KeptEvent) bool { return one.Number == kept.Number }) {
			l.ForgottenTo = latest(l.ForgottenTo, kept.ReceivedAt)
			break
		}
	}
	l.Events = append(security, l.Events[len(l.Events)-keep:]...)
	return nil
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Covers reports whether every event that was received since then is kept.
func (l EventLog) Covers(since time.Time) bool {
	return l.ForgottenTo.IsZero() || l.ForgottenTo.Before(since)
}
