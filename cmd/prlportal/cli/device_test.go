package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/adminapi"
	"prlagent/cmd/prlportal/fleet"
	"prlagent/cmd/prlportal/portaltest"
	"prlagent/cmd/prlportal/query"
)

func TestDevicePage(t *testing.T) {
	t.Parallel()
	at := portaltest.Morning
	detail := adminapi.DeviceDetail{
		Device: fleet.Device{
			DeviceID: "0198f6b2-7c1e-7d0a-9a55-3f1d0c2b7e11", State: fleet.StateOK, ComputerName: "Alice's MacBook", MacSerial: "C02AAAAAAAAA",
			HardwareUUID: "8B4C0D6E-0000-0000-0000-000000000001", Model: "Mac15,6", MacOS: "26.1", PDVersion: "26.4.0", PDState: protocol.ProductKey,
			AgentVersion: "0.3.0", Mode: "monitor", Group: protocol.Group{ID: "default", Name: "Everyone", Source: protocol.GroupFromSecret}, KeyID: "51aa0b1c2d3e4f50",
			EnrolledAt: at.Add(-240 * time.Hour), LastCheckinAt: at, LastReasons: "vm_started", ClockAhead: -7500, VMs: 1, VMsMissing: 3, Health: fleet.HealthStale,
			Conditions: []protocol.ReportedCondition{
				{Code: protocol.CodeServiceDown, Since: at.Add(-time.Hour), Count: 2},
				{Code: protocol.CodeConfigInvalid, Since: at.Add(-2 * time.Hour), Count: 1, Subject: "DailyCheckTime"},
			},
		},
		Policy: protocol.PolicyReport{
			State: protocol.PolicyPartial, PolicyID: "lab", Revision: 7, Counts: map[string]int{protocol.StrengthEnforced: 4},
		},
		Verdicts: fleet.DeviceVerdicts{LeftOut: 5, Verdicts: []fleet.SettingVerdict{{
			Path: "vm_settings.other.isolate_vm", Setting: "isolate_vm", VMKey: protocol.VMKey{ID: "1f3c2a1b", UID: 501}, VMName: "Windows 11",
			Verdict: protocol.VerdictDeferred, Strength: protocol.StrengthReverted, Code: protocol.CodeVMRunning, Since: at,
		}, {
			Path: "product.update_policy", Setting: "update_policy", VMKey: protocol.VMKey{UID: 502}, UserName: "bob",
			Verdict: protocol.VerdictPending, Strength: protocol.StrengthReverted, Code: protocol.CodePendingRestart, Since: at,
		}, {
			Path: "product.update_check", Setting: "update_check", VMKey: protocol.VMKey{UID: 503},
			Verdict: protocol.VerdictInPlace, Strength: protocol.StrengthReverted, Code: protocol.CodeManaged,
		}, {
			Path: "security_controls.provisioned_only", Setting: "provisioned_only", VMKey: protocol.VMKey{ID: "1f3c2a1b", UID: 501}, VMName: "Windows 11",
			Verdict: protocol.VerdictFailed, Strength: protocol.StrengthMonitored, Code: protocol.CodeVMUnprovisioned, Since: at, Violation: true,
		}, {
			Path: "security_controls.no_removal", Setting: "no_removal",
			Verdict: protocol.VerdictFailed, Strength: protocol.StrengthMonitored, Code: protocol.CodeRemovedAgainstPolicy, Since: at, Violation: true,
		}, {
			Path: "security_controls.org_license_only", Setting: "org_license_only",
			Verdict: protocol.VerdictUnsupported, Strength: protocol.StrengthNotEnforceable, Code: protocol.CodeNotEnforceable, Since: at,
		}, {
			Path: "of_tomorrow", Setting: "of_tomorrow",
			Verdict: protocol.VerdictUnsupported, Strength: protocol.StrengthNotEnforceable, Code: protocol.CodeSettingUnknown, Since: at,
		}}},
		Users: []protocol.UserLook{{Name: "alice", UID: 501, Count: 4, LeftOut: 3, At: at}, {Name: "bob", UID: 502, Code: protocol.CodeServiceDown, At: at.Add(-time.Hour), Count: 1}},
		Events: []fleet.Event{{Type: "service_down", Code: protocol.CodeServiceDown, At: at, Data: map[string]string{"uid": "502", "user_name": "bob"}},
			{Type: "clock_wrong"}},
		Checkins: []adminapi.Checkin{{At: at, Sequence: 12, Reasons: "vm_started", Inventory: protocol.InventoryOK}},
	}
	row := sampleRows(t)[0]
	var out bytes.Buffer
	if err := printDevicePage(&out, detail, []tableRow{row}, time.FixedZone("CET", 3600)); err != nil {
		t.Fatal(err)
	}
	golden(t, "device.page", out.Bytes())
}

