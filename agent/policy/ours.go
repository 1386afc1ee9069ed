package policy

import (
	"prlagent/agent/protocol"
	"prlagent/prlctl"
)

// ourSettings are those that the guide does not have: options of `prlctl set`
// that are confirmed, and that cannot lose anybody's data.
func ourSettings() []Setting {
	return []Setting{
		{
			Name:   "isolate_vm",
			Doc:    "true isolates the guest from the Mac as a whole: no shared folders, applications, clipboard and drag and drop. Commands cannot be run in an isolated guest from outside.",
			Values: Values{Kind: KindSwitch}, Disruptive: []Value{True}, Order: OrderFirst,
			Parts: []Part{
				{Flag: "--isolate-vm", Category: "security", Evidence: captures51, Read: ReadSwitch,
					Shown: []string{"Isolate VM from host"}, // before 16 (captures 2)
					File:  func(c *prlctl.ConfigPVS) string { return switchWord(c.IsolatedVM) },
					Words: onOff},
				// Isolating turned the sharing of gamepads on (prlctl 6).
				{Flag: "--auto-share-gamepad", Category: "usb", Evidence: captures51, Read: ReadSwitch,
					Shown: []string{"USB and Bluetooth/Automatic sharing gamepads"}, Keep: "off"},
			},
		},
		ourSwitch("pause_idle", "true has Windows paused while no application uses it.", Windows,
			switchPart("--pause-idle", "startup", prlctl15, "on", "off", "Startup and Shutdown/Pause idle")),
		ourSwitch("share_profile_folders", "true has the Mac's Desktop, Documents and Downloads mirrored in the guest.", AllGuests,
			switchPart("--shared-profile", "shared_profiles", captures51, "on", "off", "Shared Profile/enabled")),
		ourSwitch("share_cloud_folders", "true has the Mac's iCloud, Dropbox and similar folders shared with the guest.", AllGuests,
			switchPart("--shared-cloud", "misc_sharing", captures51, "on", "off", "Miscellaneous Sharing/Shared cloud")),
		ourSwitch("smart_mount", "true has drives, discs and network volumes of the Mac shown in the guest.", AllGuests,
			switchPart("--smart-mount", "smart_mounts", captures51, "on", "off", "SmartMount/enabled")),
		ourSwitch("share_camera", "true has the Mac's camera shared with the guest.", AllGuests,
			switchPart("--auto-share-camera", "usb", captures51, "on", "off", "USB and Bluetooth/Automatic sharing cameras")),
		ourSwitch("share_gamepads", "true has gamepads shared with the guest.", AllGuests,
			switchPart("--auto-share-gamepad", "usb", captures51, "on", "off", "USB and Bluetooth/Automatic sharing gamepads")),
		ourSwitch("share_printers", "true has the Mac's printers shown in the guest.", NotMac,
			switchPart("--sync-host-printers", "printers", prlctl15, "on", "off", "Print Management/Synchronize with host printers")),
		ourSwitch("share_location", "true has the Mac's location shared with the guest.", AllGuests,
			certain(switchPart("--share-host-location", "advanced", captures51, "on", "off", "Advanced/Share host location"))),
		ourSwitch("sync_ssh_keys", "true has the Mac's public SSH keys written into the guest.", AllGuests,
			certain(switchPart("--sync-ssh-ids", "advanced", captures52, "on", "off", "Advanced/Public SSH keys synchronization"))),
		ourSwitch("sync_hostname", "true has the guest named as the virtual machine.", AllGuests,
			certain(switchPart("--sync-vm-hostname", "advanced", captures52, "on", "off", "Advanced/VM hostname synchronization"))),
		ourSwitch("rosetta_linux", "true offers Rosetta to a Linux guest on Apple silicon.", OtherSystems,
			certain(switchPart("--rosetta-linux", "advanced", captures52, "on", "off", "Advanced/Rosetta Linux"))),
		ourSwitch("guest_apps_in_dock", "true shows the guest's applications in a folder of the Dock.", NotMac,
			switchPart("--show-guest-app-folder-in-dock", "shared_apps", prlctl15, "on", "off", "Shared Applications/Show guest apps folder in Dock")),
		ourSwitch("guest_notifications", "true shows the guest's notifications on the Mac.", NotMac,
			switchPart("--show-guest-notifications", "shared_apps", prlctl15, "on", "off", "Shared Applications/Show guest notifications")),
		ourSwitch("time_sync", "true has the guest's clock set by the Mac's.", AllGuests,
			switchPart("--time-sync", "timesync", prlctl15, "on", "off", "Time Synchronization/enabled")),
		ourSwitch("longer_battery_life", "true has the virtual machine save power on battery at the cost of speed.", AllGuests,
			stopped(switchPart("--longer-battery-life", "optimization", prlctl15, "on", "off", "Optimization/Longer battery life"))),
		ourSwitch("adaptive_hypervisor", "true gives more of the Mac's processors to whichever of the Mac and the guest is in front.", AllGuests,
			stopped(switchPart("--adaptive-hypervisor", "optimization", prlctl15, "on", "off", "Optimization/Adaptive hypervisor"))),
		ourSwitch("auto_compress_disks", "true has the virtual disks compacted by themselves.", AllGuests,
			stopped(switchPart("--auto-compress", "optimization", prlctl15, "on", "off", "Optimization/Auto compress virtual disks"))),
		ourSwitch("nested_virtualization", "true lets the guest run virtual machines of its own.", NotMac,
			stopped(switchPart("--nested-virt", "optimization", captures52, "on", "off", "Optimization/Nested virtualization"))),
		{
			Name: "resource_quota", Doc: "How much of the Mac the virtual machine may take.",
			Values: Values{Kind: KindChoice, Only: []Meaning{{"low", "little"}, {"medium", "some"}, {"unlimited", "as much as it wants"}}},
			Parts: []Part{{Flag: "--resource-quota", Category: "optimization", Evidence: captures52, Shown: []string{"Optimization/Resource quota"},
				Words: map[Value]Word{"low": {Set: []string{"low"}}, "medium": {Set: []string{"medium"}}, "unlimited": {Set: []string{"unlimited"}}}}},
		},
		{
			Name: "vtpm", Doc: "true gives the virtual machine a TPM. It is never taken away: a guest whose disk is encrypted with it could not start any more.",
			Values: Values{Kind: KindSwitch, Only: []Meaning{{True, "it has a TPM"}}}, Guests: NotMac,
			Parts: []Part{{Flag: "--tpm", Category: "boot", Evidence: captures52, Shown: []string{"Security/TPM enabled"}, Read: ReadSwitch, Stopped: true,
				Words: map[Value]Word{True: {Set: []string{"on"}}}}},
		},
		{
			Name: "secure_boot", Doc: "true has Windows start by Secure Boot. A guest with BitLocker may ask for its recovery key once. It is never turned off.",
			Values: Values{Kind: KindSwitch, Only: []Meaning{{True, "Secure Boot is on"}}}, Guests: Windows,
			Parts: []Part{{Flag: "--efi-secure-boot", Category: "boot", Evidence: captures52, Shown: []string{"EFI Secure boot"}, Read: ReadSwitch, Stopped: true,
				Words: map[Value]Word{True: {Set: []string{"on"}}}}},
		},
		{
			Name: "max_cpus", Doc: "The most processors that the virtual machine may have; one with fewer is left alone.",
			Values: Values{Kind: KindNumber, Min: 1, Max: 128},
			Parts: []Part{{Flag: "--cpus", Category: "cpus", Evidence: captures52, Shown: []string{"Hardware/cpu/cpus"},
				Read: ReadAtMost, AsIs: true, Stopped: true}},
		},
		{
			Name: "max_memory_mb", Doc: "The most memory in MB that the virtual machine may have; one with less is left alone.",
			Values: Values{Kind: KindNumber, Min: 1024, Max: 1 << 20},
			Parts: []Part{{Flag: "--memsize", Category: "memory", Evidence: captures52, Shown: []string{"Hardware/memory/size"},
				Read: ReadAtMost, AsIs: true, Stopped: true}},
		},
		{
			Name: "asset_tag", Doc: "The asset tag in the virtual machine's BIOS.",
			Values: Values{Kind: KindText, Max: 64},
			Parts: []Part{{Flag: "--asset-id", Category: "security", Evidence: acting1, Read: ReadText, AsIs: true, Stopped: true,
				File: func(c *prlctl.ConfigPVS) string { return c.AssetID }}},
		},
	}
}

// ourSwitch is one of our rows with a single flag that is on or off.
func ourSwitch(name, doc string, guests Guests, part Part) Setting {
	return Setting{Name: name, Doc: doc, Values: Values{Kind: KindSwitch}, Guests: guests, Parts: []Part{part}}
}

// completed fills what all of our rows have in common.
func completed(settings []Setting) []Setting {
	for i := range settings {
		s := &settings[i]
		s.Ours = true
		if s.Guests == 0 {
			s.Guests = AllGuests
		}
		s.Strength = Strength{protocol.StrengthReverted, protocol.StrengthReverted}
	}
	return settings
}
