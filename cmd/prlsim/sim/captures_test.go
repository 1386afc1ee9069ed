package sim

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// changeVM changes a VM of alice's as the console does.
func changeVM(t *testing.T, mac Mac, name string, settings ...string) {
	t.Helper()
	mustUpdate(t, mac, func(state *State) error {
		vm, err := findVM(state.ownedBy("alice"), name)
		if err != nil {
			return err
		}
		for _, setting := range settings {
			if err := mac.configureVM(state, vm, setting, false); err != nil {
				return err
			}
		}
		return nil
	})
}

// createAlice creates a VM of alice's and returns it.
func createAlice(t *testing.T, mac Mac, wanted newVMOptions) *VM {
	t.Helper()
	var made *VM
	wanted.Owner = "alice"
	mustUpdate(t, mac, func(state *State) (err error) {
		made, err = mac.createVM(state, wanted)
		return err
	})
	return made
}

// fileOf reads a file of a bundle.
func fileOf(t *testing.T, mac Mac, bundle, name string) string {
	t.Helper()
	content, err := os.ReadFile(mac.Path(bundle + "/" + name))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// show picks the lines of a text that contain one of the parts.
func show(text string, parts ...string) string {
	var lines []string
	for line := range strings.Lines(text) {
		if slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(line, part) }) {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return strings.Join(lines, "\n")
}

// captureAssumptions show what captures.md leaves open, both ways.
func captureAssumptions() map[string]assumptionTest {
	infoOf := func(system, tools string, parts ...string) func(*testing.T, Mac) outcome {
		return func(t *testing.T, mac Mac) outcome {
			vm := createAlice(t, mac, newVMOptions{OS: system, Tools: tools, Name: "Guest"})
			return outcome{stdout: show(fileOf(t, mac, vm.Bundle, "VmInfo.pvi"), parts...)}
		}
	}
	configOf := func(part string, settings ...string) func(*testing.T, Mac) outcome {
		return func(t *testing.T, mac Mac) outcome {
			changeVM(t, mac, "macOS", settings...)
			return outcome{stdout: show(fileOf(t, mac, "/Users/alice/Parallels/macOS.macvm", "config.pvs"), part)}
		}
	}
	licensed := func(status string, line ...string) func(*testing.T, Mac) outcome {
		return func(t *testing.T, mac Mac) outcome {
			mustUpdate(t, mac, func(state *State) error { return state.Product.setLicenseStatus(status) })
			return callAs(mac, "alice").run(t, line[0], line[1:]...)
		}
	}
	return map[string]assumptionTest{
		"no_license_json": {licensed(noLicense, "prlsrvctl", "info", "--license", "--json"), map[string]outcome{
			"empty_object": {0, "{\n}\n", ""}, "text": {0, noLicensesInstalled, ""}, "error": {255, "", "PrlHandle_FromString: Invalid argument."}}},
		"no_license_exit": {licensed(noLicense, "prlsrvctl", "info", "--license"), map[string]outcome{
			"0": {0, licenseHeader + "\n" + noLicensesInstalled, ""}, "255": {255, noLicensesInstalled, ""}}},
		"server_license_state": {licensed("expired", "prlsrvctl", "info", "--json"), map[string]outcome{
			"invalid": {0, `"state": "invalid"`, ""}, "status": {0, `"state": "expired"`, ""}}},
		"expired_list": {licensed("expired", "prlctl", "list", "-a", "--json"), map[string]outcome{
			"works": {0, "Windows 11", ""}, "refused": {255, "", "limited period of time that has now expired."}}},
		"encryption_prompt": {promptedCommands, map[string]outcome{
			"actions": {0, "list: no, set: yes", ""}, "list": {0, "list: yes, set: yes", ""},
			"instead_of_list": {0, "list: yes, alone, set: yes", ""}, "none": {0, "list: no, set: no", ""}}},
		"help_layout": {func(t *testing.T, mac Mac) outcome {
			text := callAs(mac, "alice").run(t, "prlctl", "--help").stdout
			first, _, _ := strings.Cut(text, "\n")
			return outcome{stdout: fmt.Sprint(first, ", list ", strings.Count(text, "\n  list "))}
		}, map[string]outcome{"ancestor": {0, "prlctl version 26.4.0 (57513), list 2", ""}, "plain": {0, "Usage: prlctl ACTION <ID | NAME> [OPTIONS] ..., list 1", ""}}},
		"help_spacing": {onVersion("20", "prlctl", "set", "security", "--help"), map[string]outcome{
			"mixed": {0, "<on | off>", ""}, "tight": {0, "--isolate-vm <on|off>", ""}}},
		"process_name": {nameInProcess, map[string]outcome{"at_start": {0, "Old name", ""}, "current": {0, "New name", ""}}},
		"dir_uuid": {func(t *testing.T, mac Mac) outcome {
			state := mustLoad(t, mac)
			return outcome{stdout: fmt.Sprint(state.directoryID("alice") == state.directoryID("bob"))}
		}, map[string]outcome{"account": {0, "false", ""}, "one": {0, "true", ""}}},
		"tools_after_start": {func(t *testing.T, mac Mac) outcome {
			callAs(mac, "alice").run(t, "prlctl", "start", "macOS")
			return callAs(mac, "alice").run(t, "prlctl", "list", "macOS", "-i", "--json")
		}, map[string]outcome{"later": {0, `"state": "possibly_installed"`, ""}, "at_once": {0, `"state": "installed"`, ""}}},
		"vminfo_without_tools": {infoOf("win-11", "none", "RealOsVersion"), map[string]outcome{
			"unknown": {0, "<RealOsVersion>unknown</RealOsVersion>", ""}, "empty": {0, "<RealOsVersion></RealOsVersion>", ""}}},
		"vminfo_other": {infoOf("ubuntu", "installed", "RealOsVersion"), map[string]outcome{
			"empty": {0, "<RealOsVersion></RealOsVersion>", ""}, "text": {0, "<RealOsVersion>Ubuntu 22.04.5 LTS</RealOsVersion>", ""},
			"kernel": {0, "<RealOsVersion>5.15.0-152-generic</RealOsVersion>", ""}}},
		"vminfo_device": {infoOf("win-11", "installed", "DisplayVersion"), map[string]outcome{
			"empty": {0, "<DisplayVersion></DisplayVersion>", ""}, "filled": {0, "<DisplayVersion>24H2</DisplayVersion>", ""}}},
		"print_management": {func(t *testing.T, mac Mac) outcome {
			shows := func(name string) bool {
				return strings.Contains(callAs(mac, "alice").run(t, "prlctl", "list", name, "-i", "--json").stdout, `"Print Management"`)
			}
			return outcome{stdout: fmt.Sprint(shows("Windows 11"), shows("Ubuntu 22.04"), shows("macOS"))}
		}, map[string]outcome{"windows": {0, "true false false", ""}, "since_20": {0, "true true true", ""}}},
		"net_dhcp": {func(t *testing.T, mac Mac) outcome {
			return outcome{stdout: fmt.Sprint(strings.Count(callAs(mac, "alice").run(t, "prlctl", "list", "-a", "-i", "--json").stdout, `"dhcp"`))}
		}, map[string]outcome{"windows": {0, "1", ""}, "all": {0, "4", ""}}},
		"vm_home_on_disk": {configOf("Vm"), map[string]outcome{
			"absent": {0, "</VmName>\n<VmFilesLocation>", ""}, "present": {0, "<VmHome>/Users/alice/Parallels/macOS.macvm/config.pvs</VmHome>\n<VmFilesLocation>", ""}}},
		"uptime_start": {configOf("VmUptimeStartDateTime"), map[string]outcome{
			"creation": {0, ">2026-01-15 09:30:00<", ""}, "last_start": {0, ">2026-11-20 08:15:00<", ""}}},
		"null_date": {configOf("ExpirationDate"), map[string]outcome{
			"1752-01-01": {0, ">1752-01-01 00:00:00<", ""}, "1751-12-31": {0, ">1751-12-31 00:00:00<", ""}}},
		"host_only_number": {configOf("EmulatedType", "Hardware/net0/type=host"), map[string]outcome{
			"0": {0, "<EmulatedType>0</EmulatedType>", ""}, "3": {0, "<EmulatedType>3</EmulatedType>", ""}}},
		"secret_key_source": {configOf("SecretKeySourceType", "encrypted=license"), map[string]outcome{
			"own": {0, ">2<", ""}, "same": {0, ">1<", ""}}},
	}
}

// promptedCommands tells which commands ask for the password of an encrypted VM
// whose name looks like the beginning of an answer.
func promptedCommands(t *testing.T, mac Mac) outcome {
	t.Helper()
	vm := createAlice(t, mac, newVMOptions{OS: "win-11", Name: `x {"a`, Encrypted: true})
	asks := func(got outcome) string {
		if strings.HasPrefix(got.stdout, `Virtual machine 'x {"a' is encrypted - password required to continue operation`+"\nPlease enter password: ") {
			return "yes"
		}
		return "no"
	}
	list := callAs(mac, "alice").run(t, "prlctl", "list", vm.ID, "-i", "--json")
	prompt, alone := asks(list), ""
	switch {
	case strings.HasSuffix(list.stdout, "\n\t}\n]\n"):
	case prompt == "yes" && strings.HasSuffix(list.stdout, "Please enter password: ") && list.code == 0:
		alone = ", alone"
	default:
		t.Errorf("the list is not there: %+v", list)
	}
	set := callAs(mac, "alice").run(t, "prlctl", "set", vm.ID, "--pause-idle", "on")
	if (set.code == exitRefused) != (asks(set) == "yes") {
		t.Errorf("without the password: %+v", set)
	}
	known := call{mac, "alice", vmPassword + "\n"}.run(t, "prlctl", "set", vm.ID, "--pause-idle", "on")
	if known.code != 0 {
		t.Errorf("with the password: %+v", known)
	}
	return outcome{stdout: "list: " + prompt + alone + ", set: " + asks(set)}
}

// nameInProcess is the name that the process of a VM shows that was renamed while
// it ran.
func nameInProcess(t *testing.T, mac Mac) outcome {
	t.Helper()
	changeVM(t, mac, "Windows 11", "name=Old name")
	state := mustLoad(t, mac)
	vm := state.VMs[0]
	process := vmProcess{&invocation{mac: mac, args: state.vmAppArguments(vm)}}
	changeVM(t, mac, "Old name", "name=New name")
	state = mustLoad(t, mac)
	return outcome{stdout: process.argumentsNow(state, state.VMs[0])[1]}
}

// captures.md 2: VmInfo.pvi is there from creation on and empty until the Tools
// have reported, and shows numbers where a sample that was invented had texts.
func TestCapturesVmInfo(t *testing.T) {
	t.Parallel()
	const empty = "<RealOsType></RealOsType>\n<RealOsTypeId>255</RealOsTypeId>\n<RealOsVersion></RealOsVersion>\n<RealOsDetails></RealOsDetails>"
	for name, c := range map[string]struct {
		version string
		vm      newVMOptions
		set     []string
		want    string
	}{
		"never started": {"26", newVMOptions{OS: "win-11", NeverStarted: true}, nil, empty},
		"Windows 11 Pro": {"26", newVMOptions{OS: "win-11"}, []string{"guest-build=22631"},
			"<RealOsType>Microsoft Windows, 64bit, 4 cpu(s), page: 4096b</RealOsType>\n<RealOsTypeId>8</RealOsTypeId>\n" +
				"<RealOsVersion>10.0.22631, </RealOsVersion>\n" +
				"<RealOsDetails>ServicePack: 0.0; SuiteMask: 0x100; ProductType: 1; ProductEdition: 48</RealOsDetails>"},
		"Windows 10 Home, 15": {"15", newVMOptions{OS: "win-10"}, []string{"product-edition=101"},
			"<RealOsType>Microsoft Windows, 64bit, 2 cpu(s), page: 4096b</RealOsType>\n<RealOsTypeId>8</RealOsTypeId>\n" +
				"<RealOsVersion>10.0.19045, </RealOsVersion>\n" +
				"<RealOsDetails>ServicePack: 0.0; SuiteMask: 0x100; ProductType: 1; ProductEdition: 101</RealOsDetails>"},
		"Windows Server 2022": {"26", newVMOptions{OS: "win-2022"}, nil,
			"<RealOsType>Microsoft Windows, 64bit, 2 cpu(s), page: 4096b</RealOsType>\n<RealOsTypeId>8</RealOsTypeId>\n" +
				"<RealOsVersion>10.0.20348, </RealOsVersion>\n" +
				"<RealOsDetails>ServicePack: 0.0; SuiteMask: 0x100; ProductType: 3; ProductEdition: 7</RealOsDetails>"},
		"Linux": {"27", newVMOptions{OS: "ubuntu"}, nil, empty},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mac := macOfVersion(t, c.version)
			c.vm.Name = "Guest"
			vm := createAlice(t, mac, c.vm)
			changeVM(t, mac, "Guest", c.set...)
			info := fileOf(t, mac, vm.Bundle, "VmInfo.pvi")
			if got := show(info, "RealOs"); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
			if !strings.Contains(info, `<VmInfo dyn_lists="" schemaVersion="1.0">`) {
				t.Errorf("root: %s", info)
			}
			if has := strings.Contains(info, "<OsKernelVersion></OsKernelVersion>"); has == (c.version == "15") {
				t.Errorf("version %s: OsKernelVersion is there: %t", c.version, has)
			}
		})
	}
}

