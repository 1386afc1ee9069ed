package command

import (
	"slices"
	"testing"
	"time"

	"prlagent/agent/protocol"
	"prlagent/platform"
	"prlagent/prlctl"
)

func vmProcess(pid int, id string, started time.Time) platform.Process {
	return platform.Process{
		PID: pid, Started: started, Arguments: platform.VMArguments{VMID: "{" + id + "}"},
		Path: prlctl.AppBundle + "/Contents/MacOS//Parallels VM.app/Contents/MacOS/prl_vm_app",
	}
}

func noneIsHeld(protocol.VMKey) bool { return false }

// A machine that is to be kept from running is not started by an older or a mistaken order,
// also where it runs because it could not be suspended.
func TestH27_CMD_14_AHeldMachineIsNotRestarted(t *testing.T) {
	t.Parallel()
	m := newTestMac(t)
	m.vm(aliceUID, vmID).state = prlctl.StateRunning
	executor := &Restart{Mac: m.mac(), IsHeld: func(key protocol.VMKey) bool { return key == protocol.VMKey{ID: vmID, UID: aliceUID} }}
	for _, isForced := range []bool{false, true} {
		job := &Job{Command: m.command("vm.restart", protocol.RestartParams{Force: isForced}), Attempt: 1, BegunAt: m.now}
		ready, err := executor.Prepare(t.Context(), job)
		if err != nil || ready.State != protocol.CommandFailed || ready.Code != protocol.CodeRestartHeld {
			t.Errorf("force %v: got %+v, %v", isForced, ready, err)
		}
	}
}

// A machine that is locked while its guest is being restarted is neither ended nor started.
func TestH27_CMD_14_AMachineThatIsLockedMeanwhile(t *testing.T) {
	t.Parallel()
	for verb, calls := range map[string][]string{"": nil, "restart": {"restart"}, "kill": {"restart", "kill"}} {
		t.Run(verb, func(t *testing.T) {
			t.Parallel()
			m := newTestMac(t)
			m.vm(aliceUID, vmID).state = prlctl.StateRunning
			isLocked := false
			lock := func() error { isLocked = true; return nil }
			m.says["restart"] = &prlctl.Error{Code: prlctl.CodeOperationCanceled, ExitCode: 255}
			m.after[verb] = lock
			executor := &Restart{Mac: m.mac(), IsHeld: func(protocol.VMKey) bool { return isLocked }}
			job := &Job{Command: m.command("vm.restart", protocol.RestartParams{Force: true}), Attempt: 1, BegunAt: m.now}
			ready, err := executor.Prepare(t.Context(), job)
			if err != nil || ready.State != "" {
				t.Fatalf("got %+v, %v", ready, err)
			}
			isLocked = verb == ""
			job.Intent = ready.Intent
			if err := executor.Act(t.Context(), job); protocol.CodeOf(err) != protocol.CodeRestartHeld || !slices.Equal(m.calls, calls) {
				t.Errorf("called %v: %v", m.calls, err)
			}
		})
	}
}

// What counts as a restart that was seen, and what does not.
func TestH26_CMD_14_EvidenceOfARestart(t *testing.T) {
	t.Parallel()
	canceled := &prlctl.Error{Code: prlctl.CodeOperationCanceled, ExitCode: 255}
	for name, c := range map[string]struct {
		force bool
		arm   func(m *testMac, ranAt *time.Time)
		calls []string
		code  protocol.Code // empty: nothing was seen yet
	}{
		"an event": {arm: func(m *testMac, ranAt *time.Time) {
			m.after["restart"] = func() error { *ranAt = m.now.Add(time.Second); return nil }
		}, calls: []string{"restart"}, code: protocol.CodeGuestRestarted},
		"an event, although the tool says that it failed": {force: true, arm: func(m *testMac, ranAt *time.Time) {
			m.says["restart"] = canceled
			m.after["restart"] = func() error { *ranAt = m.now.Add(time.Second); return nil }
		}, calls: []string{"restart"}, code: protocol.CodeGuestRestarted},
		"an event of before":                      {arm: func(m *testMac, ranAt *time.Time) { *ranAt = m.now.Add(-time.Second) }, calls: []string{"restart"}},
		"the tool says well, and nothing is seen": {force: true, arm: func(*testMac, *time.Time) {}, calls: []string{"restart"}},
		"it hangs, and no force is signed":        {arm: func(m *testMac, _ *time.Time) { m.says["restart"] = canceled }, calls: []string{"restart"}},
		"it hangs, is ended and started": {force: true, arm: func(m *testMac, _ *time.Time) {
			m.says["restart"] = canceled
			m.after["kill"] = func() error { m.processes = nil; return nil }
			m.after["start"] = func() error { m.processes = []platform.Process{vmProcess(9, vmID, m.now)}; return nil }
		}, calls: []string{"restart", "kill", "start"}, code: protocol.CodeGuestRestarted},
		"it hangs, is ended and does not start": {force: true, arm: func(m *testMac, _ *time.Time) {
			m.says["restart"], m.ignores["start"] = canceled, true
			m.after["kill"] = func() error { m.processes = nil; return nil }
		}, calls: []string{"restart", "kill", "start"}},
		"another account's machine of the same id is started": {arm: func(m *testMac, _ *time.Time) {
			m.after["restart"] = func() error { m.processes = append(m.processes, vmProcess(9, vmID, m.now)); return nil }
		}, calls: []string{"restart"}},
		"another machine is started": {arm: func(m *testMac, _ *time.Time) {
			m.after["restart"] = func() error { m.processes = append(m.processes, vmProcess(9, otherID, m.now)); return nil }
		}, calls: []string{"restart"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newTestMac(t)
			m.vm(aliceUID, vmID).state = prlctl.StateRunning
			m.processes = []platform.Process{vmProcess(7, vmID, m.now.Add(-time.Hour))}
			var ranAt time.Time
			c.arm(m, &ranAt)
			executor := &Restart{Mac: m.mac(), RanAt: func(protocol.VMKey) time.Time { return ranAt }, IsHeld: noneIsHeld}
			job := &Job{Command: m.command("vm.restart", protocol.RestartParams{Force: c.force}), Attempt: 1, BegunAt: m.now}
			ready, err := executor.Prepare(t.Context(), job)
			if err != nil || ready.State != "" {
				t.Fatalf("got %+v, %v", ready, err)
			}
			job.Intent = ready.Intent
			_ = executor.Act(t.Context(), job)
			seen, err := executor.Verify(t.Context(), job)
			if seen == nil {
				seen = &Outcome{}
			}
			if !slices.Equal(m.calls, c.calls) || seen.Code != c.code || (protocol.CodeOf(err) == protocol.CodeOutcomeUnknown) != (c.code == "") {
				t.Errorf("called %v, got %+v, %v", m.calls, seen, err)
			}
		})
	}
}

