package portal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/storage"
)

// listOf asks for a table and gives the page with its rows.
func (p *testPortal) listOf(t testing.TB, table string, asked url.Values) (rows []sentRow, about page) {
	t.Helper()
	got := p.admin(t, http.MethodGet, "/v1/admin/"+table+"?"+asked.Encode(), nil)
	if got.status != http.StatusOK {
		t.Fatalf("%v: answer is %d %s", asked, got.status, got.body)
	}
	var reply map[string]json.RawMessage
	var sent []json.RawMessage
	for _, err := range []error{json.Unmarshal(got.body, &reply), json.Unmarshal(reply[table], &sent), json.Unmarshal(got.body, &about)} {
		if err != nil {
			t.Fatalf("decode %s: %v", got.body, err)
		}
	}
	for _, data := range sent {
		decoder := json.NewDecoder(bytes.NewReader(data))
		decoder.UseNumber()
		var row sentRow
		if err := decoder.Decode(&row); err != nil {
			t.Fatalf("decode %s: %v", data, err)
		}
		rows = append(rows, row)
	}
	return rows, about
}

// names are the VM names of rows, in their order.
func names(rows []sentRow) string {
	var all []string
	for _, row := range rows {
		all = append(all, row["vm_name"].(string))
	}
	return strings.Join(all, ", ")
}

// twoMacs are two Macs whose virtual machines, Win and Deb, differ in every
// column that can differ.
func twoMacs(t *testing.T) *testPortal {
	t.Helper()
	portal := newTestPortal(t)
	first := newMac(t, portal, "C02AAAAAAAAA")
	win := windows("Win")
	win.Name, win.ID, win.Owner, win.State = "Win", "1f3c2a1b-6d1e-4f63-9c5b-2f1f4f1a7b3e", "alice", protocol.StateRunning
	win.OS, win.Edition, win.OSBuild, win.ToolsVersion = "Windows 11", "Pro, N", "26100", "26.4.0-57513"
	win.Serial, win.LastUsedAt = "Parallels-1F 3C 2A 1B 6D 1E 4F 63 9C 5B 2F 1F 4F 1A 7B 3E", morning.Add(-26*time.Hour)
	first.report.VMs = []protocol.VM{win}
	first.enroll(t, http.StatusCreated)
	first.checkin(t)

	portal.clock.advance(time.Hour)
	second := newMac(t, portal, "C02BBBBBBBBB")
	second.report.Host.ComputerName = "Bob's Mac"
	second.report.Product = protocol.Product{Installed: true, Version: "26.10.1", Build: "60001", State: protocol.ProductDeactivated}
	deb := windows("Deb")
	deb.Name, deb.ID, deb.Owner, deb.Source, deb.CPU = "Deb", "2a4d3b2c-7e2f-4a74-8d6c-3a2a5a2b8c4f", "bob", "Golden Debian", protocol.CPUIntel
	deb.OS, deb.Encryption, deb.Gaps = "Debian GNU/Linux 12", protocol.EncryptedPassword, nil
	second.report.VMs = []protocol.VM{deb}
	second.enroll(t, http.StatusCreated)
	second.checkin(t)
	return portal
}

