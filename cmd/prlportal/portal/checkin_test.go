package portal

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/storage"
)

func TestCheckinAnswersWithTheHint(t *testing.T) {
	t.Parallel()
	portal := newTestPortal(t)
	reply := enrolled(t, portal).checkin(t)
	if reply.Policy == nil || reply.Policy.HeadVersion != 1 || reply.Policy.SHA256 != "" {
		t.Errorf("hint is %+v, want head version 1 without a policy", reply.Policy)
	}
	if !reply.ServerTime.Equal(morning) || reply.NextCheckin != 3600 || reply.SplaySecs != 300 {
		t.Errorf("reply is %+v", reply)
	}
}

func TestCheckinHasNoHintWithoutAHead(t *testing.T) {
	t.Parallel()
	portal := newTestPortal(t)
	m := newMac(t, portal, "C02AAAAAAAAA")
	m.hint = "a-group-without-a-head"
	m.enroll(t, http.StatusCreated)
	if reply := m.checkin(t); reply.Policy != nil {
		t.Errorf("hint is %+v, want none", reply.Policy)
	}
}

func TestCheckinNeedsAToken(t *testing.T) {
	t.Parallel()
	portal := newTestPortal(t)
	m := enrolled(t, portal)
	request, _ := m.next(t)
	m.token = ""
	wantProblem(t, m.send(t, request), protocol.ProblemUnauthenticated)
	m.token = "of another portal"
	wantProblem(t, m.send(t, request), protocol.ProblemDeviceUnknown)
}

// The reply to a report is lost: the Mac sends the same bytes again.
func TestProtocol9_RepeatedRequestGetsTheSameReplyAndMakesOneRow(t *testing.T) {
	t.Parallel()
	portal := newTestPortal(t)
	m := newMac(t, portal, "C02AAAAAAAAA")
	m.enroll(t, http.StatusCreated)
	request, _ := m.next(t)
	first := m.send(t, request)
	version := storedVersion(t, portal, m.deviceID)

	portal.clock.advance(23 * time.Hour)
	second := m.send(t, request)
	var replies [2]protocol.CheckinReply
	first.decode(t, &replies[0])
	second.decode(t, &replies[1])
	if !replies[1].ServerTime.Equal(morning.Add(23 * time.Hour)) {
		t.Errorf("server time is %v, want it fresh", replies[1].ServerTime)
	}
	replies[1].ServerTime = replies[0].ServerTime
	if difference := cmp.Diff(replies[0], replies[1]); difference != "" {
		t.Errorf("replies differ: %s", difference)
	}
	if rows := portal.vms(t); len(rows) != 1 {
		t.Errorf("%d rows, want 1", len(rows))
	}
	if got := storedVersion(t, portal, m.deviceID); got != version {
		t.Errorf("the repeat wrote: version %d after %d", got, version)
	}
	if arrivals := arrivals(portal); len(arrivals) != 1 {
		t.Errorf("the log tells of %q, want one arrival", arrivals)
	}
}

// arrivals are the log lines of accepted check-ins.
func arrivals(portal *testPortal) []string {
	lines := strings.Split(portal.log.String(), "\n")
	return slices.DeleteFunc(lines, func(line string) bool { return !strings.Contains(line, `"check-in accepted"`) })
}

func TestH15_ReasonsOfACheckinAreShownSafelyAndBounded(t *testing.T) {
	t.Parallel()
	portal := newTestPortal(t)
	m := newMac(t, portal, "C02AAAAAAAAA")
	m.enroll(t, http.StatusCreated)
	request, _ := m.next(t)
	started := protocol.Trigger{Reason: "vm_started", Count: 2, FirstAt: morning, LastAt: morning, VMID: "d58af92c-3192-4c30-9cbf-da12a2d265f8"}
	steering := started
	steering.Reason, steering.VMID = "\x1b[2J\u202e", strings.Repeat("x", 2*protocol.MaxName)
	request.Triggers = []protocol.Trigger{started, steering, started}
	for len(request.Triggers) <= storage.MaxTriggers {
		request.Triggers = append(request.Triggers, started)
	}
	if got := m.send(t, request); got.status != http.StatusOK {
		t.Fatalf("check-in answered %d", got.status)
	}
	told := arrivals(portal)
	want := fmt.Sprintf(`{"level":"info","device":%q,"sequence":1,"triggers":[{"reason":"vm_started","count":2,"vm_id":%q},{"reason":"\\x1b[2J\\u202e","count":2,"vm_id":%q},`,
		m.deviceID, started.VMID, strings.Repeat("x", protocol.MaxName))
	if len(told) != 1 || !strings.HasPrefix(told[0], want) || strings.Count(told[0], `"reason"`) != storage.MaxTriggers {
		t.Errorf("the log tells\n%s\nwant one line that begins\n%s", told, want)
	}

	shown := portal.device(t)
	if shown.LastReasons != "vm_started, \x1b[2J\u202e" || len(shown.LastTriggers) != storage.MaxTriggers || shown.LastTriggers[0] != started {
		t.Errorf("the device is shown with %q, %d triggers", shown.LastReasons, len(shown.LastTriggers))
	}

	// A check-in that only completes this one leaves the reasons.
	completing, _ := m.next(t)
	completing.Triggers = []protocol.Trigger{}
	m.send(t, completing)
	if shown := portal.device(t); shown.Sequence != 2 || len(shown.LastTriggers) != storage.MaxTriggers {
		t.Errorf("after a check-in without reasons the device is shown with %d triggers", len(shown.LastTriggers))
	}
	one, _ := m.next(t)
	m.send(t, one)
	if shown := portal.device(t); shown.LastReasons != "manual" || len(shown.LastTriggers) != 1 {
		t.Errorf("after a check-in with one reason the device is shown with %q", shown.LastReasons)
	}
}

