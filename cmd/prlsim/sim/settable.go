package sim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// settable is one flag of `prlctl set` (facts/prlctl.md 1.5).
type settable struct {
	flag     string
	category string
	values   string // words with bars between; "number"; "text"; empty: none, it asks
	path     string // where `list -i --json` shows it, or an element of config.pvs behind "pvs:"; empty: neither
	since    int    // first major version that knows it; 0: all
	until    int    // last one; 0: the newest
	stopped  bool   // only while the VM is stopped
	inferred bool   // see the assumption inferred_flags
}

const (
	switched = "on|off"
	pvs      = "pvs:"
)

// settables are the flags that the facts name, by the categories of 26.4.1. To
// which category a flag belongs is confirmed for `advanced` only.
var settables = []settable{
	{flag: "--cpus", category: "cpus", values: "number", path: "Hardware/cpu/cpus", stopped: true},
	{flag: "--memsize", category: "memory", values: "number", path: "Hardware/memory/size", stopped: true},
	{flag: "--bios-type", category: "boot", values: "legacy|efi32|efi64|efi-arm64", path: "BIOS type", stopped: true},
	{flag: "--efi-secure-boot", category: "boot", values: switched, path: "EFI Secure boot", since: 20, stopped: true},
	{flag: "--tpm", category: "boot", values: switched, stopped: true},
	{flag: "--videosize", category: "video", values: "number", stopped: true},
	{flag: "--smart-mouse-optimize", category: "mouse", values: "auto|on|off", path: "Mouse and Keyboard/Smart mouse optimized for games"},
	{flag: "--keyboard-optimize", category: "keyboard", values: "auto|off|accessibility", path: "Mouse and Keyboard/Keyboard optimization mode"},
	{flag: "--sync-host-printers", category: "printers", values: switched, path: "Print Management/Synchronize with host printers"},
	{flag: "--sync-default-printer", category: "printers", values: switched, path: "Print Management/Synchronize default printer"},
	{flag: "--show-host-printer-ui", category: "printers", values: switched, path: "Print Management/Show host printer UI"},
	{flag: "--auto-share-camera", category: "usb", values: switched, path: "USB and Bluetooth/Automatic sharing cameras"},
	{flag: "--auto-share-smart-card", category: "usb", values: switched, path: "USB and Bluetooth/Automatic sharing smart cards"},
	{flag: "--auto-share-gamepad", category: "usb", values: switched, path: "USB and Bluetooth/Automatic sharing gamepads"},
	{flag: "--support-usb30", category: "usb", values: switched, path: "USB and Bluetooth/Support USB 3.0", stopped: true},
	{flag: "--auto-share-bluetooth", category: "bluetooth", values: switched, path: "USB and Bluetooth/Automatic sharing bluetooth", until: 20},
	{flag: "--autostart", category: "startup", values: "off|open-window|start-app|start-host|user-login", path: "Startup and Shutdown/Autostart"},
	{flag: "--autostart-delay", category: "startup", values: "number", path: "Startup and Shutdown/Autostart delay"},
	{flag: "--autostop", category: "startup", values: "stop|suspend|shutdown", path: "Startup and Shutdown/Autostop"},
	{flag: "--startup-view", category: "startup", values: "same|window|coherence|fullscreen|modality|headless", path: "Startup and Shutdown/Startup view"},
	{flag: "--on-shutdown", category: "startup", values: "window|close|quit", path: "Startup and Shutdown/On shutdown"},
	{flag: "--on-window-close", category: "startup", values: "suspend|shutdown|stop|ask|keep-running", path: "Startup and Shutdown/On window close"},
	{flag: "--pause-idle", category: "startup", values: switched, path: "Startup and Shutdown/Pause idle"},
	{flag: "--undo-disks", category: "startup", values: "on|off|ask", path: "Startup and Shutdown/Undo disks", stopped: true},
	{flag: "--faster-vm", category: "optimization", values: switched, path: "Optimization/Faster virtual machine"},
	{flag: "--adaptive-hypervisor", category: "optimization", values: switched, path: "Optimization/Adaptive hypervisor"},
	{flag: "--auto-compress", category: "optimization", values: switched, path: "Optimization/Auto compress virtual disks"},
	{flag: "--nested-virt", category: "optimization", values: switched, path: "Optimization/Nested virtualization", stopped: true},
	{flag: "--pmu-virt", category: "optimization", values: switched, path: "Optimization/PMU virtualization", stopped: true},
	{flag: "--longer-battery-life", category: "optimization", values: switched, path: "Optimization/Longer battery life"},
	{flag: "--battery-status", category: "optimization", values: switched, path: "Optimization/Show battery status"},
	{flag: "--resource-quota", category: "optimization", values: "low|medium|unlimited", path: "Optimization/Resource quota"},
	{flag: "--travel-enter", category: "travel", values: "never", path: "Travel mode/Enter condition"},
	{flag: "--isolate-vm", category: "security", values: switched, path: pvs + "IsolatedVm"},
	{flag: "--lock-edit-settings", category: "security", values: switched},
	{flag: "--custom-pwd", category: "security"},
	{flag: "--require-pwd", category: "security", values: "text", inferred: true},
	{flag: "--lock-on-suspend", category: "security", values: switched, path: pvs + "LockGuestOnSuspend", inferred: true},
	{flag: "--asset-id", category: "security", values: "text", path: pvs + "AssetId", stopped: true, inferred: true},
	{flag: "--smart-guard", category: "smartguard", values: switched, path: "Smart Guard/enabled"},
	{flag: "--expiration", category: "protection", values: "text", stopped: true, inferred: true},
	{flag: "--modality-stay-on-top", category: "modality", values: switched, path: "Modality/Stay on top"},
	{flag: "--fullscreen-optimize-for-games", category: "fullscreen", values: switched, path: "Fullscreen/Optimize for games"},
	{flag: "--winsystray-in-macmenu", category: "coherence", values: switched, path: "Coherence/Show Windows systray in Mac menu", inferred: true},
	{flag: "--time-sync", category: "timesync", values: switched, path: "Time Synchronization/enabled"},
	{flag: "--time-sync-smart-mode", category: "timesync", values: switched, path: "Time Synchronization/Smart mode"},
	{flag: "--disable-timezone-sync", category: "timesync", values: switched, path: "Time Synchronization/Timezone synchronization disabled"},
	{flag: "--time-sync-interval", category: "timesync", values: "number", path: "Time Synchronization/Interval (in seconds)"},
	{flag: "--device-set", category: "device_mgmt", values: "text"},
	{flag: "--device-connect", category: "device_mgmt", values: "text"},
	{flag: "--device-disconnect", category: "device_mgmt", values: "text"},
	{flag: "--shf-host", category: "shared_folders", values: switched, path: "Host Shared Folders/enabled"},
	{flag: "--shf-host-defined", category: "shared_folders", values: "off|alldisks|home"},
	{flag: "--shf-host-automount", category: "shared_folders", values: switched},
	{flag: "--shf-guest", category: "shared_folders", values: switched, path: "Guest Shared Folders/enabled"},
	{flag: "--shf-guest-automount", category: "shared_folders", values: switched},
	{flag: "--shared-profile", category: "shared_profiles", values: switched, path: "Shared Profile/enabled"},
	{flag: "--sh-app-host-to-guest", category: "shared_apps", values: switched, path: "Shared Applications/Host-to-guest apps sharing"},
	{flag: "--sh-app-guest-to-host", category: "shared_apps", values: switched, path: "Shared Applications/Guest-to-host apps sharing"},
	{flag: "--show-guest-app-folder-in-dock", category: "shared_apps", values: switched, path: "Shared Applications/Show guest apps folder in Dock"},
	{flag: "--show-guest-notifications", category: "shared_apps", values: switched, path: "Shared Applications/Show guest notifications"},
	{flag: "--smart-mount", category: "smart_mounts", values: switched, path: "SmartMount/enabled"},
	{flag: "--shared-clipboard", category: "misc_sharing", values: switched, path: "Miscellaneous Sharing/Shared clipboard mode"},
	{flag: "--shared-cloud", category: "misc_sharing", values: switched, path: "Miscellaneous Sharing/Shared cloud"},
	{flag: "--sync-vm-hostname", category: "advanced", values: switched, path: "Advanced/VM hostname synchronization"},
	{flag: "--sync-ssh-ids", category: "advanced", values: switched, path: "Advanced/Public SSH keys synchronization"},
	{flag: "--show-dev-tools", category: "advanced", values: switched, path: "Advanced/Show developer tools"},
	{flag: "--share-host-location", category: "advanced", values: switched, path: "Advanced/Share host location"},
	{flag: "--rosetta-linux", category: "advanced", values: switched, path: "Advanced/Rosetta Linux", since: 20},
	{flag: "--tools-autoupdate", category: "misc", values: "yes|no|on|off", path: pvs + "AutoUpdate"},
	{flag: "--name", category: "misc", values: "text"},
	{flag: "--network-cond", category: "network_cond", values: switched, path: "Network/Conditioned", since: 20},
}

