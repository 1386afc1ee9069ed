package command

import (
	"crypto/ed25519"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"prlagent/agent/protocol"
	"prlagent/prlctl"
	"prlagent/store"
)

// A list is taken only from those keys that the Mac asks for, for this Mac, if it is
// newer; who may lock cannot unlock.
func TestH69_H27_ListsThatAreRefused(t *testing.T) {
	t.Parallel()
	alice, bob := holdOf(aliceUID, vmID), holdOf(bobUID, otherID)
	one, both := []ed25519.PrivateKey{testKey(1)}, []ed25519.PrivateKey{testKey(1), testKey(2)}
	for name, c := range map[string]struct {
		list  func() protocol.HoldList
		keys  []ed25519.PrivateKey
		trust func(*Trust)
		want  protocol.Code
	}{
		"a newer one that locks":         {func() protocol.HoldList { return listOf(6, alice, bob) }, one, nil, ""},
		"the same again":                 {func() protocol.HoldList { return listOf(5, alice) }, one, nil, ""},
		"the same, signed by another":    {func() protocol.HoldList { return listOf(5, alice) }, both[1:], nil, ""},
		"an older one, replayed":         {func() protocol.HoldList { return listOf(4) }, both, nil, protocol.CodeHoldsOutdated},
		"another one of the version":     {func() protocol.HoldList { return listOf(5, bob) }, both, nil, protocol.CodeHoldsOutdated},
		"of another Mac":                 {func() protocol.HoldList { l := listOf(6); l.MacSerial = "C02OTHER"; return l }, both, nil, protocol.CodeCommandOtherMac},
		"of another device":              {func() protocol.HoldList { l := listOf(6); l.DeviceID = "device-2"; return l }, both, nil, protocol.CodeCommandOtherMac},
		"signed by nobody":               {func() protocol.HoldList { return listOf(6) }, nil, nil, protocol.CodeCommandSignature},
		"signed by a stranger":           {func() protocol.HoldList { return listOf(6) }, []ed25519.PrivateKey{testKey(9)}, nil, protocol.CodeCommandSignature},
		"an unlock with too few keys":    {func() protocol.HoldList { return listOf(6) }, one, nil, protocol.CodeCommandSignature},
		"an unlock with one key twice":   {func() protocol.HoldList { return listOf(6) }, []ed25519.PrivateKey{testKey(1), testKey(1)}, nil, protocol.CodeCommandSignature},
		"an unlock with both keys":       {func() protocol.HoldList { return listOf(6) }, both, nil, ""},
		"a lock that drops another":      {func() protocol.HoldList { return listOf(6, bob) }, one, nil, protocol.CodeCommandSignature},
		"a lock that lets another end":   {func() protocol.HoldList { a := alice; a.ExpiresAt = testNow.Add(1); return listOf(6, a, bob) }, one, nil, protocol.CodeCommandSignature},
		"a lock that the Mac forbids":    {func() protocol.HoldList { return listOf(6, alice, bob) }, both, func(t *Trust) { t.Allowed = []string{"vm.unlock"} }, protocol.CodeCommandUnlisted},
		"an unlock that the Mac forbids": {func() protocol.HoldList { return listOf(6) }, both, func(t *Trust) { t.Allowed = []string{"vm.lock"} }, protocol.CodeCommandUnlisted},
		"a lock that no key may sign":    {func() protocol.HoldList { return listOf(6, alice, bob) }, both, func(t *Trust) { t.Thresholds = map[string]int{"vm.lock": 0} }, protocol.CodeCommandSignature},
		"two of one machine":             {func() protocol.HoldList { return listOf(6, alice, alice) }, both, nil, protocol.CodeCommandInvalid},
		"two of one machine, in other letters": {func() protocol.HoldList {
			a := alice
			a.ID, a.ExpiresAt = strings.ToUpper(a.ID), testNow.Add(1)
			return listOf(6, alice, a)
		}, one, nil, protocol.CodeCommandInvalid},
		"force that was not signed": {func() protocol.HoldList { a := alice; a.Force = true; return listOf(6, a) }, nil, nil, protocol.CodeCommandSignature},
	} {
		t.Run(name, func(t *testing.T) {
			inHoldBubble(t, func(b *holdBench) {
				b.change(func(now *Circumstances) { now.Trust.Thresholds = map[string]int{"vm.unlock": 2} })
				b.give(5, alice)
				if c.trust != nil {
					b.change(func(now *Circumstances) { c.trust(&now.Trust) })
				}
				before := b.holds.Report()
				envelope := signHolds(t, c.list(), c.keys...)
				if got := b.holds.take(&envelope, 0); got != c.want {
					t.Fatalf("it is %q, want %q", got, c.want)
				}
				after := b.holds.Report()
				if c.want != "" && (after.Version != before.Version || len(after.Holds) != 1) {
					t.Errorf("what is held has changed: %d, %d", after.Version, len(after.Holds))
				}
				if c.want != "" && b.count(eventHoldsRefused) != 1 {
					t.Error("no event tells of it")
				}
				b.holds.take(&envelope, 0) // the portal sends it again with every answer
				if b.count(eventHoldsRefused) > 1 {
					t.Error("each answer makes an event")
				}
			})
		})
	}
}

