package agent

import (
	"prlagent/agent/config"
	"prlagent/agent/localapi"
	"prlagent/agent/policy"
	"prlagent/agent/protocol"
)

// connect makes the client anew where the configuration or the Mac is not what it
// was made from, but not under one that is at work.
func (l *loop) connect() {
	if !l.refreshing && (l.exchanging == nil || l.isExchangeWaiting()) {
		l.portal.prepare(l.known.configuration, l.known.look.Host)
	}
	l.agent.commands.know(&l.known, l.portal.client)
}

// refresh reads the policy on this Mac beside the loop: in the configuration, and
// in a folder of signed ones.
func (l *loop) refresh(retry bool) {
	if l.refreshing || l.exchanging != nil {
		return
	}
	l.refreshing, l.refreshedFrom = true, demandOf(l.portal.client.Content())
	client, ctx := l.portal.client, l.ctx
	go func() { l.refreshes <- client.Refresh(ctx, retry) }()
}

// refreshFolder looks whether the folder of signed policies was changed, if there
// is one.
func (l *loop) refreshFolder() {
	if l.known.configuration.ContentFolder() != "" {
		l.refresh(false)
	}
}

// onRefreshed goes on with what was read.
func (l *loop) onRefreshed(events []protocol.Event) {
	l.refreshing = false
	l.agent.eventLog.add(events...)
	l.connect() // the configuration may have changed meanwhile
	if l.isExchangeWaiting() {
		l.runExchange()
	}
	if demandOf(l.portal.client.Content()) != l.refreshedFrom {
		l.convergeOnContent()
	}
	if len(events) > 0 {
		l.publish()
	}
}

// inForce says of a policy where it is from, for whom it is, and which mode is in
// force: the weaker of what the configuration and the head say.
func inForce(c *config.Config, content *policy.Content) localapi.InForce {
	shown := localapi.InForce{
		Source: content.Source, CandidatePercent: content.CandidatePercent, ExpiresAt: utc(content.ExpiresAt),
		Mode: c.Mode, ModeOf: policy.FromConfiguration,
	}
	if c.Mode == config.ModeEnforce && !content.Allows() {
		shown.Mode, shown.ModeOf = content.Mode, policy.FromHead
	}
	return shown
}
