package agent

import (
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"prlagent/agent/outbox"
	"prlagent/agent/protocol"
	"prlagent/store"
)

// unsent are the events that the portal does not have.
func unsent(t *testing.T, events *eventLog) []protocol.Event {
	t.Helper()
	list, err := outbox.New(events.store, events, lasts).Unsent()
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// settle notes that the portal has everything up to a number.
func settle(t *testing.T, events *eventLog, seq uint64) {
	t.Helper()
	err := outbox.New(events.store, events, lasts).Update(func(_ *store.Tx, change *outbox.Change) error {
		change.Settle(seq)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func openTestLog(t *testing.T, folder string) (*eventLog, *store.Store) {
	t.Helper()
	state, _, err := store.Open(t.Context(), filepath.Join(folder, "state"), store.Options{Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = state.Close() })
	events, err := openEventLog(state, &nolog)
	if err != nil {
		t.Fatal(err)
	}
	return events, state
}

func TestEventLogKeepsEventsOverARestart(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	before, state := openTestLog(t, folder)
	before.add(newEvent(time.Now(), "first", ""), newEvent(time.Now(), "second", "", "vm_id", "1"))
	settle(t, before, 1)
	if err := state.Close(); err != nil {
		t.Fatal(err)
	}
	after, _ := openTestLog(t, folder)
	after.add(newEvent(time.Now(), "third", ""))
	events, next, err := after.EventsSince(0, 10)
	if err != nil || len(events) != 3 || next != 3 || events[1].Data["vm_id"] != "1" || events[2].Seq != 3 {
		t.Errorf("events %+v, next %d, %v", events, next, err)
	}
	if unsent := unsent(t, after); len(unsent) != 2 || unsent[0].Type != "second" {
		t.Errorf("unsent %+v, want the second and the third", unsent)
	}
}

func TestEventLogReadsInPages(t *testing.T) {
	t.Parallel()
	events, _ := openTestLog(t, t.TempDir())
	for i := range 5 {
		events.add(newEvent(time.Now(), strconv.Itoa(i), ""))
	}
	page, next, err := events.EventsSince(1, 2)
	if err != nil || len(page) != 2 || page[0].Type != "1" || next != 3 {
		t.Errorf("page %+v, next %d, %v", page, next, err)
	}
	if rest, next, _ := events.EventsSince(5, 2); len(rest) != 0 || next != 5 {
		t.Errorf("behind the last: %d events, next %d", len(rest), next)
	}
}

func TestH18_SecurityEventsCannotBeFlushed(t *testing.T) {
	t.Parallel()
	events, _ := openTestLog(t, t.TempDir())
	events.add(newEvent(time.Now(), "harmless", ""))
	events.add(newEvent(time.Now(), "rollback_detected", protocol.CodeRollbackDetected))
	noise := make([]protocol.Event, 2*protocol.MaxEvents)
	for i := range noise {
		noise[i] = newEvent(time.Now(), "vm_renamed", "")
	}
	events.add(noise...)
	events.add(newEvent(time.Now(), "identity_reset", protocol.CodeIdentityReset))

	all, next, err := events.EventsSince(0, 10*protocol.MaxEvents)
	if err != nil || len(all) != protocol.MaxEvents+1 {
		t.Fatalf("%d events, %v; want the ring and the one that was flushed from it", len(all), err)
	}
	if all[0].Code != protocol.CodeRollbackDetected || all[0].Seq != 2 || all[len(all)-1].Code != protocol.CodeIdentityReset || next != all[len(all)-1].Seq {
		t.Errorf("first %+v, last %+v, next %d", all[0], all[len(all)-1], next)
	}
	page, next, err := events.EventsSince(0, 1)
	if err != nil || len(page) != 1 || page[0].Seq != 2 || next != 2 {
		t.Errorf("a page of one: %+v, next %d, %v", page, next, err)
	}
	rest, _, err := events.EventsSince(2, 10*protocol.MaxEvents)
	if err != nil || len(rest) != protocol.MaxEvents {
		t.Errorf("after it come %d events, %v", len(rest), err)
	}
	if unsent := unsent(t, events); len(unsent) != protocol.MaxEvents || unsent[0].Seq != 2 {
		t.Errorf("the portal gets %d events, first %+v", len(unsent), unsent[0])
	}
}

// Every security event outlives a flood, and nothing else does: the codes by
// name, so that a change of the table shows here.
func TestH18_EveryCodeOfASecurityEvent(t *testing.T) {
	t.Parallel()
	security := []protocol.Code{
		"rollback_detected", "head_signature", "head_wrong_group", "head_wrong_site", "policy_hash", "group_change_unsigned",
		"duplicate_identity", "identity_reset", "device_revoked", "device_retired", "tools_untrusted",
		"state_restored", "state_reset", "server_time_refused", "profile_removed",
	}
	events, _ := openTestLog(t, t.TempDir())
	for _, code := range append([]protocol.Code{"", protocol.CodeServiceDown, protocol.CodePortalUnreachable}, security...) {
		events.add(newEvent(time.Now(), string(code), code))
	}
	noise := make([]protocol.Event, protocol.MaxEvents)
	for i := range noise {
		noise[i] = newEvent(time.Now(), "vm_renamed", "")
	}
	events.add(noise...)
	all, _, err := events.EventsSince(0, 10*protocol.MaxEvents)
	if err != nil || len(all) < protocol.MaxEvents {
		t.Fatalf("%d events, %v", len(all), err)
	}
	var kept []protocol.Code
	for _, event := range all[:len(all)-protocol.MaxEvents] {
		kept = append(kept, event.Code)
	}
	if diff := cmp.Diff(security, kept); diff != "" {
		t.Errorf("codes that a flood leaves (-want +got):\n%s", diff)
	}
}

func TestEventLogWakesWhoFollows(t *testing.T) {
	t.Parallel()
	events, _ := openTestLog(t, t.TempDir())
	changed := events.EventsChanged(0)
	select {
	case <-changed:
		t.Fatal("woken without an event")
	default:
	}
	events.add(newEvent(time.Now(), "one", ""))
	<-changed
	<-events.EventsChanged(0) // there is one already
}

func TestEventLogWritesNothingForNothing(t *testing.T) {
	t.Parallel()
	events, state := openTestLog(t, t.TempDir())
	before := state.Commits()
	events.add()
	settle(t, events, 0)
	events.add(make([]protocol.Event, 0)...)
	if state.Commits() != before {
		t.Error("a commit without an event")
	}
}

// A follower holds a number of a ring that was erased since: nothing of the new
// one is kept from them.
func TestEventLogThatBeganAnewIsFollowed(t *testing.T) {
	t.Parallel()
	events, state := openTestLog(t, t.TempDir())
	for range 5 {
		events.add(newEvent(time.Now(), "old", ""))
	}
	if err := state.Erase(); err != nil {
		t.Fatal(err)
	}
	events.restart()
	none, next, err := events.EventsSince(5, 10)
	if err != nil || len(none) != 0 || next != 0 {
		t.Errorf("of an empty ring: %d events, next %d, %v", len(none), next, err)
	}
	changed := events.EventsChanged(next)
	select {
	case <-changed:
		t.Fatal("woken without an event")
	default:
	}
	events.add(newEvent(time.Now(), "new", ""))
	<-changed
	<-events.EventsChanged(5)
	if got, next, _ := events.EventsSince(5, 10); len(got) != 1 || got[0].Type != "new" || next != 1 {
		t.Errorf("events %+v, next %d", got, next)
	}
}

func TestEventLogSaysWhyItKeepsNothing(t *testing.T) {
	t.Parallel()
	events, state := openTestLog(t, t.TempDir())
	events.add(newEvent(time.Now(), "one", ""))
	if failure := events.failure(); failure != "" {
		t.Errorf("failure %s of a sound store", failure)
	}
	if err := state.Close(); err != nil {
		t.Fatal(err)
	}
	events.add(newEvent(time.Now(), "two", ""))
	if events.failure() == "" {
		t.Error("an event was lost and nothing says so")
	}
}

// Whoever writes at the same moment, the newest number never falls behind the ring:
// a mark beyond it would be of another ring, and everything would be told again.
func TestEventsThatAreKeptAtTheSameMoment(t *testing.T) {
	t.Parallel()
	events := newDaemon(t, settings(t)).eventLog
	var writers sync.WaitGroup
	for writer := range 6 {
		writers.Go(func() {
			for range 40 {
				if writer%2 == 0 {
					_ = events.commit(func(*store.Tx) error { return nil })
					continue
				}
				before := events.newest()
				events.add(newEvent(wallClock(), "test", ""))
				_, mark, err := events.EventsSince(before, 1)
				if again, _, _ := events.EventsSince(mark, 1); err != nil || len(again) > 0 && again[0].Seq <= mark {
					t.Errorf("after %d comes %+v, %v", mark, again, err)
				}
				if newest := events.newest(); newest < mark {
					t.Errorf("%d is there, the newest is said to be %d", mark, newest)
				}
			}
		})
	}
	writers.Wait()
	if events.newest() != 120 {
		t.Errorf("the newest of 120 events is said to be %d", events.newest())
	}
}
