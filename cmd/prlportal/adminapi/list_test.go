package adminapi_test

import (
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
	"prlagent/cmd/prlportal/adminapi"
	"prlagent/cmd/prlportal/portaltest"
	"prlagent/cmd/prlportal/storage"
)

// names are the VM names of rows, in their order.
func names(rows []portaltest.Row) string {
	var all []string
	for _, row := range rows {
		all = append(all, row["vm_name"].(string))
	}
	return strings.Join(all, ", ")
}

func TestINV_31_EveryColumnHasFilters(t *testing.T) {
	t.Parallel()
	portal := portaltest.TwoMacs(t)
	for _, column := range protocol.Columns {
		if len(portaltest.ColumnFilters[column.ID]) < 2 {
			t.Errorf("%s has no filters here", column.ID)
		}
		for _, wanted := range portaltest.ColumnFilters[column.ID] {
			if rows, _ := portal.List(t, "vms", url.Values{"filter": {wanted[0]}}); names(rows) != wanted[1] {
				t.Errorf("%s shows %q, want %q", wanted[0], names(rows), wanted[1])
			}
		}
	}
	if len(portaltest.ColumnFilters) != 20 {
		t.Errorf("%d columns have filters, want 20", len(portaltest.ColumnFilters))
	}
}

func TestINV_30_SearchLooksAtEveryText(t *testing.T) {
	t.Parallel()
	portal := portaltest.TwoMacs(t)
	for search, want := range map[string]string{
		"3C 2A 1b": "Win", "parallels-": "Win", "c02b": "Deb", "8d6c-3a2a": "Deb", "BOB'S": "Deb", "26.10.1 (6": "Deb",
		"golden": "Deb", "alice": "Win", "c02": "Win, Deb", "nothing of it": "", "default": "Win, Deb", "26100": "Win",
		"not_reported_yet": "", // a reason is no parameter
	} {
		if rows, _ := portal.List(t, "vms", url.Values{"search": {search}}); names(rows) != want {
			t.Errorf("search %q shows %q, want %q", search, names(rows), want)
		}
	}
	rows, _ := portal.List(t, "vms", url.Values{"search": {"c02"}, "filter": {"cpu=Intel", "user_name=alice"}})
	if len(rows) != 0 {
		t.Errorf("not every filter holds: %s", names(rows))
	}
	if devices, _ := portal.List(t, "devices", url.Values{"search": {"bob's"}}); len(devices) != 1 || devices[0]["mac_serial"] != "C02BBBBBBBBB" {
		t.Errorf("devices are %v", devices)
	}
}

