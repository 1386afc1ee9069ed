package command

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"prlagent/agent/protocol"
	"prlagent/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is a Runner on a real store, with an executor that does as it is told.
type bench struct {
	t      testing.TB
	folder string
	store  *store.Store
	runner *Runner
	now    Circumstances
	syncs  int // of the intent file
	news   int
	events []protocol.Event

	mu    sync.Mutex
	ready map[string]Readiness // by command id
	holds map[string]chan struct{}
	slow  map[string]chan struct{} // Prepare waits for these
	acts  []string                 // command ids, in the order of their acts
	seen  Outcome
	lost  error // of Verify

	// Where they are set, they stand before the bench's.
	executor Executor
	during   func(*Circumstances)
	disk     func() error
}

var deviceKey = testKey(7)

func newBench(t testing.TB) *bench {
	t.Helper()
	b := &bench{
		t: t, folder: testFolder(t), now: goodCircumstances(), ready: map[string]Readiness{}, holds: map[string]chan struct{}{}, slow: map[string]chan struct{}{},
		seen: Outcome{State: protocol.CommandSucceeded, Code: protocol.CodeCommandDone},
	}
	b.now.Trust.Allowed = allListed()
	b.open()
	return b
}

func (b *bench) open() {
	state, _, err := store.Open(context.Background(), filepath.Join(b.folder, "state"), store.Options{Log: zerolog.Nop(), Collections: Collections()})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = state.Close() })
	b.store = state
	executors := map[string]Executor{}
	for _, row := range protocol.CommandTypes {
		executors[row.Type] = (*benchExecutor)(b)
		if b.executor != nil {
			executors[row.Type] = b.executor
		}
	}
	b.runner, err = New(Options{
		Store: state, Folder: b.folder, Executors: executors, Log: zerolog.Nop(), News: b.countNews,
		Commit: func(change func(*store.Tx) error, events ...protocol.Event) error {
			if b.disk != nil {
				if err := b.disk(); err != nil {
					return err
				}
			}
			b.events = append(b.events, events...)
			return state.Update(change)
		},
		Circumstances: func() *Circumstances {
			b.mu.Lock()
			defer b.mu.Unlock()
			now := b.now
			if b.during != nil {
				b.during(&now)
			}
			return &now
		},
		Sign: func(payload []byte) (protocol.Envelope, bool) {
			return protocol.Sign(protocol.PayloadReceipt, payload, deviceKey), true
		},
		SyncIntents: func(file *os.File) error {
			if filepath.Base(file.Name()) == IntentFile { // and not its folder, once
				b.syncs++
			}
			return file.Sync()
		},
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) countNews() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.news++
}

// run lets the Runner work in a bubble; stop ends it.
func (b *bench) run() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b.runner.Run(ctx)
	}()
	synctest.Wait()
	return func() {
		cancel()
		<-ended
	}
}

// give delivers commands, and lets them go on as far as they can.
func (b *bench) give(commands ...protocol.Command) {
	b.t.Helper()
	var orders []protocol.Envelope
	for _, command := range commands {
		orders = append(orders, signed(b.t, command, testKey(1)))
	}
	b.runner.Take(nil, orders)
	synctest.Wait()
}

func (b *bench) look() {
	b.runner.Look()
	synctest.Wait()
}

// acknowledge settles all results, as an answer of the portal does.
func (b *bench) acknowledge() {
	b.t.Helper()
	_, results := b.runner.Report()
	var ids []string
	for _, result := range results {
		ids = append(ids, result.CommandID)
	}
	if err := b.store.Update(func(tx *store.Tx) error { return b.runner.Settle(tx, ids) }); err != nil {
		b.t.Fatal(err)
	}
	b.runner.Settled(ids)
}

func (b *bench) actsSoFar() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.acts)
}

// want compares what the portal is told, "state code" by the end of the id.
func (b *bench) want(want map[string]string) {
	b.t.Helper()
	open, results := b.runner.Report()
	got := map[string]string{}
	for _, one := range open {
		got[one.CommandID] = one.State + " " + string(one.Code)
	}
	for _, one := range results {
		got[one.CommandID] = one.State + " " + string(one.Code)
	}
	for id, words := range want {
		if got[id] != words {
			b.t.Errorf("%s is %q, want %q", id, got[id], words)
		}
	}
	if len(got) != len(want) {
		b.t.Errorf("told of %v, want %v", got, want)
	}
}

