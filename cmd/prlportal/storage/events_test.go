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

// A user of a Mac can make any number of events of their own machines, and must
// not make the portal forget that the Mac refused something.
func TestH18_AStormDoesNotFlushEventsOfSecurity(t *testing.T) {
	t.Parallel()
	var log storage.EventLog
	begin, seq := day(1), uint64(0)
	told := func(at time.Time, code protocol.Code, count, bytes int) {
		var events []protocol.Event
		for range count {
			seq++
			event := happened(seq, begin, bytes)
			event.Code = code
			events = append(events, event)
		}
		mustAdd(t, &log, "epoch", at, events...)
	}
	kept := func(code protocol.Code) (count int) {
		for _, one := range log.Events {
			if one.Event.Code == code {
				count++
			}
		}
		return count
	}
	told(begin, "", 10, 1)
	told(begin.Add(time.Hour), protocol.CodeRollbackDetected, 3, 1)
	for i := range 5 {
		told(begin.Add(time.Duration(i+2)*time.Hour), "", 300, 100)
	}
	if n := kept(protocol.CodeRollbackDetected); n != 3 || log.Events[0].Number != 11 {
		t.Errorf("%d of 3 refusals are left after a storm, the oldest event is %d", n, log.Events[0].Number)
	}
	if kept("") != storage.MaxKeptEvents {
		t.Errorf("%d of the others are kept beside them", kept(""))
	}
	if log.Covers(begin.Add(4*time.Hour)) || !log.Covers(begin.Add(6*time.Hour)) {
		t.Errorf("what was forgotten of the others is said to be there: until %v", log.ForgottenTo)
	}
	// Those of security have an end too, in number and in bytes.
	for i := range 10 {
		told(begin.Add(time.Duration(i+10)*time.Hour), protocol.CodeHeadSignature, 300, 1)
	}
	if n := kept(protocol.CodeHeadSignature); n > storage.MaxKeptEvents+storage.MaxSecurityEvents || kept(protocol.CodeRollbackDetected) != 0 {
		t.Errorf("%d events of security are kept, and %d older ones", n, kept(protocol.CodeRollbackDetected))
	}
	told(begin.Add(30*time.Hour), protocol.CodeHeadSignature, 300, 10_000)
	told(begin.Add(31*time.Hour), "", 600, 1)
	if n := kept(protocol.CodeHeadSignature); n < 1 || n > storage.MaxSecurityBytes/10_000 {
		t.Errorf("%d large ones are kept", n)
	}
}

// An old event of security that is forgotten late does not move back the time since
// when all are there.
func TestWhatWasForgottenStaysForgotten(t *testing.T) {
	t.Parallel()
	var log storage.EventLog
	begin, seq := day(1), uint64(0)
	for hour, told := range []struct {
		code  protocol.Code
		count int
	}{{protocol.CodeRollbackDetected, storage.MaxSecurityEvents}, {"", 10}, {protocol.CodeRollbackDetected, 1}, {"", storage.MaxKeptEvents - 1}, {"", 1}} {
		var events []protocol.Event
		for range told.count {
			seq++
			events = append(events, protocol.Event{Seq: seq, At: begin, Type: "x", Code: told.code})
		}
		mustAdd(t, &log, "epoch", begin.Add(time.Duration(hour)*time.Hour), events...)
	}
	if first := log.Events[0]; first.Number != 2 || log.Covers(begin.Add(30*time.Minute)) || !log.Covers(begin.Add(90*time.Minute)) {
		t.Errorf("the oldest is %d, forgotten until %v", first.Number, log.ForgottenTo)
	}
}
