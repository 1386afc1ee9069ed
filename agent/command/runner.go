package command

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"prlagent/agent/protocol"
	"prlagent/store"
)

// When settled commands are looked through for those that may be forgotten.
const (
	firstPrune = 10 * time.Minute // after the start
	pruneEvery = 24 * time.Hour
)

// How many machines of one user are worked on at once. Each look and act waits for its turns
// with the user's tools, and its time runs meanwhile: were all of a long queue looked at
// together, the time of each would be over before its last turn. One that takes longer than
// a look may leaves its place to another, so that none that hangs keeps others waiting.
const (
	maxWorking  = 4
	leavesAfter = lookLimit + 2*time.Minute
)

// Options are what a Runner needs.
type Options struct {
	Store     *store.Store
	Commit    Commit
	Folder    string // of the intent file, as a path on this disk
	Executors map[string]Executor
	// Circumstances are asked for whenever something is decided; it must not use the
	// Runner.
	Circumstances func() *Circumstances
	// Sign signs the payload of a receipt with the device's key, if there is one.
	Sign func(payload []byte) (protocol.Envelope, bool)
	// News is told that the portal should hear of something at once; it must not wait.
	News func()
	Log  zerolog.Logger
	// SyncIntents flushes the intent file to the disk; nil is the real flush.
	SyncIntents func(*os.File) error
}

// Runner carries commands out beside the loop: one at a time on each virtual
// machine, in the order in which they came. One that waits keeps none behind it
// waiting; one of which it is not known what became does, on its own machine.
type Runner struct {
	engine  *engine
	journal *journal
	intents *Intents
	news    func()
	log     zerolog.Logger

	wake    chan struct{}
	running sync.WaitGroup

	mu      sync.Mutex
	busy    map[string]bool // lanes
	working map[uint32]int  // lanes that have a place, by user
	told    uint64          // the engine's news
	pruned  time.Time       // by this Mac's clock: when it was last looked for what may be forgotten
}

// New opens the journal and the intent file. An intent file that cannot be used is
// no error: what changes something waits then. Nothing runs before Run.
func New(options Options) (*Runner, error) {
	now := &options.Circumstances().Clock
	r := &Runner{
		journal: &journal{store: options.Store, commit: options.Commit},
		intents: OpenIntents(filepath.Join(options.Folder, IntentFile), options.SyncIntents, now.Likely),
		news:    options.News, log: options.Log,
		wake: make(chan struct{}, 1), busy: make(map[string]bool), working: make(map[uint32]int), pruned: now.Wall.Add(firstPrune - pruneEvery),
	}
	r.engine = &engine{
		journal: r.journal, intents: r.intents, executors: options.Executors, circumstances: options.Circumstances,
		verify: openSigned, sign: options.Sign, log: options.Log,
	}
	if err := r.engine.recall(); err != nil {
		return nil, err
	}
	return r, nil
}

// Run carries commands out until ctx ends, and returns once all that runs has
// ended. It begins with what the last daemon left: what has begun is looked at.
func (r *Runner) Run(ctx context.Context) {
	for ctx.Err() == nil {
		r.tellNews()
		wait := time.NewTimer(r.start(ctx))
		select {
		case <-ctx.Done():
		case <-r.wake:
		case <-wait.C:
		}
		wait.Stop()
	}
	r.running.Wait()
	r.keepRest()
}

// start lets every lane that rests go on with what can, and says how long to wait
// before it is called again at the latest.
//
// Before a look has seen which Mac this is, nothing can go on: every order would be for
// another Mac, and a receipt would name none.
func (r *Runner) start(ctx context.Context) time.Duration {
	now := r.engine.circumstances()
	wall := now.Clock.Wall
	if !now.Target.isKnown() {
		return lastPause
	}
	lanes, next := r.engine.due(wall)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, lane := range lanes {
		if r.busy[lane.name] || lane.usesTools && r.working[lane.uid] >= maxWorking {
			continue
		}
		r.busy[lane.name] = true
		leave := func() {}
		if lane.usesTools {
			leave = r.takePlace(lane.uid)
		}
		r.running.Go(func() {
			defer leave()
			r.work(ctx, lane)
		})
	}
	if next.IsZero() {
		return lastPause
	}
	return max(min(next.Sub(wall), lastPause), time.Millisecond)
}

// takePlace takes one of a user's places; leave gives it back, which happens by itself
// after a while. With mu.
func (r *Runner) takePlace(uid uint32) (leave func()) {
	r.working[uid]++
	free := sync.OnceFunc(func() {
		r.mu.Lock()
		r.working[uid]--
		r.mu.Unlock()
		r.awaken()
	})
	patience := time.AfterFunc(leavesAfter, free)
	return func() {
		patience.Stop()
		free()
	}
}

