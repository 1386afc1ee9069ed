package fleet

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/storage"
)

// Cursor is how far somebody has read the journal.
type Cursor struct {
	entry uint64 // everything before it
	told  uint64 // and so many of its rows; all of them where 0
	proof string // which entry that was, so that a portal that was put back is told from this one
}

// Kinds of rows of the journal.
const (
	JournalEvents   = storage.JournalEvents
	JournalVerdicts = storage.JournalVerdicts
)

// CursorStart is the text of the cursor before everything.
const CursorStart = "start"

// ErrCursor says that a text is no cursor, ErrOtherJournal that it is one of another
// portal, or of what this one was before it was put back.
var (
	ErrCursor       = errors.New("a cursor is " + CursorStart + ", or the cursor of a row")
	ErrOtherJournal = errors.New("the cursor is not of this portal's present state: it was restored from an older backup, or this is another one; begin again with " + CursorStart)
)

// ParseCursor reads a cursor as it was given.
func ParseCursor(text string) (Cursor, error) {
	var c Cursor
	if text == CursorStart {
		return c, nil
	}
	var proof uint32
	if _, err := fmt.Sscanf(text, "c%d-%d-%8x", &c.entry, &c.told, &proof); err != nil || c.entry == 0 {
		return Cursor{}, ErrCursor
	}
	if c.proof = fmt.Sprintf("%08x", proof); c.String() != text {
		return Cursor{}, ErrCursor
	}
	return c, nil
}

func (c Cursor) String() string {
	if c.entry == 0 {
		return CursorStart
	}
	return fmt.Sprintf("c%d-%d-%s", c.entry, c.told, c.proof)
}

// after is the cursor behind so many rows of an entry.
func after(entry *storage.JournalEntry, told uint64) Cursor {
	if told >= uint64(entry.Count) {
		told = 0
	}
	return Cursor{entry.Number, told, proofOf(entry)}
}

func proofOf(entry *storage.JournalEntry) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %s %s %d", entry.Number, entry.DeviceID, entry.Kind, entry.First))
	return fmt.Sprintf("%x", sum[:4])
}

// JournalEnd is where a reading of the journal has ended.
type JournalEnd struct {
	Cursor     string `json:"cursor"`
	Incomplete bool   `json:"incomplete,omitempty"` // something after the first cursor is kept no longer
}

// entriesPerRead is how many journal entries are read from the store at a time.
const entriesPerRead = 500

// EventsAfter calls visit with every event after the cursor, each with its own, in
// the order in which they were kept.
func (f *Fleet) EventsAfter(ctx context.Context, from Cursor, visit func(*Event) error) (JournalEnd, error) {
	logs := make(map[string]storage.EventLog) // of the devices of a page
	reading := journalReading{fleet: f, kind: storage.JournalEvents, begin: func() { clear(logs) }}
	reading.rows = func(m *cachedDevice, entry *storage.JournalEntry, emit func(number uint64, row func(cursor string) error) error) error {
		log, read := logs[entry.DeviceID]
		if !read {
			var err error
			if log, err = f.store.Events(ctx, entry.DeviceID); err != nil {
				return fmt.Errorf("load events: %w", err)
			}
			logs[entry.DeviceID] = log
		}
		for _, kept := range log.Events {
			err := emit(kept.Number, func(cursor string) error {
				event := eventOf(m, kept)
				event.Cursor = cursor
				return visit(&event)
			})
			if err != nil {
				return err
			}
		}
		return nil
	}
	return reading.run(ctx, from)
}

// TransitionsAfter is EventsAfter of the changes of verdicts.
func (f *Fleet) TransitionsAfter(ctx context.Context, from Cursor, visit func(*VerdictTransition) error) (JournalEnd, error) {
	reading := journalReading{fleet: f, kind: storage.JournalVerdicts, begin: func() {}}
	reading.rows = func(m *cachedDevice, entry *storage.JournalEntry, emit func(number uint64, row func(cursor string) error) error) (err error) {
		changes, missing := f.store.Changes(ctx, entry.DeviceID, entry.First)
		if errors.Is(missing, storage.ErrNotFound) {
			return nil
		}
		if missing != nil {
			return fmt.Errorf("load changes: %w", missing)
		}
		changes.Each(func(number uint64, vm protocol.VMKey, change *storage.VerdictChange) {
			if err != nil {
				return
			}
			err = emit(number, func(cursor string) error {
				row := transitionOf(m, &changes, number, vm, change)
				row.Cursor = cursor
				return visit(&row)
			})
		})
		return err
	}
	return reading.run(ctx, from)
}

// journalReading is one reading of one kind of rows.
type journalReading struct {
	fleet *Fleet
	kind  string
	begin func() // a page
	// rows calls emit with all rows of a device that may be of the entry.
	rows func(m *cachedDevice, entry *storage.JournalEntry, emit func(number uint64, row func(cursor string) error) error) error
	end  JournalEnd
}

func (r *journalReading) run(ctx context.Context, from Cursor) (JournalEnd, error) {
	r.end.Cursor = from.String()
	next := max(from.entry, 1) - 1
	for {
		page, err := r.fleet.store.Journal(ctx, next, entriesPerRead)
		if err != nil {
			return r.end, fmt.Errorf("read journal: %w", err)
		}
		if from.entry > page.Last {
			return r.end, ErrOtherJournal
		}
		lost := page.Forgotten[r.kind]
		r.end.Incomplete = r.end.Incomplete || lost > next && (lost > from.entry || lost == from.entry && from.told > 0)
		if len(page.Entries) == 0 {
			return r.end, nil
		}
		r.begin()
		for i := range page.Entries {
			if err := r.entry(ctx, &page.Entries[i], from); err != nil {
				return r.end, err
			}
		}
		next = page.Entries[len(page.Entries)-1].Number
	}
}

// entry tells the rows of an entry that were not told yet.
func (r *journalReading) entry(ctx context.Context, entry *storage.JournalEntry, from Cursor) error {
	var told uint64
	if entry.Number == from.entry {
		if proofOf(entry) != from.proof {
			return ErrOtherJournal
		}
		if told = from.told; told == 0 {
			return nil
		}
	}
	if entry.Kind != r.kind {
		return nil
	}
	device, err := r.fleet.loadDevice(ctx, entry.DeviceID)
	if err != nil {
		return err
	}
	next, behind := entry.First+told, entry.First+uint64(entry.Count)
	err = r.rows(device, entry, func(number uint64, row func(cursor string) error) error {
		if number < next || number >= behind {
			return nil
		}
		r.end.Incomplete = r.end.Incomplete || number > next
		next = number + 1
		cursor := after(entry, next-entry.First).String()
		if err := row(cursor); err != nil {
			return err
		}
		r.end.Cursor = cursor
		return nil
	})
	r.end.Incomplete = r.end.Incomplete || err == nil && next < behind
	return err
}
