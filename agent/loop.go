package agent

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"prlagent/agent/config"
	"prlagent/agent/enforce"
	"prlagent/agent/inventory"
	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
	"prlagent/agent/trigger"
	"prlagent/agent/watch"
)

// loop is the one goroutine that owns the loop's state. It ends with ctx, or
// with an error that only a restart can mend: launchd starts the daemon again,
// and the store restores itself as it is opened.
func (a *agent) loop(ctx context.Context) error {
	l := newLoop(ctx, a)
	l.recall()
	l.take(l.configured())
	l.take(trigger.SourceEvent{Reason: trigger.AgentStart})
	for {
		wake := time.NewTimer(l.pause())
		select {
		case <-ctx.Done():
			wake.Stop()
			l.stop()
			return nil
		case asked := <-a.questions:
			l.onQuestion(asked)
		case asked := <-a.hands:
			l.onHand(asked)
		case <-a.inbox.Ready():
			l.onHints(a.inbox.Take())
		case ended := <-l.looks:
			if ended.fatal != nil {
				return ended.fatal
			}
			l.onLookDone(ended)
		case ended := <-l.exchanges:
			l.onExchangeDone(ended)
		case ended := <-l.plans:
			l.onPlanned(ended)
		case <-a.parts.applied:
			l.onApplied()
		case at := <-l.backups:
			l.onBackup(at)
		case events := <-l.refreshes:
			l.onRefreshed(events)
		case <-wake.C:
			l.ticked = time.Since(l.began)
			l.reconfigure()
			l.lookAgain()
			l.refreshFolder()
			l.restoreSocket()
			l.noteIdle()
			if !l.backedUp.IsZero() { // the first one follows the first pass
				l.backUp()
			}
		}
		wake.Stop()
		l.noteBusy()
	}
}

// loop is the state of the loop's goroutine. Looks, exchanges and backups run
// beside it, one of each kind at a time, and come back on its channels (H59).
type loop struct {
	agent     *agent
	ctx       context.Context
	state     trigger.State
	known     knowledge     // after the last look
	portal    connection    // its client is made anew between two exchanges
	last      endedPass     // that ended last
	failed    protocol.Code // why the last look saw nothing; empty = it did
	failing   protocol.Code // why the last check-in did not arrive; empty = it did
	exchanged bool          // by this daemon
	began     time.Time
	ticked    time.Duration  // when the loop looked at the clock last, since it began
	number    uint64         // of the pass that began last
	persons   trigger.Bucket // how often people may ask
	waiting   []question     // for a look that has not begun

	looking     *look     // that runs; or, while step decides on it, that just ended
	exchanging  *exchange // that runs
	backingUp   bool
	idle        bool                            // since a tick nothing runs that needs memory
	backups     chan time.Time                  // that were made; zero = it failed
	backedUp    time.Time                       // last backup of the state by this daemon
	endings     struct{ seen, backedUp uint64 } // commands that had ended when the last backup began, and by the last good one
	backupTried time.Time
	socketLost  bool // and could not be made again
	looks       chan *look
	exchanges   chan *exchange
	plans       chan *convergence
	refreshes   chan []protocol.Event // what was noticed by that

	refreshing    bool   // the policy on this Mac is being read
	refreshedFrom demand // what was in force before

	planning      *convergence // that runs
	planAgain     bool         // once it has ended
	planFor       trigger.Set  // why the next plan is made
	plannedFor    demand       // what the last plan was made for
	ability       ability
	lookAgainAt   time.Time // the last plan wants another look then; zero: none
	reportChanges int       // of the policy's report
	policyEvents  eventQuota

	snapshots snapshots

	active     []*activeCode // what is true, as it was judged last, and since when
	healthNews string        // of the health that the portal should know
	troubles   troubles
}

// endedPass is what is remembered of a pass.
type endedPass struct {
	record localapi.Pass
	told   bool // the portal has its report
	code   protocol.Code
	detail string
}

func newLoop(ctx context.Context, a *agent) *loop {
	connect := func(c *config.Config, host protocol.Host) exchanger {
		return a.parts.connect(c, host, a.store, a.outbox)
	}
	return &loop{
		agent: a, ctx: ctx, began: time.Now(), portal: connection{connect: connect},
		known: knowledge{configuration: &config.Config{}, look: &inventory.Look{}},
		looks: make(chan *look, 1), exchanges: make(chan *exchange, 1), backups: make(chan time.Time, 1),
		plans: make(chan *convergence, 1), refreshes: make(chan []protocol.Event, 1),
	}
}

