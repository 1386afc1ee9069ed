package agent

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"prlagent/agent/checkin"
	"prlagent/agent/localapi"
	"prlagent/agent/policy"
	"prlagent/agent/protocol"
)

// topic is what a condition is about. It decides what tells two conditions apart
// and what their events are called.
type topic string

const (
	topicMac           topic = ""
	topicConfiguration topic = "configuration"
	topicProfile       topic = "profile" // it is not there
	topicEnrollment    topic = "enrollment"
	topicPortal        topic = "portal"   // check-ins do not arrive
	topicExchange      topic = "exchange" // they do, and something else is wrong: content, clocks, room
	topicUser          topic = "user"     // their list cannot be read
	topicHold          topic = "hold"     // a machine that is to stay suspended
)

// activeCode is a code that is true now.
type activeCode struct {
	code    protocol.Code
	topic   topic
	subject string // the user, key or folder that it is true of; empty = of the Mac
	uid     uint32 // of the user
	detail  string // says more
}

// conditionKey tells conditions apart for as long as they last.
type conditionKey struct {
	topic   topic
	code    protocol.Code // empty where the reason may change while the trouble stays
	subject string
}

// key is what stays the same while a condition lasts. Check-ins that fail now for
// this reason and then for that one have failed since the first; so has the list
// of a user.
func (c activeCode) key() conditionKey {
	switch c.topic {
	case topicPortal, topicProfile:
		return conditionKey{topic: c.topic}
	case topicUser:
		return conditionKey{topic: c.topic, subject: fmt.Sprint(c.uid)}
	}
	key := conditionKey{c.topic, c.code, c.subject}
	if c.uid != 0 { // an account is its uid
		key.subject = fmt.Sprint(c.uid)
	}
	return key
}

// activeCodes gathers the codes that are true now, each once for each subject.
func (l *loop) activeCodes(status localapi.Status) []activeCode {
	found := &codeList{}
	found.addMac(storeCode(l.agent.opened.Outcome), status.Store.Reason)
	for _, folder := range l.known.unsafe {
		path, _, _ := strings.Cut(folder, ": ")
		found.add(activeCode{code: protocol.CodeFolderWritable, subject: path, detail: folder})
	}
	found.addProblems(status.Config)
	l.addPortalCodes(found, status)
	found.addMac(certificateCode(l.known.configuration.ServerCertificates, wallClock()))
	l.addContentCodes(found, status)
	if l.known.look.At.IsZero() {
		found.addMac(protocol.CodeNotLookedYet, "")
		for _, before := range l.troubles.ofTopic(topicMac, topicUser) {
			found.add(before)
		}
	} else {
		found.addUsers(status.Users)
		found.addMac(l.known.look.Code, l.known.look.Detail)
		found.addMac(licenseCode(status.Product), "")
		found.addMac(identityCode(status.Host), "")
	}
	if l.known.licensing != "" {
		found.addMac(protocol.CodeProfilesDiffer, l.known.licensing)
	}
	if released := status.LocksReleased; released != nil {
		found.addMac(protocol.CodeLocksReleased, "by "+released.By)
	}
	found.addHolds(status.Holds)
	if commands := status.Commands; commands != nil {
		found.addMac(commands.RecordCode, "")
	}
	found.addMac(l.failed, "")
	found.addMac(l.agent.eventLog.failure(), "events")
	if l.snapshots.old {
		found.addMac(protocol.CodeSnapshotsOld, "")
	}
	return found.codes
}

// addContentCodes adds what is wrong with the policy. That its head runs out is
// true by itself, and of no exchange.
func (l *loop) addContentCodes(found *codeList, status localapi.Status) {
	content := l.portal.client.Content()
	switch expires := content.ExpiresAt.UTC().Format(time.RFC3339); {
	case content.Expired:
		found.add(activeCode{code: protocol.CodeContentStale, detail: "since " + expires})
	case content.ExpiresSoon:
		found.add(activeCode{code: protocol.CodeContentExpiring, detail: "at " + expires})
	}
	one := activeCode{code: status.Policy.Code, topic: topicExchange}
	if content.Source == policy.FromConfiguration || l.known.configuration.Policy.Refused {
		one.topic, one.subject = topicConfiguration, "Policy"
	}
	if one.code != protocol.CodeContentStale || !content.Expired {
		found.add(one)
	}
}

