package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/fleet"
	"prlagent/cmd/prlportal/portaltest"
)

// tellSettings has the Mac report that its clipboard has a verdict, and that its
// start is as it is wanted.
func tellSettings(t *testing.T, m *portaltest.Mac, verdict string, code protocol.Code, since time.Time) {
	t.Helper()
	grouping := protocol.NewVerdictGrouping("ab")
	for _, vm := range m.Report.VMs {
		grouping.Add(vm.VMKey, &protocol.VerdictGroup{Path: "vm_settings.other.startup", Verdict: protocol.VerdictInPlace, Strength: protocol.StrengthReverted})
		grouping.Add(vm.VMKey, &protocol.VerdictGroup{Path: "vm_settings.other.clipboard", Verdict: verdict, Strength: protocol.StrengthReverted, Code: code, Since: since})
	}
	m.Report.Verdicts = grouping.Report
	m.Report.Policy = protocol.PolicyReport{State: protocol.PolicyConverging, PolicyID: "finance", Revision: 7}
	m.Checkin(t)
}

// One virtual machine with its settings and why, by its id and by its name.
func TestVMsShowsTheSettingsOfOne(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	tellSettings(t, m, protocol.VerdictDeferred, protocol.CodeVMSuspended, portal.Clock.Now().Add(-48*time.Hour))
	operator := operatorOf(t, portal)
	for _, name := range []string{m.Report.VMs[0].ID, "windows 11"} {
		portaltest.MustContain(t, operator.run("vms", name), "Windows 11", "converging", "startup", "in_place", "clipboard", "deferred", "reverted",
			"(vm_suspended) "+protocol.CodeVMSuspended.Text().Text)
	}
	var document struct {
		Schema int
		VMs    []struct {
			VM       map[string]any
			Verdicts []fleet.SettingVerdict
		}
	}
	if err := json.Unmarshal([]byte(operator.run("vms", m.Report.VMs[0].ID, "--json")), &document); err != nil || document.Schema != schema ||
		len(document.VMs) != 1 || len(document.VMs[0].Verdicts) != 2 || document.VMs[0].Verdicts[1].Remedy != protocol.CodeVMSuspended.Text().Remedy {
		t.Errorf("%+v, %v", document, err)
	}
	operator.wrong("--filter is for the list", "vms", "x", "--filter", "vm_state=Running")
	operator.wrong("table or json", "vms", "x", "--format", "csv")
	if _, err := prlportal(t, append([]string{"vms", "nothing"}, operator.flags...)...); exitCode(err) != exitFailure || !strings.Contains(err.Error(), `the name "nothing"`) {
		t.Errorf("a name that nothing has: %v", err)
	}
	portaltest.MustContain(t, operator.run("vms", "--filter", "settings_deferred>0", "--columns", "vm_name,settings_deferred,settings_failed"), "Windows 11", "1 virtual machine")
	portaltest.MustContain(t, operator.run("vms", "--filter", "settings_failed>0"), "Nothing fits.")
	portaltest.MustContain(t, operator.run("devices", m.Serial), "Settings that are not simply in place", "clipboard", "vm_suspended")
}

