package sim

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
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
	if err := in.checkSet(target); err != nil {
		return in.failAction("configure", err)
	}
	err = in.mac.update(func(state *State) error {
		vm, err := in.targetVM(state, arguments)
		if err != nil {
			return err
		}
		for _, set := range sets {
			if err := state.checkGuest(set.flag, vm); err != nil {
				return err
			}
			if err := in.mac.applyFlag(state, vm, set); err != nil {
				return err
			}
		}
		state.addEvent(vm, "vm_config_changed", "")
		return in.mac.writeBundle(state, vm)
	})
	if err != nil {
		return in.failAction("configure", err)
	}
	in.printLinef("The VM has been successfully configured.")
	return 0
}

// checkSet refuses what the VM as a whole does not allow. That a locked
// configuration needs the administrator is inferred (facts/prlctl.md 6).
func (in *invocation) checkSet(vm *VM) error {
	if vm.State == "invalid" {
		return errInvalidConfiguration
	}
	document, err := in.state.sectionedDocument(vm, false)
	if err != nil {
		return err
	}
	if textAt(document, "Security/Configuration is locked") == "on" && in.state.assumes("locked_set", "refused") {
		return errCredentials
	}
	return in.checkAction(vm)
}

// knowsFlag reports whether the Mac's version has the flag.
func (s *State) knowsFlag(flag setFlag) bool {
	major := s.Product.majorVersion()
	return major >= flag.since && (flag.until == 0 || major <= flag.until) &&
		(!flag.inferred || s.assumes("inferred_flags", "present"))
}

// flagsOfCategory lists the flags of a category that the version's help shows.
// Help is no proof: that of 26.3.2 shows --auto-share-bluetooth, which set
// refuses (captures.md 2).
func (s *State) flagsOfCategory(category string) []setFlag {
	var out []setFlag
	for _, flag := range setFlags {
		if flag.category == category && (s.knowsFlag(flag) || flag.stillShown) {
			out = append(out, flag)
		}
	}
	return out
}

func isCategory(word string) bool {
	return slices.Contains(setCategories, word)
}

// flagValue is one flag of a call with its value.
type flagValue struct {
	flag  setFlag
	value string
}

// parseSet reads `--flag value` and `--flag=value` (facts/prlctl.md 1.5). One
// flag that the version does not know fails the whole call.
func (s *State) parseSet(arguments []string) ([]flagValue, error) {
	var out []flagValue
	for i := 0; i < len(arguments); i++ {
		name, value, joined := strings.Cut(arguments[i], "=")
		at := slices.IndexFunc(setFlags, func(flag setFlag) bool { return flag.name == name && s.knowsFlag(flag) })
		if at < 0 {
			return nil, toolErrorf("Unrecognized option: %s", arguments[i])
		}
		if flag := setFlags[at]; !joined && flag.values != "" {
			if i++; i == len(arguments) {
				return nil, toolErrorf("Option requires an argument: %s", name)
			}
			value = arguments[i]
		}
		if !setFlags[at].acceptsValue(value) {
			return nil, toolErrorf("Invalid argument for the option %s: %s", name, value)
		}
		out = append(out, flagValue{setFlags[at], value})
	}
	return out, nil
}

func (f setFlag) acceptsValue(value string) bool {
	words := strings.Split(f.values, "|")
	if f.values == "" || slices.Contains(words, "text") || slices.Contains(words, value) && value != numberWord {
		return true
	}
	number, err := strconv.Atoi(value)
	return slices.Contains(words, numberWord) && err == nil && number >= 0
}

// numberWord stands for any number in what a flag takes.
const numberWord = "number"

// checkGuest refuses a flag that the VM's guest does not have. The text is
// captured (captures.md 4.2), for which flags is not.
func (s *State) checkGuest(flag setFlag, vm *VM) error {
	system, err := guestSystem(vm.OS)
	if err != nil {
		return err
	}
	if (flag.guests == 0 || flag.guests == system.osType) && !(flag.notApple && vm.isApple()) {
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

// applyFlag changes one setting of a VM.
func (m Mac) applyFlag(state *State, vm *VM, set flagValue) error {
	if set.flag.stopped && vm.State != "stopped" {
		return fmt.Errorf("%w: it is %s", errWrongState, vm.State)
	}
	if element, inFile := strings.CutPrefix(set.flag.path, pvsPrefix); inFile {
		if vm.Elements == nil {
			vm.Elements = map[string]string{}
		}
		vm.Elements[element] = set.elementValue()
		return nil
	}
	switch set.flag.name {
	case "--name":
		vm.Name = set.value
		return nil
	case "--description":
		vm.Description = set.value
		return nil
	}
	for _, setting := range set.settings() {
		if setting[0] == "" {
			return fmt.Errorf("%s is not simulated yet", set.flag.name)
		}
		if err := state.overrideSetting(vm, setting[0], setting[1], true); err != nil {
			return err
		}
	}
	return nil
}

// settings are the paths and values that a flag changes in the list.
func (a flagValue) settings() [][2]string {
	on := a.value == "on"
	switch {
	case a.flag.name == "--cpus" && a.value == "auto":
		return [][2]string{{"Hardware/cpu/auto", "on"}}
	case a.flag.name == "--cpus":
		return [][2]string{{a.flag.path, a.value}, {"Hardware/cpu/auto", "off"}}
	case a.flag.name == "--memsize" && a.value == "auto":
		return [][2]string{{"Hardware/memory/auto", "on"}}
	case a.flag.name == "--memsize":
		return [][2]string{{a.flag.path, a.value + "Mb"}, {"Hardware/memory/auto", "off"}}
	case a.flag.name == "--tpm":
		return [][2]string{{a.flag.path, yesNo(on)}, {"Security/TPM type", map[bool]string{true: "crb", false: "off"}[on]}}
	case strings.HasSuffix(a.flag.path, "/enabled"): // a real boolean, facts/prlctl.md 2.1
		return [][2]string{{a.flag.path, strconv.FormatBool(on)}}
	}
	return [][2]string{{a.flag.path, a.value}}
}

// elementValue is how config.pvs writes a switch (facts/prlctl.md 6).
func (a flagValue) elementValue() string {
	if a.flag.values == "text" {
		return a.value
	}
	return boolDigit(a.value == "on" || a.value == "yes")
}
