package sim

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// settingAssumptionTests show how settings are spelled and set, each way.
func settingAssumptionTests() map[string]assumptionTest {
	// setting runs a set by alice on her Windows VM, which runs.
	setting := func(arguments ...string) func(*testing.T, Mac) outcome {
		return func(t *testing.T, mac Mac) outcome {
			return callAs(mac, "alice").run(t, "prlctl", append([]string{"set", "Windows 11"}, arguments...)...)
		}
	}
	// shown is what the places show after a person has changed settings.
	shown := func(changes []string, places ...string) func(*testing.T, Mac) outcome {
		return func(t *testing.T, mac Mac) outcome {
			changeVM(t, mac, "Windows 11", changes...)
			return shownAt(t, mac, places...)
		}
	}
	// setThenShown is what they show after a set.
	setThenShown := func(flag string, places ...string) func(*testing.T, Mac) outcome {
		return func(t *testing.T, mac Mac) outcome {
			checkOutcome(t, setting(flag)(t, mac), outcome{0, "successfully configured", ""})
			return shownAt(t, mac, places...)
		}
	}
	done := outcome{0, "successfully configured", ""}
	return map[string]assumptionTest{
		"host_only_word": {setThenAdapter("--type", "host-only"), map[string]outcome{"host": {0, "type=host mac", ""}, "host-only": {0, "type=host-only mac", ""}}},
		"default_iface": {setThenAdapter("--type", "bridged", "--iface", "default"), map[string]outcome{
			"absent": {0, "type=bridged mac", ""}, "default": {0, "type=bridged iface=default mac", ""}}},
		"connected_state": {setThenAdapter("--connect"), map[string]outcome{"absent": {0, "dhcp=yes\n", ""}, "connected": {0, "dhcp=yes state=connected\n", ""}}},
		"clipboard_key": {func(t *testing.T, mac Mac) outcome {
			older := strings.Contains(onVersion("19", "prlctl", "list", "Windows 11", "-i", "-j")(t, mac).stdout, `"Shared clipboard": "on"`)
			newer := strings.Contains(onVersion("20", "prlctl", "list", "Windows 11", "-i", "-j")(t, mac).stdout, `"Shared clipboard mode": "on"`)
			return outcome{stdout: fmt.Sprint("old in 19: ", older, ", new in 20: ", newer)}
		}, map[string]outcome{"by_version": {0, "old in 19: true, new in 20: true", ""}, "mode": {0, "old in 19: false, new in 20: true", ""},
			"plain": {0, "old in 19: true, new in 20: false", ""}}},
		"shared_apps_enabled": {shown([]string{"sh-app-host-to-guest=off", "sh-app-guest-to-host=off"}, "Shared Applications/enabled"), map[string]outcome{
			"stays": {0, "true", ""}, "follows": {0, "false", ""}}},
		"enabled_word": {shown([]string{"smart-mount=on"}, "SmartMount/enabled", "Smart Guard/enabled"), map[string]outcome{
			"boolean": {0, "true, false", ""}, "on_off": {0, "on, off", ""}, "yes_no": {0, "yes, no", ""}}},
		"switch_words": {shown([]string{"pause-idle=on"}, "Startup and Shutdown/Pause idle", "Advanced/Show developer tools", "Startup and Shutdown/Undo disks"), map[string]outcome{
			"on_off": {0, "on, off, off", ""}, "On_Off": {0, "On, Off, off", ""}, "yes_no": {0, "yes, no, off", ""}}},
		"yes_no_words": {shown(nil, "Security/TPM enabled", "Security/Encrypted"), map[string]outcome{"yes_no": {0, "yes, no", ""}, "on_off": {0, "on, off", ""}}},
		"defined_sharing_words": {func(t *testing.T, mac Mac) outcome {
			var words []string
			for _, value := range []string{"off", "home", "alldisks"} {
				words = append(words, setThenShown("--shf-host-defined="+value, "Host defined sharing")(t, mac).stdout)
			}
			return outcome{stdout: strings.Join(words, ", ")}
		}, map[string]outcome{"text": {0, "Off, User home directory, All disks", ""}, "flag": {0, "off, home, alldisks", ""}}},
		"config_written": {writtenWhen, map[string]outcome{"at_once": {0, "list on, file 1, then 1", ""}, "later": {0, "list on, file 0, then 1", ""}}},

		"locked_set": {func(t *testing.T, mac Mac) outcome {
			changeVM(t, mac, "Windows 11", "Security/Configuration is locked=on")
			return setting("--pause-idle", "on")(t, mac)
		}, map[string]outcome{"refused": {255, "", needsPassword}, "prompt": {255, configPrompt, needsPassword}, "accepted": done}},
		"lock_release": {func(t *testing.T, mac Mac) outcome {
			changeVM(t, mac, "Windows 11", "lock-edit-settings=on")
			return setting("--lock-edit-settings=off")(t, mac)
		}, map[string]outcome{"prompt": {255, configPrompt, needsPassword}, "refused": {255, "", needsPassword}, "accepted": done}},
		"lock_placing": {setting("--lock-edit-settings", "on"), map[string]outcome{"accepted": done, "prompt": {255, configPrompt, needsPassword}}},
		"prompt_unanswered": {func(t *testing.T, mac Mac) outcome {
			changeVM(t, mac, "Windows 11", "lock-edit-settings=on")
			return setting("--lock-edit-settings=off")(t, mac)
		}, map[string]outcome{"error": {255, configPrompt, needsPassword}, "silent": {255, configPrompt, ""}}},
		"guest_refusal": {func(t *testing.T, mac Mac) outcome {
			return callAs(mac, "alice").run(t, "prlctl", "set", "macOS", "--pause-idle", "on")
		}, map[string]outcome{
			"not_supported": {255, "", "Unable to commit VM configuration: Pause idle is not supported by the guest operating system.\nFailed to configure the virtual machine.\n"},
			"unrecognized":  {255, "", "Unrecognized option: --pause-idle"}, "accepted": {0, "successfully configured", ""}}},
		"lock_on_suspend_guests": {func(t *testing.T, mac Mac) outcome {
			checkOutcome(t, setting("--lock-on-suspend=on")(t, mac), done)
			return callAs(mac, "alice").run(t, "prlctl", "set", "macOS", "--lock-on-suspend=on")
		}, map[string]outcome{"all": done, "windows": {255, "", "LockGuestOnSuspend is not supported by the guest operating system."}}},
		"suspended_set": {func(t *testing.T, mac Mac) outcome {
			return callAs(mac, "alice").run(t, "prlctl", "set", "Ubuntu 22.04", "--share-host-location", "off")
		}, map[string]outcome{"refused": {255, "", notInState + "suspended"}, "accepted": done}},
		"optimization_live": {setting("--auto-compress", "on"), map[string]outcome{"stopped": {255, "", notInState + "running"}, "live": done}},
		"start_host":        {setting("--autostart", "start-host"), map[string]outcome{"accepted": done, "prompt": {255, configPrompt, needsPassword}}},
		"headless_view": {func(t *testing.T, mac Mac) outcome {
			first := setting("--startup-view=headless")(t, mac)
			checkOutcome(t, callAs(mac, rootUser).run(t, "prlsrvctl", "set", "--headless-mode-feature", "on"), done)
			checkOutcome(t, setting("--startup-view=headless")(t, mac), done)
			return first
		}, map[string]outcome{"accepted": done, "needs_feature": {255, "", "headless mode is not enabled"}}},
		"autoupdate_words": {func(t *testing.T, mac Mac) outcome {
			var taken []string
			for _, word := range []string{"yes", "no", "on", "off"} {
				if setting("--tools-autoupdate="+word)(t, mac).code == 0 {
					taken = append(taken, word)
				}
			}
			return outcome{stdout: strings.Join(taken, " ")}
		}, map[string]outcome{"both": {0, "yes no on off", ""}, "yes_no": {0, "yes no", ""}, "on_off": {0, "on off", ""}}},
		"network_cond_flag": {setting("--network-cond=off"), map[string]outcome{"present": done, "absent": {255, "", "Unrecognized option: --network-cond=off"}}},
		"device_options": {setting("--device-disconnect", "net0", "--device-set", "net0", "--type", "shared"), map[string]outcome{
			"one": {255, "", "Only one option can be specified at a time"}, "several": done}},

		"isolate_resets": {func(t *testing.T, mac Mac) outcome {
			changeVM(t, mac, "Windows 11", "auto-share-gamepad=off")
			return setThenShown("--isolate-vm=on", "USB and Bluetooth/Automatic sharing gamepads", "Miscellaneous Sharing/Shared clipboard mode")(t, mac)
		}, map[string]outcome{"gamepads": {0, "on, on", ""}, "nothing": {0, "off, on", ""}, "sharing": {0, "off, off", ""}}},
		"shf_defined_off": {setThenShown("--shf-host-defined=off", "Host defined sharing", "Host Shared Folders/enabled"), map[string]outcome{
			"alone": {0, "Off, true", ""}, "all_sharing": {0, "Off, false", ""}}},
		"set_lines": {setting("--pause-idle", "on", "--smart-mount=on"), map[string]outcome{
			"each": {0, "Set pause idle: on.\nSet smart mount: on.\nThe VM has been successfully configured.\n", ""},
			"last": {0, "The VM has been successfully configured.\n", ""}}},
		"require_pwd_race": {twoPasswordWriters, map[string]outcome{"loses": {0, "[clone-vm]", ""}, "atomic": {0, "[clone-vm create-vm]", ""}}},
		"host_lock": {func(t *testing.T, mac Mac) outcome {
			return callAs(mac, rootUser).run(t, "prlsrvctl", "set", "--lock-edit-settings", "on", "--host-admin", "localadmin")
		}, map[string]outcome{"prompt": {255, "Password: ", "administrator's credentials."}, "accepted": done}},
	}
}

