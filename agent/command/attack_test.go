package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"prlagent/agent/lane"
	"prlagent/agent/protocol"
)

// troubledJournal is a journal on a disk that has its days.
type troubledJournal struct {
	recordKeeper
	refuses func(records []*Record) error
	lost    string // a command whose record cannot be read
	kept    int    // records
}

func (j *troubledJournal) keep(events []protocol.Event, records ...*Record) error {
	if j.refuses != nil {
		if err := j.refuses(records); err != nil {
			return err
		}
	}
	j.kept += len(records)
	return j.recordKeeper.keep(events, records...)
}

func (j *troubledJournal) ended(id string) (*Record, error) {
	if id == j.lost {
		return nil, errors.New("its checksum is wrong")
	}
	return j.recordKeeper.ended(id)
}

// trouble puts a troubled journal under the Runner. Nothing may run.
func (b *bench) trouble() *troubledJournal {
	j := &troubledJournal{recordKeeper: b.runner.engine.journal}
	b.runner.engine.journal = j
	return j
}

// setClock sets this Mac's own clock, and what follows from it.
func (b *bench) setClock(change func(*Clock)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change(&b.now.Clock)
}

// A daemon that was just started does not know yet which Mac it is on, and refuses no
// command for that: neither one that waited in the journal, nor one that comes now.
func TestH20_H23_AMacThatIsNotKnownYetRefusesNothing(t *testing.T) {
	for name, forget := range map[string]func(*Target){
		"no device id": func(t *Target) { t.DeviceID = "" },
		"no serial":    func(t *Target) { t.Serial = "" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				stop := b.run()
				b.ready["one"] = Readiness{State: protocol.CommandDeferred, Code: protocol.CodeWaitsForStop}
				b.give(commandOf("one", "vm.delete", "vm-1"))
				stop()
				_ = b.store.Close()

				known := b.now.Target
				forget(&b.now.Target)
				b.ready["one"] = Readiness{}
				b.open()
				stop = b.run()
				b.give(commandOf("two", "vm.lock", "vm-3"))
				b.want(map[string]string{"one": "deferred waits_for_stop"})
				b.mu.Lock()
				b.now.Target = known
				b.mu.Unlock()
				b.look()
				b.give(commandOf("two", "vm.lock", "vm-3"))
				b.want(map[string]string{"one": "succeeded command_done", "two": "succeeded command_done"})
				stop()
			})
		})
	}
}

// What an executor saw is there until the result is on the disk: where the disk is full
// for a while, nothing is done a second time, and no success becomes a doubt.
func TestH23_AFullDiskAtTheResultRepeatsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		uploads := 0
		diagnostics := &Diagnostics{
			Make: func(context.Context) ([]byte, error) { return []byte("bundle"), nil },
			Upload: func(context.Context, []byte) (string, error) {
				uploads++
				return fmt.Sprintf("digest-%d", uploads), nil
			},
		}
		b.runner.engine.executors["diagnostics"] = diagnostics
		refusals := 0
		b.trouble().refuses = func(records []*Record) error {
			if records[0].hasEnded() && refusals < 3 {
				refusals++
				return errors.New("no space left on device")
			}
			return nil
		}
		stop := b.run()
		b.give(commandOf("one", "diagnostics", ""))
		for range 5 {
			b.look()
		}
		b.want(map[string]string{"one": "succeeded command_done"})
		_, results := b.runner.Report()
		if uploads != 1 || results[0].Observed["sha256"] != "digest-1" || refusals != 3 {
			t.Errorf("%d uploads, %d refusals, %+v", uploads, refusals, results)
		}
		if _, left := diagnostics.ended.Load("one"); left {
			t.Error("what is over is still in memory")
		}
		stop()
	})
}

// panics is an executor that meets something that nobody thought of.
type panics struct{ in string }

func (p panics) at(step string) {
	if p.in == step {
		panic("a machine that nobody thought of")
	}
}

func (p panics) Prepare(context.Context, *Job) (*Readiness, error) {
	p.at("prepare")
	return &Readiness{}, nil
}
func (p panics) Act(context.Context, *Job) error { p.at("act"); return nil }
func (p panics) Verify(context.Context, *Job) (*Outcome, error) {
	p.at("verify")
	return &Outcome{State: protocol.CommandSucceeded, Code: protocol.CodeCommandDone}, nil
}