func storedVersion(t *testing.T, portal *testPortal, deviceID string) uint64 {
	t.Helper()
	device, err := portal.store.Device(t.Context(), storage.ByID(deviceID))
	if err != nil {
		t.Fatal(err)
	}
	return device.Version
}

// H03: the acknowledgement is kept, what the portal wants is not.
func TestH03_RepeatSeesAHeadThatCameInBetween(t *testing.T) {
	t.Parallel()
	portal := newTestPortal(t)
	m := enrolled(t, portal)
	request, _ := m.next(t)
	m.send(t, request)
	writeHead(t, portal, "default", protocol.Head{HeadVersion: 2})
	var reply protocol.CheckinReply
	m.send(t, request).decode(t, &reply)
	if reply.Policy == nil || reply.Policy.HeadVersion != 2 {
		t.Errorf("hint is %+v, want head version 2", reply.Policy)
	}
}

// A report that was overtaken by newer ones is still a repeat for a day, and
// not the report of another Mac.
func TestH03_AnOlderRequestIsARepeatForADay(t *testing.T) {
	t.Parallel()
	portal := newTestPortal(t)
	m := enrolled(t, portal)
	older, base := m.next(t)
	first := m.send(t, older)
	m.base = base
	m.checkin(t)
	m.checkin(t)

	const day = 24 * time.Hour
	for _, later := range []time.Duration{0, day - time.Second} {
		portal.clock.advance(later)
		again := m.send(t, older)
		var replies [2]protocol.CheckinReply
		first.decode(t, &replies[0])
		again.decode(t, &replies[1])
		if again.status != http.StatusOK || replies[1].Inventory != replies[0].Inventory {
			t.Errorf("after %v: %d %s", later, again.status, again.body)
		}
		if view := portal.device(t); view.Duplicate != nil || view.Sequence != m.sequence {
			t.Errorf("after %v the device is %+v", later, view)
		}
	}

	portal.clock.advance(time.Second)
	wantProblem(t, m.send(t, older), protocol.ProblemDuplicateIdentity)
}

func TestCheckinSameIDWithAnotherBodyConflicts(t *testing.T) {
	t.Parallel()
	portal := newTestPortal(t)
	m := enrolled(t, portal)
	request, _ := m.next(t)
	m.send(t, request)
	request.Inventory.Hash = "another"
	got := m.send(t, request)
	wantProblem(t, got, protocol.ProblemSequenceConflict)
	problem, _ := protocol.ParseProblem(got.status, got.header.Get("Content-Type"), got.body)
	if problem.Expected != request.Sequence+1 {
		t.Errorf("expected is %d, want %d", problem.Expected, request.Sequence+1)
	}
	if view := portal.device(t); view.Duplicate != nil {
		t.Error("a sender's slip was taken for a duplicate identity")
	}
}

func TestProtocol9_AnswersAreForgottenAfterADay(t *testing.T) {
	t.Parallel()
	portal := newTestPortal(t)
	m := enrolled(t, portal)
	portal.clock.advance(25 * time.Hour)
	m.checkin(t)
	device, err := portal.store.Device(t.Context(), storage.ByID(m.deviceID))
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
	portal := newTestPortal(t)
	m := enrolled(t, portal)
	request, base := m.next(t)
	first := m.send(t, request)
	portal.clock.advance(72 * time.Hour)
	again := m.send(t, request)
	if first.status != http.StatusOK || again.status != http.StatusOK {
		t.Fatalf("answers %d and %d %s", first.status, again.status, again.body)
	}
	m.base = base
	m.checkin(t)
	if view := portal.device(t); view.State != deviceOK {
		t.Errorf("device is %+v", view)
	}
}

