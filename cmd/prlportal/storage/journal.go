package storage

import (
	"encoding/binary"

	"prlagent/agent/protocol"
)

// What a journal entry is about.
const (
	JournalEvents   = "events"
	JournalVerdicts = "verdicts"
)

// JournalEntry says what one check-in told that has numbers: events, or changes of
// verdicts. Entries are numbered by the order in which they were kept, whatever
// clocks say, so whoever has read up to a number has missed nothing. What is
// forgotten of a device is forgotten here too.
type JournalEntry struct {
	Number   uint64 `json:"number"`
	DeviceID string `json:"device_id"`
	Kind     string `json:"kind"`
	First    uint64 `json:"first"` // number at the device of the first one
	Count    int    `json:"count"`
}

// JournalPage is a part of the journal.
type JournalPage struct {
	Entries []JournalEntry
	Last    uint64 // number of the newest entry that there ever was
	// Forgotten is the highest number of an entry that was forgotten, by its kind.
	Forgotten map[string]uint64
}

// journalKey is where an entry is found by what it is about; those of one device
// are in the order of First.
func journalKey(kind, deviceID string, first uint64) []byte {
	return binary.BigEndian.AppendUint64(journalPrefix(kind, deviceID), first)
}

// journalPrefix begins the keys of one device. No id has a zero byte.
func journalPrefix(kind, deviceID string) []byte { return append([]byte(kind+"\x00"+deviceID), 0) }

func numberKey(number uint64) []byte { return binary.BigEndian.AppendUint64(nil, number) }

// journaled is what a change adds to the journal, and up to where that is forgotten.
type journaled struct {
	kind   string
	first  uint64
	count  int // 0: nothing is new
	oldest uint64
}

// journal is what of the change is told on.
func (c *Change) journal() (all []journaled) {
	if c.Events != nil {
		one := journaled{kind: JournalEvents, first: c.Events.Last + 1 - uint64(c.NewEvents), count: c.NewEvents, oldest: c.Events.Last + 1}
		if len(c.Events.Events) > 0 {
			one.oldest = c.Events.Events[0].Number
		}
		all = append(all, one)
	}
	if c.Verdicts != nil {
		one := journaled{kind: JournalVerdicts, oldest: c.Verdicts.oldest()}
		if c.Changes != nil {
			one.first, one.count = c.Changes.First, c.Changes.Count()
		}
		all = append(all, one)
	}
	return all
}

// isForgotten reports whether nothing of an entry is kept.
func (j journaled) isForgotten(entry JournalEntry) bool {
	return entry.First+uint64(entry.Count) <= j.oldest
}

// encodeEntry has no limit: it has no text from outside.
func encodeEntry(entry JournalEntry) ([]byte, error) { return protocol.Encode(entry) }
