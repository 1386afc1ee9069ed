package enforce

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"prlagent/agent/policy"
	"prlagent/agent/protocol"
	"prlagent/prlctl"
)

const clipboard = `"clipboard":"disconnect"`

const clipboardPath = "Miscellaneous Sharing/Shared clipboard mode"

// inBubble runs a test on a Mac under fake time.
func inBubble(t *testing.T, document string, test func(*lab)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(newLab(t, document)) })
}

func TestVMS_25_EachMachineIsSetAsItsOwner(t *testing.T) {
	inBubble(t, clipboard+`,"no_smart_cards":true`, func(l *lab) {
		_, applied := l.apply()
		got := l.sets()
		slices.Sort(got)
		want := []string{"501 set --shared-clipboard=off", "502 set --shared-clipboard=off"} // smart cards are off
		if !slices.Equal(got, want) {
			l.t.Errorf("sets %v, want %v", got, want)
		}
		if len(applied) != 2 || applied[0].Proven != 1 || applied[0].Wrote[0].Before == applied[0].Wrote[0].After {
			l.t.Errorf("outcome %+v", applied)
		}
		if got := eventTypes(applied); !slices.Equal(got, []string{eventSet}) {
			l.t.Errorf("events %v", got)
		}
		l.plan()
		if report := l.report(); report.State != protocol.PolicyConverged || report.Counts[protocol.StrengthReverted] != 4 || len(l.told()) != 0 {
			l.t.Errorf("report %+v", report)
		}
	})
}

// A Mac on which all is as it is wanted costs no set, no tool and no write.
func TestPOL_02_ACompliantMacCostsNothing(t *testing.T) {
	inBubble(t, everything, func(l *lab) {
		l.converge()
		l.forget()
		commits, changed := l.state.Commits(), false
		for range 5 {
			time.Sleep(time.Hour)
			planned, _ := l.apply()
			changed = changed || planned.ReportChanged
		}
		if len(l.calls) > 0 || changed || l.state.Commits() != commits {
			l.t.Errorf("calls %v, the report changed: %t, commits %d", l.calls, changed, l.state.Commits()-commits)
		}
	})
}

// An apply of thirteen settings on four machines makes only the calls that
// differ.
func TestPOL_02_OnlyWhatDiffersIsSet(t *testing.T) {
	inBubble(t, everything, func(l *lab) {
		l.add(alice)
		l.add(bob)
		l.converge()
		for _, key := range inOrder(maps.Keys(l.vms))[:2] {
			l.vms[key].change(clipboardPath, "on")
		}
		l.vmOf(502).change("Advanced/Show developer tools", "off")
		l.forget()
		l.converge()
		if got := l.sets(); len(got) != 3 {
			l.t.Errorf("%d sets for three differences: %v", len(got), got)
		}
	})
}

func TestH40_MonitorTouchesNothing(t *testing.T) {
	inBubble(t, everything, func(l *lab) {
		l.monitor = true
		for range 3 {
			planned, _ := l.apply()
			if len(planned.WouldDo) == 0 || len(planned.Steps) > 0 {
				l.t.Fatalf("%d steps, %d would be done", len(planned.Steps), len(planned.WouldDo))
			}
		}
		if len(l.calls) > 0 {
			l.t.Errorf("calls %v", l.calls)
		}
		report := l.report()
		if report.State != protocol.PolicyFetched || report.Counts[protocol.StrengthMonitored] == 0 || report.Counts[protocol.StrengthReverted] > 0 {
			l.t.Errorf("report %+v", report)
		}
		l.wantVerdict("clipboard", "pending monitor_mode")
		l.monitor = false
		l.converge()
		l.wantVerdict("clipboard", "in_place")
	})
}

// The intent is on the disk before the effect, with what was there before.
func TestIntentIsKeptBeforeTheEffect(t *testing.T) {
	inBubble(t, clipboard, func(l *lab) {
		begun := 0
		l.before = func(call string) {
			if !strings.HasPrefix(call, "501 set") {
				return
			}
			begun++
			setting := l.memoryOf(501).Setting("clipboard")
			if kept := setting.Call("--shared-clipboard"); kept.Word != "off" || kept.Prior != "on" || kept.WrittenAt.IsZero() {
				l.t.Errorf("kept before the call: %+v", kept)
			}
		}
		l.apply()
		if begun != 1 {
			l.t.Errorf("%d sets", begun)
		}
	})
}

