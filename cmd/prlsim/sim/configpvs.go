package sim

import (
	"cmp"
	"fmt"
	"strings"
)

// configNumber is a word of the list and the number that config.pvs has for it.
type configNumber struct {
	path    string // in the list; of a network adapter only the key
	numbers map[string]int
}

// configNumbers are the enumerations of captures.md 4.4, by element. Numbers
// that it does not name are inferred, and say so.
var configNumbers = map[string]configNumber{
	"AutoStart":       {"Startup and Shutdown/Autostart", map[string]int{"off": 0, "start-host": 1, "start-app": 3, "open-window": 4, "user-login": 5}},
	"WindowMode":      {"Startup and Shutdown/Startup view", map[string]int{"same": 0, "window": 1, "fullscreen": 2, "coherence": 3, "modality": 4, "headless": 5}},
	"OnVmWindowClose": {"Startup and Shutdown/On window close", map[string]int{"stop": 0, "suspend": 1, "ask": 2, "shutdown": 4, "keep-running": 5}},
	"AutoStop":        {"Startup and Shutdown/Autostop", map[string]int{"stop": 0, "suspend": 1, "shutdown": 2}},
	"ActionOnStop":    {"Startup and Shutdown/On shutdown", map[string]int{"window": 0, "close": 1, "quit": 3}},
	"UndoDisks":       {"Startup and Shutdown/Undo disks", map[string]int{"off": 0, "on": 1, "ask": 2}}, // "ask" inferred
	"HypervisorType":  {"Optimization/Hypervisor type", map[string]int{"parallels": 0, "apple": 1}},
	"ScaleViewMode":   {"Fullscreen/Scale view mode", map[string]int{"off": 0, "auto": 1, "keep-ratio": 2, "stretch": 3}},
	"EfiEnabled":      {"BIOS type", map[string]int{"legacy": 0, "efi32": 1, "efi64": 1, "efi-arm64": 5}}, // "legacy" inferred
	"EmulatedType":    {"type", map[string]int{"shared": 1, "bridged": 2}},                                // the mode; host-only: an assumption
	"AdapterType":     {"card", map[string]int{"legacy": 0, "rtl": 1, "e1000": 2, "virtio": 3, "e1000e": 4}},
}

// configSource is what config.pvs is rendered from.
type configSource struct {
	state    *State
	vm       *VM
	system   guestOS
	document orderedObject // what the list shows of it
}

// configElement is config.pvs as it lies on the disk: the elements of
// facts/prlctl.md 6, the values of captures.md 2 and 4.4.
func (s *State) configElement(vm *VM, system guestOS) (element, error) {
	document, err := s.wholeDocument(vm, system, false)
	if err != nil {
		return element{}, err
	}
	c := configSource{s, vm, system, document}
	return element{
		Name: "ParallelsVirtualMachine", Attributes: [][2]string{{"dyn_lists", "VirtualAppliance 0"}, {"schemaVersion", "1.0"}},
		Children: []element{textElement("AppVersion", s.Product.Version), c.identification(), c.security(), c.settings(), c.hardware()},
	}, nil
}

// number is the element of one row of configNumbers.
func (c configSource) number(name string) element {
	return c.numberOf(name, textAt(c.document, configNumbers[name].path))
}

func (c configSource) numberOf(name, word string) element {
	number, known := configNumbers[name].numbers[word]
	if name == "EmulatedType" && (word == "host" || word == "host-only") {
		return textElement(name, c.state.assumedValue("host_only_number"))
	}
	if !known {
		number = 0
	}
	return textElement(name, fmt.Sprint(number))
}

// switched is an element Enabled of what the list shows as on or off.
func (c configSource) switched(name, path string) element {
	word := textAt(c.document, path)
	return parentElement(name, textElement("Enabled", boolDigit(word == "on" || word == "true")))
}

