package watch

import (
	"sync"
	"time"

	"prlagent/agent/protocol"
	"prlagent/platform"
	"prlagent/prlctl"
)

// followedAccount is what is known of one user. It outlives the user's streams.
type followedAccount struct {
	uid     uint32
	options VMEventsOptions
	wake    chan struct{} // readable when something may be due

	mu       sync.Mutex
	followed Followed
	shared   map[string]bool // machines that another account has too
	echo     echoFilter
	flood    floodLimit
	pace     streamPace
}

func newAccount(uid uint32, options VMEventsOptions) *followedAccount {
	return &followedAccount{
		uid:     uid,
		options: options,
		wake:    make(chan struct{}, 1),
		echo:    echoFilter{doubts: make(map[string]bool), digests: make(map[string][32]byte)},
	}
}

func (a *followedAccount) follow(followed Followed, shared map[string]bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.followed, a.shared = followed, shared
}

func (a *followedAccount) identity() (user platform.User, session bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.followed.User, a.followed.Session
}

// configs gives the paths that are known of the machines' files, and where each
// machine's is among them.
func (a *followedAccount) configs(vmIDs []string) (paths []string, at map[string]int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	at = make(map[string]int, len(vmIDs))
	for _, vmID := range vmIDs {
		if path := a.followed.Configs[vmID]; path != "" {
			at[vmID] = len(paths)
			paths = append(paths, path)
		}
	}
	return paths, at
}

// isForgettable reports whether nothing would be lost if the account were
// forgotten.
func (a *followedAccount) isForgettable(now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return !a.echo.isOpen(now) && !now.Before(a.pace.next)
}

// hear takes one event, and gives the hint that it is at once, if any. It is
// called by the stream's reader, which must not wait: a reader that stalls
// stalls the vendor's dispatcher.
func (a *followedAccount) onEvent(now time.Time, event prlctl.Event) (hint Hint, told bool) {
	row := vmEventOf(event.Name)
	if row.meaning == ignored {
		return Hint{}, false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if admitted, began := a.flood.admitEvent(now); !admitted {
		if began {
			a.wakeListener()
		}
		return Hint{}, false
	}
	if row.meaning == configChange && a.mayBeEcho(now, event.VMID) {
		a.echo.addDoubt(event.VMID)
		if !a.echo.isReading() {
			a.wakeListener() // else whoever ends the last reading does
		}
		return Hint{}, false
	}
	return row.hintOf(a.uid, event), true
}

// mayBeEcho reports whether one of our queries may have caused the event. That a
// query for one account echoes in the streams of all who share the machine is
// not known; if it does, and the event were a hint, the looks at two accounts
// would cause each other for ever. So there it is always looked into.
func (a *followedAccount) mayBeEcho(now time.Time, vmID string) bool {
	return a.echo.isOpen(now) || a.shared[vmID]
}

// wakeListener has the listener look what is due.
func (a *followedAccount) wakeListener() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

func (a *followedAccount) beginReading() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.echo.readers++
}

func (a *followedAccount) endReading(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.echo.readers--
	a.echo.quiet = now.Add(a.options.EchoWait)
	a.wakeListener()
}

func (a *followedAccount) forgetDigest(vmID string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.echo.forget(vmID)
}

// isNewDigest remembers the digest of a machine's configuration, and reports
// whether it is another one than before. The digest was read for work that was due
// after so many of our own changes.
func (a *followedAccount) isNewDigest(vmID string, digest [32]byte, changes int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.echo.isNewDigest(vmID, digest, changes)
}

// dueWork is what an account has due.
type dueWork struct {
	look    bool          // tell to look at the user
	doubts  []string      // machines whose files are to be read
	changes int           // how many changes of our own were before
	next    time.Duration // when there may be more; 0 = when nudged
}

func (a *followedAccount) workDue(now time.Time) dueWork {
	a.mu.Lock()
	defer a.mu.Unlock()
	doubts, many, untilQuiet := a.echo.takeDoubts(now)
	flooded, untilTold := a.flood.lookDue(now)
	return dueWork{look: many || flooded, doubts: doubts, changes: a.echo.changes, next: soonestWait(untilQuiet, untilTold)}
}

// soonestWait is the lesser of two waits, of which 0 is none.
func soonestWait(a, b time.Duration) time.Duration {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}

// The pace of an account's streams.

func (a *followedAccount) onStreamStart(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pace.onStart(now, a.options.RetryBase)
}

func (a *followedAccount) onStreamInterrupted() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pace.onInterrupt(a.options.RetryBase)
}

func (a *followedAccount) onStreamFailed(now time.Time, random float64) (wait time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.pace.onFailure(now, protocol.Timing{RetryBase: a.options.RetryBase, RetryCap: a.options.RetryCap}, random)
}

func (a *followedAccount) untilTurn(now time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.pace.next.Sub(now)
}