type benchExecutor bench

func (x *benchExecutor) Prepare(_ context.Context, job *Job) (*Readiness, error) {
	x.mu.Lock()
	slow := x.slow[job.Command.CommandID]
	x.mu.Unlock()
	if slow != nil {
		<-slow
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	ready := x.ready[job.Command.CommandID]
	return &ready, nil
}

func (x *benchExecutor) Act(ctx context.Context, job *Job) error {
	x.mu.Lock()
	x.acts = append(x.acts, job.Command.CommandID)
	hold := x.holds[job.Command.CommandID]
	x.mu.Unlock()
	if hold == nil {
		return nil
	}
	select {
	case <-hold:
	case <-ctx.Done():
	}
	return ctx.Err()
}

func (x *benchExecutor) Verify(context.Context, *Job) (*Outcome, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	seen := x.seen
	return &seen, x.lost
}

// commandOf is a command of a type on a machine; an empty one is the whole Mac.
func commandOf(id, kind, vm string) protocol.Command {
	command := goodCommand()
	command.CommandID, command.Type, command.Target.VMID = id, kind, vm
	if vm == "" {
		command.Target.UID = 0
	}
	if kind == "vm.lock" || kind == "vm.unlock" {
		command.Params, _ = json.Marshal(protocol.HoldsParams{Holds: protocol.Sign(protocol.PayloadHolds, []byte("{}"), testKey(1))})
	}
	return command
}

// inBubble runs a test of a Runner with time that passes by itself.
func inBubble(t *testing.T, test func(*bench)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		stop := b.run()
		test(b)
		stop()
	})
}

// From its coming to its acknowledgement a command costs at most five flushes to the
// disk, with its events.
func TestBudget_FiveSyncedWritesACommand(t *testing.T) {
	inBubble(t, func(b *bench) {
		before := b.store.Commits()
		b.give(commandOf("one", "vm.delete", "vm-1"))
		b.want(map[string]string{"one": "succeeded command_done"})
		b.acknowledge()
		if writes := int(b.store.Commits()-before) + b.syncs; writes != 5 {
			b.t.Errorf("%d synced writes, want 5", writes)
		}
		var kinds []string
		for _, event := range b.events {
			kinds = append(kinds, event.Type)
		}
		if want := []string{"command_received", "command_started", "command_ended"}; !slices.Equal(kinds, want) {
			b.t.Errorf("events %q, want %q", kinds, want)
		}
		b.want(map[string]string{})
	})
}

// What waits writes nothing, however often it is looked at.
func TestBudget_WaitingWritesNothing(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.ready["one"] = Readiness{State: protocol.CommandDeferred, Code: protocol.CodeWaitsForStop}
		b.give(commandOf("one", "vm.delete", "vm-1"))
		before := b.store.Commits()
		for range 10 {
			b.look()
		}
		if after := b.store.Commits(); after != before {
			b.t.Errorf("%d commits", after-before)
		}
		if b.news != 1 {
			b.t.Errorf("the portal is told %d times that it waits", b.news)
		}
	})
}

// A repeat of a command that has ended is answered from the record, before and after
// the portal has the result, and is never done again.
func TestPROTOCOL11_RepeatsAreAnsweredFromTheRecord(t *testing.T) {
	inBubble(t, func(b *bench) {
		command := commandOf("one", "vm.delete", "vm-1")
		b.give(command)
		b.give(command)
		b.acknowledge()
		b.want(map[string]string{})
		forged := command
		forged.Target.VMID = "vm-3"
		for range 3 {
			b.give(command, forged)
			b.want(map[string]string{"one": "succeeded command_done"})
		}
		b.acknowledge()
		b.want(map[string]string{})
		if acts := b.actsSoFar(); len(acts) != 1 {
			b.t.Errorf("acts: %q", acts)
		}
	})
}

