package policy_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"prlagent/agent/policy"
	"prlagent/agent/protocol"
	"prlagent/prlctl"
)

// The simulated tool of these tests: a machine as a map from what a person calls
// a thing to its value, and what a flag does to it. It is written from the facts
// and not from the catalogue, which it checks.

// simFlag is one flag: which value it sets, and when it refuses.
type simFlag struct {
	sets     string // where the description shows it; file: in config.pvs; empty: nowhere
	kind     string // switch, truth, yesno, word or number
	stopped  bool
	notApple bool
}

var simFlags = map[string]simFlag{
	"--autostart": {sets: "Startup and Shutdown/Autostart", kind: "word"}, "--startup-view": {sets: "Startup and Shutdown/Startup view", kind: "word"},
	"--on-window-close": {sets: "Startup and Shutdown/On window close", kind: "word"}, "--autostop": {sets: "Startup and Shutdown/Autostop", kind: "word"},
	"--shf-host": {sets: "Host Shared Folders/enabled", kind: "truth"}, "--shf-host-defined": {sets: "Host defined sharing", kind: "word"},
	"--shf-host-automount": {}, "--shf-guest-automount": {}, "--shf-guest": {sets: "Guest Shared Folders/enabled", kind: "truth"},
	"--shared-profile": {sets: "Shared Profile/enabled", kind: "truth"}, "--smart-mount": {sets: "SmartMount/enabled", kind: "truth"},
	"--shared-cloud":          {sets: "Miscellaneous Sharing/Shared cloud", kind: "switch"},
	"--sh-app-guest-to-host":  {sets: "Shared Applications/Guest-to-host apps sharing", kind: "switch"},
	"--sh-app-host-to-guest":  {sets: "Shared Applications/Host-to-guest apps sharing", kind: "switch"},
	"--shared-clipboard":      {sets: "Miscellaneous Sharing/Shared clipboard mode", kind: "switch"},
	"--auto-share-smart-card": {sets: "USB and Bluetooth/Automatic sharing smart cards", kind: "switch"},
	"--auto-share-camera":     {sets: "USB and Bluetooth/Automatic sharing cameras", kind: "switch"},
	"--auto-share-gamepad":    {sets: "USB and Bluetooth/Automatic sharing gamepads", kind: "switch"},
	"--lock-on-suspend":       {sets: "file:LockGuestOnSuspend", kind: "switch"}, "--tools-autoupdate": {sets: "file:AutoUpdate", kind: "switch"},
	"--isolate-vm": {sets: "file:IsolatedVm", kind: "switch"}, "--asset-id": {sets: "file:AssetId", kind: "word", stopped: true},
	"--lock-edit-settings":  {sets: "Security/Configuration is locked", kind: "switch", notApple: true},
	"--show-dev-tools":      {sets: "Advanced/Show developer tools", kind: "switch", notApple: true},
	"--pause-idle":          {sets: "Startup and Shutdown/Pause idle", kind: "switch"},
	"--sync-host-printers":  {sets: "Print Management/Synchronize with host printers", kind: "switch"},
	"--share-host-location": {sets: "Advanced/Share host location", kind: "switch"}, "--sync-ssh-ids": {sets: "Advanced/Public SSH keys synchronization", kind: "switch"},
	"--sync-vm-hostname": {sets: "Advanced/VM hostname synchronization", kind: "switch"}, "--rosetta-linux": {sets: "Advanced/Rosetta Linux", kind: "switch"},
	"--show-guest-app-folder-in-dock": {sets: "Shared Applications/Show guest apps folder in Dock", kind: "switch"},
	"--show-guest-notifications":      {sets: "Shared Applications/Show guest notifications", kind: "switch"},
	"--time-sync":                     {sets: "Time Synchronization/enabled", kind: "truth"},
	"--longer-battery-life":           {sets: "Optimization/Longer battery life", kind: "switch"},
	"--adaptive-hypervisor":           {sets: "Optimization/Adaptive hypervisor", kind: "switch"},
	"--auto-compress":                 {sets: "Optimization/Auto compress virtual disks", kind: "switch"},
	"--nested-virt":                   {sets: "Optimization/Nested virtualization", kind: "switch", stopped: true},
	"--resource-quota":                {sets: "Optimization/Resource quota", kind: "word"},
	"--tpm":                           {sets: "Security/TPM enabled", kind: "yesno", stopped: true, notApple: true},
	"--efi-secure-boot":               {sets: "EFI Secure boot", kind: "switch", stopped: true},
	"--cpus":                          {sets: "Hardware/cpu/cpus", kind: "number", stopped: true},
	"--memsize":                       {sets: "Hardware/memory/size", kind: "number", stopped: true},
	"--network-cond":                  {sets: "Network/Conditioned", kind: "switch"},
}

// simWords are the values of words that the users of these tests choose from.
var simWords = map[string][]string{
	"--autostart": {"off", "open-window", "start-app", "start-host", "user-login"}, "--startup-view": {"same", "window", "coherence", "fullscreen", "headless"},
	"--on-window-close": {"suspend", "shutdown", "stop", "ask", "keep-running"}, "--autostop": {"stop", "suspend", "shutdown"},
	"--shf-host-defined": {"off", "alldisks", "home"}, "--resource-quota": {"low", "medium", "unlimited"}, "--asset-id": {"", "A-1", "B-2"},
	"--cpus": {"1", "2", "4", "8"}, "--memsize": {"1024", "2048", "8192"},
}

// simAdapter is a network adapter.
type simAdapter struct {
	kind, iface           string
	disconnected, enabled bool
}

