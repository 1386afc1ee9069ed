package sim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// assumption is a behavior of the real Mac that is only inferred or unknown,
// and that the simulated Mac can show either way.
type assumption struct {
	Name   string   `json:"name"`
	Values []string `json:"values"` // the first is the default
	Fact   string   `json:"fact"`   // where the doubt is written down
	Means  string   `json:"means"`
}

// assumptions lists every behavior that `mac create --assume NAME=VALUE`
// switches.
var assumptions = slices.Concat(toolAssumptions, launchctlAssumptions, installerAssumptions, settingAssumptions, preferenceAssumptions, actionAssumptions)

// toolAssumptions are those that do not concern settings.
var toolAssumptions = []assumption{
	{"bulk_home", []string{"empty", "filled"}, "facts/prlctl.md 2.1",
		"whether a list of all VMs leaves Home and Home path empty"},
	{"bulk_details", []string{"full", "sparse"}, "facts/prlctl.md 2.1",
		"whether a list of all VMs shows every section of a VM, or leaves some out"},
	{"options_before_id", []string{"refused", "accepted"}, "facts/prlctl.md 1.2",
		"whether options may stand before the VM's id"},
	{"not_found_exit", []string{"255", "1"}, "facts/prlctl.md 5",
		"exit code for a VM that is not registered"},
	{"uuid_case", []string{"lower", "upper"}, "facts/prlctl.md 2.1",
		"case of the ids in the JSON"},
	{"empty_list", []string{"brackets", "nothing"}, "facts/prlctl.md 2",
		"what a JSON list prints where there is no VM"},
	{"macvm_keys", []string{"full", "reduced"}, "facts/prlctl.md 2.7",
		"whether macOS VMs on Apple silicon show the sections of other VMs"},
	{"macvm_home", []string{"config", "bundle"}, "facts/prlctl.md 2.7",
		"whether Home path of a macOS VM ends in config.pvs or names the bundle"},
	{"outdated_when_stopped", []string{"outdated", "possibly_installed"}, "facts/prlctl.md 2.2",
		"Tools state that a stopped VM with old Tools shows"},
	{"list_touches_config", []string{"no", "yes"}, "facts/prlctl.md 2.9",
		"whether listing renews the modification time of config.pvs"},
	{"delete_prompt", []string{"always", "terminal_only"}, "facts/prlctl.md 1.2",
		"whether delete asks when its input is no terminal"},
	{"user_without_session", []string{"works", "service_down"}, "facts/prlctl.md 5",
		"whether prlctl works for a user who is not logged in"},
	{"plain_sudo", []string{"true_states", "stopped"}, "facts/prlctl.md 5.4",
		"state of a running VM for its user who is logged in, asked outside of that user's session"},
	{"asuser_without_session", []string{"fails", "works"}, "facts/macos.md 15.3",
		"launchctl asuser for a user without a GUI session"},
	{"standard_edition", []string{"prefix", "refused"}, "facts/prlctl.md 1.1",
		"whether the edition gate's text precedes the JSON or replaces it"},
	{"no_license_json", []string{"empty_object", "text", "error"}, "captures.md 4.1",
		"what info --license --json prints without a license"},
	{"no_license_exit", []string{"0", "255"}, "captures.md 4.1",
		"exit code of info --license without a license"},
	{"server_license_state", []string{"invalid", "status"}, "facts/prlctl.md 4.1",
		"state that prlsrvctl info shows of a license that is expired or invalid"},
	{"expired_list", []string{"works", "refused"}, "captures.md 4.2",
		"whether prlctl list answers when the license has expired"},
	{"encryption_prompt", []string{"actions", "list", "instead_of_list", "none"}, "captures.md 4.2",
		"whether an encrypted VM's password is asked for by actions on it, before a list of it as well or in its place, or never"},
	{"activation_type", []string{"at_once", "after_update"}, "facts/prlctl.md 4.4",
		"whether activation_type needs update-license after an activation"},
	{"license_dates", []string{"datetime", "date"}, "facts/prlctl.md 4.2",
		"format of the license's dates"},
	{"activation_type_key", []string{"always", "since_20"}, "facts/prlctl.md 4.2",
		"whether versions before 20 print activation_type at all"},
	{"server_keys", []string{"all", "since_20"}, "facts/prlctl.md 4.1",
		"whether versions before 20 print the later keys of prlsrvctl info"},
	{"help_without_service", []string{"fails", "works"}, "facts/prlctl.md 11.1",
		"whether --help is answered while the service is down"},
	{"help_output", []string{"stdout", "stderr_255"}, "facts/prlctl.md 11.1",
		"stream and exit code of --help"},
	{"help_layout", []string{"ancestor", "plain"}, "captures.md 5.3",
		"whether help begins with the version and shows list twice"},
	{"help_spacing", []string{"mixed", "tight"}, "captures.md 5.3",
		"whether versions before 26 write some choices with blanks around the bars"},
	{"unknown_category", []string{"not_found", "unrecognized"}, "facts/prlctl.md 1.5",
		"what prlctl set WORD --help answers for a word that is no category"},
	{"inferred_flags", []string{"present", "absent"}, "facts/prlctl.md 1.4 and 1.5",
		"whether there are the flags of set that are only inferred"},
	{"monitor_events_since", []string{"20", "18", "26"}, "facts/prlctl.md 3",
		"first major version that has monitor-events"},
	{"monitor_end", []string{"255", "0", "silent"}, "facts/prlctl.md 3",
		"exit code of monitor-events when the service goes away, or that it stays and tells nothing more"},
	{"list_echo", []string{"every", "single", "none"}, "facts/prlctl.md 2.1 and 3",
		"whether every list echoes a vm_config_changed for each VM it read, only that of one VM, or none"},
	{"delete_events", []string{"deleted", "unregistered", "both"}, "facts/prlctl.md 3",
		"which events a deletion makes"},
	{"process_name", []string{"at_start", "current"}, "captures.md 4.3",
		"whether the process of a VM that was renamed keeps the old name"},
	{"dir_uuid", []string{"account", "one"}, "captures.md 4.3",
		"whether the directory of VMs in a process's arguments is the account's or the Mac's"},
	{"tools_after_start", []string{"later", "at_once"}, "captures.md 2",
		"whether Tools show as possibly_installed in the first seconds after a start"},
	{"vminfo_without_tools", []string{"unknown", "empty"}, "captures.md 2",
		"what VmInfo.pvi shows of a guest that has run without Tools"},
	{"vminfo_other", []string{"empty", "text", "kernel"}, "captures.md 2",
		"what VmInfo.pvi shows of a guest that is no Windows: nothing, a text, or the kernel's version"},
	{"vminfo_device", []string{"empty", "filled"}, "captures.md 2",
		"whether the later elements of VmInfo.pvi (DeviceName, SerialNumber, …) have values"},
	{"print_management", []string{"windows", "since_20"}, "captures.md 2",
		"whether Print Management is shown for Windows guests only, or for all since version 20"},
	{"net_dhcp", []string{"windows", "all"}, "captures.md 4.5",
		"whether only Windows guests show dhcp"},
	{"vm_home_on_disk", []string{"absent", "present"}, "captures.md 4.4",
		"whether config.pvs has VmHome"},
	{"uptime_start", []string{"creation", "last_start"}, "captures.md 2",
		"whether VmUptimeStartDateTime is the creation or the last start"},
	{"null_date", []string{"1752-01-01", "1751-12-31"}, "captures.md 4.4",
		"how config.pvs writes a date that is none"},
	{"host_only_number", []string{"0", "3"}, "captures.md 2",
		"number of the host-only mode in config.pvs"},
	{"secret_key_source", []string{"own", "same"}, "captures.md 2",
		"whether SecretKeySourceType tells a VM that is encrypted by the license"},
	{"license_plugin", []string{"own", "default"}, "facts/prlctl.md 2.9",
		"whether config.pvs names another plugin where a VM is encrypted by the license"},
	{"print_disabled", []string{"words", "booleans"}, "facts/macos.md 1.2",
		"whether launchctl print-disabled writes disabled and enabled, or true and false"},
	{"product_name", []string{"present", "absent"}, "facts/macos.md 8",
		"whether the platform expert shows the marketing name"},
}

