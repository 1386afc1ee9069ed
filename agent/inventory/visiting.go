package inventory

import (
	"maps"
	"slices"
	"sync"
	"time"

	"prlagent/platform"
)

// Visiting is an account that the look of this moment waits for.
type Visiting struct {
	User         platform.User
	Since, Until time.Time // until then the look waits
}

// visiting are the accounts that are waited for, for whoever asks meanwhile.
type visiting struct {
	mu       sync.Mutex
	accounts map[uint32]Visiting
}

// begin notes that an account is waited for; the result ends it.
func (v *visiting) begin(user platform.User, now time.Time, patience time.Duration) (end func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.accounts == nil {
		v.accounts = make(map[uint32]Visiting)
	}
	v.accounts[user.UID] = Visiting{User: user, Since: now, Until: now.Add(patience)}
	return func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		delete(v.accounts, user.UID)
	}
}

// Visiting gives the accounts that the look of this moment waits for, by uid. It
// may be asked by any goroutine.
func (c *Collector) Visiting() []Visiting {
	c.visiting.mu.Lock()
	defer c.visiting.mu.Unlock()
	var waiting []Visiting
	for _, uid := range slices.Sorted(maps.Keys(c.visiting.accounts)) {
		waiting = append(waiting, c.visiting.accounts[uid])
	}
	return waiting
}
