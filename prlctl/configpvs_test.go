package prlctl

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Captures 4.4: each number that was seen, in the word that prlctl has for it.
func TestCaptures_4_4_Numbers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		path, number, want string
		got                func(*ConfigPVS) string
	}{
		{"Identification/VmType", "2", "macvm", func(c *ConfigPVS) string { return c.Kind }},
		{"Identification/VmType", "0", "", func(c *ConfigPVS) string { return c.Kind }},
		{"Settings/Startup/AutoStart", "0", "off", func(c *ConfigPVS) string { return c.AutoStart }},
		{"Settings/Startup/AutoStart", "3", "start-app", func(c *ConfigPVS) string { return c.AutoStart }},
		{"Settings/Startup/AutoStart", "4", "open-window", func(c *ConfigPVS) string { return c.AutoStart }},
		{"Settings/Startup/AutoStart", "5", "user-login", func(c *ConfigPVS) string { return c.AutoStart }},
		{"Settings/Startup/WindowMode", "0", "same", func(c *ConfigPVS) string { return c.WindowMode }},
		{"Settings/Startup/WindowMode", "1", "window", func(c *ConfigPVS) string { return c.WindowMode }},
		{"Settings/Startup/WindowMode", "2", "fullscreen", func(c *ConfigPVS) string { return c.WindowMode }},
		{"Settings/Startup/WindowMode", "3", "coherence", func(c *ConfigPVS) string { return c.WindowMode }},
		{"Settings/Startup/WindowMode", "4", "modality", func(c *ConfigPVS) string { return c.WindowMode }},
		{"Settings/Shutdown/OnVmWindowClose", "0", "stop", func(c *ConfigPVS) string { return c.OnVMWindowClose }},
		{"Settings/Shutdown/OnVmWindowClose", "1", "suspend", func(c *ConfigPVS) string { return c.OnVMWindowClose }},
		{"Settings/Shutdown/OnVmWindowClose", "2", "ask", func(c *ConfigPVS) string { return c.OnVMWindowClose }},
		{"Settings/Shutdown/OnVmWindowClose", "4", "shutdown", func(c *ConfigPVS) string { return c.OnVMWindowClose }},
		{"Settings/Shutdown/OnVmWindowClose", "3", "3", func(c *ConfigPVS) string { return c.OnVMWindowClose }}, // in no table
		{"Settings/Shutdown/AutoStop", "0", "stop", func(c *ConfigPVS) string { return c.AutoStop }},
		{"Settings/Shutdown/AutoStop", "2", "shutdown", func(c *ConfigPVS) string { return c.AutoStop }},
		{"Settings/Runtime/ActionOnStop", "0", "window", func(c *ConfigPVS) string { return c.ActionOnStop }},
		{"Settings/Shutdown/ActionOnStop", "3", "quit", func(c *ConfigPVS) string { return c.ActionOnStop }}, // wherever it stands
		{"Settings/Runtime/HypervisorType", "0", "parallels", func(c *ConfigPVS) string { return c.Hypervisor }},
		{"Settings/Runtime/ScaleViewMode", "0", "off", func(c *ConfigPVS) string { return c.ScaleViewMode }},
		{"Settings/Runtime/ScaleViewMode", "2", "keep-ratio", func(c *ConfigPVS) string { return c.ScaleViewMode }},
		{"Settings/Runtime/ScaleViewMode", "3", "stretch", func(c *ConfigPVS) string { return c.ScaleViewMode }},
		{"Settings/TravelOptions/Enter", "0", "never", func(c *ConfigPVS) string { return c.TravelEnter }},
		{"Settings/TravelOptions/Enter", "1", "on-battery", func(c *ConfigPVS) string { return c.TravelEnter }},
		{"Settings/Runtime/EfiEnabled", "1", "efi", func(c *ConfigPVS) string { return c.Firmware }},
		{"Settings/Startup/AutoStart", "start-host", "", func(c *ConfigPVS) string { return c.AutoStart }}, // no number
		{"Hardware/AutoStart", "1", "", func(c *ConfigPVS) string { return c.AutoStart }},                  // of something else
		{"Identification/VmCreationDate", "1752-01-01 00:00:00", "", func(c *ConfigPVS) string { return c.VMCreationDate }},
		{"Identification/VmUptimeStartDateTime", "1751-12-31 23:59:59", "", func(c *ConfigPVS) string { return c.VMUptimeStartDateTime }},
		{"Identification/VmCreationDate", "2013-05-25 02:59:09", "2013-05-25 02:59:09", func(c *ConfigPVS) string { return c.VMCreationDate }},
		{"Settings/General/OsType", "8", "8", func(c *ConfigPVS) string { return fmt.Sprint(c.OSType) }},
		{"Settings/General/OsNumber", "2063", "2063", func(c *ConfigPVS) string { return fmt.Sprint(c.OSNumber) }},
		{"Settings/VmEncryptionInfo/SecretKeySourceType", "2", "2", func(c *ConfigPVS) string { return c.VMEncryptionInfo.SecretKeySourceType }},
	} {
		config, err := ReadConfigPVS([]byte(elementAt("ParallelsVirtualMachine/"+c.path, c.number)))
		if got := c.got(config); err != nil || got != c.want {
			t.Errorf("%s %s: got %q, %v, want %q", c.path, c.number, got, err, c.want)
		}
	}
}

