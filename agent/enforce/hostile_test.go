package enforce

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"prlagent/agent/protocol"
	"prlagent/platform/safefile"
	"prlagent/prlctl"
	"prlagent/store"
)

// wrongAnswers are what a tool may say to every call, with nothing done.
var wrongAnswers = map[string]error{
	"it says that it is done":       nil,
	"no such option":                &prlctl.Error{Code: prlctl.CodeUnrecognizedOption},
	"not for this guest":            &prlctl.Error{Code: prlctl.CodeGuestOS},
	"a password":                    &prlctl.Error{Code: prlctl.CodeAdminPassword},
	"the machine is busy":           &prlctl.Error{Code: prlctl.CodeVMBusy},
	"the service is down":           &prlctl.Error{Code: prlctl.CodeServiceDown},
	"it failed":                     &prlctl.Error{Code: prlctl.CodeToolFailed},
	"it hangs":                      &prlctl.Error{Code: string(protocol.CodeToolTimeout)},
	"not in the edition":            &prlctl.Error{Code: prlctl.CodeEdition},
	"an answer nobody has ever had": fmt.Errorf("what"),
}

// passesOfAnHour are what events may bring: a pass every six minutes, and one
// more as long as something was set in the last.
func (l *lab) passesOfAnHour() {
	l.t.Helper()
	for range 10 {
		for again := 0; ; again++ {
			planned, _ := l.apply()
			if len(planned.Steps) == 0 {
				break
			}
			if again == 10 {
				l.t.Fatalf("it does not end: %s", planned.Steps[0].Target)
			}
		}
		time.Sleep(6 * time.Minute)
	}
}

// wantRare fails if a flag of one machine was set more often.
func (l *lab) wantRare(most int) {
	l.t.Helper()
	count := make(map[string]int)
	for _, call := range l.sets() {
		count[call]++
	}
	for call, times := range count {
		if times > most {
			l.t.Errorf("%d times %s", times, call)
		}
	}
}

// Whatever the tool answers to whatever is set, nothing is set all the time: not
// what isolation changed and has to be put back, and not a lock that is to be
// lifted. What waits for somebody is tried every five minutes, all else twice and
// then once an hour; also where the version is not known.
func TestNoAnswerIsRepeatedAllTheTime(t *testing.T) {
	skipLong(t)
	t.Parallel()
	const most = 60/5 + 2
	for name, said := range wrongAnswers {
		for _, known := range []prlctl.Version{version, {}} {
			if known.IsZero() && !prlctl.IsNotApplicable(said) {
				continue
			}
			t.Run(strings.TrimSpace(name+" "+known.String()), func(t *testing.T) {
				inBubble(t, everything, func(l *lab) {
					l.locks, l.version = true, known
					refuse := func(refused ...string) {
						l.forget()
						l.answer = func(_ uint32, args []string) (bool, error) {
							for _, flag := range refused {
								if strings.HasPrefix(args[0], flag) {
									return false, said
								}
							}
							return true, nil
						}
					}
					refuse("--")
					l.passesOfAnHour()
					l.wantRare(most)

					// What isolating turns on cannot be turned off.
					l.vmOf(501).change("USB and Bluetooth/Automatic sharing gamepads", "off")
					time.Sleep(time.Hour)
					refuse("--auto-share-gamepad")
					l.passesOfAnHour()
					l.wantRare(most)

					// The lock was placed, and cannot be lifted for a setting.
					l.version.Major++ // what was refused is asked for again
					l.answer, l.retryNow = nil, true
					l.converge()
					l.retryNow = false
					l.vmOf(501).change(clipboardPath, "on")
					refuse("--lock-edit-settings=off")
					l.passesOfAnHour()
					l.wantRare(most)

					// Nor for a release.
					l.content.Released = true
					l.forget()
					l.passesOfAnHour()
					l.wantRare(most)
				})
			})
		}
	}
}

