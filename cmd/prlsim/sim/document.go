package sim

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// guestOS is what an operating system's VMs have in common. The values are
// those of facts/prlctl.md 2.5 to 2.7.
type guestOS struct {
	id       string // JSON "OS"
	name     string // default VM name
	osType   int    // config.pvs OsType
	osNumber int    // config.pvs OsNumber
	realType string // VmInfo.pvi
	realName string
	kernel   string
	memory   string
	disk     string
	video    string
	cpus     int
	tpm      bool
}

// guestSystems lists the systems a VM can be created with. The integers of
// config.pvs are not documented (facts/prlctl.md 6).
var guestSystems = []guestOS{
	{"win-11", "Windows 11", 8, 2065, "Windows", "Windows 11 Pro, Version 24H2", "10.0.26100", "8192Mb", "131072Mb", "parallels", 4, true},
	{"win-10", "Windows 10", 8, 2064, "Windows", "Windows 10 Pro, Version 22H2", "10.0.19045", "4096Mb", "65536Mb", "parallels", 2, false},
	{"ubuntu", "Ubuntu 22.04", 9, 2314, "Linux", "Ubuntu 22.04.5 LTS", "5.15.0-152-generic", "2048Mb", "65536Mb", "virtio", 2, false},
	{"debian", "Debian 12", 9, 2316, "Linux", "Debian GNU/Linux 12 (bookworm)", "6.1.0-28-arm64", "2048Mb", "65536Mb", "virtio", 2, false},
	{"fedora-core", "Fedora 42", 9, 2311, "Linux", "Fedora Linux 42 (Workstation Edition)", "6.14.0-63.fc42.aarch64", "2048Mb", "65536Mb", "virtio", 2, false},
	{"linux", "Linux", 9, 2309, "Linux", "Linux", "6.6.0", "2048Mb", "65536Mb", "virtio", 2, false},
	{"macosx", "macOS", 7, 1795, "macOS", "macOS 26.4.1", "25E253", "8192Mb", "131072Mb", "parallels", 4, false},
}

func guestSystem(id string) (guestOS, error) {
	var known []string
	for _, system := range guestSystems {
		if system.id == id {
			return system, nil
		}
		known = append(known, system.id)
	}
	return guestOS{}, fmt.Errorf("%w: unknown operating system %q (one of %s)", errUsage, id, strings.Join(known, ", "))
}

// keySince lists the keys that older versions do not print, by path
// (facts/prlctl.md 2.2, column V, and 2.6).
var keySince = []struct {
	path  string
	major int
}{
	{"Restore Image", 20}, {"Print Management", 20}, {"Guest Shared Folders", 20}, {"Network", 20},
	{"Security/Packed", 20}, {"Advanced/Rosetta Linux", 20}, {"Miscellaneous Sharing/Shared clipboard mode", 20},
	{"USB and Bluetooth/Automatic sharing gamepads", 18}, {"Security/TPM type", 18}, {"SMBIOS settings", 18},
	{"Hardware/cpu/auto", 18}, {"Hardware/cpu/type", 18},
}

// macvmAbsent lists the sections that a macOS VM might lack. No full capture of
// one exists (facts/prlctl.md 2.7); the assumption macvm_keys switches them.
var macvmAbsent = []string{"Print Management", "Travel mode", "Smart Guard", "Coherence", "Expiration", "SMBIOS settings", "EFI Secure boot"}

// bulkAbsent lists the sections that a list of all VMs might leave out: that it
// can be incomplete beyond the home paths is confirmed, which sections is not
// (facts/prlctl.md 2.1); the assumption bulk_details switches them.
var bulkAbsent = []string{"GuestTools", "Security", "Hardware", "SMBIOS settings"}

