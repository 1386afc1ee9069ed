package enforce

import (
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

// needsRest is a policy with a row that is live, one that interrupts who works in
// the machine, and one that needs it shut down.
const needsRest = `"network":"host_only","clipboard":"disconnect","max_cpus":1`

const (
	networkSet   = "501 set --device-set net0 --type host-only --connect"
	clipboardSet = "501 set --shared-clipboard=off"
	cpusSet      = "501 set --cpus=1"
)

// onlyAlice leaves one machine on the Mac, which is shut down.
func onlyAlice(l *lab) *fakeVM {
	delete(l.vms, l.vmOf(502).key)
	return l.vmOf(501)
}

// carryOut carries a plan out, and gives what became of it.
func (l *lab) carryOut(planned *Planned) *Applied {
	l.t.Helper()
	l.enforcer.Apply(l.ctx, planned)
	outcome, _ := l.enforcer.Take(<-l.posted)
	return outcome
}

// gets is how often the tool was asked for a machine.
func (l *lab) gets() (gets int) {
	for _, call := range l.calls {
		if strings.HasSuffix(call, " get") {
			gets++
		}
	}
	return gets
}

// A machine that was shut down when its steps were planned, and is not any more
// when they are carried out: what needs it so is deferred, and nothing of it is
// written or remembered as written. The next plan says the same.
func TestVMS41_AMachineThatIsStartedAfterThePlan(t *testing.T) {
	for _, test := range []struct {
		state           prlctl.State
		sets            []string
		network, maxCPU string
	}{
		{prlctl.StateStopped, []string{networkSet, clipboardSet, cpusSet}, "in_place", "in_place"},
		{prlctl.StateRunning, []string{clipboardSet}, "deferred vm_in_use", "deferred vm_running"},
		{prlctl.StateSuspended, []string{clipboardSet}, "deferred vm_suspended", "deferred vm_suspended"},
		{"starting", []string{clipboardSet}, "deferred vm_busy", "deferred vm_busy"},
	} {
		t.Run(string(test.state), func(t *testing.T) {
			inBubble(t, needsRest, func(l *lab) {
				vm := onlyAlice(l)
				planned := l.plan()
				vm.state = test.state
				outcome := l.carryOut(planned)
				slices.Sort(test.sets)
				got := l.sets()
				slices.Sort(got)
				if !slices.Equal(got, test.sets) || outcome.Begun != len(test.sets) || outcome.Proven != len(test.sets) {
					l.t.Errorf("sets %v of which %+v, want %v", got, outcome, test.sets)
				}
				if test.state == prlctl.StateStopped {
					l.plan()
				} else if slices.ContainsFunc(l.memoryOf(501).Setting("network").Calls, func(c policy.CallMemory) bool { return c.Word != "" }) {
					l.t.Error("it is remembered that it was written")
				}
				for range 2 { // at once, and by the next plan
					l.wantVerdict("network", test.network)
					l.wantVerdict("max_cpus", test.maxCPU)
					l.plan()
				}
				vm.state = prlctl.StateStopped
				l.converge()
				l.wantVerdict("network", "in_place")
				l.wantVerdict("max_cpus", "in_place")
			})
		})
	}
}

// A start between two steps keeps the later one from being carried out; and what
// is looked at just now, behind the step before, is not looked at again.
func TestVMS41_ASecondLookIsMadeWhereItIsNeeded(t *testing.T) {
	looks := func(document string, state prlctl.State) (gets, sets int) {
		inBubble(t, document, func(l *lab) {
			onlyAlice(l).state = state
			l.apply()
			gets, sets = l.gets(), len(l.sets())
		})
		return gets, sets
	}
	for name, test := range map[string]struct {
		document string
		state    prlctl.State
		gets     int
		sets     int
	}{
		"live rows":                     {`"clipboard":"disconnect","show_developer_tools":false`, prlctl.StateStopped, 2, 2},
		"one that needs it shut down":   {`"max_cpus":1`, prlctl.StateStopped, 2, 1},
		"two share what was seen":       {`"max_cpus":1,"network":"host_only"`, prlctl.StateStopped, 3, 2},
		"nothing that can be set":       {`"max_cpus":1,"network":"host_only"`, prlctl.StateRunning, 0, 0},
		"live rows of one that runs":    {`"clipboard":"disconnect","max_cpus":1`, prlctl.StateRunning, 1, 1},
		"behind a live row, seen by it": {`"clipboard":"disconnect","max_cpus":1`, prlctl.StateStopped, 2, 2},
	} {
		if gets, sets := looks(test.document, test.state); gets != test.gets || sets != test.sets {
			t.Errorf("%s: %d looks and %d sets, want %d and %d", name, gets, sets, test.gets, test.sets)
		}
	}
	inBubble(t, needsRest, func(l *lab) {
		vm, begun := onlyAlice(l), 0
		l.before = func(call string) {
			if begun++; strings.Contains(call, " set ") {
				vm.state = prlctl.StateRunning // its owner starts it with the first set
			}
		}
		_, _ = l.apply()
		if got := l.sets(); slices.Contains(got[1:], cpusSet) || slices.Contains(got[1:], networkSet) || len(got) > 2 {
			l.t.Errorf("sets %v", got)
		}
	})
}

// A disruptive value that has waited may be set at the first resume: that the
// machine was at rest is enough. What is deferred because it is busy then has
// waited since the beginning.
func TestVMS41_WhatHasWaitedStaysSo(t *testing.T) {
	inBubble(t, `"network":"host_only","max_cpus":1`, func(l *lab) {
		vm := onlyAlice(l)
		vm.state = prlctl.StateRunning
		l.plan()
		began := l.enforcer.now()
		time.Sleep(100 * time.Hour)
		vm.state = prlctl.StateStopped
		planned := l.plan()
		vm.state = prlctl.StateRunning
		l.carryOut(planned)
		l.wantSets(networkSet)
		l.wantVerdict("max_cpus", "deferred vm_running")
		for range 2 {
			if waiting := l.on("max_cpus").Wait.Since; !waiting.Equal(began) {
				l.t.Errorf("it waits since %s, and began at %s", waiting, began)
			}
			l.plan()
		}
	})
}

// Nothing is set on a machine whose plan is older than what a later look saw of
// it, or than another wish: without one more run of a tool.
func TestH46_APlanThatIsOlderThanALaterLook(t *testing.T) {
	for name, test := range map[string]struct {
		later   func(*lab, *fakeVM)
		verdict string
	}{
		"is suspended":        {func(_ *lab, vm *fakeVM) { vm.state = prlctl.StateSuspended }, "deferred vm_suspended"},
		"is busy":             {func(_ *lab, vm *fakeVM) { vm.state = "snapshotting" }, "deferred vm_busy"},
		"is gone":             {func(l *lab, _ *fakeVM) { l.gone, l.partial = true, true }, ""},
		"cannot be looked at": {func(l *lab, _ *fakeVM) { l.look = isStale }, "deferred service_down"},
		"only monitor":        {func(l *lab, _ *fakeVM) { l.monitor = true }, ""},
		"another policy":      {func(l *lab, _ *fakeVM) { l.content = contentOf(`"clipboard":"bidirectional"`, 8) }, ""},
		"released":            {func(l *lab, _ *fakeVM) { l.content.Released = true }, ""},
		"adopted, not planned": {func(l *lab, _ *fakeVM) {
			l.content = contentOf(`"clipboard":"bidirectional"`, 8)
			l.enforcer.Adopt(&l.content)
			l.look = func(*Situation) { l.t.Fatal("planned") }
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, `"clipboard":"disconnect","show_developer_tools":false`, func(l *lab) {
				vm, isNoted := onlyAlice(l), false
				planned := l.plan()
				l.after = func(call string) {
					if !isNoted && strings.Contains(call, " set ") {
						isNoted = true
						test.later(l, vm)
						if l.look == nil || test.verdict != "" {
							l.plan()
						}
					}
				}
				l.carryOut(planned)
				if got := len(l.sets()); got != 1 || l.gets() != 1 {
					l.t.Errorf("calls %v", l.calls)
				}
				if test.verdict != "" {
					second := planned.Steps[1].Setting
					l.wantVerdict(second, test.verdict)
				}
			})
		})
	}
}

