package policy_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"prlagent/agent/policy"
	"prlagent/agent/protocol"
	"prlagent/prlctl"
)

var update = flag.Bool("update", false, "write the golden files anew")

// all thirteen settings of the guide, at their strictest.
const strictest = `"startup":"manual","network":"disconnect","no_share_mac_folders":true,"no_share_vm_folders":true,"no_share_vm_apps":true,
	"no_share_mac_apps":true,"clipboard":"disconnect","no_smart_cards":true,"no_external_devices":true,"lock_on_suspend":true,
	"no_config_changes":true,"show_developer_tools":false,"no_tools_autoupdate":true`

// TestGoldenPlans shows whole plans, as text that a person can read.
func TestGoldenPlans(t *testing.T) {
	t.Parallel()
	guests := func() []policy.Machine {
		return []policy.Machine{
			machineOf(t, windowsVM, change{"Shared Profile/enabled", true}, change{"USB and Bluetooth/Automatic sharing smart cards", "on"}),
			machineOf(t, linuxVM), machineOf(t, macVM),
		}
	}
	atWork := guests()
	for i := range atWork {
		atWork[i].AtWork = true
	}
	strict := other(t, strictest)
	ours := &strings.Builder{}
	for i := range policy.Settings {
		if setting := &policy.Settings[i]; setting.Ours {
			value := map[policy.Kind]string{policy.KindSwitch: "true", policy.KindNumber: fmt.Sprint(setting.Values.Min), policy.KindText: `"A-1"`, policy.KindChoice: `"low"`}[setting.Values.Kind]
			fmt.Fprintf(ours, `,"%s":%s`, setting.Name, value)
		}
	}
	remembered := plan(other(t, strictest), atWork...).Memory
	for name, c := range map[string]struct {
		desired  policy.Desired
		observed policy.Observed
	}{
		"strictest": {policy.Desired{Document: strict, Enforce: true}, policy.Observed{Machines: guests()}},
		"monitor":   {policy.Desired{Document: strict}, policy.Observed{Machines: guests()}},
		"at-work":   {policy.Desired{Document: document(t, `"vm_settings":{"max_wait_h":72,"other":{`+strictest+`}}`), Enforce: true}, policy.Observed{Machines: atWork}},
		"beyond-guide-with-locks": {policy.Desired{Enforce: true, AllowUnprovenLocks: true,
			Document: document(t, `"vm_settings":{"beyond_guide":true,"on_unsupported":"stricter","other":{`+strings.Replace(strictest, `"clipboard":"disconnect"`, `"clipboard":"mac_to_guest"`, 1)+`}}`)},
			policy.Observed{Machines: guests()}},
		"ours":        {policy.Desired{Document: other(t, ours.String()[1:]), Enforce: true}, policy.Observed{Machines: []policy.Machine{machineOf(t, windowsVM, isStopped), machineOf(t, macVM)}}},
		"old-version": {policy.Desired{Document: strict, Enforce: true, VendorGates: true}, policy.Observed{Machines: guests(), Version: prlctl.Version{Major: 20, Minor: 1}}},
		"three-days-on": {policy.Desired{Document: document(t, `"vm_settings":{"max_wait_h":72,"other":{`+strictest+`}}`), Enforce: true},
			policy.Observed{Machines: atWork, Memory: remembered, Now: noon.Add(73 * time.Hour)}},
		"released": {policy.Desired{Released: true, Enforce: true}, policy.Observed{Machines: guests(), Memory: remembered}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.observed.Now.IsZero() {
				c.observed.Now = noon
			}
			wantGolden(t, name, describe(policy.Plan(c.desired, &c.observed)))
		})
	}
}

func wantGolden(t *testing.T, name, got string) {
	t.Helper()
	if found := dishonest.FindString(got); found != "" {
		t.Errorf("the plan says %q", found)
	}
	path := filepath.Join("testdata", "plans", name+".txt")
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the plan differs from %s; with -update it is written anew:\n%s", path, got)
	}
}

// describe is a plan as text.
func describe(result *policy.Result) string {
	var text strings.Builder
	short := func(key protocol.VMKey) string { return fmt.Sprintf("%.8s/%d", key.ID, key.UID) }
	for _, list := range []struct {
		name  string
		steps []policy.Step
	}{{"steps", result.Steps}, {"would do", result.WouldDo}} {
		fmt.Fprintf(&text, "%s: %d\n", list.name, len(list.steps))
		for _, step := range list.steps {
			fmt.Fprintf(&text, "  %s  prlctl %s", short(step.VM), strings.Join(step.Argv(), " "))
			for mark, set := range map[string]bool{"  (shown by config.pvs)": step.InFile, "  (lifts our lock)": step.Unlocks} {
				if set {
					text.WriteString(mark)
				}
			}
			text.WriteString("\n")
		}
	}
	fmt.Fprintf(&text, "verdicts: %s\n", stateOf(result))
	for _, v := range result.Verdicts {
		fmt.Fprintf(&text, "  %s  %-42s %-14s %-15s %-22s standard user: %s, admin: %s", short(v.VM), v.Path, v.Value, v.Verdict, v.Code, v.Strength.Standard, v.Strength.Admin)
		if v.Wait != nil {
			fmt.Fprintf(&text, ", waits since %s", v.Wait.Since.Format(time.DateTime))
		}
		if v.Wait != nil && !v.Wait.Deadline.IsZero() {
			fmt.Fprintf(&text, " until %s, overdue %t", v.Wait.Deadline.Format(time.DateTime), v.Wait.Overdue)
		}
		text.WriteString("\n")
		for _, gap := range v.Gaps {
			fmt.Fprintf(&text, "      %s wants %q, shows %q: %s %s\n", gap.Target, gap.Wanted, gap.Shown, gap.Verdict, gap.Code)
		}
	}
	for _, notice := range result.Notices {
		fmt.Fprintf(&text, "tell %d of %d machines\n", notice.UID, len(notice.VMs))
	}
	return text.String()
}
