package command

import (
	"context"
	"errors"
	"os"
	"slices"
	"testing"
	"time"

	"prlagent/agent/protocol"
	"prlagent/platform"
	"prlagent/prlctl"
)

func deletionOn(m *testMac) *Deletion {
	return NewDeletion(DeleteOptions{Mac: m.mac()})
}

// A machine that is stopped is deleted at once, and it is seen that it is gone: by the
// numbers of its files, and where the system cannot do that by the open files.
func TestCMD_01_H25_AStoppedMachineIsDeletedAndSeenToBeGone(t *testing.T) {
	t.Parallel()
	for name, noFinding := range map[string]bool{"by number": false, "by open files": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newTestMac(t)
			m.noFinding = noFinding
			_, seen, err := carryOut(t, deletionOn(m), m.command("vm.delete", protocol.DeleteParams{}))
			if err != nil || seen.State != protocol.CommandSucceeded || seen.Code != protocol.CodeVerifiedAbsent || m.exists(aliceBundle) {
				t.Errorf("got %+v, %v", seen, err)
			}
			if !slices.Equal(m.calls, []string{"delete"}) {
				t.Errorf("called %v", m.calls)
			}
		})
	}
}

// What a user, or the Mac, does at the very moment of the deletion: it is never called a
// success, whatever the tool says.
func TestH25_NeverASuccessWhile(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("many deletions one like the other, which take the race detector long")
	}
	disk := aliceBundle + "/w-0.hdd/w-0.hds"
	for name, attack := range map[string]struct {
		arm  func(m *testMac)
		code protocol.Code
	}{
		"the bundle is moved": {func(m *testMac) {
			m.before["delete"] = func() error { return os.Rename(m.path(aliceBundle), m.path("/Users/alice/kept.pvm")) }
		}, protocol.CodeTargetChanged},
		"the bundle is trashed": {func(m *testMac) {
			m.before["delete"] = func() error {
				return errors.Join(os.Mkdir(m.path("/Users/alice/.Trash"), 0o700), os.Rename(m.path(aliceBundle), m.path("/Users/alice/.Trash/w.pvm")))
			}
		}, protocol.CodeTargetChanged},
		"the bundle is moved to another user": {func(m *testMac) {
			m.before["delete"] = func() error { return os.Rename(m.path(aliceBundle), m.path("/Users/bob/kept")) }
		}, protocol.CodeTargetChanged},
		"a disk is hard-linked": {func(m *testMac) {
			m.before["delete"] = func() error { return os.Link(m.path(disk), m.path("/Users/alice/kept")) }
		}, protocol.CodeTargetChanged},
		"a disk was hard-linked long before": {func(m *testMac) {
			m.check(os.Link(m.path(disk), m.path("/Users/alice/kept")))
		}, protocol.CodeTargetChanged},
		"a disk is moved out": {func(m *testMac) {
			m.before["delete"] = func() error { return os.Rename(m.path(disk), m.path("/Users/alice/kept")) }
		}, protocol.CodeTargetChanged},
		"a disk was moved out before": {func(m *testMac) {
			m.check(os.Rename(m.path(disk), m.path("/Users/alice/kept")))
		}, protocol.CodeNotObservable},
		"a disk is exchanged for another file": {func(m *testMac) {
			m.before["delete"] = func() error {
				return errors.Join(os.Rename(m.path(disk), m.path("/Users/alice/kept")), os.WriteFile(m.path(disk), nil, 0o600))
			}
		}, protocol.CodeTargetChanged},
		"a disk is a link to somewhere else": {func(m *testMac) {
			m.check(os.Rename(m.path(disk), m.path("/Users/alice/kept")), os.Symlink(m.path("/Users/alice/kept"), m.path(disk)))
		}, protocol.CodeNotObservable},
		"a disk image lies outside of the bundle": {func(m *testMac) {
			m.check(os.WriteFile(m.path("/Users/alice/outside.hdd"), nil, 0o600))
			m.vm(aliceUID, vmID).disks = append(m.vm(aliceUID, vmID).disks, "/Users/alice/outside.hdd")
		}, protocol.CodeNotDone},
		"another bundle is put in its place": {func(m *testMac) {
			m.after["delete"] = func() error { m.writeBundle(aliceBundle, vmID, sourceID, ""); return nil }
		}, protocol.CodeTargetChanged},
		"the tool forgets it and deletes nothing": {func(m *testMac) {
			m.ignores["delete"] = true
			m.after["delete"] = func() error { m.unregister(aliceUID, vmID); return nil }
		}, protocol.CodeNotDone},
		"it is registered with another account": {func(m *testMac) {
			m.before["delete"] = func() error { return os.Rename(m.path(aliceBundle), m.path(bobBundle)) }
			m.after["delete"] = func() error {
				m.vms[bobUID] = append(m.vms[bobUID], &macVM{id: vmID, name: "w", bundle: bobBundle, state: prlctl.StateStopped})
				return nil
			}
		}, protocol.CodeTargetChanged},
		"a copy of it is registered under another id": {func(m *testMac) {
			m.after["delete"] = func() error {
				m.addVM(bobUID, &macVM{id: otherID, name: "w2", bundle: bobBundle, state: prlctl.StateStopped}, sourceID, "")
				return nil
			}
		}, protocol.CodeTargetChanged},
		"something is registered that cannot be read": {func(m *testMac) {
			m.after["delete"] = func() error {
				m.addVM(bobUID, &macVM{id: otherID, name: "w2", bundle: bobBundle, state: prlctl.StateStopped}, otherID, "")
				return os.Remove(m.path(bobBundle + "/config.pvs"))
			}
		}, protocol.CodeNotObservable},
		"the tool says well, and does nothing": {func(m *testMac) { m.ignores["delete"] = true }, protocol.CodeNotDone},
		"the tool asks for the machine's password": {func(m *testMac) {
			m.ignores["delete"], m.says["delete"] = true, &prlctl.Error{Code: prlctl.CodeVMPassword}
		}, protocol.CodeVMPassword},
	} {
		for way, noFinding := range map[string]bool{"by number": false, "by open files": true} {
			t.Run(name+" "+way, func(t *testing.T) {
				t.Parallel()
				m := newTestMac(t)
				m.noFinding = noFinding
				command := m.command("vm.delete", protocol.DeleteParams{})
				attack.arm(m)
				ready, seen, err := carryOut(t, deletionOn(m), command)
				if err != nil || ready.State != "" || seen.State != protocol.CommandFailed || seen.Code != attack.code {
					t.Errorf("want %s, got %+v, %+v, %v", attack.code, seen, ready, err)
				}
			})
		}
	}
}