func TestProtocol7_RefusedBodies(t *testing.T) {
	t.Parallel()
	portal := newTestPortal(t)
	m := enrolled(t, portal)
	before := storedVersion(t, portal, m.deviceID)
	for _, test := range []struct{ name, body, want string }{
		{"duplicate keys", `{"protocol":1,"protocol":1}`, protocol.ProblemInvalidRequest},
		{"keys that differ in case", `{"protocol":1,"Protocol":1}`, protocol.ProblemInvalidRequest},
		{"duplicate keys far inside", `{"protocol":1,"events":[{"data":{"a":"1","a":"2"}}]}`, protocol.ProblemInvalidRequest},
		{"depth 17", strings.Repeat(`{"a":`, 17) + "1" + strings.Repeat("}", 17), protocol.ProblemInvalidRequest},
		{"2 MiB and one byte", `{"a":"` + strings.Repeat("x", protocol.MaxRequest-7) + `"}`, protocol.ProblemTooLarge},
		{"two values", `{} {}`, protocol.ProblemInvalidRequest},
		{"no JSON", `<html>`, protocol.ProblemInvalidRequest},
		{"nothing", ``, protocol.ProblemInvalidRequest},
		{"another protocol", `{"protocol":2}`, protocol.ProblemUnsupported},
	} {
		t.Run(test.name, func(t *testing.T) {
			wantProblem(t, m.sendBody(t, []byte(test.body)), test.want)
		})
	}
	if after := storedVersion(t, portal, m.deviceID); after != before {
		t.Error("a refused body changed the device")
	}
}

func TestProtocol7_DepthSixteenIsRead(t *testing.T) {
	t.Parallel()
	body := []byte(strings.Repeat(`{"a":`, 16) + "1" + strings.Repeat("}", 16))
	if err := decodeBody(body, &struct{}{}); err != nil {
		t.Errorf("depth 16: %v", err)
	}
}

