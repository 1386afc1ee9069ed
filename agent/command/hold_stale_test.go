package command

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"prlagent/agent/protocol"
	"prlagent/platform"
	"prlagent/prlctl"
	"prlagent/store"
)

// What is seen, and what follows from it, when something else has happened between the
// two.

// lateDirectory is a holdMac whose answers say what was, and come late.
type lateDirectory struct {
	*holdMac
	users     func() // before an answer comes
	processes func()
}

func (d *lateDirectory) Users(ctx context.Context) (platform.Users, error) {
	users, err := d.holdMac.Users(ctx)
	if d.users != nil {
		d.users()
	}
	return users, err
}

func (d *lateDirectory) Processes(ctx context.Context) ([]platform.Process, error) {
	processes, err := d.holdMac.Processes(ctx)
	if d.processes != nil {
		d.processes()
	}
	return processes, err
}

// lateTool is a tool whose answers say what was, and come late.
type lateTool struct {
	holdUser
	got func()                                    // before the answer of a Get comes
	set func(context.Context, func() error) error // instead of a Set
	ask func()                                    // before it is asked to suspend
}

func (l lateTool) Suspend(ctx context.Context, id string) error {
	if l.ask != nil {
		l.ask()
	}
	return l.holdUser.Suspend(ctx, id)
}

func (l lateTool) Get(ctx context.Context, id string) (prlctl.VM, error) {
	vm, err := l.holdUser.Get(ctx, id)
	if l.got != nil {
		l.got()
	}
	return vm, err
}

func (l lateTool) Set(ctx context.Context, id string, args ...string) error {
	set := func() error { return l.holdUser.Set(context.Background(), id, args...) }
	if l.set != nil {
		return l.set(ctx, set)
	}
	return set()
}

// once gives something to do at the first call, which no other call waits for.
func once(do func()) func() {
	var isDone atomic.Bool
	return func() {
		if !isDone.Swap(true) {
			do()
		}
	}
}

// A user is not told of a lock that was lifted while it was looked up who they are.
func TestH29_NobodyIsToldOfALockThatIsOver(t *testing.T) {
	t.Parallel()
	for name, lift := range map[string]func(*holdBench){
		"unlocked": func(b *holdBench) { b.give(2) },
		"released": func(b *holdBench) { _, _ = b.holds.Release(nil, true, "root") },
		"denied":   func(b *holdBench) { b.change(func(now *Circumstances) { now.Trust.Allowed = nil }) },
	} {
		t.Run(name, func(t *testing.T) {
			inHoldBubble(t, func(b *holdBench) {
				answer := make(chan struct{})
				b.holds.options.Directory = &lateDirectory{holdMac: b.mac, users: once(func() { <-answer })}
				b.mac.add(aliceUID, vmID)
				b.mac.start(aliceUID, vmID)
				b.give(1, holdOf(aliceUID, vmID))
				lift(b)
				close(answer)
				time.Sleep(time.Minute)
				if len(b.mac.told) > 0 || b.mac.stateOf(aliceUID, vmID) != prlctl.StateRunning {
					t.Errorf("told %q", b.mac.told)
				}
			})
		})
	}
}

// A machine that is being suspended, let go of and locked again at once is not worked on
// by two.
func TestH27_OneWorksOnAMachineWhateverListsCome(t *testing.T) {
	inHoldBubble(t, func(b *holdBench) {
		vm := b.mac.add(aliceUID, vmID)
		vm.takes = 20 * time.Second
		b.mac.start(aliceUID, vmID)
		b.give(1, holdOf(aliceUID, vmID))
		time.Sleep(1500 * time.Millisecond) // it was seen to be held
		b.give(2)
		b.give(3, holdOf(aliceUID, vmID))
		time.Sleep(time.Minute)
		b.wantState(aliceUID, vmID, protocol.HoldKept, "")
		if asked := vm.suspends.Load(); asked != 1 {
			t.Errorf("it is asked to suspend %d times", asked)
		}
	})
}

