package inventory

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"prlagent/agent/policy"
	"prlagent/agent/protocol"
	"prlagent/prlctl"
	"prlagent/store"
)

// What Tools tell of a Windows 11 Pro, in the real file's form (captures 2).
const realWindows = "<RealOsType>Microsoft Windows, 64bit, 4 cpu(s), page: 4096b</RealOsType><RealOsTypeId>8</RealOsTypeId>" +
	"<RealOsVersion>10.0.22631, </RealOsVersion>" +
	"<RealOsDetails>ServicePack: 0.0; SuiteMask: 0x100; ProductType: 1; ProductEdition: 48</RealOsDetails>"

// Captures 2: a Windows 11 Pro 22631 shows three values, of which the file has
// two as numbers and the list the third.
func TestINV_09_WindowsAsTheFileHasIt(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	shown := func() string {
		got := row(t, l.look(), "alice", windowsID)
		return got.OS + " / " + got.Edition + " / " + got.OSBuild
	}
	l.guestInfo(windows().home, realWindows)
	wantEqual(t, "as it is", shown(), "Windows 11 / Pro / 22631")
	l.restart()
	wantEqual(t, "from memory", shown(), "Windows 11 / Pro / 22631")
	l.guestInfo(windows().home, "<RealOsTypeId>8</RealOsTypeId><RealOsVersion>unknown</RealOsVersion>")
	wantEqual(t, "what is told once stays", shown(), "Windows 11 / Pro / 22631")
	l.guestInfo(windows().home, "<RealOsTypeId>8</RealOsTypeId><RealOsVersion>10.0.26100, </RealOsVersion><RealOsDetails>ProductEdition: 4</RealOsDetails>")
	wantEqual(t, "after an upgrade", shown(), "Windows 11 / Enterprise / 26100")
	l.machines["alice"][0].os = "win-2025"
	wantEqual(t, "as another system", shown(), "Windows Server 2025 / Enterprise / 26100")
}

// A name that an earlier agent made of the version is forgotten.
func TestINV_09_AVersionThatWasKeptAsAName(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.look()
	key := "alice/" + windowsID
	err := l.state.Update(func(tx *store.Tx) error {
		var kept record
		_, err := records.Get(tx, key, &kept)
		kept.Guest.Name = "10.0.22631"
		return errors.Join(err, records.Put(tx, key, &kept))
	})
	if err != nil {
		t.Fatal(err)
	}
	l.restart()
	l.guestInfo(windows().home, realWindows)
	wantEqual(t, "name", row(t, l.look(), "alice", windowsID).OS, "Windows 11")
}

func TestINV_09_NamesOfTheDistributionList(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]string{
		"win-11": "Windows 11", "win-10": "Windows 10", "win-2016": "Windows Server 2016", "win-2019": "Windows Server 2019",
		"win-2022": "Windows Server 2022", "win-2025": "Windows Server 2025", "kali": "Kali Linux", "centos": "CentOS",
		"rocky": "Rocky Linux", "alma": "AlmaLinux", "macosx": "macOS", "fedora-core": "Fedora", "plan-9": "plan-9",
	} {
		m := &Machine{VM: prlctl.VM{ID: windowsID, OS: id}}
		var got protocol.VM
		if m.fillRow(&got); got.OS != want {
			t.Errorf("%s is %q, want %q", id, got.OS, want)
		}
	}
}

// Captures 2: the file is there from creation on, with empty elements; "unknown"
// and the type 255 are not known either. The reasons are the guide's.
func TestINV_26_WhatWasNeverReported(t *testing.T) {
	t.Parallel()
	for name, elements := range map[string]string{
		"empty elements": "<RealOsType/><RealOsTypeId/><RealOsVersion/><RealOsDetails/><OsKernelVersion/><SerialNumber/>",
		"unknown":        "<RealOsType>unknown</RealOsType><RealOsVersion>unknown</RealOsVersion>",
		"type 255":       "<RealOsTypeId>255</RealOsTypeId><RealOsVersion>10.0.22631, </RealOsVersion>",
	} {
		for _, c := range []struct {
			uptime int
			tools  string
			want   protocol.Code
		}{{0, "not_installed", protocol.CodeNeverStarted}, {10, "not_installed", protocol.CodeNoTools}, {10, "installed", protocol.CodeNotShown}} {
			l := newLab(t)
			vm := l.machines["alice"][0]
			vm.uptime, vm.toolsState, vm.toolsVersion = c.uptime, c.tools, map[string]string{"installed": "26.4.0-57513"}[c.tools]
			l.guestInfo(vm.home, elements)
			got := row(t, l.look(), "alice", windowsID)
			wantEqual(t, name+": system", got.OS, "Windows 11") // the list's
			wantEqual(t, name+": why no edition", got.Gaps["vm_edition"], c.want)
			wantEqual(t, name+": why no build", got.Gaps["vm_os_build"], c.want)
		}
	}
}

