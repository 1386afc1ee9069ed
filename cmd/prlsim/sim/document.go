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

// infoDocument builds what `list -i --json` prints for the VM. In a bulk list the
// home paths stay empty (facts/prlctl.md 2.1, bulk bug).
func (s *State) infoDocument(vm *VM, bulk bool) (orderedObject, error) {
	system, err := guestSystem(vm.OS)
	if err != nil {
		return nil, err
	}
	members := s.identitySection(vm, bulk)
	members = members.with(behaviorSections(vm, system)...)
	members = members.with(s.machineSections(vm, system)...)
	members = members.with(s.sharingSections(vm, system)...)
	members = s.keepVersionKeys(members, vm)
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

func (s *State) keepVersionKeys(members orderedObject, vm *VM) orderedObject {
	for _, key := range keySince {
		if s.Product.majorVersion() < key.major {
			members = removePath(members, strings.Split(key.path, "/"))
		}
	}
	if s.Product.majorVersion() < 20 { // the key's older name, facts/prlctl.md 2.2
		i := members.index("Miscellaneous Sharing")
		section := members[i].Value.(orderedObject)
		members[i].Value = append(orderedObject{{"Shared clipboard", "on"}}, section...)
	}
	if vm.isApple() && s.assumes("macvm_keys", "reduced") {
		for _, key := range macvmAbsent {
			members = members.without(key)
		}
	}
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

func (s *State) identitySection(vm *VM, bulk bool) orderedObject {
	home, homePath := vm.Bundle+"/", vm.Bundle+"/config.pvs"
	switch {
	case bulk && s.assumes("bulk_home", "empty"):
		home, homePath = "", ""
	case vm.State == "invalid", vm.isApple() && s.assumes("macvm_home", "bundle"):
		homePath = vm.Bundle // facts/prlctl.md 2.8 and 2.7
	}
	kind := "VM"
	if vm.isApple() {
		kind = "APPLE_VZ_VM"
	}
	return orderedObject{
		{"ID", s.idCase(vm.ID)}, {"Name", vm.Name}, {"Description", vm.Description}, {"Type", kind},
		{"State", vm.State}, {"OS", vm.OS}, {"Template", "no"}, {"Uptime", strconv.Itoa(vm.Uptime)},
		{"Home path", homePath}, {"Home", home}, {"Restore Image", restoreImage(vm)},
		{"GuestTools", s.guestTools(vm)},
	}
}

func restoreImage(vm *VM) string {
	if vm.isApple() {
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
func (s *State) guestTools(vm *VM) orderedObject {
	running := vm.State == "running" || vm.State == "paused"
	switch {
	case vm.Tools == "none" || !vm.Started:
		return orderedObject{{"state", "not_installed"}}
	case vm.Tools == "outdated" && (running || s.assumes("outdated_when_stopped", "outdated")):
		return orderedObject{{"state", "outdated"}, {"version", vm.ToolsBuild}}
	case running:
		return orderedObject{{"state", "installed"}, {"version", vm.ToolsBuild}}
	}
	return orderedObject{{"state", "possibly_installed"}, {"version", vm.ToolsBuild}}
}

// behaviorSections are the switches of facts/prlctl.md 2.5 from mouse to
// expiration.
func behaviorSections(vm *VM, system guestOS) orderedObject {
	windows := system.realType == "Windows"
	return orderedObject{
		{"Mouse and Keyboard", orderedObject{{"Smart mouse optimized for games", "auto"}, {"Sticky mouse", "off"}, {"Smooth scrolling", onOff(windows)}, {"Keyboard optimization mode", "auto"}}},
		{"Print Management", orderedObject{{"Synchronize with host printers", "on"}, {"Synchronize default printer", "on"}, {"Show host printer UI", "on"}}},
		{"USB and Bluetooth", orderedObject{{"Automatic sharing cameras", "on"}, {"Automatic sharing bluetooth", "off"}, {"Automatic sharing smart cards", "off"}, {"Automatic sharing gamepads", "on"}, {"Support USB 3.0", "on"}}},
		{"Startup and Shutdown", orderedObject{{"Autostart", "off"}, {"Autostart delay", 0}, {"Autostop", "suspend"}, {"Startup view", "window"}, {"On shutdown", "window"}, {"On window close", "keep-running"}, {"Pause idle", "off"}, {"Undo disks", "off"}}},
		{"Optimization", orderedObject{{"Faster virtual machine", "on"}, {"Hypervisor type", "apple"}, {"Adaptive hypervisor", onOff(windows)}, {"Disabled Windows logo", "on"}, {"Auto compress virtual disks", "off"}, {"Nested virtualization", "off"}, {"PMU virtualization", "off"}, {"Longer battery life", "off"}, {"Show battery status", "on"}, {"Resource quota", "unlimited"}}},
		{"Travel mode", orderedObject{{"Enter condition", "never"}, {"Enter threshold", 30}, {"Quit condition", "never"}}},
		{"Security", securitySection(vm, system)},
		{"Smart Guard", orderedObject{{"enabled", false}}},
		{"Modality", orderedObject{{"Opacity (percentage)", 50}, {"Stay on top", "on"}, {"Show on all spaces ", "on"}, {"Capture mouse clicks", "on"}}},
		{"Fullscreen", orderedObject{{"Use all displays", "off"}, {"Activate spaces on click", "on"}, {"Optimize for games", "off"}, {"Gamma control", "on"}, {"Scale view mode", "auto"}}},
		{"Coherence", orderedObject{{"Show Windows systray in Mac menu", onOff(!windows)}, {"Auto-switch to full screen", onOff(!windows)}, {"Disable aero", "off"}, {"Hide minimized windows", "off"}}},
		{"Time Synchronization", orderedObject{{"enabled", true}, {"Smart mode", "off"}, {"Interval (in seconds)", 60}, {"Timezone synchronization disabled", "off"}}},
		{"Expiration", orderedObject{{"enabled", false}}},
	}
}

func securitySection(vm *VM, system guestOS) orderedObject {
	tpm := "off"
	if system.tpm {
		tpm = "crb"
	}
	return orderedObject{
		{"Encrypted", yesNo(vm.Encrypted)}, {"TPM enabled", yesNo(system.tpm)}, {"TPM type", tpm},
		{"Custom password protection", "off"}, {"Configuration is locked", "off"},
		{"Protected", "no"}, {"Archived", "no"}, {"Packed", "no"},
	}
}

// machineSections are boot and hardware.
func (s *State) machineSections(vm *VM, system guestOS) orderedObject {
	bios := "efi-arm64"
	if s.Intel {
		bios = "efi64"
	}
	return orderedObject{
		{"Boot order", "cdrom0 hdd0 net0 "}, {"BIOS type", bios}, {"EFI Secure boot", onOff(system.tpm)},
		{"Allow select boot device", "off"}, {"External boot device", ""},
		{"SMBIOS settings", orderedObject{{"BIOS Version", ""}, {"System serial number", ""}, {"Board Manufacturer", ""}}},
		{"Hardware", s.hardwareSection(vm, system)},
	}
}

func (s *State) hardwareSection(vm *VM, system guestOS) orderedObject {
	cpu := "arm"
	if s.Intel {
		cpu = "x86"
	}
	devices := orderedObject{
		{"cpu", orderedObject{{"cpus", system.cpus}, {"auto", "off"}, {"VT-x", true}, {"hotplug", false}, {"accl", "high"}, {"mode", "64"}, {"type", cpu}}},
		{"memory", orderedObject{{"size", system.memory}, {"auto", onOff(system.tpm)}, {"hotplug", false}}},
		{"video", orderedObject{{"adapter-type", system.video}, {"size", "0Mb"}, {"3d-acceleration", "highest"}, {"vertical-sync", "on"}, {"high-resolution", "off"}, {"high-resolution-in-guest", "off"}, {"native-scaling-in-guest", "off"}, {"automatic-video-memory", "on"}}},
		{"memory_quota", orderedObject{{"auto", "yes"}}},
		{"hdd0", orderedObject{{"enabled", true}, {"port", "sata:0"}, {"image", vm.Bundle + "/harddisk1.hdd"}, {"type", "expanded"}, {"size", system.disk}, {"online-compact", "on"}}},
	}
	if !vm.isApple() {
		devices = devices.with(member{"cdrom0", orderedObject{{"enabled", true}, {"port", "sata:1"}, {"image", ""}, {"state", "disconnected"}}})
	}
	return devices.with(
		member{"usb", orderedObject{{"enabled", true}}},
		member{"net0", orderedObject{{"enabled", true}, {"type", "shared"}, {"mac", vm.MAC}, {"card", "virtio"}, {"dhcp", "yes"}}},
		member{"sound0", orderedObject{{"enabled", true}, {"output", "Default"}, {"mixer", "Default"}}},
	)
}

func (s *State) sharingSections(vm *VM, system guestOS) orderedObject {
	folders := orderedObject{{"enabled", true}}
	if system.realType == "Windows" {
		folders = folders.with(member{"Projects", orderedObject{{"enabled", true}, {"path", "~/code"}, {"mode", "rw"}}})
	}
	network := orderedObject{{"Conditioned", "off"}}
	if vm.State == "running" {
		network = network.with(member{"ipAddresses", []orderedObject{{{"type", "ipv4"}, {"ip", vm.Address}}}})
	}
	return orderedObject{
		{"Host Shared Folders", folders},
		{"Host defined sharing", "User home directory"},
		{"Guest Shared Folders", orderedObject{{"enabled", false}}},
		{"Shared Profile", orderedObject{{"enabled", false}}},
		{"Shared Applications", orderedObject{{"enabled", true}, {"Host-to-guest apps sharing", "off"}, {"Guest-to-host apps sharing", "on"}, {"Show guest apps folder in Dock", "off"}, {"Show guest notifications", "on"}, {"Bounce dock icon when app flashes", "on"}}},
		{"SmartMount", orderedObject{{"enabled", false}}},
		{"Network", network},
		{"Miscellaneous Sharing", orderedObject{{"Shared clipboard mode", "on"}, {"Shared cloud", "off"}}},
		{"Advanced", orderedObject{{"VM hostname synchronization", "off"}, {"Public SSH keys synchronization", "off"}, {"Show developer tools", "off"}, {"Swipe from edges", "off"}, {"Share host location", "on"}, {"Rosetta Linux", "off"}}},
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
