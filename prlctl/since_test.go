package prlctl

import (
	"strings"
	"testing"
)

func TestINV_24_KeysThatAVersionLacks(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		version Version
		key     string
		want    bool
	}{
		"came with 18":           {Version{17, 1, 4, 0}, "Hardware/cpu/type", true},
		"is there in 18":         {Version{18, 3, 0, 53605}, "Hardware/cpu/type", false},
		"came with 20":           {Version{19, 4, 1, 0}, "Security/Packed", true},
		"has always been there":  {Version{16, 5, 0, 0}, "Security/Encrypted", false},
		"the version is unknown": {Version{}, "Security/Packed", false},
	} {
		if got := c.version.TooOldFor(c.key); got != c.want {
			t.Errorf("%s: %t, want %t", name, got, c.want)
		}
	}
	// The captures agree with the table.
	old, recent := string(sample(t, "list-linux-suspended.json")), string(sample(t, "list-windows-running.json"))
	for _, row := range keysSince {
		key, since := row.path, row.major
		last := `"` + key[strings.LastIndex(key, "/")+1:] + `":`
		if !strings.Contains(recent, last) || strings.Contains(old, last) != (since <= 18) && key != "Guest Shared Folders" {
			t.Errorf("%s: since %d, in the capture of 18: %t, of 20: %t", key, since, strings.Contains(old, last), strings.Contains(recent, last))
		}
	}
}

// Captures 2: Print Management goes by the guest, not by the version.
func TestCaptures_2_PrintManagementGoesByTheGuest(t *testing.T) {
	t.Parallel()
	for os, lacks := range map[string]bool{"win-11": false, "win-2025": false, "macosx": true, "ubuntu": true} {
		vm := VM{OS: os}
		if vm.LacksKey("Print Management/Synchronize with host printers") != lacks || vm.LacksKey("Security/Encrypted") {
			t.Errorf("%s lacks Print Management: %t", os, !lacks)
		}
	}
	if (Version{16, 5, 0, 0}).TooOldFor("Print Management") {
		t.Error("version 16 is too old for Print Management")
	}
}

// Versions before 18 show no type of processor; the BIOS type tells it.
func TestINV_24_ArchitectureByTheBIOSType(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ cpu, bios, want string }{
		{"arm", "efi64", "arm"}, {"X86", "", "x86"}, {"", "efi-arm64", "arm"}, {"", "efi64", "x86"}, {"", "efi32", "x86"}, {"", "legacy", "x86"},
		{"", "", ""}, {"", "coreboot", ""},
	} {
		if got := (&VM{CPUType: c.cpu, BIOSType: c.bios}).Architecture(); got != c.want {
			t.Errorf("%q, %q: %q, want %q", c.cpu, c.bios, got, c.want)
		}
	}
}

func TestINV_27_ToolsThatAreOutdated(t *testing.T) {
	t.Parallel()
	product := Version{26, 4, 0, 57513}
	for name, c := range map[string]struct {
		tools   GuestTools
		product Version
		want    bool
	}{
		"the product says so":          {GuestTools{"outdated", "25.0.0-50000"}, product, true},
		"and of tools as new":          {GuestTools{"outdated", "26.4.0-57513"}, product, true},
		"it says that they are fine":   {GuestTools{"installed", "26.3.2-57398"}, product, false},
		"remembered, older":            {GuestTools{"possibly_installed", "26.3.2-57398"}, product, true},
		"remembered, an older build":   {GuestTools{"possibly_installed", "26.4.0-57512"}, product, true},
		"remembered, the same":         {GuestTools{"possibly_installed", "26.4.0-57513"}, product, false},
		"remembered, newer":            {GuestTools{"possibly_installed", "27.0.0-58628"}, product, false},
		"remembered, no version":       {GuestTools{"possibly_installed", "yes"}, product, false},
		"the product is not known":     {GuestTools{"possibly_installed", "18.0.0-53049"}, Version{}, false},
		"there are none":               {GuestTools{"not_installed", "18.0.0-53049"}, product, false},
		"a bulk list that left it out": {GuestTools{}, product, false},
	} {
		if got := c.tools.Outdated(c.product); got != c.want {
			t.Errorf("%s: %t, want %t", name, got, c.want)
		}
	}
}

func TestINV_14_MethodsOfEncryption(t *testing.T) {
	t.Parallel()
	for plugin, want := range map[string]EncryptionMethod{
		"<parallels-default-plugin>": MethodPassword, "": MethodUnknown, "parallels-default-plugin": MethodUnknown, "<another>": MethodUnknown,
	} {
		if got := (&VMEncryptionInfo{Enabled: SwitchOn, PluginID: plugin}).Method(); got != want {
			t.Errorf("%q: %q, want %q", plugin, got, want)
		}
	}
}

// The host shows no macOS guest's serial number; where one is set, it is what
// the guest's format says: ten characters.
func TestINV_11_SerialNumberOfAMacGuest(t *testing.T) {
	t.Parallel()
	vm := single(t, sample(t, "list-macos-stopped.json"))
	if got := vm.Serial(); got != "" {
		t.Errorf("derived %q from nothing", got)
	}
	vm.SerialNumber = "Z2N7XK4QLP"
	if got := vm.Serial(); got != "Z2N7XK4QLP" {
		t.Errorf("got %q", got)
	}
}

// A machine that is registered twice has another ID each time, and with it
// another serial number.
func TestINV_12_SerialNumberChangesWithTheID(t *testing.T) {
	t.Parallel()
	output := string(sample(t, "list-windows-running.json"))
	first := single(t, []byte(output))
	second := single(t, []byte(strings.Replace(output, windowsID, "0fe1a2b3-c4d5-4e6f-8a9b-0c1d2e3f4a5b", 1)))
	if first.Serial() == second.Serial() || second.Serial() != "Parallels-0F E1 A2 B3 C4 D5 4E 6F 8A 9B 0C 1D 2E 3F 4A 5B" {
		t.Errorf("first %q, second %q", first.Serial(), second.Serial())
	}
}
