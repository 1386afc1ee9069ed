package watch

import (
	"cmp"
	"context"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"prlagent/platform"
	"prlagent/prlctl"
)

// VMEventsOptions are what VMEvents needs of this Mac, and its pace.
type VMEventsOptions struct {
	// Monitor hands over the events of one user's virtual machines from one
	// goroutine until the stream ends, which is always an error: prlctl.Monitor.
	Monitor func(ctx context.Context, user platform.User, session bool, handle func(prlctl.Event)) error
	// Digests gives the prlctl.ConfigDigest of each path, read as the user; zero
	// for one that cannot be read. It ends with ctx, and must not cause events
	// itself, as the vendor's tools do.
	Digests func(ctx context.Context, user platform.User, paths []string) [][32]byte

	EchoWait  time.Duration // how long the echo of a query may take (facts/prlctl.md 3)
	RetryBase time.Duration // before an ended stream is started again, doubled each time
	RetryCap  time.Duration // up to this
	Log       zerolog.Logger
}

// Followed is a user whose virtual machines are watched.
type Followed struct {
	User    platform.User
	Session bool              // logged in, and the session can be entered
	Configs map[string]string // VM id -> Mac path of its config.pvs
}

// maxStreams is how many users have a stream, which is a process of the vendor's
// on this Mac for each. The others' changes are found by the slow poll.
const maxStreams = 32

// VMEvents watches the virtual machines of several users, each through a stream
// of events of their own: the vendor's tool tells of one account only
// (facts/prlctl.md 3). It supervises the streams, turns events into hints and
// keeps the echo of our own queries out. It is safe for concurrent use.
//
// Whatever one user does to their stream costs the others nothing: each account
// has its own state, its own limits and its own goroutines (H12).
type VMEvents struct {
	options VMEventsOptions
	changed chan struct{} // readable when Watch has to look who is followed

	mu       sync.Mutex
	accounts map[uint32]*followedAccount
	chosen   []uint32 // who has a stream, sorted
	beyond   int      // how many have none
	now      conditions
}

// conditions are what all streams depend on.
type conditions struct {
	up      bool          // the product's service runs
	turned  chan struct{} // closed when that is no longer so
	company chan struct{} // closed when other users are followed
}

// NewVMEvents returns a source without users, its service down.
func NewVMEvents(options VMEventsOptions) *VMEvents {
	return &VMEvents{
		options:  options,
		changed:  make(chan struct{}, 1),
		accounts: make(map[uint32]*followedAccount),
		now:      conditions{turned: make(chan struct{}), company: make(chan struct{})},
	}
}

// SetService takes in whether the product's service runs. While it does not,
// there is no stream: whether one would keep the service alive, or start it, is
// not known (facts/macos.md 3.1), and one that outlived it might be deaf. When
// it is up again streams start without the rest of their wait.
func (v *VMEvents) SetService(up bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.now.up == up {
		return
	}
	v.now.up = up
	close(v.now.turned)
	v.now.turned = make(chan struct{})
}

// SetUsers says who is followed, and where their virtual machines' files are:
// after each look. A stream whose user is gone ends; one whose user has another
// session or other machines goes on. It gives the uids of those who have none
// because they are beyond the limit, sorted.
func (v *VMEvents) SetUsers(users []Followed) (beyond []uint32) {
	v.mu.Lock()
	defer v.mu.Unlock()
	chosen, beyond := chooseStreams(users, v.chosen)
	if len(beyond) != v.beyond {
		v.beyond = len(beyond)
		v.options.Log.Info().Int("users", v.beyond).Msg("users beyond the limit of streams: the slow poll looks at them")
	}
	shared := sharedMachines(users)
	var uids []uint32
	for i := range chosen {
		user := &chosen[i]
		v.accountOf(user.User.UID).follow(*user, shared)
		uids = append(uids, user.User.UID)
	}
	slices.Sort(uids)
	if !slices.Equal(uids, v.chosen) {
		v.chosen = uids
		close(v.now.company)
		v.now.company = make(chan struct{})
	}
	v.forgetIdle(time.Now())
	v.wakeWatch()
	return beyond
}

