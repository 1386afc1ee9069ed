package sim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// setFlag is one flag of `prlctl set` (facts/prlctl.md 1.5).
type setFlag struct {
	name     string
	category string
	values   string // words with bars between; "number"; "text"; empty: none, it asks
	path     string // where `list -i --json` shows it, or an element of config.pvs behind "pvs:"; empty: neither
	since    int    // first major version that knows it; 0: all
	until    int    // last one; 0: the newest
	stopped  bool   // only while the VM is stopped
	inferred bool   // see the assumption inferred_flags
}

const (
	onOrOff   = "on|off"
	pvsPrefix = "pvs:"
)

// setFlags are the flags that the facts name, by the categories of 26.4.1. To
// which category a flag belongs is confirmed for `advanced` only.
var setFlags = []setFlag{
	{name: "--cpus", category: "cpus", values: "number", path: "Hardware/cpu/cpus", stopped: true},
	{name: "--memsize", category: "memory", values: "number", path: "Hardware/memory/size", stopped: true},
	{name: "--bios-type", category: "boot", values: "legacy|efi32|efi64|efi-arm64", path: "BIOS type", stopped: true},
	{name: "--efi-secure-boot", category: "boot", values: onOrOff, path: "EFI Secure boot", since: 20, stopped: true},
	{name: "--tpm", category: "boot", values: onOrOff, stopped: true},
	{name: "--videosize", category: "video", values: "number", stopped: true},
	{name: "--smart-mouse-optimize", category: "mouse", values: "auto|on|off", path: "Mouse and Keyboard/Smart mouse optimized for games"},
	{name: "--keyboard-optimize", category: "keyboard", values: "auto|off|accessibility", path: "Mouse and Keyboard/Keyboard optimization mode"},
	{name: "--sync-host-printers", category: "printers", values: onOrOff, path: "Print Management/Synchronize with host printers"},
	{name: "--sync-default-printer", category: "printers", values: onOrOff, path: "Print Management/Synchronize default printer"},
	{name: "--show-host-printer-ui", category: "printers", values: onOrOff, path: "Print Management/Show host printer UI"},
	{name: "--auto-share-camera", category: "usb", values: onOrOff, path: "USB and Bluetooth/Automatic sharing cameras"},
	{name: "--auto-share-smart-card", category: "usb", values: onOrOff, path: "USB and Bluetooth/Automatic sharing smart cards"},
	{name: "--auto-share-gamepad", category: "usb", values: onOrOff, path: "USB and Bluetooth/Automatic sharing gamepads"},
	{name: "--support-usb30", category: "usb", values: onOrOff, path: "USB and Bluetooth/Support USB 3.0", stopped: true},
	{name: "--auto-share-bluetooth", category: "bluetooth", values: onOrOff, path: "USB and Bluetooth/Automatic sharing bluetooth", until: 20},
	{name: "--autostart", category: "startup", values: "off|open-window|start-app|start-host|user-login", path: "Startup and Shutdown/Autostart"},
	{name: "--autostart-delay", category: "startup", values: "number", path: "Startup and Shutdown/Autostart delay"},
	{name: "--autostop", category: "startup", values: "stop|suspend|shutdown", path: "Startup and Shutdown/Autostop"},
	{name: "--startup-view", category: "startup", values: "same|window|coherence|fullscreen|modality|headless", path: "Startup and Shutdown/Startup view"},
	{name: "--on-shutdown", category: "startup", values: "window|close|quit", path: "Startup and Shutdown/On shutdown"},
	{name: "--on-window-close", category: "startup", values: "suspend|shutdown|stop|ask|keep-running", path: "Startup and Shutdown/On window close"},
	{name: "--pause-idle", category: "startup", values: onOrOff, path: "Startup and Shutdown/Pause idle"},
	{name: "--undo-disks", category: "startup", values: "on|off|ask", path: "Startup and Shutdown/Undo disks", stopped: true},
	{name: "--faster-vm", category: "optimization", values: onOrOff, path: "Optimization/Faster virtual machine"},
	{name: "--adaptive-hypervisor", category: "optimization", values: onOrOff, path: "Optimization/Adaptive hypervisor"},
	{name: "--auto-compress", category: "optimization", values: onOrOff, path: "Optimization/Auto compress virtual disks"},
	{name: "--nested-virt", category: "optimization", values: onOrOff, path: "Optimization/Nested virtualization", stopped: true},
	{name: "--pmu-virt", category: "optimization", values: onOrOff, path: "Optimization/PMU virtualization", stopped: true},
	{name: "--longer-battery-life", category: "optimization", values: onOrOff, path: "Optimization/Longer battery life"},
	{name: "--battery-status", category: "optimization", values: onOrOff, path: "Optimization/Show battery status"},
	{name: "--resource-quota", category: "optimization", values: "low|medium|unlimited", path: "Optimization/Resource quota"},
	{name: "--travel-enter", category: "travel", values: "never", path: "Travel mode/Enter condition"},
	{name: "--isolate-vm", category: "security", values: onOrOff, path: pvsPrefix + "IsolatedVm"},
	{name: "--lock-edit-settings", category: "security", values: onOrOff},
	{name: "--custom-pwd", category: "security"},
	{name: "--require-pwd", category: "security", values: "text", inferred: true},
	{name: "--lock-on-suspend", category: "security", values: onOrOff, path: pvsPrefix + "LockGuestOnSuspend", inferred: true},
	{name: "--asset-id", category: "security", values: "text", path: pvsPrefix + "AssetId", stopped: true, inferred: true},
	{name: "--smart-guard", category: "smartguard", values: onOrOff, path: "Smart Guard/enabled"},
	{name: "--expiration", category: "protection", values: "text", stopped: true, inferred: true},
	{name: "--modality-stay-on-top", category: "modality", values: onOrOff, path: "Modality/Stay on top"},
	{name: "--fullscreen-optimize-for-games", category: "fullscreen", values: onOrOff, path: "Fullscreen/Optimize for games"},
	{name: "--winsystray-in-macmenu", category: "coherence", values: onOrOff, path: "Coherence/Show Windows systray in Mac menu", inferred: true},
	{name: "--time-sync", category: "timesync", values: onOrOff, path: "Time Synchronization/enabled"},
	{name: "--time-sync-smart-mode", category: "timesync", values: onOrOff, path: "Time Synchronization/Smart mode"},
	{name: "--disable-timezone-sync", category: "timesync", values: onOrOff, path: "Time Synchronization/Timezone synchronization disabled"},
	{name: "--time-sync-interval", category: "timesync", values: "number", path: "Time Synchronization/Interval (in seconds)"},
	{name: "--device-set", category: "device_mgmt", values: "text"},
	{name: "--device-connect", category: "device_mgmt", values: "text"},
	{name: "--device-disconnect", category: "device_mgmt", values: "text"},
	{name: "--shf-host", category: "shared_folders", values: onOrOff, path: "Host Shared Folders/enabled"},
	{name: "--shf-host-defined", category: "shared_folders", values: "off|alldisks|home"},
	{name: "--shf-host-automount", category: "shared_folders", values: onOrOff},
	{name: "--shf-guest", category: "shared_folders", values: onOrOff, path: "Guest Shared Folders/enabled"},
	{name: "--shf-guest-automount", category: "shared_folders", values: onOrOff},
	{name: "--shared-profile", category: "shared_profiles", values: onOrOff, path: "Shared Profile/enabled"},
	{name: "--sh-app-host-to-guest", category: "shared_apps", values: onOrOff, path: "Shared Applications/Host-to-guest apps sharing"},
	{name: "--sh-app-guest-to-host", category: "shared_apps", values: onOrOff, path: "Shared Applications/Guest-to-host apps sharing"},
	{name: "--show-guest-app-folder-in-dock", category: "shared_apps", values: onOrOff, path: "Shared Applications/Show guest apps folder in Dock"},
	{name: "--show-guest-notifications", category: "shared_apps", values: onOrOff, path: "Shared Applications/Show guest notifications"},
	{name: "--smart-mount", category: "smart_mounts", values: onOrOff, path: "SmartMount/enabled"},
	{name: "--shared-clipboard", category: "misc_sharing", values: onOrOff, path: "Miscellaneous Sharing/Shared clipboard mode"},
	{name: "--shared-cloud", category: "misc_sharing", values: onOrOff, path: "Miscellaneous Sharing/Shared cloud"},
	{name: "--sync-vm-hostname", category: "advanced", values: onOrOff, path: "Advanced/VM hostname synchronization"},
	{name: "--sync-ssh-ids", category: "advanced", values: onOrOff, path: "Advanced/Public SSH keys synchronization"},
	{name: "--show-dev-tools", category: "advanced", values: onOrOff, path: "Advanced/Show developer tools"},
	{name: "--share-host-location", category: "advanced", values: onOrOff, path: "Advanced/Share host location"},
	{name: "--rosetta-linux", category: "advanced", values: onOrOff, path: "Advanced/Rosetta Linux", since: 20},
	{name: "--tools-autoupdate", category: "misc", values: "yes|no|on|off", path: pvsPrefix + "AutoUpdate"},
	{name: "--name", category: "misc", values: "text"},
	{name: "--network-cond", category: "network_cond", values: onOrOff, path: "Network/Conditioned", since: 20},
}

