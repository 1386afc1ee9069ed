package fleet

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/query"
	"prlagent/cmd/prlportal/storage"
)

// VMTable has the guide's twenty columns and ours (protocol.md 5.1).
var VMTable = query.Table[VM]{
	Name:   "vms",
	Fields: slices.Concat(rowFields(), countFields(), holdColumns, portalFields),
	Search: func(v *VM) string { return v.searchText },
}

// rowFields are what a row of the protocol says by itself.
func rowFields() []query.Field[VM] {
	var fields []query.Field[VM]
	for _, known := range slices.Concat(protocol.Columns, protocol.OwnColumns) {
		made := query.Field[VM]{Column: query.Column{ID: known.ID, Title: known.Title, Kind: known.Kind, Path: known.Path}}
		if known.Kind == protocol.KindTime {
			made.At = func(v *VM) time.Time { return known.At(&v.Row) }
		} else {
			made.Text = func(v *VM) string { return known.Value(&v.Row) }
		}
		fields = append(fields, made)
	}
	return fields
}

// portalFields are what only the portal knows of a row.
var portalFields = []query.Field[VM]{
	{Column: query.Column{ID: "stale_report", Title: "Report is stale", Kind: protocol.KindBool}, Text: func(v *VM) string { return strconv.FormatBool(v.StaleReport) }},
	{Column: query.Column{ID: "changed_at", Title: "Changed", Kind: protocol.KindTime}, At: func(v *VM) time.Time { return v.ChangedAt }},
	{Column: query.Column{ID: "removed_at", Title: "Removed", Kind: protocol.KindTime}, At: func(v *VM) time.Time { return v.RemovedAt }},
	{Column: query.Column{ID: GapsColumn, Title: "Empty because", Kind: protocol.KindText}, Text: gapsCell, Unsearched: true},
}

// settingCounts are the columns that count the settings of a machine.
var settingCounts = []struct {
	id, title string
	count     func(*storage.SettingCounts) int
}{
	{"settings_failed", "Settings failed", func(c *storage.SettingCounts) int { return c.Failed }},
	{"settings_contended", "Settings contended", func(c *storage.SettingCounts) int { return c.Contended }},
	{"settings_deferred", "Settings deferred", func(c *storage.SettingCounts) int { return c.Deferred }},
	{"settings_pending", "Settings pending", func(c *storage.SettingCounts) int { return c.Pending }},
	{"settings_in_place", "Settings in place", func(c *storage.SettingCounts) int { return c.InPlace }},
	{"settings_drifts", "Drifts", func(c *storage.SettingCounts) int { return c.Drifts }},
}

func countFields() []query.Field[VM] {
	var fields []query.Field[VM]
	for _, known := range settingCounts {
		fields = append(fields, query.Field[VM]{
			Column:     query.Column{ID: known.id, Title: known.title, Kind: protocol.KindNumber},
			Text:       func(v *VM) string { return strconv.Itoa(known.count(&v.Settings)) },
			Unsearched: true,
		})
	}
	return fields
}

// GapsColumn has the reasons of the empty cells of a row.
const GapsColumn = "gaps"

func gapsCell(v *VM) string {
	gaps, _ := protocol.RowJSON(v.Row)[GapsColumn].(map[string]protocol.Code)
	return GapsText(gaps)
}

// GapsText is the reasons of empty cells in one cell: "cpu=no_tools; vm_os=…".
func GapsText[Code ~string](gaps map[string]Code) string {
	texts := make([]string, 0, len(gaps))
	for _, id := range slices.Sorted(maps.Keys(gaps)) {
		texts = append(texts, id+"="+string(gaps[id]))
	}
	return strings.Join(texts, "; ")
}

// missingCell is empty where every virtual machine has its row.
func missingCell(v *Device) string {
	if v.VMsMissing == 0 {
		return ""
	}
	return strconv.Itoa(v.VMsMissing)
}

// clockCell is empty where the clock is right.
func clockCell(v *Device) string {
	if v.ClockAhead == 0 {
		return ""
	}
	return strconv.FormatInt(v.ClockAhead, 10)
}

// DeviceTable has the enrolled Macs.
var DeviceTable = query.Table[Device]{
	Name:   "devices",
	Fields: deviceFields,
}

