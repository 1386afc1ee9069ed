package enforce

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"prlagent/agent/policy"
	"prlagent/agent/protocol"
	"prlagent/prlctl"
)

// orders is the agent's loop in short, on a Mac where everything takes its time: looks,
// plans beside them one at a time, and what becomes of these. Nothing is looked at
// without a reason.
type orders struct {
	t *testing.T
	*lab
	drawing sync.Mutex
	random  *rand.Rand

	revision  uint64
	lookAt    time.Time  // zero: none is due
	lookEnds  time.Time  // of the look that goes on
	looking   *Situation // nil: none does
	known     *Situation // of the last look
	looks     int
	planAgain bool
	plans     chan *Planned // room for one
	planning  bool
	restored  chan struct{}        // a lease was given back, or a machine changed by itself, which is followed by a look
	fails     atomic.Bool          // now and then a tool fails, or is killed and takes effect later
	lateAt    map[uint32]time.Time // by uid, or hostUID: the last that was killed
}

// upTo draws a duration.
func (o *orders) upTo(most time.Duration) time.Duration { return time.Duration(o.draw(int(most))) }

func (o *orders) draw(below int) int {
	o.drawing.Lock()
	defer o.drawing.Unlock()
	return o.random.IntN(below)
}

// wantLook has the Mac looked at, then at the latest.
func (o *orders) wantLook(at time.Time) {
	if o.lookAt.IsZero() || at.Before(o.lookAt) {
		o.lookAt = at
	}
}

// now is the last look with what is wanted now.
func (o *orders) now() *Situation {
	s := *o.known
	s.Content, s.Enforce, s.Machines = o.content, !o.monitor, nil
	for _, m := range o.known.Machines {
		one := *m
		s.Machines = append(s.Machines, &one)
	}
	return &s
}

// plan begins to plan by what was seen last.
func (o *orders) plan() {
	switch {
	case o.known == nil:
		return
	case o.planning:
		o.planAgain = true
		return
	}
	o.planning, o.planAgain = true, false
	s, l, plans := o.now(), o.lab, o.plans
	go func() {
		l.enforcer.LookAtHost(l.ctx, s)
		time.Sleep(o.upTo(time.Second / 2))
		planned, err := l.enforcer.Plan(s)
		if err != nil {
			o.t.Error(err)
		}
		time.Sleep(o.upTo(time.Second))
		plans <- planned
	}()
}

// step does what is due.
func (o *orders) step() {
	now := time.Now()
	for range len(o.posted) {
		outcome, _ := o.enforcer.Take(<-o.posted)
		if outcome.Begun > 0 {
			o.wantLook(now)
		} else {
			o.wantLook(now.Add(15 * time.Second)) // as after a hint
		}
	}
	select {
	case <-o.restored:
		o.wantLook(now)
	default:
	}
	if o.looking != nil && !now.Before(o.lookEnds) {
		o.known, o.looking = o.looking, nil
		o.plan()
	}
	select {
	case planned := <-o.plans:
		o.planning = false
		o.enforcer.Apply(o.ctx, planned)
		if !planned.NextAt.IsZero() {
			o.wantLook(planned.NextAt)
		}
		if o.planAgain {
			o.plan()
		}
	default:
	}
	if o.looking == nil && !o.lookAt.IsZero() && !now.Before(o.lookAt) {
		o.looks++
		o.lookAt = time.Time{}
		o.enforcer.RestoreLeases(o.ctx)
		o.looking, o.lookEnds = o.situation(), now.Add(o.upTo(3*time.Second))
	}
}

// wish puts a policy in force.
func (o *orders) wish(controls, settings string) {
	o.revision++
	document := fmt.Sprintf(`{"schema":1,"policy_id":"finance","revision":%d,"name":"Finance","groups":["finance"],"security_controls":{%s},"vm_settings":{"other":{%s}}}`, o.revision, controls, settings)
	o.content = policy.Content{Verified: true, HeadVersion: o.revision, Document: []byte(document), Pointer: protocol.PointTo("finance", o.revision, []byte(document))}
	o.enforcer.Adopt(&o.content)
	o.wantLook(time.Now())
}

