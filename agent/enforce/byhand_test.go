package enforce

import (
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

// byHand does something by hand, as the loop does: what has ended is taken.
func (l *lab) byHand(begin func(reply chan<- []*Handed)) []*Handed {
	l.t.Helper()
	reply := make(chan []*Handed, 1)
	begin(reply)
	for {
		select {
		case uid := <-l.posted:
			outcome, _ := l.enforcer.Take(uid)
			l.events = append(l.events, outcome.Events...)
		case handed := <-reply:
			synctest.Wait()
			for range len(l.posted) {
				outcome, _ := l.enforcer.Take(<-l.posted)
				l.events = append(l.events, outcome.Events...)
			}
			return handed
		}
	}
}

func (l *lab) setByHand(name string, value policy.Value, ids ...string) []*Handed {
	l.t.Helper()
	hand := &Hand{Setting: policy.Find(name), Value: value, IDs: ids, By: "carol"}
	return l.byHand(func(reply chan<- []*Handed) { l.enforcer.SetByHand(l.ctx, l.situation(), hand, reply) })
}

func (l *lab) releaseLocks() []*Handed {
	l.t.Helper()
	return l.byHand(func(reply chan<- []*Handed) {
		event, err := l.enforcer.ReleaseLocks(l.ctx, l.situation(), "carol", reply)
		if err != nil {
			l.t.Fatal(err)
		}
		l.events = append(l.events, event)
	})
}

func wantHanded(t testing.TB, handed []*Handed, want ...string) {
	t.Helper()
	var got []string
	for _, one := range handed {
		words := strings.TrimSpace(fmt.Sprintf("%d %s %s", one.Key.UID, one.Outcome, one.Code))
		if one.Switch != nil {
			words = strings.TrimSpace(fmt.Sprintf("%s %s %s", one.Switch.Target(), one.Outcome, one.Code))
		}
		if one.Path != "" {
			words += fmt.Sprintf(" (%s %s %t)", one.Path, one.Wants, one.PutBack)
		}
		got = append(got, words)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// VMF-11: one setting of all machines, each as its owner, the monitoring Mac and the
// running machines included.
func TestVMF11_OneSettingOfAllMachines(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*lab)
		set    string
		value  policy.Value
		want   []string
		sets   []string
	}{
		"the vendor's example": {func(*lab) {}, "pause_idle", "true", []string{"501 done", "502 done"}, []string{"501 set --pause-idle=on", "502 set --pause-idle=on"}},
		"monitor mode":         {func(l *lab) { l.monitor = true }, "clipboard", "disconnect", []string{"501 done", "502 done"}, []string{"501 set --shared-clipboard=off", "502 set --shared-clipboard=off"}},
		"one is as wanted": {func(l *lab) { l.vmOf(501).change("Miscellaneous Sharing/Shared clipboard mode", "off") }, "clipboard", "disconnect",
			[]string{"501 done", "502 done"}, []string{"502 set --shared-clipboard=off"}},
		"needs it shut down":      {func(l *lab) { l.vmOf(501).state = prlctl.StateRunning }, "asset_tag", "F-1", []string{"501 deferred vm_running", "502 done"}, []string{"502 set --asset-id=F-1"}},
		"suspended":               {func(l *lab) { l.vmOf(502).state = prlctl.StateSuspended }, "clipboard", "disconnect", []string{"501 done", "502 deferred vm_suspended"}, []string{"501 set --shared-clipboard=off"}},
		"interrupts, and is done": {func(l *lab) { l.vmOf(501).state = prlctl.StateRunning }, "isolate_vm", "true", []string{"501 done", "502 done"}, nil},
		"no public way":           {func(*lab) {}, "no_external_devices", "true", []string{"501 refused no_public_way", "502 refused no_public_way"}, []string{}},
		"a lie": {func(l *lab) { l.answer = func(uid uint32, _ []string) (bool, error) { return uid == 501, nil } }, "clipboard", "disconnect",
			[]string{"501 done", "502 refused not_verified"}, []string{"501 set --shared-clipboard=off", "502 set --shared-clipboard=off"}},
		"busy": {func(l *lab) {
			l.answer = func(uid uint32, _ []string) (bool, error) {
				return false, &prlctl.Error{Code: string(protocol.CodeVMBusy)}
			}
		}, "clipboard", "disconnect", []string{"501 deferred vm_busy", "502 deferred vm_busy"}, []string{"501 set --shared-clipboard=off", "502 set --shared-clipboard=off"}},
		"not without the profile's leave": {func(*lab) {}, "no_config_changes", "true", []string{"501 refused release_unproven", "502 refused release_unproven"}, []string{}},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, "", func(l *lab) {
				c.change(l)
				wantHanded(l.t, l.setByHand(c.set, c.value), c.want...)
				sets := l.sets()
				slices.Sort(sets)
				if c.sets != nil && !slices.Equal(sets, c.sets) {
					l.t.Errorf("sets %v, want %v", sets, c.sets)
				}
				if memory := l.stored(); len(memory) > 0 {
					l.t.Errorf("it is remembered: %+v", memory)
				}
			})
		})
	}
}

