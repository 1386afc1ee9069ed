package command

import (
	"prlagent/agent/protocol"
)

// Summary is how it stands with the commands of this Mac.
type Summary struct {
	Open       []*Record // that have not ended, in the order in which they came
	Unreported int       // that have ended, and whose result the portal has not acknowledged
	LastFailed *Record   // the newest that ended without being done; nil: there is none on record
	// IntentsUnusable is that the intent file cannot be read or written: nothing is begun
	// that changes anything.
	IntentsUnusable bool
}

// Summary reads the settled records when it is asked for the first time, and never again.
func (r *Runner) Summary() (*Summary, error) {
	found := &Summary{IntentsUnusable: !r.intents.usable()}
	r.engine.mu.Lock()
	defer r.engine.mu.Unlock()
	if !r.engine.failedKnown {
		failed, err := r.journal.lastFailed()
		if err != nil {
			return found, err
		}
		r.engine.failedKnown = true
		r.engine.noteFailed(failed)
		for _, one := range r.engine.records {
			r.engine.noteFailed(one)
		}
	}
	for _, one := range r.engine.inOrder() {
		if one.hasEnded() {
			found.Unreported++
			continue
		}
		open := *one
		found.Open = append(found.Open, &open)
	}
	if failed := r.engine.failed; failed != nil {
		last := *failed
		found.LastFailed = &last
	}
	return found, nil
}

// hasFailed reports whether the command ended, and neither was done nor cancelled.
func (r *Record) hasFailed() bool {
	return r.hasEnded() && r.State != protocol.CommandSucceeded && r.State != protocol.CommandCancelled
}

// noteFailed notes a command if it failed, and later than the last one. With mu.
func (e *engine) noteFailed(r *Record) {
	if r == nil || !r.hasFailed() || e.failed != nil && e.failed.Since.After(r.Since) {
		return
	}
	failed := *r
	failed.Envelope, failed.Intent, failed.Steps = nil, nil, nil
	e.failed = &failed
}

// lastFailed is the newest settled command that failed; nil if there is none.
func (j *journal) lastFailed() (last *Record, err error) {
	err = endedRecords.LoadEach(j.store, func(_ string, r *Record) error {
		if r.hasFailed() && (last == nil || r.Since.After(last.Since)) {
			last = r
		}
		return nil
	})
	return last, err
}

// usable reports whether what is begun can be written down.
func (f *Intents) usable() bool {
	f.mu.Lock()
	usable := f.broken == nil
	f.mu.Unlock()
	return usable
}
