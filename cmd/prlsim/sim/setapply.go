package sim

import (
	"fmt"
	"strconv"
	"strings"
)

// changeSetting changes what one flag says, without rules.
func (s *State) changeSetting(vm *VM, set flagValue) error {
	if element, inFile := strings.CutPrefix(set.flag.path, pvsPrefix); inFile {
		return s.changeElement(vm, element, set)
	}
	switch {
	case set.flag.category == "device_mgmt":
		return s.changeDevice(vm, set)
	case set.flag.name == "--name":
		vm.Name = set.value
		return nil
	case set.flag.name == "--description":
		vm.Description = set.value
		return nil
	case set.flag.name == "--userpasswd":
		return s.changeGuestPassword(vm, set.value)
	}
	for _, setting := range append(set.settings(), s.sideEffects(set)...) {
		if setting[0] == "" {
			return fmt.Errorf("%s is not simulated yet", set.flag.name)
		}
		if err := s.overrideSetting(vm, setting[0], setting[1], true); err != nil {
			return err
		}
	}
	return nil
}

// changeElement changes what only config.pvs shows.
func (s *State) changeElement(vm *VM, element string, set flagValue) error {
	if vm.Elements == nil {
		vm.Elements = map[string]string{}
	}
	value := set.elementValue()
	if set.flag.name == "--require-pwd" {
		operation, on, err := passwordOperation(set.value, vmPasswordOperations)
		if err != nil {
			return err
		}
		value = strings.Join(switchedList(strings.Fields(vm.Elements[element]), operation, on), " ")
	}
	vm.Elements[element] = value
	for _, setting := range s.sideEffects(set) {
		if err := s.overrideSetting(vm, setting[0], setting[1], true); err != nil {
			return err
		}
	}
	return nil
}

// settings are the paths and values that a flag changes in the list.
func (a flagValue) settings() [][2]string {
	on := a.value == "on"
	word, named := a.flag.words[a.value]
	switch {
	case named:
		return [][2]string{{a.flag.path, word}}
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

// sideEffects are what a flag changes besides its own setting. Isolating a VM
// turned the sharing of gamepads on (facts/prlctl.md 6), and one script says
// that without the defined folders none of the Mac's are shared (acting.md 1).
func (s *State) sideEffects(set flagValue) [][2]string {
	switch {
	case set.flag.name == "--isolate-vm" && set.value == "on":
		return isolationEffects[s.assumedValue("isolate_resets")]
	case set.flag.name == "--shf-host-defined" && set.value == "off" && s.assumes("shf_defined_off", "all_sharing"):
		return [][2]string{{"Host Shared Folders/enabled", "false"}}
	}
	return nil
}

// isolationEffects are what isolating a VM changes, by the assumption
// isolate_resets. Whether the list shows that nothing is shared is not known.
var isolationEffects = map[string][][2]string{
	"gamepads": {{"USB and Bluetooth/Automatic sharing gamepads", "on"}},
	"sharing": {{"Host Shared Folders/enabled", "false"}, {"Guest Shared Folders/enabled", "false"}, {"Shared Profile/enabled", "false"},
		{"SmartMount/enabled", "false"}, {"Miscellaneous Sharing/Shared clipboard mode", "off"}, {"Miscellaneous Sharing/Shared cloud", "off"},
		{"Shared Applications/Host-to-guest apps sharing", "off"}, {"Shared Applications/Guest-to-host apps sharing", "off"}},
}

// elementValue is how config.pvs writes a switch (facts/prlctl.md 6).
func (a flagValue) elementValue() string {
	if a.flag.values == "text" {
		return a.value
	}
	return boolDigit(a.value == "on" || a.value == "yes")
}

// setLines are what the tool prints of one flag. Those of the first two and of
// network adapters were seen (acting.md 1, facts/prlctl.md 1.5), the others are
// made like "Set 3d acceleration: 0.".
func (s *State) setLines(vm *VM, set flagValue) []string {
	switch {
	case set.flag.name == "--cpus":
		return []string{fmt.Sprintf("set cpus(%s): %s", hostCPUs, set.value)}
	case set.flag.name == "--memsize" && set.value != "auto":
		return []string{fmt.Sprintf("Set the memsize parameter to %sMb.", set.value)}
	case set.flag.category == "device_mgmt":
		line := s.deviceLine(vm, set)
		return []string{"Configure " + line, "Configured " + line}
	case set.flag.name == "--userpasswd": // the secret is not repeated
		return nil
	}
	words := strings.ReplaceAll(strings.TrimPrefix(set.flag.name, "--"), "-", " ")
	return []string{fmt.Sprintf("Set %s: %s.", words, set.value)}
}
