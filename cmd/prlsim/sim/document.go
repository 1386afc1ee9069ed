package sim

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// guestOS is what an operating system's VMs have in common. The values are
// those of facts/prlctl.md 2.5 to 2.7.
type guestOS struct {
	id       string // JSON "OS"
	name     string // default VM name
	osType   int    // config.pvs OsType, VmInfo.pvi RealOsTypeId
	osNumber int    // config.pvs OsNumber
	memory   string
	disk     string
	video    string
	cpus     int
	tpm      bool

	build          int    // Windows: third number of the kernel's version
	displayVersion string // Windows: "24H2"
	server         bool   // Windows
	realType       string // others, see the assumption vminfo_other
	realName       string
	kernel         string
}

const (
	osTypeMac     = 7
	osTypeWindows = 8
	osTypeLinux   = 9
)

func (g guestOS) isWindows() bool { return g.osType == osTypeWindows }

// guestSystems lists the systems a VM can be created with. Of the numbers of
// config.pvs those of Windows 10, macOS and "other Linux" are known
// (captures.md 4.4), the other OsNumbers are invented.
var guestSystems = []guestOS{
	{id: "win-11", name: "Windows 11", osType: osTypeWindows, osNumber: 2065, build: 26100, displayVersion: "24H2", memory: "8192Mb", disk: "131072Mb", video: "parallels", cpus: 4, tpm: true},
	{id: "win-10", name: "Windows 10", osType: osTypeWindows, osNumber: 2063, build: 19045, displayVersion: "22H2", memory: "4096Mb", disk: "65536Mb", video: "parallels", cpus: 2},
	{id: "win-2022", name: "Windows Server 2022", osType: osTypeWindows, osNumber: 2064, build: 20348, displayVersion: "21H2", server: true, memory: "4096Mb", disk: "65536Mb", video: "parallels", cpus: 2},
	{id: "ubuntu", name: "Ubuntu 22.04", osType: osTypeLinux, osNumber: 2314, realType: "Linux", realName: "Ubuntu 22.04.5 LTS", kernel: "5.15.0-152-generic", memory: "2048Mb", disk: "65536Mb", video: "virtio", cpus: 2},
	{id: "debian", name: "Debian 12", osType: osTypeLinux, osNumber: 2316, realType: "Linux", realName: "Debian GNU/Linux 12 (bookworm)", kernel: "6.1.0-28-arm64", memory: "2048Mb", disk: "65536Mb", video: "virtio", cpus: 2},
	{id: "fedora-core", name: "Fedora 42", osType: osTypeLinux, osNumber: 2311, realType: "Linux", realName: "Fedora Linux 42 (Workstation Edition)", kernel: "6.14.0-63.fc42.aarch64", memory: "2048Mb", disk: "65536Mb", video: "virtio", cpus: 2},
	{id: "linux", name: "Linux", osType: osTypeLinux, osNumber: 2559, realType: "Linux", realName: "Linux", kernel: "6.6.0", memory: "2048Mb", disk: "65536Mb", video: "virtio", cpus: 2},
	{id: "macosx", name: "macOS", osType: osTypeMac, osNumber: 1795, realType: "macOS", realName: "macOS 26.4.1", kernel: "25E253", memory: "8192Mb", disk: "131072Mb", video: "parallels", cpus: 4},
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

func (s *State) identitySection(vm *VM, bulk bool) orderedObject {
	home, homePath := vm.Bundle+"/", vm.Bundle+"/config.pvs"
	switch {
	case bulk && s.assumes("bulk_home", "empty"):
		home, homePath = "", ""
	case vm.Packed: // facts/prlctl.md 2.8
		home, homePath = vm.Bundle, vm.Bundle
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
		{"Home path", homePath}, {"Home", home}, {"Restore Image", s.restoreImage(vm)},
		{"GuestTools", s.guestTools(vm)},
	}
}

func (s *State) restoreImage(vm *VM) string {
	if vm.isApple() {
		return s.homeOf(vm.Owner) + "/Downloads/UniversalMac_26.4.1_25E253_Restore.ipsw"
	}
	return ""
}

func (s *State) idCase(id string) string {
	if s.assumes("uuid_case", "upper") {
		return strings.ToUpper(id)
	}
	return id
}

// guestTools is the Tools state (facts/prlctl.md 2.2): a VM that does not run,
// or runs only since some seconds, shows the last known one as
// possibly_installed (captures.md 2).
func (s *State) guestTools(vm *VM) orderedObject {
	running := vm.hasProcess() && s.areToolsReady(vm, time.Now())
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
	windows := system.isWindows()
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
		{"Protected", "no"}, {"Archived", "no"}, {"Packed", yesNo(vm.Packed)},
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
	devices = devices.with(member{"usb", orderedObject{{"enabled", true}}})
	for _, number := range vm.adapterNumbers() {
		devices = devices.with(member{adapterName(number), s.networkAdapter(vm, system, number)})
	}
	return devices.with(member{"sound0", orderedObject{{"enabled", true}, {"output", "Default"}, {"mixer", "Default"}}})
}

func (s *State) sharingSections(vm *VM, system guestOS) orderedObject {
	folders := orderedObject{{"enabled", true}}
	if system.isWindows() {
		folders = folders.with(member{"Projects", orderedObject{{"enabled", true}, {"path", "~/code"}, {"mode", "rw"}}})
	}
	network := orderedObject{{"Conditioned", "off"}}
	if vm.State == "running" {
		network = network.with(member{"ipAddresses", ipAddresses(vm)})
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