func zipped(t testing.TB, body []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	writer := gzip.NewWriter(&out)
	_, err := writer.Write(body)
	if err := errors.Join(err, writer.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// countingReader counts what was taken from it.
type countingReader struct {
	reader *bytes.Reader
	taken  int
}

func (c *countingReader) Read(buffer []byte) (int, error) {
	n, err := c.reader.Read(buffer)
	c.taken += n
	return n, err
}

func TestProtocol8_GzipBombIsBounded(t *testing.T) {
	t.Parallel()
	bomb := zipped(t, make([]byte, 64<<20))
	source := &countingReader{reader: bytes.NewReader(bomb)}
	if _, err := inflate(source, protocol.MaxRequest); !errors.Is(err, protocol.ErrTooLarge) {
		t.Fatalf("inflate: %v, want ErrTooLarge", err)
	}
	// Zeros shrink a thousandfold: 2 MiB and the reader's buffer are a few
	// KiB of the bomb, and what was not taken was not decompressed.
	if limit := len(bomb) / 8; source.taken > limit {
		t.Errorf("%d of %d bytes were taken, want at most %d", source.taken, len(bomb), limit)
	}
}

func TestProtocol8_GzipBombIsTooLarge(t *testing.T) {
	t.Parallel()
	m := enrolled(t, newTestPortal(t))
	wantProblem(t, m.sendBody(t, zipped(t, make([]byte, 64<<20)), "Content-Encoding", "gzip"), protocol.ProblemTooLarge)
}

func TestProtocol8_CompressedSizeIsBounded(t *testing.T) {
	t.Parallel()
	source := &countingReader{reader: bytes.NewReader(append(zipped(t, []byte("{}")), make([]byte, 1<<20)...))}
	if _, err := inflate(source, protocol.MaxRequest); err == nil {
		t.Fatal("a body with a megabyte of padding was read")
	}
	if source.taken > protocol.MaxRequestGzip+1 {
		t.Errorf("%d bytes were taken, want at most %d", source.taken, protocol.MaxRequestGzip+1)
	}
}

// The bound of a body lets through what just fits, and says of the rest that
// it is too much as often as it is asked.
func TestProtocol8_BoundOfABody(t *testing.T) {
	t.Parallel()
	for size, fits := range map[int]bool{0: true, 9: true, 10: true, 11: false, 20: false} {
		bounded := &boundedReader{reader: bytes.NewReader(make([]byte, size)), left: 10}
		body, err := io.ReadAll(bounded)
		if fits && (err != nil || len(body) != size) || !fits && !errors.Is(err, protocol.ErrTooLarge) {
			t.Errorf("of %d bytes %d were read, %v", size, len(body), err)
		}
		if again, err := bounded.Read(make([]byte, 10)); !fits && (again != 0 || !errors.Is(err, protocol.ErrTooLarge)) {
			t.Errorf("of %d bytes %d more were read, %v", size, again, err)
		}
	}
}

func TestCheckinEncodings(t *testing.T) {
	t.Parallel()
	portal := newTestPortal(t)
	m := enrolled(t, portal)
	request, _ := m.next(t)
	body, err := json.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	wantProblem(t, m.sendBody(t, body, "Content-Encoding", "br"), protocol.ProblemEncoding)
	wantProblem(t, m.sendBody(t, body, "Content-Encoding", "gzip"), protocol.ProblemInvalidRequest)
	if got := m.sendBody(t, zipped(t, body), "Content-Encoding", "gzip"); got.status != http.StatusOK {
		t.Errorf("gzip: %d %s", got.status, got.body)
	}
}

func TestH02_ANumberUsedTwiceIsADuplicateIdentity(t *testing.T) {
	t.Parallel()
	portal := newTestPortal(t)
	m := enrolled(t, portal)
	clone := *m // same disk, same epoch, same number
	m.checkin(t)

	request, _ := clone.next(t)
	wantProblem(t, clone.send(t, request), protocol.ProblemDuplicateIdentity)
	view := portal.device(t)
	if view.State != deviceDuplicate || view.Duplicate.Reason != storage.DuplicateSequence || view.Duplicate.Count != 1 {
		t.Errorf("device is %+v, want it marked", view)
	}
	if view.Sequence != m.sequence {
		t.Errorf("the refused report moved the sequence to %d", view.Sequence)
	}
	m.checkin(t)
	if view := portal.device(t); view.State != deviceDuplicate {
		t.Error("the mark is gone although nobody lifted it")
	}
}

func TestH02_EpochsThatAlternateAreADuplicateIdentity(t *testing.T) {
	t.Parallel()
	portal := newTestPortal(t)
	m := enrolled(t, portal)
	clone := *m
	clone.epoch, clone.sequence = "epoch of the clone", 0
	clone.checkin(t) // a new epoch alone is what a restored state looks like
	if view := portal.device(t); view.State != deviceOK || view.Epoch != clone.epoch {
		t.Fatalf("device is %+v, want the new epoch accepted", view)
	}
	request, _ := m.next(t)
	wantProblem(t, m.send(t, request), protocol.ProblemDuplicateIdentity)
	view := portal.device(t)
	if view.State != deviceDuplicate || view.Duplicate.Reason != storage.DuplicateEpoch {
		t.Errorf("device is %+v, want it marked", view)
	}

	path := "/v1/admin/devices/" + m.deviceID + "/approve"
	if got := portal.admin(t, http.MethodPost, path, []byte(`{}`)); got.status != http.StatusOK {
		t.Fatalf("approve answered %d %s", got.status, got.body)
	}
	if view := portal.device(t); view.State != deviceOK {
		t.Errorf("device is %+v, want the mark lifted", view)
	}
}

func TestCheckinGapAsksForEverything(t *testing.T) {
	t.Parallel()
	portal := newTestPortal(t)
	m := enrolled(t, portal)
	m.sequence += 3 // three reports never arrived
	request, _ := m.next(t)
	var reply protocol.CheckinReply
	m.send(t, request).decode(t, &reply)
	if reply.Inventory != protocol.InventorySendFull {
		t.Errorf("answer is %s, want send_full", reply.Inventory)
	}
	m.base = protocol.Baseline{}
	m.sequence++
	request, _ = m.next(t)
	m.send(t, request).decode(t, &reply)
	if reply.Inventory != protocol.InventoryOK {
		t.Errorf("answer to everything is %s, want ok", reply.Inventory)
	}
}

func TestCheckinDeltaOfAnUnknownBaseChangesNoRow(t *testing.T) {
	t.Parallel()
	portal := newTestPortal(t)
	m := enrolled(t, portal)
	request, _ := m.next(t)
	request.Inventory = protocol.Inventory{Hash: "new", Base: "never acknowledged", VMs: []protocol.VM{windows("Windows 10")}}
	var reply protocol.CheckinReply
	m.send(t, request).decode(t, &reply)
	if reply.Inventory != protocol.InventorySendFull {
		t.Errorf("answer is %s, want send_full", reply.Inventory)
	}
	if rows := portal.vms(t); len(rows) != 1 || rows["Windows 10"] != nil {
		t.Errorf("rows are %v", rows)
	}
}

func TestINV_34_UnchangedReportMovesOnlyTheTime(t *testing.T) {
	t.Parallel()
	portal := newTestPortal(t)
	m := enrolled(t, portal)
	before, err := portal.store.Report(t.Context(), m.deviceID)
	if err != nil {
		t.Fatal(err)
	}
	portal.clock.advance(time.Hour)
	request, _ := m.next(t)
	if request.Inventory.VMs != nil || request.Host != nil || request.Inventory.Base != "" {
		t.Fatalf("request is %+v, want the hash alone", request)
	}
	var reply protocol.CheckinReply
	m.send(t, request).decode(t, &reply)
	after, err := portal.store.Report(t.Context(), m.deviceID)
	if err != nil {
		t.Fatal(err)
	}
	if difference := cmp.Diff(before, after); difference != "" || reply.Inventory != protocol.InventoryOK {
		t.Errorf("answer is %s, report changed: %s", reply.Inventory, difference)
	}
	if got := portal.vms(t)["Windows 11"]["last_reported"]; got != "2026-11-23T10:00:00Z" {
		t.Errorf("last_reported is %v", got)
	}
}

// INV-17: last reported is when the portal heard that the virtual machine is
// there, by the portal's clock.
func TestINV_17_LastReportedIsTheServersReceiveTime(t *testing.T) {
	t.Parallel()
	portal := newTestPortal(t)
	m := enrolled(t, portal)
	lastReported := func() any { return portal.vms(t)["Windows 11"]["last_reported"] }
	if got := lastReported(); got != "2026-11-23T09:00:00Z" {
		t.Errorf("after the first report it is %v", got)
	}

	portal.clock.advance(time.Hour)
	request, base := m.next(t)
	request.SentAt = morning.Add(-1000 * time.Hour) // the Mac's clock has no say
	m.send(t, request)
	m.base = base
	if got := lastReported(); got != "2026-11-23T10:00:00Z" {
		t.Errorf("after a quiet check-in it is %v", got)
	}

	portal.clock.advance(time.Hour)
	m.report.VMs[0].Stale = protocol.CodeUserSession // alice could not be listed
	m.checkin(t)
	portal.clock.advance(time.Hour)
	m.checkin(t)
	if got := lastReported(); got != "2026-11-23T10:00:00Z" {
		t.Errorf("for a stale row it is %v, want the last time it was seen", got)
	}

	m.report.VMs[0].Stale = ""
	m.checkin(t)
	if got := lastReported(); got != "2026-11-23T12:00:00Z" {
		t.Errorf("after it came back it is %v", got)
	}
}

func TestINV_17_UnacknowledgedReportConfirmsNothing(t *testing.T) {
	t.Parallel()
	portal := newTestPortal(t)
	m := enrolled(t, portal)
	portal.clock.advance(time.Hour)
	request, _ := m.next(t)
	request.Inventory = protocol.Inventory{Hash: "new", Base: "never acknowledged"}
	m.send(t, request)
	if got := portal.vms(t)["Windows 11"]["last_reported"]; got != "2026-11-23T09:00:00Z" {
		t.Errorf("last_reported is %v", got)
	}
}

func TestINV_23_RemovedVMLeavesTheTableAndStaysInHistory(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"delta", "full"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			portal := newTestPortal(t)
			m := newMac(t, portal, "C02AAAAAAAAA")
			m.report.VMs = append(m.report.VMs, windows("Debian 12"))
			m.enroll(t, http.StatusCreated)
			m.checkin(t)

			portal.clock.advance(time.Hour)
			m.report.VMs = m.report.VMs[:1]
			if kind == "full" {
				m.base = protocol.Baseline{}
			}
			m.checkin(t)
			if rows := portal.vms(t); len(rows) != 1 || rows["Windows 11"] == nil {
				t.Errorf("rows are %v, want Windows 11 alone", rows)
			}
			wantHistory(t, portal, m.deviceID, "Debian 12")
		})
	}
}

