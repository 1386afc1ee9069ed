package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
	"prlagent/platform"
	"prlagent/platform/plist"
	"prlagent/prlctl"
)

// putTool puts a program into the Mac that prints an answer for each of its first
// two arguments, and ends with its code.
func putTool(t *testing.T, root, macPath string, answers map[string]string, codes map[string]int) {
	t.Helper()
	script := "#!/bin/sh\ncase \"$1 $2\" in\n"
	for call, answer := range answers {
		script += fmt.Sprintf("%q) printf '%%s' %s; exit %d;;\n", call, shellWord(answer), codes[call])
	}
	writeProgram(t, filepath.Join(root, macPath), script+"esac\nexit 64\n")
}

// writeProgram writes a shell script that can be run.
func writeProgram(t *testing.T, path, script string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	// A program that another test starts now would hold the file open for writing
	// for a moment, and so not executable.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
}

func shellWord(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

func putPlist(t *testing.T, root, macPath string, values map[string]any) {
	t.Helper()
	data, err := plist.EncodeXML(values)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(root, macPath)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// checkNow runs one check of a Mac, with a daemon that says the status.
func checkNow(t *testing.T, root, id string, status localapi.Status, err error) checkResult {
	t.Helper()
	p, _, _ := testProgram(map[string]string{"PRLAGENT_ROOT": root})
	p.root, p.timeout = root, 5*time.Second
	license, _ := licenseHostURL("")
	m := p.newCheckedMac(t.Context(), license)
	m.status = func() (localapi.Status, error) { return status, err }
	for _, check := range doctorChecks {
		if check.id == id {
			return check.look(m, t.Context())
		}
	}
	t.Fatalf("there is no check %s", id)
	return checkResult{}
}

func wantResult(t *testing.T, got checkResult, outcome string, code protocol.Code, says string) {
	t.Helper()
	if got.Outcome != outcome || got.Code != code || !strings.Contains(got.Text, says) || badness[outcome] > 1 && got.Remedy == "" {
		t.Errorf("%+v, want %s %q saying %q", got, outcome, code, says)
	}
}

// What launchd says of the job, in both of its ways to write what is disabled.
func TestDoctorAsksLaunchd(t *testing.T) {
	t.Parallel()
	const job, running = "print system/org.prlagent.agent", "system/x = {\n\tstate = running\n\tpid = 1\n}"
	const disabled = "print-disabled system"
	for name, c := range map[string]struct {
		answers map[string]string
		codes   map[string]int
		outcome string
		code    protocol.Code
		says    string
	}{
		"running":                     {map[string]string{job: running, disabled: "\t\"org.prlagent.agent\" => enabled\n"}, nil, outcomeOK, "", "not disabled"},
		"running, disabled":           {map[string]string{job: running, disabled: "\t\"org.prlagent.agent\" => disabled\n"}, nil, outcomeFailure, protocol.CodeJobDisabled, "until the Mac is restarted"},
		"disabled, older macOS":       {map[string]string{job: "", disabled: "\t\"org.prlagent.agent\" => true\n"}, map[string]int{job: 113}, outcomeFailure, protocol.CodeJobDisabled, ""},
		"another one disabled":        {map[string]string{job: running, disabled: "\t\"org.prlagent.agent.other\" => true\n"}, nil, outcomeOK, "", ""},
		"not loaded":                  {map[string]string{job: "", disabled: ""}, map[string]int{job: 113}, outcomeFailure, protocol.CodeJobNotLoaded, ""},
		"loaded, not running":         {map[string]string{job: "x = {\n\tstate = not running\n\tlast exit code = 78\n}", disabled: ""}, nil, outcomeFailure, protocol.CodeJobNotRunning, "ended with 78"},
		"never exited":                {map[string]string{job: "x = {\n\tstate = waiting\n\tlast exit code = (never exited)\n}", disabled: ""}, nil, outcomeFailure, protocol.CodeJobNotRunning, ""},
		"ended well":                  {map[string]string{job: "x = {\n\tstate = waiting\n\tlast exit code = 0\n}", disabled: ""}, nil, outcomeFailure, protocol.CodeJobNotRunning, "ended with 0."},
		"one of its endpoints runs":   {map[string]string{job: "x = {\n\tstate = waiting\n\tendpoints = {\n\t\tstate = running\n\t}\n}", disabled: ""}, nil, outcomeFailure, protocol.CodeJobNotRunning, ""},
		"launchctl makes no sense":    {map[string]string{job: ""}, map[string]int{job: 1}, outcomeUnknown, "", "ended with 1"},
		"a state that is not running": {map[string]string{job: "x = {\n\tlast state = running\n\tstate = spawn scheduled\n}", disabled: ""}, nil, outcomeFailure, protocol.CodeJobNotRunning, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := mac(t)
			putTool(t, root, "/bin/launchctl", c.answers, c.codes)
			putPlist(t, root, "/Library/LaunchDaemons/org.prlagent.agent.plist", map[string]any{"Label": "x"})
			wantResult(t, checkNow(t, root, "job", localapi.Status{}, nil), c.outcome, c.code, c.says)
		})
	}
}

func deactivated() localapi.Status {
	return localapi.Status{Product: protocol.Product{Installed: true, State: protocol.ProductDeactivated, Gaps: map[string]protocol.Code{"pd_state": protocol.CodeNoLicense}}}
}

func activated() localapi.Status {
	return localapi.Status{Product: protocol.Product{Installed: true, State: protocol.ProductSSO}}
}

var (
	ssoProfile = map[string]any{"ActivationExperience": "SSO"}
	keyProfile = map[string]any{"ActivationExperience": "License Key", "LicenseKey": canaryLicense}
)

func TestCFP_15_ProfileFirstApplicationSecond(t *testing.T) {
	t.Parallel()
	root, with := mac(t), mac(t)
	putPlist(t, with, prlctl.ManagedPreferences+"/"+prlctl.LicensingFile, ssoProfile)
	wantResult(t, checkNow(t, root, "licensing_profile", deactivated(), nil), outcomeWarning, protocol.CodeLicensingProfile, "no licensing profile")
	wantResult(t, checkNow(t, root, "licensing_profile", activated(), nil), outcomeUnneeded, "", "activated without")
	wantResult(t, checkNow(t, root, "licensing_profile", localapi.Status{}, context.DeadlineExceeded), outcomeUnknown, "", "not known")
	wantResult(t, checkNow(t, with, "licensing_profile", deactivated(), nil), outcomeOK, "", "SSO")
}

func TestCFP_16_TwoLicensingProfiles(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		mac, alice map[string]any
		outcome    string
		code       protocol.Code
	}{
		"none":          {nil, nil, outcomeOK, ""},
		"one":           {ssoProfile, nil, outcomeOK, ""},
		"twice the one": {ssoProfile, map[string]any{"ActivationExperience": "sso"}, outcomeOK, ""},
		"another way":   {ssoProfile, keyProfile, outcomeFailure, protocol.CodeProfilesDiffer},
		"another key":   {keyProfile, map[string]any{"ActivationExperience": "License Key", "LicenseKey": otherLicense}, outcomeFailure, protocol.CodeProfilesDiffer},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := mac(t)
			for folder, values := range map[string]map[string]any{"": c.mac, "alice.b": c.alice} {
				if values != nil {
					putPlist(t, root, filepath.Join(prlctl.ManagedPreferences, folder, prlctl.LicensingFile), values)
				}
			}
			got := checkNow(t, root, "licensing_profiles", activated(), nil)
			wantResult(t, got, c.outcome, c.code, "")
			if strings.Contains(got.Text, "CANARY") || strings.Contains(got.Text, "ZZYYXX") {
				t.Errorf("a key is shown: %s", got.Text)
			}
		})
	}
}

