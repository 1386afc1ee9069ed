package sim

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// console runs a command of the operator's console on the Mac.
func console(t *testing.T, mac Mac, args ...string) outcome {
	t.Helper()
	var stdout, stderr strings.Builder
	command := consoleCommand()
	command.SetOut(&stdout)
	command.SetErr(&stderr)
	command.SetArgs(append(args, "--mac", mac.Dir))
	code := executeConsole(command)
	return outcome{code, stdout.String(), stderr.String()}
}

func mustConsole(t *testing.T, mac Mac, args ...string) {
	t.Helper()
	if got := console(t, mac, args...); got.code != 0 {
		t.Fatalf("prlsim %v: %+v", args, got)
	}
}

// effectsOf are the effects of the Mac, as "by effect name".
func effectsOf(t *testing.T, mac Mac) []string {
	t.Helper()
	effects, err := mac.effects()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, e := range effects {
		lines = append(lines, strings.TrimSpace(e.By+" "+e.Effect+" "+e.Name))
	}
	return lines
}

func wantEffects(t *testing.T, mac Mac, want ...string) {
	t.Helper()
	if got := effectsOf(t, mac); !slices.Equal(got, want) {
		t.Errorf("effects %q, want %q", got, want)
	}
}

// vmState is the state of a VM, or "gone".
func vmState(t *testing.T, mac Mac, owner, name string) string {
	t.Helper()
	vm, err := findVM(mustLoad(t, mac).ownedBy(owner), name)
	if err != nil {
		return "gone"
	}
	return vm.State
}

func exists(mac Mac, macPath string) bool {
	_, err := os.Lstat(mac.Path(macPath))
	return err == nil
}

const macBundle = "/Users/alice/Parallels/macOS.macvm"

// deletes answers the question of prlctl delete.
func deletes(mac Mac, caller string) call { return call{mac, caller, "y\n"} }

// What an action answers, in which states, and what really happened.
func TestActionsOfTheTool(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		action, state, after string
		want                 outcome
	}{
		{"start", "stopped", "running", outcome{0, "Starting the VM...\nThe VM has been successfully started.", ""}},
		{"start", "suspended", "running", outcome{0, "successfully started.", ""}},
		{"start", "invalid", "invalid", outcome{255, "Starting", "Failed to start the VM: "}},
		{"stop", "running", "stopped", outcome{0, "successfully stopped.", ""}},
		{"stop", "suspended", "suspended", outcome{255, "Stopping", "Failed to stop the VM: "}},
		{"stop --acpi", "running", "stopped", outcome{0, "successfully stopped.", ""}},
		{"stop --kill", "paused", "stopped", outcome{0, "forcibly stopped", ""}},
		{"stop --kill", "suspended", "suspended", outcome{255, "Stopping", "required state: it is suspended"}},
		{"stop --drop-state", "suspended", "stopped", outcome{0, "successfully stopped.", ""}},
		{"stop --nonsense", "running", "running", outcome{255, "", "Unrecognized option: --nonsense"}},
		{"suspend", "running", "suspended", outcome{0, "successfully suspended.", ""}},
		{"suspend", "stopped", "stopped", outcome{255, "Suspending", "Failed to suspend the VM: "}},
		{"resume", "suspended", "running", outcome{0, "successfully resumed.", ""}},
		{"pause", "running", "paused", outcome{0, "successfully paused.", ""}},
		{"restart", "running", "running", outcome{0, "Restarting the VM...\nThe VM has been successfully restarted.", ""}},
		{"restart", "stopped", "stopped", outcome{255, "Restarting", "Failed to restart the VM: "}},
		{"reset", "paused", "running", outcome{0, "successfully reset.", ""}},
		{"restart", "cloning", "cloning", outcome{255, "", "is being cloned. Please try again later."}},
	} {
		t.Run(test.action+" of "+test.state, func(t *testing.T) {
			t.Parallel()
			mac := newMac(t, standardMac())
			mustConsole(t, mac, "vm", "state", "macOS", test.state)
			words := strings.Fields(test.action)
			got := callAs(mac, "alice").run(t, "prlctl", append([]string{words[0], "macOS"}, words[1:]...)...)
			checkOutcome(t, got, test.want)
			if after := vmState(t, mac, "alice", "macOS"); after != test.after {
				t.Errorf("it is %s, want %s", after, test.after)
			}
			var effects []string
			if test.want.code == 0 {
				effects = []string{"prlctl " + strings.TrimSuffix(test.action, " --acpi") + " macOS"}
			}
			wantEffects(t, mac, effects...)
		})
	}
}

