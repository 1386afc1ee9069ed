package agent

import (
	"cmp"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"prlagent/agent/protocol"
	"prlagent/store"
)

var (
	eventRing = store.Ring[*protocol.Event]{Name: "events", Capacity: protocol.MaxEvents}
	// securityRing keeps the events of security as well (H18).
	securityRing = store.Ring[*protocol.Event]{Name: "events_security", Capacity: protocol.MaxEvents}
)

// eventLog is the ring of events: what happened on this Mac that a person may
// ask about. It is written only when something happened.
type eventLog struct {
	store *store.Store
	log   *zerolog.Logger

	commits sync.Mutex // held around a commit and what is noted of it: they keep one order

	mu      sync.Mutex
	last    uint64
	failed  protocol.Code // why the last events could not be kept; empty = they could
	changed chan struct{} // closed and replaced at every append
}

func openEventLog(state *store.Store, log *zerolog.Logger) (*eventLog, error) {
	e := &eventLog{store: state, log: log, changed: make(chan struct{})}
	err := state.View(func(tx *store.Tx) error {
		e.last = eventRing.Last(tx)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("open events: %w", err)
	}
	return e, nil
}

// add keeps the events in one commit and wakes those who follow.
func (e *eventLog) add(events ...protocol.Event) {
	if len(events) > 0 {
		e.addWith(nil, events...)
	}
}

// addWith keeps the events in one commit with what belongs to them, if there is
// anything, and reports whether it could.
func (e *eventLog) addWith(together func(*store.Tx) error, events ...protocol.Event) bool {
	return e.commit(together, events...) == nil
}

// commit is addWith that gives the reason.
func (e *eventLog) commit(together func(*store.Tx) error, events ...protocol.Event) error {
	e.commits.Lock()
	defer e.commits.Unlock()
	last := e.newest()
	err := e.store.Update(func(tx *store.Tx) error {
		if together != nil {
			if err := together(tx); err != nil {
				return err
			}
		}
		for i := range events {
			seq, err := appendEvent(tx, &events[i])
			if err != nil {
				return err
			}
			last = seq
		}
		return nil
	})
	e.mu.Lock()
	defer e.mu.Unlock()
	if err != nil {
		if e.failed == "" { // whoever tries again does so soon
			e.log.Error().Err(err).Msg("keep events")
		}
		e.failed = cmp.Or(protocol.CodeOf(err), protocol.CodeInternal)
		return err
	}
	for i := range events {
		e.logEvent(&events[i])
	}
	e.failed = ""
	if last != e.last {
		e.last = last
		close(e.changed)
		e.changed = make(chan struct{})
	}
	return nil
}

// loggedData are what the log says of an event beside its type and code: nothing
// that a user can lengthen.
var loggedData = []string{"uid", "subject", "since", "lasted", "reason", "version"}

// logEvent writes the event's one line.
func (e *eventLog) logEvent(event *protocol.Event) {
	line := e.log.Info().Str("event", event.Type).Str("code", string(event.Code))
	for _, key := range loggedData {
		if value := event.Data[key]; value != "" {
			line.Str(key, protocol.CutText(value, protocol.MaxName))
		}
	}
	line.Msg("event")
}

// appendEvent puts an event into the ring, and into that of security events
// too if it is one; there it keeps its number.
func appendEvent(tx *store.Tx, event *protocol.Event) (uint64, error) {
	seq, err := eventRing.Append(tx, event)
	if err != nil || !event.IsSecurity() {
		return seq, err
	}
	numbered := *event
	numbered.Seq = seq
	_, err = securityRing.Append(tx, &numbered)
	return seq, err
}

// EventsSince gives the oldest events after seq, at most limit, and the number
// to go on with. Numbers begin anew with the ring, so a number that was not
// given yet is of another one: its holder gets everything.
func (e *eventLog) EventsSince(seq uint64, limit int) ([]protocol.Event, uint64, error) {
	var events []protocol.Event
	err := e.store.View(func(tx *store.Tx) (err error) {
		if seq > eventRing.Last(tx) {
			seq = 0
		}
		if events, err = flushed(tx, seq); err != nil {
			return err
		}
		return eventRing.Since(tx, seq, func(number uint64, event *protocol.Event) error {
			event.Seq = number
			events = append(events, *event)
			if len(events) >= limit {
				return store.ErrStop
			}
			return nil
		})
	})
	if err != nil {
		return nil, seq, fmt.Errorf("read events: %w", err)
	}
	if events = events[:min(len(events), limit)]; len(events) > 0 {
		seq = events[len(events)-1].Seq
	}
	return events, seq, nil
}

// flushed are the security events after seq that the ring no longer holds.
func flushed(tx *store.Tx, seq uint64) (events []protocol.Event, err error) {
	var oldest uint64
	err = eventRing.Since(tx, seq, func(number uint64, _ *protocol.Event) error {
		oldest = number
		return store.ErrStop
	})
	if err != nil || oldest <= seq+1 {
		return nil, err
	}
	err = securityRing.Since(tx, 0, func(_ uint64, event *protocol.Event) error {
		if event.Seq > seq && event.Seq < oldest {
			events = append(events, *event)
		}
		return nil
	})
	return events, err
}

func (e *eventLog) newest() uint64 {
	e.mu.Lock()
	last := e.last
	e.mu.Unlock()
	return last
}

// EventsChanged is closed as soon as EventsSince has something new for the
// holder of seq.
func (e *eventLog) EventsChanged(seq uint64) <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.last != seq {
		now := make(chan struct{})
		close(now)
		return now
	}
	return e.changed
}

// endedUnseen reports whether the last daemon left no word of its end.
func (e *eventLog) endedUnseen() bool {
	running := false
	err := e.store.View(func(tx *store.Tx) error {
		return eventRing.Since(tx, 0, func(_ uint64, event *protocol.Event) error {
			switch event.Type {
			case "agent_started":
				running = true
			case "agent_stopped":
				running = false
			}
			return nil
		})
	})
	return err == nil && running
}

// failure is why the last events could not be kept; empty if they could.
func (e *eventLog) failure() protocol.Code {
	e.mu.Lock()
	code := e.failed
	e.mu.Unlock()
	return code
}

// restart begins the numbers anew, after the ring was erased.
func (e *eventLog) restart() {
	e.commits.Lock()
	defer e.commits.Unlock()
	e.mu.Lock()
	e.last = 0
	e.mu.Unlock()
}

// newEvent makes an event of the given type; data comes in pairs of key and value.
func newEvent(at time.Time, kind string, code protocol.Code, data ...string) protocol.Event {
	made := protocol.Event{At: at.UTC().Truncate(time.Second), Type: kind, Code: code}
	for i := 0; i+1 < len(data); i += 2 {
		if made.Data == nil {
			made.Data = make(map[string]string, len(data)/2)
		}
		made.Data[data[i]] = data[i+1]
	}
	return made
}