// compareNeed compares who needs a stream most, given the uids that have one, in
// order.
func compareNeed(a, b *Followed, streaming []uint32) int {
	_, aStreams := slices.BinarySearch(streaming, a.User.UID)
	_, bStreams := slices.BinarySearch(streaming, b.User.UID)
	return cmp.Or(yesFirst(a.Session, b.Session), yesFirst(aStreams, bStreams),
		cmp.Compare(len(b.Configs), len(a.Configs)), cmp.Compare(a.User.UID, b.User.UID))
}

// chooseStreams gives those who have a stream: at most maxStreams, first who is
// logged in, then who has a stream already, then who has more virtual machines.
// No account is there twice. The uids of the others are beyond the limit.
func chooseStreams(users []Followed, streaming []uint32) (chosen []Followed, beyond []uint32) {
	seen := make(map[uint32]bool, len(users))
	for i := range users {
		if uid := users[i].User.UID; !seen[uid] {
			seen[uid] = true
			chosen = append(chosen, users[i])
		}
	}
	sort.SliceStable(chosen, func(i, j int) bool { return compareNeed(&chosen[i], &chosen[j], streaming) < 0 })
	room := min(len(chosen), maxStreams)
	for _, user := range chosen[room:] {
		beyond = append(beyond, user.User.UID)
	}
	slices.Sort(beyond)
	return chosen[:room], beyond
}

// sharedMachines are the ids that more than one account has.
func sharedMachines(users []Followed) map[string]bool {
	seen, shared := make(map[string]bool), make(map[string]bool)
	for i := range users {
		user := &users[i]
		for vmID := range user.Configs {
			if seen[vmID] {
				shared[vmID] = true
			}
			seen[vmID] = true
		}
	}
	return shared
}

func yesFirst(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// accountOf gives what is known of a user. The caller holds the lock.
func (v *VMEvents) accountOf(uid uint32) *followedAccount {
	known := v.accounts[uid]
	if known == nil {
		known = newAccount(uid, v.options)
		v.accounts[uid] = known
	}
	return known
}

// forgetIdle drops the users who are gone and of whom nothing must be remembered.
func (v *VMEvents) forgetIdle(now time.Time) {
	for uid, known := range v.accounts {
		if _, followed := slices.BinarySearch(v.chosen, uid); !followed && known.isForgettable(now) {
			delete(v.accounts, uid)
		}
	}
}

// Reading announces that one of our own queries for that user runs until done is
// called. The vendor's tool tells each machine that it lists as changed
// (facts/prlctl.md 3); what comes meanwhile, or shortly after, is looked into
// before it hints.
func (v *VMEvents) Reading(uid uint32) (done func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	reader := v.accountOf(uid)
	reader.beginReading()
	return sync.OnceFunc(func() { reader.endReading(time.Now()) })
}

// Changed says that one of our own runs changed the machine, or may have: what its
// configuration was before is forgotten, so that the user who changes it back
// straight away is heard. It has to be said before that run is over for Reading.
func (v *VMEvents) Changed(vmID string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, known := range v.accounts {
		known.forgetDigest(vmID)
	}
}

// current gives the conditions as they are.
func (v *VMEvents) current() conditions {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.now
}

// wakeWatch has Watch look who is followed.
func (v *VMEvents) wakeWatch() {
	select {
	case v.changed <- struct{}{}:
	default:
	}
}

// Watch keeps a stream for each user who is followed, and tells hints, until ctx
// is done and every stream and every reading of files has ended. tell must not
// block. One Watch runs at a time.
func (v *VMEvents) Watch(ctx context.Context, tell func(Hint)) error {
	var running sync.WaitGroup
	defer running.Wait()
	listeners := make(map[uint32]*streamListener)
	for {
		followed := v.followedAccounts()
		for uid, listening := range listeners {
			if followed[uid] != listening.account {
				listening.stop()
			}
			if listening.hasEnded() {
				delete(listeners, uid)
			}
		}
		for uid, user := range followed {
			if listeners[uid] == nil { // else one that ends, which says when it has
				listeners[uid] = v.startListener(ctx, user, tell, &running)
			}
		}
		select {
		case <-v.changed:
		case <-ctx.Done():
			return nil
		}
	}
}

func (v *VMEvents) followedAccounts() map[uint32]*followedAccount {
	v.mu.Lock()
	defer v.mu.Unlock()
	followed := make(map[uint32]*followedAccount, len(v.chosen))
	for _, uid := range v.chosen {
		followed[uid] = v.accounts[uid]
	}
	return followed
}
