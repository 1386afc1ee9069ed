package lane

import (
	"context"
	"sync"
	"time"
)

// Tasks is work of one kind, such as looks or changes, of which one at a time
// goes on for each account. It runs in goroutines that may outlive whoever
// began it; its outcome waits until it is taken. Different kinds of work for
// one account go on side by side, and share the account's turns in Lanes run
// by run. Tasks may be used by several goroutines.
type Tasks[T any] struct{ tasks tasks }

// NewTasks returns a kind of work. posted, which may be nil, is called by the
// goroutine of each task as soon as its outcome can be taken, and must not
// wait: it is the hint of a loop to take it.
func NewTasks[T any](posted func(uid uint32)) *Tasks[T] {
	return &Tasks[T]{tasks{posted: posted, outcomes: make(map[uint32]chan any)}}
}

// Start begins a task for the account, and reports whether it did: not while
// another one runs, or its outcome was not taken.
func (t *Tasks[T]) Start(uid uint32, work func() T) bool {
	return t.tasks.start(uid, func() any { return work() })
}

// Pending reports whether a task of the account runs, or its outcome was not
// taken.
func (t *Tasks[T]) Pending(uid uint32) bool { return t.tasks.outcomeOf(uid) != nil }

// Begun are the accounts of which a task runs, or its outcome was not taken.
func (t *Tasks[T]) Begun() []uint32 { return t.tasks.begun() }

// Take takes the outcome of the account's task, if it is there.
func (t *Tasks[T]) Take(uid uint32) (outcome T, ended bool) {
	taken, ended := t.tasks.take(uid)
	outcome, _ = taken.(T)
	return outcome, ended
}

// Wait takes the outcome of the account's task, for which it waits until the
// time is over or ctx ends. A task that has not ended by then goes on.
func (t *Tasks[T]) Wait(ctx context.Context, uid uint32, over <-chan time.Time) (outcome T, ended bool) {
	taken, ended := t.tasks.wait(ctx, uid, over)
	outcome, _ = taken.(T)
	return outcome, ended
}

// Close waits for every task that still runs. What they run under must have
// ended.
func (t *Tasks[T]) Close() { t.tasks.running.Wait() }

// tasks is Tasks whatever the outcomes are: a program has it once.
type tasks struct {
	posted  func(uid uint32)
	running sync.WaitGroup

	mu       sync.Mutex
	outcomes map[uint32]chan any // by uid; there is one from the start until its outcome is taken
}

func (t *tasks) start(uid uint32, work func() any) bool {
	outcome := make(chan any, 1)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.outcomes[uid] != nil {
		return false
	}
	t.outcomes[uid] = outcome
	t.running.Go(func() {
		outcome <- work()
		if t.posted != nil {
			t.posted(uid)
		}
	})
	return true
}

func (t *tasks) begun() []uint32 {
	t.mu.Lock()
	begun := make([]uint32, 0, len(t.outcomes))
	for uid := range t.outcomes {
		begun = append(begun, uid)
	}
	t.mu.Unlock()
	return begun
}

func (t *tasks) take(uid uint32) (outcome any, ended bool) {
	select {
	case outcome = <-t.outcomeOf(uid):
		t.forget(uid)
		return outcome, true
	default:
		return nil, false
	}
}

func (t *tasks) wait(ctx context.Context, uid uint32, over <-chan time.Time) (outcome any, ended bool) {
	pending := t.outcomeOf(uid)
	if pending == nil {
		return nil, false
	}
	select {
	case outcome = <-pending:
		t.forget(uid)
		return outcome, true
	case <-over:
	case <-ctx.Done():
	}
	return nil, false
}

func (t *tasks) outcomeOf(uid uint32) chan any {
	t.mu.Lock()
	outcome := t.outcomes[uid]
	t.mu.Unlock()
	return outcome
}

// forget is for who took the outcome: nobody else can.
func (t *tasks) forget(uid uint32) {
	t.mu.Lock()
	delete(t.outcomes, uid)
	t.mu.Unlock()
}
