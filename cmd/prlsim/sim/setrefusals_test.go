package sim

import (
	"slices"
	"strings"
	"testing"
)

const (
	notInState    = "Failed to configure the VM: Unable to perform the action because the virtual machine is not in the required state: it is "
	needsPassword = "Failed to configure the VM: The operation failed. To perform this operation, you must enter the host OS administrator's credentials."
	configPrompt  = "Only host administrator can change the configuration of the virtual machine.\nConfirm your administrator credentials.\nUsername: Password: "
)

// What set refuses leaves everything as it was, also for the other flags of the
// call, and tells nobody. Nobody answers where it asks.
func TestVMS_43_SetRefuses(t *testing.T) {
	t.Parallel()
	onVersion := func(version string) func(*testing.T, Mac) {
		return func(t *testing.T, mac Mac) {
			mustUpdate(t, mac, func(state *State) (err error) {
				state.Product.Version, err = wholeVersion(version)
				return err
			})
		}
	}
	inState := func(word string) func(*testing.T, Mac) {
		return func(t *testing.T, mac Mac) { setState(t, mac, word) }
	}
	locked := func(t *testing.T, mac Mac) {
		changeVM(t, mac, "Windows 11", "lock-edit-settings=on")
	}
	var as func(*testing.T, Mac) // as it is: such machines are on one Mac, which never changes
	common := newMac(t, standardMac())
	notSupported := func(setting string) outcome {
		return outcome{255, "", "Unable to commit VM configuration: " + setting + " is not supported by the guest operating system.\nFailed to configure the virtual machine.\n"}
	}
	for name, c := range map[string]struct {
		prepare func(*testing.T, Mac)
		line    string // the VM's name without blanks, and the arguments
		want    outcome
	}{
		"running: processors":          {as, "Windows_11 --cpus=2", outcome{255, "", notInState + "running"}},
		"running: memory":              {as, "Windows_11 --memsize=2048", outcome{255, "", notInState + "running"}},
		"running: TPM":                 {as, "Windows_11 --tpm=on", outcome{255, "", notInState + "running"}},
		"running: Secure Boot":         {as, "Windows_11 --efi-secure-boot=off", outcome{255, "", notInState + "running"}},
		"running: asset tag":           {as, "Windows_11 --asset-id=A", outcome{255, "", notInState + "running"}},
		"running: nested":              {as, "Windows_11 --nested-virt=on", outcome{255, "", notInState + "running"}},
		"running: optimization":        {as, "Windows_11 --adaptive-hypervisor=off", outcome{255, "", notInState + "running"}},
		"running: battery":             {as, "Windows_11 --longer-battery-life=on", outcome{255, "", notInState + "running"}},
		"running: one flag of two":     {as, "Windows_11 --pause-idle=on --cpus=2", outcome{255, "", notInState + "running"}},
		"running: new adapter":         {as, "Windows_11 --device-add net", outcome{255, "", notInState + "running"}},
		"running: adapter goes":        {as, "Windows_11 --device-del net0", outcome{255, "", notInState + "running"}},
		"suspended":                    {as, "Ubuntu_22.04 --share-host-location=off", outcome{255, "", notInState + "suspended"}},
		"suspended: adapter":           {as, "Ubuntu_22.04 --device-set net0 --disconnect", outcome{255, "", notInState + "suspended"}},
		"starting":                     {inState("starting"), "macOS --share-host-location=off", outcome{255, "", notInState + "starting"}},
		"stopping":                     {inState("stopping"), "macOS --share-host-location=off", outcome{255, "", notInState + "stopping"}},
		"synchronizing":                {inState("syncing"), "macOS --share-host-location=off", outcome{255, "", "Data synchronization is currently in progress"}},
		"macOS: lock":                  {as, "macOS --lock-edit-settings=on", notSupported("Configuration is locked")},
		"macOS: developer tools":       {as, "macOS --show-dev-tools=on", notSupported("Show developer tools")},
		"macOS: TPM":                   {as, "macOS --tpm=on", notSupported("TPM enabled")},
		"macOS: Secure Boot":           {as, "macOS --efi-secure-boot=on", notSupported("EFI Secure boot")},
		"macOS: pause":                 {as, "macOS --pause-idle=on", notSupported("Pause idle")},
		"macOS: printers":              {as, "macOS --sync-host-printers=on", notSupported("Synchronize with host printers")},
		"macOS: one flag of two":       {as, "macOS --share-host-location=off --show-dev-tools=on", notSupported("Show developer tools")},
		"Windows: Rosetta":             {as, "Windows_11 --rosetta-linux=on", notSupported("Rosetta Linux")},
		"16: gamepads":                 {onVersion("16"), "Windows_11 --auto-share-gamepad=off", outcome{255, "", "Unrecognized option: --auto-share-gamepad=off"}},
		"19: Secure Boot":              {onVersion("19"), "macOS --efi-secure-boot=on", outcome{255, "", "Unrecognized option: --efi-secure-boot=on"}},
		"19: network conditioner":      {onVersion("19"), "macOS --network-cond=off", outcome{255, "", "Unrecognized option: --network-cond=off"}},
		"26: bluetooth":                {as, "Windows_11 --auto-share-bluetooth=off", outcome{255, "", "Unrecognized option: --auto-share-bluetooth=off"}},
		"locked":                       {locked, "Windows_11 --pause-idle=on", outcome{255, "", needsPassword}},
		"locked: adapter":              {locked, "Windows_11 --device-set net0 --disconnect", outcome{255, "", needsPassword}},
		"locked again":                 {locked, "Windows_11 --lock-edit-settings=on", outcome{255, "", needsPassword}},
		"locked: end, nobody answers":  {locked, "Windows_11 --lock-edit-settings=off", outcome{255, configPrompt, needsPassword}},
		"locked: end and another flag": {locked, "Windows_11 --lock-edit-settings=off --pause-idle=on", outcome{255, "", needsPassword}},
		"a guest's password":           {as, "Windows_11 --userpasswd user:secret", outcome{255, "Only host administrator can change user password in the guest OS.\nConfirm your administrator credentials.\nUsername: Password: ", needsPassword}},
		"two devices in a call":        {as, "Windows_11 --device-disconnect net0 --device-set net0 --enable", outcome{255, "", "Only one option can be specified at a time: --device-disconnect, --device-set"}},
		"no such adapter":              {as, "Windows_11 --device-set net3 --type shared", outcome{255, "", "The device 'net3' is not found."}},
		"adapter of no device":         {as, "Windows_11 --type shared", outcome{255, "", "Unrecognized option: --type"}},
		"option of no adapter":         {as, "Windows_11 --device-set net0 --size 3", outcome{255, "", "Unrecognized option: --size"}},
		"no type of adapters":          {as, "Windows_11 --device-set net0 --type tunneled", outcome{255, "", "Invalid argument for the option --type: tunneled"}},
		"no address":                   {as, "Windows_11 --device-set net0 --mac 00:1C", outcome{255, "", "Invalid argument for the option --mac: 00:1C"}},
		"value of an adapter missing":  {as, "Windows_11 --device-set net0 --iface", outcome{255, "", "Option requires an argument: --iface"}},
		"devices nobody has built":     {as, "Windows_11 --device-del usb", outcome{255, "", "--device-del usb is not simulated yet"}},
		"no operation with a password": {as, "Windows_11 --require-pwd=sleep:on", outcome{255, "", "An incorrect value for --require-pwd is specified: sleep:on"}},
		"clipboard one way":            {as, "Windows_11 --shared-clipboard=guest-to-host", outcome{255, "", "Invalid argument for the option --shared-clipboard: guest-to-host"}},
	} {
		t.Run(name, func(t *testing.T) {
			mac := common
			if c.prepare != nil {
				t.Parallel()
				mac = newMac(t, standardMac())
				c.prepare(t, mac)
			}
			words := strings.Fields(c.line)
			id := idOf(t, mac, "alice", strings.ReplaceAll(words[0], "_", " "))
			before, events := viewOf(t, mac, id), len(readRecords[eventRecord](t, mac, "events"))
			checkOutcome(t, callAs(mac, "alice").run(t, "prlctl", append([]string{"set", id}, words[1:]...)...), c.want)
			if changes := before.changes(viewOf(t, mac, id)); changes != nil {
				t.Errorf("changed: %q", changes)
			}
			if told := readRecords[eventRecord](t, mac, "events")[events:]; len(told) != 0 {
				t.Errorf("events %+v", told)
			}
		})
	}
}