// columnFilters are filters of every column of the guide and what they show of
// twoMacs: Win, Deb, both or nothing.
var columnFilters = map[string][][2]string{
	"user_name":     {{"user_name=ALICE", "Win"}, {"user_name != alice", "Deb"}, {"user_name in bob, carol", "Deb"}, {"user_name empty", ""}},
	"computer_name": {{"computer_name=Bob's Mac", "Deb"}, {"computer_name contains alice", "Win"}},
	"vm_name":       {{"vm_name=win", "Win"}, {"vm_name contains e", "Deb"}, {`vm_name in "Win", Deb`, "Win, Deb"}},
	"vm_id":         {{"vm_id=1F3C2A1B-6d1e-4f63-9c5b-2f1f4f1a7b3e", "Win"}, {"vm_id contains 8d6c", "Deb"}},
	"vm_state":      {{"vm_state=Running", "Win"}, {"vm_state in stopped,suspended", "Deb"}},
	"vm_status":     {{"vm_status=Deactivated", "Deb"}, {"vm_status!=Deactivated", "Win"}},
	"vm_os":         {{"vm_os contains windows", "Win"}, {`vm_os in "Windows 11", macOS`, "Win"}},
	"vm_edition":    {{`vm_edition in "Pro, N"`, "Win"}, {"vm_edition empty", "Deb"}, {"vm_edition!=Home", "Win, Deb"}},
	"vm_os_build":   {{"vm_os_build>=22631", "Win"}, {"vm_os_build<9", ""}, {"vm_os_build empty", "Deb"}},
	"vm_serial":     {{"vm_serial contains 3c 2a 1b", "Win"}, {"vm_serial empty", "Deb"}, {"vm_serial not empty", "Win"}},
	"vm_source":     {{"vm_source=other", "Win"}, {"vm_source contains golden", "Deb"}},
	"vm_encryption": {{"vm_encryption=Not encrypted", "Win"}, {"vm_encryption contains password", "Deb"}},
	"last_command":  {{"last_command=None", "Win, Deb"}, {"last_command contains pending", ""}},
	"last_used":     {{"last_used=2026-11-22", "Win"}, {"last_used before 2026-11-22", ""}, {"last_used after -2d", "Win"}, {"last_used empty", "Deb"}, {"last_used<=2026-11-22T07:00Z", "Win"}},
	"last_reported": {{"last_reported>2026-11-23T09:00Z", "Deb"}, {"last_reported=2026-11-23", "Win, Deb"}, {"last_reported before -30m", "Win"}, {"last_reported>=2026-11-24", ""}},
	"pd_version":    {{"pd_version<26.10", "Win"}, {"pd_version>26.9", "Deb"}, {"pd_version=26.4.0", "Win"}, {"pd_version=26.4.0.57513", "Win"}, {"pd_version>=26.4.0.57514", "Deb"}, {"pd_version in 26.4, 20.1.1", "Win"}},
	"pd_state":      {{"pd_state=Deactivated", "Deb"}, {"pd_state contains license key", "Win"}},
	"tools_version": {{"tools_version<26.5", "Win"}, {"tools_version=26.4", "Win"}, {"tools_version empty", "Deb"}},
	"mac_serial":    {{"mac_serial=c02bbbbbbbbb", "Deb"}, {"mac_serial in C02AAAAAAAAA,C02BBBBBBBBB", "Win, Deb"}},
	"cpu":           {{"cpu=Intel", "Deb"}, {"cpu!=Intel", "Win"}},
}

func TestINV_31_EveryColumnHasFilters(t *testing.T) {
	t.Parallel()
	portal := twoMacs(t)
	for _, column := range protocol.Columns {
		if len(columnFilters[column.ID]) < 2 {
			t.Errorf("%s has no filters here", column.ID)
		}
		for _, wanted := range columnFilters[column.ID] {
			if rows, _ := portal.listOf(t, "vms", url.Values{"filter": {wanted[0]}}); names(rows) != wanted[1] {
				t.Errorf("%s shows %q, want %q", wanted[0], names(rows), wanted[1])
			}
		}
	}
	if len(columnFilters) != 20 {
		t.Errorf("%d columns have filters, want 20", len(columnFilters))
	}
}

// Beside the guide's columns ours and those of the devices can be asked for,
// each with an operator of its kind.
func TestEveryFieldCanBeFilteredAndSorted(t *testing.T) {
	t.Parallel()
	portal := twoMacs(t)
	for table, columns := range map[string][]column{"vms": vmTable.columns(), "devices": deviceTable.columns()} {
		for _, column := range columns {
			empty, _ := portal.listOf(t, table, url.Values{"filter": {column.id + " empty"}, "sort": {"-" + column.id}})
			full, _ := portal.listOf(t, table, url.Values{"filter": {column.id + " not empty"}, "sort": {column.id}})
			if len(empty)+len(full) != 2 {
				t.Errorf("%s of %s is empty in %d rows and full in %d, of 2", column.id, table, len(empty), len(full))
			}
			for _, row := range full {
				if tableRow(row).value(column) == "" {
					t.Errorf("%s of %s is not empty and has no value in JSON", column.id, table)
				}
			}
		}
	}
}

func TestINV_30_SearchLooksAtEveryText(t *testing.T) {
	t.Parallel()
	portal := twoMacs(t)
	for search, want := range map[string]string{
		"3C 2A 1b": "Win", "parallels-": "Win", "c02b": "Deb", "8d6c-3a2a": "Deb", "BOB'S": "Deb", "26.10.1 (6": "Deb",
		"golden": "Deb", "alice": "Win", "c02": "Win, Deb", "nothing of it": "", "default": "Win, Deb", "26100": "Win",
		"not_reported_yet": "", // a reason is no parameter
	} {
		if rows, _ := portal.listOf(t, "vms", url.Values{"search": {search}}); names(rows) != want {
			t.Errorf("search %q shows %q, want %q", search, names(rows), want)
		}
	}
	rows, _ := portal.listOf(t, "vms", url.Values{"search": {"c02"}, "filter": {"cpu=Intel", "user_name=alice"}})
	if len(rows) != 0 {
		t.Errorf("not every filter holds: %s", names(rows))
	}
	if devices, _ := portal.listOf(t, "devices", url.Values{"search": {"bob's"}}); len(devices) != 1 || devices[0]["mac_serial"] != "C02BBBBBBBBB" {
		t.Errorf("devices are %v", devices)
	}
}

