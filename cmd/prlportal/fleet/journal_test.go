package fleet_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/fleet"
	"prlagent/cmd/prlportal/portaltest"
	"prlagent/cmd/prlportal/storage"
)

// However Macs report while somebody reads, and wherever the reading breaks off: who
// goes on at the cursor of the last row gets each row once, in one order, and
// misses none.
func TestJournalHasNoGapsAndNoDoubles(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		read := fleet.New(storage.NewMemory(), fleet.MaxBytes)
		now := portaltest.Morning
		told := map[string]int{} // id -> how often it was to be told
		got := map[string][]string{}
		cursors := map[string]string{storage.JournalEvents: fleet.CursorStart, storage.JournalVerdicts: fleet.CursorStart}
		broke := errors.New("broke off")
		follow := func(kind string, most int) {
			from, err := fleet.ParseCursor(cursors[kind])
			if err != nil {
				t.Fatal(err)
			}
			take := func(id, cursor string) error {
				if most == 0 {
					return broke
				}
				most--
				got[kind] = append(got[kind], id)
				cursors[kind] = cursor
				return nil
			}
			var end fleet.JournalEnd
			if kind == storage.JournalEvents {
				end, err = read.EventsAfter(t.Context(), from, func(event *fleet.Event) error { return take(event.ID, event.Cursor) })
			} else {
				end, err = read.TransitionsAfter(t.Context(), from, func(one *fleet.VerdictTransition) error { return take(one.ID, one.Cursor) })
			}
			if err != nil && !errors.Is(err, broke) || end.Incomplete || end.Cursor != cursors[kind] {
				t.Fatalf("end %+v, cursor %s: %v", end, cursors[kind], err)
			}
		}
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(-60, 600).Draw(t, "seconds")) * time.Second) // clocks are set back
			if kind := rapid.SampledFrom([]string{"", "", storage.JournalEvents, storage.JournalVerdicts}).Draw(t, "reads"); kind != "" {
				follow(kind, rapid.IntRange(0, 4).Draw(t, "rows"))
				continue
			}
			report(t, read, rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "device"), now, told)
		}
		for kind := range cursors {
			follow(kind, -1)
			for _, id := range got[kind] {
				told[id]--
			}
		}
		for id, open := range told {
			if open != 0 {
				t.Errorf("%s was told %d times too seldom", id, open)
			}
		}
	})
}

// report saves what a device tells, and notes the ids that it gets.
func report(t *rapid.T, read *fleet.Fleet, id string, now time.Time, told map[string]int) {
	device, err := read.Device(t.Context(), storage.ByID(id))
	if err != nil {
		device = storage.Device{ID: id, Serial: "C02" + id, HardwareUUID: id}
	}
	change := storage.Change{Device: device}
	if count := rapid.IntRange(0, 3).Draw(t, "events"); count > 0 {
		log, err := read.Events(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		before := log.Last
		for range count {
			if _, err := log.Add([]protocol.Event{{Type: "x", At: now}}, "e", now); err != nil {
				t.Fatal(err)
			}
		}
		change.Events, change.NewEvents = &log, int(log.Last-before)
		for number := before + 1; number <= log.Last; number++ {
			told[fmt.Sprintf("%s.%d", id, number)]++
		}
	}
	kept, err := read.Verdicts(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	grouping := protocol.NewVerdictGrouping("ab")
	for _, vm := range []string{"1", "2", "3"} {
		grouping.Add(protocol.VMKey{ID: vm, UID: 501}, &protocol.VerdictGroup{Path: "x", Verdict: rapid.SampledFrom([]string{"in_place", "failed"}).Draw(t, "verdict")})
	}
	whole := grouping.Report
	whole.Full = true
	before := kept.Last
	if change.Changes, _, err = kept.Take(&whole, now); err != nil {
		t.Fatal(err)
	}
	change.Verdicts = &kept
	for number := before + 1; number <= kept.Last; number++ {
		told[fmt.Sprintf("%s.v%d", id, number)]++
	}
	if err := read.Save(t.Context(), change); err != nil {
		t.Fatal(err)
	}
}

// What was forgotten before it was told on is said, and only then.
func TestJournalSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	read := fleet.New(storage.NewMemory(), fleet.MaxBytes)
	device := storage.Device{ID: "a", Serial: "C02a", HardwareUUID: "a"}
	var log storage.EventLog
	tell := func(count int) {
		t.Helper()
		before := log.Last
		for range count {
			if _, err := log.Add([]protocol.Event{{Type: "x"}}, "e", portaltest.Morning); err != nil {
				t.Fatal(err)
			}
		}
		if err := read.Save(t.Context(), storage.Change{Device: device, Events: &log, NewEvents: int(log.Last - before)}); err != nil {
			t.Fatal(err)
		}
		device.Version++
	}
	follow := func(from string, want int, incomplete bool) string {
		t.Helper()
		cursor, err := fleet.ParseCursor(from)
		if err != nil {
			t.Fatal(err)
		}
		rows := 0
		end, err := read.EventsAfter(t.Context(), cursor, func(*fleet.Event) error { rows++; return nil })
		if err != nil || rows != want || end.Incomplete != incomplete {
			t.Errorf("behind %s: %d rows, %+v, %v; want %d, incomplete: %t", from, rows, end, err, want, incomplete)
		}
		return end.Cursor
	}
	tell(3)
	cursor := follow(fleet.CursorStart, 3, false)
	follow(cursor, 0, false)
	tell(storage.MaxKeptEvents)
	follow(cursor, storage.MaxKeptEvents, false) // what is forgotten was told
	follow(fleet.CursorStart, storage.MaxKeptEvents, true)
	tell(10)
	follow(cursor, storage.MaxKeptEvents, true)
}
