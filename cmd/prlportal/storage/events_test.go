package storage_test

import (
	"strings"
	"testing"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/storage"
)

// happened is an event with a detail of that many bytes.
func happened(seq uint64, at time.Time, bytes int) protocol.Event {
	return protocol.Event{Seq: seq, At: at, Type: "vm_state", Data: map[string]string{"vm_name": strings.Repeat("<", bytes)}}
}

func mustAdd(t *testing.T, log *storage.EventLog, epoch string, now time.Time, events ...protocol.Event) bool {
	t.Helper()
	added, err := log.Add(events, epoch, now)
	if err != nil {
		t.Fatal(err)
	}
	return added
}

func TestH56_EventsAreBoundedBySizeAndNumber(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ bytes, least, most int }{
		"many small events": {1, storage.MaxKeptEvents, storage.MaxKeptEvents},
		"large events":      {10_000, 10, storage.MaxEventsBytes / 10_000},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log storage.EventLog
			begin := day(1)
			for i := range 12 { // check-ins, an hour apart
				var events []protocol.Event
				for j := range 50 {
					events = append(events, happened(uint64(i*50+j+1), begin, test.bytes))
				}
				mustAdd(t, &log, "epoch", begin.Add(time.Duration(i)*time.Hour), events...)
			}
			if n := len(log.Events); n < test.least || n > test.most {
				t.Errorf("%d events are kept, want %d to %d", n, test.least, test.most)
			}
			newest, oldest := log.Events[len(log.Events)-1], log.Events[0]
			if newest.Number != 600 || newest.Event.Seq != 600 || oldest.Number != oldest.Event.Seq || log.Last != 600 {
				t.Errorf("numbers go from %d of %d to %d of %d", oldest.Number, oldest.Event.Seq, newest.Number, newest.Event.Seq)
			}
			if log.Covers(log.ForgottenTo) || !log.Covers(log.ForgottenTo.Add(time.Second)) || oldest.ReceivedAt.Before(log.ForgottenTo) {
				t.Errorf("forgotten until %v, the oldest that is kept came at %v", log.ForgottenTo, oldest.ReceivedAt)
			}
		})
	}
	if empty := (storage.EventLog{}); !empty.Covers(time.Time{}) {
		t.Error("a log of which nothing was forgotten lacks something")
	}
}

// An event that is told again is the same one; one with a number that was used in
// another epoch, or for something else, is not.
func TestEventsAreKeptOnceWithNumbersThatStay(t *testing.T) {
	t.Parallel()
	var log storage.EventLog
	now := day(1)
	first, second := happened(1, now, 1), happened(2, now, 1)
	mustAdd(t, &log, "a", now, first)
	if !mustAdd(t, &log, "a", now.Add(time.Hour), first, second) || len(log.Events) != 2 {
		t.Errorf("told again with another: %+v", log.Events)
	}
	if mustAdd(t, &log, "a", now.Add(2*time.Hour), first, second) || len(log.Events) != 2 {
		t.Errorf("told a third time: %+v", log.Events)
	}
	other := second
	other.Type = "vm_removed"
	if mustAdd(t, &log, "b", now, first); len(log.Events) != 3 {
		t.Errorf("of another epoch: %+v", log.Events)
	}
	if mustAdd(t, &log, "a", now, other, happened(0, now, 1), happened(0, now, 1)); len(log.Events) != 6 {
		t.Errorf("of another kind, and of agents without numbers: %+v", log.Events)
	}
	for i, kept := range log.Events {
		if kept.Number != uint64(i+1) {
			t.Errorf("event %d has the number %d", i, kept.Number)
		}
	}
}
