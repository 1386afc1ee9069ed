package localapi

import (
	"sync"
	"time"
)

// How much of the daemon's time one user gets. A connection costs one, a request
// one more, and an answer one more for each answerUnit of its bytes, so that what
// is dear to make is dear to have: a user who stays at the limit has four
// answers a second.
const (
	visitBurst = 120
	visitRate  = 8.0 // a second
	answerUnit = 64 << 10
	// Who is over the limit is told so this often, and then finds the connection
	// closed: to say no has a price as well.
	toldBurst = 20
	toldRate  = 1.0
	// A dear answer is paid for later; not longer than this many.
	maxDebt = visitBurst
	// rememberedUsers bounds the users who are remembered, where others are.
	rememberedUsers = 1024
)

// rateLimiter counts what users cost. It is safe for concurrent use.
type rateLimiter struct {
	now    func() time.Time
	exempt map[uint32]bool // root, and the daemon's own user

	mutex sync.Mutex
	users map[uint32]*userRate
}

type userRate struct{ visits, told tokenBucket }

// tokenBucket fills with time.
type tokenBucket struct {
	tokens float64
	at     time.Time
}

func (b *tokenBucket) fill(now time.Time, burst, rate float64) {
	passed := max(now.Sub(b.at).Seconds(), 0) // by Go's monotonic clock
	b.tokens, b.at = min(b.tokens+passed*rate, burst), now
}

func newRateLimiter(now func() time.Time, exempt map[uint32]bool) *rateLimiter {
	return &rateLimiter{now: now, exempt: exempt, users: make(map[uint32]*userRate)}
}

// take takes one from a user's bucket. If there is none, wait is the time until
// there is.
func (l *rateLimiter) take(uid uint32) (wait time.Duration, ok bool) {
	if l.exempt[uid] {
		return 0, true
	}
	l.mutex.Lock()
	defer l.mutex.Unlock()
	user := l.user(uid)
	if user.visits.tokens < 1 {
		return time.Duration((1 - user.visits.tokens) / visitRate * float64(time.Second)), false
	}
	user.visits.tokens--
	return 0, true
}

// charge takes for parts of an answer, also what is not there.
func (l *rateLimiter) charge(uid uint32, units int) {
	if units == 0 || l.exempt[uid] {
		return
	}
	l.mutex.Lock()
	user := l.user(uid)
	user.visits.tokens = max(user.visits.tokens-float64(units), -maxDebt)
	l.mutex.Unlock()
}

// mayTell reports whether a user who is over the limit is told so once more.
func (l *rateLimiter) mayTell(uid uint32) bool {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	user := l.user(uid)
	if user.told.tokens < 1 {
		return false
	}
	user.told.tokens--
	return true
}

// user gives what is known of a user, as it is now.
func (l *rateLimiter) user(uid uint32) *userRate {
	now := l.now()
	user := l.users[uid]
	if user == nil {
		l.forgetQuiet(now)
		user = &userRate{tokenBucket{visitBurst, now}, tokenBucket{toldBurst, now}}
		l.users[uid] = user
	}
	user.fill(now)
	return user
}

func (u *userRate) fill(now time.Time) {
	u.visits.fill(now, visitBurst, visitRate)
	u.told.fill(now, toldBurst, toldRate)
}

// forgetQuiet forgets, of too many users, those who have not asked for a while.
func (l *rateLimiter) forgetQuiet(now time.Time) {
	if len(l.users) < rememberedUsers {
		return
	}
	for uid, user := range l.users {
		user.fill(now)
		if user.visits.tokens == visitBurst && user.told.tokens == toldBurst {
			delete(l.users, uid)
		}
	}
}
