package command

import (
	"cmp"
	"context"
	"encoding/json"
	"runtime/debug"
	"sort"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"prlagent/agent/protocol"
)

// lookLimit bounds one Prepare or Verify.
const lookLimit = 3 * time.Minute

// recordKeeper is the journal, as the engine uses it.
type recordKeeper interface {
	load() ([]*Record, error)
	keep(events []protocol.Event, records ...*Record) error // in one commit
	ended(id string) (found *Record, err error)             // nil if there is none
}

// intentLog is the intent file, as the engine uses it.
type intentLog interface {
	written(id string, issuedAt time.Time) (int, error)
	append(*intent) error
	started(since time.Time, except string) []time.Time
	prunedTo() time.Time
}

// engine does what decide says, one command at a time where it is asked to. It has
// no goroutine of its own, and is safe for concurrent use as long as one command is
// advanced by one at a time.
type engine struct {
	journal       recordKeeper
	intents       intentLog
	executors     map[string]Executor
	circumstances func() *Circumstances
	verify        opener
	sign          func(payload []byte) (protocol.Envelope, bool) // with the device's key
	log           zerolog.Logger

	mu       sync.Mutex
	records  map[string]*Record          // that are not settled
	unkept   map[string]bool             // whose state in memory is newer, in nothing that must be kept
	repeats  map[string]*protocol.Result // to be told again, of settled commands that came again
	arrivals uint64
	news     uint64 // grows with what the portal should hear at once
	looks    uint64 // how often all that waits was let be looked at again
	endings  uint64 // how many commands have ended since the start

	failed      *Record // the newest that failed, for people
	failedKnown bool    // the settled ones were looked through for it
}

// recall loads what the last daemon left.
func (e *engine) recall() error {
	left, err := e.journal.load()
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.records, e.unkept, e.repeats = make(map[string]*Record), make(map[string]bool), make(map[string]*protocol.Result)
	e.failed, e.failedKnown = nil, false
	for _, r := range left {
		e.records[r.ID], e.arrivals = r, max(e.arrivals, r.Arrival)
		if r.hasEnded() {
			e.news++
		}
	}
	return nil
}

// situation is what a decision about a command depends on now. With mu.
func (e *engine) situation(r *Record) *situation {
	now := e.circumstances()
	s := &situation{clock: now.Clock, epoch: now.Target.Epoch, executes: e.executors[r.Command.Type] != nil, nameless: !now.Target.isKnown()}
	if r.Envelope != nil {
		_, s.refused = check(e.verify, r.Envelope, now, e.intents.prunedTo())
	}
	written, err := e.intents.written(r.ID, r.Command.IssuedAt)
	if s.written = written; err != nil {
		s.noIntents = protocol.CodeIntentsUnreadable
	}
	begun := e.intents.started(now.Clock.Trusted.Add(-now.Trust.Window), r.ID)
	if s.full = len(begun) >= now.Trust.Limit; s.full && now.Trust.Limit > 0 {
		oldest := begun[len(begun)-now.Trust.Limit]
		s.fullUntil = now.Clock.Wall.Add(oldest.Add(now.Trust.Window).Sub(now.Clock.Trusted))
	}
	return s
}

// advance goes on with a command until it has ended, or waits. It runs executors. What
// they have seen may be older than a change that the Mac was looked at for meanwhile, and
// nothing may follow on that: then they look again.
func (e *engine) advance(ctx context.Context, id string) {
	for goOn := true; goOn && ctx.Err() == nil; {
		r, next, looks := e.decide(id)
		switch next {
		case doVerify:
			goOn = e.observe(ctx, r)
		case doPrepare:
			goOn = e.attempt(ctx, r)
		default:
			return
		}
		goOn = goOn || e.isOutdated(id, looks)
	}
}

// isOutdated reports whether a command waits, and was let be looked at again since there
// were so many looks.
func (e *engine) isOutdated(id string, looks uint64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	r := e.records[id]
	return r != nil && r.waits && !r.hasEnded() && e.looks != looks
}

// decide decides about a command, and does at once what needs no executor. It gives a
// copy of the record, for who does what is left without the lock, and how many looks
// there were.
func (e *engine) decide(id string) (*Record, action, uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	r := e.records[id]
	if r == nil {
		return nil, doNothing, e.looks
	}
	next := decide(r, e.situation(r))
	e.apply(r, r, next)
	now := *r
	return &now, next.action, e.looks
}

