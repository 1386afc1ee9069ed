package localapi

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"prlagent/agent/protocol"
)

// samplePolicy is how it stands with the policy of a Mac of alice and bob.
func samplePolicy() *Policy {
	at := time.Date(2026, 11, 23, 9, 30, 0, 0, time.UTC)
	alices := PolicyVM{VMKey: protocol.VMKey{ID: "00000000-0000-4000-8000-000000000001", UID: 501}, Name: "Windows 11", Owner: "alice"}
	bobs := PolicyVM{VMKey: protocol.VMKey{ID: "00000000-0000-4000-8000-000000000002", UID: 502}, Name: "Team Linux", Owner: "bob",
		SeenBy: []protocol.Account{{UID: 505, Name: "erin"}}}
	running, contended := protocol.CodeVMRunning.Text(), protocol.CodeContended.Text()
	return &Policy{
		Schema: Schema, At: at, Mode: "enforce", InForce: InForce{Source: "head", Mode: "enforce", ModeOf: "configuration", ExpiresAt: at.AddDate(0, 0, 20)}, Name: "Finance",
		Report: protocol.PolicyReport{State: protocol.PolicyPartial, PolicyID: "finance", Revision: 7, SHA256: "ab12", HeadVersion: 9,
			Counts: map[string]int{protocol.StrengthReverted: 3}},
		Wanted: []WantedSetting{
			{Path: "vm_settings.other.clipboard", Setting: "clipboard", Value: "disconnect", Doc: "Copying and pasting."},
			{Path: "vm_settings.other.asset_tag", Setting: "asset_tag", Value: "F-1"},
		},
		Settings: []PolicySetting{
			{PolicyVM: alices, Path: "vm_settings.other.clipboard", Setting: "clipboard", Value: "disconnect", Verdict: protocol.VerdictContended,
				Code: protocol.CodeContended, Text: contended.Text, Remedy: contended.Remedy, Strength: protocol.StrengthReverted, StrengthAdmin: protocol.StrengthReverted,
				Since: at.Add(-time.Hour), Drifts: 4, Flags: []PolicyFlag{{Target: "--shared-clipboard", Wanted: "off", Shown: "on", Verdict: protocol.VerdictContended,
					Code: protocol.CodeContended, Written: "off", WrittenAt: at.Add(-20 * time.Minute), Prior: "on"}}},
			{PolicyVM: alices, Path: "vm_settings.other.asset_tag", Setting: "asset_tag", Value: "F-1", Verdict: protocol.VerdictDeferred,
				Code: protocol.CodeVMRunning, Text: running.Text, Remedy: running.Remedy, Strength: protocol.StrengthReverted, StrengthAdmin: protocol.StrengthReverted,
				Since: at.Add(-2 * time.Hour), WaitingSince: at.Add(-26 * time.Hour), Deadline: at.Add(22 * time.Hour),
				Flags: []PolicyFlag{{Target: "--asset-id", Wanted: "F-1", Verdict: protocol.VerdictDeferred, Code: protocol.CodeVMRunning}}},
			{PolicyVM: bobs, Path: "vm_settings.other.clipboard", Setting: "clipboard", Value: "disconnect", Verdict: protocol.VerdictInPlace,
				Strength: protocol.StrengthReverted, StrengthAdmin: protocol.StrengthReverted, Since: at.Add(-48 * time.Hour)},
		},
		Steps: []PolicyStep{{PolicyVM: alices, Setting: "clipboard", Shown: "on", Word: "off",
			Call: []string{"set", alices.ID, "--shared-clipboard=off"}}},
	}
}

func TestH16_AStrangerSeesNothingOfOthersSettings(t *testing.T) {
	t.Parallel()
	for _, actor := range []Actor{{UID: 504, Name: "mallory"}, {UID: 501, Name: ""}, {}} {
		data, err := json.Marshal(policyFor(actor, samplePolicy()))
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{"alice", "bob", "Windows", "Team", "inance", "clipboard", "ab12", "F-1"} {
			if strings.Contains(string(data), secret) {
				t.Errorf("actor %q sees %q in %s", actor.Name, secret, data)
			}
		}
	}
}

func TestH16_AUserSeesTheSettingsOfTheirOwn(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		actor                   Actor
		settings, steps, wanted int
	}{
		"alice":                {Actor{UID: 501, Name: "alice"}, 2, 1, 0},
		"bob":                  {Actor{UID: 502, Name: "bob"}, 1, 0, 0},
		"who lists a machine":  {Actor{UID: 505, Name: "erin"}, 1, 0, 0},
		"who took a name over": {Actor{UID: 504, Name: "alice"}, 0, 0, 0},
		"an administrator":     {Actor{UID: 503, Name: "carol", Admin: true}, 3, 1, 2},
	} {
		seen := policyFor(c.actor, samplePolicy())
		if len(seen.Settings) != c.settings || len(seen.Steps) != c.steps || len(seen.Wanted) != c.wanted || seen.Restricted == c.actor.Admin {
			t.Errorf("%s sees %d settings, %d steps, %d wanted, restricted %t", name, len(seen.Settings), len(seen.Steps), len(seen.Wanted), seen.Restricted)
		}
	}
}
