package agent

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"prlagent/agent/protocol"
)

// How many events one user's machines may make: so many at once, and then so many
// an hour. A user who renames machines without end needs most of a day for the
// ring of events, and for a log of a few lines; nobody else's are flushed in an
// afternoon.
const (
	userEventBurst   = 100
	userEventsAnHour = 60
)

// eventQuota counts the events about each user, and may be used by several
// goroutines.
type eventQuota struct {
	mu    sync.Mutex
	users map[string]*userEvents
}

// userEvents is what a user still may make, and what was left out of it.
type userEvents struct {
	tokens  float64
	at      time.Time
	leftOut int       // since it was told
	toldAt  time.Time // when it was told last
}

// ofTheMac stands in for a user where an event is about none.
const ofTheMac = ""

// ofViolations stands behind a user where an event tells a violation of theirs: each
// is told once, so that it must not be lost in what else they have happen (SEC-25).
const ofViolations = " violations"

// limit leaves out what is too much about one user, and says so once an hour.
// Events about nobody and those of security stay.
func (q *eventQuota) limit(events []protocol.Event, now time.Time) []protocol.Event {
	return q.limitEach(events, now, false)
}

// limitTroubles does the same with what begins and ends: what is about nobody is
// limited as if the Mac were a user, because a network can make check-ins fail at
// will.
func (q *eventQuota) limitTroubles(events []protocol.Event, now time.Time) []protocol.Event {
	return q.limitEach(events, now, true)
}

func (q *eventQuota) limitEach(events []protocol.Event, now time.Time, nobodyToo bool) []protocol.Event {
	q.mu.Lock()
	defer q.mu.Unlock()
	kept := make([]protocol.Event, 0, len(events))
	for i := range events {
		if q.takes(&events[i], now, nobodyToo) {
			kept = append(kept, events[i])
		}
	}
	for _, uid := range slices.Sorted(maps.Keys(q.users)) {
		user := q.users[uid]
		if user.leftOut > 0 && now.Sub(user.toldAt) >= time.Hour {
			told := newEvent(now, "events_left_out", "", "count", fmt.Sprint(user.leftOut))
			if uid != ofTheMac {
				told.Data["uid"] = strings.TrimSuffix(uid, ofViolations)
			}
			kept = append(kept, told)
			user.leftOut, user.toldAt = 0, now
		}
		if user.leftOut == 0 && user.filled(now) == userEventBurst {
			delete(q.users, uid)
		}
	}
	return kept
}

// takes reports whether there is room for an event, and counts it.
func (q *eventQuota) takes(event *protocol.Event, now time.Time, nobodyToo bool) bool {
	uid, personal := event.Data["uid"]
	if !personal && !nobodyToo || event.IsSecurity() {
		return true
	}
	if event.Type == protocol.EventViolation {
		uid += ofViolations
	}
	user := q.user(uid, now)
	if user.tokens < 1 {
		user.leftOut++
		return false
	}
	user.tokens--
	return true
}

func (q *eventQuota) user(uid string, now time.Time) *userEvents {
	if q.users == nil {
		q.users = make(map[string]*userEvents)
	}
	user := q.users[uid]
	if user == nil {
		user = &userEvents{tokens: userEventBurst, at: now}
		q.users[uid] = user
	}
	user.tokens, user.at = user.filled(now), now
	return user
}

// filled is what there is by now; a clock that was set back fills nothing.
func (u *userEvents) filled(now time.Time) float64 {
	return min(u.tokens+max(now.Sub(u.at).Hours(), 0)*userEventsAnHour, userEventBurst)
}
