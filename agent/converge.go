package agent

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"prlagent/agent/config"
	"prlagent/agent/enforce"
	"prlagent/agent/inventory"
	"prlagent/agent/lane"
	"prlagent/agent/policy"
	"prlagent/agent/protocol"
	"prlagent/agent/trigger"
	"prlagent/agent/watch"
	"prlagent/platform"
	"prlagent/prlctl"
	"prlagent/store"
)

// probeLimit bounds the questions to the tools' own help before a plan, of which
// each version of the product costs about twenty, once. An answer that is not
// whole is good for an hour.
const (
	probeLimit = 2 * time.Minute
	probeAgain = time.Hour
)

// ability is what the installed version can do, and when that was asked.
type ability struct {
	prlctl.Capabilities
	at time.Time
}

// convergence is one plan being made beside the loop: what the tools can do is
// asked first. It belongs to the goroutine that runs it, which hands it to the
// loop when it is over.
type convergence struct {
	agent     *agent
	situation *enforce.Situation
	account   *inventory.Account // who may ask the tools; nil: nobody can
	manages   bool               // the policy has settings of virtual machines
	ability   ability

	planned *enforce.Planned
	err     error
}

func (c *convergence) run(ctx context.Context, ended chan<- *convergence) {
	if c.manages {
		c.probe(ctx)
	}
	c.situation.Capabilities = c.ability.Capabilities
	c.agent.parts.enforcer.LookAtHost(ctx, c.situation)
	c.planned, c.err = c.agent.parts.enforcer.Plan(c.situation)
	ended <- c
}

