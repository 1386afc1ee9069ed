package fleet

import (
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/storage"
)

// RowOf joins a row with its Mac. A fresh row was confirmed when its device
// was; a stale one keeps its own time (INV-17).
//
// Which Mac it is says the device's record, whatever the report says (H57).
func RowOf(device storage.Device, report storage.Report, row storage.Row) protocol.Row {
	report.Host.Serial, report.Host.HardwareUUID = device.Serial, device.HardwareUUID
	reportedAt := device.ConfirmedAt
	if row.VM.Stale != "" {
		reportedAt = row.ReportedAt
	}
	return protocol.Row{
		VM: row.VM, Host: report.Host, Product: report.Product,
		Status:         protocol.StatusOf(report.Product, false),
		LastCommand:    protocol.CommandNone,
		LastReportedAt: reportedAt,
		Extra: protocol.RowExtra{
			Group: device.Group.ID, GroupSource: device.Group.Source,
			PolicyRevision: report.Policy.Revision, PolicyState: report.Policy.State,
			AgentVersion: agentVersion(device, report),
			FirstSeenAt:  row.FirstSeenAt, DeviceID: device.ID,
		},
	}
}

// VM is a row as the admin plane sends it.
type VM struct {
	protocol.Row
	StaleReport bool      // the report is older than freshness
	ChangedAt   time.Time // by what was reported; LastReportedAt does not count
	RemovedAt   time.Time // zero: the Mac has it
	Settings    storage.SettingCounts
	Hold        *protocol.HoldState // as its Mac reports it; nil: it is not held
	searchText  string              // what a search looks at
}

// MarshalJSON adds to protocol.RowJSON what only the table knows.
func (v VM) MarshalJSON() ([]byte, error) {
	out := protocol.RowJSON(v.Row)
	out["stale_report"] = v.StaleReport
	out["changed_at"] = v.ChangedAt
	for _, known := range settingCounts {
		out[known.id] = known.count(&v.Settings)
	}
	if v.Hold != nil {
		out["hold_state"], out["hold_since"], out["hold_violations"] = v.Hold.State, v.Hold.Since, v.Hold.Violations
		if v.Hold.Code != "" {
			out["hold_code"] = v.Hold.Code
		}
	}
	if !v.RemovedAt.IsZero() {
		out["removed_at"] = v.RemovedAt
	}
	return protocol.Encode(out)
}