// aMacWith is a Mac with n virtual machines, "vm-000" and so on.
func aMacWith(t *testing.T, portal *testPortal, n int) *mac {
	t.Helper()
	m := newMac(t, portal, "C02AAAAAAAAA")
	m.report.VMs = nil
	for i := range n {
		vm := windows(fmt.Sprintf("vm-%03d", i))
		vm.Bundle.Inode = uint64(i + 1)
		vm.OSBuild = strconv.Itoa(i % 7)
		m.report.VMs = append(m.report.VMs, vm)
	}
	m.enroll(t, http.StatusCreated)
	m.checkin(t)
	return m
}

func TestINV_29_PagesOfAnySize(t *testing.T) {
	t.Parallel()
	portal := newTestPortal(t)
	aMacWith(t, portal, 113)
	for _, size := range []int{10, 20, 30, 40, 100, 1000} {
		var seen []string
		for number := 1; ; number++ {
			rows, about := portal.listOf(t, "vms", url.Values{
				"page": {strconv.Itoa(number)}, "per_page": {strconv.Itoa(size)}, "sort": {"-vm_os_build,vm_name"},
			})
			if about.Total != 113 || about.Page != number || about.PerPage != size || len(rows) > size {
				t.Fatalf("page %d of %d: %+v with %d rows", number, size, about, len(rows))
			}
			if len(rows) == 0 {
				break
			}
			for _, row := range rows {
				seen = append(seen, fmt.Sprintf("%d %s", 9-int(row["vm_os_build"].(string)[0]-'0'), row["vm_name"]))
			}
		}
		if len(seen) != 113 || !slices.IsSorted(seen) || len(slices.Compact(seen)) != 113 {
			t.Errorf("pages of %d show %d rows: %v", size, len(seen), seen)
		}
	}
	if rows, about := portal.listOf(t, "vms", nil); len(rows) != 40 || about.PerPage != 40 {
		t.Errorf("a page has %d rows", len(rows))
	}
}

func TestSortKeepsTheTablesOwnOrderInTiesAndEmptyCellsLast(t *testing.T) {
	t.Parallel()
	portal := twoMacs(t)
	for sort, want := range map[string]string{
		"vm_name": "Deb, Win", "-vm_name": "Win, Deb", "last_command": "Win, Deb", "-last_command": "Win, Deb",
		"pd_version": "Win, Deb", "-pd_version": "Deb, Win", "tools_version": "Win, Deb", "-tools_version": "Win, Deb",
		"last_command,-user_name": "Deb, Win", "-last_reported": "Deb, Win",
	} {
		if rows, _ := portal.listOf(t, "vms", url.Values{"sort": {sort}}); names(rows) != want {
			t.Errorf("by %s: %s, want %s", sort, names(rows), want)
		}
	}
}

