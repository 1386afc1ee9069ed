package agentapi_test

import (
	"net/http"
	"testing"
	"time"

	"prlagent/cmd/prlportal/portaltest"
)

// H30: the first report of each Mac after the portal was put back says whether the Mac has
// gone on without it. One that has gets nothing destructive; the others go on as before.
func TestH30_AMacThatWentOnWhileThePortalWasPutBack(t *testing.T) {
	t.Parallel()
	for name, lost := range map[string]uint64{"nothing was lost": 0, "a report was lost": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			portal := portaltest.New(t)
			m := portaltest.Enrolled(t, portal)
			portal.Issue(t, m.NewCommand("vm.delete", &m.Report.VMs[0], nil))
			portal.Clock.Advance(time.Minute)
			portal.RestoredAt = portal.Clock.Now()
			portal.Start(t)
			portal.Clock.Advance(time.Minute)
			m.Sequence += lost
			request, _ := m.Next(t)
			if got := m.Send(t, request); got.Status != http.StatusOK {
				t.Fatalf("check-in: %d %s", got.Status, got.Body)
			}
			m.Sequence += 5 // as where the network was down: no sign of anything later on
			_, reply := say(t, m, nothing)
			if view := portal.Device(t); (view.Frozen != "") != (lost > 0) || (len(reply.Commands) == 0) != (lost > 0) {
				t.Errorf("frozen %q, %d commands", view.Frozen, len(reply.Commands))
			}
		})
	}
}
