package portal

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"prlagent/agent/protocol"
	"prlagent/platform/safefile"
)

func contentFile(portal *testPortal, name ...string) string {
	return filepath.Join(append([]string{portal.dir, portalFolder, contentFolder}, name...)...)
}

func writeHead(t *testing.T, portal *testPortal, group string, head protocol.Head) {
	t.Helper()
	key, err := loadSigningKey(filepath.Join(portal.dir, operatorFolder, policyKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	head.SiteID, head.GroupID, head.IssuedAt, head.ExpiresAt = portal.config.SiteID, group, morning, morning.Add(30*24*time.Hour)
	payload, err := json.Marshal(head)
	if err != nil {
		t.Fatal(err)
	}
	data, err := protocol.Sign(protocol.PayloadHead, payload, key).JSON()
	if err != nil {
		t.Fatal(err)
	}
	if err := safefile.WriteFile(contentFile(portal, headPath(group)), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestHeadIsServedWithValidators(t *testing.T) {
	t.Parallel()
	portal := newTestPortal(t)
	const path = "/v1/content/heads/default.dsse.json"
	got := portal.call(t, http.MethodGet, path, nil)
	want, err := os.ReadFile(contentFile(portal, "heads", "default.dsse.json"))
	if err != nil {
		t.Fatal(err)
	}
	if got.status != http.StatusOK || string(got.body) != string(want) || got.header.Get("Cache-Control") != "max-age=60" {
		t.Fatalf("answer is %d %v %s", got.status, got.header, got.body)
	}
	etag := got.header.Get("ETag")
	for _, validator := range []string{etag, "W/" + etag, `"x", ` + etag, "*"} {
		if got := portal.call(t, http.MethodGet, path, nil, "If-None-Match", validator); got.status != http.StatusNotModified || len(got.body) > 0 {
			t.Errorf("If-None-Match %s: %d", validator, got.status)
		}
	}
	writeHead(t, portal, "default", protocol.Head{HeadVersion: 2})
	if got := portal.call(t, http.MethodGet, path, nil, "If-None-Match", etag); got.status != http.StatusOK {
		t.Errorf("a new head answered %d to the old validator", got.status)
	}
}

func TestFirstHeadCanBeVerified(t *testing.T) {
	t.Parallel()
	portal := newTestPortal(t)
	data := portal.call(t, http.MethodGet, "/v1/content/heads/default.dsse.json", nil).body
	key, err := loadSigningKey(filepath.Join(portal.dir, operatorFolder, policyKeyFile))
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
	portal.contract.checkSchema(t, "Head", payload)
	head, err := protocol.ParseHead(payload)
	if err != nil {
		t.Fatal(err)
	}
	if head.SiteID != portal.config.SiteID || head.GroupID != "default" || head.HeadVersion != 1 || head.Policy != nil {
		t.Errorf("head is %+v", head)
	}
	if lifetime := head.ExpiresAt.Sub(head.IssuedAt); lifetime != 30*24*time.Hour {
		t.Errorf("head counts for %v, want 30 days", lifetime)
	}
}

func TestPolicyIsServedByItsHash(t *testing.T) {
	t.Parallel()
	portal := newTestPortal(t)
	document := []byte(`{"schema":1}`)
	sum := sha256.Sum256(document)
	name := hex.EncodeToString(sum[:]) + ".json"
	if err := safefile.WriteFile(contentFile(portal, "policies", name), document, 0o600); err != nil {
		t.Fatal(err)
	}
	writeHead(t, portal, "default", protocol.Head{HeadVersion: 2, Policy: new(protocol.PointTo("finance", 1, document))})
	got := portal.call(t, http.MethodGet, "/v1/content/policies/"+name, nil)
	if string(got.body) != string(document) || got.header.Get("Cache-Control") != "public, max-age=31536000, immutable" {
		t.Errorf("answer is %d %v %s", got.status, got.header, got.body)
	}
	if reply := enrolled(t, portal).checkin(t); reply.Policy == nil || reply.Policy.SHA256 != hex.EncodeToString(sum[:]) {
		t.Errorf("hint is %+v, want the policy's hash", reply.Policy)
	}
}

func TestContentServesNothingElse(t *testing.T) {
	t.Parallel()
	portal := newTestPortal(t)
	if err := os.Symlink(filepath.Join("..", "..", adminTokenFile), contentFile(portal, "heads", "link.dsse.json")); err != nil {
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
		got := portal.call(t, http.MethodGet, path, nil)
		if got.problem(t) != want {
			t.Errorf("%s answered %d %s, want %s", path, got.status, got.body, want)
		}
	}
}

func TestUnreadableHeadIsNoHint(t *testing.T) {
	t.Parallel()
	portal := newTestPortal(t)
	if err := safefile.WriteFile(contentFile(portal, "heads", "default.dsse.json"), []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	if reply := enrolled(t, portal).checkin(t); reply.Policy != nil {
		t.Errorf("hint is %+v, want none", reply.Policy)
	}
	mustContain(t, portal.log.String(), "head cannot be read")
}