// elementAt is the XML of one text at a path.
func elementAt(path, text string) string {
	for at := len(path); at > 0; {
		end := at
		for at > 0 && path[at-1] != '/' {
			at--
		}
		text = "<" + path[at:end] + ">" + text + "</" + path[at:end] + ">"
		at--
	}
	return text
}

// Captures 2: AdapterType is the card, EmulatedType the mode.
func TestCaptures_2_NetworkAdapters(t *testing.T) {
	t.Parallel()
	card := func(mode, card string) string {
		return "<NetworkAdapter><EmulatedType>" + mode + "</EmulatedType><AdapterType>" + card + "</AdapterType></NetworkAdapter>"
	}
	config, err := ReadConfigPVS([]byte("<ParallelsVirtualMachine><Hardware>" + card("1", "0") + card("2", "1") + card("7", "2") + card("1", "3") + card("", "4") +
		"<Sound><AdapterType>9</AdapterType></Sound></Hardware></ParallelsVirtualMachine>"))
	if err != nil {
		t.Fatal(err)
	}
	want := []NetworkAdapter{
		{Mode: "shared", Card: "legacy"}, {Mode: "bridged", Card: "rtl8029"}, {Mode: "7", Card: "e1000"}, {Mode: "shared", Card: "virtio"}, {Card: "82574l"},
	}
	if diff := cmp.Diff(want, config.Network); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	twice := "<ParallelsVirtualMachine><Hardware><NetworkAdapter><Enabled>1</Enabled><Enabled>0</Enabled></NetworkAdapter></Hardware></ParallelsVirtualMachine>"
	if _, err := ReadConfigPVS([]byte(twice)); errorCode(err) != CodeDuplicateElement {
		t.Errorf("one card with two readings: %v", err)
	}
}

// The elements of facts/prlctl.md 6 that policies read.
func TestReadConfigPVSSharing(t *testing.T) {
	t.Parallel()
	const file = `<ParallelsVirtualMachine><Settings><Tools><SharedFolders><HostSharing><Enabled>1</Enabled></HostSharing>
		<GuestSharing><Enabled>0</Enabled></GuestSharing></SharedFolders><IsolatedVm>1</IsolatedVm></Tools></Settings></ParallelsVirtualMachine>`
	config, err := ReadConfigPVS([]byte(file))
	if err != nil || config.GuestSharing != SwitchOff || config.IsolatedVM != SwitchOn {
		t.Errorf("read %+v, %v", config, err)
	}
}
