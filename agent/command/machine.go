package command

import (
	"cmp"
	"encoding/json"
	"time"

	"prlagent/agent/protocol"
)

// maxAttempts is how often a command is tried at most (H23).
const maxAttempts = 2

// Pauses before what cannot be told now is looked at again.
const (
	firstPause = 2 * time.Second
	lastPause  = 5 * time.Minute
)

// Record is what the journal has of one command. What a decision changes is changed
// in a copy, and takes effect once that is kept.
type Record struct {
	ID         string    `json:"command_id"`
	Arrival    uint64    `json:"arrival"` // in which order commands came
	Epoch      string    `json:"epoch"`   // of the journal, when it came
	ReceivedAt time.Time `json:"received_at"`
	// Envelope is the order as it came. It is dropped once the portal has the result;
	// then Command is what it said, without the params.
	Envelope *protocol.Envelope `json:"envelope,omitempty"`
	Command  protocol.Command   `json:"command,omitzero"`
	SHA256   string             `json:"sha256,omitempty"` // of the envelope's payload, hex

	State   string        `json:"state"` // one of those that a Mac sets
	Code    protocol.Code `json:"code,omitempty"`
	Message string        `json:"message,omitempty"`
	Since   time.Time     `json:"since"` // of the state

	Attempts int             `json:"attempts,omitempty"` // that were begun
	Intent   json.RawMessage `json:"intent,omitempty"`   // of the last one
	BegunAt  time.Time       `json:"begun_at,omitzero"`  // the last one
	FirstAt  time.Time       `json:"first_at,omitzero"`  // the first one
	// CancelAsked is that the portal wants it cancelled. It counts before the first
	// attempt; later it only keeps a second one away.
	CancelAsked bool `json:"cancel_asked,omitempty"`

	Result *protocol.Result `json:"result,omitempty"` // of one that has ended
	Steps  []Step           `json:"steps"`

	// What follows is not kept: after a restart it is found again.
	RetryAt  time.Time `json:"-"` // of what waits, for people
	Settled  bool      `json:"-"` // the portal has the result, for people
	notDone  bool      // the last attempt was verified, and it is not done
	stumbles int       // how often in a row it could not be told
	retryAt  time.Time // by this Mac's clock; zero: at the next look
	waits    bool      // until then
	waitsBy  time.Time // what this Mac's clock said when the wait began
}

// Step is one change of a command's state.
type Step struct {
	State string        `json:"state"`
	Code  protocol.Code `json:"code,omitempty"`
	At    time.Time     `json:"at"`
}

// maxSteps is how many changes of state a record keeps: a command that waits can
// have a new reason at every look.
const maxSteps = 64

// hasEnded reports whether the command has its result.
func (r *Record) hasEnded() bool { return r.Result != nil }

func (r *Record) job() *Job {
	return &Job{Command: r.Command, Attempt: r.Attempts, Intent: r.Intent, BegunAt: r.BegunAt}
}

// keptUntil is when the record of a command, and its lines in the intent file, may
// be forgotten.
func keptUntil(expiresAt, receivedAt time.Time) time.Time {
	if expiresAt.IsZero() { // of an order that says nothing, or that was only cancelled
		expiresAt = receivedAt.Add(protocol.MaxCommandLifetime)
	}
	return expiresAt.Add(protocol.CommandsKeptFor)
}

// received is the record of a command that has just come.
func received(envelope *protocol.Envelope, command *protocol.Command, digest string, now *Circumstances) *Record {
	r := &Record{ID: command.CommandID, Epoch: now.Target.Epoch, ReceivedAt: now.Clock.Likely, Envelope: envelope, Command: *command, SHA256: digest}
	r.enter(protocol.CommandAcknowledged, "", now.Clock.Wall)
	return r
}

// enter notes a state, and the step to it. The steps of a copy of the record stay as
// they are.
func (r *Record) enter(state string, code protocol.Code, at time.Time) {
	if r.State == state && r.Code == code {
		return
	}
	if r.State != state {
		r.Since = at
	}
	r.State, r.Code = state, code
	steps := r.Steps
	if len(steps) >= maxSteps { // the first two say when it came, the others how it went on
		steps = append(append([]Step(nil), steps[:2]...), steps[3:]...)
	}
	r.Steps = append(steps[:len(steps):len(steps)], Step{State: state, Code: code, At: at})
}

// wait notes that the command waits. One that was begun stays running: nothing but
// its result can follow.
func (r *Record) wait(code protocol.Code, message string, retryAt, at time.Time) {
	state := protocol.CommandDeferred
	if r.Attempts > 0 {
		state = protocol.CommandRunning
	}
	r.enter(state, code, at)
	r.Message, r.retryAt, r.waits, r.waitsBy = message, retryAt, true, at
}

