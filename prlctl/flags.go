package prlctl

import "slices"

// settable is a flag of `prlctl set` and the category whose help shows it.
type settable struct {
	name     string
	category string
	certain  bool // the category is confirmed; the others follow the names of the categories
}

// settables is the table of facts/prlctl.md 12: what policies may want to set,
// by the categories of 1.5. Only that of `advanced` is confirmed, so a flag
// counts as there in whatever help it shows up.
var settables = []settable{
	{"--cpus", "cpus", false}, {"--nested-virt", "optimization", false}, {"--pmu-virt", "optimization", false},
	{"--memsize", "memory", false},
	{"--efi-secure-boot", "boot", false}, {"--tpm", "boot", false}, {"--bios-type", "boot", false},
	{"--sync-host-printers", "printers", false}, {"--sync-default-printer", "printers", false}, {"--show-host-printer-ui", "printers", false},
	{"--auto-share-camera", "usb", false}, {"--auto-share-smart-card", "usb", false}, {"--auto-share-gamepad", "usb", false}, {"--support-usb30", "usb", false},
	{"--auto-share-bluetooth", "bluetooth", false},
	{"--autostart", "startup", false}, {"--autostart-delay", "startup", false}, {"--autostop", "startup", false},
	{"--startup-view", "startup", false}, {"--on-shutdown", "startup", false}, {"--on-window-close", "startup", false},
	{"--pause-idle", "startup", false}, {"--undo-disks", "startup", false},
	{"--faster-vm", "optimization", false}, {"--adaptive-hypervisor", "optimization", false}, {"--auto-compress", "optimization", false},
	{"--longer-battery-life", "optimization", false}, {"--battery-status", "optimization", false}, {"--resource-quota", "optimization", false},
	{"--isolate-vm", "security", false}, {"--lock-edit-settings", "security", false}, {"--custom-pwd", "security", false},
	{"--require-pwd", "security", false}, {"--lock-on-suspend", "security", false}, {"--asset-id", "security", false},
	{"--smart-guard", "smartguard", false},
	{"--expiration", "protection", false},
	{"--time-sync", "timesync", false}, {"--time-sync-smart-mode", "timesync", false},
	{"--disable-timezone-sync", "timesync", false}, {"--time-sync-interval", "timesync", false},
	{"--device-set", "device_mgmt", false}, {"--device-connect", "device_mgmt", false}, {"--device-disconnect", "device_mgmt", false},
	{"--shf-host", "shared_folders", false}, {"--shf-host-defined", "shared_folders", false}, {"--shf-host-automount", "shared_folders", false},
	{"--shf-guest", "shared_folders", false}, {"--shf-guest-automount", "shared_folders", false},
	{"--shared-profile", "shared_profiles", false},
	{"--sh-app-host-to-guest", "shared_apps", false}, {"--sh-app-guest-to-host", "shared_apps", false},
	{"--show-guest-app-folder-in-dock", "shared_apps", false}, {"--show-guest-notifications", "shared_apps", false},
	{"--smart-mount", "smart_mounts", false},
	{"--shared-clipboard", "misc_sharing", false}, {"--shared-cloud", "misc_sharing", false},
	{"--sync-vm-hostname", "advanced", true}, {"--sync-ssh-ids", "advanced", true}, {"--show-dev-tools", "advanced", true},
	{"--share-host-location", "advanced", true}, {"--rosetta-linux", "advanced", true},
	{"--tools-autoupdate", "misc", false},
}

// hostSettables are the flags of `prlsrvctl set` that matter to policies
// (facts/prlctl.md 1.4).
var hostSettables = []string{
	"--require-pwd", "--lock-edit-settings", "--host-admin", "--headless-mode-feature",
	"--mem-limit", "--min-security-level", "--cep", "--verbose-log", "--allow-attach-screenshots",
}

// commands are those of prlctl that not every version has (facts/prlctl.md 12).
var commands = []string{
	"monitor-events", "pack", "unpack", "archive", "unarchive", "encrypt", "decrypt", "change-passwd",
	"protection-set", "protection-remove", "installtools", "capture",
}

// anchors are commands that every version has: a text without them is no help
// of prlctl.
var anchors = []string{"list", "set"}

// categories lists what the table needs, each once.
func categories() []string {
	var list []string
	for _, flag := range settables {
		if !slices.Contains(list, flag.category) {
			list = append(list, flag.category)
		}
	}
	return list
}
