package agentapi_test

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"sync"
	"testing"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/adminapi"
	"prlagent/cmd/prlportal/audit"
	"prlagent/cmd/prlportal/fleet"
	"prlagent/cmd/prlportal/portaltest"
	"prlagent/cmd/prlportal/storage"
)

// devices are all devices by their id.
func devices(t *testing.T, portal *portaltest.Portal) map[string]portaltest.Row {
	t.Helper()
	rows, _ := portal.List(t, "devices", nil)
	byID := make(map[string]portaltest.Row)
	for _, row := range rows {
		byID[fmt.Sprint(row["device_id"])] = row
	}
	return byID
}

// A device that reports another's serial number or hardware UUID is marked, its
// report is not taken, and every row shows the identity that enrolled.
func TestH57_AForgedIdentityIsMarkedAndNotShown(t *testing.T) {
	t.Parallel()
	for name, forge := range map[string]func(*protocol.Host){
		"serial":        func(h *protocol.Host) { h.Serial = "C02VICTIM000" },
		"hardware UUID": func(h *protocol.Host) { h.HardwareUUID = "D16E8CA5-3B60-5BBE-AFF4-5BA1012DD0CC" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			portal := portaltest.New(t)
			m := portaltest.Enrolled(t, portal)
			forge(&m.Report.Host)
			m.Report.VMs = nil
			request, _ := m.Next(t)
			portaltest.WantProblem(t, m.Send(t, request), protocol.ProblemDuplicateIdentity)
			view := portal.Device(t)
			if view.State != fleet.StateDiffers || view.Duplicate.Reason != storage.DuplicateIdentity || view.Duplicate.Reported == "" {
				t.Errorf("device is %+v", view)
			}
			rows := portal.VMs(t)
			if len(rows) != 1 || rows["Windows 11"]["mac_serial"] != m.Serial {
				t.Errorf("rows are %v", rows)
			}
		})
	}
}

// What a portal before this one believed is not shown either.
func TestH57_AStoredForgeryIsNotShown(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	device, err := portal.Store.Device(t.Context(), storage.ByID(m.DeviceID))
	if err != nil {
		t.Fatal(err)
	}
	report, err := portal.Store.Report(t.Context(), m.DeviceID)
	if err != nil {
		t.Fatal(err)
	}
	report.Host.Serial = "C02VICTIM000"
	if err := portal.Store.Save(t.Context(), storage.Change{Device: device, Report: &report}); err != nil {
		t.Fatal(err)
	}
	if rows := portal.VMs(t); rows["Windows 11"]["mac_serial"] != m.Serial {
		t.Errorf("rows are %v", rows)
	}
}

// What a Mac does not know of itself differs from nothing.
func TestH57_AnUnknownIdentityIsNoOther(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	m.Report.Host.Serial = ""
	m.Checkin(t)
	m.Report.Host.Serial = "c02aaaaaaaaa"
	m.Checkin(t)
	if view := portal.Device(t); view.State != fleet.StateOK {
		t.Errorf("device is %+v", view)
	}
}

// A known serial number with another hardware UUID waits, and is let in only in
// the place of the device that has the number, which then ends.
func TestH57_AKnownSerialWithAnotherUUIDSupersedes(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	board := m.OtherMac(t, "D16E8CA5-3B60-5BBE-AFF4-5BA1012DD0CC")
	if reply := board.Enroll(t, http.StatusAccepted); reply.Token != "" {
		t.Fatal("it got a token")
	}
	m.Checkin(t)
	view := portal.Device(t) // one Mac with this serial number
	if view.State != fleet.StatePending || len(view.Pending) != 1 || view.Pending[0].HardwareUUID != "D16E8CA5-3B60-5BBE-AFF4-5BA1012DD0CC" {
		t.Fatalf("device is %+v", view)
	}
	asked := adminapi.Decision{KeyID: board.KeyID()}
	portaltest.WantProblem(t, portal.Decide(t, audit.ActionApprove, m.DeviceID, asked), protocol.ProblemInvalidRequest)
	if got := readAudit(t, portal); len(got) != 0 {
		t.Errorf("what was refused is recorded: %+v", got)
	}
	asked.Supersede = true
	made := portal.MustDecide(t, audit.ActionApprove, m.DeviceID, asked)
	if made.DeviceID == m.DeviceID || made.State != fleet.StateOK || made.MacSerial != m.Serial || made.HardwareUUID != "D16E8CA5-3B60-5BBE-AFF4-5BA1012DD0CC" {
		t.Errorf("made %+v", made)
	}
	board.Enroll(t, http.StatusCreated)
	board.Checkin(t)
	if board.DeviceID != made.DeviceID {
		t.Errorf("enrolled as %s, want %s", board.DeviceID, made.DeviceID)
	}
	portaltest.WantProblem(t, m.SendEnrollment(t, m.Enrollment()), protocol.ProblemDeviceRetired)
	all := devices(t, portal)
	if len(all) != 2 || all[m.DeviceID]["state"] != fleet.StateRetired || all[m.DeviceID]["superseded_by"] != made.DeviceID || len(portal.VMs(t)) != 1 {
		t.Errorf("devices are %v, %d rows", all, len(portal.VMs(t)))
	}
	if got := readAudit(t, portal); len(got) != 1 || got[0].DeviceID != made.DeviceID || len(got[0].Supersedes) != 1 || got[0].Supersedes[0] != m.DeviceID {
		t.Errorf("audit log is %+v", got)
	}

	// The old Mac comes back with another key: it, too, would supersede.
	old := portaltest.NewMac(t, portal, m.Serial)
	old.Enroll(t, http.StatusAccepted)
	asked = adminapi.Decision{KeyID: old.KeyID()}
	portaltest.WantProblem(t, portal.Decide(t, audit.ActionApprove, m.DeviceID, asked), protocol.ProblemInvalidRequest)
	asked.Supersede = true
	portal.MustDecide(t, audit.ActionApprove, m.DeviceID, asked)
	if all = devices(t, portal); all[m.DeviceID]["state"] != fleet.StateOK || all[made.DeviceID]["state"] != fleet.StateRetired {
		t.Errorf("devices are %v", all)
	}
}

