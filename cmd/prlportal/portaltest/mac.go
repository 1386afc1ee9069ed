package portaltest

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"

	"prlagent/agent/protocol"
)

// Mac plays the agent's side of the contract.
type Mac struct {
	portal   *Portal
	Key      ed25519.PrivateKey
	Serial   string
	hardware string
	Hint     string
	Secret   string
	Token    string
	DeviceID string
	Epoch    string
	Sequence uint64
	Base     protocol.Baseline
	Report   protocol.Report

	lastRequest protocol.RequestID
}

// NewMac is a Mac of alice with one virtual machine, which is yet to enroll.
func NewMac(t testing.TB, portal *Portal, serial string) *Mac {
	t.Helper()
	return &Mac{
		portal: portal, Key: NewKey(t), Serial: serial, hardware: "8B4C0D6E-" + serial, Secret: portal.Secret,
		Epoch: "epoch-of-" + serial,
		Report: protocol.Report{
			Agent:   protocol.AgentInfo{Version: "0.1.0", Arch: "arm64", Mode: "monitor"},
			Host:    protocol.Host{ComputerName: "Alice's Mac", Serial: serial, CPU: protocol.CPUArm},
			Product: protocol.Product{Installed: true, Version: "26.4.0", Build: "57513", State: protocol.ProductKey},
			Users:   []protocol.UserLook{{Name: "alice", UID: 501, Count: 1}},
			Policy:  protocol.PolicyReport{State: protocol.PolicyNone},
			Health:  protocol.HealthReport{State: protocol.Healthy},
			VMs:     []protocol.VM{WindowsVM("Windows 11")},
		},
	}
}

