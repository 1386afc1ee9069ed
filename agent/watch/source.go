// Package watch has the sources of events on this Mac: the event streams of the
// virtual machines, processes, files, the network, wakes. They only hint; what
// is true is always re-read. It translates what prlctl says into the words of
// package trigger.
package watch

import (
	"context"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"prlagent/agent/trigger"
)

// Hint is what a source says: look again, because. It is never the truth
// itself, which is always re-read: a lost or doubled hint changes nothing but
// timing.
type Hint struct {
	Reason trigger.Reason // why to check in; empty: look, and let what is found be the reason
	UID    uint32         // whose virtual machines it is about; 0 = everybody's
	VMID   string         // which of them; lower case, no braces
	State  string         // that an event named for the VM: a State word of a row, or trigger.Transient
}

// Source watches one thing on this Mac.
type Source struct {
	Name string
	// Watch tells hints until ctx is done, and returns before only with an
	// error: then it is started again, later each time.
	Watch func(ctx context.Context, tell func(Hint)) error
}

// How long a source that failed waits before it is started again.
const (
	restartBase = time.Second
	restartCap  = 5 * time.Minute
)

// Supervise runs all sources until ctx is done and they have ended. A source
// that failed is started again, and everybody is hinted to look: nobody knows
// what it has missed.
func Supervise(ctx context.Context, sources []Source, tell func(Hint), log zerolog.Logger) {
	var running sync.WaitGroup
	for _, source := range sources {
		running.Go(func() { superviseOne(ctx, source, tell, log) })
	}
	running.Wait()
}

func superviseOne(ctx context.Context, source Source, tell func(Hint), log zerolog.Logger) {
	wait := restartBase
	for {
		began := time.Now()
		err := source.Watch(ctx, tell)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > restartCap {
			wait = restartBase
		}
		log.Warn().Err(err).Str("source", source.Name).Dur("retry_in", wait).Msg("a source of events failed")
		if !sleepOrDone(ctx, wait) {
			return
		}
		wait = min(2*wait, restartCap)
		tell(Hint{})
	}
}

// sleepOrDone waits, and reports whether ctx is still alive.
func sleepOrDone(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// maxHints bounds what waits in an Inbox. Beyond it the hints of virtual
// machines are replaced by one to look at everything.
const maxHints = 1024

// Inbox takes hints from sources and keeps them for the loop. Telling never
// blocks, whatever the loop is busy with. What would say the same as what waits
// already is dropped. It is safe for concurrent use.
type Inbox struct {
	ready chan struct{}

	mu    sync.Mutex
	hints []Hint
	seen  map[Hint]bool       // what waits
	last  map[hintTarget]Hint // the state that came last
}

// hintTarget is what a sequence of states is about.
type hintTarget struct {
	uid  uint32
	vmID string
}

// NewInbox returns an empty inbox.
func NewInbox() *Inbox {
	inbox := &Inbox{ready: make(chan struct{}, 1)}
	inbox.reset()
	return inbox
}

func (b *Inbox) reset() {
	b.hints, b.seen, b.last = nil, make(map[Hint]bool), make(map[hintTarget]Hint)
}

// Tell puts a hint in. The states of one virtual machine keep their order;
// of any other hint one is enough.
func (b *Inbox) Tell(hint Hint) {
	b.mu.Lock()
	defer b.mu.Unlock()
	about := hintTarget{hint.UID, hint.VMID}
	if b.seen[hint] && (hint.State == "" || b.last[about] == hint) {
		return
	}
	b.hints = append(b.hints, hint)
	b.seen[hint] = true
	if hint.State != "" {
		b.last[about] = hint
	}
	if len(b.hints) > maxHints {
		b.dropMachines()
	}
	select {
	case b.ready <- struct{}{}:
	default:
	}
}

// dropMachines forgets what was said of virtual machines: a look finds it all.
func (b *Inbox) dropMachines() {
	kept := b.hints[:0]
	for _, hint := range b.hints {
		if hint.VMID == "" {
			kept = append(kept, hint)
		}
	}
	b.reset()
	b.hints = append(kept[:min(len(kept), maxHints/2)], Hint{})
	for _, hint := range b.hints {
		b.seen[hint] = true
	}
}

// Ready is readable when hints wait.
func (b *Inbox) Ready() <-chan struct{} { return b.ready }

// Take gives all hints that wait, in the order they came.
func (b *Inbox) Take() []Hint {
	b.mu.Lock()
	defer b.mu.Unlock()
	hints := b.hints
	b.reset()
	return hints
}