// knowsFlag says whether the Mac's version has the flag.
func (s *State) knowsFlag(flag settable) bool {
	major := s.Product.major()
	return major >= flag.since && (flag.until == 0 || major <= flag.until) &&
		(!flag.inferred || s.assumes("inferred_flags", "present"))
}

// flagsOf lists the flags of a category that the version has.
func (s *State) flagsOf(category string) []settable {
	var out []settable
	for _, flag := range settables {
		if flag.category == category && s.knowsFlag(flag) {
			out = append(out, flag)
		}
	}
	return out
}

func isCategory(word string) bool {
	return slices.ContainsFunc(settables, func(flag settable) bool { return flag.category == word })
}

// assignment is one flag of a call with its value.
type assignment struct {
	flag  settable
	value string
}

// parseSet reads `--flag value` and `--flag=value` (facts/prlctl.md 1.5). One
// flag that the version does not know fails the whole call.
func (s *State) parseSet(arguments []string) ([]assignment, error) {
	var out []assignment
	for i := 0; i < len(arguments); i++ {
		name, value, joined := strings.Cut(arguments[i], "=")
		at := slices.IndexFunc(settables, func(flag settable) bool { return flag.flag == name && s.knowsFlag(flag) })
		if at < 0 {
			return nil, refusef("Unrecognized option: %s", arguments[i])
		}
		if flag := settables[at]; !joined && flag.values != "" {
			if i++; i == len(arguments) {
				return nil, refusef("Option requires an argument: %s", name)
			}
			value = arguments[i]
		}
		if !settables[at].accepts(value) {
			return nil, refusef("Invalid argument for the option %s: %s", name, value)
		}
		out = append(out, assignment{settables[at], value})
	}
	return out, nil
}

