package inventory

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"prlagent/agent/protocol"
	"prlagent/platform"
	"prlagent/prlctl"
)

func TestINV_01_EveryMachineIsListed(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	fromISO := &machine{id: "11111111-2222-4333-8444-555555555555", name: "From ISO", state: "stopped", os: "win-11", kind: "VM",
		home: "/Users/alice/Parallels/From ISO.pvm", toolsState: "not_installed", encrypted: "no", cpu: "arm"}
	l.machines["alice"] = append(l.machines["alice"], fromISO)
	l.bundle(fromISO.home, 501, 101)
	look := l.look()
	wantEqual(t, "rows", names(look), "alice/From ISO alice/Windows 11 bob/Ubuntu")
	wantEqual(t, "VM Source", row(t, look, "alice", fromISO.id).Source, "Other")
	wantEqual(t, "code", look.Code, "")
}

func TestINV_02_AllUsersOfTheMac(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	first := l.look()
	wantEqual(t, "rows", names(first), "alice/Windows 11 bob/Ubuntu")

	l.listErr["bob"] = errService
	down := l.look()
	kept := row(t, down, "bob", linuxID)
	wantEqual(t, "stale", kept.Stale, protocol.CodeServiceDown)
	wantEqual(t, "seen at", kept.SeenAt, first.At)
	wantEqual(t, "state", kept.State, protocol.StateUnknown)
	wantEqual(t, "OS", kept.OS, "Ubuntu 24.04.1 LTS")
	_, gap := cell(t, down, kept, "vm_state")
	wantEqual(t, "reason of the state", gap, protocol.CodeServiceDown)
	wantEqual(t, "the neighbor", row(t, down, "alice", windowsID).Stale, "")
	wantEqual(t, "listing", userLook(t, down, "bob"), protocol.UserLook{Name: "bob", UID: 502, Code: protocol.CodeServiceDown, At: first.At, Count: 1})
	wantEqual(t, "look", down.Code+" "+protocol.Code(down.Detail), "service_down bob")

	l.restart()
	still := l.look()
	wantEqual(t, "seen at, after a restart of the agent", row(t, still, "bob", linuxID).SeenAt, first.At)
	wantEqual(t, "last listed, after a restart of the agent", userLook(t, still, "bob").At, first.At)

	delete(l.listErr, "bob")
	back := l.look()
	recovered := row(t, back, "bob", linuxID)
	wantEqual(t, "stale after recovery", recovered.Stale, "")
	wantEqual(t, "seen at after recovery", recovered.SeenAt, time.Time{})
	wantEqual(t, "state after recovery", recovered.State, protocol.StateStopped)
	wantEqual(t, "listing after recovery", userLook(t, back, "bob"), protocol.UserLook{Name: "bob", UID: 502, Count: 1})
}

// The reasons why an account may not be listed are told as they are.
func TestINV_02_WhyAUserCannotBeListed(t *testing.T) {
	t.Parallel()
	for code, err := range map[protocol.Code]error{
		protocol.CodeServiceDown:   errService,
		protocol.CodeEdition:       &prlctl.Error{Code: prlctl.CodeEdition},
		protocol.CodeOutputInvalid: &prlctl.Error{Code: prlctl.CodeOutputInvalid},
		protocol.CodeToolTimeout:   &prlctl.Error{Code: "tool_timeout"},
		protocol.CodeToolFailed:    errors.New("something else"),
	} {
		t.Run(string(code), func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.look()
			l.listErr["alice"] = err
			look := l.look()
			wantEqual(t, "stale", row(t, look, "alice", windowsID).Stale, code)
			wantEqual(t, "listing", userLook(t, look, "alice").Code, code)
		})
	}
}

