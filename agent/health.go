package agent

import (
	"cmp"
	"slices"

	"prlagent/agent/checkin"
	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
)

// judge gathers the codes that are true now. Whether one of them needs a
// person is in the table of codes, not here.
func (l *loop) judge(status localapi.Status) localapi.Health {
	health := localapi.Health{State: localapi.Healthy, Conditions: []localapi.Condition{}}
	add := func(code protocol.Code, detail string) {
		known := func(c localapi.Condition) bool { return c.Code == code && (c.Detail == detail || detail == "") }
		if code == "" || slices.ContainsFunc(health.Conditions, known) {
			return
		}
		text := code.Text()
		health.Conditions = append(health.Conditions, localapi.Condition{
			Code: code, Severity: text.Severity, Text: text.Text, Remedy: text.Remedy, Detail: detail,
		})
		if text.Severity != protocol.Info {
			health.State = localapi.Degraded
		}
	}
	add(storeCode(l.opened.Outcome), status.Store.Reason)
	for _, problem := range status.Config.Problems {
		add(problem.Code, problem.Key+": "+problem.Text)
	}
	if status.Config.LocallyManaged {
		add(protocol.CodeLocallyManaged, "")
	}
	add(portalCode(status.Portal), status.Portal.LastDetail)
	add(status.Policy.Code, "")
	if l.known.look.At.IsZero() {
		add(protocol.CodeNotLookedYet, "")
	} else {
		for _, user := range status.Users {
			add(user.Code, user.Name)
		}
		add(l.known.look.Code, l.known.look.Detail)
	}
	add(l.stepCode(), "")
	add(l.journal.failure(), "events")
	if l.snapshotsOld {
		add(protocol.CodeSnapshotsOld, "")
	}
	l.since(health.Conditions)
	slices.SortStableFunc(health.Conditions, func(a, b localapi.Condition) int {
		return cmp.Compare(severityOrder[a.Severity], severityOrder[b.Severity])
	})
	return health
}

var severityOrder = map[protocol.Severity]int{protocol.Failure: 0, protocol.Warning: 1, protocol.Info: 2}

// enrollmentCodes are the codes of what stands before the first exchange.
var enrollmentCodes = map[string]protocol.Code{
	checkin.EnrollmentNotConfigured: protocol.CodeNotConfigured,
	checkin.EnrollmentNone:          protocol.CodeNotEnrolled,
	checkin.EnrollmentPending:       protocol.CodeEnrollmentPending,
}

// portalCode is the one code that says how it stands with the portal: why the
// last attempt failed, else why there is no enrollment.
func portalCode(portal localapi.PortalStatus) protocol.Code {
	return cmp.Or(portal.LastCode, enrollmentCodes[portal.Enrollment])
}

// stepCode is the first failure of the last pass that nothing else explains.
func (l *loop) stepCode() protocol.Code {
	if l.last.lookFailed {
		return l.last.pass.Steps[0].Code
	}
	return ""
}

// since keeps when each condition was first true.
func (l *loop) since(conditions []localapi.Condition) {
	now := wallClock().UTC()
	still := make(map[conditionKey]localapi.Condition, len(conditions))
	for i := range conditions {
		key := conditionKey{conditions[i].Code, conditions[i].Detail}
		conditions[i].Since = now
		if before, was := l.conditions[key]; was {
			conditions[i].Since = before.Since
		}
		still[key] = conditions[i]
	}
	l.conditions = still
}

// conditionKey tells conditions of one code apart.
type conditionKey struct {
	code   protocol.Code
	detail string
}
