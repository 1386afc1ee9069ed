package enforce

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"prlagent/agent/policy"
	"prlagent/agent/protocol"
)

// orders is the agent's loop in short, on a Mac where everything takes its time: looks,
// plans beside them one at a time, and what becomes of these. Nothing is looked at
// without a reason.
type orders struct {
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
	restored  chan struct{} // a lease was given back, which is followed by a look
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
	s := o.now()
	go func() {
		o.enforcer.LookAtHost(o.ctx, s)
		time.Sleep(o.upTo(time.Second / 2))
		planned, err := o.enforcer.Plan(s)
		if err != nil {
			o.t.Error(err)
		}
		time.Sleep(o.upTo(time.Second))
		o.plans <- planned
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
	switch kind := o.draw(7); {
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
	default:
		o.lend(o.upTo(8 * time.Second))
	}
}

// lend takes a lease, and gives it back later.
func (o *orders) lend(length time.Duration) {
	o.enforcer.running.Go(func() {
		lease, err := o.enforcer.TakeLease(o.ctx, "test", []string{"remove-vm"}, time.Now().Add(time.Hour))
		if err == nil {
			time.Sleep(length)
			err = lease.Restore(o.ctx)
		}
		if err != nil {
			o.t.Error(err)
		}
		o.restored <- struct{}{}
	})
}

// run goes on for a time, with changes so often on average; zero: without.
func (o *orders) run(length, every time.Duration) {
	const tick = time.Second / 10
	for range int(length / tick) {
		o.step()
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

// H41, H46, H47, H68: in whatever order policies, monitor mode, releases by a policy and
// by persons, settings by hand and leases come while the tools take their time: in
// the end all is as it was wanted last and no lock of an earlier policy is left, no
// switch was set twice to one word, and the Mac comes to rest.
func TestH46_H47_AnyOrderOfWishes(t *testing.T) {
	t.Parallel()
	skipLong(t)
	for seed := range uint64(24) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				o := &orders{
					lab: newLab(t, ""), random: rand.New(rand.NewPCG(seed, 7)), revision: 7,
					plans: make(chan *Planned, 1), restored: make(chan struct{}, 100),
				}
				o.locks = true
				o.before = func(string) { time.Sleep(20*time.Millisecond + o.upTo(5*time.Second/2)) }
				o.after = func(string) { time.Sleep(o.upTo(time.Second)) }
				o.wish(`"provisioned_only":true`, `"clipboard":"disconnect"`)
				o.run(30*time.Second, time.Second+o.upTo(5*time.Second))
				o.monitor = false
				o.wish(`"no_removal":true`, `"clipboard":"disconnect"`)
				o.run(2*time.Minute, 0)
				looks := o.looks
				if o.run(time.Minute, 0); o.looks != looks {
					t.Errorf("there are still looks: %d, then %d", looks, o.looks)
				}
				o.wantAsked("remove-vm")
				for uid := range map[uint32]bool{501: true, 502: true} {
					if clipboard := o.vmOf(uid).show("Miscellaneous Sharing/Shared clipboard mode"); clipboard != "off" || o.memoryOf(uid).HoldsLock() {
						t.Errorf("of %d: clipboard %s, remembered %+v", uid, clipboard, o.memoryOf(uid))
					}
				}
				if calls := o.repeated(); len(calls) > 0 {
					t.Errorf("set again: %q of %q", calls, o.sets())
				}
			})
		})
	}
}
