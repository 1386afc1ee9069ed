package cli

import (
	"testing"

	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
)

// SEC-16, SEC-18, SEC-21: doctor says which controls nothing of ours can hold, with
// what is seen beside them.
func TestSEC21_DoctorSaysWhichControlsCannotBeHeld(t *testing.T) {
	t.Parallel()
	control := func(name string, code protocol.Code, observed string) localapi.Policy {
		return localapi.Policy{
			Wanted:   []localapi.WantedSetting{{Path: "security_controls." + name, Setting: name}},
			Settings: []localapi.PolicySetting{{Path: "security_controls." + name, Setting: name, Code: code, Observed: observed}},
		}
	}
	for name, test := range map[string]struct {
		policy  localapi.Policy
		outcome string
		code    protocol.Code
		says    string
	}{
		"none":             {localapi.Policy{}, outcomeUnneeded, "", "no security control"},
		"one that is held": {control("no_removal", protocol.CodeReleaseUnproven, ""), outcomeOK, "", "reported"},
		"one that is not":  {control("org_license_only", protocol.CodeNotEnforceable, "1 of 3 virtual machines are encrypted"), outcomeNote, protocol.CodeNotEnforceable, "org_license_only: 1 of 3 virtual machines are encrypted."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantResult(t, judgeControls(test.policy), test.outcome, test.code, test.says)
		})
	}
}

// What is not known is said: values of ByHost domains are not looked at, and
// doctor says so where the policy has preferences.
func TestDoctorSaysWhichPreferencesAreNotSeen(t *testing.T) {
	t.Parallel()
	wanted := func(path string) localapi.Policy {
		return localapi.Policy{Wanted: []localapi.WantedSetting{{Path: path}}}
	}
	wantResult(t, judgePreferences(wanted("security_controls.no_removal")), outcomeUnneeded, "", "no preference")
	wantResult(t, judgePreferences(wanted("product.update_policy")), outcomeUnknown, "", "Library/Preferences/ByHost")
}