// A look at the process table that began before the machine was suspended, and ends behind
// that, shows no new start.
func TestH27_ALookThatIsOlderThanTheSuspension(t *testing.T) {
	inHoldBubble(t, func(b *holdBench) {
		vm := b.mac.add(aliceUID, vmID)
		vm.takes = 6 * time.Second
		late, began := once(func() { time.Sleep(3 * time.Second) }), time.Now()
		b.holds.options.Directory = &lateDirectory{holdMac: b.mac, processes: func() {
			if time.Since(began) >= holdPoll {
				late()
			}
		}}
		b.mac.start(aliceUID, vmID)
		b.give(1, holdOf(aliceUID, vmID))
		time.Sleep(time.Minute)
		b.wantState(aliceUID, vmID, protocol.HoldKept, "")
		if state := b.state(aliceUID, vmID); state.Violations != 0 || b.count(eventHoldViolated) != 0 {
			t.Errorf("told of a start that was none: %s", words(state))
		}
	})
}

// What a user starts while nobody holds the machine is no violation of the lock that
// comes next.
func TestH27_H29_StartedBetweenTwoLocks(t *testing.T) {
	t.Parallel()
	expiring := holdOf(aliceUID, vmID)
	expiring.ExpiresAt = testNow.Add(time.Hour)
	anew := holdOf(aliceUID, vmID)
	anew.CommandID = "lock-again"
	for name, c := range map[string]struct {
		end func(*holdBench)
		by  protocol.Hold
	}{
		"released":           {func(b *holdBench) { _, _ = b.holds.Release(nil, true, "root") }, anew},
		"over, and anew":     {func(*holdBench) { time.Sleep(time.Hour) }, anew},
		"over, and extended": {func(*holdBench) { time.Sleep(time.Hour) }, holdOf(aliceUID, vmID)},
	} {
		t.Run(name, func(t *testing.T) {
			inHoldBubble(t, func(b *holdBench) {
				b.mac.add(aliceUID, vmID)
				b.give(1, expiring)
				time.Sleep(time.Minute)
				c.end(b)
				b.mac.start(aliceUID, vmID)
				time.Sleep(time.Minute)
				b.give(2, c.by)
				time.Sleep(time.Minute)
				b.wantState(aliceUID, vmID, protocol.HoldKept, "")
				if state := b.state(aliceUID, vmID); state.Violations != 0 || b.count(eventHoldViolated) != 0 {
					t.Errorf("told of a violation: %s", words(state))
				}
			})
		})
	}
}

// A paused machine that is being suspended, by its user or by a call of before that goes
// on, was not resumed.
func TestH27_APausedMachineThatIsBeingSuspended(t *testing.T) {
	inHoldBubble(t, func(b *holdBench) {
		vm := b.mac.add(aliceUID, vmID)
		vm.refuses = &prlctl.Error{Code: prlctl.CodeVMBusy, ExitCode: 255}
		b.mac.start(aliceUID, vmID)
		b.give(1, holdOf(aliceUID, vmID))
		time.Sleep(time.Minute)
		for _, state := range []prlctl.State{"suspending", prlctl.StateSuspended} {
			b.mac.mu.Lock()
			if vm.state == prlctl.StateRunning {
				t.Error("it is not paused")
			}
			vm.state = state
			b.mac.mu.Unlock()
			time.Sleep(10 * time.Second)
		}
		b.wantState(aliceUID, vmID, protocol.HoldKept, "")
		if state := b.state(aliceUID, vmID); state.Violations != 0 {
			t.Errorf("told of a violation: %s", words(state))
		}
	})
}

// startToldFirst starts a machine whose tool tells of that before its process is seen, and
// waits until it is suspended again.
func (b *holdBench) startToldFirst(vm *heldMachine) {
	vm.hidden = true
	b.mac.start(aliceUID, vmID)
	b.holds.Hint(aliceUID, vmID, protocol.StateRunning)
	time.Sleep(time.Second / 2)
	b.mac.mu.Lock()
	vm.hidden = false
	b.mac.mu.Unlock()
	time.Sleep(time.Minute)
	b.wantState(aliceUID, vmID, protocol.HoldKept, "")
}

// A start that the tool tells of before its process is seen is counted once, and the
// machine is asked once.
func TestH27_AStartThatTheToolTellsOfFirst(t *testing.T) {
	inHoldBubble(t, func(b *holdBench) {
		vm := b.mac.add(aliceUID, vmID)
		b.give(1, holdOf(aliceUID, vmID))
		vm.takes = 8 * time.Second
		b.startToldFirst(vm)
		if state := b.state(aliceUID, vmID); state.Violations != 1 || vm.suspends.Load() != 1 {
			t.Errorf("asked %d times, told: %s", vm.suspends.Load(), words(state))
		}
	})
}