// SEC-16, SEC-25, UPD-12: what is against a control, a preference of an account and a
// control on the Mac as a whole show where a Mac's settings do: on its page, in lists and
// their filters, and in JSON.
func TestSEC25_UPD12_VerdictsOfAccountsAndOfTheMacAreShown(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	vm, since := m.Report.VMs[0].VMKey, portal.Clock.Now().Add(-time.Hour)
	m.Report.Users = []protocol.UserLook{{Name: "alice", UID: vm.UID, Count: 1}}
	grouping := protocol.NewVerdictGrouping("ab")
	for _, one := range []struct {
		key           protocol.VMKey
		path, verdict string
		code          protocol.Code
	}{
		{vm, "security_controls.provisioned_only", protocol.VerdictFailed, protocol.CodeVMUnprovisioned},
		{protocol.VMKey{UID: vm.UID}, "product.update_check", protocol.VerdictFailed, protocol.CodePreferenceLost},
		{protocol.VMKey{}, "security_controls.no_removal", protocol.VerdictDeferred, protocol.CodePDNotInstalled},
		{protocol.VMKey{}, "security_controls.org_license_only", protocol.VerdictUnsupported, protocol.CodeNotEnforceable},
		{protocol.VMKey{}, "of_tomorrow", protocol.VerdictUnsupported, protocol.CodeSettingUnknown}, // is none of the Mac's
	} {
		grouping.Add(one.key, &protocol.VerdictGroup{Path: one.path, Verdict: one.verdict, Strength: protocol.StrengthMonitored, Code: one.code, Since: since})
	}
	m.Report.Verdicts = grouping.Report
	m.Report.Policy = protocol.PolicyReport{State: protocol.PolicyStale, PolicyID: "finance", Revision: 7}
	m.Checkin(t)
	operator := operatorOf(t, portal)

	page := operator.run("devices", m.Serial)
	portaltest.MustContain(t, page, "Against security controls\n", "user alice", "this Mac", "preference_lost", "not_enforceable")
	portaltest.MustContain(t, operator.run("vms", vm.ID), "provisioned_only", "vm_unprovisioned")
	for filter, fits := range map[string]bool{
		"violations=1": true, "violations>1": false, "settings_failed=2": true, "settings_failed>2": false, "settings_deferred=1": true, "settings_deferred>1": false,
	} {
		if got := strings.Contains(operator.run("devices", "--filter", filter), m.Serial); got != fits {
			t.Errorf("%s: %t, want %t", filter, got, fits)
		}
	}
	portaltest.MustContain(t, operator.run("devices", "--columns", "mac_serial,settings_failed,settings_deferred"), "Settings failed  Settings deferred", m.Serial+"       2                1")
	var document struct {
		Device   fleet.Device
		Verdicts fleet.DeviceVerdicts
	}
	if err := json.Unmarshal([]byte(operator.run("devices", m.DeviceID, "--json")), &document); err != nil {
		t.Fatal(err)
	}
	var violations, whose []string
	for _, one := range document.Verdicts.Verdicts {
		if one.Violation {
			violations = append(violations, one.Setting)
		}
		if one.UserName != "" {
			whose = append(whose, one.UserName+" "+one.Setting)
		}
	}
	if document.Device.Violations != 1 || strings.Join(violations, " ") != "provisioned_only" || strings.Join(whose, ", ") != "alice update_check" {
		t.Errorf("in JSON: %+v, %v, %v", document.Device, violations, whose)
	}
	var status fleet.PolicyStatus
	if err := json.Unmarshal([]byte(operator.run("policies", "status", "--json")), &status); err != nil {
		t.Fatal(err)
	}
	if group := status.Groups[0]; group.Violations != 1 || group.Deferred != 1 || group.OldestDeferral == nil || group.OldestDeferral.Path != "security_controls.no_removal" || group.Partial != 1 {
		t.Errorf("of the group: %+v", group)
	}
}

