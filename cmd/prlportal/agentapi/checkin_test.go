package agentapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/fleet"
	"prlagent/cmd/prlportal/portaltest"
	"prlagent/cmd/prlportal/storage"
)

func TestCheckinAnswersWithTheHint(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	reply := portaltest.Enrolled(t, portal).Checkin(t)
	if reply.Policy == nil || reply.Policy.HeadVersion != 1 || reply.Policy.SHA256 != "" {
		t.Errorf("hint is %+v, want head version 1 without a policy", reply.Policy)
	}
	if !reply.ServerTime.Equal(portaltest.Morning) || reply.NextCheckin != 3600 || reply.SplaySecs != 300 {
		t.Errorf("reply is %+v", reply)
	}
}

func TestCheckinHasNoHintWithoutAHead(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.NewMac(t, portal, "C02AAAAAAAAA")
	m.Hint = "a-group-without-a-head"
	m.Enroll(t, http.StatusCreated)
	if reply := m.Checkin(t); reply.Policy != nil {
		t.Errorf("hint is %+v, want none", reply.Policy)
	}
}

func TestCheckinNeedsAToken(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	request, _ := m.Next(t)
	m.Token = ""
	portaltest.WantProblem(t, m.Send(t, request), protocol.ProblemUnauthenticated)
	m.Token = "of another portal"
	portaltest.WantProblem(t, m.Send(t, request), protocol.ProblemDeviceUnknown)
}

// The reply to a report is lost: the Mac sends the same bytes again.
func TestProtocol9_RepeatedRequestGetsTheSameReplyAndMakesOneRow(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.NewMac(t, portal, "C02AAAAAAAAA")
	m.Enroll(t, http.StatusCreated)
	request, _ := m.Next(t)
	first := m.Send(t, request)
	version := storedVersion(t, portal, m.DeviceID)

	portal.Clock.Advance(23 * time.Hour)
	second := m.Send(t, request)
	var replies [2]protocol.CheckinReply
	first.Decode(t, &replies[0])
	second.Decode(t, &replies[1])
	if !replies[1].ServerTime.Equal(portaltest.Morning.Add(23 * time.Hour)) {
		t.Errorf("server time is %v, want it fresh", replies[1].ServerTime)
	}
	replies[1].ServerTime = replies[0].ServerTime
	if difference := cmp.Diff(replies[0], replies[1]); difference != "" {
		t.Errorf("replies differ: %s", difference)
	}
	if rows := portal.VMs(t); len(rows) != 1 {
		t.Errorf("%d rows, want 1", len(rows))
	}
	if got := storedVersion(t, portal, m.DeviceID); got != version {
		t.Errorf("the repeat wrote: version %d after %d", got, version)
	}
	if arrivals := arrivals(portal); len(arrivals) != 1 {
		t.Errorf("the log tells of %q, want one arrival", arrivals)
	}
}

// arrivals are the log lines of accepted check-ins.
func arrivals(portal *portaltest.Portal) []string {
	lines := strings.Split(portal.Log.String(), "\n")
	return slices.DeleteFunc(lines, func(line string) bool { return !strings.Contains(line, `"check-in accepted"`) })
}

func TestH15_ReasonsOfACheckinAreShownSafelyAndBounded(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.NewMac(t, portal, "C02AAAAAAAAA")
	m.Enroll(t, http.StatusCreated)
	request, _ := m.Next(t)
	started := protocol.Trigger{Reason: "vm_started", Count: 2, FirstAt: portaltest.Morning, LastAt: portaltest.Morning, VMID: "d58af92c-3192-4c30-9cbf-da12a2d265f8"}
	steering := started
	steering.Reason, steering.VMID = "\x1b[2J\u202e", strings.Repeat("x", 2*protocol.MaxName)
	request.Triggers = []protocol.Trigger{started, steering, started}
	for len(request.Triggers) <= storage.MaxTriggers {
		request.Triggers = append(request.Triggers, started)
	}
	if got := m.Send(t, request); got.Status != http.StatusOK {
		t.Fatalf("check-in answered %d", got.Status)
	}
	told := arrivals(portal)
	want := fmt.Sprintf(`{"level":"info","device":%q,"sequence":1,"triggers":[{"reason":"vm_started","count":2,"vm_id":%q},{"reason":"\\x1b[2J\\u202e","count":2,"vm_id":%q},`,
		m.DeviceID, started.VMID, strings.Repeat("x", protocol.MaxName))
	if len(told) != 1 || !strings.HasPrefix(told[0], want) || strings.Count(told[0], `"reason"`) != storage.MaxTriggers {
		t.Errorf("the log tells\n%s\nwant one line that begins\n%s", told, want)
	}

	shown := portal.Device(t)
	if shown.LastReasons != "vm_started, \x1b[2J\u202e" || len(shown.LastTriggers) != storage.MaxTriggers || shown.LastTriggers[0] != started {
		t.Errorf("the device is shown with %q, %d triggers", shown.LastReasons, len(shown.LastTriggers))
	}

	// A check-in that only completes this one leaves the reasons.
	completing, _ := m.Next(t)
	completing.Triggers = []protocol.Trigger{}
	m.Send(t, completing)
	if shown := portal.Device(t); shown.Sequence != 2 || len(shown.LastTriggers) != storage.MaxTriggers {
		t.Errorf("after a check-in without reasons the device is shown with %d triggers", len(shown.LastTriggers))
	}
	one, _ := m.Next(t)
	m.Send(t, one)
	if shown := portal.Device(t); shown.LastReasons != "manual" || len(shown.LastTriggers) != 1 {
		t.Errorf("after a check-in with one reason the device is shown with %q", shown.LastReasons)
	}
}

