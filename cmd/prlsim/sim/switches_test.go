package sim

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// macAssuming makes the standard Mac with one assumption.
func macAssuming(t *testing.T, setting string) Mac {
	t.Helper()
	wanted := standardMac()
	wanted.Assume, wanted.LoggedOut = []string{setting}, []string{"bob"}
	return newMac(t, wanted)
}

// assumptionTest shows one behavior.
type assumptionTest struct {
	run  func(*testing.T, Mac) outcome
	want map[string]outcome // by value; texts are parts, "" means empty
}

// Each unsure behavior is shown both ways.
func TestAssumptionsBothWays(t *testing.T) {
	t.Parallel()
	list := func(caller string, args ...string) func(*testing.T, Mac) outcome {
		return func(t *testing.T, mac Mac) outcome { return callAs(mac, caller).run(t, "prlctl", args...) }
	}
	license := func(prepare func(*product)) func(*testing.T, Mac) outcome {
		return func(t *testing.T, mac Mac) outcome {
			mustUpdate(t, mac, func(state *State) error { prepare(&state.Product); return nil })
			return callAs(mac, "alice").run(t, "prlsrvctl", "info", "--license", "--json")
		}
	}
	nothing := func(*product) {}
	tests := map[string]assumptionTest{
		"bulk_home": {list("alice", "list", "-a", "-i", "--json"), map[string]outcome{
			"empty": {0, `"Home": ""`, ""}, "filled": {0, `"Home": "\/Users\/alice\/Parallels\/Windows 11.pvm\/"`, ""}}},
		"bulk_details": {func(t *testing.T, mac Mac) outcome {
			got := callAs(mac, "alice").run(t, "prlctl", "list", "-a", "-i", "--json")
			one := callAs(mac, "alice").run(t, "prlctl", "list", "macOS", "-i", "--json").stdout
			got.stdout = fmt.Sprint(strings.Contains(got.stdout, `"GuestTools"`), strings.Contains(one, `"GuestTools"`))
			return got
		}, map[string]outcome{"full": {0, "true true", ""}, "sparse": {0, "false true", ""}}},
		"plain_sudo": {list("alice", "status", "Windows 11"), map[string]outcome{
			"true_states": {0, `VM "Windows 11" exist running`, ""}, "stopped": {0, `VM "Windows 11" exist stopped`, ""}}},
		"options_before_id": {list("alice", "list", "-i", "macOS"), map[string]outcome{
			"refused": {255, "", "could not be found"}, "accepted": {0, "Name: macOS", ""}}},
		"not_found_exit": {list("alice", "list", "nothing"), map[string]outcome{
			"255": {255, "", "could not be found"}, "1": {1, "", "could not be found"}}},
		"uuid_case": {list("bob", "list", "-a", "-o", "uuid", "-j"), map[string]outcome{
			"lower": {0, "090536c5-993f-41d3-b24f-d2401de1e6eb", ""}, "upper": {0, "090536C5-993F-41D3-B24F-D2401DE1E6EB", ""}}},
		"empty_list": {list(rootUser, "list", "-a", "-i", "-j"), map[string]outcome{
			"brackets": {0, "[]", ""}, "nothing": {0, "", ""}}},
		"macvm_keys": {list("alice", "list", "macOS", "-i", "-j"), map[string]outcome{
			"full": {0, `"Travel mode"`, ""}, "reduced": {0, `"Security"`, ""}}},
		"macvm_home": {list("alice", "list", "macOS", "-i", "-j"), map[string]outcome{
			"config": {0, `macOS.macvm\/config.pvs"`, ""}, "bundle": {0, `"Home path": "\/Users\/alice\/Parallels\/macOS.macvm"`, ""}}},
		"outdated_when_stopped": {list("bob", "list", "Windows 11", "-i", "-j"), map[string]outcome{
			"outdated": {0, `"state": "outdated"`, ""}, "possibly_installed": {0, `"state": "possibly_installed"`, ""}}},
		"list_touches_config": {configAge, map[string]outcome{
			"no": {0, "old", ""}, "yes": {0, "new", ""}}},
		"delete_prompt": {list("alice", "delete", "macOS"), map[string]outcome{
			"always": {255, "Are you sure", "Operation canceled."}, "terminal_only": {0, "successfully removed", ""}}},
		"user_without_session": {list("bob", "list", "-a"), map[string]outcome{
			"works": {0, "Windows 11", ""}, "service_down": {253, "", "Login failed: Unable to connect to Parallels Service."}}},
		"print_disabled": {func(t *testing.T, mac Mac) outcome {
			mustUpdate(t, mac, func(state *State) error {
				state.setJob("org.example.agent", launchdJob{Disabled: true})
				return nil
			})
			return callAs(mac, "alice").run(t, "launchctl", "print-disabled", "system")
		}, map[string]outcome{
			"words": {0, "\"org.example.agent\" => disabled", ""}, "booleans": {0, "\"org.example.agent\" => true", ""}}},
		"asuser_without_session": {func(t *testing.T, mac Mac) outcome {
			return callAs(mac, rootUser).run(t, "launchctl", "asuser", "502", "/no/such/program")
		}, map[string]outcome{
			"fails": {1, "", "Could not switch to audit session"}, "works": {1, "", "could not execute /no/such/program"}}},
		"standard_edition": {func(t *testing.T, mac Mac) outcome {
			mustUpdate(t, mac, func(state *State) error { return state.setFault("standard_edition", "") })
			return callAs(mac, "bob").run(t, "prlctl", "list", "-a", "--json")
		}, map[string]outcome{
			"prefix": {0, editionGate + "[\n\t{", ""}, "refused": {255, editionGate, ""}}},
		"activation_type": {license(func(p *product) { p.Synced = false }), map[string]outcome{
			"at_once": {0, `"activation_type": "SSO"`, ""}, "after_update": {0, `"activation_type": ""`, ""}}},
		"license_dates": {license(nothing), map[string]outcome{
			"datetime": {0, `"expiration": "2027-11-20 00:00:00"`, ""}, "date": {0, `"expiration": "2027-11-20"`, ""}}},
		"activation_type_key": {onVersion("19", "prlsrvctl", "info", "--license", "--json"), map[string]outcome{
			"always": {0, `"activation_type": "SSO"`, ""}, "since_20": {0, `"edition": "enterprise"`, ""}}},
		"server_keys": {onVersion("18", "prlsrvctl", "info", "--json"), map[string]outcome{
			"all": {0, `"Preferences are locked"`, ""}, "since_20": {0, `"Custom password protection"`, ""}}},
		"help_without_service": {func(t *testing.T, mac Mac) outcome {
			mustUpdate(t, mac, func(state *State) error { return state.setFault("service_down", "") })
			return callAs(mac, "alice").run(t, "prlctl", "set", "security", "--help")
		}, map[string]outcome{
			"fails": {253, "", "Login failed: Unable to connect to Parallels Service."}, "works": {0, "--isolate-vm <on|off>", ""}}},
		"help_output": {list("alice", "set", "security", "--help"), map[string]outcome{
			"stdout": {0, "--isolate-vm <on|off>", ""}, "stderr_255": {255, "", "--isolate-vm <on|off>"}}},
		"unknown_category": {list("alice", "set", "coffee", "--help"), map[string]outcome{
			"not_found": {255, "", "could not be found"}, "unrecognized": {255, "", "Unrecognized option: coffee"}}},
		"inferred_flags": {list("alice", "set", "macOS", "--lock-on-suspend=on"), map[string]outcome{
			"present": {0, "successfully configured", ""}, "absent": {255, "", "Unrecognized option: --lock-on-suspend=on"}}},
		"monitor_events_since": {func(t *testing.T, mac Mac) outcome {
			var has []string
			for _, version := range []string{"18", "19", "20", "26", "27"} {
				if strings.Contains(onVersion(version, "prlctl", "--help")(t, mac).stdout, "\n  monitor-events ") {
					has = append(has, version)
				}
			}
			return outcome{stdout: strings.Join(has, " ")}
		}, map[string]outcome{"18": {0, "18 19 20 26 27", ""}, "20": {0, "20 26 27", ""}, "26": {0, "26 27", ""}}},
		"monitor_end": {func(t *testing.T, mac Mac) outcome {
			s := openTestStream(t, mac, "alice")
			mustUpdate(t, mac, func(state *State) error { state.Service.Running = false; return nil })
			var end streamEnd
			if err := s.stream.poll(); !errors.As(err, &end) {
				return outcome{stdout: fmt.Sprint("stays: ", err)}
			}
			return outcome{end.code, "ends", end.text}
		}, map[string]outcome{"255": {255, "ends", "has been lost."}, "0": {0, "ends", ""}, "silent": {0, "stays: <nil>", ""}}},
		"list_echo": {func(t *testing.T, mac Mac) outcome {
			s := openTestStream(t, mac, "alice")
			callAs(mac, "alice").run(t, "prlctl", "list", "-a", "--json")
			bulk := len(s.newEvents(t))
			callAs(mac, "alice").run(t, "prlctl", "list", "macOS", "-i", "--json")
			return outcome{stdout: fmt.Sprint(bulk, " then ", len(s.newEvents(t)))}
		}, map[string]outcome{"every": {0, "4 then 1", ""}, "single": {0, "0 then 1", ""}, "none": {0, "0 then 0", ""}}},
		"delete_events": {func(t *testing.T, mac Mac) outcome {
			s := openTestStream(t, mac, "alice")
			call{mac, "alice", "y\n"}.run(t, "prlctl", "delete", "macOS")
			return outcome{stdout: fmt.Sprint(s.newEvents(t))}
		}, map[string]outcome{"deleted": {0, "[vm_deleted]", ""}, "unregistered": {0, "[vm_unregistered]", ""},
			"both": {0, "[vm_unregistered vm_deleted]", ""}}},
		"license_plugin": {func(t *testing.T, mac Mac) outcome {
			mustUpdate(t, mac, func(state *State) error {
				vm, err := findVM(state.VMs, "macOS")
				if err != nil {
					return err
				}
				return mac.configureVM(state, vm, "encrypted=license", false)
			})
			content, err := os.ReadFile(mac.Path("/Users/alice/Parallels/macOS.macvm/config.pvs"))
			return outcome{stdout: string(content), stderr: fmt.Sprint(err)}
		}, map[string]outcome{
			"own": {0, "&lt;simulated-license-plugin&gt;", "<nil>"}, "default": {0, "&lt;parallels-default-plugin&gt;", "<nil>"}}},
		"product_name": {func(t *testing.T, mac Mac) outcome {
			got := callAs(mac, rootUser).run(t, "ioreg", "-a", "-r", "-d1", "-c", "IOPlatformExpertDevice")
			got.stdout = map[bool]string{true: "has it", false: "lacks it"}[strings.Contains(got.stdout, "product-name")]
			return got
		}, map[string]outcome{"present": {0, "has it", ""}, "absent": {0, "lacks it", ""}}},
	}
	maps.Copy(tests, captureAssumptions())
	maps.Copy(tests, settingAssumptionTests())
	maps.Copy(tests, preferenceAssumptionTests())
	maps.Copy(tests, passwordAssumptionTests())
	maps.Copy(tests, actionAssumptionTests())
	maps.Copy(tests, launchctlAssumptionTests())
	maps.Copy(tests, installerAssumptionTests())
	for _, assumption := range assumptions {
		for _, value := range assumption.Values {
			setting := assumption.Name + "=" + value
			t.Run(setting, func(t *testing.T) {
				t.Parallel()
				test, listed := tests[assumption.Name]
				want, covered := test.want[value]
				if !listed || !covered {
					t.Fatal("has no test")
				}
				checkOutcome(t, test.run(t, macAssuming(t, setting)), want)
			})
		}
	}
}