func TestBadQueriesSayWhatIsExpected(t *testing.T) {
	t.Parallel()
	portal := newTestPortal(t)
	for text, wants := range map[string][]string{
		"filter=nonsense%3D1":                   {"filter[0]", `there is no column "nonsense"`, "vm_name"},
		"filter=vm_name":                        {"filter[0]", "operator is missing after vm_name, which is a text", "contains"},
		"filter=vm_name+like+win":               {"filter[0]", "operator is missing", "not empty"},
		"filter=vm_name%3C3":                    {"filter[0]", "< is no operator of vm_name"},
		"filter=vm_name%3D":                     {"filter[0]", "vm_name =", "vm_name empty"},
		"filter=vm_name%3D%3Da":                 {"filter[0]", "double quotes"},
		"filter=vm_name+empty+x":                {"filter[0]", "expected nothing after it"},
		"filter=vm_name+in+a,,b":                {"filter[0]", "between the commas"},
		"filter=vm_name+in+%22a":                {"filter[0]", "double quotes"},
		"filter=vm_name+in+%22a%22b":            {"filter[0]", "a comma or nothing"},
		"filter=cpu%3DArm&filter=cpu":           {"filter[1]", "cpu"},
		"filter=last_used%3Eyesterday":          {"filter[0]", "last_used >", "2026-11-23", "yesterday"},
		"filter=last_used+after+-99999d":        {"filter[0]", "-7d"},
		"filter=pd_version%3Cnew":               {"filter[0]", "pd_version <", "a version like 26.1"},
		"filter=policy_revision%3Cmany":         {"filter[0]", "a number"},
		"filter=stale_report%3Dmaybe":           {"filter[0]", "true or false"},
		"filter=vm_name%3D%1B[2J%00":            {"filter[0]"},
		"sort=nonsense":                         {"sort", "nonsense"},
		"sort=cpu,-cpu":                         {"sort", "cpu once"},
		"page=0":                                {"page", "from 1"},
		"page=1&page=2":                         {"page", "once"},
		"page=abc":                              {"page", "numbers from 1"},
		"page=-1":                               {"page", "numbers from 1"},
		"per_page=many":                         {"per_page", "numbers from 1"},
		"page=200000":                           {"page", "100000"},
		"page=99999999999999":                   {"page"},
		"per_page=1001":                         {"per_page", "1000"},
		"since=soon":                            {"since", "soon"},
		"fliter=cpu%3DArm":                      {"fliter", "no such parameter"},
		"search=" + strings.Repeat("x", 300):    {"search", "255"},
		strings.Repeat("filter=cpu%3DArm&", 33): {"filter", "32"},
	} {
		got := portal.admin(t, http.MethodGet, "/v1/admin/vms?"+text, nil)
		problem, ours := protocol.ParseProblem(got.status, got.header.Get("Content-Type"), got.body)
		if text == "filter=vm_name%3D%1B[2J%00" {
			if got.status != http.StatusOK {
				t.Errorf("a strange value is refused: %s", got.body)
			}
			continue
		}
		if !ours || problem.Name() != protocol.ProblemInvalidRequest || problem.Field != wants[0] {
			t.Errorf("%s: answer is %d %s, want a problem with %s", text, got.status, got.body, wants[0])
			continue
		}
		mustContain(t, problem.Detail, wants[1:]...)
	}
}

func TestSinceListsChangesAndRemovals(t *testing.T) {
	t.Parallel()
	portal := newTestPortal(t)
	m := aMacWith(t, portal, 3)
	_, begun := portal.listOf(t, "vms", nil)
	since := func(at time.Time) string {
		rows, about := portal.listOf(t, "vms", url.Values{"since": {at.Format(time.RFC3339)}, "sort": {"vm_name"}})
		var all []string
		for _, row := range rows {
			text := row["vm_name"].(string)
			if row["removed_at"] != nil {
				text += " removed"
			}
			all = append(all, text)
		}
		if about.Incomplete {
			t.Error("the increment is incomplete")
		}
		return strings.Join(all, ", ")
	}
	want := func(at time.Time, wanted string) {
		t.Helper()
		if got := since(at); got != wanted {
			t.Errorf("since %s: %q, want %q", at.Format(time.TimeOnly), got, wanted)
		}
	}
	want(begun.AsOf, "vm-000, vm-001, vm-002") // the overlap: rows come again, and none is missed

	portal.clock.advance(time.Hour)
	quiet := portal.clock.now()
	m.checkin(t)
	want(quiet, "")

	portal.clock.advance(time.Hour)
	changed := portal.clock.now()
	m.report.VMs[1].State = protocol.StateRunning
	m.checkin(t)
	want(changed, "vm-001")

	portal.clock.advance(time.Hour)
	removed := portal.clock.now()
	gone := m.report.VMs[0]
	m.report.VMs = m.report.VMs[1:]
	m.checkin(t)
	want(removed, "vm-000 removed")
	want(changed, "vm-000 removed, vm-001")
	if rows, _ := portal.listOf(t, "vms", url.Values{"filter": {"removed_at not empty"}}); len(rows) != 0 {
		t.Errorf("the table as it is has removed rows: %s", names(rows))
	}

	portal.clock.advance(time.Hour)
	returned := portal.clock.now()
	m.report.VMs = append([]protocol.VM{gone}, m.report.VMs...)
	m.checkin(t)
	want(returned, "vm-000")
	want(removed, "vm-000")

	portal.clock.advance(time.Hour)
	renamed := portal.clock.now()
	m.report.Host.ComputerName = "Renamed"
	m.checkin(t)
	want(renamed, "vm-000, vm-001, vm-002")
	if devices, _ := portal.listOf(t, "devices", url.Values{"since": {renamed.Format(time.RFC3339)}}); len(devices) != 1 {
		t.Errorf("%d devices changed, want 1", len(devices))
	}
	portal.clock.advance(time.Hour)
	m.checkin(t)
	if devices, _ := portal.listOf(t, "devices", url.Values{"since": {portal.clock.now().Format(time.RFC3339)}}); len(devices) != 0 {
		t.Error("a quiet check-in is a change")
	}
}