func wantHistory(t *testing.T, portal *testPortal, deviceID, name string) {
	t.Helper()
	got := portal.admin(t, http.MethodGet, "/v1/admin/devices/"+deviceID+"/history", nil)
	var list struct {
		VMs []struct {
			RemovedAt time.Time `json:"removed_at"`
			VM        sentRow   `json:"vm"`
		} `json:"vms"`
	}
	if err := json.Unmarshal(got.body, &list); err != nil {
		t.Fatalf("decode %s: %v", got.body, err)
	}
	if len(list.VMs) != 1 {
		t.Fatalf("history is %s, want one row", got.body)
	}
	past := list.VMs[0]
	if past.VM["vm_name"] != name || !past.RemovedAt.Equal(morning.Add(time.Hour)) || past.VM["last_reported"] != "2026-11-23T09:00:00Z" {
		t.Errorf("history has %+v", past)
	}
}

// What one report removes stands in the history in the order of the table.
func TestINV_23_RemovedTogetherTheyStandInOrder(t *testing.T) {
	t.Parallel()
	portal := newTestPortal(t)
	m := newMac(t, portal, "C02AAAAAAAAA")
	for n := range 12 {
		m.report.VMs = append(m.report.VMs, windows(fmt.Sprint("VM ", n)))
	}
	m.enroll(t, http.StatusCreated)
	m.checkin(t)
	m.report.VMs = m.report.VMs[:1]
	m.checkin(t)
	history, err := portal.store.History(t.Context(), m.deviceID)
	if err != nil || len(history.Rows) != 12 {
		t.Fatalf("history has %d rows, %v", len(history.Rows), err)
	}
	ordered := slices.IsSortedFunc(history.Rows, func(a, b storage.PastRow) int { return a.Row.VM.VMKey.Compare(b.Row.VM.VMKey) })
	if !ordered {
		t.Errorf("history is in no order: %v", history.Rows)
	}
}

func TestINV_08_DeactivationChangesTheStatusOfEveryVM(t *testing.T) {
	t.Parallel()
	portal := newTestPortal(t)
	m := enrolled(t, portal)
	for _, step := range []struct{ state, want string }{
		{protocol.ProductKey, protocol.StatusActive},
		{protocol.ProductDeactivated, protocol.StatusDeactivated},
		{protocol.ProductSSO, protocol.StatusActive},
	} {
		m.report.Product.State = step.state
		m.checkin(t)
		if got := portal.vms(t)["Windows 11"]["vm_status"]; got != step.want {
			t.Errorf("%s: status is %v, want %s", step.state, got, step.want)
		}
	}
}

