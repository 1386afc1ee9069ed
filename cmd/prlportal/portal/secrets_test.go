package portal

import (
	"net/http"
	"strings"
	"testing"

	"prlagent/agent/protocol"
)

// TestNoSecretIsLoggedOrShown runs everything that handles a secret, well and
// badly, and looks for each one in the log and in every error.
func TestNoSecretIsLoggedOrShown(t *testing.T) {
	t.Parallel()
	portal := newTestPortal(t)
	m := enrolled(t, portal)
	secrets := []string{portal.secret, portal.adminToken, m.token, "a-wrong-secret", "a-wrong-token"}

	var errorsShown []answer
	wrong := newMac(t, portal, "C02BBBBBBBBB")
	wrong.secret = "a-wrong-secret"
	errorsShown = append(errorsShown, wrong.sendEnrollment(t, wrong.enrollment()))
	wrong.token = "a-wrong-token"
	request, _ := wrong.next(t)
	errorsShown = append(errorsShown, wrong.send(t, request))
	errorsShown = append(errorsShown,
		m.sendBody(t, []byte(`{"protocol":1,"token":"`+m.token+`"`)),
		portal.call(t, http.MethodPost, "/v1/enroll", []byte(`{"secret":"`+portal.secret+`"}`)),
		portal.call(t, http.MethodGet, "/v1/admin/vms?per_page=1000", nil, "Authorization", "Bearer a-wrong-token"),
		portal.call(t, http.MethodGet, "/v1/"+portal.adminToken, nil),
		portal.call(t, http.MethodGet, "/healthz?token="+portal.adminToken, nil),
	)
	portal.vms(t)
	shown := portal.log.String()
	for _, answer := range errorsShown {
		shown += string(answer.body)
	}
	for _, secret := range secrets {
		if strings.Contains(shown, secret) {
			t.Errorf("a secret is shown")
		}
	}
	mustContain(t, shown, "POST /v1/enroll", "enrollment refused")
}

func TestAdminPlaneNeedsTheAdminToken(t *testing.T) {
	t.Parallel()
	portal := newTestPortal(t)
	m := enrolled(t, portal)
	for _, route := range []struct{ method, path string }{
		{http.MethodGet, "/v1/admin/devices"},
		{http.MethodGet, "/v1/admin/vms"},
		{http.MethodGet, "/v1/admin/devices/" + m.deviceID + "/history"},
		{http.MethodPost, "/v1/admin/devices/" + m.deviceID + "/approve"},
	} {
		for _, authorization := range []string{"", "Bearer ", "Bearer " + m.token, "Basic " + portal.adminToken, portal.adminToken} {
			got := portal.call(t, route.method, route.path, nil, "Authorization", authorization)
			if got.problem(t) != protocol.ProblemUnauthenticated {
				t.Errorf("%s %s as %q answered %d", route.method, route.path, authorization, got.status)
			}
		}
	}
}

func TestEveryErrorIsAProblem(t *testing.T) {
	t.Parallel()
	portal := newTestPortal(t)
	for _, route := range []struct{ method, path string }{
		{http.MethodGet, "/"}, {http.MethodGet, "/v1/checkin"}, {http.MethodDelete, "/v1/enroll"},
		{http.MethodPut, "/healthz"}, {http.MethodGet, "/v2/checkin"}, {http.MethodGet, "/favicon.ico"},
	} {
		wantProblem(t, portal.call(t, route.method, route.path, nil), protocol.ProblemNotFound)
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	portal := newTestPortal(t)
	for _, path := range []string{"/healthz", "/readyz"} {
		if got := portal.call(t, http.MethodGet, path, nil); got.status != http.StatusOK || string(got.body) != `{"status":"ok"}` {
			t.Errorf("%s answered %d %s", path, got.status, got.body)
		}
	}
}