// One Mac by its serial number, for people and for machines.
func TestDevicesShowsOneMac(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Unwell(t, portal)
	operator := operatorOf(t, portal)
	portaltest.MustContain(t, operator.run("devices", strings.ToLower(m.Serial)),
		"unhealthy", "service_down", "DailyCheckTime", "default (default)", "alice", "Windows 11", "vm_state", "because of manual", m.DeviceID)
	var whole struct {
		Device fleet.Device
		VMs    []map[string]any
		Events []fleet.Event
	}
	if err := json.Unmarshal([]byte(operator.run("devices", m.DeviceID, "--json")), &whole); err != nil {
		t.Fatal(err)
	}
	if whole.Device.Health != protocol.Unhealthy || len(whole.VMs) != 1 || len(whole.Events) != 2 || len(whole.Device.Conditions) != 2 {
		t.Errorf("the Mac is %+v", whole)
	}
	operator.wrong("--filter is for the list", "devices", m.Serial, "--filter", "state=ok")
	operator.wrong("table or json", "devices", m.Serial, "--format", "csv")
	if _, err := prlportal(t, append([]string{"devices", "C02NOBODY"}, operator.flags...)...); err == nil || !strings.Contains(err.Error(), "no device C02NOBODY") {
		t.Errorf("nobody: %v", err)
	}
	portaltest.MustContain(t, operator.run("devices", "--filter", "health in unhealthy, stale", "--filter", "conditions contains service_down"), m.Serial, "1 Mac: 1 unhealthy.")
	portaltest.MustContain(t, operator.run("devices", "--filter", "health=healthy"), "Nothing fits.")
}

func TestEventsOnTheCommandLine(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Unwell(t, portal)
	portal.Clock.Advance(25 * time.Hour)
	other := portaltest.NewMac(t, portal, "C02BBBBBBBBB")
	other.Enroll(t, http.StatusCreated)
	other.Checkin(t)
	other.CheckinWith(t, protocol.Event{Seq: 1, At: portal.Clock.Now(), Type: "agent_started"})
	operator := operatorOf(t, portal)

	lately := operator.run("events")
	portaltest.MustContain(t, lately, "agent_started", "1 event on 1 Mac.")
	if strings.Contains(lately, "service_down") {
		t.Errorf("of the last day:\n%s", lately)
	}
	all := operator.run("events", "--since", "7d")
	portaltest.MustContain(t, all, "service_down", "user_name=alice", "from=stopped", "3 events on 2 Macs.")
	if strings.Index(all, "service_down") > strings.Index(all, "agent_started") {
		t.Errorf("not in the order of time:\n%s", all)
	}
	portaltest.MustContain(t, operator.run("events", m.Serial), "service_down", "vm_state", "2 events on 1 Mac.")
	portaltest.MustContain(t, operator.run("events", m.Serial, "--type", "vm_state,vm_removed"), "vm_state", "1 event on 1 Mac.")
	portaltest.MustContain(t, operator.run("events", m.Serial, "--type", `a\b`), "Nothing that fits happened.")
	portaltest.MustContain(t, operator.run("events", m.Serial, "--since", "1h"), "Nothing that fits happened.")
	portaltest.MustContain(t, operator.run("events", "--filter", "type=none"), "in the last day")
	csv := operator.run("export", "events")
	portaltest.MustContain(t, csv, "at,computer_name,mac_serial,type,code,data,received_at,device_id,id\n", m.DeviceID+".2\n")
	var list struct{ Events []fleet.Event }
	if err := json.Unmarshal([]byte(operator.run("events", m.Serial, "--json")), &list); err != nil || len(list.Events) != 2 || list.Events[0].ID != m.DeviceID+".1" {
		t.Errorf("%+v, %v", list, err)
	}
}