// assumes reports whether the Mac behaves as the value says.
func (s *State) assumes(name, value string) bool {
	return s.assumedValue(name) == value
}

func (s *State) assumedValue(name string) string {
	if value, ok := s.Assumptions[name]; ok {
		return value
	}
	for _, assumption := range assumptions {
		if assumption.Name == name {
			return assumption.Values[0]
		}
	}
	return ""
}

// setAssumption stores NAME=VALUE after checking both.
func (s *State) setAssumption(setting string) error {
	name, value, _ := strings.Cut(setting, "=")
	index := slices.IndexFunc(assumptions, func(a assumption) bool { return a.Name == name })
	if index < 0 {
		return fmt.Errorf("%w: unknown assumption %q (see prlsim mac assumptions)", errUsage, name)
	}
	if !slices.Contains(assumptions[index].Values, value) {
		return fmt.Errorf("%w: %s is one of %s", errUsage, name, strings.Join(assumptions[index].Values, ", "))
	}
	if s.Assumptions == nil {
		s.Assumptions = map[string]string{}
	}
	s.Assumptions[name] = value
	return nil
}

// activeFault is a failure that is switched on, for one user or for all.
type activeFault struct {
	Name  string `json:"name"`
	Value string `json:"value,omitempty"`
	User  string `json:"user,omitempty"` // empty: all
}

