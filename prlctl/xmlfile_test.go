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
	want := &ConfigPVS{
		VMUUID: windowsID, SourceVMUUID: "59c836ea-ac37-4d18-be17-c49763bf46fb", VMName: "Windows & 11",
		VMCreationDate: "2026-03-01 09:15:00", VMUptimeStartDateTime: "2026-11-20 07:58:12",
		AssetID: "ACME-42", SourceOSVersion: "10.0.22621", OSType: 8, OSNumber: 2067,
		ToolsVersion: "26.4.0-57513", IsolatedVM: SwitchOff, LockGuestOnSuspend: SwitchOn, AutoUpdate: SwitchOn,
		VMEncryptionInfo: VMEncryptionInfo{Enabled: SwitchOn, PluginID: "<parallels-default-plugin>", SecretKeySourceType: "1"},
		AutoStart:        "start-host", AutoStop: "suspend", WindowMode: "headless", OnVMWindowClose: "keep-running", ActionOnStop: "close",
		Hypervisor: "apple", ScaleViewMode: "auto", UndoDisks: "on", TravelEnter: "below-threshold", TravelQuit: "never", Firmware: "efi-arm64",
		Network: []NetworkAdapter{
			{Enabled: SwitchOn, Connected: SwitchOn, Mode: "shared", Card: "virtio"},
			{Enabled: SwitchOn, Connected: SwitchOff, Mode: "bridged", Card: "e1000"},
		},
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
	if diff := cmp.Diff(&ConfigPVS{}, got); err != nil || diff != "" {
		t.Errorf("want nothing, got %v, %s", err, diff)
	}
}

// What is read lies near the root; a path is not even made for what lies deeper.
func TestReadConfigPVSReadsNearTheRoot(t *testing.T) {
	t.Parallel()
	for depth, want := range map[int]string{maxConfigDepth: "apple", maxConfigDepth + 1: ""} {
		path := "ParallelsVirtualMachine/Settings/" + strings.Repeat("a/", depth-3) + "HypervisorType"
		if got, err := ReadConfigPVS([]byte(elementAt(path, "1"))); err != nil || got.Hypervisor != want {
			t.Errorf("%d deep: %q, %v, want %q", depth, got.Hypervisor, err, want)
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
		"a huge name":          {inRoot("<a" + strings.Repeat(secret, 1000) + "/>"), CodeFileInvalid},
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
