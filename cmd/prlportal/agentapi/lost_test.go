package agentapi_test

import (
	"net/http"
	"os"
	"testing"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/adminapi"
	"prlagent/cmd/prlportal/audit"
	"prlagent/cmd/prlportal/fleet"
	"prlagent/cmd/prlportal/portaltest"
)

// A Mac that holds machines is given up in one way only: it is not heard of any more, and
// somebody says why. A stolen Mac that still reports keeps its hold (H69).
func TestH69_AHeldMacIsRetiredOnlyAsLost(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	say(t, m, func(r *protocol.CheckinRequest) {
		r.Holds = &protocol.HoldReport{Version: 1, Holds: []protocol.HoldState{{VMKey: m.Report.VMs[0].VMKey, State: protocol.HoldKept, Since: portal.Clock.Now()}}}
	})
	refused := func(name string, asked adminapi.Decision) {
		t.Helper()
		if got := portal.Decide(t, audit.ActionRetire, m.DeviceID, asked); got.Status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", name, got.Status, got.Body)
		}
	}
	refused("with holds", adminapi.Decision{Reason: "sold"})
	refused("as lost, and it reports", adminapi.Decision{Lost: true, Reason: "stolen"})
	portal.Clock.Advance(60 * 24 * time.Hour)
	refused("with holds, and silent", adminapi.Decision{Reason: "stolen"})
	refused("as lost without a reason", adminapi.Decision{Lost: true, Reason: " "})
	if view := portal.MustDecide(t, audit.ActionRetire, m.DeviceID, adminapi.Decision{Lost: true, Reason: "fell into the sea"}); view.State != fleet.StateRetired {
		t.Errorf("device is %+v", view)
	}
	log, err := os.ReadFile(portal.AuditPath())
	if err != nil {
		t.Fatal(err)
	}
	portaltest.MustContain(t, string(log), `"reason":"fell into the sea","lost":true`)
}