func TestSinceSaysWhenTheHistoryIsTooShort(t *testing.T) {
	t.Parallel()
	portal := newTestPortal(t)
	m := enrolled(t, portal)
	device, err := portal.store.Device(t.Context(), storage.ByID(m.deviceID))
	if err != nil {
		t.Fatal(err)
	}
	var history storage.History
	for i := range storage.MaxHistory {
		vm := windows(fmt.Sprint("gone ", i))
		history.Rows = append(history.Rows, storage.PastRow{Row: storage.Row{VM: vm}, RemovedAt: morning})
	}
	if err := portal.store.Save(t.Context(), storage.Change{Device: device, History: &history}); err != nil {
		t.Fatal(err)
	}
	if _, about := portal.listOf(t, "vms", url.Values{"since": {"-1h"}}); !about.Incomplete || about.Total != storage.MaxHistory+1 {
		t.Errorf("the increment is %+v", about)
	}
	if _, about := portal.listOf(t, "vms", nil); about.Incomplete {
		t.Error("the table as it is is incomplete")
	}
}

func TestStaleReports(t *testing.T) {
	t.Parallel()
	portal := newTestPortal(t)
	enrolled(t, portal)
	stale := func() string {
		vms, _ := portal.listOf(t, "vms", url.Values{"filter": {"stale_report=true"}})
		devices, _ := portal.listOf(t, "devices", url.Values{"filter": {"stale_report=true"}})
		return fmt.Sprint(len(vms), len(devices))
	}
	portal.clock.advance(2*time.Hour + 5*time.Minute) // twice the cadence of an hour, and its splay
	if got := stale(); got != "0 0" {
		t.Errorf("stale in time: %s", got)
	}
	portal.clock.advance(time.Second)
	if got := stale(); got != "1 1" {
		t.Errorf("stale beyond it: %s", got)
	}
}

func TestFreshnessFollowsTheCadenceInForce(t *testing.T) {
	t.Parallel()
	for _, wanted := range []struct {
		cadence, splay int
		want           time.Duration
	}{
		{3600, 300, 2*time.Hour + 5*time.Minute},
		{0, 300, 48*time.Hour + 5*time.Minute}, // the guide's daily check
		{10, 0, 10 * time.Minute},              // no agent believes less than five minutes
		{1 << 30, 0, 48 * time.Hour},
	} {
		if got := (Config{NextCheckinSecs: wanted.cadence, SplaySecs: wanted.splay}).freshness(); got != wanted.want {
			t.Errorf("%d s and %d s: %s, want %s", wanted.cadence, wanted.splay, got, wanted.want)
		}
	}
}

// INV-12: the serial number of a virtual machine changes when its image is
// registered again; it is then another row, and nothing of the first stays.
func TestINV_12_RegisteredTwice(t *testing.T) {
	t.Parallel()
	portal := newTestPortal(t)
	m := newMac(t, portal, "C02AAAAAAAAA")
	first := windows("Golden")
	first.Serial = "Parallels-1F 3C 2A 1B 6D 1E 4F 63 9C 5B 2F 1F 4F 1A 7B 3E"
	m.report.VMs = []protocol.VM{first}
	m.enroll(t, http.StatusCreated)
	m.checkin(t)
	portal.clock.advance(time.Hour)
	again := first
	again.ID, again.Serial = "2a4d3b2c-7e2f-4a74-8d6c-3a2a5a2b8c4f", "Parallels-2A 4D 3B 2C 7E 2F 4A 74 8D 6C 3A 2A 5A 2B 8C 4F"
	m.report.VMs = []protocol.VM{again}
	m.checkin(t)
	rows, _ := portal.listOf(t, "vms", url.Values{"since": {portal.clock.now().Format(time.RFC3339)}, "sort": {"removed_at"}})
	if len(rows) != 2 || rows[0]["vm_serial"] != first.Serial || rows[0]["removed_at"] == nil || rows[1]["vm_serial"] != again.Serial {
		t.Errorf("rows are %v", rows)
	}
	if rows, _ := portal.listOf(t, "vms", url.Values{"filter": {"vm_serial=" + first.Serial}}); len(rows) != 0 {
		t.Error("the first serial number is still in the table")
	}

	both := []protocol.VM{first, again}
	both[1].Bundle.Inode = 3
	m.report.VMs = both
	m.checkin(t)
	if rows, _ := portal.listOf(t, "vms", url.Values{"filter": {"vm_name=Golden"}, "sort": {"vm_serial"}}); len(rows) != 2 || rows[0]["vm_serial"] == rows[1]["vm_serial"] {
		t.Errorf("two registrations of one image are %v", rows)
	}
}