func (c configSource) identification() element {
	vm, s := c.vm, c.state
	const created = "2026-01-15 09:30:00"
	started := created // the counter's start is the creation, captures.md 2
	switch {
	case !vm.Started:
		started = s.nullDate()
	case s.assumes("uptime_start", "last_start"):
		started = vm.StartedAt
	}
	kind := 0
	if vm.isApple() {
		kind = 2 // captures.md 4.4
	}
	list := []element{
		textElement("VmUuid", "{"+vm.ID+"}"), textElement("VmType", fmt.Sprint(kind)), textElement("SourceVmUuid", "{"+cmp.Or(vm.Source, vm.ID)+"}"),
		textElement("LinkedVmUuid", bracedID(vm.LinkedTo)), textElement("LinkedSnapshotUuid", bracedID(s.linkedSnapshot(vm))), textElement("VmName", vm.Name),
		textElement("ServerUuid", "{"+s.DispatcherID+"}"), textElement("LastServerUuid", "{"+s.DispatcherID+"}"), textElement("ServerHost", ""),
	}
	if s.assumes("vm_home_on_disk", "present") { // missing in 27.0.2, captures.md 4.4
		list = append(list, textElement("VmHome", vm.Bundle+"/config.pvs"))
	}
	return parentElement("Identification", append(list, textElement("VmFilesLocation", "1"), textElement("VmCreationDate", created),
		textElement("VmUptimeStartDateTime", started), textElement("VmUptimeInSeconds", fmt.Sprint(vm.Uptime)))...)
}

// bracedID is an id as config.pvs writes it; empty stays empty.
func bracedID(id string) string {
	if id == "" {
		return ""
	}
	return "{" + id + "}"
}

// linkedSnapshot is the snapshot of its parent that a linked clone needs; empty for
// another VM. Only config.pvs shows the link (facts/prlctl.md 2.4).
func (s *State) linkedSnapshot(vm *VM) string {
	if vm.LinkedTo == "" {
		return ""
	}
	return seededUUID(s.Seed, "snapshot for linked clone of "+vm.LinkedTo)
}

// nullDate is how a date that is none is written (captures.md 4.4).
func (s *State) nullDate() string { return s.assumedValue("null_date") + " 00:00:00" }

// security has an empty owner, whoever that is (captures.md 4.4).
func (c configSource) security() element {
	return parentElement("Security",
		textElement("AccessControlList", ""), textElement("LockedOperationsList", ""), textElement(passwordOperations, c.vm.Elements[passwordOperations]),
		textElement("LockDownHash", ""), textElement("Owner", ""), textElement("IsOwner", "0"),
		textElement("AccessForOthers", boolDigit(c.vm.Shared)), textElement("LockedSign", "0"))
}

func (c configSource) settings() element {
	vm, system := c.vm, c.system
	return parentElement("Settings",
		parentElement("General", textElement("OsType", fmt.Sprint(system.osType)), textElement("OsNumber", fmt.Sprint(system.osNumber)),
			textElement("SourceOsVersion", ""), textElement("VmDescription", vm.Description), textElement("IsTemplate", "0"),
			textElement("CustomProperty", ""), textElement("AssetId", vm.Elements["AssetId"]), textElement("SerialNumber", ""),
			textElement("SmbiosBiosVersion", ""), textElement("SmbiosBoardId", "")),
		parentElement("Startup", c.number("AutoStart"), textElement("AutoStartDelay", textAt(c.document, "Startup and Shutdown/Autostart delay")), textElement("VmStartLoginMode", "0"), c.number("WindowMode")),
		parentElement("Shutdown", c.number("AutoStop"), c.number("OnVmWindowClose"), textElement("WindowOnShutdown", "0"), textElement("ReclaimDiskSpace", "0")),
		// In which section these stand is inferred.
		parentElement("Runtime", c.number("ActionOnStop"), c.number("UndoDisks"), c.number("HypervisorType"), c.number("ScaleViewMode"), c.number("EfiEnabled")),
		c.tools(),
		c.encryption(),
		parentElement("VmProtectionInfo", parentElement("ExpirationInfo", textElement("Enabled", "0"), textElement("ExpirationDate", c.state.nullDate()))),
		parentElement("UsbController", usbDevices()),
		c.switched("SharedCamera", "USB and Bluetooth/Automatic sharing cameras"), c.switched("SharedCCID", "USB and Bluetooth/Automatic sharing smart cards"),
		c.switched("SharedBluetooth", "USB and Bluetooth/Automatic sharing bluetooth"), c.switched("SharedGamepad", "USB and Bluetooth/Automatic sharing gamepads"),
		parentElement("LockDown", textElement("Hash", "")))
}

