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
var Settings = append(guideSettings(), completed(ourSettings())...)

func guideSettings() []Setting {
	return []Setting{
		{
			Name: "startup", Doc: "How the virtual machine starts.",
			Values: Values{Kind: KindChoice, Only: []Meaning{
				{"manual", "a person starts it, and it shows its window"},
				{"ready_in_background", "it starts when its owner logs in, without a window, and keeps running when its window is closed"},
			}},
			Guests: AllGuests, Strength: Strength{protocol.StrengthReverted, protocol.StrengthReverted},
			Parts: []Part{
				// start-host means ready in the background as well, and may ask for an
				// administrator, which is not known; user-login does not.
				{Flag: autostartFlag, Category: "startup", Evidence: acting1, Shown: []string{"Startup and Shutdown/Autostart"},
					Words: map[Value]Word{"manual": {Set: []string{autostartOff}}, "ready_in_background": {Set: []string{"user-login", "start-host"}}}},
				{Flag: "--startup-view", Category: "startup", Evidence: acting1, Shown: []string{"Startup and Shutdown/Startup view"},
					Words: map[Value]Word{"manual": {Set: []string{"window"}, Shown: viewsWithWindow}, "ready_in_background": {Set: []string{"headless"}}}},
				{Flag: "--on-window-close", Category: "startup", Evidence: acting1, Shown: []string{"Startup and Shutdown/On window close"},
					Words: map[Value]Word{"ready_in_background": {Set: []string{"keep-running"}}}},
				{Flag: "--autostop", Category: "startup", Evidence: acting1, Shown: []string{"Startup and Shutdown/Autostop"},
					Words: map[Value]Word{"ready_in_background": {Set: []string{"suspend"}, Shown: []string{"suspend", "shutdown"}}}},
			},
		},
		{
			Name: "network", Doc: "The network of every adapter of the virtual machine; the network conditioner is turned off as well.",
			Values: Values{Kind: KindChoice, Only: []Meaning{
				{"disconnect", "no network"}, {"shared", "through the Mac's network, behind its address"},
				{"host_only", "with the Mac only"}, {"bridged_default", "in the network of the Mac's default adapter"},
			}},
			Guests: AllGuests, Strength: Strength{protocol.StrengthReverted, protocol.StrengthReverted},
			Disruptive: []Value{"disconnect", "shared", "host_only", "bridged_default"},
			Parts: []Part{
				{Flag: "--device-set", Category: "device_mgmt", Evidence: acting1One, Adapters: true,
					Words: map[Value]Word{
						"disconnect":      adapterSet([]string{adapterDisconnected}, "--disconnect"),
						"shared":          adapterSet([]string{"shared"}, "--type", "shared", "--connect"),
						"host_only":       adapterSet([]string{"host-only"}, "--type", "host-only", "--connect"),
						"bridged_default": adapterSet([]string{"bridged"}, "--type", "bridged", "--iface", "default", "--connect"),
					}},
				// Of the conditioner's flags only the beginning of the names is known.
				{Flag: "--network-cond", Category: "network_cond", Evidence: Evidence{Unknown, "prlctl 1.5"}, Shown: []string{"Network/Conditioned"}, Read: ReadSwitch,
					Words: everyValue(Word{Set: []string{"off"}}, "disconnect", "shared", "host_only", "bridged_default")},
			},
		},
		{
			Name:   "no_share_mac_folders",
			Doc:    "true keeps every folder of the Mac out of the guest: shared folders, profile folders, cloud folders and the Mac's volumes. false has folders shared; which ones is left to the user.",
			Values: Values{Kind: KindSwitch}, Guests: AllGuests, Strength: Strength{protocol.StrengthReverted, protocol.StrengthReverted},
			Disruptive: []Value{True},
			Parts: []Part{
				switchPart("--shf-host", "shared_folders", acting1, "off", "on", "Host Shared Folders/enabled"),
				{Flag: "--shf-host-defined", Category: "shared_folders", Evidence: acting1, Shown: []string{"Host defined sharing"},
					Words: map[Value]Word{True: {Set: []string{"off"}}}},
				{Flag: "--shf-host-automount", Category: "shared_folders", Evidence: acting1,
					Words: map[Value]Word{True: {Set: []string{"off"}}}},
				switchPart("--shared-profile", "shared_profiles", captures51, "off", "", "Shared Profile/enabled"),
				switchPart("--smart-mount", "smart_mounts", acting1One, "off", "", "SmartMount/enabled"),
				switchPart("--shared-cloud", "misc_sharing", captures51, "off", "", "Miscellaneous Sharing/Shared cloud"),
			},
		},
		{
			Name:   "no_share_vm_folders",
			Doc:    "true keeps the guest's folders from being shared with the Mac; false has them shared.",
			Values: Values{Kind: KindSwitch}, Guests: Windows, Beyond: MacOnArm | MacOnIntel,
			Strength: Strength{protocol.StrengthReverted, protocol.StrengthReverted}, Disruptive: []Value{True},
			Parts: []Part{
				{Flag: "--shf-guest", Category: "shared_folders", Evidence: acting1, Shown: []string{"Guest Shared Folders/enabled"}, Read: ReadSwitch,
					File:  func(c *prlctl.ConfigPVS) string { return switchWord(c.GuestSharing) },
					Words: map[Value]Word{True: {Set: []string{"off"}}, False: {Set: []string{"on"}}}},
				{Flag: "--shf-guest-automount", Category: "shared_folders", Evidence: acting1,
					Words: map[Value]Word{True: {Set: []string{"off"}}}},
			},
		},
		{
			Name:   "no_share_vm_apps",
			Doc:    "true keeps the guest's applications off the Mac; false has them shared.",
			Values: Values{Kind: KindSwitch}, Guests: Windows, Beyond: MacOnArm | MacOnIntel,
			Strength: Strength{protocol.StrengthReverted, protocol.StrengthReverted},
			Parts:    []Part{switchPart("--sh-app-guest-to-host", "shared_apps", acting1, "off", "on", "Shared Applications/Guest-to-host apps sharing")},
		},
		{
			Name:   "no_share_mac_apps",
			Doc:    "true keeps the Mac's applications out of the guest; false has them shared.",
			Values: Values{Kind: KindSwitch}, Guests: Windows, Beyond: MacOnArm | MacOnIntel,
			Strength: Strength{protocol.StrengthReverted, protocol.StrengthReverted},
			Parts:    []Part{switchPart("--sh-app-host-to-guest", "shared_apps", acting1, "off", "on", "Shared Applications/Host-to-guest apps sharing")},
		},
		{
			Name: "clipboard", Doc: "Copying and pasting between the Mac and the guest. One-way clipboards have no public way to set them.",
			Values: Values{Kind: KindChoice, Only: []Meaning{
				{"disconnect", "neither way"}, {"bidirectional", "both ways"},
				{"guest_to_mac", "only out of the guest; not supported, see on_unsupported"}, {"mac_to_guest", "only into the guest; not supported, see on_unsupported"},
			}},
			Guests: NotMacArm, Beyond: MacOnArm, Strength: Strength{protocol.StrengthReverted, protocol.StrengthReverted},
			NoWay: []Value{"guest_to_mac", "mac_to_guest"}, Stricter: map[Value]Value{"guest_to_mac": "disconnect", "mac_to_guest": "disconnect"},
			Parts: []Part{{Flag: "--shared-clipboard", Category: "misc_sharing", Evidence: acting1, Read: ReadSwitch,
				Shown: []string{"Miscellaneous Sharing/Shared clipboard mode", "Miscellaneous Sharing/Shared clipboard"},
				Words: map[Value]Word{"disconnect": {Set: []string{"off"}}, "bidirectional": {Set: []string{"on"}}}}},
		},
		{
			Name:   "no_smart_cards",
			Doc:    "true keeps the Mac's smart card readers out of the guest; false has them shared.",
			Values: Values{Kind: KindSwitch}, Guests: NotMacArm, Beyond: MacOnArm,
			Strength: Strength{protocol.StrengthReverted, protocol.StrengthReverted},
			Parts:    []Part{switchPart("--auto-share-smart-card", "usb", acting1, "off", "on", "USB and Bluetooth/Automatic sharing smart cards")},
		},
		{
			Name:   "no_external_devices",
			Doc:    "true asks that no USB device can be connected to the guest. The tools have no public way to set it, so it is reported as unsupported.",
			Values: Values{Kind: KindSwitch}, Guests: AllGuests, NoWay: []Value{True, False},
			Strength: Strength{protocol.StrengthNotEnforceable, protocol.StrengthNotEnforceable}, Disruptive: []Value{True},
		},
		{
			Name:   "lock_on_suspend",
			Doc:    "true has the guest locked when the virtual machine is suspended. Only Windows with Parallels Tools has it.",
			Values: Values{Kind: KindSwitch}, Guests: Windows, Tools: true, Strength: Strength{protocol.StrengthReverted, protocol.StrengthReverted},
			Parts: []Part{{Flag: "--lock-on-suspend", Category: "security", Evidence: Evidence{Inferred, "acting 1"}, Read: ReadSwitch,
				Shown: []string{"Lock VM on suspend"}, // before 16 (captures 2)
				File:  func(c *prlctl.ConfigPVS) string { return switchWord(c.LockGuestOnSuspend) },
				Words: onOff}},
		},
		{
			Name:   "no_config_changes",
			Doc:    "true has Parallels Desktop ask for an administrator's password before the configuration is changed. It is placed only with AllowUnprovenLocks in the profile.",
			Values: Values{Kind: KindSwitch}, Guests: NotMacArm, Lock: true, Order: OrderLast,
			Strength: Strength{protocol.StrengthDeterred, protocol.StrengthReverted},
			Parts: []Part{{Flag: lockFlag, Category: "security", Evidence: acting1One, Read: ReadSwitch,
				Shown: []string{"Security/Configuration is locked"}, Words: onOff}},
		},
		{
			Name:   "show_developer_tools",
			Doc:    "true shows the Develop menu of the virtual machine, false hides it.",
			Values: Values{Kind: KindSwitch}, Guests: NotMacArm, Strength: Strength{protocol.StrengthReverted, protocol.StrengthReverted},
			Parts: []Part{certain(switchPart("--show-dev-tools", "advanced", acting1, "on", "off", "Advanced/Show developer tools"))},
		},
		{
			Name:   "no_tools_autoupdate",
			Doc:    "true keeps Parallels Tools in the guest from updating by themselves, false has them updated.",
			Values: Values{Kind: KindSwitch}, Guests: AllGuests, Strength: Strength{protocol.StrengthReverted, protocol.StrengthReverted},
			Parts: []Part{{Flag: "--tools-autoupdate", Category: "misc", Evidence: acting1, Read: ReadSwitch,
				File:  func(c *prlctl.ConfigPVS) string { return switchWord(c.AutoUpdate) },
				Words: map[Value]Word{True: {Set: []string{"no", "off"}, Shown: []string{"off"}}, False: {Set: []string{"yes", "on"}, Shown: []string{"on"}}}}},
		},
	}
}

