package enforce

import (
	"fmt"
	"strings"

	"prlagent/agent/policy"
	"prlagent/agent/protocol"
)

// Events about settings.
const (
	eventChanged   = "policy_setting_changed"   // somebody changed what was in place
	eventSet       = "policy_setting_set"       // the agent set it, and a look shows it
	eventRestored  = "policy_setting_restored"  // the same, after somebody had changed it
	eventFailed    = "policy_setting_failed"    // it was to be set, and is not
	eventContended = "policy_setting_contended" // see H41
	eventReleased  = "policy_lock_released"
	eventReminder  = "policy_reminder" // machines wait for their user
)

// eventsOf are what a plan found that a person may want to know: what somebody
// changed, and what is contended from now on. The caller holds the lock, and has
// not remembered the plan yet.
func (e *Enforcer) eventsOf(result *policy.Result, planned *Planned) (events []protocol.Event) {
	for i := range result.Verdicts {
		verdict := &result.Verdicts[i]
		after, changed := result.Memory[verdict.VM]
		if !changed {
			continue
		}
		events = append(events, planned.driftEvents(verdict, e.memory[verdict.VM], after)...)
	}
	return events
}

// driftEvents are what a verdict says of what somebody else did.
func (p *Planned) driftEvents(verdict *policy.Verdict, was, after policy.VMMemory) (events []protocol.Event) {
	before, now := was.Setting(verdict.Setting), after.Setting(verdict.Setting)
	if now.Drifts() > before.Drifts() {
		events = append(events, p.event(verdict.VM, eventChanged, "", "setting", verdict.Setting, "gaps", gapsText(verdict.Gaps)))
	}
	if verdict.Verdict == protocol.VerdictContended && before.Verdict != protocol.VerdictContended {
		events = append(events, p.event(verdict.VM, eventContended, verdict.Code, "setting", verdict.Setting,
			"drifts", fmt.Sprint(now.Drifts()), "gaps", gapsText(verdict.Gaps)))
	}
	return events
}

// gapsText says of each flag what is shown and what is wanted.
func gapsText(gaps []policy.Gap) string {
	parts := make([]string, 0, len(gaps))
	for i := range gaps {
		gap := &gaps[i]
		parts = append(parts, fmt.Sprintf("%s is %s, wanted %s", gap.Target, gap.Shown, gap.Wanted))
	}
	return protocol.CutText(strings.Join(parts, "; "), protocol.MaxText)
}

// eventOf is what a person may want to know of a step: that it is done, or that
// it failed for the first time in a row. A lock that could not be lifted is told
// with the command for a person (H67).
func eventOf(step *policy.Step, outcome policy.Outcome, planned *Planned, memory *policy.SettingMemory) []protocol.Event {
	call := memory.Call(step.Target)
	data := []string{"setting", step.Setting, "target", step.Target, "value", step.Word, "from", step.Prior}
	switch {
	case outcome.Proven && step.Restores:
		return []protocol.Event{planned.event(step.VM, eventReleased, "", data...)}
	case outcome.Proven && step.Unlocks && !step.Restores:
		return nil // it is placed again behind the steps that it was in the way of
	case outcome.Proven && step.IsUnread():
		return nil // nobody has seen it
	case outcome.Proven && call.Drifts > 0 && !call.Holds:
		return []protocol.Event{planned.event(step.VM, eventRestored, "", data...)}
	case outcome.Proven:
		return []protocol.Event{planned.event(step.VM, eventSet, "", data...)}
	case call.Failures > 0 || outcome.NotApplicable:
		return nil // it was told when it began, or nothing has failed
	}
	code := outcome.Code
	if code == "" {
		code = protocol.CodeNotVerified
	}
	if step.Unlocks {
		data = append(data, "command", commandFor(step))
	}
	return []protocol.Event{planned.event(step.VM, eventFailed, code, data...)}
}

// commandFor is what a person types to do the step by hand.
func commandFor(step *policy.Step) string {
	return fmt.Sprintf("sudo -H -u '#%d' prlctl %s", step.VM.UID, strings.Join(step.Argv(), " "))
}

// event is an event about a machine, or with an empty id about an account; data comes
// in pairs of key and value.
func (p *Planned) event(key protocol.VMKey, kind string, code protocol.Code, data ...string) protocol.Event {
	about := []string{"uid", fmt.Sprint(key.UID)}
	if isAccount(key) {
		about = append(append(about, data...), "user_name", p.userOf(key.UID))
	} else {
		about = append(append(about, "vm_id", key.ID), data...)
	}
	if machine := p.Machines[key]; machine != nil {
		about = append(about, "user_name", machine.Owner.User.Name, "vm_name", machine.Name)
	}
	return p.hostEvent(kind, code, about...)
}

// hostEvent is an event about the Mac as a whole; data comes in pairs of key and
// value, of which the last one with a key counts.
func (p *Planned) hostEvent(kind string, code protocol.Code, data ...string) protocol.Event {
	made := protocol.Event{At: p.At, Type: kind, Code: code, Data: make(map[string]string, len(data)/2)}
	for i := 0; i+1 < len(data); i += 2 {
		made.Data[data[i]] = data[i+1]
	}
	return made
}