// What is new is told on once, with a cursor by hand or in a file.
func TestExportTellsEachChangeOnce(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Unwell(t, portal)
	tellSettings(t, m, protocol.VerdictPending, protocol.CodeMonitorMode, portal.Clock.Now())
	operator := operatorOf(t, portal)
	lines := func(out string) (rows []fleet.VerdictTransition) {
		for line := range strings.Lines(out) {
			var row fleet.VerdictTransition
			if err := json.Unmarshal([]byte(line), &row); err != nil {
				t.Fatal(err)
			}
			rows = append(rows, row)
		}
		return rows
	}
	first := lines(operator.run("export", "verdicts", "--since", "start"))
	if len(first) != 2 || first[0].ID != m.DeviceID+".v1" || first[0].Before != nil || first[1].After.Code != protocol.CodeMonitorMode {
		t.Fatalf("%+v", first)
	}
	again := lines(operator.run("export", "verdicts", "--since", first[0].Cursor))
	if len(again) != 1 || again[0].ID != first[1].ID {
		t.Errorf("behind the first: %+v", again)
	}
	file := filepath.Join(t.TempDir(), "cursor")
	for _, want := range []int{2, 0} {
		if rows := lines(operator.run("export", "verdicts", "--cursor-file", file)); len(rows) != want {
			t.Errorf("%d rows, want %d", len(rows), want)
		}
	}
	tellSettings(t, m, protocol.VerdictInPlace, "", time.Time{})
	rows := lines(operator.run("export", "verdicts", "--cursor-file", file))
	if len(rows) != 1 || rows[0].ID != m.DeviceID+".v3" || rows[0].Before.Verdict != protocol.VerdictPending || rows[0].After.Verdict != protocol.VerdictInPlace {
		t.Errorf("%+v", rows)
	}
	if kept, err := os.ReadFile(file); err != nil || string(kept) != rows[0].Cursor+"\n" {
		t.Errorf("the file has %q (%v)", kept, err)
	}
	events := operator.run("export", "events", "--since", "start")
	portaltest.MustContain(t, events, m.DeviceID+".1", m.DeviceID+".2", `"cursor"`)
	operator.wrong("a cursor is start", "export", "verdicts", "--since", "c1-1-zzzzzzzz")
	operator.wrong("not of this portal", "export", "verdicts", "--since", "c99-0-00000000")
	operator.wrong("not of this portal", "export", "verdicts", "--since", "c1-0-00000000")
	operator.wrong("--filter is for tables", "export", "verdicts", "--filter", "path=x")
	operator.wrong("ndjson", "export", "verdicts", "--format", "csv")
	operator.wrong("--cursor-file is for", "export", "vms", "--cursor-file", file)
}

// How it stands, and how it stood.
func TestReportCompliance(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	operator := operatorOf(t, portal)
	portaltest.MustContain(t, operator.run("report", "compliance"), "No setting was reported.", "0 Macs with settings, 1 without any", "400 days")
	portal.Clock.Advance(24 * time.Hour)
	tellSettings(t, m, protocol.VerdictFailed, protocol.CodeNotVerified, portal.Clock.Now())
	then := portal.Clock.Now()
	portal.Clock.Advance(24 * time.Hour)
	tellSettings(t, m, protocol.VerdictInPlace, "", time.Time{})
	ids := "group,path,macs,in_place,failed,deferred,contended,pending,partial,not_applicable,unsupported,unknown\n"
	for at, want := range map[string]string{
		"":                                       "default,vm_settings.other.clipboard,1,1,0,0,0,0,0,0,0,0\ndefault,vm_settings.other.startup,1,1,0,0,0,0,0,0,0,0\n",
		then.Add(time.Hour).Format(time.RFC3339): "default,vm_settings.other.clipboard,1,0,1,0,0,0,0,0,0,0\ndefault,vm_settings.other.startup,1,1,0,0,0,0,0,0,0,0\n",
		then.Add(-2 * time.Hour).Format(time.RFC3339): "",
	} {
		args := []string{"report", "compliance", "--format", "csv"}
		if at != "" {
			args = append(args, "--at", at)
		}
		if got := operator.run(args...); got != ids+want {
			t.Errorf("at %q:\n%s", at, got)
		}
	}
	portaltest.MustContain(t, operator.run("report", "compliance", "--at", then.Add(time.Hour).Format(time.RFC3339)), "Failed", "In place", "1 Mac with settings")
	var document struct {
		Schema int
		fleet.Compliance
	}
	if err := json.Unmarshal([]byte(operator.run("report", "compliance", "--json")), &document); err != nil || document.Schema != schema || len(document.Rows) != 2 || document.KeptDays != 400 {
		t.Errorf("%+v, %v", document, err)
	}
	operator.wrong("at: expected a time", "report", "compliance", "--at", "yesterday")
	operator.wrong("--format is", "report", "compliance", "--format", "xml")
}