// Captures 2: newer Tools report the guest's serial number, which the host does
// not know of a macOS guest. One that was set comes first.
func TestINV_10_INV_11_SerialNumberThatToolsReport(t *testing.T) {
	t.Parallel()
	const derived = "Parallels-F1 1D 80 98 10 FE 40 D9 87 1E 27 AF 1E 66 16 1E"
	for name, c := range map[string]struct{ os, set, told, want string }{
		"macOS":               {"macosx", "", "Z2N7XK4QLP", "Z2N7XK4QLP"},
		"macOS, not told":     {"macosx", "", "", ""},
		"Windows":             {"win-11", "", derived, derived},
		"Windows, not told":   {"win-11", "", "", derived},
		"Windows, unknown":    {"win-11", "", "unknown", derived},
		"one that was set":    {"win-11", "ACME-1", derived, "ACME-1"},
		"set, the other told": {"macosx", "ACME-1", "Z2N7XK4QLP", "ACME-1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			vm := l.machines["alice"][0]
			vm.os, vm.serial = c.os, c.set
			l.guestInfo(vm.home, "<SerialNumber>"+c.told+"</SerialNumber>")
			wantEqual(t, "serial number", row(t, l.look(), "alice", windowsID).Serial, c.want)
		})
	}
}

func TestCaptures_2_FactsOfTheGuestAreKept(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.guestInfo(windows().home, realWindows+"<DisplayVersion>23H2</DisplayVersion><DeviceName>DESKTOP-7</DeviceName><BitLockerStatus>off</BitLockerStatus>")
	l.look()
	l.restart()
	want := prlctl.GuestOS{Edition: "Pro", Build: "22631", Version: "23H2", DeviceName: "DESKTOP-7", BitLockerStatus: "off"}
	wantEqual(t, "guest", machineOf(t, l.look(), "alice", windowsID).Guest, want)
}

// Captures 2 (6): where the key comes from is a fact of the machine, and decides
// nothing as long as nobody has seen what it means.
func TestINV_14_WhereTheKeyComesFrom(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	vm := l.machines["alice"][0]
	vm.encrypted = "yes"
	l.files[vm.home+"/config.pvs"] = file{uid: 501, data: "<ParallelsVirtualMachine><Settings><VmEncryptionInfo><Enabled>1</Enabled>" +
		"<SecretKeySourceType>2</SecretKeySourceType><PluginId>another</PluginId></VmEncryptionInfo></Settings></ParallelsVirtualMachine>"}
	m := machineOf(t, l.look(), "alice", windowsID)
	wantEqual(t, "source of the key", m.Config.VMEncryptionInfo.SecretKeySourceType, "2")
	got := row(t, l.look(), "alice", windowsID)
	wantEqual(t, "encryption", got.Encryption, protocol.Encrypted)
	wantEqual(t, "remark", got.Gaps["vm_encryption"], protocol.CodeEncryptionMethod)
}