// withProfile is a Mac with a licensing profile.
func withProfile(t *testing.T, values map[string]any) string {
	t.Helper()
	root := mac(t)
	putPlist(t, root, prlctl.ManagedPreferences+"/"+prlctl.LicensingFile, values)
	return root
}

func forEveryone(status localapi.Status) localapi.Status { return *status.ForEveryone() }

// activatedByKey is a status with a product of a version.
func activatedByKey(version, license string) localapi.Status {
	return localapi.Status{Product: protocol.Product{Installed: true, Version: version, State: protocol.ProductKey, License: license}}
}

// CFP-12, CFP-17: the profile is read, and one that cannot activate is named.
func TestCFP_12_CFP_17_ProfilesThatCannotActivate(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		values  map[string]any
		outcome string
		code    protocol.Code
	}{
		"by sign-on":      {ssoProfile, outcomeOK, ""},
		"by a key":        {keyProfile, outcomeOK, ""},
		"without a key":   {map[string]any{"ActivationExperience": "License Key"}, outcomeWarning, protocol.CodeProfileWithoutKey},
		"an unknown word": {map[string]any{"ActivationExperience": "Key", "LicenseKey": canaryLicense}, outcomeWarning, protocol.CodeProfileWord},
		"no word at all":  {map[string]any{"LicenseKey": canaryLicense}, outcomeOK, ""}, // what the product makes of it is not known
	} {
		got := checkNow(t, withProfile(t, c.values), "licensing_profile", deactivated(), nil)
		wantResult(t, got, c.outcome, c.code, "")
		if strings.Contains(got.Text+got.Remedy, "CANARY") {
			t.Errorf("%s: a key is shown: %s", name, got.Text)
		}
	}
}

