package enforce

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"prlagent/agent/policy"
	"prlagent/agent/protocol"
	"prlagent/prlctl"
)

// controlsContent is a policy with these security controls.
func controlsContent(controls string, revision uint64) policy.Content {
	document := fmt.Sprintf(`{"schema":1,"policy_id":"finance","revision":%d,"name":"Finance","groups":["finance"],"security_controls":{%s}}`, revision, controls)
	return policy.Content{Verified: true, HeadVersion: revision, Document: []byte(document), Pointer: protocol.PointTo("finance", revision, []byte(document))}
}

// newControlsLab is a Mac with these security controls, whose locks may be placed.
func newControlsLab(t testing.TB, controls string) *lab {
	t.Helper()
	l := newLab(t, "")
	l.content, l.locks = controlsContent(controls, 7), true
	return l
}

// settle goes on until nothing is to be done, and gives the events.
func (l *lab) settle() (events []protocol.Event) {
	l.t.Helper()
	for range 10 {
		planned, applied := l.apply()
		events = append(events, planned.Events...)
		for _, one := range applied {
			events = append(events, one.Events...)
		}
		if len(planned.HostSteps)+len(planned.Suspends)+len(planned.Steps) == 0 {
			return events
		}
	}
	l.t.Fatalf("it does not end: %v", l.calls)
	return nil
}

func (l *lab) wantAsked(want string) {
	l.t.Helper()
	if got := l.asked(); got != want {
		l.t.Errorf("the Mac asks a password for %q, want %q", got, want)
	}
}

func (l *lab) wantNoLease() {
	l.t.Helper()
	if len(l.enforcer.leases) != 0 {
		l.t.Errorf("leases %v", l.enforcer.leases)
	}
}

// addOverdue adds a machine of alice's that runs against a control with a second of
// grace, until that is over, and gives the plan that suspends it.
func (l *lab) addOverdue() (vm *fakeVM, planned *Planned) {
	l.t.Helper()
	vm = l.add(alice)
	vm.state = prlctl.StateRunning
	l.settle()
	time.Sleep(2 * time.Second)
	planned = l.plan()
	if len(planned.Suspends) != 1 {
		l.t.Fatalf("suspends %v", planned.Suspends)
	}
	return vm, planned
}

// eventWords are types and codes of events.
func eventWords(events []protocol.Event) string {
	var words []string
	for _, event := range events {
		words = append(words, strings.TrimSpace(event.Type+" "+string(event.Code)))
	}
	return strings.Join(words, ", ")
}

func wantEvents(t testing.TB, events []protocol.Event, want string) {
	t.Helper()
	if got := eventWords(events); got != want {
		t.Errorf("events %q, want %q", got, want)
	}
}

// SEC-01, SEC-25, H42: a machine that comes against a control is told once, with its
// user and what is done about it, also over a restart of the daemon, and suspended
// after the grace as its owner; one that is older runs on.
func TestSEC01_SEC25_H42_AViolationIsToldOnceAndSuspendedAfterTheGrace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newControlsLab(t, `"provisioned_only":true,"on_violation":"suspend","grace_s":300`)
		l.locks, l.notify = false, true
		for _, vm := range l.vms {
			vm.state = prlctl.StateRunning
		}
		wantEvents(t, l.settle(), "")
		time.Sleep(time.Minute)
		vm := l.add(alice)
		vm.state = prlctl.StateRunning
		events := l.settle()
		wantEvents(t, events, "policy_violation vm_unprovisioned")
		data := events[0].Data
		if data["uid"] != "501" || data["user_name"] != "alice" || data["vm_id"] != vm.key.ID || data["action"] != "suspended_after_grace" || data["suspend_at"] == "" {
			t.Errorf("event %+v", data)
		}
		if text := <-l.shown; !strings.HasPrefix(text, "501 Your organization does not allow one of your Parallels virtual machines.") || strings.Contains(text, "Windows 11") {
			t.Errorf("alice is told %q", text)
		}
		synctest.Wait()
		wantEvents(t, l.enforcer.TakeReminders(), "policy_violation_notice")
		time.Sleep(time.Minute)
		wantEvents(t, l.settle(), "")
		l.enforcer.Recall() // as after a restart
		time.Sleep(time.Minute)
		wantEvents(t, l.settle(), "")
		if l.enforcer.Violations() != 1 {
			t.Errorf("%d violations", l.enforcer.Violations())
		}
		if vm.state != prlctl.StateRunning {
			t.Fatal("suspended within the grace")
		}
		if next := l.plan().NextAt; !next.Equal(time.Now().Add(3 * time.Minute)) {
			t.Errorf("next at %v", next)
		}
		time.Sleep(3 * time.Minute)
		wantEvents(t, l.settle(), "policy_violation_suspended vm_unprovisioned")
		for key, one := range l.vms {
			if isSuspended := one.state == prlctl.StateSuspended; isSuspended != (key == vm.key) {
				t.Errorf("%v is %s", key, one.state)
			}
		}
		if calls := l.calls[len(l.calls)-3:]; calls[1] != "501 suspend" || len(l.sets()) != 0 {
			t.Errorf("calls %v", l.calls)
		}
		wantEvents(t, l.settle(), "")
		told := l.told()
		if !slices.ContainsFunc(told, func(group protocol.VerdictGroup) bool {
			return group.Path == "security_controls.provisioned_only" && group.Verdict == protocol.VerdictFailed && group.Code == protocol.CodeVMUnprovisioned && len(group.VMs) == 1
		}) {
			t.Errorf("the portal is told %+v", told)
		}
	})
}