// A stale row is the same in every look: it does not change the report again.
func TestINV_02_StaleRowsAreQuiet(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	other := linux()
	other.id, other.home = "aaaaaaaa-0000-4000-8000-000000000001", "/Users/bob/Parallels/Other.pvm"
	l.machines["bob"] = append(l.machines["bob"], other)
	l.look()
	quiet := func(what string) {
		t.Helper()
		before, commits := reportOf(t, l.look()), l.state.Commits()
		for range 20 {
			if reportOf(t, l.look()) != before {
				t.Fatalf("%s: a look at the same Mac made another report", what)
			}
		}
		wantEqual(t, what+": commits", l.state.Commits(), commits)
	}
	other.brokenCode = prlctl.CodeDuplicateKey // stale before the rest of bob's
	quiet("one is unreadable")
	l.listErr["bob"] = errService
	quiet("nobody answers")
	l.restart()
	quiet("nobody answers after a restart of the agent")
}

func reportOf(t testing.TB, look *Look) string {
	t.Helper()
	report := protocol.Report{Host: look.Host, Product: look.Product, Users: look.Users, VMs: look.VMs}
	base, err := report.Baseline()
	if err != nil {
		t.Fatal(err)
	}
	return base.Hash
}

func TestINV_03_UserNameIsTheOwners(t *testing.T) {
	t.Parallel()
	look := newLab(t).look()
	for _, user := range []struct{ name, id string }{{"alice", windowsID}, {"bob", linuxID}} {
		value, _ := cell(t, look, row(t, look, user.name, user.id), "user_name")
		wantEqual(t, "User name", value, user.name)
	}
}

func TestINV_04_ComputerName(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	wantEqual(t, "computer name", l.look().Host.ComputerName, "Alice's Mac")
	l.host.ComputerName = "Renamed"
	wantEqual(t, "computer name after a rename", l.look().Host.ComputerName, "Renamed")
	l.host, l.hostErr = platform.Host{Serial: l.host.Serial}, errors.New("scutil hangs")
	look := l.look()
	wantEqual(t, "computer name while it is not readable", look.Host.ComputerName, "Renamed")
	wantEqual(t, "look", look.Code+" "+protocol.Code(look.Detail), "tool_failed host")
}

// A new name is shown even where the query by id does not answer.
func TestINV_05_RenamedMachine(t *testing.T) {
	t.Parallel()
	for name, bulkOnly := range map[string]bool{"read again": false, "not read again": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			vm := l.machines["alice"][0]
			l.look()
			vm.name, vm.bulkOnly = "Accounting", bulkOnly
			got := row(t, l.look(), "alice", windowsID)
			wantEqual(t, "name", got.Name, "Accounting")
			wantEqual(t, "edition", got.Edition, "Pro")
			wantEqual(t, "bundle", got.Bundle, protocol.Bundle{Volume: disk, Inode: 100})
		})
	}
}

func TestINV_06_IDWithoutBracesInLowerCase(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.machines["alice"][0].id = "{" + strings.ToUpper(windowsID) + "}"
	got := row(t, l.look(), "alice", windowsID)
	wantEqual(t, "serial", got.Serial, "Parallels-F1 1D 80 98 10 FE 40 D9 87 1E 27 AF 1E 66 16 1E")
}

func TestINV_18_ProductVersion(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	look := l.look()
	value, _ := cell(t, look, row(t, look, "alice", windowsID), "pd_version")
	wantEqual(t, "version", value, "26.4.0 (57513)")
	l.listErr["alice"], l.listErr["bob"], l.licErr = errService, errService, errService
	wantEqual(t, "version while the service is down", l.look().Product.Version, "26.4.0")
}

