// Package fleet is the read side of the portal: every device and virtual machine
// as an admin sees them, the columns of the two tables, and a cache that keeps
// them decoded.
package fleet

import (
	"context"
	"errors"
	"fmt"
	"sync"

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
}

// Store is everything that the portal needs of a storage implementation.
type Store interface {
	deviceStore
	reportStore
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
	texts   []string // of each row, what a search looks at
	missing int      // virtual machines that no row is for
	policy  policyFacts
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
	read := newCachedDevice(device, report)
	f.cacheDevice(id, read)
	return read, nil
}

// newCachedDevice leaves out what no table shows.
func newCachedDevice(device storage.Device, report storage.Report) *cachedDevice {
	device.Tokens, device.Requests, device.PastEpochs = nil, nil, nil
	missing, policy := missingVMs(report), policyFactsOf(report)
	report.Users, report.Policy.Verdicts, report.Policy.Counts = nil, nil, nil
	made := &cachedDevice{version: device.Version, loaded: true, device: device, report: report, missing: missing, policy: policy, size: bytesPerDevice}
	for _, condition := range report.Health.Conditions {
		made.size += bytesPerCondition + len(condition.Code) + len(condition.Subject)
	}
	for _, row := range report.Rows {
		view := made.rowView(row)
		text := VMTable.SearchText(&view)
		made.texts = append(made.texts, text)
		made.size += bytesPerRow + 2*len(text)
	}
	return made
}

func (m *cachedDevice) rowView(row storage.Row) VM { return rowView(m.device, m.report, row) }

func rowView(device storage.Device, report storage.Report, row storage.Row) VM {
	return VM{
		Row:       RowOf(device, report, row),
		ChangedAt: latestTime(row.FirstSeenAt, row.ChangedAt, report.ChangedAt, device.ChangedAt).UTC(),
	}
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
