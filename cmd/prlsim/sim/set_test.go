package sim

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
)

// machineView is all that an agent can read of a VM, by place: "list: PATH" or
// "pvs: PATH".
type machineView map[string]string

// viewOf reads a VM as it is listed and as its config.pvs lies on the disk.
func viewOf(t *testing.T, mac Mac, id string) machineView {
	t.Helper()
	state := mustLoad(t, mac)
	vm, err := findVM(state.VMs, id)
	if err != nil {
		t.Fatal(err)
	}
	document, err := state.infoDocument(vm, false)
	if err != nil {
		t.Fatal(err)
	}
	view := machineView{}
	view.addDocument("list: ", document)
	view.addXML(t, fileOf(t, mac, vm.Bundle, "config.pvs"))
	return view
}

func (v machineView) addDocument(prefix string, members orderedObject) {
	for _, m := range members {
		if section, ok := m.Value.(orderedObject); ok {
			v.addDocument(prefix+m.Key+"/", section)
			continue
		}
		v[prefix+m.Key] = fmt.Sprint(m.Value)
	}
}

// addXML adds the texts of a file; elements of one name are counted.
func (v machineView) addXML(t *testing.T, text string) {
	t.Helper()
	var path []string
	count := map[string]int{}
	decoder := xml.NewDecoder(strings.NewReader(text))
	for {
		token, err := decoder.Token()
		switch {
		case errors.Is(err, io.EOF):
			return
		case err != nil:
			t.Fatal(err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			name := strings.Join(append(slices.Clone(path), token.Name.Local), "/")
			if count[name]++; count[name] > 1 {
				token.Name.Local += fmt.Sprint("#", count[name])
			}
			path = append(path, token.Name.Local)
		case xml.EndElement:
			path = path[:len(path)-1]
		case xml.CharData:
			if text := strings.TrimSpace(string(token)); text != "" {
				v["pvs: "+strings.Join(path[1:], "/")] = text
			}
		}
	}
}

// changes says what became of each place, in order.
func (v machineView) changes(after machineView) []string {
	places := maps.Clone(v)
	maps.Copy(places, after)
	var lines []string
	for _, place := range slices.Sorted(maps.Keys(places)) {
		old, had := v[place]
		now, has := after[place]
		switch {
		case !has:
			lines = append(lines, place+": "+old+" -> gone")
		case !had:
			lines = append(lines, place+": new, "+now)
		case now != old:
			lines = append(lines, place+": "+old+" -> "+now)
		}
	}
	return lines
}

// setCalls are what the table test gives each flag: its words one after the
// other, and the first again, or what stands here.
var setCalls = map[string][]string{
	"--cpus": {"8", "auto"}, "--memsize": {"3072", "auto"}, "--autostart-delay": {"30"}, "--time-sync-interval": {"300"},
	"--device-bootorder": {"hdd0 net0 "}, "--asset-id": {"A-17", ""}, "--name": {"Renamed"}, "--description": {"a <b>"},
	"--require-pwd": {"change-vm-state:on", "manage-snapshots:on", "change-vm-state:off"},
	"--device-set": {"net0 --type host-only --disconnect", "net0 --type bridged --iface en1 --connect", "net0 --iface default",
		"net0 --iface en1", "net0 --type bridged",
		"net0 --type shared --disable", "net0 --enable --adapter-type e1000 --mac 001c42000001 --dhcp no"},
	"--device-add": {"net --type bridged"}, "--device-disconnect": {"net1"}, "--device-connect": {"net1"}, "--device-del": {"net1"},
}

// setOrder is that of the flags that need another before them.
var setOrder = []string{"--device-add", "--device-disconnect", "--device-connect", "--device-set", "--device-del"}

// notSimulated are flags that are only in the help.
var notSimulated = []string{"--videosize", "--custom-pwd", "--userpasswd", "--expiration", "--template"}

// What each flag prints, and what it changes in the list and in config.pvs.
func TestVMS_42_EachFlag(t *testing.T) {
	t.Parallel()
	wanted := standardMac()
	wanted.Assume = []string{"locked_set=accepted", "lock_release=accepted"}
	mac := newMac(t, wanted)
	machines := map[int]*VM{
		0:             createAlice(t, mac, newVMOptions{OS: "win-11", Name: "Guest"}),
		osTypeLinux:   createAlice(t, mac, newVMOptions{OS: "ubuntu", Name: "Linux"}),
		osTypeWindows: createAlice(t, mac, newVMOptions{OS: "win-11", Name: "Windows"}),
	}
	flags := slices.Clone(setFlags)
	slices.SortStableFunc(flags, func(a, b setFlag) int {
		return slices.Index(setOrder, a.name) - slices.Index(setOrder, b.name)
	})
	var golden strings.Builder
	for _, flag := range flags {
		if slices.Contains(notSimulated, flag.name) || flag.until != 0 {
			continue
		}
		calls := setCalls[flag.name]
		if calls == nil {
			calls = strings.Split(flag.values, "|")
			calls = append(calls, calls[0])
		}
		changed := 0
		for _, value := range calls {
			fmt.Fprintf(&golden, "%s %s\n", flag.name, value)
			changed += setAndRecord(t, mac, machines[flag.guests].ID, flag.name, value, &golden)
		}
		// Nothing shows that the Mac's folders are mounted by themselves, and one
		// value is all that is known of traveling.
		if changed == 0 && !slices.Contains([]string{"--shf-host-automount", "--travel-enter"}, flag.name) {
			t.Errorf("%s changes nothing", flag.name)
		}
	}
	checkGolden(t, "set_flags.txt", golden.String())
}

// setAndRecord sets one flag, and returns how many places changed.
func setAndRecord(t *testing.T, mac Mac, id, flag, value string, golden *strings.Builder) int {
	t.Helper()
	arguments := []string{"set", id, flag + "=" + value}
	if strings.HasPrefix(flag, "--device-") && flag != "--device-bootorder" {
		arguments = append([]string{"set", id, flag}, strings.Fields(value)...)
	}
	before, events := viewOf(t, mac, id), len(readRecords[eventRecord](t, mac, "events"))
	got := callAs(mac, "alice").run(t, "prlctl", arguments...)
	lines, ended := strings.CutSuffix(got.stdout, "The VM has been successfully configured.\n")
	if got.code != 0 || got.stderr != "" || !ended {
		t.Errorf("%q: %+v", arguments, got)
	}
	if told := readRecords[eventRecord](t, mac, "events")[events:]; len(told) != 1 || told[0].Name != "vm_config_changed" || told[0].VM != id {
		t.Errorf("%q: events %+v", arguments, told)
	}
	changes := before.changes(viewOf(t, mac, id))
	for line := range strings.Lines(lines) {
		golden.WriteString("  prints " + line)
	}
	for _, line := range changes {
		golden.WriteString("  " + line + "\n")
	}
	return len(changes)
}

// A call with several flags does all of them, and a lock among them does not
// stop the others (acting.md 1).
func TestSetOfSeveralFlags(t *testing.T) {
	t.Parallel()
	mac := newMac(t, standardMac())
	got := callAs(mac, "alice").run(t, "prlctl", "set", "Windows 11", "--lock-edit-settings", "on", "--pause-idle=on", "--device-set", "net0", "--type", "host-only", "--isolate-vm", "on")
	checkOutcome(t, got, outcome{0, "Set lock edit settings: on.\nSet pause idle: on.\nConfigure net0 (+) type=host mac=", ""})
	view := viewOf(t, mac, idOf(t, mac, "alice", "Windows 11"))
	for place, want := range map[string]string{
		"list: Security/Configuration is locked": "on", "list: Startup and Shutdown/Pause idle": "on", "list: Hardware/net0/type": "host", "pvs: Settings/Tools/IsolatedVm": "1",
	} {
		if view[place] != want {
			t.Errorf("%s is %q", place, view[place])
		}
	}
}

// Isolating a VM switches the sharing of gamepads on again, so it comes first
// (facts/prlctl.md 6).
func TestVMS_42_OrderOfIsolation(t *testing.T) {
	t.Parallel()
	const place = "list: USB and Bluetooth/Automatic sharing gamepads"
	for name, c := range map[string]struct {
		flags []string
		want  string
	}{
		"isolated last":  {[]string{"--auto-share-gamepad=off", "--isolate-vm=on"}, "on"},
		"isolated first": {[]string{"--isolate-vm=on", "--auto-share-gamepad=off"}, "off"},
		"set free":       {[]string{"--auto-share-gamepad=off", "--isolate-vm=off"}, "off"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mac := newMac(t, standardMac())
			for _, flag := range c.flags {
				checkOutcome(t, callAs(mac, "alice").run(t, "prlctl", "set", "Windows 11", flag), outcome{0, "successfully configured", ""})
			}
			if got := viewOf(t, mac, idOf(t, mac, "alice", "Windows 11"))[place]; got != c.want {
				t.Errorf("gamepads are %s", got)
			}
		})
	}
}