// captures.md 4.3: four pastes of the process, and the doubled slash.
func TestCapturesProcess(t *testing.T) {
	t.Parallel()
	mac := macWithProcesses(t)
	state := mustLoad(t, mac)
	vm, err := findVM(state.ownedBy("alice"), "Windows 11")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(vm.PID), "cmdline"))
	if err != nil {
		t.Skip("this system shows processes in another way")
	}
	got := strings.Split(strings.TrimSuffix(string(raw), "\x00"), "\x00")
	want := []string{mac.Dir + "/Applications/Parallels Desktop.app/Contents/MacOS//Parallels VM.app/Contents/MacOS/prl_vm_app",
		"--vm-name", "Windows 11", "--uuid", "{" + vm.ID + "}", "--dir-uuid", "{" + state.directoryID("alice") + "}",
		"--log-dir", "/Users/alice/Parallels/Windows 11.pvm"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// captures.md 2: the Tools of a VM that has just been started have not reported,
// and when they have, its process tells.
func TestCapturesToolsReportLater(t *testing.T) {
	t.Parallel()
	wanted := standardMac()
	wanted.NoProcesses, wanted.Empty = false, true
	mac := newMac(t, wanted)
	vm := createAlice(t, mac, newVMOptions{OS: "win-11", Name: "New one", NeverStarted: true})
	callAs(mac, "alice").run(t, "prlctl", "start", "New one")
	list := func() string { return callAs(mac, "alice").run(t, "prlctl", "list", "New one", "-i", "--json").stdout }
	if got := list(); !strings.Contains(got, `"state": "possibly_installed"`) || strings.Contains(fileOf(t, mac, vm.Bundle, "VmInfo.pvi"), "10.0.") {
		t.Errorf("just started: %.900s", got)
	}
	// The time has come: the process notices by itself.
	pipe, err := mac.createWakePipe()
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.close()
	if err := pipe.publish(waitingProcess{User: "test", PID: os.Getpid()}); err != nil {
		t.Fatal(err)
	}
	mustUpdate(t, mac, func(state *State) error { state.VMs[0].ToolsReadyAt = time.Now(); return nil })
	told := func() bool {
		return slices.ContainsFunc(readRecords[eventRecord](t, mac, "events"), func(e eventRecord) bool { return e.Name == "vm_tools_state_changed" })
	}
	for deadline := time.Now().Add(20 * time.Second); !told() && time.Now().Before(deadline); {
		pipe.wait(time.Second, -1)
	}
	if !told() {
		t.Error("nobody was told")
	}
	if got := list(); !strings.Contains(got, `"state": "installed"`) || !strings.Contains(fileOf(t, mac, vm.Bundle, "VmInfo.pvi"), "10.0.26100, ") {
		t.Errorf("after a while: %.900s", got)
	}
}

// captures.md 4.1: the words of the license, in both forms.
func TestCapturesLicense(t *testing.T) {
	t.Parallel()
	mac := newMac(t, standardMac())
	for _, status := range licenseStatuses {
		mustUpdate(t, mac, func(state *State) error { return state.Product.setLicenseStatus(status) })
		checkOutcome(t, callAs(mac, "alice").run(t, "prlsrvctl", "info", "--license"),
			outcome{0, licenseHeader + "\n    status=\"" + status + "\"\n    serial=\"", ""})
		checkOutcome(t, callAs(mac, "alice").run(t, "prlsrvctl", "info", "--license", "--json"), outcome{0, `"status": "` + status + `"`, ""})
		state := map[bool]string{true: "valid", false: "invalid"}[status == "ACTIVE" || status == "GRACED"]
		checkOutcome(t, callAs(mac, "alice").run(t, "prlsrvctl", "info", "--json"), outcome{0, `"state": "` + state + `"`, ""})
	}
	mustUpdate(t, mac, func(state *State) error { return state.Product.setLicenseStatus(noLicense) })
	checkOutcome(t, callAs(mac, "alice").run(t, "prlsrvctl", "info", "--license"), outcome{0, "Searching for installed licenses...\nNo licenses installed.\n", ""})
	mustUpdate(t, mac, func(state *State) error {
		state.Product.Version = versionsByMajor["15"]
		return state.Product.setLicenseStatus("active")
	})
	old := callAs(mac, "alice").run(t, "prlsrvctl", "info", "--license", "--json")
	checkOutcome(t, old, outcome{0, `"deferred_activation": "disabled"`, ""})
	if strings.Contains(old.stdout, "activation_type") || strings.Contains(old.stdout, `"uuid"`) {
		t.Errorf("an old version: %s", old.stdout)
	}
}

// captures.md 4.2: refusals by their texts.
func TestCapturesRefusals(t *testing.T) {
	t.Parallel()
	set := []string{"set", "macOS", "--share-host-location", "on"}
	for name, c := range map[string]struct {
		prepare func(*testing.T, Mac)
		args    []string
		want    outcome
	}{
		"license expired": {func(t *testing.T, mac Mac) {
			mustUpdate(t, mac, func(state *State) error { return state.Product.setLicenseStatus("expired") })
		}, []string{"start", "macOS"}, outcome{255, "", "Failed to start the VM: This product was activated for a limited period of time that has now expired."}},
		"busy": {func(t *testing.T, mac Mac) { setState(t, mac, "cloning") }, set, outcome{255, "", "Failed to configure the VM: Unable to perform the action because the virtual machine is busy. The virtual machine is being cloned. Please try again later."}},
		"configuration invalid": {func(t *testing.T, mac Mac) { setState(t, mac, "invalid") }, set,
			outcome{255, "", "Unable to commit VM configuration: Unable to start the virtual machine.The virtual machine configuration is invalid.\n"}},
		"Standard edition, set": {func(t *testing.T, mac Mac) {
			mustUpdate(t, mac, func(state *State) error { state.Product.Edition = "standard"; return nil })
		}, set, outcome{255, editionGate, ""}},
		"no setting of this guest": {func(*testing.T, Mac) {}, []string{"set", "macOS", "--show-dev-tools", "on"},
			outcome{255, "", "Show developer tools is not supported by the guest operating system."}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mac := newMac(t, standardMac())
			c.prepare(t, mac)
			checkOutcome(t, callAs(mac, "alice").run(t, "prlctl", c.args...), c.want)
		})
	}
}