func (f settable) accepts(value string) bool {
	switch f.values {
	case "text", "":
		return true
	case "number":
		number, err := strconv.Atoi(value)
		return err == nil && number >= 0
	}
	return slices.Contains(strings.Split(f.values, "|"), value)
}

// assign changes one setting of a VM.
func (m Mac) assign(state *State, vm *VM, set assignment) error {
	if set.flag.stopped && vm.State != "stopped" {
		return fmt.Errorf("%w: it is %s", errWrongState, vm.State)
	}
	if element, inFile := strings.CutPrefix(set.flag.path, pvs); inFile {
		if vm.Elements == nil {
			vm.Elements = map[string]string{}
		}
		vm.Elements[element] = set.elementValue()
		return nil
	}
	path, value := set.flag.path, set.value
	switch set.flag.flag {
	case "--name":
		vm.Name = value
		return nil
	case "--memsize":
		value += "Mb"
	}
	switch {
	case path == "":
		return fmt.Errorf("%s is not simulated yet", set.flag.flag)
	case strings.HasSuffix(path, "/enabled"): // a real boolean, facts/prlctl.md 2.1
		value = strconv.FormatBool(value == "on")
	case set.flag.flag == "--shared-clipboard" && state.Product.major() < 20:
		path = "Miscellaneous Sharing/Shared clipboard"
	}
	return state.override(vm, path, value, true)
}

// elementValue is how config.pvs writes a switch (facts/prlctl.md 6).
func (a assignment) elementValue() string {
	if a.flag.values == "text" {
		return a.value
	}
	return digit(a.value == "on" || a.value == "yes")
}
