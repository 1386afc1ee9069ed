package agent

import (
	"cmp"
	"fmt"
	"slices"
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

// activeCode is a code that is true now. As JSON it is what is kept of a trouble.
type activeCode struct {
	Code    protocol.Code `json:"code"`
	Topic   topic         `json:"topic,omitempty"`
	Subject string        `json:"subject,omitempty"` // the user, key or folder that it is true of; empty = of the Mac
	UID     uint32        `json:"uid,omitempty"`     // of the user
	// Since is when it was first true: with Go's monotonic reading, unless a daemon
	// before this one saw it.
	Since time.Time `json:"since"`

	detail string // says more
	shown  bool   // to people, as more than something that may pass by itself
}

// isSame reports whether two are one condition that lasts. Check-ins that fail now
// for this reason and then for that one have failed since the first; so has the
// list of a user. An account is its uid.
func (c *activeCode) isSame(other *activeCode) bool {
	switch {
	case c.Topic != other.Topic:
		return false
	case c.Topic == topicPortal, c.Topic == topicProfile:
		return true
	case c.Topic == topicUser:
		return c.UID == other.UID
	}
	return c.Code == other.Code && c.UID == other.UID && (c.UID != 0 || c.Subject == other.Subject)
}

// name is what is the same of two for which isSame is true, as a key of the store.
func (c *activeCode) name() string {
	code, subject := string(c.Code), c.Subject
	if c.UID != 0 || c.Topic == topicUser {
		subject = fmt.Sprint(c.UID)
	}
	switch c.Topic {
	case topicPortal, topicProfile:
		code, subject = "", ""
	case topicUser:
		code = ""
	}
	return string(c.Topic) + "/" + code + "/" + subject
}

// activeCodes gathers the codes that are true now, each once for each subject.
func (l *loop) activeCodes(status *localapi.Status) []*activeCode {
	found := &codeList{}
	found.addMac(storeCode(l.agent.opened.Outcome), status.Store.Reason)
	for _, folder := range l.known.unsafe {
		path, _, _ := strings.Cut(folder, ": ")
		found.add(&activeCode{Code: protocol.CodeFolderWritable, Subject: path, detail: folder})
	}
	found.addProblems(&status.Config)
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
		found.addMac(licenseCode(&status.Product), "")
		found.addMac(identityCode(&status.Host), "")
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
func (l *loop) addContentCodes(found *codeList, status *localapi.Status) {
	content := l.portal.client.Content()
	switch expires := content.ExpiresAt.UTC().Format(time.RFC3339); {
	case content.Expired:
		found.add(&activeCode{Code: protocol.CodeContentStale, detail: "since " + expires})
	case content.ExpiresSoon:
		found.add(&activeCode{Code: protocol.CodeContentExpiring, detail: "at " + expires})
	}
	one := &activeCode{Code: status.Policy.Code, Topic: topicExchange}
	if content.Source == policy.FromConfiguration || l.known.configuration.Policy.Refused {
		one.Topic, one.Subject = topicConfiguration, "Policy"
	}
	if one.Code != protocol.CodeContentStale || !content.Expired {
		found.add(one)
	}
}

// codeList are codes that are true, each once for each subject.
type codeList struct{ codes []*activeCode }

func (f *codeList) add(one *activeCode) {
	if one.Code == "" {
		return
	}
	for _, known := range f.codes {
		if known.isSame(one) {
			return
		}
	}
	f.codes = append(f.codes, one)
}

// addMac adds a code of the Mac itself, unless it was said of some part of it.
func (f *codeList) addMac(code protocol.Code, detail string) {
	for _, known := range f.codes {
		if known.Code == code {
			return
		}
	}
	f.add(&activeCode{Code: code, detail: detail})
}

// addProblems adds what is wrong with the configuration. A folder that others
// can change is said by its own name, once.
func (f *codeList) addProblems(config *localapi.ConfigStatus) {
	for i := range config.Problems {
		problem := &config.Problems[i]
		switch problem.Code {
		case protocol.CodeFolderWritable:
		case protocol.CodeProfileMissing, protocol.CodeProfileRemoved:
			f.add(&activeCode{Code: problem.Code, Topic: topicProfile, detail: problem.Key + ": " + problem.Text})
		default:
			f.add(&activeCode{Code: problem.Code, Topic: topicConfiguration, Subject: problem.Key, detail: problem.Key + ": " + problem.Text})
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
	for i := range users {
		user := &users[i]
		one := &activeCode{Code: user.Code, Subject: user.Name, UID: user.UID, detail: user.Who()}
		switch {
		case user.Code == protocol.CodeStreamLimit:
			unheard++
			continue
		case user.IsLookedAt() && !user.IsListed():
			one.Topic = topicUser
		}
		f.add(one)
	}
	if unheard > 0 {
		f.add(&activeCode{Code: protocol.CodeStreamLimit, Subject: fmt.Sprintf("%d users", unheard)})
	}
}

// enrollmentCode is the code of what stands before the first exchange.
func enrollmentCode(enrollment string) protocol.Code {
	switch enrollment {
	case checkin.EnrollmentNone:
		return protocol.CodeNotEnrolled
	case checkin.EnrollmentPending:
		return protocol.CodeEnrollmentPending
	}
	return ""
}

// refusals are the answers of a portal that does not take this Mac, or not yet:
// each is a state by itself, and not a check-in that did not arrive.
var refusals = []protocol.Code{
	protocol.CodeEnrollmentPending, protocol.CodeEnrollmentRefused, protocol.CodeEnrollmentClosed,
	protocol.CodeDeviceRevoked, protocol.CodeDeviceRetired, protocol.CodeDuplicateIdentity,
	protocol.CodeNotEnrolled,
}

// addPortalCodes adds how it stands with the portal: why check-ins fail, else
// what the last one brought, else why there is no enrollment. Whether they fail
// is known over a restart of the daemon, and over a change of the configuration.
func (l *loop) addPortalCodes(found *codeList, status *localapi.Status) {
	portal := &status.Portal
	if l.known.configuration.ServerURL == nil {
		if status.PolicyInForce.Source != "" {
			return // a Mac of which nobody wants reports
		}
		found.add(&activeCode{Code: protocol.CodeNotConfigured, Topic: topicEnrollment})
		return
	}
	if !l.exchanged || l.failing != "" { // what the last check-in that arrived brought
		for _, before := range l.troubles.ofTopic(topicExchange) {
			found.add(before)
		}
	}
	one := &activeCode{Topic: topicExchange, Code: cmp.Or(portal.LastCode, l.failing, enrollmentCode(portal.Enrollment)), detail: portal.LastDetail}
	switch {
	case slices.Contains(refusals, one.Code):
		one.Topic = topicEnrollment
	case l.failing != "":
		one.Topic = topicPortal
	}
	found.add(one)
}

// identityCode is the code of a Mac that lacks what it is known by.
func identityCode(host *protocol.Host) protocol.Code {
	switch {
	case host.HardwareUUID == "":
		return protocol.CodeMacUnidentified
	case host.Serial == "":
		return protocol.CodeNoSerial
	}
	return ""
}

// licenseCode is the code of a product that is installed and not activated.
func licenseCode(product *protocol.Product) protocol.Code {
	if product.Installed && product.State == protocol.ProductDeactivated {
		return protocol.CodePDDeactivated
	}
	return ""
}