// simMachine is one simulated machine.
type simMachine struct {
	key      protocol.VMKey
	os, kind string // kind: the description's Type
	state    string
	values   map[string]string // by flag; switches are on and off
	adapters []simAdapter
	spelling int  // which spelling of several the tool uses
	noFile   bool // config.pvs cannot be read
}

func (s *simMachine) apple() bool { return s.kind == "APPLE_VZ_VM" }

// clone is what a machine was at this moment.
func (s *simMachine) clone() *simMachine {
	c := *s
	c.values, c.adapters = maps.Clone(s.values), slices.Clone(s.adapters)
	return &c
}

// set is `prlctl set`: it refuses as the real one does, with nothing changed, and
// reports whether it did what it was told.
func (s *simMachine) set(args []string) policy.Outcome {
	flag, value, _ := strings.Cut(args[0], "=")
	known, has := simFlags[flag]
	switch {
	case !has && flag != "--device-set":
		return policy.Outcome{Code: protocol.CodeUnrecognized, NotApplicable: true}
	case s.state == "suspended" || s.state != "stopped" && known.stopped:
		return policy.Outcome{Code: protocol.CodeToolFailed}
	case s.apple() && known.notApple:
		return policy.Outcome{Code: protocol.CodeGuestOS, NotApplicable: true}
	case s.values["--lock-edit-settings"] == "on" && flag != "--lock-edit-settings":
		return policy.Outcome{Code: protocol.CodeAdminPassword}
	case flag == "--device-set":
		return s.setAdapter(args[1:])
	}
	switch value {
	case "yes":
		value = "on"
	case "no":
		value = "off"
	}
	s.values[flag] = value
	if flag == "--isolate-vm" && value == "on" {
		s.values["--auto-share-gamepad"] = "on"
	}
	return policy.Outcome{Proven: true}
}

func (s *simMachine) setAdapter(args []string) policy.Outcome {
	number, err := strconv.Atoi(strings.TrimPrefix(args[0], "net"))
	if err != nil || number >= len(s.adapters) {
		return policy.Outcome{Code: protocol.CodeToolFailed}
	}
	adapter := &s.adapters[number]
	for i := 1; i < len(args); i++ {
		switch args[i] {
		case "--type":
			i++
			adapter.kind, adapter.iface = args[i], ""
		case "--iface":
			i++
			adapter.iface = args[i]
		case "--connect":
			adapter.disconnected = false
		case "--disconnect":
			adapter.disconnected = true
		default:
			return policy.Outcome{Code: protocol.CodeUnrecognized, NotApplicable: true}
		}
	}
	return policy.Outcome{Proven: true}
}

// spell is one of several ways to say the same.
func (s *simMachine) spell(words ...string) string { return words[s.spelling%len(words)] }

// look is what an agent sees of the machine.
func (s *simMachine) look() policy.Machine {
	object := map[string]any{"ID": s.key.ID, "Name": "m", "Type": s.kind, "State": s.state, "OS": s.os,
		"GuestTools": map[string]any{"state": "installed", "version": "26.4.0-57513"}, "Hardware": map[string]any{"cpu": map[string]any{"type": "arm"}}}
	m := policy.Machine{Key: s.key, FirstSeen: noon, Config: &prlctl.ConfigPVS{}}
	for flag, value := range s.values {
		known := simFlags[flag]
		if name, inFile := strings.CutPrefix(known.sets, "file:"); inFile {
			s.showInFile(m.Config, name, value)
		} else if known.sets != "" {
			setPath(object, s.place(known.sets), s.shown(flag, known.kind, value))
		}
	}
	for i, adapter := range s.adapters {
		setPath(object, fmt.Sprintf("Hardware/net%d", i), s.shownAdapter(adapter))
	}
	text, err := json.Marshal(object)
	if err == nil {
		err = m.VM.UnmarshalJSON(text)
	}
	if err != nil {
		panic(err)
	}
	if s.noFile {
		m.Config = nil
	}
	return m
}

// place is where the tool shows a value; older versions have other names.
func (s *simMachine) place(path string) string {
	if path == "Miscellaneous Sharing/Shared clipboard mode" {
		return s.spell(path, "Miscellaneous Sharing/Shared clipboard")
	}
	return path
}

func (s *simMachine) shown(flag, kind, value string) any {
	switch {
	case kind == "truth":
		return value == "on"
	case kind == "yesno" && value == "on":
		return "yes"
	case kind == "yesno":
		return "no"
	case flag == "--memsize":
		return value + "Mb"
	case flag == "--shf-host-defined" && value == "off":
		return s.spell("Off", "off")
	case kind == "number":
		number, _ := strconv.Atoi(value)
		return number
	}
	return value
}

func (s *simMachine) shownAdapter(adapter simAdapter) map[string]any {
	shown := map[string]any{"enabled": adapter.enabled, "type": adapter.kind}
	if adapter.kind == "host-only" {
		shown["type"] = s.spell("host", "host-only")
	}
	if adapter.kind == "bridged" {
		if iface := adapter.iface; iface != "" && iface != "default" {
			shown["iface"] = iface
		} else if s.spelling%2 == 1 {
			shown["iface"] = "default"
		}
	}
	if adapter.disconnected {
		shown["state"] = "disconnected"
	} else if s.spelling%3 == 1 {
		shown["state"] = "connected"
	}
	return shown
}

func (s *simMachine) showInFile(config *prlctl.ConfigPVS, name, value string) {
	switch name {
	case "LockGuestOnSuspend":
		config.LockGuestOnSuspend = prlctl.ParseSwitch(value)
	case "AutoUpdate":
		config.AutoUpdate = prlctl.ParseSwitch(value)
	case "IsolatedVm":
		config.IsolatedVM = prlctl.ParseSwitch(value)
	case "AssetId":
		config.AssetID = value
	}
}