// A lock that this version does not lift is the only one: no other machine is
// locked until the product is another one. What the lock is in the way of has
// failed for the same reason since the same time, however often it is tried.
func TestH45_ALockThatIsNotLiftedIsTheOnlyOne(t *testing.T) {
	inBubble(t, clipboard+`,"no_config_changes":true`, func(l *lab) {
		l.locks = true
		l.vmOf(502).state = prlctl.StateSuspended
		l.converge()
		l.answer = func(_ uint32, args []string) (bool, error) {
			return args[0] != "--lock-edit-settings=off", &prlctl.Error{Code: prlctl.CodeAdminPassword}
		}
		l.vmOf(501).change(clipboardPath, "on")
		l.passesOfAnHour()
		l.wantVerdict("clipboard", "failed admin_password_required")
		l.wantVerdict("no_config_changes", "in_place")
		since := l.memoryOf(501).Setting("clipboard").Since
		l.vmOf(502).state = prlctl.StateStopped
		l.forget()
		l.passesOfAnHour()
		if got := l.memoryOf(501).Setting("clipboard").Since; !got.Equal(since) {
			l.t.Errorf("it has failed since %s, and then since %s", since, got)
		}
		if got := l.verdicts()["502 no_config_changes"]; got != "unsupported release_unproven" || l.vmOf(502).show("Security/Configuration is locked") != "off" {
			l.t.Errorf("the other machine: %s", got)
		}
		if got := l.vmOf(502).show(clipboardPath); got != "off" {
			l.t.Errorf("what the other machine needs: %s", got)
		}
		l.version.Major++ // another version that does not lift it is no better
		l.converge()
		if got := l.verdicts()["502 no_config_changes"]; got != "unsupported release_unproven" || l.vmOf(502).show("Security/Configuration is locked") != "off" {
			l.t.Errorf("with another version: %s", got)
		}
		// What somebody lifts is placed again at once: there it is ours.
		l.vmOf(501).change("Security/Configuration is locked", "off")
		l.forget()
		l.converge()
		if got := l.vmOf(501).show("Security/Configuration is locked"); got != "on" || l.vmOf(501).show(clipboardPath) != "off" {
			l.t.Errorf("locked: %s; sets %v", got, l.sets())
		}
		l.answer = nil
		l.version.Major++
		l.converge()
		if got := l.verdicts()["502 no_config_changes"]; got != "in_place" {
			l.t.Errorf("with a version that lifts it: %s", got)
		}
		l.wantVerdict("clipboard", "in_place")
	})
}

// A machine that is busy when its lock is to be lifted says nothing of the
// version: others are locked.
func TestH45_ABusyMachineIsNoStuckLock(t *testing.T) {
	inBubble(t, clipboard+`,"no_config_changes":true`, func(l *lab) {
		l.locks = true
		l.vmOf(502).state = prlctl.StateSuspended
		l.converge()
		l.answer = func(uid uint32, _ []string) (bool, error) {
			return uid != 501, &prlctl.Error{Code: prlctl.CodeVMBusy}
		}
		l.vmOf(501).change(clipboardPath, "on")
		l.converge()
		l.wantVerdict("clipboard", "deferred vm_busy")
		l.vmOf(502).state = prlctl.StateStopped
		l.converge()
		if got := l.verdicts()["502 no_config_changes"]; got != "in_place" {
			l.t.Errorf("the other machine: %s", got)
		}
	})
}

// What a user locks after our lock was seen to be gone is theirs: a release
// leaves it.
func TestH47_ALockAfterOursIsTheUsers(t *testing.T) {
	inBubble(t, `"no_config_changes":true`, func(l *lab) {
		l.locks = true
		l.converge()
		l.content = contentOf(`"no_config_changes":false`, 8)
		l.converge()
		l.vmOf(501).change("Security/Configuration is locked", "on")
		l.content.Released = true
		l.forget()
		l.converge()
		l.wantSets()
	})
}

// What nothing shows is never said to be set, and is not asked for again where
// the tool has no such flag.
func TestWhatNobodySeesIsNotSaid(t *testing.T) {
	inBubble(t, `"no_share_mac_folders":true`, func(l *lab) {
		l.answer = func(uid uint32, args []string) (bool, error) {
			if uid == 501 && strings.HasPrefix(args[0], "--shf-host-automount") {
				return false, &prlctl.Error{Code: prlctl.CodeUnrecognizedOption}
			}
			return true, nil
		}
		_, first := l.apply()
		l.vmOf(502).change("Host defined sharing", "User home directory")
		l.answer = nil
		_, second := l.apply() // the other user's version has the flag
		for _, one := range append(first, second...) {
			for _, event := range one.Events {
				if event.Data["target"] == "--shf-host-automount" {
					l.t.Errorf("event %+v", event)
				}
			}
		}
		l.vmOf(501).change("Host defined sharing", "User home directory")
		l.forget()
		l.converge()
		l.wantSets("501 set --shf-host-defined=off")
		l.wantVerdict("no_share_mac_folders", "in_place")
	})
}