func TestStreamHasEveryRowAndAnEnd(t *testing.T) {
	t.Parallel()
	portal := newTestPortal(t)
	aMacWith(t, portal, 113)
	ask := func(query string) []string {
		got := portal.call(t, http.MethodGet, "/v1/admin/vms"+query, nil, "Authorization", "Bearer "+portal.adminToken, "Accept", streamType)
		if got.header.Get("Content-Type") != streamType {
			t.Fatalf("answer is %d %s", got.status, got.body)
		}
		return strings.Split(strings.TrimSpace(string(got.body)), "\n")
	}
	for query, want := range map[string]int{"": 113, "?sort=-vm_name": 113, "?filter=vm_os_build%3D3": 16, "?search=nothing": 0} {
		lines := ask(query)
		var last struct{ End *listed }
		if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil || last.End == nil || last.End.Total != want || len(lines) != want+1 {
			t.Errorf("%s: %d lines, the last is %s", query, len(lines), lines[len(lines)-1])
		}
		for _, line := range lines[:len(lines)-1] {
			portal.contract.checkSchema(t, "TableRow", []byte(line))
			if strings.HasPrefix(line, `{"end":`) {
				t.Errorf("a row looks like the end: %s", line)
			}
		}
	}
	refused := portal.call(t, http.MethodGet, "/v1/admin/vms?page=1", nil, "Authorization", "Bearer "+portal.adminToken, "Accept", streamType)
	wantProblem(t, refused, protocol.ProblemInvalidRequest)
}

// The parameters of openapi.yaml are those that the portal reads, and its
// description of the columns is theirs.
func TestOpenAPIDescribesTheQuery(t *testing.T) {
	t.Parallel()
	document := loadContract(t).document
	all := query{Filters: []string{"x"}, Search: "x", Sort: []string{"x"}, Page: 1, PerPage: 1, Since: "x"}
	for path, columns := range map[string][]column{"/v1/admin/vms": nil, "/v1/admin/devices": deviceTable.columns()} {
		operation := document.Paths.Value(path).Get
		var described []string
		for _, parameter := range operation.Parameters {
			described = append(described, parameter.Value.Name)
		}
		read := []string{}
		for name := range all.values() {
			read = append(read, name)
		}
		slices.Sort(described)
		slices.Sort(read)
		if !slices.Equal(described, read) {
			t.Errorf("%s has the parameters %v, and the portal reads %v", path, described, read)
		}
		for _, column := range columns {
			if !slices.Contains(strings.FieldsFunc(operation.Description, func(r rune) bool { return strings.ContainsRune(" ,.\n", r) }), column.id) {
				t.Errorf("%s does not name the column %s", path, column.id)
			}
		}
	}
	for _, limit := range []struct {
		schema *uint64
		want   int
	}{
		{document.Components.Parameters["Filter"].Value.Schema.Value.MaxItems, maxFilters},
		{document.Components.Parameters["Sort"].Value.Schema.Value.MaxItems, maxSortKeys},
		{document.Components.Parameters["Search"].Value.Schema.Value.MaxLength, maxSearchText},
	} {
		if limit.schema == nil || int(*limit.schema) != limit.want {
			t.Errorf("a limit is %v, want %d", limit.schema, limit.want)
		}
	}
	properties := document.Components.Schemas["Row"].Value.Properties
	extra := document.Components.Schemas["RowExtra"].Value.Properties
	own := document.Components.Schemas["TableRow"].Value.AllOf[1].Value.Properties
	for _, column := range vmTable.columns() {
		_, name, nested := strings.Cut(column.path, ".")
		switch {
		case nested && extra[name] != nil, !nested && properties[column.id] != nil, own[column.id] != nil:
		default:
			t.Errorf("column %s is nowhere in TableRow", column.id)
		}
	}
}