// The same of the host's switches.
func TestH46_AHostPlanThatIsOlderThanAnotherWish(t *testing.T) {
	for name, later := range map[string]func(*lab){
		"only monitor":   func(l *lab) { l.monitor = true },
		"another policy": func(l *lab) { l.content = controlsContent(`"no_removal":true`, 8) },
		"released":       func(l *lab) { l.content.Released = true },
		"by a person": func(l *lab) {
			if _, err := l.enforcer.ReleaseLocks(l.ctx, l.situation(), "carol", make(chan []*Handed, 1)); err != nil {
				l.t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, isNoted := newControlsLab(t, `"provisioned_only":true`), false
				planned := l.plan()
				l.after = func(call string) {
					if !isNoted && strings.HasPrefix(call, "host set") {
						isNoted = true
						later(l)
						l.plan()
					}
				}
				if outcome := l.carryOut(planned); outcome.Begun != 1 {
					t.Errorf("outcome %+v, calls %v", outcome, l.calls)
				}
				if asked := l.sets(); asked[0] != "host set --require-pwd create-vm:on" || slices.Contains(asked, "host set --require-pwd add-vm:on") {
					t.Errorf("calls %v", l.calls)
				}
			})
		})
	}
}

// A plan that was made while the host's switches are set shows what is being done, and
// does none of it a second time.
func TestH46_APlanFromDuringAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newControlsLab(t, `"no_removal":true`)
		var during *Planned
		l.before = func(call string) {
			if strings.HasPrefix(call, "host set") && during == nil {
				during = l.plan()
				if shown := l.enforcer.View().Host; len(during.HostSteps) != 0 || len(shown) != 1 {
					t.Errorf("steps %v, shown %v", during.HostSteps, shown)
				}
			}
		}
		l.carryOut(l.plan())
		if shown := l.enforcer.View().Host; len(shown) != 1 {
			t.Errorf("shown %v before another plan", shown)
		}
		l.settle()
		l.wantSets("host set --require-pwd remove-vm:on")
		if shown := l.enforcer.View().Host; len(shown) != 0 {
			t.Errorf("shown %v", shown)
		}
	})
}

