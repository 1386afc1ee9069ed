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

// field is a column together with where its value comes from. Filters, sort
// keys, outputs and the description of the admin plane derive from it.
type field[T any] struct {
	column
	text func(*T) string
	at   func(*T) time.Time // of a time
}

func (f field[T]) cell(row *T) cell {
	if f.at != nil {
		return cell{at: f.at(row)}
	}
	return cell{text: f.text(row)}
}

// table is everything that the read side knows of rows of one type.
type table[T any] struct {
	name   string // of its list in JSON, in URLs and on the command line
	fields []field[T]
	search func(*T) string // what a search looks at
}

func (t table[T]) columns() []column {
	columns := make([]column, len(t.fields))
	for i, field := range t.fields {
		columns[i] = field.column
	}
	return columns
}

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

// versionColumns are the columns of the guide whose values are versions.
var versionColumns = []string{"pd_version", "tools_version", "vm_os_build"}

// vmTable has the guide's twenty columns and ours (protocol.md 5.1).
var vmTable = table[vmView]{
	name:   "vms",
	fields: append(guideFields(), ourFields...),
	search: func(v *vmView) string { return v.text },
}

func guideFields() []field[vmView] {
	fields := make([]field[vmView], 0, len(protocol.Columns)+len(ourFields))
	for _, guide := range protocol.Columns {
		made := field[vmView]{column: column{id: guide.ID, title: guide.Title, kind: kindText}}
		switch {
		case guide.Time:
			made.kind = kindTime
			made.at = func(v *vmView) time.Time { return guide.At(v.Row) }
		case slices.Contains(versionColumns, guide.ID):
			made.kind = kindVersion
			fallthrough
		default:
			made.text = func(v *vmView) string { return guide.Value(v.Row) }
		}
		fields = append(fields, made)
	}
	return fields
}

var ourFields = []field[vmView]{
	{column: column{"group", "Group", kindText, "extra.group"}, text: func(v *vmView) string { return v.Extra.Group }},
	{column: column{"group_source", "Group source", kindText, "extra.group_source"}, text: func(v *vmView) string { return v.Extra.GroupSource }},
	{column: column{"policy_revision", "Policy revision", kindNumber, "extra.policy_revision"}, text: func(v *vmView) string { return number(v.Extra.PolicyRevision) }},
	{column: column{"policy_state", "Policy status", kindText, "extra.policy_state"}, text: func(v *vmView) string { return v.Extra.PolicyState }},
	{column: column{"last_command_detail", "Last command detail", kindText, "extra.last_command_detail"}, text: func(v *vmView) string { return v.Extra.LastCommandDetail }},
	{column: column{"agent_version", "Agent version", kindVersion, "extra.agent_version"}, text: func(v *vmView) string { return v.Extra.AgentVersion }},
	{column: column{"first_seen", "First seen", kindTime, "extra.first_seen"}, at: func(v *vmView) time.Time { return v.Extra.FirstSeenAt }},
	{column: column{"device_id", "Device ID", kindText, "extra.device_id"}, text: func(v *vmView) string { return v.Extra.DeviceID }},
	{column: column{id: "raw_state", title: "State in the tool's word", kind: kindText}, text: func(v *vmView) string { return v.RawState }},
	{column: column{id: "stale", title: "Last known because", kind: kindText}, text: func(v *vmView) string { return string(v.Stale) }},
	{column: column{id: "stale_report", title: "Report is stale", kind: kindBool}, text: func(v *vmView) string { return strconv.FormatBool(v.StaleReport) }},
	{column: column{id: "changed_at", title: "Changed", kind: kindTime}, at: func(v *vmView) time.Time { return v.ChangedAt }},
	{column: column{id: "removed_at", title: "Removed", kind: kindTime}, at: func(v *vmView) time.Time { return v.RemovedAt }},
	{column: column{id: gapsColumn, title: "Empty because", kind: kindText}, text: gapsCell},
}

// number is empty for 0, which stands for none.
func number(n uint64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatUint(n, 10)
}

// gapsColumn is the reasons of the cells of a row. A search does not look there.
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
	{column: column{id: "computer_name", title: "Computer name", kind: kindText}, text: func(v *deviceView) string { return v.ComputerName }},
	{column: column{id: "mac_serial", title: "Mac serial number", kind: kindText}, text: func(v *deviceView) string { return v.MacSerial }},
	{column: column{id: "state", title: "State", kind: kindText}, text: func(v *deviceView) string { return v.State }},
	{column: column{"group", "Group", kindText, "group.id"}, text: func(v *deviceView) string { return v.Group.ID }},
	{column: column{id: "mode", title: "Mode", kind: kindText}, text: func(v *deviceView) string { return v.Mode }},
	{column: column{id: "vms", title: "VMs", kind: kindNumber}, text: func(v *deviceView) string { return strconv.Itoa(v.VMs) }},
	{column: column{id: "pd_version", title: "Parallels Desktop", kind: kindVersion}, text: func(v *deviceView) string { return v.PDVersion }},
	{column: column{id: "agent_version", title: "Agent", kind: kindVersion}, text: func(v *deviceView) string { return v.AgentVersion }},
	{column: column{id: "last_checkin_at", title: "Last check-in", kind: kindTime}, at: func(v *deviceView) time.Time { return v.LastCheckinAt }},
	{column: column{id: "device_id", title: "Device ID", kind: kindText}, text: func(v *deviceView) string { return v.DeviceID }},
	{column: column{id: "pd_state", title: "Parallels Desktop State", kind: kindText}, text: func(v *deviceView) string { return v.PDState }},
	{column: column{id: "macos", title: "macOS", kind: kindVersion}, text: func(v *deviceView) string { return v.MacOS }},
	{column: column{id: "model", title: "Model", kind: kindText}, text: func(v *deviceView) string { return v.Model }},
	{column: column{id: "hardware_uuid", title: "Hardware UUID", kind: kindText}, text: func(v *deviceView) string { return v.HardwareUUID }},
	{column: column{"group_source", "Group source", kindText, "group.source"}, text: func(v *deviceView) string { return v.Group.Source }},
	{column: column{id: "policy_state", title: "Policy status", kind: kindText}, text: func(v *deviceView) string { return v.PolicyState }},
	{column: column{id: "key_id", title: "Key ID", kind: kindText}, text: func(v *deviceView) string { return v.KeyID }},
	{column: column{id: "enrolled_at", title: "Enrolled", kind: kindTime}, at: func(v *deviceView) time.Time { return v.EnrolledAt }},
	{column: column{id: "last_reasons", title: "Last reasons", kind: kindText}, text: func(v *deviceView) string { return v.LastReasons }},
	{column: column{id: "epoch", title: "Epoch", kind: kindText}, text: func(v *deviceView) string { return v.Epoch }},
	{column: column{id: "sequence", title: "Sequence", kind: kindNumber}, text: func(v *deviceView) string { return strconv.FormatUint(v.Sequence, 10) }},
	{column: column{id: "truncated", title: "Truncated", kind: kindBool}, text: func(v *deviceView) string { return strconv.FormatBool(v.Truncated) }},
	{column: column{id: "stale_report", title: "Report is stale", kind: kindBool}, text: func(v *deviceView) string { return strconv.FormatBool(v.StaleReport) }},
	{column: column{id: "changed_at", title: "Changed", kind: kindTime}, at: func(v *deviceView) time.Time { return v.ChangedAt }},
}
