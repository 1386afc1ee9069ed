package sim

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// What happens at the moment of a deletion: the tool says that it is done, and what it
// left behind.
func TestOnDelete(t *testing.T) {
	t.Parallel()
	disk := func(bundle string) string { return bundle + "/harddisk1.hdd/harddisk1.hdd.0.hds" }
	for hook, test := range map[string]struct {
		want  outcome
		state string // of the VM afterwards
		left  string // path that is there afterwards
	}{
		"copy":         {outcome{0, "successfully removed", ""}, "gone", disk("/Users/alice/Copies/macOS.macvm")},
		"hardlink":     {outcome{0, "successfully removed", ""}, "gone", "/Users/alice/Kept/harddisk1.hdd.0.hds"},
		"move":         {outcome{0, "successfully removed", ""}, "gone", disk("/Users/alice/Moved/macOS.macvm")},
		"trash":        {outcome{0, "successfully removed", ""}, "gone", disk("/Users/alice/.Trash/macOS.macvm")},
		"reregister":   {outcome{0, "successfully removed", ""}, "gone", disk(macBundle)},
		"restore":      {outcome{0, "successfully removed", ""}, "gone", "/Users/alice"},
		"start":        {outcome{255, "Removing", "currently running"}, "running", disk(macBundle)},
		"stop_service": {outcome{0, "successfully removed", ""}, "stopped", disk(macBundle)},
		"unmount":      {outcome{0, "successfully removed", ""}, "gone", disk(unmountedFolder + "/Stick/macOS.macvm")},
	} {
		t.Run(hook, func(t *testing.T) {
			t.Parallel()
			mac := newMac(t, standardMac())
			if hook == "unmount" {
				mustConsole(t, mac, "vm", "move", "macOS", "--to", "/Volumes/Stick", "--register")
			}
			mustConsole(t, mac, "fault", "set", "on_delete="+hook)
			checkOutcome(t, deletes(mac, "alice").run(t, "prlctl", "delete", "macOS"), test.want)
			if state := vmState(t, mac, "alice", "macOS"); state != test.state || !exists(mac, test.left) {
				t.Errorf("the VM is %s, want %s; %s is there: %v", state, test.state, test.left, exists(mac, test.left))
			}
			if mustLoad(t, mac).hasFault(faultOnDelete, "alice") {
				t.Error("it happens again")
			}
		})
	}
	for hook := range deleteHooks {
		if kind, err := findFaultKind(faultOnDelete); err != nil || !strings.Contains(kind.Means, hook) {
			t.Errorf("prlsim fault kinds does not tell of %s", hook)
		}
	}
}

