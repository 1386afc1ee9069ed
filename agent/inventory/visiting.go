package inventory

import (
	"sort"
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
	accounts []*Visiting // by uid
}

// begin notes that an account is waited for; the result ends it.
func (v *visiting) begin(user platform.User, now time.Time, patience time.Duration) (end func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	added := &Visiting{User: user, Since: now, Until: now.Add(patience)}
	v.accounts = append(v.accounts, added)
	sort.SliceStable(v.accounts, func(i, j int) bool { return v.accounts[i].User.UID < v.accounts[j].User.UID })
	return func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		var others []*Visiting
		for _, account := range v.accounts {
			if account != added {
				others = append(others, account)
			}
		}
		v.accounts = others
	}
}

// Visiting gives the accounts that the look of this moment waits for, by uid. It
// may be asked by any goroutine.
func (c *Collector) Visiting() (waiting []Visiting) {
	c.visiting.mu.Lock()
	defer c.visiting.mu.Unlock()
	for _, account := range c.visiting.accounts {
		waiting = append(waiting, *account)
	}
	return waiting
}