// faultKind describes a fault that can be switched on.
type faultKind struct {
	Name  string `json:"name"`
	Value string `json:"value"` // what the value means; empty: takes none
	Means string `json:"means"`
}

// flagsValue is the value of a fault that hits flags of prlctl set.
const flagsValue = "flags with commas between, or any"

// faultTeardown is a bootout that takes its time.
const faultTeardown = "teardown"

// timesValue is the value of a fault that ends by itself.
const timesValue = "times (0: always)"

// anyName stands for every flag or action in the value of a fault that hits some.
const anyName = "any"

// hits reports whether a fault is on for a flag or an action.
func (in *invocation) hits(fault, name string) bool {
	value, on := in.state.faultValue(fault, in.caller)
	names := strings.Split(value, ",")
	return on && (slices.Contains(names, anyName) || slices.Contains(names, name))
}

// checkNames refuses a value in which a flag or an action is not known.
func checkNames(value string, isKnown func(name string) bool, refuse func(name string) error) error {
	for name := range strings.SplitSeq(value, ",") {
		if name != anyName && !isKnown(name) {
			return refuse(name)
		}
	}
	return nil
}

// checkValue refuses a value that the fault does not take.
func (f faultKind) checkValue(value string) error {
	switch f.Value {
	case hookValue:
		return checkDeleteHook(value)
	case installerValue:
		return checkInstallerFault(value)
	case actionsValue:
		return checkNames(value, func(name string) bool { return slices.Contains(faultyActions, name) }, func(name string) error {
			return fmt.Errorf("%w: fault %s takes %s of %s, not %q", errUsage, f.Name, actionsValue, strings.Join(faultyActions, ", "), name)
		})
	case flagsValue:
		return checkNames(value, func(name string) bool { return findFlag(name) >= 0 }, func(name string) error {
			return fmt.Errorf("%w: prlctl set has no flag %q", errUsage, name)
		})
	}
	if number, err := strconv.Atoi(value); f.Value != "" && (err != nil || number < 0) {
		return fmt.Errorf("%w: fault %s takes %s, not %q", errUsage, f.Name, f.Value, value)
	}
	return nil
}

// faultKinds lists the faults of `prlsim fault set`.
var faultKinds = []faultKind{
	{"service_down", "", "prlctl and prlsrvctl: the service cannot be reached, exit 253"},
	{"hang", "seconds (0: until killed)", "prlctl and prlsrvctl block before they do anything"},
	{"stubborn", "", "prlctl and prlsrvctl ignore SIGTERM and SIGINT"},
	{"stopped", "", "every program that sudo starts for the user is stopped as by kill -STOP, which no user can do to a root program"},
	{"slow", "milliseconds", "prlctl and prlsrvctl take this much longer"},
	{"progress", "", "a progress text is glued to the JSON (captures.md 3: seen with 11.2)"},
	{"info_line", "", "a line INFO stands before the JSON (captures.md 3: text before it, seen with 8)"},
	{"credentials", "", "prlctl: what changes a VM needs the administrator's credentials (captures.md 4.2)"},
	{faultDone, flagsValue, "prlctl set does what the flag says, and exits with 255 (facts/prlctl.md 5)"},
	{faultNotDone, flagsValue, "prlctl set says that it did what the flag says, and did not (facts/prlctl.md 5)"},
	{faultActionDone, actionsValue, "prlctl and prlsrvctl do the action, and exit with 255 (facts/prlctl.md 1.2)"},
	{faultActionNotDone, actionsValue, "prlctl and prlsrvctl say that they did the action, and did not (facts/prlctl.md 5)"},
	{faultActionHangs, actionsValue, "prlctl and prlsrvctl block before the action, until they are killed"},
	{faultActionHangsDone, actionsValue, "prlctl and prlsrvctl do the action and block then, until they are killed"},
	{faultBusy, timesValue, "prlctl: the VM is busy with something else (facts/prlctl.md 5)"},
	{"guest_ignores_stop", "", "the guest does not shut down: stop ends with 255, and the VM runs on"},
	{"guest_ignores_restart", "", "the guest does not restart: restart ends with 255 (facts/prlctl.md 1.2)"},
	{"suspend_guest", "", "suspend is refused: the guest does not allow it"},
	{"suspend_disk", "", "suspend is refused: there is no room for the state"},
	{"suspend_snapshot", "", "suspend is refused: a snapshot is being created"},
	{faultOnDelete, hookValue, "something happens once at the moment of prlctl delete: copy, hardlink, move, reregister, restore, start, stop_service, trash or unmount"},
	{"garbage", "", "text around the JSON and raw control bytes inside its strings"},
	{"duplicate_key", "", "the first VM of a JSON list has a key twice"},
	{"standard_edition", "", "the Standard edition's text (see the assumption of that name)"},
	{"old_version", "", "prlctl and prlsrvctl do not know --json"},
	{"crash", "", "prlctl and prlsrvctl print half an answer and exit with 1"},
	{"list_fails_for_user", "", "prlctl list fails with 255"},
	{"no_session", "", "launchctl asuser fails although the user is logged in"},
	{"monitor_dies", "events that it tells before (0: dies at random)", "prlctl monitor-events is killed while it runs"},
	{"monitor_drops", "percent", "prlctl monitor-events leaves events out"},
	{"monitor_hangs", "", "prlctl monitor-events stays connected and tells nothing"},
	{"monitor_noise", "", "prlctl monitor-events mixes in lines that are no JSON, or far too long"},
	{"notification_fails", "", "osascript and swiftDialog show nothing, exit 1"},
	{"notification_hangs", "", "osascript and swiftDialog block until they are killed"},
	{"dialog_not_allowed", "", "swiftDialog says that it may not show notifications (facts/acting.md 4)"},
	{"defaults_hangs", "", "defaults blocks until it is killed"},
	{"defaults_fails", "", "defaults writes nothing, exit 1"},
	{"defaults_not_done", timesValue, "defaults says nothing was wrong, exit 0, and the change is lost"},
	{"defaults_rival", timesValue, "somebody else writes to the domain before defaults ends: the old value of the key, and a key of their own"},
	{"require_pwd_lost", timesValue, "prlsrvctl set says that it changed --require-pwd, and another writer at the same time had the last word (acting.md 1)"},
	{faultTeardown, "milliseconds", "launchd keeps a job that was booted out this much longer after its process has ended (facts/macos.md 1.2)"},
	{faultInstaller, installerValue, "installer is killed at this point, as by a person or by a Mac that loses its power"},
	{"codesign", "", "codesign does not accept the application's signature"},
}