// A list of holds can pass for nothing else, and nothing else for one.
func TestH69_PayloadTypes(t *testing.T) {
	inHoldBubble(t, func(b *holdBench) {
		payload, _ := signHolds(t, listOf(1, holdOf(aliceUID, vmID)), testKey(1)).Unverified()
		for _, kind := range []string{protocol.PayloadCommand, protocol.PayloadHead, ""} {
			if got := b.holds.take(new(protocol.Sign(kind, payload, testKey(1))), 0); got != protocol.CodeCommandSignature {
				t.Errorf("as %q it is %q", kind, got)
			}
		}
		if b.holds.Report() != nil {
			t.Error("a Mac that never had a list reports one")
		}
	})
}

// holdCommand is a lock or unlock with the list as it is after it.
func holdCommand(t testing.TB, kind string, vm protocol.VMKey, list protocol.HoldList, keys ...ed25519.PrivateKey) protocol.Command {
	t.Helper()
	params, err := json.Marshal(protocol.HoldsParams{Holds: signHolds(t, list, keys...)})
	if err != nil {
		t.Fatal(err)
	}
	command := commandOf("command-1", kind, vm.ID)
	command.Target.VMID, command.Target.UID, command.Params = vm.ID, vm.UID, params
	return command
}

// A command puts its list in force, once, and ends as what the list in force says of its
// machine: a list that came ahead of it has done it, a newer one may have undone it.
func TestCMD02_CMD03_H69_LockAndUnlock(t *testing.T) {
	t.Parallel()
	alice, bob := holdOf(aliceUID, vmID), holdOf(bobUID, otherID)
	done := func(code protocol.Code) *Outcome { return &Outcome{State: protocol.CommandSucceeded, Code: code} }
	one, stranger := testKey(1), testKey(9)
	for name, c := range map[string]struct {
		kind  string
		list  protocol.HoldList
		key   ed25519.PrivateKey
		want  *Outcome
		after uint64
	}{
		"lock":                         {"vm.lock", listOf(4, bob, alice), one, done(protocol.CodeHoldPlaced), 4},
		"unlock":                       {"vm.unlock", listOf(4, bob), one, done(protocol.CodeHoldLifted), 4},
		"lock that names no machine":   {"vm.lock", listOf(4, bob), one, &Outcome{State: protocol.CommandRejected, Code: protocol.CodeCommandInvalid}, 3},
		"unlock that names it":         {"vm.unlock", listOf(4, bob, alice), one, &Outcome{State: protocol.CommandRejected, Code: protocol.CodeCommandInvalid}, 3},
		"lock that is too old":         {"vm.lock", listOf(2, bob, alice), one, &Outcome{State: protocol.CommandFailed, Code: protocol.CodeHoldsOutdated}, 3},
		"unlock that is done already":  {"vm.unlock", listOf(2, bob), one, done(protocol.CodeHoldLifted), 3},
		"lock that a stranger's signs": {"vm.lock", listOf(4, bob, alice), stranger, &Outcome{State: protocol.CommandRejected, Code: protocol.CodeCommandSignature}, 3},
		"lock that drops another":      {"vm.lock", listOf(4, alice), one, done(protocol.CodeHoldPlaced), 4},
	} {
		t.Run(name, func(t *testing.T) {
			inHoldBubble(t, func(b *holdBench) {
				b.give(3, bob)
				command := holdCommand(t, c.kind, alice.VMKey, c.list, c.key)
				ready, seen, err := carryOut(t, b.holds.Executors()[c.kind], command)
				if err != nil {
					t.Fatal(err)
				}
				got := Outcome{State: seen.State, Code: seen.Code}
				if ready.State != "" {
					got = Outcome{State: ready.State, Code: ready.Code}
				}
				if got.State != c.want.State || got.Code != c.want.Code {
					t.Errorf("it is %s %s, want %s %s", got.State, got.Code, c.want.State, c.want.Code)
				}
				if version := b.holds.Report().Version; version != c.after {
					t.Errorf("version %d is in force, want %d", version, c.after)
				}
			})
		})
	}
}

