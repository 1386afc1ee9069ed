package command

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"prlagent/agent/protocol"
	"prlagent/prlctl"
)

// A user starts the machine every two seconds, the event stream is dead, the tools of
// another user who is held as well hang, and the agent is killed twice. The machine is
// asked to suspend within ten seconds of its start, or of the agent's; who cannot be
// asked is called unenforced within ten seconds.
func TestH27_CMD02_HeldAgainstAUserWhoStartsIt(t *testing.T) {
	inHoldBubble(t, func(b *holdBench) {
		b.mac.add(aliceUID, vmID).takes = 3 * time.Second
		b.mac.add(bobUID, otherID)
		b.mac.hang(bobUID, true)
		b.give(1, holdOf(aliceUID, vmID), holdOf(bobUID, otherID))
		b.mac.start(bobUID, otherID)
		for second := range 600 {
			if second%2 == 0 {
				b.mac.start(aliceUID, vmID)
			}
			time.Sleep(time.Second)
			b.mac.measure()
			switch second {
			case 10:
				b.wantState(bobUID, otherID, protocol.HoldUnenforced, protocol.CodeToolTimeout)
			case 100:
				b.kill()
			case 200:
				b.restart(37 * time.Second)
			}
		}
		if b.mac.longest > holdLimit {
			t.Errorf("a machine ran for %s before it was asked to suspend", b.mac.longest)
		}
		if got := b.state(aliceUID, vmID); got.Violations < 50 || got.ViolatedAt.IsZero() {
			t.Error(words(got))
		}
		if told := b.count(eventHoldViolated); told == 0 || told > 3*2 {
			t.Errorf("%d events of violations", told)
		}
		if b.commits.Load() > 60 {
			t.Errorf("%d commits in ten minutes", b.commits.Load())
		}
		if len(b.mac.told) > 3*2 || !slices.Contains(b.mac.told, "alice") {
			t.Errorf("users were told: %q", b.mac.told)
		}
	})
}

// What was held is held first thing at a start, before anything else is known.
func TestH27_HeldAtEveryStart(t *testing.T) {
	inHoldBubble(t, func(b *holdBench) {
		b.mac.add(aliceUID, vmID)
		b.give(1, holdOf(aliceUID, vmID))
		b.stop()
		b.mac.start(aliceUID, vmID)
		time.Sleep(time.Hour)
		b.open()
		if state := b.mac.stateOf(aliceUID, vmID); state != prlctl.StateSuspended {
			t.Errorf("it is %s", state)
		}
		time.Sleep(2 * time.Second)
		b.wantState(aliceUID, vmID, protocol.HoldKept, "")
		if got := b.state(aliceUID, vmID).Violations; got != 1 {
			t.Errorf("%d violations", got)
		}
	})
}

// A machine that ran when it was locked is no violation.
func TestH27_SuspendedAtOnce(t *testing.T) {
	inHoldBubble(t, func(b *holdBench) {
		b.mac.add(aliceUID, vmID).takes = 40 * time.Second
		b.mac.start(aliceUID, vmID)
		b.give(1, holdOf(aliceUID, vmID))
		b.wantState(aliceUID, vmID, protocol.HoldSuspending, "")
		for range 38 {
			time.Sleep(time.Second)
			b.wantState(aliceUID, vmID, protocol.HoldSuspending, "") // a large machine takes its time
		}
		time.Sleep(5 * time.Second)
		b.wantState(aliceUID, vmID, protocol.HoldKept, "")
		if got := b.state(aliceUID, vmID).Violations; got != 0 {
			t.Errorf("%d violations", got)
		}
	})
}

