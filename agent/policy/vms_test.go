package policy_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"prlagent/agent/policy"
	"prlagent/agent/protocol"
	"prlagent/prlctl"
)

// planCase is one row of the conformance list: what the policy wants of one
// machine, and what follows.
type planCase struct {
	row      string
	settings string
	file     string
	changes  []change
	want     []string // calls
	verdict  string   // on the first setting
}

// What the policy wants of each setting becomes these calls, and nothing else.
func TestVMSSettings(t *testing.T) {
	t.Parallel()
	cases := []planCase{
		{"VMS-06 manual", `"startup":"manual"`, windowsVM, []change{{"Startup and Shutdown/Autostart", "start-host"}, {"Startup and Shutdown/Startup view", "headless"}},
			[]string{"--autostart=off", "--startup-view=window"}, "pending not_set_yet"},
		{"VMS-06 any view with a window is manual", `"startup":"manual"`, windowsVM, []change{{"Startup and Shutdown/Startup view", "fullscreen"}}, nil, "in_place "},
		{"VMS-07 ready in background is four flags", `"startup":"ready_in_background"`, windowsVM,
			[]change{{"Startup and Shutdown/Autostop", "stop"}, {"Startup and Shutdown/On window close", "suspend"}},
			[]string{"--autostart=user-login", "--startup-view=headless", "--on-window-close=keep-running", "--autostop=suspend"}, "pending not_set_yet"},
		{"VMS-07 the Mac's start is as good as the login", `"startup":"ready_in_background"`, windowsVM,
			[]change{{"Startup and Shutdown/Autostart", "start-host"}, {"Startup and Shutdown/Startup view", "headless"}, {"Startup and Shutdown/Autostop", "shutdown"}}, nil, "in_place "},
		{"VMS-08 disconnect", `"network":"disconnect"`, windowsVM, nil, []string{"--device-set net0 --disconnect"}, "pending not_set_yet"},
		{"VMS-08 disconnected whatever its type is", `"network":"disconnect"`, windowsVM, []change{{"Hardware/net0/state", "disconnected"}}, nil, "in_place "},
		{"VMS-09 shared", `"network":"shared"`, windowsVM, []change{{"Hardware/net0/type", "bridged"}}, []string{"--device-set net0 --type shared --connect"}, "pending not_set_yet"},
		{"VMS-09 no state is connected", `"network":"shared"`, windowsVM, []change{{"Hardware/net0/state", "connected"}}, nil, "in_place "},
		{"VMS-10 host-only", `"network":"host_only"`, windowsVM, nil, []string{"--device-set net0 --type host-only --connect"}, "pending not_set_yet"},
		{"VMS-10 host is host-only", `"network":"host_only"`, windowsVM, []change{{"Hardware/net0/type", "host"}}, nil, "in_place "},
		{"VMS-10 host-only is host-only", `"network":"host_only"`, windowsVM, []change{{"Hardware/net0/type", "host-only"}}, nil, "in_place "},
		{"VMS-11 bridged to another adapter", `"network":"bridged_default"`, windowsVM, []change{{"Hardware/net0/type", "bridged"}, {"Hardware/net0/iface", "Ethernet 2"}},
			[]string{"--device-set net0 --type bridged --iface default --connect"}, "pending not_set_yet"},
		{"VMS-11 no interface is the default one", `"network":"bridged_default"`, windowsVM, []change{{"Hardware/net0/type", "bridged"}}, nil, "in_place "},
		{"VMS-11 default is the default one", `"network":"bridged_default"`, windowsVM, []change{{"Hardware/net0/type", "bridged"}, {"Hardware/net0/iface", "default"}}, nil, "in_place "},
		{"VMS-13 every adapter, one call each", `"network":"host_only"`, windowsVM,
			[]change{{"Hardware/net1", map[string]any{"enabled": true, "type": "bridged"}}, {"Hardware/net10", map[string]any{"enabled": true, "type": "host"}}, {"Hardware/net2", map[string]any{"enabled": false, "type": "shared"}}},
			[]string{"--device-set net0 --type host-only --connect", "--device-set net1 --type host-only --connect"}, "pending not_set_yet"},
		{"VMS-13 no adapter, no network", `"network":"host_only"`, windowsVM, []change{{"Hardware/net0", nil}}, nil, "in_place "},
		{"VMS-14 every way to the Mac's folders", `"no_share_mac_folders":true`, windowsVM,
			[]change{{"Shared Profile/enabled", true}, {"SmartMount/enabled", true}, {"Miscellaneous Sharing/Shared cloud", "on"}},
			[]string{"--shf-host=off", "--shf-host-defined=off", "--shf-host-automount=off", "--shared-profile=off", "--smart-mount=off", "--shared-cloud=off"}, "pending not_set_yet"},
		{"VMS-14 only what differs", `"no_share_mac_folders":true`, windowsVM,
			[]change{{"Host Shared Folders/enabled", false}, {"Host defined sharing", "Off"}, {"SmartMount/enabled", true}}, []string{"--smart-mount=off"}, "pending not_set_yet"},
		{"VMS-14 false has folders shared, and leaves open which", `"no_share_mac_folders":false`, windowsVM, []change{{"Host Shared Folders/enabled", false}}, []string{"--shf-host=on"}, "pending not_set_yet"},
		{"VMS-15", `"no_share_vm_folders":true`, windowsVM, []change{{"Guest Shared Folders/enabled", true}}, []string{"--shf-guest=off", "--shf-guest-automount=off"}, "pending not_set_yet"},
		{"VMS-15 before 20 the file shows it", `"no_share_vm_folders":true`, windowsVM, []change{{"Guest Shared Folders", nil}}, nil, "in_place "},
		{"VMS-16", `"no_share_vm_apps":true`, windowsVM, nil, []string{"--sh-app-guest-to-host=off"}, "pending not_set_yet"},
		{"VMS-16 the header does not count", `"no_share_vm_apps":true`, windowsVM, []change{{"Shared Applications/Guest-to-host apps sharing", "off"}, {"Shared Applications/enabled", true}}, nil, "in_place "},
		{"VMS-17", `"no_share_mac_apps":false`, windowsVM, nil, []string{"--sh-app-host-to-guest=on"}, "pending not_set_yet"},
		{"VMS-18 vm folders of Linux", `"no_share_vm_folders":true`, linuxVM, []change{isStopped}, nil, "not_applicable guest_os"},
		{"VMS-18 vm apps of Linux", `"no_share_vm_apps":true`, linuxVM, []change{isStopped}, nil, "not_applicable guest_os"},
		{"VMS-18 Mac apps of macOS", `"no_share_mac_apps":true`, macVM, nil, nil, "not_applicable guest_os"},
		{"VMS-18 the rest is set", `"no_smart_cards":true`, linuxVM, []change{isStopped, {"USB and Bluetooth/Automatic sharing smart cards", "on"}}, []string{"--auto-share-smart-card=off"}, "pending not_set_yet"},
		{"VMS-19", `"clipboard":"disconnect"`, windowsVM, nil, []string{"--shared-clipboard=off"}, "pending not_set_yet"},
		{"VMS-20 with the key of older versions", `"clipboard":"bidirectional"`, linuxVM, []change{isStopped, {"Miscellaneous Sharing/Shared clipboard", "off"}}, []string{"--shared-clipboard=on"}, "pending not_set_yet"},
		{"VMS-21", `"clipboard":"guest_to_mac"`, windowsVM, nil, nil, "unsupported no_public_way"},
		{"VMS-22", `"clipboard":"mac_to_guest"`, windowsVM, nil, nil, "unsupported no_public_way"},
		{"VMS-23", `"clipboard":"disconnect"`, macVM, nil, nil, "not_applicable guest_os_arch"},
		{"VMS-23 macOS on Intel has one", `"clipboard":"disconnect"`, macVM, []change{{"Type", "VM"}, {"Hardware/cpu/type", "x86"}}, []string{"--shared-clipboard=off"}, "pending not_set_yet"},
		{"VMS-24", `"no_smart_cards":true`, windowsVM, []change{{"USB and Bluetooth/Automatic sharing smart cards", "on"}}, []string{"--auto-share-smart-card=off"}, "pending not_set_yet"},
		{"VMS-25", `"no_smart_cards":true`, macVM, nil, nil, "not_applicable guest_os_arch"},
		{"VMS-26", `"no_external_devices":true`, windowsVM, nil, nil, "unsupported no_public_way"},
		{"VMS-28 only the file shows it", `"lock_on_suspend":true`, windowsVM, nil, []string{"--lock-on-suspend=on"}, "pending not_set_yet"},
		{"VMS-28 before 16 the list shows it", `"lock_on_suspend":true`, windowsVM, []change{{"Lock VM on suspend", "on"}}, nil, "in_place "},
		{"VMS-29", `"lock_on_suspend":true`, macVM, nil, nil, "not_applicable guest_os"},
		{"VMS-30 Linux", `"lock_on_suspend":true`, linuxVM, []change{isStopped}, nil, "not_applicable needs_windows_tools"},
		{"VMS-30 no Tools", `"lock_on_suspend":true`, windowsVM, []change{{"GuestTools", map[string]any{"state": "not_installed"}}}, nil, "not_applicable needs_windows_tools"},
		{"VMS-31 H67 no lock before its release is proven", `"no_config_changes":true`, windowsVM, nil, nil, "unsupported release_unproven"},
		{"VMS-31 somebody's own lock is as good", `"no_config_changes":true`, windowsVM, []change{{"Security/Configuration is locked", "on"}}, nil, "in_place "},
		{"VMS-31 H67 somebody's own lock is not lifted", `"no_config_changes":false`, windowsVM, []change{{"Security/Configuration is locked", "on"}}, nil, "unsupported release_unproven"},
		{"VMS-32", `"no_config_changes":true`, macVM, nil, nil, "not_applicable guest_os_arch"},
		{"VMS-33", `"show_developer_tools":true`, windowsVM, []change{{"Advanced/Show developer tools", "off"}}, []string{"--show-dev-tools=on"}, "pending not_set_yet"},
		{"VMS-34 false hides", `"show_developer_tools":false`, windowsVM, nil, []string{"--show-dev-tools=off"}, "pending not_set_yet"},
		{"VMS-35", `"show_developer_tools":true`, macVM, nil, nil, "not_applicable guest_os_arch"},
		{"VMS-37", `"no_tools_autoupdate":true`, windowsVM, nil, []string{"--tools-autoupdate=no"}, "pending not_set_yet"},
		{"VMS-41 what needs it shut down waits", `"nested_virtualization":true`, windowsVM, nil, nil, "deferred vm_running"},
		{"VMS-41 and is set once it is", `"nested_virtualization":true`, windowsVM, []change{isStopped}, []string{"--nested-virt=on"}, "pending not_set_yet"},
		{"VMS-41 nothing is set on a suspended one", `"show_developer_tools":false`, windowsVM, []change{isSuspended}, nil, "deferred vm_suspended"},
		{"VMS-41 nor between two states", `"show_developer_tools":false`, windowsVM, []change{{"State", "stopping"}}, nil, "deferred vm_busy"},
		{"VMS-41 nor on a packed one", `"show_developer_tools":false`, windowsVM, []change{isStopped, {"Security/Packed", "yes"}}, nil, "deferred vm_packed"},
		{"VMF-01 an asset tag", `"asset_tag":"ACME-42"`, windowsVM, []change{isStopped}, []string{"--asset-id=ACME-42"}, "pending not_set_yet"},
		{"VMF-11 pause idle", `"pause_idle":true`, windowsVM, nil, []string{"--pause-idle=on"}, "pending not_set_yet"},
		{"a cap is a cap", `"max_cpus":8`, windowsVM, []change{isStopped}, nil, "in_place "},
		{"a cap is set where it is exceeded", `"max_memory_mb":4096`, windowsVM, []change{isStopped}, []string{"--memsize=4096"}, "pending not_set_yet"},
		{"what is not shown is not set", `"time_sync":true`, windowsVM, []change{{"Time Synchronization", nil}}, nil, "unknown not_observable"},
	}
	for _, c := range cases {
		t.Run(c.row, func(t *testing.T) {
			t.Parallel()
			result := plan(other(t, c.settings), machineOf(t, c.file, c.changes...))
			wantCalls(t, result.Steps, c.want...)
			name, _, _ := strings.Cut(strings.Trim(c.settings, `"`), `"`)
			wantVerdict(t, result, name, c.verdict)
			for _, step := range result.Steps {
				if argv := step.Argv(); argv[0] != "set" || argv[1] != result.Verdicts[0].VM.ID {
					t.Errorf("the call is %q", argv)
				}
			}
		})
	}
}