func storedVersion(t *testing.T, portal *portaltest.Portal, deviceID string) uint64 {
	t.Helper()
	device, err := portal.Store.Device(t.Context(), storage.ByID(deviceID))
	if err != nil {
		t.Fatal(err)
	}
	return device.Version
}

// H03: the acknowledgement is kept, what the portal wants is not.
func TestH03_RepeatSeesAHeadThatCameInBetween(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	request, _ := m.Next(t)
	m.Send(t, request)
	writeHead(t, portal, "default", protocol.Head{HeadVersion: 2})
	var reply protocol.CheckinReply
	m.Send(t, request).Decode(t, &reply)
	if reply.Policy == nil || reply.Policy.HeadVersion != 2 {
		t.Errorf("hint is %+v, want head version 2", reply.Policy)
	}
}

// A report that was overtaken by newer ones is still a repeat for a day, and
// not the report of another Mac.
func TestH03_AnOlderRequestIsARepeatForADay(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	older, base := m.Next(t)
	first := m.Send(t, older)
	m.Base = base
	m.Checkin(t)
	m.Checkin(t)

	const day = 24 * time.Hour
	for _, later := range []time.Duration{0, day - time.Second} {
		portal.Clock.Advance(later)
		again := m.Send(t, older)
		var replies [2]protocol.CheckinReply
		first.Decode(t, &replies[0])
		again.Decode(t, &replies[1])
		if again.Status != http.StatusOK || replies[1].Inventory != replies[0].Inventory {
			t.Errorf("after %v: %d %s", later, again.Status, again.Body)
		}
		if view := portal.Device(t); view.Duplicate != nil || view.Sequence != m.Sequence {
			t.Errorf("after %v the device is %+v", later, view)
		}
	}

	portal.Clock.Advance(time.Second)
	portaltest.WantProblem(t, m.Send(t, older), protocol.ProblemDuplicateIdentity)
}

func TestCheckinSameIDWithAnotherBodyConflicts(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	request, _ := m.Next(t)
	m.Send(t, request)
	request.Inventory.Hash = "another"
	got := m.Send(t, request)
	portaltest.WantProblem(t, got, protocol.ProblemSequenceConflict)
	problem, _ := protocol.ParseProblem(got.Status, got.Header.Get("Content-Type"), got.Body)
	if problem.Expected != request.Sequence+1 {
		t.Errorf("expected is %d, want %d", problem.Expected, request.Sequence+1)
	}
	if view := portal.Device(t); view.Duplicate != nil {
		t.Error("a sender's slip was taken for a duplicate identity")
	}
}

func TestProtocol9_AnswersAreForgottenAfterADay(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	portal.Clock.Advance(25 * time.Hour)
	m.Checkin(t)
	device, err := portal.Store.Device(t.Context(), storage.ByID(m.DeviceID))
	if err != nil {
		t.Fatal(err)
	}
	if len(device.Requests) != 1 {
		t.Errorf("%d answers are kept, want the last one", len(device.Requests))
	}
}

// Clocks differ: a Mac whose day is longer than the portal's repeats its last
// report, and is no duplicate of itself.
func TestH02_TheLastReportCanBeRepeatedForEver(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	request, base := m.Next(t)
	first := m.Send(t, request)
	portal.Clock.Advance(72 * time.Hour)
	again := m.Send(t, request)
	if first.Status != http.StatusOK || again.Status != http.StatusOK {
		t.Fatalf("answers %d and %d %s", first.Status, again.Status, again.Body)
	}
	m.Base = base
	m.Checkin(t)
	if view := portal.Device(t); view.State != fleet.StateOK {
		t.Errorf("device is %+v", view)
	}
}