func TestINV_20_ToolsVersion(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		state, version string
		uptime         int
		want           string
		gap            protocol.Code
	}{
		"running tools":    {"installed", "26.4.0-57513", 10, "26.4.0-57513", ""},
		"outdated tools":   {"outdated", "25.0.0-50000", 10, "25.0.0-50000", ""},
		"stopped machine":  {"possibly_installed", "26.4.0-57513", 10, "26.4.0-57513", ""},
		"no tools":         {"not_installed", "", 10, "", protocol.CodeNoTools},
		"left-over number": {"not_installed", "26.4.0-57513", 10, "", protocol.CodeNoTools},
		"never started":    {"not_installed", "", 0, "", protocol.CodeNeverStarted},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			vm := l.machines["alice"][0]
			vm.toolsState, vm.toolsVersion, vm.uptime = c.state, c.version, c.uptime
			look := l.look()
			value, gap := cell(t, look, row(t, look, "alice", windowsID), "tools_version")
			wantEqual(t, "version", value, c.want)
			wantEqual(t, "reason", gap, c.gap)
		})
	}
}

func TestINV_20_ABulkListThatLeavesTheToolsOutSaysNothing(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	vm := l.machines["alice"][0]
	vm.sparse, vm.encrypted = true, "yes"
	for range 2 { // as it is read, and from memory
		found := row(t, l.look(), "alice", windowsID)
		wantEqual(t, "tools", found.ToolsVersion, "26.4.0-57513")
		wantEqual(t, "encryption", found.Encryption, protocol.Encrypted)
	}
	vm.memory, vm.bulkOnly = "4096Mb", true // another configuration, and no answer by id
	wantEqual(t, "tools", row(t, l.look(), "alice", windowsID).ToolsVersion, "26.4.0-57513")
}

func TestINV_21_MacSerial(t *testing.T) {
	t.Parallel()
	look := newLab(t).look()
	value, _ := cell(t, look, row(t, look, "bob", linuxID), "mac_serial")
	wantEqual(t, "serial", value, "C02XL0THJGH5")
}

func TestINV_22_CPU(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	look := l.look()
	wantEqual(t, "arm guest", row(t, look, "alice", windowsID).CPU, "Arm")
	wantEqual(t, "x86 guest", row(t, look, "bob", linuxID).CPU, "Intel")
	l.machines["bob"][0].cpu = "riscv"
	look = l.look()
	value, gap := cell(t, look, row(t, look, "bob", linuxID), "cpu")
	wantEqual(t, "another guest", value, "")
	wantEqual(t, "reason", gap, protocol.CodeNotShown)
}

func TestINV_23_RemovedMachineLeaves(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.look()
	l.machines["bob"] = nil
	wantEqual(t, "rows", names(l.look()), "alice/Windows 11")
	l.listErr["bob"] = errService // and it does not come back as a stale one
	wantEqual(t, "rows", names(l.look()), "alice/Windows 11")
}

// Everything is stopped, and every cell is filled: nothing was started.
func TestINV_33_StoppedMachinesHaveWholeRows(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.process(501, windowsID, noon.Add(-time.Hour))
	l.machines["alice"][0].state = "running"
	l.look()
	l.processes, l.machines["alice"][0].state = nil, "stopped"
	look := l.look()
	got := row(t, look, "alice", windowsID)
	if len(got.Gaps) != 0 {
		t.Errorf("gaps: %v", got.Gaps)
	}
	for _, column := range protocol.Columns {
		if value, _ := cell(t, look, got, column.ID); value == "" && column.ID != "last_command" && column.ID != "last_reported" {
			t.Errorf("%s is empty", column.ID)
		}
	}
	wantRuns(t, l, map[string]int{"list": 2, "license": 1}) // the sources offer nothing that starts a machine
}