func TestINV_29_PagesOfAnySize(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	portaltest.MacWithVMs(t, portal, 113)
	for _, size := range []int{10, 20, 30, 40, 100, 1000} {
		var seen []string
		for number := 1; ; number++ {
			rows, about := portal.List(t, "vms", url.Values{
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
	if rows, about := portal.List(t, "vms", nil); len(rows) != 40 || about.PerPage != 40 {
		t.Errorf("a page has %d rows", len(rows))
	}
}

func TestSortKeepsTheTablesOwnOrderInTiesAndEmptyCellsLast(t *testing.T) {
	t.Parallel()
	portal := portaltest.TwoMacs(t)
	for sort, want := range map[string]string{
		"vm_name": "Deb, Win", "-vm_name": "Win, Deb", "last_command": "Win, Deb", "-last_command": "Win, Deb",
		"pd_version": "Win, Deb", "-pd_version": "Deb, Win", "tools_version": "Win, Deb", "-tools_version": "Win, Deb",
		"last_command,-user_name": "Deb, Win", "-last_reported": "Deb, Win",
	} {
		if rows, _ := portal.List(t, "vms", url.Values{"sort": {sort}}); names(rows) != want {
			t.Errorf("by %s: %s, want %s", sort, names(rows), want)
		}
	}
}

func TestBadQueriesSayWhatIsExpected(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
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
		got := portal.Admin(t, http.MethodGet, "/v1/admin/vms?"+text, nil)
		problem, ours := protocol.ParseProblem(got.Status, got.Header.Get("Content-Type"), got.Body)
		if text == "filter=vm_name%3D%1B[2J%00" {
			if got.Status != http.StatusOK {
				t.Errorf("a strange value is refused: %s", got.Body)
			}
			continue
		}
		if !ours || problem.Name() != protocol.ProblemInvalidRequest || problem.Field != wants[0] {
			t.Errorf("%s: answer is %d %s, want a problem with %s", text, got.Status, got.Body, wants[0])
			continue
		}
		portaltest.MustContain(t, problem.Detail, wants[1:]...)
	}
}

func TestSinceListsChangesAndRemovals(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.MacWithVMs(t, portal, 3)
	_, begun := portal.List(t, "vms", nil)
	since := func(at time.Time) string {
		rows, about := portal.List(t, "vms", url.Values{"since": {at.Format(time.RFC3339)}, "sort": {"vm_name"}})
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

	portal.Clock.Advance(time.Hour)
	quiet := portal.Clock.Now()
	m.Checkin(t)
	want(quiet, "")

	portal.Clock.Advance(time.Hour)
	changed := portal.Clock.Now()
	m.Report.VMs[1].State = protocol.StateRunning
	m.Checkin(t)
	want(changed, "vm-001")

	portal.Clock.Advance(time.Hour)
	removed := portal.Clock.Now()
	gone := m.Report.VMs[0]
	m.Report.VMs = m.Report.VMs[1:]
	m.Checkin(t)
	want(removed, "vm-000 removed")
	want(changed, "vm-000 removed, vm-001")
	if rows, _ := portal.List(t, "vms", url.Values{"filter": {"removed_at not empty"}}); len(rows) != 0 {
		t.Errorf("the table as it is has removed rows: %s", names(rows))
	}

	portal.Clock.Advance(time.Hour)
	returned := portal.Clock.Now()
	m.Report.VMs = append([]protocol.VM{gone}, m.Report.VMs...)
	m.Checkin(t)
	want(returned, "vm-000")
	want(removed, "vm-000")

	portal.Clock.Advance(time.Hour)
	renamed := portal.Clock.Now()
	m.Report.Host.ComputerName = "Renamed"
	m.Checkin(t)
	want(renamed, "vm-000, vm-001, vm-002")
	if devices, _ := portal.List(t, "devices", url.Values{"since": {renamed.Format(time.RFC3339)}}); len(devices) != 1 {
		t.Errorf("%d devices changed, want 1", len(devices))
	}
	portal.Clock.Advance(time.Hour)
	m.Checkin(t)
	if devices, _ := portal.List(t, "devices", url.Values{"since": {portal.Clock.Now().Format(time.RFC3339)}}); len(devices) != 0 {
		t.Error("a quiet check-in is a change")
	}
}

func TestSinceSaysWhenTheHistoryIsTooShort(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	device, err := portal.Store.Device(t.Context(), storage.ByID(m.DeviceID))
	if err != nil {
		t.Fatal(err)
	}
	var history storage.History
	for i := range storage.MaxHistory {
		vm := portaltest.WindowsVM(fmt.Sprint("gone ", i))
		history.Rows = append(history.Rows, storage.PastRow{Row: storage.Row{VM: vm}, RemovedAt: portaltest.Morning})
	}
	if err := portal.Store.Save(t.Context(), storage.Change{Device: device, History: &history}); err != nil {
		t.Fatal(err)
	}
	if _, about := portal.List(t, "vms", url.Values{"since": {"-1h"}}); !about.Incomplete || about.Total != storage.MaxHistory+1 {
		t.Errorf("the increment is %+v", about)
	}
	if _, about := portal.List(t, "vms", nil); about.Incomplete {
		t.Error("the table as it is is incomplete")
	}
}

func TestStaleReports(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	portaltest.Enrolled(t, portal)
	stale := func() string {
		vms, _ := portal.List(t, "vms", url.Values{"filter": {"stale_report=true"}})
		devices, _ := portal.List(t, "devices", url.Values{"filter": {"stale_report=true"}})
		return fmt.Sprint(len(vms), len(devices))
	}
	portal.Clock.Advance(2*time.Hour + 5*time.Minute) // twice the cadence of an hour, and its splay
	if got := stale(); got != "0 0" {
		t.Errorf("stale in time: %s", got)
	}
	portal.Clock.Advance(time.Second)
	if got := stale(); got != "1 1" {
		t.Errorf("stale beyond it: %s", got)
	}
}

// INV-12: the serial number of a virtual machine changes when its image is
// registered again; it is then another row, and nothing of the first stays.
func TestINV_12_RegisteredTwice(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.NewMac(t, portal, "C02AAAAAAAAA")
	first := portaltest.WindowsVM("Golden")
	first.Serial = "Parallels-1F 3C 2A 1B 6D 1E 4F 63 9C 5B 2F 1F 4F 1A 7B 3E"
	m.Report.VMs = []protocol.VM{first}
	m.Enroll(t, http.StatusCreated)
	m.Checkin(t)
	portal.Clock.Advance(time.Hour)
	again := first
	again.ID, again.Serial = "2a4d3b2c-7e2f-4a74-8d6c-3a2a5a2b8c4f", "Parallels-2A 4D 3B 2C 7E 2F 4A 74 8D 6C 3A 2A 5A 2B 8C 4F"
	m.Report.VMs = []protocol.VM{again}
	m.Checkin(t)
	rows, _ := portal.List(t, "vms", url.Values{"since": {portal.Clock.Now().Format(time.RFC3339)}, "sort": {"removed_at"}})
	if len(rows) != 2 || rows[0]["vm_serial"] != first.Serial || rows[0]["removed_at"] == nil || rows[1]["vm_serial"] != again.Serial {
		t.Errorf("rows are %v", rows)
	}
	if rows, _ := portal.List(t, "vms", url.Values{"filter": {"vm_serial=" + first.Serial}}); len(rows) != 0 {
		t.Error("the first serial number is still in the table")
	}

	both := []protocol.VM{first, again}
	both[1].Bundle.Inode = 3
	m.Report.VMs = both
	m.Checkin(t)
	if rows, _ := portal.List(t, "vms", url.Values{"filter": {"vm_name=Golden"}, "sort": {"vm_serial"}}); len(rows) != 2 || rows[0]["vm_serial"] == rows[1]["vm_serial"] {
		t.Errorf("two registrations of one image are %v", rows)
	}
}

func TestStreamHasEveryRowAndAnEnd(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	portaltest.MacWithVMs(t, portal, 113)
	ask := func(query string) []string {
		got := portal.Call(t, http.MethodGet, "/v1/admin/vms"+query, nil, "Authorization", "Bearer "+portal.AdminToken, "Accept", adminapi.StreamType)
		if got.Header.Get("Content-Type") != adminapi.StreamType {
			t.Fatalf("answer is %d %s", got.Status, got.Body)
		}
		return strings.Split(strings.TrimSpace(string(got.Body)), "\n")
	}
	for query, want := range map[string]int{"": 113, "?sort=-vm_name": 113, "?filter=vm_os_build%3D3": 16, "?search=nothing": 0} {
		lines := ask(query)
		var last struct{ End *adminapi.ListInfo }
		if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil || last.End == nil || last.End.Total != want || len(lines) != want+1 {
			t.Errorf("%s: %d lines, the last is %s", query, len(lines), lines[len(lines)-1])
		}
		for _, line := range lines[:len(lines)-1] {
			portal.Contract.CheckSchema(t, "TableRow", []byte(line))
			if strings.HasPrefix(line, `{"end":`) {
				t.Errorf("a row looks like the end: %s", line)
			}
		}
	}
	refused := portal.Call(t, http.MethodGet, "/v1/admin/vms?page=1", nil, "Authorization", "Bearer "+portal.AdminToken, "Accept", adminapi.StreamType)
	portaltest.WantProblem(t, refused, protocol.ProblemInvalidRequest)
}
