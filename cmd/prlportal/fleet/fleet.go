// Package fleet is the read side of the portal: every device and virtual machine
// as an admin sees them, the columns of the two tables, and a cache that keeps
// them decoded.
package fleet

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/storage"
)

// deviceStore finds and keeps devices.
type deviceStore interface {
	Device(ctx context.Context, key storage.Key) (storage.Device, error)
	ID(ctx context.Context, key storage.Key) (string, error)
	IDs(ctx context.Context, after string, limit int) ([]string, error)
	LiveIDs(ctx context.Context, serial string, limit int) ([]string, error)
	Save(ctx context.Context, change storage.Change) error
}

// reportStore reads what devices reported.
type reportStore interface {
	Report(ctx context.Context, deviceID string) (storage.Report, error)
	History(ctx context.Context, deviceID string) (storage.History, error)
	Events(ctx context.Context, deviceID string) (storage.EventLog, error)
	Verdicts(ctx context.Context, deviceID string) (storage.Verdicts, error)
	Changes(ctx context.Context, deviceID string, first uint64) (storage.VerdictChanges, error)
	Journal(ctx context.Context, after uint64, limit int) (storage.JournalPage, error)
}

// commandStore reads the commands of devices.
type commandStore interface {
	Commands(ctx context.Context, deviceID string) (storage.CommandLog, error)
	CommandEnvelopes(ctx context.Context, deviceID, commandID string) (storage.CommandEnvelopes, error)
	CommandDevice(ctx context.Context, commandID string) (deviceID string, err error)
}

// Store is everything that the portal needs of a storage implementation.
type Store interface {
	deviceStore
	reportStore
	commandStore
	// Size is how many bytes it has.
	Size(ctx context.Context) (int64, error)
}

// Fleet is the read side: devices and reports as they are in the store, kept
// decoded within a bound, because decoding is most of what a query costs. What
// does not fit is read from the store each time. It is also the only way in
// which the server saves, so that it never shows what was replaced.
type Fleet struct {
	store Store
	limit int // estimated bytes of all that is cached

	mutex  sync.RWMutex
	cached map[string]*cachedDevice // by device id
	size   int
}

// MaxBytes is room for some 40,000 Macs with three virtual machines each.
const MaxBytes = 256 << 20

// cachedDevice is one device in memory. It is never changed. One without a loaded
// report only says which version is the oldest that may take its place.
type cachedDevice struct {
	version uint64
	loaded  bool
	device  storage.Device
	report  storage.Report
	last    map[protocol.VMKey]storage.Command    // the last one on each machine, without its steps
	holds   map[protocol.VMKey]protocol.HoldState // as the Mac reports them
	counts  CommandCounts
	texts   []string // of each row, what a search looks at
	missing int      // virtual machines that no row is for
	size    int
}

// Estimates of what a cached device takes beside its texts.
const (
	bytesPerDevice    = 1536
	bytesPerRow       = 768
	bytesPerCondition = 96
)

// New makes a fleet over a store that keeps at most limit estimated bytes
// decoded.
func New(store Store, limit int) *Fleet {
	return &Fleet{store: store, limit: limit, cached: make(map[string]*cachedDevice)}
}

// Save saves, and forgets what it replaced. A reader that has loaded the older
// version in the meantime cannot bring it back.
func (f *Fleet) Save(ctx context.Context, change storage.Change) error {
	if err := f.store.Save(ctx, change); err != nil {
		return err
	}
	f.cacheDevice(change.Device.ID, &cachedDevice{version: change.Device.Version + 1})
	return nil
}

// Device is the device with this key, from the store.
func (f *Fleet) Device(ctx context.Context, key storage.Key) (storage.Device, error) {
	return f.store.Device(ctx, key)
}

// ID is the id of the device with this key, from the store.
func (f *Fleet) ID(ctx context.Context, key storage.Key) (string, error) { return f.store.ID(ctx, key) }

// IDs are ids of devices in their order, from the store.
func (f *Fleet) IDs(ctx context.Context, after string, limit int) ([]string, error) {
	return f.store.IDs(ctx, after, limit)
}

// LiveIDs are ids of the devices with a serial number that are not retired, from
// the store.
func (f *Fleet) LiveIDs(ctx context.Context, serial string, limit int) ([]string, error) {
	return f.store.LiveIDs(ctx, serial, limit)
}

// Report is what a device reported last, from the store; healed, where it was
// kept by a portal before this one.
func (f *Fleet) Report(ctx context.Context, deviceID string) (storage.Report, error) {
	report, err := f.store.Report(ctx, deviceID)
	if err != nil || !report.IsOlder() {
		return report, err
	}
	history, err := f.store.History(ctx, deviceID)
	if err != nil {
		return storage.Report{}, fmt.Errorf("load history: %w", err)
	}
	storage.Heal(&report, &history)
	return report, nil
}