func TestVMS01_VendorGates(t *testing.T) {
	t.Parallel()
	old, err := prlctl.ParseVersion("26.0.1 (57000)")
	if err != nil {
		t.Fatal(err)
	}
	m := machineOf(t, windowsVM)
	wants := other(t, `"clipboard":"disconnect","pause_idle":true`)
	observed := policy.Observed{Now: noon, Version: old, Machines: []policy.Machine{m}}
	result := policy.Plan(policy.Desired{Document: wants, Enforce: true, VendorGates: true}, &observed)
	wantCalls(t, result.Steps)
	wantVerdict(t, result, "clipboard", "not_applicable pd_version_too_old")
	result = policy.Plan(policy.Desired{Document: wants, Enforce: true}, &observed)
	wantCalls(t, result.Steps, "--shared-clipboard=off", "--pause-idle=on")
	observed.Version.Minor = 1
	result = policy.Plan(policy.Desired{Document: wants, Enforce: true, VendorGates: true}, &observed)
	wantCalls(t, result.Steps, "--shared-clipboard=off", "--pause-idle=on")
}

func TestVMS02_VMS03_VMS04_VMS05_Scopes(t *testing.T) {
	t.Parallel()
	wants := document(t, `"adopt":{"vm_ids":["{7D0C9C1E-4F5B-4C39-9D0E-2B7C3A1F6E55}"],"first_seen_before":"2026-03-01","bundle_names":["Corp-*.pvm"]},
		"vm_settings":{"golden_image":{"network":"shared"},"other":{"network":"disconnect"}}`)
	golden := machineOf(t, windowsVM, change{"Hardware/net0/type", "bridged"})
	golden.Origin = policy.OriginGolden
	result := plan(wants, golden, machineOf(t, linuxVM, isStopped), machineOf(t, macVM, change{"Hardware/net0/type", "bridged"}))
	wantCalls(t, result.Steps, "--device-set net0 --type shared --connect", "--device-set net0 --disconnect", "--device-set net0 --type shared --connect")
	for i, path := range []string{"vm_settings.golden_image.network", "vm_settings.other.network", "vm_settings.golden_image.network"} {
		if result.Verdicts[i].Path != path {
			t.Errorf("verdict %d is on %s, want %s", i, result.Verdicts[i].Path, path)
		}
	}
	corporate := change{"Home", "/Users/user1/Parallels/Corp-7.pvm/"}
	for name, c := range map[string]struct {
		firstSeen time.Time
		changes   []change
		want      string
	}{
		"INV-13 seen before the day, and named so": {noon.AddDate(-1, 0, 0), []change{corporate}, "shared"},
		"INV-13 named so, and newer":               {noon, []change{corporate}, "disconnect"},
		"INV-13 older, and named otherwise":        {noon.AddDate(-1, 0, 0), nil, "disconnect"},
		"INV-13 not known since when":              {time.Time{}, []change{corporate}, "disconnect"},
	} {
		m := machineOf(t, windowsVM, append(c.changes, change{"Hardware/net0/type", "bridged"})...)
		m.FirstSeen = c.firstSeen
		if got := plan(wants, m).Verdicts[0].Value; string(got) != c.want {
			t.Errorf("%s: wants %s, want %s", name, got, c.want)
		}
	}
	// POL-13: a scope that is off is not managed.
	only := document(t, `"vm_settings":{"golden_image":{"network":"disconnect"}}`)
	if result := plan(only, machineOf(t, windowsVM)); len(result.Steps)+len(result.Verdicts)+len(result.Memory) != 0 {
		t.Errorf("POL-13, VMS-03: of an unmanaged machine %+v", result)
	}
}

