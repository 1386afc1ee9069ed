package enforce

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"prlagent/agent/policy"
	"prlagent/prlctl"
	"prlagent/store"
)

// H42: a machine that came while its account could not be listed, before a control
// began, was not seen to come after that.
func TestH42_WhatCameUnseenBeforeAControlBeganIsNoViolation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newControlsLab(t, `"no_removal":true`)
		l.locks = false
		l.settle()
		vm := l.add(bob)
		vm.state = prlctl.StateRunning
		l.look = func(s *Situation) {
			delete(s.Host.Listed, bob.UID)
			s.Machines = s.Machines[:2]
		}
		l.content = controlsContent(`"no_removal":true,"provisioned_only":true,"on_violation":"suspend","grace_s":1`, 8)
		l.settle()
		l.look = nil
		time.Sleep(time.Hour)
		wantEvents(t, l.settle(), "")
		time.Sleep(time.Hour)
		wantEvents(t, l.settle(), "")
		if vm.state != prlctl.StateRunning {
			t.Error("it was suspended")
		}
		// What comes from then on is one.
		l.add(bob)
		wantEvents(t, l.settle(), "policy_violation vm_unprovisioned")
	})
}

// H42: what was planned is not carried out once a newer plan, or a person, wants it no
// more.
func TestH42_NothingIsSuspendedThatIsNoViolationAnyMore(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*lab){
		"the policy only reports": func(l *lab) { l.content = controlsContent(`"provisioned_only":true`, 8) },
		"the control is off":      func(l *lab) { l.content = controlsContent(`"provisioned_only":false`, 8) },
		"monitor mode":            func(l *lab) { l.monitor = true },
		"a person releases": func(l *lab) {
			l.enforcer.mu.Lock()
			defer l.enforcer.mu.Unlock()
			if err := l.enforcer.setReleased(&Released{At: time.Now(), By: "carol", HeadVersion: 7}); err != nil {
				l.t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := newControlsLab(t, `"provisioned_only":true,"on_violation":"suspend","grace_s":1`)
				l.locks = false
				l.settle()
				vm, planned := l.addOverdue()
				change(l)
				l.plan()
				a := l.enforcer.newApplication(planned, alice.UID)
				a.suspend(l.ctx, planned.Suspends)
				if vm.state != prlctl.StateRunning {
					t.Error("it was suspended")
				}
			})
		})
	}
}

// H42: who is to be told that machines will be suspended is told in one notification,
// also who has no session at first, and where the policy only reported before.
func TestH42_AViolationIsToldItsUserOnceThoughLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newControlsLab(t, `"provisioned_only":true`)
		l.locks, l.notify, l.absent = false, true, true
		l.settle()
		for range 30 {
			l.add(alice)
		}
		l.settle()
		l.content = controlsContent(`"provisioned_only":true,"on_violation":"suspend","grace_s":3600`, 8)
		l.settle()
		synctest.Wait()
		if len(l.shown) != 0 {
			t.Fatalf("told %q without a session", <-l.shown)
		}
		l.absent = false
		l.settle()
		l.settle()
		l.enforcer.Recall()
		l.settle()
		synctest.Wait()
		if len(l.shown) != 1 {
			t.Fatalf("%d notifications", len(l.shown))
		}
		if text := <-l.shown; !strings.HasPrefix(text, "501 Your organization does not allow 30 of your Parallels virtual machines. From ") || !strings.HasSuffix(text, " on they are suspended whenever they run.") {
			t.Errorf("alice is told %q", text)
		}
		wantEvents(t, l.enforcer.TakeReminders(), "policy_violation_notice")
	})
}

// H42: who is told after the grace is not told of a suspension in the past.
func TestH42_AViolationThatIsToldLateNamesNoTimeInThePast(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newControlsLab(t, `"provisioned_only":true,"on_violation":"suspend","grace_s":60`)
		l.locks, l.notify, l.absent = false, true, true
		l.settle()
		l.add(alice)
		l.settle()
		time.Sleep(time.Hour)
		l.absent = false
		l.settle()
		synctest.Wait()
		if len(l.shown) != 1 {
			t.Fatalf("%d notifications", len(l.shown))
		}
		if text := <-l.shown; !strings.HasSuffix(text, "It is suspended whenever it runs.") {
			t.Errorf("alice is told %q", text)
		}
	})
}

// SEC-10, H68: what the agent removes itself under a lease that was given back before
// the next look is no violation.
func TestSEC10_H68_OurOwnRemovalIsNoViolation(t *testing.T) {
	t.Parallel()
	for name, ends := range map[string]func(*lab, *Lease){
		"given back": func(l *lab, lease *Lease) {
			if err := lease.Restore(l.ctx); err != nil {
				l.t.Error(err)
			}
		},
		"killed": func(l *lab, _ *Lease) {
			l.enforcer.Recall()
			l.enforcer.RestoreLeases(l.ctx)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := newControlsLab(t, `"no_removal":true`)
				ours := l.vmOf(alice.UID).key
				theirs := l.vmOf(bob.UID).key
				golden := func(s *Situation) {
					for _, m := range s.Machines {
						m.Facts.Origin = policy.OriginGolden
					}
				}
				l.look = golden
				l.settle()
				lease, err := l.enforcer.TakeLease(l.ctx, "delete", []string{"remove-vm"}, time.Now().Add(time.Hour))
				if err != nil {
					t.Fatal(err)
				}
				delete(l.vms, ours)
				ends(l, lease)
				l.look = func(s *Situation) { // her list cannot be read at first
					golden(s)
					delete(s.Host.Listed, alice.UID)
				}
				wantEvents(t, l.settle(), "")
				l.look = golden
				wantEvents(t, l.settle(), "")
				delete(l.vms, theirs)
				wantEvents(t, l.settle(), "policy_violation removed_against_policy")
			})
		})
	}
}

