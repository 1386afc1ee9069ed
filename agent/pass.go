package agent

import (
	"cmp"
	"context"
	"errors"
	"runtime"
	"runtime/debug"
	"time"

	"prlagent/agent/checkin"
	"prlagent/agent/config"
	"prlagent/agent/inventory"
	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
	"prlagent/agent/trigger"
	"prlagent/store"
)

// exchanger is the exchange with the portal, as a pass uses it.
type exchanger interface {
	Do(context.Context, protocol.Report, []protocol.Trigger, checkin.Extra) (checkin.Outcome, error)
	Told(protocol.Report) bool
	State() checkin.State
	Policy() protocol.PolicyReport
	Close()
}

// findings are what the loop knows after a pass, and what the next one starts
// from.
type findings struct {
	configuration config.Config
	onDisk        exchanger // what the last daemon left, to be shown until there is a client
	client        exchanger // nil until the Mac's identity is known
	clientFor     string    // what client was made from
	look          inventory.Look
	backedUp      time.Time // last backup of the state by this daemon
}

// exchanger is the client, or one that says that there is none yet, behind the
// vendor's gate.
func (f findings) exchanger() exchanger {
	client := f.client
	if client == nil {
		client = noExchange{f.onDisk}
	}
	return gate(client, f.configuration, f.look.Product)
}

var errNoIdentity = errors.New("this Mac has no identity to check in with")

// noExchange stands in before the Mac's identity is known: it shows what is on
// disk, and exchanges nothing.
type noExchange struct{ exchanger }

func (noExchange) Do(_ context.Context, _ protocol.Report, triggers []protocol.Trigger, _ checkin.Extra) (checkin.Outcome, error) {
	return checkin.Outcome{
		Code: protocol.CodeNotReadable, Detail: "the serial number of this Mac is not readable", Left: triggers,
	}, errNoIdentity
}

// passResult is the outcome of a pass.
type passResult struct {
	findings
	pass       localapi.Pass
	exchanged  bool          // an exchange was tried
	failure    protocol.Code // why the portal does not have the report; empty = it has
	outcome    checkin.Outcome
	lookFailed bool
	untold     bool  // the portal does not have what the look saw
	erased     bool  // the state was another Mac's, and is discarded
	fatal      error // the state database is damaged: a restart restores it
}

// pass is one turn of the loop. It belongs to the goroutine that runs it, which
// hands it to the loop when the look is over, and again when all is done.
type pass struct {
	*agent
	passResult
	ctx            context.Context
	start          conclude // what the loop decided after the look
	tools, commits uint64   // runs and commits before the pass
	ended          chan<- *pass
}

// passStep is one of the four parts of a turn (DESIGN 3). One that fails does
// not stop the next.
type passStep struct {
	name string
	run  func(*pass) localapi.Step
}

var (
	lookStep = passStep{"observe", (*pass).observe}

	// afterLook follow when the loop has said whether to check in.
	afterLook = []passStep{
		{"exchange", (*pass).exchange},
		{"converge", (*pass).converge},
		{"report", (*pass).report},
	}
)

// beginPass looks at the Mac, and hands the pass over.
func (a *agent) beginPass(ctx context.Context, number uint64, before findings, ended chan<- *pass) {
	p := &pass{agent: a, ctx: ctx, ended: ended, passResult: passResult{findings: before}, tools: a.countRuns()}
	p.pass = localapi.Pass{Number: number, StartedAt: wallClock().UTC()}
	p.commits = a.store.Commits()
	p.do(lookStep)
	ended <- p
}

// conclude runs what follows the look, and hands the pass over for good.
func (p *pass) conclude(start conclude) {
	p.start = start
	p.pass.Triggers = start.Triggers.Triggers()
	for _, step := range afterLook {
		p.do(step)
	}
	p.backUp()
	debug.FreeOSMemory() // the next look may be an hour away
	p.pass.EndedAt = wallClock().UTC()
	p.pass.ToolRuns = int(p.countRuns() - p.tools)
	p.pass.CommitsNow = int(p.store.Commits() - p.commits)
	p.ended <- p
}

