package cli

import (
	"testing"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/portaltest"
)

func TestINV_07_UnknownStateShowsItsReason(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	m.Report.VMs[0].State, m.Report.VMs[0].Stale = protocol.StateUnknown, protocol.CodeServiceDown
	m.Checkin(t)
	column := mustChoose(t, []string{"vm_state"}, "table")[0]
	if got := tableRow(portal.VMs(t)["Windows 11"]).displayCell(column, time.UTC); got != "Unknown (service_down)" {
		t.Errorf("cell is %q", got)
	}
}
