package prlctl

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// readable is what the tests compare of a VM: all but Raw and its hash.
func readable(vm VM) VM {
	vm.Raw, vm.configHash = nil, ""
	return vm
}

var sameVM = cmp.AllowUnexported(VM{})

func TestListReadsTheSamples(t *testing.T) {
	t.Parallel()
	cases := map[string]VM{
		"list-windows-running.json": {
			ID: windowsID, Name: "Windows 11", Type: "VM", State: StateRunning, OS: "win-11",
			Template: SwitchOff, Uptime: 1011878 * time.Second, uptimeShown: true,
			HomePath:   "/Users/user1/Parallels/Windows 11.pvm/config.pvs",
			Home:       "/Users/user1/Parallels/Windows 11.pvm/",
			GuestTools: GuestTools{State: "installed", Version: "26.4.0-57513"},
			Security: Security{
				Encrypted: SwitchOff, TPMEnabled: SwitchOn, TPMType: "crb", CustomPassword: SwitchOff,
				Locked: SwitchOff, Protected: SwitchOff, Archived: SwitchOff, Packed: SwitchOff,
			},
			CPUType: "arm", BIOSType: "efi-arm64",
			Disks:    []Disk{{"hdd0", "/Users/user1/Parallels/Windows 11.pvm/harddisk1.hdd", SwitchOn}},
			Adapters: []Adapter{{Name: "net0", Type: "shared", Enabled: SwitchOn}},
		},
		"list-linux-suspended.json": {
			ID: "59c836ea-ac37-4d18-be17-c49763bf46fb", Name: "Ubuntu 22.04", Description: "dev box", Type: "VM",
			State: StateSuspended, OS: "ubuntu", Template: SwitchOff, Uptime: 345608 * time.Second, uptimeShown: true,
			HomePath:   "/Users/user1/Parallels/Ubuntu 22.04.pvm/config.pvs",
			Home:       "/Users/user1/Parallels/Ubuntu 22.04.pvm/",
			GuestTools: GuestTools{State: "possibly_installed", Version: "18.3.0-53605"},
			Security: Security{
				Encrypted: SwitchOff, TPMEnabled: SwitchOff, TPMType: "off", CustomPassword: SwitchOff,
				Locked: SwitchOff, Protected: SwitchOff, Archived: SwitchOff,
			},
			CPUType: "arm", BIOSType: "efi-arm64",
			Disks:    []Disk{{"hdd0", "/Users/user1/Parallels/Ubuntu 22.04.pvm/Ubuntu Linux-0.hdd", SwitchOn}},
			Adapters: []Adapter{{Name: "net0", Type: "shared", Enabled: SwitchOn}},
		},
		"list-mixed-types.json": {
			ID: windowsID, Name: "Mixed", State: "Paused", OS: "win-11", Template: SwitchOff,
			Uptime: 1011878 * time.Second, uptimeShown: true,
			GuestTools: GuestTools{State: "not_installed"},
			Security: Security{
				Encrypted: SwitchOn, TPMEnabled: SwitchOn, CustomPassword: SwitchOff, Locked: SwitchOn,
			},
			CPUType: "arm", SerialNumber: "ACME-0001",
			Disks: []Disk{{"hdd0", "/a.hdd", SwitchOn}, {"hdd1", "/b.hdd", SwitchOff}},
		},
	}
	for name, want := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			output := sample(t, name)
			vm := single(t, output)
			if diff := cmp.Diff(want, readable(*vm), sameVM); diff != "" {
				t.Errorf("virtual machine (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(generic(t, output).([]any)[0], generic(t, vm.Raw)); diff != "" {
				t.Errorf("keys or values lost (-source +raw):\n%s", diff)
			}
		})
	}
}