// DEP-03: a license that is not the profile's is seen by what the tools show of it.
func TestDEP_03_ALicenseThatIsNotTheProfiles(t *testing.T) {
	t.Parallel()
	shown := canaryLicense[:6] + "-******-******-******-" + canaryLicense[len(canaryLicense)-6:]
	for name, c := range map[string]struct {
		root    string
		status  localapi.Status
		outcome string
		code    protocol.Code
	}{
		"no profile":                        {mac(t), activatedByKey("26.4.0", shown), outcomeUnneeded, ""},
		"its key":                           {withProfile(t, keyProfile), activatedByKey("26.4.0", shown), outcomeOK, ""},
		"another key":                       {withProfile(t, keyProfile), activatedByKey("26.4.0", "6J9A5T-******-******-******-RN17ZA"), outcomeWarning, protocol.CodeLicenseDiffers},
		"a key, not sign-on":                {withProfile(t, ssoProfile), activatedByKey("26.4.0", shown), outcomeWarning, protocol.CodeLicenseDiffers},
		"sign-on, not a key":                {withProfile(t, keyProfile), activated(), outcomeWarning, protocol.CodeLicenseDiffers},
		"nobody may see it":                 {withProfile(t, keyProfile), activatedByKey("26.4.0", ""), outcomeOK, ""},
		"it is not activated":               {withProfile(t, keyProfile), deactivated(), outcomeUnneeded, ""},
		"no administrator":                  {withProfile(t, keyProfile), forEveryone(activatedByKey("26.4.0", "6J9A5T-******-******-******-RN17ZA")), outcomeUnknown, ""},
		"no administrator, and another way": {withProfile(t, keyProfile), forEveryone(activated()), outcomeWarning, protocol.CodeLicenseDiffers},
		"nobody knows":                      {withProfile(t, keyProfile), localapi.Status{}, outcomeUnknown, ""},
	} {
		t.Run(name, func(t *testing.T) {
			wantResult(t, checkNow(t, c.root, "license_of_profile", c.status, nil), c.outcome, c.code, "")
		})
	}
}

// CFP-14: before 20.3.0 the product takes another key than the profile's.
func TestCFP_14_VersionsThatTakeAnotherKey(t *testing.T) {
	t.Parallel()
	for version, c := range map[string]struct {
		outcome string
		code    protocol.Code
	}{
		"20.2.9": {outcomeWarning, protocol.CodeLicenseUnguarded}, "19.4.1": {outcomeWarning, protocol.CodeLicenseUnguarded},
		"20.3.0": {outcomeOK, ""}, "26.4.0": {outcomeOK, ""}, "": {outcomeUnknown, ""},
	} {
		wantResult(t, checkNow(t, withProfile(t, keyProfile), "license_guard", activatedByKey(version, ""), nil), c.outcome, c.code, version)
	}
	wantResult(t, checkNow(t, withProfile(t, ssoProfile), "license_guard", activatedByKey("19.4.1", ""), nil), outcomeUnneeded, "", "")
	wantResult(t, checkNow(t, mac(t), "license_guard", activatedByKey("19.4.1", ""), nil), outcomeUnneeded, "", "")
}