// looked is what step must know of the look.
func (p *pass) looked() looked {
	if p.lookFailed {
		return looked{}
	}
	look := p.look
	return looked{Untold: p.untold, Picture: &trigger.Picture{
		At: look.At, VMs: look.VMs, Truncated: look.Truncated, Product: look.Product,
	}}
}

func (p *pass) do(step passStep) {
	began := time.Now()
	done := step.run(p)
	done.Name, done.Millis = step.name, time.Since(began).Milliseconds()
	p.pass.Steps = append(p.pass.Steps, done)
	p.log.Debug().Str("step", step.name).Str("outcome", done.Outcome).Str("code", string(done.Code)).
		Int64("ms", done.Millis).Msg("pass")
}

// observe re-reads the configuration and looks at the Mac.
func (p *pass) observe() localapi.Step {
	p.configuration = p.loadConfig()
	p.setLevel(p.configuration.LogLevel)
	look, err := p.looker.Collect(p.ctx, p.configuration.Timing.UserLook)
	if err != nil {
		p.lookFailed = true
		if errors.Is(err, store.ErrDamaged) {
			p.fatal = err
		}
		return failed(cmp.Or(protocol.CodeOf(err), protocol.CodeInternal), err.Error())
	}
	p.journal.add(changes(p.look, look)...)
	p.look = look
	p.untold = !p.exchanger().Told(p.currentReport())
	if look.Code != "" && look.Code.Text().Severity != protocol.Info {
		return failed(look.Code, look.Detail)
	}
	return localapi.Step{Outcome: localapi.StepDone, Code: look.Code, Detail: look.Detail}
}

// exchange checks in, if the loop's throttle allowed it.
func (p *pass) exchange() localapi.Step {
	switch {
	case p.configuration.ServerURL == nil:
		return skipped(protocol.CodeNotConfigured)
	case !p.start.Exchange:
		return skipped(protocol.CodeThrottled)
	case p.lookFailed:
		return skipped(protocol.CodeInternal)
	}
	p.prepareClient()
	p.exchanged = true
	var step localapi.Step
	step, p.failure = p.checkIn(p.start.Triggers.Triggers(), &p.outcome)
	return step
}

// checkIn is one check-in with all that is to be told. A report that arrived
// is no failure, whatever became of the content that was fetched after it.
func (p *pass) checkIn(triggers []protocol.Trigger, outcome *checkin.Outcome) (step localapi.Step, failure protocol.Code) {
	report := p.currentReport()
	result, err := p.exchanger().Do(p.ctx, report, triggers, checkin.Extra{Events: p.journal.unsent(), Keep: p.schedule.keep})
	*outcome = result
	p.pass.Requests += result.Requests
	p.pass.SentBytes += result.SentBytes
	p.journal.sent(result.EventsSent)
	p.journal.add(result.Events...)
	if err != nil {
		failure = cmp.Or(result.Code, protocol.CodeInternal)
		return failed(failure, result.Detail), failure
	}
	if result.Code != "" {
		return failed(result.Code, result.Detail), ""
	}
	return localapi.Step{Outcome: localapi.StepDone, Detail: sentDetail(result)}, ""
}

// converge carries the policy out. This agent stores a policy that verifies
// and reports it as fetched; catalogues of settings are what it has none of.
func (p *pass) converge() localapi.Step {
	policy := p.exchanger().Policy()
	if policy.State == protocol.PolicyFailed {
		return failed(policy.Code, "")
	}
	return localapi.Step{Outcome: localapi.StepSkipped, Code: policy.Code, Detail: "policy " + policy.State}
}

