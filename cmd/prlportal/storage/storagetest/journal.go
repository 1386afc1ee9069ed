package storagetest

import (
	"fmt"
	"testing"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/storage"
)

// tell saves what a device tells of its machines' clipboards, each with a verdict.
func tell(t *testing.T, store Store, id, verdict string, at time.Time) storage.Change {
	t.Helper()
	device, err := store.Device(t.Context(), storage.ByID(id))
	if err != nil {
		device = newDevice(id)
	}
	verdicts, err := store.Verdicts(t.Context(), id)
	wantError(t, err, nil)
	grouping := protocol.NewVerdictGrouping("ab")
	for i := range 3 {
		grouping.Add(protocol.VMKey{ID: fmt.Sprint("vm-", i), UID: 501}, &protocol.VerdictGroup{Path: "vm_settings.other.clipboard", Verdict: verdict, Strength: protocol.StrengthReverted})
	}
	told := grouping.Report
	told.Full = true
	changes, fits, err := verdicts.Take(&told, at)
	if err != nil || !fits {
		t.Fatalf("taken: %t, %v", fits, err)
	}
	change := storage.Change{Device: device, Verdicts: &verdicts, Changes: changes}
	mustSave(t, store, change)
	return change
}

func testVerdicts(t *testing.T, store Store) {
	empty, err := store.Verdicts(t.Context(), "a")
	wantError(t, err, nil)
	wantEqual(t, empty, storage.Verdicts{})
	first := tell(t, store, "a", protocol.VerdictPending, enrolledAt)
	second := tell(t, store, "a", protocol.VerdictInPlace, enrolledAt.Add(time.Hour))
	verdicts, err := store.Verdicts(t.Context(), "a")
	wantError(t, err, nil)
	wantEqual(t, verdicts, *second.Verdicts)
	for i, want := range []storage.Change{first, second} {
		changes, err := store.Changes(t.Context(), "a", verdicts.Kept[i].First)
		wantError(t, err, nil)
		wantEqual(t, changes, *want.Changes)
	}
	for _, other := range []struct {
		id    string
		first uint64
	}{{"a", 2}, {"b", 1}, {"", 1}} {
		_, err = store.Changes(t.Context(), other.id, other.first)
		wantError(t, err, storage.ErrNotFound)
	}
}

// journalOf reads the journal in pages.
func journalOf(t *testing.T, store Store, after uint64, limit int) (entries []storage.JournalEntry, last storage.JournalPage) {
	t.Helper()
	for {
		page, err := store.Journal(t.Context(), after, limit)
		wantError(t, err, nil)
		if len(page.Entries) == 0 {
			return entries, page
		}
		entries = append(entries, page.Entries...)
		after = page.Entries[len(page.Entries)-1].Number
	}
}

func testJournal(t *testing.T, store Store) {
	tell(t, store, "b", protocol.VerdictPending, enrolledAt)
	events := storage.EventLog{Last: 2, Events: []storage.KeptEvent{{Number: 1}, {Number: 2}}}
	mustSave(t, store, storage.Change{Device: mustLoad(t, store, storage.ByID("b")), Events: &events, NewEvents: 2})
	tell(t, store, "a", protocol.VerdictPending, enrolledAt.Add(-time.Hour)) // clocks are set back
	tell(t, store, "b", protocol.VerdictPending, enrolledAt)                 // nothing is new
	stale := newDevice("b")
	wantError(t, store.Save(t.Context(), storage.Change{Device: stale, Events: &events, NewEvents: 2}), storage.ErrConflict)
	tell(t, store, "b", protocol.VerdictFailed, enrolledAt)
	want := []storage.JournalEntry{
		{Number: 1, DeviceID: "b", Kind: storage.JournalVerdicts, First: 1, Count: 3},
		{Number: 2, DeviceID: "b", Kind: storage.JournalEvents, First: 1, Count: 2},
		{Number: 3, DeviceID: "a", Kind: storage.JournalVerdicts, First: 1, Count: 3},
		{Number: 4, DeviceID: "b", Kind: storage.JournalVerdicts, First: 4, Count: 3},
	}
	for _, limit := range []int{1, 3, 10} {
		entries, page := journalOf(t, store, 0, limit)
		wantEqual(t, entries, want)
		wantEqual(t, page, storage.JournalPage{Last: 4, Forgotten: map[string]uint64{"events": 0, "verdicts": 0}})
	}
	entries, _ := journalOf(t, store, 3, 10)
	wantEqual(t, entries, want[3:])
}

func testForgotten(t *testing.T, store Store) {
	words := []string{protocol.VerdictPending, protocol.VerdictFailed, protocol.VerdictInPlace}
	for day := range 3 {
		tell(t, store, "a", words[day], enrolledAt.AddDate(0, 0, day))
	}
	tell(t, store, "b", protocol.VerdictPending, enrolledAt)
	log := storage.EventLog{Last: 3, Events: []storage.KeptEvent{{Number: 1}, {Number: 2}, {Number: 3}}}
	mustSave(t, store, storage.Change{Device: mustLoad(t, store, storage.ByID("a")), Events: &log, NewEvents: 3})
	log = storage.EventLog{Last: 5, Events: []storage.KeptEvent{{Number: 3}, {Number: 4}, {Number: 5}}}
	mustSave(t, store, storage.Change{Device: mustLoad(t, store, storage.ByID("a")), Events: &log, NewEvents: 2})
	tell(t, store, "a", protocol.VerdictFailed, enrolledAt.Add(storage.MaxChangesAge+36*time.Hour))
	entries, page := journalOf(t, store, 0, 10)
	var numbers []uint64
	for _, entry := range entries {
		numbers = append(numbers, entry.Number)
	}
	wantEqual(t, numbers, []uint64{3, 4, 5, 6, 7}) // of the fifth one an event is kept
	wantEqual(t, page, storage.JournalPage{Last: 7, Forgotten: map[string]uint64{"events": 0, "verdicts": 2}})
	_, err := store.Changes(t.Context(), "a", 1)
	wantError(t, err, storage.ErrNotFound)
	verdicts, err := store.Verdicts(t.Context(), "a")
	wantError(t, err, nil)
	if len(verdicts.Kept) != 2 || verdicts.Covers(enrolledAt) || !verdicts.Covers(enrolledAt.AddDate(0, 0, 2)) {
		t.Errorf("kept %+v, forgotten to %s", verdicts.Kept, verdicts.ForgottenTo)
	}
	log = storage.EventLog{Last: 9, Events: []storage.KeptEvent{{Number: 8}, {Number: 9}}}
	mustSave(t, store, storage.Change{Device: mustLoad(t, store, storage.ByID("a")), Events: &log, NewEvents: 4})
	_, page = journalOf(t, store, 0, 10)
	wantEqual(t, page.Forgotten["events"], uint64(6))
}
