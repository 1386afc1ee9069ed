package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"prlagent/agent/protocol"
)

// orderSeeds is how many orders of each kind are tried, always the same ones. One costs
// some 20 ms, most of that for the disk.
var orderSeeds = flag.Int("command.orders", 40, "random orders that commands and holds come in")

// inAnyOrder runs a test of orders that come as they are drawn, in bubbles.
func inAnyOrder(t *testing.T, test func(t *testing.T, seed uint64)) {
	t.Helper()
	t.Parallel()
	seeds := *orderSeeds
	if testing.Short() {
		seeds = min(seeds, 8)
	}
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, seed) })
		})
	}
}

// chance draws for a history in which everything takes its time.
type chance struct {
	drawing sync.Mutex
	random  *rand.Rand
}

func newChance(seed uint64) *chance { return &chance{random: rand.New(rand.NewPCG(seed, 7))} }

func (c *chance) draw(below int) int {
	c.drawing.Lock()
	defer c.drawing.Unlock()
	return c.random.IntN(below)
}

// upTo draws a duration.
func (c *chance) upTo(most time.Duration) time.Duration { return time.Duration(c.draw(int(most))) }

// linger waits for up to a time; what is told to end does not.
func (c *chance) linger(ctx context.Context, most time.Duration) {
	wait := time.NewTimer(c.upTo(most))
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-ctx.Done():
	}
}

// commandOrders is a Mac where every look and act takes its time, and whose portal orders
// and cancels in any order. The agent looks a while after something has changed, and
// never without a reason.
type commandOrders struct {
	*bench
	*chance
	began time.Time
	shift time.Duration // of the wall clock
	stop  func()

	world    sync.Mutex
	machines map[protocol.VMKey]*orderedVM
	acting   map[protocol.VMKey]bool
	blind    bool // nothing can be seen
	isFull   bool // nothing can be written
	acts     map[string]int
	effects  map[string]int
	visits   int // of executors
	orders   []protocol.Command
	isCalled map[string]bool // off, before it was begun
	downs    sync.WaitGroup
}

type orderedVM struct{ isGone, runs bool }

var commandKeys = []protocol.VMKey{{ID: "vm-1", UID: 501}, {ID: "vm-1", UID: 502}, {ID: "vm-2", UID: 502}, {}}

func newCommandOrders(t *testing.T, seed uint64) *commandOrders {
	o := &commandOrders{
		chance: newChance(seed), began: time.Now(), machines: make(map[protocol.VMKey]*orderedVM), acting: make(map[protocol.VMKey]bool),
		acts: make(map[string]int), effects: make(map[string]int), isCalled: make(map[string]bool),
	}
	for _, key := range commandKeys {
		o.machines[key] = &orderedVM{runs: o.draw(2) == 0}
	}
	o.bench = &bench{t: t, folder: testFolder(t), now: goodCircumstances(), executor: slowExecutor{o}, during: o.tellTime, disk: o.mayWrite}
	o.now.Trust.Allowed, o.now.Trust.Limit = allListed(), 1000
	o.open()
	o.stop = o.run()
	return o
}

func (o *commandOrders) tellTime(now *Circumstances) {
	clock := &now.Clock
	clock.Trusted = testNow.Add(time.Since(o.began))
	clock.Wall = clock.Trusted.Add(o.shift)
	clock.Likely = latest(clock.Wall, clock.Trusted)
}

func (o *commandOrders) mayWrite() error {
	o.world.Lock()
	defer o.world.Unlock()
	if o.isFull {
		return errFull
	}
	return nil
}

// trust is under which circumstances commands run.
func (o *commandOrders) trust() *Circumstances {
	o.bench.mu.Lock()
	defer o.bench.mu.Unlock()
	now := o.now
	o.tellTime(&now)
	return &now
}

// slowExecutor does commands on the machines of the world. What it says is what was, by the
// time that it has said it.
type slowExecutor struct{ o *commandOrders }

// see is what a look sees of a command's machine.
func (x slowExecutor) see(ctx context.Context, job *Job) (vm orderedVM, err error) {
	o := x.o
	o.linger(ctx, 2*time.Second)
	o.world.Lock()
	o.visits++
	vm = *o.machines[job.Command.Target.VM()]
	if o.blind {
		err = errors.New("it cannot be listed")
	}
	o.world.Unlock()
	o.linger(ctx, 4*time.Second)
	return vm, errors.Join(err, ctx.Err())
}

func (x slowExecutor) Prepare(ctx context.Context, job *Job) (*Readiness, error) {
	vm, err := x.see(ctx, job)
	switch {
	case err != nil:
		return nil, err
	case vm.runs:
		return deferredAs(protocol.CodeWaitsForStop, "", time.Time{}), nil
	case vm.isGone && job.Command.Type == "vm.delete":
		return &Readiness{State: protocol.CommandSucceeded, Code: protocol.CodeAlreadyAbsent}, nil
	}
	return &Readiness{Intent: []byte("{}")}, nil
}

