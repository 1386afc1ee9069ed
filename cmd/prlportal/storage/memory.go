package storage

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Memory is a store that is gone when the program ends. It keeps records as
// JSON, so that what it returns shares nothing with what it was given.
type Memory struct {
	mutex   sync.RWMutex
	devices map[string][]byte
	reports map[string][]byte
	history map[string][]byte
	events  map[string][]byte
	keys    map[Key]string

	verdicts map[string][]byte
	changes  map[string][]byte // by journalKey
	entries  []JournalEntry
	last     uint64
	forgot   map[string]uint64

	commands   map[string][]byte
	envelopes  map[string][]byte // by commandKey
	commandIDs map[string]string // id of a command -> id of its device
	audit      []byte

	outgoing      []Outgoing // in their order
	outgoingState OutgoingState
	lastOutgoing  uint64
}

// NewMemory makes an empty store.
func NewMemory() *Memory {
	return &Memory{
		devices: make(map[string][]byte),
		reports: make(map[string][]byte),
		history: make(map[string][]byte),
		events:  make(map[string][]byte),
		keys:    make(map[Key]string),

		verdicts: make(map[string][]byte),
		changes:  make(map[string][]byte),
		forgot:   map[string]uint64{JournalEvents: 0, JournalVerdicts: 0},

		commands:   make(map[string][]byte),
		envelopes:  make(map[string][]byte),
		commandIDs: make(map[string]string),
	}
}

// Close does nothing.
func (m *Memory) Close() error { return nil }

// Device is as Bolt.Device.
func (m *Memory) Device(ctx context.Context, key Key) (Device, error) {
	m.mutex.RLock()
	defer m.mutex.RUnlock()
	id, known := m.keys[key]
	if !known {
		return Device{}, cmp.Or(ctx.Err(), ErrNotFound)
	}
	return readRecord[Device](ctx, m.devices, id)
}

// ID is as Bolt.ID.
func (m *Memory) ID(ctx context.Context, key Key) (string, error) {
	m.mutex.RLock()
	defer m.mutex.RUnlock()
	id, known := m.keys[key]
	if !known {
		return "", cmp.Or(ctx.Err(), ErrNotFound)
	}
	return id, ctx.Err()
}

// IDs is as Bolt.IDs.
func (m *Memory) IDs(ctx context.Context, after string, limit int) ([]string, error) {
	m.mutex.RLock()
	defer m.mutex.RUnlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	ids := slices.Sorted(maps.Keys(m.devices))
	from, known := slices.BinarySearch(ids, after)
	if known {
		from++
	}
	return ids[from:min(len(ids), from+limit)], nil
}

