// Package lane gives every user of the Mac a lane of their own (H12): whatever
// runs for a user, a look or a change, waits its turn there, has its limit, and
// delays nobody else. A user can stop any program that runs as them, so every
// run may take as long as they like.
package lane

import (
	"context"
	"sync"
	"time"

	"prlagent/agent/protocol"
)

// Lanes bound how many runs of tools go on at once: one for each user, and two
// for the whole Mac. One that hangs gives its slot back while it goes on,
// because it costs nothing but time, and its user uses only one of the two
// until a run ends well: the other is always free for the rest. Who waits for
// a slot is served in the order of asking, and asks for one run at a time, so
// that many runs for one user take no share of another's.
type Lanes struct {
	common, reserved chan struct{}

	mu      sync.Mutex
	turns   map[uint32]chan struct{} // by uid: full while a run of the user has its turn
	hanging map[uint32]bool          // by uid
}

// New returns the lanes of one Mac, for everything that runs for its users.
func New() *Lanes {
	return &Lanes{
		common: make(chan struct{}, 1), reserved: make(chan struct{}, 1),
		turns: make(map[uint32]chan struct{}), hanging: make(map[uint32]bool),
	}
}

// Run makes one run for the user when it is their turn, and returns its error;
// ctx's, if that ends first. The run hangs when it has not ended after the
// limit, or was killed: it goes on, but without its slot.
func (l *Lanes) Run(ctx context.Context, uid uint32, limit time.Duration, run func() error) error {
	turn := l.turnOf(uid)
	select {
	case turn <- struct{}{}:
		defer func() { <-turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	slot, err := l.takeSlot(ctx, uid)
	if err != nil {
		return err
	}
	giveBack := sync.OnceFunc(func() { <-slot })
	defer giveBack()
	overdue := time.AfterFunc(limit, func() {
		l.setHanging(uid, true)
		giveBack()
	})
	err = run()
	overdue.Stop()
	l.setHanging(uid, IsHang(err))
	return err
}

// IsHang reports whether a run was killed at its limit.
func IsHang(err error) bool { return protocol.CodeOf(err) == protocol.CodeToolTimeout }

// takeSlot waits for one of the slots that are for this user.
func (l *Lanes) takeSlot(ctx context.Context, uid uint32) (chan struct{}, error) {
	reserved := l.reserved
	if l.Hanging(uid) {
		reserved = nil // never ready
	}
	select {
	case l.common <- struct{}{}:
		return l.common, nil
	case reserved <- struct{}{}:
		return reserved, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *Lanes) turnOf(uid uint32) chan struct{} {
	l.mu.Lock()
	if l.turns[uid] == nil {
		l.turns[uid] = make(chan struct{}, 1)
	}
	turn := l.turns[uid]
	l.mu.Unlock()
	return turn
}

// Hanging reports whether the user's newest run hangs, or was killed.
func (l *Lanes) Hanging(uid uint32) bool {
	l.mu.Lock()
	hanging := l.hanging[uid]
	l.mu.Unlock()
	return hanging
}

func (l *Lanes) setHanging(uid uint32, hanging bool) {
	l.mu.Lock()
	delete(l.hanging, uid)
	if hanging {
		l.hanging[uid] = true
	}
	l.mu.Unlock()
}