// What cannot be suspended is said to be unenforced, with the reason; it is paused
// first, and ended by force only where that is signed.
func TestH27_Unenforced(t *testing.T) {
	t.Parallel()
	busy := &prlctl.Error{Code: prlctl.CodeVMBusy, ExitCode: 255}
	for name, c := range map[string]struct {
		prepare func(*holdBench, *heldMachine)
		force   bool
		want    protocol.HoldState
		state   prlctl.State
	}{
		"a snapshot is running": {
			func(_ *holdBench, vm *heldMachine) { vm.refuses = busy }, false,
			protocol.HoldState{State: protocol.HoldUnenforced, Code: protocol.CodeVMBusy, Paused: true}, prlctl.StatePaused,
		},
		"nothing works": {
			func(_ *holdBench, vm *heldMachine) { vm.refuses, vm.noPause = busy, true }, false,
			protocol.HoldState{State: protocol.HoldUnenforced, Code: protocol.CodeVMBusy}, prlctl.StateRunning,
		},
		"the tool says that it did": {
			func(_ *holdBench, vm *heldMachine) { vm.silent, vm.noPause = true, true }, false,
			protocol.HoldState{State: protocol.HoldUnenforced, Code: protocol.CodeHoldPending}, prlctl.StateRunning,
		},
		"the tool shows what is not so": {
			func(_ *holdBench, vm *heldMachine) { vm.lies, vm.silent, vm.noPause = true, true, true }, false,
			protocol.HoldState{State: protocol.HoldUnenforced, Code: protocol.CodeHoldPending}, prlctl.StateRunning,
		},
		"force is signed": {
			func(_ *holdBench, vm *heldMachine) { vm.refuses = busy }, true,
			protocol.HoldState{State: protocol.HoldKept}, prlctl.StateStopped,
		},
		"the tools hang": {
			func(b *holdBench, _ *heldMachine) { b.mac.hang(aliceUID, true) }, true,
			protocol.HoldState{State: protocol.HoldUnenforced, Code: protocol.CodeToolTimeout}, prlctl.StateRunning,
		},
		"the agent only monitors": {
			func(b *holdBench, _ *heldMachine) {
				b.change(func(now *Circumstances) { now.Trust.Mode = protocol.ModeMonitor })
			}, true,
			protocol.HoldState{State: protocol.HoldUnenforced, Code: protocol.CodeCommandMonitor}, prlctl.StateRunning,
		},
		"the profile does not allow it any more": {
			func(b *holdBench, _ *heldMachine) {
				b.change(func(now *Circumstances) { now.Trust.Allowed = []string{"vm.unlock"} })
			}, true,
			protocol.HoldState{State: protocol.HoldUnenforced, Code: protocol.CodeCommandUnlisted}, prlctl.StateRunning,
		},
	} {
		t.Run(name, func(t *testing.T) {
			inHoldBubble(t, func(b *holdBench) {
				vm := b.mac.add(aliceUID, vmID)
				hold := holdOf(aliceUID, vmID)
				hold.Force = c.force
				b.give(1, hold)
				c.prepare(b, vm)
				b.mac.start(aliceUID, vmID)
				time.Sleep(holdLimit)
				synctest.Wait()
				got := b.state(aliceUID, vmID)
				if got.State != c.want.State || got.Code != c.want.Code || got.Paused != c.want.Paused {
					t.Errorf("%s, want %s", words(got), words(c.want))
				}
				if state := b.mac.stateOf(aliceUID, vmID); state != c.state {
					t.Errorf("it is %s, want %s", state, c.state)
				}
			})
		})
	}
}

// A machine that is only paused is watched: its user can let it go on. Once it can be
// suspended, it is.
func TestH27_PausedAndResumed(t *testing.T) {
	inHoldBubble(t, func(b *holdBench) {
		vm := b.mac.add(aliceUID, vmID)
		vm.refuses = &prlctl.Error{Code: prlctl.CodeVMBusy}
		b.give(1, holdOf(aliceUID, vmID))
		b.mac.start(aliceUID, vmID)
		time.Sleep(holdLimit)
		time.Sleep(time.Second) // between two polls
		for violations := 2; violations < 6; violations++ {
			b.mac.start(aliceUID, vmID)
			time.Sleep(holdLimit)
			if got := b.state(aliceUID, vmID); !got.Paused || got.Violations != violations {
				t.Fatalf("%s, want %d violations", words(got), violations)
			}
		}
		b.mac.mu.Lock()
		vm.refuses = nil
		b.mac.mu.Unlock()
		time.Sleep(2 * holdSlowTry)
		b.wantState(aliceUID, vmID, protocol.HoldKept, "")
	})
}

// The process table is one witness; without it the tool is asked, and an event or a look
// that tells of a running machine is followed at once.
func TestH27_OtherWitnesses(t *testing.T) {
	inHoldBubble(t, func(b *holdBench) {
		b.mac.add(aliceUID, vmID)
		b.give(1, holdOf(aliceUID, vmID))
		time.Sleep(time.Minute)
		b.mac.mu.Lock()
		b.mac.noTable = true
		b.mac.mu.Unlock()
		b.mac.start(aliceUID, vmID)
		time.Sleep(holdLimit)
		if state := b.mac.stateOf(aliceUID, vmID); state != prlctl.StateSuspended {
			t.Errorf("without a process table it is %s", state)
		}
		b.mac.mu.Lock()
		b.mac.noTable = false
		b.mac.mu.Unlock()
		time.Sleep(time.Minute)
		began := time.Now()
		b.mac.start(aliceUID, vmID)
		b.holds.Hint(aliceUID, vmID, protocol.StateRunning)
		synctest.Wait()
		if state := b.mac.stateOf(aliceUID, vmID); state != prlctl.StateSuspended || time.Since(began) > 0 {
			t.Errorf("after an event it is %s, %s later", state, time.Since(began))
		}
	})
}

// With nothing held nothing is looked at; with something held it is one look at the
// process table for each poll, no tool and no write.
func TestBudget_HoldsIdle(t *testing.T) {
	inHoldBubble(t, func(b *holdBench) {
		b.mac.add(aliceUID, vmID)
		time.Sleep(time.Hour)
		if looks, _ := b.mac.spent(); looks != 0 || b.commits.Load() != 0 {
			t.Errorf("nothing is held: %d looks, %d commits", looks, b.commits.Load())
		}
		b.give(1, holdOf(aliceUID, vmID))
		time.Sleep(2 * holdWrites)
		looksBefore, runsBefore := b.mac.spent()
		commits := b.commits.Load()
		time.Sleep(time.Hour)
		looks, runs := b.mac.spent()
		if looks -= looksBefore; looks > int(time.Hour/holdPoll)+1 {
			t.Errorf("%d looks in an hour", looks)
		}
		if runs != runsBefore || b.commits.Load() != commits {
			t.Errorf("%d runs of tools, %d commits in an hour", runs-runsBefore, b.commits.Load()-commits)
		}
		t.Logf("%d looks at the process table an hour", looks)
	})
}
