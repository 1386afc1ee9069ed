package command

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"prlagent/agent/protocol"
	"prlagent/platform"
	"prlagent/prlctl"
	"prlagent/store"
)

// holdOrders is a Mac where every call takes its time, and whose machines are held and
// let go of in any order.
type holdOrders struct {
	*holdBench
	*chance
	version uint64
	locks   int
	list    []protocol.Hold

	noting   sync.Mutex
	starts   map[string]int               // by the command that held the machine then
	working  map[string][]context.Context // of calls that change a machine
	calls    []string
	late     sync.WaitGroup // what goes on without its tool
	hasEnded atomic.Bool
	changed  map[protocol.VMKey]string // autostart by its user, while it was held
}

var (
	orderKeys = []protocol.VMKey{{ID: vmID, UID: aliceUID}, {ID: otherID, UID: aliceUID}, {ID: vmID, UID: bobUID}}
	autostart = map[protocol.VMKey]string{orderKeys[0]: "start-host", orderKeys[1]: "off", orderKeys[2]: "user-login"}
)

func newHoldOrders(t *testing.T, seed uint64) *holdOrders {
	o := &holdOrders{chance: newChance(seed), starts: make(map[string]int), changed: make(map[protocol.VMKey]string), working: make(map[string][]context.Context)}
	o.holdBench = &holdBench{t: t, folder: testFolder(t), mac: newHoldMac(), now: holdCircumstances(), began: time.Now()}
	o.directory, o.tell = slowDirectory{o}, o.wantToldOfALock
	o.tool = func(user holdUser) HoldTool { return slowHoldTool{o, user} }
	for _, key := range orderKeys {
		o.mac.add(key.UID, key.ID).autostart = autostart[key]
	}
	o.open()
	o.publishList(nil)
	return o
}

// slowDirectory says what was, by the time that it has said it.
type slowDirectory struct{ o *holdOrders }

func (d slowDirectory) Users(ctx context.Context) (platform.Users, error) {
	users, err := d.o.mac.Users(ctx)
	d.o.linger(ctx, time.Second/2)
	return users, err
}

func (d slowDirectory) Console(ctx context.Context) (platform.Console, error) {
	return d.o.mac.Console(ctx)
}

func (d slowDirectory) Processes(ctx context.Context) ([]platform.Process, error) {
	d.o.linger(ctx, time.Second/4)
	processes, err := d.o.mac.Processes(ctx)
	d.o.linger(ctx, time.Second/2)
	return processes, err
}

// slowHoldTool is prlctl that takes its time before it does something, and after.
type slowHoldTool struct {
	o    *holdOrders
	user holdUser
}

func (s slowHoldTool) key(id string) protocol.VMKey { return protocol.VMKey{ID: id, UID: s.user.uid} }

// do is one call that changes a machine.
func (s slowHoldTool) do(ctx context.Context, call string, key protocol.VMKey, run func(context.Context) error) error {
	o := s.o
	o.noting.Lock()
	o.calls = append(o.calls, call+" "+key.String())
	name, _, _ := strings.Cut(call, " ")
	if name != "set" {
		name = "state"
	}
	for _, other := range o.working[name+key.String()] {
		if other.Err() == nil {
			o.t.Errorf("at %s there is another call beside %s", time.Since(o.began), call)
		}
	}
	ctx, end := context.WithCancel(ctx)
	defer end()
	o.working[name+key.String()] = append(o.working[name+key.String()], ctx)
	o.noting.Unlock()
	o.linger(ctx, time.Second)
	err := ctx.Err()
	if err == nil {
		err = run(ctx)
		o.linger(ctx, time.Second)
	}
	// Where the tool was killed, the vendor's service goes on. What is put back so late on a
	// machine that is held again is seen once that has run, or at the next start of the agent.
	goesOn := ctx.Err() != nil && (name != "set" || strings.HasSuffix(call, autostartOff))
	if goesOn && !o.hasEnded.Load() && o.draw(2) == 0 {
		o.late.Go(func() {
			alone, end := context.WithTimeout(context.Background(), 10*time.Second)
			defer end()
			o.linger(alone, 5*time.Second)
			_ = run(alone)
		})
	}
	return err
}

// wantWanted fails where something is done to a machine that nobody wants held, or by
// force.
func (s slowHoldTool) wantWanted(call string, key protocol.VMKey) {
	isHeld, isForced := s.o.holds.wants(key)
	if isHeld != (call != "give back") || call == "kill" && !isForced {
		s.o.t.Errorf("at %s: %s of %s, held %t, force %t", time.Since(s.o.began), call, key, isHeld, isForced)
	}
}

func (s slowHoldTool) Get(ctx context.Context, id string) (prlctl.VM, error) {
	s.o.linger(ctx, time.Second)
	vm, err := s.user.Get(ctx, id)
	s.o.linger(ctx, time.Second)
	return vm, err
}

