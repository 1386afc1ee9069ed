package agentapi_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/portaltest"
	"prlagent/cmd/prlportal/site"
	"prlagent/platform/safefile"
)

func contentFile(portal *portaltest.Portal, name ...string) string {
	return filepath.Join(append([]string{portal.Dir, site.PortalFolder, site.ContentFolder}, name...)...)
}

func writeHead(t *testing.T, portal *portaltest.Portal, group string, head protocol.Head) {
	t.Helper()
	key, err := site.LoadSigningKey(filepath.Join(portal.Dir, site.OperatorFolder, site.PolicyKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	head.SiteID, head.GroupID, head.IssuedAt, head.ExpiresAt = portal.Config.SiteID, group, portaltest.Morning, portaltest.Morning.Add(30*24*time.Hour)
	payload, err := json.Marshal(head)
	if err != nil {
		t.Fatal(err)
	}
	data, err := protocol.Sign(protocol.PayloadHead, payload, key).JSON()
	if err != nil {
		t.Fatal(err)
	}
	if err := safefile.WriteFile(contentFile(portal, site.HeadPath(group)), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestHeadIsServedWithValidators(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	const path = "/v1/content/heads/default.dsse.json"
	got := portal.Call(t, http.MethodGet, path, nil)
	want, err := os.ReadFile(contentFile(portal, "heads", "default.dsse.json"))
	if err != nil {
		t.Fatal(err)
	}
	if got.Status != http.StatusOK || string(got.Body) != string(want) || got.Header.Get("Cache-Control") != "max-age=60" {
		t.Fatalf("answer is %d %v %s", got.Status, got.Header, got.Body)
	}
	etag := got.Header.Get("ETag")
	for _, validator := range []string{etag, "W/" + etag, `"x", ` + etag, "*"} {
		if got := portal.Call(t, http.MethodGet, path, nil, "If-None-Match", validator); got.Status != http.StatusNotModified || len(got.Body) > 0 {
			t.Errorf("If-None-Match %s: %d", validator, got.Status)
		}
	}
	writeHead(t, portal, "default", protocol.Head{HeadVersion: 2})
	if got := portal.Call(t, http.MethodGet, path, nil, "If-None-Match", etag); got.Status != http.StatusOK {
		t.Errorf("a new head answered %d to the old validator", got.Status)
	}
}

func TestFirstHeadCanBeVerified(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	data := portal.Call(t, http.MethodGet, "/v1/content/heads/default.dsse.json", nil).Body
	key, err := site.LoadSigningKey(filepath.Join(portal.Dir, site.OperatorFolder, site.PolicyKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	public := key.Public().(ed25519.PublicKey)
	envelope, err := protocol.ParseEnvelope(data, protocol.MaxHead)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := envelope.Verify(protocol.PayloadHead, []protocol.TrustedKey{{ID: protocol.KeyID(public), Key: public}}, 1)
	if err != nil {
		t.Fatal(err)
	}
	portal.Contract.CheckSchema(t, "Head", payload)
	head, err := protocol.ParseHead(payload)
	if err != nil {
		t.Fatal(err)
	}
	if head.SiteID != portal.Config.SiteID || head.GroupID != "default" || head.HeadVersion != 1 || head.Policy != nil {
		t.Errorf("head is %+v", head)
	}
	if lifetime := head.ExpiresAt.Sub(head.IssuedAt); lifetime != 30*24*time.Hour {
		t.Errorf("head counts for %v, want 30 days", lifetime)
	}
}

func TestPolicyIsServedByItsHash(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	document := []byte(`{"schema":1}`)
	sum := sha256.Sum256(document)
	name := hex.EncodeToString(sum[:]) + ".json"
	if err := safefile.WriteFile(contentFile(portal, "policies", name), document, 0o600); err != nil {
		t.Fatal(err)
	}
	writeHead(t, portal, "default", protocol.Head{HeadVersion: 2, Policy: new(protocol.PointTo("finance", 1, document))})
	got := portal.Call(t, http.MethodGet, "/v1/content/policies/"+name, nil)
	if string(got.Body) != string(document) || got.Header.Get("Cache-Control") != "public, max-age=31536000, immutable" {
		t.Errorf("answer is %d %v %s", got.Status, got.Header, got.Body)
	}
	if reply := portaltest.Enrolled(t, portal).Checkin(t); reply.Policy == nil || reply.Policy.SHA256 != hex.EncodeToString(sum[:]) {
		t.Errorf("hint is %+v, want the policy's hash", reply.Policy)
	}
}

func TestContentServesNothingElse(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	if err := os.Symlink(filepath.Join("..", "..", site.AdminsFile), contentFile(portal, "heads", "link.dsse.json")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(contentFile(portal, "heads", "folder.dsse.json"), 0o700); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/v1/content/heads/other.dsse.json":                   protocol.ProblemNotFound,
		"/v1/content/heads/default":                           protocol.ProblemNotFound,
		"/v1/content/heads/..%2f..%2fconfig.json":             protocol.ProblemNotFound,
		"/v1/content/heads/..%2F..%2Fconfig.dsse.json":        protocol.ProblemNotFound,
		"/v1/content/policies/default.dsse.json":              protocol.ProblemNotFound,
		"/v1/content/policies/..%2Fheads%2Fdefault.dsse.json": protocol.ProblemNotFound,
		"/v1/content/":                       protocol.ProblemNotFound,
		"/v1/content/heads/":                 protocol.ProblemNotFound,
		"/v1/content/heads/link.dsse.json":   protocol.ProblemInternal,
		"/v1/content/heads/folder.dsse.json": protocol.ProblemInternal,
	} {
		got := portal.Call(t, http.MethodGet, path, nil)
		if got.Problem(t) != want {
			t.Errorf("%s answered %d %s, want %s", path, got.Status, got.Body, want)
		}
	}
}

func TestUnreadableHeadIsNoHint(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	if err := safefile.WriteFile(contentFile(portal, "heads", "default.dsse.json"), []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	if reply := portaltest.Enrolled(t, portal).Checkin(t); reply.Policy != nil {
		t.Errorf("hint is %+v, want none", reply.Policy)
	}
	portaltest.MustContain(t, portal.Log.String(), "head cannot be read")
}

// Names of groups, files and devices that are none end where they enter.
func TestH63_NamesInRequests(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	for _, name := range []string{"..%2F..%2Fconfig.json", "%2e%2e%2fpolicies%2fx", ".hidden", "a%2Fb", "a%00b", strings.Repeat("z", 65), "%C3%A9"} {
		for _, path := range []string{"/v1/content/heads/" + name + ".dsse.json", "/v1/content/policies/" + name + ".json"} {
			portaltest.WantProblem(t, portal.Call(t, http.MethodGet, path, nil), protocol.ProblemNotFound)
		}
		portaltest.WantProblem(t, portal.Admin(t, http.MethodGet, "/v1/admin/devices/"+name+"/history", nil), protocol.ProblemNotFound)
		portaltest.WantProblem(t, portal.Admin(t, http.MethodPost, "/v1/admin/devices/"+name+"/retire", []byte("{}")), protocol.ProblemNotFound)
	}
	m := portaltest.NewMac(t, portal, "C02AAAAAAAAA")
	for _, hint := range []string{"../../../etc/passwd%2f..", ".hidden", "a b", strings.Repeat("z", 65)} {
		request := m.Enrollment()
		request.GroupHint = hint
		portaltest.WantProblem(t, portal.Call(t, http.MethodPost, "/v1/enroll", m.EnrollmentBody(t, request)), protocol.ProblemInvalidRequest)
	}
}
