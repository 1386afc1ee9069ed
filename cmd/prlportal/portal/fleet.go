package portal

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/storage"
)

// deviceStore finds and keeps devices.
type deviceStore interface {
	Device(ctx context.Context, key storage.Key) (storage.Device, error)
	IDs(ctx context.Context, after string, limit int) ([]string, error)
	Save(ctx context.Context, change storage.Change) error
}

// reportStore reads what devices reported.
type reportStore interface {
	Report(ctx context.Context, deviceID string) (storage.Report, error)
	History(ctx context.Context, deviceID string) (storage.History, error)
}

// store is everything that the portal needs of a storage implementation.
type store interface {
	deviceStore
	reportStore
}

// fleet is the read side: devices and reports as they are in the store, kept
// decoded within a bound, because decoding is most of what a query costs. What
// does not fit is read from the store each time. It is also the only way in
// which the server saves, so that it never shows what was replaced.
type fleet struct {
	store store
	limit int // estimated bytes of all members

	mutex   sync.RWMutex
	members map[string]*member // by device id
	size    int
}

// maxFleetBytes is room for some 40,000 Macs with three virtual machines each.
const maxFleetBytes = 256 << 20

// member is one device in memory. It is never changed. One without a loaded
// report only says which version is the oldest that may take its place.
type member struct {
	version uint64
	loaded  bool
	device  storage.Device
	report  storage.Report
	texts   []string // of each row, what a search looks at
	size    int
}

// Estimates of what a member takes beside its texts.
const (
	bytesPerDevice = 1536
	bytesPerRow    = 768
)

func newFleet(store store, limit int) *fleet {
	return &fleet{store: store, limit: limit, members: make(map[string]*member)}
}

// Save saves, and forgets what it replaced. A reader that has loaded the older
// version in the meantime cannot bring it back.
func (f *fleet) Save(ctx context.Context, change storage.Change) error {
	if err := f.store.Save(ctx, change); err != nil {
		return err
	}
	f.put(change.Device.ID, &member{version: change.Device.Version + 1})
	return nil
}

// Device is the device with this key, from the store.
func (f *fleet) Device(ctx context.Context, key storage.Key) (storage.Device, error) {
	return f.store.Device(ctx, key)
}

// IDs are ids of devices in their order, from the store.
func (f *fleet) IDs(ctx context.Context, after string, limit int) ([]string, error) {
	return f.store.IDs(ctx, after, limit)
}

// Report is what a device reported last, from the store.
func (f *fleet) Report(ctx context.Context, deviceID string) (storage.Report, error) {
	return f.store.Report(ctx, deviceID)
}

// History is what a device had, from the store.
func (f *fleet) History(ctx context.Context, deviceID string) (storage.History, error) {
	return f.store.History(ctx, deviceID)
}

// put keeps a member if there is no newer one, and if there is room.
func (f *fleet) put(id string, next *member) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	before := f.members[id]
	if before != nil && (before.version > next.version || before.version == next.version && before.loaded) {
		return
	}
	if before != nil {
		f.size -= before.size
	}
	if f.size+next.size > f.limit {
		next = &member{version: next.version}
	}
	f.size += next.size
	f.members[id] = next
}

// member gives a device as the store has it.
func (f *fleet) member(ctx context.Context, id string) (*member, error) {
	f.mutex.RLock()
	held := f.members[id]
	f.mutex.RUnlock()
	if held != nil && held.loaded {
		return held, nil
	}
	device, err := f.store.Device(ctx, storage.ByID(id))
	if err != nil {
		return nil, fmt.Errorf("load device: %w", err)
	}
	report, err := f.store.Report(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("load report: %w", err)
	}
	read := newMember(device, report)
	f.put(id, read)
	return read, nil
}

// newMember leaves out what no table shows.
func newMember(device storage.Device, report storage.Report) *member {
	device.Tokens, device.Requests, device.PastEpochs = nil, nil, nil
	report.Users, report.Policy.Verdicts, report.Policy.Counts = nil, nil, nil
	made := &member{version: device.Version, loaded: true, device: device, report: report, size: bytesPerDevice}
	for _, row := range report.Rows {
		view := made.view(row)
		text := vmTable.searchText(&view)
		made.texts = append(made.texts, text)
		made.size += bytesPerRow + 2*len(text)
	}
	return made
}

