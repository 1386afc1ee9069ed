package agentapi_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"testing"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/adminapi"
	"prlagent/cmd/prlportal/audit"
	"prlagent/cmd/prlportal/fleet"
	"prlagent/cmd/prlportal/portaltest"
	"prlagent/cmd/prlportal/storage"
)

// Epochs E1, E2, E1 mark a device. It is served nothing, in neither epoch and
// under no new token, and approve is the end of it.
func TestH55_ApproveEndsAMarkForGood(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	copied := *m
	copied.Epoch, copied.Sequence = "E2", 0
	copied.Checkin(t)
	refuse := func(mac *portaltest.Mac, problem string) {
		t.Helper()
		request, _ := mac.Next(t)
		portaltest.WantProblem(t, mac.Send(t, request), problem)
	}
	refuse(m, protocol.ProblemDuplicateIdentity)
	before, err := portal.Store.Device(t.Context(), storage.ByID(m.DeviceID))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		refuse(m, protocol.ProblemDuplicateIdentity)
		refuse(&copied, protocol.ProblemDuplicateIdentity)
	}
	portaltest.WantProblem(t, m.SendEnrollment(t, m.Enrollment()), protocol.ProblemDuplicateIdentity)
	after, err := portal.Store.Device(t.Context(), storage.ByID(m.DeviceID))
	if err != nil || after.Version != before.Version || len(portal.VMs(t)) != 1 {
		t.Errorf("a marked device was changed: version %d to %d, %v", before.Version, after.Version, err)
	}

	if view := portal.MustDecide(t, audit.ActionApprove, m.DeviceID, adminapi.Decision{}); view.State != fleet.StateOK {
		t.Errorf("device is %+v", view)
	}
	refuse(m, protocol.ProblemDeviceUnknown) // a token that two have had is over
	m.Enroll(t, http.StatusCreated)
	for range 3 {
		m.Checkin(t) // in E1
	}
	if view := portal.Device(t); view.State != fleet.StateOK || view.Epoch != m.Epoch {
		t.Errorf("device is %+v", view)
	}
}

// Somebody who has read the secret sends bogus keys for a serial number. The Mac
// that lost its key is listed all the same.
func TestH55_BogusKeysDoNotFillTheList(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	told := make(map[string]int)
	for range 12 { // one machine, from outside
		told[portaltest.NewMac(t, portal, m.Serial).EnrollFrom(t, "192.0.2.66")]++
	}
	if told[protocol.EnrollPending] != 3 || told[protocol.ProblemPendingFull] != 9 {
		t.Errorf("bogus keys were told %v", told)
	}
	erased := portaltest.NewMac(t, portal, m.Serial)
	if got := erased.EnrollFrom(t, "198.51.100.7"); got != protocol.EnrollPending {
		t.Fatalf("the Mac is told %s", got)
	}
	for range 20 { // its own share of requests is not theirs
		portaltest.NewMac(t, portal, m.Serial).EnrollFrom(t, "192.0.2.66")
	}
	portal.Clock.Advance(10 * time.Minute)
	if got := erased.EnrollFrom(t, "198.51.100.7"); got != protocol.EnrollPending {
		t.Fatalf("the Mac is told %s", got)
	}
	portal.MustDecide(t, audit.ActionApprove, m.DeviceID, adminapi.Decision{KeyID: erased.KeyID()})
	if got := erased.EnrollFrom(t, "198.51.100.7"); got != protocol.EnrollApproved {
		t.Errorf("after its approval the Mac is told %s", got)
	}
	if view := portal.Device(t); len(view.Pending) != 0 || view.State != fleet.StateOK {
		t.Errorf("device is %+v", view)
	}
}