// change has somebody want something else.
func (o *orders) change() {
	lists := [][2]string{
		{"", ""}, {`"provisioned_only":true`, `"clipboard":"disconnect"`}, {`"no_removal":true`, `"no_config_changes":true`},
		{`"provisioned_only":true,"no_removal":true`, `"clipboard":"disconnect","no_config_changes":true`},
	}
	kinds := 7
	if o.fails.Load() {
		kinds = 8
	}
	switch kind := o.draw(kinds); {
	case kind < 2 || o.known == nil:
		o.wish(lists[o.draw(len(lists))][0], lists[o.draw(len(lists))][1])
	case kind == 2:
		o.monitor = !o.monitor
		o.wantLook(time.Now())
	case kind == 3:
		o.revision++
		o.content = policy.Content{Verified: true, HeadVersion: o.revision, Released: true}
		o.enforcer.Adopt(&o.content)
		o.wantLook(time.Now())
	case kind == 4:
		if _, err := o.enforcer.ReleaseLocks(o.ctx, o.now(), "carol", make(chan []*Handed, 1)); err != nil {
			o.t.Error(err)
		}
		o.plan()
	case kind == 5:
		hand := &Hand{Setting: policy.Find("pause_idle"), Value: "true", By: "carol"}
		o.enforcer.SetByHand(o.ctx, o.now(), hand, make(chan []*Handed, 1))
	case kind == 6:
		o.lend(o.upTo(8 * time.Second))
	default:
		o.restart()
	}
}

// lend takes a lease, and gives it back later.
func (o *orders) lend(length time.Duration) {
	l, fails := o.lab, o.fails.Load()
	l.enforcer.running.Go(func() {
		lease, err := l.enforcer.TakeLease(l.ctx, "test", []string{"remove-vm"}, time.Now().Add(time.Hour))
		if err == nil {
			time.Sleep(length)
			err = lease.Restore(l.ctx)
		}
		if err != nil && !fails && l.ctx.Err() == nil {
			o.t.Error(err)
		}
		o.restored <- struct{}{}
	})
}

// answers has a tool fail now and then: without an effect, with one, or with one that
// comes later.
func (o *orders) answers(mac *fakeMac, uid uint32, args []string) (works bool, said error) {
	failed := &prlctl.Error{Code: string(protocol.CodeToolFailed)}
	if !o.fails.Load() || o.draw(3) > 0 {
		return true, nil
	}
	switch o.draw(3) {
	case 0:
		return false, failed
	case 1:
		return true, failed
	}
	wait := o.upTo(20 * time.Second)
	if !o.mayBeLate(uid) {
		return false, failed
	}
	mac.takeLate(wait, uid, args)
	if uid != hostUID { // which tells nothing
		time.AfterFunc(wait, func() { o.restored <- struct{}{} })
	}
	return false, errKilled
}

// mayBeLate reports whether a tool may be killed now and take effect later: one at a time,
// because of two that set the same nobody can tell which one is seen.
func (o *orders) mayBeLate(uid uint32) bool {
	o.drawing.Lock()
	defer o.drawing.Unlock()
	if time.Since(o.lateAt[uid]) < time.Minute {
		return false
	}
	o.lateAt[uid] = time.Now()
	return true
}

// restart kills the daemon, and starts another one on what is on the disk. What the tools
// do then goes on.
func (o *orders) restart() {
	folder, old := copyState(o.t, o.folder), o.lab
	old.stop()
	o.lab = labOn(o.t, old.fakeMac, folder, "")
	o.content, o.monitor, o.locks = old.content, old.monitor, old.locks
	o.looking, o.known, o.planning, o.planAgain, o.plans = nil, nil, false, false, make(chan *Planned, 1)
	o.enforcer.Adopt(&o.content)
	o.wantLook(time.Now())
}

