package agentapi_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/adminapi"
	"prlagent/cmd/prlportal/audit"
	"prlagent/cmd/prlportal/fleet"
	"prlagent/cmd/prlportal/portaltest"
	"prlagent/cmd/prlportal/storage"
)

const clipboardPath = "vm_settings.other.clipboard"

// tellClipboard has the Mac report one verdict on each of its machines' clipboards.
func tellClipboard(m *portaltest.Mac, verdict string, code protocol.Code, since time.Time) {
	grouping := protocol.NewVerdictGrouping("ab")
	for _, vm := range m.Report.VMs {
		grouping.Add(vm.VMKey, &protocol.VerdictGroup{Path: clipboardPath, Verdict: verdict, Strength: protocol.StrengthReverted, Code: code, Since: since})
	}
	m.Report.Verdicts = grouping.Report
}

func storedVerdicts(t *testing.T, portal *portaltest.Portal, id string) storage.Verdicts {
	t.Helper()
	kept, err := portal.Store.Verdicts(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return kept
}

func storedReport(t *testing.T, portal *portaltest.Portal, id string) storage.Report {
	t.Helper()
	kept, err := portal.Store.Report(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return kept
}

// What a Mac tells of its settings is kept, counted with its machines, and
// remembered as it was.
func TestVerdictsAreKept(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	m.Report.VMs = append(m.Report.VMs, portaltest.WindowsVM("Windows 10"))
	waits := portal.Clock.Now().Add(-48 * time.Hour).Truncate(time.Second)
	tellClipboard(m, protocol.VerdictDeferred, protocol.CodeVMRunning, waits)
	m.Checkin(t)
	report := storedReport(t, portal, m.DeviceID)
	if len(report.Rows) != 2 || report.Rows[0].Settings != (storage.SettingCounts{Deferred: 1}) || report.OldestDeferral == nil || !report.OldestDeferral.Since.Equal(waits) {
		t.Fatalf("rows %+v, oldest %+v", report.Rows, report.OldestDeferral)
	}
	portal.Clock.Advance(time.Hour)
	tellClipboard(m, protocol.VerdictInPlace, "", time.Time{})
	m.Report.VMs = m.Report.VMs[:1]
	m.Checkin(t)
	m.CheckinWith(t, protocol.Event{Seq: 1, At: portal.Clock.Now(), Type: "policy_setting_changed", Data: map[string]string{"uid": "501", "vm_id": m.Report.VMs[0].ID}},
		protocol.Event{Seq: 2, At: portal.Clock.Now(), Type: "policy_setting_changed", Data: map[string]string{"uid": "501", "vm_id": "another"}})
	report = storedReport(t, portal, m.DeviceID)
	if len(report.Rows) != 1 || report.Rows[0].Settings != (storage.SettingCounts{InPlace: 1, Drifts: 1}) || report.OldestDeferral != nil || !report.Rows[0].ChangedAt.Equal(portal.Clock.Now()) {
		t.Errorf("rows %+v, oldest %+v", report.Rows, report.OldestDeferral)
	}
	kept := storedVerdicts(t, portal, m.DeviceID)
	changes, err := portal.Store.Changes(t.Context(), m.DeviceID, kept.Kept[1].First)
	if err != nil || kept.Last != 4 || len(changes.Groups) != 1 || changes.Groups[0].Before.Code != protocol.CodeVMRunning || changes.Groups[0].After.Verdict != protocol.VerdictInPlace {
		t.Errorf("%d changes, the last ones %+v: %v", kept.Last, changes, err)
	}
	portal.MustDecide(t, audit.ActionRetire, m.DeviceID, adminapi.Decision{})
	if kept = storedVerdicts(t, portal, m.DeviceID); len(kept.Report.Groups) != 0 || kept.Last != 6 {
		t.Errorf("a retired Mac has the verdicts %+v", kept)
	}
}

// A base that the portal does not have is asked for as a whole; the Mac that is
// restored or enrolls anew sends everything.
func TestVerdictsOfAnUnknownBase(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	tellClipboard(m, protocol.VerdictPending, protocol.CodeMonitorMode, portal.Clock.Now())
	m.Checkin(t)
	before := storedVerdicts(t, portal, m.DeviceID)
	tellClipboard(m, protocol.VerdictInPlace, "", time.Time{})
	request, _ := m.Next(t)
	request.Verdicts.Base = "of another portal"
	var reply protocol.CheckinReply
	m.Send(t, request).Decode(t, &reply)
	if reply.Inventory != protocol.InventorySendFull {
		t.Errorf("answered with %s", reply.Inventory)
	}
	if diff := cmp.Diff(before, storedVerdicts(t, portal, m.DeviceID)); diff != "" {
		t.Errorf("a delta from something else changed the verdicts:\n%s", diff)
	}
	m.Base = protocol.Baseline{}
	m.Checkin(t)
	if kept := storedVerdicts(t, portal, m.DeviceID); kept.Report.Groups[0].Verdict != protocol.VerdictInPlace || kept.Last != before.Last+1 {
		t.Errorf("after everything was sent: %+v", kept)
	}
	request, _ = m.Next(t)
	if request.Verdicts != nil && !request.Verdicts.Full {
		t.Errorf("told %+v", request.Verdicts)
	}
}

// largestVerdicts makes as many verdicts of the longest texts as fit beside
// nothing else, each report with others.
func largestVerdicts(m *portaltest.Mac, turn int) {
	m.Report.VMs = nil
	grouping := protocol.NewVerdictGrouping("ab")
	for i := range protocol.MaxVMs {
		vm := portaltest.WindowsVM(fmt.Sprintf("vm-%03d", i))
		m.Report.VMs = append(m.Report.VMs, vm)
		for j := range 40 {
			verdict := protocol.VerdictGroup{Path: fmt.Sprintf("vm_settings.other.setting_%02d", j), Verdict: protocol.VerdictFailed, Strength: protocol.StrengthReverted,
				Code: protocol.Code(fmt.Sprintf("code_%d", turn)), Since: portaltest.Morning}
			grouping.Add(vm.VMKey, &verdict)
		}
	}
	m.Report.Verdicts = grouping.Report
}

// Groups of the longest texts are refused or kept like everything else of a
// device: with an end, and without a trace where they are too much.
func TestH56_HostileVerdicts(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	long := strings.Repeat("<", protocol.MaxName)
	for name, report := range map[string]protocol.VerdictReport{
		"the longest texts":        {Hash: long, Full: true, Groups: hostileGroups(1700, long, nil)},
		"places without a machine": {Hash: "h1", Full: true, VMs: []protocol.VMKey{{ID: "a", UID: 501}}, Groups: hostileGroups(900, "x", []int{-1, 5, 1 << 50})},
		"the same again and again": {Hash: "h2", Full: true, VMs: []protocol.VMKey{{ID: "a", UID: 501}}, Groups: []protocol.VerdictGroup{{Path: "x", VMs: make([]int, 8000)}}},
		"more machines than any":   {Hash: "h3", Full: true, VMs: make([]protocol.VMKey, 6000), Cleared: make([]protocol.VMKey, 4000)},
	} {
		request, _ := m.Next(t)
		request.Inventory = protocol.Inventory{Hash: name, Full: true}
		request.Verdicts = &report
		body, err := protocol.Encode(request)
		if err != nil || len(body) > protocol.MaxRequest {
			t.Fatalf("%s: %d bytes %v", name, len(body), err)
		}
		made := httptest.NewRequest(http.MethodPost, "/v1/checkin", bytes.NewReader(zipped(t, body)))
		made.Header.Set("Authorization", "Bearer "+m.Token)
		made.Header.Set("Content-Encoding", "gzip")
		recorded := httptest.NewRecorder()
		portal.Web.Config.Handler.ServeHTTP(recorded, made)
		if recorded.Code != http.StatusOK {
			t.Errorf("%s: answer is %d %s", name, recorded.Code, recorded.Body)
		}
		kept := storedVerdicts(t, portal, m.DeviceID)
		pairs := 0
		kept.Report.Each(func(protocol.VMKey, *protocol.VerdictGroup) { pairs++ })
		if len(kept.Report.VMs) > protocol.MaxVMs || len(kept.Report.Groups) > protocol.MaxVerdictGroups || pairs > protocol.MaxVerdicts {
			t.Errorf("%s: %d machines, %d groups, %d verdicts are kept", name, len(kept.Report.VMs), len(kept.Report.Groups), pairs)
		}
	}
	m.Base = protocol.Baseline{}
	m.Checkin(t)
}

func hostileGroups(count int, text string, places []int) (groups []protocol.VerdictGroup) {
	for i := range count {
		groups = append(groups, protocol.VerdictGroup{Path: fmt.Sprint(i, text), Verdict: text, Strength: text, Code: protocol.Code(text), VMs: places})
	}
	return groups
}

// UPD-12: the preferences of an account are reported under its uid, without a machine,
// and counted with the Mac; the admin sees whose they are.
func TestUPD_12_PreferencesOfAccounts(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	uid := m.Report.VMs[0].UID
	m.Report.Users = []protocol.UserLook{{Name: "alice", UID: uid}}
	grouping := protocol.NewVerdictGrouping("ab")
	grouping.Add(protocol.VMKey{UID: uid}, &protocol.VerdictGroup{Path: "product.update_check", Verdict: protocol.VerdictFailed, Strength: protocol.StrengthReverted, Code: protocol.CodePreferenceLost})
	grouping.Add(protocol.VMKey{UID: uid + 1}, &protocol.VerdictGroup{Path: "product.update_check", Verdict: protocol.VerdictInPlace, Strength: protocol.StrengthReverted})
	grouping.Add(protocol.VMKey{}, &protocol.VerdictGroup{Path: "product.of_tomorrow", Verdict: protocol.VerdictUnsupported, Strength: protocol.StrengthNotEnforceable, Code: protocol.CodeSettingUnknown})
	grouping.Add(protocol.VMKey{}, &protocol.VerdictGroup{Path: "security_controls.no_removal", Verdict: protocol.VerdictPending, Strength: protocol.StrengthMonitored, Code: protocol.CodeNotSetYet})
	m.Report.Verdicts = grouping.Report
	m.Checkin(t)
	report := storedReport(t, portal, m.DeviceID)
	if report.HostSettings != (storage.SettingCounts{Pending: 1}) {
		t.Errorf("of the Mac %+v", report.HostSettings)
	}
	if report.AccountSettings != (storage.SettingCounts{Failed: 1, InPlace: 1}) || report.Rows[0].Settings != (storage.SettingCounts{}) {
		t.Errorf("counted %+v and %+v", report.AccountSettings, report.Rows[0].Settings)
	}
	shown, err := fleet.New(portal.Store, 10).VerdictsOf(t.Context(), m.DeviceID, report)
	if err != nil {
		t.Fatal(err)
	}
	var whose []string
	for _, one := range shown.Verdicts {
		whose = append(whose, fmt.Sprintf("%d %s %s", one.UID, one.UserName, one.Setting))
	}
	want := []string{fmt.Sprint(uid, " alice update_check"), fmt.Sprint(uid+1, "  update_check"), "0  of_tomorrow", "0  no_removal"}
	if diff := cmp.Diff(want, whose); diff != "" {
		t.Error(diff)
	}

	// What changes of them is a change of the Mac, as whoever lists changes sees it.
	portal.Clock.Advance(time.Hour)
	grouping = protocol.NewVerdictGrouping("ab")
	grouping.Add(protocol.VMKey{UID: uid}, &protocol.VerdictGroup{Path: "product.update_check", Verdict: protocol.VerdictInPlace, Strength: protocol.StrengthReverted})
	m.Report.Verdicts = grouping.Report
	m.Checkin(t)
	if changed := portal.Device(t).ChangedAt; !changed.Equal(portal.Clock.Now()) {
		t.Errorf("it changed at %v, not at %v", changed, portal.Clock.Now())
	}
}