// lockFlag locks a configuration.
const lockFlag = "--lock-edit-settings"

// viewsWithWindow are the startup views that are not headless.
var viewsWithWindow = []string{"same", "window", "coherence", "fullscreen", "modality"}

var onOff = map[Value]Word{True: {Set: []string{"on"}}, False: {Set: []string{"off"}}}

// switchPart is a flag that is on or off: word for true, other for false. An
// empty one leaves the flag alone.
func switchPart(flag, category string, evidence Evidence, word, other, shown string) Part {
	words := make(map[Value]Word)
	for value, set := range map[Value]string{True: word, False: other} {
		if set != "" {
			words[value] = Word{Set: []string{set}}
		}
	}
	return Part{Flag: flag, Category: category, Evidence: evidence, Shown: []string{shown}, Read: ReadSwitch, Words: words}
}

// certain marks a part whose category of the help is confirmed.
func certain(part Part) Part {
	part.Certain = true
	return part
}

// stopped marks a part that is set only while the machine is shut down.
func stopped(part Part) Part {
	part.Stopped = true
	return part
}

func everyValue(word Word, values ...Value) map[Value]Word {
	words := make(map[Value]Word, len(values))
	for _, value := range values {
		words[value] = word
	}
	return words
}

// adapterSet is what `--device-set netN` is given. A disabled adapter has no
// network, whatever its type is, and is left alone.
func adapterSet(shown []string, with ...string) Word {
	return Word{Set: shown, Shown: append(shown, adapterOff), With: with}
}

// switchWord is what a switch of config.pvs shows; empty if the file has none.
func switchWord(s prlctl.Switch) string {
	if s == prlctl.SwitchUnknown {
		return ""
	}
	return s.String()
}