// A locked machine that is another user's now is still locked by us.
func TestH47_ALockOfOursMovesWithItsMachine(t *testing.T) {
	inBubble(t, `"no_config_changes":true`, func(l *lab) {
		l.locks = true
		l.converge()
		l.mu.Lock()
		moved := l.vmOf(501)
		delete(l.vms, moved.key)
		moved.key.UID = bob.UID
		l.vms[moved.key] = moved
		l.mu.Unlock()
		l.plan()
		l.content.Released = true
		l.forget()
		l.converge()
		l.wantSets("502 set --lock-edit-settings=off", "502 set --lock-edit-settings=off")
		for key, memory := range l.enforcer.memory {
			l.t.Errorf("of %s is remembered %+v", key, memory)
		}
	})
}

// Nothing moves that is still there, that may be, or that is not locked.
func TestH47_OnlyALockMovesAndOnlyWithItsMachine(t *testing.T) {
	for name, c := range map[string]struct {
		document string
		happens  func(l *lab, old protocol.VMKey)
	}{
		"the machine is still there": {`"no_config_changes":true`, func(*lab, protocol.VMKey) {}},
		"it may be there":            {`"no_config_changes":true`, func(l *lab, old protocol.VMKey) { delete(l.vms, old); l.partial = true }},
		"it is not locked":           {clipboard, func(l *lab, old protocol.VMKey) { delete(l.vms, old) }},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, c.document, func(l *lab) {
				l.locks = true
				l.converge()
				l.mu.Lock()
				copied := l.vmOf(501).clone()
				old := copied.key
				copied.key.UID = bob.UID
				l.vms[copied.key] = copied
				c.happens(l, old)
				l.mu.Unlock()
				l.plan()
				for _, setting := range l.enforcer.memory[copied.key].Settings {
					for _, call := range setting.Calls {
						if call.Word != "" {
							l.t.Errorf("the copy has %+v", call)
						}
					}
				}
				if l.partial && !l.enforcer.memory[old].HoldsLock() {
					l.t.Error("the machine that was not seen is forgotten")
				}
			})
		})
	}
}

// Of a look that did not see every machine none is forgotten.
func TestWhatWasNotSeenIsNotForgotten(t *testing.T) {
	inBubble(t, clipboard, func(l *lab) {
		l.converge()
		l.gone, l.partial = true, true
		l.plan()
		if l.memoryOf(501).IsEmpty() {
			l.t.Error("forgotten")
		}
	})
}

// A record that is not what was kept: nothing is planned, nothing is set, and that
// is said.
func TestADamagedMemorySetsNothing(t *testing.T) {
	inBubble(t, clipboard, func(l *lab) {
		garbage := store.Collection[*[]string](records)
		if err := l.state.Update(func(tx *store.Tx) error { return garbage.Put(tx, "x", &[]string{"y"}) }); err != nil {
			l.t.Fatal(err)
		}
		l.enforcer.Recall()
		if planned, err := l.enforcer.Plan(l.situation()); err == nil {
			l.t.Errorf("planned %+v", planned.Steps)
		}
		if report := l.report(); report.State != protocol.PolicyFailed || report.Code == "" {
			l.t.Errorf("report %+v", report)
		}
		l.wantSets()
	})
}

// A machine that was replaced by another one under the same id, and a bundle that
// is a link or nothing at all: what is seen counts, and what cannot be seen is not
// said to be in place.
func TestWhatIsReplacedUnderTheSameID(t *testing.T) {
	inBubble(t, everything, func(l *lab) {
		l.locks = true
		l.converge()
		l.mu.Lock()
		key := l.vmOf(501).key
		l.vms[key] = l.vmOf(502).clone() // another machine of that id, as it was made
		l.vms[key].key = key
		l.vms[key].object["Home"] = alice.Home + "/" + key.ID + ".pvm/"
		l.vms[key].change(clipboardPath, "on")
		l.vms[key].change("Security/Configuration is locked", "off")
		l.vms[key].config.AutoUpdate = prlctl.SwitchOn
		l.mu.Unlock()
		l.plan()
		for _, setting := range []string{"clipboard", "no_config_changes", "no_tools_autoupdate"} {
			l.wantVerdict(setting, "pending not_set_yet")
		}
		l.converge()
		for name, verdict := range l.verdicts() {
			if verdict != "in_place" {
				l.t.Errorf("%s is %s", name, verdict)
			}
		}
		// Between the look and the set the bundle became a link.
		l.vmOf(501).config.AutoUpdate = prlctl.SwitchOn
		planned := l.plan()
		l.fileErr = safefile.ErrSymlink
		l.enforcer.Apply(l.ctx, planned)
		applied, _ := l.enforcer.Take(<-l.posted)
		for _, one := range applied.Events {
			if one.Data["setting"] == "no_tools_autoupdate" && one.Type != eventFailed {
				l.t.Errorf("event %+v", one)
			}
		}
		s := l.situation()
		for _, m := range s.Machines {
			m.Facts.Config = nil
		}
		if _, err := l.enforcer.Plan(s); err != nil {
			l.t.Fatal(err)
		}
		l.wantVerdict("no_tools_autoupdate", "unknown not_observable")
	})
}