// CFP-19: codesign is asked about the very requirement of the privacy profile.
func TestCFP_19_CodesignIsAskedAboutTheProfilesRequirement(t *testing.T) {
	t.Parallel()
	for code, want := range map[int]struct {
		outcome string
		code    protocol.Code
	}{0: {outcomeOK, ""}, 3: {outcomeWarning, protocol.CodePrivacyRule}} {
		root := mac(t)
		if err := os.MkdirAll(filepath.Join(root, platform.VendorBundle), 0o755); err != nil {
			t.Fatal(err)
		}
		tool := filepath.Join(root, "/usr/bin/codesign")
		script := fmt.Sprintf("#!/bin/sh\n[ \"$3\" = %s ] && exit %d\nexit 64\n", shellWord("-R="+platform.ApplicationRequirement), code)
		writeProgram(t, tool, script)
		wantResult(t, checkNow(t, root, "privacy_profile", activated(), nil), want.outcome, want.code, "")
	}
	wantResult(t, checkNow(t, mac(t), "privacy_profile", activated(), nil), outcomeUnknown, "", "")
}

func TestLIC_11_WhatOnlyTheUserCanDo(t *testing.T) {
	t.Parallel()
	root, sso := mac(t), mac(t)
	putPlist(t, sso, prlctl.ManagedPreferences+"/"+prlctl.LicensingFile, ssoProfile)
	got := checkNow(t, sso, "activation", deactivated(), nil)
	wantResult(t, got, outcomeWarning, protocol.CodeContinueWithSSO, "Its state is Deactivated")
	if !strings.Contains(got.Remedy, "single sign-on") || !strings.Contains(got.Remedy, "The user opens Parallels Desktop") {
		t.Errorf("words for the user: %s", got.Remedy)
	}
	wantResult(t, checkNow(t, root, "activation", deactivated(), nil), outcomeWarning, protocol.CodeNoLicense, "Its state is Deactivated")
	wantResult(t, checkNow(t, sso, "activation", activated(), nil), outcomeOK, "", protocol.ProductSSO)
}

func TestVMF_14_ExtensionsOfOldSystemsOnly(t *testing.T) {
	t.Parallel()
	for version, outcome := range map[string]string{
		"10.14.6": outcomeNote, "10.15": outcomeNote, "10.15.7": outcomeNote, "10.16": outcomeUnneeded, "11.0": outcomeUnneeded, "26.1": outcomeUnneeded, "": outcomeUnknown,
	} {
		root := mac(t)
		if version != "" {
			putPlist(t, root, "/System/Library/CoreServices/SystemVersion.plist", map[string]any{"ProductVersion": version})
		}
		wantResult(t, checkNow(t, root, "kernel_extensions", activated(), nil), outcome, "", version)
	}
}

func TestSAM_06_TheModeIsExplained(t *testing.T) {
	t.Parallel()
	wantResult(t, checkNow(t, mac(t), "single_application", activated(), nil), outcomeNote, "", "does not turn it off")
}

// A copied application has no job of its own.
func TestDoctorNamesACopiedApplication(t *testing.T) {
	t.Parallel()
	root := mac(t)
	putTool(t, root, "/bin/launchctl", map[string]string{"print system/com.parallels.desktop.launchdaemon": ""}, map[string]int{"print system/com.parallels.desktop.launchdaemon": 113})
	wantResult(t, checkNow(t, root, "product_setup", activated(), nil), outcomeWarning, protocol.CodePDNotSetUp, "copied instead of installed")
}

// EPERM is macOS' privacy control, EACCES the permissions of a file.
func TestDoctorTellsPrivacyFromPermissions(t *testing.T) {
	t.Parallel()
	row := func(name string, code protocol.Code) protocol.Row {
		return protocol.Row{VM: protocol.VM{Name: name, Owner: "alice", Gaps: map[string]protocol.Code{"vm_os_build": code}}}
	}
	for name, c := range map[string]struct {
		rows    []protocol.Row
		outcome string
		code    protocol.Code
		says    string
	}{
		"all can be read": {[]protocol.Row{row("a", protocol.CodeNeverStarted)}, outcomeOK, "", "1 virtual machine"},
		"privacy":         {[]protocol.Row{row("a", protocol.CodeNotReadable), row("b", protocol.CodePrivacyDenied)}, outcomeWarning, protocol.CodePrivacyDenied, "b of alice."},
		"permissions":     {[]protocol.Row{row("a", protocol.CodeNotReadable)}, outcomeWarning, protocol.CodeNotReadable, "a of alice."},
	} {
		p, _, _ := testProgram(nil)
		m := p.newCheckedMac(t.Context(), licenseHost{})
		m.inventory = func() (localapi.Inventory, error) { return localapi.Inventory{Rows: c.rows}, nil }
		t.Run(name, func(t *testing.T) { wantResult(t, m.checkPrivacy(t.Context()), c.outcome, c.code, c.says) })
	}
}

