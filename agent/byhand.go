package agent

import (
	"context"
	"strings"

	"prlagent/agent/enforce"
	"prlagent/agent/localapi"
	"prlagent/agent/policy"
	"prlagent/agent/protocol"
	"prlagent/agent/trigger"
)

// handQuestion is what an administrator wants done now, on its way to the loop.
type handQuestion struct {
	hand  enforce.Hand
	taken chan protocol.Code // why the loop refuses; empty = it does not
	reply chan []*enforce.Handed
}

// ByHand does what an administrator wants done now. Once it has begun it goes on,
// whoever waits.
func (a *agent) ByHand(ctx context.Context, request *localapi.HandRequest, by string) *localapi.HandResult {
	if request.ReleaseHolds {
		return a.releaseHolds(request, by)
	}
	mode := a.Status().PolicyInForce.Mode
	result := &localapi.HandResult{Schema: localapi.Schema, Mode: mode, Setting: request.Setting, Value: request.Value, VMs: []localapi.HandVM{}}
	asked := handQuestion{hand: enforce.Hand{By: by}, taken: make(chan protocol.Code, 1), reply: make(chan []*enforce.Handed, 1)}
	if !request.ReleaseLocks {
		setting := policy.Find(request.Setting)
		if setting == nil {
			result.Code = protocol.CodeSettingUnknown
			return result
		}
		value, err := setting.Values.Parse(request.Value)
		if err != nil {
			result.Code = protocol.CodePolicyWrongValue
			return result
		}
		asked.hand.Setting, asked.hand.Value = setting, value
		for _, id := range request.VMs {
			asked.hand.IDs = append(asked.hand.IDs, strings.ToLower(id))
		}
	}
	select {
	case a.hands <- asked:
		result.Code = <-asked.taken
	case <-ctx.Done():
		result.Code = gaveUp(ctx)
	}
	if result.Code != "" {
		return result
	}
	select {
	case handed := <-asked.reply:
		for _, one := range handed {
			if one.Switch != nil {
				result.Switches = append(result.Switches, *switchView(one))
				continue
			}
			result.VMs = append(result.VMs, *handView(one))
		}
	case <-ctx.Done():
		result.Code = gaveUp(ctx)
	}
	return result
}

func handView(one *enforce.Handed) *localapi.HandVM {
	words := one.Code.Text()
	shown := &localapi.HandVM{
		PolicyVM: localapi.PolicyVM{VMKey: one.Key}, Outcome: one.Outcome, Code: one.Code, Text: words.Text, Remedy: words.Remedy, Command: one.Command,
		PolicyPath: one.Path, PolicyValue: string(one.Wants), PutBack: one.PutBack,
	}
	if one.Machine != nil {
		shown.Name, shown.Owner = one.Machine.Name, one.Machine.Owner.User.Name
	}
	return shown
}

func switchView(one *enforce.Handed) *localapi.HandSwitch {
	words := one.Code.Text()
	return &localapi.HandSwitch{
		Target: one.Switch.Target(), Outcome: one.Outcome, Code: one.Code, Text: words.Text, Remedy: words.Remedy, Command: one.Command,
	}
}

// onHand begins what an administrator wants done, with the machines that the last
// look saw. Who asked for what is kept first.
func (l *loop) onHand(asked handQuestion) {
	if l.failed != "" || l.known.look.At.IsZero() {
		asked.taken <- protocol.CodeNotLookedYet
		return
	}
	situation := l.situation(l.portal.client.Content(), trigger.Set{})
	situation.Capabilities = l.ability.Capabilities
	enforcer, events := l.agent.parts.enforcer, l.agent.eventLog
	events.add(asked.hand.EventOf(wallClock()))
	if code := events.failure(); code != "" {
		asked.taken <- code
		return
	}
	if asked.hand.Setting != nil {
		enforcer.SetByHand(l.ctx, situation, &asked.hand, asked.reply)
		asked.taken <- ""
		return
	}
	event, err := enforcer.ReleaseLocks(l.ctx, situation, asked.hand.By, asked.reply)
	if err != nil {
		l.agent.parts.log.Error().Err(err).Msg("release the locks")
		asked.taken <- protocol.CodeOf(err)
		return
	}
	events.add(event)
	asked.taken <- ""
	l.converge(trigger.Set{})
	l.publish()
}

// locksReleased says since when the agent only plans because of a person.
func (l *loop) locksReleased() *localapi.LocksReleased {
	released := l.agent.parts.enforcer.LocksReleased()
	if released == nil {
		return nil
	}
	return &localapi.LocksReleased{At: released.At, By: released.By, HeadVersion: released.HeadVersion}
}
