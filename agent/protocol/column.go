package protocol

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// Column is one entry of the table of virtual machines, and says everything
// about it: tables, csv headers, JSON objects, filters, limits, property lists
// and the reasons of empty cells are made from it. A new column is a new field
// of the row that travels, and its entry here.
type Column struct {
	ID    string // stable: csv header, JSON name, filter name
	Title string // the guide's own words
	Kind  Kind   // how it sorts and filters
	Limit int    // of a text, in bytes; who reports and who keeps it cut there
	// Hidden says that the cell is part of the machine's description: it is
	// empty where that cannot be read.
	Hidden bool
	// Missing is the reason of an empty cell unless the row has another one.
	Missing Code
	Unknown string // the word that stands for no value
	Remarks []Code // what may stand beside a value that does not say all that it should
	Path    string // where RowJSON has it; empty: under its ID

	field func(*Row) any    // where its value lies: a *string, *time.Time or *uint64
	text  func(*Row) string // the cell, where it says more than its field
}

// Kind is what the values of a column are: how they compare, and what they
// are in outputs that tell texts from others.
type Kind string

// Kinds of columns.
const (
	KindText    Kind = "text"       // without regard to case
	KindVersion Kind = "version"    // part by part, numbers as numbers
	KindTime    Kind = "time"       // RFC 3339 in UTC
	KindNumber  Kind = "number"     // 0 stands for none
	KindBool    Kind = "true/false" //
)

// Columns are the guide's twenty in its order (protocol.md 5.1).
var Columns = []Column{
	{ID: "user_name", Title: "User name", Kind: KindText, Limit: MaxName, Missing: CodeNotReportedYet,
		field: func(r *Row) any { return &r.Owner }},
	{ID: "computer_name", Title: "Computer name", Kind: KindText, Limit: MaxName, Missing: CodeNotReportedYet,
		field: func(r *Row) any { return &r.Host.ComputerName }},
	{ID: "vm_name", Title: "VM device name", Kind: KindText, Limit: MaxName, Hidden: true, Missing: CodeNotShown,
		field: func(r *Row) any { return &r.Name }},
	{ID: "vm_id", Title: "VM device ID", Kind: KindText, Limit: MaxName, Missing: CodeNotReportedYet,
		field: func(r *Row) any { return &r.ID }},
	{ID: "vm_state", Title: "VM state", Kind: KindText, Limit: MaxName, Missing: CodeNotShown, Unknown: StateUnknown,
		field: func(r *Row) any { return &r.State }},
	{ID: "vm_status", Title: "VM status", Kind: KindText, Limit: MaxName, Missing: CodeNotReportedYet,
		field: func(r *Row) any { return &r.Status }},
	{ID: "vm_os", Title: "VM OS", Kind: KindText, Limit: MaxName, Hidden: true, Missing: CodeNotShown,
		field: func(r *Row) any { return &r.OS }},
	{ID: "vm_edition", Title: "VM Edition", Kind: KindText, Limit: MaxName, Hidden: true, Missing: CodeNotShown,
		field: func(r *Row) any { return &r.Edition }},
	{ID: "vm_os_build", Title: "VM OS build", Kind: KindVersion, Limit: MaxName, Hidden: true, Missing: CodeNotShown,
		field: func(r *Row) any { return &r.OSBuild }},
	{ID: "vm_serial", Title: "VM serial number", Kind: KindText, Limit: MaxName, Hidden: true, Missing: CodeMacGuestSerial,
		field: func(r *Row) any { return &r.Serial }},
	{ID: "vm_source", Title: "VM Source", Kind: KindText, Limit: MaxName, Missing: CodeNotReportedYet,
		field: func(r *Row) any { return &r.Source }},
	{ID: "vm_encryption", Title: "VM encryption", Kind: KindText, Limit: MaxName, Hidden: true, Missing: CodeNotShown,
		Remarks: []Code{CodeEncryptionMethod}, field: func(r *Row) any { return &r.Encryption }},
	{ID: "last_command", Title: "Last command", Kind: KindText, Limit: MaxName, Missing: CodeNotReportedYet,
		field: func(r *Row) any { return &r.LastCommand }},
	{ID: "last_used", Title: "Last used date (UTC)", Kind: KindTime, Hidden: true, Missing: CodeNotSeenRunning,
		Remarks: []Code{CodeWrittenAt}, field: func(r *Row) any { return &r.LastUsedAt }},
	{ID: "last_reported", Title: "Last reported date (UTC)", Kind: KindTime, Missing: CodeNotReportedYet,
		field: func(r *Row) any { return &r.LastReportedAt }},
	{ID: "pd_version", Title: "Parallels Desktop Version", Kind: KindVersion, Limit: MaxName, Missing: CodeNotReportedYet,
		field: func(r *Row) any { return &r.Product.Version }, text: productVersion},
	{ID: "pd_state", Title: "Parallels Desktop State", Kind: KindText, Limit: MaxName, Missing: CodeNotReportedYet,
		Remarks: []Code{CodeNoLicense, CodeLicenseGrace, CodeLicenseExpired, CodeLicenseInvalid, CodeLicenseInactive, CodeLicenseUnreadable},
		field:   func(r *Row) any { return &r.Product.State }},
	{ID: "tools_version", Title: "Parallels Tools Version", Kind: KindVersion, Limit: MaxName, Hidden: true, Missing: CodeNotShown,
		Remarks: []Code{CodeToolsOutdated}, field: func(r *Row) any { return &r.ToolsVersion }},
	{ID: "mac_serial", Title: "Mac serial number", Kind: KindText, Limit: MaxName, Missing: CodeNoSerial,
		field: func(r *Row) any { return &r.Host.Serial }},
	{ID: "cpu", Title: "CPU", Kind: KindText, Limit: MaxName, Hidden: true, Missing: CodeNotShown,
		field: func(r *Row) any { return &r.CPU }},
}