// isUnseen reports whether the command was begun, and it is not known what became of
// that.
func (r *Record) isUnseen() bool {
	return !r.hasEnded() && r.State == protocol.CommandRunning && !r.notDone
}

// rests reports whether the command waits for a time that has not come. A clock that was
// set back since says nothing of how long it has waited.
func (r *Record) rests(wall time.Time) bool {
	return r.waits && r.retryAt.After(wall) && !wall.Before(r.waitsBy)
}

// begin notes one attempt more.
func (r *Record) begin(intent json.RawMessage, at time.Time) {
	r.enter(protocol.CommandRunning, "", at)
	r.Attempts++
	r.Intent, r.BegunAt, r.Message = intent, at, ""
	if r.FirstAt.IsZero() {
		r.FirstAt = at
	}
	r.notDone, r.stumbles, r.waits, r.retryAt = false, 0, false, time.Time{}
}

// end notes the result.
func (r *Record) end(how *Outcome, at time.Time) {
	r.enter(how.State, how.Code, at)
	observed := how.Observed
	if r.CancelAsked && how.State != protocol.CommandCancelled {
		observed = withText(observed, "cancel", string(protocol.CodeCommandTooLate))
	}
	r.Message = protocol.CutText(how.Message, protocol.MaxText)
	r.Result = &protocol.Result{
		CommandID: r.ID, State: how.State, Code: how.Code, Message: r.Message,
		StartedAt: seconds(r.FirstAt), EndedAt: seconds(at), Observed: observed,
	}
	r.waits, r.retryAt = false, time.Time{}
}

func seconds(at time.Time) time.Time { return at.UTC().Truncate(time.Second) }

func withText(data map[string]string, key, value string) map[string]string {
	with := make(map[string]string, len(data)+1)
	for k, v := range data {
		with[k] = v
	}
	with[key] = value
	return with
}

// action is what to do next about a command.
type action int

const (
	doNothing action = iota
	doWait
	doEnd
	doPrepare // and begin an attempt, if it can
	doVerify
)

// decision is what to do next, and why.
type decision struct {
	action
	Outcome           // of doEnd; Code and Message of doWait
	retryAt time.Time // of doWait
}

// situation is what a decision depends on beside the record.
type situation struct {
	clock     Clock
	refused   refusal       // what speaks against the stored envelope today
	written   int           // the last attempt of the command that the intent file has
	noIntents protocol.Code // why the intent file cannot be used; empty if it can
	epoch     string        // of the journal, now
	fullUntil time.Time     // the limit of destructive commands has room again then; zero: it has
	full      bool
	executes  bool // there is an executor for the type
	nameless  bool // which Mac this is, is not known yet: nothing is refused for that
}

// decide says what to do next about a command. It is all there is to know about
// the order of things; it changes nothing.
func decide(r *Record, s *situation) *decision {
	row, _ := protocol.CommandTypeOf(r.Command.Type)
	switch {
	case r.hasEnded():
		return &decision{}
	case r.isUnseen() && s.executes:
		return &decision{action: doVerify} // whatever was refused since: it has begun
	case s.nameless:
		return &decision{action: doWait, Outcome: Outcome{Code: cmp.Or(r.Code, protocol.CodeMacUnidentified), Message: r.Message}}
	case row.Changes && s.noIntents != "":
		if s.refused.State != protocol.CommandExpired {
			return waitFor(s.noIntents, time.Time{})
		}
		return lastLook(r, s, s.noIntents)
	case isLost(r, s):
		code := protocol.CodeJournalLost
		if s.refused.State == protocol.CommandFailed {
			code = s.refused.Code
		}
		return lastLook(r, s, code)
	case r.Attempts > 0:
		if end := afterAttempt(r, row, s); end.action != doNothing {
			return end
		}
	}
	return beforeAttempt(r, row, s)
}

// lastLook looks whether a command was done of which the journal does not know all,
// and ends it if it was not: nothing of it is done again.
func lastLook(r *Record, s *situation, code protocol.Code) *decision {
	if !r.notDone && s.executes {
		return &decision{action: doVerify}
	}
	return endAs(protocol.CommandFailed, code, "")
}

// isLost reports whether more may have been done of the command than the journal
// knows: the intent file has a later attempt (H22), or a new epoch began since it was
// signed or since it came.
func isLost(r *Record, s *situation) bool {
	return s.written > r.Attempts || s.refused.State == protocol.CommandFailed || r.Epoch != s.epoch
}

// afterAttempt is how a command ends whose attempt was verified and is not done;
// nothing if it may be attempted again.
func afterAttempt(r *Record, row *protocol.CommandType, s *situation) *decision {
	switch {
	case row.Once, !r.notDone:
		return endAs(protocol.CommandFailed, protocol.CodeOutcomeUnknown, "")
	case r.Attempts >= maxAttempts, r.CancelAsked:
		return endAs(protocol.CommandFailed, protocol.CodeNotDone, r.Message)
	case s.refused.State != "":
		return endAs(protocol.CommandFailed, protocol.CodeNotDone, "it is not tried again: "+s.refused.Code.Text().Text)
	case !s.executes:
		return endAs(protocol.CommandFailed, protocol.CodeCommandUnknown, "")
	}
	return &decision{}
}

