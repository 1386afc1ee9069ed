package agent

import (
	"cmp"
	"context"
	"errors"
	"runtime"
	"time"

	"prlagent/agent/checkin"
	"prlagent/agent/config"
	"prlagent/agent/enforce"
	"prlagent/agent/localapi"
	"prlagent/agent/policy"
	"prlagent/agent/protocol"
)

// exchanger is the exchange with the portal, as the loop uses it.
type exchanger interface {
	Do(context.Context, *protocol.Report, checkin.Extra) (*checkin.Outcome, error)
	Acknowledged(*protocol.Report) bool
	State() *checkin.State
	Content() *policy.Content
	Refresh(ctx context.Context, retry bool) []protocol.Event
	Close()
}

// exchangeLimit bounds an exchange as a whole, with the content that it fetches
// and the report that follows from it (H59).
const exchangeLimit = 90 * time.Second

var errNoExchange = errors.New("this Mac has no portal, or no identity to check in with")

// noExchange stands in before the Mac's identity is known, and where there is no
// portal: it shows what is on disk, and exchanges nothing.
type noExchange struct {
	onDisk exchanger
	code   protocol.Code // why; empty: the Mac's identity is not known
}

func (n *noExchange) Do(context.Context, *protocol.Report, checkin.Extra) (*checkin.Outcome, error) {
	return &checkin.Outcome{Code: cmp.Or(n.code, protocol.CodeMacUnidentified)}, errNoExchange
}

func (n *noExchange) Acknowledged(report *protocol.Report) bool { return n.onDisk.Acknowledged(report) }
func (n *noExchange) State() *checkin.State                     { return n.onDisk.State() }
func (n *noExchange) Content() *policy.Content                  { return n.onDisk.Content() }
func (n *noExchange) Refresh(ctx context.Context, retry bool) []protocol.Event {
	return n.onDisk.Refresh(ctx, retry)
}
func (n *noExchange) Close() { n.onDisk.Close() }

// Clock is what is on disk of the time.
func (n *noExchange) Clock() (trusted, likely time.Time, proven bool) {
	if known, is := n.onDisk.(commandPortal); is {
		return known.Clock()
	}
	return wallClock(), wallClock(), false
}

// SignReceipt signs with the key that is on disk.
func (n *noExchange) SignReceipt(payload []byte) (protocol.Envelope, bool) {
	if known, is := n.onDisk.(commandPortal); is {
		return known.SignReceipt(payload)
	}
	return protocol.Envelope{}, false
}

func (*noExchange) TellAll()      {}
func (*noExchange) AskForPolicy() {}

// connection is the client of the portal under the configuration of now.
type connection struct {
	connect func(*config.Config, protocol.Host) exchanger
	client  exchanger // what the last daemon left, to be shown until there is a client
	madeFor string
	origin  string // of the portal that it was made for
	knows   bool   // it was made with an identity of the Mac
}

// prepare makes the client anew when the configuration or the Mac's identity is
// not what it was made from. A Mac that does not say who it is for a moment keeps
// the one that knew.
func (c *connection) prepare(configuration *config.Config, host protocol.Host) {
	if c.isFor(configuration, host) {
		return
	}
	c.client.Close()
	c.client, c.madeFor, c.origin = c.connect(configuration, host), madeFrom(configuration, host), portalOf(configuration)
	c.knows = host.HardwareUUID != ""
	switch {
	case configuration.ServerURL == nil:
		c.client = &noExchange{c.client, protocol.CodeNotConfigured}
	case identityOf(configuration, host) == "":
		c.client = &noExchange{onDisk: c.client}
	}
}

// isFor reports whether the client is the one for a configuration and a Mac.
func (c *connection) isFor(configuration *config.Config, host protocol.Host) bool {
	return madeFrom(configuration, host) == c.madeFor || c.knows && host.HardwareUUID == ""
}

// madeFrom tells apart what a client is made from.
func madeFrom(c *config.Config, host protocol.Host) string {
	return c.Fingerprint() + "/" + host.Serial + "/" + host.HardwareUUID
}