// A lock keeps all other changes out until the administrator lifts it.
func TestVMS_41_LockIsLifted(t *testing.T) {
	t.Parallel()
	mac := newMac(t, standardMac())
	set := func(stdin string, flags ...string) outcome {
		return call{mac, "alice", stdin}.run(t, "prlctl", append([]string{"set", "Windows 11"}, flags...)...)
	}
	done := outcome{0, "successfully configured", ""}
	checkOutcome(t, set("", "--lock-edit-settings", "on"), done)
	checkOutcome(t, set("", "--pause-idle", "on"), outcome{255, "", needsPassword})
	checkOutcome(t, set("admin\nwrong\n", "--lock-edit-settings", "off"), outcome{255, configPrompt, needsPassword})
	checkOutcome(t, set("\n"+adminPassword+"\n", "--lock-edit-settings", "off"), outcome{255, configPrompt, needsPassword})
	checkOutcome(t, set("admin\n"+adminPassword+"\n", "--lock-edit-settings", "off"), done)
	checkOutcome(t, set("", "--pause-idle", "on"), done)
}

// A guest's password is changed while it runs, by the administrator, and nothing
// repeats it.
func TestGuestPassword(t *testing.T) {
	t.Parallel()
	mac := newMac(t, standardMac())
	set := func(name string) outcome {
		return call{mac, "alice", "admin\n" + adminPassword + "\n"}.run(t, "prlctl", "set", name, "--userpasswd", "user:secret")
	}
	got := set("Windows 11")
	checkOutcome(t, got, outcome{0, "successfully configured", ""})
	if strings.Contains(got.stdout, "secret") {
		t.Errorf("the secret is in %q", got.stdout)
	}
	checkOutcome(t, set("macOS"), outcome{255, "Username: ", notInState + "stopped"})
}

