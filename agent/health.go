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
	code        protocol.Code
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
	noService = []protocol.Code{protocol.CodePDNotInstalled, protocol.CodeToolsUntrusted, protocol.CodeServiceDown}
	noFolder  = []protocol.Code{protocol.CodeFolderWritable} // nothing is opened there any more
)

// How long what tends to pass by itself may last: a laptop is carried from one
// network to another, and an application is updated or restarted.
const (
	roaming    = 10 * time.Minute
	restarting = 3 * time.Minute
)

// warnables is the table. Texts, severities and remedies are in the table of
// codes, which the portal shares.
var warnables = []warnable{
	{code: protocol.CodePortalUnreachable, after: roaming},
	{code: protocol.CodePortalOutage, after: roaming},
	{code: protocol.CodePortalDNS, after: roaming},
	{code: protocol.CodePortalTimeout, after: roaming},
	{code: protocol.CodePortalInterrupted, after: roaming},
	{code: protocol.CodeNotConfigured, explainedBy: unusedConfig},
	{code: protocol.CodeNotEnrolled, after: restarting, explainedBy: noPortal},
	{code: protocol.CodeHeadMissing, explainedBy: noPortal},
	{code: protocol.CodeContentStale, explainedBy: noPortal},
	{code: protocol.CodeContentExpiring, explainedBy: noPortal},
	{code: protocol.CodeServiceDown, after: restarting, explainedBy: noTools},
	{code: protocol.CodePDDeactivated, after: restarting}, // a key is exchanged by taking the old one away first
	{code: protocol.CodeToolTimeout, after: restarting, explainedBy: noService},
	{code: protocol.CodeOperationCanceled, after: restarting, explainedBy: noService},
	{code: protocol.CodeToolMissing, explainedBy: noTools},
	{code: protocol.CodeIdentityUnreadable, explainedBy: noFolder},
	{code: protocol.CodeSnapshotsOld, explainedBy: noFolder},
	{code: protocol.CodeToolFailed, after: restarting, explainedBy: noTools},
}

// atOnce is the row of a code that the table does not have.
var atOnce warnable

func warnableOf(code protocol.Code) *warnable {
	for i := range warnables {
		if warnables[i].code == code {
			return &warnables[i]
		}
	}
	return &atOnce
}

// track notes for how long is true what is true now, by what was before. What was
// shown once stays shown until it ends, whatever people ask meanwhile; what is true
// for as long as its row says, or when a person asked, is shown from now on.
func track(active, before []*activeCode, now time.Time, asked bool) {
	for _, one := range active {
		one.Since, one.shown = now, false
		for _, was := range before {
			if was.isSame(one) {
				one.Since, one.shown = was.Since, was.shown
				break
			}
		}
		one.shown = one.shown || asked || now.Sub(one.Since) >= warnableOf(one.Code).after
	}
}

// judge makes the daemon's health of what is true now, for people and for the
// portal. Its times keep Go's monotonic reading, so that a condition lasts as
// long as the Mac was awake with it, whatever the clock was set to.
func (l *loop) judge(status *localapi.Status) localapi.Health {
	active := l.activeCodes(status)
	track(active, l.active, time.Now(), l.asked())
	l.active = active
	return diagnose(active)
}

// asked reports whether a person wanted the last pass, or the one that checks in,
// and wants to know its outcome. The portal hears the same.
func (l *loop) asked() bool {
	wanted := func(triggers []protocol.Trigger) bool { return trigger.SetOf(triggers).Has(trigger.Manual) }
	return wanted(l.last.record.Triggers) || l.exchanging != nil && wanted(l.exchanging.pass.Triggers)
}

// isExplained reports whether a condition follows from another that is true.
func (c *activeCode) isExplained(active []*activeCode) bool {
	causes := warnableOf(c.Code).explainedBy
	for _, other := range active {
		if slices.Contains(causes, other.Code) {
			return true
		}
	}
	return false
}