// beforeAttempt is why an attempt does not begin now, or that it is prepared.
func beforeAttempt(r *Record, row *protocol.CommandType, s *situation) *decision {
	command := &r.Command
	switch {
	case r.CancelAsked:
		return endAs(protocol.CommandCancelled, protocol.CodeCommandCancelled, "")
	case s.refused.State != "":
		return endAs(s.refused.State, s.refused.Code, "")
	case !s.executes:
		return endAs(protocol.CommandRejected, protocol.CodeCommandUnknown, "")
	case s.clock.Trusted.Before(command.NotBefore):
		return waitFor("", s.clock.Wall.Add(command.NotBefore.Sub(s.clock.Trusted)))
	case !s.clock.Likely.Before(command.ExpiresAt), row.Destructive && !s.clock.Proven:
		return waitFor(protocol.CodeTimeUnproven, time.Time{})
	case row.Counted && s.full && s.written == 0: // an attempt that is not in the intent file was not made, nor counted
		return waitFor(protocol.CodeCommandLimit, s.fullUntil)
	}
	return &decision{action: doPrepare}
}

func endAs(state string, code protocol.Code, message string) *decision {
	return &decision{action: doEnd, Outcome: Outcome{State: state, Code: code, Message: message}}
}

func waitFor(code protocol.Code, retryAt time.Time) *decision {
	return &decision{action: doWait, Outcome: Outcome{Code: code}, retryAt: retryAt}
}

// afterPrepare is what to do after what an executor says of a command that may
// begin, and notes that in the record; doPrepare means: begin.
func afterPrepare(r *Record, ready *Readiness, err error, clock *Clock) *decision {
	switch {
	case err != nil:
		r.stumbles++
		return waitFor(cmp.Or(protocol.CodeOf(err), protocol.CodeNotObservable), clock.Wall.Add(pause(r.stumbles)))
	case ready.State == "":
		return &decision{action: doPrepare}
	case ready.State == protocol.CommandDeferred:
		r.stumbles = 0
		return &decision{action: doWait, Outcome: Outcome{Code: ready.Code, Message: ready.Message}, retryAt: clock.onWall(ready.RetryAt)}
	}
	state := ready.State
	if state == protocol.CommandRejected && r.Attempts > 0 {
		state = protocol.CommandFailed
	}
	return &decision{action: doEnd, Outcome: Outcome{state, ready.Code, ready.Message, ready.Observed}}
}

// afterVerify is what to do after what an executor sees of a command that was
// begun, and notes that in the record; doNothing means: decide again, now that it is
// known not to be done.
func afterVerify(r *Record, seen *Outcome, err error, clock *Clock) *decision {
	switch {
	case err == nil && seen.State != "":
		return &decision{action: doEnd, Outcome: *seen}
	case err == nil:
		r.notDone, r.stumbles, r.Message = true, 0, cmp.Or(seen.Message, r.Message)
		return &decision{}
	case isTimeOver(r, clock):
		return endAs(protocol.CommandFailed, unseen(r), err.Error())
	}
	r.stumbles++
	return waitFor(cmp.Or(protocol.CodeOf(err), protocol.CodeNotObservable), clock.Wall.Add(pause(r.stumbles)))
}

// isTimeOver reports whether nobody waits any longer to see what became of an
// attempt: what can only be seen for a while, until the attempt's limit; all else
// as long as the command could have started.
func isTimeOver(r *Record, clock *Clock) bool {
	row, _ := protocol.CommandTypeOf(r.Command.Type)
	// By one clock: and where that was set since, nobody knows how long it has been.
	isOverLimit := !r.BegunAt.IsZero() && clock.Wall.Sub(r.BegunAt).Abs() >= timeout(&r.Command)
	isExpired := !clock.Trusted.Before(r.Command.ExpiresAt)
	if row.Once {
		return isOverLimit || isExpired
	}
	return isExpired && (isOverLimit || r.BegunAt.IsZero())
}

// unseen is the code of an attempt of which nobody saw what became.
func unseen(r *Record) protocol.Code {
	row, _ := protocol.CommandTypeOf(r.Command.Type)
	switch {
	case r.Attempts == 0:
		return protocol.CodeJournalLost
	case row.Once:
		return protocol.CodeOutcomeUnknown
	}
	return protocol.CodeNotObservable
}

// pause is how long to wait before another try at what could not be told.
func pause(stumbles int) time.Duration {
	wait := firstPause
	for range min(stumbles-1, 16) {
		wait = min(2*wait, lastPause)
	}
	return wait
}