var deviceFields = []query.Field[Device]{
	{Column: query.Column{ID: "computer_name", Title: "Computer name", Kind: protocol.KindText}, Text: func(v *Device) string { return v.ComputerName }},
	{Column: query.Column{ID: "mac_serial", Title: "Mac serial number", Kind: protocol.KindText}, Text: func(v *Device) string { return v.MacSerial }},
	{Column: query.Column{ID: "state", Title: "State", Kind: protocol.KindText}, Text: func(v *Device) string { return v.State }},
	{Column: query.Column{ID: "group", Title: "Group", Kind: protocol.KindText, Path: "group.id"}, Text: func(v *Device) string { return v.Group.ID }},
	{Column: query.Column{ID: "mode", Title: "Mode", Kind: protocol.KindText}, Text: func(v *Device) string { return v.Mode }},
	{Column: query.Column{ID: "vms", Title: "VMs", Kind: protocol.KindNumber}, Text: func(v *Device) string { return strconv.Itoa(v.VMs) }},
	{Column: query.Column{ID: "pd_version", Title: "Parallels Desktop", Kind: protocol.KindVersion}, Text: func(v *Device) string { return v.PDVersion }},
	{Column: query.Column{ID: "agent_version", Title: "Agent", Kind: protocol.KindVersion}, Text: func(v *Device) string { return v.AgentVersion }},
	{Column: query.Column{ID: "last_checkin_at", Title: "Last check-in", Kind: protocol.KindTime}, At: func(v *Device) time.Time { return v.LastCheckinAt }},
	{Column: query.Column{ID: "device_id", Title: "Device ID", Kind: protocol.KindText}, Text: func(v *Device) string { return v.DeviceID }},
	{Column: query.Column{ID: "pd_state", Title: "Parallels Desktop State", Kind: protocol.KindText}, Text: func(v *Device) string { return v.PDState }},
	{Column: query.Column{ID: "macos", Title: "macOS", Kind: protocol.KindVersion}, Text: func(v *Device) string { return v.MacOS }},
	{Column: query.Column{ID: "model", Title: "Model", Kind: protocol.KindText}, Text: func(v *Device) string { return v.Model }},
	{Column: query.Column{ID: "hardware_uuid", Title: "Hardware UUID", Kind: protocol.KindText}, Text: func(v *Device) string { return v.HardwareUUID }},
	{Column: query.Column{ID: "group_source", Title: "Group source", Kind: protocol.KindText, Path: "group.source"}, Text: func(v *Device) string { return v.Group.Source }},
	{Column: query.Column{ID: "policy_state", Title: "Policy status", Kind: protocol.KindText}, Text: func(v *Device) string { return v.PolicyState }},
	{Column: query.Column{ID: "key_id", Title: "Key ID", Kind: protocol.KindText}, Text: func(v *Device) string { return v.KeyID }},
	{Column: query.Column{ID: "enrolled_at", Title: "Enrolled", Kind: protocol.KindTime}, At: func(v *Device) time.Time { return v.EnrolledAt }},
	{Column: query.Column{ID: "last_reasons", Title: "Last reasons", Kind: protocol.KindText}, Text: func(v *Device) string { return v.LastReasons }},
	{Column: query.Column{ID: "epoch", Title: "Epoch", Kind: protocol.KindText}, Text: func(v *Device) string { return v.Epoch }},
	{Column: query.Column{ID: "sequence", Title: "Sequence", Kind: protocol.KindNumber}, Text: func(v *Device) string { return strconv.FormatUint(v.Sequence, 10) }},
	{Column: query.Column{ID: "truncated", Title: "Truncated", Kind: protocol.KindBool}, Text: func(v *Device) string { return strconv.FormatBool(v.Truncated) }},
	{Column: query.Column{ID: "stale_report", Title: "Report is stale", Kind: protocol.KindBool}, Text: func(v *Device) string { return strconv.FormatBool(v.StaleReport) }},
	{Column: query.Column{ID: "changed_at", Title: "Changed", Kind: protocol.KindTime}, At: func(v *Device) time.Time { return v.ChangedAt }},
	{Column: query.Column{ID: "clock_ahead_s", Title: "Clock ahead (s)", Kind: protocol.KindNumber}, Text: clockCell},
	{Column: query.Column{ID: "health", Title: "Health", Kind: protocol.KindText}, Text: func(v *Device) string { return v.Health }},
	{Column: query.Column{ID: "conditions", Title: "Conditions", Kind: protocol.KindText}, Text: func(v *Device) string { return conditionCodes(v.Conditions) }},
	{Column: query.Column{ID: "violations", Title: "Violations", Kind: protocol.KindNumber}, Text: func(v *Device) string { return strconv.Itoa(v.Violations) }},
	{Column: query.Column{ID: "commands_open", Title: "Commands open", Kind: protocol.KindNumber}, Text: func(v *Device) string { return strconv.Itoa(v.CommandsOpen) }},
	{Column: query.Column{ID: "commands_withheld", Title: "Commands withheld", Kind: protocol.KindNumber}, Text: func(v *Device) string { return strconv.Itoa(v.CommandsWithheld) }},
	{Column: query.Column{ID: "holds", Title: "Holds", Kind: protocol.KindNumber}, Text: func(v *Device) string { return strconv.Itoa(v.Holds) }},
	{Column: query.Column{ID: "holds_unenforced", Title: "Holds not enforced", Kind: protocol.KindNumber}, Text: func(v *Device) string { return strconv.Itoa(v.HoldsUnenforced) }},
	{Column: query.Column{ID: "frozen", Title: "Frozen because", Kind: protocol.KindText}, Text: func(v *Device) string { return v.Frozen }},
	{Column: query.Column{ID: "vms_missing", Title: "VMs missing", Kind: protocol.KindNumber}, Text: missingCell},
	{Column: query.Column{ID: "settings_failed", Title: "Settings failed", Kind: protocol.KindNumber}, Text: func(v *Device) string { return strconv.Itoa(v.SettingsFailed) }},
	{Column: query.Column{ID: "settings_deferred", Title: "Settings deferred", Kind: protocol.KindNumber}, Text: func(v *Device) string { return strconv.Itoa(v.SettingsDeferred) }},
}
