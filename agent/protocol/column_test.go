package protocol

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

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
		if got := column.Value(row); got != want[i] {
			t.Errorf("%s is %q, want %q", column.ID, got, want[i])
		}
		if gap := column.Gap(row); gap != "" {
			t.Errorf("%s has a value and the gap %s", column.ID, gap)
		}
		if at := column.At(row); at.IsZero() == column.Time || at.Location() != time.UTC {
			t.Errorf("%s is at %s", column.ID, at)
		}
	}
	row.Product.Build = ""
	if got := productVersion(row); got != "26.4.0" {
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
		if got := column.Gap(row); got != want {
			t.Errorf("%s: got %q, want %q", id, got, want)
		}
	}
	row.Gaps["vm_state"] = CodeVMInvalid
	if column, _ := ColumnByID("vm_state"); column.Gap(row) != CodeVMInvalid {
		t.Error("a state's own reason comes first")
	}
	row.Name, row.Source = StateUnknown, SourceUnknown
	for _, id := range []string{"vm_name", "vm_source"} {
		if column, _ := ColumnByID(id); column.Gap(row) != "" {
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
		{ID: "b", Owner: "alice"},
		{ID: "a", Owner: "bob"},
		{ID: "a", Owner: "bob", Bundle: Bundle{Device: 1, Inode: 17}},
		{ID: "a", Owner: "bob", Bundle: Bundle{Device: 17, Inode: 1}},
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
	if tools.Remark(row) != CodeToolsOutdated || tools.Reason(row) != CodeToolsOutdated || tools.Gap(row) != "" {
		t.Errorf("remark %q, reason %q, gap %q", tools.Remark(row), tools.Reason(row), tools.Gap(row))
	}
	document := RowJSON(row)
	want := map[string]Code{"tools_version": CodeToolsOutdated} // that of the CPU, which has a value, is none
	if diff := cmp.Diff(want, document["gaps"]); diff != "" || document["tools_version"] != row.ToolsVersion {
		t.Errorf("tools_version %v, gaps %s", document["tools_version"], diff)
	}
	row.ToolsVersion, row.Gaps["tools_version"] = "", CodeNoTools
	if tools.Remark(row) != "" || tools.Reason(row) != CodeNoTools {
		t.Errorf("without a value: remark %q, reason %q", tools.Remark(row), tools.Reason(row))
	}
}