// A part of a report is complete in itself: it is kept also when the rows that
// came with it are of an unknown base.
func TestCheckinKeepsEachPartByItself(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		part func(*protocol.CheckinRequest)
		kept func(storage.Report) bool
	}{
		"agent": {
			func(r *protocol.CheckinRequest) { r.Agent = &protocol.AgentInfo{Version: "9.9.9", Mode: "monitor"} },
			func(r storage.Report) bool { return r.Agent.Version == "9.9.9" },
		},
		"host": {
			func(r *protocol.CheckinRequest) { r.Host = &protocol.Host{ComputerName: "Bob's Mac"} },
			func(r storage.Report) bool { return r.Host.ComputerName == "Bob's Mac" },
		},
		"product": {
			func(r *protocol.CheckinRequest) { r.Product = &protocol.Product{Version: "27.0.0"} },
			func(r storage.Report) bool { return r.Product.Version == "27.0.0" },
		},
		"policy": {
			func(r *protocol.CheckinRequest) { r.Policy = &protocol.PolicyReport{State: protocol.PolicyFetched} },
			func(r storage.Report) bool { return r.Policy.State == protocol.PolicyFetched },
		},
		"users": {
			func(r *protocol.CheckinRequest) { r.Users = []protocol.UserLook{{Name: "bob", UID: 502}} },
			func(r storage.Report) bool { return len(r.Users) == 1 && r.Users[0].Name == "bob" },
		},
		"nothing": {
			func(*protocol.CheckinRequest) {},
			func(r storage.Report) bool { return r.Agent.Version == "0.1.0" },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			portal := newTestPortal(t)
			m := enrolled(t, portal)
			request, _ := m.next(t)
			request.Agent, request.Host, request.Product, request.Policy, request.Users = nil, nil, nil, nil, nil
			request.Inventory = protocol.Inventory{Hash: "new", Base: "never acknowledged"}
			c.part(&request)
			var reply protocol.CheckinReply
			m.send(t, request).decode(t, &reply)
			report, err := portal.store.Report(t.Context(), m.deviceID)
			if err != nil || reply.Inventory != protocol.InventorySendFull || !c.kept(report) {
				t.Errorf("answered %s; kept is %+v, %v", reply.Inventory, report, err)
			}
		})
	}
}

func TestCheckinKeepsWhatTheMacSaid(t *testing.T) {
	t.Parallel()
	portal := newTestPortal(t)
	m := enrolled(t, portal)
	m.report.Host.ComputerName = "Renamed"
	m.report.VMs[0].State = protocol.StateRunning
	m.checkin(t)
	row := portal.vms(t)["Windows 11"]
	for column, want := range map[string]any{
		"computer_name": "Renamed", "vm_state": "Running", "mac_serial": "C02AAAAAAAAA",
		"pd_version": "26.4.0 (57513)", "vm_edition": nil, "last_command": "None",
	} {
		if row[column] != want {
			t.Errorf("%s is %v, want %v", column, row[column], want)
		}
	}
	if got := row["gaps"].(map[string]any)["vm_edition"]; got != string(protocol.CodeNeverStarted) {
		t.Errorf("reason of the empty cell is %v", got)
	}
}

func TestCheckinForgetsUsersThatAreGone(t *testing.T) {
	t.Parallel()
	portal := newTestPortal(t)
	m := enrolled(t, portal)
	m.checkin(t)
	for _, users := range [][]protocol.UserLook{{{Name: "bob", UID: 502}}, nil} {
		m.report.Users = users
		m.checkin(t)
		kept, err := portal.store.Report(t.Context(), m.deviceID)
		if err != nil || len(kept.Users) != len(users) {
			t.Errorf("users are %v, %v, want %v", kept.Users, err, users)
		}
	}
}

func TestINV_07_UnknownStateShowsItsReason(t *testing.T) {
	t.Parallel()
	portal := newTestPortal(t)
	m := enrolled(t, portal)
	m.report.VMs[0].State, m.report.VMs[0].Stale = protocol.StateUnknown, protocol.CodeServiceDown
	m.checkin(t)
	column := mustChoose(t, []string{"vm_state"}, "table")[0]
	if got := tableRow(portal.vms(t)["Windows 11"]).forPeople(column, time.UTC); got != "Unknown (service_down)" {
		t.Errorf("cell is %q", got)
	}
}

