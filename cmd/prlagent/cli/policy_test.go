package cli

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
)

func TestPolicyPages(t *testing.T) {
	t.Parallel()
	mode := func(mode, of string) func(*fakeDaemon) {
		return func(d *fakeDaemon) {
			d.policy.Mode, d.policy.InForce.Mode, d.policy.InForce.ModeOf, d.policy.InForce.CandidatePercent = mode, mode, of, 5
		}
	}
	notPlanned := func(d *fakeDaemon) { d.policy.At, d.policy.Settings, d.policy.Steps = time.Time{}, nil, nil }
	preferences := func(d *fakeDaemon) { d.policy = preferencesPolicy(d.policy) }
	for name, c := range map[string]struct {
		change func(*fakeDaemon)
		actor  localapi.Actor
		args   []string
	}{
		"policy-show.txt":             {nil, admin, []string{"policy"}},
		"policy-show-bob.txt":         {nil, user, []string{"policy", "show"}},
		"policy-plan.txt":             {nil, admin, []string{"policy", "plan"}},
		"policy-plan-monitor.txt":     {mode("monitor", "configuration"), admin, []string{"policy", "plan"}},
		"policy-show-ring.txt":        {mode("monitor", "head"), admin, []string{"policy"}},
		"policy-plan-not-yet.txt":     {notPlanned, admin, []string{"policy", "plan"}},
		"policy-explain-not-yet.txt":  {notPlanned, admin, []string{"policy", "explain"}},
		"policy-explain.txt":          {nil, admin, []string{"policy", "explain"}},
		"policy-explain-one.txt":      {nil, admin, []string{"policy", "explain", "clipboard", "--vm", "{00000000-0000-4000-8000-000000000002}"}},
		"policy-explain-bob.txt":      {nil, user, []string{"policy", "explain"}},
		"policy-explain-none.txt":     {nil, admin, []string{"policy", "explain", "network"}},
		"policy-preferences.txt":      {preferences, admin, []string{"policy", "explain"}},
		"policy-preferences-plan.txt": {preferences, admin, []string{"policy", "plan"}},
		"policy-preferences-bob.txt":  {preferences, user, []string{"policy", "explain"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			daemon, root := sampleDaemon(t), mac(t)
			if c.change != nil {
				c.change(daemon)
			}
			daemon.serve(t, root, c.actor)
			got := run(t, root, c.args...)
			if got.code != 0 || got.stderr != "" {
				t.Fatalf("exit %d: %s", got.code, got.stderr)
			}
			checkGolden(t, name, got.stdout)
		})
	}
}

// A misspelled name is no page on which nothing is managed: it ends with 2, and says
// what may be meant.
func TestPolicyExplain_NamesThatAreNone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"a misspelled setting":    {[]string{"clipbord"}, `there is no setting "clipbord"; did you mean clipboard? 'prlagent policy show'`},
		"a misspelled preference": {[]string{"update_chek"}, "did you mean update_check?"},
		"a misspelled control":    {[]string{"provisoned_only"}, "did you mean provisioned_only?"},
		"nothing like it":         {[]string{"zzz"}, `there is no setting "zzz"; 'prlagent policy show'`},
		"a misspelled machine":    {[]string{"--vm", "Windos 11"}, `there is no machine "Windos 11" with settings; did you mean Windows 11?`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			daemon, root := sampleDaemon(t), mac(t)
			daemon.serve(t, root, admin)
			got := run(t, root, append([]string{"policy", "explain"}, c.args...)...)
			if got.code != exitUsage || !strings.Contains(got.stderr, c.want) {
				t.Errorf("exit %d: %s", got.code, got.stderr)
			}
		})
	}
}