func TestGapsOfGuests(t *testing.T) {
	t.Parallel()
	type gaps = map[string]protocol.Code
	cases := map[string]struct {
		change func(*lab, *machine)
		want   gaps
	}{
		"macOS guest": {
			func(l *lab, m *machine) {
				m.os, m.kind = "macosx", "APPLE_VZ_VM"
				l.info(m.home, "macOS 15.1", "24.1.0")
			},
			gaps{"vm_serial": protocol.CodeMacGuestSerial, "vm_edition": protocol.CodeGuestOS},
		},
		"never started": {
			func(l *lab, m *machine) {
				m.uptime, m.toolsState, m.toolsVersion = 0, "not_installed", ""
				delete(l.files, m.home+"/VmInfo.pvi")
			},
			gaps{"vm_edition": protocol.CodeNeverStarted, "vm_os_build": protocol.CodeNeverStarted,
				"tools_version": protocol.CodeNeverStarted, "last_used": protocol.CodeNeverStarted},
		},
		"started without tools": {
			func(l *lab, m *machine) {
				m.toolsState, m.toolsVersion = "not_installed", ""
				delete(l.files, m.home+"/VmInfo.pvi")
			},
			gaps{"vm_edition": protocol.CodeNoTools, "vm_os_build": protocol.CodeNoTools, "tools_version": protocol.CodeNoTools},
		},
		"tools, but the guest told nothing": {
			func(l *lab, m *machine) { delete(l.files, m.home+"/VmInfo.pvi") },
			gaps{"vm_edition": protocol.CodeNotShown, "vm_os_build": protocol.CodeNotShown},
		},
		"file not readable": {
			func(l *lab, m *machine) {
				l.files[m.home+"/VmInfo.pvi"] = file{uid: 501, failed: errors.New("operation not permitted")}
			},
			gaps{"vm_edition": protocol.CodeNotReadable, "vm_os_build": protocol.CodeNotReadable},
		},
		"file that macOS keeps private": {
			func(l *lab, m *machine) {
				l.files[m.home+"/VmInfo.pvi"] = file{uid: 501, failed: fmt.Errorf("open: %w", syscall.EPERM)}
			},
			gaps{"vm_edition": protocol.CodePrivacyDenied, "vm_os_build": protocol.CodePrivacyDenied},
		},
		"file of somebody else": {
			func(l *lab, m *machine) { l.files[m.home+"/VmInfo.pvi"] = file{uid: 502, data: "secret"} },
			gaps{"vm_edition": protocol.CodeNotReadable, "vm_os_build": protocol.CodeNotReadable},
		},
		"bundle not named": {
			func(l *lab, m *machine) { m.home = "" },
			gaps{"vm_edition": protocol.CodeNotReadable, "vm_os_build": protocol.CodeNotReadable},
		},
		"Linux has no editions": {
			func(l *lab, m *machine) { m.os = "ubuntu"; l.info(m.home, "Ubuntu 24.04.1 LTS", "6.8.0-45") },
			gaps{"vm_edition": protocol.CodeGuestOS},
		},
		"encryption not told": {
			func(l *lab, m *machine) { m.encrypted = "" },
			gaps{"vm_encryption": protocol.CodeNotShown},
		},
		"system not told": {
			func(l *lab, m *machine) { m.os = ""; delete(l.files, m.home+"/VmInfo.pvi") },
			gaps{"vm_os": protocol.CodeNotShown, "vm_edition": protocol.CodeGuestOS, "vm_os_build": protocol.CodeNotShown},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			c.change(l, l.machines["alice"][0])
			got := row(t, l.look(), "alice", windowsID).Gaps
			if _, asked := c.want["last_used"]; !asked {
				delete(got, "last_used") // see TestINV_16
			}
			if len(got) != len(c.want) {
				t.Errorf("gaps %v, want %v", got, c.want)
			}
			for column, code := range c.want {
				wantEqual(t, column, got[column], code)
			}
		})
	}
}

// A machine that once ran is never called "never started" again, whatever its
// counter says, also if its guest has no tools.
func TestNeverStartedEndsWithTheFirstStart(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	vm := l.machines["alice"][0]
	vm.uptime, vm.toolsState, vm.toolsVersion = 0, "not_installed", ""
	delete(l.files, vm.home+"/VmInfo.pvi")
	wantEqual(t, "before", row(t, l.look(), "alice", windowsID).Gaps["tools_version"], protocol.CodeNeverStarted)
	vm.state = "running"
	wantEqual(t, "while it runs", row(t, l.look(), "alice", windowsID).Gaps["tools_version"], protocol.CodeNoTools)
	vm.state, vm.memory = "stopped", "4096Mb" // read again
	wantEqual(t, "afterwards", row(t, l.look(), "alice", windowsID).Gaps["tools_version"], protocol.CodeNoTools)
}