// One command at which an executor panics ends neither the daemon nor other commands.
func TestH59_APanicIsOneCommandsFailure(t *testing.T) {
	for step, want := range map[string]string{
		"prepare": "deferred internal", "act": "succeeded command_done", "verify": "running internal",
	} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				b.runner.engine.executors["vm.restart"] = panics{step}
				stop := b.run()
				b.give(commandOf("bad", "vm.restart", "vm-1"), commandOf("good", "vm.lock", "vm-3"))
				b.want(map[string]string{"bad": want, "good": "succeeded command_done"})
				stop()
			})
		})
	}
}

// A portal that has one signed command cannot have the Mac verify and keep a megabyte of
// signatures with it.
func TestH31_AFloodOfSignaturesIsRefused(t *testing.T) {
	for name, flood := range map[string]func(*protocol.Envelope){
		"many": func(e *protocol.Envelope) {
			for range 5000 {
				e.Signatures = append(e.Signatures, protocol.Signature{KeyID: e.Signatures[0].KeyID, Sig: strings.Repeat("A", 86) + "=="})
			}
		},
		"long": func(e *protocol.Envelope) {
			e.Signatures = append(e.Signatures, protocol.Signature{KeyID: strings.Repeat("k", 500<<10)})
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(b *bench) {
				order := signed(b.t, commandOf("one", "vm.delete", "vm-1"), testKey(1))
				flood(&order)
				b.runner.Take(nil, []protocol.Envelope{order})
				synctest.Wait()
				b.want(map[string]string{"one": "rejected command_signature"})
				records, err := b.runner.Records()
				if stored, _ := json.Marshal(records); err != nil || len(stored) > 4<<10 {
					b.t.Errorf("%d bytes are kept, %v", len(stored), err)
				}
			})
		})
	}
}

// Of what too few have signed nothing is kept but that it came: no name of who wants it,
// no reason, nothing that says how long it is kept.
func TestH31_PROTOCOL14_NothingOfAStrangersCommandIsKept(t *testing.T) {
	for name, c := range map[string]struct {
		keys   int
		needed int
	}{"nobody's key": {9, 1}, "one key of two": {1, 2}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(b *bench) {
				need(c.needed)(&b.now)
				command := commandOf("one", "vm.delete", "vm-1")
				command.IssuedBy, command.Reason = "the chief", strings.Repeat("words ", 2000)
				command.ExpiresAt = testNow.AddDate(5000, 0, 0)
				if c.keys == 1 {
					command.ExpiresAt = testNow.AddDate(0, 0, 30)
				}
				b.runner.Take(nil, []protocol.Envelope{signed(b.t, command, testKey(byte(c.keys)))})
				synctest.Wait()
				for _, when := range []string{"before", "after"} {
					records, err := b.runner.Records()
					if err != nil || len(records) != 1 {
						b.t.Fatalf("%+v, %v", records, err)
					}
					r := records[0]
					if kept, _ := json.Marshal(r); len(kept) > 4<<10 || r.Command.IssuedBy+r.Command.Reason+r.Command.Target.VMID != "" {
						b.t.Errorf("%s the portal knows: %s", when, kept)
					}
					if kept := keptUntil(r.Command.ExpiresAt, r.ReceivedAt); kept.After(testNow.Add(protocol.MaxCommandLifetime + protocol.CommandsKeptFor)) {
						b.t.Errorf("%s the portal knows it is kept until %s", when, kept)
					}
					b.acknowledge()
				}
			})
		})
	}
}

// An order that was signed by a clock which is years ahead would be valid for years; it
// is refused as one that says so openly (H24).
func TestH24_AnOrderOfTheFutureIsNotValidForYears(t *testing.T) {
	t.Parallel()
	command := goodCommand()
	command.IssuedAt, command.ExpiresAt = testNow.AddDate(20, 0, 0), testNow.AddDate(20, 0, 1)
	now := goodCircumstances()
	order := signed(t, command, testKey(1))
	if _, got := check(openSigned, &order, &now, time.Time{}); got != rejected(protocol.CodeCommandInvalid) {
		t.Errorf("%+v", got)
	}
	now.Clock.Proven = false // a Mac that thinks it is 1970 waits until it knows better
	if _, got := check(openSigned, &order, &now, time.Time{}); got.State != "" {
		t.Errorf("%+v", got)
	}
}

