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
type Tasks[T any] struct {
	posted  func(account string)
	running sync.WaitGroup

	mu       sync.Mutex
	outcomes map[string]chan T // by account; there is one from the start until its outcome is taken
}

// NewTasks returns a kind of work. posted, which may be nil, is called by the
// goroutine of each task as soon as its outcome can be taken, and must not
// wait: it is the hint of a loop to take it.
func NewTasks[T any](posted func(account string)) *Tasks[T] {
	return &Tasks[T]{posted: posted, outcomes: make(map[string]chan T)}
}

// Start begins a task for the account, and reports whether it did: not while
// another one runs, or its outcome was not taken.
func (t *Tasks[T]) Start(account string, work func() T) bool {
	outcome := make(chan T, 1)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.outcomes[account] != nil {
		return false
	}
	t.outcomes[account] = outcome
	t.running.Go(func() {
		outcome <- work()
		if t.posted != nil {
			t.posted(account)
		}
	})
	return true
}

// Pending reports whether a task of the account runs, or its outcome was not
// taken.
func (t *Tasks[T]) Pending(account string) bool { return t.outcomeOf(account) != nil }

// Take takes the outcome of the account's task, if it is there.
func (t *Tasks[T]) Take(account string) (outcome T, ended bool) {
	select {
	case outcome = <-t.outcomeOf(account):
		t.forget(account)
		return outcome, true
	default:
		return outcome, false
	}
}

// Wait takes the outcome of the account's task, for which it waits until the
// time is over or ctx ends. A task that has not ended by then goes on.
func (t *Tasks[T]) Wait(ctx context.Context, account string, over <-chan time.Time) (outcome T, ended bool) {
	pending := t.outcomeOf(account)
	if pending == nil {
		return outcome, false
	}
	select {
	case outcome = <-pending:
		t.forget(account)
		return outcome, true
	case <-over:
	case <-ctx.Done():
	}
	return outcome, false
}

// Close waits for every task that still runs. What they run under must have
// ended.
func (t *Tasks[T]) Close() { t.running.Wait() }

func (t *Tasks[T]) outcomeOf(account string) chan T {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.outcomes[account]
}

// forget is for who took the outcome: nobody else can.
func (t *Tasks[T]) forget(account string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.outcomes, account)
}