// What cannot be kept is not done.
func TestNothingIsSetWithoutAnIntent(t *testing.T) {
	inBubble(t, clipboard, func(l *lab) {
		planned := l.plan()
		if err := l.state.Close(); err != nil {
			l.t.Fatal(err)
		}
		l.enforcer.Apply(l.ctx, planned)
		<-l.posted
		<-l.posted
		l.wantSets()
	})
}

// Exit codes lie both ways: what a look shows counts.
func TestExitCodesAreHints(t *testing.T) {
	inBubble(t, clipboard, func(l *lab) {
		l.answer = func(uid uint32, _ []string) (bool, error) {
			if uid == 501 {
				return true, &prlctl.Error{Code: prlctl.CodeToolFailed, ExitCode: 255} // and done
			}
			return false, nil // and not done
		}
		_, applied := l.apply()
		l.converge()
		l.wantVerdict("clipboard", "in_place")
		if got := l.verdicts()["502 clipboard"]; got != "failed not_verified" {
			l.t.Errorf("bob's is %q", got)
		}
		if got := eventTypes(applied); !slices.Equal(got, []string{eventFailed, eventSet}) {
			l.t.Errorf("events %v", got)
		}
		if state := l.report().State; state != protocol.PolicyPartial {
			l.t.Errorf("state %s", state)
		}
	})
}

// A failed set is repeated once, then at most once an hour, and told once.
func TestFailuresSlowDown(t *testing.T) {
	inBubble(t, clipboard, func(l *lab) {
		l.answer = func(uint32, []string) (bool, error) { return false, &prlctl.Error{Code: prlctl.CodeAdminPassword} }
		told := 0
		for range 100 { // looks, five hours
			_, applied := l.apply()
			for _, one := range applied {
				told += len(one.Events)
			}
			time.Sleep(3 * time.Minute)
		}
		if got := len(l.sets()); got > 2*(2+5) {
			l.t.Errorf("%d sets in five hours", got)
		}
		if told != 2 {
			l.t.Errorf("told %d times for two machines", told)
		}
		l.wantVerdict("clipboard", "failed admin_password_required")
		l.forget()
		l.retryNow = true
		if l.apply(); len(l.sets()) != 2 {
			l.t.Errorf("somebody asked, and this was tried: %v", l.sets())
		}
	})
}

// What passes by itself is a deferral with its age, and is tried again soon.
func TestBusyIsADeferral(t *testing.T) {
	for code, want := range map[string]string{
		prlctl.CodeVMBusy: "deferred vm_busy", prlctl.CodeServiceDown: "deferred service_down", string(protocol.CodeUserSession): "deferred user_session",
	} {
		t.Run(code, func(t *testing.T) {
			inBubble(t, clipboard, func(l *lab) {
				busy := true
				l.answer = func(uint32, []string) (bool, error) {
					if busy {
						return false, &prlctl.Error{Code: code}
					}
					return true, nil
				}
				l.converge()
				l.wantVerdict("clipboard", want)
				since := l.enforcer.View().Settings[0].Verdict.Wait.Since
				if state := l.report().State; state != protocol.PolicyConverging || since.IsZero() {
					l.t.Errorf("state %s, since %s", state, since)
				}
				tried := len(l.sets())
				busy = false
				time.Sleep(6 * time.Minute)
				l.converge()
				l.wantVerdict("clipboard", "in_place")
				if tried > 4 {
					l.t.Errorf("%d sets while it was busy", tried)
				}
			})
		})
	}
}

// H41: contended never means free. Somebody puts the value back at once: three
// times in an hour it is set at once, then once an hour and at each start of the
// machine, with one event.
func TestH41_ContendedIsSetOnceAnHour(t *testing.T) {
	inBubble(t, clipboard, func(l *lab) {
		l.converge()
		l.forget()
		contended, changed := 0, 0
		look := func() {
			l.vmOf(501).change(clipboardPath, "on")
			planned, _ := l.apply()
			for _, event := range planned.Events {
				switch event.Type {
				case eventContended:
					contended++
				case eventChanged:
					changed++
				}
			}
		}
		for range 60 { // ten hours
			look()
			time.Sleep(10 * time.Minute)
		}
		if got := len(l.sets()); got < 10 || got > 14 {
			l.t.Errorf("%d sets in ten hours: %v", got, l.sets())
		}
		l.wantVerdict("clipboard", "contended contended")
		if contended != 1 || changed == 0 {
			l.t.Errorf("told %d times that it is contended, and %d times that it changed", contended, changed)
		}
		l.forget()
		look()
		before := len(l.sets())
		l.started = time.Now()
		time.Sleep(time.Second)
		if look(); len(l.sets()) != before+1 {
			l.t.Errorf("after a start of the machine: %v", l.sets())
		}
	})
}