// The signatures of a command count for the list in it, and only for its own type: a lock
// that one key may sign does not unlock another machine for which two are needed.
func TestH69_ThresholdsOfCommands(t *testing.T) {
	inHoldBubble(t, func(b *holdBench) {
		alice, bob := holdOf(aliceUID, vmID), holdOf(bobUID, otherID)
		b.give(1, bob)
		b.change(func(now *Circumstances) { now.Trust.Thresholds = map[string]int{"vm.unlock": 2} })
		swap := holdCommand(t, "vm.lock", alice.VMKey, listOf(2, alice), testKey(1))
		if ready, _, _ := carryOut(t, b.holds.Executors()["vm.lock"], swap); ready.Code != protocol.CodeCommandSignature {
			t.Errorf("a lock unlocks another machine: %q", ready.Code)
		}
		// The engine has seen two signatures on this command; its list has the first of them.
		unlock := holdCommand(t, "vm.unlock", bob.VMKey, listOf(2), testKey(1))
		if _, seen, _ := carryOut(t, b.holds.Executors()["vm.unlock"], unlock); seen.Code != protocol.CodeHoldLifted {
			t.Errorf("an unlock of two keys ends as %q", seen.Code)
		}
	})
}

// What a person on the Mac has released stays so, over restarts, the same list and the
// loss of the store, until the machine is locked anew.
func TestH29_Release(t *testing.T) {
	inHoldBubble(t, func(b *holdBench) {
		alice, bob := holdOf(aliceUID, vmID), holdOf(bobUID, otherID)
		b.mac.add(aliceUID, vmID)
		b.mac.add(bobUID, otherID)
		b.give(1, alice, bob)
		if _, err := b.holds.Release([]string{sourceID}, false, "root"); err == nil {
			t.Error("what is not held was released")
		}
		released, err := b.holds.Release([]string{vmID}, false, "root")
		if err != nil || len(released) != 1 || released[0].ReleasedBy != "root" {
			t.Fatalf("%d, %v", len(released), err)
		}
		wantFree := func(when string) {
			t.Helper()
			b.mac.start(aliceUID, vmID)
			b.mac.start(bobUID, otherID)
			time.Sleep(2 * holdLimit)
			b.wantState(aliceUID, vmID, protocol.HoldReleased, protocol.CodeHoldReleased)
			if a, other := b.mac.stateOf(aliceUID, vmID), b.mac.stateOf(bobUID, otherID); a != prlctl.StateRunning || other != prlctl.StateSuspended {
				t.Errorf("%s: the released one is %s, the other %s", when, a, other)
			}
		}
		wantFree("at once")
		b.restart(time.Minute)
		wantFree("after a restart")
		b.give(1, alice, bob)
		b.give(2, alice, bob, holdOf(503, sourceID))
		wantFree("after a list that names it as before")
		b.stop()
		if err := os.RemoveAll(filepath.Join(b.folder, "state")); err != nil {
			t.Fatal(err)
		}
		b.open()
		wantFree("after the store was lost")
		again := alice
		again.Since, again.CommandID = testNow.Add(time.Hour), "lock-2"
		b.give(3, again, bob, holdOf(503, sourceID))
		time.Sleep(2 * holdLimit)
		b.wantState(aliceUID, vmID, protocol.HoldKept, "")
		if events := b.count(eventHoldReleased); events != 1 {
			t.Errorf("%d events of the release", events)
		}
	})
}