// What isolating changed, and could not be put back, waits behind a lock that
// cannot be lifted: that is not tried more often for it.
func TestH45_WhatIsolatingChangedBehindAStuckLock(t *testing.T) {
	inBubble(t, everything, func(l *lab) {
		l.locks = true
		refuse := func(flag string) {
			l.answer = func(_ uint32, args []string) (bool, error) {
				return !strings.HasPrefix(args[0], flag), &prlctl.Error{Code: prlctl.CodeAdminPassword}
			}
		}
		l.vmOf(501).change("USB and Bluetooth/Automatic sharing gamepads", "off")
		refuse("--auto-share-gamepad")
		l.converge()
		refuse("--lock-edit-settings=off")
		time.Sleep(2 * time.Hour)
		l.forget()
		l.passesOfAnHour()
		l.wantRare(3)
		if got := l.vmOf(501).show("Security/Configuration is locked"); got != "on" || len(l.sets()) == 0 {
			l.t.Errorf("locked: %s; sets %v", got, l.sets())
		}
		l.answer = nil
		time.Sleep(time.Hour)
		l.converge()
		if got := l.vmOf(501).show("USB and Bluetooth/Automatic sharing gamepads"); got != "off" {
			l.t.Errorf("gamepads are %s in the end", got)
		}
	})
}

// Where the version has no flag to put back what isolating changed, that is asked
// for once.
func TestVMF_WhatCannotBePutBackIsAskedForOnce(t *testing.T) {
	inBubble(t, `"isolate_vm":true`, func(l *lab) {
		l.vmOf(501).change("USB and Bluetooth/Automatic sharing gamepads", "off")
		l.answer = func(_ uint32, args []string) (bool, error) {
			return !strings.HasPrefix(args[0], "--auto-share-gamepad"), &prlctl.Error{Code: prlctl.CodeUnrecognizedOption}
		}
		l.passesOfAnHour()
		l.wantRare(1)
	})
}

// Behind a lock of ours that is to be lifted for good, and is not, nothing else is
// tried: it could not succeed.
func TestH45_NothingIsTriedBehindALockThatStays(t *testing.T) {
	inBubble(t, `"no_config_changes":true`, func(l *lab) {
		l.locks = true
		l.converge()
		l.content = contentOf(`"no_config_changes":false,"clipboard":"disconnect"`, 8)
		l.answer = func(_ uint32, args []string) (bool, error) {
			return !strings.HasPrefix(args[0], "--lock"), &prlctl.Error{Code: prlctl.CodeAdminPassword}
		}
		l.forget()
		for range 5 {
			l.apply()
		}
		for _, set := range l.sets() {
			if !strings.Contains(set, "--lock") {
				l.t.Errorf("set behind the lock: %s", set)
			}
		}
		l.plan()
		l.wantVerdict("clipboard", "failed admin_password_required")
	})
}

// A daemon that is told to stop in the middle of a set knows nothing of how it
// ended, and remembers no failure.
func TestPOL_19_AStopIsNoFailure(t *testing.T) {
	inBubble(t, clipboard, func(l *lab) {
		ctx, stop := context.WithCancel(l.ctx)
		l.answer = func(uint32, []string) (bool, error) {
			stop()
			return false, &prlctl.Error{Code: prlctl.CodeToolFailed}
		}
		l.enforcer.Apply(ctx, l.plan())
		for range 2 {
			l.enforcer.Take(<-l.posted)
		}
		setting := l.memoryOf(501).Setting("clipboard")
		if call := setting.Call("--shared-clipboard"); call.Failures > 0 {
			l.t.Errorf("remembered %+v", call)
		}
		l.answer = nil
		l.converge()
		l.wantVerdict("clipboard", "in_place")
	})
}

// A refusal is of this version of the product on this version of macOS: after an
// update of either it is asked for again.
func TestVMF_AnUpdateOfMacOSIsAnotherVersion(t *testing.T) {
	inBubble(t, clipboard, func(l *lab) {
		l.answer = func(uint32, []string) (bool, error) { return false, &prlctl.Error{Code: prlctl.CodeGuestOS} }
		l.system = "26.1 (25B78)"
		l.converge()
		l.wantVerdict("clipboard", "not_applicable guest_os")
		l.answer = nil
		l.converge()
		l.wantVerdict("clipboard", "not_applicable guest_os")
		l.system = "26.2 (25C56)"
		l.converge()
		l.wantVerdict("clipboard", "in_place")
	})
}
