package sim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// deviceOptions are the options of a network adapter (facts/prlctl.md 1.5). Their
// path is the key of the adapter.
var deviceOptions = []setFlag{
	{name: "--type", values: "shared|bridged|host-only|host", path: "type"},
	{name: "--iface", values: "text", path: "iface"},
	{name: "--mac", values: "text", path: "mac"},
	{name: "--adapter-type", values: "virtio|e1000|rtl", path: "card"},
	{name: "--dhcp", values: "yes|no", path: "dhcp"},
	{name: "--enable", path: "enabled", words: map[string]string{"": "true"}},
	{name: "--disable", path: "enabled", words: map[string]string{"": "false"}},
	{name: "--connect", path: "state", words: map[string]string{"": "connected"}},
	{name: "--disconnect", path: "state", words: map[string]string{"": "disconnected"}},
}

// takesOptions reports whether options of a device may follow the flag.
func (f setFlag) takesOptions() bool { return f.name == "--device-set" || f.name == "--device-add" }

// adapterName is the name of a network adapter.
func adapterName(number int) string { return fmt.Sprint("net", number) }

// adapterNumbers are those of the VM's network adapters.
func (vm *VM) adapterNumbers() []int {
	if vm.Adapters == nil {
		return []int{0}
	}
	return vm.Adapters
}

// adapterNumber reads a name like net0.
func adapterNumber(name string) (number int, isAdapter bool) {
	digits, isAdapter := strings.CutPrefix(name, "net")
	number, err := strconv.Atoi(digits)
	return number, isAdapter && err == nil && number >= 0 && adapterName(number) == name
}

// hasAdapter reports whether the VM has a network adapter of the name.
func (vm *VM) hasAdapter(name string) bool {
	number, isAdapter := adapterNumber(name)
	return isAdapter && slices.Contains(vm.adapterNumbers(), number)
}

// changeDevice carries a flag of device_mgmt out. Only network adapters are
// simulated; one is added and taken away while the VM is stopped.
func (s *State) changeDevice(vm *VM, set flagValue) error {
	name := set.value
	switch {
	case set.flag.name == "--device-add" && name == "net":
		if vm.State != "stopped" {
			return fmt.Errorf("%w: it is %s", errWrongState, vm.State)
		}
		name = vm.addAdapter()
	case strings.TrimRight(name, "0123456789") != "net":
		return fmt.Errorf("%s %s is not simulated yet", set.flag.name, name)
	case !vm.hasAdapter(name):
		return toolErrorf("The device '%s' is not found.", name) // invented
	}
	switch set.flag.name {
	case "--device-del":
		return s.removeAdapter(vm, name)
	case "--device-connect":
		return s.changeAdapter(vm, name, "state", "connected")
	case "--device-disconnect":
		return s.changeAdapter(vm, name, "state", "disconnected")
	}
	for _, option := range set.options {
		value := option.value
		if word, named := option.flag.words[value]; named {
			value = word
		}
		if err := s.changeAdapter(vm, name, option.flag.path, value); err != nil {
			return err
		}
	}
	return nil
}

// addAdapter gives the VM one more network adapter.
func (vm *VM) addAdapter() string {
	number := 0
	for slices.Contains(vm.adapterNumbers(), number) {
		number++
	}
	vm.Adapters = append(slices.Clone(vm.adapterNumbers()), number)
	slices.Sort(vm.Adapters)
	return adapterName(number)
}

// removeAdapter takes a network adapter away with all that was set of it.
func (s *State) removeAdapter(vm *VM, name string) error {
	if vm.State != "stopped" {
		return fmt.Errorf("%w: it is %s", errWrongState, vm.State)
	}
	number, _ := adapterNumber(name)
	vm.Adapters = slices.DeleteFunc(slices.Clone(vm.adapterNumbers()), func(other int) bool { return other == number })
	for path := range vm.Settings {
		if strings.HasPrefix(path, adapterPath(name, "")) {
			delete(vm.Settings, path)
		}
	}
	return nil
}

// adapterPath is where the list shows a key of an adapter.
func adapterPath(name, key string) string { return "Hardware/" + name + "/" + key }

// changeAdapter changes one key of a network adapter. Another type forgets the
// interface, as far as is known.
func (s *State) changeAdapter(vm *VM, name, key, value string) error {
	if key == "mac" {
		var err error
		if value, err = s.newMAC(vm, name, value); err != nil {
			return err
		}
	}
	if key == "type" {
		delete(vm.Settings, adapterPath(name, "iface"))
	}
	return s.overrideSetting(vm, adapterPath(name, key), value, true)
}

// newMAC is the address that --mac sets: 12 hexadecimal digits, or a new one.
func (s *State) newMAC(vm *VM, name, value string) (string, error) {
	if value == "auto" {
		return s.seededMAC(s.nextID(vm.ID + " " + name)), nil
	}
	if _, err := strconv.ParseUint(value, 16, 48); err != nil || len(value) != 12 {
		return "", toolErrorf("Invalid argument for the option --mac: %s", value)
	}
	return strings.ToUpper(value), nil
}

// seededMAC is an address of the vendor's own, made from the Mac's seed.
func (s *State) seededMAC(purpose string) string {
	return fmt.Sprintf("001C42%X", seededBytes(s.Seed, purpose+" mac")[:3])
}

// deviceLine is how the tool's output shows a device: "net0 (+) type=bridged
// iface='Ethernet 2' mac=… card=e1000" (facts/prlctl.md 1.5).
func (s *State) deviceLine(vm *VM, set flagValue) string {
	name := set.value
	if set.flag.name == "--device-add" && name == "net" {
		numbers := vm.adapterNumbers()
		name = adapterName(numbers[len(numbers)-1])
	}
	system, err := guestSystem(vm.OS)
	if err != nil || !vm.hasAdapter(name) {
		return name
	}
	document, err := s.wholeDocument(vm, system, false)
	if err != nil {
		return name
	}
	sign := "(-)"
	if textAt(document, adapterPath(name, "enabled")) == "true" {
		sign = "(+)"
	}
	document = s.respelled(document)
	at := func(key string) string { return textAt(document, adapterPath(name, key)) }
	line := name + " " + sign + " type=" + at("type")
	if iface := at("iface"); iface != "" {
		line += " iface='" + iface + "'"
	}
	return line + " mac=" + at("mac") + " card=" + at("card")
}

// adapterByHand is `prlsim vm set VM net0=WORDS`: a type, with an interface
// behind a colon, and what becomes of the plug and of the adapter.
func (s *State) adapterByHand(vm *VM, name, words string) error {
	for word := range strings.SplitSeq(words, ",") {
		kind, iface, hasIface := strings.Cut(word, ":")
		key, value := "", word
		switch kind {
		case "shared", "host-only", "bridged":
			key, value = "type", kind
		case "connected", "disconnected":
			key = "state"
		case "enabled", "disabled":
			key, value = "enabled", strconv.FormatBool(kind == "enabled")
		}
		if key == "" || hasIface && kind != "bridged" {
			return fmt.Errorf("%w: an adapter is shared, host-only, bridged, bridged:INTERFACE, connected, disconnected, enabled or disabled", errUsage)
		}
		if err := s.changeAdapter(vm, name, key, value); err != nil {
			return err
		}
		if hasIface {
			if err := s.changeAdapter(vm, name, "iface", iface); err != nil {
				return err
			}
		}
	}
	return nil
}