// H47: a policy that ends while the tool is just placing its switch leaves nothing behind:
// what was placed is lifted by the plans that follow.
func TestH47_AWishThatEndsWhileASwitchIsPlaced(t *testing.T) {
	for name, c := range map[string]struct {
		later policy.Content
		asked string
	}{
		"another policy": {controlsContent(`"no_removal":true`, 8), "remove-vm"},
		"no control":     {contentOf("", 8), ""},
		"released":       {policy.Content{Verified: true, HeadVersion: 8, Released: true}, ""},
	} {
		for _, moment := range []string{"before", "behind"} {
			t.Run(name+" "+moment, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					l, isNoted := newControlsLab(t, `"provisioned_only":true`), false
					planned := l.plan()
					hook := func(call string) {
						if !isNoted && strings.HasPrefix(call, "host set") {
							isNoted, l.content = true, c.later
							l.plan()
						}
					}
					if moment == "before" {
						l.before = hook
					} else {
						l.after = hook
					}
					l.carryOut(planned)
					l.settle()
					l.settle()
					l.wantAsked(c.asked)
				})
			})
		}
	}
}

// H41: what a plan was to try again because somebody asked is tried again by the next one
// where that plan is void, or could not be begun.
func TestH41_ARetryOutlivesItsPlan(t *testing.T) {
	for name, meanwhile := range map[string]func(l *lab, carryOut func()){
		"something was set by hand since": func(l *lab, carryOut func()) {
			l.setByHand("pause_idle", "true")
			carryOut()
			if outcome, _ := l.enforcer.Take(<-l.posted); outcome.Begun != 0 {
				l.t.Errorf("outcome %+v", outcome)
			}
		},
		"something is being done": func(l *lab, carryOut func()) {
			hold := make(chan struct{})
			l.enforcer.tasks.Start(501, func() *Applied {
				<-hold
				return &Applied{UID: 501}
			})
			carryOut()
			close(hold)
			l.enforcer.Take(<-l.posted)
		},
		"another policy comes while it is carried out": func(l *lab, carryOut func()) {
			isNoted := false
			l.before = func(call string) {
				if !isNoted && strings.Contains(call, " set ") {
					isNoted, l.retryNow = true, false
					l.content = contentOf(`"show_developer_tools":false`, 8)
					l.plan()
				}
			}
			carryOut()
			l.enforcer.Take(<-l.posted)
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, `"clipboard":"disconnect","show_developer_tools":false`, func(l *lab) {
				vm := onlyAlice(l)
				isBroken, isTried := true, false
				l.answer = func(_ uint32, args []string) (bool, error) {
					isFlag := strings.HasPrefix(args[0], "--show-dev-tools")
					isTried = isTried || isFlag && !isBroken
					return !isBroken || !isFlag, nil
				}
				for range 10 { // until it is tried once an hour
					l.apply()
				}
				vm.change("Miscellaneous Sharing/Shared clipboard mode", "on")
				isBroken, l.retryNow = false, true
				planned := l.plan()
				if l.retryNow = false; len(planned.Steps) != 2 {
					l.t.Fatalf("steps %v", planned.Steps)
				}
				meanwhile(l, func() { l.enforcer.Apply(l.ctx, planned) })
				if isTried {
					l.t.Fatal("it is tried by a plan that is void")
				}
				if l.apply(); !isTried {
					l.t.Errorf("sets %v", l.sets())
				}
			})
		})
	}
}

