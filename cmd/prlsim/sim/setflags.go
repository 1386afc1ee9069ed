package sim

// setFlag is one flag of `prlctl set` (facts/prlctl.md 1.5, captures.md 5).
type setFlag struct {
	name       string
	category   string
	values     string            // words with bars between, "number" and "text" among them; empty: none, it asks
	path       string            // where `list -i --json` shows it, or an element of config.pvs behind "pvs:"; empty: neither
	words      map[string]string // how the list says a value, where it has another word
	since      int               // first major version that knows it; 0: all
	until      int               // last one that takes it; 0: the newest
	stillShown bool              // the help shows it also after that
	stopped    bool              // only while the VM is stopped
	unsure     bool              // perhaps only while it is stopped, see the assumption optimization_live
	inferred   bool              // see the assumption inferred_flags
	guests     int               // OsType of the guests that have it; 0: all
	notApple   bool              // macOS VMs on Apple silicon lack it
}

const (
	onOrOff   = "on|off"
	pvsPrefix = "pvs:"
)

// setFlags are the flags that the facts name, by the categories of 26.4.1, as far
// as captures.md 5 names them; the others' categories are inferred. That macOS
// VMs lack two of them says the vendor's guide (facts/prlctl.md 1.5); which
// other guests lack what is inferred from what the flags do, and so is that they
// lack Secure Boot. Gamepads came with their key (facts/prlctl.md 2.2, inferred).
var setFlags = []setFlag{
	{name: "--cpus", category: "cpus", values: "auto|number", path: "Hardware/cpu/cpus", stopped: true},
	{name: "--memsize", category: "memory", values: "auto|number", path: "Hardware/memory/size", stopped: true},
	{name: "--bios-type", category: "boot", values: "legacy|efi32|efi64|efi-arm64", path: "BIOS type", stopped: true},
	{name: "--efi-secure-boot", category: "boot", values: onOrOff, path: "EFI Secure boot", since: 20, stopped: true, notApple: true},
	{name: "--device-bootorder", category: "boot", values: "text", path: "Boot order", stopped: true},
	{name: "--videosize", category: "video", values: "number", stopped: true},
	{name: "--smart-mouse-optimize", category: "mouse", values: "auto|on|off", path: "Mouse and Keyboard/Smart mouse optimized for games"},
	{name: "--keyboard-optimize", category: "keyboard", values: "auto|off|accessibility", path: "Mouse and Keyboard/Keyboard optimization mode"},
	{name: "--sync-host-printers", category: "printers", values: onOrOff, path: "Print Management/Synchronize with host printers", guests: osTypeWindows},
	{name: "--sync-default-printer", category: "printers", values: onOrOff, path: "Print Management/Synchronize default printer", guests: osTypeWindows},
	{name: "--show-host-printer-ui", category: "printers", values: onOrOff, path: "Print Management/Show host printer UI", guests: osTypeWindows},
	{name: "--auto-share-camera", category: "usb", values: onOrOff, path: "USB and Bluetooth/Automatic sharing cameras"},
	{name: "--auto-share-smart-card", category: "usb", values: onOrOff, path: "USB and Bluetooth/Automatic sharing smart cards"},
	{name: "--auto-share-gamepad", category: "usb", values: onOrOff, path: "USB and Bluetooth/Automatic sharing gamepads", since: 18},
	{name: "--support-usb30", category: "usb", values: onOrOff, path: "USB and Bluetooth/Support USB 3.0", stopped: true},
	{name: "--auto-share-bluetooth", category: "bluetooth", values: onOrOff, path: "USB and Bluetooth/Automatic sharing bluetooth", until: 20, stillShown: true},
	{name: "--autostart", category: "startup", values: "off|open-window|start-app|start-host|user-login", path: "Startup and Shutdown/Autostart"},
	{name: "--autostart-delay", category: "startup", values: "number", path: "Startup and Shutdown/Autostart delay"},
	{name: "--autostop", category: "startup", values: "stop|suspend|shutdown", path: "Startup and Shutdown/Autostop"},
	{name: "--startup-view", category: "startup", values: "same|window|coherence|fullscreen|modality|headless", path: "Startup and Shutdown/Startup view"},
	{name: "--on-shutdown", category: "startup", values: "window|close|quit", path: "Startup and Shutdown/On shutdown"},
	{name: "--on-window-close", category: "startup", values: "suspend|shutdown|stop|ask|keep-running", path: "Startup and Shutdown/On window close"},
	{name: "--pause-idle", category: "startup", values: onOrOff, path: "Startup and Shutdown/Pause idle", guests: osTypeWindows},
	{name: "--undo-disks", category: "startup", values: "on|off|ask", path: "Startup and Shutdown/Undo disks", stopped: true},
	{name: "--faster-vm", category: "optimization", values: onOrOff, path: "Optimization/Faster virtual machine", unsure: true},
	{name: "--adaptive-hypervisor", category: "optimization", values: onOrOff, path: "Optimization/Adaptive hypervisor", unsure: true},
	{name: "--auto-compress", category: "optimization", values: onOrOff, path: "Optimization/Auto compress virtual disks", unsure: true},
	{name: "--nested-virt", category: "optimization", values: onOrOff, path: "Optimization/Nested virtualization", stopped: true},
	{name: "--pmu-virt", category: "optimization", values: onOrOff, path: "Optimization/PMU virtualization", stopped: true},
	{name: "--longer-battery-life", category: "optimization", values: onOrOff, path: "Optimization/Longer battery life", unsure: true},
	{name: "--battery-status", category: "optimization", values: onOrOff, path: "Optimization/Show battery status", unsure: true},
	{name: "--hypervisor-type", category: "optimization", values: "parallels|apple", path: "Optimization/Hypervisor type", stopped: true},
	{name: "--resource-quota", category: "optimization", values: "low|medium|unlimited", path: "Optimization/Resource quota"},
	{name: "--travel-enter", category: "travel", values: "never", path: "Travel mode/Enter condition"},
	{name: "--isolate-vm", category: "security", values: onOrOff, path: pvsPrefix + "IsolatedVm"},
	{name: "--tpm", category: "security", values: onOrOff, path: "Security/TPM enabled", stopped: true, notApple: true},
	{name: "--lock-edit-settings", category: "security", values: onOrOff, path: "Security/Configuration is locked", notApple: true},
	{name: "--custom-pwd", category: "security"},
	{name: "--require-pwd", category: "security", values: "text", path: pvsPrefix + passwordOperations, inferred: true},
	{name: "--userpasswd", category: "security", values: "text"},
	{name: "--lock-on-suspend", category: "security", values: onOrOff, path: pvsPrefix + "LockGuestOnSuspend", inferred: true},
	{name: "--asset-id", category: "security", values: "text", path: pvsPrefix + "AssetId", stopped: true, inferred: true},
	{name: "--smart-guard", category: "smartguard", values: onOrOff, path: "Smart Guard/enabled"},
	{name: "--expiration", category: "protection", values: "text", stopped: true, inferred: true},
	{name: "--modality-stay-on-top", category: "modality", values: onOrOff, path: "Modality/Stay on top"},
	{name: "--fullscreen-optimize-for-games", category: "fullscreen", values: onOrOff, path: "Fullscreen/Optimize for games"},
	{name: "--fullscreen-scale-view-mode", category: "fullscreen", values: "auto|keep-ratio", path: "Fullscreen/Scale view mode"},
	{name: "--fullscreen-use-all-displays", category: "fullscreen", values: onOrOff, path: "Fullscreen/Use all displays"},
	{name: "--winsystray-in-macmenu", category: "coherence", values: onOrOff, path: "Coherence/Show Windows systray in Mac menu", inferred: true, guests: osTypeWindows},
	{name: "--time-sync", category: "timesync", values: onOrOff, path: "Time Synchronization/enabled"},
	{name: "--time-sync-smart-mode", category: "timesync", values: onOrOff, path: "Time Synchronization/Smart mode"},
	{name: "--disable-timezone-sync", category: "timesync", values: onOrOff, path: "Time Synchronization/Timezone synchronization disabled"},
	{name: "--time-sync-interval", category: "timesync", values: "number", path: "Time Synchronization/Interval (in seconds)"},
	{name: "--device-add", category: "device_mgmt", values: "text"},
	{name: "--device-del", category: "device_mgmt", values: "text"},
	{name: "--device-set", category: "device_mgmt", values: "text"},
	{name: "--device-connect", category: "device_mgmt", values: "text"},
	{name: "--device-disconnect", category: "device_mgmt", values: "text"},
	{name: "--shf-host", category: "shared_folders", values: onOrOff, path: "Host Shared Folders/enabled"},
	{name: "--shf-host-defined", category: "shared_folders", values: "off|alldisks|home", path: "Host defined sharing", words: definedSharing},
	{name: "--shf-host-automount", category: "shared_folders", values: onOrOff, path: pvsPrefix + "HostAutomount"}, // shown nowhere,
	{name: "--shf-guest", category: "shared_folders", values: onOrOff, path: "Guest Shared Folders/enabled"},
	{name: "--shf-guest-automount", category: "shared_folders", values: onOrOff, path: "Guest Shared Folders/Automount"},
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
	{name: "--show-dev-tools", category: "advanced", values: onOrOff, path: "Advanced/Show developer tools", notApple: true},
	{name: "--share-host-location", category: "advanced", values: onOrOff, path: "Advanced/Share host location"},
	{name: "--rosetta-linux", category: "advanced", values: onOrOff, path: "Advanced/Rosetta Linux", since: 20, guests: osTypeLinux},
	{name: "--tools-autoupdate", category: "misc", values: "yes|no|on|off", path: pvsPrefix + "AutoUpdate"},
	{name: "--name", category: "misc", values: "text"},
	{name: "--description", category: "misc", values: "text"},
	{name: "--template", category: "misc", values: onOrOff},
	{name: "--network-cond", category: "network_cond", values: onOrOff, path: "Network/Conditioned", since: 20},
}

// definedSharing is how the list says which folders of the Mac are shared. That
// of all disks was never seen (facts/prlctl.md 2.2).
var definedSharing = map[string]string{"off": "Off", "home": "User home directory", "alldisks": "All disks"}
