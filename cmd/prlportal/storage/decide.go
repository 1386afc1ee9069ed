package storage

import (
	"slices"
	"time"

	"prlagent/agent/protocol"
)

// What a person decides of a device. Each decision ends the state that it is
// about as a whole (H55), so that no token, key or epoch of before can bring it
// back.

// settle forgets who reported as the device. Its Mac proves its key anew, and
// reports with whatever epoch and number it has.
func (d *Device) settle(now time.Time) {
	d.Tokens, d.Pending, d.Duplicate = nil, nil, nil
	d.Epoch, d.Sequence, d.PastEpochs = "", 0, nil
	d.ChangedAt = now
}

// Lift ends the mark of a device, or its retirement; it keeps its key.
func (d *Device) Lift(now time.Time) {
	d.settle(now)
	d.RetiredAt, d.SupersededBy = time.Time{}, ""
}

// Admit makes a key that asked the device's own, and ends all others.
func (d *Device) Admit(key PendingKey, now time.Time) {
	d.Lift(now)
	d.Key, d.LastEnrollment = key.Key, key.LastRequest
	d.Rejected = slices.DeleteFunc(d.Rejected, func(r PendingKey) bool { return r.Key.Equal(key.Key) })
}

// Reject ends the waiting of the keys that it is called with. They are remembered,
// and are not asked about again.
func (d *Device) Reject(keys []PendingKey, now time.Time) {
	for _, key := range keys {
		d.Pending = slices.DeleteFunc(d.Pending, func(p PendingKey) bool { return p.Key.Equal(key.Key) })
		key.LastAskedAt = now
		d.Rejected = append(d.Rejected, key)
	}
	d.Rejected = slices.Delete(d.Rejected, 0, max(0, len(d.Rejected)-MaxRejected))
	d.ChangedAt = now
}

// Retire ends the device. Its virtual machines leave the table for the history.
func (c *Change) Retire(report Report, history History, by string, now time.Time) {
	c.Device.settle(now)
	c.Device.Requests, c.Device.ReportHash = nil, ""
	c.Device.RetiredAt, c.Device.SupersededBy = now, by
	for _, row := range report.Rows {
		if row.VM.Stale == "" {
			row.ReportedAt = c.Device.ConfirmedAt
		}
		history.Rows = append(history.Rows, PastRow{Row: row, RemovedAt: now})
	}
	history.Rows = slices.Delete(history.Rows, 0, max(0, len(history.Rows)-MaxHistory))
	report.Rows, report.RowsChangedAt, report.Truncated, report.OldestDeferral, report.Violations = nil, now, false, nil, 0
	report.AccountSettings, report.HostSettings = SettingCounts{}, SettingCounts{}
	c.Report, c.History = &report, &history
}

// FindKey is the key of that id among keys.
func FindKey(keys []PendingKey, id string) (PendingKey, bool) {
	at := slices.IndexFunc(keys, func(key PendingKey) bool { return protocol.KeyID(key.Key) == id })
	if at < 0 {
		return PendingKey{}, false
	}
	return keys[at], true
}