// Machines are named by their ids; one that nobody has is said.
func TestVMF11_MachinesByTheirIDs(t *testing.T) {
	inBubble(t, "", func(l *lab) {
		handed := l.setByHand("clipboard", "disconnect", l.vmOf(502).key.ID, "00000000-0000-4000-8000-00000000dead")
		wantHanded(l.t, handed, "502 done", "0 refused vm_not_found")
		l.wantSets("502 set --shared-clipboard=off")
		if len(l.events) != 1 || l.events[0].Type != eventSet || l.events[0].Data["uid"] != "502" {
			l.t.Errorf("events %+v", l.events)
		}
	})
}

// What is set by hand against the policy is put back; that is said before.
func TestVMF11_ThePolicyPutsItsValueBack(t *testing.T) {
	inBubble(t, clipboard, func(l *lab) {
		l.converge()
		wantHanded(l.t, l.setByHand("clipboard", "bidirectional"),
			"501 done (vm_settings.other.clipboard disconnect true)", "502 done (vm_settings.other.clipboard disconnect true)")
		l.forget()
		l.converge()
		l.wantVerdict("clipboard", "in_place")
		if drifts := l.enforcer.Drifts(); drifts != 2 || len(l.sets()) != 2 {
			l.t.Errorf("%d drifts, sets %v", drifts, l.sets())
		}
		l.monitor = true
		l.plan()
		handed := l.setByHand("clipboard", "bidirectional")
		wantHanded(l.t, handed, "501 done (vm_settings.other.clipboard disconnect false)", "502 done (vm_settings.other.clipboard disconnect false)")
	})
}

// What is done by hand waits for what is being done for the same account, and for
// nobody else.
func TestH12_ByHandWaitsItsTurn(t *testing.T) {
	inBubble(t, clipboard, func(l *lab) {
		hold := make(chan struct{})
		l.hangs = map[uint32]chan struct{}{502: hold}
		l.enforcer.Apply(l.ctx, l.plan())
		go func() {
			time.Sleep(time.Minute)
			l.mu.Lock()
			l.hangs = nil
			l.mu.Unlock()
			close(hold)
		}()
		began := time.Now()
		wantHanded(l.t, l.setByHand("pause_idle", "true", l.vmOf(501).key.ID), "501 done")
		if time.Since(began) > time.Second {
			l.t.Errorf("it took %v", time.Since(began))
		}
		wantHanded(l.t, l.setByHand("pause_idle", "true", l.vmOf(502).key.ID), "502 done")
	})
}