// The exit codes of set lie both ways, for the flags that the fault names and for
// no other (facts/prlctl.md 5).
func TestVMS_39_SetLies(t *testing.T) {
	t.Parallel()
	const idle = "list: Startup and Shutdown/Pause idle"
	for name, c := range map[string]struct {
		fault string
		args  []string
		want  outcome
		done  bool
	}{
		"done, and says that it failed":    {faultDone + "=--pause-idle", []string{"--pause-idle=on"}, outcome{255, "Set pause idle: on.\n", "Failed to configure the VM: Operation canceled."}, true},
		"another flag does not fail":       {faultDone + "=--tpm,--cpus", []string{"--pause-idle=on"}, outcome{0, "successfully configured", ""}, true},
		"every flag fails":                 {faultDone + "=any", []string{"--pause-idle=on"}, outcome{255, "", "Operation canceled."}, true},
		"not done, and says that it is":    {faultNotDone + "=--pause-idle", []string{"--pause-idle=on"}, outcome{0, "Set pause idle: on.\nThe VM has been successfully configured.", ""}, false},
		"another flag of the call is done": {faultNotDone + "=--shared-cloud", []string{"--shared-cloud=on", "--pause-idle=on"}, outcome{0, "successfully configured", ""}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mac := newMac(t, standardMac())
			id := idOf(t, mac, "alice", "Windows 11")
			mustUpdate(t, mac, func(state *State) error { return state.setFault(c.fault, "alice") })
			if c.want.stdout == "" {
				c.want.stdout = "Set "
			}
			events := len(readRecords[eventRecord](t, mac, "events"))
			checkOutcome(t, callAs(mac, "alice").run(t, "prlctl", append([]string{"set", id}, c.args...)...), c.want)
			if told := len(readRecords[eventRecord](t, mac, "events")) - events; told != map[bool]int{true: 1}[c.done] {
				t.Errorf("%d events", told)
			}
			view := viewOf(t, mac, id)
			if done := view[idle] == "on"; done != c.done {
				t.Errorf("done: %t", done)
			}
			if view["list: Miscellaneous Sharing/Shared cloud"] != "off" {
				t.Error("what was not done is done")
			}
		})
	}
	if err := new(State).setFault(faultDone+"=--of-tomorrow", ""); !errors.Is(err, errUsage) {
		t.Errorf("a fault of an unknown flag: %v", err)
	}
}