// The columns of events are chosen, filtered and sorted like those of the others.
func TestEveryFieldOfEventsCanBeFilteredAndSorted(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	portaltest.Unwell(t, portal)
	operator := operatorOf(t, portal)
	for _, column := range query.ColumnIDs(fleet.EventTable.Columns()) {
		empty := operator.run("events", "--format", "ndjson", "--filter", column+" empty", "--sort", "-"+column)
		full := operator.run("events", "--format", "ndjson", "--filter", column+" not empty", "--sort", column)
		if rows := strings.Count(empty+full, "\n"); rows != 2 {
			t.Errorf("%s: %d rows, want 2", column, rows)
		}
	}
}

func TestH55_DecisionsAreCommandsOfDevices(t *testing.T) {
	t.Parallel()
	for _, word := range []string{"approve", "reject", "retire"} {
		_, err := prlportal(t, word, "C02")
		if exitCode(err) != exitUsage || !strings.Contains(err.Error(), "prlportal devices "+word) {
			t.Errorf("%s at the top: %v", word, err)
		}
		portaltest.MustContain(t, mustRun(t, "devices", "--help"), "\n  "+word+" ")
	}
}

func TestNamesOfDevicesAreCompleted(t *testing.T) {
	t.Parallel()
	operator := operatorOf(t, portaltest.TwoMacs(t))
	for _, command := range [][]string{{"devices"}, {"devices", "approve"}, {"devices", "reject"}, {"devices", "retire"}, {"events"}} {
		out := mustRun(t, slices.Concat([]string{"__complete"}, command, operator.flags, []string{"c02b"})...)
		if !strings.HasPrefix(out, "C02BBBBBBBBB\tBob's Mac\n:4") {
			t.Errorf("%v: completed as %q", command, out)
		}
	}
	out, err := prlportal(t, "__complete", "events", "--dir", t.TempDir(), "")
	if err != nil || !strings.HasPrefix(out, ":4") {
		t.Errorf("without a portal: %q, %v", out, err)
	}
}

func TestINV_29_APageAfterTheLast(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	portaltest.MacWithVMs(t, portal, 113)
	operator := operatorOf(t, portal)
	if got := operator.run("vms", "--page", "9", "--per-page", "30"); got != "There is no page 9: 113 rows fit on 4 pages of 30.\n" {
		t.Errorf("page 9 is %q", got)
	}
	portaltest.MustContain(t, operator.run("vms", "--page", "2", "--filter", "vm_name=none"), "Nothing fits.")
}

// More machines than a report has room for: the table says how many are missing.
func TestH51_MissingMachinesAreCounted(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.NewMac(t, portal, "C02AAAAAAAAA")
	m.Report.Truncated = true
	m.Report.Users = []protocol.UserLook{
		{Name: "alice", UID: 501, Count: 200, LeftOut: 36}, {Name: "bob", UID: 502, LeftOut: 1},
		{Name: "net", UID: 70000, Code: protocol.CodeAccountNotLocal, LeftOut: 9}, // accounts, not machines
	}
	m.Enroll(t, http.StatusCreated)
	m.Checkin(t)
	operator := operatorOf(t, portal)
	portaltest.MustContain(t, operator.run("vms"), "1 virtual machine on 1 Mac.", "37 virtual machines are in no row, of all Macs", "vms_missing not empty")
	portaltest.MustContain(t, operator.run("vms", "--page", "1"), "37 virtual machines", "Page 1 of 1, 1 in all.")
	portaltest.MustContain(t, operator.run("vms", "--json"), fmt.Sprintf("%q: 37", "missing"))
	portaltest.MustContain(t, operator.run("devices", "--filter", "vms_missing>36"), "37 of its 38 virtual machines are in no row; a report has room for 200")
	portaltest.MustContain(t, operator.run("devices", m.Serial), "200, and 36 without a row", "net and 9 more accounts")
}

// The machines of one Mac are in the order of the list of all.
func TestMachinesOfOneMacAreInTheOrderOfNames(t *testing.T) {
	t.Parallel()
	var rows []tableRow
	for _, name := range [][2]string{{"bob", "VM 2"}, {"alice", "VM 10"}, {"alice", "VM 9"}} {
		rows = append(rows, tableRow{"user_name": name[0], "vm_name": name[1], "mac_serial": "C02"})
	}
	var out bytes.Buffer
	if err := printDeviceVMs(&out, fleet.Device{}, rows, time.UTC); err != nil {
		t.Fatal(err)
	}
	said := out.String()
	if first, second, third := strings.Index(said, "VM 9"), strings.Index(said, "VM 10"), strings.Index(said, "VM 2"); first < 0 || first > second || second > third {
		t.Errorf("the order is\n%s", said)
	}
}
