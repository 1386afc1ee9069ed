package agent

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"prlagent/agent/checkin"
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
	noTools = []protocol.Code{protocol.CodePDNotInstalled, protocol.CodeToolsUntrusted}
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
	protocol.CodeServiceDown:       {after: restarting, explainedBy: noTools},
	protocol.CodePDDeactivated:     {after: restarting}, // a key is exchanged by taking the old one away first
	protocol.CodeToolTimeout:       {after: restarting, explainedBy: slices.Concat(noTools, []protocol.Code{protocol.CodeServiceDown})},
	protocol.CodeOperationCanceled: {after: restarting, explainedBy: slices.Concat(noTools, []protocol.Code{protocol.CodeServiceDown})},
	protocol.CodeToolMissing:       {explainedBy: noTools},
	// Nothing is opened there any more.
	protocol.CodeIdentityUnreadable: {explainedBy: []protocol.Code{protocol.CodeFolderWritable}},
	protocol.CodeSnapshotsOld:       {explainedBy: []protocol.Code{protocol.CodeFolderWritable}},
	protocol.CodeToolFailed:         {after: restarting, explainedBy: noTools},
}

// activeCode is a code that is true now; detail tells those of one code apart.
type activeCode struct {
	code   protocol.Code
	detail string
}

// judge makes the daemon's health of what is true now. Its times keep Go's
// monotonic reading, so that a condition lasts as long as the Mac was awake with
// it, whatever the clock was set to.
func (l *loop) judge(status localapi.Status) localapi.Health {
	now := time.Now()
	activeCodes := l.activeCodes(status)
	l.since = trackSince(l.since, activeCodes, now)
	return diagnose(activeCodes, l.since, now, l.asked())
}

// asked reports whether a person wanted the last pass, and wants to know its
// outcome.
func (l *loop) asked() bool {
	return trigger.SetOf(l.last.record.Triggers).Has(trigger.Manual)
}

// diagnose turns activeCodes into conditions, worst first. One that is
// explained by another is left out; one that may pass by itself is pending at
// first, and does not make the daemon degraded.
func diagnose(activeCodes []activeCode, since map[activeCode]time.Time, now time.Time, asked bool) localapi.Health {
	health := localapi.Health{State: localapi.Healthy, Conditions: []localapi.Condition{}}
	isTrue := func(code protocol.Code) bool {
		return slices.ContainsFunc(activeCodes, func(other activeCode) bool { return other.code == code })
	}
	for _, one := range activeCodes {
		row, text := warnables[one.code], one.code.Text()
		if slices.ContainsFunc(row.explainedBy, isTrue) {
			continue
		}
		pending := !asked && now.Sub(since[one]) < row.after
		health.Conditions = append(health.Conditions, localapi.Condition{
			Code: one.code, Severity: text.Severity, Text: text.Text, Remedy: text.Remedy, Detail: one.detail,
			Since: since[one].UTC(), Pending: pending,
		})
		if text.Severity != protocol.Info && !pending {
			health.State = localapi.Degraded
		}
	}
	slices.SortStableFunc(health.Conditions, func(a, b localapi.Condition) int {
		return cmp.Compare(severityOrder[a.Severity], severityOrder[b.Severity])
	})
	return health
}

var severityOrder = map[protocol.Severity]int{protocol.Failure: 0, protocol.Warning: 1, protocol.Info: 2}

// trackSince keeps when each activeCode was first true, and forgets those that
// are not.
func trackSince(before map[activeCode]time.Time, activeCodes []activeCode, now time.Time) map[activeCode]time.Time {
	still := make(map[activeCode]time.Time, len(activeCodes))
	for _, one := range activeCodes {
		still[one] = now
		if first, was := before[one]; was {
			still[one] = first
		}
	}
	return still
}

// activeCodes gathers the codes that are true now, each once.
func (l *loop) activeCodes(status localapi.Status) []activeCode {
	var found []activeCode
	add := func(code protocol.Code, detail string) {
		known := func(one activeCode) bool { return one.code == code && (one.detail == detail || detail == "") }
		if code != "" && !slices.ContainsFunc(found, known) {
			found = append(found, activeCode{code, detail})
		}
	}
	add(storeCode(l.agent.opened.Outcome), status.Store.Reason)
	for _, folder := range l.known.unsafe {
		add(protocol.CodeFolderWritable, folder)
	}
	for _, problem := range status.Config.Problems {
		if problem.Code != protocol.CodeFolderWritable { // said by its folder, once
			add(problem.Code, problem.Key+": "+problem.Text)
		}
	}
	if status.Config.LocallyManaged {
		add(protocol.CodeLocallyManaged, "")
	}
	add(portalCode(status.Portal), status.Portal.LastDetail)
	add(certificateCode(l.known.configuration.ServerCertificates, wallClock()))
	add(status.Policy.Code, "")
	if l.known.look.At.IsZero() {
		add(protocol.CodeNotLookedYet, "")
	} else {
		for _, one := range userCodes(status.Users) {
			add(one.code, one.detail)
		}
		add(l.known.look.Code, l.known.look.Detail)
		add(licenseCode(status.Product), "")
		add(identityCode(status.Host), "")
	}
	add(l.failed, "")
	add(l.agent.eventLog.failure(), "events")
	if l.snapshots.old {
		add(protocol.CodeSnapshotsOld, "")
	}
	return found
}

// userCodes are what the accounts lack. Those whose changes are found by looks
// only are told as one: a Mac of a lab may have hundreds.
func userCodes(users []protocol.UserLook) []activeCode {
	var found []activeCode
	unheard := 0
	for _, user := range users {
		switch user.Code {
		case "":
		case protocol.CodeStreamLimit:
			unheard++
		default:
			found = append(found, activeCode{user.Code, user.Who()})
		}
	}
	if unheard > 0 {
		found = append(found, activeCode{protocol.CodeStreamLimit, fmt.Sprintf("%d users", unheard)})
	}
	return found
}

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

// identityCode is the code of a Mac that lacks what it is known by.
func identityCode(host protocol.Host) protocol.Code {
	switch {
	case host.HardwareUUID == "":
		return protocol.CodeMacUnidentified
	case host.Serial == "":
		return protocol.CodeNoSerial
	}
	return ""
}

// licenseCode is the code of a product that is installed and not activated.
func licenseCode(product protocol.Product) protocol.Code {
	if product.Installed && product.State == protocol.ProductDeactivated {
		return protocol.CodePDDeactivated
	}
	return ""
}