// What people do to bundles.
func TestBundlesUnderTheHands(t *testing.T) {
	t.Parallel()
	inode := func(mac Mac, bundle string) uint64 {
		info, err := os.Lstat(mac.Path(bundle))
		if err != nil {
			return 0
		}
		return info.Sys().(*syscall.Stat_t).Ino
	}
	t.Run("trash, and the tools show it", func(t *testing.T) {
		t.Parallel()
		mac := newMac(t, standardMac())
		before := inode(mac, macBundle)
		mustConsole(t, mac, "vm", "trash", "macOS")
		checkOutcome(t, callAs(mac, "alice").run(t, "prlctl", "status", "macOS"), outcome{0, "exist invalid", ""})
		checkOutcome(t, callAs(mac, "alice").run(t, "prlctl", "list", "macOS", "-i", "--json"), outcome{0, `"State": "invalid"`, ""})
		if exists(mac, macBundle) || inode(mac, "/Users/alice/.Trash/macOS.macvm") != before {
			t.Error("the bundle was not moved as it is")
		}
	})
	t.Run("hard links", func(t *testing.T) {
		t.Parallel()
		mac := newMac(t, standardMac())
		mustConsole(t, mac, "vm", "link-disks", "macOS")
		checkOutcome(t, deletes(mac, "alice").run(t, "prlctl", "delete", "macOS"), outcome{0, "successfully removed", ""})
		if !exists(mac, "/Users/alice/Kept/harddisk1.hdd.0.hds") {
			t.Error("the second name went, too")
		}
	})
	t.Run("registered from a copy", func(t *testing.T) {
		t.Parallel()
		mac := newMac(t, standardMac())
		id := idOf(t, mac, "alice", "macOS")
		mustConsole(t, mac, "vm", "move", "macOS", "--to", "/Users/alice/Elsewhere", "--copy")
		if idOf(t, mac, "alice", "macOS") != id || !exists(mac, macBundle) || inode(mac, macBundle) == inode(mac, "/Users/alice/Elsewhere/macOS.macvm") {
			t.Error("it is no copy with the same id")
		}
	})
	t.Run("a volume that goes and comes", func(t *testing.T) {
		t.Parallel()
		mac := newMac(t, standardMac())
		if got := console(t, mac, "vm", "unmount", "macOS"); got.code != 1 || !strings.Contains(got.stderr, "Mac's own volume") {
			t.Errorf("%+v", got)
		}
		mustConsole(t, mac, "vm", "move", "macOS", "--to", "/Volumes/Stick", "--register")
		before := inode(mac, "/Volumes/Stick/macOS.macvm")
		mustConsole(t, mac, "vm", "unmount", "macOS")
		if vmState(t, mac, "alice", "macOS") != "invalid" || exists(mac, "/Volumes/Stick") {
			t.Error("it is still mounted")
		}
		mustConsole(t, mac, "vm", "mount", "macOS")
		if vmState(t, mac, "alice", "macOS") != "stopped" || inode(mac, "/Volumes/Stick/macOS.macvm") != before {
			t.Error("it did not come back as it was")
		}
	})
	t.Run("packed and encrypted", func(t *testing.T) {
		t.Parallel()
		mac := newMac(t, standardMac())
		mustConsole(t, mac, "vm", "pack", "macOS")
		alice := callAs(mac, "alice")
		checkOutcome(t, alice.run(t, "prlctl", "list", "macOS", "-i", "--json"), outcome{0, `"Home": "\/Users\/alice\/Parallels\/macOS.pvmp"`, ""})
		checkOutcome(t, alice.run(t, "prlctl", "list", "macOS", "-i", "--json"), outcome{0, `"Packed": "yes"`, ""})
		checkOutcome(t, alice.run(t, "prlctl", "start", "macOS"), outcome{255, "Starting", "is packed"})
		mustConsole(t, mac, "vm", "set", "macOS", "encrypted=yes")
		checkOutcome(t, deletes(mac, "alice").run(t, "prlctl", "delete", "macOS"), outcome{255, "is encrypted - password required", "The password is wrong."})
		mustConsole(t, mac, "vm", "unpack", "macOS")
		if !exists(mac, macBundle+"/config.pvs") {
			t.Error("it is no bundle again")
		}
	})
}

// The same id in two accounts is two VMs: what happens to one leaves the other alone.
func TestSameIDInTwoAccounts(t *testing.T) {
	t.Parallel()
	mac := newMac(t, standardMac())
	mustConsole(t, mac, "vm", "same-id", "macOS", "--to", "bob")
	id := idOf(t, mac, "alice", "macOS")
	if idOf(t, mac, "bob", "macOS") != id {
		t.Fatal("bob's has another id")
	}
	checkOutcome(t, callAs(mac, "bob").run(t, "prlctl", "start", id), outcome{0, "started", ""})
	if vmState(t, mac, "alice", "macOS") != "stopped" || vmState(t, mac, "bob", "macOS") != "running" {
		t.Error("the wrong one was started")
	}
	checkOutcome(t, deletes(mac, "alice").run(t, "prlctl", "delete", id), outcome{0, "removed", ""})
	if vmState(t, mac, "alice", "macOS") != "gone" || vmState(t, mac, "bob", "macOS") != "running" || !exists(mac, "/Users/bob/Parallels/macOS.macvm/config.pvs") {
		t.Error("bob's VM was hit, or alice's was not")
	}
	effects, err := mac.effects()
	if err != nil || len(effects) != 2 || effects[0].Owner != "bob" || effects[1].Owner != "alice" || effects[0].VM != id || effects[1].VM != id {
		t.Errorf("effects %+v, %v", effects, err)
	}
}

