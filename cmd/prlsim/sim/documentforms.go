package sim

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// keySince lists the keys that older versions do not print, by path
// (facts/prlctl.md 2.2, column V, and 2.6; captures.md 4.5).
var keySince = []struct {
	path  string
	major int
}{
	{"Restore Image", 20}, {"Guest Shared Folders", 20}, {"Network", 20},
	{"Security/Packed", 20}, {"Advanced/Rosetta Linux", 20},
	{"USB and Bluetooth/Automatic sharing gamepads", 18}, {"Security/TPM type", 18}, {"SMBIOS settings", 18},
	{"Hardware/cpu/auto", 18}, {"Hardware/cpu/type", 18}, {"Hardware/memory/auto", 18},
}

// macvmAbsent lists the sections that a macOS VM might lack. No full capture of
// one exists (facts/prlctl.md 2.7); the assumption macvm_keys switches them.
var macvmAbsent = []string{"Print Management", "Travel mode", "Smart Guard", "Coherence", "Expiration", "SMBIOS settings", "EFI Secure boot"}

// bulkAbsent lists the sections that a list of all VMs might leave out: that it
// can be incomplete beyond the home paths is confirmed, which sections is not
// (facts/prlctl.md 2.1); the assumption bulk_details switches them.
var bulkAbsent = []string{"GuestTools", "Security", "Hardware", "SMBIOS settings"}

// onlyWhenOn lists what a section shows besides when it is enabled: SmartMount is
// captured (captures.md 4.5), the other two are as in facts/prlctl.md 2.2.
var onlyWhenOn = map[string]orderedObject{
	"SmartMount": {{"Removable drives", "on"}, {"CD/DVD drives", "on"}, {"Network shares", "on"}},
	"Shared Profile": {{"Use desktop", "on"}, {"Use documents", "on"}, {"Use downloads", "on"},
		{"Use pictures", "on"}, {"Use music", "on"}, {"Use movies", "on"}},
	"Guest Shared Folders": {{"Automount", "on"}},
}

// flatSections are those whose members stand in the list itself up to version 15
// (captures.md 4.5). That it has no such sections is captured; that those with
// a switch of their own and the hardware stay is inferred.
var flatSections = []string{"Mouse and Keyboard", "Print Management", "USB and Bluetooth", "Startup and Shutdown", "Optimization",
	"Travel mode", "Security", "Modality", "Fullscreen", "Coherence", "Miscellaneous Sharing", "Advanced"}

const lastFlatVersion = 15

// infoDocument builds what `list -i --json` prints for the VM. In a bulk list the
// home paths stay empty (facts/prlctl.md 2.1, bulk bug).
func (s *State) infoDocument(vm *VM, bulk bool) (orderedObject, error) {
	members, err := s.sectionedDocument(vm, bulk)
	if err != nil {
		return nil, err
	}
	if bulk && s.assumes("bulk_details", "sparse") {
		for _, key := range bulkAbsent {
			members = members.without(key)
		}
	}
	if s.Product.majorVersion() <= lastFlatVersion {
		members = flatDocument(members, vm)
	}
	return s.respelled(members), nil
}

// sectionedDocument has the keys of the Mac's version, in sections.
func (s *State) sectionedDocument(vm *VM, bulk bool) (orderedObject, error) {
	system, err := guestSystem(vm.OS)
	if err != nil {
		return nil, err
	}
	members, err := s.wholeDocument(vm, system, bulk)
	if err != nil {
		return nil, err
	}
	return s.keepKnownKeys(members, vm, system), nil
}

// wholeDocument has the keys of all versions and guests, with the VM's settings.
func (s *State) wholeDocument(vm *VM, system guestOS, bulk bool) (orderedObject, error) {
	members := s.identitySection(vm, bulk)
	members = members.with(behaviorSections(vm, system)...)
	members = members.with(s.machineSections(vm, system)...)
	members = members.with(s.sharingSections(vm, system)...)
	var err error
	for _, path := range slices.Sorted(maps.Keys(vm.Settings)) {
		if members, err = applySetting(members, path, fmt.Sprint(vm.Settings[path]), true); err != nil {
			return nil, err
		}
	}
	return members, nil
}

// keepKnownKeys leaves the keys of the Mac's version and of the guest's kind.
func (s *State) keepKnownKeys(members orderedObject, vm *VM, system guestOS) orderedObject {
	for _, key := range keySince {
		if s.Product.majorVersion() < key.major {
			members = removePath(members, strings.Split(key.path, "/"))
		}
	}
	if s.assumes("clipboard_key", "plain") || s.assumes("clipboard_key", "by_version") && s.Product.majorVersion() < clipboardModeSince {
		rename(members, "Miscellaneous Sharing", "Shared clipboard mode", "Shared clipboard")
	}
	if !s.showsPrintManagement(system) {
		members = members.without("Print Management")
	}
	if vm.isApple() && s.assumes("macvm_keys", "reduced") {
		for _, key := range macvmAbsent {
			members = members.without(key)
		}
	}
	for name, more := range onlyWhenOn {
		members = showWhenOn(members, name, more)
	}
	return withConditioner(members)
}

// clipboardModeSince is the version in which the key got its present name
// (facts/prlctl.md 2.2).
const clipboardModeSince = 20