// run goes on for a time, with changes so often on average; zero: without.
func (o *orders) run(length, every time.Duration) {
	const tick = time.Second / 10
	for range int(length / tick) {
		o.step()
		synctest.Wait() // what was begun has begun
		if every > 0 && o.draw(int(every/tick)) == 0 {
			o.change()
		}
		time.Sleep(tick)
	}
}

// repeated are the calls that set a switch of the host to the word that it was set to
// last.
func (o *orders) repeated() (calls []string) {
	last := make(map[string]string)
	for _, call := range o.sets() {
		rest, isHost := strings.CutPrefix(call, "host set ")
		if target, word, _ := strings.Cut(rest, ":"); isHost {
			if last[target] == word {
				calls = append(calls, call)
			}
			last[target] = word
		}
	}
	return calls
}

// newOrders is a Mac where people want something else every few seconds, for a while.
func newOrders(t *testing.T, seed uint64, fails bool) *orders {
	o := &orders{
		t: t, lab: newLab(t, ""), random: rand.New(rand.NewPCG(seed, 7)), revision: 7,
		plans: make(chan *Planned, 1), restored: make(chan struct{}, 100), lateAt: make(map[uint32]time.Time),
	}
	mac := o.fakeMac
	o.answer = func(uid uint32, args []string) (bool, error) { return o.answers(mac, uid, args) }
	o.locks = true
	o.fails.Store(fails)
	o.before = func(string) { time.Sleep(20*time.Millisecond + o.upTo(5*time.Second/2)) }
	o.after = func(string) { time.Sleep(o.upTo(time.Second)) }
	o.wish(`"provisioned_only":true`, `"clipboard":"disconnect"`)
	o.run(30*time.Second, time.Second+o.upTo(5*time.Second))
	return o
}

// inAnyOrder tests what becomes of several orders of wishes.
func inAnyOrder(t *testing.T, fails bool, test func(*orders)) {
	t.Parallel()
	skipLong(t)
	for seed := range uint64(24) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { test(newOrders(t, seed, fails)) })
		})
	}
}

// end has the Mac come to rest with what is wanted last, and checks it.
func (o *orders) end(length time.Duration) {
	o.monitor = false
	o.wish(`"no_removal":true`, `"clipboard":"disconnect"`)
	o.run(length, 0)
	looks := o.looks
	if o.run(time.Minute, 0); o.looks != looks {
		o.t.Errorf("there are still looks: %d, then %d", looks, o.looks)
	}
	o.wantAsked("remove-vm")
	for uid := range map[uint32]bool{501: true, 502: true} {
		if clipboard := o.vmOf(uid).show("Miscellaneous Sharing/Shared clipboard mode"); clipboard != "off" || o.memoryOf(uid).HoldsLock() {
			o.t.Errorf("of %d: clipboard %s, remembered %+v", uid, clipboard, o.memoryOf(uid))
		}
		if locked := o.vmOf(uid).show("Security/Configuration is locked"); locked != "off" {
			o.t.Errorf("of %d: locked %s", uid, locked)
		}
	}
}

// H41, H46, H47, H68: in whatever order policies, monitor mode, releases by a policy and
// by persons, settings by hand and leases come while the tools take their time: in
// the end all is as it was wanted last and no lock of an earlier policy is left, no
// switch was set twice to one word, and the Mac comes to rest.
func TestH46_H47_AnyOrderOfWishes(t *testing.T) {
	inAnyOrder(t, false, func(o *orders) {
		o.end(2 * time.Minute)
		if calls := o.repeated(); len(calls) > 0 {
			o.t.Errorf("set again: %q of %q", calls, o.sets())
		}
	})
}

// The same where tools fail, or take effect after they were killed, and the daemon is
// killed: once they work, and somebody asks, all is as it was wanted last.
func TestH46_H47_AnyOrderOfWishesWithToolsThatFail(t *testing.T) {
	inAnyOrder(t, true, func(o *orders) {
		o.fails.Store(false)
		o.retryNow = true
		o.end(10 * time.Minute)
	})
}