func TestVMS12_NetworkConditioner(t *testing.T) {
	t.Parallel()
	m := machineOf(t, windowsVM, change{"Network/Conditioned", "on"})
	observed := policy.Observed{Now: noon, Machines: []policy.Machine{m}}
	desired := policy.Desired{Document: other(t, `"network":"shared"`), Enforce: true}
	// Its flag is not known: it is used where the help shows it, and where not,
	// that is said.
	result := policy.Plan(desired, &observed)
	wantCalls(t, result.Steps)
	wantVerdict(t, result, "network", "partial unrecognized_option")
	observed.Capabilities.Set = map[string]prlctl.Ability{"--network-cond": {Support: prlctl.Supported}}
	wantCalls(t, policy.Plan(desired, &observed).Steps, "--network-cond=off")
}

func TestVMS21_OnUnsupportedStricter(t *testing.T) {
	t.Parallel()
	wants := document(t, `"vm_settings":{"on_unsupported":"stricter","other":{"clipboard":"guest_to_mac","no_external_devices":true}}`)
	result := plan(wants, machineOf(t, windowsVM))
	wantCalls(t, result.Steps, "--shared-clipboard=off")
	wantVerdict(t, result, "no_external_devices", "unsupported no_public_way")
	result = plan(wants, machineOf(t, windowsVM, change{"Miscellaneous Sharing/Shared clipboard mode", "off"}))
	wantCalls(t, result.Steps)
	wantVerdict(t, result, "clipboard", "in_place stricter_value")
}

