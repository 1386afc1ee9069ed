package enforce

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"prlagent/agent/policy"
	"prlagent/agent/protocol"
)

// Hand is what an administrator of the Mac wants done now.
type Hand struct {
	Setting *policy.Setting // nil: the locks and the host's switches are to be lifted that the agent has placed
	Value   policy.Value
	IDs     []string // of the machines; none: all
	By      string   // who asks, for the event
}

// Handed is what became of one machine, or of one switch of the host.
type Handed struct {
	Key     protocol.VMKey
	Machine *Machine           // nil: no account has one of this id
	Switch  *policy.HostSwitch // nil: it is about a machine
	Outcome string             // a Hand word of package policy
	Code    protocol.Code
	Command string // what a person types instead, where a lock could not be lifted
	// Of a machine of which the policy wants this setting: the setting's path there,
	// the value, and whether it is put back.
	Path    string
	Wants   policy.Value
	PutBack bool
}

// eventByHand tells that an administrator has asked for something, before it is
// done.
const eventByHand = "policy_by_hand"

// SetByHand begins to set one setting of the situation's machines, each account's
// in its lane, and gives the answer to reply, which must have room for it. It does
// so in monitor mode too: that keeps the agent from acting by itself, and this is a
// person's act. What is done by hand is not remembered, so that nothing of it is
// done again, or put back, but by a policy.
func (e *Enforcer) SetByHand(ctx context.Context, s *Situation, hand *Hand, reply chan<- []*Handed) {
	handed, owners := e.chosen(s, hand)
	var switches []*Handed
	if hand.Setting == nil {
		switches = e.heldSwitches(s, nil)
	}
	e.running.Go(func() {
		var each sync.WaitGroup
		for _, owner := range owners {
			each.Go(func() { e.doFor(ctx, s, hand, owner) })
		}
		if hand.Setting == nil {
			each.Go(func() { switches = e.liftSwitches(ctx, s, switches) })
		}
		each.Wait()
		reply <- append(handed, switches...)
	})
}

// chosen are the machines that are meant, and the same by their owners; and the ids
// that nobody has.
func (e *Enforcer) chosen(s *Situation, hand *Hand) (all []*Handed, owners []*handedOwner) {
	e.mu.Lock()
	defer e.mu.Unlock()
	found := make(map[string]bool)
	for _, known := range s.Machines {
		key := known.Facts.Key
		id := strings.ToLower(key.ID)
		isMeant := len(hand.IDs) == 0 || slices.Contains(hand.IDs, id)
		if isMeant && (hand.Setting != nil || e.memory[key].HoldsLock()) {
			found[id] = true
			m := *known // what is done by hand plans with other facts
			one := &Handed{Key: key, Machine: &m, Outcome: policy.HandRefused, Code: protocol.CodeDaemonNotRunning}
			all, owners = append(all, one), addHanded(owners, one)
		}
	}
	for _, id := range hand.IDs {
		if !found[id] {
			all = append(all, &Handed{Key: protocol.VMKey{ID: id}, Outcome: policy.HandRefused, Code: protocol.CodeVMNotFound})
		}
	}
	return all, owners
}

// handedOwner is an account with those of its machines that are meant.
type handedOwner struct {
	uid    uint32
	theirs []*Handed
}

func addHanded(owners []*handedOwner, one *Handed) []*handedOwner {
	for _, owner := range owners {
		if owner.uid == one.Key.UID {
			owner.theirs = append(owner.theirs, one)
			return owners
		}
	}
	return append(owners, &handedOwner{one.Key.UID, []*Handed{one}})
}

// handPoll is how often it is asked whether an account's other work is over.
const handPoll = 100 * time.Millisecond

// doFor does what is wanted for one account, once nothing else is done for it.
func (e *Enforcer) doFor(ctx context.Context, s *Situation, hand *Hand, owner *handedOwner) {
	e.inTurn(ctx, owner.uid, func() *Applied {
		a := e.newApplication(&Planned{
			byHand: true, At: e.now(), Machines: make(map[protocol.VMKey]*Machine), version: s.Version, capabilities: s.Capabilities,
		}, owner.uid)
		a.hand = make(policy.Memory)
		for _, one := range owner.theirs {
			a.doByHand(ctx, s, hand, one)
		}
		return a.end()
	})
}

// inTurn does work for one account, or for the host, once nothing else is done for
// it, and waits for its end.
func (e *Enforcer) inTurn(ctx context.Context, uid uint32, work func() *Applied) {
	ended := make(chan struct{})
	for !e.tasks.Start(uid, func() *Applied { defer close(ended); return work() }) {
		select {
		case <-time.After(handPoll):
		case <-ctx.Done():
			return
		}
	}
	<-ended
}