// A command is cancelled before it starts, and not after; one that comes with its
// cancellation, or after it, never starts (H03).
func TestH03_PROTOCOL16_Cancel(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.ready["waits"] = Readiness{State: protocol.CommandDeferred, Code: protocol.CodeWaitsForStop}
		b.holds["runs"] = make(chan struct{})
		b.give(commandOf("waits", "vm.delete", "vm-1"), commandOf("runs", "vm.lock", "vm-3"))
		b.want(map[string]string{"waits": "deferred waits_for_stop", "runs": "running "})
		order := signed(b.t, commandOf("both", "vm.restart", "vm-4"), testKey(1))
		b.runner.Take([]string{"waits", "runs", "both", "later"}, []protocol.Envelope{order})
		synctest.Wait()
		b.want(map[string]string{
			"waits": "cancelled command_cancelled", "both": "cancelled command_cancelled", "later": "cancelled command_cancelled",
			"runs": "running command_too_late",
		})
		b.acknowledge()
		b.give(commandOf("later", "vm.restart", "vm-5"), commandOf("waits", "vm.delete", "vm-1"))
		close(b.holds["runs"])
		synctest.Wait()
		b.want(map[string]string{
			"runs": "succeeded command_done", "later": "cancelled command_cancelled", "waits": "cancelled command_cancelled",
		})
		_, results := b.runner.Report()
		if at := slices.IndexFunc(results, func(r protocol.Result) bool { return r.CommandID == "runs" }); at >= 0 && results[at].Observed["cancel"] != "command_too_late" {
			b.t.Errorf("the admin is not told that it was too late: %v", results[at].Observed)
		}
		if acts := b.actsSoFar(); !slices.Equal(acts, []string{"runs"}) {
			b.t.Errorf("acts: %q", acts)
		}
	})
}

// The fifth counted command of a day waits, others do not; after a day it starts.
func TestH31_PROTOCOL15_LimitOfDestructiveCommands(t *testing.T) {
	inBubble(t, func(b *bench) {
		for n := range 5 {
			b.give(commandOf(fmt.Sprintf("delete-%d", n), "vm.delete", fmt.Sprintf("vm-1%d", n)))
		}
		b.give(commandOf("lock", "vm.lock", "vm-20"))
		b.acknowledge()
		b.want(map[string]string{"delete-4": "deferred command_limit"})
		b.now.Clock = Clock{Wall: testNow.Add(23 * time.Hour), Trusted: testNow.Add(23 * time.Hour), Likely: testNow.Add(23 * time.Hour), Proven: true}
		b.look()
		b.want(map[string]string{"delete-4": "deferred command_limit"})
		b.now.Trust.Limit = 5
		b.look()
		b.want(map[string]string{"delete-4": "succeeded command_done"})
	})
}

// Commands on one machine go one after the other in the order in which they came;
// other machines wait for nobody, and what waits keeps nothing waiting.
func TestLanes(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.holds["first"] = make(chan struct{})
		b.ready["waits"] = Readiness{State: protocol.CommandDeferred, Code: protocol.CodeVMBusy}
		b.give(
			commandOf("first", "vm.lock", "vm-1"), commandOf("second", "vm.restart", "vm-1"), commandOf("third", "vm.unlock", "vm-1"),
			commandOf("waits", "vm.delete", "vm-3"), commandOf("behind", "vm.lock", "vm-3"),
			commandOf("mac", "license.deactivate", ""),
		)
		acts := b.actsSoFar()
		slices.Sort(acts)
		if !slices.Equal(acts, []string{"behind", "first", "mac"}) {
			b.t.Errorf("acts: %q", acts)
		}
		close(b.holds["first"])
		synctest.Wait()
		acts = b.actsSoFar()
		if tail := acts[len(acts)-2:]; !slices.Equal(tail, []string{"second", "third"}) {
			b.t.Errorf("acts: %q", acts)
		}
	})
}

// An attempt that hangs is ended at its limit; of its outcome nothing is believed
// but what is seen.
func TestH23_HangingAttemptIsLookedAt(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.holds["hangs"] = make(chan struct{})
		command := commandOf("hangs", "vm.delete", "vm-1")
		command.TimeoutS = 60
		b.seen = Outcome{}
		b.give(command)
		time.Sleep(61 * time.Second)
		synctest.Wait()
		time.Sleep(61 * time.Second)
		synctest.Wait()
		b.want(map[string]string{"hangs": "failed not_done"})
		if acts := b.actsSoFar(); len(acts) != 2 {
			b.t.Errorf("acts: %q", acts)
		}
	})
}