// What a user changes is put back, and told once each.
func TestPOL_WhatAUserChangesIsPutBack(t *testing.T) {
	inBubble(t, clipboard, func(l *lab) {
		l.converge()
		report := l.report()
		l.vmOf(501).change(clipboardPath, "on")
		planned, applied := l.apply()
		if planned.ReportChanged {
			l.t.Errorf("what is put back at once is reported: %+v", l.report())
		}
		if len(planned.Events) != 1 || planned.Events[0].Type != eventChanged || planned.Events[0].Data["user_name"] != "alice" ||
			planned.Events[0].Data["gaps"] != "--shared-clipboard is on, wanted off" {
			l.t.Errorf("events of the plan: %+v", planned.Events)
		}
		if got := eventTypes(applied); !slices.Equal(got, []string{eventRestored}) {
			l.t.Errorf("events %v", got)
		}
		l.converge()
		if now := l.report(); now.State != report.State || len(l.told()) != 0 {
			l.t.Errorf("report %+v", now)
		}
	})
}

// config.pvs is written later than the call ends: ten seconds are waited for, and
// not more.
func TestVMS_43_TheFileIsWaitedFor(t *testing.T) {
	for wait, proven := range map[time.Duration]bool{8 * time.Second: true, 14 * time.Second: false} {
		t.Run(wait.String(), func(t *testing.T) {
			inBubble(t, `"no_tools_autoupdate":true`, func(l *lab) {
				l.fileWait = wait
				began := time.Now()
				_, applied := l.apply()
				if took := time.Since(began); took > 11*time.Second {
					l.t.Errorf("it took %s", took)
				}
				if got := applied[0].Proven == 1; got != proven {
					l.t.Errorf("proven: %t", got)
				}
				time.Sleep(10 * time.Second)
				l.plan()
				l.wantVerdict("no_tools_autoupdate", "in_place")
				l.forget()
				if l.converge(); len(l.sets()) > 0 {
					l.t.Errorf("set again: %v", l.sets())
				}
			})
		})
	}
}

// A flag that this version does not have is asked for once on each machine, and
// again after an update.
func TestVMF_RefusalIsRememberedByVersion(t *testing.T) {
	inBubble(t, clipboard, func(l *lab) {
		l.answer = func(uint32, []string) (bool, error) { return false, &prlctl.Error{Code: prlctl.CodeUnrecognizedOption} }
		for range 5 {
			l.apply()
			time.Sleep(2 * time.Hour)
		}
		if got := l.sets(); len(got) != 2 {
			l.t.Errorf("sets %v", got)
		}
		l.wantVerdict("clipboard", "not_applicable unrecognized_option")
		if len(l.refused) != 2 || l.refused[0] != "--shared-clipboard" {
			l.t.Errorf("kept for the version: %v", l.refused)
		}
		l.answer, l.version = nil, prlctl.Version{Major: 27}
		l.converge()
		l.wantVerdict("clipboard", "in_place")
	})
}

// What the help shows and one machine refuses may be that machine's guest: it is
// no fact about the version, which would take the flag from everybody's.
func TestARefusalOfWhatTheHelpShowsIsTheMachines(t *testing.T) {
	inBubble(t, clipboard, func(l *lab) {
		l.flags = prlctl.Capabilities{Version: l.version, Set: map[string]prlctl.Ability{"--shared-clipboard": {Support: prlctl.Supported}}}
		l.answer = func(uid uint32, _ []string) (bool, error) {
			if uid == 501 {
				return false, &prlctl.Error{Code: prlctl.CodeUnrecognizedOption}
			}
			return true, nil
		}
		l.converge()
		l.wantVerdict("clipboard", "not_applicable unrecognized_option")
		if got := l.verdicts()["502 clipboard"]; got != "in_place" || len(l.refused) > 0 {
			l.t.Errorf("bob's is %q, kept for the version: %v", got, l.refused)
		}
	})
}