// document builds what `list -i --json` prints for the VM. In a bulk list the
// home paths stay empty (facts/prlctl.md 2.1, bulk bug).
func (s *State) document(vm *VM, bulk bool) (object, error) {
	system, err := guestSystem(vm.OS)
	if err != nil {
		return nil, err
	}
	members := s.identitySection(vm, bulk)
	members = members.with(behaviorSections(vm, system)...)
	members = members.with(s.machineSections(vm, system)...)
	members = members.with(s.sharingSections(vm, system)...)
	members = s.keysOfVersion(members, vm)
	if bulk && s.assumes("bulk_details", "sparse") {
		for _, key := range bulkAbsent {
			members = members.without(key)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(vm.Settings)) {
		if members, err = applySetting(members, path, fmt.Sprint(vm.Settings[path]), true); err != nil {
			return nil, err
		}
	}
	return members, nil
}

func (s *State) keysOfVersion(members object, vm *VM) object {
	for _, key := range keySince {
		if s.Product.major() < key.major {
			members = removePath(members, strings.Split(key.path, "/"))
		}
	}
	if s.Product.major() < 20 { // the key's older name, facts/prlctl.md 2.2
		i := members.index("Miscellaneous Sharing")
		section := members[i].Value.(object)
		members[i].Value = append(object{{"Shared clipboard", "on"}}, section...)
	}
	if vm.Apple() && s.assumes("macvm_keys", "reduced") {
		for _, key := range macvmAbsent {
			members = members.without(key)
		}
	}
	return members
}

func removePath(members object, path []string) object {
	if len(path) == 1 {
		return members.without(path[0])
	}
	i := members.index(path[0])
	if i < 0 {
		return members
	}
	members[i].Value = removePath(members[i].Value.(object), path[1:])
	return members
}

func (s *State) identitySection(vm *VM, bulk bool) object {
	home, homePath := vm.Bundle+"/", vm.Bundle+"/config.pvs"
	switch {
	case bulk && s.assumes("bulk_home", "empty"):
		home, homePath = "", ""
	case vm.State == "invalid", vm.Apple() && s.assumes("macvm_home", "bundle"):
		homePath = vm.Bundle // facts/prlctl.md 2.8 and 2.7
	}
	kind := "VM"
	if vm.Apple() {
		kind = "APPLE_VZ_VM"
	}
	return object{
		{"ID", s.idCase(vm.ID)}, {"Name", vm.Name}, {"Description", vm.Description}, {"Type", kind},
		{"State", vm.State}, {"OS", vm.OS}, {"Template", "no"}, {"Uptime", strconv.Itoa(vm.Uptime)},
		{"Home path", homePath}, {"Home", home}, {"Restore Image", restoreImage(vm)},
		{"GuestTools", s.guestTools(vm)},
	}
}

func restoreImage(vm *VM) string {
	if vm.Apple() {
		return "/Users/" + vm.Owner + "/Downloads/UniversalMac_26.4.1_25E253_Restore.ipsw"
	}
	return ""
}

func (s *State) idCase(id string) string {
	if s.assumes("uuid_case", "upper") {
		return strings.ToUpper(id)
	}
	return id
}

// guestTools is the Tools state (facts/prlctl.md 2.2): a VM that does not run
// shows the last known one as possibly_installed.
func (s *State) guestTools(vm *VM) object {
	running := vm.State == "running" || vm.State == "paused"
	switch {
	case vm.Tools == "none" || !vm.Started:
		return object{{"state", "not_installed"}}
	case vm.Tools == "outdated" && (running || s.assumes("outdated_when_stopped", "outdated")):
		return object{{"state", "outdated"}, {"version", vm.ToolsBuild}}
	case running:
		return object{{"state", "installed"}, {"version", vm.ToolsBuild}}
	}
	return object{{"state", "possibly_installed"}, {"version", vm.ToolsBuild}}
}

// behaviorSections are the switches of facts/prlctl.md 2.5 from mouse to
// expiration.
func behaviorSections(vm *VM, system guestOS) object {
	windows := system.realType == "Windows"
	return object{
		{"Mouse and Keyboard", object{{"Smart mouse optimized for games", "auto"}, {"Sticky mouse", "off"}, {"Smooth scrolling", onOff(windows)}, {"Keyboard optimization mode", "auto"}}},
		{"Print Management", object{{"Synchronize with host printers", "on"}, {"Synchronize default printer", "on"}, {"Show host printer UI", "on"}}},
		{"USB and Bluetooth", object{{"Automatic sharing cameras", "on"}, {"Automatic sharing bluetooth", "off"}, {"Automatic sharing smart cards", "off"}, {"Automatic sharing gamepads", "on"}, {"Support USB 3.0", "on"}}},
		{"Startup and Shutdown", object{{"Autostart", "off"}, {"Autostart delay", 0}, {"Autostop", "suspend"}, {"Startup view", "window"}, {"On shutdown", "window"}, {"On window close", "keep-running"}, {"Pause idle", "off"}, {"Undo disks", "off"}}},
		{"Optimization", object{{"Faster virtual machine", "on"}, {"Hypervisor type", "apple"}, {"Adaptive hypervisor", onOff(windows)}, {"Disabled Windows logo", "on"}, {"Auto compress virtual disks", "off"}, {"Nested virtualization", "off"}, {"PMU virtualization", "off"}, {"Longer battery life", "off"}, {"Show battery status", "on"}, {"Resource quota", "unlimited"}}},
		{"Travel mode", object{{"Enter condition", "never"}, {"Enter threshold", 30}, {"Quit condition", "never"}}},
		{"Security", securitySection(vm, system)},
		{"Smart Guard", object{{"enabled", false}}},
		{"Modality", object{{"Opacity (percentage)", 50}, {"Stay on top", "on"}, {"Show on all spaces ", "on"}, {"Capture mouse clicks", "on"}}},
		{"Fullscreen", object{{"Use all displays", "off"}, {"Activate spaces on click", "on"}, {"Optimize for games", "off"}, {"Gamma control", "on"}, {"Scale view mode", "auto"}}},
		{"Coherence", object{{"Show Windows systray in Mac menu", onOff(!windows)}, {"Auto-switch to full screen", onOff(!windows)}, {"Disable aero", "off"}, {"Hide minimized windows", "off"}}},
		{"Time Synchronization", object{{"enabled", true}, {"Smart mode", "off"}, {"Interval (in seconds)", 60}, {"Timezone synchronization disabled", "off"}}},
		{"Expiration", object{{"enabled", false}}},
	}
}

func securitySection(vm *VM, system guestOS) object {
	tpm := "off"
	if system.tpm {
		tpm = "crb"
	}
	return object{
		{"Encrypted", yesNo(vm.Encrypted)}, {"TPM enabled", yesNo(system.tpm)}, {"TPM type", tpm},
		{"Custom password protection", "off"}, {"Configuration is locked", "off"},
		{"Protected", "no"}, {"Archived", "no"}, {"Packed", "no"},
	}
}

// machineSections are boot and hardware.
func (s *State) machineSections(vm *VM, system guestOS) object {
	bios := "efi-arm64"
	if s.Intel {
		bios = "efi64"
	}
	return object{
		{"Boot order", "cdrom0 hdd0 net0 "}, {"BIOS type", bios}, {"EFI Secure boot", onOff(system.tpm)},
		{"Allow select boot device", "off"}, {"External boot device", ""},
		{"SMBIOS settings", object{{"BIOS Version", ""}, {"System serial number", ""}, {"Board Manufacturer", ""}}},
		{"Hardware", s.hardware(vm, system)},
	}
}

func (s *State) hardware(vm *VM, system guestOS) object {
	cpu := "arm"
	if s.Intel {
		cpu = "x86"
	}
	devices := object{
		{"cpu", object{{"cpus", system.cpus}, {"auto", "off"}, {"VT-x", true}, {"hotplug", false}, {"accl", "high"}, {"mode", "64"}, {"type", cpu}}},
		{"memory", object{{"size", system.memory}, {"auto", onOff(system.tpm)}, {"hotplug", false}}},
		{"video", object{{"adapter-type", system.video}, {"size", "0Mb"}, {"3d-acceleration", "highest"}, {"vertical-sync", "on"}, {"high-resolution", "off"}, {"high-resolution-in-guest", "off"}, {"native-scaling-in-guest", "off"}, {"automatic-video-memory", "on"}}},
		{"memory_quota", object{{"auto", "yes"}}},
		{"hdd0", object{{"enabled", true}, {"port", "sata:0"}, {"image", vm.Bundle + "/harddisk1.hdd"}, {"type", "expanded"}, {"size", system.disk}, {"online-compact", "on"}}},
	}
	if !vm.Apple() {
		devices = devices.with(field{"cdrom0", object{{"enabled", true}, {"port", "sata:1"}, {"image", ""}, {"state", "disconnected"}}})
	}
	return devices.with(
		field{"usb", object{{"enabled", true}}},
		field{"net0", object{{"enabled", true}, {"type", "shared"}, {"mac", vm.MAC}, {"card", "virtio"}, {"dhcp", "yes"}}},
		field{"sound0", object{{"enabled", true}, {"output", "Default"}, {"mixer", "Default"}}},
	)
}

func (s *State) sharingSections(vm *VM, system guestOS) object {
	folders := object{{"enabled", true}}
	if system.realType == "Windows" {
		folders = folders.with(field{"Projects", object{{"enabled", true}, {"path", "~/code"}, {"mode", "rw"}}})
	}
	network := object{{"Conditioned", "off"}}
	if vm.State == "running" {
		network = network.with(field{"ipAddresses", []object{{{"type", "ipv4"}, {"ip", vm.Address}}}})
	}
	return object{
		{"Host Shared Folders", folders},
		{"Host defined sharing", "User home directory"},
		{"Guest Shared Folders", object{{"enabled", false}}},
		{"Shared Profile", object{{"enabled", false}}},
		{"Shared Applications", object{{"enabled", true}, {"Host-to-guest apps sharing", "off"}, {"Guest-to-host apps sharing", "on"}, {"Show guest apps folder in Dock", "off"}, {"Show guest notifications", "on"}, {"Bounce dock icon when app flashes", "on"}}},
		{"SmartMount", object{{"enabled", false}}},
		{"Network", network},
		{"Miscellaneous Sharing", object{{"Shared clipboard mode", "on"}, {"Shared cloud", "off"}}},
		{"Advanced", object{{"VM hostname synchronization", "off"}, {"Public SSH keys synchronization", "off"}, {"Show developer tools", "off"}, {"Swipe from edges", "off"}, {"Share host location", "on"}, {"Rosetta Linux", "off"}}},
	}
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

func yesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}