// A person changes what a flag can, and more, without its rules; the monitors are
// told each time.
func TestPersonChangesSettings(t *testing.T) {
	t.Parallel()
	mac := newMac(t, standardMac())
	id := idOf(t, mac, "alice", "Windows 11")
	for _, c := range []struct {
		settings string
		want     string // all that changes
	}{
		{"lock-on-suspend=on", "pvs: Settings/Tools/LockGuestOnSuspend: 0 -> 1"},
		{"tools-autoupdate=no", "pvs: Settings/Tools/AutoUpdate/Enabled: 1 -> 0"},
		{"shf-guest-automount=off", ""}, // shown only where the guest's folders are shared
		{"isolate-vm=on", "pvs: Settings/Tools/IsolatedVm: 0 -> 1"},
		{"shf-host-defined=off", "list: Host defined sharing: User home directory -> Off"},
		{"Host defined sharing=All disks", "list: Host defined sharing: Off -> All disks"},
		{"cpus=6", "list: Hardware/cpu/cpus: 4 -> 6"},
		{"net0=disconnected", "list: Hardware/net0/state: new, disconnected\npvs: Hardware/NetworkAdapter/Connected: 1 -> 0"},
		{"Hardware/net0/state=connected", "list: Hardware/net0/state: disconnected -> gone\npvs: Hardware/NetworkAdapter/Connected: 0 -> 1"},
		{"net0=bridged:en1", "list: Hardware/net0/iface: new, en1\nlist: Hardware/net0/type: shared -> bridged\n" +
			"pvs: Hardware/NetworkAdapter/EmulatedType: 1 -> 2\npvs: Hardware/NetworkAdapter/HostInterfaceName: new, en1"},
		{"Hardware/net0/iface=default", "list: Hardware/net0/iface: en1 -> gone\npvs: Hardware/NetworkAdapter/HostInterfaceName: en1 -> gone"},
		{"net0=disabled,shared", "list: Hardware/net0/enabled: true -> false\nlist: Hardware/net0/type: bridged -> shared\n" +
			"pvs: Hardware/NetworkAdapter/EmulatedType: 2 -> 1\npvs: Hardware/NetworkAdapter/Enabled: 1 -> 0"},
		{"Network/Conditioned=on", "list: Network/Conditioned: off -> on\n" +
			"list: Network/Inbound/Bandwidth: new, 780Kbps\nlist: Network/Inbound/Delay: new, 100ms\nlist: Network/Inbound/Packet Loss: new, 0%\n" +
			"list: Network/Outbound/Bandwidth: new, 780Kbps\nlist: Network/Outbound/Delay: new, 100ms\nlist: Network/Outbound/Packet Loss: new, 0%"},
		{"lock-edit-settings=on", "list: Security/Configuration is locked: off -> on"},
	} {
		before, events := viewOf(t, mac, id), len(readRecords[eventRecord](t, mac, "events"))
		changeVM(t, mac, id, c.settings)
		if got := strings.Join(before.changes(viewOf(t, mac, id)), "\n"); got != c.want {
			t.Errorf("%s changes\n%s\nwant\n%s", c.settings, got, c.want)
		}
		if told := readRecords[eventRecord](t, mac, "events")[events:]; len(told) != 1 || told[0].Name != "vm_config_changed" {
			t.Errorf("%s: events %+v", c.settings, told)
		}
	}
	changeVM(t, mac, id, "adapters=2", "net1=host-only")
	view := viewOf(t, mac, id)
	if view["list: Hardware/net1/type"] != "host" || view["pvs: Hardware/NetworkAdapter#2/MAC"] == view["pvs: Hardware/NetworkAdapter/MAC"] {
		t.Errorf("second adapter: %v", view)
	}
	for _, wrong := range []string{"pause-idle=maybe", "net0=tunneled", "net0=shared:en1", "net2=shared", "adapters=0", "adapters=17", "require-pwd=sleep:on"} {
		err := mac.update(func(state *State) error {
			vm, err := findVM(state.VMs, id)
			if err != nil {
				return err
			}
			return mac.configureVM(state, vm, wrong, false)
		})
		if err == nil {
			t.Errorf("%s is accepted", wrong)
		}
	}
}