// Nothing but a y deletes, and only a VM that is stopped; another person's answer to
// the password comes before it.
func TestDeleteAsks(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		state, answer string
		args          []string
		require       bool
		want          outcome
	}{
		"an ended input":         {"stopped", "", nil, false, outcome{255, "Are you sure", "Operation canceled."}},
		"no":                     {"stopped", "n\n", nil, false, outcome{255, "Are you sure", "Operation canceled."}},
		"an empty line":          {"stopped", "\ny\n", nil, false, outcome{255, "Are you sure", "Operation canceled."}},
		"another word":           {"stopped", "yes please\n", nil, false, outcome{255, "Are you sure", "Operation canceled."}},
		"-f":                     {"stopped", "y\n", []string{"-f"}, false, outcome{255, "", "Unrecognized option: -f"}},
		"--force":                {"stopped", "y\n", []string{"--force"}, false, outcome{255, "", "Unrecognized option: --force"}},
		"a running one":          {"running", "y\n", nil, false, outcome{255, "Removing", "Failed to remove the VM: Unable to perform the action because the virtual machine is busy. The virtual machine is currently running. Please try again later."}},
		"a paused one":           {"paused", "y\n", nil, false, outcome{255, "Removing", "currently running"}},
		"a suspended one":        {"suspended", "y\n", nil, false, outcome{255, "Removing", "it is suspended"}},
		"one that is cloned":     {"cloning", "y\n", nil, false, outcome{255, "", "is being cloned"}},
		"a password asked for":   {"stopped", "y\n", nil, true, outcome{255, "Only host administrator can remove a virtual machine", "administrator's credentials"}},
		"a password that is not": {"stopped", "admin\nguess\ny\n", nil, true, outcome{255, "Password: ", "administrator's credentials"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mac := newMac(t, standardMac())
			mustConsole(t, mac, "vm", "state", "macOS", test.state)
			if test.require {
				requirePwd(t, mac, "remove-vm:on")
			}
			checkOutcome(t, call{mac, "alice", test.answer}.run(t, "prlctl", append([]string{"delete", "macOS"}, test.args...)...), test.want)
			if !exists(mac, macBundle) || vmState(t, mac, "alice", "macOS") != test.state {
				t.Error("something was deleted")
			}
			wantEffects(t, mac)
		})
	}
	t.Run("y, behind the right password", func(t *testing.T) {
		t.Parallel()
		mac := newMac(t, standardMac())
		requirePwd(t, mac, "remove-vm:on")
		checkOutcome(t, call{mac, "alice", "admin\n" + adminPassword + "\ny\n"}.run(t, "prlctl", "delete", "macOS"), outcome{0, "successfully removed.", ""})
		if exists(mac, macBundle) || vmState(t, mac, "alice", "macOS") != "gone" {
			t.Error("it is still there")
		}
		wantEffects(t, mac, "prlctl delete macOS")
	})
}

// A shared VM is deleted once, whoever of its users does it.
func TestSharedVMIsDeletedOnce(t *testing.T) {
	t.Parallel()
	mac := newMac(t, standardMac())
	checkOutcome(t, deletes(mac, "bob").run(t, "prlctl", "delete", "Team Linux"), outcome{0, "successfully removed.", ""})
	checkOutcome(t, deletes(mac, "alice").run(t, "prlctl", "delete", "Team Linux"), outcome{255, "", "could not be found"})
	wantEffects(t, mac, "prlctl delete Team Linux")
}

// The exit codes of actions lie both ways.
func TestActionsLie(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fault, action, vm string
		want              outcome
		effects           []string
	}{
		"delete, 255 and done":      {"action_fails_but_done=delete", "delete", "macOS", outcome{255, "Removing", "Failed to remove the VM: Operation canceled."}, []string{"prlctl delete macOS"}},
		"delete, 0 and not done":    {"action_ok_but_not_done=any", "delete", "macOS", outcome{0, "successfully removed.", ""}, nil},
		"restart, 255 and done":     {"action_fails_but_done=stop,restart", "restart", "Windows 11", outcome{255, "Restarting", "Failed to restart the VM: Operation canceled."}, []string{"prlctl restart Windows 11"}},
		"suspend, 0 and not done":   {"action_ok_but_not_done=suspend", "suspend", "Windows 11", outcome{0, "successfully suspended.", ""}, nil},
		"stop, another is hit":      {"action_ok_but_not_done=suspend", "stop", "Windows 11", outcome{0, "successfully stopped.", ""}, []string{"prlctl stop Windows 11"}},
		"busy":                      {"vm_busy=0", "delete", "macOS", outcome{255, "", "Failed to remove the VM: Unable to perform the action because the virtual machine is busy. Please try again later."}, nil},
		"a guest that stays":        {"guest_ignores_stop", "stop", "Windows 11", outcome{255, "", "Failed to stop the VM: Operation canceled."}, nil},
		"a guest that stays, again": {"guest_ignores_restart", "restart", "Windows 11", outcome{255, "", "Failed to restart the VM: Operation canceled."}, nil},
		"a guest not suspended":     {"suspend_guest", "suspend", "Windows 11", outcome{255, "", "guest operating system does not allow"}, nil},
		"a disk without room":       {"suspend_disk", "suspend", "Windows 11", outcome{255, "", "not enough free disk space"}, nil},
		"a snapshot":                {"suspend_snapshot", "suspend", "Windows 11", outcome{255, "", "A snapshot of the virtual machine is being created."}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mac := newMac(t, standardMac())
			mustConsole(t, mac, "fault", "set", test.fault, "--user", "alice")
			checkOutcome(t, deletes(mac, "alice").run(t, "prlctl", test.action, idOf(t, mac, "alice", test.vm)), test.want)
			wantEffects(t, mac, test.effects...)
		})
	}
	for _, wrong := range []string{"action_hangs=encrypt", "action_hangs=", "on_delete=nonsense", "vm_busy=no"} {
		if got := console(t, newMac(t, standardMac()), "fault", "set", wrong); got.code != 2 {
			t.Errorf("%s: %+v", wrong, got)
		}
	}
}

