package fleet_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"prlagent/agent/policy"
	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/fleet"
	"prlagent/cmd/prlportal/portaltest"
	"prlagent/cmd/prlportal/storage"
)

// sections is a policy with these sections, in enforce mode.
func sections(t *testing.T, members string) fleet.PolicyVersion {
	t.Helper()
	data := fmt.Appendf(nil, `{"schema":1,"policy_id":"finance","revision":7,"name":"Finance","groups":["default"],%s}`, members)
	document, err := policy.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return fleet.PolicyVersion{Document: document, SHA256: protocol.PointTo("finance", 7, data).SHA256, Enforce: true}
}

// sectionCase is one setting of one account, Mac or machine of which one verdict is
// known.
type sectionCase struct {
	before, now   string // members of the section
	path          string // that is predicted
	verdict, code string // that is known; on says of which path, where it is another one
	on            string
	monitors      bool
	stranger      bool // the verdicts are on another document
	want          fleet.Outcome
}

func checkSection(t *testing.T, section string, key protocol.VMKey, cases map[string]sectionCase) {
	t.Helper()
	for name, c := range cases {
		before, next := sections(t, fmt.Sprintf(`%q:{%s}`, section, c.before)), sections(t, fmt.Sprintf(`%q:{%s}`, section, c.now))
		known := fleet.Known{DeviceID: "a", Key: key, Monitors: c.monitors, SHA256: before.SHA256, Verdicts: map[string]*protocol.VerdictGroup{}}
		if c.verdict != "" {
			on := section + "." + c.path
			if c.on != "" {
				on = section + "." + c.on
			}
			known.Verdicts[on] = &protocol.VerdictGroup{Path: on, Verdict: c.verdict, Code: protocol.Code(c.code)}
		}
		if c.stranger {
			known.SHA256 = "another"
		}
		var got fleet.Outcome
		for _, one := range fleet.Predict(before, next, []fleet.Known{known}) {
			if one.Path == section+"."+c.path {
				got = one.Outcome
			}
		}
		if got != c.want {
			t.Errorf("%s: outcome %q, want %q", name, got, c.want)
		}
	}
}

// What is predicted of a preference of one user, by the verdict on it. Where a value is
// kept, nothing but what a verdict says is known.
func TestPredictedOutcomesOfPreferences(t *testing.T) {
	t.Parallel()
	const daily, never, vendor = `"update_check":"daily"`, `"update_check":"never"`, `"update_policy":"Parallels"`
	const keep = `,"on_existing":"keep"`
	inPlace, pending, restart := protocol.VerdictInPlace, protocol.VerdictPending, string(protocol.CodePendingRestart)
	checkSection(t, "product", policy.AccountKey(501), map[string]sectionCase{
		"nothing changes":                 {daily, daily, "update_check", inPlace, "", "", false, false, fleet.OutcomeStays},
		"it is not set yet":               {daily, daily, "update_check", pending, "monitor_mode", "", false, false, fleet.OutcomeSet},
		"its Mac monitors":                {daily, daily, "update_check", pending, "monitor_mode", "", true, false, fleet.OutcomeMonitored},
		"it waits for the application":    {daily, daily, "update_check", pending, restart, "", true, false, fleet.OutcomeWaits},
		"a profile forces another":        {daily, never, "update_check", protocol.VerdictNotApplicable, "managed", "", false, false, fleet.OutcomeExcluded},
		"a profile forces this one":       {daily, never, "update_check", inPlace, "managed", "", false, false, fleet.OutcomeExcluded},
		"another value":                   {daily, never, "update_check", inPlace, "", "", false, false, fleet.OutcomeSet},
		"another value, not restarted":    {daily, never, "update_check", pending, restart, "", false, false, fleet.OutcomeSet},
		"another value, of unknown":       {daily, never, "update_check", pending, "monitor_mode", "", false, false, fleet.OutcomeUnknown},
		"another value, somebody's kept":  {daily, never + keep, "update_check", inPlace, "", "", false, false, fleet.OutcomeUnknown},
		"kept, and replaced from now":     {daily + keep, daily, "update_check", protocol.VerdictNotApplicable, "value_kept", "", false, false, fleet.OutcomeSet},
		"kept":                            {daily + keep, daily + keep, "update_check", protocol.VerdictNotApplicable, "value_kept", "", false, false, fleet.OutcomeExcluded},
		"kept from now on":                {daily, daily + keep, "update_check", pending, "monitor_mode", "", false, false, fleet.OutcomeUnknown},
		"it is managed no longer":         {daily, vendor, "update_check", inPlace, "", "", false, false, fleet.OutcomeReleased},
		"it was not managed":              {vendor, daily, "update_check", inPlace, "", "update_policy", false, false, fleet.OutcomeUnknown},
		"on another policy":               {daily, daily, "update_check", inPlace, "", "", false, true, fleet.OutcomeUnknown},
		"no verdict":                      {daily, daily, "update_check", "", "", "", false, false, fleet.OutcomeUnknown},
		"in the place of another":         {`"update_branch":"pro"`, vendor, "update_policy", inPlace, "", "update_branch", false, false, fleet.OutcomeSet},
		"written the same by another":     {`"update_branch":"default"`, vendor, "update_policy", inPlace, "", "update_branch", false, false, fleet.OutcomeStays},
		"not in each edition":             {vendor, `"update_branch":"pro"`, "update_branch", inPlace, "", "update_policy", false, false, fleet.OutcomeUnknown},
		"the same with this version only": {`"update_policy":"https://u.example/{major}"`, `"update_policy":"https://u.example/26"`, "update_policy", inPlace, "", "", false, false, fleet.OutcomeUnknown},
	})
}

