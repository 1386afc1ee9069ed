package command

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"prlagent/agent/protocol"
	"prlagent/prlctl"
)

// The bound, in simulated time: users start their machines every two seconds, no event
// stream and no look tells of that, and the agent is killed twice. However it stands with
// the tools of one user, for each machine it is, at every second, ten seconds at most from
// its start (or the agent's, if that is later) that it was neither asked to suspend nor
// said to be unenforced, with a reason. It ends with a signed unlock alone.
func TestH27_H29_H69_CMD02_CMD03_LongestTimeUnheld(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(*holdBench, *heldMachine){
		"all is well":                 func(_ *holdBench, vm *heldMachine) { vm.takes = 3 * time.Second },
		"the tools hang":              func(b *holdBench, _ *heldMachine) { b.mac.hang(aliceUID, true) },
		"the tools are slow":          func(b *holdBench, _ *heldMachine) { b.mac.slow = 2 * time.Second },
		"it cannot be suspended":      func(_ *holdBench, vm *heldMachine) { vm.refuses = &prlctl.Error{Code: prlctl.CodeVMBusy} },
		"the tools lie":               func(_ *holdBench, vm *heldMachine) { vm.lies, vm.silent, vm.noPause = true, true, true },
		"the process table is closed": func(b *holdBench, _ *heldMachine) { b.mac.noTable = true },
		"the accounts are not known":  func(b *holdBench, _ *heldMachine) { b.mac.noUsers = true },
		"nothing is seen":             func(b *holdBench, _ *heldMachine) { b.mac.noTable = true; b.mac.hang(aliceUID, true) },
		"the disk takes nothing":      func(b *holdBench, _ *heldMachine) { b.fullDisk = true },
		"the store is lost":           func(b *holdBench, _ *heldMachine) { b.storeDies = true },
	} {
		t.Run(name, func(t *testing.T) {
			inHoldBubble(t, func(b *holdBench) {
				vm := b.mac.add(aliceUID, vmID)
				other := b.mac.add(bobUID, otherID)
				other.takes = 3 * time.Second
				b.give(1, holdOf(aliceUID, vmID), holdOf(bobUID, otherID))
				prepare(b, vm)
				var longest time.Duration
				for second := range 300 {
					if second%2 == 0 {
						b.mac.start(aliceUID, vmID)
						b.mac.start(bobUID, otherID)
					}
					time.Sleep(time.Second)
					longest = max(longest, b.unheld(aliceUID, vmID), b.unheld(bobUID, otherID))
					switch {
					case second == 100 || second == 107:
						b.kill()
					case second == 200 && b.storeDies:
						b.loseStore()
					}
				}
				if longest > holdLimit {
					t.Errorf("a machine was neither asked to suspend nor called unenforced for %s", longest)
				}
				b.fullDisk = false
				b.give(2)
				time.Sleep(time.Minute)
				b.mac.start(aliceUID, vmID)
				time.Sleep(time.Minute)
				if state := b.mac.stateOf(aliceUID, vmID); state != prlctl.StateRunning {
					t.Errorf("after the unlock it is %s", state)
				}
			})
		})
	}
}

// unheld is for how long a machine has run under this agent, without it being asked to
// suspend, nor called unenforced.
func (b *holdBench) unheld(uid uint32, id string) time.Duration {
	b.t.Helper()
	synctest.Wait()
	said := b.state(uid, id)
	b.mac.mu.Lock()
	defer b.mac.mu.Unlock()
	vm := b.mac.machines[protocol.VMKey{ID: id, UID: uid}]
	if vm.state != prlctl.StateRunning || vm.asked || b.mac.agentUp.IsZero() || said.State == protocol.HoldUnenforced && said.Code != protocol.CodeNotLookedYet {
		return 0
	}
	return time.Since(latest(vm.ranFrom, b.mac.agentUp))
}

