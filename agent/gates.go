package agent

import (
	"prlagent/agent/config"
	"prlagent/agent/protocol"
	"prlagent/prlctl"
)

// vendorGate is the first version that the vendor's portal manages
// (conformance TRG-15).
var vendorGate = prlctl.Version{Major: 20, Minor: 1}

// gated is an exchange on a Mac that is kept out of every policy.
type gated struct{ exchanger }

// gate keeps a Mac with an old product out of policies where the profile asks
// for the vendor's gates. Without them, and where the version is not known,
// nothing is gated: what a version can do is probed (H43).
func gate(client exchanger, c config.Config, product protocol.Product) exchanger {
	version, err := prlctl.ParseVersion(product.Version)
	if !c.VendorGates || err != nil || version.Compare(vendorGate) >= 0 {
		return client
	}
	return gated{client}
}

// Policy is what was fetched, and that nothing of it is carried out. Content
// that is refused stays refused: no gate hides an attack.
func (g gated) Policy() protocol.PolicyReport {
	report := g.exchanger.Policy()
	if report.State == protocol.PolicyFailed {
		return report
	}
	return protocol.PolicyReport{
		State: protocol.PolicyNotApplicable, Code: protocol.CodePDVersionTooOld,
		PolicyID: report.PolicyID, Revision: report.Revision, SHA256: report.SHA256, HeadVersion: report.HeadVersion,
	}
}
