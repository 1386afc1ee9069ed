package agent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"prlagent/agent/config"
	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
	"prlagent/agent/trigger"
)

// question is a person's wish for a check-in on its way to the loop.
type question struct {
	heard chan protocol.Code          // why the loop refuses; empty = it does not
	ended chan localapi.CheckinResult // the outcome of the pass that answers
}

// serve runs the loop and the socket until ctx is done.
func (a *agent) serve(ctx context.Context, listener net.Listener) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var parts sync.WaitGroup
	parts.Go(func() {
		err := localapi.Serve(ctx, listener, localapi.Options{
			Agent: a, Events: a.journal, Log: a.log,
			Authorize: localapi.AuthorizeLocal(a.owner),
		})
		if err != nil {
			cancel(fmt.Errorf("serve socket: %w", err))
		}
	})
	parts.Go(func() { trigger.Supervise(ctx, a.sources, a.inbox.Tell, a.log) })
	a.journal.add(a.startEvents()...)
	cancel(a.loop(ctx))
	parts.Wait()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// startEvents say that the daemon began, and what it found of its state.
func (a *agent) startEvents() []protocol.Event {
	version, _ := localapi.BuildVersion()
	events := []protocol.Event{newEvent(a.started, "agent_started", "", "version", version)}
	if code := storeCode(a.opened.Outcome); code != "" {
		events = append(events, newEvent(a.started, string(code), code, "reason", a.opened.Reason, "bad_file", a.opened.BadFile))
	}
	return events
}

// loop is the one goroutine that owns the loop's state. It ends with ctx, or
// with an error that only a restart can mend: launchd starts the daemon again,
// and the store restores itself as it is opened.
func (a *agent) loop(ctx context.Context) error {
	l := &loop{agent: a, ctx: ctx, passes: make(chan *pass, 1)}
	l.recall()
	l.resume()
	l.take(l.configured())
	l.take(happened{Reason: trigger.AgentStart})
	for {
		wake := time.NewTimer(l.pause())
		select {
		case <-ctx.Done():
			wake.Stop()
			l.stop()
			return nil
		case asked := <-a.questions:
			l.hear(asked)
		case <-a.inbox.Ready():
			l.hearAll(a.inbox.Take())
		case turn := <-l.passes:
			if l.state.Phase == looking {
				l.see(turn)
				break
			}
			if turn.fatal != nil {
				return turn.fatal
			}
			l.finish(turn.passResult)
		case <-wake.C:
			l.reconfigure()
		}
		wake.Stop()
	}
}

// loop is the state of the loop's goroutine.
type loop struct {
	*agent
	ctx          context.Context
	state        loopState
	known        findings       // of the last pass
	last         passResult     // the pass that ended last
	written      uint64         // number of the pass that the snapshots show
	snapshotsOld bool           // they could not be written since
	number       uint64         // of the pass
	passes       chan *pass     // that runs, at the end of its look and at its end
	running      *pass          // since the end of its look
	persons      trigger.Bucket // how often people may ask
	waiting      []question     // for a pass that has not begun
	served       []question     // by the pass that runs

	since map[truth]time.Time // when each condition was first true
}

// Check-ins that people may ask for: a burst, and one more each interval.
const (
	personBurst = 30
	personEvery = 2 * time.Second
)

// recall begins with what the last daemon left, so that a question before the
// first look is not answered with nothing.
func (l *loop) recall() {
	l.known.configuration = l.loadConfig()
	l.known.onDisk = l.connect(l.known.configuration, protocol.Host{}, l.store)
	if record, found := l.schedule.load(); found {
		l.state = record.recall()
	}
	look, err := l.looker.Recall()
	if err != nil {
		l.log.Error().Err(err).Msg("recall the last look") // the first look says what it means
		return
	}
	l.known.look = look
	rows := l.table()
	l.view.inventory.Store(&rows)
}