// A linked clone looks like any VM but in config.pvs.
func TestLinkedClone(t *testing.T) {
	t.Parallel()
	mac := newMac(t, standardMac())
	mustConsole(t, mac, "vm", "clone", "macOS", "--linked", "--name", "Clone")
	checkOutcome(t, callAs(mac, "alice").run(t, "prlctl", "clone", "macOS", "--linked", "--name", "By the tool"), outcome{0, "cloned", ""})
	if clones := mustLoad(t, mac).clonesOf(mustLoad(t, mac).VMs[2]); len(clones) != 2 {
		t.Errorf("%d clones", len(clones))
	}
	config, err := os.ReadFile(mac.Path("/Users/alice/Parallels/Clone.macvm/config.pvs"))
	if err != nil || !strings.Contains(string(config), "<LinkedVmUuid>{"+idOf(t, mac, "alice", "macOS")+"}<") || strings.Contains(string(config), "<LinkedSnapshotUuid></") {
		t.Errorf("%s, %v", config, err)
	}
}

// The license goes with and without the network, and what is left says so.
func TestDeactivateLicense(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		network string
		args    []string
		want    outcome
		detail  string // of the effect; empty: there is none
	}{
		"online":                     {"up", nil, outcome{0, "The license has been successfully deactivated.", ""}, "seat freed"},
		"online, errors skipped":     {"up", []string{"--skip-network-errors"}, outcome{0, "successfully deactivated.", ""}, "seat freed"},
		"offline":                    {"down", nil, outcome{255, "", "Failed to deactivate the license: Unable to connect"}, ""},
		"offline, errors skipped":    {"down", []string{"--skip-network-errors"}, outcome{0, "successfully deactivated.", ""}, "seat kept"},
		"with an option of nobody's": {"up", []string{"--force"}, outcome{255, "", "Unrecognized option: --force"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mac := newMac(t, standardMac())
			mustConsole(t, mac, "network", test.network)
			root := callAs(mac, rootUser)
			checkOutcome(t, root.run(t, "prlsrvctl", append([]string{"deactivate-license"}, test.args...)...), test.want)
			effects, err := mac.effects()
			if err != nil || (len(effects) == 1) != (test.detail != "") || test.detail != "" && effects[0].Detail != test.detail {
				t.Errorf("effects %+v, %v", effects, err)
			}
			left := outcome{0, `edition="enterprise"`, ""}
			if test.detail != "" {
				left = outcome{0, noLicensesInstalled, ""}
				checkOutcome(t, root.run(t, "prlsrvctl", "deactivate-license"), outcome{255, "", noLicensesInstalled})
			}
			checkOutcome(t, root.run(t, "prlsrvctl", "info", "--license"), left)
		})
	}
	mac := newMac(t, standardMac())
	mustConsole(t, mac, "fault", "set", "action_fails_but_done=deactivate-license")
	checkOutcome(t, callAs(mac, rootUser).run(t, "prlsrvctl", "deactivate-license"), outcome{255, "", "Failed to deactivate the license: Operation canceled."})
	wantEffects(t, mac, "prlsrvctl deactivate-license")
}