// recall begins with what the last daemon left, so that a question before the
// first look is not answered with nothing, and plans by the last check-in, as if
// the daemon had not been away.
func (l *loop) recall() {
	l.troubles = recallTroubles(l.agent.store, l.agent.parts.log)
	l.active, l.failing = l.troubles.ofTopic(), l.troubles.failing()
	l.known.configuration = l.agent.parts.loadConfig()
	l.portal.client = &noExchange{onDisk: l.portal.connect(l.known.configuration, protocol.Host{})}
	l.agent.parts.enforcer.Adopt(l.portal.client.Content())
	l.state = l.agent.schedule.load()
	if portal := l.portal.client.State(); !portal.LastSuccess.IsZero() {
		l.state.Limits.LastSuccess, l.state.DeviceID, l.state.Timing = portal.LastSuccess, portal.DeviceID, l.known.configuration.Timing
		l.state.Plan(portal.LastSuccess, rand.Float64(), portal.NextCheckin)
	}
	seen, err := l.agent.parts.looker.Recall()
	if err != nil {
		l.agent.parts.log.Error().Err(err).Msg("recall the last look") // the first look says what it means
		return
	}
	l.known.look = seen
	l.agent.commands.know(&l.known, l.portal.client)
	l.publishRows()
}

// take lets step decide, does what it says, and makes it visible.
func (l *loop) take(what trigger.Event) {
	l.decide(what)
	l.publish()
}

// decide lets step decide and does what it says.
func (l *loop) decide(what trigger.Event) {
	for _, next := range l.step(what) {
		switch next := next.(type) {
		case trigger.StartLook:
			l.startLook()
		case trigger.Conclude:
			l.conclude(next)
		}
	}
}

// step lets step decide, and gives what is to be done. What must survive is kept
// first: an action may write as well.
func (l *loop) step(what trigger.Event) (actions []trigger.Action) {
	l.state, actions = trigger.Step(wallClock(), rand.Float64(), l.state, what)
	for _, next := range actions {
		if end, is := next.(trigger.Conclude); is && end.Exchange {
			l.agent.outbox.Carry(end.Triggers.Triggers())
		}
	}
	l.agent.schedule.note(&l.state)
	return actions
}

// onHints takes in what the sources said. A profile is not a reason by itself:
// it may have changed in nothing that we read.
func (l *loop) onHints(hints []watch.Hint) {
	for _, hint := range hints {
		if hint.Reason == trigger.ProfileChanged {
			l.reconfigure()
			continue
		}
		l.decide(trigger.SourceEvent{Reason: hint.Reason, UID: hint.UID, VMID: hint.VMID, State: hint.State})
	}
	l.publish()
}

// reconfigure reads the configuration again and tells step, with the reasons
// there are to look. A profile that came, went or changed is one by itself: it
// may name another portal.
func (l *loop) reconfigure(reasons ...trigger.Reason) {
	if l.looking == nil { // a look reads it by itself, and leaves it behind
		now := l.agent.parts.loadConfig()
		changed := l.noteConfiguration(now)
		l.known.configuration = now
		if changed {
			reasons = append(reasons, trigger.ProfileChanged)
			l.connect()
			l.convergeOnContent()
		}
	}
	if len(reasons) == 0 {
		l.take(trigger.Tick{})
		return
	}
	what := l.configured()
	what.Reasons = reasons
	l.take(what)
}

// noteConfiguration reports whether the configuration is another one than before,
// and then writes an event. That it has vanished is told as a trouble.
func (l *loop) noteConfiguration(now *config.Config) (changed bool) {
	before := l.known.configuration
	if now.Fingerprint() == before.Fingerprint() {
		return false
	}
	if !isRemoved(now) && !isRemoved(before) {
		l.agent.eventLog.add(newEvent(wallClock(), "configuration_changed", "", "source", string(now.Source)))
	}
	return true
}

// isRemoved reports whether there was a configuration once, and there is none.
func isRemoved(c *config.Config) bool {
	return slices.ContainsFunc(c.Problems, func(problem config.Problem) bool { return problem.Code == protocol.CodeProfileRemoved })
}

// startLook looks beside the loop, so that the loop keeps answering.
func (l *loop) startLook() {
	l.number++
	l.looking = &look{
		agent: l.agent, ctx: l.ctx, known: l.known, mayErase: l.exchanging == nil, asked: l.waiting,
		pass: newPass(l.number, l.agent.countRuns, l.agent.store, l.agent.parts.log),
	}
	l.waiting = nil
	l.looking.known.mark = l.agent.parts.enforcer.Mark()
	go l.looking.run(l.looks)
}