func TestDoctorLooksIntoTheLog(t *testing.T) {
	t.Parallel()
	root := rotated(t)
	wantResult(t, checkNow(t, root, "log", localapi.Status{}, nil), outcomeWarning, protocol.CodeLogErrors, "1 error, the last of 2026-11-23 09:30:00 UTC: third")
	quiet := mac(t)
	writeFile(t, filepath.Join(logFolder(t, quiet), "prlagentd.log"), strings.ReplaceAll(record(1, "error", "old"), "2026-11-23", "2026-11-20"))
	wantResult(t, checkNow(t, quiet, "log", localapi.Status{}, nil), outcomeOK, "", "None")
	wantResult(t, checkNow(t, quiet, "old_logs", localapi.Status{}, nil), outcomeOK, "", "")
	if err := os.MkdirAll(filepath.Join(quiet, localapi.OldLogFolder), 0o755); err != nil {
		t.Fatal(err)
	}
	wantResult(t, checkNow(t, quiet, "old_logs", localapi.Status{}, nil), outcomeWarning, protocol.CodeOldLogs, "/Library/Logs/prlagent")
}

func TestDoctorSaysOfEachListWhenItWasMade(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	status := localapi.Status{Users: []protocol.UserLook{{Name: "alice", UID: 501, Count: 3, At: at}, {Name: "bob", UID: 502, Code: protocol.CodeServiceDown, Count: 1, At: at.Add(-time.Hour)}}}
	wantResult(t, checkNow(t, mac(t), "users", status, nil), outcomeWarning, protocol.CodeServiceDown, "bob. Lists: alice: 3 at 2026-11-23 09:00:00 UTC; bob: 1 at 2026-11-23 08:00:00 UTC.")
}

func TestDoctorLooksAtStreams(t *testing.T) {
	t.Parallel()
	users := []protocol.UserLook{{Name: "alice", UID: 501}}
	for name, c := range map[string]struct {
		streams []localapi.StreamStatus
		outcome string
		code    protocol.Code
		says    string
	}{
		"nobody":      {nil, outcomeUnneeded, "", ""},
		"open":        {[]localapi.StreamStatus{{UID: 501, Open: true}, {UID: 502, Failures: 1}}, outcomeOK, "", "1 of 2 are open"},
		"it does not": {[]localapi.StreamStatus{{UID: 501, Failures: 7}}, outcomeWarning, protocol.CodeStreamDown, "alice: 7 ended in a row"},
	} {
		t.Run(name, func(t *testing.T) {
			wantResult(t, checkNow(t, mac(t), "event_streams", localapi.Status{Users: users, Streams: c.streams}, nil), c.outcome, c.code, c.says)
		})
	}
}

// Every check stands behind those that it needs, and has words.
func TestTableOfChecksIsInOrder(t *testing.T) {
	t.Parallel()
	before := make(map[string]bool)
	for _, check := range doctorChecks {
		if check.id == "" || check.title == "" || check.look == nil || before[check.id] {
			t.Errorf("row %+v", check.id)
		}
		for _, needed := range check.needs {
			if !before[needed] {
				t.Errorf("%s needs %s, which comes later or never", check.id, needed)
			}
		}
		before[check.id] = true
	}
}

// A check that hangs holds nobody up beyond the limit, and says so.
func TestACheckThatHangsIsLeftBehind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		release := make(chan struct{})
		defer close(release)
		hangs := doctorCheck{"x", "X", nil, func(*checkedMac, context.Context) checkResult { <-release; return okResult("") }}
		began := time.Now()
		wantResult(t, hangs.lookInTime(ctx, nil), outcomeUnknown, "", "did not end in time")
		if took := time.Since(began); took != lateness {
			t.Errorf("it took %s", took)
		}
	})
}

func TestLicenseHostsAsPeopleTypeThem(t *testing.T) {
	t.Parallel()
	for typed, want := range map[string]string{"": inferredLicenseHost, "Licenses.example ": "licenses.example", "10.0.0.1:8443": "10.0.0.1:8443", "https://x": "", "a b": "", "x/y": "", "u@x": ""} {
		got, err := licenseHostURL(typed)
		if (err != nil) != (want == "") || err == nil && (got.url.Host != want || got.named != (typed != "")) {
			t.Errorf("%q: %+v, %v", typed, got, err)
		}
	}
}