// report sends at once what the turn itself has changed: the portal learns
// that a policy arrived without waiting for the next reason.
func (p *pass) report() localapi.Step {
	if !p.exchanged || p.failure != "" || p.exchanger().Told(p.currentReport()) {
		return localapi.Step{Outcome: localapi.StepSkipped, Detail: "nothing new"}
	}
	var followUp checkin.Outcome
	step, failure := p.checkIn(nil, &followUp)
	p.outcome.RetryAfter = max(p.outcome.RetryAfter, followUp.RetryAfter)
	if failure == "" {
		p.outcome.NextCheckin, p.outcome.Splay = followUp.NextCheckin, followUp.Splay
	}
	return step
}

// prepareClient makes the exchange anew when the configuration or the Mac's
// identity is not what it was made from.
func (p *pass) prepareClient() {
	host := p.look.Host
	made := p.configuration.Fingerprint() + "/" + host.Serial + "/" + host.HardwareUUID
	if p.client != nil && p.clientFor == made || host.Serial == "" || host.HardwareUUID == "" {
		return
	}
	if p.client != nil {
		p.client.Close()
	}
	p.clientFor = made
	if err := p.checkIdentity(host); err != nil {
		p.log.Error().Err(err).Msg("discard the identity of another Mac")
		p.clientFor = "" // what failed is tried again by the next pass
	}
	p.client = p.connect(p.configuration, host, p.store)
}

// checkIdentity discards everything that belongs to another Mac, as after a
// disk was cloned or migrated: identity, epoch, and all that the store holds
// (H02).
func (p *pass) checkIdentity(host protocol.Host) error {
	fresh, err := checkin.LoadIdentity(p.identity, host)
	if !errors.Is(err, checkin.ErrForeign) {
		return nil // the exchange reports every other error by itself
	}
	err = p.store.Erase()
	if err == nil {
		_, err = p.store.NewEpoch()
	}
	if err == nil {
		err = fresh.Save(p.identity)
	}
	if err != nil {
		return err
	}
	p.erased = true
	p.lookAnew()
	p.journal.restart()
	p.journal.add(newEvent(wallClock(), string(protocol.CodeIdentityReset), protocol.CodeIdentityReset))
	return nil
}

// lookAnew replaces a look that was made with another Mac's memory.
func (p *pass) lookAnew() {
	look, err := p.looker.Collect(p.ctx, p.configuration.Timing.UserLook)
	if err != nil {
		p.log.Error().Err(err).Msg("look again after the identity was discarded")
		return
	}
	p.look = look
}

func (p *pass) currentReport() protocol.Report {
	version, _ := localapi.BuildVersion()
	return protocol.Report{
		Agent: protocol.AgentInfo{Version: version, Arch: runtime.GOARCH, Mode: p.configuration.Mode},
		Host:  p.look.Host, Product: p.look.Product, Users: p.look.Users,
		Policy: p.exchanger().Policy(), VMs: p.look.VMs, Truncated: p.look.Truncated,
	}
}

// backupEvery is how old the newest backup of the state may get.
const backupEvery = 24 * time.Hour

// backUp keeps a verified copy of the state: after the first pass, and daily.
func (p *pass) backUp() {
	if now := wallClock(); now.Sub(p.backedUp).Abs() >= backupEvery {
		if err := p.store.Backup(); err != nil {
			p.log.Error().Err(err).Msg("back up the state") // the next pass tries again
			return
		}
		p.backedUp = now
	}
}

func (a *agent) countRuns() (total uint64) {
	for _, runs := range a.toolRuns() {
		total += runs
	}
	return total
}

func failed(code protocol.Code, detail string) localapi.Step {
	return localapi.Step{Outcome: localapi.StepFailed, Code: code, Detail: detail}
}

func skipped(code protocol.Code) localapi.Step {
	return localapi.Step{Outcome: localapi.StepSkipped, Code: code}
}

func sentDetail(outcome checkin.Outcome) string {
	switch {
	case outcome.EnrolledNow:
		return "enrolled"
	case outcome.SendFull:
		return "the portal asked for everything"
	}
	return ""
}
