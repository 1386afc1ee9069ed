package cli

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"prlagent/agent/localapi"
)

func TestPolicyPages(t *testing.T) {
	t.Parallel()
	mode := func(mode, of string) func(*fakeDaemon) {
		return func(d *fakeDaemon) {
			d.policy.Mode, d.policy.InForce.Mode, d.policy.InForce.ModeOf, d.policy.InForce.CandidatePercent = mode, mode, of, 5
		}
	}
	notPlanned := func(d *fakeDaemon) { d.policy.At, d.policy.Settings, d.policy.Steps = time.Time{}, nil, nil }
	for name, c := range map[string]struct {
		change func(*fakeDaemon)
		actor  localapi.Actor
		args   []string
	}{
		"policy-show.txt":            {nil, admin, []string{"policy"}},
		"policy-show-bob.txt":        {nil, user, []string{"policy", "show"}},
		"policy-plan.txt":            {nil, admin, []string{"policy", "plan"}},
		"policy-plan-monitor.txt":    {mode("monitor", "configuration"), admin, []string{"policy", "plan"}},
		"policy-show-ring.txt":       {mode("monitor", "head"), admin, []string{"policy"}},
		"policy-plan-not-yet.txt":    {notPlanned, admin, []string{"policy", "plan"}},
		"policy-explain-not-yet.txt": {notPlanned, admin, []string{"policy", "explain"}},
		"policy-explain.txt":         {nil, admin, []string{"policy", "explain"}},
		"policy-explain-one.txt":     {nil, admin, []string{"policy", "explain", "clipboard", "--vm", "{00000000-0000-4000-8000-000000000002}"}},
		"policy-explain-bob.txt":     {nil, user, []string{"policy", "explain"}},
		"policy-explain-none.txt":    {nil, admin, []string{"policy", "explain", "network"}},
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