// What is behind a command of which nobody knows what became waits until the next look at
// that one is due: were it due itself, the Runner would ask for it over and over meanwhile,
// and use up a processor of the Mac.
func TestLanes_BehindWhatNobodyKnowsNothingIsDue(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.lost = errors.New("the owner cannot be listed")
	b.runner.Take(nil, []protocol.Envelope{
		signed(t, commandOf("unseen", "vm.delete", "vm-1"), testKey(1)), signed(t, commandOf("behind", "vm.lock", "vm-1"), testKey(1)),
	})
	b.runner.engine.advance(t.Context(), "unseen")
	b.want(map[string]string{"unseen": "running not_observable", "behind": "acknowledged "})
	if lanes, next := b.runner.engine.due(testNow); len(lanes) > 0 || !next.Equal(testNow.Add(firstPause)) {
		t.Errorf("%d machines are due, and the next is at %v", len(lanes), next)
	}
}

// A command that was tried, is seen not to be done, and waits for its second attempt,
// keeps no other command on its machine waiting.
func TestLanes_BetweenTwoAttemptsOthersGoOn(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.mu.Lock()
		b.seen = Outcome{}
		b.holds["delete"] = make(chan struct{})
		b.mu.Unlock()
		b.give(commandOf("delete", "vm.delete", "vm-1"))
		b.mu.Lock()
		b.ready["delete"] = Readiness{State: protocol.CommandDeferred, Code: protocol.CodeWaitsForStop}
		b.mu.Unlock()
		close(b.holds["delete"])
		synctest.Wait()
		b.want(map[string]string{"delete": "running waits_for_stop"})
		b.mu.Lock()
		b.seen = Outcome{State: protocol.CommandSucceeded, Code: protocol.CodeCommandDone}
		b.mu.Unlock()
		b.give(commandOf("lock", "vm.lock", "vm-1"))
		b.want(map[string]string{"delete": "running waits_for_stop", "lock": "succeeded command_done"})
	})
}

// A look at what waits for the portal, as policy.refresh does, keeps nothing waiting that
// changes the Mac.
func TestLanes_LooksKeepNoChangeWaiting(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.mu.Lock()
		b.holds["refresh"] = make(chan struct{})
		b.mu.Unlock()
		b.give(commandOf("refresh", "policy.refresh", ""), commandOf("mac", "license.deactivate", ""))
		b.want(map[string]string{"refresh": "running ", "mac": "succeeded command_done"})
		close(b.holds["refresh"])
	})
}

// Whoever sets the Mac's clock back does not put off what waits for some seconds.
func TestH24_AClockThatIsSetBackPutsNothingOff(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.ready["one"] = Readiness{State: protocol.CommandDeferred, Code: protocol.CodeVMBusy, RetryAt: testNow.Add(30 * time.Second)}
		b.give(commandOf("one", "vm.delete", "vm-1"))
		b.want(map[string]string{"one": "deferred vm_busy"})
		b.mu.Lock()
		b.ready["one"] = Readiness{}
		b.mu.Unlock()
		b.setClock(func(c *Clock) { c.Wall = testNow.AddDate(-1, 0, 0) })
		time.Sleep(lastPause)
		synctest.Wait()
		b.want(map[string]string{"one": "succeeded command_done"})
	})
}

// When to look again is meant by the likely time of day, and waited for by the Mac's own
// clock, which can be years off.
func TestH24_RetriesAreByTheLikelyTime(t *testing.T) {
	t.Parallel()
	clock := Clock{Wall: testNow.AddDate(-10, 0, 0), Likely: testNow}
	next := afterPrepare(&Record{}, &Readiness{State: protocol.CommandDeferred, RetryAt: testNow.Add(time.Minute)}, nil, &clock)
	if want := clock.Wall.Add(time.Minute); !next.retryAt.Equal(want) {
		t.Errorf("%s, want %s", next.retryAt, want)
	}
}

// A clock that was years ahead when an attempt began, and is right since, keeps nobody
// waiting for years to see what became of it.
func TestH24_H26_AnAttemptByAWrongClockIsNotWaitedForForEver(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"vm.delete", "vm.restart"} {
		command := goodCommand()
		command.Type = kind
		now := goodCircumstances()
		r := received(&protocol.Envelope{}, &command, "", &now)
		r.begin(nil, testNow.AddDate(3, 0, 0))
		late := command.ExpiresAt.Add(time.Hour)
		clock := Clock{Wall: late, Trusted: late, Likely: late, Proven: true}
		if next := afterVerify(r, &Outcome{}, errors.New("the owner cannot be listed"), &clock); next.action != doEnd {
			t.Errorf("%s: %+v", kind, next)
		}
	}
}