// What is predicted of a control of one Mac. A password may need the profile's leave, and
// may not be ours, so that a control which has one is unknown when it is turned on or off.
func TestPredictedOutcomesOfControls(t *testing.T) {
	t.Parallel()
	inPlace, failed, pending := protocol.VerdictInPlace, protocol.VerdictFailed, protocol.VerdictPending
	one := func(on string) string { return `"one_provisioned_per_user":` + on }
	removal := func(on string) string { return `"no_removal":` + on }
	checkSection(t, "security_controls", protocol.VMKey{}, map[string]sectionCase{
		"nothing changes":             {removal("true"), removal("true"), "no_removal", inPlace, "release_unproven", "", false, false, fleet.OutcomeStays},
		"something is against it":     {removal("true"), removal("true"), "no_removal", failed, "removed_against_policy", "", false, false, fleet.OutcomeStays},
		"it fails":                    {removal("true"), removal("true"), "no_removal", failed, "tool_failed", "", false, false, fleet.OutcomeRetried},
		"it is set once it enforces":  {removal("true"), removal("true"), "no_removal", pending, "monitor_mode", "", false, false, fleet.OutcomeSet},
		"the profile monitors":        {removal("true"), removal("true"), "no_removal", pending, "monitor_mode", "", true, false, fleet.OutcomeMonitored},
		"lifted for the agent's work": {removal("true"), removal("true"), "no_removal", pending, "control_lifted", "", false, false, fleet.OutcomeWaits},
		"a password, turned off":      {removal("true"), removal("false"), "no_removal", inPlace, "", "", false, false, fleet.OutcomeUnknown},
		"a password, turned on":       {removal("false"), removal("true"), "no_removal", inPlace, "", "", false, false, fleet.OutcomeUnknown},
		"unmanaged":                   {removal("true"), one("true"), "no_removal", inPlace, "", "", false, false, fleet.OutcomeReleased},
		"a report, turned on":         {removal("true"), removal("true") + "," + one("true"), "one_provisioned_per_user", "", "", "", true, false, fleet.OutcomeSet},
		"a report, turned off":        {one("true"), one("false"), "one_provisioned_per_user", inPlace, "", "", true, false, fleet.OutcomeSet},
		"off, and was not managed":    {one("true"), removal("false"), "no_removal", "", "", "", false, false, fleet.OutcomeStays},
		"not to be enforced":          {one("true"), `"org_license_only":true`, "org_license_only", "", "", "", false, false, fleet.OutcomeExcluded},
		"who manages the updates":     {one("true"), `"no_major_upgrade":true`, "no_major_upgrade", "", "", "", false, false, fleet.OutcomeUnknown},
		"on another policy":           {removal("true"), removal("true"), "no_removal", inPlace, "", "", false, true, fleet.OutcomeUnknown},
		"no verdict":                  {removal("true"), removal("true"), "no_removal", "", "", "", false, false, fleet.OutcomeUnknown},
	})
}