func setState(t *testing.T, mac Mac, word string) {
	t.Helper()
	mustUpdate(t, mac, func(state *State) error {
		vm, err := findVM(state.VMs, "macOS")
		if err != nil {
			return err
		}
		return mac.setVMState(state, vm, word)
	})
}

// captures.md 2 and 5.4: help shows a flag that set refuses.
func TestCapturesHelpIsNoProof(t *testing.T) {
	t.Parallel()
	mac := newMac(t, standardMac())
	checkOutcome(t, callAs(mac, "alice").run(t, "prlctl", "set", "bluetooth", "--help"), outcome{0, "  --auto-share-bluetooth <on|off>\n", ""})
	checkOutcome(t, callAs(mac, "alice").run(t, "prlctl", "set", "macOS", "--auto-share-bluetooth", "off"), outcome{255, "", "Unrecognized option: --auto-share-bluetooth"})
	checkOutcome(t, callAs(mac, "alice").run(t, "prlctl", "set", "--help"), outcome{0, "\n  shared_folders\n", ""})
	for _, flag := range setFlags {
		if !slices.Contains(setCategories, flag.category) {
			t.Errorf("%s: there is no category %s", flag.name, flag.category)
		}
	}
}

// captures.md 2 and 4.4: config.pvs as it lies on the disk.
func TestCapturesConfigPVS(t *testing.T) {
	t.Parallel()
	mac := newMac(t, standardMac())
	changeVM(t, mac, "macOS", "Startup and Shutdown/Autostart=user-login", "Startup and Shutdown/Startup view=headless", "Hardware/net0/type=bridged", "Hardware/net0/card=e1000")
	config := fileOf(t, mac, "/Users/alice/Parallels/macOS.macvm", "config.pvs")
	for _, want := range []string{
		`<ParallelsVirtualMachine dyn_lists="VirtualAppliance 0" schemaVersion="1.0">` + "\n   <AppVersion>26.4.0-57513</AppVersion>",
		"<VmType>2</VmType>", "<Owner></Owner>", "<IsOwner>0</IsOwner>", "<OnVmWindowClose>5</OnVmWindowClose>", "<AutoStart>5</AutoStart>", "<WindowMode>5</WindowMode>",
		"<HypervisorType>1</HypervisorType>", "<EfiEnabled>5</EfiEnabled>", "<EmulatedType>2</EmulatedType>", "<AdapterType>2</AdapterType>",
		"<SecretKeySourceType>1</SecretKeySourceType>", "<OsNumber>1795</OsNumber>", ">1752-01-01 00:00:00<",
	} {
		if !strings.Contains(config, want) {
			t.Errorf("lacks %s", want)
		}
	}
	for _, absent := range []string{"VmHome", "VmLastStateChangedDateTime"} {
		if strings.Contains(config, absent) {
			t.Errorf("has %s", absent)
		}
	}
}

