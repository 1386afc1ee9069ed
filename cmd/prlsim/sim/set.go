package sim

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
)

// setVM plays `prlctl set ID --flag value …`. The Standard edition does not have
// it (captures.md 4.1).
func setVM(in *invocation, arguments []string) int {
	target, err := in.targetVM(in.state, arguments)
	if err != nil {
		return in.failWith(err)
	}
	if in.isStandardEdition() {
		fmt.Fprint(in.stdout, editionGate)
		return exitRefused
	}
	sets, err := in.state.parseSet(arguments[1:])
	if err != nil {
		return in.failWith(err)
	}
	if err := in.checkSet(target, sets); err != nil {
		return in.failAction("configure", err)
	}
	var lines []string
	err = in.change(func(state *State) error {
		vm, err := in.targetVM(state, arguments)
		if err != nil {
			return err
		}
		lines, err = in.applySets(state, vm, sets)
		return err
	})
	if err != nil {
		return in.failAction("configure", err)
	}
	if in.state.assumes("set_lines", "each") {
		in.printLinef("%s", strings.Join(lines, "\n"))
	}
	if slices.ContainsFunc(sets, func(set flagValue) bool { return in.lies(faultDone, set) }) {
		return in.failAction("configure", toolError("Operation canceled."))
	}
	in.printLinef("The VM has been successfully configured.")
	return 0
}

// applySets changes what the flags of a call say, all or nothing, and returns
// what the tool prints of each.
func (in *invocation) applySets(state *State, vm *VM, sets []flagValue) (lines []string, err error) {
	done := 0
	for _, set := range sets {
		if err := state.checkFlag(set, vm); err != nil {
			return nil, err
		}
		if !in.lies(faultNotDone, set) {
			if err := state.changeSetting(vm, set); err != nil {
				return nil, err
			}
			done++
		}
		lines = append(lines, state.setLines(vm, set)...)
	}
	if done == 0 {
		return lines, nil
	}
	return lines, in.mac.commitSettings(state, vm)
}

// commitSettings writes a VM's configuration and tells the monitors.
func (m Mac) commitSettings(state *State, vm *VM) error {
	state.addEvent(vm, "vm_config_changed", "")
	if state.assumes("config_written", "later") {
		vm.ConfigDueAt = time.Now().Add(configDelay)
	}
	return m.writeBundle(state, vm)
}

// Faults of set: its exit codes lie both ways (facts/prlctl.md 5).
const (
	faultDone    = "set_fails_but_done"
	faultNotDone = "set_ok_but_not_done"
)

// anyFlag stands for every flag in the value of one of the faults.
const anyFlag = "any"

// lies reports whether the fault is on for the flag.
func (in *invocation) lies(fault string, set flagValue) bool {
	value, on := in.state.faultValue(fault, in.caller)
	flags := strings.Split(value, ",")
	return on && (slices.Contains(flags, anyFlag) || slices.Contains(flags, set.flag.name))
}

// restingStates are those in which a configuration can be changed at all. That a
// suspended VM's cannot is what the GUI of old versions says (acting.md 1).
var restingStates = []string{"stopped", "running", "paused"}

// checkSet refuses what the VM as a whole does not allow, and asks whom the flags
// make the tool ask.
func (in *invocation) checkSet(vm *VM, sets []flagValue) error {
	switch {
	case vm.State == "invalid":
		return errInvalidConfiguration
	case vm.State == "syncing":
		return errSynchronizing
	case vm.State == "suspended" && in.state.assumes("suspended_set", "accepted"), vm.State == "cloning":
	case !slices.Contains(restingStates, vm.State):
		return fmt.Errorf("%w: it is %s", errWrongState, vm.State)
	}
	if err := in.checkAction(vm); err != nil {
		return err
	}
	if err := in.checkLock(vm, sets); err != nil {
		return err
	}
	for _, set := range sets {
		switch {
		case set.flag.name == "--userpasswd":
			if err := in.state.checkGuestPassword(vm, set.value, in.state.areToolsReady(vm, time.Now())); err != nil {
				return err
			}
			if in.state.assumes("userpasswd_prompt", "asked") {
				return in.askAdministrator("change user password in the guest OS")
			}
		case in.needsAdministrator(set):
			return in.askAdministrator(whatIsLocked)
		}
	}
	return nil
}

// whatIsLocked is what only an administrator may do.
const whatIsLocked = "change the configuration of the virtual machine"

// checkLock refuses changes of a configuration that is locked. That they need
// the administrator is inferred (facts/prlctl.md 6); how a lock is lifted was
// never seen (acting.md 1).
func (in *invocation) checkLock(vm *VM, sets []flagValue) error {
	document, err := in.state.sectionedDocument(vm, false)
	if err != nil || textAt(document, "Security/Configuration is locked") != "on" {
		return err
	}
	rule := "locked_set"
	if !slices.ContainsFunc(sets, func(set flagValue) bool { return set.flag.name != lockFlag || set.value != "off" }) {
		rule = "lock_release"
	}
	switch in.state.assumedValue(rule) {
	case "refused":
		return errCredentials
	case "prompt":
		return in.askAdministrator(whatIsLocked)
	}
	return nil
}

// lockFlag locks a VM's configuration.
const lockFlag = "--lock-edit-settings"

// needsAdministrator reports whether the tool asks for the administrator before
// it sets a flag of a VM. That any but --userpasswd does is not known
// (acting.md 1).
func (in *invocation) needsAdministrator(set flagValue) bool {
	switch set.flag.name {
	case lockFlag:
		return set.value == "on" && in.state.assumes("lock_placing", "prompt")
	case "--autostart":
		return set.value == "start-host" && in.state.assumes("start_host", "prompt")
	}
	return false
}

// checkFlag refuses a flag that the VM, as it is, does not take.
func (s *State) checkFlag(set flagValue, vm *VM) error {
	if err := s.checkGuest(set.flag, vm); err != nil {
		return err
	}
	stopped := set.flag.stopped || set.flag.unsure && s.assumes("optimization_live", "stopped")
	switch {
	case stopped && vm.State != "stopped", set.flag.name == "--userpasswd" && vm.State != "running":
		return fmt.Errorf("%w: it is %s", errWrongState, vm.State)
	case set.value == "headless" && s.assumes("headless_view", "needs_feature") && s.Host[headlessFeature] != "on":
		return toolErrorf("Unable to commit VM configuration: headless mode is not enabled on this Mac.") // invented
	}
	return nil
}

// checkGuest refuses a flag that the VM's guest does not have. The text is
// captured (captures.md 4.2), for which flags is not.
func (s *State) checkGuest(flag setFlag, vm *VM) error {
	system, err := guestSystem(vm.OS)
	if err != nil {
		return err
	}
	guests := flag.guests
	if flag.name == "--lock-on-suspend" && s.assumes("lock_on_suspend_guests", "windows") {
		guests = osTypeWindows
	}
	if (guests == 0 || guests == system.osType) && !(flag.notApple && vm.isApple()) {
		return nil
	}
	switch {
	case s.assumes("guest_refusal", "accepted"):
		return nil
	case s.assumes("guest_refusal", "unrecognized"):
		return toolErrorf("Unrecognized option: %s", flag.name)
	}
	return errNotForGuest(path.Base(flag.path))
}