// A command that can still be cancelled is cancelled when the portal says so, on the
// disk, also while another one keeps its machine busy: what is said to be cancelled does
// not start after a crash.
func TestH03_ACancellationWaitsForNoLane(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		stop := b.run()
		b.holds["busy"] = make(chan struct{})
		b.give(commandOf("busy", "vm.restart", "vm-1"), commandOf("one", "vm.delete", "vm-1"))
		b.want(map[string]string{"busy": "running ", "one": "acknowledged "})
		b.runner.Take([]string{"one"}, nil)
		b.want(map[string]string{"busy": "running ", "one": "cancelled command_cancelled"})
		records, err := b.runner.journal.load()
		if at := slices.IndexFunc(records, func(r *Record) bool { return r.ID == "one" }); err != nil || !records[at].hasEnded() {
			t.Errorf("%+v, %v", records, err)
		}
		close(b.holds["busy"])
		synctest.Wait()
		if acts := b.actsSoFar(); !slices.Equal(acts, []string{"busy"}) {
			t.Errorf("acts: %q", acts)
		}
		stop()
	})
}

// A record that cannot be read keeps no other command out.
func TestH22_OneUnreadableRecordBlocksNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.trouble().lost = "lost"
		stop := b.run()
		b.give(commandOf("lost", "vm.delete", "vm-1"), commandOf("one", "vm.delete", "vm-3"))
		b.want(map[string]string{"one": "succeeded command_done"})
		stop()
	})
}

// The end of one command does not write all those anew that wait as before.
func TestBudget_AnEndDoesNotRewriteWhatWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		j := b.trouble()
		stop := b.run()
		for n := range 40 {
			id := fmt.Sprintf("waits-%d", n)
			b.ready[id] = Readiness{State: protocol.CommandDeferred, Code: protocol.CodeVMBusy}
			b.give(commandOf(id, "vm.lock", fmt.Sprintf("vm-1%d", n)))
		}
		b.give(commandOf("first", "vm.lock", "vm-2000"))
		b.look()
		before := j.kept
		b.give(commandOf("second", "vm.lock", "vm-2001"))
		if kept := j.kept - before; kept > 4 {
			t.Errorf("%d records are written for one command", kept)
		}
		stop()
	})
}

// slowLooks is an executor whose looks are many runs in the account's lane, each of some
// seconds.
type slowLooks struct{ mac *Mac }

func (x slowLooks) look(ctx context.Context, job *Job) (*Readiness, error) {
	for range 6 {
		if err := x.mac.Lanes.Run(ctx, job.Command.Target.UID, hangsAfter, func() error { time.Sleep(2 * time.Second); return nil }); err != nil {
			return nil, err
		}
	}
	return &Readiness{}, nil
}

func (x slowLooks) Prepare(ctx context.Context, job *Job) (*Readiness, error) {
	leave, err := x.mac.takeLook(ctx, job)
	if err != nil {
		return nil, err
	}
	defer leave()
	return x.look(ctx, job)
}
func (slowLooks) Act(context.Context, *Job) error { return nil }
func (slowLooks) Verify(context.Context, *Job) (*Outcome, error) {
	return &Outcome{State: protocol.CommandSucceeded, Code: protocol.CodeCommandDone}, nil
}

// A hundred commands on the machines of one account, whose tools are slow, do not keep
// each other from ever being looked at in time.
func TestH12_H59_AHundredCommandsOfOneAccountGetOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.runner.engine.executors["vm.lock"] = slowLooks{&Mac{Lanes: lane.New()}}
		stop := b.run()
		for n := range 100 {
			b.give(commandOf(fmt.Sprintf("lock-%d", n), "vm.lock", fmt.Sprintf("vm-1%d", n)))
		}
		for range 120 { // the looks alone take twenty minutes
			time.Sleep(30 * time.Second)
			b.setClock(func(c *Clock) { c.Wall = c.Wall.Add(30 * time.Second) })
		}
		synctest.Wait()
		done := 0
		records, _ := b.runner.Records()
		for _, r := range records {
			if r.State == protocol.CommandSucceeded {
				done++
			}
		}
		if done != 100 {
			t.Errorf("%d of 100 are done after an hour", done)
		}
		stop()
	})
}