func (s slowHoldTool) Suspend(ctx context.Context, id string) error {
	s.wantWanted("suspend", s.key(id))
	return s.do(ctx, "suspend", s.key(id), func(ctx context.Context) error { return s.user.Suspend(ctx, id) })
}

func (s slowHoldTool) Pause(ctx context.Context, id string) error {
	s.wantWanted("pause", s.key(id))
	return s.do(ctx, "pause", s.key(id), func(ctx context.Context) error { return s.user.Pause(ctx, id) })
}

func (s slowHoldTool) Kill(ctx context.Context, id string) error {
	s.wantWanted("kill", s.key(id))
	return s.do(ctx, "kill", s.key(id), func(ctx context.Context) error { return s.user.Kill(ctx, id) })
}

func (s slowHoldTool) Set(ctx context.Context, id string, args ...string) error {
	word := strings.TrimPrefix(args[0], autostartFlag)
	if word == autostartOff {
		s.wantWanted("turn off", s.key(id))
	} else {
		s.wantWanted("give back", s.key(id))
	}
	return s.do(ctx, "set "+word, s.key(id), func(ctx context.Context) error { return s.user.Set(ctx, id, args...) })
}

// wantToldOfALock fails where a user is told of a lock that none of their machines has.
func (o *holdOrders) wantToldOfALock(user *platform.User) {
	for _, key := range orderKeys {
		if isHeld, _ := o.holds.wants(key); isHeld && key.UID == user.UID {
			return
		}
	}
	o.t.Errorf("at %s %s is told of a lock that is none", time.Since(o.began), user.Name)
}

// publish puts a list in force. Of what was held before, a machine keeps its command or
// gets another one.
func (o *holdOrders) publish(keys ...protocol.VMKey) {
	var list []protocol.Hold
	for _, key := range keys {
		hold := holdOf(key.UID, key.ID)
		if before := holdIn(o.list, key); before != nil && o.draw(2) > 0 {
			hold = *before
		} else {
			o.locks++
			if o.isLocked(key) { // by the one before it, without a break
				o.starts[fmt.Sprintf("lock-%d", o.locks)] = o.starts[before.CommandID]
			}
			hold.CommandID, hold.Force = fmt.Sprintf("lock-%d", o.locks), o.draw(3) == 0
			if o.draw(4) == 0 {
				hold.ExpiresAt = seconds(o.circumstances().Clock.Trusted.Add(o.upTo(time.Minute)))
			}
		}
		list = append(list, hold)
	}
	o.publishList(list)
}

func (o *holdOrders) publishList(list []protocol.Hold) {
	if o.isFull() { // it is not taken
		return
	}
	o.version++
	if code := o.holds.take(new(signHolds(o.t, listOf(o.version, list...), testKey(1))), 0); code != "" {
		o.t.Errorf("the list is refused: %s", code)
	}
	o.list = list
}

func (o *holdOrders) isFull() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.fullDisk
}

// someKeys draws machines.
func (o *holdOrders) someKeys() (keys []protocol.VMKey) {
	for _, key := range orderKeys {
		if o.draw(2) == 0 {
			keys = append(keys, key)
		}
	}
	return keys
}

// look has the Mac looked at: what it sees is known a while later.
func (o *holdOrders) look() {
	o.mac.mu.Lock()
	var seen []SeenVM
	for _, key := range orderKeys {
		seen = append(seen, SeenVM{VMKey: key, Running: o.mac.machines[key].state == prlctl.StateRunning})
	}
	o.mac.mu.Unlock()
	holds := o.holds
	time.AfterFunc(o.upTo(3*time.Second), func() {
		if o.holds == holds {
			holds.Saw(seen, []uint32{aliceUID, bobUID})
		}
	})
}

// start is what a user does; each time is counted that the lock which is in force can count.
func (o *holdOrders) start(key protocol.VMKey) {
	o.noting.Lock()
	defer o.noting.Unlock()
	state := o.mac.stateOf(key.UID, key.ID)
	o.mac.start(key.UID, key.ID)
	if after := o.mac.stateOf(key.UID, key.ID); after == state {
		return
	}
	if o.isLocked(key) {
		if o.draw(3) == 0 {
			o.changed[key] = "open-window"
			o.mac.set(key.UID, key.ID, "open-window")
		}
		o.starts[holdIn(o.list, key).CommandID]++
	}
	if o.draw(2) == 0 {
		o.holds.Hint(key.UID, key.ID, protocol.StateRunning)
	}
}

// isLocked reports whether the list in force has a hold of the machine that is not over,
// whatever this Mac's configuration says.
func (o *holdOrders) isLocked(key protocol.VMKey) bool {
	lock := o.state(key.UID, key.ID)
	return lock.CommandID != "" && lock.State != protocol.HoldReleased && lock.State != protocol.HoldEnded
}