// From many networks the list can be filled: the Mac is told so, keys that fall
// silent make room, and a network that has much gives to one that has nothing.
func TestH55_AFullListIsSaidAndAgesOut(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	erased := portaltest.NewMac(t, portal, m.Serial)
	bogus := func(network int) string {
		return portaltest.NewMac(t, portal, m.Serial).EnrollFrom(t, fmt.Sprintf("203.0.113.%d", network))
	}
	for network := range storage.MaxPending {
		if got := bogus(network); got != protocol.EnrollPending {
			t.Fatalf("bogus key %d is told %s", network, got)
		}
	}
	if got := erased.EnrollFrom(t, "198.51.100.7"); got != protocol.ProblemPendingFull {
		t.Fatalf("the Mac is told %s", got)
	}
	portal.Clock.Advance(31 * time.Minute)
	if got := erased.EnrollFrom(t, "198.51.100.7"); got != protocol.EnrollPending {
		t.Fatalf("after half an hour of silence the Mac is told %s", got)
	}
	portal.Clock.Advance(20 * time.Minute)
	erased.EnrollFrom(t, "198.51.100.7")
	for network := range 3 * storage.MaxPending {
		portal.Clock.Advance(time.Minute)
		bogus(network)
	}
	if _, waits := keyOf(portal.Device(t).Pending, erased.KeyID()); !waits {
		t.Error("a key that keeps asking was pushed out")
	}
}

func TestH55_ANetworkThatHasMuchGivesToOneThatHasNothing(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	for i := range storage.MaxPending {
		portaltest.NewMac(t, portal, m.Serial).EnrollFrom(t, fmt.Sprintf("203.0.113.%d", i/3))
	}
	first := portal.Device(t).Pending[0].KeyID
	erased := portaltest.NewMac(t, portal, m.Serial)
	if got := erased.EnrollFrom(t, "198.51.100.7"); got != protocol.EnrollPending {
		t.Fatalf("the Mac is told %s", got)
	}
	view := portal.Device(t)
	if _, waits := keyOf(view.Pending, first); !waits || len(view.Pending) != storage.MaxPending {
		t.Errorf("the list is %+v, want the first of each network kept", view.Pending)
	}
}

func keyOf(keys []fleet.PendingKey, id string) (fleet.PendingKey, bool) {
	for _, key := range keys {
		if key.KeyID == id {
			return key, true
		}
	}
	return fleet.PendingKey{}, false
}

func TestH55_RejectedKeysAreToldAndForgiven(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	first, second := portaltest.NewMac(t, portal, m.Serial), portaltest.NewMac(t, portal, m.Serial)
	first.Enroll(t, http.StatusAccepted)
	second.Enroll(t, http.StatusAccepted)
	portaltest.WantProblem(t, portal.Decide(t, audit.ActionReject, m.DeviceID, adminapi.Decision{}), protocol.ProblemInvalidRequest) // which?
	portal.MustDecide(t, audit.ActionReject, m.DeviceID, adminapi.Decision{KeyID: first.KeyID(), Reason: "unknown", By: "carol"})
	if view := portal.Device(t); len(view.Pending) != 1 || len(view.Rejected) != 1 || view.Rejected[0].KeyID != first.KeyID() {
		t.Errorf("device is %+v", view)
	}
	portaltest.WantProblem(t, first.SendEnrollment(t, first.Enrollment()), protocol.ProblemEnrollmentDenied)
	second.Enroll(t, http.StatusAccepted)
	portal.MustDecide(t, audit.ActionReject, m.DeviceID, adminapi.Decision{All: true})
	portaltest.WantProblem(t, second.SendEnrollment(t, second.Enrollment()), protocol.ProblemEnrollmentDenied)
	portaltest.WantProblem(t, portal.Decide(t, audit.ActionReject, m.DeviceID, adminapi.Decision{All: true}), protocol.ProblemInvalidRequest)
	m.Checkin(t)
	if view := portal.Device(t); view.State != fleet.StateOK {
		t.Errorf("device is %+v", view)
	}
	portal.MustDecide(t, audit.ActionApprove, m.DeviceID, adminapi.Decision{KeyID: first.KeyID()}) // it was a mistake
	first.Enroll(t, http.StatusCreated)
	entries := readAudit(t, portal)
	if len(entries) != 3 || entries[0].Reason != "unknown" || entries[0].By != "carol" || entries[0].KeyIDs[0] != first.KeyID() ||
		entries[0].Source != "127.0.0.1" || entries[2].Action != audit.ActionApprove || entries[2].DeviceID != m.DeviceID {
		t.Errorf("audit log is %+v", entries)
	}
}

