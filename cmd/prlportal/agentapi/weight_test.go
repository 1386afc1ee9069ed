package agentapi_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/google/uuid"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/portaltest"
	"prlagent/cmd/prlportal/site"
)

// Bodies of an enrolled device that are small and would be much work, or much
// memory: each is refused before anything is made of it.
func TestH56_ABodyOfAMillionTokensIsRefusedBeforeItIsDecoded(t *testing.T) {
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	before := storedVersion(t, portal, m.DeviceID)
	list := func(item string, n int) string { return strings.TrimSuffix(strings.Repeat(item+",", n), ",") }
	head := `{"protocol":1,"request_id":"` + uuid.NewString() + `","epoch":"` + m.Epoch + `","sequence":2,`
	for name, body := range map[string]string{
		"numbers that nobody reads": head + `"of_the_future":[` + list("0", 1_000_000) + `]}`,
		"empty machines":            head + `"inventory":{"hash":"h","full":true,"vms":[` + list("{}", 600_000) + `]}}`,
		"a machine with many users": head + `"inventory":{"hash":"h","full":true,"vms":[{"seen_by":[` + list("{}", 600_000) + `]}]}}`,
		"empty verdicts":            head + `"verdicts":{"groups":[` + list("{}", 600_000) + `]},"inventory":{"hash":"h"}}`,
		"empty events":              head + `"events":[` + list("{}", 600_000) + `],"inventory":{"hash":"h"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			small := zipped(t, []byte(body))
			if len(body) > protocol.MaxRequest || len(small) > 8<<10 {
				t.Fatalf("the body has %d bytes, packed %d", len(body), len(small))
			}
			request := httptest.NewRequest(http.MethodPost, "/v1/checkin", bytes.NewReader(small))
			request.Header.Set("Authorization", "Bearer "+m.Token)
			request.Header.Set("Content-Encoding", "gzip")
			recorded := httptest.NewRecorder()
			var earlier, later runtime.MemStats
			runtime.ReadMemStats(&earlier)
			portal.Web.Config.Handler.ServeHTTP(recorded, request)
			runtime.ReadMemStats(&later)
			problem, _ := protocol.ParseProblem(recorded.Code, recorded.Header().Get("Content-Type"), recorded.Body.Bytes())
			if problem.Name() != protocol.ProblemTooLarge {
				t.Errorf("answer is %d %s", recorded.Code, recorded.Body)
			}
			if taken := later.TotalAlloc - earlier.TotalAlloc; taken > uint64(len(body))+256<<10 {
				t.Errorf("%d bytes of memory for a body of %d", taken, len(body))
			}
		})
	}
	if after := storedVersion(t, portal, m.DeviceID); after != before {
		t.Error("a refused body changed the device")
	}
}

// unread is a body that must not be read.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("the body was read")
	return 0, http.ErrBodyReadAfterClose
}

func TestH56_ADeviceHasABucketBeforeItsBodyIsRead(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t, func(config *site.Config) { config.Checkins.PerDevice = 3 })
	m, other := portaltest.Enrolled(t, portal), portaltest.NewMac(t, portal, "C02BBBBBBBBB")
	m.Checkin(t)
	m.Checkin(t)
	for range 2 {
		request := httptest.NewRequest(http.MethodPost, "/v1/checkin", unread{t})
		request.Header.Set("Authorization", "Bearer "+m.Token)
		recorded := httptest.NewRecorder()
		portal.Web.Config.Handler.ServeHTTP(recorded, request)
		if recorded.Code != http.StatusTooManyRequests || recorded.Header().Get("Retry-After") != "1200" {
			t.Fatalf("answer is %d, Retry-After %s", recorded.Code, recorded.Header().Get("Retry-After"))
		}
	}
	m.Enroll(t, http.StatusCreated) // another token is no other device
	request, _ := m.Next(t)
	m.Sequence--
	portaltest.WantProblem(t, m.Send(t, request), protocol.ProblemRateLimited)
	other.Enroll(t, http.StatusCreated)
	other.Checkin(t)
	if n := strings.Count(portal.Log.String(), "device checks in too often"); n != 1 {
		t.Errorf("the log says %d times that a device checks in too often", n)
	}
	portal.Clock.Advance(1200e9)
	m.Checkin(t)
}

// slowBody is a body that says when it is read, and ends when the test says so.
type slowBody struct{ read, ends chan struct{} }

func (s slowBody) Read([]byte) (int, error) {
	s.read <- struct{}{}
	<-s.ends
	return 0, http.ErrBodyReadAfterClose
}

// A device that sends its bodies slowly, or many at a time, takes up no more than
// its own few places, and nobody's turn.
func TestH56_SlowBodiesHoldUpNobody(t *testing.T) {
	t.Parallel()
	const requests, atATime = 100, 2
	portal := portaltest.New(t)
	slow, good := portaltest.Enrolled(t, portal), portaltest.NewMac(t, portal, "C02BBBBBBBBB")
	body := slowBody{read: make(chan struct{}), ends: make(chan struct{})}
	answers := make(chan int, requests)
	for range requests {
		go func() {
			request := httptest.NewRequest(http.MethodPost, "/v1/checkin", body)
			request.Header.Set("Authorization", "Bearer "+slow.Token)
			recorded := httptest.NewRecorder()
			portal.Web.Config.Handler.ServeHTTP(recorded, request)
			answers <- recorded.Code
		}()
	}
	beingRead := 0
	for range requests { // each is either read or refused
		select {
		case <-body.read:
			beingRead++
		case status := <-answers:
			if status != http.StatusTooManyRequests {
				t.Errorf("one of too many at a time was answered %d", status)
			}
		}
	}
	if beingRead != atATime {
		t.Errorf("%d bodies of one device are read at a time, want %d", beingRead, atATime)
	}
	good.Enroll(t, http.StatusCreated)
	good.Checkin(t)
	close(body.ends)
	for range beingRead {
		if status := <-answers; status != http.StatusBadRequest {
			t.Errorf("one that broke off was answered %d", status)
		}
	}
	slow.Checkin(t)
}

// Deltas that add up to more than a device may have change nothing: the portal
// asks for a whole report, which has an end of its own.
func TestH56_DeltasDoNotAddUpBeyondTheRoomOfADevice(t *testing.T) {
	if testing.Short() {
		t.Skip("one request after the other, which takes the race detector long")
	}
	t.Parallel()
	const machines = 30 // of each report, which they fill
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	control := strings.Repeat("\x01", protocol.MaxName) // six bytes of JSON each
	m.Report.VMs = nil
	answers := ""
	for turn := range 3 {
		for i := range machines {
			vm := portaltest.WindowsVM(fmt.Sprint(turn, " ", i))
			for _, text := range []*string{&vm.Name, &vm.OS, &vm.Edition, &vm.OSBuild, &vm.Serial, &vm.ToolsVersion, &vm.ToolsState, &vm.RawState} {
				*text = control
			}
			for uid := range uint32(32) {
				vm.SeenBy = append(vm.SeenBy, protocol.Account{UID: 600 + uid, Name: control})
			}
			m.Report.VMs = append(m.Report.VMs, vm)
		}
		request, base := m.Next(t)
		var reply protocol.CheckinReply
		m.Send(t, request).Decode(t, &reply)
		if answers += reply.Inventory + " "; reply.Inventory == protocol.InventoryOK {
			m.Base = base
		}
	}
	if answers != "ok ok send_full " {
		t.Errorf("the deltas were answered with %s", answers)
	}
	report, err := portal.Store.Report(t.Context(), m.DeviceID)
	if err != nil || len(report.Rows) != 2*machines {
		t.Errorf("%d rows are kept (%v), want those of before", len(report.Rows), err)
	}
	m.Report.VMs, m.Base = m.Report.VMs[:machines], protocol.Baseline{}
	m.Checkin(t)
}