// doByHand does what is wanted with one machine as it is now, and tells how that
// ended by another look at it.
func (a *application) doByHand(ctx context.Context, s *Situation, hand *Hand, one *Handed) {
	if ctx.Err() != nil {
		return
	}
	a.planned.Machines[one.Key] = one.Machine
	a.enforcer.compare(s, hand, one)
	if hand.Setting == nil {
		a.enforcer.awaitLate(ctx, func() time.Time { return a.enforcer.memory[one.Key].LateUntil(a.enforcer.now()) })
	}
	a.hand[one.Key] = a.enforcer.recall(one.Key).ForHand()
	plan, err := a.planByHand(ctx, s, hand, one.Machine)
	if err == nil && len(plan.Steps) > 0 {
		steps := make([]*policy.Step, len(plan.Steps))
		for i := range plan.Steps {
			steps[i] = &plan.Steps[i]
		}
		a.run(ctx, steps)
		plan, err = a.planByHand(ctx, s, hand, one.Machine)
	}
	if err != nil {
		one.Outcome, one.Code = policy.HandRefused, protocol.CodeOf(err)
		if policy.Passes(one.Code) {
			one.Outcome = policy.HandDeferred
		}
		return
	}
	one.judge(plan, hand)
}

// compare notes what the policy wants of the same.
func (e *Enforcer) compare(s *Situation, hand *Hand, one *Handed) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if hand.Setting == nil || e.parsed.document == nil {
		return
	}
	value, path, managed := e.parsed.document.Wants(&one.Machine.Facts, hand.Setting.Name)
	if managed {
		one.Wants, one.Path, one.PutBack = value, path, s.Enforce && e.released == nil && value != hand.Value
	}
}

// planByHand plans for one machine, which it looks at anew.
func (a *application) planByHand(ctx context.Context, s *Situation, hand *Hand, m *Machine) (*policy.Result, error) {
	desired := policy.Desired{LiftLocks: hand.Setting == nil, Enforce: true, AllowUnprovenLocks: s.AllowUnprovenLocks}
	if hand.Setting != nil {
		desired.Document = policy.OneSetting(hand.Setting, hand.Value, a.hand[m.Facts.Key].HoldsLock())
	}
	m.Facts.AtWork, m.Facts.RetryNow = false, true
	if s.Closed == "" {
		vm, err := a.get(ctx, m)
		if err != nil {
			return nil, err
		}
		m.Facts.VM = *vm
		m.Facts.Stale, m.Facts.Unreadable = "", ""
		if desired.Document != nil && desired.Document.ReadsFile(vm) {
			bundle := cmp.Or(vm.Bundle(), m.Bundle)
			// What cannot be read is not observable, which the verdict says.
			m.Facts.Config, _ = a.readConfig(ctx, m.Owner.User, m.Facts.Key.UID, bundle)
		}
	}
	return policy.Plan(desired, &policy.Observed{
		Now: a.enforcer.now(), Version: s.Version, Capabilities: s.Capabilities, Closed: s.Closed,
		Machines: []policy.Machine{m.Facts}, Memory: a.hand,
	}), nil
}

// judge says how it ended by the verdict on the setting, or on the lock. There is
// none on a lock that is gone.
func (h *Handed) judge(result *policy.Result, hand *Hand) {
	h.Outcome, h.Code = policy.HandDone, ""
	for i := range result.Verdicts {
		verdict := &result.Verdicts[i]
		if hand.Setting != nil && verdict.Setting != hand.Setting.Name {
			continue
		}
		switch verdict.Verdict {
		case protocol.VerdictInPlace:
		case protocol.VerdictDeferred, protocol.VerdictPending:
			h.Outcome, h.Code = policy.HandDeferred, verdict.Code
		default:
			h.Outcome, h.Code = policy.HandRefused, verdict.Code
		}
	}
	for i := range result.Steps {
		if result.Steps[i].Restores {
			h.Command = commandFor(&result.Steps[i])
		}
	}
}

// EventOf is the event that tells who asked for this, to be kept before it is
// done.
func (h *Hand) EventOf(now time.Time) protocol.Event {
	event := protocol.Event{At: now.UTC().Truncate(time.Second), Type: eventByHand, Data: map[string]string{"by": h.By, "vms": "all"}}
	if len(h.IDs) > 0 {
		event.Data["vms"] = fmt.Sprint(len(h.IDs))
	}
	if h.Setting == nil {
		event.Data["release"] = "locks"
		return event
	}
	event.Data["setting"], event.Data["value"] = h.Setting.Name, string(h.Value)
	return event
}