// A machine that was suspended by its user meanwhile, or that cannot be suspended.
func TestH42_WhatIsSuspendedIsLookedAtBefore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newControlsLab(t, `"provisioned_only":true,"on_violation":"suspend","grace_s":1`)
		l.settle()
		time.Sleep(time.Second)
		vm, planned := l.addOverdue()
		l.forget()
		vm.state = prlctl.StateStopped
		l.enforcer.Apply(l.ctx, planned)
		_, _ = l.enforcer.Take(<-l.posted)
		if slices.Contains(l.calls, "501 suspend") {
			t.Errorf("calls %v", l.calls)
		}

		vm.state = prlctl.StateRunning
		l.answer = func(_ uint32, args []string) (bool, error) {
			return args[0] != "suspend", &prlctl.Error{Code: prlctl.CodeVMBusy}
		}
		_, applied := l.apply()
		wantEvents(t, applied[0].Events, "policy_violation_not_suspended vm_busy")
		l.answer = nil
		_, applied = l.apply()
		wantEvents(t, applied[0].Events, "policy_violation_suspended vm_unprovisioned")
	})
}

// H67: the host's list is set one call after the other, and read back; a Mac on
// which it is as it is wanted costs no set, no write and no look for a while.
func TestH67_TheHostsListIsSetAndReadBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newControlsLab(t, `"provisioned_only":true`)
		l.passwords = []string{"remove-vm"}
		wantEvents(t, l.settle(), "policy_setting_set, policy_setting_set, policy_setting_set")
		l.wantAsked("add-vm clone-vm create-vm remove-vm")
		want := []string{
			"host info", "host set --require-pwd create-vm:on", "host info", "host set --require-pwd add-vm:on", "host info",
			"host set --require-pwd clone-vm:on", "host info",
		}
		if !slices.Equal(l.calls, want) {
			t.Errorf("calls %q", l.calls)
		}
		l.forget()
		commits := l.state.Commits()
		for range 4 {
			time.Sleep(time.Minute)
			l.settle()
		}
		if len(l.calls) != 0 || l.state.Commits() != commits {
			t.Errorf("calls %q, %d commits", l.calls, l.state.Commits()-commits)
		}

		// What somebody turns off is seen at the next look, and put back.
		l.passwords = []string{"add-vm", "clone-vm", "remove-vm"}
		time.Sleep(2 * time.Minute)
		wantEvents(t, l.settle(), "policy_setting_changed, policy_setting_restored")
		l.wantAsked("add-vm clone-vm create-vm remove-vm")

		// The release leaves what was found before us.
		l.content.Released = true
		wantEvents(t, l.settle(), "policy_lock_released, policy_lock_released, policy_lock_released")
		l.wantAsked("remove-vm")
	})
}

// H67: what cannot be released is told with the command for a person, and a prompt
// is told as one.
func TestH67_AFailedReleaseCarriesTheCommand(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newControlsLab(t, `"no_removal":true`)
		l.settle()
		l.wantAsked("remove-vm")
		l.answer = func(uint32, []string) (bool, error) { return false, &prlctl.Error{Code: prlctl.CodeAdminPassword} }
		l.content = controlsContent(`"no_removal":false`, 8)
		_, applied := l.apply()
		wantEvents(t, applied[0].Events, "policy_setting_failed admin_password_required")
		if command := applied[0].Events[0].Data["command"]; command != "sudo prlsrvctl set --require-pwd remove-vm:off" {
			t.Errorf("command %q", command)
		}
		l.wantAsked("remove-vm")
		l.answer = nil
		wantEvents(t, l.settle(), "policy_lock_released")
		l.wantAsked("")
		// This version did not lift one of ours once: it is not placed again by a control
		// that begins anew before it was seen lifted; after that it may be.
		l.content = controlsContent(`"no_removal":true`, 9)
		l.settle()
		l.wantAsked("remove-vm")
	})
}