// unexplained are the conditions that follow from no other.
func unexplained(active []*activeCode) (left []*activeCode) {
	for _, one := range active {
		if !one.isExplained(active) {
			left = append(left, one)
		}
	}
	return left
}

// diagnose turns what is true into conditions, worst first, each code once. One
// that is explained by another is left out; one that may pass by itself is
// pending at first, and does not make the daemon degraded.
func diagnose(active []*activeCode) localapi.Health {
	health := localapi.Health{State: localapi.Healthy, Conditions: []localapi.Condition{}}
	for _, group := range groupByCode(unexplained(active)) {
		condition := group.condition()
		health.Conditions = append(health.Conditions, *condition)
		if !condition.Pending {
			health.State = worseOf(health.State, stateOf(condition.Severity))
		}
	}
	return health
}

// conditionGroup are the conditions of one code: one cause, however many users or
// keys it is true of.
type conditionGroup []*activeCode

// groupByCode gives the groups by severity, otherwise in the order in which they
// were found.
func groupByCode(active []*activeCode) []conditionGroup {
	var groups []conditionGroup
	for _, one := range active {
		at := 0
		for at < len(groups) && groups[at][0].Code != one.Code {
			at++
		}
		if at == len(groups) {
			groups = append(groups, nil)
		}
		groups[at] = append(groups[at], one)
	}
	sort.SliceStable(groups, func(i, j int) bool { return groups[i].severity() < groups[j].severity() })
	return groups
}

// severity is where the group stands in the order of severities.
func (g conditionGroup) severity() int { return severityOf(g[0].Code.Text().Severity) }

// condition is the group as people see it: since when the first of it is true,
// and pending as long as all of it is.
func (g conditionGroup) condition() *localapi.Condition {
	words := g[0].Code.Text()
	condition := &localapi.Condition{
		Code: g[0].Code, Severity: words.Severity, Text: words.Text, Remedy: words.Remedy,
		Count: len(g.subjects()), Subject: listWords(g.subjects()), Detail: g.detail(), Pending: true,
	}
	for _, one := range g {
		if condition.Since.IsZero() || one.Since.Before(condition.Since) {
			condition.Since = one.Since
		}
		condition.Pending = condition.Pending && !one.shown
	}
	condition.Since = condition.Since.UTC()
	return condition
}

func (g conditionGroup) subjects() (subjects []string) {
	for _, one := range g {
		if one.Subject != "" {
			subjects = append(subjects, one.Subject)
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

// severityOf is where a severity stands among them, the worst first.
func severityOf(severity protocol.Severity) int {
	return slices.Index([]protocol.Severity{protocol.Failure, protocol.Warning, protocol.Info}, severity)
}

// stateOf says what a condition makes of the daemon's health; an explanation is
// nothing bad.
func stateOf(severity protocol.Severity) string {
	switch severity {
	case protocol.Failure:
		return localapi.Unhealthy
	case protocol.Warning:
		return localapi.Degraded
	}
	return localapi.Healthy
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
	for i := range health.Conditions {
		news += " " + string(health.Conditions[i].Code)
	}
	return news
}

// judgedHealth is the health that was judged last, for the portal. What keeps
// check-ins from arriving is not in it: a report that arrives disproves that.
func (l *loop) judgedHealth() protocol.HealthReport {
	report := protocol.HealthReport{State: protocol.Healthy}
	var told []*activeCode
	for _, one := range unexplained(l.active) {
		if one.Topic != topicPortal && one.Topic != topicEnrollment && one.shown && one.Code.Text().Severity != protocol.Info {
			told = append(told, one)
		}
	}
	for _, group := range groupByCode(told) {
		condition := group.condition()
		told := protocol.ReportedCondition{Code: condition.Code, Since: condition.Since.Truncate(time.Second), Count: condition.Count}
		if len(group) == 1 && group[0].Topic != topicUser { // no names of people, see ReportedCondition
			told.Subject = condition.Subject
		}
		report.Conditions = append(report.Conditions, told)
		report.State = worseOf(report.State, stateOf(condition.Severity))
	}
	return report
}
