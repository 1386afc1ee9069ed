package agent

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"prlagent/agent/protocol"
)

func renames(at time.Time, uid, many int) []protocol.Event {
	events := make([]protocol.Event, many)
	for i := range events {
		events[i] = newEvent(at, "vm_renamed", "", "uid", strconv.Itoa(uid), "user_name", "u", "vm_name", fmt.Sprint("name ", i))
	}
	return events
}

func eventsOfUser(events []protocol.Event, uid int) (kept int, leftOut string) {
	for _, event := range events {
		switch {
		case event.Data["uid"] != strconv.Itoa(uid):
		case event.Type == "events_left_out":
			leftOut = event.Data["count"]
		default:
			kept++
		}
	}
	return kept, leftOut
}

// One user renames a thousand machines at each look, for an hour; another one is
// heard all the while, and so is what is about nobody and about security.
func TestOneUserDoesNotFlushTheEvents(t *testing.T) {
	t.Parallel()
	var quota eventQuota
	begin := time.Date(2026, 11, 28, 9, 0, 0, 0, time.UTC)
	log, _ := openTestLog(t, t.TempDir())
	log.add(newEvent(begin, "the oldest", "", "uid", "502"))
	const looks = 240 // one in 15 s
	total, told := 0, 0
	for number := range looks {
		now := begin.Add(time.Duration(number) * 15 * time.Second)
		events := append(renames(now, 501, 1000), renames(now, 502, number%2)...)
		events = append(events, newEvent(now, "product_state", ""), newEvent(now, "rollback", protocol.CodeRollbackDetected, "uid", "501"))
		kept := quota.limit(events, now)
		mine, leftOut := eventsOfUser(kept, 501)
		others, _ := eventsOfUser(kept, 502)
		if others != number%2 && number < 2*userEventBurst {
			t.Errorf("look %d: %d of the other user's events", number, others)
		}
		if len(kept) < others+2 || mine < 1 {
			t.Errorf("look %d: what is about nobody or security is missing", number)
		}
		total += mine - 1 // the one of security
		if leftOut != "" {
			told++
		}
	}
	if want := userEventBurst + userEventsAnHour - 1; total != want || told != 1 {
		t.Errorf("an hour keeps %d events of 240,000, and says %d times that there were more; want %d and once", total, told, want)
	}

	log.add(quota.limit(renames(begin.Add(time.Hour), 501, 100_000), begin.Add(time.Hour))...)
	all, _, err := log.EventsSince(0, 2*protocol.MaxEvents)
	if err != nil || len(all) == 0 || all[0].Type != "the oldest" {
		t.Errorf("the other user's event was flushed: %d events, %v", len(all), err)
	}
	quota.limit(nil, begin.Add(48*time.Hour))
	quota.limit(nil, begin.Add(96*time.Hour))
	if len(quota.users) != 0 {
		t.Errorf("quiet users are remembered: %d", len(quota.users))
	}
}

// SEC-25: a violation is told once, so that whose it is cannot have it lost among
// events that they make without end; nor can they make violations without end.
func TestSEC25_AViolationIsNotLostInAFlood(t *testing.T) {
	t.Parallel()
	var quota eventQuota
	now := time.Date(2026, 11, 28, 9, 0, 0, 0, time.UTC)
	quota.limit(renames(now, 501, 1000), now)
	violation := newEvent(now, protocol.EventViolation, protocol.CodeVMUnprovisioned, "uid", "501", "vm_id", "v")
	if kept := quota.limit([]protocol.Event{violation}, now); len(kept) != 1 || kept[0].Type != protocol.EventViolation {
		t.Errorf("kept %v", kept)
	}
	many := make([]protocol.Event, 1000)
	for i := range many {
		many[i] = violation
	}
	kept := quota.limit(many, now)
	if mine, leftOut := eventsOfUser(kept, 501); mine >= userEventBurst || leftOut == "" {
		t.Errorf("%d violations, left out %q", mine, leftOut)
	}
}