// What cannot be seen now is looked at again, and is no success until then.
func TestH25_ServiceStoppedMeanwhile(t *testing.T) {
	t.Parallel()
	for name, uid := range map[string]uint32{"the owner's": aliceUID, "another user's": bobUID} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newTestMac(t)
			m.needsFindFiles()
			m.after["delete"] = func() error { m.listFails[uid] = &prlctl.Error{Code: prlctl.CodeServiceDown}; return nil }
			executor, command := deletionOn(m), m.command("vm.delete", protocol.DeleteParams{})
			ready, seen, err := carryOut(t, executor, command)
			if err == nil || seen.State != "" || protocol.CodeOf(err) != protocol.CodeServiceDown {
				t.Fatalf("got %+v, %v", seen, err)
			}
			delete(m.listFails, uid)
			if seen, err = executor.Verify(t.Context(), &Job{Command: command, Attempt: 1, Intent: ready.Intent}); err != nil || seen.Code != protocol.CodeVerifiedAbsent {
				t.Errorf("afterwards: %+v, %v", seen, err)
			}
		})
	}
}

// A list that leaves somebody's machines in the dark is not complete.
func TestH25_AnUnreadableEntryIsNoCompleteList(t *testing.T) {
	t.Parallel()
	m := newTestMac(t)
	m.after["delete"] = func() error {
		m.vms[bobUID] = append(m.vms[bobUID], &macVM{id: otherID, unreadable: true})
		return nil
	}
	_, seen, err := carryOut(t, deletionOn(m), m.command("vm.delete", protocol.DeleteParams{}))
	if protocol.CodeOf(err) != protocol.CodeUnreadableVM {
		t.Errorf("got %+v, %v", seen, err)
	}
}