func TestListReadsTheBulkForm(t *testing.T) {
	t.Parallel()
	listing := listed(t, sample(t, "list-bulk.json"))
	var got []string
	for _, vm := range listing.VMs {
		got = append(got, fmt.Sprintf("%s %s %s packed=%s bundle=%q", vm.Name, vm.State, vm.State.Portal(), vm.Security.Packed, vm.Bundle()))
	}
	want := []string{
		`Windows 11 running Running packed=off bundle=""`,
		`Ubuntu 22.04 suspended Suspended packed=unknown bundle=""`,
		`macOS stopped Stopped packed=off bundle=""`,
		`Packed stopped Stopped packed=on bundle="/Users/user1/Parallels/Packed.pvmp"`,
		`Gone invalid Unknown packed=unknown bundle="/Volumes/Stick/Gone.pvm"`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("virtual machines (-want +got):\n%s", diff)
	}
	if len(listing.Unreadable) != 0 || len(listing.Notes) != 0 {
		t.Errorf("want a clean listing, got %v and %v", listing.Unreadable, listing.Notes)
	}
}

func TestListToleratesNoise(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		output []byte
		names  []string
		notes  []string
	}{
		"words around, control bytes, gate behind": {
			sample(t, "list-noise.txt"),
			[]string{"Lineone", "Zürich – \"quoted\""},
			[]string{NoteTextAroundJSON, NoteControlBytes},
		},
		"edition gate before": {
			sample(t, "list-standard-edition.txt"), []string{"Ubuntu"},
			[]string{NoteEditionNotice, NoteTextAroundJSON},
		},
		"no machines":                 {[]byte("[]\n"), nil, nil},
		"an empty object":             {[]byte("{}"), nil, nil},
		"no machines, odd blanks":     {[]byte("[\n\x01 \n]"), nil, nil},
		"one object, no array":        {[]byte(`{"ID":"` + windowsID + `","Name":"One"}`), []string{"One"}, nil},
		"escapes":                     {[]byte(`[{"ID":"` + windowsID + `","Name":"\u0041\/\\\"\u00e9\ud83d\ude00\n\u0001"}]`), []string{"A/\\\"é😀\n\x01"}, nil},
		"half a surrogate pair":       {[]byte(`[{"ID":"` + windowsID + `","Name":"a\ud83dz\ude00"}]`), []string{"a\ufffdz\ufffd"}, []string{NoteInvalidUTF8}},
		"bytes that are no UTF-8":     {[]byte("[{\"ID\":\"" + windowsID + "\",\"Name\":\"a\xffb\"}]"), []string{"a\ufffdb"}, []string{NoteInvalidUTF8}},
		"a name that looks like JSON": {[]byte(`[{"ID":"` + windowsID + `","Name":"[{\"ID\":\"x\"}]"}]`), []string{`[{"ID":"x"}]`}, nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			listing := listed(t, c.output)
			var names []string
			for _, vm := range listing.VMs {
				names = append(names, vm.Name)
				if got := generic(t, vm.Raw).(map[string]any)["Name"]; got != vm.Name {
					t.Errorf("raw says %q, the field %q", got, vm.Name)
				}
			}
			if diff := cmp.Diff(c.names, names); diff != "" {
				t.Errorf("names (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.notes, listing.Notes); diff != "" {
				t.Errorf("notes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestH14_UntrustedObjectsDoNotSinkTheirNeighbors(t *testing.T) {
	t.Parallel()
	listing := listed(t, sample(t, "list-untrusted.json"))
	var names []string
	for _, vm := range listing.VMs {
		names = append(names, vm.Name)
	}
	if diff := cmp.Diff([]string{"Good", "Also good"}, names); diff != "" {
		t.Errorf("readable (-want +got):\n%s", diff)
	}
	want := []Unreadable{
		{"22222222-2222-4222-8222-222222222222", CodeDuplicateKey},
		{"33333333-3333-4333-8333-333333333333", CodeDuplicateKey},
		{"", CodeDuplicateKey},
		{"", CodeNoID},
		{"", CodeNoID},
		{"", CodeInvalidVMID},
		{"", CodeWrongType},
		{"66666666-6666-4666-8666-666666666666", CodeWrongType},
		{"", CodeWrongType},
		{"88888888-8888-4888-8888-888888888888", CodeDuplicateKey},
		{"77777777-7777-4777-8777-777777777777", CodeDuplicateID},
	}
	if diff := cmp.Diff(want, listing.Unreadable); diff != "" {
		t.Errorf("unreadable (-want +got):\n%s", diff)
	}
}

// Which of two objects with one ID is the machine cannot be told, also where one
// of them cannot be read.
func TestH14_OneIDThatIsReadableOnce(t *testing.T) {
	t.Parallel()
	const good, bad = `{"ID":"` + windowsID + `","Name":"One"}`, `{"ID":"` + windowsID + `","Name":"a","Name":"b"}`
	for _, output := range []string{"[" + good + "," + bad + "]", "[" + bad + "," + good + "]"} {
		listing := listed(t, []byte(output))
		if len(listing.VMs) != 0 || len(listing.Unreadable) == 0 {
			t.Errorf("%s: %+v", output, listing)
		}
		for _, broken := range listing.Unreadable {
			if broken.ID != windowsID {
				t.Errorf("%s: unreadable %+v", output, broken)
			}
		}
	}
}

// Captures 4.5: up to version 15 the list has no sections.
func TestCaptures_4_5_FlatForm(t *testing.T) {
	t.Parallel()
	for output, want := range map[string]Switch{
		`"Encrypted":"yes","TPM enabled":"no"`:                  SwitchOn,
		`"Encrypted":"no"`:                                      SwitchOff,
		`"Security":{"Encrypted":"no"},"Encrypted":"yes"`:       SwitchOff,
		`"Security":{"TPM enabled":"no"},"Encrypted":"yes"`:     SwitchUnknown,
		`"Security":"what is this","Encrypted":"yes"`:           SwitchUnknown,
		`"Description":"Encrypted","Archived":{"Encrypted":""}`: SwitchUnknown,
	} {
		vm := single(t, []byte(`[{"ID":"`+windowsID+`",`+output+`}]`))
		if vm.Security.Encrypted != want {
			t.Errorf("%s: encrypted %s, want %s", output, vm.Security.Encrypted, want)
		}
	}
}

// An uptime that the tool does not show is not one of zero.
func TestUptimeThatIsNotShown(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]bool{
		`"0"`: true, `" 12 "`: true, `7`: true, `null`: false, `""`: false, `"-1"`: false, `"12.5"`: false, `[]`: false,
		`"99999999999999999999999999"`: false, `9223372036854775807`: false,
	} {
		vm := single(t, []byte(`[{"ID":"`+windowsID+`","Uptime":`+value+`}]`))
		if vm.ShowsUptime() != want {
			t.Errorf("%s: shown %t, %s", value, vm.ShowsUptime(), vm.Uptime)
		}
	}
	if vm := single(t, []byte(`[{"ID":"`+windowsID+`"}]`)); vm.ShowsUptime() {
		t.Error("shown where there is none")
	}
}

func TestListRefusesBrokenJSON(t *testing.T) {
	t.Parallel()
	for _, broken := range []string{
		`[{"ID":1,}]`, `[{"ID"}]`, `[{"ID":}]`, `[{"ID":"a" "b"}]`, `[{} {}]`, `[{"a":01}]`, `[{"a":1.}]`, `[{"a":1e}]`,
		`[{"a":-}]`, `[{"a":.5}]`, `[{"a":tru}]`, `[{"a":nul}]`, `[{"a":"\x"}]`, `[{"a":"\u12"}]`, `[{"a":"\u12zz"}]`,
		`[{"a":[1,]}]`, `[{"a":[1}]`, `[{"a":"`, `[{"a":{`, `[{},]`,
	} {
		if listing, err := readListing([]byte(broken)); errorCode(err) != CodeOutputInvalid {
			t.Errorf("%s: want %s, got %+v, %v", broken, CodeOutputInvalid, listing, err)
		}
	}
}