// Under a lock of the agent's a setting is set all the same, and the lock is there
// again behind it, still as the agent's.
func TestH45_ByHandUnderALock(t *testing.T) {
	inBubble(t, `"no_config_changes":true`, func(l *lab) {
		l.locks = true
		l.converge()
		l.forget()
		wantHanded(l.t, l.setByHand("pause_idle", "true", l.vmOf(501).key.ID), "501 done")
		l.wantSets("501 set --lock-edit-settings=off", "501 set --pause-idle=on", "501 set --lock-edit-settings=on")
		if !l.memoryOf(501).HoldsLock() || l.memoryOf(501).Setting("no_config_changes").ByHand {
			l.t.Errorf("remembered %+v", l.memoryOf(501))
		}
		l.forget()
		l.converge()
		l.wantSets()
	})
}

// A lock that a person had placed stays without a policy for it, and is lifted with
// the others.
func TestH47_ALockPlacedByHand(t *testing.T) {
	inBubble(t, clipboard, func(l *lab) {
		l.locks = true
		l.converge()
		wantHanded(l.t, l.setByHand("no_config_changes", "true", l.vmOf(501).key.ID), "501 done")
		l.forget()
		l.converge()
		l.content.Released = true
		l.converge()
		l.wantSets()
		if !l.memoryOf(501).HoldsLock() {
			l.t.Error("the lock is not remembered")
		}
		wantHanded(l.t, l.releaseLocks(), "501 done")
		l.wantSets("501 set --lock-edit-settings=off")
		wantHanded(l.t, l.setByHand("no_config_changes", "true", l.vmOf(501).key.ID), "501 done")
		wantHanded(l.t, l.setByHand("no_config_changes", "false", l.vmOf(501).key.ID), "501 done")
		if l.memoryOf(501).HoldsLock() {
			l.t.Error("a lock that is lifted by hand is remembered")
		}
	})
}

// H47: exactly our locks are lifted, what was locked before us stays locked, and
// until there is a newer head the Mac only plans, also after a restart.
func TestH47_ReleaseOfLocks(t *testing.T) {
	inBubble(t, `"no_config_changes":true,"clipboard":"disconnect"`, func(l *lab) {
		l.locks = true
		l.vmOf(502).change("Security/Configuration is locked", "on") // bob's own
		l.converge()
		l.forget()
		wantHanded(l.t, l.releaseLocks(), "501 done")
		l.wantSets("501 set --lock-edit-settings=off")
		if got := l.vmOf(502).show("Security/Configuration is locked"); got != "on" {
			l.t.Errorf("bob's own lock is %s", got)
		}
		types := []string{}
		for _, event := range l.events {
			types = append(types, event.Type)
		}
		if !slices.Equal(types, []string{eventLocksReleased, eventReleased}) {
			l.t.Errorf("events %v", types)
		}

		l.vmOf(501).change("Miscellaneous Sharing/Shared clipboard mode", "on")
		next := labOn(l.t, l.fakeMac, copyState(l.t.(*testing.T), l.folder), "")
		next.content, next.locks = l.content, true
		for _, each := range []*lab{l, next} {
			each.forget()
			each.converge()
			each.wantSets()
			each.wantVerdict("clipboard", "pending locks_released")
			each.wantVerdict("no_config_changes", "pending locks_released")
			if each.plan().Enforce || each.report().State != protocol.PolicyFetched {
				each.t.Errorf("report %+v", each.report())
			}
		}

		next.content = contentOf(`"no_config_changes":true,"clipboard":"disconnect"`, 8)
		planned, _ := next.apply()
		if len(planned.Events) == 0 || planned.Events[0].Type != eventResumed {
			l.t.Errorf("events %+v", planned.Events)
		}
		next.converge()
		next.wantVerdict("no_config_changes", "in_place")
		next.wantVerdict("clipboard", "in_place")
		if next.enforcer.LocksReleased() != nil {
			l.t.Error("a newer head has not ended it")
		}
	})
}