// onLookDone takes over what a look found, shows it, and lets step decide
// whether to check in with it. The look has read the configuration anew; if it
// is another one, that is a reason too.
func (l *loop) onLookDone(ended *look) {
	changed := l.noteConfiguration(ended.known.configuration)
	l.known, l.failed = ended.known, ended.failed
	if ended.erased { // what was unreported, believed and waited for was another Mac's
		l.state.ForgetOtherMac()
		l.troubles.open, l.failing = nil, ""
	}
	l.connect()
	l.refresh(true)
	what := l.configured()
	if changed {
		what.Reasons = []trigger.Reason{trigger.ProfileChanged}
	}
	l.decide(what)
	if ended.failed == "" {
		l.known.look.Users = remarkStreams(l.known.look.Users, l.agent.parts.follow(l.known.look.Accounts))
		l.publishRows()
		l.agent.commands.onLook(ended.pass.StartedAt, l.known.look)
	}
	l.take(trigger.LookDone{Picture: ended.picture(), PortalBehind: l.isPortalBehind()})
}

// remarkStreams remarks on the accounts that are listed, and not heard between
// two looks.
func remarkStreams(users []protocol.UserLook, beyond []uint32) []protocol.UserLook {
	users = slices.Clone(users)
	for i := range users {
		if slices.Contains(beyond, users[i].UID) {
			users[i].Code = cmp.Or(users[i].Code, protocol.CodeStreamLimit)
		}
	}
	return users
}

// isPortalBehind reports whether the portal lacks what the last look saw.
func (l *loop) isPortalBehind() bool {
	return l.failed == "" && !l.portal.client.Acknowledged(l.report())
}

// report is what the portal should know after the last look.
func (l *loop) report() *protocol.Report {
	report := reportOf(&l.known, l.policyReport(), l.healthReport())
	report.Verdicts = l.agent.parts.enforcer.Verdicts()
	return report
}

func (l *loop) policyReport() protocol.PolicyReport {
	return l.agent.parts.enforcer.Report(l.portal.client.Content(), l.gates())
}

func (l *loop) gates() enforce.Gates {
	return enforce.Gates{Vendor: l.known.configuration.VendorGates, ProductVersion: l.known.look.Product.Version}
}

// conclude goes on after a look as step decided: with an exchange beside the
// loop, or not at all. Who asked for a check-in that another exchange keeps
// waiting is answered by the next one.
func (l *loop) conclude(end trigger.Conclude) {
	ended := l.looking
	l.looking = nil
	ended.pass.Triggers = end.Triggers.Triggers()
	l.converge(end.Triggers)
	if end.Exchange {
		l.startExchange(ended)
		return
	}
	code := protocol.CodeThrottled
	if l.known.configuration.ServerURL == nil {
		code = protocol.CodeNotConfigured
	}
	ended.pass.did(stepExchange, time.Now(), skipped(code))
	ended.pass.did("converge", time.Now(), convergeStep(l.policyReport()))
	ended.pass.did("report", time.Now(), nothingNew())
	asked := ended.asked
	if l.exchanging != nil && code == protocol.CodeThrottled {
		l.waiting, asked = slices.Concat(asked, l.waiting), nil
	}
	l.endPass(ended.pass, endedPass{}, asked)
}

// startExchange checks in beside the loop.
func (l *loop) startExchange(seen *look) {
	l.exchanging = &exchange{agent: l.agent, pass: seen.pass, asked: seen.asked, began: wallClock()}
	l.connect()
	l.runExchange()
}

// isExchangeWaiting reports whether an exchange has begun that waits for a refresh.
func (l *loop) isExchangeWaiting() bool { return l.exchanging != nil && l.exchanging.portal == nil }

// runExchange runs the exchange that has begun: once the refresh has ended that keeps the
// client of another configuration from being replaced.
func (l *loop) runExchange() {
	now := l.exchanging
	if l.refreshing && !l.portal.isFor(l.known.configuration, l.known.look.Host) {
		return
	}
	now.portal, now.origin = l.portal.client, l.portal.origin
	now.privacy, now.seenAt, now.gates = l.known.configuration.Privacy, l.known.look.At, l.gates()
	now.reportChanges, now.report = l.reportChanges, l.report() // of a pass that a person may have asked for
	go now.run(l.ctx, l.exchanges)
}