// An approval that a crash broke off between its two commits is completed by the
// same approval.
func TestH57_ABrokenOffApprovalIsCompleted(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	board := m.OtherMac(t, "D16E8CA5-3B60-5BBE-AFF4-5BA1012DD0CC")
	board.Enroll(t, http.StatusAccepted)
	half := storage.Device{ID: "0198f6b2-7c1e-7d0a-9a55-3f1d0c2b7e11", Serial: m.Serial, HardwareUUID: "D16E8CA5-3B60-5BBE-AFF4-5BA1012DD0CC",
		Group: protocol.Group{ID: "default", Source: protocol.GroupFromPrimary}}
	if err := portal.Store.Save(t.Context(), storage.Change{Device: half}); err != nil {
		t.Fatal(err)
	}
	if made := portal.MustDecide(t, audit.ActionApprove, m.DeviceID, adminapi.Decision{KeyID: board.KeyID(), Supersede: true}); made.DeviceID != half.ID {
		t.Errorf("made %+v", made)
	}
	if all := devices(t, portal); len(all) != 2 || all[m.DeviceID]["state"] != fleet.StateRetired {
		t.Errorf("devices are %v", all)
	}
}

// yieldingStore lets every other request run between a look for a serial number
// and what is made of it.
type yieldingStore struct{ fleet.Store }

func (y yieldingStore) LiveIDs(ctx context.Context, serial string, limit int) ([]string, error) {
	ids, err := y.Store.LiveIDs(ctx, serial, limit)
	for range 5000 {
		runtime.Gosched()
	}
	return ids, err
}

// Two Macs with one serial number that enroll at the same time are not both let in.
func TestH57_OfTwoAtOnceOneWaits(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	portal.Store = yieldingStore{portal.Store}
	portal.Start(t)
	first := portaltest.NewMac(t, portal, "C02AAAAAAAAA")
	var told sync.Map
	var group sync.WaitGroup
	for i := range 8 {
		mac := first.OtherMac(t, fmt.Sprintf("uuid-%d", i))
		group.Go(func() { told.Store(i, mac.EnrollFrom(t, fmt.Sprintf("192.0.2.%d", i))) })
	}
	group.Wait()
	approved := 0
	told.Range(func(_, state any) bool {
		if state == protocol.EnrollApproved {
			approved++
		}
		return true
	})
	if all := devices(t, portal); approved != 1 || len(all) != 1 {
		t.Errorf("%d were let in, %d devices", approved, len(all))
	}
}

// A Mac without a serial number that gains the one of another device waits: its
// own key proves nothing about that number.
func TestH57_AGainedSerialOfAnotherWaits(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	bare := portaltest.NewMac(t, portal, "")
	bare.Enroll(t, http.StatusCreated)
	own := bare.DeviceID
	bare.Serial = m.Serial
	if reply := bare.Enroll(t, http.StatusAccepted); reply.Token != "" || reply.DeviceID != m.DeviceID {
		t.Fatalf("reply is %+v", reply)
	}
	m.Checkin(t)
	made := portal.MustDecide(t, audit.ActionApprove, m.DeviceID, adminapi.Decision{KeyID: bare.KeyID(), Supersede: true})
	if made.DeviceID != own || made.MacSerial != m.Serial {
		t.Errorf("made %+v, want the device of before", made)
	}
	bare.Enroll(t, http.StatusCreated)
	if all := devices(t, portal); len(all) != 2 || all[m.DeviceID]["state"] != fleet.StateRetired || all[own]["state"] != fleet.StateOK {
		t.Errorf("devices are %v", all)
	}
}
