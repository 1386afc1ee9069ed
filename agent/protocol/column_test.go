package protocol

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// The guide's own words, in its order (protocol.md 5.1).
func TestColumns(t *testing.T) {
	t.Parallel()
	want := []string{
		"User name", "Computer name", "VM device name", "VM device ID", "VM state", "VM status", "VM OS", "VM Edition", "VM OS build",
		"VM serial number", "VM Source", "VM encryption", "Last command", "Last used date (UTC)", "Last reported date (UTC)",
		"Parallels Desktop Version", "Parallels Desktop State", "Parallels Tools Version", "Mac serial number", "CPU",
	}
	var titles, ids []string
	for _, column := range Columns {
		titles, ids = append(titles, column.Title), append(ids, column.ID)
		found, ok := ColumnByID(column.ID)
		if !ok || found.Title != column.Title {
			t.Errorf("%s is found as %q", column.ID, found.Title)
		}
	}
	if diff := cmp.Diff(want, titles); diff != "" {
		t.Errorf("titles (-want +got):\n%s", diff)
	}
	slices.Sort(ids)
	if unique := slices.Compact(slices.Clone(ids)); len(unique) != 20 {
		t.Errorf("%d ids: %s", len(unique), ids)
	}
	if _, ok := ColumnByID("VM state"); ok {
		t.Error("a title is no id")
	}
}

func TestColumnValues(t *testing.T) {
	t.Parallel()
	row := sampleRow(sampleVM())
	row.LastUsedAt = row.LastUsedAt.In(time.FixedZone("CET", 3600))
	want := []string{
		"alice", "Alice's Mac", "Windows 11", "f11d8098-10fe-40d9-871e-27af1e66161e", "Suspended", "Active", "Windows 11", "Pro", "26100",
		"Parallels-F1 1D 80 98 10 FE 40 D9 87 1E 27 AF 1E 66 16 1E", "Other", "Encrypted with a custom password", "None",
		"2026-11-22T10:00:00Z", "2026-11-23T12:00:00Z", "26.4.0 (57513)", "Activated (SSO)", "26.4.0-57513", "C02XL0THJGH5", "Arm",
	}
	for i, column := range Columns {
		if got := column.Value(&row); got != want[i] {
			t.Errorf("%s is %q, want %q", column.ID, got, want[i])
		}
		if gap := column.Gap(&row); gap != "" {
			t.Errorf("%s has a value and the gap %s", column.ID, gap)
		}
		if at := column.At(&row); at.IsZero() == (column.Kind == KindTime) || at.Location() != time.UTC {
			t.Errorf("%s is at %s", column.ID, at)
		}
	}
	row.Product.Build = ""
	if got := productVersion(&row); got != "26.4.0" {
		t.Errorf("version without a build: %q", got)
	}
}

func TestColumnGaps(t *testing.T) {
	t.Parallel()
	row := sampleRow(gappyVM())
	row.Product = Product{Gaps: map[string]Code{"pd_state": CodeEdition}}
	row.Host, row.LastReportedAt = Host{}, time.Time{}
	cases := map[string]Code{
		"vm_serial":     CodeMacGuestSerial, // the machine's own
		"pd_state":      CodeEdition,        // the product's
		"computer_name": CodeNotReportedYet, // nobody knows
		"last_reported": CodeNotReportedYet, //
		"vm_state":      CodeServiceDown,    // Unknown, because the row is stale
		"vm_name":       "",                 // there is one
	}
	for id, want := range cases {
		column, _ := ColumnByID(id)
		if got := column.Gap(&row); got != want {
			t.Errorf("%s: got %q, want %q", id, got, want)
		}
	}
	row.Gaps["vm_state"] = CodeVMInvalid
	if column, _ := ColumnByID("vm_state"); column.Gap(&row) != CodeVMInvalid {
		t.Error("a state's own reason comes first")
	}
	row.Name, row.Source = StateUnknown, SourceUnknown
	for _, id := range []string{"vm_name", "vm_source"} {
		if column, _ := ColumnByID(id); column.Gap(&row) != "" {
			t.Errorf("%s is Unknown by name, not by state", id)
		}
	}
}