// A guest that ignores a stop can be killed, and a busy VM is so for as many times as
// the fault says.
func TestFaultsOfActionsEnd(t *testing.T) {
	t.Parallel()
	mac := newMac(t, standardMac())
	mustConsole(t, mac, "fault", "set", "guest_ignores_stop", "vm_busy=1")
	alice := callAs(mac, "alice")
	checkOutcome(t, alice.run(t, "prlctl", "stop", "Windows 11", "--kill"), outcome{255, "", "is busy"})
	checkOutcome(t, alice.run(t, "prlctl", "stop", "Windows 11"), outcome{255, "", "Operation canceled."})
	checkOutcome(t, alice.run(t, "prlctl", "stop", "Windows 11", "--kill"), outcome{0, "forcibly stopped", ""})
	wantEffects(t, mac, "prlctl stop --kill Windows 11")
}

func actionAssumptionTests() map[string]assumptionTest {
	running := func(t *testing.T, mac Mac, action string, args ...string) outcome {
		t.Helper()
		return callAs(mac, "alice").run(t, "prlctl", append([]string{action, idOf(t, mac, "alice", "Windows 11")}, args...)...)
	}
	deleteIn := func(state string) func(*testing.T, Mac) outcome {
		return func(t *testing.T, mac Mac) outcome {
			mustConsole(t, mac, "vm", "state", "macOS", state)
			return deletes(mac, "alice").run(t, "prlctl", "delete", "macOS")
		}
	}
	setPassword := func(t *testing.T, mac Mac) outcome {
		return call{mac, "alice", "admin\n" + adminPassword + "\n"}.run(t, "prlctl", "set", idOf(t, mac, "alice", "Windows 11"), "--userpasswd", "stranger:secret")
	}
	tests := map[string]assumptionTest{
		"kill_text": {func(t *testing.T, mac Mac) outcome { return running(t, mac, "stop", "--kill") }, map[string]outcome{
			"forcibly": {0, "The VM has been forcibly stopped\n", ""}, "stopped": {0, "The VM has been successfully stopped.", ""}}},
		"restart_process": {func(t *testing.T, mac Mac) outcome {
			mustUpdate(t, mac, func(state *State) error { state.VMs[0].PID = 4711; return nil }) // this Mac starts none
			running(t, mac, "restart")
			return outcome{stdout: fmt.Sprint(mustLoad(t, mac).VMs[0].PID)}
		}, map[string]outcome{"same": {0, "4711", ""}, "new": {0, "0", ""}}},
		"restart_events": {func(t *testing.T, mac Mac) outcome {
			s := openTestStream(t, mac, "alice")
			running(t, mac, "restart")
			return outcome{stdout: fmt.Sprint(s.newEvents(t))}
		}, map[string]outcome{"states": {0, "[vm_state_changed resetting vm_state_changed running]", ""}, "none": {0, "[]", ""}}},
		"delete_suspended": {deleteIn("suspended"), map[string]outcome{
			"refused": {255, "Removing", "it is suspended"}, "works": {0, "successfully removed", ""}}},
		"delete_invalid": {deleteIn("invalid"), map[string]outcome{
			"refused": {255, "Removing", "it is invalid"}, "works": {0, "successfully removed", ""}}},
		"delete_parent": {func(t *testing.T, mac Mac) outcome {
			mustConsole(t, mac, "vm", "clone", "macOS", "--linked", "--name", "Clone")
			got := deletes(mac, "alice").run(t, "prlctl", "delete", "macOS")
			got.stdout += vmState(t, mac, "alice", "Clone")
			return got
		}, map[string]outcome{"works": {0, "successfully removed.\ninvalid", ""}, "refused": {255, "stopped", "has linked clones"}}},
		"missing_bundle": {func(t *testing.T, mac Mac) outcome {
			mustConsole(t, mac, "vm", "move", "macOS", "--to", "/Users/alice/Desktop")
			vm, err := findVM(mustLoad(t, mac).VMs, "macOS")
			return outcome{stdout: fmt.Sprint(vm.State, " ", vm.Bundle, " ", err)}
		}, map[string]outcome{"invalid": {0, "invalid " + macBundle, ""}, "stays": {0, "stopped " + macBundle, ""},
			"followed": {0, "stopped /Users/alice/Desktop/macOS.macvm", ""}}},
		"deactivate_offline": {func(t *testing.T, mac Mac) outcome {
			mustConsole(t, mac, "network", "down")
			return callAs(mac, rootUser).run(t, "prlsrvctl", "deactivate-license")
		}, map[string]outcome{"refused": {255, "", "Unable to connect to the license server"}, "works": {0, "successfully deactivated.", ""}}},
		"profile_activation": {func(t *testing.T, mac Mac) outcome {
			return outcome{stdout: relaunchedWithProfile(t, mac)}
		}, map[string]outcome{"at_launch": {0, "ACTIVE LIC_KEY", ""}, "never": {0, "none", ""}}},
		"userpasswd_prompt": {setPassword, map[string]outcome{
			"asked": {0, "Only host administrator can change user password in the guest OS.", ""}, "not_asked": {0, "The VM has been successfully configured.\n", ""}}},
		"userpasswd_unknown": {func(t *testing.T, mac Mac) outcome {
			got := setPassword(t, mac)
			got.stdout += strings.Join(effectsOf(t, mac), ",")
			return got
		}, map[string]outcome{"created": {0, "prlctl userpasswd Windows 11", ""}, "refused": {255, "Password: ", "does not exist in the guest"}}},
	}
	return maps.Clone(tests)
}