// knowsFlag reports whether the Mac's version has the flag.
func (s *State) knowsFlag(flag setFlag) bool {
	major := s.Product.majorVersion()
	return major >= flag.since && (flag.until == 0 || major <= flag.until) &&
		(!flag.inferred || s.assumes("inferred_flags", "present"))
}

// flagsOfCategory lists the flags of a category that the version has.
func (s *State) flagsOfCategory(category string) []setFlag {
	var out []setFlag
	for _, flag := range setFlags {
		if flag.category == category && s.knowsFlag(flag) {
			out = append(out, flag)
		}
	}
	return out
}

func isCategory(word string) bool {
	return slices.ContainsFunc(setFlags, func(flag setFlag) bool { return flag.category == word })
}

// flagValue is one flag of a call with its value.
type flagValue struct {
	flag  setFlag
	value string
}

// parseSet reads `--flag value` and `--flag=value` (facts/prlctl.md 1.5). One
// flag that the version does not know fails the whole call.
func (s *State) parseSet(arguments []string) ([]flagValue, error) {
	var out []flagValue
	for i := 0; i < len(arguments); i++ {
		name, value, joined := strings.Cut(arguments[i], "=")
		at := slices.IndexFunc(setFlags, func(flag setFlag) bool { return flag.name == name && s.knowsFlag(flag) })
		if at < 0 {
			return nil, toolErrorf("Unrecognized option: %s", arguments[i])
		}
		if flag := setFlags[at]; !joined && flag.values != "" {
			if i++; i == len(arguments) {
				return nil, toolErrorf("Option requires an argument: %s", name)
			}
			value = arguments[i]
		}
		if !setFlags[at].acceptsValue(value) {
			return nil, toolErrorf("Invalid argument for the option %s: %s", name, value)
		}
		out = append(out, flagValue{setFlags[at], value})
	}
	return out, nil
}