// probe asks what the installed version can do, unless that is known.
func (c *convergence) probe(ctx context.Context) {
	version, now := c.situation.Version, wallClock()
	known := c.ability.Version == version && (c.ability.Complete(policy.Flags) || now.Sub(c.ability.at).Abs() < probeAgain)
	if version.IsZero() || c.account == nil || known {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	found, err := c.agent.parts.probe(ctx, *c.account, version)
	if err != nil {
		c.agent.parts.log.Warn().Err(err).Msg("what the tools can do is not known")
	}
	c.ability = ability{Capabilities: found, at: now}
	c.ability.Version = version // an answer about none is one about this one, for now
}

// converge plans beside the loop with what the last look saw, if there is a
// policy to carry out. One plan is made at a time; what a later look saw, or an
// exchange brought, is planned with as soon as it is made.
func (l *loop) converge(reasons trigger.Set) {
	content := l.wanted()
	l.planFor = l.planFor.Merge(reasons)
	if l.planning != nil {
		l.planAgain = true
		return
	}
	l.plannedFor = demandOf(content)
	applies := enforce.Report(content, l.gates()).State != protocol.PolicyNotApplicable
	released := content.Released || l.agent.parts.enforcer.LocksReleased() != nil
	if !applies || !content.InForce() && !released {
		l.agent.parts.enforcer.Adopt(&policy.Content{})
		return
	}
	if l.failed != "" || l.known.look.At.IsZero() {
		return
	}
	l.agent.parts.enforcer.Adopt(content)
	next := &convergence{
		agent: l.agent, situation: l.situation(content, l.planFor), manages: l.agent.parts.enforcer.SetsVMs(),
		account: firstListed(l.known.look), ability: l.ability,
	}
	l.planning, l.planAgain, l.planFor = next, false, trigger.Set{}
	go next.run(l.ctx, l.plans)
}

// demand is what tells content apart that asks for something else.
type demand struct {
	document protocol.PolicyPointer
	released bool
	mode     string
}

func demandOf(content *policy.Content) demand {
	return demand{content.Pointer, content.Released, content.Mode}
}

// convergeOnContent goes on where an exchange, or a change on this Mac, brought
// another policy or mode: with a look, because that may need what the last one
// had no reason to read.
func (l *loop) convergeOnContent() {
	content := l.wanted()
	if demandOf(content) == l.plannedFor && l.agent.parts.enforcer.LocksReleased() == nil { // which a newer head ends
		return
	}
	if l.agent.parts.enforcer.Adopt(content) {
		l.decide(trigger.Converged{Look: true})
		return
	}
	l.converge(trigger.Set{})
}

// wanted is the policy in force. Whether it may be carried out holds at once, also for
// what is at work.
func (l *loop) wanted() *policy.Content {
	content := l.portal.client.Content()
	l.agent.parts.enforcer.Allow(l.isEnforced(content))
	return content
}

// isEnforced reports whether both the configuration and the policy say so (H40).
func (l *loop) isEnforced(content *policy.Content) bool {
	return l.known.configuration.Mode == config.ModeEnforce && content.Allows()
}

// situation is what a plan starts from.
func (l *loop) situation(content *policy.Content, reasons trigger.Set) *enforce.Situation {
	look, configuration := l.known.look, l.known.configuration
	version, _ := prlctl.ParseVersion(look.Product.Version)
	situation := &enforce.Situation{
		Content: *content, Enforce: l.isEnforced(content),
		AllowUnprovenLocks: configuration.AllowUnprovenLocks, VendorGates: configuration.VendorGates, NotifyUsers: configuration.NotifyUsers,
		Trusted: l.portal.client.State().TrustedTime, Mark: l.known.mark, Version: version, Whole: !look.Truncated,
		System:  strings.TrimSpace(look.Host.MacOS + " " + look.Host.MacOSBuild),
		Edition: look.Product.Edition, Accounts: accountsOf(look, reasons),
	}
	situation.Host, situation.HostOwner = hostOf(look, reasons), l.known.hostOwner
	if !look.Product.Installed {
		situation.Closed = protocol.CodePDNotInstalled
	}
	for i := range look.Machines {
		machine := machineOf(&look.Machines[i], reasons)
		machine.Facts.Held = l.agent.commands.holds.Keeps(machine.Facts.Key)
		situation.Machines = append(situation.Machines, machine)
	}
	return situation
}

// machineOf is a machine of a look as a plan has it. Whether somebody works in a
// machine that runs cannot be seen, so that is always in doubt.
func machineOf(m *inventory.Machine, reasons trigger.Set) *enforce.Machine {
	return &enforce.Machine{
		Facts: policy.Machine{
			Key: m.Key(), VM: m.VM, Config: m.Config, FirstSeen: m.FirstSeen, StartedAt: m.StartedAt, AtWork: true,
			RetryNow: isRetried(m.VM.ID, reasons), Unreadable: m.Unreadable, Stale: m.Stale, Disputed: m.Disputed,
			UsedSpace: m.Space.Used, FreeSpace: m.Space.Free,
		},
		Owner: enforce.Owner{User: m.User, Session: m.Session},
		Name:  m.VM.Name, Bundle: m.Bundle.Path, ConfigHash: m.ConfigHash,
	}
}

// Reasons to try again what failed: somebody asked, or the machine is in another
// state. That its configuration has changed is none: that may be our own doing.
var (
	retryAll  = []trigger.Reason{trigger.Manual, trigger.ProfileChanged}
	retryThis = []trigger.Reason{trigger.VMStarted, trigger.VMSuspended, trigger.VMResumed, trigger.VMShutdown}
)

func isRetried(vmID string, reasons trigger.Set) bool {
	return slices.ContainsFunc(reasons.Triggers(), func(one protocol.Trigger) bool {
		reason := trigger.Reason(one.Reason)
		return slices.Contains(retryAll, reason) ||
			slices.Contains(retryThis, reason) && (one.VMID == "" || strings.EqualFold(one.VMID, vmID))
	})
}

// firstListed is the first account that the tools answered for; nil if they
// answered for none.
func firstListed(look *inventory.Look) *inventory.Account {
	if accounts := listedAccounts(look); len(accounts) > 0 {
		return accounts[0]
	}
	return nil
}

// listedAccounts are those that the tools answered for, in their order.
func listedAccounts(look *inventory.Look) (accounts []*inventory.Account) {
	for _, listed := range look.Users {
		at := slices.IndexFunc(look.Accounts, func(account inventory.Account) bool { return account.User.UID == listed.UID })
		if at >= 0 && listed.IsListed() {
			accounts = append(accounts, &look.Accounts[at])
		}
	}
	return accounts
}

// onPlanned takes over a plan: its steps are begun, and what has changed of the
// report is owed to the portal.
func (l *loop) onPlanned(ended *convergence) {
	l.planning, l.ability = nil, ended.ability
	if ended.err != nil {
		l.agent.parts.log.Error().Err(ended.err).Msg("plan the policy")
	} else {
		l.carryOut(ended.planned)
	}
	l.publish()
	if l.planAgain {
		l.converge(trigger.Set{})
	}
}

// carryOut begins the steps of a plan, unless another policy or mode is wanted since the
// plan was begun: then it is void, and the next one is on its way.
func (l *loop) carryOut(planned *enforce.Planned) {
	l.agent.eventLog.add(l.policyEvents.limit(planned.Events, wallClock())...)
	if content := l.wanted(); demandOf(content) != l.plannedFor {
		l.agent.parts.enforcer.Adopt(content)
	}
	l.agent.parts.enforcer.Apply(l.ctx, planned)
	l.lookAgainAt = planned.NextAt
	if planned.ReportChanged { // else the portal lacks what it lacked
		l.reportChanges++
		l.decide(trigger.Converged{PortalBehind: l.isPortalBehind()})
	}
}

// onApplied takes over what became of the steps of one or several accounts. Only
// another look tells how their machines are now.
func (l *loop) onApplied() {
	for _, uid := range l.agent.parts.enforcer.Begun() {
		applied, ended := l.agent.parts.enforcer.Take(uid)
		if !ended {
			continue
		}
		l.agent.eventLog.add(l.policyEvents.limit(applied.Events, wallClock())...)
		l.ability.at = time.Time{} // a flag may have been refused for this version
		done := trigger.Converged{UID: uid, Look: true, Idle: applied.Begun == 0}
		for _, wrote := range applied.Wrote {
			done.Own = append(done.Own, trigger.OwnHand{Key: wrote.Key, Before: wrote.Before, After: wrote.After})
		}
		l.decide(done)
	}
	l.agent.eventLog.add(l.policyEvents.limit(l.agent.parts.enforcer.TakeReminders(), wallClock())...)
	if events, any := l.agent.parts.enforcer.TakePreferences(); any {
		l.agent.eventLog.add(l.policyEvents.limit(events, wallClock())...)
		l.converge(trigger.Set{})
	}
	l.publish()
}

// enforcerOf makes what carries the policy out on a Mac, with the channel on
// which it tells that somebody's settings have been carried out.
func enforcerOf(mac *platform.Machine, streams *watch.VMEvents, lanes *lane.Lanes, state *store.Store, log *zerolog.Logger) (*enforce.Enforcer, <-chan struct{}) {
	return newEnforcer(enforce.Options{
		Store: state, Lanes: lanes, Files: mac, Log: *log, Notify: notifierOf(mac),
		Tool: func(user platform.User, session bool) enforce.Tool { return clientAs(mac, streams, user, session) },
		Host: func(user platform.User, session bool) enforce.HostTool { return clientAs(mac, streams, user, session) },
		Suspend: func(ctx context.Context, user platform.User, session bool, id string) error {
			return clientAs(mac, streams, user, session).Suspend(ctx, id)
		},
		Preferences: preferencesAs(mac), Forced: forcedOn(mac, log),
		Refuse: func(version prlctl.Version, flag string) error {
			return inventory.Refuse(state, version, false, flag)
		},
	})
}

func newEnforcer(options enforce.Options) (*enforce.Enforcer, <-chan struct{}) {
	applied := make(chan struct{}, 1)
	options.Now = wallClock
	options.Reminded = func() {
		select {
		case applied <- struct{}{}:
		default: // the loop looks at everybody's
		}
	}
	options.Posted = func(uint32) { options.Reminded() }
	return enforce.New(options), applied
}

// proberOf asks the tools what they can do, in the lane of an account.
func proberOf(mac *platform.Machine, streams *watch.VMEvents, lanes *lane.Lanes, state *store.Store) func(context.Context, inventory.Account, prlctl.Version) (prlctl.Capabilities, error) {
	return func(ctx context.Context, account inventory.Account, version prlctl.Version) (found prlctl.Capabilities, err error) {
		err = lanes.Run(ctx, account.User.UID, probeLimit, func() (err error) {
			client := clientAs(mac, streams, account.User, account.Session)
			asked, err := inventory.Capabilities(ctx, state, version, client, policy.Flags)
			found = *asked
			return err
		})
		return found, err
	}
}

// settledRows are the rows of a look without the configuration of what was being
// set meanwhile: the look may have seen the one and not the other.
func settledRows(rows []protocol.VM, enforcer *enforce.Enforcer, since enforce.Mark) []protocol.VM {
	settled := rows
	for i := range rows {
		if !enforcer.Unsettled(rows[i].UID, since) {
			continue
		}
		if &settled[0] == &rows[0] {
			settled = slices.Clone(rows)
		}
		settled[i].ConfigHash = ""
	}
	return settled
}