// relaunchedWithProfile deactivates the license of a Mac with a licensing profile, and
// tells what there is after the application was launched.
func relaunchedWithProfile(t *testing.T, mac Mac) string {
	t.Helper()
	mustConsole(t, mac, "prefs", "force", "LicenseKey", "ABCDEF-123456-GHJKLM-789ABC-NPQRST", "--all", "--domain", licensingDomain)
	checkOutcome(t, callAs(mac, rootUser).run(t, "prlsrvctl", "deactivate-license"), outcome{0, "The license has been successfully deactivated.", ""})
	mustConsole(t, mac, "app", "launch")
	mustConsole(t, mac, "app", "quit")
	product := mustLoad(t, mac).Product
	if !product.isInstalled() {
		return noLicense
	}
	return product.LicenseStatus + " " + product.Activation
}

func TestUserpasswdNeedsARunningGuestWithTools(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		prepare []string
		value   string
		stderr  string
	}{
		"stopped":      {[]string{"vm", "stop", "Windows 11", "--user", "alice"}, "user:pw", "it is stopped"},
		"no Tools":     {[]string{"vm", "set", "Windows 11", "tools=none", "--user", "alice"}, "user:pw", "Parallels Tools"},
		"no password":  {[]string{"vm", "list"}, "user", "An incorrect value for --userpasswd is specified."},
		"no user name": {[]string{"vm", "list"}, ":pw", "An incorrect value for --userpasswd is specified."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mac := macAssuming(t, "userpasswd_prompt=not_asked")
			mustConsole(t, mac, test.prepare...)
			got := callAs(mac, "alice").run(t, "prlctl", "set", idOf(t, mac, "alice", "Windows 11"), "--userpasswd", test.value)
			if got.code != exitRefused || !strings.Contains(got.stderr, test.stderr) || strings.Contains(got.stdout+got.stderr, "pw\n") {
				t.Errorf("%+v", got)
			}
		})
	}
	mac := macAssuming(t, "userpasswd_prompt=not_asked")
	checkOutcome(t, callAs(mac, "alice").run(t, "prlctl", "set", idOf(t, mac, "alice", "Windows 11"), "--userpasswd", "user:a-secret"), outcome{0, "successfully configured", ""})
	effects, err := mac.effects()
	if err != nil || len(effects) != 1 || effects[0].Detail != "changed user" {
		t.Errorf("effects %+v, %v", effects, err)
	}
	for _, file := range []string{"state.json", effectsFile, "events"} {
		content, err := os.ReadFile(mac.markerPath(file))
		if err != nil || strings.Contains(string(content), "a-secret") {
			t.Errorf("%s has the password, or %v", file, err)
		}
	}
}
