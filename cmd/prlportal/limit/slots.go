package limit

import (
	"context"
	"sync"
)

// Slots is how many requests of each key may be under way at a time. Its
// methods are safe for concurrent use.
type Slots struct {
	most int

	mutex sync.Mutex
	taken map[string]int
}

// NewSlots makes most slots for each key.
func NewSlots(most int) *Slots { return &Slots{most: most, taken: make(map[string]int)} }

// Take takes one of the key's slots, if one is free. Who got one calls Release.
func (s *Slots) Take(key string) bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.taken[key] >= s.most {
		return false
	}
	s.taken[key]++
	return true
}

// Release gives a slot back.
func (s *Slots) Release(key string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.taken[key]--; s.taken[key] <= 0 {
		delete(s.taken, key)
	}
}

// Turns lets a bounded number of callers work at the same time; the others wait
// for their turn.
type Turns chan struct{}

// NewTurns lets most callers work at the same time.
func NewTurns(most int) Turns { return make(Turns, most) }

// Do runs work when it is its turn, unless ctx ends before that.
func (t Turns) Do(ctx context.Context, work func() error) error {
	select {
	case t <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-t }()
	return work()
}