// After a crash between the act and the look at what became of it another process
// looks, which has only what is on record.
func TestCMD_12_H25_ACrashBeforeTheLook(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		arm       func(m *testMac)
		noFinding bool
		code      protocol.Code // empty: not done, to be attempted again
	}{
		"deleted":                      {func(*testMac) {}, false, protocol.CodeVerifiedAbsent},
		"deleted, and nobody can tell": {func(*testMac) {}, true, protocol.CodeNotObservable},
		"moved away": {func(m *testMac) {
			m.before["delete"] = func() error { return os.Rename(m.path(aliceBundle), m.path("/Users/bob/kept")) }
		}, false, protocol.CodeTargetChanged},
		"hard-linked": {func(m *testMac) {
			m.before["delete"] = func() error { return os.Link(m.path(aliceBundle+"/w-0.hdd/w-0.hds"), m.path("/Users/bob/kept")) }
		}, false, protocol.CodeTargetChanged},
		"not even begun": {func(m *testMac) { m.ignores["delete"] = true }, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newTestMac(t)
			m.noFinding = c.noFinding
			job := &Job{Command: m.command("vm.delete", protocol.DeleteParams{}), Attempt: 1}
			ready, err := deletionOn(m).Prepare(t.Context(), job)
			if err != nil {
				t.Fatal(err)
			}
			if !c.noFinding {
				m.needsFindFiles()
			}
			job.Intent = ready.Intent
			c.arm(m)
			_ = deletionOn(m).Act(t.Context(), job)
			seen, err := deletionOn(m).Verify(t.Context(), job)
			if err != nil || c.code != "" && seen.Code != c.code || c.code == "" && seen.State != "" {
				t.Errorf("want %q, got %+v, %v", c.code, seen, err)
			}
		})
	}
}

// What is there is held against what was signed, and nothing is done where it differs.
func TestH20_H21_WhatDiffersFromWhatWasSigned(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		arm   func(m *testMac, command *protocol.Command)
		state string
		code  protocol.Code
	}{
		"another name": {func(m *testMac, _ *protocol.Command) { m.vm(aliceUID, vmID).name = "x" }, protocol.CommandDeferred, protocol.CodeTargetChanged},
		"restored from a copy": {func(m *testMac, _ *protocol.Command) {
			m.check(os.Rename(m.path(aliceBundle), m.path("/Users/alice/old")))
			m.writeBundle(aliceBundle, vmID, sourceID, "")
		}, protocol.CommandDeferred, protocol.CodeTargetChanged},
		"another volume": {func(_ *testMac, c *protocol.Command) { c.Target.Bundle.Volume = "another" }, protocol.CommandDeferred, protocol.CodeTargetChanged},
		"no bundle": {func(m *testMac, _ *protocol.Command) {
			m.check(os.Rename(m.path(aliceBundle), m.path("/Users/alice/old")))
		}, protocol.CommandDeferred, protocol.CodeTargetChanged},
		"no bundle was signed": {func(_ *testMac, c *protocol.Command) { c.Target.Bundle = protocol.Bundle{} }, protocol.CommandFailed, protocol.CodeNotObservable},
		"another owner": {func(m *testMac, _ *protocol.Command) {
			m.vms[bobUID], m.vms[aliceUID] = m.vms[aliceUID], nil
		}, protocol.CommandRejected, protocol.CodeTargetOwner},
		"the owner cannot be listed": {func(m *testMac, _ *protocol.Command) {
			m.listFails[aliceUID] = &prlctl.Error{Code: prlctl.CodeServiceDown}
			m.vms[aliceUID] = nil
		}, protocol.CommandDeferred, protocol.CodeTargetUnlisted},
		"the owner's entry cannot be read": {func(m *testMac, _ *protocol.Command) { m.vm(aliceUID, vmID).unreadable = true }, protocol.CommandDeferred, protocol.CodeTargetUnlisted},
		"packed":                           {func(m *testMac, _ *protocol.Command) { m.vm(aliceUID, vmID).packed = true }, protocol.CommandFailed, protocol.CodeVMPacked},
		"invalid":                          {func(m *testMac, _ *protocol.Command) { m.vm(aliceUID, vmID).state = prlctl.StateInvalid }, protocol.CommandFailed, protocol.CodeVMInvalid},
		"a linked clone of another user lives of it": {func(m *testMac, _ *protocol.Command) {
			m.addVM(bobUID, &macVM{id: otherID, name: "clone", bundle: bobBundle, state: prlctl.StateStopped}, sourceID, vmID)
		}, protocol.CommandFailed, protocol.CodeHasDependents},
		"params that say nothing": {func(_ *testMac, c *protocol.Command) { c.Params = []byte(`{"when":"soon"}`) }, protocol.CommandRejected, protocol.CodeCommandInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newTestMac(t)
			command := m.command("vm.delete", protocol.DeleteParams{When: protocol.DeleteNow})
			c.arm(m, &command)
			ready, _, err := carryOut(t, deletionOn(m), command)
			if err != nil || ready.State != c.state || ready.Code != c.code {
				t.Errorf("want %s %s, got %+v, %v", c.state, c.code, ready, err)
			}
			if len(m.calls) > 0 {
				t.Errorf("called %v", m.calls)
			}
		})
	}
}