// Rows have every column, null where it is empty, and lists that are lists.
func TestRowJSON(t *testing.T) {
	t.Parallel()
	data, err := json.Marshal(Row{})
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]json.RawMessage
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	for _, column := range Columns {
		if string(out[column.ID]) != "null" {
			t.Errorf("%s is %s", column.ID, out[column.ID])
		}
	}
	if string(out["seen_by"]) != "[]" {
		t.Errorf("seen_by is %s", out["seen_by"])
	}
	var gaps map[string]Code
	if err := json.Unmarshal(out["gaps"], &gaps); err != nil || len(gaps) != len(Columns) {
		t.Errorf("gaps %v, %v", gaps, err)
	}
}

func TestStatusOf(t *testing.T) {
	t.Parallel()
	cases := []struct {
		state  string
		failed bool
		want   string
	}{
		{ProductSSO, false, "Active"}, {ProductKey, false, "Active"}, {ProductDeactivated, false, "Deactivated"}, {"", false, ""},
		{ProductSSO, true, "Failed to delete"}, {ProductDeactivated, true, "Failed to delete"}, {"", true, "Failed to delete"},
	}
	for _, c := range cases {
		if got := StatusOf(Product{State: c.state}, c.failed); got != c.want {
			t.Errorf("%q, failed %t: got %q, want %q", c.state, c.failed, got, c.want)
		}
	}
}

func TestVMKey(t *testing.T) {
	t.Parallel()
	keys := []VMKey{
		{ID: "b", UID: 501},
		{ID: "a", UID: 502},
		{ID: "a", UID: 5020},
	}
	seen := make(map[string]bool)
	for i, key := range keys {
		if seen[key.String()] {
			t.Errorf("%s twice", key)
		}
		seen[key.String()] = true
		if i > 0 && (keys[i-1].Compare(key) >= 0 || key.Compare(keys[i-1]) <= 0 || key.Compare(key) != 0) {
			t.Errorf("%s does not come after %s", key, keys[i-1])
		}
	}
}

// Old tools are flagged beside their version, which stays.
func TestINV_27_ARemarkStandsBesideAValue(t *testing.T) {
	t.Parallel()
	row := sampleRow(sampleVM())
	tools, _ := ColumnByID("tools_version")
	row.Gaps = map[string]Code{"tools_version": CodeToolsOutdated, "cpu": CodeNotShown}
	if tools.Remark(&row) != CodeToolsOutdated || tools.Reason(&row) != CodeToolsOutdated || tools.Gap(&row) != "" {
		t.Errorf("remark %q, reason %q, gap %q", tools.Remark(&row), tools.Reason(&row), tools.Gap(&row))
	}
	document := RowJSON(row)
	want := map[string]Code{"tools_version": CodeToolsOutdated} // that of the CPU, which has a value, is none
	if diff := cmp.Diff(want, document["gaps"]); diff != "" || document["tools_version"] != row.ToolsVersion {
		t.Errorf("tools_version %v, gaps %s", document["tools_version"], diff)
	}
	row.ToolsVersion, row.Gaps["tools_version"] = "", CodeNoTools
	if tools.Remark(&row) != "" || tools.Reason(&row) != CodeNoTools {
		t.Errorf("without a value: remark %q, reason %q", tools.Remark(&row), tools.Reason(&row))
	}
}