// H67: a lock that cannot be lifted is an event with the command for a person, and
// is tried again.
func TestH67_AReleaseThatFails(t *testing.T) {
	inBubble(t, `"no_config_changes":true`, func(l *lab) {
		l.locks = true
		l.converge()
		l.answer = func(uid uint32, _ []string) (bool, error) {
			return uid == 502, &prlctl.Error{Code: prlctl.CodeAdminPassword}
		}
		handed := l.releaseLocks()
		wantHanded(l.t, handed, "501 refused admin_password_required", "502 done")
		want := fmt.Sprintf("sudo -H -u '#501' prlctl set %s --lock-edit-settings=off", l.vmOf(501).key.ID)
		failed := slices.IndexFunc(l.events, func(e protocol.Event) bool { return e.Type == eventFailed })
		if handed[0].Command != want || failed < 0 || l.events[failed].Data["command"] != want {
			l.t.Errorf("command %q, events %+v", handed[0].Command, l.events)
		}
		if !l.memoryOf(501).HoldsLock() {
			l.t.Error("the lock is forgotten while it is there")
		}
		l.answer, l.retryNow = nil, true
		l.converge()
		if got := l.vmOf(501).show("Security/Configuration is locked"); got != "off" || l.memoryOf(501).HoldsLock() {
			l.t.Errorf("in the end: %s", got)
		}
	})
}

// H47, H67: the switches of the host that the agent has placed are lifted with the
// locks, and no others; each is told, also one that is gone, that stays, or that
// cannot be asked for.
func TestH47_H67_ReleaseLiftsTheHostsSwitches(t *testing.T) {
	t.Parallel()
	const controls = `"provisioned_only":true`
	refuse := func(l *lab) {
		l.answer = func(_ uint32, args []string) (bool, error) {
			return args[1] != "add-vm:off", &prlctl.Error{Code: prlctl.CodeAdminPassword}
		}
	}
	for name, c := range map[string]struct {
		change func(*lab)
		want   []string
		asked  string
		code   string // of the command for a person, behind "sudo prlsrvctl set --require-pwd "
	}{
		"all":          {func(*lab) {}, []string{"--require-pwd create-vm done", "--require-pwd add-vm done"}, "clone-vm", ""},
		"monitor mode": {func(l *lab) { l.monitor = true }, []string{"--require-pwd create-vm done", "--require-pwd add-vm done"}, "clone-vm", ""},
		"one is off already": {func(l *lab) { l.passwords = []string{"clone-vm", "add-vm"} },
			[]string{"--require-pwd create-vm done", "--require-pwd add-vm done"}, "clone-vm", ""},
		"one stays": {refuse, []string{"--require-pwd create-vm done", "--require-pwd add-vm refused admin_password_required"}, "add-vm clone-vm", "add-vm:off"},
		"one stays, another is off already": {func(l *lab) {
			refuse(l)
			l.passwords = []string{"clone-vm", "add-vm"}
		}, []string{"--require-pwd create-vm done", "--require-pwd add-vm refused admin_password_required"}, "add-vm clone-vm", "add-vm:off"},
		"off for the agent's own work": {func(l *lab) {
			if _, err := l.enforcer.TakeLease(l.ctx, "test", []string{"add-vm"}, time.Now().Add(time.Hour)); err != nil {
				l.t.Fatal(err)
			}
		}, []string{"--require-pwd create-vm done", "--require-pwd add-vm deferred control_lifted"}, "clone-vm", "add-vm:off"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newControlsLab(t, controls)
				l.passwords = []string{"clone-vm"} // before us
				l.settle()
				l.wantAsked("add-vm clone-vm create-vm")
				c.change(l)
				handed := l.releaseLocks()
				wantHanded(t, handed, c.want...)
				l.wantAsked(c.asked)
				for _, one := range handed {
					want := "sudo prlsrvctl set --require-pwd " + c.code
					if one.Outcome != policy.HandDone && one.Switch.Name+":off" == c.code && one.Command != want {
						t.Errorf("command %q", one.Command)
					}
				}
				l.settle()
				l.wantAsked(c.asked)
			})
		})
	}
}

