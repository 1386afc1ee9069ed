package command

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	"github.com/rs/zerolog"

	"prlagent/agent/protocol"
	"prlagent/prlctl"
	"prlagent/store"
)

// maxWrites is the budget of one command: flushes to the disk, besides backups.
const maxWrites = 5

// What each type of command costs, from its coming to its acknowledgement: who changes
// something on the Mac has a line of the intent file more.
func TestBudget_FiveSyncedWritesACommandOfAnyType(t *testing.T) {
	for _, row := range protocol.CommandTypes {
		t.Run(row.Type, func(t *testing.T) {
			inBubble(t, func(b *bench) {
				want := maxWrites - 1
				if row.Changes {
					want = maxWrites
				}
				vm := ""
				if row.OnVM {
					vm = "vm-1"
				}
				before := b.store.Commits()
				b.give(commandOf("one", row.Type, vm))
				b.want(map[string]string{"one": "succeeded command_done"})
				b.acknowledge()
				if writes := int(b.store.Commits()-before) + b.syncs; writes != want {
					b.t.Errorf("%d synced writes, want %d", writes, want)
				}
			})
		})
	}
}

// A lock and an unlock cost what other commands do. Beyond that is what the hold writes,
// which outlives its command (H69): the list in one commit, the event that the machine is
// held in another, and the copy of the list outside of the store, its backup (H22, H29). A
// command whose list came ahead of it has nothing left to begin.
func TestBudget_SyncedWritesOfAHold(t *testing.T) {
	vm := protocol.VMKey{ID: vmID, UID: aliceUID}
	for name, test := range map[string]struct {
		ahead        bool
		lock, unlock costs
	}{
		"the command alone": {
			lock:   costs{commits: maxWrites - 1 + 2, intents: 1, copies: 1},
			unlock: costs{commits: maxWrites - 1 + 1, intents: 1, copies: 1},
		},
		"its list came ahead": {ahead: true, lock: costs{commits: 3}, unlock: costs{commits: 3}},
	} {
		t.Run(name, func(t *testing.T) {
			inHoldBubble(t, func(b *holdBench) {
				b.mac.add(aliceUID, vmID)
				m := newMeter(b)
				defer m.stop()
				for _, one := range []struct {
					id, kind string
					list     protocol.HoldList
					want     costs
				}{
					{"lock-1", lockType, listOf(1, holdOf(aliceUID, vmID)), test.lock},
					{"unlock-1", unlockType, listOf(2), test.unlock},
				} {
					if test.ahead {
						b.give(one.list.Version, one.list.Holds...)
					}
					command := holdCommand(t, one.kind, vm, one.list, testKey(1))
					command.CommandID = one.id
					if got := m.costOf(signed(t, command, testKey(1)), one.id); got != one.want {
						t.Errorf("%s costs %+v, want %+v", one.kind, got, one.want)
					}
				}
				if state := b.mac.stateOf(aliceUID, vmID); state != prlctl.StateStopped {
					t.Errorf("the machine is %s", state)
				}
			})
		})
	}
}

// costs are flushes to the disk.
type costs struct{ commits, intents, copies int }

// meter is a Runner beside the holds of a bench, on their store.
type meter struct {
	*holdBench
	runner  *Runner
	intents int
	stop    func()
}

func newMeter(b *holdBench) *meter {
	m := &meter{holdBench: b}
	var err error
	m.runner, err = New(Options{
		Store: b.store, Folder: b.folder, Executors: b.holds.Executors(), Log: zerolog.Nop(), Circumstances: b.circumstances,
		Commit: func(change func(*store.Tx) error, _ ...protocol.Event) error { return b.store.Update(change) },
		SyncIntents: func(file *os.File) error {
			if info, err := file.Stat(); err != nil || !info.IsDir() { // the folder is flushed once, when the file is made
				m.intents++
			}
			return file.Sync()
		},
	})
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		m.runner.Run(ctx)
	}()
	m.stop = func() {
		cancel()
		<-ended
	}
	return m
}

// costOf carries a command out, up to its acknowledgement.
func (m *meter) costOf(order protocol.Envelope, id string) costs {
	m.t.Helper()
	commits, intents, copied := m.store.Commits(), m.intents, m.copyOfHolds()
	m.runner.Take(nil, []protocol.Envelope{order})
	synctest.Wait()
	if _, results := m.runner.Report(); len(results) != 1 || results[0].State != protocol.CommandSucceeded {
		m.t.Fatalf("%s ended as %+v", id, results)
	}
	if err := m.store.Update(func(tx *store.Tx) error { return m.runner.Settle(tx, []string{id}) }); err != nil {
		m.t.Fatal(err)
	}
	m.runner.Settled([]string{id})
	cost := costs{commits: int(m.store.Commits() - commits), intents: m.intents - intents}
	if now := m.copyOfHolds(); now != nil && !os.SameFile(now, copied) {
		cost.copies = 1
	}
	return cost
}

// copyOfHolds is the file of the copy, which each write replaces.
func (m *meter) copyOfHolds() os.FileInfo {
	info, err := os.Lstat(filepath.Join(m.folder, HoldsFile))
	if err != nil {
		return nil
	}
	return info
}