// OwnColumns are ours, which the portal's table has beside the guide's.
var OwnColumns = []Column{
	{ID: "group", Title: "Group", Kind: KindText, Limit: MaxName, Path: "extra.group",
		field: func(r *Row) any { return &r.Extra.Group }},
	{ID: "group_source", Title: "Group source", Kind: KindText, Limit: MaxName, Path: "extra.group_source",
		field: func(r *Row) any { return &r.Extra.GroupSource }},
	{ID: "policy_revision", Title: "Policy revision", Kind: KindNumber, Path: "extra.policy_revision",
		field: func(r *Row) any { return &r.Extra.PolicyRevision }},
	{ID: "policy_state", Title: "Policy status", Kind: KindText, Limit: MaxName, Path: "extra.policy_state",
		field: func(r *Row) any { return &r.Extra.PolicyState }},
	{ID: "last_command_detail", Title: "Last command detail", Kind: KindText, Limit: MaxText, Path: "extra.last_command_detail",
		field: func(r *Row) any { return &r.Extra.LastCommandDetail }},
	{ID: "agent_version", Title: "Agent version", Kind: KindVersion, Limit: MaxName, Path: "extra.agent_version",
		field: func(r *Row) any { return &r.Extra.AgentVersion }},
	{ID: "first_seen", Title: "First seen", Kind: KindTime, Path: "extra.first_seen",
		field: func(r *Row) any { return &r.Extra.FirstSeenAt }},
	{ID: "device_id", Title: "Device ID", Kind: KindText, Limit: MaxName, Path: "extra.device_id",
		field: func(r *Row) any { return &r.Extra.DeviceID }},
	{ID: "raw_state", Title: "State in the tool's word", Kind: KindText, Limit: MaxName,
		field: func(r *Row) any { return &r.RawState }},
	{ID: "stale", Title: "Last known because", Kind: KindText, Limit: MaxName,
		field: func(r *Row) any { return (*string)(&r.Stale) }},
}

// wireColumns travel with a machine and stand in no table.
var wireColumns = []Column{
	{ID: "tools_state", Title: "Tools state in the tool's word", Kind: KindText, Limit: MaxName,
		field: func(r *Row) any { return &r.ToolsState }},
	{ID: "config_hash", Title: "Hash of the configuration", Kind: KindText, Limit: MaxName,
		field: func(r *Row) any { return &r.ConfigHash }},
	{ID: "seen_at", Title: "Last seen", Kind: KindTime,
		field: func(r *Row) any { return &r.SeenAt }},
}

// everyColumn are the guide's, ours, and those of no table.
var everyColumn = slices.Concat(Columns, OwnColumns, wireColumns)

func productVersion(r *Row) string {
	if r.Product.Build == "" {
		return r.Product.Version
	}
	return r.Product.Version + " (" + r.Product.Build + ")"
}

