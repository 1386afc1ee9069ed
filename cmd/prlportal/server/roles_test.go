package server_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/admins"
	"prlagent/cmd/prlportal/portaltest"
	"prlagent/cmd/prlportal/server"
)

// leastRole is who may ask for what. A new endpoint needs a row here: what changes
// anything is never a viewer's.
var leastRole = map[string]admins.Role{
	"GET /v1/admin/devices":               admins.Viewer,
	"GET /v1/admin/vms":                   admins.Viewer,
	"GET /v1/admin/devices/{id}/history":  admins.Viewer,
	"GET /v1/admin/devices/{id}/events":   admins.Viewer,
	"GET /v1/admin/devices/{id}":          admins.Viewer,
	"GET /v1/admin/events":                admins.Viewer,
	"GET /metrics":                        admins.Viewer,
	"GET /v1/admin/certificates":          admins.Viewer,
	"GET /v1/admin/devices/{id}/verdicts": admins.Viewer,
	"GET /v1/admin/journal/events":        admins.Viewer,
	"GET /v1/admin/journal/verdicts":      admins.Viewer,
	"GET /v1/admin/compliance":            admins.Viewer,
	"GET /v1/admin/licenses":              admins.Viewer,
	"GET /v1/admin/policies/status":       admins.Viewer,
	"POST /v1/admin/policies/diff":        admins.Operator,
	"POST /v1/admin/devices/{id}/approve": admins.Approver,
	"POST /v1/admin/devices/{id}/reject":  admins.Approver,
	"POST /v1/admin/devices/{id}/retire":  admins.Approver,
	"GET /v1/admin/admins":                admins.Approver,
	"POST /v1/admin/admins":               admins.Approver,
	"POST /v1/admin/admins/{name}/revoke": admins.Approver,
	"GET /v1/admin/backup":                admins.Approver,
	"GET /v1/admin/webhook":               admins.Viewer,
	"POST /v1/admin/webhook/test":         admins.Operator,
	"GET /v1/admin/content":               admins.Viewer,
	"POST /v1/admin/content":              admins.Operator,
	"GET /v1/admin/policies":              admins.Viewer,

	"POST /v1/admin/devices/{id}/confirm":  admins.Approver,
	"GET /v1/admin/devices/{id}/holds":     admins.Viewer,
	"GET /v1/admin/commands":               admins.Viewer,
	"POST /v1/admin/commands":              admins.Operator,
	"GET /v1/admin/commands/{id}":          admins.Viewer,
	"GET /v1/admin/commands/{id}/evidence": admins.Operator,
	"GET /v1/admin/commands/{id}/blob":     admins.Operator,
	"POST /v1/admin/commands/{id}/approve": admins.Approver,
	"POST /v1/admin/commands/{id}/cancel":  admins.Operator,
	"POST /v1/admin/commands/{id}/confirm": admins.Approver,
	"GET /v1/admin/command-keys":           admins.Viewer,
	"POST /v1/admin/command-keys":          admins.Approver,
}

// open are the endpoints that no admin's token protects.
var open = map[string]bool{
	"GET /healthz": true, "GET /readyz": true,
	"POST /v1/enroll": true, "POST /v1/checkin": true, "PUT /v1/blobs/{sha256}": true, // a device's token
	"GET /v1/content/heads/{file}": true, "GET /v1/content/policies/{file}": true,
}

func TestEveryEndpointHasARole(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	tokens := map[admins.Role]string{admins.Approver: portal.AdminToken}
	for _, role := range []admins.Role{admins.Viewer, admins.Operator} {
		tokens[role] = addAdmin(t, portal, role)
	}
	for _, pattern := range server.Patterns() {
		least, listed := leastRole[pattern]
		if listed == open[pattern] {
			t.Errorf("%s has no row here, or two", pattern)
			continue
		}
		if open[pattern] {
			continue
		}
		method, path, _ := strings.Cut(pattern, " ")
		if method != http.MethodGet && least == admins.Viewer {
			t.Errorf("a viewer could change something with %s", pattern)
		}
		path = strings.NewReplacer("{", "", "}", "").Replace(path)
		for role, token := range tokens {
			got := portal.Call(t, method, path, nil, "Authorization", "Bearer "+token).Problem(t)
			if refused := got == protocol.ProblemNotAllowed; refused == role.Includes(least) {
				t.Errorf("%s as %s: %q, want the least role %s", pattern, role, got, least)
			}
		}
		for _, token := range []string{"", "no such token"} {
			got := portal.Call(t, method, path, nil, "Authorization", "Bearer "+token)
			if got.Problem(t) != protocol.ProblemUnauthenticated {
				t.Errorf("%s with the token %q: %d", pattern, token, got.Status)
			}
		}
	}
}

func addAdmin(t *testing.T, portal *portaltest.Portal, role admins.Role) (token string) {
	t.Helper()
	wanted, err := json.Marshal(map[string]any{"name": "some-" + role, "role": role})
	if err != nil {
		t.Fatal(err)
	}
	var made struct{ Token string }
	got := portal.Admin(t, http.MethodPost, "/v1/admin/admins", wanted)
	if err := json.Unmarshal(got.Body, &made); err != nil || made.Token == "" {
		t.Fatalf("add %s: %d %s", role, got.Status, got.Body)
	}
	return made.Token
}
