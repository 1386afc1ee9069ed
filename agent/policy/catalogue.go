package policy

import (
	"prlagent/agent/protocol"
	"prlagent/prlctl"
)

// Pages of the facts that the rows rely on.
var (
	acting1    = Evidence{Confirmed, "acting 1"}
	acting1One = Evidence{OneScript, "acting 1"}
	captures51 = Evidence{Confirmed, "captures 5.1"}
	captures52 = Evidence{Confirmed, "captures 5.2"}
	prlctl15   = Evidence{Confirmed, "prlctl 1.5"}
)

// Settings is the catalogue: the vendor's thirteen VM settings in the guide's
// order, then ours. Which flag sets a row, and how it is read back, is from
// facts/acting.md 1, facts/captures.md and facts/prlctl.md 1.5 and 6.
var Settings = []Setting{
	{
		Name: "startup", Doc: "How the virtual machine starts.",
		Values: &Values{Kind: KindChoice, Only: []Meaning{
			{"manual", "a person starts it, and it shows its window"},
			{"ready_in_background", "it starts when its owner logs in, without a window, and keeps running when its window is closed"},
		}},
		Guests: AllGuests, Strength: &reverted,
		Parts: []Part{
			// start-host means ready in the background as well, and may ask for an
			// administrator, which is not known; user-login does not.
			{Flag: autostartFlag, Category: "startup", Evidence: &acting1, Shown: []string{"Startup and Shutdown/Autostart"},
				Words: []Word{{For: "manual", Set: []string{autostartOff}}, {For: "ready_in_background", Set: []string{"user-login", "start-host"}}}},
			{Flag: "--startup-view", Category: "startup", Evidence: &acting1, Shown: []string{"Startup and Shutdown/Startup view"},
				Words: []Word{{For: "manual", Set: []string{"window"}, Shown: viewsWithWindow}, {For: "ready_in_background", Set: []string{"headless"}}}},
			{Flag: "--on-window-close", Category: "startup", Evidence: &acting1, Shown: []string{"Startup and Shutdown/On window close"},
				Words: []Word{{For: "ready_in_background", Set: []string{"keep-running"}}}},
			{Flag: "--autostop", Category: "startup", Evidence: &acting1, Shown: []string{"Startup and Shutdown/Autostop"},
				Words: []Word{{For: "ready_in_background", Set: []string{"suspend"}, Shown: []string{"suspend", "shutdown"}}}},
		},
	},
	{
		Name: "network", Doc: "The network of every adapter of the virtual machine; the network conditioner is turned off as well.",
		Values: &Values{Kind: KindChoice, Only: []Meaning{
			{"disconnect", "no network"}, {"shared", "through the Mac's network, behind its address"},
			{"host_only", "with the Mac only"}, {"bridged_default", "in the network of the Mac's default adapter"},
		}},
		Guests: AllGuests, Strength: &reverted,
		Disruptive: []Value{"disconnect", "shared", "host_only", "bridged_default"},
		Parts: []Part{
			// A disabled adapter has no network, whatever its type is, and is left alone.
			{Flag: "--device-set", Category: "device_mgmt", Evidence: &acting1One, Adapters: true,
				Words: []Word{
					{For: "disconnect", Set: []string{adapterDisconnected}, Shown: []string{adapterDisconnected, adapterOff}, With: []string{"--disconnect"}},
					{For: "shared", Set: []string{"shared"}, Shown: []string{"shared", adapterOff}, With: []string{"--type", "shared", "--connect"}},
					{For: "host_only", Set: []string{"host-only"}, Shown: []string{"host-only", adapterOff}, With: []string{"--type", "host-only", "--connect"}},
					{For: "bridged_default", Set: []string{"bridged"}, Shown: []string{"bridged", adapterOff}, With: []string{"--type", "bridged", "--iface", "default", "--connect"}},
				}},
			// Of the conditioner's flags only the beginning of the names is known.
			{Flag: "--network-cond", Category: "network_cond", Evidence: &Evidence{Unknown, "prlctl 1.5"}, Shown: []string{"Network/Conditioned"}, Read: ReadSwitch,
				Words: []Word{
					{For: "disconnect", Set: setOff}, {For: "shared", Set: setOff}, {For: "host_only", Set: setOff}, {For: "bridged_default", Set: setOff},
				}},
		},
	},
	{
		Name:   "no_share_mac_folders",
		Doc:    "true keeps every folder of the Mac out of the guest: shared folders, profile folders, cloud folders and the Mac's volumes. false has folders shared; which ones is left to the user.",
		Values: &trueOrFalse, Guests: AllGuests, Strength: &reverted,
		Disruptive: []Value{True},
		Parts: []Part{
			{Flag: "--shf-host", Category: "shared_folders", Evidence: &acting1, Shown: []string{"Host Shared Folders/enabled"}, Read: ReadSwitch, Words: offOn},
			{Flag: "--shf-host-defined", Category: "shared_folders", Evidence: &acting1, Shown: []string{"Host defined sharing"},
				Words: offOnly},
			{Flag: "--shf-host-automount", Category: "shared_folders", Evidence: &acting1,
				Words: offOnly},
			{Flag: "--shared-profile", Category: "shared_profiles", Evidence: &captures51, Shown: []string{"Shared Profile/enabled"}, Read: ReadSwitch, Words: offOnly},
			{Flag: "--smart-mount", Category: "smart_mounts", Evidence: &acting1One, Shown: []string{"SmartMount/enabled"}, Read: ReadSwitch, Words: offOnly},
			{Flag: "--shared-cloud", Category: "misc_sharing", Evidence: &captures51, Shown: []string{"Miscellaneous Sharing/Shared cloud"}, Read: ReadSwitch, Words: offOnly},
		},
	},
	{
		Name:   "no_share_vm_folders",
		Doc:    "true keeps the guest's folders from being shared with the Mac; false has them shared.",
		Values: &trueOrFalse, Guests: Windows, Beyond: MacOnArm | MacOnIntel,
		Strength: &reverted, Disruptive: []Value{True},
		Parts: []Part{
			{Flag: "--shf-guest", Category: "shared_folders", Evidence: &acting1, Shown: []string{"Guest Shared Folders/enabled"}, Read: ReadSwitch,
				File:  func(c *prlctl.ConfigPVS) string { return switchWord(c.GuestSharing) },
				Words: offOn},
			{Flag: "--shf-guest-automount", Category: "shared_folders", Evidence: &acting1,
				Words: offOnly},
		},
	},
	{
		Name:   "no_share_vm_apps",
		Doc:    "true keeps the guest's applications off the Mac; false has them shared.",
		Values: &trueOrFalse, Guests: Windows, Beyond: MacOnArm | MacOnIntel,
		Strength: &reverted,
		Parts:    []Part{{Flag: "--sh-app-guest-to-host", Category: "shared_apps", Evidence: &acting1, Shown: []string{"Shared Applications/Guest-to-host apps sharing"}, Read: ReadSwitch, Words: offOn}},
	},
	{
		Name:   "no_share_mac_apps",
		Doc:    "true keeps the Mac's applications out of the guest; false has them shared.",
		Values: &trueOrFalse, Guests: Windows, Beyond: MacOnArm | MacOnIntel,
		Strength: &reverted,
		Parts:    []Part{{Flag: "--sh-app-host-to-guest", Category: "shared_apps", Evidence: &acting1, Shown: []string{"Shared Applications/Host-to-guest apps sharing"}, Read: ReadSwitch, Words: offOn}},
	},
	{
		Name: "clipboard", Doc: "Copying and pasting between the Mac and the guest. One-way clipboards have no public way to set them.",
		Values: &Values{Kind: KindChoice, Only: []Meaning{
			{"disconnect", "neither way"}, {"bidirectional", "both ways"},
			{"guest_to_mac", "only out of the guest; not supported, see on_unsupported"}, {"mac_to_guest", "only into the guest; not supported, see on_unsupported"},
		}},
		Guests: NotMacArm, Beyond: MacOnArm, Strength: &reverted,
		NoWay: []Value{"guest_to_mac", "mac_to_guest"}, Stricter: "disconnect",
		Parts: []Part{{Flag: "--shared-clipboard", Category: "misc_sharing", Evidence: &acting1, Read: ReadSwitch,
			Shown: []string{"Miscellaneous Sharing/Shared clipboard mode", "Miscellaneous Sharing/Shared clipboard"},
			Words: []Word{{For: "disconnect", Set: []string{"off"}}, {For: "bidirectional", Set: []string{"on"}}}}},
	},
	{
		Name:   "no_smart_cards",
		Doc:    "true keeps the Mac's smart card readers out of the guest; false has them shared.",
		Values: &trueOrFalse, Guests: NotMacArm, Beyond: MacOnArm,
		Strength: &reverted,
		Parts:    []Part{{Flag: "--auto-share-smart-card", Category: "usb", Evidence: &acting1, Shown: []string{"USB and Bluetooth/Automatic sharing smart cards"}, Read: ReadSwitch, Words: offOn}},
	},
	{
		Name:   "no_external_devices",
		Doc:    "true asks that no USB device can be connected to the guest. The tools have no public way to set it, so it is reported as unsupported.",
		Values: &trueOrFalse, Guests: AllGuests, NoWay: []Value{True, False},
		Strength: &Strength{protocol.StrengthNotEnforceable, protocol.StrengthNotEnforceable}, Disruptive: []Value{True},
	},
	{
		Name:   "lock_on_suspend",
		Doc:    "true has the guest locked when the virtual machine is suspended. Only Windows with Parallels Tools has it.",
		Values: &trueOrFalse, Guests: Windows, Tools: true, Strength: &reverted,
		Parts: []Part{{Flag: "--lock-on-suspend", Category: "security", Evidence: &Evidence{Inferred, "acting 1"}, Read: ReadSwitch,
			Shown: []string{"Lock VM on suspend"}, // before 16 (captures 2)
			File:  func(c *prlctl.ConfigPVS) string { return switchWord(c.LockGuestOnSuspend) },
			Words: onOff}},
	},
	{
		Name:   "no_config_changes",
		Doc:    "true has Parallels Desktop ask for an administrator's password before the configuration is changed. It is placed only with AllowUnprovenLocks in the profile.",
		Values: &trueOrFalse, Guests: NotMacArm, Lock: true, Order: OrderLast,
		Strength: &Strength{protocol.StrengthDeterred, protocol.StrengthReverted},
		Parts: []Part{{Flag: lockFlag, Category: "security", Evidence: &acting1One, Read: ReadSwitch,
			Shown: []string{"Security/Configuration is locked"}, Words: onOff}},
	},
	{
		Name:   "show_developer_tools",
		Doc:    "true shows the Develop menu of the virtual machine, false hides it.",
		Values: &trueOrFalse, Guests: NotMacArm, Strength: &reverted,
		Parts: []Part{{Flag: "--show-dev-tools", Category: "advanced", Certain: true, Evidence: &acting1, Shown: []string{"Advanced/Show developer tools"}, Read: ReadSwitch, Words: onOff}},
	},
	{
		Name:   "no_tools_autoupdate",
		Doc:    "true keeps Parallels Tools in the guest from updating by themselves, false has them updated.",
		Values: &trueOrFalse, Guests: AllGuests, Strength: &reverted,
		Parts: []Part{{Flag: "--tools-autoupdate", Category: "misc", Evidence: &acting1, Read: ReadSwitch,
			File:  func(c *prlctl.ConfigPVS) string { return switchWord(c.AutoUpdate) },
			Words: []Word{{For: True, Set: []string{"no", "off"}, Shown: []string{"off"}}, {For: False, Set: []string{"yes", "on"}, Shown: []string{"on"}}}}},
	},

	// Ours: options of `prlctl set` that the guide does not have, that are
	// confirmed, and that cannot lose anybody's data.
	{
		Name: "isolate_vm",
		Doc:  "true isolates the guest from the Mac as a whole: no shared folders, applications, clipboard and drag and drop. Commands cannot be run in an isolated guest from outside.",
		Ours: true, Values: &trueOrFalse, Guests: AllGuests, Strength: &reverted, Disruptive: []Value{True}, Order: OrderFirst,
		Parts: []Part{
			{Flag: "--isolate-vm", Category: "security", Evidence: &captures51, Read: ReadSwitch,
				Shown: []string{"Isolate VM from host"}, // before 16 (captures 2)
				File:  func(c *prlctl.ConfigPVS) string { return switchWord(c.IsolatedVM) },
				Words: onOff},
			// Isolating turned the sharing of gamepads on (prlctl 6).
			{Flag: "--auto-share-gamepad", Category: "usb", Evidence: &captures51, Read: ReadSwitch,
				Shown: []string{"USB and Bluetooth/Automatic sharing gamepads"}, Keep: "off"},
		},
	},
	{
		Name: "pause_idle", Doc: "true has Windows paused while no application uses it.",
		Ours: true, Values: &trueOrFalse, Guests: Windows, Strength: &reverted,
		Parts: []Part{{Flag: "--pause-idle", Category: "startup", Evidence: &prlctl15, Shown: []string{"Startup and Shutdown/Pause idle"}, Read: ReadSwitch, Words: onOff}},
	},
	{
		Name: "share_profile_folders", Doc: "true has the Mac's Desktop, Documents and Downloads mirrored in the guest.",
		Ours: true, Values: &trueOrFalse, Guests: AllGuests, Strength: &reverted,
		Parts: []Part{{Flag: "--shared-profile", Category: "shared_profiles", Evidence: &captures51, Shown: []string{"Shared Profile/enabled"}, Read: ReadSwitch, Words: onOff}},
	},
	{
		Name: "share_cloud_folders", Doc: "true has the Mac's iCloud, Dropbox and similar folders shared with the guest.",
		Ours: true, Values: &trueOrFalse, Guests: AllGuests, Strength: &reverted,
		Parts: []Part{{Flag: "--shared-cloud", Category: "misc_sharing", Evidence: &captures51, Shown: []string{"Miscellaneous Sharing/Shared cloud"}, Read: ReadSwitch, Words: onOff}},
	},
	{
		Name: "smart_mount", Doc: "true has drives, discs and network volumes of the Mac shown in the guest.",
		Ours: true, Values: &trueOrFalse, Guests: AllGuests, Strength: &reverted,
		Parts: []Part{{Flag: "--smart-mount", Category: "smart_mounts", Evidence: &captures51, Shown: []string{"SmartMount/enabled"}, Read: ReadSwitch, Words: onOff}},
	},
	{
		Name: "share_camera", Doc: "true has the Mac's camera shared with the guest.",
		Ours: true, Values: &trueOrFalse, Guests: AllGuests, Strength: &reverted,
		Parts: []Part{{Flag: "--auto-share-camera", Category: "usb", Evidence: &captures51, Shown: []string{"USB and Bluetooth/Automatic sharing cameras"}, Read: ReadSwitch, Words: onOff}},
	},
	{
		Name: "share_gamepads", Doc: "true has gamepads shared with the guest.",
		Ours: true, Values: &trueOrFalse, Guests: AllGuests, Strength: &reverted,
		Parts: []Part{{Flag: "--auto-share-gamepad", Category: "usb", Evidence: &captures51, Shown: []string{"USB and Bluetooth/Automatic sharing gamepads"}, Read: ReadSwitch, Words: onOff}},
	},
	{
		Name: "share_printers", Doc: "true has the Mac's printers shown in the guest.",
		Ours: true, Values: &trueOrFalse, Guests: NotMac, Strength: &reverted,
		Parts: []Part{{Flag: "--sync-host-printers", Category: "printers", Evidence: &prlctl15, Shown: []string{"Print Management/Synchronize with host printers"}, Read: ReadSwitch, Words: onOff}},
	},
	{
		Name: "share_location", Doc: "true has the Mac's location shared with the guest.",
		Ours: true, Values: &trueOrFalse, Guests: AllGuests, Strength: &reverted,
		Parts: []Part{{Flag: "--share-host-location", Category: "advanced", Certain: true, Evidence: &captures51, Shown: []string{"Advanced/Share host location"}, Read: ReadSwitch, Words: onOff}},
	},
	{
		Name: "sync_ssh_keys", Doc: "true has the Mac's public SSH keys written into the guest.",
		Ours: true, Values: &trueOrFalse, Guests: AllGuests, Strength: &reverted,
		Parts: []Part{{Flag: "--sync-ssh-ids", Category: "advanced", Certain: true, Evidence: &captures52, Shown: []string{"Advanced/Public SSH keys synchronization"}, Read: ReadSwitch, Words: onOff}},
	},
	{
		Name: "sync_hostname", Doc: "true has the guest named as the virtual machine.",
		Ours: true, Values: &trueOrFalse, Guests: AllGuests, Strength: &reverted,
		Parts: []Part{{Flag: "--sync-vm-hostname", Category: "advanced", Certain: true, Evidence: &captures52, Shown: []string{"Advanced/VM hostname synchronization"}, Read: ReadSwitch, Words: onOff}},
	},
	{
		Name: "rosetta_linux", Doc: "true offers Rosetta to a Linux guest on Apple silicon.",
		Ours: true, Values: &trueOrFalse, Guests: OtherSystems, Strength: &reverted,
		Parts: []Part{{Flag: "--rosetta-linux", Category: "advanced", Certain: true, Evidence: &captures52, Shown: []string{"Advanced/Rosetta Linux"}, Read: ReadSwitch, Words: onOff}},
	},
	{
		Name: "guest_apps_in_dock", Doc: "true shows the guest's applications in a folder of the Dock.",
		Ours: true, Values: &trueOrFalse, Guests: NotMac, Strength: &reverted,
		Parts: []Part{{Flag: "--show-guest-app-folder-in-dock", Category: "shared_apps", Evidence: &prlctl15, Shown: []string{"Shared Applications/Show guest apps folder in Dock"}, Read: ReadSwitch, Words: onOff}},
	},
	{
		Name: "guest_notifications", Doc: "true shows the guest's notifications on the Mac.",
		Ours: true, Values: &trueOrFalse, Guests: NotMac, Strength: &reverted,
		Parts: []Part{{Flag: "--show-guest-notifications", Category: "shared_apps", Evidence: &prlctl15, Shown: []string{"Shared Applications/Show guest notifications"}, Read: ReadSwitch, Words: onOff}},
	},
	{
		Name: "time_sync", Doc: "true has the guest's clock set by the Mac's.",
		Ours: true, Values: &trueOrFalse, Guests: AllGuests, Strength: &reverted,
		Parts: []Part{{Flag: "--time-sync", Category: "timesync", Evidence: &prlctl15, Shown: []string{"Time Synchronization/enabled"}, Read: ReadSwitch, Words: onOff}},
	},
	{
		Name: "longer_battery_life", Doc: "true has the virtual machine save power on battery at the cost of speed.",
		Ours: true, Values: &trueOrFalse, Guests: AllGuests, Strength: &reverted,
		Parts: []Part{{Flag: "--longer-battery-life", Category: "optimization", Stopped: true, Evidence: &prlctl15, Shown: []string{"Optimization/Longer battery life"}, Read: ReadSwitch, Words: onOff}},
	},
	{
		Name: "adaptive_hypervisor", Doc: "true gives more of the Mac's processors to whichever of the Mac and the guest is in front.",
		Ours: true, Values: &trueOrFalse, Guests: AllGuests, Strength: &reverted,
		Parts: []Part{{Flag: "--adaptive-hypervisor", Category: "optimization", Stopped: true, Evidence: &prlctl15, Shown: []string{"Optimization/Adaptive hypervisor"}, Read: ReadSwitch, Words: onOff}},
	},
	{
		Name: "auto_compress_disks", Doc: "true has the virtual disks compacted by themselves.",
		Ours: true, Values: &trueOrFalse, Guests: AllGuests, Strength: &reverted,
		Parts: []Part{{Flag: "--auto-compress", Category: "optimization", Stopped: true, Evidence: &prlctl15, Shown: []string{"Optimization/Auto compress virtual disks"}, Read: ReadSwitch, Words: onOff}},
	},
	{
		Name: "nested_virtualization", Doc: "true lets the guest run virtual machines of its own.",
		Ours: true, Values: &trueOrFalse, Guests: NotMac, Strength: &reverted,
		Parts: []Part{{Flag: "--nested-virt", Category: "optimization", Stopped: true, Evidence: &captures52, Shown: []string{"Optimization/Nested virtualization"}, Read: ReadSwitch, Words: onOff}},
	},
	{
		Name: "resource_quota", Doc: "How much of the Mac the virtual machine may take.",
		Ours: true, Values: &Values{Kind: KindChoice, Only: []Meaning{{"low", "little"}, {"medium", "some"}, {"unlimited", "as much as it wants"}}}, Guests: AllGuests, Strength: &reverted,
		Parts: []Part{{Flag: "--resource-quota", Category: "optimization", Evidence: &captures52, Shown: []string{"Optimization/Resource quota"},
			Words: []Word{{For: "low", Set: []string{"low"}}, {For: "medium", Set: []string{"medium"}}, {For: "unlimited", Set: []string{"unlimited"}}}}},
	},
	{
		Name: "vtpm", Doc: "true gives the virtual machine a TPM. It is never taken away: a guest whose disk is encrypted with it could not start any more.",
		Ours: true, Values: &Values{Kind: KindSwitch, Only: []Meaning{{True, "it has a TPM"}}}, Guests: NotMac, Strength: &reverted,
		Parts: []Part{{Flag: "--tpm", Category: "boot", Evidence: &captures52, Shown: []string{"Security/TPM enabled"}, Read: ReadSwitch, Stopped: true,
			Words: onOnly}},
	},
	{
		Name: "secure_boot", Doc: "true has Windows start by Secure Boot. A guest with BitLocker may ask for its recovery key once. It is never turned off.",
		Ours: true, Values: &Values{Kind: KindSwitch, Only: []Meaning{{True, "Secure Boot is on"}}}, Guests: Windows, Strength: &reverted,
		Parts: []Part{{Flag: "--efi-secure-boot", Category: "boot", Evidence: &captures52, Shown: []string{"EFI Secure boot"}, Read: ReadSwitch, Stopped: true,
			Words: onOnly}},
	},
	{
		Name: "max_cpus", Doc: "The most processors that the virtual machine may have; one with fewer is left alone.",
		Ours: true, Values: &Values{Kind: KindNumber, Min: 1, Max: 128}, Guests: AllGuests, Strength: &reverted,
		Parts: []Part{{Flag: "--cpus", Category: "cpus", Evidence: &captures52, Shown: []string{"Hardware/cpu/cpus"},
			Read: ReadAtMost, AsIs: true, Stopped: true}},
	},
	{
		Name: "max_memory_mb", Doc: "The most memory in MB that the virtual machine may have; one with less is left alone.",
		Ours: true, Values: &Values{Kind: KindNumber, Min: 1024, Max: 1 << 20}, Guests: AllGuests, Strength: &reverted,
		Parts: []Part{{Flag: "--memsize", Category: "memory", Evidence: &captures52, Shown: []string{"Hardware/memory/size"},
			Read: ReadAtMost, AsIs: true, Stopped: true}},
	},
	{
		Name: "asset_tag", Doc: "The asset tag in the virtual machine's BIOS.",
		Ours: true, Values: &Values{Kind: KindText, Max: 64}, Guests: AllGuests, Strength: &reverted,
		Parts: []Part{{Flag: "--asset-id", Category: "security", Evidence: &acting1, Read: ReadText, AsIs: true, Stopped: true,
			File: func(c *prlctl.ConfigPVS) string { return c.AssetID }}},
	},
}

// lockFlag locks a configuration.
const lockFlag = "--lock-edit-settings"

// viewsWithWindow are the startup views that are not headless.
var viewsWithWindow = []string{"same", "window", "coherence", "fullscreen", "modality"}

// Words of a flag that is on or off.
var (
	setOn  = []string{"on"}
	setOff = []string{"off"}

	onOff   = []Word{{For: True, Set: setOn}, {For: False, Set: setOff}}
	offOn   = []Word{{For: True, Set: setOff}, {For: False, Set: setOn}}
	onOnly  = []Word{{For: True, Set: setOn}} // as with the next, false leaves the flag alone
	offOnly = []Word{{For: True, Set: setOff}}
)

// trueOrFalse are the values of most switches.
var trueOrFalse = Values{Kind: KindSwitch}

// reverted is how firmly a setting holds that is put back when it was changed.
var reverted = Strength{protocol.StrengthReverted, protocol.StrengthReverted}

// switchWord is what a switch of config.pvs shows; empty if the file has none.
func switchWord(s prlctl.Switch) string {
	if s == prlctl.SwitchUnknown {
		return ""
	}
	return s.String()
}