// ColumnByID finds one of the guide's columns by its stable id.
func ColumnByID(id string) (column *Column, known bool) { return columnByID(Columns, id) }

func columnByID(columns []Column, id string) (column *Column, known bool) {
	for i := range columns {
		if columns[i].ID == id {
			return &columns[i], true
		}
	}
	return nil, false
}

// IsTime reports whether rows hold a point in time under that name.
func IsTime(id string) bool {
	column, known := columnByID(everyColumn, id)
	return known && column.Kind == KindTime
}

// At is the column's point in time in UTC; zero if its kind is another or the
// cell is empty.
func (c *Column) At(r *Row) time.Time {
	if at, isTime := c.field(r).(*time.Time); isTime {
		return at.UTC()
	}
	return time.Time{}
}

// Value is the cell as machines read it; empty if it has no value.
func (c *Column) Value(r *Row) string {
	if c.text != nil {
		return c.text(r)
	}
	switch value := c.field(r).(type) {
	case *string:
		return *value
	case *time.Time:
		if !value.IsZero() {
			return value.UTC().Format(time.RFC3339)
		}
	case *uint64:
		if *value != 0 {
			return strconv.FormatUint(*value, 10)
		}
	}
	return ""
}

// Gap is the reason code of an empty cell, or of a value that is not known;
// empty if the cell says all there is.
func (c *Column) Gap(r *Row) Code {
	value := c.Value(r)
	unknown := value != "" && value == c.Unknown
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

// Remark is the code beside a cell that has a value; empty if there is none.
func (c *Column) Remark(r *Row) Code {
	code := cmp.Or(r.Gaps[c.ID], r.Product.Gaps[c.ID])
	if slices.Contains(c.Remarks, code) && c.Value(r) != "" {
		return code
	}
	return ""
}

// Reason is the code of an empty cell, or else the one beside its value.
func (c *Column) Reason(r *Row) Code { return cmp.Or(c.Gap(r), c.Remark(r)) }

// RowJSON is a row as machines read it: every column by its id (null where it
// is empty), the reasons of the empty ones and the remarks on others under
// `gaps`, and ours beside them.
func RowJSON(r Row) map[string]any {
	out := make(map[string]any, len(Columns)+6)
	gaps := make(map[string]Code)
	for i := range Columns {
		column := &Columns[i]
		out[column.ID] = nil
		if value := column.Value(&r); value != "" {
			out[column.ID] = value
		}
		if reason := column.Reason(&r); reason != "" {
			gaps[column.ID] = reason
		}
	}
	out["gaps"] = gaps
	out["raw_state"] = r.RawState
	out["uid"] = r.UID
	out["bundle"] = r.Bundle
	out["seen_by"] = names(r.SeenBy)
	out["stale"] = r.Stale
	if !r.SeenAt.IsZero() {
		out["seen_at"] = r.SeenAt.UTC()
	}
	out["config_hash"] = r.ConfigHash
	out["extra"] = r.Extra
	return out
}

func names(accounts []Account) []string {
	names := make([]string, len(accounts))
	for i, account := range accounts {
		names[i] = account.Name
	}
	return names
}

// MarshalJSON writes the row by its columns, see RowJSON.
func (r Row) MarshalJSON() ([]byte, error) { return Encode(RowJSON(r)) }

// UnmarshalJSON reads what RowJSON wrote. Every column has the value and the
// reason that it had there; what is in no column does not travel (a product's
// version and build arrive as one text, who shares a machine by name alone).
func (r *Row) UnmarshalJSON(data []byte) error {
	var beside struct {
		VM
		Extra RowExtra `json:"extra"`
	}
	var cells map[string]json.RawMessage
	if err := json.Unmarshal(data, &beside); err != nil {
		return fmt.Errorf("read row: %w", err)
	}
	if err := json.Unmarshal(data, &cells); err != nil {
		return fmt.Errorf("read row: %w", err)
	}
	*r = Row{VM: beside.VM, Extra: beside.Extra}
	for i := range Columns {
		column := &Columns[i]
		cell, given := cells[column.ID]
		if !given {
			continue
		}
		if err := json.Unmarshal(cell, column.field(r)); err != nil {
			return fmt.Errorf("read %s: %w", column.ID, err)
		}
	}
	return nil
}
