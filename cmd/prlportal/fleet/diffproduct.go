package fleet

import (
	"prlagent/agent/policy"
	"prlagent/agent/protocol"
)

// preferenceOutcome is what becomes of a preference of one account.
func (p *predictor) preferenceOutcome(account *Known, name string) Outcome {
	path := policy.ProductPath + name
	old, managed := p.was[path]
	value, wanted := p.is[path]
	if !wanted {
		return OutcomeReleased
	}
	if !p.isTold(account) {
		return OutcomeUnknown
	}
	verdict := account.Verdicts[path]
	if managed && verdict == nil {
		return OutcomeUnknown // an account that came since, or a report without room
	}
	if managed && verdict.Verdict == protocol.VerdictNotApplicable && verdict.Code != protocol.CodeValueKept {
		return OutcomeExcluded
	}
	if managed && old == value {
		return p.preferenceThatStays(account, verdict)
	}
	return p.preferenceThatChanges(account, name, value)
}

// preferenceThatStays is the outcome where the policy wants the same as before.
func (p *predictor) preferenceThatStays(account *Known, verdict *protocol.VerdictGroup) Outcome {
	switch verdict.Code {
	case protocol.CodePendingRestart:
		return OutcomeWaits // it is written, in whatever mode
	case protocol.CodeValueKept:
		if p.next.Document.Product.OnExisting == policy.Keep {
			return OutcomeExcluded
		}
		return p.effective(account, OutcomeSet)
	}
	if isDifferent := verdict.Verdict != protocol.VerdictInPlace; isDifferent && p.mayStartToKeep() {
		return OutcomeUnknown // what is there may be from before
	}
	return p.effective(account, outcomeOf(verdict))
}

// mayStartToKeep reports whether values that were there before are kept from now on.
func (p *predictor) mayStartToKeep() bool {
	return p.next.Document.Product.OnExisting == policy.Keep && p.before.Document.Product.OnExisting != policy.Keep
}

// preferenceThatChanges is the outcome where the policy wants another value, or wants
// one for the first time. What is known of the place where it is kept is what a
// verdict says: that it has a value of the policy that is replaced.
func (p *predictor) preferenceThatChanges(account *Known, name string, value policy.Value) Outcome {
	next := policy.FindPreference(name)
	there, old, verdict := p.writtenNow(account, next.Key)
	if there == nil {
		return OutcomeUnknown
	}
	if verdict.Code == protocol.CodeManaged {
		if there == next {
			return OutcomeExcluded // a profile forces what the policy wanted
		}
		return OutcomeUnknown
	}
	isSame, known := policy.WriteTheSame(there, old, next, value)
	switch {
	case !known:
		return OutcomeUnknown
	case there != next && next.NotInStandard:
		return OutcomeUnknown // the Mac's edition decides
	case isSame && verdict.Code == protocol.CodePendingRestart:
		return OutcomeWaits
	case isSame:
		return OutcomeStays
	case p.next.Document.Product.OnExisting == policy.Keep:
		return OutcomeUnknown // who wrote it is not told
	}
	return p.effective(account, OutcomeSet)
}

// writtenNow is the preference whose value the account is known to have under a key,
// with that value; nil if none is.
func (p *predictor) writtenNow(account *Known, key string) (*policy.Preference, policy.Value, *protocol.VerdictGroup) {
	for i := range policy.Preferences {
		preference := &policy.Preferences[i]
		value, managed := p.was[preference.Path()]
		verdict := account.Verdicts[preference.Path()]
		if preference.Key != key || !managed || verdict == nil {
			continue
		}
		if verdict.Verdict == protocol.VerdictInPlace || verdict.Code == protocol.CodePendingRestart {
			return preference, value, verdict
		}
	}
	return nil, "", nil
}