// A process that is seen only while the machine is asked to suspend, because the tool told
// of it first, is no start of another one: the machine is not asked again.
func TestH27_AProcessThatIsSeenWhileItsMachineIsAsked(t *testing.T) {
	inHoldBubble(t, func(b *holdBench) {
		vm, asked := b.mac.add(aliceUID, vmID), atomic.Int64{}
		b.give(1, holdOf(aliceUID, vmID))
		b.tool = func(user holdUser) HoldTool {
			return lateTool{holdUser: user, ask: func() { asked.Add(1); time.Sleep(8 * time.Second) }}
		}
		b.startToldFirst(vm)
		if state := b.state(aliceUID, vmID); state.Violations != 1 || asked.Load() != 1 {
			t.Errorf("asked %d times, told: %s", asked.Load(), words(state))
		}
	})
}

// That a machine does not run is not concluded from an answer that is older than its
// start.
func TestH27_AnAnswerThatIsOlderThanTheStart(t *testing.T) {
	inHoldBubble(t, func(b *holdBench) {
		b.mac.add(aliceUID, vmID).takes = 5 * time.Second
		b.give(1, holdOf(aliceUID, vmID))
		time.Sleep(time.Second)
		late := once(func() { time.Sleep(2 * time.Second) })
		b.tool = func(user holdUser) HoldTool { return lateTool{holdUser: user, got: late} }
		b.holds.Hint(aliceUID, vmID, protocol.StateRunning) // by mistake
		synctest.Wait()
		b.mac.start(aliceUID, vmID)
		b.holds.Hint(aliceUID, "", "")
		time.Sleep(2500 * time.Millisecond)
		if state := b.state(aliceUID, vmID); state.State == protocol.HoldKept || b.count(eventHoldSuspended) > 0 {
			t.Errorf("it runs, and is told to be held: %s", words(state))
		}
		time.Sleep(time.Minute)
		b.wantState(aliceUID, vmID, protocol.HoldKept, "")
		if state := b.state(aliceUID, vmID); state.Violations != 1 {
			t.Errorf("started once, and told: %s", words(state))
		}
	})
}

// What is put back on a disk that takes nothing is not looked at without a pause.
func TestH29_AutostartIsPutBackOnAFullDisk(t *testing.T) {
	inHoldBubble(t, func(b *holdBench) {
		b.mac.add(aliceUID, vmID).autostart = "start-host"
		b.give(1, holdOf(aliceUID, vmID))
		time.Sleep(time.Minute)
		b.mac.mu.Lock()
		b.mac.slow = 2 * time.Second
		b.mac.mu.Unlock()
		b.give(2)
		b.mu.Lock()
		b.fullDisk = true
		b.mu.Unlock()
		_, before := b.mac.spent()
		time.Sleep(2 * time.Hour)
		if _, runs := b.mac.spent(); runs-before > 30 {
			t.Errorf("%d runs of tools", runs-before)
		}
		b.mu.Lock()
		b.fullDisk = false
		b.mu.Unlock()
		time.Sleep(2 * time.Hour)
		b.wantNothingOwed()
		if got := b.mac.autostart(aliceUID, vmID); got != "start-host" {
			t.Errorf("it is %s", got)
		}
	})
}

func (b *holdBench) wantNothingOwed() {
	b.t.Helper()
	_ = b.store.View(func(tx *store.Tx) error {
		return holdRecords.Each(tx, func(key string, record *holdRecord) error {
			if record.Autostart != "" {
				b.t.Errorf("%s is still owed %s", key, record.Autostart)
			}
			return nil
		})
	})
}

// checkedContext does something when it is asked whether it has ended.
type checkedContext struct {
	context.Context
	check func()
}

func (c checkedContext) Err() error {
	c.check()
	return c.Context.Err()
}

