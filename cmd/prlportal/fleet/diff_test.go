package fleet_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"prlagent/agent/policy"
	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/fleet"
	"prlagent/cmd/prlportal/portaltest"
	"prlagent/cmd/prlportal/storage"
)

// machineKey is a machine that is known.
var machineKey = protocol.VMKey{ID: "one", UID: 501}

// version is a policy with these settings of machines that are from no golden image.
func version(t *testing.T, settings string, enforce bool) fleet.PolicyVersion {
	t.Helper()
	data := fmt.Appendf(nil, `{"schema":1,"policy_id":"finance","revision":7,"name":"Finance","groups":["default"],"vm_settings":{"other":{%s}}}`, settings)
	document, err := policy.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return fleet.PolicyVersion{Document: document, SHA256: protocol.PointTo("finance", 7, data).SHA256, Enforce: enforce}
}

// A value that was in place is to be set anew; but what needs the machine shut down
// waits for that, what is a limit may be kept already, and a lock may be the user's.
func TestPredictedOutcomeOfAnotherValue(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		setting, before, now string
		want                 fleet.Outcome
	}{
		"live":                       {"show_developer_tools", "true", "false", fleet.OutcomeSet},
		"it interrupts":              {"network", `"shared"`, `"host_only"`, fleet.OutcomeWaits},
		"it needs a machine at rest": {"auto_compress_disks", "true", "false", fleet.OutcomeWaits},
		"shown by the file only":     {"asset_tag", `"A-1"`, `"A-2"`, fleet.OutcomeWaits},
		"a higher limit":             {"max_cpus", "2", "4", fleet.OutcomeStays},
		"a lower limit":              {"max_cpus", "4", "2", fleet.OutcomeUnknown},
		"a lock is wanted":           {"no_config_changes", "false", "true", fleet.OutcomeUnknown},
		"a lock is not wanted":       {"no_config_changes", "true", "false", fleet.OutcomeUnknown},
	} {
		path := "vm_settings.other." + c.setting
		before, next := version(t, fmt.Sprintf("%q:%s", c.setting, c.before), true), version(t, fmt.Sprintf("%q:%s", c.setting, c.now), true)
		known := fleet.Known{DeviceID: "a", Key: machineKey, SHA256: before.SHA256, Verdicts: map[string]*protocol.VerdictGroup{path: {Path: path, Verdict: protocol.VerdictInPlace}}}
		if made := fleet.Predict(before, next, []fleet.Known{known}); len(made) != 1 || made[0].Outcome != c.want {
			t.Errorf("%s: predicted %v, want %s", name, made, c.want)
		}
	}
}

// What is predicted of one machine from its verdict, for each kind of change. What
// nothing is known of is not guessed at.
func TestPredictedOutcomes(t *testing.T) {
	t.Parallel()
	const clipboard, off = `"clipboard":"bidirectional"`, `"clipboard":"disconnect"`
	for name, c := range map[string]struct {
		verdict     string // on the clipboard
		before, now string
		monitors    bool // its head does
		profile     bool // its profile does
		stranger    bool // the verdicts are on another document
		want        fleet.Outcome
	}{
		"nothing changes":                           {protocol.VerdictInPlace, off, off, false, false, false, fleet.OutcomeStays},
		"the mode changes":                          {protocol.VerdictPending, off, off, false, false, false, fleet.OutcomeSet},
		"the head stays with monitoring":            {protocol.VerdictPending, off, off, true, false, false, fleet.OutcomeMonitored},
		"the profile stays with it":                 {protocol.VerdictPending, off, off, false, true, false, fleet.OutcomeMonitored},
		"it waits":                                  {protocol.VerdictDeferred, off, off, false, false, false, fleet.OutcomeWaits},
		"it fails":                                  {protocol.VerdictFailed, off, off, false, false, false, fleet.OutcomeRetried},
		"it is not shown":                           {protocol.VerdictUnknown, off, off, false, false, false, fleet.OutcomeUnknown},
		"it is not for this guest":                  {protocol.VerdictNotApplicable, clipboard, off, false, false, false, fleet.OutcomeExcluded},
		"another value, and the old one is there":   {protocol.VerdictInPlace, clipboard, off, false, false, false, fleet.OutcomeSet},
		"another value, and the old one is not":     {protocol.VerdictPending, clipboard, off, false, false, false, fleet.OutcomeUnknown},
		"a value that cannot be set":                {protocol.VerdictInPlace, off, `"clipboard":"guest_to_mac"`, false, false, false, fleet.OutcomeExcluded},
		"the verdict is on another policy":          {protocol.VerdictInPlace, off, off, false, false, true, fleet.OutcomeUnknown},
		"it was not managed":                        {"", "", off, false, false, false, fleet.OutcomeUnknown},
		"it is managed no longer":                   {protocol.VerdictInPlace, off, "", false, false, false, fleet.OutcomeReleased},
		"another value, and its Mac only monitors":  {protocol.VerdictInPlace, clipboard, off, false, true, false, fleet.OutcomeMonitored},
		"the machine is in the other of the scopes": {"", off, off, false, false, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before, next := version(t, c.before, false), version(t, c.now, !c.monitors)
			known := fleet.Known{DeviceID: "a", Key: machineKey, Monitors: c.profile, SHA256: before.SHA256, Verdicts: map[string]*protocol.VerdictGroup{}}
			if c.verdict != "" {
				known.Verdicts["vm_settings.other.clipboard"] = &protocol.VerdictGroup{Path: "vm_settings.other.clipboard", Verdict: c.verdict}
			}
			if c.stranger {
				known.SHA256 = "another"
			}
			var got fleet.Outcome
			if made := fleet.Predict(before, next, []fleet.Known{known}); len(made) > 0 {
				got = made[0].Outcome
			}
			if got != c.want {
				t.Errorf("outcome %q, want %q", got, c.want)
			}
		})
	}
}

