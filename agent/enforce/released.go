package enforce

import (
	"context"
	"fmt"
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
	defer e.mu.Unlock()
	return e.released
}

// ReleaseLocks begins to lift the locks that the agent has placed, and has it only
// plan from now on, also after a restart. What cannot be lifted now is tried again
// with each plan. The answer is as that of SetByHand; with an error nothing is
// begun.
func (e *Enforcer) ReleaseLocks(ctx context.Context, s *Situation, by string, reply chan<- []*Handed) (protocol.Event, error) {
	released := &Released{At: e.now(), By: by, HeadVersion: s.Content.HeadVersion, SHA256: s.Content.Pointer.SHA256}
	if err := e.keepReleased(released); err != nil {
		return protocol.Event{}, err
	}
	e.SetByHand(ctx, s, Hand{By: by}, reply)
	return protocol.Event{At: released.At, Type: eventLocksReleased, Code: protocol.CodeLocksReleased, Data: map[string]string{"by": by}}, nil
}

func (e *Enforcer) keepReleased(released *Released) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.setReleased(released)
}

// setReleased keeps it in the store first. The caller holds the lock.
func (e *Enforcer) setReleased(released *Released) error {
	err := e.options.Store.Update(func(tx *store.Tx) error {
		if released == nil {
			return records.Delete(tx, releasedKey)
		}
		return records.Put(tx, releasedKey, record{Released: released})
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
	case !e.released.endsWith(s.Content):
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
func (r *Released) endsWith(content policy.Content) bool {
	if !content.Verified {
		return false
	}
	return content.HeadVersion > r.HeadVersion || content.HeadVersion == 0 && content.Pointer.SHA256 != r.SHA256
}