func TestH02_ANumberUsedTwiceIsADuplicateIdentity(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	clone := *m // same disk, same epoch, same number
	m.Checkin(t)

	request, _ := clone.Next(t)
	portaltest.WantProblem(t, clone.Send(t, request), protocol.ProblemDuplicateIdentity)
	view := portal.Device(t)
	if view.State != fleet.StateDuplicate || view.Duplicate.Reason != storage.DuplicateSequence || view.Duplicate.Count != 1 {
		t.Errorf("device is %+v, want it marked", view)
	}
	if view.Sequence != m.Sequence {
		t.Errorf("the refused report moved the sequence to %d", view.Sequence)
	}
	request, _ = m.Next(t) // it is served nothing until a person decides (H55)
	portaltest.WantProblem(t, m.Send(t, request), protocol.ProblemDuplicateIdentity)
	if view := portal.Device(t); view.State != fleet.StateDuplicate {
		t.Error("the mark is gone although nobody lifted it")
	}
}

func TestH02_EpochsThatAlternateAreADuplicateIdentity(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	clone := *m
	clone.Epoch, clone.Sequence = "epoch of the clone", 0
	clone.Checkin(t) // a new epoch alone is what a restored state looks like
	if view := portal.Device(t); view.State != fleet.StateOK || view.Epoch != clone.Epoch {
		t.Fatalf("device is %+v, want the new epoch accepted", view)
	}
	request, _ := m.Next(t)
	portaltest.WantProblem(t, m.Send(t, request), protocol.ProblemDuplicateIdentity)
	view := portal.Device(t)
	if view.State != fleet.StateDuplicate || view.Duplicate.Reason != storage.DuplicateEpoch {
		t.Errorf("device is %+v, want it marked", view)
	}

	path := "/v1/admin/devices/" + m.DeviceID + "/approve"
	if got := portal.Admin(t, http.MethodPost, path, []byte(`{}`)); got.Status != http.StatusOK {
		t.Fatalf("approve answered %d %s", got.Status, got.Body)
	}
	if view := portal.Device(t); view.State != fleet.StateOK {
		t.Errorf("device is %+v, want the mark lifted", view)
	}
}

func TestCheckinRefusesWhatNoAgentSends(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	for field, spoil := range map[string]func(*protocol.CheckinRequest){
		"request_id":       func(r *protocol.CheckinRequest) { r.RequestID = "1" },
		"epoch":            func(r *protocol.CheckinRequest) { r.Epoch = "" },
		"sequence":         func(r *protocol.CheckinRequest) { r.Sequence = 0 },
		"inventory.hash":   func(r *protocol.CheckinRequest) { r.Inventory.Hash = "" },
		"inventory.vms":    func(r *protocol.CheckinRequest) { r.Inventory.VMs = make([]protocol.VM, protocol.MaxVMs+1) },
		"inventory.vms[0]": func(r *protocol.CheckinRequest) { r.Inventory.VMs = make([]protocol.VM, 1) },
	} {
		request, _ := m.Next(t)
		spoil(&request)
		got := m.Send(t, request)
		problem, _ := protocol.ParseProblem(got.Status, got.Header.Get("Content-Type"), got.Body)
		if problem.Name() != protocol.ProblemInvalidRequest || problem.Field != field {
			t.Errorf("%s: answer is %d %s", field, got.Status, got.Body)
		}
	}
}

// One Mac, many requests at once: each one counts once or is refused.
func TestCheckinConcurrently(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	request, _ := m.Next(t)
	body, err := json.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	answers := make(chan portaltest.Answer, 6)
	for range cap(answers) {
		go func() { answers <- m.SendBody(t, body) }()
	}
	for range cap(answers) {
		if got := <-answers; got.Status != http.StatusOK {
			t.Errorf("answer is %d %s", got.Status, got.Body)
		}
	}
	if view := portal.Device(t); view.Sequence != request.Sequence || view.Duplicate != nil {
		t.Errorf("device is %+v", view)
	}
}

// countingStore counts commits.
type countingStore struct {
	fleet.Store
	saves atomic.Int32
}

func (c *countingStore) Save(ctx context.Context, change storage.Change) error {
	c.saves.Add(1)
	return c.Store.Save(ctx, change)
}

func TestCheckinIsOneCommitAtMost(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	counting := &countingStore{Store: portal.Store}
	portal.Store = counting
	portal.Start(t)
	m := portaltest.Enrolled(t, portal)
	if got := counting.saves.Swap(0); got != 2 {
		t.Errorf("an enrollment and a full report made %d commits, want 2", got)
	}
	request, _ := m.Next(t)
	m.Send(t, request)
	if got := counting.saves.Swap(0); got != 1 {
		t.Errorf("a quiet check-in made %d commits, want 1", got)
	}
	m.Send(t, request)
	if got := counting.saves.Swap(0); got != 0 {
		t.Errorf("its repeat made %d commits, want none", got)
	}
}
