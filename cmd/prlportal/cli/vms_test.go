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
	used := mustChoose(t, []string{"last_used"}, "table")[0]
	row := tableRow{"last_used": "2026-11-28T20:58:37Z", "gaps": map[string]any{"last_used": "last_used_from_files"}}
	if got := row.displayCell(used, time.FixedZone("CET", 3600)); got != "2026-11-28 21:58 CET (last_used_from_files)" {
		t.Errorf("a time with a reason is shown as %q", got)
	}
	if got := tableRow(portal.VMs(t)["Windows 11"]).displayCell(column, time.UTC); got != "Unknown (service_down)" {
		t.Errorf("cell is %q", got)
	}
}