// resume plans by the last check-in, as if the daemon had not been away.
func (l *loop) resume() {
	portal := l.known.exchanger().State()
	if portal.LastSuccess.IsZero() {
		return
	}
	l.state.LastSuccess, l.state.DeviceID, l.state.Timing = portal.LastSuccess, portal.DeviceID, timingOf(l.known.configuration.Timing)
	l.state = l.state.plan(portal.LastSuccess, rand.Float64(), portal.NextCheckin)
}

// take lets step decide, does what it says, and makes it visible.
func (l *loop) take(what event) {
	l.decide(what)
	l.publish()
}

// decide lets step decide and does what it says. What must survive is kept
// first: an action may write as well.
func (l *loop) decide(what event) {
	state, actions := step(wallClock(), rand.Float64(), l.state, what)
	l.state = state
	if slices.Contains(actions, action(startLook{})) {
		l.schedule.begin()
	}
	l.schedule.note(l.state)
	for _, next := range actions {
		switch next := next.(type) {
		case startLook:
			l.begin()
		case conclude:
			l.conclude(next)
		}
	}
}

// hearAll takes in what the sources said. A profile is not a reason by itself:
// it may have changed in nothing that we read.
func (l *loop) hearAll(hints []trigger.Hint) {
	for _, hint := range hints {
		if hint.Reason == trigger.ProfileChanged {
			l.reconfigure()
			continue
		}
		l.decide(happened{
			Reason: hint.Reason, UID: hint.UID, Account: l.accountOf(hint.UID), VMID: hint.VMID, State: hint.State,
		})
	}
	l.publish()
}

// accountOf is the name of an account that the last look saw; empty if none.
func (l *loop) accountOf(uid uint32) string {
	for _, user := range l.known.look.Users {
		if user.UID == uid {
			return user.Name
		}
	}
	return ""
}

// hear takes a person's question in.
func (l *loop) hear(asked question) {
	var ok bool
	if l.persons, _, ok = l.persons.Take(wallClock(), personBurst, personEvery); !ok {
		asked.heard <- protocol.CodeTooManyRequests
		return
	}
	asked.heard <- ""
	l.waiting = append(l.waiting, asked)
	l.reconfigure(trigger.Manual)
}

// reconfigure reads the configuration again and tells step, with the reasons
// there are to look. A profile that came, went or changed is one by itself: it
// may name another portal.
func (l *loop) reconfigure(because ...trigger.Reason) {
	if !l.state.running() { // a pass reads it by itself, and leaves it behind
		now := l.loadConfig()
		if now.Fingerprint() != l.known.configuration.Fingerprint() {
			because = append(because, trigger.ProfileChanged)
		}
		l.known.configuration = now
	}
	if len(because) == 0 {
		l.take(tick{})
		return
	}
	what := l.configured()
	what.Because = because
	l.take(what)
}

// begin runs a pass beside the loop, so that the loop keeps answering.
func (l *loop) begin() {
	l.served, l.waiting = l.waiting, nil
	l.number++
	number, before := l.number, l.known
	go l.beginPass(l.ctx, number, before, l.passes)
}

// see takes over what a look found, and lets the pass go on. The pass has read
// the configuration anew; if it is another one, that is a reason too.
func (l *loop) see(turn *pass) {
	now := l.known.configuration.Fingerprint() != turn.configuration.Fingerprint()
	l.running, l.known = turn, turn.findings
	what := l.configured()
	if now {
		what.Because = []trigger.Reason{trigger.ProfileChanged}
	}
	l.decide(what)
	if !turn.lookFailed {
		l.follow(turn.look.Accounts)
	}
	l.take(turn.looked())
}

// conclude lets the pass go on as step decided.
func (l *loop) conclude(start conclude) {
	turn := l.running
	l.running = nil
	go turn.conclude(start)
}