// work goes on with the commands of a lane, one after the other.
func (r *Runner) work(ctx context.Context, lane *dueLane) {
	for _, id := range lane.ids {
		if !r.engine.isHeld(id) {
			r.engine.advance(ctx, id)
			r.tellNews()
		}
	}
	r.mu.Lock()
	delete(r.busy, lane.name)
	r.mu.Unlock()
	r.awaken()
}

func (r *Runner) awaken() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// tellNews tells what is new since it was told last.
func (r *Runner) tellNews() {
	r.engine.mu.Lock()
	now := r.engine.news
	r.engine.mu.Unlock()
	r.mu.Lock()
	isNew := now > r.told
	r.told = max(now, r.told)
	r.mu.Unlock()
	if isNew && r.news != nil {
		r.news()
	}
}

// keepRest keeps, at the end, since when commands wait.
func (r *Runner) keepRest() {
	r.engine.mu.Lock()
	defer r.engine.mu.Unlock()
	for id := range r.engine.unkept {
		if record := r.engine.records[id]; record != nil {
			if err := r.engine.keep(record); err != nil {
				r.log.Error().Err(err).Msg("keep the state of commands")
			}
			return
		}
	}
}

// Take takes in what an answer of the portal has. What is new is in the journal
// when it returns, and is carried out beside. Before it is known which Mac this is, no
// order is taken: they come again.
func (r *Runner) Take(cancel []string, orders []protocol.Envelope) {
	if now := r.engine.circumstances(); !now.Target.isKnown() {
		orders = nil
	}
	if len(cancel) == 0 && len(orders) == 0 {
		return
	}
	if err := r.engine.take(cancel, orders, r.journal.settledCount()); err != nil {
		r.log.Error().Err(err).Msg("the portal's commands are not taken; they come again")
	}
	r.awaken()
}

// Report is what a check-in must say of commands: those that are open, and the
// results that the portal has not acknowledged.
func (r *Runner) Report() ([]protocol.OpenCommand, []protocol.Result) { return r.engine.report() }

// Endings is how many commands have ended since the start: what a backup of the state
// should have.
func (r *Runner) Endings() uint64 {
	r.engine.mu.Lock()
	endings := r.engine.endings
	r.engine.mu.Unlock()
	return endings
}

// Settle notes in a transaction that the portal has the results of these commands;
// Settled must follow once it is committed.
func (r *Runner) Settle(tx *store.Tx, ids []string) error {
	if err := settle(tx, ids); err != nil {
		return fmt.Errorf("settle commands: %w", err)
	}
	return nil
}

// Settled follows on Settle.
func (r *Runner) Settled(ids []string) { r.engine.settled(ids) }

// Look lets everything that waits be looked at again, because something may have
// changed, and forgets what is long over.
func (r *Runner) Look() {
	now := &r.engine.circumstances().Clock
	r.intents.Reopen(now.Likely)
	r.engine.look()
	r.awaken()
	r.mu.Lock()
	due := now.Wall.Sub(r.pruned).Abs() >= pruneEvery
	if due {
		r.pruned = now.Wall
	}
	r.mu.Unlock()
	if due {
		if err := r.prune(now.Trusted); err != nil {
			r.log.Warn().Err(err).Msg("forget what is long over")
		}
	}
}

// prune forgets commands that had expired long before now, by the trusted time.
// Up to when is in the intent file before the first of them is forgotten: should
// the time turn out to be wrong, none of them starts again.
func (r *Runner) prune(now time.Time) error {
	over, err := r.journal.due(now)
	if err != nil {
		return err
	}
	if err := r.intents.prune(now, len(over) > 0); err != nil || len(over) == 0 {
		return err
	}
	return r.journal.forget(over)
}

// Recall begins anew after the store was erased.
func (r *Runner) Recall() {
	if err := r.engine.recall(); err != nil {
		r.log.Error().Err(err).Msg("recall the journal of commands")
	}
}

// Records are all commands that the journal has, newest first.
func (r *Runner) Records() ([]*Record, error) {
	all, err := r.journal.all()
	if err != nil {
		return nil, err
	}
	r.engine.mu.Lock()
	for _, open := range r.engine.inOrder() {
		one := *open
		one.RetryAt = one.retryAt
		all = append(all, &one)
	}
	r.engine.mu.Unlock()
	sort.SliceStable(all, func(i, j int) bool { return all[i].ReceivedAt.After(all[j].ReceivedAt) })
	return all, nil
}