// While the service is down nothing can be lifted now.
func TestH47_ReleaseWhileTheServiceIsDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newControlsLab(t, `"no_removal":true`)
		l.settle()
		situation := l.situation()
		situation.Closed = protocol.CodeServiceDown
		handed := l.byHand(func(reply chan<- []*Handed) {
			if _, err := l.enforcer.ReleaseLocks(l.ctx, situation, "carol", reply); err != nil {
				t.Fatal(err)
			}
		})
		wantHanded(t, handed, "--require-pwd remove-vm deferred service_down")
		l.settle()
		l.wantAsked("")
	})
}

// Switches that are being placed when a person asks are lifted and told as well.
func TestH47_WhatIsBeingPlacedIsLiftedToo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newControlsLab(t, `"provisioned_only":true`)
		hold := make(chan struct{})
		l.before = func(call string) {
			if call == "host set --require-pwd create-vm:on" {
				<-hold
			}
		}
		l.enforcer.Apply(l.ctx, l.plan())
		synctest.Wait()
		time.AfterFunc(time.Second, func() {
			l.plan() // as the loop, right behind that it was asked for
			close(hold)
		})
		wantHanded(t, l.releaseLocks(), "--require-pwd create-vm done")
		l.wantAsked("")
		l.wantSets("host set --require-pwd create-vm:on", "host set --require-pwd create-vm:off")
	})
}

// What a plan lifts before it is the release's turn is told as lifted.
func TestH47_WhatAPlanLiftsFirstIsToldToo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newControlsLab(t, `"no_removal":true`)
		l.settle()
		l.plan()
		hold := make(chan struct{})
		l.enforcer.tasks.Start(hostUID, func() *Applied {
			<-hold
			return l.enforcer.applyHost(l.ctx, &Planned{byHand: true, HostSteps: l.enforcer.planLift(l.situation())})
		})
		time.AfterFunc(time.Second, func() { close(hold) })
		wantHanded(t, l.releaseLocks(), "--require-pwd remove-vm done")
		l.wantAsked("")
	})
}

// A plan that was made while a person lifts the locks, and is begun behind that, lifts
// nothing once more, and tells nothing once more.
func TestH47_APlanFromDuringTheReleaseIsVoid(t *testing.T) {
	for name, content := range map[string]policy.Content{
		"a lock":   contentOf(`"no_config_changes":true`, 7),
		"a switch": controlsContent(`"no_removal":true`, 7),
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, "", func(l *lab) {
				l.content, l.locks = content, true
				onlyAlice(l)
				l.settle()
				l.forget()
				l.enforcer.mu.Lock()
				err := l.enforcer.setReleased(&Released{HeadVersion: 7, SHA256: content.Pointer.SHA256})
				l.enforcer.mu.Unlock()
				if err != nil {
					l.t.Fatal(err)
				}
				planned := l.plan()
				l.releaseLocks()
				if steps := len(planned.Steps) + len(planned.HostSteps); steps != 1 {
					l.t.Fatalf("%d steps", steps)
				}
				if outcome := l.carryOut(planned); outcome.Begun != 0 || len(outcome.Events) != 0 {
					l.t.Errorf("outcome %+v", outcome)
				}
				if sets := l.sets(); len(sets) != 1 {
					l.t.Errorf("sets %v", sets)
				}
				l.settle()
				if l.settle(); len(l.sets()) != 1 {
					l.t.Errorf("then: sets %v", l.sets())
				}
			})
		})
	}
}

// Steps that were planned before a release are not carried out after it.
func TestH47_APlanBeforeTheReleaseIsVoid(t *testing.T) {
	inBubble(t, `"no_config_changes":true`, func(l *lab) {
		l.locks = true
		planned := l.plan()
		l.releaseLocks()
		l.enforcer.Apply(l.ctx, planned)
		synctest.Wait()
		l.wantSets()
	})
}
