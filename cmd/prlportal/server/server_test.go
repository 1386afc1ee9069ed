package server_test

import (
	"net/http"
	"strings"
	"testing"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/portaltest"
)

// TestNoSecretIsLoggedOrShown runs everything that handles a secret, well and
// badly, and looks for each one in the log and in every error.
func TestNoSecretIsLoggedOrShown(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	secrets := []string{portal.Secret, portal.AdminToken, m.Token, "a-wrong-secret", "a-wrong-token"}

	var errorsShown []portaltest.Answer
	wrong := portaltest.NewMac(t, portal, "C02BBBBBBBBB")
	wrong.Secret = "a-wrong-secret"
	errorsShown = append(errorsShown, wrong.SendEnrollment(t, wrong.Enrollment()))
	wrong.Token = "a-wrong-token"
	request, _ := wrong.Next(t)
	errorsShown = append(errorsShown, wrong.Send(t, request))
	errorsShown = append(errorsShown,
		m.SendBody(t, []byte(`{"protocol":1,"token":"`+m.Token+`"`)),
		portal.Call(t, http.MethodPost, "/v1/enroll", []byte(`{"secret":"`+portal.Secret+`"}`)),
		portal.Call(t, http.MethodGet, "/v1/admin/vms?per_page=1000", nil, "Authorization", "Bearer a-wrong-token"),
		portal.Call(t, http.MethodGet, "/v1/"+portal.AdminToken, nil),
		portal.Call(t, http.MethodGet, "/healthz?token="+portal.AdminToken, nil),
	)
	portal.VMs(t)
	shown := portal.Log.String()
	for _, answer := range errorsShown {
		shown += string(answer.Body)
	}
	for _, secret := range secrets {
		if strings.Contains(shown, secret) {
			t.Errorf("a secret is shown")
		}
	}
	portaltest.MustContain(t, shown, "POST /v1/enroll", "enrollment refused")
}

func TestAdminPlaneNeedsTheAdminToken(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	for _, route := range []struct{ method, path string }{
		{http.MethodGet, "/v1/admin/devices"},
		{http.MethodGet, "/v1/admin/vms"},
		{http.MethodGet, "/v1/admin/devices/" + m.DeviceID + "/history"},
		{http.MethodPost, "/v1/admin/devices/" + m.DeviceID + "/approve"},
		{http.MethodPost, "/v1/admin/devices/" + m.DeviceID + "/reject"},
		{http.MethodPost, "/v1/admin/devices/" + m.DeviceID + "/retire"},
	} {
		for _, authorization := range []string{"", "Bearer ", "Bearer " + m.Token, "Basic " + portal.AdminToken, portal.AdminToken} {
			got := portal.Call(t, route.method, route.path, nil, "Authorization", authorization)
			if got.Problem(t) != protocol.ProblemUnauthenticated {
				t.Errorf("%s %s as %q answered %d", route.method, route.path, authorization, got.Status)
			}
		}
	}
}

func TestEveryErrorIsAProblem(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	for _, route := range []struct{ method, path string }{
		{http.MethodGet, "/"}, {http.MethodGet, "/v1/checkin"}, {http.MethodDelete, "/v1/enroll"},
		{http.MethodPut, "/healthz"}, {http.MethodGet, "/v2/checkin"}, {http.MethodGet, "/favicon.ico"},
	} {
		portaltest.WantProblem(t, portal.Call(t, route.method, route.path, nil), protocol.ProblemNotFound)
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	for _, path := range []string{"/healthz", "/readyz"} {
		if got := portal.Call(t, http.MethodGet, path, nil); got.Status != http.StatusOK || string(got.Body) != `{"status":"ok"}` {
			t.Errorf("%s answered %d %s", path, got.Status, got.Body)
		}
	}
}