// A machine that nobody lists is gone only where its bundle is nowhere either.
func TestCMD_08_H25_AMachineThatIsGoneAlready(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		arm   func(m *testMac)
		state string
		code  protocol.Code
	}{
		"deleted":      {func(m *testMac) { m.check(os.RemoveAll(m.path(aliceBundle))) }, protocol.CommandSucceeded, protocol.CodeAlreadyAbsent},
		"unregistered": {func(*testMac) {}, protocol.CommandDeferred, protocol.CodeTargetChanged},
		"unregistered and hidden": {func(m *testMac) {
			m.check(os.MkdirAll(m.path("/Users/alice/a/b"), 0o700), os.Rename(m.path(aliceBundle), m.path("/Users/alice/a/b/c")))
		}, protocol.CommandDeferred, protocol.CodeTargetChanged},
		"in the shared folder":     {func(m *testMac) { m.check(os.Rename(m.path(aliceBundle), m.path("/Users/Shared/c"))) }, protocol.CommandDeferred, protocol.CodeTargetChanged},
		"somebody cannot be asked": {func(m *testMac) { m.listFails[bobUID] = &prlctl.Error{Code: prlctl.CodeServiceDown} }, protocol.CommandDeferred, protocol.CodeTargetUnlisted},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newTestMac(t)
			command := m.command("vm.delete", protocol.DeleteParams{})
			m.unregister(aliceUID, vmID)
			c.arm(m)
			ready, _, err := carryOut(t, deletionOn(m), command)
			if err != nil || ready.State != c.state || ready.Code != c.code || len(m.calls) > 0 {
				t.Errorf("want %s %s, got %+v, %v, called %v", c.state, c.code, ready, err, m.calls)
			}
		})
	}
}