// What cannot be seen is tried once, and ends as outcome_unknown (H26).
func TestH26_OnceOnly(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.lost = errors.New("no event since")
		command := commandOf("restart", "vm.restart", "vm-1")
		command.TimeoutS = 60
		b.give(command)
		b.want(map[string]string{"restart": "running not_observable"})
		b.now.Clock.Wall, b.now.Clock.Likely = testNow.Add(time.Hour), testNow.Add(time.Hour)
		b.look()
		b.want(map[string]string{"restart": "failed outcome_unknown"})
		b.seen, b.lost = Outcome{}, nil
		b.give(commandOf("again", "vm.restart", "vm-3"))
		b.acknowledge()
		if acts := b.actsSoFar(); !slices.Equal(acts, []string{"restart", "again"}) {
			b.t.Errorf("acts: %q", acts)
		}
	})
}

// The envelope is verified again, against the keys, list and mode of that moment,
// before a command that has waited starts (H23).
func TestH23_CheckedAgainBeforeTheStart(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Circumstances)
		want   string
	}{
		"the key is not trusted any more": {func(n *Circumstances) { n.Trust.Keys = trusted(testKey(2)) }, "rejected command_signature"},
		"two keys are needed now":         {need(2), "rejected command_signature"},
		"the type is struck":              {func(n *Circumstances) { n.Trust.Allowed = nil }, "rejected command_unlisted"},
		"it only monitors now":            {func(n *Circumstances) { n.Trust.Mode = protocol.ModeMonitor }, "rejected command_monitor"},
		"its time is over":                {func(n *Circumstances) { n.Clock.Trusted = testNow.Add(48 * time.Hour) }, "expired command_expired"},
		"the machine went to another":     {func(n *Circumstances) { n.Target.Owners = func(string) []uint32 { return []uint32{502} } }, "rejected target_owner"},
		"this is another Mac":             {func(n *Circumstances) { n.Target.Serial = "C02OTHER" }, "rejected command_other_mac"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(b *bench) {
				b.ready["one"] = Readiness{State: protocol.CommandDeferred, Code: protocol.CodeWaitsForStop}
				b.give(commandOf("one", "vm.delete", "vm-1"))
				b.ready["one"] = Readiness{}
				c.change(&b.now)
				b.look()
				b.want(map[string]string{"one": c.want})
				if acts := b.actsSoFar(); len(acts) != 0 {
					b.t.Errorf("acts: %q", acts)
				}
			})
		})
	}
}

// What is cancelled or not trusted any more while it is prepared does not start: the
// last decision is made in one breath with the record of the attempt.
func TestH03_H23_CheckedAgainAfterPreparing(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*bench)
		want   string
	}{
		"cancelled": {func(b *bench) { b.runner.Take([]string{"one"}, nil) }, "cancelled command_cancelled"},
		"only monitored": {func(b *bench) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.now.Trust.Mode = protocol.ModeMonitor
		}, "rejected command_monitor"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(b *bench) {
				b.slow["one"] = make(chan struct{})
				b.give(commandOf("one", "vm.delete", "vm-1"))
				b.want(map[string]string{"one": "acknowledged "})
				c.change(b)
				close(b.slow["one"])
				synctest.Wait()
				b.want(map[string]string{"one": c.want})
				if acts := b.actsSoFar(); len(acts) != 0 {
					b.t.Errorf("acts: %q", acts)
				}
			})
		})
	}
}

// After a new epoch nothing that came before is begun, also where the order names no
// epoch: it is looked at whether it is so, and else it has failed.
func TestH22_NewEpochEndsWhatWasOpen(t *testing.T) {
	for name, c := range map[string]struct {
		seen Outcome
		want string
	}{
		"it is so":     {Outcome{State: protocol.CommandSucceeded, Code: protocol.CodeVerifiedAbsent}, "succeeded verified_absent"},
		"it is not so": {Outcome{}, "failed journal_lost"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(b *bench) {
				b.ready["one"] = Readiness{State: protocol.CommandDeferred, Code: protocol.CodeWaitsForStop}
				command := commandOf("one", "vm.delete", "vm-1")
				command.Target.Epoch = ""
				b.give(command)
				b.mu.Lock()
				b.ready["one"], b.seen, b.now.Target.Epoch = Readiness{}, c.seen, "epoch-2"
				b.mu.Unlock()
				b.look()
				b.want(map[string]string{"one": c.want})
				if acts := b.actsSoFar(); len(acts) != 0 {
					b.t.Errorf("acts: %q", acts)
				}
			})
		})
	}
}

