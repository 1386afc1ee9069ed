package agentapi_test

import (
	"net/http"
	"testing"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/portaltest"
)

// One behind an address that it shares with Macs sends what proves nothing, as
// many times as its address may enroll Macs.
func TestH56_GarbageLocksOutNoMacBehindTheSameAddress(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	known := portaltest.Enrolled(t, portal)
	stranger := portaltest.NewMac(t, portal, "C02STRANGER")
	stranger.Secret = "guessed"
	attempts := portal.Config.Enrollments.PerSource
	if attempts < 600 {
		t.Fatalf("an address may enroll %d Macs in an hour, the attack had 600", attempts)
	}
	for i := range attempts {
		if i%100 == 0 {
			portaltest.WantProblem(t, stranger.SendEnrollment(t, stranger.Enrollment()), protocol.ProblemEnrollmentRefused)
		} else {
			portaltest.WantProblem(t, portal.Call(t, http.MethodPost, "/v1/enroll", []byte("x")), protocol.ProblemInvalidRequest)
		}
	}
	portaltest.WantProblem(t, portal.Call(t, http.MethodPost, "/v1/enroll", []byte("x")), protocol.ProblemRateLimited)
	portaltest.WantProblem(t, stranger.SendEnrollment(t, stranger.Enrollment()), protocol.ProblemRateLimited)

	portaltest.NewMac(t, portal, "C02BBBBBBBBB").Enroll(t, http.StatusCreated) // the right secret
	known.Secret = "rotated away"
	known.Enroll(t, http.StatusCreated) // its key
}
