package cli

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"prlagent/agent/localapi"
)

const aliceID, bobID = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"

func TestVMF11_ByHandPages(t *testing.T) {
	t.Parallel()
	allDone := func(d *fakeDaemon) { d.hand.VMs, d.hand.Switches = d.hand.VMs[:1], nil }
	released := func(d *fakeDaemon) {
		d.hand = localapi.HandResult{Mode: "monitor", VMs: d.hand.VMs[:1], Switches: d.hand.Switches[:1]}
		d.hand.VMs[0].PolicyPath, d.hand.VMs[0].PutBack = "", false
	}
	stuck := func(d *fakeDaemon) {
		released(d)
		d.hand.VMs[0].Outcome, d.hand.VMs[0].Code = "refused", "admin_password_required"
		d.hand.VMs[0].Command = "sudo -H -u '#501' prlctl set " + aliceID + " --lock-edit-settings=off"
	}
	onlySwitches := func(d *fakeDaemon) {
		d.hand = localapi.HandResult{Mode: "enforce", VMs: []localapi.HandVM{}, Switches: d.hand.Switches}
	}
	for name, c := range map[string]struct {
		change func(*fakeDaemon)
		args   []string
		code   int
	}{
		"vm-set.txt":           {func(d *fakeDaemon) { d.hand.Switches = nil }, []string{"vm", "set", "--all", "asset_tag=F-2"}, exitDegraded},
		"vm-set-done.txt":      {allDone, []string{"vm", "set", aliceID, "asset_tag=F-2"}, exitHealthy},
		"release.txt":          {released, []string{"release", "--locks"}, exitHealthy},
		"release-stuck.txt":    {stuck, []string{"release", "--locks"}, exitDegraded},
		"release-none.txt":     {func(d *fakeDaemon) { d.hand = localapi.HandResult{} }, []string{"release", "--locks"}, exitHealthy},
		"release-switches.txt": {onlySwitches, []string{"release", "--locks"}, exitDegraded},
		"vm-set-early.txt":     {func(d *fakeDaemon) { d.hand.Code = "not_looked_yet" }, []string{"vm", "set", "--all", "asset_tag=F-2"}, exitDegraded},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			daemon, root := sampleDaemon(t), mac(t)
			c.change(daemon)
			daemon.serve(t, root, admin)
			got := run(t, root, c.args...)
			if got.code != c.code || got.stderr != "" {
				t.Fatalf("exit %d: %s", got.code, got.stderr)
			}
			checkGolden(t, name, got.stdout)
		})
	}
}

// What is asked of the daemon: ids in one spelling and each once, and the values of
// the catalogue.
func TestVMF11_WhatIsAskedByHand(t *testing.T) {
	t.Parallel()
	daemon, root := sampleDaemon(t), mac(t)
	daemon.serve(t, root, admin)
	got := run(t, root, "vm", "set", "{"+strings.ToUpper(aliceID)+"}", bobID, aliceID, "network=shared", "--json")
	var result localapi.HandResult
	if err := json.Unmarshal([]byte(got.stdout), &result); err != nil || len(result.VMs) != 3 || got.code != exitDegraded {
		t.Errorf("exit %d, %v: %s", got.code, err, got.stdout)
	}
	if want := (localapi.HandRequest{Setting: "network", Value: "shared", VMs: []string{aliceID, bobID}}); daemon.asked.Setting != want.Setting ||
		daemon.asked.Value != want.Value || !slices.Equal(daemon.asked.VMs, want.VMs) || daemon.asked.All {
		t.Errorf("asked %+v", daemon.asked)
	}
}

// H13, H16: a machine is named by its id, and only administrators do things by hand.
func TestH13_H16_ByHandIsRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		actor localapi.Actor
		args  []string
		code  int
		words string
	}{
		"not an administrator": {user, []string{"vm", "set", "--all", "network=shared"}, exitRefused, ""},
		"nor releases":         {user, []string{"release", "--locks"}, exitRefused, ""},
		"a name":               {admin, []string{"vm", "set", "Windows 11", "network=shared"}, exitUsage, "is not the id of a machine"},
		"an option for a name": {admin, []string{"vm", "set", "--", "--all", "network=shared"}, exitUsage, "is not the id of a machine"},
		"no machine":           {admin, []string{"vm", "set", "network=shared"}, exitUsage, "--all"},
		"some and all":         {admin, []string{"vm", "set", "--all", aliceID, "network=shared"}, exitUsage, "--all"},
		"no setting":           {admin, []string{"vm", "set", "--all", "neighbors=none"}, exitUsage, "there is no setting"},
		"no value":             {admin, []string{"vm", "set", "--all", "network"}, exitUsage, "NAME=VALUE"},
		"not a value":          {admin, []string{"vm", "set", "--all", "network=fast"}, exitUsage, "bridged_default"},
		"nothing":              {admin, []string{"vm", "set"}, exitUsage, "NAME=VALUE"},
		"what to release":      {admin, []string{"release"}, exitUsage, "--locks"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			daemon, root := sampleDaemon(t), mac(t)
			daemon.serve(t, root, c.actor)
			got := run(t, root, c.args...)
			if got.code != c.code || !strings.Contains(got.stderr, c.words) {
				t.Errorf("exit %d: %s", got.code, got.stderr)
			}
			if daemon.asked.Setting != "" || daemon.asked.ReleaseLocks {
				t.Errorf("asked %+v", daemon.asked)
			}
		})
	}
	if got := run(t, mac(t), "vm", "set", "--all", "network=shared"); got.code != exitNotRunning {
		t.Errorf("without a daemon: exit %d", got.code)
	}
}

// A person who waits is told what for.
func TestVMF11_ProgressOfByHand(t *testing.T) {
	t.Parallel()
	daemon, root := sampleDaemon(t), mac(t)
	daemon.release = make(chan struct{})
	daemon.serve(t, root, admin)
	p, _, _ := testProgram(map[string]string{"PRLAGENT_ROOT": root})
	progress := &signaling{written: make(chan string, 4)}
	p.stderr, p.progressShown, p.progressDelay = progress, true, 0
	go func() {
		if text := <-progress.written; !strings.Contains(text, "Ctrl-C stops waiting") {
			t.Errorf("progress is %q", text)
		}
		close(daemon.release)
	}()
	if code := p.run(t.Context(), []string{"vm", "set", "--all", "asset_tag=F-2"}); code != exitDegraded {
		t.Errorf("exit %d", code)
	}
}
