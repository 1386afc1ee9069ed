package fleet

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/storage"
)

// Scan is one look at the fleet.
type Scan struct {
	Fleet     *Fleet
	Now       time.Time
	Freshness time.Duration
	Since     time.Time // zero: everything as it is
}

// Shortfall is what a scan could not show.
type Shortfall struct {
	Incomplete bool // what was removed, or happened, since then is kept no longer
	Missing    int  // virtual machines of Macs whose reports had no room for them
}

// VMs calls visit with every row; where since is set, with the rows that
// changed since then and those that were removed. The view is used again for
// the next row. It is incomplete if a history does not reach back far enough.
func (s Scan) VMs(ctx context.Context, visit func(*VM) error) (short Shortfall, err error) {
	var view VM
	err = s.Fleet.eachDevice(ctx, func(m *cachedDevice) error {
		short.Missing += m.missing
		for i, row := range m.report.Rows {
			view = m.rowView(row, s.Now)
			view.searchText, view.StaleReport = m.texts[i], s.isStale(view.LastReportedAt)
			if view.ChangedAt.Before(s.Since) {
				continue
			}
			if err := visit(&view); err != nil {
				return err
			}
		}
		if s.Since.IsZero() || m.device.LastCheckinAt.Before(s.Since) && m.device.ChangedAt.Before(s.Since) {
			return nil // nothing can have been removed
		}
		incomplete, err := s.removedRows(ctx, m, visit)
		short.Incomplete = short.Incomplete || incomplete
		return err
	})
	return short, err
}

// removedRows visits the rows that left since then and did not come back.
func (s Scan) removedRows(ctx context.Context, m *cachedDevice, visit func(*VM) error) (incomplete bool, err error) {
	history, err := s.Fleet.History(ctx, m.device.ID)
	if err != nil {
		return false, fmt.Errorf("load history: %w", err)
	}
	incomplete = !history.Covers(s.Since)
	newest := make(map[protocol.VMKey]storage.PastRow)
	for _, past := range history.Rows {
		newest[past.VM.VMKey] = past // oldest first
	}
	for _, row := range m.report.Rows {
		delete(newest, row.VM.VMKey)
	}
	for _, key := range slices.SortedFunc(maps.Keys(newest), protocol.VMKey.Compare) {
		past := newest[key]
		if past.RemovedAt.Before(s.Since) {
			continue
		}
		view := m.rowView(past.Row, s.Now)
		view.LastReportedAt, view.ChangedAt, view.RemovedAt = past.ReportedAt, past.RemovedAt.UTC(), past.RemovedAt.UTC()
		view.searchText = VMTable.SearchText(&view)
		if err := visit(&view); err != nil {
			return incomplete, err
		}
	}
	return incomplete, nil
}

// Devices calls visit with every device, or with those that changed since.
// No device is ever removed.
func (s Scan) Devices(ctx context.Context, visit func(*Device) error) (Shortfall, error) {
	return Shortfall{}, s.Fleet.eachDevice(ctx, func(m *cachedDevice) error {
		view := s.deviceView(m)
		if view.ChangedAt.Before(s.Since) {
			return nil
		}
		return visit(&view)
	})
}

// Device is the device as the list of devices shows it, with its virtual machines as
// their list shows them.
func (s Scan) Device(device storage.Device, report storage.Report, commands storage.CommandLog) (Device, []VM) {
	m := newCachedDevice(device, report, commands)
	vms := make([]VM, 0, len(report.Rows))
	for _, row := range report.Rows {
		view := m.rowView(row, s.Now)
		view.StaleReport = s.isStale(view.LastReportedAt)
		vms = append(vms, view)
	}
	return s.deviceView(m), vms
}

func (s Scan) deviceView(m *cachedDevice) Device {
	view := viewOf(m.device, m.report)
	view.StaleReport, view.VMsMissing = s.isStale(m.device.LastCheckinAt), m.missing
	view.Health = s.healthOf(m.device, m.report.Health.State)
	view.CommandsOpen, view.CommandsWithheld, view.Frozen = m.counts.Open, m.counts.Withheld, m.counts.Frozen
	view.Holds, view.HoldsUnenforced = m.counts.Held, m.counts.Unenforced
	view.ChangedAt = latestTime(view.ChangedAt, m.counts.changedAt.UTC())
	return view
}

// isStale reports whether what was reported then is older than it should be.
func (s Scan) isStale(reported time.Time) bool { return s.Now.Sub(reported) > s.Freshness }