// An autostart that is not put back because the machine is held again is still owed when
// that lock is lifted at the same moment.
func TestH29_HeldAgainWhileAutostartIsPutBack(t *testing.T) {
	inHoldBubble(t, func(b *holdBench) {
		b.mac.add(aliceUID, vmID).autostart = "start-host"
		b.give(1, holdOf(aliceUID, vmID))
		time.Sleep(time.Minute)
		b.holds.mu.Lock()
		b.holds.setting[aliceUID] = true // so that only this test puts it back
		b.holds.mu.Unlock()
		b.give(2)
		b.holds.mu.Lock()
		b.holds.returns[protocol.VMKey{ID: vmID, UID: aliceUID}] = &retry{failures: 1}
		b.holds.mu.Unlock()
		b.tool = func(user holdUser) HoldTool {
			return lateTool{holdUser: user, got: func() { b.give(3, holdOf(aliceUID, vmID)) }}
		}
		b.holds.giveBackOne(checkedContext{context.Background(), once(func() { b.give(4) })}, protocol.VMKey{ID: vmID, UID: aliceUID})
		b.tool = nil
		b.holds.mu.Lock()
		delete(b.holds.setting, aliceUID)
		b.holds.mu.Unlock()
		b.holds.awaken()
		time.Sleep(5 * time.Minute)
		if got := b.mac.autostart(aliceUID, vmID); got != "start-host" {
			t.Errorf("it is %s", got)
		}
	})
}

// A call that turns autostart off goes on where its tool is killed with the daemon: it is
// put back also where that is to be seen only after the machine was let go of.
func TestH29_H47_AutostartThatIsTurnedOffWithoutItsTool(t *testing.T) {
	inHoldBubble(t, func(b *holdBench) {
		b.mac.add(aliceUID, vmID).autostart = "start-host"
		goesOn := func(ctx context.Context, set func() error) error {
			<-ctx.Done()
			time.AfterFunc(5*time.Second, func() { _ = set() })
			return ctx.Err()
		}
		b.tool = func(user holdUser) HoldTool { return lateTool{holdUser: user, set: goesOn} }
		b.give(1, holdOf(aliceUID, vmID))
		time.Sleep(time.Second)
		b.stop()
		b.tool, b.mac.slow = nil, 2*time.Second
		b.open()
		b.give(2)
		time.Sleep(5 * time.Minute)
		if got := b.mac.autostart(aliceUID, vmID); got != "start-host" {
			t.Errorf("it is %s", got)
		}
		b.wantNothingOwed()
	})
}

// A machine that ran after its autostart was read is looked at again.
func TestH27_AutostartThatIsReadBeforeAStart(t *testing.T) {
	inHoldBubble(t, func(b *holdBench) {
		b.mac.add(aliceUID, vmID)
		late := once(func() { time.Sleep(10 * time.Second) })
		b.tool = func(user holdUser) HoldTool { return lateTool{holdUser: user, got: late} }
		b.give(1, holdOf(aliceUID, vmID))
		time.Sleep(time.Second)
		b.mac.set(aliceUID, vmID, "start-host")
		b.mac.start(aliceUID, vmID)
		b.holds.Hint(aliceUID, vmID, protocol.StateRunning)
		time.Sleep(5 * time.Minute)
		b.wantState(aliceUID, vmID, protocol.HoldKept, "")
		if got := b.mac.autostart(aliceUID, vmID); got != autostartOff {
			t.Errorf("it is %s", got)
		}
	})
}

// A machine that this Mac's configuration does not let be held, or whose time is over, is
// not held: it is waited for, and may be restarted.
func TestH27_H29_WhatIsNotHeldIsNotKept(t *testing.T) {
	inHoldBubble(t, func(b *holdBench) {
		b.mac.add(aliceUID, vmID)
		hold := holdOf(aliceUID, vmID)
		hold.ExpiresAt = testNow.Add(time.Hour)
		b.give(1, hold)
		for _, c := range []struct {
			name  string
			do    func()
			keeps bool
		}{
			{"held", func() {}, true},
			{"denied", func() { b.change(func(now *Circumstances) { now.Trust.Allowed = []string{"vm.delete"} }) }, false},
			{"allowed", func() { b.change(func(now *Circumstances) { now.Trust.Allowed = allListed() }) }, true},
			{"over", func() { time.Sleep(time.Hour) }, false},
		} {
			if c.do(); b.holds.Keeps(hold.VMKey) != c.keeps {
				t.Errorf("%s: kept %t", c.name, !c.keeps)
			}
		}
	})
}