// LiveIDs is as Bolt.LiveIDs.
func (m *Memory) LiveIDs(ctx context.Context, serial string, limit int) ([]string, error) {
	m.mutex.RLock()
	defer m.mutex.RUnlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var ids []string
	for key, id := range m.keys {
		if strings.HasPrefix(string(key), string(bySerial(serial))) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids[:min(len(ids), limit)], nil
}

// Report is as Bolt.Report.
func (m *Memory) Report(ctx context.Context, id string) (Report, error) {
	m.mutex.RLock()
	defer m.mutex.RUnlock()
	return readRecord[Report](ctx, m.reports, id)
}

// History is as Bolt.History.
func (m *Memory) History(ctx context.Context, id string) (History, error) {
	m.mutex.RLock()
	defer m.mutex.RUnlock()
	return readRecord[History](ctx, m.history, id)
}

// Events is as Bolt.Events.
func (m *Memory) Events(ctx context.Context, id string) (EventLog, error) {
	m.mutex.RLock()
	defer m.mutex.RUnlock()
	return readRecord[EventLog](ctx, m.events, id)
}

// Verdicts is as Bolt.Verdicts.
func (m *Memory) Verdicts(ctx context.Context, id string) (Verdicts, error) {
	m.mutex.RLock()
	defer m.mutex.RUnlock()
	return readRecord[Verdicts](ctx, m.verdicts, id)
}

// Changes is as Bolt.Changes.
func (m *Memory) Changes(ctx context.Context, id string, first uint64) (VerdictChanges, error) {
	m.mutex.RLock()
	defer m.mutex.RUnlock()
	key := string(journalKey(JournalVerdicts, id, first))
	if _, kept := m.changes[key]; !kept {
		return VerdictChanges{}, cmp.Or(ctx.Err(), ErrNotFound)
	}
	return readRecord[VerdictChanges](ctx, m.changes, key)
}

// Journal is as Bolt.Journal.
func (m *Memory) Journal(ctx context.Context, after uint64, limit int) (JournalPage, error) {
	m.mutex.RLock()
	defer m.mutex.RUnlock()
	page := JournalPage{Last: m.last, Forgotten: maps.Clone(m.forgot)}
	for _, entry := range m.entries {
		if entry.Number > after && len(page.Entries) < limit {
			page.Entries = append(page.Entries, entry)
		}
	}
	return page, ctx.Err()
}

func (m *Memory) noteInJournal(change *Change) {
	for _, one := range change.journal() {
		if one.count > 0 {
			m.last++
			m.entries = append(m.entries, JournalEntry{Number: m.last, DeviceID: change.Device.ID, Kind: one.kind, First: one.first, Count: one.count})
		}
		m.entries = slices.DeleteFunc(m.entries, func(entry JournalEntry) bool {
			if entry.DeviceID != change.Device.ID || entry.Kind != one.kind || !one.isForgotten(entry) {
				return false
			}
			delete(m.changes, string(journalKey(one.kind, entry.DeviceID, entry.First)))
			m.forgot[one.kind] = max(m.forgot[one.kind], entry.Number)
			return true
		})
	}
}

// Size is how many bytes the records have.
func (m *Memory) Size(ctx context.Context) (size int64, err error) {
	m.mutex.RLock()
	defer m.mutex.RUnlock()
	for _, records := range []map[string][]byte{m.devices, m.reports, m.history, m.events, m.verdicts, m.changes, m.commands, m.envelopes} {
		for _, data := range records {
			size += int64(len(data))
		}
	}
	return size, ctx.Err()
}

// Save is as Bolt.Save.
func (m *Memory) Save(ctx context.Context, change Change) error {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	before, err := readRecord[Device](ctx, m.devices, change.Device.ID)
	if err != nil {
		return err
	}
	if before.Version != change.Device.Version || m.keysTaken(change.Device) {
		return ErrConflict
	}
	encoded, err := encodeChange(change)
	if err != nil {
		return err
	}
	if err := m.keepEnvelopes(ctx, &change); err != nil {
		return err
	}
	m.keepChange(before, change.Device, encoded)
	if encoded.changes != nil {
		m.changes[string(journalKey(JournalVerdicts, change.Device.ID, change.Changes.First))] = encoded.changes
	}
	if encoded.audit != nil {
		m.audit = encoded.audit
	}
	m.noteInJournal(&change)
	m.addOutgoing(change.Outgoing)
	return nil
}

func (m *Memory) keysTaken(device Device) bool {
	return slices.ContainsFunc(device.Keys(), func(key Key) bool {
		holder, taken := m.keys[key]
		return taken && holder != device.ID
	})
}

func (m *Memory) keepChange(before, after Device, encoded encodedChange) {
	for _, key := range lostKeys(before, after) {
		delete(m.keys, key)
	}
	for _, key := range after.Keys() {
		m.keys[key] = after.ID
	}
	m.devices[after.ID] = encoded.device
	if encoded.report != nil {
		m.reports[after.ID] = encoded.report
	}
	if encoded.history != nil {
		m.history[after.ID] = encoded.history
	}
	if encoded.events != nil {
		m.events[after.ID] = encoded.events
	}
	if encoded.verdicts != nil {
		m.verdicts[after.ID] = encoded.verdicts
	}
	if encoded.commands != nil {
		m.commands[after.ID] = encoded.commands
	}
}

// readRecord decodes one record; a missing one is the zero value.
func readRecord[T any](ctx context.Context, from map[string][]byte, id string) (T, error) {
	var value T
	if err := ctx.Err(); err != nil {
		return value, err
	}
	data, known := from[id]
	if !known {
		return value, nil
	}
	return value, decodeRecord(data, &value)
}