func (m *member) view(row storage.Row) vmView {
	return vmView{
		Row:       rowOf(m.device, m.report, row),
		ChangedAt: latest(row.FirstSeenAt, row.ChangedAt, m.report.ChangedAt, m.device.ChangedAt).UTC(),
	}
}

// idsPerRead is how many ids are read from the store at a time.
const idsPerRead = 1000

// each calls visit with every device, in the order of their ids.
func (f *fleet) each(ctx context.Context, visit func(*member) error) error {
	for after := ""; ; {
		ids, err := f.store.IDs(ctx, after, idsPerRead)
		if err != nil {
			return fmt.Errorf("list devices: %w", err)
		}
		for _, id := range ids {
			found, err := f.member(ctx, id)
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

// scan is one look at the fleet.
type scan struct {
	fleet     *fleet
	now       time.Time
	freshness time.Duration
	since     time.Time // zero: everything as it is
}

// vms calls visit with every row; where since is set, with the rows that
// changed since then and those that were removed. The view is used again for
// the next row. It is incomplete if a history does not reach back far enough.
func (s scan) vms(ctx context.Context, visit func(*vmView) error) (incomplete bool, err error) {
	var view vmView
	err = s.fleet.each(ctx, func(m *member) error {
		for i, row := range m.report.Rows {
			view = m.view(row)
			view.text, view.StaleReport = m.texts[i], s.stale(view.LastReportedAt)
			if view.ChangedAt.Before(s.since) {
				continue
			}
			if err := visit(&view); err != nil {
				return err
			}
		}
		if s.since.IsZero() || m.device.LastCheckinAt.Before(s.since) {
			return nil // nothing can have been removed
		}
		short, err := s.removed(ctx, m, visit)
		incomplete = incomplete || short
		return err
	})
	return incomplete, err
}

// removed visits the rows that left since then and did not come back.
func (s scan) removed(ctx context.Context, m *member, visit func(*vmView) error) (incomplete bool, err error) {
	history, err := s.fleet.store.History(ctx, m.device.ID)
	if err != nil {
		return false, fmt.Errorf("load history: %w", err)
	}
	rows := history.Rows
	incomplete = len(rows) >= storage.MaxHistory && !rows[0].RemovedAt.Before(s.since)
	newest := make(map[protocol.VMKey]storage.PastRow)
	for _, past := range rows {
		newest[past.VM.VMKey] = past // oldest first
	}
	for _, row := range m.report.Rows {
		delete(newest, row.VM.VMKey)
	}
	for _, key := range slices.SortedFunc(maps.Keys(newest), protocol.VMKey.Compare) {
		past := newest[key]
		if past.RemovedAt.Before(s.since) {
			continue
		}
		view := m.view(past.Row)
		view.LastReportedAt, view.ChangedAt, view.RemovedAt = past.ReportedAt, past.RemovedAt.UTC(), past.RemovedAt.UTC()
		view.text = vmTable.searchText(&view)
		if err := visit(&view); err != nil {
			return incomplete, err
		}
	}
	return incomplete, nil
}

// devices calls visit with every device, or with those that changed since.
// No device is ever removed.
func (s scan) devices(ctx context.Context, visit func(*deviceView) error) (incomplete bool, err error) {
	return false, s.fleet.each(ctx, func(m *member) error {
		view := s.deviceView(m.device, m.report)
		if view.ChangedAt.Before(s.since) {
			return nil
		}
		return visit(&view)
	})
}

// deviceView is the device as the list of devices shows it.
func (s scan) deviceView(device storage.Device, report storage.Report) deviceView {
	view := viewOf(device, report)
	view.StaleReport = s.stale(device.LastCheckinAt)
	return view
}

// stale reports whether what was reported then is older than it should be.
func (s scan) stale(reported time.Time) bool { return s.now.Sub(reported) > s.freshness }