// History is what a device had, from the store; healed, where it was kept by a
// portal before this one.
func (f *Fleet) History(ctx context.Context, deviceID string) (storage.History, error) {
	history, err := f.store.History(ctx, deviceID)
	if err != nil || !history.IsOlder() {
		return history, err
	}
	report, err := f.store.Report(ctx, deviceID)
	if err != nil {
		return storage.History{}, fmt.Errorf("load report: %w", err)
	}
	storage.Heal(&report, &history)
	return history, nil
}

// Events is what happened on a device, from the store.
func (f *Fleet) Events(ctx context.Context, deviceID string) (storage.EventLog, error) {
	return f.store.Events(ctx, deviceID)
}

// Verdicts is what became of each setting on a device, from the store.
func (f *Fleet) Verdicts(ctx context.Context, deviceID string) (storage.Verdicts, error) {
	return f.store.Verdicts(ctx, deviceID)
}

// Commands are the commands and holds of a device, from the store.
func (f *Fleet) Commands(ctx context.Context, deviceID string) (storage.CommandLog, error) {
	return f.store.Commands(ctx, deviceID)
}

// CommandEnvelopes are what was signed about a command, from the store.
func (f *Fleet) CommandEnvelopes(ctx context.Context, deviceID, commandID string) (storage.CommandEnvelopes, error) {
	return f.store.CommandEnvelopes(ctx, deviceID, commandID)
}

// CommandDevice is the device that a command was issued for, from the store.
func (f *Fleet) CommandDevice(ctx context.Context, commandID string) (string, error) {
	return f.store.CommandDevice(ctx, commandID)
}

// Size is how many bytes the store has.
func (f *Fleet) Size(ctx context.Context) (int64, error) { return f.store.Size(ctx) }

// cacheDevice keeps a device if there is no newer one, and if there is room.
func (f *Fleet) cacheDevice(id string, next *cachedDevice) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	before := f.cached[id]
	if before != nil && (before.version > next.version || before.version == next.version && before.loaded) {
		return
	}
	if before != nil {
		f.size -= before.size
	}
	if f.size+next.size > f.limit {
		next = &cachedDevice{version: next.version}
	}
	f.size += next.size
	f.cached[id] = next
}

// loadDevice gives a device as the store has it.
func (f *Fleet) loadDevice(ctx context.Context, id string) (*cachedDevice, error) {
	f.mutex.RLock()
	held := f.cached[id]
	f.mutex.RUnlock()
	if held != nil && held.loaded {
		return held, nil
	}
	device, err := f.store.Device(ctx, storage.ByID(id))
	if err != nil {
		return nil, fmt.Errorf("load device: %w", err)
	}
	report, err := f.Report(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("load report: %w", err)
	}
	var commands storage.CommandLog
	if device.HasCommands {
		if commands, err = f.store.Commands(ctx, id); err != nil {
			return nil, fmt.Errorf("load commands: %w", err)
		}
	}
	read := newCachedDevice(device, report, commands)
	f.cacheDevice(id, read)
	return read, nil
}

// newCachedDevice leaves out what no table shows.
func newCachedDevice(device storage.Device, report storage.Report, commands storage.CommandLog) *cachedDevice {
	device.Tokens, device.Requests, device.PastEpochs = nil, nil, nil
	missing := missingVMs(report)
	report.Users, report.Policy.Counts = nil, nil
	made := &cachedDevice{version: device.Version, loaded: true, device: device, report: report, missing: missing, size: bytesPerDevice}
	made.noteCommands(&commands)
	for _, condition := range report.Health.Conditions {
		made.size += bytesPerCondition + len(condition.Code) + len(condition.Subject)
	}
	for _, row := range report.Rows {
		view := made.rowView(row, time.Time{})
		text := VMTable.SearchText(&view)
		made.texts = append(made.texts, text)
		made.size += bytesPerRow + 2*len(text)
	}
	return made
}

// rowView is a row with its last command, as it stands at that time, and its hold.
func (m *cachedDevice) rowView(row storage.Row, now time.Time) VM {
	device, report := m.device, m.report
	view := VM{
		Row:       RowOf(device, report, row),
		Settings:  row.Settings,
		ChangedAt: latestTime(row.FirstSeenAt, row.ChangedAt, report.ChangedAt, device.ChangedAt).UTC(),
	}
	m.addCommand(&view, now)
	return view
}

// idsPerRead is how many ids are read from the store at a time.
const idsPerRead = 1000

// eachDevice calls visit with every device, in the order of their ids.
func (f *Fleet) eachDevice(ctx context.Context, visit func(*cachedDevice) error) error {
	for after := ""; ; {
		ids, err := f.store.IDs(ctx, after, idsPerRead)
		if err != nil {
			return fmt.Errorf("list devices: %w", err)
		}
		for _, id := range ids {
			found, err := f.loadDevice(ctx, id)
			if errors.Is(err, storage.ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			if err := visit(found); err != nil {
				return err
			}
		}
		if len(ids) < idsPerRead {
			return nil
		}
		after = ids[len(ids)-1]
	}
}