// showsPrintManagement reports whether the guest's list has the section: a
// Windows guest had it at 17 and 18, macOS at 16.5 and Linux at 18.3 had not
// (captures.md 2). That the kind decides in all versions is inferred.
func (s *State) showsPrintManagement(system guestOS) bool {
	if s.assumes("print_management", "since_20") {
		return s.Product.majorVersion() >= 20
	}
	return system.isWindows()
}

func rename(members orderedObject, section, old, name string) {
	inner := members[members.index(section)].Value.(orderedObject)
	if i := inner.index(old); i >= 0 {
		inner[i].Key = name
	}
}

// showWhenOn has what a section shows besides when it is enabled, and only then.
func showWhenOn(members orderedObject, name string, more orderedObject) orderedObject {
	i := members.index(name)
	if i < 0 {
		return members
	}
	section := members[i].Value.(orderedObject)
	on := section[section.index("enabled")].Value == true
	for _, m := range more {
		switch has := section.index(m.Key) >= 0; {
		case on && !has:
			section = section.with(m)
		case !on && has:
			section = section.without(m.Key)
		}
	}
	members[i].Value = section
	return members
}

// withConditioner has the limits of a network that is conditioned. The keys are
// known (facts/prlctl.md 2.2); that they go with the switch, and their values,
// are not.
func withConditioner(members orderedObject) orderedObject {
	i := members.index("Network")
	if i < 0 || textAt(members, "Network/Conditioned") != "on" {
		return members
	}
	limits := orderedObject{{"Bandwidth", "780Kbps"}, {"Packet Loss", "0%"}, {"Delay", "100ms"}}
	section := members[i].Value.(orderedObject)
	members[i].Value = append(orderedObject{section[0], {"Inbound", limits}, {"Outbound", limits}}, section[1:]...)
	return members
}

func removePath(members orderedObject, path []string) orderedObject {
	if len(path) == 1 {
		return members.without(path[0])
	}
	i := members.index(path[0])
	if i < 0 {
		return members
	}
	members[i].Value = removePath(members[i].Value.(orderedObject), path[1:])
	return members
}

// flatDocument is the form up to version 15, with the two keys of 11.2 that
// later versions lack (captures.md 2).
func flatDocument(members orderedObject, vm *VM) orderedObject {
	var flat orderedObject
	for _, m := range members {
		if slices.Contains(flatSections, m.Key) {
			flat = flat.with(m.Value.(orderedObject)...)
			continue
		}
		flat = flat.with(m)
	}
	return flat.with(
		member{"Lock VM on suspend", onOff(vm.Elements["LockGuestOnSuspend"] == "1")},
		member{"Isolate VM from host", onOff(vm.Elements["IsolatedVm"] == "1")})
}

// networkAdapter is Hardware/netN. The keys of 16.5 are captured, their values
// are not; the address stood there before it had a section (captures.md 4.5,
// facts/prlctl.md 2.2).
func (s *State) networkAdapter(vm *VM, system guestOS, number int) orderedObject {
	mac := vm.MAC
	if number > 0 {
		mac = s.seededMAC(vm.ID + " " + adapterName(number))
	}
	adapter := orderedObject{{"enabled", true}, {"type", "shared"}, {"mac", mac}, {"card", "virtio"}}
	major := s.Product.majorVersion()
	if major < 20 && vm.State == "running" && number == 0 {
		adapter = adapter.with(member{"ips", vm.Address + "/255.255.255.0 "})
	}
	if major < 18 {
		adapter = adapter.with(member{"preventpromisc", "off"}, member{"mac_filter", "off"}, member{"ip_filter", "off"},
			member{"nameservers", ""}, member{"searchdomains", ""})
	}
	// Not on macOS at 16.5, nor on Linux at 18.3; that Windows decides is inferred.
	if s.assumes("net_dhcp", "all") || major >= 18 && system.isWindows() {
		adapter = adapter.with(member{"dhcp", "yes"})
	}
	return adapter
}

// ipAddresses are those of a running VM: the address that the short list shows
// and one of IPv6 (facts/prlctl.md 2.5).
func ipAddresses(vm *VM) []orderedObject {
	address := func(ip string) orderedObject {
		kind := "ipv4"
		if parsed, err := netip.ParseAddr(ip); err == nil && parsed.Is6() {
			kind = "ipv6"
		}
		return orderedObject{{"type", kind}, {"ip", ip}}
	}
	return []orderedObject{address(vm.Address), address(linkLocal(vm.MAC))}
}

// linkLocal is the address that a network card gives itself.
func linkLocal(mac string) string {
	var raw [6]byte
	for i := range raw {
		value, err := strconv.ParseUint(mac[2*i:2*i+2], 16, 8)
		if err != nil {
			return "fe80::1"
		}
		raw[i] = byte(value)
	}
	return netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 8: raw[0] ^ 2, 9: raw[1], 10: raw[2], 11: 0xff, 12: 0xfe, 13: raw[3], 14: raw[4], 15: raw[5]}).String()
}

// textAt returns the value at path ("Section/Key/…") as text, or "".
func textAt(members orderedObject, path string) string {
	for _, m := range members {
		if m.Key == path {
			return fmt.Sprint(m.Value)
		}
		if inner, ok := m.Value.(orderedObject); ok {
			if rest, inside := strings.CutPrefix(path, m.Key+"/"); inside {
				return textAt(inner, rest)
			}
		}
	}
	return ""
}