// The list is held whatever becomes of the store: lost, or restored from an older backup.
func TestH22_H27_HoldsOutliveTheStore(t *testing.T) {
	inHoldBubble(t, func(b *holdBench) {
		b.mac.add(aliceUID, vmID)
		b.give(1)
		b.stop()
		older := filepath.Join(b.folder, "older")
		if err := os.CopyFS(older, os.DirFS(filepath.Join(b.folder, "state"))); err != nil {
			t.Fatal(err)
		}
		b.open()
		b.give(7, holdOf(aliceUID, vmID))
		for _, loss := range []string{"lost", "older"} {
			b.stop()
			if err := os.RemoveAll(filepath.Join(b.folder, "state")); err != nil {
				t.Fatal(err)
			}
			if loss == "older" {
				if err := os.CopyFS(filepath.Join(b.folder, "state"), os.DirFS(older)); err != nil {
					t.Fatal(err)
				}
			}
			b.mac.start(aliceUID, vmID)
			b.open()
			time.Sleep(holdLimit)
			if state := b.mac.stateOf(aliceUID, vmID); state != prlctl.StateSuspended || b.holds.Report().Version != 7 {
				t.Errorf("%s: it is %s", loss, state)
			}
			if got := b.holds.take(new(signHolds(t, listOf(6), testKey(1), testKey(2))), 0); got != protocol.CodeHoldsOutdated {
				t.Errorf("%s: an older list is %q", loss, got)
			}
		}
	})
}

// On another Mac, what was held on the first is not held (H02).
func TestH02_HoldsOfAnotherMac(t *testing.T) {
	inHoldBubble(t, func(b *holdBench) {
		b.mac.add(aliceUID, vmID)
		b.give(1, holdOf(aliceUID, vmID))
		b.change(func(now *Circumstances) { now.Target.Serial = "C02OTHER" })
		if err := b.store.Erase(); err != nil {
			t.Fatal(err)
		}
		b.holds.Recall()
		b.restart(0)
		b.mac.start(aliceUID, vmID)
		time.Sleep(2 * holdLimit)
		if state := b.mac.stateOf(aliceUID, vmID); state != prlctl.StateRunning || b.holds.Report() != nil {
			t.Errorf("it is %s", state)
		}
	})
}

