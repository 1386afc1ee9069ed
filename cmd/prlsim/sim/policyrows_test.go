package sim

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"prlagent/agent/policy"
	"prlagent/agent/protocol"
)

// policyMac runs a test on a simulated Mac under a policy, with one Windows of
// alice, which runs, and one Ubuntu of bob, which is shut down.
func policyMac(t *testing.T, settings string, test func(*testing.T, *trialMac)) {
	t.Helper()
	drawn := trial{version: "26", document: `{"schema":1,"policy_id":"p","revision":1,"name":"P","vm_settings":{"other":{` + settings + `}}}`}
	drawn.machines = []trialMachine{
		{os: "win-11", owner: "alice", state: "running", tools: "installed", adapters: 1},
		{os: "ubuntu", owner: "bob", state: "stopped", tools: "installed", adapters: 1},
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		m := &trialMac{trial: drawn, ctx: ctx}
		if err := m.start(); err != nil {
			t.Fatal(err)
		}
		defer func() {
			cancel()
			m.enforcer.Close()
			m.state.Close()
			os.RemoveAll(filepath.Dir(m.mac.Dir))
		}()
		test(t, m)
	})
}

// hand changes a machine as a person does.
func (m *trialMac) hand(t *testing.T, machine int, settings ...string) {
	t.Helper()
	for _, setting := range settings {
		err := m.eachVM(func(state *State, i int, vm *VM) error {
			if i != machine {
				return nil
			}
			return m.byHand(state, vm, setting)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// passes are as many as it takes.
func (m *trialMac) passes(t *testing.T) {
	t.Helper()
	for range 10 {
		steps, err := m.apply()
		if err != nil {
			t.Fatal(err)
		}
		if steps == 0 {
			return
		}
	}
	t.Fatalf("it does not end: %v", m.sets)
}

// verdict is what is said of a setting of a machine: verdict, code and strength.
func (m *trialMac) verdict(machine int, setting string) string {
	for _, one := range m.enforcer.View().Settings {
		if one.Verdict.VM.ID == m.ids[machine] && one.Verdict.Setting == setting {
			return strings.Join(strings.Fields(one.Verdict.Verdict+" "+string(one.Verdict.Code)+" "+one.Verdict.Strength.Standard), " ")
		}
	}
	return "none"
}

func (m *trialMac) wantVerdict(t *testing.T, machine int, setting, want string) {
	t.Helper()
	if got := m.verdict(machine, setting); got != want {
		t.Errorf("machine %d: %s is %q, want %q", machine, setting, got, want)
	}
}

// view is all that can be read of a machine.
func (m *trialMac) view(t *testing.T, machine int) machineView {
	t.Helper()
	return viewOf(t, m.mac, m.ids[machine])
}

// wantSets compares what was set so far; users do not wait for each other.
func (m *trialMac) wantSets(t *testing.T, want ...string) {
	t.Helper()
	got := slices.Clone(m.sets)
	for i := range got {
		owner, rest, _ := strings.Cut(got[i], " ")
		_, args, _ := strings.Cut(rest, " ")
		got[i] = owner + " " + args
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("sets %q, want %q", got, want)
	}
}

// VMS-36: what developer tools need is set while the machine runs, and it is
// neither stopped nor started for it.
func TestVMS_36_NoRestartForDeveloperTools(t *testing.T) {
	policyMac(t, `"show_developer_tools":false`, func(t *testing.T, m *trialMac) {
		m.hand(t, 0, "show-dev-tools=on")
		before := m.view(t, 0)
		m.passes(t)
		changes := before.changes(m.view(t, 0))
		want := []string{"list: Advanced/Show developer tools: on -> off", "pvs: Settings/Tools/DevelopOptions/ShowInMenu: 1 -> 0"}
		if !slices.Equal(changes, want) || before["list: State"] != "running" || before["list: Uptime"] == "" {
			t.Errorf("changes %q of a machine that is %s for %s s", changes, before["list: State"], before["list: Uptime"])
		}
		m.wantSets(t, "alice --show-dev-tools=off")
		m.wantVerdict(t, 0, "show_developer_tools", "in_place reverted")
	})
}

// VMS-38 (P): nothing stops a user from changing what is managed. It is put back
// with the next look, counted and told, and called reverted. Where the user takes
// the means, with a lock of their own, it has failed, with the reason, and holds
// not at all.
func TestVMS_38_UsersChangesAreReverted(t *testing.T) {
	policyMac(t, `"clipboard":"disconnect"`, func(t *testing.T, m *trialMac) {
		m.passes(t)
		m.wantVerdict(t, 0, "clipboard", "in_place reverted")
		m.sets = nil
		m.hand(t, 0, "shared-clipboard=on")
		if steps, err := m.apply(); steps != 1 || err != nil { // one look is enough
			t.Fatalf("%d steps, %v", steps, err)
		}
		if got := m.view(t, 0)["list: Miscellaneous Sharing/Shared clipboard mode"]; got != "off" {
			t.Errorf("the clipboard is %s", got)
		}
		m.wantSets(t, "alice --shared-clipboard=off")
		m.passes(t)
		for _, one := range m.enforcer.View().Settings {
			if one.Verdict.VM.ID == m.ids[0] && one.Memory.Drifts() != 1 {
				t.Errorf("changed %d times", one.Memory.Drifts())
			}
		}

		m.hand(t, 0, "shared-clipboard=on", "lock-edit-settings=on")
		m.passes(t)
		m.wantVerdict(t, 0, "clipboard", "failed admin_password_required not_enforceable")
		m.hand(t, 0, "lock-edit-settings=off")
		time.Sleep(time.Hour)
		m.passes(t)
		m.wantVerdict(t, 0, "clipboard", "in_place reverted")
	})
}

// VMF-02: a tag that is there stays, whatever else is managed and released.
func TestVMF_02_ATagIsNotOverwritten(t *testing.T) {
	policyMac(t, `"clipboard":"disconnect","no_tools_autoupdate":true,"isolate_vm":true`, func(t *testing.T, m *trialMac) {
		const place = "pvs: Settings/General/AssetId"
		m.hand(t, 0, "asset-id=OURS-1")
		stopped := func(state *State, _ int, vm *VM) error { return m.mac.setVMState(state, vm, "stopped") }
		if err := m.eachVM(stopped); err != nil {
			t.Fatal(err)
		}
		m.passes(t)
		m.content.Released = true
		m.passes(t)
		if got := m.view(t, 0)[place]; got != "OURS-1" {
			t.Errorf("the tag is %q", got)
		}
		for _, set := range m.sets {
			if strings.Contains(set, "--asset-id") {
				t.Errorf("set: %s", set)
			}
		}
	})
}

// VMF-08: a custom password is set by a person in the product. A policy has no
// member for it, nothing that is run names it, and a machine that has one fails
// where the product asks for it.
func TestVMF_08_NoPasswordInAPolicy(t *testing.T) {
	t.Parallel()
	for _, setting := range policy.Settings {
		for _, part := range setting.Parts {
			if slices.Contains([]string{"--custom-pwd", "--userpasswd", "--host-admin", "--require-pwd", "--device-del"}, part.Flag) {
				t.Errorf("%s sets %s", setting.Name, part.Flag)
			}
		}
	}
	policyMac(t, `"custom_password":"secret-1","clipboard":"disconnect"`, func(t *testing.T, m *trialMac) {
		m.passes(t)
		m.wantVerdict(t, 0, "custom_password", "unsupported setting_unknown not_enforceable")
		m.wantSets(t, "alice --shared-clipboard=off", "bob --shared-clipboard=off")
		if report := m.enforcer.View(); report.Document == nil || len(report.Document.VMSettings.Other.Unknown) != 1 {
			t.Errorf("what is unknown: %+v", report.Document)
		}
	})
}

// VMF-09: which kinds of devices a user lets in is theirs, with the setting and
// without: there is no public way to set it, which is said, and nothing is run.
func TestVMF_09_DevicesOfUsersAreTheirs(t *testing.T) {
	for _, settings := range []string{`"clipboard":"disconnect"`, `"clipboard":"disconnect","no_external_devices":true`} {
		policyMac(t, settings, func(t *testing.T, m *trialMac) {
			before := m.view(t, 0)
			m.passes(t)
			after := m.view(t, 0)
			for place, value := range before {
				if strings.Contains(place, "UsbController") && after[place] != value {
					t.Errorf("%s: %s became %s", place, value, after[place])
				}
			}
			m.wantSets(t, "alice --shared-clipboard=off", "bob --shared-clipboard=off")
			want := "none"
			if strings.Contains(settings, "devices") {
				want = "unsupported no_public_way not_enforceable"
			}
			m.wantVerdict(t, 0, "no_external_devices", want)
		})
	}
}

// VMF-10: locking on suspend is of each machine: Windows with Tools has it, and no
// other is touched.
func TestVMF_10_LockOnSuspendOfEachMachine(t *testing.T) {
	policyMac(t, `"lock_on_suspend":true`, func(t *testing.T, m *trialMac) {
		before := m.view(t, 1)
		m.passes(t)
		m.wantSets(t, "alice --lock-on-suspend=on")
		if got := m.view(t, 0)["pvs: Settings/Tools/LockGuestOnSuspend"]; got != "1" {
			t.Errorf("it is %s", got)
		}
		if changes := before.changes(m.view(t, 1)); len(changes) > 0 {
			t.Errorf("of the other machine: %q", changes)
		}
		m.wantVerdict(t, 0, "lock_on_suspend", "in_place reverted")
		m.wantVerdict(t, 1, "lock_on_suspend", "not_applicable needs_windows_tools not_enforceable")
	})
}

// INV-13: a machine that the agent did not provision is in the other scope until
// the policy's list adopts it; of two copies of one image only that one.
func TestINV_13_AdoptedByTheList(t *testing.T) {
	policyMac(t, `"clipboard":"bidirectional"`, func(t *testing.T, m *trialMac) {
		adopt := func(vmID string) {
			text := `{"schema":1,"policy_id":"p","revision":2,"name":"P","adopt":{"vm_ids":["` + vmID + `"]},` +
				`"vm_settings":{"golden_image":{"clipboard":"disconnect"},"other":{"clipboard":"bidirectional"}}}`
			m.content.Document, m.content.Pointer = []byte(text), protocol.PointTo("p", 2, []byte(text))
		}
		m.passes(t)
		adopt(m.ids[1])
		m.passes(t)
		m.wantSets(t, "bob --shared-clipboard=off")
		for i, want := range []string{"on", "off"} {
			if got := m.view(t, i)["list: Miscellaneous Sharing/Shared clipboard mode"]; got != want {
				t.Errorf("machine %d: %s, want %s", i, got, want)
			}
		}
		adopt(m.ids[0])
		m.passes(t)
		m.wantSets(t, "bob --shared-clipboard=off", "alice --shared-clipboard=off", "bob --shared-clipboard=on")
	})
}