func TestPolicyJSONIsTheContract(t *testing.T) {
	t.Parallel()
	daemon, root := sampleDaemon(t), mac(t)
	daemon.serve(t, root, admin)
	var whole, one localapi.Policy
	for into, args := range map[*localapi.Policy][]string{
		&whole: {"policy", "plan", "--json"}, &one: {"policy", "explain", "asset_tag", "--vm", "Windows 11", "--json"},
	} {
		if err := json.Unmarshal([]byte(run(t, root, args...).stdout), into); err != nil {
			t.Fatal(err)
		}
	}
	if len(whole.Settings) != 3 || len(whole.Steps) != 1 || len(one.Settings) != 1 || len(one.Steps) != 0 {
		t.Errorf("%d settings and %d steps; of one %d and %d", len(whole.Settings), len(whole.Steps), len(one.Settings), len(one.Steps))
	}
}

// H15: what a user named their machine steers no terminal.
func TestH15_PolicyPagesAreClean(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"policy"}, {"policy", "plan"}, {"policy", "explain"}} {
		daemon, root := sampleDaemon(t), mac(t)
		for i := range daemon.policy.Settings {
			daemon.policy.Settings[i].Name = "evil\x1b[2J\nname"
		}
		daemon.policy.Steps[0].Name = "evil\x1b[2J\nname"
		daemon.serve(t, root, admin)
		if got := run(t, root, args...).stdout; strings.Contains(got, "\x1b") || strings.Contains(got, "\nname") {
			t.Errorf("%v: %q", args, got)
		}
	}
}

// preferencesPolicy is a policy of preferences: those of alice and bob.
func preferencesPolicy(policy localapi.Policy) localapi.Policy {
	policy.Wanted = []localapi.WantedSetting{{Path: "product.update_policy", Setting: "update_policy", Value: "None"}}
	policy.Settings, policy.Steps = nil, nil
	for _, account := range []protocol.Account{{UID: 501, Name: "alice"}, {UID: 502, Name: "bob"}} {
		of := localapi.PolicyVM{VMKey: protocol.VMKey{UID: account.UID}, Owner: account.Name}
		words := protocol.CodePendingRestart.Text()
		policy.Settings = append(policy.Settings, localapi.PolicySetting{
			PolicyVM: of, Path: "product.update_policy", Setting: "update_policy", Value: "None",
			Verdict: protocol.VerdictPending, Code: protocol.CodePendingRestart, Text: words.Text, Remedy: words.Remedy,
			Strength: protocol.StrengthReverted, StrengthAdmin: protocol.StrengthReverted, AppShows: "the update controls in Parallels Desktop are greyed out", Unseen: "values for this Mac alone",
			Flags: []localapi.PolicyFlag{{Target: "Application preferences.VolumeLicenseUpdatePolicy", Wanted: `"None"`, Shown: `"None"`, Verdict: protocol.VerdictInPlace, Written: `"None"`, Prior: `"Parallels"`}},
		})
		policy.Steps = append(policy.Steps, localapi.PolicyStep{
			PolicyVM: of, Setting: "update_policy", Tool: "defaults", Shown: `"Parallels"`, Word: `"None"`,
			Call: []string{"write", "com.parallels.Parallels Desktop", "Application preferences.VolumeLicenseUpdatePolicy", "<string>None</string>"},
		})
	}
	return policy
}

func TestFlagWords_ARefusedWriteWasOnlyTried(t *testing.T) {
	t.Parallel()
	for verdict, want := range map[string]string{
		protocol.VerdictInPlace: "shows off, set to on never",
		protocol.VerdictFailed:  "shows off, wanted on, failed, tried to set to on never",
	} {
		flag := localapi.PolicyFlag{Shown: "off", Wanted: "on", Verdict: verdict, Written: "on"}
		if got := flagWords(outputView{}, flag); got != want {
			t.Errorf("%s: %q, want %q", verdict, got, want)
		}
	}
}

func TestPolicyPages_AnEmptyTextIsAValue(t *testing.T) {
	t.Parallel()
	policy := localapi.Policy{Settings: []localapi.PolicySetting{{Path: "product.support_url", Setting: "support_url"}}}
	for name, page := range map[string]string{"show": policyPage(outputView{}, policy), "explain": explainPage(outputView{}, policy)} {
		if !strings.Contains(page, `""`) {
			t.Errorf("%s does not show the value:\n%s", name, page)
		}
	}
}
