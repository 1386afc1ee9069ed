package adminapi_test

import (
	"crypto/ed25519"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/content"
	"prlagent/cmd/prlportal/portaltest"
	"prlagent/cmd/prlportal/site"
)

// publishHead uploads a head of the primary group.
func publishHead(t *testing.T, portal *portaltest.Portal, key ed25519.PrivateKey, version uint64, policies ...[]byte) portaltest.Answer {
	t.Helper()
	head := protocol.Head{
		SiteID: portal.Config.SiteID, GroupID: "default", HeadVersion: version,
		IssuedAt: portal.Clock.Now(), ExpiresAt: portal.Clock.Now().Add(site.HeadLifetime),
	}
	if len(policies) > 0 {
		pointer := protocol.PointTo("p", 1, policies[0])
		head.Policy = &pointer
	}
	payload, err := json.Marshal(head)
	if err != nil {
		t.Fatal(err)
	}
	envelope, err := protocol.Sign(protocol.PayloadHead, payload, key).JSON()
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(content.Upload{Policies: policies, Heads: []json.RawMessage{envelope}})
	if err != nil {
		t.Fatal(err)
	}
	return portal.Admin(t, http.MethodPost, "/v1/admin/content", body)
}

// The portal takes what the site's policy key signed, and nothing else, whoever
// sends it. Every try is on record.
func TestContentIsTakenFromThePolicyKeyOnly(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	key, err := site.LoadSigningKey(filepath.Join(portal.Dir, site.OperatorFolder, site.PolicyKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	document := []byte(`{"schema":1,"policy_id":"p","revision":1,"name":"P","groups":["default"]}`)
	for name, answer := range map[string]portaltest.Answer{
		"a thief's":  publishHead(t, portal, ed25519.NewKeyFromSeed(make([]byte, 32)), 9, document),
		"an old one": publishHead(t, portal, key, 1),
	} {
		if answer.Problem(t) != protocol.ProblemInvalidRequest {
			t.Errorf("%s is answered %d %s", name, answer.Status, answer.Body)
		}
	}
	before := value(scrape(t, portal), "prlportal_head_expiry_timestamp_seconds", "")
	portal.Clock.Advance(24 * time.Hour)
	if answer := publishHead(t, portal, key, 2, document); answer.Status != http.StatusOK {
		t.Fatalf("%d %s", answer.Status, answer.Body)
	}
	if after := value(scrape(t, portal), "prlportal_head_expiry_timestamp_seconds", ""); before <= 0 || after <= 0 {
		t.Errorf("heads end at %v, then at %v", before, after)
	}
	var published content.Published
	if err := json.Unmarshal(portal.Admin(t, http.MethodGet, "/v1/admin/content", nil).Body, &published); err != nil {
		t.Fatal(err)
	}
	if len(published.Policies) != 1 || published.Policies[0].Pointer.PolicyID != "p" || !published.Policies[0].PublishedAt.Equal(portal.Clock.Now()) || published.PrimaryGroup != "default" {
		t.Errorf("%+v", published)
	}
	if status := portal.Admin(t, http.MethodGet, "/v1/admin/policies/status", nil); status.Status != http.StatusOK {
		t.Errorf("%d %s", status.Status, status.Body)
	}
	served := portal.Call(t, http.MethodGet, "/v1/content/policies/"+published.Policies[0].Pointer.SHA256+".json", nil)
	if string(served.Body) != string(document) {
		t.Errorf("an agent gets %s", served.Body)
	}
	record, err := os.ReadFile(portal.AuditPath())
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(string(record), `"action":"publish"`); lines != 5 || strings.Count(string(record), `"outcome":"failed"`) != 2 {
		t.Errorf("the record is\n%s", record)
	}
}
