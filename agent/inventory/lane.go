package inventory

import (
	"context"
	"sync"
	"time"

	"prlagent/agent/protocol"
	"prlagent/platform"
)

// DefaultPatience is how long a look waits for one user: the limit of one
// query, and some more for the kill and for the files.
const DefaultPatience = 75 * time.Second

// shortPatience is the part of it for a user whose tools hung before: whoever
// is fine again answers within it, and who is not delays nobody's report.
const shortPatience = 10

// lane runs one thing at a time for one user, in a goroutine that may outlive
// the look that began it. It is used by one goroutine at a time.
type lane[T any] struct {
	result chan T // nil: nothing runs
}

func (l *lane[T]) busy() bool { return l.result != nil }

func (l *lane[T]) begin(running *sync.WaitGroup, work func() T) {
	result := make(chan T, 1)
	l.result = result
	running.Go(func() { result <- work() })
}

// wait gives the result once, and false when the time is over before there is
// one: then the lane stays busy.
func (l *lane[T]) wait(ctx context.Context, over <-chan time.Time) (result T, ended bool) {
	select {
	case result = <-l.result:
		l.result = nil
		return result, true
	case <-over:
	case <-ctx.Done():
	}
	return result, false
}

// slots bound how many queries run at once: one for each user, and two for the
// whole Mac. A user whose last query hung uses only one of the two, so that the
// other is always free for the rest (H12).
type slots struct {
	common, reserved chan struct{}

	mu    sync.Mutex
	users map[uint32]chan struct{}
	hangs map[uint32]bool
}

func newSlots() *slots {
	return &slots{
		common: make(chan struct{}, 1), reserved: make(chan struct{}, 1),
		users: make(map[uint32]chan struct{}), hangs: make(map[uint32]bool),
	}
}

// do runs one query of the user when it is their turn.
func (s *slots) do(ctx context.Context, uid uint32, query func() error) error {
	own := s.of(uid)
	select {
	case own <- struct{}{}:
		defer func() { <-own }()
	case <-ctx.Done():
		return ctx.Err()
	}
	reserved := s.reserved
	if s.hung(uid) {
		reserved = nil // never ready
	}
	select {
	case s.common <- struct{}{}:
		defer func() { <-s.common }()
	case reserved <- struct{}{}:
		defer func() { <-reserved }()
	case <-ctx.Done():
		return ctx.Err()
	}
	err := query()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hangs[uid] = isHang(err); !s.hangs[uid] {
		delete(s.hangs, uid)
	}
	return err
}

func (s *slots) of(uid uint32) chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users[uid] == nil {
		s.users[uid] = make(chan struct{}, 1)
	}
	return s.users[uid]
}

func (s *slots) hung(uid uint32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hangs[uid]
}

func isHang(err error) bool { return err != nil && codeOf(err) == protocol.CodeToolTimeout }

// attendance is what a look gets from one user's lane.
type attendance struct {
	user    platform.User
	account account  // of this look, unless late
	earlier *account // what a look before this one did not wait for, if it is worth anything
	late    bool     // nothing of this look yet; the next one takes it
}

// hangs says that asking this user for anything more would cost time.
func (a attendance) hangs() bool { return a.late || a.account.code == protocol.CodeToolTimeout }

// attend visits a user, and waits for it no longer than the patience. A visit
// that an earlier look gave up on is not thrown away, but what it saw may be
// old: it becomes what is known, and the user is visited again.
func (c *Collector) attend(ctx context.Context, visits *lane[account], next visit, patience time.Duration) attendance {
	over := time.NewTimer(patience)
	defer over.Stop()
	result := attendance{user: next.user}
	if visits.busy() {
		earlier, ended := visits.wait(ctx, over.C)
		if !ended {
			result.late = true
			return result
		}
		if earlier.isListed() {
			result.earlier = &earlier
			next.known = copied(earlier.entries)
		}
	}
	visits.begin(&c.running, func() account { return next.run(ctx) })
	var ended bool
	result.account, ended = visits.wait(ctx, over.C)
	result.late = !ended
	return result
}