// What a machine's user may do again is never taken from them: an unlock, a release, the
// end of its time or of the Mac's consent that comes while a machine is being suspended
// stops what was to follow.
func TestH27_H29_LetGoWhileItIsBeingSuspended(t *testing.T) {
	t.Parallel()
	for name, letGo := range map[string]func(*holdBench){
		"unlock":       func(b *holdBench) { b.give(2) },
		"release":      func(b *holdBench) { _, _ = b.holds.Release([]string{vmID}, false, "root") },
		"expiry":       func(*holdBench) {},
		"monitor mode": func(b *holdBench) { b.change(func(now *Circumstances) { now.Trust.Mode = protocol.ModeMonitor }) },
	} {
		t.Run(name, func(t *testing.T) {
			inHoldBubble(t, func(b *holdBench) {
				vm := b.mac.add(aliceUID, vmID)
				vm.silent, vm.noPause = true, true
				one := holdOf(aliceUID, vmID)
				one.Force, one.ExpiresAt = true, testNow.Add(12*time.Second)
				b.give(1, one)
				b.mac.start(aliceUID, vmID)
				time.Sleep(holdPoll + 3*time.Second)
				if vm.suspends.Load() == 0 {
					t.Error("it was never asked to suspend")
				}
				letGo(b)
				b.mac.mu.Lock()
				vm.noPause = false
				b.mac.mu.Unlock()
				time.Sleep(20 * time.Second)
				asked := vm.suspends.Load()
				time.Sleep(3 * time.Minute)
				if state := b.mac.stateOf(aliceUID, vmID); state != prlctl.StateRunning || vm.suspends.Load() != asked {
					t.Errorf("it is %s, and was asked %d times more", state, vm.suspends.Load()-asked)
				}
			})
		})
	}
}

// A newer list without force is heeded also while a machine is being suspended.
func TestH27_ForceIsTakenBack(t *testing.T) {
	inHoldBubble(t, func(b *holdBench) {
		vm := b.mac.add(aliceUID, vmID)
		vm.silent, vm.noPause = true, true
		one := holdOf(aliceUID, vmID)
		one.Force = true
		b.give(1, one)
		b.mac.start(aliceUID, vmID)
		time.Sleep(holdPoll + 3*time.Second)
		b.give(2, holdOf(aliceUID, vmID))
		time.Sleep(time.Minute)
		b.wantState(aliceUID, vmID, protocol.HoldUnenforced, protocol.CodeNotVerified)
		if state := b.mac.stateOf(aliceUID, vmID); state != prlctl.StateRunning {
			t.Errorf("it is %s", state)
		}
	})
}

// What was not seen is not called held: not while the process table cannot be read, nor
// where the tool alone shows that the machine runs.
func TestH27_WhatIsNotSeenIsNotHeld(t *testing.T) {
	t.Parallel()
	for name, blind := range map[string]func(*holdBench, *heldMachine){
		"the process table is closed": func(b *holdBench, _ *heldMachine) { b.mac.noTable = true },
		"no process of it is seen":    func(_ *holdBench, vm *heldMachine) { vm.hidden = true },
	} {
		t.Run(name, func(t *testing.T) {
			inHoldBubble(t, func(b *holdBench) {
				vm := b.mac.add(aliceUID, vmID)
				vm.refuses, vm.noPause = &prlctl.Error{Code: prlctl.CodeVMBusy}, true
				b.give(1, holdOf(aliceUID, vmID))
				blind(b, vm)
				b.mac.start(aliceUID, vmID)
				b.holds.Hint(aliceUID, vmID, protocol.StateRunning)
				time.Sleep(holdLimit)
				for second := range 120 {
					time.Sleep(time.Second)
					b.holds.awaken()
					synctest.Wait()
					if got := b.state(aliceUID, vmID); got.State != protocol.HoldUnenforced {
						t.Fatalf("%d s later: %s", second, words(got))
					}
				}
				b.mac.mu.Lock()
				vm.refuses = nil
				b.mac.mu.Unlock()
				time.Sleep(2 * holdSlowTry)
				b.wantState(aliceUID, vmID, protocol.HoldKept, "")
			})
		})
	}
}

// A guest that was asked to shut down, and does not, is used as before: it is not being
// suspended.
func TestH27_StoppingIsNotSuspending(t *testing.T) {
	inHoldBubble(t, func(b *holdBench) {
		vm := b.mac.add(aliceUID, vmID)
		b.give(1, holdOf(aliceUID, vmID))
		b.mac.start(aliceUID, vmID)
		b.mac.mu.Lock()
		vm.state, vm.refuses, vm.noPause = "stopping", &prlctl.Error{Code: prlctl.CodeVMBusy}, true
		b.mac.mu.Unlock()
		for range 60 {
			time.Sleep(holdLimit)
			b.wantState(aliceUID, vmID, protocol.HoldUnenforced, protocol.CodeVMBusy)
		}
	})
}