func TestVMS23_BeyondGuide(t *testing.T) {
	t.Parallel()
	wants := document(t, `"vm_settings":{"beyond_guide":true,"other":{"clipboard":"disconnect","no_share_vm_apps":true,"no_smart_cards":true,
		"lock_on_suspend":true,"show_developer_tools":false,"no_config_changes":true}}`)
	result := plan(wants, machineOf(t, macVM, change{"USB and Bluetooth/Automatic sharing smart cards", "on"}))
	wantCalls(t, result.Steps, "--sh-app-guest-to-host=off", "--shared-clipboard=off", "--auto-share-smart-card=off")
	wantVerdict(t, result, "lock_on_suspend", "not_applicable guest_os")
	wantVerdict(t, result, "show_developer_tools", "not_applicable guest_os_arch")
	wantVerdict(t, result, "no_config_changes", "not_applicable guest_os_arch")
}

// VMS-27: the schema has no types of devices, and without the setting nothing of
// them is touched. VMS-34: what is absent is left alone.
func TestVMS27_VMS34_AbsentIsUntouched(t *testing.T) {
	t.Parallel()
	result := plan(other(t, ""), machineOf(t, windowsVM), machineOf(t, macVM))
	if len(result.Steps)+len(result.Verdicts)+len(result.Memory) != 0 {
		t.Errorf("an empty scope plans %+v", result)
	}
	_, problems := policy.Check([]byte(`{"schema":1,"policy_id":"a","revision":1,"name":"A","vm_settings":{"other":{"no_external_devices":["disks"]}}}`))
	if len(problems) != 1 || problems[0].Code != protocol.CodePolicyWrongType {
		t.Errorf("types of devices are %v", problems)
	}
}

