package portal

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"prlagent/agent/protocol"
)

// vmView is a row as the admin plane sends it.
type vmView struct {
	protocol.Row
	StaleReport bool      // the report is older than freshness
	ChangedAt   time.Time // by what was reported; LastReportedAt does not count
	RemovedAt   time.Time // zero: the Mac has it
	text        string    // what a search looks at
}

// MarshalJSON adds to protocol.RowJSON what only the table knows.
func (v vmView) MarshalJSON() ([]byte, error) {
	out := protocol.RowJSON(v.Row)
	out["stale_report"] = v.StaleReport
	out["changed_at"] = v.ChangedAt
	if !v.RemovedAt.IsZero() {
		out["removed_at"] = v.RemovedAt
	}
	return json.Marshal(out)
}

// vmTable has the guide's twenty columns and ours (protocol.md 5.1).
var vmTable = table[vmView]{
	name:   "vms",
	fields: append(rowFields(), portalFields...),
	search: func(v *vmView) string { return v.text },
}

// rowFields are what a row of the protocol says by itself.
func rowFields() []field[vmView] {
	var fields []field[vmView]
	for _, known := range slices.Concat(protocol.Columns, protocol.OwnColumns) {
		made := field[vmView]{column: column{id: known.ID, title: known.Title, kind: known.Kind, path: known.Path}}
		if known.Kind == protocol.KindTime {
			made.at = func(v *vmView) time.Time { return known.At(&v.Row) }
		} else {
			made.text = func(v *vmView) string { return known.Value(&v.Row) }
		}
		fields = append(fields, made)
	}
	return fields
}

// portalFields are what only the portal knows of a row.
var portalFields = []field[vmView]{
	{column: column{id: "stale_report", title: "Report is stale", kind: protocol.KindBool}, text: func(v *vmView) string { return strconv.FormatBool(v.StaleReport) }},
	{column: column{id: "changed_at", title: "Changed", kind: protocol.KindTime}, at: func(v *vmView) time.Time { return v.ChangedAt }},
	{column: column{id: "removed_at", title: "Removed", kind: protocol.KindTime}, at: func(v *vmView) time.Time { return v.RemovedAt }},
	{column: column{id: gapsColumn, title: "Empty because", kind: protocol.KindText}, text: gapsCell, unsearched: true},
}

// gapsColumn has the reasons of the empty cells of a row.
const gapsColumn = "gaps"

func gapsCell(v *vmView) string {
	gaps, _ := protocol.RowJSON(v.Row)[gapsColumn].(map[string]protocol.Code)
	return gapsText(gaps)
}

// gapsText is the reasons of empty cells in one cell: "cpu=no_tools; vm_os=…".
func gapsText[Code ~string](gaps map[string]Code) string {
	texts := make([]string, 0, len(gaps))
	for _, id := range slices.Sorted(maps.Keys(gaps)) {
		texts = append(texts, id+"="+string(gaps[id]))
	}
	return strings.Join(texts, "; ")
}

// deviceTable has the enrolled Macs.
var deviceTable = table[deviceView]{
	name:   "devices",
	fields: deviceFields,
}

var deviceFields = []field[deviceView]{
	{column: column{id: "computer_name", title: "Computer name", kind: protocol.KindText}, text: func(v *deviceView) string { return v.ComputerName }},
	{column: column{id: "mac_serial", title: "Mac serial number", kind: protocol.KindText}, text: func(v *deviceView) string { return v.MacSerial }},
	{column: column{id: "state", title: "State", kind: protocol.KindText}, text: func(v *deviceView) string { return v.State }},
	{column: column{id: "group", title: "Group", kind: protocol.KindText, path: "group.id"}, text: func(v *deviceView) string { return v.Group.ID }},
	{column: column{id: "mode", title: "Mode", kind: protocol.KindText}, text: func(v *deviceView) string { return v.Mode }},
	{column: column{id: "vms", title: "VMs", kind: protocol.KindNumber}, text: func(v *deviceView) string { return strconv.Itoa(v.VMs) }},
	{column: column{id: "pd_version", title: "Parallels Desktop", kind: protocol.KindVersion}, text: func(v *deviceView) string { return v.PDVersion }},
	{column: column{id: "agent_version", title: "Agent", kind: protocol.KindVersion}, text: func(v *deviceView) string { return v.AgentVersion }},
	{column: column{id: "last_checkin_at", title: "Last check-in", kind: protocol.KindTime}, at: func(v *deviceView) time.Time { return v.LastCheckinAt }},
	{column: column{id: "device_id", title: "Device ID", kind: protocol.KindText}, text: func(v *deviceView) string { return v.DeviceID }},
	{column: column{id: "pd_state", title: "Parallels Desktop State", kind: protocol.KindText}, text: func(v *deviceView) string { return v.PDState }},
	{column: column{id: "macos", title: "macOS", kind: protocol.KindVersion}, text: func(v *deviceView) string { return v.MacOS }},
	{column: column{id: "model", title: "Model", kind: protocol.KindText}, text: func(v *deviceView) string { return v.Model }},
	{column: column{id: "hardware_uuid", title: "Hardware UUID", kind: protocol.KindText}, text: func(v *deviceView) string { return v.HardwareUUID }},
	{column: column{id: "group_source", title: "Group source", kind: protocol.KindText, path: "group.source"}, text: func(v *deviceView) string { return v.Group.Source }},
	{column: column{id: "policy_state", title: "Policy status", kind: protocol.KindText}, text: func(v *deviceView) string { return v.PolicyState }},
	{column: column{id: "key_id", title: "Key ID", kind: protocol.KindText}, text: func(v *deviceView) string { return v.KeyID }},
	{column: column{id: "enrolled_at", title: "Enrolled", kind: protocol.KindTime}, at: func(v *deviceView) time.Time { return v.EnrolledAt }},
	{column: column{id: "last_reasons", title: "Last reasons", kind: protocol.KindText}, text: func(v *deviceView) string { return v.LastReasons }},
	{column: column{id: "epoch", title: "Epoch", kind: protocol.KindText}, text: func(v *deviceView) string { return v.Epoch }},
	{column: column{id: "sequence", title: "Sequence", kind: protocol.KindNumber}, text: func(v *deviceView) string { return strconv.FormatUint(v.Sequence, 10) }},
	{column: column{id: "truncated", title: "Truncated", kind: protocol.KindBool}, text: func(v *deviceView) string { return strconv.FormatBool(v.Truncated) }},
	{column: column{id: "stale_report", title: "Report is stale", kind: protocol.KindBool}, text: func(v *deviceView) string { return strconv.FormatBool(v.StaleReport) }},
	{column: column{id: "changed_at", title: "Changed", kind: protocol.KindTime}, at: func(v *deviceView) time.Time { return v.ChangedAt }},
}