// portalOf is the origin of the portal that a configuration names; empty: none.
func portalOf(c *config.Config) string {
	if c.ServerURL == nil {
		return ""
	}
	return c.ServerURL.Scheme + "://" + c.ServerURL.Host
}

// exchange is one check-in, and the report of what it changed. It runs beside
// the loop, and looks go on meanwhile. It belongs to the goroutine that runs it,
// which hands it to the loop when it is over.
type exchange struct {
	agent   *agent
	pass    *pass
	portal  exchanger // nil: it waits for a refresh, see runExchange
	origin  string    // whose client that is
	report  *protocol.Report
	privacy protocol.Privacy // that the report was made with
	seenAt  time.Time        // of the look that the report is made of
	began   time.Time
	gates   enforce.Gates
	asked   []question

	reportChanges int // of the policy's report, when the exchange began

	outcome *checkin.Outcome
	failure protocol.Code // why the portal does not have the report; empty = it has
}

// run checks in, and hands the exchange over.
func (e *exchange) run(ctx context.Context, ended chan<- *exchange) {
	bounded, cancel := context.WithTimeout(ctx, exchangeLimit)
	defer cancel()
	began := time.Now()
	var step localapi.Step
	e.outcome, step, e.failure = e.checkIn(bounded)
	e.pass.did(stepExchange, began, step)
	began = time.Now()
	e.report.Policy = e.agent.parts.enforcer.Report(e.portal.Content(), e.gates)
	e.pass.did("converge", began, convergeStep(e.report.Policy))
	e.pass.did("report", time.Now(), e.followUp(bounded))
	ended <- e
}

// checkIn is one check-in with all that is to be told. A report that arrived is
// no failure, whatever became of the content that was fetched after it.
func (e *exchange) checkIn(ctx context.Context) (result *checkin.Outcome, step localapi.Step, failure protocol.Code) {
	e.agent.noteSent(e.report, e.privacy)
	result, err := e.portal.Do(ctx, e.report, e.agent.commands.extra())
	e.agent.commands.take(result.Reply, e.portal)
	e.pass.Requests += result.Requests
	e.pass.SentBytes += result.SentBytes
	e.agent.eventLog.add(result.Events...)
	if err != nil {
		failure = cmp.Or(result.Code, protocol.CodeInternal)
		return result, failed(failure, result.Detail), failure
	}
	if result.Code != "" {
		return result, failed(result.Code, result.Detail), ""
	}
	return result, localapi.Step{Outcome: localapi.StepDone, Detail: sentDetail(result)}, ""
}

// followUp sends at once what the exchange itself has changed: the portal learns
// that a policy arrived without waiting for the next reason.
func (e *exchange) followUp(ctx context.Context) localapi.Step {
	if e.failure != "" || e.portal.Acknowledged(e.report) {
		return nothingNew()
	}
	outcome, step, failure := e.checkIn(ctx)
	e.outcome.RetryAfter = max(e.outcome.RetryAfter, outcome.RetryAfter)
	if failure == "" {
		e.outcome.NextCheckin, e.outcome.Splay = outcome.NextCheckin, outcome.Splay
	}
	return step
}

func sentDetail(outcome *checkin.Outcome) string {
	switch {
	case outcome.EnrolledNow:
		return "enrolled"
	case outcome.SendFull:
		return "the portal asked for everything"
	}
	return ""
}

// reportOf is what the portal should know after a look, without what it is not
// told (INV-32).
func reportOf(known *knowledge, policy protocol.PolicyReport, health protocol.HealthReport) *protocol.Report {
	version, _ := localapi.BuildVersion()
	look := known.look
	return known.configuration.Privacy.Report(&protocol.Report{
		Agent: protocol.AgentInfo{Version: version, Arch: runtime.GOARCH, Mode: known.configuration.Mode},
		Host:  look.Host, Product: look.Product, Users: look.Users,
		Policy: policy, Health: health, VMs: look.VMs, Truncated: look.Truncated,
	})
}