// Before a start was seen, the process's last write into the bundle stands for
// the last use, and says so. The start of the uptime counter is none (captures
// 2).
func TestINV_16_LastWriteStandsForTheLastUse(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	vm := l.machines["alice"][0]
	wrote := func(name string, at time.Time) {
		l.files[vm.home+name] = file{uid: 501, data: l.files[vm.home+name].data, at: at}
	}
	wrote("/VmInfo.pvi", noon.Add(-48*time.Hour))
	wrote("/parallels.log", noon.Add(-24*time.Hour-123456789))
	got := row(t, l.look(), "alice", windowsID)
	wantEqual(t, "last used", got.LastUsedAt, noon.Add(-24*time.Hour-time.Second))
	wantEqual(t, "remark", got.Gaps["last_used"], protocol.CodeWrittenAt)
	wrote("/VmInfo.pvi", noon)
	wantEqual(t, "with another file written for another reason", row(t, l.look(), "alice", windowsID).LastUsedAt, noon.Add(-24*time.Hour-time.Second))
	wrote("/VmInfo.pvi", noon.Add(-48*time.Hour))

	wrote("/parallels.log", noon.Add(240*time.Hour)) // by a clock that was wrong
	l.restart()
	wantEqual(t, "with a write of the future", row(t, l.look(), "alice", windowsID).LastUsedAt, noon.Add(-48*time.Hour))
	delete(l.files, vm.home+"/parallels.log")
	delete(l.files, vm.home+"/VmInfo.pvi")
	wantEqual(t, "without the files", row(t, l.look(), "alice", windowsID).LastUsedAt, noon.Add(-48*time.Hour))

	vm.state = "running"
	l.process(501, vm.id, noon.Add(-time.Hour))
	got = row(t, l.look(), "alice", windowsID)
	wantEqual(t, "a start that was seen", got.LastUsedAt, noon.Add(-time.Hour))
	wantEqual(t, "remark on it", got.Gaps["last_used"], "")
	vm.state, l.processes = "stopped", nil
	wrote("/parallels.log", noon.Add(time.Minute))
	wantEqual(t, "a write after it", row(t, l.look(), "alice", windowsID).LastUsedAt, noon.Add(-time.Hour))
}

// A machine that never ran has files as well.
func TestINV_16_NeverStartedIsNotUsed(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	vm := l.machines["alice"][0]
	vm.uptime, vm.toolsState, vm.toolsVersion = 0, "not_installed", ""
	l.files[vm.home+"/VmInfo.pvi"] = file{uid: 501, data: "<VmInfo/>", at: noon.Add(-time.Hour)}
	got := row(t, l.look(), "alice", windowsID)
	wantEqual(t, "last used", got.LastUsedAt, time.Time{})
	wantEqual(t, "reason", got.Gaps["last_used"], protocol.CodeNeverStarted)
}

// That a machine was never started, or has no tools, is said where the tool says
// so, and not where it leaves something out (captures 4.5: older versions show
// less).
func TestINV_16_INV_26_WhatIsNotShownIsNotNever(t *testing.T) {
	t.Parallel()
	for lacks, want := range map[string]struct{ lastUsed, edition protocol.Code }{
		"":           {protocol.CodeNeverStarted, protocol.CodeNeverStarted},
		"Uptime":     {protocol.CodeWrittenAt, protocol.CodeNoTools},
		"GuestTools": {protocol.CodeWrittenAt, protocol.CodeNotShown},
	} {
		l := newLab(t)
		vm := l.machines["alice"][0]
		vm.uptime, vm.toolsState, vm.toolsVersion, vm.lacks = 0, "not_installed", "", lacks
		l.files[vm.home+"/VmInfo.pvi"] = file{uid: 501, data: "<VmInfo/>", at: noon.Add(-time.Hour)}
		got := row(t, l.look(), "alice", windowsID)
		wantEqual(t, "without "+lacks+": last used", got.Gaps["last_used"], want.lastUsed)
		wantEqual(t, "without "+lacks+": edition", got.Gaps["vm_edition"], want.edition)
	}
	l := newLab(t)
	vm := l.machines["alice"][0]
	vm.sparse, l.getErr = true, errService
	wantEqual(t, "of a bulk list alone", row(t, l.look(), "alice", windowsID).Gaps["last_used"], protocol.CodeNotSeenRunning)
}

