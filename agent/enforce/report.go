// Package enforce carries the group's policy out on this Mac, and owns the word
// about it: what the portal and the people at the Mac are told of the policy is
// made here.
package enforce

import (
	"cmp"

	"prlagent/agent/policy"
	"prlagent/agent/protocol"
	"prlagent/prlctl"
)

// Gates are what keeps a Mac out of every policy.
type Gates struct {
	Vendor         bool   // the profile asks for the vendor's own version limits
	ProductVersion string // of the installed product; empty = not known
}

// vendorGate is the first version that the vendor's portal manages
// (conformance TRG-15).
var vendorGate = prlctl.Version{Major: 20, Minor: 1}

// closed reports whether a Mac with an old product is kept out. Without the
// vendor's gates, and where the version is not known, nothing is gated: what a
// version can do is probed (H43).
func (g Gates) closed() bool {
	version, err := prlctl.ParseVersion(g.ProductVersion)
	return g.Vendor && err == nil && version.Compare(vendorGate) < 0
}

// Report says what there is of a policy, whatever becomes of its settings
// (Enforcer.Report): one that was verified is fetched, and stale once its head has
// expired. Content that was refused stays refused: no gate hides an attack.
func Report(content *policy.Content, gates Gates) protocol.PolicyReport {
	report := fetched(content)
	if report.State == protocol.PolicyFailed || !gates.closed() {
		return report
	}
	return protocol.PolicyReport{
		State: protocol.PolicyNotApplicable, Code: protocol.CodePDVersionTooOld,
		PolicyID: report.PolicyID, Revision: report.Revision, SHA256: report.SHA256, HeadVersion: report.HeadVersion,
	}
}

// fetched reports what there is of content: none, fetched, or stale, with the
// reason why there is nothing newer; failed where nothing good was ever found. A
// released policy is none, with the head's version.
func fetched(content *policy.Content) protocol.PolicyReport {
	report := protocol.PolicyReport{State: protocol.PolicyNone, Code: content.Code, HeadVersion: content.HeadVersion}
	switch {
	case content.Unreadable, !content.Verified && content.Code != "" && content.Code != protocol.CodeNoPolicyKeys:
		report.State = protocol.PolicyFailed
		return report
	case !content.Verified || content.Released:
		return report
	}
	report.State = protocol.PolicyFetched
	report.PolicyID, report.Revision, report.SHA256 = content.Pointer.PolicyID, content.Pointer.Revision, content.Pointer.SHA256
	if content.Expired {
		report.State = protocol.PolicyStale
		report.Code = cmp.Or(report.Code, protocol.CodeContentStale)
	}
	return report
}