// H12: a user whose tools hang delays nobody else, and nothing more is begun for
// them meanwhile.
func TestH12_AUserWhoHangsDelaysNobody(t *testing.T) {
	inBubble(t, clipboard, func(l *lab) {
		hold := make(chan struct{})
		l.hangs = map[uint32]chan struct{}{501: hold}
		l.enforcer.Apply(l.ctx, l.plan())
		if uid := <-l.posted; uid != 502 {
			l.t.Fatalf("%d ended first", uid)
		}
		if applied, ended := l.enforcer.Take(502); !ended || applied.Proven != 1 {
			l.t.Errorf("bob's: %+v, %t", applied, ended)
		}
		for range 3 { // looks go on
			planned := l.plan()
			l.enforcer.Apply(l.ctx, planned)
			if len(planned.Steps) > 0 {
				l.t.Errorf("planned for alice, whose machines are being set: %v", planned.Steps)
			}
		}
		if got := l.verdicts()["502 clipboard"]; got != "in_place" {
			l.t.Errorf("bob's is %q", got)
		}
		l.hangs = nil
		close(hold)
		<-l.posted
		l.enforcer.Take(501)
		l.converge()
		l.wantVerdict("clipboard", "in_place")
	})
}

// A look that began before the last step of an account ended may have seen the
// one and not the other: it is no drift.
func TestALookBesideAnApplyIsNoDrift(t *testing.T) {
	inBubble(t, clipboard, func(l *lab) {
		old := l.situation() // nothing is set yet
		l.apply()
		planned, err := l.enforcer.Plan(old)
		if err != nil || len(planned.Steps) > 0 {
			l.t.Errorf("planned with an old look: %v, %v", planned, err)
		}
		l.plan()
		if memory := l.memoryOf(501).Setting("clipboard"); memory.Drifts() > 0 {
			l.t.Errorf("%d drifts", memory.Drifts())
		}
	})
}

// A signed null ends management: values stay. 404, garbage, an expired head and
// the like leave the last good state.
func TestPOL_18_OnlyASignedNullReleases(t *testing.T) {
	inBubble(t, clipboard, func(l *lab) {
		l.converge()
		good := l.content
		for name, content := range map[string]policy.Content{
			"404":      {Verified: true, HeadVersion: 7, Document: good.Document, Pointer: good.Pointer, Code: protocol.CodeHeadMissing},
			"expired":  {Verified: true, HeadVersion: 7, Document: good.Document, Pointer: good.Pointer, Expired: true},
			"rollback": {Verified: true, HeadVersion: 7, Document: good.Document, Pointer: good.Pointer, Code: protocol.CodeRollbackDetected},
		} {
			l.content = content
			time.Sleep(2 * time.Hour) // it is not contended
			l.vmOf(501).change(clipboardPath, "on")
			l.converge()
			if got := l.vmOf(501).show(clipboardPath); got != "off" {
				l.t.Errorf("%s: the clipboard is %s", name, got)
			}
		}
		l.content = policy.Content{Code: protocol.CodeStoreDamaged, Unreadable: true}
		l.forget()
		if l.converge(); l.memoryOf(501).IsEmpty() {
			l.t.Error("an unreadable store has released the machines")
		}
		l.content = good
		l.content.Released = true
		l.vmOf(501).change(clipboardPath, "on")
		if l.converge(); len(l.sets()) > 0 || !l.memoryOf(501).IsEmpty() {
			l.t.Errorf("after the release: %v, %v", l.sets(), l.memoryOf(501))
		}
		if report := l.report(); report.State != protocol.PolicyNone || len(l.told()) > 0 {
			l.t.Errorf("report %+v", report)
		}
	})
}