// onExchangeDone takes over what an exchange brought.
func (l *loop) onExchangeDone(ended *exchange) {
	l.exchanging = nil
	left := l.agent.outbox.Carried()
	l.agent.outbox.Carry(nil)
	outcome := ended.outcome
	if ended.failure == "" {
		l.agent.commands.exchanged.note(ended.began)
	}
	l.failing, l.exchanged = ended.failure, l.exchanged || ended.failure == ""
	if outcome.EnrolledNow {
		l.agent.eventLog.add(newEvent(wallClock(), "enrolled", "", "device_id", ended.portal.State().DeviceID))
	}
	l.connect() // the configuration may have changed meanwhile
	l.decide(trigger.ExchangeDone{
		Origin: ended.origin, Code: ended.failure, NoRetry: outcome.NoRetry, Left: trigger.SetOf(left), RetryAfter: outcome.RetryAfter,
		Interval: outcome.NextCheckin, Splay: outcome.Splay, DeviceID: l.configured().DeviceID,
		PortalBehind: l.hasNews(ended) && l.isPortalBehind(),
	})
	l.convergeOnContent()
	l.endPass(ended.pass, endedPass{told: ended.failure == "", code: outcome.Code, detail: outcome.Detail}, ended.asked)
	l.take(l.configured())
}

// hasNews reports whether there is something that an exchange could not tell. What
// one look saw, and one health, is told once. It waits its turn: one that followed
// at once could end, before anybody sees it, what the exchange brought to light.
func (l *loop) hasNews(ended *exchange) bool {
	return !l.known.look.At.Equal(ended.seenAt) || l.reportChanges != ended.reportChanges ||
		newsOfReport(l.healthReport()) != newsOfReport(ended.report.Health)
}

// endPass closes the record of a pass, shows it, and answers those who waited
// for it.
func (l *loop) endPass(p *pass, how endedPass, asked []question) {
	how.record = p.end()
	l.last, l.snapshots.due = how, true
	l.backUp()
	l.publish()
	for _, one := range asked {
		ended := how.record
		one.ended <- localapi.CheckinResult{
			Schema: localapi.Schema, Accepted: true, Waited: true, Reported: how.told,
			Code: how.code, Detail: how.detail, Pass: &ended,
		}
	}
}

// pause is how long the loop may sleep. It looks at the wall clock at every
// tick whatever is due, because timers stand still while a Mac sleeps. Ticks are
// counted from the start, as those of the sources are: they wake the Mac once. One that
// something else came before is made up for at once.
func (l *loop) pause() time.Duration {
	tick := l.state.Timing.Tick
	longest := l.ticked - l.ticked%tick + tick - time.Since(l.began)
	if longest <= 0 {
		return 0
	}
	now := wallClock()
	next, _ := l.state.NextAt(now)
	if !l.lookAgainAt.IsZero() && (next.IsZero() || l.lookAgainAt.Before(next)) {
		next = l.lookAgainAt
	}
	if next.IsZero() {
		return longest
	}
	return max(min(next.Sub(now), longest), time.Millisecond)
}

// stop waits a little for what runs: a look, an exchange, a backup, and what
// still runs for a user who was late. ctx has ended them, and kills their tools.
func (l *loop) stop() {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if l.looking != nil {
			l.keepLook(<-l.looks)
		}
		if l.exchanging != nil && !l.isExchangeWaiting() {
			<-l.exchanges
		}
		if l.backingUp {
			<-l.backups
		}
		if l.planning != nil {
			<-l.plans
		}
		if l.refreshing {
			<-l.refreshes
		}
		l.agent.parts.enforcer.Close()
		l.agent.parts.looker.Close()
	}()
	select {
	case <-ended:
	case <-time.After(stopLimit):
		l.agent.parts.log.Warn().Msg("stop without waiting for everything that runs")
	}
	l.publishStopped()
}

// keepLook keeps what a look has found that nobody will tell any more: the next
// daemon does.
func (l *loop) keepLook(ended *look) {
	if ended.failed != "" {
		return
	}
	l.step(trigger.LookDone{Picture: ended.picture()})
}

// configured is what step must know of the configuration.
func (l *loop) configured() trigger.Configured {
	c := l.known.configuration
	return trigger.Configured{
		Portal: c.ServerURL != nil, Origin: portalOf(c), DeviceID: l.portal.client.State().DeviceID, Timing: c.Timing,
	}
}