// on_violation is told for the machines that are against a control: they are to be
// suspended, and no other is.
func TestPredictedSuspensions(t *testing.T) {
	t.Parallel()
	const only, report, suspend = `"provisioned_only":true`, `"provisioned_only":true,"on_violation":"report"`, `"provisioned_only":true,"on_violation":"suspend"`
	failed := protocol.VerdictFailed
	checkSection(t, "security_controls", machineKey, map[string]sectionCase{
		"it is to be suspended":     {report, suspend, "on_violation", failed, "vm_unprovisioned", "provisioned_only", false, false, fleet.OutcomeWaits},
		"its Mac only monitors":     {report, suspend, "on_violation", failed, "vm_unprovisioned", "provisioned_only", true, false, fleet.OutcomeMonitored},
		"it is not any more":        {suspend, report, "on_violation", failed, "vm_unprovisioned", "provisioned_only", false, false, fleet.OutcomeReleased},
		"it is older":               {report, suspend, "on_violation", protocol.VerdictNotApplicable, "older_than_control", "provisioned_only", false, false, ""},
		"nothing is against it":     {report, suspend, "on_violation", "", "", "", false, false, ""},
		"its control is turned off": {report, `"provisioned_only":false,"on_violation":"suspend"`, "on_violation", failed, "vm_unprovisioned", "provisioned_only", false, false, ""},
		"nobody is suspended":       {only, report, "on_violation", failed, "vm_unprovisioned", "provisioned_only", false, false, ""},
		"on another policy":         {report, suspend, "on_violation", failed, "vm_unprovisioned", "provisioned_only", false, true, fleet.OutcomeUnknown},
	})
}

// A machine that is against a control, and of whose settings no verdict is known, is of
// no other scope for that: what becomes of its settings is unknown.
func TestPredictedScopeOfAViolatingMachine(t *testing.T) {
	t.Parallel()
	before, next := version(t, `"startup":"manual"`, true), version(t, `"startup":"manual","clipboard":"disconnect"`, true)
	const control = "security_controls.provisioned_only"
	known := fleet.Known{DeviceID: "a", Key: machineKey, SHA256: before.SHA256, Verdicts: map[string]*protocol.VerdictGroup{control: {Path: control, Verdict: protocol.VerdictFailed}}}
	made := fleet.Predict(before, next, []fleet.Known{known})
	if len(made) != 1 || made[0].Outcome != fleet.OutcomeUnknown {
		t.Errorf("%+v", made)
	}
}

// Preferences are counted by users, controls by Macs; a Mac of which no user is known
// is unknown, and an account that nobody looks at does not count.
func TestDiffOfUsersAndMacs(t *testing.T) {
	t.Parallel()
	read := fleet.New(storage.NewMemory(), fleet.MaxBytes)
	before := sections(t, `"product":{"update_check":"daily"},"security_controls":{"org_license_only":true}`)
	next := sections(t, `"product":{"update_check":"never"},"security_controls":{}`)
	for i, users := range [][]protocol.UserLook{{{Name: "alice", UID: 501}, {Name: "bob", UID: 502}, {Name: "carol", UID: 503}, {Name: "_svc", UID: 88, Code: protocol.CodeAccountUIDLow}}, nil} {
		grouping := protocol.NewVerdictGrouping(before.SHA256)
		if i == 0 {
			grouping.Add(policy.AccountKey(501), &protocol.VerdictGroup{Path: "product.update_check", Verdict: protocol.VerdictInPlace})
			grouping.Add(policy.AccountKey(502), &protocol.VerdictGroup{Path: "product.update_check", Verdict: protocol.VerdictFailed, Code: protocol.CodePreferenceLost})
		}
		grouping.Add(protocol.VMKey{}, &protocol.VerdictGroup{Path: "security_controls.org_license_only", Verdict: protocol.VerdictUnsupported})
		told := grouping.Report
		told.Full = true
		var kept storage.Verdicts
		if _, _, err := kept.Take(&told, portaltest.Morning); err != nil {
			t.Fatal(err)
		}
		err := read.Save(t.Context(), storage.Change{
			Device:   storage.Device{ID: fmt.Sprint(i), Serial: fmt.Sprint("C02", i), HardwareUUID: fmt.Sprint(i), Group: protocol.Group{ID: "default"}},
			Report:   &storage.Report{Agent: protocol.AgentInfo{Mode: "enforce"}, Users: users},
			Verdicts: &kept,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	difference, err := fleet.Scan{Fleet: read, Now: portaltest.Morning}.Diff(t.Context(), "default", before, next)
	if err != nil {
		t.Fatal(err)
	}
	type counts = map[fleet.Outcome]int
	want := []fleet.SettingDiff{
		{Path: "product.update_check", Setting: "update_check", Old: "daily", New: "never", VMs: counts{},
			Users: counts{fleet.OutcomeSet: 1, fleet.OutcomeUnknown: 2}, Macs: counts{fleet.OutcomeSet: 1, fleet.OutcomeUnknown: 2}},
		{Path: "security_controls.on_violation", Setting: "on_violation", Old: "report", VMs: counts{}, Users: counts{}, Macs: counts{}},
		{Path: "security_controls.org_license_only", Setting: "org_license_only", Old: "true", VMs: counts{}, Users: counts{}, Macs: counts{fleet.OutcomeReleased: 2}},
	}
	if diff := cmp.Diff(want, difference.Settings); diff != "" || difference.Users != 3 {
		t.Errorf("%d users (-want +got):\n%s", difference.Users, diff)
	}
}