// A machine whose system was replaced has nothing of the system before.
func TestINV_09_AnotherSystemInTheMachine(t *testing.T) {
	t.Parallel()
	for name, elements := range map[string]string{
		"a version": "<RealOsTypeId>9</RealOsTypeId><RealOsVersion>6.8.0-41-generic</RealOsVersion>",
		"a name":    "<RealOsTypeId>9</RealOsTypeId><RealOsVersion>Ubuntu 24.04.1 LTS</RealOsVersion>",
	} {
		l := newLab(t)
		l.guestInfo(windows().home, realWindows+"<DisplayVersion>23H2</DisplayVersion><BitLockerStatus>on</BitLockerStatus>")
		l.look()
		l.machines["alice"][0].os = "ubuntu"
		l.guestInfo(windows().home, elements)
		look := l.look()
		got := row(t, look, "alice", windowsID)
		wantEqual(t, name+": edition", got.Edition, "")
		wantEqual(t, name+": reason", got.Gaps["vm_edition"], protocol.CodeGuestOS)
		guest := machineOf(t, look, "alice", windowsID).Guest
		wantEqual(t, name+": what the other told", guest.Version+guest.BitLockerStatus, "")
		if got.OSBuild == "22631" || got.OS == "Windows 11" {
			t.Errorf("%s: still %s, %s", name, got.OS, got.OSBuild)
		}
	}
}

// The start of a process is by the clock of that time, which may have been wrong.
func TestINV_16_AStartInTheFuture(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	vm := l.machines["alice"][0]
	vm.state = "running"
	l.process(501, vm.id, noon.Add(90*24*time.Hour))
	look := l.look()
	wantEqual(t, "last used", row(t, look, "alice", windowsID).LastUsedAt, look.At)
	wantEqual(t, "a look later", row(t, l.look(), "alice", windowsID).LastUsedAt, look.At)
}

// The guide has three words for the license; what they do not say stands beside.
func TestINV_19_WordsOfTheLicense(t *testing.T) {
	t.Parallel()
	for status, c := range map[string]struct {
		want   string
		remark protocol.Code
	}{
		"ACTIVE": {protocol.ProductKey, ""}, "GRACED": {protocol.ProductKey, protocol.CodeLicenseGrace},
		"EXPIRED": {protocol.ProductDeactivated, protocol.CodeLicenseExpired}, "INVALID": {protocol.ProductDeactivated, protocol.CodeLicenseInvalid},
		"": {protocol.ProductDeactivated, protocol.CodeNoLicense}, "SLEEPY": {protocol.ProductDeactivated, protocol.CodeLicenseInactive},
	} {
		l := newLab(t)
		l.license = prlctl.License{Status: status}
		look := l.look()
		cells := protocol.Row{VM: row(t, look, "alice", windowsID), Product: look.Product}
		column, _ := protocol.ColumnByID("pd_state")
		wantEqual(t, status+": state", column.Value(&cells), c.want)
		wantEqual(t, status+": remark", column.Reason(&cells), c.remark)
		wantEqual(t, status+": the look is whole", look.Code, "")
	}
}

// Captures 5.4: what set refuses is remembered under this version, also through
// a probe whose help shows the flag.
func TestCaptures_5_4_RefusedFlagsAreRemembered(t *testing.T) {
	t.Parallel()
	state, _, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "state"), store.Options{Collections: []string{Probed}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = state.Close() })
	const flag = "--pause-idle"
	product := &helpful{version: "26.4.0 (57513)"}
	ask := func(text string) prlctl.Support {
		t.Helper()
		version, err := prlctl.ParseVersion(text)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Capabilities(t.Context(), state, version, prlctl.New(product), policy.Flags)
		if err != nil {
			t.Fatal(err)
		}
		return got.Flag(flag).Support
	}
	refuse := func(text string) {
		t.Helper()
		version, err := prlctl.ParseVersion(text)
		if err == nil {
			err = Refuse(state, version, false, flag)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	refuse("26.4.0 (57513)") // before anything was probed
	wantEqual(t, "after a probe", ask("26.4.0 (57513)"), prlctl.Unsupported)
	commits := state.Commits()
	refuse("26.4.0 (57513)")
	wantEqual(t, "commits for what is known", state.Commits(), commits)
	wantEqual(t, "as it is kept", ask("26.4.0 (57513)"), prlctl.Unsupported)
	product.version = "27.0.0 (58628)"
	wantEqual(t, "of another version", ask("27.0.0 (58628)"), prlctl.Supported)
	refuse("27.0.0 (58628)")
	wantEqual(t, "refused later", ask("27.0.0 (58628)"), prlctl.Unsupported)
}