// The receipt is the device's signed word for the result, and for the exact order.
func TestReceiptsAreSigned(t *testing.T) {
	inBubble(t, func(b *bench) {
		order := signed(b.t, commandOf("one", "vm.delete", "vm-1"), testKey(1))
		b.runner.Take(nil, []protocol.Envelope{order})
		synctest.Wait()
		_, results := b.runner.Report()
		public := deviceKey.Public().(ed25519.PublicKey)
		payload, err := results[0].Receipt.Verify(protocol.PayloadReceipt, []protocol.TrustedKey{{ID: protocol.KeyID(public), Key: public}}, 1)
		if err != nil {
			b.t.Fatal(err)
		}
		var receipt protocol.Receipt
		if err := json.Unmarshal(payload, &receipt); err != nil {
			b.t.Fatal(err)
		}
		_, digest, _ := claimed(&order)
		if receipt.CommandSHA256 != digest || receipt.DeviceID != "device-1" || receipt.MacSerial != "C02TEST" || receipt.Epoch != "epoch-1" ||
			receipt.Result.State != protocol.CommandSucceeded || receipt.Result.Receipt != nil {
			b.t.Errorf("%+v", receipt)
		}
	})
}

// After a restart everything is as it was: what waits, what ended, and since when.
func TestCMD12_RestartKeepsTheJournal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		stop := b.run()
		b.ready["waits"] = Readiness{State: protocol.CommandDeferred, Code: protocol.CodeWaitsForStop}
		b.give(commandOf("waits", "vm.delete", "vm-1"), commandOf("ended", "vm.lock", "vm-3"))
		b.want(map[string]string{"waits": "deferred waits_for_stop", "ended": "succeeded command_done"})
		before, _ := b.runner.Records()
		stop()
		_ = b.store.Close()
		b.open()
		b.want(map[string]string{"waits": "deferred waits_for_stop", "ended": "succeeded command_done"})
		after, err := b.runner.Records()
		if err != nil || len(after) != 2 || len(after[0].Steps) != len(before[0].Steps) || len(after[1].Steps) != len(before[1].Steps) {
			t.Errorf("%+v, then %+v, %v", before, after, err)
		}
		stop = b.run()
		if b.news == 0 {
			t.Error("a new daemon does not tell the result at once")
		}
		stop()
	})
}

// A daemon that has just begun does not know yet which Mac it is on: what waits is not
// refused as an order for another Mac, what comes is not taken, and what has begun gets a
// receipt that names the Mac.
func TestH20_H23_WaitsUntilTheMacIsKnown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		stop := b.run()
		b.ready["waits"] = Readiness{State: protocol.CommandDeferred, Code: protocol.CodeWaitsForStop}
		b.lost = errors.New("cannot tell now")
		b.give(commandOf("waits", "vm.delete", "vm-1"), commandOf("begun", "vm.delete", "vm-3"))
		stop()
		_ = b.store.Close()
		serial := b.now.Target.Serial
		b.now.Target.Serial, b.lost = "", nil
		b.open()
		stop = b.run()
		b.look()
		b.give(commandOf("comes", "inventory.refresh", ""))
		b.want(map[string]string{"waits": "deferred waits_for_stop", "begun": "running not_observable"})
		b.mu.Lock()
		b.now.Target.Serial = serial
		b.mu.Unlock()
		b.look()
		b.give(commandOf("comes", "inventory.refresh", ""))
		b.want(map[string]string{"waits": "deferred waits_for_stop", "begun": "succeeded command_done", "comes": "succeeded command_done"})
		_, results := b.runner.Report()
		for _, result := range results {
			payload, err := result.Receipt.Unverified()
			var receipt protocol.Receipt
			if err != nil || json.Unmarshal(payload, &receipt) != nil || receipt.MacSerial != serial {
				t.Errorf("%s: the receipt is of the Mac %q, %v", result.CommandID, receipt.MacSerial, err)
			}
		}
		stop()
	})
}