// apply takes over a changed record, and waits or ends as decided. It reports
// whether to go on with the command. With mu.
func (e *engine) apply(r, changed *Record, next *decision) (goOn bool) {
	wall := e.circumstances().Clock.Wall
	switch next.action {
	case doWait:
		state, code, message := r.State, r.Code, r.Message
		changed.wait(next.Code, next.Message, next.retryAt, wall)
		if first := state == protocol.CommandAcknowledged; first {
			e.news++ // the portal learns that it waits, once
		}
		if changed.State != state || changed.Code != code || changed.Message != message {
			e.unkept[r.ID] = true
		}
	case doEnd:
		e.end(r, changed, &next.Outcome, wall)
		return false
	}
	*r = *changed
	return next.action != doWait
}

// end keeps the result of a command, with its receipt. With mu.
func (e *engine) end(r, changed *Record, how *Outcome, wall time.Time) {
	ended := e.withResult(changed, how, wall)
	if err := e.keep(ended, e.event("command_ended", ended, "state", how.State)); err != nil {
		e.log.Error().Err(err).Str("command", r.ID).Msg("the result of a command is not kept; it is looked at again")
		r.wait(protocol.CodeOf(err), "", wall.Add(firstPause), wall)
		return
	}
	*r = *ended
	e.noteEnded(r)
}

// withResult is a copy of a record with its result, and the receipt of that. With mu.
func (e *engine) withResult(r *Record, how *Outcome, wall time.Time) *Record {
	ended := *r
	ended.end(how, wall)
	ended.Result.Receipt = e.receipt(&ended)
	return &ended
}

// noteEnded follows once the result of a command is kept. With mu.
func (e *engine) noteEnded(r *Record) {
	e.noteFailed(r)
	e.news++
	e.endings++
	if executor, is := e.executors[r.Command.Type].(remembering); is {
		executor.Forget(r.ID)
	}
}

// keep keeps a record, and with it what was not kept of others. With mu.
func (e *engine) keep(r *Record, events ...protocol.Event) error {
	together := []*Record{r}
	for id := range e.unkept {
		if other := e.records[id]; other != nil && id != r.ID {
			together = append(together, other)
		}
	}
	if err := e.journal.keep(events, together...); err != nil {
		return err
	}
	clear(e.unkept)
	return nil
}

