package watch

import (
	"sync"
	"time"

	"prlagent/agent/protocol"
	"prlagent/platform"
	"prlagent/prlctl"
)

// account is what is known of one user. It outlives the user's streams.
type account struct {
	uid     uint32
	options VMEventsOptions
	wake    chan struct{} // readable when something may be due

	mu       sync.Mutex
	followed Followed
	shared   map[string]bool // machines that another account has too
	echo     echo
	flood    flood
	pace     pace
}

func newAccount(uid uint32, options VMEventsOptions) *account {
	return &account{
		uid:     uid,
		options: options,
		wake:    make(chan struct{}, 1),
		echo:    echo{doubts: make(map[string]bool), digests: make(map[string][32]byte)},
	}
}

func (a *account) follow(followed Followed, shared map[string]bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.followed, a.shared = followed, shared
}

func (a *account) identity() (user platform.User, session bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.followed.User, a.followed.Session
}

// configs gives the paths that are known of the machines' files, and where each
// machine's is among them.
func (a *account) configs(vmIDs []string) (paths []string, at map[string]int) {
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

// idle says that nothing would be lost if the account were forgotten.
func (a *account) idle(now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return !a.echo.open(now) && !now.Before(a.pace.next)
}

// hear takes one event, and gives the hint that it is at once, if any. It is
// called by the stream's reader, which must not wait: a reader that stalls
// stalls the vendor's dispatcher.
func (a *account) onEvent(now time.Time, event prlctl.Event) (hint Hint, told bool) {
	row := vmEvents[event.Name]
	if row.meaning == noise {
		return Hint{}, false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if admitted, began := a.flood.admit(now); !admitted {
		if began {
			a.nudge()
		}
		return Hint{}, false
	}
	if row.meaning == configuration && a.mayBeEcho(now, event.VMID) {
		a.echo.doubt(event.VMID)
		if !a.echo.reading() {
			a.nudge() // else whoever ends the last reading does
		}
		return Hint{}, false
	}
	return row.hint(a.uid, event), true
}

// mayBeEcho says that one of our queries may have caused the event. That a
// query for one account echoes in the streams of all who share the machine is
// not known; if it does, and the event were a hint, the looks at two accounts
// would cause each other for ever. So there it is always looked into.
func (a *account) mayBeEcho(now time.Time, vmID string) bool {
	return a.echo.open(now) || a.shared[vmID]
}

// nudge has the listener look what is due.
func (a *account) nudge() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

func (a *account) beginReading() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.echo.readers++
}

func (a *account) endReading(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.echo.readers--
	a.echo.quiet = now.Add(a.options.EchoWait)
	a.nudge()
}

// differs remembers the digest of a machine's configuration, and says whether it
// is another one than before.
func (a *account) differs(vmID string, digest [32]byte) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.echo.differs(vmID, digest)
}

// duty is what an account has due.
type duty struct {
	look   bool          // tell to look at the user
	doubts []string      // machines whose files are to be read
	next   time.Duration // when there may be more; 0 = when nudged
}

func (a *account) due(now time.Time) duty {
	a.mu.Lock()
	defer a.mu.Unlock()
	doubts, many, untilQuiet := a.echo.take(now)
	flooded, untilTold := a.flood.due(now)
	return duty{look: many || flooded, doubts: doubts, next: sooner(untilQuiet, untilTold)}
}

// sooner is the lesser of two waits, of which 0 is none.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}

// The pace of an account's streams.

func (a *account) started(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pace.started(now, a.options.RetryBase)
}

func (a *account) interrupted() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pace.interrupted(a.options.RetryBase)
}

func (a *account) failed(now time.Time, random float64) (wait time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.pace.failed(now, protocol.Timing{RetryBase: a.options.RetryBase, RetryCap: a.options.RetryCap}, random)
}

func (a *account) untilTurn(now time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.pace.next.Sub(now)
}
