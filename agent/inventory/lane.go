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

// Parts of the patience. A user whose tools hung before is waited for shortly:
// whoever is fine again answers within that, and who is not delays nobody's
// report. A query that takes a part of it is taken for one that hangs.
const (
	shortPatience = 10
	hangingAfter  = 8
)

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
// whole Mac. One that hangs gives its slot back while it goes on, because it
// costs nothing but time, and its user uses only one of the two until a query
// ends well: the other is always free for the rest (H12).
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

// do runs one query of the user when it is their turn. It hangs when it has
// not ended after a while, or was killed at its limit.
func (s *slots) do(ctx context.Context, uid uint32, hanging time.Duration, query func() error) error {
	own := s.of(uid)
	select {
	case own <- struct{}{}:
		defer func() { <-own }()
	case <-ctx.Done():
		return ctx.Err()
	}
	slot, err := s.take(ctx, uid)
	if err != nil {
		return err
	}
	giveBack := sync.OnceFunc(func() { <-slot })
	defer giveBack()
	overdue := time.AfterFunc(hanging, func() {
		s.setHung(uid, true)
		giveBack()
	})
	err = query()
	overdue.Stop()
	s.setHung(uid, isHang(err))
	return err
}

// take waits for one of the slots that are for this user.
func (s *slots) take(ctx context.Context, uid uint32) (chan struct{}, error) {
	reserved := s.reserved
	if s.hung(uid) {
		reserved = nil // never ready
	}
	select {
	case s.common <- struct{}{}:
		return s.common, nil
	case reserved <- struct{}{}:
		return reserved, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
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

func (s *slots) setHung(uid uint32, hung bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.hangs, uid)
	if hung {
		s.hangs[uid] = true
	}
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
		forgotten := earlier.recalled && len(next.known) == 0 // as on a disk that was cloned
		if earlier.isListed() && !forgotten {
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