// rival is another writer of the host's list: it has read the list once, and writes
// what it read with one more entry.
func rival(l *lab, entry string, times int) func() {
	base := slices.Clone(l.passwords)
	return func() {
		if times--; times >= 0 {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.passwords = append(slices.Clone(base), entry)
		}
	}
}

// H68: a write of ours that another writer has undone is made again: the list in
// the end is the one before, what the other one wrote, and the policy's.
func TestH68_AWriteThatIsLostIsMadeAgain(t *testing.T) {
	t.Parallel()
	for _, lost := range []int{1, 2, 3, 5} {
		t.Run(fmt.Sprint(lost, " times"), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := newControlsLab(t, `"provisioned_only":true`)
				l.passwords = []string{"of-somebody"}
				l.afterwards = rival(l, "of-the-rival", lost)
				l.settle()
				l.wantAsked("add-vm clone-vm create-vm of-somebody of-the-rival")
			})
		})
	}
}

// leased is a lab of which the controls are placed and then lifted.
func leasedLab(t *testing.T) (l *lab, lease *Lease) {
	t.Helper()
	l = newControlsLab(t, `"provisioned_only":true`)
	l.passwords = []string{"remove-vm"}
	l.settle()
	l.forget()
	lease, err := l.enforcer.TakeLease(l.ctx, "provision", []string{"create-vm", "add-vm", "preferences"}, time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return l, lease
}

// H68: what is lifted under a lease stays lifted until it is given back, or until
// its time; no plan puts it back meanwhile, and what was off is left off.
func TestH68_ALeaseLiftsAndPutsBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, lease := leasedLab(t)
		l.wantAsked("clone-vm remove-vm")
		wantEvents(t, l.settle(), "")
		wantEvents(t, l.enforcer.RestoreLeases(l.ctx), "")
		l.wantAsked("clone-vm remove-vm")

		// Of two leases the last one given back puts the common switch back.
		other, err := l.enforcer.TakeLease(l.ctx, "delete", []string{"add-vm", "remove-vm"}, time.Now().Add(time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		l.wantAsked("clone-vm")
		if err := lease.Restore(l.ctx); err != nil {
			t.Error(err)
		}
		l.wantAsked("clone-vm create-vm")
		time.Sleep(time.Minute)
		wantEvents(t, l.enforcer.RestoreLeases(l.ctx), "policy_control_put_back")
		l.wantAsked("add-vm clone-vm create-vm remove-vm")
		if err := other.Restore(l.ctx); err != nil {
			t.Error(err)
		}
		wantEvents(t, l.settle(), "")
		l.wantAsked("add-vm clone-vm create-vm remove-vm")
	})
}

// A lease of switches that are off is written when it is taken, and when it is given back.
func TestH68_ALeaseThatLiftsNothingIsWrittenOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newControlsLab(t, `"provisioned_only":true`)
		l.settle()
		commits := l.state.Commits()
		lease, err := l.enforcer.TakeLease(l.ctx, "delete", []string{"remove-vm"}, time.Now().Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		if written := l.state.Commits() - commits; written != 1 {
			t.Errorf("taken with %d commits", written)
		}
		if err := lease.Restore(l.ctx); err != nil || l.state.Commits() != commits+2 {
			t.Errorf("given back with %v, %d commits in all", err, l.state.Commits()-commits)
		}
		l.wantNoLease()
	})
}

// H68: what was planned before a lease was taken is not carried out under it.
func TestH68_NothingIsPlacedUnderALease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newControlsLab(t, `"no_removal":true`)
		planned := l.plan()
		lease, err := l.enforcer.TakeLease(l.ctx, "delete", []string{"remove-vm"}, time.Now().Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		l.enforcer.Apply(l.ctx, planned)
		_, _ = l.enforcer.Take(<-l.posted)
		l.settle()
		l.wantAsked("")
		if err := lease.Restore(l.ctx); err != nil {
			t.Error(err)
		}
		l.wantAsked("") // as it was before
		l.settle()
		l.wantAsked("remove-vm")
	})
}