// captures.md 2 and 4.5: keys by version and guest.
func TestCapturesListKeys(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		version, vm string
		set         []string
		has, lacks  []string
	}{
		"15 is flat": {"15", "Windows 11", nil,
			[]string{"\n\t\t\"Autostart\": ", "\n\t\t\"Lock VM on suspend\": \"off\"", "\n\t\t\"Isolate VM from host\": \"off\"", "\n\t\t\"Hardware\": {"},
			[]string{"Startup and Shutdown", `"Security"`, "Print Management"}},
		"16 has more of the network": {"16", "macOS", nil,
			[]string{`"preventpromisc"`, `"mac_filter"`, `"ip_filter"`, `"nameservers"`, `"searchdomains"`, `"Startup and Shutdown"`},
			[]string{`"dhcp"`, `"auto": "off",` + "\n\t\t\t\t\"hotplug\": false\n", "Print Management", "Lock VM on suspend"}},
		"16 has an address with the network": {"16", "Windows 11", nil, []string{`"ips": "10.211.55.4\/255.255.255.0 "`}, []string{"ipAddresses"}},
		"18 of Windows prints":               {"18", "Windows 11", nil, []string{"Print Management", `"dhcp"`}, []string{"Removable drives"}},
		"18 of Linux does not":               {"18", "Ubuntu 22.04", nil, nil, []string{"Print Management", `"dhcp"`}},
		"SmartMount when on": {"26", "Ubuntu 22.04", []string{"SmartMount/enabled=true"},
			[]string{`"Removable drives": "on"`, `"CD\/DVD drives": "on"`, `"Network shares": "on"`}, nil},
		"IPv6":                {"26", "Windows 11", nil, []string{`"type": "ipv6",` + "\n\t\t\t\t\t\"ip\": \"fe80::"}, nil},
		"IPv6 alone":          {"26", "Windows 11", []string{"address=fdb2::9"}, []string{`"type": "ipv6",` + "\n\t\t\t\t\t\"ip\": \"fdb2::9\""}, []string{"ipv4"}},
		"26 lacks it of 11.2": {"26", "Windows 11", nil, nil, []string{"Lock VM on suspend", "Isolate VM from host", "preventpromisc"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mac := macOfVersion(t, c.version)
			changeVM(t, mac, c.vm, c.set...)
			got := callAs(mac, "alice").run(t, "prlctl", "list", c.vm, "-i", "--json").stdout
			for _, part := range c.has {
				if !strings.Contains(got, part) {
					t.Errorf("lacks %s", part)
				}
			}
			for _, part := range c.lacks {
				if strings.Contains(got, part) {
					t.Errorf("has %s", part)
				}
			}
		})
	}
}