// A journal that has lost the attempt knows nothing of the processes of before.
func TestH26_ARestartThatTheJournalHasLost(t *testing.T) {
	t.Parallel()
	m := newTestMac(t)
	m.processes = []platform.Process{vmProcess(9, vmID, m.now)}
	executor := &Restart{Mac: m.mac(), RanAt: func(protocol.VMKey) time.Time { return m.now }, IsHeld: noneIsHeld}
	seen, err := executor.Verify(t.Context(), &Job{Command: m.command("vm.restart", protocol.RestartParams{})})
	if err != nil || seen.State != protocol.CommandFailed || seen.Code != protocol.CodeOutcomeUnknown {
		t.Errorf("got %+v, %v", seen, err)
	}
}

// What speaks against a restart.
func TestH20_CMD_14_WhatIsNotRestarted(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		arm   func(m *testMac)
		state string
		code  protocol.Code
	}{
		"stopped":        {func(m *testMac) { m.vm(aliceUID, vmID).state = prlctl.StateStopped }, protocol.CommandFailed, protocol.CodeVMNotRunning},
		"suspended":      {func(m *testMac) { m.vm(aliceUID, vmID).state = prlctl.StateSuspended }, protocol.CommandFailed, protocol.CodeVMNotRunning},
		"starting":       {func(m *testMac) { m.vm(aliceUID, vmID).state = "starting" }, protocol.CommandDeferred, protocol.CodeVMBusy},
		"another name":   {func(m *testMac) { m.vm(aliceUID, vmID).name = "x" }, protocol.CommandDeferred, protocol.CodeTargetChanged},
		"gone":           {func(m *testMac) { m.unregister(aliceUID, vmID) }, protocol.CommandFailed, protocol.CodeVMNotFound},
		"another bundle": {func(m *testMac) { m.vm(aliceUID, vmID).bundle = "/Users/alice" }, protocol.CommandDeferred, protocol.CodeTargetChanged},
		"looks stopped, and runs": {func(m *testMac) {
			m.vm(aliceUID, vmID).state = prlctl.StateStopped
			m.processes = []platform.Process{vmProcess(7, vmID, m.now)}
		}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newTestMac(t)
			m.vm(aliceUID, vmID).state = prlctl.StateRunning
			c.arm(m)
			ready, err := (&Restart{Mac: m.mac(), IsHeld: noneIsHeld}).Prepare(t.Context(), &Job{Command: m.command("vm.restart", protocol.RestartParams{})})
			if err != nil || ready.State != c.state || ready.Code != c.code {
				t.Errorf("want %s %s, got %+v, %v", c.state, c.code, ready, err)
			}
		})
	}
}

// Nothing is deleted for a command that cannot be carried out as a whole.
func TestCMD_14_RedownloadIsRejectedBeforeAnything(t *testing.T) {
	t.Parallel()
	m := newTestMac(t)
	ready, _, err := carryOut(t, &Redownload{}, m.command("vm.redownload", protocol.DeleteParams{When: protocol.DeleteNow}))
	if err != nil || ready.State != protocol.CommandRejected || ready.Code != protocol.CodeImageNotSupported || !m.exists(aliceBundle+"/config.pvs") {
		t.Errorf("got %+v, %v", ready, err)
	}
}