// SEC-09: who has more machines than a look takes in hides no removal of anybody else,
// and what the look leaves out of theirs is none.
func TestSEC09_AUserOverTheLimitHidesNoRemovalOfOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newControlsLab(t, `"no_removal":true`)
		hers, his := l.vmOf(alice.UID).key, l.vmOf(bob.UID).key
		golden := func(s *Situation) {
			for _, m := range s.Machines {
				m.Facts.Origin = policy.OriginGolden
			}
		}
		l.look = golden
		l.settle()
		l.partial, l.look = true, func(s *Situation) {
			golden(s)
			delete(s.Host.Listed, bob.UID)
		}
		delete(l.vms, his) // beyond what is looked at
		wantEvents(t, l.settle(), "")
		delete(l.vms, hers)
		wantEvents(t, l.settle(), "policy_violation removed_against_policy")
	})
}

// H68: what could not be put back when the lease was given back is tried again at the
// next look, not when its time is over.
func TestH68_WhatCouldNotBePutBackIsTriedAtTheNextLook(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, lease := leasedLab(t)
		l.answer = func(uint32, []string) (bool, error) { return false, &prlctl.Error{Code: prlctl.CodeServiceDown} }
		if err := lease.Restore(l.ctx); err == nil {
			t.Error("it says that it is put back")
		}
		l.answer = nil
		wantEvents(t, l.enforcer.RestoreLeases(l.ctx), "policy_control_put_back")
		l.wantAsked("add-vm clone-vm create-vm remove-vm")

		// The same where the lease could be taken only in part.
		l.answer = func(_ uint32, args []string) (bool, error) {
			if args[1] == "create-vm:off" {
				return true, nil
			}
			return false, &prlctl.Error{Code: prlctl.CodeAdminPassword}
		}
		if _, err := l.enforcer.TakeLease(l.ctx, "provision", []string{"create-vm", "add-vm"}, time.Now().Add(time.Hour)); err == nil {
			t.Error("it is taken")
		}
		l.wantAsked("add-vm clone-vm remove-vm")
		l.answer = nil
		wantEvents(t, l.enforcer.RestoreLeases(l.ctx), "policy_control_put_back")
		l.wantAsked("add-vm clone-vm create-vm remove-vm")
	})
}

// H68: what an earlier process has left lifted, and could not be put back yet, is not
// put back under a lease that needs it lifted, and is afterwards, or after a kill.
func TestH68_ALeaseBesideOneOfAnEarlierProcess(t *testing.T) {
	t.Parallel()
	for _, isKilled := range []bool{false, true} {
		t.Run(fmt.Sprint("killed ", isKilled), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l, _ := leasedLab(t)
				l.enforcer.Recall()
				lease, err := l.enforcer.TakeLease(l.ctx, "delete", []string{"add-vm"}, time.Now().Add(time.Hour))
				if err != nil {
					t.Fatal(err)
				}
				l.enforcer.RestoreLeases(l.ctx)
				l.wantAsked("clone-vm create-vm remove-vm")
				if isKilled {
					l.enforcer.Recall()
					l.enforcer.RestoreLeases(l.ctx)
				} else if err := lease.Restore(l.ctx); err != nil {
					t.Error(err)
				}
				l.wantAsked("add-vm clone-vm create-vm remove-vm")
				l.wantNoLease()
			})
		})
	}
}

// H68: a record of another version, with what this one does not know, holds nothing up.
func TestH68_ALeaseOfAnotherVersion(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newControlsLab(t, `"provisioned_only":true`)
		l.settle()
		l.passwords = nil
		err := l.state.Update(func(tx *store.Tx) error {
			for _, number := range []int{-1, 0, 1 << 62} {
				record := leaseRecord{Number: number, Switches: []string{"of-a-later-one"}, Lifted: []string{"of-a-later-one", "add-vm"}, User: alice}
				if err := leases.Put(tx, fmt.Sprint(number), &record); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		l.enforcer.Recall()
		wantEvents(t, l.enforcer.RestoreLeases(l.ctx), "policy_control_put_back, policy_control_put_back, policy_control_put_back")
		l.wantAsked("add-vm")
		l.wantNoLease()
	})
}

// H68: release restores what was found before us: a switch that somebody turned on
// between our reading and our writing is theirs.
func TestH68_WhatSomebodyTurnedOnBeforeUsIsTheirs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newControlsLab(t, `"no_removal":true`)
		l.plan()
		time.Sleep(time.Minute)
		planned := l.plan() // by what was read a minute ago
		l.passwords = []string{"remove-vm"}
		l.enforcer.Apply(l.ctx, planned)
		_, _ = l.enforcer.Take(<-l.posted)
		l.settle()
		if sets := l.sets(); len(sets) != 0 {
			t.Errorf("sets %v", sets)
		}
		l.content.Released = true
		l.settle()
		l.wantAsked("remove-vm")
	})
}
