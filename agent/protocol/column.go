package protocol

import (
	"cmp"
	"encoding/json"
	"time"
)

// Column is one of the twenty columns of the guide's Virtual Machines page.
// Tables, csv headers, JSON objects and filters are made from Columns; a
// change of a column is a change of one row here.
type Column struct {
	ID    string // stable: csv header, JSON name, filter name
	Title string // the guide's own words
	Time  bool   // a point in time: RFC 3339 UTC in machines' output
	cell  func(Row) string
	at    func(Row) time.Time
}

// Columns are the guide's columns in its order (protocol.md 5.1).
var Columns = []Column{
	{ID: "user_name", Title: "User name", cell: func(r Row) string { return r.Owner }},
	{ID: "computer_name", Title: "Computer name", cell: func(r Row) string { return r.Host.ComputerName }},
	{ID: "vm_name", Title: "VM device name", cell: func(r Row) string { return r.Name }},
	{ID: "vm_id", Title: "VM device ID", cell: func(r Row) string { return r.ID }},
	{ID: "vm_state", Title: "VM state", cell: func(r Row) string { return r.State }},
	{ID: "vm_status", Title: "VM status", cell: func(r Row) string { return r.Status }},
	{ID: "vm_os", Title: "VM OS", cell: func(r Row) string { return r.OS }},
	{ID: "vm_edition", Title: "VM Edition", cell: func(r Row) string { return r.Edition }},
	{ID: "vm_os_build", Title: "VM OS build", cell: func(r Row) string { return r.OSBuild }},
	{ID: "vm_serial", Title: "VM serial number", cell: func(r Row) string { return r.Serial }},
	{ID: "vm_source", Title: "VM Source", cell: func(r Row) string { return r.Source }},
	{ID: "vm_encryption", Title: "VM encryption", cell: func(r Row) string { return r.Encryption }},
	{ID: "last_command", Title: "Last command", cell: func(r Row) string { return r.LastCommand }},
	{ID: "last_used", Title: "Last used date (UTC)", Time: true, at: func(r Row) time.Time { return r.LastUsedAt }},
	{ID: "last_reported", Title: "Last reported date (UTC)", Time: true, at: func(r Row) time.Time { return r.LastReportedAt }},
	{ID: "pd_version", Title: "Parallels Desktop Version", cell: productVersion},
	{ID: "pd_state", Title: "Parallels Desktop State", cell: func(r Row) string { return r.Product.State }},
	{ID: "tools_version", Title: "Parallels Tools Version", cell: func(r Row) string { return r.ToolsVersion }},
	{ID: "mac_serial", Title: "Mac serial number", cell: func(r Row) string { return r.Host.Serial }},
	{ID: "cpu", Title: "CPU", cell: func(r Row) string { return r.CPU }},
}

func productVersion(r Row) string {
	if r.Product.Build == "" {
		return r.Product.Version
	}
	return r.Product.Version + " (" + r.Product.Build + ")"
}

// ColumnByID finds a column by its stable id.
func ColumnByID(id string) (Column, bool) {
	for _, column := range Columns {
		if column.ID == id {
			return column, true
		}
	}
	return Column{}, false
}

// At is the column's point in time in UTC; zero if it is not a Time column or
// the cell is empty.
func (c Column) At(r Row) time.Time {
	if c.at == nil {
		return time.Time{}
	}
	return c.at(r).UTC()
}

// Value is the cell as machines read it; empty if it has no value.
func (c Column) Value(r Row) string {
	if !c.Time {
		return c.cell(r)
	}
	at := c.At(r)
	if at.IsZero() {
		return ""
	}
	return at.Format(time.RFC3339)
}

// Gap is the reason code of an empty cell, or of a state that is Unknown;
// empty if the cell says all there is.
func (c Column) Gap(r Row) Code {
	value := c.Value(r)
	unknown := c.ID == "vm_state" && value == StateUnknown
	if value != "" && !unknown {
		return ""
	}
	for _, gaps := range []map[string]Code{r.Gaps, r.Product.Gaps} {
		if code, ok := gaps[c.ID]; ok {
			return code
		}
	}
	if unknown {
		return r.Stale
	}
	return CodeNotReportedYet
}

// remarks are the codes that may stand beside a value: the cell is not empty,
// but it does not say all that it should.
var remarks = map[Code]bool{CodeToolsOutdated: true, CodeEncryptionMethod: true}

// Remark is the code beside a cell that has a value; empty if there is none.
func (c Column) Remark(r Row) Code {
	if code := r.Gaps[c.ID]; remarks[code] && c.Value(r) != "" {
		return code
	}
	return ""
}

// Reason is the code of an empty cell, or else the one beside its value.
func (c Column) Reason(r Row) Code { return cmp.Or(c.Gap(r), c.Remark(r)) }

// RowJSON is a row as machines read it: every column by its id (null where it
// is empty), the reasons of the empty ones and the remarks on others under
// `gaps`, and ours beside them.
func RowJSON(r Row) map[string]any {
	out := make(map[string]any, len(Columns)+6)
	gaps := make(map[string]Code)
	for _, column := range Columns {
		out[column.ID] = nil
		if value := column.Value(r); value != "" {
			out[column.ID] = value
		}
		if reason := column.Reason(r); reason != "" {
			gaps[column.ID] = reason
		}
	}
	out["gaps"] = gaps
	out["raw_state"] = r.RawState
	out["bundle"] = r.Bundle
	out["seen_by"] = append([]string{}, r.SeenBy...)
	out["stale"] = r.Stale
	if !r.SeenAt.IsZero() {
		out["seen_at"] = r.SeenAt.UTC()
	}
	out["config_hash"] = r.ConfigHash
	out["extra"] = r.Extra
	return out
}

// MarshalJSON writes the row by its columns, see RowJSON.
func (r Row) MarshalJSON() ([]byte, error) { return json.Marshal(RowJSON(r)) }