func (x slowExecutor) Act(ctx context.Context, job *Job) error {
	o, id, key := x.o, job.Command.CommandID, job.Command.Target.VM()
	x.begin(job)
	o.linger(ctx, 3*time.Second)
	o.world.Lock()
	if ctx.Err() == nil && !o.machines[key].runs && o.draw(3) > 0 {
		o.effects[id]++
		o.machines[key].isGone = job.Command.Type == "vm.delete"
	}
	o.world.Unlock()
	o.linger(ctx, 3*time.Second)
	o.world.Lock()
	delete(o.acting, key)
	o.world.Unlock()
	return ctx.Err()
}

// begin fails where nothing may be begun.
func (x slowExecutor) begin(job *Job) {
	o, id, key := x.o, job.Command.CommandID, job.Command.Target.VM()
	now := o.trust()
	row, _ := protocol.CommandTypeOf(job.Command.Type)
	o.world.Lock()
	defer o.world.Unlock()
	o.acts[id]++
	isLate := !now.Clock.Trusted.Before(job.Command.ExpiresAt)
	if o.isCalled[id] || isLate || row.Changes && (now.Trust.Mode != protocol.ModeEnforce || o.acting[key]) || o.acts[id] > maxAttempts || row.Once && o.acts[id] > 1 {
		o.t.Errorf("at %s %s %s is begun: %d acts, called off %t, late %t, %s, beside another %t",
			time.Since(o.began), job.Command.Type, id, o.acts[id], o.isCalled[id], isLate, now.Trust.Mode, o.acting[key])
	}
	o.acting[key] = row.Changes
}

func (x slowExecutor) Verify(ctx context.Context, job *Job) (*Outcome, error) {
	_, err := x.see(ctx, job)
	x.o.world.Lock()
	defer x.o.world.Unlock()
	switch {
	case err != nil:
		return nil, err
	case x.o.effects[job.Command.CommandID] > 0:
		return &Outcome{State: protocol.CommandSucceeded, Code: protocol.CodeCommandDone}, nil
	}
	return &Outcome{}, nil
}

// look has the agent look: what waits is tried a while later.
func (o *commandOrders) look() {
	o.downs.Go(func() {
		time.Sleep(o.upTo(3 * time.Second))
		o.runner.Look()
	})
}

// order gives a command.
func (o *commandOrders) order() {
	kinds := []string{"vm.delete", "vm.delete", "vm.restart", "license.deactivate", "inventory.refresh"}
	kind, key := kinds[o.draw(len(kinds))], commandKeys[o.draw(len(commandKeys)-1)]
	if kind == "license.deactivate" || kind == "inventory.refresh" {
		key = protocol.VMKey{}
	}
	command := commandOf(commandID(testNow, len(o.orders)+1), kind, key.ID)
	command.Target.UID, command.IssuedAt = key.UID, seconds(o.trust().Clock.Trusted)
	if o.draw(3) == 0 {
		command.ExpiresAt = seconds(o.trust().Clock.Trusted.Add(o.upTo(time.Minute)))
	}
	if o.draw(4) == 0 {
		command.NotBefore = seconds(o.trust().Clock.Trusted.Add(o.upTo(20 * time.Second)))
	}
	o.orders = append(o.orders, command)
	o.runner.Take(nil, []protocol.Envelope{signed(o.t, command, testKey(1))})
}

// cancel has one called off. It counts once the journal has it, if nothing was begun.
func (o *commandOrders) cancel() {
	if len(o.orders) == 0 {
		return
	}
	id := o.orders[o.draw(len(o.orders))].CommandID
	o.world.Lock()
	isBegun := o.acts[id] > 0
	o.world.Unlock()
	o.runner.Take([]string{id}, nil)
	o.runner.engine.mu.Lock()
	r := o.runner.engine.records[id]
	isTaken := r != nil && r.CancelAsked && r.Attempts == 0
	o.runner.engine.mu.Unlock()
	o.world.Lock()
	o.isCalled[id] = o.isCalled[id] || isTaken && !isBegun
	o.world.Unlock()
}

