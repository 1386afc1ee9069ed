package agent

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
	"prlagent/agent/trigger"
)

// warnable is one row of the table of conditions: how a code that is true
// becomes one that a person sees. A code without a row is seen at once.
type warnable struct {
	after       time.Duration   // how long it must be true; a person who asked sees it at once
	explainedBy []protocol.Code // not seen while one of these is true: it follows from that
}

// Codes from which others follow.
var (
	noPortal = []protocol.Code{
		protocol.CodePortalUnreachable, protocol.CodePortalOutage, protocol.CodePortalCertificate, protocol.CodePortalReplyInvalid,
		protocol.CodePortalDNS, protocol.CodePortalTimeout, protocol.CodePortalInterrupted, protocol.CodePortalTLS,
		protocol.CodePortalWrongName, protocol.CodePortalExpired, protocol.CodePortalRedirect, protocol.CodePortalWebPage,
		protocol.CodePortalReplyTooLarge, protocol.CodeProxySignIn, protocol.CodeProxyRefused,
		protocol.CodeNetworkSignIn, protocol.CodePossiblyCaptive,
	}
	unusedConfig = []protocol.Code{
		protocol.CodeProfileRemoved, protocol.CodeConfigUnreadable, protocol.CodeFolderWritable, protocol.CodeConfigInvalid,
		protocol.CodeConfigUnknownKey, protocol.CodeConfigNestedKey, protocol.CodeConfigNoKeys,
	}
	noTools   = []protocol.Code{protocol.CodePDNotInstalled, protocol.CodeToolsUntrusted}
	noService = slices.Concat(noTools, []protocol.Code{protocol.CodeServiceDown})
)

// How long what tends to pass by itself may last: a laptop is carried from one
// network to another, and an application is updated or restarted.
const (
	roaming    = 10 * time.Minute
	restarting = 3 * time.Minute
)

// warnables is the table. Texts, severities and remedies are in the table of
// codes, which the portal shares.
var warnables = map[protocol.Code]warnable{
	protocol.CodePortalUnreachable: {after: roaming},
	protocol.CodePortalOutage:      {after: roaming},
	protocol.CodePortalDNS:         {after: roaming},
	protocol.CodePortalTimeout:     {after: roaming},
	protocol.CodePortalInterrupted: {after: roaming},
	protocol.CodeNotConfigured:     {explainedBy: unusedConfig},
	protocol.CodeNotEnrolled:       {after: restarting, explainedBy: noPortal},
	protocol.CodeHeadMissing:       {explainedBy: noPortal},
	protocol.CodeContentStale:      {explainedBy: noPortal},
	protocol.CodeContentExpiring:   {explainedBy: noPortal},
	protocol.CodeServiceDown:       {after: restarting, explainedBy: noTools},
	protocol.CodePDDeactivated:     {after: restarting}, // a key is exchanged by taking the old one away first
	protocol.CodeToolTimeout:       {after: restarting, explainedBy: noService},
	protocol.CodeOperationCanceled: {after: restarting, explainedBy: noService},
	protocol.CodeToolMissing:       {explainedBy: noTools},
	// Nothing is opened there any more.
	protocol.CodeIdentityUnreadable: {explainedBy: []protocol.Code{protocol.CodeFolderWritable}},
	protocol.CodeSnapshotsOld:       {explainedBy: []protocol.Code{protocol.CodeFolderWritable}},
	protocol.CodeToolFailed:         {after: restarting, explainedBy: noTools},
}

// tracked is how long a condition has been true.
type tracked struct {
	since time.Time // with Go's monotonic reading, unless a daemon before this one saw it
	shown bool      // to people, as more than something that may pass by itself
}

// trackedConditions are the conditions that are true, by what tells them apart.
type trackedConditions map[conditionKey]tracked

// track notes what is true now, and forgets what is not any more. What was shown
// once stays shown until it ends, whatever people ask meanwhile; what is true for
// as long as its row says, or when a person asked, is shown from now on.
func (t trackedConditions) track(active []activeCode, now time.Time, asked bool) trackedConditions {
	still := make(trackedConditions, len(active))
	for _, one := range active {
		condition, was := t[one.key()]
		if !was {
			condition.since = now
		}
		condition.shown = condition.shown || asked || now.Sub(condition.since) >= warnables[one.code].after
		still[one.key()] = condition
	}
	return still
}

// judge makes the daemon's health of what is true now, for people and for the
// portal. Its times keep Go's monotonic reading, so that a condition lasts as
// long as the Mac was awake with it, whatever the clock was set to.
func (l *loop) judge(status localapi.Status) localapi.Health {
	active := l.activeCodes(status)
	l.conditions = l.conditions.track(active, time.Now(), l.asked())
	l.active = active
	return diagnose(active, l.conditions)
}

// asked reports whether a person wanted the last pass, or the one that checks in,
// and wants to know its outcome. The portal hears the same.
func (l *loop) asked() bool {
	wanted := func(triggers []protocol.Trigger) bool { return trigger.SetOf(triggers).Has(trigger.Manual) }
	return wanted(l.last.record.Triggers) || l.exchanging != nil && wanted(l.exchanging.pass.Triggers)
}

// unexplained are the conditions that follow from no other.
func unexplained(active []activeCode) []activeCode {
	return slices.DeleteFunc(slices.Clone(active), func(one activeCode) bool {
		return slices.ContainsFunc(warnables[one.code].explainedBy, func(cause protocol.Code) bool {
			return slices.ContainsFunc(active, func(other activeCode) bool { return other.code == cause })
		})
	})
}