// Who uses a machine is waited for, until it is stopped; with when: now and from the
// deadline on that is not so, and its user is told.
func TestCMD_07_WhenAMachineIsDeleted(t *testing.T) {
	t.Parallel()
	soon := time.Hour
	for name, c := range map[string]struct {
		state    prlctl.State
		params   func(now time.Time) protocol.DeleteParams
		stubborn bool // the guest does not shut down
		held     bool
		process  bool
		calls    []string // nil: it waits
		told     bool
	}{
		"running":           {state: prlctl.StateRunning},
		"suspended":         {state: prlctl.StateSuspended},
		"paused":            {state: prlctl.StatePaused},
		"starting":          {state: "starting"},
		"looks stopped":     {state: prlctl.StateStopped, process: true},
		"suspended, held":   {state: prlctl.StateSuspended, held: true, calls: []string{"drop", "delete"}},
		"running, held":     {state: prlctl.StateRunning, held: true},
		"before a deadline": {state: prlctl.StateRunning, params: func(now time.Time) protocol.DeleteParams { return protocol.DeleteParams{Deadline: now.Add(soon)} }},
		"at the deadline": {state: prlctl.StateRunning, params: func(now time.Time) protocol.DeleteParams { return protocol.DeleteParams{Deadline: now} },
			calls: []string{"stop", "delete"}, told: true},
		"now": {state: prlctl.StateRunning, params: deleteNow, calls: []string{"stop", "delete"}, told: true},
		"now, and the guest does not stop": {state: prlctl.StateRunning, params: deleteNow, stubborn: true,
			calls: []string{"stop", "kill", "delete"}, told: true},
		"now, suspended": {state: prlctl.StateSuspended, params: deleteNow, calls: []string{"drop", "delete"}},
		"now, paused":    {state: prlctl.StatePaused, params: deleteNow, calls: []string{"kill", "delete"}},
		"now, stopped":   {state: prlctl.StateStopped, params: deleteNow, calls: []string{"delete"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newTestMac(t)
			m.vm(aliceUID, vmID).state, m.stopGuest, m.sessions = c.state, !c.stubborn, []uint32{aliceUID}
			if c.process {
				m.processes = []platform.Process{{Path: prlctl.AppBundle + "/Contents/MacOS//Parallels VM.app/Contents/MacOS/prl_vm_app", Arguments: platform.VMArguments{VMID: "{" + vmID + "}"}}}
			}
			params := protocol.DeleteParams{}
			if c.params != nil {
				params = c.params(m.now)
			}
			executor := NewDeletion(DeleteOptions{Mac: m.mac(), IsHeld: func(protocol.VMKey) bool { return c.held }})
			began := m.now
			ready, seen, err := carryOut(t, executor, m.command("vm.delete", params))
			if err != nil || !slices.Equal(m.calls, c.calls) || (len(m.told) > 0) != c.told {
				t.Fatalf("called %v, told %v, %+v, %+v, %v", m.calls, m.told, ready, seen, err)
			}
			if c.calls == nil {
				if ready.State != protocol.CommandDeferred || ready.Code != protocol.CodeWaitsForStop || !ready.RetryAt.Equal(params.Deadline) {
					t.Errorf("got %+v", ready)
				}
				return
			}
			if seen.Code != protocol.CodeVerifiedAbsent {
				t.Errorf("got %+v", seen)
			}
			if waited := m.now.Sub(began); c.stubborn && waited < time.Minute {
				t.Errorf("it was ended after %s", waited)
			}
		})
	}
}

func deleteNow(time.Time) protocol.DeleteParams {
	return protocol.DeleteParams{When: protocol.DeleteNow}
}

// A machine that somebody starts after it was found stopped is not deleted under them.
func TestCMD_07_AMachineThatIsStartedInTheLastMoment(t *testing.T) {
	t.Parallel()
	m := newTestMac(t)
	job := &Job{Command: m.command("vm.delete", protocol.DeleteParams{}), Attempt: 1}
	executor := deletionOn(m)
	ready, err := executor.Prepare(t.Context(), job)
	m.check(err)
	job.Intent = ready.Intent
	m.vm(aliceUID, vmID).state = prlctl.StateRunning
	if err := executor.Act(t.Context(), job); protocol.CodeOf(err) != protocol.CodeWaitsForStop || len(m.calls) > 0 {
		t.Errorf("called %v, %v", m.calls, err)
	}
	if seen, err := executor.Verify(t.Context(), job); err != nil || seen.State != "" {
		t.Errorf("got %+v, %v", seen, err)
	}
}

