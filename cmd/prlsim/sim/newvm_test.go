package sim

import (
	"strings"
	"testing"
)

const newUUID = "00000000-0000-4000-8000-00000000beef"

// VMs come and go by prlctl as the facts say: in the caller's directory, with the id
// that is asked for, and never twice.
func TestVMsComeAndGoByTheTool(t *testing.T) {
	t.Parallel()
	mac := newMac(t, standardMac())
	alice := callAs(mac, "alice")
	for _, step := range []struct {
		args []string
		want outcome
	}{
		{[]string{"create", "Lab", "--distribution", "ubuntu", "--no-hdd", "--uuid", "{" + strings.ToUpper(newUUID) + "}"}, outcome{0, "The VM has been successfully created.", ""}},
		{[]string{"create", "Lab 2", "-d", "ubuntu", "--uuid", newUUID}, outcome{255, "", "Failed to create the VM: A virtual machine with the ID {" + newUUID + "} is already registered."}},
		{[]string{"create", "Mac", "-o", "macos"}, outcome{0, "successfully created", ""}},
		{[]string{"clone", "Lab", "--name", "Copy", "--linked"}, outcome{0, "The VM has been successfully cloned.", ""}},
		{[]string{"unregister", "Copy"}, outcome{0, "The VM has been successfully unregistered.", ""}},
		{[]string{"register", "/Users/alice/Parallels/Copy.pvm", "--uuid", newUUID}, outcome{255, "", "is already registered"}},
		{[]string{"register", "/Users/alice/Parallels/Copy.pvm/", "--preserve-uuid", "--force", "--delay-applying-restrictions"}, outcome{0, "The VM has been successfully registered.", ""}},
		{[]string{"register", "/Users/alice/Parallels/Copy.pvm"}, outcome{255, "", "cannot be found"}},
	} {
		checkOutcome(t, alice.run(t, "prlctl", step.args...), step.want)
	}
	lab, copied := idOf(t, mac, "alice", "Lab"), idOf(t, mac, "alice", "Copy")
	config := fileOf(t, mac, "/Users/alice/Parallels/Copy.pvm", "config.pvs")
	if lab != newUUID || !strings.Contains(config, "<VmUuid>{"+copied+"}") || !strings.Contains(config, "<SourceVmUuid>{"+lab+"}") {
		t.Errorf("Lab is %s, Copy %s: %s", lab, copied, config)
	}
	for _, vm := range mustLoad(t, mac).VMs {
		if vm.ID == lab && (vm.Owner != "alice" || vm.State != "stopped" || vm.Started || vm.Tools != "none") {
			t.Errorf("created %+v", vm)
		}
	}

	// What --preserve-uuid and --regenerate-src-uuid say of ids.
	for _, again := range [][]string{{"--preserve-uuid", "no"}, {"--preserve-uuid=no", "--regenerate-src-uuid"}} {
		before := idOf(t, mac, "alice", "Copy")
		checkOutcome(t, alice.run(t, "prlctl", "unregister", "Copy", "--clean-src-uuid"), outcome{0, "unregistered", ""})
		checkOutcome(t, alice.run(t, "prlctl", append([]string{"register", "/Users/alice/Parallels/Copy.pvm"}, again...)...), outcome{0, "registered", ""})
		after := idOf(t, mac, "alice", "Copy")
		if after == before {
			t.Errorf("%v keeps the id %s", again, after)
		}
		isOwn := strings.Contains(fileOf(t, mac, "/Users/alice/Parallels/Copy.pvm", "config.pvs"), "<SourceVmUuid>{"+after+"}")
		if isOwn != (len(again) == 2 && again[1] == "--regenerate-src-uuid") {
			t.Errorf("%v: its source is its own id: %v", again, isOwn)
		}
	}
}