// faultValue returns the fault's value if it is on for the account.
func (s *State) faultValue(name, account string) (value string, on bool) {
	for _, fault := range s.Faults {
		if fault.Name == name && (fault.User == "" || fault.User == account) {
			return fault.Value, true
		}
	}
	return "", false
}

func (s *State) hasFault(name, account string) bool {
	_, on := s.faultValue(name, account)
	return on
}

// setFault switches NAME[=VALUE] on for a user, or for all with an empty user.
func (s *State) setFault(setting, user string) error {
	name, value, hasValue := strings.Cut(setting, "=")
	kind, err := findFaultKind(name)
	if err != nil {
		return err
	}
	if hasValue != (kind.Value != "") {
		return fmt.Errorf("%w: fault %s takes %s", errUsage, name, valueSyntax(kind.Value))
	}
	if err := kind.checkValue(value); err != nil {
		return err
	}
	if _, known := s.userByName(user); user != "" && user != rootUser && !known {
		return fmt.Errorf("no user %q on this Mac", user)
	}
	s.clearFault(name, user)
	s.Faults = append(s.Faults, activeFault{Name: name, Value: value, User: user})
	return nil
}

// clearFault switches one fault off, for the user or, with an empty user, for
// all; an empty name means every fault.
func (s *State) clearFault(name, user string) {
	s.Faults = slices.DeleteFunc(s.Faults, func(fault activeFault) bool {
		return (name == "" || fault.Name == name) && (user == "" || fault.User == user)
	})
}

// useFault reports whether a fault is on for the account, and counts its value, if
// that is not 0, down to its end. The caller does not hold the Mac's lock.
func (m Mac) useFault(seen *State, name, account string) (on bool, err error) {
	if !seen.hasFault(name, account) {
		return false, nil
	}
	return on, m.update(func(state *State) error {
		index := slices.IndexFunc(state.Faults, func(fault activeFault) bool {
			return fault.Name == name && (fault.User == "" || fault.User == account)
		})
		if on = index >= 0; !on {
			return nil
		}
		switch left := decimalValue(state.Faults[index].Value); left {
		case 0:
		case 1:
			state.Faults = slices.Delete(state.Faults, index, index+1)
		default:
			state.Faults[index].Value = strconv.Itoa(left - 1)
		}
		return nil
	})
}

func findFaultKind(name string) (faultKind, error) {
	index := slices.IndexFunc(faultKinds, func(kind faultKind) bool { return kind.Name == name })
	if index < 0 {
		return faultKind{}, fmt.Errorf("%w: unknown fault %q (see prlsim fault kinds)", errUsage, name)
	}
	return faultKinds[index], nil
}

func valueSyntax(text string) string {
	if text == "" {
		return "no value"
	}
	return "=" + text
}