// What prlsrvctl set changes is in info; what it refuses changes nothing.
func TestHostSettings(t *testing.T) {
	t.Parallel()
	mac := newMac(t, standardMac())
	info := func() string { return callAs(mac, "alice").run(t, "prlsrvctl", "info", "--json").stdout }
	if strings.Contains(info(), "Require password to") {
		t.Error("an empty list of passwords is shown")
	}
	for _, c := range []struct {
		line, stdin string
		want        outcome
		shown       string // afterwards
	}{
		{"--require-pwd create-vm:on", "", outcome{0, "successfully configured", ""}, "\"Require password to\": [\n\t\t\"create-vm\"\n\t],\n\t\"License\""},
		{"--require-pwd=clone-vm:on --require-pwd add-vm:on", "", outcome{0, "successfully configured", ""}, "\"create-vm\",\n\t\t\"clone-vm\",\n\t\t\"add-vm\"\n"},
		{"--require-pwd create-vm:off", "", outcome{0, "successfully configured", ""}, "[\n\t\t\"clone-vm\",\n\t\t\"add-vm\"\n\t]"},
		{"--require-pwd change-vm-state:on", "", outcome{255, "", "An incorrect value for --require-pwd is specified: change-vm-state:on"}, "[\n\t\t\"clone-vm\",\n\t\t\"add-vm\"\n\t]"},
		{"--require-pwd create-vm", "", outcome{255, "", "An incorrect value for --require-pwd is specified: create-vm"}, "[\n\t\t\"clone-vm\""},
		{"--verbose-log on --mem-limit 8192", "", outcome{0, "successfully configured", ""}, `"mode": "8192"`},
		{"--verbose-log maybe", "", outcome{255, "", "Invalid argument for the option --verbose-log: maybe"}, `"Verbose log": "on"`},
		{"--of-tomorrow on", "", outcome{255, "", "Unrecognized option: --of-tomorrow"}, `"Verbose log": "on"`},
		{"", "", outcome{255, "", "Usage: prlsrvctl set"}, `"Verbose log": "on"`},
		{"--lock-edit-settings on", "", outcome{255, "Only host administrator can lock the preferences.\nConfirm your administrator credentials.\nUsername: Password: ", "administrator's credentials."}, `"Preferences are locked": "off"`},
		{"--lock-edit-settings on --host-admin admin", "", outcome{255, "Password: ", "administrator's credentials."}, `"Preferences are locked": "off"`},
		{"--lock-edit-settings on --host-admin admin", adminPassword + "\n", outcome{0, "Password: The server", ""}, `"Preferences are locked": "on"`},
	} {
		got := call{mac, "alice", c.stdin}.run(t, "prlsrvctl", append([]string{"set"}, strings.Fields(c.line)...)...)
		checkOutcome(t, got, c.want)
		if !strings.Contains(info(), c.shown) {
			t.Errorf("%s: info lacks %q", c.line, c.shown)
		}
	}
	checkOutcome(t, callAs(mac, "alice").run(t, "prlsrvctl", "info"), outcome{0, "Require password to: clone-vm add-vm\nLicense: ", ""})
	mustUpdate(t, mac, func(state *State) error { state.Product.Edition = "standard"; return nil })
	if got := callAs(mac, "alice").run(t, "prlsrvctl", "set", "--verbose-log", "off"); got != (outcome{255, editionGate, ""}) {
		t.Errorf("Standard edition: %+v", got)
	}
}

// twoPasswordWriters runs two tools that both began before the other wrote.
func twoPasswordWriters(t *testing.T, mac Mac) outcome {
	t.Helper()
	state := mustLoad(t, mac)
	for _, action := range []string{"create-vm", "clone-vm"} {
		in := &invocation{mac: mac, state: state, caller: rootUser, name: "prlsrvctl", args: []string{"set", "--require-pwd", action + ":on"},
			stdin: strings.NewReader(""), stdout: new(strings.Builder), stderr: new(strings.Builder)}
		if code := prlsrvctl(in); code != 0 {
			t.Errorf("%s: exit code %d", action, code)
		}
	}
	words := mustLoad(t, mac).RequirePwd
	slices.Sort(words)
	return outcome{stdout: "[" + strings.Join(words, " ") + "]"}
}
