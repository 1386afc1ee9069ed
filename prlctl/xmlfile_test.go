package prlctl

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadConfigPVS(t *testing.T) {
	t.Parallel()
	got, err := ReadConfigPVS(sample(t, "config.pvs"))
	if err != nil {
		t.Fatal(err)
	}
	want := ConfigPVS{
		VMUUID: windowsID, SourceVMUUID: "59c836ea-ac37-4d18-be17-c49763bf46fb", VMName: "Windows & 11", Owner: "user1",
		VMCreationDate: "2026-03-01 09:15:00", VMUptimeStartDateTime: "2026-11-20 07:58:12",
		AssetID: "ACME-42", SourceOSVersion: "10.0.22621", OSType: 8, OSNumber: 2067,
		ToolsVersion: "26.4.0-57513", IsolatedVM: SwitchOff, LockGuestOnSuspend: SwitchOn, AutoUpdate: SwitchOn,
		VMEncryptionInfo: VMEncryptionInfo{Enabled: SwitchOn, PluginID: "<parallels-default-plugin>"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("config.pvs (-want +got):\n%s", diff)
	}
}

func TestReadConfigPVSReadsOddValuesAsNothing(t *testing.T) {
	t.Parallel()
	got, err := ReadConfigPVS([]byte(`<ParallelsVirtualMachine>
		<Identification><VmUuid>no uuid</VmUuid><SourceVmUuid>{00000000-0000-0000-0000-000000000000}</SourceVmUuid></Identification>
		<Settings><General><OsType>many</OsType><OsNumber>99999999999</OsNumber></General><Tools><IsolatedVm>2</IsolatedVm></Tools></Settings>
		<Hardware><Identification><VmUuid>{f11d8098-10fe-40d9-871e-27af1e66161e}</VmUuid></Identification></Hardware>
	</ParallelsVirtualMachine>`))
	if err != nil || got != (ConfigPVS{}) {
		t.Errorf("want nothing, got %+v, %v", got, err)
	}
}

func TestReadVMInfo(t *testing.T) {
	t.Parallel()
	got, err := ReadVMInfo(sample(t, "VmInfo.pvi"))
	if err != nil {
		t.Fatal(err)
	}
	want := VMInfo{
		RealOSType: "8", RealOSVersion: "Windows 11 Pro, Version 22H2", OSKernelVersion: "10.0.22621",
		UEFIPlatformKeySHA256: "6b0e5f1f6c0a7d0d7c3f0a4f5c9f1d2e3b4a5968778695a4b3c2d1e0f1021324",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("VmInfo.pvi (-want +got):\n%s", diff)
	}
	bare, err := ReadVMInfo([]byte(`<GuestOsInformation><RealOsVersion>Windows 11 Pro</RealOsVersion></GuestOsInformation>`))
	if err != nil || bare.RealOSVersion != "Windows 11 Pro" {
		t.Errorf("GuestOsInformation as the root: got %+v, %v", bare, err)
	}
}

func TestINV_09_GuestSystem(t *testing.T) {
	t.Parallel()
	cases := []struct {
		version, kernel string
		want            GuestOS
	}{
		{"Windows 11 Pro, Version 22H2", "10.0.22621", GuestOS{"Windows 11", "Pro", "22H2", "22621"}},
		{"Microsoft Windows 11 Enterprise LTSC, Version 24H2, ", "10.0.26100.1742", GuestOS{"Windows 11", "Enterprise LTSC", "24H2", "26100.1742"}},
		{"Windows Server 2012 R2 Standard", "6.3.9600", GuestOS{"Windows Server 2012 R2", "Standard", "", "9600"}},
		{"Windows 10", "", GuestOS{"Windows 10", "", "", ""}},
		{"Windows", "10.0", GuestOS{"Windows", "", "", "10.0"}},
		{"Windows Server", "", GuestOS{"Windows Server", "", "", ""}},
		{"Ubuntu 24.04.1 LTS", "6.8.0-41-generic", GuestOS{"Ubuntu 24.04.1 LTS", "", "", "6.8.0-41-generic"}},
		{"", "", GuestOS{}},
	}
	for _, c := range cases {
		got := VMInfo{RealOSVersion: c.version, OSKernelVersion: c.kernel}.Guest()
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%q, %q (-want +got):\n%s", c.version, c.kernel, diff)
		}
	}
}

func TestH11_FilesOfUsersAreCappedAndNotQuoted(t *testing.T) {
	t.Parallel()
	const secret = "s3cr3t"
	inRoot := func(text string) string { return "<ParallelsVirtualMachine>" + text + "</ParallelsVirtualMachine>" }
	cases := map[string]struct{ data, code string }{
		"empty":                {"", CodeFileInvalid},
		"text":                 {secret, CodeFileInvalid},
		"encrypted bytes":      {secret + "\x00\xff\x80", CodeFileInvalid},
		"another root":         {"<" + secret + "/>", CodeFileInvalid},
		"truncated":            {"<ParallelsVirtualMachine><" + secret + ">", CodeFileInvalid},
		"crossed tags":         {inRoot("<a>" + secret + "</b>"), CodeFileInvalid},
		"an entity of its own": {`<!DOCTYPE x [<!ENTITY a "` + secret + `">]>` + inRoot("<Identification><VmName>&a;</VmName></Identification>"), CodeFileInvalid},
		"another encoding":     {`<?xml version="1.0" encoding="` + secret + `"?>` + inRoot(""), CodeFileInvalid},
		"two names":            {inRoot("<Identification><VmName>a</VmName><VmName>" + secret + "</VmName></Identification>"), CodeDuplicateElement},
		"two identifications":  {inRoot("<Identification><VmName>a</VmName></Identification><Identification><VmName>" + secret + "</VmName></Identification>"), CodeDuplicateElement},
		"a huge value":         {inRoot("<Identification><VmName>" + strings.Repeat(secret, 1000) + "</VmName></Identification>"), CodeFileInvalid},
		"too deep":             {inRoot(strings.Repeat("<"+secret+">", maxFileDepth)), CodeFileTooDeep},
		"too large":            {inRoot(strings.Repeat(secret, MaxFile/len(secret))), CodeFileTooLarge},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := ReadConfigPVS([]byte(c.data))
			if errorCode(err) != c.code {
				t.Fatalf("want %s, got %v", c.code, err)
			}
			for cause := err; cause != nil; cause = errors.Unwrap(cause) {
				if strings.Contains(cause.Error(), secret) {
					t.Errorf("the error holds the file's content: %v", cause)
				}
			}
		})
	}
}