// codeList are codes that are true, each once for each subject.
type codeList struct{ codes []activeCode }

func (f *codeList) add(one activeCode) {
	if one.code == "" {
		return
	}
	for _, known := range f.codes {
		if known.key() == one.key() {
			return
		}
	}
	f.codes = append(f.codes, one)
}

// addMac adds a code of the Mac itself, unless it was said of some part of it.
func (f *codeList) addMac(code protocol.Code, detail string) {
	for _, known := range f.codes {
		if known.code == code {
			return
		}
	}
	f.add(activeCode{code: code, detail: detail})
}

// addProblems adds what is wrong with the configuration. A folder that others
// can change is said by its own name, once.
func (f *codeList) addProblems(config localapi.ConfigStatus) {
	for _, problem := range config.Problems {
		switch problem.Code {
		case protocol.CodeFolderWritable:
		case protocol.CodeProfileMissing, protocol.CodeProfileRemoved:
			f.add(activeCode{code: problem.Code, topic: topicProfile, detail: problem.Key + ": " + problem.Text})
		default:
			f.add(activeCode{code: problem.Code, topic: topicConfiguration, subject: problem.Key, detail: problem.Key + ": " + problem.Text})
		}
	}
	if config.LocallyManaged {
		f.addMac(protocol.CodeLocallyManaged, "")
	}
}

// addUsers adds what the accounts lack. Those whose changes are found by looks
// only are told as one: a Mac of a lab may have hundreds.
func (f *codeList) addUsers(users []protocol.UserLook) {
	unheard := 0
	for _, user := range users {
		one := activeCode{code: user.Code, subject: user.Name, uid: user.UID, detail: user.Who()}
		switch {
		case user.Code == protocol.CodeStreamLimit:
			unheard++
			continue
		case user.IsLookedAt() && !user.IsListed():
			one.topic = topicUser
		}
		f.add(one)
	}
	if unheard > 0 {
		f.add(activeCode{code: protocol.CodeStreamLimit, subject: fmt.Sprintf("%d users", unheard)})
	}
}

// enrollmentCodes are the codes of what stands before the first exchange.
var enrollmentCodes = map[string]protocol.Code{
	checkin.EnrollmentNone:    protocol.CodeNotEnrolled,
	checkin.EnrollmentPending: protocol.CodeEnrollmentPending,
}

// refusals are the answers of a portal that does not take this Mac, or not yet:
// each is a state by itself, and not a check-in that did not arrive.
var refusals = map[protocol.Code]bool{
	protocol.CodeEnrollmentPending: true, protocol.CodeEnrollmentRefused: true, protocol.CodeEnrollmentClosed: true,
	protocol.CodeDeviceRevoked: true, protocol.CodeDeviceRetired: true, protocol.CodeDuplicateIdentity: true,
	protocol.CodeNotEnrolled: true,
}

// addPortalCodes adds how it stands with the portal: why check-ins fail, else
// what the last one brought, else why there is no enrollment. Whether they fail
// is known over a restart of the daemon, and over a change of the configuration.
func (l *loop) addPortalCodes(found *codeList, status localapi.Status) {
	portal := status.Portal
	if l.known.configuration.ServerURL == nil {
		if status.PolicyInForce.Source != "" {
			return // a Mac of which nobody wants reports
		}
		found.add(activeCode{code: protocol.CodeNotConfigured, topic: topicEnrollment})
		return
	}
	if !l.exchanged || l.failing != "" { // what the last check-in that arrived brought
		for _, before := range l.troubles.ofTopic(topicExchange) {
			found.add(before)
		}
	}
	one := activeCode{topic: topicExchange, code: cmp.Or(portal.LastCode, l.failing, enrollmentCodes[portal.Enrollment]), detail: portal.LastDetail}
	switch {
	case refusals[one.code]:
		one.topic = topicEnrollment
	case l.failing != "":
		one.topic = topicPortal
	}
	found.add(one)
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