func TestCheckinRefusesWhatNoAgentSends(t *testing.T) {
	t.Parallel()
	portal := newTestPortal(t)
	m := enrolled(t, portal)
	for field, spoil := range map[string]func(*protocol.CheckinRequest){
		"request_id":       func(r *protocol.CheckinRequest) { r.RequestID = "1" },
		"epoch":            func(r *protocol.CheckinRequest) { r.Epoch = "" },
		"sequence":         func(r *protocol.CheckinRequest) { r.Sequence = 0 },
		"inventory.hash":   func(r *protocol.CheckinRequest) { r.Inventory.Hash = "" },
		"inventory.vms":    func(r *protocol.CheckinRequest) { r.Inventory.VMs = make([]protocol.VM, protocol.MaxVMs+1) },
		"inventory.vms[0]": func(r *protocol.CheckinRequest) { r.Inventory.VMs = make([]protocol.VM, 1) },
	} {
		request, _ := m.next(t)
		spoil(&request)
		got := m.send(t, request)
		problem, _ := protocol.ParseProblem(got.status, got.header.Get("Content-Type"), got.body)
		if problem.Name() != protocol.ProblemInvalidRequest || problem.Field != field {
			t.Errorf("%s: answer is %d %s", field, got.status, got.body)
		}
	}
}

func TestCheckinCutsLongTexts(t *testing.T) {
	t.Parallel()
	portal := newTestPortal(t)
	m := newMac(t, portal, "C02AAAAAAAAA")
	m.report.VMs[0].Name = strings.Repeat("é", 200)
	m.enroll(t, http.StatusCreated)
	m.checkin(t)
	if portal.vms(t)[strings.Repeat("é", 127)] == nil {
		t.Error("the name was not cut to 255 bytes between two characters")
	}
}

// One Mac, many requests at once: each one counts once or is refused.
// A hostile device that adds rows report by report gets no further than an
// honest one, and what it says of its Mac stays short in every row.
func TestCheckinRowsDoNotAddUp(t *testing.T) {
	t.Parallel()
	portal := newTestPortal(t)
	m := enrolled(t, portal)
	hash := m.base.Hash
	var reply protocol.CheckinReply
	for round := range 3 {
		request, _ := m.next(t)
		request.Inventory = protocol.Inventory{Hash: fmt.Sprint("round ", round), Base: hash}
		for i := range protocol.MaxVMs - 1 {
			request.Inventory.VMs = append(request.Inventory.VMs, windows(fmt.Sprint(round, "/", i)))
		}
		m.send(t, request).decode(t, &reply)
		if reply.Inventory == protocol.InventoryOK {
			hash = request.Inventory.Hash
		}
	}
	if reply.Inventory != protocol.InventorySendFull {
		t.Errorf("answer is %s, want send_full", reply.Inventory)
	}
	if rows := portal.vms(t); len(rows) != protocol.MaxVMs {
		t.Errorf("%d rows, want %d", len(rows), protocol.MaxVMs)
	}
}

func TestCheckinCutsTheTextsOfEveryRow(t *testing.T) {
	t.Parallel()
	portal := newTestPortal(t)
	m := enrolled(t, portal)
	long := strings.Repeat("n", 10_000)
	m.report.Host.ComputerName, m.report.Product.Version, m.report.Agent.Version = long, long, long
	vm := windows("Windows 11")
	vm.SeenBy = slices.Repeat([]string{long}, 100)
	vm.Gaps = map[string]protocol.Code{protocol.Columns[0].ID: protocol.CodeNeverStarted, "of the future": protocol.Code(long)}
	m.report.VMs = []protocol.VM{vm}
	m.checkin(t)
	if got := portal.admin(t, http.MethodGet, "/v1/admin/vms?per_page=1000", nil); len(got.body) > 16<<10 {
		t.Errorf("one row has %d bytes", len(got.body))
	}
	m.checkin(t) // the report is as acknowledged, whatever was cut
}

func TestCheckinConcurrently(t *testing.T) {
	t.Parallel()
	portal := newTestPortal(t)
	m := enrolled(t, portal)
	request, _ := m.next(t)
	body, err := json.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	answers := make(chan answer, 6)
	for range cap(answers) {
		go func() { answers <- m.sendBody(t, body) }()
	}
	for range cap(answers) {
		if got := <-answers; got.status != http.StatusOK {
			t.Errorf("answer is %d %s", got.status, got.body)
		}
	}
	if view := portal.device(t); view.Sequence != request.Sequence || view.Duplicate != nil {
		t.Errorf("device is %+v", view)
	}
}

// countingStore counts commits.
type countingStore struct {
	store
	saves atomic.Int32
}

func (c *countingStore) Save(ctx context.Context, change storage.Change) error {
	c.saves.Add(1)
	return c.store.Save(ctx, change)
}

func TestCheckinIsOneCommitAtMost(t *testing.T) {
	t.Parallel()
	portal := newTestPortal(t)
	counting := &countingStore{store: portal.store}
	portal.store = counting
	portal.start(t)
	m := enrolled(t, portal)
	if got := counting.saves.Swap(0); got != 2 {
		t.Errorf("an enrollment and a full report made %d commits, want 2", got)
	}
	request, _ := m.next(t)
	m.send(t, request)
	if got := counting.saves.Swap(0); got != 1 {
		t.Errorf("a quiet check-in made %d commits, want 1", got)
	}
	m.send(t, request)
	if got := counting.saves.Swap(0); got != 0 {
		t.Errorf("its repeat made %d commits, want none", got)
	}
}