// BenchmarkOpenJournal opens a journal of 10,000 commands that the portal has the
// results of: the budget is 100 ms.
func BenchmarkOpenJournal(b *testing.B) {
	bench := newBench(b)
	order := signed(b, goodCommand(), testKey(1))
	err := bench.store.Update(func(tx *store.Tx) error {
		for n := range 10_000 {
			command := commandOf(fmt.Sprintf("0195500a-0000-7000-8000-%012d", n), "vm.delete", "vm-1")
			r := received(&order, &command, "", &bench.now)
			r.begin(nil, testNow)
			r.end(&Outcome{State: protocol.CommandSucceeded, Code: protocol.CodeCommandDone}, testNow)
			r.Result.Receipt = &order
			if err := openRecords.Put(tx, r.ID, r); err != nil {
				return err
			}
			if err := settle(tx, []string{r.ID}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	for n := range 10_000 {
		bench.runner.intents.lines = append(bench.runner.intents.lines, *testIntent(fmt.Sprintf("0195500a-0000-7000-8000-%012d", n), 1))
	}
	if err := bench.runner.intents.prune(testNow.Add(protocol.CommandsKeptFor), true); err != nil {
		b.Fatal(err)
	}
	_ = bench.store.Close()
	for b.Loop() {
		bench.open()
		_ = bench.store.Close()
	}
}

// A result is told until the commit that settles it is there.
func TestPROTOCOL11_AResultThatIsNotSettledIsToldAgain(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.give(commandOf("one", "vm.delete", "vm-1"))
		_, results := b.runner.Report()
		if len(results) != 1 {
			b.t.Fatalf("results are %+v", results)
		}
		full := errors.New("no space left on device")
		if err := b.store.Update(func(tx *store.Tx) error {
			return errors.Join(b.runner.Settle(tx, []string{results[0].CommandID}), full)
		}); !errors.Is(err, full) {
			b.t.Fatal(err)
		}
		b.want(map[string]string{"one": "succeeded command_done"})
	})
}

// What comes after a restart comes after what was there before.
func TestPROTOCOL10_OrderOutlivesARestart(t *testing.T) {
	b := newBench(t)
	for i, name := range []string{"one", "two", "three", "four", "five", "six", "seven", "eight"} {
		record := received(&protocol.Envelope{}, new(commandOf(name, "vm.delete", "vm-1")), "", &b.now)
		fresh := map[string]*Record{}
		b.runner.engine.addFresh(record, fresh)
		if err := b.runner.journal.keep(nil, fresh[record.ID]); err != nil {
			t.Fatal(err)
		}
		b.runner.engine.arrivals = 0 // as in another daemon
		if err := b.runner.engine.recall(); err != nil {
			t.Fatal(err)
		}
		if list := b.runner.engine.inOrder(); len(list) != i+1 || list[i].ID != record.ID {
			t.Errorf("after %s the order is %+v", name, list)
		}
	}
}

// Up to when commands are forgotten is in the intent file before the first of them is:
// should the journal not be changed, or the time turn out to be wrong, none starts again.
func TestH24_WhatIsForgottenIsWrittenDownFirst(t *testing.T) {
	b := newBench(t)
	record := received(&protocol.Envelope{}, new(commandOf("one", "vm.delete", "vm-1")), "", &b.now)
	record.end(&Outcome{State: protocol.CommandExpired}, b.now.Clock.Wall)
	until := keptUntil(record.Command.ExpiresAt, record.ReceivedAt)
	if want := record.Command.ExpiresAt.Add(180 * 24 * time.Hour); !until.Equal(want) {
		t.Errorf("it is kept until %v, want %v", until, want)
	}
	if err := b.store.Update(func(tx *store.Tx) error { return endedRecords.Put(tx, record.ID, record) }); err != nil {
		t.Fatal(err)
	}
	full := errors.New("no space left on device")
	b.runner.journal.commit = func(func(*store.Tx) error, ...protocol.Event) error { return full }
	if err := b.runner.prune(until); !errors.Is(err, full) {
		t.Fatal(err)
	}
	if got := b.runner.intents.prunedTo(); !got.Equal(record.Command.ExpiresAt.Truncate(time.Second)) {
		t.Errorf("forgotten up to %v, want %v", got, record.Command.ExpiresAt)
	}
}