func TestEncryption(t *testing.T) {
	t.Parallel()
	cases := map[string]struct{ said, file, want string }{
		"no":                     {"no", "", "Not encrypted"},
		"password":               {"yes", "<parallels-default-plugin>", "Encrypted with a custom password"},
		"unknown method":         {"yes", "some-other-plugin", "Encrypted"},
		"method is not readable": {"yes", "", "Encrypted"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			vm := l.machines["alice"][0]
			vm.encrypted = c.said
			if c.file != "" {
				l.files[vm.home+"/config.pvs"] = file{uid: 501, data: "<ParallelsVirtualMachine><Settings><VmEncryptionInfo><PluginId>" +
					strings.NewReplacer("<", "&lt;", ">", "&gt;").Replace(c.file) + "</PluginId></VmEncryptionInfo></Settings></ParallelsVirtualMachine>"}
			}
			wantEqual(t, "encryption", row(t, l.look(), "alice", windowsID).Encryption, c.want)
			wantEqual(t, "encryption, again", row(t, l.look(), "alice", windowsID).Encryption, c.want)
		})
	}
}

// A guest that is upgraded has another edition, name and build, at the next look
// that reads its file; what the file leaves out stays.
func TestINV_09_AnUpgradedGuestHasAnotherEdition(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	for _, step := range []struct {
		edition     int
		build, want string
	}{
		{windowsHome, "22621", "Windows 11 / Home / 22621"},
		{windowsPro, "22621", "Windows 11 / Pro / 22621"},
		{windowsEnterprise, "26100", "Windows 11 / Enterprise / 26100"},
	} {
		l.windowsInfo(windows().home, step.edition, step.build)
		got := row(t, l.look(), "alice", windowsID)
		wantEqual(t, "after "+step.build, got.OS+" / "+got.Edition+" / "+got.OSBuild, step.want)
	}
	l.info(windows().home, "", "")
	got := row(t, l.look(), "alice", windowsID)
	wantEqual(t, "after nothing", got.OS+" / "+got.Edition+" / "+got.OSBuild, "Windows 11 / Enterprise / 26100")
}

// What cannot be read for once stays as it was, also when the configuration
// changed at the same time.
func TestGuestFactsStayWhileTheirFileIsNotReadable(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.look()
	l.files[windows().home+"/VmInfo.pvi"] = file{uid: 501, failed: errors.New("busy")}
	l.machines["alice"][0].memory = "4096Mb"
	got := row(t, l.look(), "alice", windowsID)
	wantEqual(t, "edition", got.Edition, "Pro")
	wantEqual(t, "build", got.OSBuild, "22621")
	delete(l.files, windows().home+"/VmInfo.pvi")
	got = row(t, l.look(), "alice", windowsID)
	wantEqual(t, "edition without the file", got.Edition, "")
	l.files[windows().home+"/VmInfo.pvi"] = file{uid: 501, data: "no XML"}
	got = row(t, l.look(), "alice", windowsID)
	wantEqual(t, "edition of a broken file", got.Edition, "")
	l.windowsInfo(windows().home, windowsEnterprise, "26100")
	got = row(t, l.look(), "alice", windowsID)
	wantEqual(t, "edition after an upgrade", got.Edition+" "+got.OSBuild, "Enterprise 26100")
}

// The first name of an id is taken: one behind it would never be.
func TestGuestNamesHaveEachIDOnce(t *testing.T) {
	t.Parallel()
	for _, row := range guestNames {
		if got := guestName(row[0]); got != row[1] {
			t.Errorf("%s is %q and %q", row[0], got, row[1])
		}
	}
}