// onVersion runs a tool as alice on another version of the product.
func onVersion(version, tool string, args ...string) func(*testing.T, Mac) outcome {
	return func(t *testing.T, mac Mac) outcome {
		t.Helper()
		mustUpdate(t, mac, func(state *State) (err error) {
			state.Product.Version, err = wholeVersion(version)
			return err
		})
		return callAs(mac, "alice").run(t, tool, args...)
	}
}

func checkOutcome(t *testing.T, got, want outcome) {
	t.Helper()
	contains := func(text, part string) bool { return strings.Contains(text, part) && (part != "" || text == "") }
	if got.code != want.code || !contains(got.stdout, want.stdout) || !contains(got.stderr, want.stderr) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// configAge shows whether listing renewed a config.pvs that was old.
func configAge(t *testing.T, mac Mac) outcome {
	t.Helper()
	config := mac.Path("/Users/bob/Parallels/Windows 11.pvm/config.pvs")
	old := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	if err := os.Chtimes(config, old, old); err != nil {
		t.Fatal(err)
	}
	got := callAs(mac, "bob").run(t, "prlctl", "list", "-a", "-i", "--json")
	info, err := os.Stat(config)
	if err != nil {
		t.Fatal(err)
	}
	got.stdout = map[bool]string{true: "old", false: "new"}[info.ModTime().Equal(old)]
	return got
}

func TestReducedMacvmLacksKeys(t *testing.T) {
	t.Parallel()
	got := callAs(macAssuming(t, "macvm_keys=reduced"), "alice").run(t, "prlctl", "list", "macOS", "-i", "--json").stdout
	for _, key := range macvmAbsent {
		if strings.Contains(got, `"`+key+`":`) {
			t.Errorf("%s is still there", key)
		}
	}
}

func TestWrongAssumptionsAndFaults(t *testing.T) {
	t.Parallel()
	state := &State{Users: []macUser{{Name: "alice", UID: 501}}}
	for _, setting := range []string{"nonsense=1", "bulk_home=maybe", "bulk_home", ""} {
		if err := state.setAssumption(setting); err == nil {
			t.Errorf("assumption %q is accepted", setting)
		}
	}
	for _, setting := range []string{"nonsense", "hang", "hang=soon", "hang=-1", "service_down=1"} {
		if err := state.setFault(setting, ""); err == nil {
			t.Errorf("fault %q is accepted", setting)
		}
	}
	if err := state.setFault("crash", "carol"); err == nil {
		t.Error("a fault for an unknown user is accepted")
	}
}

// Each fault shows what it promises, for the user named and for nobody else.
func TestFaults(t *testing.T) {
	t.Parallel()
	bulk := []string{"prlctl", "list", "-a", "-i", "--json"}
	asUser := []string{"launchctl", "asuser", "501", "/no/such/program"}
	tests := map[string]struct {
		setting string
		caller  string
		run     []string
		want    outcome
	}{
		"service_down":        {"service_down", "alice", bulk, outcome{253, "", "Login failed: Unable to connect to Parallels Service."}},
		"slow":                {"slow=1", "alice", bulk, outcome{0, "Windows 11", ""}},
		"garbage":             {"garbage", "alice", bulk, outcome{0, "\x01b\x0b\r\n\t", ""}},
		"duplicate_key":       {"duplicate_key", "alice", bulk, outcome{0, `"Name": "duplicate"`, ""}},
		"standard_edition":    {"standard_edition", "alice", []string{"prlsrvctl", "info", "--license", "-j"}, outcome{0, `"edition": "standard"`, ""}},
		"old_version":         {"old_version", "alice", bulk, outcome{255, "", "Unrecognized option: --json"}},
		"crash":               {"crash", "alice", bulk, outcome{1, `"ID": "`, "terminated"}},
		"list_fails_for_user": {"list_fails_for_user", "alice", bulk, outcome{255, "", "Operation canceled."}},
		"no_session":          {"no_session", rootUser, asUser, outcome{1, "", "Could not switch to audit session"}},
		"progress":            {"progress", "alice", bulk, outcome{0, "100%[\n\t{", ""}},
		"info_line":           {"info_line", "alice", bulk, outcome{0, "INFO\n[\n\t{", ""}},
		"credentials":         {"credentials", "alice", []string{"prlctl", "set", "macOS", "--share-host-location", "on"}, outcome{255, "", "you must enter the host OS administrator's credentials."}},
		"notification_fails":  {"notification_fails", "alice", []string{"osascript", "-e", `display notification "hi"`}, outcome{1, "", "-10810"}},
		"dialog_not_allowed":  {"dialog_not_allowed", "alice", []string{"Dialog", "--notification", "--title", "t", "--message", "m"}, outcome{0, "ERROR: Notifications are not allowed for this application\n", ""}},
		"defaults_fails":      {"defaults_fails", "alice", []string{"defaults", "write", productDomain, "a", "b"}, outcome{1, "", "Could not write domain " + productDomain + "; exiting"}},
		"codesign": {"codesign", rootUser, []string{"codesign", "--verify", "-R=anchor apple generic and certificate leaf[subject.OU] = \"4C6364ACXT\"",
			"/Applications/Parallels Desktop.app/Contents/MacOS/prlctl"}, outcome{3, "", "failed to satisfy"}},
	}
	for _, kind := range faultKinds {
		if slices.Contains([]string{"stubborn", "hang", "stopped", "notification_hangs", "defaults_hangs", "defaults_not_done", "defaults_rival", "require_pwd_lost", faultDone, faultNotDone, faultTeardown, faultInstaller}, kind.Name) || strings.HasPrefix(kind.Name, "monitor_") || isFaultOfActions(kind.Name) {
			continue // shown in TestHangingToolIsKilled, TestStoppedTool, TestVMS_39_SetLies, TestLostWrites, TestLostPasswordList, TestMonitorFaults, TestActionsLie, TestOnDelete, TestLaunchctlKeepsAJob and TestPKG12_InstallerDies
		}
		t.Run(kind.Name, func(t *testing.T) {
			t.Parallel()
			test, listed := tests[kind.Name]
			if !listed {
				t.Fatal("has no test")
			}
			mac := newMac(t, standardMac())
			healthy := callAs(mac, test.caller).run(t, test.run[0], test.run[1:]...)
			victim := test.caller
			if kind.Name == "no_session" {
				victim = "alice"
			}
			mustUpdate(t, mac, func(state *State) error { return state.setFault(test.setting, victim) })
			got := callAs(mac, test.caller).run(t, test.run[0], test.run[1:]...)
			checkOutcome(t, got, test.want)
			if kind.Name != "slow" && got == healthy {
				t.Error("the fault makes no difference")
			}
			if other := callAs(mac, "bob").run(t, "prlctl", "list", "-a", "--json"); other.code != 0 {
				t.Errorf("bob is hit, too: %+v", other)
			}
			mustUpdate(t, mac, func(state *State) error { state.clearFault(kind.Name, ""); return nil })
			if got := callAs(mac, test.caller).run(t, test.run[0], test.run[1:]...); got != healthy {
				t.Errorf("after the fault: %+v", got)
			}
		})
	}
}

// isFaultOfActions reports whether the fault changes the Mac where it is shown.
func isFaultOfActions(name string) bool {
	return name == faultBusy || name == faultOnDelete || strings.HasPrefix(name, "action_") || strings.HasPrefix(name, "guest_") || strings.HasPrefix(name, "suspend_")
}
