package adminapi_test

import (
	"crypto/x509"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/adminapi"
	"prlagent/cmd/prlportal/fleet"
	"prlagent/cmd/prlportal/portaltest"
)

func clientOf(t *testing.T, portal *portaltest.Portal) *adminapi.Client {
	t.Helper()
	base, err := url.Parse(portal.Web.URL)
	if err != nil {
		t.Fatal(err)
	}
	trusted := x509.NewCertPool()
	trusted.AddCert(portal.Web.Certificate())
	client := adminapi.NewClient(base, portal.AdminToken, trusted)
	t.Cleanup(client.Close)
	return client
}

// What publishing would change, and how far the policies are, over the wire: a
// document is known by the hash of its very bytes.
func TestPolicyQuestionsOverTheWire(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	document := []byte(`{"schema":1,"policy_id":"finance","revision":7,"name":"Finance","groups":["default"],"vm_settings":{"other":{"clipboard":"disconnect"}}}`)
	pointer := protocol.PointTo("finance", 7, document)
	grouping := protocol.NewVerdictGrouping(pointer.SHA256)
	grouping.Add(m.Report.VMs[0].VMKey, &protocol.VerdictGroup{Path: "vm_settings.other.clipboard", Verdict: protocol.VerdictDeferred, Strength: protocol.StrengthReverted, Code: protocol.CodeVMRunning, Since: portal.Clock.Now().Add(-time.Hour)})
	m.Report.Verdicts, m.Report.Agent.Mode = grouping.Report, "enforce"
	m.Report.Policy = protocol.PolicyReport{State: protocol.PolicyFetched, PolicyID: "finance", Revision: 7, SHA256: pointer.SHA256}
	m.Checkin(t)
	client := clientOf(t, portal)
	difference, err := client.Diff(t.Context(), adminapi.DiffRequest{Group: "default", Before: adminapi.DiffVersion{Document: document}, Next: adminapi.DiffVersion{Document: document, Enforce: true}})
	if err != nil || len(difference.Settings) != 1 || difference.Settings[0].VMs[fleet.OutcomeWaits] != 1 || difference.Settings[0].Macs[fleet.OutcomeWaits] != 1 {
		t.Errorf("%+v, %v", difference, err)
	}
	status, err := client.PolicyStatus(t.Context())
	groups := status.Groups
	if err != nil || len(groups) != 1 || groups[0].Converging != 1 || groups[0].OldestDeferral == nil || groups[0].OldestDeferral.Code != protocol.CodeVMRunning {
		t.Errorf("%+v, %v", groups, err)
	}
	got := portal.Admin(t, http.MethodPost, "/v1/admin/policies/diff", []byte(`{"group":"default","before":{"enforce":false},"next":{"document":"e30=","enforce":true}}`))
	if got.Status != http.StatusBadRequest || !strings.Contains(string(got.Body), `"field":"next"`) {
		t.Errorf("a document that is none: %d %s", got.Status, got.Body)
	}
}
