package agent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
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
	l := &loop{agent: a, ctx: ctx, ended: make(chan passResult, 1)}
	l.recall()
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
		case result := <-l.ended:
			l.finish(result)
			if result.fatal != nil {
				return result.fatal
			}
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
	known        findings   // of the last pass
	last         passResult // the pass that ended last
	written      uint64     // number of the pass that the snapshots show
	snapshotsOld bool       // they could not be written since
	passes       uint64
	ended        chan passResult
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
	look, err := l.looker.Recall()
	if err != nil {
		l.log.Error().Err(err).Msg("recall the last look") // the first look says what it means
		return
	}
	l.known.look = look
	rows := l.table()
	l.view.inventory.Store(&rows)
}

// take lets step decide, and does what it says.
func (l *loop) take(what event) {
	state, actions := step(wallClock(), l.state, what)
	l.state = state
	for _, next := range actions {
		if start, ok := next.(startPass); ok {
			l.begin(start)
		}
	}
	l.publish()
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
	if !l.state.Running { // a pass reads it by itself, and leaves it behind
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
func (l *loop) begin(start startPass) {
	l.served, l.waiting = l.waiting, nil
	l.passes++
	number, before := l.passes, l.known
	go func() { l.ended <- l.runPass(l.ctx, number, start, before) }()
}

// finish takes over what a pass found, and answers those who waited for it.
func (l *loop) finish(result passResult) {
	l.last, l.known = result, result.findings
	served := l.served
	l.served = nil
	l.take(passEnded{
		Exchanged: result.exchanged, Code: result.failure, Carried: result.carried,
		RetryAfter: result.outcome.RetryAfter, Interval: result.outcome.NextCheckin,
		DeviceID: l.configured().DeviceID, Random: rand.Float64(),
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
	if l.state.Running {
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
		if l.state.Running {
			<-l.ended
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

// configured is what step must know of the configuration.
func (l *loop) configured() configured {
	c := l.known.configuration
	return configured{
		Portal:   c.ServerURL != nil,
		DeviceID: l.known.exchanger().State().DeviceID,
		Timing:   timingOf(c.Timing),
	}
}

func timingOf(t config.Timing) trigger.Timing {
	return trigger.Timing{
		Debounce: t.Debounce, MinimumGap: t.MinimumGap, BucketSize: t.BucketSize, BucketEvery: t.BucketRefill,
		Splay: t.Splay, RetryBase: t.RetryBase, RetryCap: t.RetryCap, Tick: t.Tick, Daily: t.Daily,
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