func TestVMS40_NewMachines(t *testing.T) {
	t.Parallel()
	wants := other(t, `"max_cpus":2,"clipboard":"disconnect"`)
	result := plan(wants, machineOf(t, windowsVM, isStopped))
	wantCalls(t, result.Steps, "--shared-clipboard=off", "--cpus=2") // before its first start
	result = plan(wants, machineOf(t, windowsVM))
	wantCalls(t, result.Steps, "--shared-clipboard=off")
	wantVerdict(t, result, "max_cpus", "deferred vm_running") // at its first stop
}

func TestVMS42_EveryUser(t *testing.T) {
	t.Parallel()
	alice, bob := machineOf(t, windowsVM), machineOf(t, windowsVM)
	bob.Key.UID = 502
	result := plan(other(t, `"clipboard":"disconnect"`), alice, bob)
	if len(result.Steps) != 2 || result.Steps[0].VM != alice.Key || result.Steps[1].VM != bob.Key {
		t.Errorf("steps %+v", result.Steps)
	}
}

// VMS-43: each machine has its own reason.
func TestVMS43_VerdictForEachMachine(t *testing.T) {
	t.Parallel()
	gone := machineOf(t, windowsVM)
	gone.Stale = protocol.CodeUserSession
	gone.Key.UID = 502
	broken := policy.Machine{Key: protocol.VMKey{ID: "59c836ea-ac37-4d18-be17-c49763bf46fc", UID: 501}, Unreadable: protocol.CodeDuplicateKey}
	result := plan(other(t, `"clipboard":"disconnect","startup":"manual"`), machineOf(t, windowsVM), machineOf(t, macVM), machineOf(t, linuxVM), gone, broken)
	var got []string
	for _, v := range result.Verdicts {
		got = append(got, v.Setting+" "+v.Verdict+" "+string(v.Code))
	}
	want := []string{
		"startup in_place ", "clipboard pending not_set_yet", "startup in_place ", "clipboard not_applicable guest_os_arch",
		"startup in_place ", "clipboard deferred vm_suspended", "startup in_place ", "clipboard deferred user_session",
		"startup unknown duplicate_key", "clipboard unknown duplicate_key",
	}
	if !slices.Equal(got, want) {
		t.Errorf("verdicts\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	wantCalls(t, result.Steps, "--shared-clipboard=off")
}

// Captures 5.4 and VMS-01: what this version does not have is no failure.
func TestH43_FlagsThatTheVersionLacks(t *testing.T) {
	t.Parallel()
	m := machineOf(t, windowsVM, change{"SmartMount/enabled", true})
	observed := policy.Observed{Now: noon, Machines: []policy.Machine{m}}
	observed.Capabilities.Set = map[string]prlctl.Ability{
		"--shared-clipboard":  {Support: prlctl.Unsupported},
		"--smart-mount":       {Support: prlctl.Unsupported},
		"--tools-autoupdate":  {Support: prlctl.Supported, Values: []string{"on", "off"}},
		"--sh-app-host-to-x":  {Support: prlctl.Supported},
		"--shared-profile":    {Support: prlctl.SupportUnknown},
		"--lock-on-suspend":   {Support: prlctl.SupportUnknown},
		"--network-cond":      {Support: prlctl.SupportUnknown},
		"--auto-share-camera": {Support: prlctl.SupportUnknown},
	}
	wants := other(t, `"clipboard":"disconnect","no_share_mac_folders":true,"no_tools_autoupdate":true`)
	result := policy.Plan(policy.Desired{Document: wants, Enforce: true}, &observed)
	wantVerdict(t, result, "clipboard", "not_applicable unrecognized_option")
	wantVerdict(t, result, "no_share_mac_folders", "pending not_set_yet")
	wantCalls(t, result.Steps, "--shf-host=off", "--shf-host-defined=off", "--shf-host-automount=off", "--tools-autoupdate=off")
	// Whichever spelling was written, what is remembered is one and the same.
	update := result.Steps[len(result.Steps)-1]
	memory := result.Memory[update.VM].Begin(&update, noon).End(&update, policy.Outcome{Proven: true}, "", noon)
	if setting := memory.Setting("no_tools_autoupdate"); setting.Call(update.Target).Wanted != "no" || setting.Call(update.Target).Word != "off" {
		t.Errorf("remembered %+v", setting)
	}
	m = machineOf(t, windowsVM, change{"SmartMount/enabled", true}, change{"Host Shared Folders/enabled", false}, change{"Host defined sharing", "Off"})
	observed.Machines[0] = m
	wantVerdict(t, policy.Plan(policy.Desired{Document: wants, Enforce: true}, &observed), "no_share_mac_folders", "partial unrecognized_option")
	m = machineOf(t, windowsVM, change{"SmartMount", nil}, change{"Host Shared Folders/enabled", false}, change{"Host defined sharing", "Off"})
	observed.Machines[0] = m // a version without the feature shares nothing by it
	wantVerdict(t, policy.Plan(policy.Desired{Document: wants, Enforce: true}, &observed), "no_share_mac_folders", "in_place ")
}

// Of two ways to write a value the other is tried where one fails, and then that
// one is kept (acting 1: the ancestor takes both, the help and the man page name
// one each).
func TestVMS37_TheOtherWayToWriteIt(t *testing.T) {
	t.Parallel()
	m := newMac(t, other(t, `"no_tools_autoupdate":true`), windowsVM)
	m.end(m.plan("--tools-autoupdate=no"), policy.Outcome{Code: protocol.CodeToolFailed})
	m.end(m.plan("--tools-autoupdate=off"), done)
	m.observed.Machines[0].Config.AutoUpdate = prlctl.SwitchOff
	m.plan()
	m.observed.Machines[0].Config.AutoUpdate = prlctl.SwitchOn
	m.after(time.Hour).plan("--tools-autoupdate=off")
}

// A machine of which the tool says that it is shut down, while a process is there,
// is not set.
func TestVMS43_ADisputedMachineWaits(t *testing.T) {
	t.Parallel()
	m := machineOf(t, windowsVM, isStopped)
	m.Disputed = true
	result := plan(other(t, `"clipboard":"disconnect"`), m)
	wantCalls(t, result.Steps)
	wantVerdict(t, result, "clipboard", "deferred state_disputed")
}