// diagnose turns what is true into conditions, worst first, each code once. One
// that is explained by another is left out; one that may pass by itself is
// pending at first, and does not make the daemon degraded.
func diagnose(active []activeCode, known trackedConditions) localapi.Health {
	health := localapi.Health{State: localapi.Healthy, Conditions: []localapi.Condition{}}
	for _, group := range groupByCode(unexplained(active)) {
		condition := group.condition(known)
		health.Conditions = append(health.Conditions, condition)
		if !condition.Pending {
			health.State = worseOf(health.State, stateOf[condition.Severity])
		}
	}
	return health
}

// conditionGroup are the conditions of one code: one cause, however many users or
// keys it is true of.
type conditionGroup []activeCode

// groupByCode gives the groups by severity, otherwise in the order in which they
// were found.
func groupByCode(active []activeCode) []conditionGroup {
	var groups []conditionGroup
	for _, one := range active {
		at := slices.IndexFunc(groups, func(group conditionGroup) bool { return group[0].code == one.code })
		if at < 0 {
			groups = append(groups, conditionGroup{one})
			continue
		}
		groups[at] = append(groups[at], one)
	}
	sort.SliceStable(groups, func(i, j int) bool { return groups[i].severity() < groups[j].severity() })
	return groups
}

// severity is where the group stands in the order of severities.
func (g conditionGroup) severity() int { return severityOrder[g[0].code.Text().Severity] }

// condition is the group as people see it: since when the first of it is true,
// and pending as long as all of it is.
func (g conditionGroup) condition(known trackedConditions) localapi.Condition {
	words := g[0].code.Text()
	condition := localapi.Condition{
		Code: g[0].code, Severity: words.Severity, Text: words.Text, Remedy: words.Remedy,
		Count: len(g.subjects()), Subject: listWords(g.subjects()), Detail: g.detail(), Pending: true,
	}
	for _, one := range g {
		mark := known[one.key()]
		if condition.Since.IsZero() || mark.since.Before(condition.Since) {
			condition.Since = mark.since
		}
		condition.Pending = condition.Pending && !mark.shown
	}
	condition.Since = condition.Since.UTC()
	return condition
}

func (g conditionGroup) subjects() (subjects []string) {
	for _, one := range g {
		if one.subject != "" {
			subjects = append(subjects, one.subject)
		}
	}
	return subjects
}

func (g conditionGroup) detail() string {
	var details []string
	for _, one := range g {
		if one.detail != "" && !slices.Contains(details, one.detail) {
			details = append(details, one.detail)
		}
	}
	return listWords(details)
}

// maxListed is how many subjects a condition names.
const maxListed = 5

// listWords is a list in words; a Mac of a lab may have hundreds of users.
func listWords(list []string) string {
	if more := len(list) - maxListed; more > 0 {
		return strings.Join(list[:maxListed], ", ") + fmt.Sprintf(" and %d more", more)
	}
	return strings.Join(list, ", ")
}

var severityOrder = map[protocol.Severity]int{protocol.Failure: 0, protocol.Warning: 1, protocol.Info: 2}

// stateOf says what a condition makes of the daemon's health; an explanation is
// nothing bad.
var stateOf = map[protocol.Severity]string{
	protocol.Info: localapi.Healthy, protocol.Warning: localapi.Degraded, protocol.Failure: localapi.Unhealthy,
}

func worseOf(a, b string) string {
	order := []string{localapi.Healthy, localapi.Degraded, localapi.Unhealthy}
	return order[max(slices.Index(order, a), slices.Index(order, b))]
}

// healthReport is how the agent is now, for the portal.
func (l *loop) healthReport() protocol.HealthReport {
	l.assemble() // judges anew
	return l.judgedHealth()
}

// tellHealth lets step ask for one more check-in when the health that was judged
// is another than before (H70), and reports whether it did: it changes by a clock
// as well as by a look. While an exchange runs, its end says what it could not tell.
func (l *loop) tellHealth() bool {
	before := l.healthNews
	l.healthNews = newsOfReport(l.judgedHealth())
	if before == "" || before == l.healthNews || l.exchanging != nil {
		return false
	}
	l.decide(trigger.HealthChanged{PortalBehind: l.isPortalBehind()})
	return true
}

// newsOfReport is what of the health is worth a check-in: the word and the codes,
// not how many users they are true of.
func newsOfReport(health protocol.HealthReport) string {
	news := health.State
	for _, condition := range health.Conditions {
		news += " " + string(condition.Code)
	}
	return news
}

// judgedHealth is the health that was judged last, for the portal. What keeps
// check-ins from arriving is not in it: a report that arrives disproves that.
func (l *loop) judgedHealth() protocol.HealthReport {
	report := protocol.HealthReport{State: protocol.Healthy}
	told := slices.DeleteFunc(unexplained(l.active), func(one activeCode) bool {
		return one.topic == topicPortal || one.topic == topicEnrollment || !l.conditions[one.key()].shown || one.code.Text().Severity == protocol.Info
	})
	for _, group := range groupByCode(told) {
		condition := group.condition(l.conditions)
		told := protocol.ReportedCondition{Code: condition.Code, Since: condition.Since.Truncate(time.Second), Count: condition.Count}
		if len(group) == 1 && group[0].topic != topicUser { // no names of people, see ReportedCondition
			told.Subject = condition.Subject
		}
		report.Conditions = append(report.Conditions, told)
		report.State = worseOf(report.State, stateOf[condition.Severity])
	}
	return report
}