// Force is the last resort: what is busy for a moment is paused and then suspended, and
// nothing that its user had open is lost.
func TestH27_ForceIsTheLastResort(t *testing.T) {
	inHoldBubble(t, func(b *holdBench) {
		vm := b.mac.add(aliceUID, vmID)
		vm.refuses = &prlctl.Error{Code: prlctl.CodeVMBusy}
		one := holdOf(aliceUID, vmID)
		one.Force = true
		b.give(1, one)
		b.mac.start(aliceUID, vmID)
		time.Sleep(holdPoll + 2*time.Second)
		if state := b.mac.stateOf(aliceUID, vmID); state != prlctl.StatePaused {
			t.Errorf("at first it is %s", state)
		}
		b.mac.mu.Lock()
		vm.refuses = nil
		b.mac.mu.Unlock()
		time.Sleep(holdLimit)
		if state := b.mac.stateOf(aliceUID, vmID); state != prlctl.StateSuspended {
			t.Errorf("in the end it is %s", state)
		}
	})
}

// A lock is its command, whatever the clock of the operator who gave it: what a person
// has released is held again by a new one.
func TestH29_H69_LockedAnewByAnotherClock(t *testing.T) {
	inHoldBubble(t, func(b *holdBench) {
		b.mac.add(aliceUID, vmID).autostart = "start-host"
		b.give(1, holdOf(aliceUID, vmID))
		time.Sleep(time.Minute)
		if _, err := b.holds.Release(nil, true, "root"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if got := b.mac.autostart(aliceUID, vmID); got != "start-host" {
			t.Errorf("after the release autostart is %s", got)
		}
		again := holdOf(aliceUID, vmID)
		again.CommandID, again.Since = "lock-2", testNow.Add(-time.Hour)
		b.give(2, again)
		b.mac.start(aliceUID, vmID)
		time.Sleep(holdLimit)
		b.wantState(aliceUID, vmID, protocol.HoldKept, "")
		time.Sleep(2 * time.Minute)
		if got := b.mac.autostart(aliceUID, vmID); got != "off" {
			t.Errorf("while it is held again autostart is %s", got)
		}
	})
}

// Who may only lock cannot date a list so that a hold is over by then.
func TestH69_ListFromTheFuture(t *testing.T) {
	inHoldBubble(t, func(b *holdBench) {
		b.change(func(now *Circumstances) { now.Trust.Thresholds = map[string]int{"vm.unlock": 2} })
		one := holdOf(aliceUID, vmID)
		one.ExpiresAt = testNow.Add(24 * time.Hour)
		b.give(1, one)
		future := listOf(2)
		future.IssuedAt = testNow.Add(25 * time.Hour)
		if got := b.holds.take(new(signHolds(t, future, testKey(1))), 0); got != protocol.CodeCommandSignature {
			t.Errorf("it is %q", got)
		}
		time.Sleep(24 * time.Hour)
		if got := b.holds.take(new(signHolds(t, future, testKey(1))), 0); got != "" {
			t.Errorf("after the hold is over, it is %q", got)
		}
	})
}

// A list of more machines than a Mac can have is refused as a whole.
func TestH69_TooManyHolds(t *testing.T) {
	inHoldBubble(t, func(b *holdBench) {
		var holds []protocol.Hold
		for i := range 1000 {
			holds = append(holds, holdOf(aliceUID, fmt.Sprintf("%08x-0000-4000-8000-000000000000", i+1)))
		}
		if got := b.holds.take(new(signHolds(t, listOf(1, holds...), testKey(1))), 0); got != protocol.CodeCommandInvalid {
			t.Errorf("it is %q", got)
		}
	})
}

// What cannot be copied at first is copied later: a release is not lost with the store.
func TestH29_H22_ReleaseOnAFullDisk(t *testing.T) {
	inHoldBubble(t, func(b *holdBench) {
		b.mac.add(aliceUID, vmID)
		b.give(1, holdOf(aliceUID, vmID), holdOf(bobUID, otherID))
		file := filepath.Join(b.folder, HoldsFile)
		aside := file + ".aside"
		if err := os.Rename(file, aside); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(file, "full"), 0o700); err != nil {
			t.Fatal(err)
		}
		if _, err := b.holds.Release([]string{vmID}, false, "root"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if err := os.RemoveAll(file); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(aside, file); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		b.loseStore()
		b.mac.start(aliceUID, vmID)
		time.Sleep(2 * holdLimit)
		b.wantState(aliceUID, vmID, protocol.HoldReleased, protocol.CodeHoldReleased)
	})
}

// The store is lost, and the look that tells which Mac this is does not end, as where the
// tools of somebody hang: what was held is held; an older list is refused; what is over
// stays over, also if the time is lost with it; and what was changed is put back.
func TestH22_H27_StoreIsLostWhileTheLookHangs(t *testing.T) {
	inHoldBubble(t, func(b *holdBench) {
		b.mac.add(aliceUID, vmID).autostart = "start-host"
		b.mac.add(bobUID, otherID).autostart = "user-login"
		bob := holdOf(bobUID, otherID)
		bob.ExpiresAt = testNow.Add(time.Hour)
		b.mac.hang(bobUID, true) // what is his is put back only later
		b.give(7, holdOf(aliceUID, vmID), bob)
		time.Sleep(2 * time.Hour)
		b.wantState(bobUID, otherID, protocol.HoldEnded, "")
		b.stop()
		b.began = time.Now() // the trusted time as well is lost
		b.mu.Lock()
		b.now.Target = Target{}
		b.mu.Unlock()
		b.mac.start(aliceUID, vmID)
		b.openAnew()
		time.Sleep(holdLimit)
		if state := b.mac.stateOf(aliceUID, vmID); state != prlctl.StateSuspended {
			t.Errorf("it is %s", state)
		}
		b.wantState(bobUID, otherID, protocol.HoldEnded, "")
		b.change(func(now *Circumstances) { now.Target = holdCircumstances().Target })
		if got := b.holds.take(new(signHolds(t, listOf(6), testKey(1), testKey(2))), 0); got != protocol.CodeHoldsOutdated {
			t.Errorf("an older list is %q", got)
		}
		b.give(8)
		time.Sleep(time.Minute)
		if got := b.mac.autostart(aliceUID, vmID); got != "start-host" {
			t.Errorf("autostart is %s", got)
		}
	})
}

// As many held machines as there can be: their tools are not run all at once, the disk is not written
// for each, and one that is started is suspended in time.
func TestH27_Budget_AsManyHoldsAsThereCanBe(t *testing.T) {
	inHoldBubble(t, func(b *holdBench) {
		var holds []protocol.Hold
		for i := range protocol.MaxHolds {
			id := fmt.Sprintf("%08x-0000-4000-8000-000000000000", i+1)
			holds = append(holds, holdOf(aliceUID, id))
			b.mac.add(aliceUID, id).autostart = "start-host"
		}
		b.mac.slow = 300 * time.Millisecond
		b.give(1, holds...)
		last := holds[len(holds)-1].ID
		for second := range 120 {
			if second%2 == 0 {
				b.mac.start(aliceUID, last)
			}
			time.Sleep(time.Second)
			b.mac.measure()
		}
		if b.mac.longest > holdLimit {
			t.Errorf("it ran for %s before it was asked to suspend", b.mac.longest)
		}
		if b.mac.mostRuns.Load() > 2*maxHoldRuns {
			t.Errorf("%d tools ran at once", b.mac.mostRuns.Load())
		}
		commits := b.commits.Load()
		gone := make([]SeenVM, 0)
		b.holds.Saw(gone, []uint32{aliceUID})
		if b.commits.Load() > commits+2 {
			t.Errorf("%d commits for as many machines that are gone", b.commits.Load()-commits)
		}
		if got := b.count(eventHoldNoVM); got < len(holds)-1 {
			t.Errorf("%d of them were told", got)
		}
	})
}

// An unlock that comes while autostart is being looked at leaves it as it is.
func TestH27_UnlockWhileAutostartIsTurnedOff(t *testing.T) {
	for _, after := range []time.Duration{0, time.Second, 3 * time.Second, 5 * time.Second, 7 * time.Second} {
		t.Run(after.String(), func(t *testing.T) {
			inHoldBubble(t, func(b *holdBench) {
				b.mac.add(aliceUID, vmID).autostart = "start-host"
				b.mac.slow = 2 * time.Second
				b.give(1, holdOf(aliceUID, vmID))
				time.Sleep(after)
				b.give(2)
				time.Sleep(2 * time.Minute)
				if got := b.mac.autostart(aliceUID, vmID); got != "start-host" {
					t.Errorf("it is %s", got)
				}
			})
		})
	}
}

// Who reads a user's events is not kept by a disk that hangs: the vendor's service would
// wait for them.
func TestH12_H27_EventsDoNotWaitForTheDisk(t *testing.T) {
	inHoldBubble(t, func(b *holdBench) {
		b.mac.add(aliceUID, vmID)
		b.give(1, holdOf(aliceUID, vmID))
		b.mu.Lock()
		b.disk = make(chan struct{})
		b.mu.Unlock()
		b.mac.start(aliceUID, vmID)
		time.Sleep(holdPoll) // the violation is being written
		told := make(chan struct{})
		go func() {
			b.holds.Hint(aliceUID, vmID, protocol.StateRunning)
			close(told)
		}()
		select {
		case <-told:
		case <-time.After(time.Second):
			t.Error("it waits")
		}
		b.mu.Lock()
		close(b.disk)
		b.disk = nil
		b.mu.Unlock()
	})
}