// The counts of a group are of its own Macs, by what they reported; so is how far
// its policy is.
func TestDiffAndStatusOfAGroup(t *testing.T) {
	t.Parallel()
	read := fleet.New(storage.NewMemory(), fleet.MaxBytes)
	before, next := version(t, `"clipboard":"disconnect","startup":"manual"`, false), version(t, `"clipboard":"disconnect","no_smart_cards":true`, true)
	waits := portaltest.Morning.Add(-72 * time.Hour)
	states := []string{protocol.PolicyConverging, protocol.PolicyConverged, protocol.PolicyStale, protocol.PolicyFailed, protocol.PolicyNone}
	for i, verdict := range []string{protocol.VerdictDeferred, protocol.VerdictInPlace, protocol.VerdictPending, "", ""} {
		vm := portaltest.WindowsVM(fmt.Sprint("Windows ", i))
		report := storage.Report{Agent: protocol.AgentInfo{Mode: "enforce"}, Policy: protocol.PolicyReport{State: states[i]}, Rows: []storage.Row{{VM: vm}}}
		change := storage.Change{Device: storage.Device{ID: fmt.Sprint(i), Serial: fmt.Sprint("C02", i), HardwareUUID: fmt.Sprint(i), Group: protocol.Group{ID: "default"}}, Report: &report}
		var kept storage.Verdicts
		if verdict != "" {
			report.Rows[0].Settings.Add(verdict, 1)
			grouping := protocol.NewVerdictGrouping(before.SHA256)
			grouping.Add(vm.VMKey, &protocol.VerdictGroup{Path: "vm_settings.other.clipboard", Verdict: verdict})
			grouping.Add(vm.VMKey, &protocol.VerdictGroup{Path: "vm_settings.other.startup", Verdict: protocol.VerdictInPlace})
			told := grouping.Report
			told.Full = true
			if _, _, err := kept.Take(&told, portaltest.Morning); err != nil {
				t.Fatal(err)
			}
			change.Verdicts = &kept
		}
		if verdict == protocol.VerdictDeferred {
			report.OldestDeferral = &storage.Deferral{Path: "vm_settings.other.clipboard", VM: vm.VMKey, Code: protocol.CodeVMSuspended, Since: waits}
		}
		if i == 4 {
			change.Device.Group.ID = "lab"
		}
		if err := read.Save(t.Context(), change); err != nil {
			t.Fatal(err)
		}
	}
	look := fleet.Scan{Fleet: read, Now: portaltest.Morning}
	difference, err := look.Diff(t.Context(), "default", before, next)
	if err != nil {
		t.Fatal(err)
	}
	vms := make(map[string]map[fleet.Outcome]int)
	for _, one := range difference.Settings {
		vms[one.Setting] = one.VMs
	}
	want := map[string]map[fleet.Outcome]int{
		"clipboard":      {fleet.OutcomeWaits: 1, fleet.OutcomeStays: 1, fleet.OutcomeSet: 1, fleet.OutcomeUnknown: 1},
		"startup":        {fleet.OutcomeReleased: 4},
		"no_smart_cards": {fleet.OutcomeUnknown: 4},
	}
	if diff := cmp.Diff(want, vms); diff != "" || difference.Macs != 4 || difference.VMs != 4 {
		t.Errorf("%d Macs with %d machines (-want +got):\n%s", difference.Macs, difference.VMs, diff)
	}
	status, err := look.PolicyStatus(t.Context())
	groups := status.Groups
	if err != nil || len(groups) != 2 {
		t.Fatalf("%+v, %v", groups, err)
	}
	oldest := groups[0].OldestDeferral
	groups[0].OldestDeferral, groups[0].Sources, groups[1].Sources = nil, nil, nil
	if diff := cmp.Diff([]fleet.GroupStatus{
		{Group: "default", Macs: 4, InPlace: 1, Converging: 2, Failed: 1, Expired: 1, Deferred: 1}, {Group: "lab", Macs: 1, None: 1},
	}, groups); diff != "" || oldest == nil || !oldest.Since.Equal(waits) || oldest.MacSerial != "C020" {
		t.Errorf("%+v, oldest %+v", groups, oldest)
	}
}