// What somebody puts in the bundle's place after it was found is not deleted, and what a
// stop leaves in the bundle is looked for as everything else.
func TestH25_BetweenTheLookAndTheAct(t *testing.T) {
	t.Parallel()
	m := newTestMac(t)
	job := &Job{Command: m.command("vm.delete", protocol.DeleteParams{When: protocol.DeleteNow}), Attempt: 1}
	executor := deletionOn(m)
	ready, err := executor.Prepare(t.Context(), job)
	m.check(err, os.Rename(m.path(aliceBundle), m.path("/Users/alice/kept")))
	job.Intent = ready.Intent
	m.writeBundle(aliceBundle, vmID, sourceID, "")
	if err := executor.Act(t.Context(), job); protocol.CodeOf(err) != protocol.CodeTargetChanged || len(m.calls) > 0 {
		t.Errorf("another bundle: called %v, %v", m.calls, err)
	}

	for name, noFinding := range map[string]bool{"by number": false, "by open files": true} {
		m = newTestMac(t)
		m.noFinding = noFinding
		m.vm(aliceUID, vmID).state = prlctl.StateRunning
		m.after["stop"] = func() error { return os.WriteFile(m.path(aliceBundle+"/w.mem"), nil, 0o600) }
		m.before["delete"] = func() error { return os.Link(m.path(aliceBundle+"/w.mem"), m.path("/Users/alice/kept")) }
		_, seen, err := carryOut(t, deletionOn(m), m.command("vm.delete", protocol.DeleteParams{When: protocol.DeleteNow}))
		if err != nil || seen.Code != protocol.CodeTargetChanged {
			t.Errorf("%s: %+v, %v", name, seen, err)
		}
	}
}

// The same name with another id, the same id with another owner: only the one that was
// named goes. A machine that two accounts list goes from both.
func TestCMD_09_CMD_11_OnlyTheNamedMachine(t *testing.T) {
	t.Parallel()
	m := newTestMac(t)
	m.addVM(aliceUID, &macVM{id: otherID, name: "w", bundle: "/Users/alice/Parallels/w2.pvm", state: prlctl.StateStopped}, sourceID, "")
	m.addVM(bobUID, &macVM{id: vmID, name: "w", bundle: bobBundle, state: prlctl.StateStopped}, sourceID, "")
	_, seen, err := carryOut(t, deletionOn(m), m.command("vm.delete", protocol.DeleteParams{}))
	if err != nil || seen.Code != protocol.CodeVerifiedAbsent {
		t.Errorf("got %+v, %v", seen, err)
	}
	if !m.exists("/Users/alice/Parallels/w2.pvm/config.pvs") || !m.exists(bobBundle+"/config.pvs") || m.exists(aliceBundle) {
		t.Error("another one was deleted")
	}

	m = newTestMac(t)
	m.vms[bobUID] = append(m.vms[bobUID], &macVM{id: vmID, name: "w", bundle: aliceBundle, state: prlctl.StateStopped})
	_, seen, err = carryOut(t, deletionOn(m), m.command("vm.delete", protocol.DeleteParams{}))
	if err != nil || seen.Code != protocol.CodeVerifiedAbsent || len(m.vms[bobUID]) > 0 || !slices.Equal(m.calls, []string{"delete"}) {
		t.Errorf("shared: %+v, %v, %v", seen, err, m.calls)
	}
}

