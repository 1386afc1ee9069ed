package agent

import (
	"fmt"
	"maps"
	"slices"
	"sort"
	"time"

	"github.com/rs/zerolog"

	"prlagent/agent/protocol"
	"prlagent/store"
)

// troubleRecords are the troubles that last, by their names. A trouble is a condition
// that was shown, and whose begin is in the events. It is kept until it ends, so that
// a restart of the daemon neither ends it nor begins it anew.
var troubleRecords = store.Collection[*activeCode]{Name: "troubles"}

// troubleWords are the types of the events that say that a trouble began and ended;
// empty: another event says so. How an enrollment waits or is refused ends with the
// event that says that it is there.
func (c *activeCode) troubleWords() (began, ended string) {
	if c.Code == protocol.CodeEnrollmentPending {
		return "enrollment_pending", ""
	}
	switch c.Topic {
	case topicMac:
		return "condition_began", "condition_ended"
	case topicConfiguration:
		return "configuration_refused", "configuration_accepted"
	case topicProfile:
		return "configuration_vanished", "configuration_back"
	case topicEnrollment:
		return "enrollment_refused", ""
	case topicPortal:
		return "checkins_failing", "checkins_back"
	case topicExchange:
		return "", "condition_ended" // the exchange tells of the begin
	case topicUser:
		return "user_failing", "user_back"
	}
	return "", ""
}

// isTrouble reports whether the begin and the end of a condition are worth an
// event: it needs a person, or may be the begin of something that does.
func (c *activeCode) isTrouble() bool {
	switch c.Code {
	case protocol.CodeProfileMissing:
		return true
	case protocol.CodeNotEnrolled, protocol.CodeStateRestored, protocol.CodeStateReset:
		return false // passes by itself, and is told by what comes after it; told at the start
	}
	return c.Code.Text().Severity != protocol.Info
}

// troubles are those that last, by their names. They belong to the loop's goroutine.
type troubles struct {
	store   *store.Store
	log     *zerolog.Logger
	open    map[string]*activeCode
	retryAt time.Time // what is new could not be kept, and is tried again then
}

// troubleRetry is how long a store that takes nothing is left alone.
const troubleRetry = time.Minute

// recallTroubles gives what the last daemon left open.
func recallTroubles(state *store.Store, log *zerolog.Logger) troubles {
	t := troubles{store: state, log: log, open: make(map[string]*activeCode)}
	err := troubleRecords.LoadEach(state, func(key string, kept *activeCode) error {
		kept.shown = true
		t.open[key] = kept
		return nil
	})
	if err != nil {
		log.Error().Err(err).Msg("recall what was wrong before") // what still is begins anew
	}
	return t
}

// failing is why check-ins did not arrive when the last daemon stopped; empty if
// they did.
func (t *troubles) failing() protocol.Code {
	for _, one := range t.open {
		if one.Topic == topicPortal || one.Topic == topicEnrollment {
			return one.Code
		}
	}
	return ""
}

// ofTopic are the open troubles of some topics, by their names; of all without one.
func (t *troubles) ofTopic(topics ...topic) (codes []*activeCode) {
	for _, name := range slices.Sorted(maps.Keys(t.open)) {
		if one := *t.open[name]; len(topics) == 0 || slices.Contains(topics, one.Topic) {
			codes = append(codes, &one)
		}
	}
	return codes
}

// change compares what is open with what is true now. It gives the events of
// what began and of what ended, and what is open from then on.
func (t *troubles) change(active []*activeCode, now time.Time) (events []protocol.Event, open map[string]*activeCode) {
	open = make(map[string]*activeCode)
	for _, one := range active {
		name := one.name()
		before := t.open[name]
		switch {
		case before != nil && (before.Code == one.Code || one.Topic != topicProfile):
			open[name] = before
		case one.shown && one.isTrouble() && !one.isExplained(active):
			begins := &activeCode{Code: one.Code, Topic: one.Topic, Subject: one.Subject, UID: one.UID, Since: one.Since.Round(0).UTC()}
			open[name] = begins
			if began, _ := one.troubleWords(); began != "" {
				events = append(events, begins.event(now, began))
			}
		case before != nil: // it was worse
			open[name] = before
		}
	}
	for name, over := range t.open {
		if _, ended := over.troubleWords(); ended != "" && open[name] == nil {
			event := over.event(now, ended)
			event.Data["lasted"] = now.Sub(over.Since).Round(time.Second).String()
			events = append(events, event)
		}
	}
	sort.SliceStable(events, func(i, j int) bool { return events[i].Data["user_name"] < events[j].Data["user_name"] })
	return events, open
}

// event is what happened to a trouble: what it is, of whom, and since when.
func (c *activeCode) event(now time.Time, kind string) protocol.Event {
	event := newEvent(now, kind, c.Code, "since", c.Since.UTC().Format(time.RFC3339))
	switch {
	case c.UID != 0:
		event.Data["uid"], event.Data["user_name"] = fmt.Sprint(c.UID), c.Subject
	case c.Subject != "":
		event.Data["subject"] = c.Subject
	}
	return event
}

// keep stores what is open, as far as it is another.
func (t *troubles) keep(tx *store.Tx, open map[string]*activeCode) error {
	for name := range t.open {
		if open[name] == nil {
			if err := troubleRecords.Delete(tx, name); err != nil {
				return fmt.Errorf("forget trouble: %w", err)
			}
		}
	}
	for name, one := range open {
		if t.open[name] != one {
			if err := troubleRecords.Put(tx, name, one); err != nil {
				return fmt.Errorf("keep trouble: %w", err)
			}
		}
	}
	return nil
}

// recordTroubles writes an event where a condition that is shown began or ended,
// and nothing for one that lasts.
func (l *loop) recordTroubles() {
	now := wallClock()
	if wait := l.troubles.retryAt.Sub(now); wait > 0 && wait <= troubleRetry {
		return
	}
	events, open := l.troubles.change(l.active, now)
	if len(events) == 0 && sameTroubles(open, l.troubles.open) {
		return
	}
	events = l.agent.quota.limitTroubles(events, now)
	if !l.agent.eventLog.addWith(func(tx *store.Tx) error { return l.troubles.keep(tx, open) }, events...) {
		l.troubles.retryAt = now.Add(troubleRetry)
		return
	}
	l.troubles.open = open
}

func sameTroubles(a, b map[string]*activeCode) bool {
	if len(a) != len(b) {
		return false
	}
	for name, one := range a {
		if b[name] != one {
			return false
		}
	}
	return true
}