// A restored bundle has the content and the times of the old one, and is another
// file for the system.
func TestRestoredBundle(t *testing.T) {
	t.Parallel()
	mac := newMac(t, standardMac())
	disk := mac.Path("/Users/alice/Parallels/macOS.macvm/harddisk1.hdd/harddisk1.hdd.0.hds")
	old := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	if err := os.Chtimes(disk, old, old); err != nil {
		t.Fatal(err)
	}
	look := func() (os.FileInfo, string) {
		info, err := os.Stat(disk)
		if err != nil {
			t.Fatal(err)
		}
		return info, fileOf(t, mac, "/Users/alice/Parallels/macOS.macvm", "config.pvs")
	}
	before, config := look()
	mustUpdate(t, mac, func(state *State) error {
		vm, err := findVM(state.VMs, "macOS")
		if err != nil {
			return err
		}
		return mac.restoreBundle(vm)
	})
	after, restored := look()
	if os.SameFile(before, after) || !after.ModTime().Equal(old) || config != restored {
		t.Errorf("same file: %t, of %v, same content: %t", os.SameFile(before, after), after.ModTime(), config == restored)
	}
}

// A VM that is resumed has Tools that run already.
func TestResumedToolsAreReady(t *testing.T) {
	t.Parallel()
	mac := newMac(t, standardMac())
	callAs(mac, "alice").run(t, "prlctl", "resume", "Ubuntu 22.04")
	checkOutcome(t, callAs(mac, "alice").run(t, "prlctl", "list", "Ubuntu 22.04", "-i", "--json"), outcome{0, `"state": "installed"`, ""})
}