// finish takes over what a pass found, and answers those who waited for it.
func (l *loop) finish(result passResult) {
	l.last, l.known = result, result.findings
	if result.erased { // what was owed, believed and waited for was another Mac's
		l.state = loopState{Timing: l.state.Timing, Seen: l.state.Seen, Phase: l.state.Phase, Portal: l.state.Portal}
	}
	served := l.served
	l.served = nil
	l.take(passEnded{
		Exchanged: result.exchanged, Code: result.failure, NoRetry: result.outcome.NoRetry,
		Left: trigger.SetOf(result.outcome.Left), RetryAfter: result.outcome.RetryAfter,
		Interval: result.outcome.NextCheckin, Splay: result.outcome.Splay,
		DeviceID: l.configured().DeviceID,
	})
	l.take(l.configured())
	for _, asked := range served {
		ended := result.pass
		asked.ended <- localapi.CheckinResult{
			Schema: localapi.Schema, Accepted: true, Waited: true, Reported: result.exchanged && result.failure == "",
			Code: result.outcome.Code, Detail: result.outcome.Detail, Pass: &ended,
		}
	}
}

// pause is how long the loop may sleep. It looks at the wall clock at every
// tick whatever is due, because timers stand still while a Mac sleeps.
func (l *loop) pause() time.Duration {
	longest := l.state.Timing.Tick
	if l.state.running() {
		return longest
	}
	now := wallClock()
	next, _ := l.state.nextAt(now)
	if next.IsZero() {
		return longest
	}
	return max(min(next.Sub(now), longest), time.Millisecond)
}

// stop waits a little for the pass that runs, and for what still runs for a
// user who was late: their tools are killed by ctx.
func (l *loop) stop() {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if l.state.running() {
			l.keepLook(<-l.passes) // its look or its end: whichever is next, ctx ends the rest
		}
		l.looker.Close()
	}()
	select {
	case <-ended:
	case <-time.After(stopLimit):
		l.log.Warn().Msg("stop without waiting for everything that runs")
	}
	l.publish()
}

// keepLook keeps what a look has found that nobody will tell any more: the next
// daemon does.
func (l *loop) keepLook(turn *pass) {
	if l.state.Phase != looking || turn.lookFailed {
		return
	}
	l.state, _ = step(wallClock(), rand.Float64(), l.state, turn.looked())
	l.schedule.note(l.state)
}

// configured is what step must know of the configuration.
func (l *loop) configured() configured {
	c := l.known.configuration
	origin := ""
	if c.ServerURL != nil {
		origin = c.ServerURL.Scheme + "://" + c.ServerURL.Host
	}
	return configured{
		Portal:   c.ServerURL != nil,
		Origin:   origin,
		DeviceID: l.known.exchanger().State().DeviceID,
		Timing:   timingOf(c.Timing),
	}
}

func timingOf(t config.Timing) trigger.Timing {
	return trigger.Timing{
		Debounce: t.Debounce, MinimumGap: t.MinimumGap, BucketSize: t.BucketSize, BucketEvery: t.BucketRefill,
		Splay: t.Splay, WakeSplay: t.WakeSplay, FreshFor: t.NetworkQuiet, SafetyNet: t.SafetyNet, RetryBase: t.RetryBase, RetryCap: t.RetryCap, Tick: t.Tick, Daily: t.Daily,
		CircuitAfter: t.CircuitAfter, CircuitInterval: t.CircuitInterval,
	}
}

// Checkin asks the loop for a check-in. With wait it returns when the pass
// that answers it has ended.
func (a *agent) Checkin(ctx context.Context, wait bool) localapi.CheckinResult {
	asked := question{heard: make(chan protocol.Code, 1), ended: make(chan localapi.CheckinResult, 1)}
	result := localapi.CheckinResult{Schema: localapi.Schema}
	select {
	case a.questions <- asked:
		result.Code = <-asked.heard
	case <-ctx.Done():
		result.Code = gaveUp(ctx)
	}
	result.Accepted = result.Code == ""
	if !result.Accepted || !wait {
		return result
	}
	select {
	case ended := <-asked.ended:
		return ended
	case <-ctx.Done():
		result.Code = gaveUp(ctx)
		return result
	}
}

// gaveUp is why nobody waits any more: the asker's time is over, else the
// daemon ends.
func gaveUp(ctx context.Context) protocol.Code {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return protocol.CodeCheckinTimeout
	}
	return protocol.CodeDaemonNotRunning
}