// Only the trusted time ends a hold, and nothing revives one that has ended.
func TestH27_Expiry(t *testing.T) {
	inHoldBubble(t, func(b *holdBench) {
		b.mac.add(aliceUID, vmID)
		hold := holdOf(aliceUID, vmID)
		hold.ExpiresAt = testNow.Add(24 * time.Hour)
		b.give(1, hold)
		b.mu.Lock()
		b.shift = 48 * time.Hour // the user sets the clock
		b.mu.Unlock()
		b.mac.start(aliceUID, vmID)
		time.Sleep(holdLimit)
		b.wantState(aliceUID, vmID, protocol.HoldKept, "")
		time.Sleep(24 * time.Hour)
		b.wantState(aliceUID, vmID, protocol.HoldEnded, "")
		b.mac.start(aliceUID, vmID)
		b.mu.Lock()
		b.shift, b.began = -72*time.Hour, time.Now() // the trusted time as well is lost
		b.mu.Unlock()
		b.restart(time.Minute)
		time.Sleep(time.Hour)
		b.wantState(aliceUID, vmID, protocol.HoldEnded, "")
		if state := b.mac.stateOf(aliceUID, vmID); state != prlctl.StateRunning {
			t.Errorf("it is %s", state)
		}
		if events := b.count(eventHoldEnded); events != 1 {
			t.Errorf("%d events of the end", events)
		}
	})
}

// Autostart is off while a machine is held, and then as it was, unless somebody else has
// changed it; also where the agent is killed in between.
func TestH27_Autostart(t *testing.T) {
	t.Parallel()
	for name, ways := range map[string]struct {
		out  func(*holdBench)
		want string
	}{
		"unlock":            {func(b *holdBench) { b.give(2) }, "start-host"},
		"release":           {func(b *holdBench) { _, _ = b.holds.Release(nil, true, "root") }, "start-host"},
		"unlock, unchanged": {func(b *holdBench) { b.mac.set(aliceUID, vmID, "user-login"); b.give(2) }, "user-login"},
		"expiry":            {func(*holdBench) { time.Sleep(24 * time.Hour) }, "start-host"},
		"killed before it is put back": {func(b *holdBench) {
			b.mac.hang(aliceUID, true)
			b.give(2)
			b.stop()
			b.mac.hang(aliceUID, false)
			b.open()
		}, "start-host"},
	} {
		t.Run(name, func(t *testing.T) {
			inHoldBubble(t, func(b *holdBench) {
				b.mac.add(aliceUID, vmID).autostart = "start-host"
				hold := holdOf(aliceUID, vmID)
				hold.ExpiresAt = testNow.Add(24 * time.Hour)
				b.give(1, hold)
				time.Sleep(time.Minute)
				if got := b.mac.autostart(aliceUID, vmID); got != "off" {
					t.Errorf("while it is held it is %s", got)
				}
				b.restart(time.Minute)
				ways.out(b)
				time.Sleep(time.Minute)
				if got := b.mac.autostart(aliceUID, vmID); got != ways.want {
					t.Errorf("afterwards it is %s, want %s", got, ways.want)
				}
				_ = b.store.View(func(tx *store.Tx) error {
					return holdRecords.Each(tx, func(key string, record *holdRecord) error {
						if record.Autostart != "" {
							t.Errorf("%s is still owed %s", key, record.Autostart)
						}
						return nil
					})
				})
			})
		})
	}
}