// H68: a lease that cannot be taken leaves nothing lifted; one that cannot be put
// back is told once with the command for a person, and tried again.
func TestH68_ALeaseThatCannotBeTakenOrPutBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newControlsLab(t, `"provisioned_only":true`)
		l.settle()
		l.answer = func(_ uint32, args []string) (bool, error) {
			return args[1] != "add-vm:off", &prlctl.Error{Code: prlctl.CodeAdminPassword}
		}
		if _, err := l.enforcer.TakeLease(l.ctx, "provision", []string{"create-vm", "add-vm"}, time.Now().Add(time.Hour)); protocol.CodeOf(err) != protocol.CodeAdminPassword {
			t.Errorf("error %v", err)
		}
		l.wantAsked("add-vm clone-vm create-vm")
		l.answer = nil
		lease, err := l.enforcer.TakeLease(l.ctx, "provision", []string{"create-vm"}, time.Now().Add(time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		l.answer = func(uint32, []string) (bool, error) { return false, &prlctl.Error{Code: prlctl.CodeServiceDown} }
		if err := lease.Restore(l.ctx); err == nil {
			t.Error("it says that it is put back")
		}
		time.Sleep(time.Minute)
		events := l.enforcer.RestoreLeases(l.ctx)
		wantEvents(t, events, "policy_control_not_put_back service_down")
		if command := events[0].Data["command"]; command != "sudo prlsrvctl set --require-pwd create-vm:on" {
			t.Errorf("command %q", command)
		}
		wantEvents(t, l.enforcer.RestoreLeases(l.ctx), "")
		l.answer = nil
		wantEvents(t, l.enforcer.RestoreLeases(l.ctx), "policy_control_put_back")
		l.wantAsked("add-vm clone-vm create-vm")
	})
}

// H68: whatever ends the daemon between lift and restore, the next one puts back
// what was lifted before it does anything else; with another writer who undoes a
// write meanwhile, too. Then the policy is in force, and can be released.
func TestH68_KilledAtEachBoundaryOfALease(t *testing.T) {
	t.Parallel()
	for name, lost := range map[string]int{"alone": 0, "beside another writer": 2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var found []boundary
			synctest.Test(t, func(bubble *testing.T) { found = leaseBoundaries(bubble, t) })
			if len(found) < 30 {
				t.Fatalf("%d boundaries", len(found))
			}
			for _, at := range found {
				t.Run(at.name, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						at.mac.t = t
						time.Sleep(time.Minute) // its time is not over
						l := labOn(t, at.mac, at.folder, "")
						l.content, l.locks = controlsContent(`"provisioned_only":true`, 7), true
						want := "add-vm clone-vm create-vm remove-vm"
						if lost > 0 {
							l.afterwards = rival(l, "of-the-rival", lost)
							want = "add-vm clone-vm create-vm of-the-rival remove-vm"
						}
						l.enforcer.RestoreLeases(l.ctx)
						if lost == 0 { // before any plan
							l.wantAsked(want)
						}
						l.settle()
						if lost > 0 && len(l.sets()) == 0 {
							want = "add-vm clone-vm create-vm remove-vm" // nothing was lifted: nobody wrote
						}
						l.wantAsked(want)
						l.wantNoLease()
						l.afterwards = nil
						l.content.Released = true
						l.settle()
						l.wantAsked(strings.TrimSpace(strings.ReplaceAll(strings.ReplaceAll(strings.ReplaceAll(want, "add-vm ", ""), "clone-vm ", ""), "create-vm ", "")))
					})
				})
			}
		})
	}
}

// leaseBoundaries takes a lease and gives it back, and gives what a kill before and
// after each call of the tool between would have left, in folders that keeper keeps.
func leaseBoundaries(t, keeper *testing.T) (found []boundary) {
	t.Helper()
	l := newControlsLab(t, `"provisioned_only":true`)
	l.passwords = []string{"remove-vm"}
	l.settle()
	note := func(when string) func(string) {
		return func(call string) {
			name := fmt.Sprintf("%02d %s %s", len(found), when, call)
			found = append(found, boundary{name, l.clone(), copyState(keeper, l.folder)})
		}
	}
	l.before, l.after = note("before"), note("after")
	lease, err := l.enforcer.TakeLease(l.ctx, "provision", []string{"create-vm", "add-vm", "clone-vm", "remove-vm"}, time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	note("during")("the work")
	if err := lease.Restore(context.Background()); err != nil {
		t.Fatal(err)
	}
	note("after")("all")
	return found
}

// ENC-10: that a machine would not fit on its disk once more is told before it is
// encrypted, with whose it is; once, also over a restart of the daemon.
func TestENC_10_LowSpaceIsToldOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newControlsLab(t, `"org_license_only":true`)
		l.look = func(s *Situation) {
			for _, machine := range s.Machines {
				machine.Facts.UsedSpace, machine.Facts.FreeSpace = 64<<30, 80<<30
				if machine.Owner.User.Name == "bob" {
					machine.Facts.FreeSpace = 40 << 30
				}
			}
		}
		events := l.settle()
		wantEvents(t, events, "disk_low_for_encryption disk_low_for_encryption")
		if data := events[0].Data; data["user_name"] != "bob" || data["vm_id"] == "" || data["used_mb"] != "65536" || data["free_mb"] != "40960" {
			t.Errorf("event %+v", data)
		}
		l.enforcer.Recall() // as after a restart
		wantEvents(t, l.settle(), "")
	})
}