func readAudit(t *testing.T, portal *portaltest.Portal) []audit.Entry {
	t.Helper()
	file, err := os.Open(portal.AuditPath())
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var entries []audit.Entry
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var entry audit.Entry
		if err := json.Unmarshal(lines.Bytes(), &entry); err != nil {
			t.Fatal(err)
		}
		entries = append(entries, entry)
	}
	return entries
}

// A key that waits must not be worth more to somebody who caught its request than
// to its Mac.
func TestH55_AnApprovedKeyIsNotReplayed(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	erased := portaltest.NewMac(t, portal, m.Serial)
	caught := erased.EnrollmentBody(t, erased.Enrollment())
	send := func() portaltest.Answer { return portal.Call(t, http.MethodPost, "/v1/enroll", caught) }
	if got := send(); got.Status != http.StatusAccepted {
		t.Fatalf("answer is %d %s", got.Status, got.Body)
	}
	portaltest.WantProblem(t, send(), protocol.ProblemEnrollmentReplay)
	portal.MustDecide(t, audit.ActionApprove, m.DeviceID, adminapi.Decision{KeyID: erased.KeyID()})
	portaltest.WantProblem(t, send(), protocol.ProblemEnrollmentReplay)
	erased.Enroll(t, http.StatusCreated)
}

func TestH55_RetireEndsADevice(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	portaltest.NewMac(t, portal, m.Serial).Enroll(t, http.StatusAccepted)
	portal.Clock.Advance(time.Hour)
	view := portal.MustDecide(t, audit.ActionRetire, m.DeviceID, adminapi.Decision{})
	if view.State != fleet.StateRetired || view.VMs != 0 || len(view.Pending) != 0 {
		t.Errorf("device is %+v", view)
	}
	request, _ := m.Next(t)
	portaltest.WantProblem(t, m.Send(t, request), protocol.ProblemDeviceUnknown)
	portaltest.WantProblem(t, m.SendEnrollment(t, m.Enrollment()), protocol.ProblemDeviceRetired)
	if rows := portal.VMs(t); len(rows) != 0 {
		t.Errorf("rows are %v", rows)
	}
	left, _ := portal.List(t, "vms", url.Values{"since": {portaltest.Morning.Add(time.Minute).Format(time.RFC3339)}})
	if len(left) != 1 || left[0]["removed_at"] == nil {
		t.Errorf("who looks at what changed is told %v", left)
	}
	portaltest.WantProblem(t, portal.Decide(t, audit.ActionRetire, m.DeviceID, adminapi.Decision{}), protocol.ProblemInvalidRequest)

	again := portaltest.NewMac(t, portal, m.Serial) // erased, for the next owner
	again.Enroll(t, http.StatusAccepted)
	portal.MustDecide(t, audit.ActionApprove, m.DeviceID, adminapi.Decision{KeyID: again.KeyID()})
	again.Enroll(t, http.StatusCreated)
	again.Checkin(t)
	if view := portal.Device(t); view.State != fleet.StateOK || len(portal.VMs(t)) != 1 {
		t.Errorf("device is %+v", view)
	}
	m.Enroll(t, http.StatusAccepted) // its old key is one that waits
}

func TestH55_ARetirementIsTakenBack(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	portal.MustDecide(t, audit.ActionRetire, m.DeviceID, adminapi.Decision{})
	portal.MustDecide(t, audit.ActionApprove, m.DeviceID, adminapi.Decision{})
	m.Enroll(t, http.StatusCreated)
	m.Base = protocol.Baseline{}
	m.Checkin(t)
	if rows := portal.VMs(t); len(rows) != 1 {
		t.Errorf("rows are %v", rows)
	}
}