// lacking are the properties that an entry should have and has not.
func lacking(c Column) []string {
	var lacks []string
	need := func(property string, has bool) {
		if !has {
			lacks = append(lacks, property)
		}
	}
	need("id", c.ID != "")
	need("title", c.Title != "")
	need("field", c.field != nil)
	if c.field == nil {
		return lacks
	}
	switch c.field(new(Row)).(type) {
	case *string:
		need("kind", c.Kind == KindText || c.Kind == KindVersion)
		need("limit", c.Limit > 0)
	case *time.Time:
		need("kind", c.Kind == KindTime)
		need("no limit", c.Limit == 0)
	case *uint64:
		need("kind", c.Kind == KindNumber)
		need("no limit", c.Limit == 0)
	default:
		need("field of a known type", false)
	}
	_, guides := ColumnByID(c.ID)
	need("reason", hasRow(c.Missing) == guides)
	return lacks
}

// An entry says everything about its column, or this test says what is left out.
func TestEveryColumnIsWhole(t *testing.T) {
	t.Parallel()
	var ids []string
	for _, column := range everyColumn {
		ids = append(ids, column.ID)
		if lacks := lacking(column); lacks != nil {
			t.Errorf("%s lacks %q", column.ID, lacks)
		}
		for _, remark := range column.Remarks {
			if !hasRow(remark) {
				t.Errorf("%s: the code %q is in no table", column.ID, remark)
			}
		}
	}
	slices.Sort(ids)
	if unique := slices.Compact(slices.Clone(ids)); len(unique) != len(ids) {
		t.Errorf("an id twice: %q", ids)
	}
	for property, remove := range map[string]func(*Column){
		"title":                 func(c *Column) { c.Title = "" },
		"field":                 func(c *Column) { c.field = nil },
		"kind":                  func(c *Column) { c.Kind = "" },
		"limit":                 func(c *Column) { c.Limit = 0 },
		"reason":                func(c *Column) { c.Missing = "" },
		"no limit":              func(c *Column) { c.field = func(r *Row) any { return &r.LastUsedAt }; c.Kind = KindTime },
		"field of a known type": func(c *Column) { c.field = func(r *Row) any { return &r.SeenBy } },
	} {
		whole, _ := ColumnByID("vm_os_build")
		column := *whole
		if remove(&column); !slices.Equal(lacking(column), []string{property}) {
			t.Errorf("without its %s a column lacks %q", property, lacking(column))
		}
	}
}