// Effects are counted exactly: what a change wrote that was killed before it was saved
// did not happen, and many tools at once lose none.
func TestEffectsAreExact(t *testing.T) {
	t.Parallel()
	mac := newMac(t, standardMac())
	alice := callAs(mac, "alice")
	checkOutcome(t, alice.run(t, "prlctl", "start", "macOS"), outcome{0, "started", ""})
	file, err := os.OpenFile(mac.markerPath(effectsFile), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteString("{\"number\":2,\"effect\":\"delete\"}\n{\"numb"); err != nil {
		t.Fatal(err)
	}
	file.Close()
	wantEffects(t, mac, "prlctl start macOS")
	checkOutcome(t, alice.run(t, "prlctl", "stop", "macOS"), outcome{0, "stopped", ""})
	wantEffects(t, mac, "prlctl start macOS", "prlctl stop macOS")

	var tools []*exec.Cmd
	for range 5 { // one of them deletes it
		tool := toolCommand(mac, "/usr/bin/sudo", "-n", "-H", "-u", "#501", appTools+"/prlctl", "delete", "macOS")
		tool.Stdin = strings.NewReader("y\n")
		if err := tool.Start(); err != nil {
			t.Fatal(err)
		}
		tools = append(tools, tool)
	}
	worked := 0
	for _, tool := range tools {
		if tool.Wait() == nil {
			worked++
		}
	}
	if got := console(t, mac, "effects", "--effect", "delete", "--vm", "macOS", "--count"); worked != 1 || got.stdout != "1\n" {
		t.Errorf("%d tools say that they did it; %+v", worked, got)
	}
	checkOutcome(t, console(t, mac, "effects"), outcome{0, "prlctl  alice", ""})
	checkOutcome(t, console(t, mac, "effects", "--by", "prlctl", "--json", "--owner", "bob"), outcome{0, "[]", ""})
}

// A user keeps starting a VM until they are let be, and no longer than the Mac exists.
func TestKeepStarting(t *testing.T) {
	t.Parallel()
	mac := newMac(t, standardMac())
	mustConsole(t, mac, "vm", "keep-starting", "macOS", "--every", "5ms")
	starts := func() string {
		return strings.TrimSpace(console(t, mac, "effects", "--by", personProgram, "--count").stdout)
	}
	awaitStarts := func(count int) {
		t.Helper()
		for range 2000 {
			if starts() == fmt.Sprint(count) {
				return
			}
			mac.waitForChange(t)
		}
		t.Fatalf("%s starts, want %d", starts(), count)
	}
	awaitStarts(1)
	for round := range 3 {
		checkOutcome(t, callAs(mac, "alice").run(t, "prlctl", "suspend", "macOS"), outcome{0, "suspended", ""})
		awaitStarts(round + 2)
	}
	mustConsole(t, mac, "vm", "let-be", "macOS")
	if got := console(t, mac, "vm", "let-be", "macOS"); got.code != 1 {
		t.Errorf("%+v", got)
	}
	checkOutcome(t, callAs(mac, "alice").run(t, "prlctl", "suspend", "macOS"), outcome{0, "suspended", ""})
	if len(mustLoad(t, mac).Persons) != 0 || starts() != "4" {
		t.Errorf("%s starts, want 4", starts())
	}
}

// waitForChange lets other processes of the Mac go on for a moment.
func (m Mac) waitForChange(t *testing.T) {
	t.Helper()
	pipe, err := m.createWakePipe()
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.close()
	if err := pipe.publish(waitingProcess{User: "test", PID: os.Getpid()}); err != nil {
		t.Fatal(err)
	}
	pipe.wait(exitWaitPoll*5, -1)
}

// Two VMs of one id have a process each, and each ends with its own.
func TestSameIDHasTwoProcesses(t *testing.T) {
	t.Parallel()
	wanted := standardMac()
	wanted.NoProcesses = false
	mac := newMac(t, wanted)
	mustConsole(t, mac, "vm", "same-id", "macOS", "--to", "bob")
	for _, user := range []string{"alice", "bob"} {
		mustConsole(t, mac, "vm", "start", "macOS", "--user", user)
	}
	process := func(owner string) int {
		vm, err := findVM(mustLoad(t, mac).ownedBy(owner), "macOS")
		if err != nil {
			t.Fatal(err)
		}
		return vm.PID
	}
	alices, bobs := process("alice"), process("bob")
	mustConsole(t, mac, "vm", "stop", "macOS", "--user", "alice")
	if alices == bobs || process("bob") != bobs || syscall.Kill(bobs, 0) != nil {
		t.Errorf("processes %d and %d", alices, bobs)
	}
}