// shownAt are the values of alice's Windows VM at some paths of the list.
func shownAt(t *testing.T, mac Mac, places ...string) outcome {
	t.Helper()
	view := viewOf(t, mac, idOf(t, mac, "alice", "Windows 11"))
	var values []string
	for _, place := range places {
		values = append(values, view["list: "+place])
	}
	return outcome{stdout: strings.Join(values, ", ")}
}

// setThenAdapter is how the text of the list shows an adapter after a set.
func setThenAdapter(options ...string) func(*testing.T, Mac) outcome {
	return func(t *testing.T, mac Mac) outcome {
		t.Helper()
		got := callAs(mac, "alice").run(t, "prlctl", append([]string{"set", "Windows 11", "--device-set", "net0"}, options...)...)
		checkOutcome(t, got, outcome{0, "Configured net0 (+) type=", ""})
		return outcome{stdout: show(callAs(mac, "alice").run(t, "prlctl", "list", "Windows 11", "-i").stdout, "net0") + "\n"}
	}
}

// writtenWhen shows what the list and the file have after a set, and what the
// file has when its time has come and the tool is run again.
func writtenWhen(t *testing.T, mac Mac) outcome {
	t.Helper()
	id := idOf(t, mac, "alice", "Windows 11")
	got := callAs(mac, "alice").run(t, "prlctl", "set", id, "--show-dev-tools=on")
	checkOutcome(t, got, outcome{0, "successfully configured", ""})
	moveConfigDue(t, mac, time.Hour)
	callAs(mac, "alice").run(t, "prlctl", "list", id, "-i", "--json") // reading does not write it
	const inFile = "pvs: Settings/Tools/DevelopOptions/ShowInMenu"
	first := viewOf(t, mac, id)
	moveConfigDue(t, mac, 0)
	callAs(mac, "alice").run(t, "prlctl", "list", id, "-i", "--json")
	return outcome{stdout: fmt.Sprintf("list %s, file %s, then %s", first["list: Advanced/Show developer tools"], first[inFile], viewOf(t, mac, id)[inFile])}
}

