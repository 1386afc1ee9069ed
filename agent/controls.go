package agent

import (
	"cmp"
	"sort"
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
func hostOf(look *inventory.Look, reasons trigger.Set) policy.Host {
	host := policy.Host{Listed: make(map[uint32]bool), RetryNow: isRetried("", reasons)}
	for _, user := range look.Users {
		if user.IsListed() && user.LeftOut == 0 {
			host.Listed[user.UID] = true
		}
	}
	return host
}

// hostOwnerOf is the account as which the host's switches are read and set, of those
// that the tools answered for: an administrator's, because every user can kill or hold
// up what runs as them; else that of who sits at the Mac, else the first one. Whether
// an administrator sits at the Mac is asked first. The vendor's tools never run as root
// (H13); that a standard user is refused, or asked for an administrator, is told as
// such. A directory that does not answer is asked about nobody else.
func hostOwnerOf(look *inventory.Look, authorize func(localapi.Peer) localapi.Actor) *enforce.Owner {
	accounts := listedAccounts(look)
	sort.SliceStable(accounts, func(i, j int) bool { return accounts[i].Console && !accounts[j].Console })
	var found *inventory.Account
	for _, account := range accounts {
		if account.User.UID == 0 {
			continue
		}
		found = cmp.Or(found, account)
		actor := authorize(localapi.Peer{UID: account.User.UID})
		if actor.Admin {
			found = account
		}
		if actor.Admin || actor.Unresolved {
			break
		}
	}
	if found == nil {
		return nil
	}
	return &enforce.Owner{User: found.User, Session: found.Session}
}

// addControls adds the security controls of a policy, in the order of the guide.
func addControls(shown *localapi.Policy, document *policy.Document) {
	for i := range policy.Controls {
		control := &policy.Controls[i]
		if on, managed := document.SecurityControls.Set[control.Name]; managed {
			addWanted(shown, control.Path(), control.Name, strconv.FormatBool(on), control.Doc)
		}
	}
}

func showHostStep(shown *localapi.PolicyStep, step *policy.HostStep) {
	shown.Setting, shown.Tool, shown.Call = step.Switch, "prlsrvctl", append([]string{"set"}, step.Args...)
	shown.Shown, shown.Word = step.Prior, step.Word
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

// lookAgain looks again when the last plan wants that: a machine's grace is over, so that
// it is suspended, or what was placed may not come late any more.
func (l *loop) lookAgain() {
	if l.lookAgainAt.IsZero() || wallClock().Before(l.lookAgainAt) {
		return
	}
	l.lookAgainAt = time.Time{} // the plan that follows says when the next one is
	l.take(trigger.Converged{Look: true})
}