// change has somebody do something.
func (o *commandOrders) change() {
	switch kind := o.draw(14); kind {
	case 0, 1, 2:
		o.order()
	case 3:
		o.cancel()
	case 4:
		if len(o.orders) > 0 {
			again := o.orders[o.draw(len(o.orders))]
			o.runner.Take(nil, []protocol.Envelope{signed(o.t, again, testKey(1))})
		}
	case 5, 6, 7:
		o.world.Lock()
		vm := o.machines[commandKeys[o.draw(len(commandKeys)-1)]]
		vm.runs = !vm.isGone && !vm.runs
		o.world.Unlock()
		o.look()
	case 8:
		o.world.Lock()
		o.blind = o.draw(2) == 0
		o.world.Unlock()
		o.look()
	case 9:
		o.bench.mu.Lock()
		if o.now.Trust.Mode = protocol.ModeEnforce; o.draw(2) == 0 {
			o.now.Trust.Mode = protocol.ModeMonitor
		}
		o.bench.mu.Unlock()
		o.look()
	case 10:
		o.bench.mu.Lock()
		o.shift = []time.Duration{0, -48 * time.Hour, 48 * time.Hour}[o.draw(3)]
		o.bench.mu.Unlock()
	case 11:
		o.world.Lock()
		o.isFull = o.draw(2) == 0
		o.world.Unlock()
	case 12:
		if _, results := o.runner.Report(); len(results) > 0 && o.mayWrite() == nil {
			o.acknowledge()
		}
	case 13:
		if o.draw(3) == 0 {
			o.downs.Wait()
			o.stop()
			_ = o.store.Close()
			time.Sleep(o.upTo(5 * time.Second))
			o.world.Lock()
			clear(o.acting)
			if o.isFull { // what was not kept comes again
				clear(o.isCalled)
			}
			o.world.Unlock()
			o.open()
			o.stop = o.run()
		}
	}
}

// told is how the commands stand, as the portal is told.
func (o *commandOrders) told() map[string]string {
	told := make(map[string]string)
	records, err := o.runner.Records()
	if err != nil {
		o.t.Error(err)
	}
	for _, r := range records {
		told[r.ID] = r.State
	}
	return told
}

// wantEnd ends all that keeps commands waiting, tells of that once, and holds what is told of
// them against what was done.
func (o *commandOrders) wantEnd() {
	o.runner.Look() // so that some are being looked at when that changes
	time.Sleep(o.upTo(3 * time.Second))
	o.world.Lock()
	o.blind, o.isFull = false, false
	for _, vm := range o.machines {
		vm.runs = false
	}
	o.world.Unlock()
	o.bench.mu.Lock()
	o.now.Trust.Mode, o.shift = protocol.ModeEnforce, 0
	o.bench.mu.Unlock()
	o.look()
	time.Sleep(time.Hour)
	o.world.Lock()
	visits := o.visits
	o.world.Unlock()
	time.Sleep(6 * time.Hour)
	o.world.Lock()
	defer o.world.Unlock()
	if o.visits != visits {
		o.t.Errorf("there are still looks: %d, then %d", visits, o.visits)
	}
	told := o.told()
	for _, id := range slices.Sorted(maps.Keys(told)) {
		acts, effects := o.acts[id], o.effects[id]
		isTrue := false
		switch told[id] {
		case protocol.CommandSucceeded:
			isTrue = effects > 0 || acts < maxAttempts // it was so already
		case protocol.CommandFailed:
			isTrue = acts > 0
		case protocol.CommandCancelled, protocol.CommandExpired, protocol.CommandRejected:
			isTrue = acts == 0
		}
		if !isTrue {
			o.t.Errorf("%s is told to be %s: %d acts, %d effects", id, told[id], acts, effects)
		}
	}
}

// H03, H22, H23, H24, H26: in whatever order commands and cancellations come, while machines are started
// and stopped, the clock, the disk and the Mac's trust change, and each look and act takes
// its time: nothing is begun that may not be, nor beside another one on its machine; each
// command ends without another look than the one behind the last change, and is told to be
// what it is; and the Mac comes to rest.
func TestH03_H23_H24_H26_AnyOrderOfCommands(t *testing.T) {
	inAnyOrder(t, func(t *testing.T, seed uint64) {
		o := newCommandOrders(t, seed)
		o.goOn(2*time.Minute, time.Second+o.upTo(5*time.Second))
		o.wantEnd()
		o.downs.Wait()
		o.stop()
		_ = o.store.Close()
	})
}

// goOn goes on for a time, with changes so often on average.
func (o *commandOrders) goOn(length, every time.Duration) {
	for end := time.Now().Add(length); time.Now().Before(end); {
		time.Sleep(o.upTo(2 * every))
		o.change()
	}
}

// A look of the agent that ends while a command is being prepared is not lost: what the
// preparation has seen is older, and nothing else would have it tried again.
func TestH23_ALookThatEndsWhileACommandIsPrepared(t *testing.T) {
	for name, ready := range map[string]Readiness{
		"until something changes": {State: protocol.CommandDeferred, Code: protocol.CodeWaitsForStop},
		"until a deadline":        {State: protocol.CommandDeferred, Code: protocol.CodeWaitsForStop, RetryAt: testNow.Add(10 * 24 * time.Hour)},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(b *bench) {
				command, older, newer := commandOf("c-1", "vm.restart", "vm-1"), make(chan struct{}), make(chan struct{})
				b.ready["c-1"], b.slow["c-1"] = ready, older
				b.give(command)
				b.look()
				b.mu.Lock()
				b.slow["c-1"] = newer
				b.mu.Unlock()
				close(older)
				synctest.Wait()
				b.mu.Lock()
				b.ready["c-1"] = Readiness{}
				b.mu.Unlock()
				close(newer)
				synctest.Wait()
				b.want(map[string]string{"c-1": "succeeded command_done"})
			})
		})
	}
}