// moveConfigDue has every config.pvs that is to be written written this much later
// from now.
func moveConfigDue(t *testing.T, mac Mac, wait time.Duration) {
	t.Helper()
	mustUpdate(t, mac, func(state *State) error {
		for _, vm := range state.VMs {
			if !vm.ConfigDueAt.IsZero() {
				vm.ConfigDueAt = time.Now().Add(wait)
			}
		}
		return nil
	})
}

// The service writes a configuration when its time has come, and not before; a
// change of the VM's state in between does not.
func TestServiceWritesConfigLater(t *testing.T) {
	t.Parallel()
	mac := macAssuming(t, "config_written=later")
	service := dispatcherProcess{mac}
	inFile := func() string {
		return viewOf(t, mac, idOf(t, mac, "alice", "macOS"))["pvs: Settings/Tools/LockGuestOnSuspend"]
	}
	if wakeAt := service.changed(mustLoad(t, mac)); !wakeAt.IsZero() {
		t.Errorf("nothing has changed, and the service wakes at %v", wakeAt)
	}
	changeVM(t, mac, "macOS", "lock-on-suspend=on")
	if due := service.changed(mustLoad(t, mac)); due.IsZero() || time.Until(due) > configDelay {
		t.Errorf("the service wakes at %v", due)
	}
	moveConfigDue(t, mac, time.Hour)
	setState(t, mac, "suspended")
	if err := service.wake(); err != nil || inFile() != "0" {
		t.Errorf("too early: %v, %s in the file", err, inFile())
	}
	moveConfigDue(t, mac, 0)
	if err := service.wake(); err != nil || inFile() != "1" {
		t.Errorf("in time: %v, %s in the file", err, inFile())
	}
	if wakeAt := service.changed(mustLoad(t, mac)); !wakeAt.IsZero() {
		t.Errorf("all is written, and the service wakes at %v", wakeAt)
	}
}