// observe looks what became of a command that was begun.
func (e *engine) observe(ctx context.Context, r *Record) (goOn bool) {
	limited, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	var seen *Outcome
	err := e.guarded(r, func() (err error) {
		seen, err = e.executors[r.Command.Type].Verify(limited, r.job())
		return err
	})
	if ctx.Err() != nil {
		return false // the daemon ends; the next one looks
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	current := e.records[r.ID]
	if current == nil {
		return false
	}
	changed := *current
	next := afterVerify(&changed, seen, err, &e.circumstances().Clock)
	return e.apply(current, &changed, next)
}

// attempt prepares an attempt, and makes it if nothing speaks against it.
func (e *engine) attempt(ctx context.Context, r *Record) (goOn bool) {
	executor := e.executors[r.Command.Type]
	limited, cancel := context.WithTimeout(ctx, lookLimit)
	var ready *Readiness
	err := e.guarded(r, func() (err error) {
		ready, err = executor.Prepare(limited, r.job())
		return err
	})
	cancel()
	if ctx.Err() != nil {
		return false
	}
	job, goOn := e.begin(r.ID, ready, err)
	if job == nil {
		return goOn
	}
	limited, cancel = context.WithTimeout(ctx, timeout(&r.Command))
	defer cancel()
	if err := e.guarded(r, func() error { return executor.Act(limited, job) }); err != nil {
		e.log.Warn().Err(err).Str("command", r.ID).Str("type", r.Command.Type).Int("attempt", job.Attempt).Msg("an attempt says that it failed; what became of it is looked at")
	}
	return true
}

// guarded makes a panic of an executor an error: what one command meets must not end the
// daemon at each of its starts, with all that is held.
func (e *engine) guarded(r *Record, run func() error) (err error) {
	defer func() {
		if panicked := recover(); panicked != nil {
			e.log.Error().Str("command", r.ID).Str("type", r.Command.Type).Interface("panic", panicked).Bytes("stack", debug.Stack()).Msg("an executor has panicked")
			err = newCodeError(protocol.CodeInternal, "Something went wrong in the agent itself; its log says what.")
		}
	}()
	return run()
}

// begin keeps an attempt, in the journal and then in the intent file, and gives what is
// to be done, or nil if it may not be made. Everything was verified again just before,
// in the same breath: nobody can cancel it in between.
func (e *engine) begin(id string, ready *Readiness, failed error) (job *Job, goOn bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	r := e.records[id]
	if r == nil {
		return nil, false
	}
	now := e.situation(r)
	changed := *r
	next := decide(r, now)
	if next.action == doPrepare {
		next = afterPrepare(&changed, ready, failed, &now.clock)
	}
	if next.action != doPrepare {
		return nil, e.apply(r, &changed, next)
	}
	changed.begin(ready.Intent, now.clock.Wall)
	if err := e.keep(&changed, e.event("command_started", &changed)); err != nil {
		r.wait(protocol.CodeOf(err), "", now.clock.Wall.Add(firstPause), now.clock.Wall)
		e.log.Error().Err(err).Str("command", id).Msg("an attempt is not kept, and not made")
		return nil, false
	}
	*r = changed
	row, _ := protocol.CommandTypeOf(changed.Command.Type)
	if !row.Changes {
		return changed.job(), true
	}
	err := e.intents.append(&intent{
		ID: id, Type: changed.Command.Type, Attempt: changed.Attempts, At: now.clock.Trusted,
		Until: keptUntil(changed.Command.ExpiresAt, changed.ReceivedAt),
	})
	if err != nil {
		e.log.Error().Err(err).Str("command", id).Msg("an attempt is not in the intent file, and not made")
		return nil, true
	}
	return changed.job(), true
}

// event is one about a command.
func (e *engine) event(kind string, r *Record, data ...string) protocol.Event {
	event := protocol.Event{At: seconds(r.Since), Type: kind, Code: r.Code, Data: map[string]string{"command_id": r.ID, "type": cmp.Or(r.Command.Type, "unknown")}}
	if r.Command.Target.VMID != "" {
		event.Data["vm_id"], event.Data["uid"] = r.Command.Target.VMID, uidText(r.Command.Target.UID)
	}
	for i := 0; i+1 < len(data); i += 2 {
		event.Data[data[i]] = data[i+1]
	}
	return event
}

// receipt is the device's word for how a command ended. With mu.
func (e *engine) receipt(r *Record) *protocol.Envelope {
	if e.sign == nil || r.SHA256 == "" {
		return nil
	}
	now := &e.circumstances().Target
	result := *r.Result
	payload, err := json.Marshal(protocol.Receipt{
		DeviceID: now.DeviceID, MacSerial: now.Serial, Epoch: now.Epoch, CommandSHA256: r.SHA256, Result: result,
	})
	if err != nil {
		return nil
	}
	signed, ok := e.sign(payload)
	if !ok {
		return nil
	}
	return &signed
}

// report is what the portal must hear: the commands that are open, and results
// that it has not acknowledged. Those that do not fit count as open still.
func (e *engine) report() (open []protocol.OpenCommand, results []protocol.Result) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range e.inOrder() {
		if r.hasEnded() && len(results) < protocol.MaxResults {
			results = append(results, *r.Result)
			continue
		}
		code := r.Code
		if r.CancelAsked && r.Attempts > 0 {
			code = protocol.CodeCommandTooLate
		}
		open = append(open, protocol.OpenCommand{CommandID: r.ID, State: r.State, Code: code, At: seconds(r.Since)})
	}
	for _, result := range e.repeats {
		if len(results) < protocol.MaxResults {
			results = append(results, *result)
		}
	}
	return open, results
}

// inOrder are the open commands in the order in which they came. With mu.
func (e *engine) inOrder() []*Record {
	list := make([]*Record, 0, len(e.records))
	for _, r := range e.records {
		list = append(list, r)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Arrival < list[j].Arrival })
	return list
}

// settled forgets in memory what the journal has settled.
func (e *engine) settled(ids []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, id := range ids {
		if r := e.records[id]; r != nil && r.hasEnded() {
			delete(e.records, id)
		}
		delete(e.repeats, id)
	}
}