func (f setFlag) acceptsValue(value string) bool {
	switch f.values {
	case "text", "":
		return true
	case "number":
		number, err := strconv.Atoi(value)
		return err == nil && number >= 0
	}
	return slices.Contains(strings.Split(f.values, "|"), value)
}

// applyFlag changes one setting of a VM.
func (m Mac) applyFlag(state *State, vm *VM, set flagValue) error {
	if set.flag.stopped && vm.State != "stopped" {
		return fmt.Errorf("%w: it is %s", errWrongState, vm.State)
	}
	if element, inFile := strings.CutPrefix(set.flag.path, pvsPrefix); inFile {
		if vm.Elements == nil {
			vm.Elements = map[string]string{}
		}
		vm.Elements[element] = set.elementValue()
		return nil
	}
	path, value := set.flag.path, set.value
	switch set.flag.name {
	case "--name":
		vm.Name = value
		return nil
	case "--memsize":
		value += "Mb"
	}
	switch {
	case path == "":
		return fmt.Errorf("%s is not simulated yet", set.flag.name)
	case strings.HasSuffix(path, "/enabled"): // a real boolean, facts/prlctl.md 2.1
		value = strconv.FormatBool(value == "on")
	case set.flag.name == "--shared-clipboard" && state.Product.majorVersion() < 20:
		path = "Miscellaneous Sharing/Shared clipboard"
	}
	return state.overrideSetting(vm, path, value, true)
}

// elementValue is how config.pvs writes a switch (facts/prlctl.md 6).
func (a flagValue) elementValue() string {
	if a.flag.values == "text" {
		return a.value
	}
	return boolDigit(a.value == "on" || a.value == "yes")
}
