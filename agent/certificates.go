package agent

import (
	"crypto/x509"
	"time"

	"prlagent/agent/protocol"
)

// expiryWarning is how long before the end of the last certificate a person is
// told: the portal's owner makes and distributes a new profile in that time.
const expiryWarning = 30 * 24 * time.Hour

// certificateCode says, and when, that no certificate that a portal of this Mac
// could show will be valid any more. Without certificates of the configuration the
// system's roots decide, and it says nothing.
func certificateCode(trusted []*x509.Certificate, now time.Time) (code protocol.Code, detail string) {
	var end time.Time
	for _, certificate := range trusted {
		if certificate.NotAfter.After(end) {
			end = certificate.NotAfter
		}
	}
	if len(trusted) == 0 || end.Sub(now) > expiryWarning {
		return "", ""
	}
	return protocol.CodePortalExpiring, "until " + end.UTC().Format(time.DateOnly)
}
