package prlctl

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
)

// seed adds recorded outputs to a fuzz target.
func seed(f *testing.F, names ...string) {
	for _, name := range names {
		f.Add(sample(f, name))
	}
}

// FuzzList compares the reader with the standard library's where that reads
// the output at all, and holds what must be true of every listing.
func FuzzList(f *testing.F) {
	seed(f, "list-noise.txt", "list-standard-edition.txt", "list-untrusted.json", "list-mixed-types.json", "list-text-form.txt", "list-linux-suspended.json")
	for _, name := range []string{"{}", "[]", `x {"a`} {
		f.Add([]byte(prompt(name) + oneMachine))
	}
	f.Add([]byte("Operation progress 100 %" + oneMachine))
	f.Fuzz(func(t *testing.T, output []byte) {
		listing, err := readListing(output)
		if err != nil {
			if errorCode(err) == CodeOutputInvalid && json.Valid(output) && bytes.HasPrefix(bytes.TrimSpace(output), []byte("[{")) {
				t.Fatalf("valid JSON refused: %v", err)
			}
			return
		}
		for _, vm := range listing.VMs {
			checkVM(t, vm)
		}
		if json.Valid(output) && len(listing.Unreadable) == 0 && len(listing.Notes) == 0 && len(listing.VMs) > 0 {
			compare(t, output, listing.VMs)
		}
	})
}

func checkVM(t *testing.T, vm VM) {
	t.Helper()
	if id, err := ParseID(vm.ID); err != nil || id != vm.ID {
		t.Fatalf("ID %q", vm.ID)
	}
	var again VM
	if err := json.Unmarshal(vm.Raw, &again); err != nil {
		t.Fatalf("raw JSON is not readable: %v\n%s", err, vm.Raw)
	}
	if !reflect.DeepEqual(vm, again) {
		t.Fatalf("reading raw JSON again differs:\n%+v\n%+v", vm, again)
	}
}

// compare holds the raw JSON against the standard decoder's view.
func compare(t *testing.T, output []byte, vms []VM) {
	t.Helper()
	var want any
	if err := decodeNumbers(output, &want); err != nil {
		t.Fatal(err)
	}
	items, isArray := want.([]any)
	if !isArray {
		items = []any{want}
	}
	if len(items) != len(vms) {
		t.Fatalf("want %d objects, got %d", len(items), len(vms))
	}
	for i, vm := range vms {
		var got any
		if err := decodeNumbers(vm.Raw, &got); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(items[i], got) {
			t.Fatalf("object %d differs:\n%v\n%v", i, items[i], got)
		}
	}
}

func decodeNumbers(data []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	return decoder.Decode(into)
}

func FuzzServerInfo(f *testing.F) {
	seed(f, "info.json", "edition-gate.txt")
	f.Fuzz(func(t *testing.T, output []byte) {
		info, err := readServerInfo(output)
		if err != nil && !reflect.DeepEqual(info, ServerInfo{}) {
			t.Fatalf("an error and an answer: %v, %+v", err, info)
		}
	})
}

func FuzzLicense(f *testing.F) {
	seed(f, "info-license.json", "info-license-standard.txt", "info-license-broken.txt")
	f.Add([]byte("Searching for installed licenses...\nNo licenses installed.\n"))
	f.Add([]byte("Searching for installed licenses...\n    status=\"ACTIVE\"\n    serial=\"6J9A5T-AAAAAA-BBBBBB-CCCCCC-RN17ZA\"\n"))
	f.Fuzz(func(t *testing.T, output []byte) {
		license, err := readLicense(output)
		if err != nil && !reflect.DeepEqual(license, License{}) {
			t.Fatalf("an error and an answer: %v, %+v", err, license)
		}
		if licenseKey().MatchString(license.Serial) && maskKey(license.Serial) != license.Serial {
			t.Fatalf("the key is not masked: %q", license.Serial)
		}
	})
}

func FuzzVersion(f *testing.F) {
	for _, text := range []string{"26.3.2 (57398)", "26.4.0-57513", "Desktop 26.3.2-57398", "20.1"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		version, err := ParseVersion(text)
		if err != nil || version.IsZero() {
			return
		}
		if again, err := ParseVersion(version.String()); err != nil || again != version {
			t.Fatalf("%q reads as %v, its text as %v, %v", text, version, again, err)
		}
	})
}

func FuzzConfigPVS(f *testing.F) {
	seed(f, "config.pvs", "VmInfo.pvi")
	f.Fuzz(func(t *testing.T, data []byte) {
		config, err := ReadConfigPVS(data)
		if (err != nil) != (config == nil) {
			t.Fatalf("an error and an answer, or none of both: %v, %+v", err, config)
		}
		if err != nil {
			return
		}
		if id, err := ParseID(config.VMUUID); config.VMUUID != "" && (err != nil || id != config.VMUUID) {
			t.Fatalf("VMUUID %q", config.VMUUID)
		}
	})
}

func FuzzVMInfo(f *testing.F) {
	seed(f, "VmInfo.pvi", "VmInfo-27.pvi", "VmInfo-new.pvi", "config.pvs")
	f.Add([]byte(`<VmInfo><GuestOsInformation><RealOsVersion>Windows 11 Pro, Version 22H2</RealOsVersion></GuestOsInformation></VmInfo>`))
	f.Fuzz(func(t *testing.T, data []byte) {
		info, err := ReadVMInfo(data)
		if (err != nil) != (info == nil) {
			t.Fatalf("an error and an answer, or none of both: %v, %+v", err, info)
		}
		if err == nil {
			info.Guest()
		}
	})
}
