package adminapi_test

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/portaltest"
	"prlagent/cmd/prlportal/site"
)

// SEC-25: test messages go past the waits of a receiver in trouble, so there are only a
// few of them in a minute, whoever asks.
func TestSEC25_TestMessagesAreLimited(t *testing.T) {
	t.Parallel()
	var sent atomic.Int32
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		sent.Add(1)
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer receiver.Close()
	portal := portaltest.New(t)
	hook := site.Webhook{URL: receiver.URL, SetAt: portal.Clock.Now(), Secrets: []site.WebhookSecret{site.NewWebhookSecret()}}
	if err := hook.Save(filepath.Join(portal.Dir, site.PortalFolder)); err != nil {
		t.Fatal(err)
	}
	test := func() portaltest.Answer { return portal.Admin(t, http.MethodPost, "/v1/admin/webhook/test", nil) }
	for i := range 10 {
		if got := test(); got.Status != http.StatusOK {
			t.Fatalf("test %d: %d %s", i+1, got.Status, got.Body)
		}
	}
	got := test()
	if got.Problem(t) != protocol.ProblemRateLimited || got.Header.Get("Retry-After") != "6" || sent.Load() != 10 {
		t.Errorf("one more: %d %s, Retry-After %s, %d were sent", got.Status, got.Body, got.Header.Get("Retry-After"), sent.Load())
	}
	portal.Clock.Advance(6 * time.Second)
	if got := test(); got.Status != http.StatusOK || sent.Load() != 11 {
		t.Errorf("later: %d %s, %d were sent", got.Status, got.Body, sent.Load())
	}
}
