package agentapi_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/portaltest"
	"prlagent/cmd/prlportal/site"
	"prlagent/cmd/prlportal/storage"
)

// wantUntouched fails unless the Mac's token works, its rows are kept and no
// other token was given out.
func wantUntouched(t *testing.T, portal *portaltest.Portal, m *portaltest.Mac) {
	t.Helper()
	device, err := portal.Store.Device(t.Context(), storage.ByID(m.DeviceID))
	if err != nil || len(device.Tokens) != 1 {
		t.Errorf("device has %d tokens, %v, want the Mac's own", len(device.Tokens), err)
	}
	m.Checkin(t)
	if rows := portal.VMs(t); len(rows) != 1 {
		t.Errorf("%d rows are left", len(rows))
	}
}

// An envelope that somebody kept, posted again: at once, the next day, and after
// 400 days.
func TestH54_AReplayedEnrollmentChangesNothing(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.NewMac(t, portal, "C02AAAAAAAAA")
	caught := m.EnrollmentBody(t, m.Enrollment())
	send := func() portaltest.Answer { return portal.Call(t, http.MethodPost, "/v1/enroll", caught) }
	if got := send(); got.Status != http.StatusCreated {
		t.Fatalf("the enrollment itself: %d %s", got.Status, got.Body)
	}
	m.Enroll(t, http.StatusCreated)
	m.Checkin(t)
	got := send()
	portaltest.WantProblem(t, got, protocol.ProblemEnrollmentReplay)
	problem, _ := protocol.ParseProblem(got.Status, got.Header.Get("Content-Type"), got.Body)
	if at := time.UnixMilli(int64(problem.Expected)); at.Sub(portaltest.Morning).Abs() > time.Second {
		t.Errorf("expected is %v, want just after the last one", at)
	}
	wantUntouched(t, portal, m)
	for _, days := range []int{2, 398} {
		portal.Clock.Advance(time.Duration(days) * 24 * time.Hour)
		portaltest.WantProblem(t, send(), protocol.ProblemEnrollmentStale)
		wantUntouched(t, portal, m)
	}
	m.Enroll(t, http.StatusCreated) // the Mac itself is let in
}

// What a portal received is worth nothing at another one.
func TestH54_AProofForAnotherPortalIsWorthNothing(t *testing.T) {
	t.Parallel()
	ours := portaltest.New(t)
	m := portaltest.NewMac(t, ours, "C02AAAAAAAAA")
	m.Enroll(t, http.StatusCreated)
	m.Checkin(t)
	for name, spoil := range map[string]func(*protocol.EnrollRequest){
		"another address":            func(r *protocol.EnrollRequest) { r.Origin = "https://evil.example:8443" },
		"another port":               func(r *protocol.EnrollRequest) { r.Origin = "https://localhost:9443" },
		"another site at an address": func(r *protocol.EnrollRequest) { r.SiteID = uuid.NewString() },
		"no address":                 func(r *protocol.EnrollRequest) { r.Origin = "" },
		"the name of no portal":      func(r *protocol.EnrollRequest) { r.Origin = "localhost:8443" },
	} {
		request := m.Enrollment()
		spoil(&request)
		got := ours.Call(t, http.MethodPost, "/v1/enroll", m.EnrollmentBody(t, request))
		if got.Problem(t) != protocol.ProblemWrongPortal {
			t.Errorf("%s: answer is %d %s", name, got.Status, got.Body)
		}
	}
	wantUntouched(t, ours, m)
}

// A profile from before names no site; a portal behind a proxy has the proxy's
// address too.
func TestH54_WhomAProofMayName(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t, func(config *site.Config) { config.Origins = []string{"https://Portal.Example"} })
	for name, spoil := range map[string]func(*protocol.EnrollRequest){
		"no site":           func(r *protocol.EnrollRequest) { r.SiteID = "" },
		"the proxy's name":  func(r *protocol.EnrollRequest) { r.Origin = "https://portal.example:443" },
		"almost a day late": func(r *protocol.EnrollRequest) { r.SentAt = r.SentAt.Add(-protocol.EnrollmentLife) },
	} {
		m := portaltest.NewMac(t, portal, "C02-"+name)
		request := m.Enrollment()
		spoil(&request)
		if got := m.SendEnrollment(t, request); got.Status != http.StatusCreated {
			t.Errorf("%s: answer is %d %s", name, got.Status, got.Body)
		}
	}
}

// One id of the far future would keep every later one of its Mac out.
func TestH54_RequestIDsAreOfTheDay(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	at := func(when time.Time) string { return protocol.NewRequestID(when, protocol.RequestID{}).String() }
	for name, test := range map[string]struct {
		id, problem string
		sentAt      time.Duration
	}{
		"far ahead":      {at(portaltest.Morning.Add(25 * time.Hour)), protocol.ProblemEnrollmentStale, 0},
		"sent tomorrow":  {at(portaltest.Morning), protocol.ProblemEnrollmentStale, 25 * time.Hour},
		"sent yesterday": {at(portaltest.Morning), protocol.ProblemEnrollmentStale, -25 * time.Hour},
		"older":          {at(portaltest.Morning.Add(-time.Minute)), protocol.ProblemEnrollmentReplay, 0},
		"no order":       {uuid.NewString(), protocol.ProblemInvalidRequest, 0},
		"no UUID":        {"1", protocol.ProblemInvalidRequest, 0},
	} {
		request := m.Enrollment()
		request.RequestID, request.SentAt = test.id, request.SentAt.Add(test.sentAt)
		got := portal.Call(t, http.MethodPost, "/v1/enroll", m.EnrollmentBody(t, request))
		if got.Problem(t) != test.problem {
			t.Errorf("%s: answer is %d %s", name, got.Status, got.Body)
		}
	}
	wantUntouched(t, portal, m)
}