// change has somebody do something.
func (o *holdOrders) change() {
	key := orderKeys[o.draw(len(orderKeys))]
	vm := o.mac.machines[key]
	switch kind := o.draw(13); kind {
	case 0, 1:
		o.publish(o.someKeys()...)
	case 2:
		_, _ = o.holds.Release([]string{key.ID}, o.draw(2) == 0, "carol")
	case 3, 4, 5:
		o.start(key)
	case 6: // its guest shuts down
		o.mac.mu.Lock()
		if vm.state == prlctl.StateRunning && vm.autostart != "open-window" { // it is to be seen running
			vm.state = prlctl.StateStopped
		}
		o.mac.mu.Unlock()
	case 7:
		o.mac.mu.Lock()
		vm.takes, vm.refuses = o.upTo(8*time.Second), nil
		if o.draw(3) == 0 {
			vm.refuses = &prlctl.Error{Code: string(protocol.CodeToolFailed)}
		}
		o.mac.mu.Unlock()
	case 8:
		o.mac.hang(key.UID, o.draw(2) == 0)
	case 9:
		o.mu.Lock()
		if o.now.Trust.Mode = protocol.ModeEnforce; o.draw(2) == 0 {
			o.now.Trust.Mode = protocol.ModeMonitor
		}
		o.mu.Unlock()
		o.look()
	case 10:
		o.look()
	case 11:
		o.mu.Lock()
		o.fullDisk = o.draw(3) == 0
		o.mu.Unlock()
	case 12:
		if o.draw(3) == 0 {
			o.restart(o.upTo(5 * time.Second))
		}
	}
}

// run goes on for a time, with changes so often on average.
func (o *holdOrders) run(length, every time.Duration) {
	for end := time.Now().Add(length); time.Now().Before(end); {
		time.Sleep(o.upTo(2 * every))
		o.change()
	}
}

// wantRest fails where a machine that is held is not, or one that is not held has something
// of a hold still.
func (o *holdOrders) wantRest() {
	for _, key := range orderKeys {
		vm, state := o.mac.machines[key], o.state(key.UID, key.ID)
		if isHeld, _ := o.holds.wants(key); isHeld {
			if state.State != protocol.HoldKept || vm.autostart != autostartOff || vm.state != prlctl.StateSuspended && vm.state != prlctl.StateStopped {
				o.t.Errorf("%s is held: %s, %s, autostart %s", key, words(state), vm.state, vm.autostart)
			}
		} else if vm.autostart != autostart[key] && vm.autostart != o.changed[key] {
			o.t.Errorf("%s is not held: %s, %s, autostart %s", key, words(state), vm.state, vm.autostart)
		}
		if started := o.starts[state.CommandID]; state.Violations > started {
			o.t.Errorf("%s was started %d times, and told: %s", key, started, words(state))
		}
	}
}

// H27, H29, H47, H69: in whatever order lists, releases, the end of their time and the
// Mac's consent come while machines are started and stopped and each call takes its time:
// nothing is done to a machine that is not held, nor beside a call for it that goes on; no
// start is counted that was none; and in the end what is held rests, and of what is not
// held everything is as it was.
func TestH27_H29_H47_H69_AnyOrderOfHolds(t *testing.T) {
	inAnyOrder(t, func(t *testing.T, seed uint64) {
		o := newHoldOrders(t, seed)
		o.run(2*time.Minute, time.Second+o.upTo(5*time.Second))
		o.wantSettled()
		o.hasEnded.Store(true)
		o.stop()
		o.late.Wait()
	})
}

// shutDown ends all machines that may run.
func (o *holdOrders) shutDown() {
	o.mac.mu.Lock()
	defer o.mac.mu.Unlock()
	for _, vm := range o.mac.machines {
		if vm.state == prlctl.StateRunning || vm.state == prlctl.StatePaused {
			vm.state = prlctl.StateStopped
		}
	}
}

// wantSettled ends all that goes wrong, and has some machines held for good.
func (o *holdOrders) wantSettled() {
	for _, key := range orderKeys {
		o.mac.mu.Lock()
		vm := o.mac.machines[key]
		vm.refuses, o.mac.hung[key.UID] = nil, false
		o.mac.mu.Unlock()
	}
	o.mu.Lock()
	o.now.Trust.Mode, o.fullDisk = protocol.ModeEnforce, false
	o.mu.Unlock()
	o.publish(o.someKeys()...)
	o.look()
	time.Sleep(3 * time.Hour)
	o.wantRest()
	o.shutDown() // as long as one of an id runs, it is asked about those of this id
	time.Sleep(10 * time.Minute)
	_, runs := o.mac.spent()
	time.Sleep(time.Hour)
	if _, after := o.mac.spent(); after != runs {
		o.t.Errorf("tools are still run: %d, then %d", runs, after)
	}
	_ = o.store.View(func(tx *store.Tx) error {
		return holdRecords.Each(tx, func(key string, record *holdRecord) error {
			if isHeld, _ := o.holds.wants(record.VMKey); !isHeld && record.Autostart != "" {
				o.t.Errorf("%s is still owed %s", key, record.Autostart)
			}
			return nil
		})
	})
	if o.t.(*testing.T).Failed() {
		o.t.Logf("%q", slices.Clone(o.calls))
	}
}
