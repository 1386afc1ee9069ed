package agent

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"prlagent/agent/protocol"
	"prlagent/store"
)

// trouble is a condition that was shown, and whose begin is in the events. It is
// kept until it ends, so that a restart of the daemon neither ends it nor begins
// it anew.
type trouble struct {
	Code    protocol.Code `json:"code"`
	Topic   topic         `json:"topic,omitempty"`
	Subject string        `json:"subject,omitempty"`
	UID     uint32        `json:"uid,omitempty"`
	Since   time.Time     `json:"since"` // when the condition was first true
}

var troubleRecords = store.Collection[*trouble]{Name: "troubles"}

func (t trouble) active() activeCode {
	return activeCode{code: t.Code, topic: t.Topic, subject: t.Subject, uid: t.UID}
}

// name is the trouble's key in the store.
func (k conditionKey) name() string {
	return strings.Join([]string{string(k.topic), string(k.code), k.subject}, "/")
}

// eventWords are the types of the events that say that a trouble began and ended;
// empty: another event says so.
type eventWords struct{ began, ended string }

var troubleWords = map[topic]eventWords{
	topicMac:           {"condition_began", "condition_ended"},
	topicConfiguration: {"configuration_refused", "configuration_accepted"},
	topicProfile:       {"configuration_vanished", "configuration_back"},
	topicPortal:        {"checkins_failing", "checkins_back"},
	topicExchange:      {"", "condition_ended"}, // the exchange tells of the begin
	topicUser:          {"user_failing", "user_back"},
}

// wordsOf are the words of a trouble. How an enrollment waits or is refused ends
// with the event that says that it is there.
func wordsOf(one activeCode) eventWords {
	switch {
	case one.code == protocol.CodeEnrollmentPending:
		return eventWords{began: "enrollment_pending"}
	case one.topic == topicEnrollment:
		return eventWords{began: "enrollment_refused"}
	}
	return troubleWords[one.topic]
}

// isTrouble reports whether the begin and the end of a condition are worth an
// event: it needs a person, or may be the begin of something that does.
func isTrouble(one activeCode) bool {
	switch one.code {
	case protocol.CodeProfileMissing:
		return true
	case protocol.CodeNotEnrolled, protocol.CodeStateRestored, protocol.CodeStateReset:
		return false // passes by itself, and is told by what comes after it; told at the start
	}
	return one.code.Text().Severity != protocol.Info
}

// troubles are those that last, by the names of their keys. They belong to the
// loop's goroutine.
type troubles struct {
	store   *store.Store
	log     zerolog.Logger
	open    map[string]trouble
	retryAt time.Time // what is new could not be kept, and is tried again then
}

// troubleRetry is how long a store that takes nothing is left alone.
const troubleRetry = time.Minute

// recallTroubles gives what the last daemon left open.
func recallTroubles(state *store.Store, log zerolog.Logger) troubles {
	t := troubles{store: state, log: log, open: make(map[string]trouble)}
	err := state.View(func(tx *store.Tx) error {
		return troubleRecords.Each(tx, func(key string, kept *trouble) error {
			t.open[key] = *kept
			return nil
		})
	})
	if err != nil {
		log.Error().Err(err).Msg("recall what was wrong before") // what still is begins anew
	}
	return t
}

// tracked are the open troubles as conditions that were shown.
func (t troubles) tracked() trackedConditions {
	known := make(trackedConditions, len(t.open))
	for _, one := range t.open {
		known[one.active().key()] = tracked{since: one.Since, shown: true}
	}
	return known
}

// failing is why check-ins did not arrive when the last daemon stopped; empty if
// they did.
func (t troubles) failing() protocol.Code {
	for _, one := range t.open {
		if one.Topic == topicPortal || one.Topic == topicEnrollment {
			return one.Code
		}
	}
	return ""
}

// ofTopic are the open troubles of some topics.
func (t troubles) ofTopic(topics ...topic) (codes []activeCode) {
	for _, one := range t.open {
		if slices.Contains(topics, one.Topic) {
			codes = append(codes, one.active())
		}
	}
	sort.SliceStable(codes, func(i, j int) bool { return codes[i].key().name() < codes[j].key().name() })
	return codes
}

// change compares what is open with what is true now. It gives the events of
// what began and of what ended, and what is open from then on.
func (t troubles) change(active []activeCode, known trackedConditions, now time.Time) (events []protocol.Event, open map[string]trouble) {
	open = make(map[string]trouble)
	for _, one := range active {
		name := one.key().name()
		before, was := t.open[name]
		switch {
		case was && (before.Code == one.code || one.topic != topicProfile):
			open[name] = before
		case known[one.key()].shown && isTrouble(one) && isUnexplained(one, active):
			began := trouble{Code: one.code, Topic: one.topic, Subject: one.subject, UID: one.uid, Since: known[one.key()].since.Round(0).UTC()}
			open[name] = began
			if words := wordsOf(one); words.began != "" {
				events = append(events, began.event(now, words.began))
			}
		case was: // it was worse
			open[name] = before
		}
	}
	for name, ended := range t.open {
		if _, still := open[name]; still {
			continue
		}
		if words := wordsOf(ended.active()); words.ended != "" {
			event := ended.event(now, words.ended)
			event.Data["lasted"] = now.Sub(ended.Since).Round(time.Second).String()
			events = append(events, event)
		}
	}
	sort.SliceStable(events, func(i, j int) bool { return events[i].Data["user_name"] < events[j].Data["user_name"] })
	return events, open
}

func isUnexplained(one activeCode, active []activeCode) bool {
	return slices.Contains(unexplained(active), one)
}

// event is what happened to the trouble: what it is, of whom, and since when.
func (t trouble) event(now time.Time, kind string) protocol.Event {
	event := newEvent(now, kind, t.Code, "since", t.Since.UTC().Format(time.RFC3339))
	switch {
	case t.UID != 0:
		event.Data["uid"], event.Data["user_name"] = fmt.Sprint(t.UID), t.Subject
	case t.Subject != "":
		event.Data["subject"] = t.Subject
	}
	return event
}

// keep stores what is open, as far as it is another.
func (t *troubles) keep(tx *store.Tx, open map[string]trouble) error {
	for name := range t.open {
		if _, still := open[name]; !still {
			if err := troubleRecords.Delete(tx, name); err != nil {
				return fmt.Errorf("forget trouble: %w", err)
			}
		}
	}
	for name, one := range open {
		if t.open[name] != one {
			if err := troubleRecords.Put(tx, name, &one); err != nil {
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
	events, open := l.troubles.change(l.active, l.conditions, now)
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

func sameTroubles(a, b map[string]trouble) bool {
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