// NewKey makes a device key.
func NewKey(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// WindowsVM is a virtual machine of alice, named by its name.
func WindowsVM(name string) protocol.VM {
	return protocol.VM{
		VMKey: protocol.VMKey{ID: uuid.NewSHA1(uuid.NameSpaceOID, []byte(name)).String(), UID: 501},
		Owner: "alice", Bundle: protocol.Bundle{Volume: "0E5C2F1A-9C3B-4B7E-8D55-6A0F4C1B7D21", Inode: 2}, Name: name, State: protocol.StateStopped, OS: "win-11", Source: protocol.SourceOther,
		Encryption: protocol.NotEncrypted, CPU: protocol.CPUArm,
		Gaps: map[string]protocol.Code{"vm_edition": protocol.CodeNeverStarted},
	}
}

// Enrollment is what the Mac enrolls with; each one is newer than the one before.
func (m *Mac) Enrollment() protocol.EnrollRequest {
	m.lastRequest = protocol.NewRequestID(m.portal.Clock.Now(), m.lastRequest)
	return protocol.EnrollRequest{
		RequestID: m.lastRequest.String(), Origin: m.portal.Config.URL, SiteID: m.portal.Config.SiteID, Secret: m.Secret, Serial: m.Serial, HardwareUUID: m.hardware,
		DeviceKey: m.Key.Public().(ed25519.PublicKey), AgentVersion: "0.1.0", Epoch: m.Epoch,
		GroupHint: m.Hint, SentAt: m.portal.Clock.Now(),
	}
}

// SendEnrollment signs the request with the Mac's key and sends it.
func (m *Mac) SendEnrollment(t testing.TB, request protocol.EnrollRequest) Answer {
	t.Helper()
	payload, err := json.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	m.portal.Contract.CheckSchema(t, "EnrollRequest", payload)
	return m.portal.Call(t, http.MethodPost, "/v1/enroll", m.EnrollmentBody(t, request))
}

// Enroll enrolls and keeps what it got.
func (m *Mac) Enroll(t testing.TB, wantStatus int) protocol.EnrollReply {
	t.Helper()
	got := m.SendEnrollment(t, m.Enrollment())
	if got.Status != wantStatus {
		t.Fatalf("enroll answered %d %s, want %d", got.Status, got.Body, wantStatus)
	}
	var reply protocol.EnrollReply
	got.Decode(t, &reply)
	if reply.Token != "" {
		m.Token, m.DeviceID = reply.Token, reply.DeviceID
	}
	return reply
}

// Next makes the request of the next check-in and the baseline it leads to.
func (m *Mac) Next(t testing.TB) (protocol.CheckinRequest, protocol.Baseline) {
	t.Helper()
	m.Sequence++
	now := m.portal.Clock.Now()
	request := protocol.CheckinRequest{
		Protocol: protocol.Version, RequestID: uuid.NewString(), Epoch: m.Epoch, Sequence: m.Sequence, SentAt: now,
		Triggers: []protocol.Trigger{{Reason: "manual", Count: 1, FirstAt: now, LastAt: now}},
	}
	base, err := m.Report.Fill(&request, m.Base)
	if err != nil {
		t.Fatal(err)
	}
	return request, base
}

// Send sends a check-in with the Mac's token.
func (m *Mac) Send(t testing.TB, request protocol.CheckinRequest) Answer {
	t.Helper()
	body, err := json.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	return m.SendBody(t, body)
}

// SendBody sends the body of a check-in as it is.
func (m *Mac) SendBody(t testing.TB, body []byte, headers ...string) Answer {
	t.Helper()
	return m.portal.Call(t, http.MethodPost, "/v1/checkin", body, append(headers, "Authorization", "Bearer "+m.Token)...)
}

// Checkin reports, follows send_full once, and gives the last reply.
func (m *Mac) Checkin(t testing.TB) protocol.CheckinReply {
	t.Helper()
	for {
		request, base := m.Next(t)
		got := m.Send(t, request)
		if got.Status != http.StatusOK {
			t.Fatalf("check-in answered %d %s", got.Status, got.Body)
		}
		var reply protocol.CheckinReply
		got.Decode(t, &reply)
		if reply.Inventory == protocol.InventoryOK {
			m.Base = base
			return reply
		}
		if request.Inventory.Full {
			t.Fatalf("a full report was answered with %s", reply.Inventory)
		}
		m.Base = protocol.Baseline{}
	}
}

// Enrolled is a Mac that has enrolled and reported once.
func Enrolled(t testing.TB, portal *Portal) *Mac {
	t.Helper()
	m := NewMac(t, portal, "C02AAAAAAAAA")
	m.Enroll(t, http.StatusCreated)
	m.Checkin(t)
	return m
}

// Unwell is an enrolled Mac where a user's tools fail, with events of it.
func Unwell(t testing.TB, portal *Portal) *Mac {
	t.Helper()
	m := Enrolled(t, portal)
	since := portal.Clock.Now().Add(-time.Hour)
	m.Report.Health = protocol.HealthReport{State: protocol.Unhealthy, Conditions: []protocol.ReportedCondition{
		{Code: protocol.CodeServiceDown, Since: since, Count: 2},
		{Code: protocol.CodeConfigInvalid, Since: since, Count: 1, Subject: "DailyCheckTime"},
	}}
	m.CheckinWith(t,
		protocol.Event{Seq: 1, At: since, Type: "service_down", Code: protocol.CodeServiceDown, Data: map[string]string{"uid": "501", "user_name": "alice"}},
		protocol.Event{Seq: 2, At: since.Add(time.Minute), Type: "vm_state", Data: map[string]string{"uid": "501", "user_name": "alice", "vm_name": "Windows 11", "from": "stopped", "to": "running"}},
	)
	return m
}

// CheckinWith is Checkin of a report that tells of events.
func (m *Mac) CheckinWith(t testing.TB, events ...protocol.Event) {
	t.Helper()
	request, base := m.Next(t)
	request.Events = events
	if got := m.Send(t, request); got.Status != http.StatusOK {
		t.Fatalf("check-in answered %d %s", got.Status, got.Body)
	}
	m.Base = base
}

// BenchEnroll and BenchCheckin are Enroll and Checkin without the checks that
// would be measured with them.
func (m *Mac) BenchEnroll(b *testing.B) {
	b.Helper()
	payload, err := json.Marshal(m.Enrollment())
	if err != nil {
		b.Error(err)
		return
	}
	body, err := protocol.Sign(protocol.PayloadEnroll, payload, m.Key).JSON()
	if err != nil {
		b.Error(err)
		return
	}
	var reply protocol.EnrollReply
	m.post(b, "/v1/enroll", body, &reply)
	m.Token = reply.Token
}

// BenchCheckin is as BenchEnroll, for a check-in.
func (m *Mac) BenchCheckin(b *testing.B) {
	b.Helper()
	request, base := m.Next(b)
	body, err := json.Marshal(request)
	if err != nil {
		b.Error(err)
		return
	}
	var reply protocol.CheckinReply
	m.post(b, "/v1/checkin", body, &reply)
	if reply.Inventory == protocol.InventoryOK {
		m.Base = base
	}
}

func (m *Mac) post(b *testing.B, path string, body []byte, reply any) {
	b.Helper()
	request, err := http.NewRequestWithContext(b.Context(), http.MethodPost, m.portal.Web.URL+path, bytes.NewReader(body))
	if err != nil {
		b.Error(err)
		return
	}
	request.Header.Set("Authorization", "Bearer "+m.Token)
	response, err := m.portal.Web.Client().Do(request)
	if err != nil {
		b.Error(err)
		return
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(reply); err != nil {
		b.Error(err)
	}
}

// MacWithVMs is a Mac with n virtual machines, "vm-000" and so on.
func MacWithVMs(t *testing.T, portal *Portal, n int) *Mac {
	t.Helper()
	m := NewMac(t, portal, "C02AAAAAAAAA")
	m.Report.VMs = nil
	for i := range n {
		vm := WindowsVM(fmt.Sprintf("vm-%03d", i))
		vm.Bundle.Inode = uint64(i + 1)
		vm.OSBuild = strconv.Itoa(i % 7)
		m.Report.VMs = append(m.Report.VMs, vm)
	}
	m.Enroll(t, http.StatusCreated)
	m.Checkin(t)
	return m
}

// EnrollmentBody is the signed request as it is sent.
func (m *Mac) EnrollmentBody(t testing.TB, request protocol.EnrollRequest) []byte {
	t.Helper()
	payload, err := json.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	body, err := protocol.Sign(protocol.PayloadEnroll, payload, m.Key).JSON()
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// EnrollFrom enrolls from a network address and gives the problem of the answer,
// or the state of the enrollment.
func (m *Mac) EnrollFrom(t testing.TB, address string) string {
	t.Helper()
	request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/enroll", bytes.NewReader(m.EnrollmentBody(t, m.Enrollment())))
	request.RemoteAddr = net.JoinHostPort(address, "40000")
	recorder := httptest.NewRecorder()
	m.portal.Web.Config.Handler.ServeHTTP(recorder, request)
	got := Answer{Status: recorder.Code, Header: recorder.Header(), Body: recorder.Body.Bytes()}
	if got.Status >= http.StatusMultipleChoices {
		return got.Problem(t)
	}
	var reply protocol.EnrollReply
	got.Decode(t, &reply)
	if reply.Token != "" {
		m.Token, m.DeviceID = reply.Token, reply.DeviceID
	}
	return reply.State
}

// KeyID is the short name of the Mac's key.
func (m *Mac) KeyID() string { return protocol.KeyID(m.Key.Public().(ed25519.PublicKey)) }

// OtherMac is a Mac with the serial number of this one, and with a hardware UUID
// and a key of its own.
func (m *Mac) OtherMac(t testing.TB, hardwareUUID string) *Mac {
	t.Helper()
	other := NewMac(t, m.portal, m.Serial)
	other.hardware = hardwareUUID
	other.Epoch = "epoch-of-" + hardwareUUID
	return other
}