// Wrong uses of the actions by which VMs come and go.
func TestNewVMsAreRefused(t *testing.T) {
	t.Parallel()
	mac := newMac(t, standardMac())
	checkOutcome(t, callAs(mac, "alice").run(t, "prlctl", "unregister", "macOS"), outcome{0, "unregistered", ""})
	for name, test := range map[string]struct {
		caller string
		args   string
		stderr string
	}{
		"create without a name":           {"alice", "create", "name of the virtual machine is not specified"},
		"create with the option first":    {"alice", "create -d ubuntu Lab", "Unrecognized option: -d"},
		"create of nothing":               {"alice", "create Lab", "Unknown operating system"},
		"create of an unknown system":     {"alice", "create Lab -d beos", "Unknown operating system: beos"},
		"create of an unknown type":       {"alice", "create Lab -o beos", "Unknown operating system: beos"},
		"create without a word":           {"alice", "create Lab -d", "Option requires an argument: -d"},
		"create with a wrong id":          {"alice", "create Lab -d ubuntu --uuid 7", "An incorrect value for --uuid is specified: 7"},
		"create with another option":      {"alice", "create Lab -d ubuntu --nonsense", "Unrecognized option: --nonsense"},
		"create with another option's =":  {"alice", "create Lab --distribution=ubuntu", "Unrecognized option: --distribution=ubuntu"},
		"create by root":                  {rootUser, "create Lab -d ubuntu", "Failed to create the VM: no user"},
		"clone without a name":            {"alice", "clone Team", "could not be found"},
		"clone without a new name":        {"alice", "clone {ubuntu}", "name of the virtual machine is not specified"},
		"clone of another user's":         {"bob", "clone {ubuntu} --name Copy", "could not be found"},
		"clone with another option":       {"alice", "clone {ubuntu} --name Copy --dst /tmp", "Unrecognized option: --dst"},
		"clone of one that is suspended":  {"alice", "clone {ubuntu} --name Copy", "Failed to clone the VM"},
		"register of nothing":             {"alice", "register", "path of the virtual machine is not specified"},
		"register of another user's":      {"bob", "register /Users/alice/Parallels/macOS.macvm", "cannot be found"},
		"register with a wrong word":      {"alice", "register /Users/alice/Parallels/macOS.macvm --preserve-uuid=maybe", "An incorrect value for --preserve-uuid is specified: maybe"},
		"unregister with another option":  {"alice", "unregister {ubuntu} --force", "Unrecognized option: --force"},
		"unregister of one with a state":  {"alice", "unregister {ubuntu}", "Failed to unregister the VM"},
		"unregister of another user's VM": {"bob", "unregister {ubuntu}", "could not be found"},
	} {
		t.Run(name, func(t *testing.T) {
			args := strings.Fields(strings.ReplaceAll(test.args, "{ubuntu}", idOf(t, mac, "alice", "Ubuntu 22.04")))
			checkOutcome(t, callAs(mac, test.caller).run(t, "prlctl", args...), outcome{255, "", test.stderr})
		})
	}
	if got := callAs(mac, "alice").run(t, "prlctl", "create", "Lab", "-d", "list"); got.code != 0 || !strings.Contains(got.stdout, "win-11\n") {
		t.Errorf("the systems are %+v", got)
	}
	mustUpdate(t, mac, func(state *State) error { state.Product.LicenseStatus = "EXPIRED"; return nil })
	for _, line := range []string{"create Lab -d ubuntu", "register /Users/alice/Parallels/macOS.macvm"} {
		checkOutcome(t, callAs(mac, "alice").run(t, "prlctl", strings.Fields(line)...), outcome{255, "", "has now expired"})
	}
}

// Each action by which a VM comes or goes asks for the administrator where, and only
// where, prlsrvctl set --require-pwd says so.
func TestToolsAskForTheAdministrator(t *testing.T) {
	t.Parallel()
	for password, line := range map[string]string{
		"create-vm": "create Lab -d ubuntu", "clone-vm": "clone Source --name Copy",
		"add-vm": "register /Users/alice/Parallels/Away.pvm", "remove-vm": "unregister Source",
	} {
		t.Run(password, func(t *testing.T) {
			t.Parallel()
			mac := newMac(t, standardMac())
			alice := callAs(mac, "alice")
			for _, name := range []string{"Source", "Away"} {
				checkOutcome(t, alice.run(t, "prlctl", "create", name, "-d", "ubuntu"), outcome{0, "created", ""})
			}
			checkOutcome(t, alice.run(t, "prlctl", "unregister", "Away"), outcome{0, "unregistered", ""})
			requirePwd(t, mac, password+":on")
			before := len(mustLoad(t, mac).VMs)
			words := strings.Fields(line)
			for _, answer := range []string{"", "\n\n", "admin\nguess\n"} {
				got := call{mac, "alice", answer}.run(t, "prlctl", words...)
				checkOutcome(t, got, outcome{255, "Only host administrator can", "you must enter the host OS administrator's credentials"})
			}
			if after := len(mustLoad(t, mac).VMs); after != before {
				t.Errorf("%d VMs, %d before", after, before)
			}
			got := call{mac, "alice", "admin\n" + adminPassword + "\n"}.run(t, "prlctl", words...)
			checkOutcome(t, got, outcome{0, "Only host administrator can", ""})
			if after := len(mustLoad(t, mac).VMs); after == before {
				t.Error("nothing was done")
			}
			requirePwd(t, mac, password+":off")
			for _, other := range hostPasswordActions {
				if other != password {
					requirePwd(t, mac, other+":on")
				}
			}
			if got := alice.run(t, "prlctl", words...); strings.Contains(got.stdout, "administrator") {
				t.Errorf("it asks without %s: %+v", password, got)
			}
		})
	}
}
