package agent

import (
	"strconv"
	"time"

	"prlagent/agent/enforce"
	"prlagent/agent/inventory"
	"prlagent/agent/localapi"
	"prlagent/agent/policy"
	"prlagent/agent/trigger"
)

// hostOf is what a look saw of the Mac as a whole. Who else manages the updates is
// known by the preferences.
func hostOf(look inventory.Look, reasons trigger.Set) policy.Host {
	host := policy.Host{Listed: make(map[uint32]bool), RetryNow: isRetried("", reasons)}
	for _, user := range look.Users {
		if user.IsListed() && user.LeftOut == 0 {
			host.Listed[user.UID] = true
		}
	}
	return host
}

// hostOwnerOf is the account as which the host's switches are read and set: the
// first one that the tools answered for, which on most Macs is the administrator's.
// The vendor's tools never run as root (H13); that a standard user is refused, or
// asked for an administrator, is told as such.
func hostOwnerOf(look inventory.Look) *enforce.Owner {
	account := firstListed(look)
	if account == nil {
		return nil
	}
	return &enforce.Owner{User: account.User, Session: account.Session}
}

// wantedControls are the security controls of a policy, in the order of the guide.
func wantedControls(document *policy.Document) (wanted []localapi.WantedSetting) {
	for i := range policy.Controls {
		control := &policy.Controls[i]
		if on, managed := document.SecurityControls.Set[control.Name]; managed {
			wanted = append(wanted, localapi.WantedSetting{
				Path: "security_controls." + control.Name, Setting: control.Name, Value: strconv.FormatBool(on), Doc: control.Doc,
			})
		}
	}
	return wanted
}

func hostSteps(view *enforce.View) (steps []localapi.PolicyStep) {
	for i := range view.Host {
		step := &view.Host[i]
		steps = append(steps, localapi.PolicyStep{
			Setting: step.Switch, Tool: "prlsrvctl", Call: append([]string{"set"}, step.Args...), Shown: step.Prior, Word: step.Word,
		})
	}
	return steps
}

func actViews(verdict *policy.Verdict) (acts []localapi.PolicyAct) {
	if verdict.Beside == nil {
		return nil
	}
	for _, one := range verdict.Beside.Acts {
		acts = append(acts, localapi.PolicyAct{Act: string(one.Act), Strength: one.Standard, StrengthAdmin: one.Admin})
	}
	return acts
}

// endGrace looks again once a machine's grace is over, so that it is suspended.
func (l *loop) endGrace() {
	if l.suspendAt.IsZero() || wallClock().Before(l.suspendAt) {
		return
	}
	l.suspendAt = time.Time{} // the plan that follows says when the next one is
	l.take(trigger.Converged{Look: true})
}
