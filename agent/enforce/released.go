package enforce

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"prlagent/agent/policy"
	"prlagent/agent/protocol"
	"prlagent/store"
)

// Released is that an administrator of the Mac had the locks lifted which the
// agent has placed (H47). Until there is a newer policy the agent only plans.
type Released struct {
	At          time.Time `json:"at"`
	By          string    `json:"by"`
	HeadVersion uint64    `json:"head_version,omitempty"` // that was in force then
	SHA256      string    `json:"sha256,omitempty"`       // of its policy
}

// Events of that.
const (
	eventLocksReleased = "policy_locks_released" // from now on the agent only plans
	eventResumed       = "policy_resumed"        // there is a newer policy
)

// LocksReleased is since when the agent only plans because of a person, and until
// which head; nil if it does not.
func (e *Enforcer) LocksReleased() *Released {
	e.mu.Lock()
	released := e.released
	e.mu.Unlock()
	return released
}

// ReleaseLocks begins to lift the locks and the host's switches that the agent has
// placed, and has it only plan from now on, also after a restart. What cannot be lifted now is tried again
// with each plan. The answer is as that of SetByHand; with an error nothing is
// begun.
func (e *Enforcer) ReleaseLocks(ctx context.Context, s *Situation, by string, reply chan<- []*Handed) (protocol.Event, error) {
	released := &Released{At: e.now(), By: by, HeadVersion: s.Content.HeadVersion, SHA256: s.Content.Pointer.SHA256}
	e.mu.Lock()
	err := e.setReleased(released)
	e.mu.Unlock()
	if err != nil {
		return protocol.Event{}, err
	}
	e.SetByHand(ctx, s, &Hand{By: by}, reply)
	return protocol.Event{At: released.At, Type: eventLocksReleased, Code: protocol.CodeLocksReleased, Data: map[string]string{"by": by}}, nil
}

// setReleased keeps it in the store first. The caller holds the lock.
func (e *Enforcer) setReleased(released *Released) error {
	err := e.options.Store.Update(func(tx *store.Tx) error {
		if released == nil {
			return records.Delete(tx, releasedKey)
		}
		return records.Put(tx, releasedKey, &record{Released: released})
	})
	if err != nil {
		return fmt.Errorf("keep that the locks are released: %w", err)
	}
	e.released = released
	return nil
}

// resume ends a person's release once there is a newer policy, and has the agent
// only plan until then. The caller holds the lock.
func (e *Enforcer) resume(s *Situation) (events []protocol.Event, err error) {
	switch {
	case e.released == nil:
		return nil, nil
	case !e.released.endsWith(&s.Content):
		s.Enforce = false
		return nil, nil
	}
	if err := e.setReleased(nil); err != nil {
		return nil, err
	}
	return []protocol.Event{{At: e.now(), Type: eventResumed, Data: map[string]string{
		"head_version": fmt.Sprint(s.Content.HeadVersion), "policy_id": s.Content.Pointer.PolicyID,
	}}}, nil
}

// endsWith reports whether the content is newer than what was in force then. A
// policy without a head, of the profile, is newer if it is another one.
func (r *Released) endsWith(content *policy.Content) bool {
	if !content.Verified {
		return false
	}
	return content.HeadVersion > r.HeadVersion || content.HeadVersion == 0 && content.Pointer.SHA256 != r.SHA256
}

// heldSwitches are the switches of the host that the agent has placed, behind those
// that are known already.
func (e *Enforcer) heldSwitches(s *Situation, known []*Handed) []*Handed {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.noteHostOwner(s)
	for i := range policy.HostSwitches {
		found := &policy.HostSwitches[i]
		isKnown := false
		for _, one := range known {
			isKnown = isKnown || one.Switch == found
		}
		if !isKnown && e.controls.Host.Call(found.Target()).Word != "" {
			known = append(known, &Handed{Switch: found, Outcome: policy.HandRefused, Code: protocol.CodeDaemonNotRunning})
		}
	}
	return known
}

// liftSwitches lifts the switches that were held when a person asked for it, and
// those that were placed until it is their turn. How that ended it tells by another
// look at the host.
func (e *Enforcer) liftSwitches(ctx context.Context, s *Situation, switches []*Handed) []*Handed {
	e.inTurn(ctx, hostUID, func() *Applied {
		outcome := &Applied{}
		switches = e.heldSwitches(s, switches)
		e.awaitLate(ctx, e.lateSwitches)
		if len(switches) == 0 || ctx.Err() != nil {
			return outcome
		}
		code := e.lookForLift(ctx, s)
		if code == "" {
			outcome = e.applyHost(ctx, &Planned{byHand: true, At: e.now(), HostSteps: e.planLift(s), version: s.Version, system: s.System})
		}
		if ctx.Err() == nil {
			for _, one := range switches {
				e.judgeLift(one, code)
			}
		}
		return outcome
	})
	return switches
}

// awaitLate waits until what may still come has come. until says when that is, of what is
// remembered; zero: nothing may.
func (e *Enforcer) awaitLate(ctx context.Context, until func() time.Time) {
	e.mu.Lock()
	wait := until().Sub(e.now())
	e.mu.Unlock()
	select {
	case <-time.After(max(0, wait)):
	case <-ctx.Done():
	}
}

// lateSwitches is until when a switch may still come. The caller holds the lock.
func (e *Enforcer) lateSwitches() time.Time { return e.controls.LateUntil(e.now()) }

// lookForLift reads the host anew, and gives the code of why it could not.
func (e *Enforcer) lookForLift(ctx context.Context, s *Situation) protocol.Code {
	if s.Closed != "" {
		return s.Closed
	}
	e.hostTurn.Lock()
	defer e.hostTurn.Unlock()
	if _, err := e.readHost(ctx); err != nil {
		return cmp.Or(protocol.CodeOf(err), protocol.CodeNotObservable)
	}
	return ""
}

// planLift are the steps that lift what is still there, also what has failed before.
func (e *Enforcer) planLift(s *Situation) []policy.HostStep {
	e.mu.Lock()
	defer e.mu.Unlock()
	return policy.Plan(policy.Desired{LiftLocks: true}, &policy.Observed{
		Now: e.now(), Version: s.Version, System: s.System, Controls: e.controls,
		Host: policy.Host{Info: e.shown.info, Leased: e.leasedNow(), RetryNow: true},
	}).Controls.HostSteps
}

// judgeLift says how it ended for one switch. code is why it was not tried. One that
// is off for the agent's own work is put back after that, and lifted by the next
// plan.
func (e *Enforcer) judgeLift(one *Handed, code protocol.Code) {
	e.mu.Lock()
	defer e.mu.Unlock()
	call := e.controls.Host.Call(one.Switch.Target())
	shown := one.Switch.Shown(e.shown.info)
	isGone := call.Word == "" || code == "" && shown != "" && shown != call.Word // and none may come late, see awaitLate
	switch {
	case code != "" && !isGone:
	case slices.Contains(e.leasedNow(), one.Switch.Name):
		code = protocol.CodeControlLifted
	case isGone:
		one.Outcome, one.Code = policy.HandDone, ""
		return
	default:
		code = cmp.Or(call.Code, e.shown.code, protocol.CodeNotVerified)
	}
	one.Outcome, one.Code, one.Command = policy.HandRefused, code, hostCommand(one.Switch.Args(call.Prior))
	if policy.Passes(code) || code == protocol.CodeControlLifted {
		one.Outcome = policy.HandDeferred
	}
}