// A machine is its id and its owner: renamed or moved it is the same; another account's
// of the same id is another one; registered under another id it is told to be gone.
func TestH21_H27_Identity(t *testing.T) {
	inHoldBubble(t, func(b *holdBench) {
		bundle := protocol.Bundle{Volume: "v", Inode: 7}
		b.mac.add(aliceUID, vmID)
		b.mac.add(bobUID, vmID)
		key := protocol.VMKey{ID: vmID, UID: aliceUID}
		b.give(1, holdOf(aliceUID, vmID))
		b.holds.Saw([]SeenVM{{VMKey: key, Bundle: bundle}, {VMKey: protocol.VMKey{ID: vmID, UID: bobUID}}}, []uint32{aliceUID, bobUID})
		b.mac.start(bobUID, vmID)
		b.mac.start(aliceUID, vmID)
		time.Sleep(2 * holdLimit)
		if alice, bob := b.mac.stateOf(aliceUID, vmID), b.mac.stateOf(bobUID, vmID); alice != prlctl.StateSuspended || bob != prlctl.StateRunning {
			t.Errorf("alice's is %s, bob's of the same id is %s", alice, bob)
		}
		moved := protocol.Bundle{Volume: "v", Inode: 8}
		b.holds.Saw([]SeenVM{{VMKey: key, Bundle: moved}}, []uint32{aliceUID})
		b.wantState(aliceUID, vmID, protocol.HoldKept, "")

		b.holds.Saw([]SeenVM{{VMKey: protocol.VMKey{ID: otherID, UID: aliceUID}, Bundle: moved}}, []uint32{bobUID})
		b.wantState(aliceUID, vmID, protocol.HoldKept, "") // alice's list was not whole
		b.holds.Saw([]SeenVM{{VMKey: protocol.VMKey{ID: otherID, UID: aliceUID}, Bundle: moved}}, []uint32{aliceUID})
		b.wantState(aliceUID, vmID, protocol.HoldNoVM, protocol.CodeTargetChanged)
		if b.count(eventHoldNoVM) != 1 {
			t.Error("no event tells that it is gone")
		}
		b.mac.start(aliceUID, vmID) // it is registered as before again, and started
		time.Sleep(holdLimit)
		if state := b.mac.stateOf(aliceUID, vmID); state != prlctl.StateSuspended {
			t.Errorf("it is %s", state)
		}
	})
}

// A machine that is shared is held whoever starts it.
func TestH21_H27_SharedMachine(t *testing.T) {
	inHoldBubble(t, func(b *holdBench) {
		b.mac.add(aliceUID, vmID)
		b.mac.add(bobUID, vmID)
		key := protocol.VMKey{ID: vmID, UID: aliceUID}
		b.give(1, holdOf(aliceUID, vmID))
		b.holds.Saw([]SeenVM{{VMKey: key, SeenBy: []uint32{bobUID}}}, []uint32{aliceUID, bobUID})
		b.mac.start(bobUID, vmID)
		time.Sleep(holdLimit)
		if state := b.mac.stateOf(bobUID, vmID); state != prlctl.StateSuspended {
			t.Errorf("it is %s", state)
		}
	})
}

// Below a root one account plays all users: the tool says whose machine runs.
func TestH27_BelowARoot(t *testing.T) {
	inHoldBubble(t, func(b *holdBench) {
		b.mac.root = true
		b.mac.add(aliceUID, vmID)
		b.mac.add(bobUID, vmID)
		b.give(1, holdOf(aliceUID, vmID))
		b.mac.start(bobUID, vmID)
		b.mac.start(aliceUID, vmID)
		for range 10 {
			time.Sleep(holdLimit)
			b.mac.start(aliceUID, vmID)
			b.mac.measure()
		}
		time.Sleep(holdLimit)
		if alice, bob := b.mac.stateOf(aliceUID, vmID), b.mac.stateOf(bobUID, vmID); alice != prlctl.StateSuspended || bob != prlctl.StateRunning {
			t.Errorf("alice's is %s, bob's of the same id is %s", alice, bob)
		}
	})
}

// What holds is told with every check-in, also when nothing is held any more.
func TestH69_ReportIsAState(t *testing.T) {
	inHoldBubble(t, func(b *holdBench) {
		if b.holds.Report() != nil {
			t.Error("there is a report without a list")
		}
		b.give(1, holdOf(bobUID, otherID), holdOf(aliceUID, vmID))
		report := b.holds.Report()
		order := func(a, b protocol.HoldState) int { return a.VMKey.Compare(b.VMKey) }
		if report.Version != 1 || len(report.Holds) != 2 || !slices.IsSortedFunc(report.Holds, order) {
			t.Errorf("version %d, %d holds", report.Version, len(report.Holds))
		}
		b.give(2)
		synctest.Wait()
		b.restart(0)
		if report := b.holds.Report(); report == nil || report.Version != 2 || len(report.Holds) != 0 {
			t.Errorf("%v", report)
		}
	})
}