// FuzzBodies: whatever a client sends, the portal neither fails nor answers
// with anything but its own problems.
func FuzzBodies(f *testing.F) {
	portal := newTestPortal(f)
	m := enrolled(f, portal)
	request, _ := m.next(f)
	report, err := json.Marshal(request)
	if err != nil {
		f.Fatal(err)
	}
	payload, err := json.Marshal(m.enrollment())
	if err != nil {
		f.Fatal(err)
	}
	envelope, err := protocol.Sign(protocol.PayloadEnroll, payload, m.key).JSON()
	if err != nil {
		f.Fatal(err)
	}
	f.Add("/v1/checkin", "", report)
	f.Add("/v1/checkin", "gzip", zipped(f, report))
	f.Add("/v1/enroll", "", envelope)
	f.Add("/v1/enroll", "gzip", []byte{0x1f, 0x8b})
	f.Add("/v1/checkin", "", []byte(`{"protocol":1,"inventory":{"vms":[null],"removed":[{}]}}`))
	handler := portal.web.Config.Handler
	f.Fuzz(func(t *testing.T, path, encoding string, body []byte) {
		if path != "/v1/checkin" && path != "/v1/enroll" {
			return
		}
		request := httptest.NewRequest(http.MethodPost, path, bytes.NewReader(body))
		request.Header.Set("Authorization", "Bearer "+m.token)
		request.Header.Set("Content-Encoding", encoding)
		recorded := httptest.NewRecorder()
		handler.ServeHTTP(recorded, request)
		if recorded.Code < 300 {
			return
		}
		problem, ours := protocol.ParseProblem(recorded.Code, recorded.Header().Get("Content-Type"), recorded.Body.Bytes())
		if !ours || problem.Name() == protocol.ProblemInternal {
			t.Errorf("%s answered %d %s", path, recorded.Code, recorded.Body)
		}
	})
}

func BenchmarkQuietCheckin(b *testing.B) {
	portal := newTestPortal(b)
	database, err := storage.OpenBolt(filepath.Join(b.TempDir(), databaseFile))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { database.Close() })
	portal.store = database
	portal.config.Enrollments = EnrollmentLimits{PerSource: 1 << 20, PerSerial: 1 << 20}
	portal.start(b)
	portal.contract = contract{}
	portal.web.Client().Transport.(*http.Transport).MaxIdleConnsPerHost = 64
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		m := newMac(b, portal, uuid.NewString())
		m.benchEnroll(b)
		for pb.Next() {
			m.benchCheckin(b)
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "check-ins/s")
}

// Whatever a report says of a Mac and its machines has an end, also in fields
// that are yet to come.
func TestH51_EveryTextOfAReportIsCut(t *testing.T) {
	t.Parallel()
	host, product, agent := protocol.Host{}, protocol.Product{}, protocol.AgentInfo{}
	policy, machine, reason := protocol.PolicyReport{}, protocol.VM{SeenBy: []string{""}}, protocol.Trigger{}
	parts := []any{&host, &product, &agent, &policy, &machine, &reason}
	long := strings.Repeat("é", 10_000)
	for _, part := range parts {
		eachText(reflect.ValueOf(part), func(text reflect.Value) { text.SetString(long) })
	}
	machine.ID, machine.Owner = "id", "alice" // refused where they are too long
	request := protocol.CheckinRequest{
		Protocol: protocol.Version, RequestID: uuid.NewString(), Epoch: "epoch", Sequence: 1,
		Host: &host, Product: &product, Agent: &agent, Policy: &policy, Triggers: []protocol.Trigger{reason},
		Inventory: protocol.Inventory{Hash: "hash", VMs: []protocol.VM{machine}},
	}
	if err := checkCheckin(&request); err != nil {
		t.Fatal(err)
	}
	row := protocol.Row{Host: host, Product: product, VM: request.Inventory.VMs[0]}
	row.Product.Build = "" // stands beside the version in one cell
	for _, column := range protocol.Columns {
		if value := column.Value(&row); column.Limit > 0 && len(value) > column.Limit {
			t.Errorf("%s has %d bytes, its limit is %d", column.ID, len(value), column.Limit)
		}
	}
	for _, part := range append(parts[:4], &request.Triggers[0], &request.Inventory.VMs[0]) {
		eachText(reflect.ValueOf(part), func(text reflect.Value) {
			if text.Len() > protocol.MaxName || !utf8.ValidString(text.String()) {
				t.Errorf("%T keeps a text of %d bytes", part, text.Len())
			}
		})
	}
}

// eachText calls visit with every text of a structure and of its lists.
func eachText(value reflect.Value, visit func(reflect.Value)) {
	switch value.Kind() {
	case reflect.String:
		visit(value)
	case reflect.Pointer:
		eachText(value.Elem(), visit)
	case reflect.Slice:
		for i := range value.Len() {
			eachText(value.Index(i), visit)
		}
	case reflect.Struct:
		for i := range value.NumField() {
			if value.Type().Field(i).IsExported() {
				eachText(value.Field(i), visit)
			}
		}
	}
}