func usbDevices() element {
	var kinds []element
	for _, kind := range strings.Fields("Disks HumanInterfaces Communication Audio Video SmartCards Printers SmartPhones Other") {
		kinds = append(kinds, textElement(kind, "1"))
	}
	return parentElement("ExternalDevices", kinds...)
}

// hardware has the network adapters: their mode is EmulatedType, their card is
// AdapterType (captures.md 2).
func (c configSource) hardware() element {
	var adapters []element
	for _, number := range c.vm.adapterNumbers() {
		at := func(key string) string { return textAt(c.document, adapterPath(adapterName(number), key)) }
		iface := at("iface")
		if iface == "default" {
			iface = ""
		}
		adapters = append(adapters, parentElement("NetworkAdapter", textElement("Enabled", boolDigit(at("enabled") == "true")),
			textElement("Connected", boolDigit(at("state") != "disconnected")), c.numberOf("AdapterType", at("card")),
			textElement("HostInterfaceName", iface), textElement("MAC", at("mac")), c.numberOf("EmulatedType", at("type"))))
	}
	return parentElement("Hardware", adapters...)
}

// configValue is a value of config.pvs that a flag has set, or what it is before.
func (vm *VM) configValue(name, before string) string {
	if value, set := vm.Elements[name]; set {
		return value
	}
	return before
}

func (c configSource) tools() element {
	vm := c.vm
	return parentElement("Tools",
		textElement("ToolsVersion", vm.ToolsBuild), textElement("IsolatedVm", vm.configValue("IsolatedVm", "0")), textElement("NonAdminToolsUpgrade", "1"),
		textElement("LockGuestOnSuspend", vm.configValue("LockGuestOnSuspend", "0")),
		textElement("SyncVmHostname", c.digit("Advanced/VM hostname synchronization")), textElement("SyncSshIds", c.digit("Advanced/Public SSH keys synchronization")),
		parentElement("SharedFolders", c.switched("HostSharing", "Host Shared Folders/enabled"), c.switched("GuestSharing", "Guest Shared Folders/enabled")),
		c.switched("SharedProfile", "Shared Profile/enabled"),
		parentElement("SharedApplications", textElement("FromWinToMac", c.digit("Shared Applications/Guest-to-host apps sharing")),
			textElement("FromMacToWin", c.digit("Shared Applications/Host-to-guest apps sharing"))),
		parentElement("AutoUpdate", textElement("Enabled", vm.configValue("AutoUpdate", "1"))),
		// Nothing but these two, also in 27.0.2 (captures.md 4.4).
		parentElement("ClipboardSync", textElement("Enabled", c.digit("Miscellaneous Sharing/Shared clipboard mode")), textElement("PreserveTextFormatting", "1")),
		// What is in these three is inferred.
		c.switched("SharedVolumes", "SmartMount/enabled"), c.switched("LocationProvider", "Advanced/Share host location"),
		c.switched("RosettaLinux", "Advanced/Rosetta Linux"),
		parentElement("DevelopOptions", textElement("ShowInMenu", c.digit("Advanced/Show developer tools"))))
}

// digit is 1 for what the list shows as on.
func (c configSource) digit(path string) string { return boolDigit(textAt(c.document, path) == "on") }

// encryption has the elements of 27.0.2 (captures.md 2). SecretKeySourceType is
// 1 while it is off; that another number, or another plugin, stands for the
// license-based method is inferred. Files before 26 are assumed to lack the two
// of the key.
func (c configSource) encryption() element {
	vm, s := c.vm, c.state
	plugin, source := "", "1"
	switch {
	case vm.Encrypted && vm.ByLicense && s.assumes("license_plugin", "own"):
		plugin = "<simulated-license-plugin>" // invented
	case vm.Encrypted:
		plugin = "<parallels-default-plugin>"
	}
	if vm.Encrypted && vm.ByLicense && s.assumes("secret_key_source", "own") {
		source = "2" // invented
	}
	list := []element{textElement("Enabled", boolDigit(vm.Encrypted))}
	if s.Product.majorVersion() >= 26 {
		list = append(list, textElement("SecretKeySourceType", source), textElement("SecretKeyId", ""))
	}
	return parentElement("VmEncryptionInfo", append(list, textElement("PluginId", plugin),
		textElement("Hash1", ""), textElement("Hash2", ""), textElement("Salt", ""))...)
}

func boolDigit(on bool) string {
	if on {
		return "1"
	}
	return "0"
}