// H41: what somebody asks to be tried again while something is being set is tried again
// behind that, and not by the pace of what failed for a long time.
func TestH41_ARetryThatIsAskedForWhileAtWork(t *testing.T) {
	for name, c := range map[string]struct {
		content policy.Content
		broken  string     // ends the calls that fail
		beside  func(*lab) // there is something else to be set
		want    string
	}{
		"a switch": {controlsContent(`"provisioned_only":true,"no_removal":true`, 7), "add-vm:on",
			func(l *lab) {
				l.passwords = slices.DeleteFunc(l.passwords, func(one string) bool { return one == "remove-vm" })
				l.enforcer.shown = shownHost{}
			}, "host set --require-pwd add-vm:on"},
		"a setting": {contentOf(`"clipboard":"disconnect","show_developer_tools":false`, 7), "--shared-clipboard=off",
			func(l *lab) { l.vmOf(501).change("Advanced/Show developer tools", "on") }, clipboardSet},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, "", func(l *lab) {
				l.content, l.locks = c.content, true
				onlyAlice(l)
				isBroken, isAsked := true, false
				l.answer = func(_ uint32, args []string) (bool, error) {
					if isBroken && strings.HasSuffix(strings.Join(args, " "), c.broken) {
						return false, &prlctl.Error{Code: string(protocol.CodeToolFailed)}
					}
					return true, nil
				}
				for range 10 { // until it is tried once an hour
					l.apply()
				}
				l.forget()
				isBroken = false
				c.beside(l)
				l.before = func(call string) {
					if !isAsked && strings.Contains(call, " set ") {
						isAsked, l.retryNow = true, true
						if _, err := l.enforcer.Plan(l.situation()); err != nil {
							l.t.Error(err)
						}
						l.retryNow = false
					}
				}
				l.apply()
				l.apply()
				if !isAsked || !slices.Contains(l.sets(), c.want) {
					l.t.Errorf("asked %t, sets %v", isAsked, l.sets())
				}
			})
		})
	}
}

func isStale(s *Situation) {
	for _, m := range s.Machines {
		m.Facts.Stale = protocol.CodeServiceDown
	}
}

// A machine that cannot be looked at a second time is not set, and that is no
// reason to try without an end.
func TestVMS41_WhatCannotBeLookedAtIsNotSet(t *testing.T) {
	inBubble(t, `"max_cpus":1`, func(l *lab) {
		onlyAlice(l)
		l.getFails = &prlctl.Error{Code: string(protocol.CodeServiceDown)}
		for range 10 {
			l.apply()
		}
		l.wantSets()
		l.wantVerdict("max_cpus", "deferred service_down")
		if gets := l.gets(); gets > 2 {
			l.t.Errorf("%d looks", gets)
		}
		l.getFails = nil
		time.Sleep(time.Hour)
		l.converge()
		l.wantVerdict("max_cpus", "in_place")
	})
}

// H41: what somebody asks for is kept for the machines of an account, or for its
// preferences, alone: the others were tried.
func TestH41_ARetryIsKeptForWhatIsVoid(t *testing.T) {
	inBubble(t, `"clipboard":"disconnect"`, func(l *lab) {
		onlyAlice(l)
		l.retryNow = true
		l.look = func(s *Situation) { s.Accounts = []Account{{Owner: Owner{User: alice}, RetryNow: true}} }
		planned := l.plan()
		l.content = contentOf(`"clipboard":"bidirectional"`, 8)
		l.enforcer.Adopt(&l.content)
		l.carryOut(planned)
		if kept := slices.Collect(maps.Keys(l.enforcer.retries)); len(kept) != 1 || kept[0] != l.vmOf(501).key {
			l.t.Errorf("kept %v", kept)
		}
	})
}

// H40: what is planned is not carried out once it is not allowed any more, before anything
// else is planned, and a policy that is not in force any more has nothing suspended.
func TestH40_APlanThatIsNotAllowedAnyMore(t *testing.T) {
	for name, test := range map[string]struct {
		later    func(*lab)
		suspends bool
	}{
		"nothing":                    {func(*lab) {}, true},
		"only monitor":               {func(l *lab) { l.enforcer.Allow(false) }, false},
		"only monitor, for a moment": {func(l *lab) { l.enforcer.Allow(false); l.enforcer.Allow(true) }, true},
		"another policy":             {func(l *lab) { l.content = controlsContent(`"no_removal":true`, 8); l.enforcer.Adopt(&l.content) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newControlsLab(t, `"provisioned_only":true,"on_violation":"suspend","grace_s":1`)
				l.settle()
				time.Sleep(time.Second)
				_, planned := l.addOverdue()
				l.forget()
				test.later(l)
				l.enforcer.Apply(l.ctx, planned)
				synctest.Wait()
				if suspends := slices.Contains(l.calls, "501 suspend"); suspends != test.suspends {
					t.Errorf("calls %v", l.calls)
				}
			})
		})
	}
}