// H67: without AllowUnprovenLocks no lock is placed; a lock of ours that cannot be
// lifted is told with the command for a person, once, and stays ours.
func TestH67_ALockThatCannotBeLifted(t *testing.T) {
	inBubble(t, `"no_config_changes":true`, func(l *lab) {
		l.converge()
		l.wantSets()
		l.wantVerdict("no_config_changes", "unsupported release_unproven")
		l.locks = true
		l.converge()
		l.wantVerdict("no_config_changes", "in_place")
		l.answer = func(uint32, []string) (bool, error) { return false, &prlctl.Error{Code: prlctl.CodeAdminPassword} }
		l.content.Released = true
		var events []protocol.Event
		for range 5 {
			_, applied := l.apply()
			for _, one := range applied {
				events = append(events, one.Events...)
			}
		}
		want := fmt.Sprintf("sudo -H -u '#501' prlctl set %s --lock-edit-settings=off", l.vmOf(501).key.ID)
		at := slices.IndexFunc(events, func(e protocol.Event) bool { return e.Data["uid"] == "501" })
		if len(events) != 2 || at < 0 || events[at].Type != eventFailed || events[at].Code != protocol.CodeAdminPassword || events[at].Data["command"] != want {
			l.t.Errorf("events %+v", events)
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

// A machine that is gone is forgotten, but for a lock of ours on it.
func TestWhatIsRememberedOfMachinesThatAreGone(t *testing.T) {
	for document, kept := range map[string]bool{clipboard: false, `"no_config_changes":true`: true} {
		t.Run(document, func(t *testing.T) {
			inBubble(t, document, func(l *lab) {
				l.locks = true
				l.converge()
				l.gone = true
				l.plan()
				if got := !l.memoryOf(501).IsEmpty(); got != kept {
					l.t.Errorf("remembered: %t", got)
				}
				if len(l.verdicts()) > 0 {
					l.t.Errorf("verdicts %v", l.verdicts())
				}
			})
		})
	}
}

// What is reported outlives a restart: the portal is told nothing until the first
// plan has found something else.
func TestTheReportOutlivesARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, clipboard)
		l.vmOf(501).state = prlctl.StateSuspended
		l.converge()
		before, told := l.report(), l.told()
		if before.State != protocol.PolicyConverging || len(told) != 1 || told[0].Code != protocol.CodeVMSuspended {
			t.Fatalf("report %+v", before)
		}
		next := labOn(t, l.fakeMac, copyState(t, l.folder), clipboard)
		time.Sleep(time.Hour)
		if after := next.report(); fmt.Sprint(next.told(), after.State, after.Counts) != fmt.Sprint(told, before.State, before.Counts) {
			t.Errorf("after a restart %+v, before %+v", after, before)
		}
		if planned := next.plan(); planned.ReportChanged {
			t.Errorf("the first plan reports something else: %+v", next.report())
		}
		next.vmOf(501).state = prlctl.StateRunning
		next.converge()
		next.wantVerdict("clipboard", "in_place")
	})
}

// What needs the machine shut down waits, and its user is told at most weekly,
// with the deadline.
func TestVMS_TheUserIsRemindedOnceAWeek(t *testing.T) {
	inBubble(t, `"asset_tag":"F-1"},"max_wait_h":720,"golden_image":{`, func(l *lab) {
		for _, vm := range l.vms {
			vm.state = prlctl.StateRunning
		}
		var told []protocol.Event
		for range 14 * 24 { // looks, two weeks and some hours
			planned, _ := l.apply()
			told = append(told, planned.Events...)
			time.Sleep(time.Hour)
		}
		if len(told) != 4 || told[0].Type != eventReminder || told[0].Data["deadline"] == "" || told[2].At.Sub(told[0].At) < 7*24*time.Hour {
			l.t.Errorf("told %+v", told)
		}
		l.wantSets()
		l.wantVerdict("asset_tag", "deferred vm_running")
		for _, vm := range l.vms {
			vm.state = prlctl.StateStopped // once
		}
		l.converge()
		l.wantVerdict("asset_tag", "in_place")
	})
}

// A new machine is set before its first start where it is shut down.
func TestVMS_ANewMachineIsSetBeforeItsFirstStart(t *testing.T) {
	inBubble(t, `"asset_tag":"F-1","no_share_mac_folders":true`, func(l *lab) {
		l.converge()
		fresh := l.add(alice)
		l.forget()
		l.converge()
		if fresh.config.AssetID != "F-1" || len(l.sets()) == 0 {
			l.t.Errorf("asset tag %q, sets %v", fresh.config.AssetID, l.sets())
		}
	})
}
