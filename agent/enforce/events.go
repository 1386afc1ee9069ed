package enforce

import (
	"cmp"
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

// tellOfSettings tells what a plan found that a person may want to know: what somebody
// changed, and what is contended from now on. The caller holds the lock, and has
// not remembered the plan yet.
func (e *Enforcer) tellOfSettings(result *policy.Result, planned *Planned) {
	for i := range result.Verdicts {
		verdict := &result.Verdicts[i]
		if after, changed := result.Memory[verdict.VM]; changed {
			planned.tellOfDrift(&planned.Events, verdict, e.memory[verdict.VM], after)
		}
	}
}

// tellOfDrift tells what a verdict says of what somebody else did.
func (p *Planned) tellOfDrift(events *[]protocol.Event, verdict *policy.Verdict, was, after policy.VMMemory) {
	before, now := was.Setting(verdict.Setting), after.Setting(verdict.Setting)
	if now.Drifts() > before.Drifts() {
		p.tell(events, verdict.VM, eventChanged, "", "setting", verdict.Setting, "gaps", gapsText(verdict.Gaps))
	}
	if verdict.Verdict == protocol.VerdictContended && before.Verdict != protocol.VerdictContended {
		p.tell(events, verdict.VM, eventContended, verdict.Code, "setting", verdict.Setting,
			"drifts", fmt.Sprint(now.Drifts()), "gaps", gapsText(verdict.Gaps))
	}
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

// tellOfStep tells what a person may want to know of a step: that it is done, or that
// it failed for the first time in a row. A lock that could not be lifted is told
// with the command for a person (H67).
func (p *Planned) tellOfStep(events *[]protocol.Event, step *policy.Step, outcome policy.Outcome, memory *policy.SettingMemory) {
	call := memory.Call(step.Target)
	data := []string{"setting", step.Setting, "target", step.Target, "value", step.Word, "from", step.Prior}
	kind, code := eventSet, protocol.Code("")
	switch {
	case outcome.Proven && step.Restores:
		kind = eventReleased
	case outcome.Proven && step.Unlocks:
		return // it is placed again behind the steps that it was in the way of
	case outcome.Proven && step.IsUnread():
		return // nobody has seen it
	case outcome.Proven && call.Drifts > 0 && !call.Holds:
		kind = eventRestored
	case outcome.Proven:
	case call.Failures > 0 || outcome.NotApplicable:
		return // it was told when it began, or nothing has failed
	default:
		kind, code = eventFailed, cmp.Or(outcome.Code, protocol.CodeNotVerified)
		if step.Unlocks {
			data = append(data, "command", commandFor(step))
		}
	}
	p.tell(events, step.VM, kind, code, data...)
}

// commandFor is what a person types to do the step by hand.
func commandFor(step *policy.Step) string {
	return fmt.Sprintf("sudo -H -u '#%d' prlctl %s", step.VM.UID, strings.Join(step.Argv(), " "))
}

// tell adds an event about a machine, or with an empty id about an account; data comes
// in pairs of key and value.
func (p *Planned) tell(events *[]protocol.Event, key protocol.VMKey, kind string, code protocol.Code, data ...string) {
	about := []string{"uid", fmt.Sprint(key.UID)}
	if isAccount(key) {
		about = append(append(about, data...), "user_name", p.userOf(key.UID))
	} else {
		about = append(append(about, "vm_id", key.ID), data...)
	}
	if machine := p.Machines[key]; machine != nil {
		about = append(about, "user_name", machine.Owner.User.Name, "vm_name", machine.Name)
	}
	p.tellOfMac(events, kind, code, about...)
}

// tellOfMac adds an event about the Mac as a whole; data comes in pairs of key and
// value, of which the last one with a key counts.
func (p *Planned) tellOfMac(events *[]protocol.Event, kind string, code protocol.Code, data ...string) {
	told := make(map[string]string, len(data)/2)
	for i := 0; i+1 < len(data); i += 2 {
		told[data[i]] = data[i+1]
	}
	*events = append(*events, protocol.Event{At: p.At, Type: kind, Code: code, Data: told})
}