// What keeps users from removing machines is lifted for the command alone, and put
// back whatever becomes of it.
func TestSEC_10_CMD_13_NoRemovalDoesNotKeepTheAdmin(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		lifts bool
		code  protocol.Code
	}{
		"lifted":              {true, protocol.CodeVerifiedAbsent},
		"it cannot be lifted": {false, protocol.CodeReleaseUnproven},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newTestMac(t)
			m.asksPassword = true
			restored := 0
			executor := NewDeletion(DeleteOptions{
				Mac:                 m.mac(),
				RemovalAsksPassword: func(context.Context, *Account) (bool, error) { return m.asksPassword, nil },
				Lift: func(_ context.Context, until time.Time) (func(context.Context) error, error) {
					if !c.lifts {
						return nil, &codeError{code: protocol.CodeReleaseUnproven}
					}
					if !until.After(m.now) {
						t.Error("it is lifted for no time")
					}
					m.lifted++
					return func(context.Context) error { restored++; m.lifted--; return nil }, nil
				},
			})
			_, seen, err := carryOut(t, executor, m.command("vm.delete", protocol.DeleteParams{}))
			if err != nil || seen.Code != c.code || m.lifted != 0 || c.lifts && restored != 1 {
				t.Errorf("got %+v, %v, lifted %d, restored %d", seen, err, m.lifted, restored)
			}
		})
	}
}

// A disk that is taken away between two attempts is not forgotten at the second.
func TestH23_H25_ADiskIsTakenAwayBetweenTwoAttempts(t *testing.T) {
	t.Parallel()
	for name, noFinding := range map[string]bool{"by number": false, "by open files": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newTestMac(t)
			m.noFinding = noFinding
			m.check(os.WriteFile(m.path(aliceBundle+"/w-0.hdd/w-1.hds"), nil, 0o600)) // of a disk in two parts
			m.ignores["delete"] = true
			m.after["delete"] = func() error { // the first attempt does nothing, and then the user hides the disk
				m.ignores["delete"], m.after["delete"] = false, nil
				return os.Rename(m.path(aliceBundle+"/w-0.hdd/w-1.hds"), m.path("/Users/alice/kept"))
			}
			_, seen, err := carryOut(t, deletionOn(m), m.command("vm.delete", protocol.DeleteParams{}))
			if err != nil || seen.State != protocol.CommandFailed {
				t.Errorf("got %+v, %v", seen, err)
			}
		})
	}
}

// Nothing that was held for an act is held after it.
func TestH25_NothingStaysHeld(t *testing.T) {
	t.Parallel()
	m := newTestMac(t)
	m.check(os.WriteFile(m.path(aliceBundle+"/only-this-test-has-it"), nil, 0o600))
	if _, _, err := carryOut(t, deletionOn(m), m.command("vm.delete", protocol.DeleteParams{})); err != nil {
		t.Fatal(err)
	}
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("this system does not tell its descriptors")
	}
	for _, entry := range open {
		if target, _ := os.Readlink("/proc/self/fd/" + entry.Name()); target == m.path(aliceBundle+"/only-this-test-has-it")+" (deleted)" {
			t.Error("a descriptor is left open")
		}
	}
}

// A machine that was suspended by a hold, and is let go of before it is deleted, is its
// user's again: it is waited for.
func TestH27_CMD01_AMachineThatIsLetGoOfMeanwhile(t *testing.T) {
	t.Parallel()
	for name, now := range map[string]prlctl.State{"suspended": prlctl.StateSuspended, "used again": prlctl.StateRunning} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, isHeld := newTestMac(t), true
			m.vm(aliceUID, vmID).state = prlctl.StateSuspended
			executor := NewDeletion(DeleteOptions{Mac: m.mac(), IsHeld: func(protocol.VMKey) bool { return isHeld }})
			job := &Job{Command: m.command("vm.delete", protocol.DeleteParams{})}
			ready, err := executor.Prepare(t.Context(), job)
			if err != nil || ready.State != "" {
				t.Fatalf("got %+v, %v", ready, err)
			}
			isHeld, m.vm(aliceUID, vmID).state = false, now
			job.Attempt, job.Intent = 1, ready.Intent
			if err := executor.Act(t.Context(), job); protocol.CodeOf(err) != protocol.CodeWaitsForStop || len(m.calls) > 0 || len(m.told) > 0 {
				t.Errorf("called %v, told %v: %v", m.calls, m.told, err)
			}
			if ready, err = executor.Prepare(t.Context(), job); err != nil || ready.Code != protocol.CodeWaitsForStop {
				t.Errorf("got %+v, %v", ready, err)
			}
		})
	}
}
