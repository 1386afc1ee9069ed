package agentapi_test

import (
	"net/http"
	"testing"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/adminapi"
	"prlagent/cmd/prlportal/audit"
	"prlagent/cmd/prlportal/portaltest"
	"prlagent/cmd/prlportal/storage"
)

// H30: the first report of each Mac after the portal was put back says whether the Mac has
// gone on without it. One that has is frozen. What the backup had goes to none before it is
// confirmed: a Mac that was away does not know of a cancel either.
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
			if view := portal.Device(t); (view.Frozen != "") != (lost > 0) || len(reply.Commands) != 0 {
				t.Errorf("frozen %q, %d commands", view.Frozen, len(reply.Commands))
			}
			portal.Start(t) // with the same restore: it is judged once
			portal.MustDecide(t, audit.ActionConfirm, m.DeviceID, adminapi.Decision{Reason: "still wanted"})
			portal.Start(t)
			if _, reply := say(t, m, nothing); len(reply.Commands) != 1 {
				t.Errorf("what is confirmed is not sent: %+v", reply)
			}
		})
	}
}

// H30: a delete that waited for a Mac which was away when the backup was taken, and that was
// cancelled before the portal was put back, is not sent: not with the Mac's next report, and
// not with the answer to one that it repeats.
func TestH30_APortalThatIsPutBackToBeforeACancelSendsNothing(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	last, _ := say(t, m, nothing)
	command := portal.Issue(t, m.NewCommand("vm.delete", &m.Report.VMs[0], nil)) // what the backup has
	refresh := portal.Issue(t, m.NewCommand("inventory.refresh", nil, nil))
	portal.Clock.Advance(time.Hour)
	portal.RestoredAt = portal.Clock.Now()
	portal.Start(t)
	var repeated protocol.CheckinReply
	m.Send(t, last).Decode(t, &repeated)
	_, reply := say(t, m, nothing)
	if len(repeated.Commands) != 1 || len(reply.Commands) != 1 {
		t.Errorf("sent are %d and %d commands, and not the refresh %s alone", len(repeated.Commands), len(reply.Commands), refresh.CommandID)
	}
	if detail := portal.Command(t, command.CommandID); detail.Withheld != storage.WithheldRestored || detail.State != protocol.CommandPending {
		t.Errorf("the delete is %+v", detail.Command)
	}
	if got := portal.DecideCommand(t, "confirm", command.CommandID); got.Status != http.StatusOK {
		t.Fatalf("confirm: %s", got.Body)
	}
	if _, reply = say(t, m, nothing); len(reply.Commands) != 2 {
		t.Errorf("after it was confirmed: %+v", reply)
	}
}