// What a version or a number is decides how it sorts.
func TestKindsOfColumns(t *testing.T) {
	t.Parallel()
	ids := make(map[Kind][]string)
	for _, column := range everyColumn {
		if column.Kind != KindText {
			ids[column.Kind] = append(ids[column.Kind], column.ID)
		}
	}
	want := map[Kind][]string{
		KindVersion: {"vm_os_build", "pd_version", "tools_version", "agent_version"},
		KindTime:    {"last_used", "last_reported", "first_seen", "seen_at"},
		KindNumber:  {"policy_revision"},
	}
	if diff := cmp.Diff(want, ids); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// notColumns are what travels of a machine and is no cell: structures, with
// limits of their own.
var notColumns = []string{"uid", "bundle", "seen_by", "gaps"}

// Each field that travels has the one entry whose id is its name, and that
// entry lies in this field: nothing that is added to a row goes without a
// limit, a kind and a reason.
func TestEveryFieldOfARowHasItsColumn(t *testing.T) {
	t.Parallel()
	claimed := make(map[string]string) // JSON name of a field -> id of its column
	for _, column := range everyColumn {
		var row Row
		fill(column.field(&row))
		for _, name := range fieldsOf(t, row.VM) {
			claimed[name] = column.ID
		}
		for _, name := range fieldsOf(t, row.Extra) {
			claimed["extra."+name] = column.ID
			if column.Path != "extra."+name {
				t.Errorf("%s is said to lie in %s, and lies in extra.%s", column.ID, column.Path, name)
			}
		}
	}
	var machine VM
	var extra RowExtra
	for _, structure := range []any{&machine, &extra} {
		value := reflect.ValueOf(structure).Elem()
		for _, field := range reflect.VisibleFields(value.Type()) {
			if !field.Anonymous {
				fill(value.FieldByIndex(field.Index).Addr().Interface())
			}
		}
	}
	for _, name := range fieldsOf(t, machine) {
		if claimed[name] != name && !slices.Contains(notColumns, name) {
			t.Errorf("the field %s of a machine belongs to the column %q", name, claimed[name])
		}
	}
	for _, name := range fieldsOf(t, extra) {
		if claimed["extra."+name] != name {
			t.Errorf("the field %s of a row belongs to the column %q", name, claimed["extra."+name])
		}
	}
}

// fill gives a field a value that is not its zero one.
func fill(field any) {
	switch value := reflect.ValueOf(field).Elem(); value.Kind() {
	case reflect.String:
		value.SetString("x")
	case reflect.Uint64:
		value.SetUint(1)
	case reflect.Slice:
		value.Set(reflect.MakeSlice(value.Type(), 1, 1))
	case reflect.Map:
		value.Set(reflect.MakeMap(value.Type()))
		value.SetMapIndex(reflect.New(value.Type().Key()).Elem(), reflect.New(value.Type().Elem()).Elem())
	case reflect.Struct:
		if at, isTime := field.(*time.Time); isTime {
			*at = noon
			return
		}
		for i := range value.NumField() {
			fill(value.Field(i).Addr().Interface())
		}
	}
}

// fieldsOf are the JSON names of the fields that are not empty.
func fieldsOf(t *testing.T, structure any) []string {
	t.Helper()
	data, err := json.Marshal(structure)
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(data, &fields); err != nil {
		t.Fatal(err)
	}
	var names []string
	for name, value := range fields {
		if value != "" {
			names = append(names, name)
		}
	}
	return names
}

func TestH51_EveryCellIsCutToItsLimit(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", MaxText)
	var row Row
	for _, column := range everyColumn {
		if cell, isText := column.field(&row).(*string); isText {
			*cell = "x" + long // no character ends at an even limit
		}
	}
	machine := row.VM
	row.Cut()
	machine.Cut()
	if diff := cmp.Diff(row.VM, machine); diff != "" {
		t.Errorf("a machine by itself is cut otherwise (-row +machine):\n%s", diff)
	}
	for _, column := range everyColumn {
		cell, isText := column.field(&row).(*string)
		if isText && (len(*cell) > column.Limit || len(*cell) < column.Limit-1 || !utf8.ValidString(*cell)) {
			t.Errorf("%s is cut to %d bytes, its limit is %d", column.ID, len(*cell), column.Limit)
		}
	}
	short := sampleRow(sampleVM())
	cut := short
	if cut.Cut(); cmp.Diff(short, cut) != "" {
		t.Errorf("what is short was changed: %s", cmp.Diff(short, cut))
	}
}

// A row that travels has the same cells and reasons at its end.
func TestRowsTravelWhole(t *testing.T) {
	t.Parallel()
	for name, sent := range map[string]Row{"whole": sampleRow(sampleVM()), "with gaps": sampleRow(gappyVM()), "empty": {}} {
		data, err := json.Marshal(sent)
		if err != nil {
			t.Fatal(err)
		}
		var got Row
		if err := Decode(data, MaxReply, &got); err != nil {
			t.Fatal(err)
		}
		for _, column := range Columns {
			if value, want := column.Value(&got), column.Value(&sent); value != want {
				t.Errorf("%s, %s: %q, want %q", name, column.ID, value, want)
			}
			if reason, want := column.Reason(&got), column.Reason(&sent); reason != want {
				t.Errorf("%s, %s: reason %q, want %q", name, column.ID, reason, want)
			}
		}
		if diff := cmp.Diff(sent.Extra, got.Extra); diff != "" {
			t.Errorf("%s, extra (-sent +got):\n%s", name, diff)
		}
	}
	var row Row
	for _, text := range []string{`[]`, `{"vm_name":1}`, `{"last_reported":"yesterday"}`, `{"pd_version":{}}`} {
		if err := json.Unmarshal([]byte(text), &row); err == nil {
			t.Errorf("%s is read as a row", text)
		}
	}
}
