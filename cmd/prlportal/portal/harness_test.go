package portal

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/storage"
)

// TestMain keeps the views of whoever runs the tests out of them.
func TestMain(m *testing.M) {
	if err := os.Setenv(environmentName("views"), filepath.Join(os.TempDir(), "there is no such folder", "views.json")); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// morning is when the tests' clock begins.
var morning = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

// clock is a clock that only the test moves.
type clock struct {
	mutex sync.Mutex
	time  time.Time
}

func (c *clock) now() time.Time {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.time
}

func (c *clock) advance(d time.Duration) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.time = c.time.Add(d)
}

// logBuffer collects log lines of many goroutines.
type logBuffer struct {
	mutex sync.Mutex
	lines bytes.Buffer
}

func (l *logBuffer) Write(line []byte) (int, error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.lines.Write(line)
}

func (l *logBuffer) String() string {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.lines.String()
}

// testPortal is a site made by init, served on loopback with TLS.
type testPortal struct {
	dir        string
	config     Config
	secret     string
	adminToken string
	store      store
	clock      *clock
	log        *logBuffer
	web        *httptest.Server
	contract   contract
}

func newTestPortal(t testing.TB, changes ...func(*Config)) *testPortal {
	t.Helper()
	p := &testPortal{dir: t.TempDir(), store: storage.NewMemory(), clock: &clock{time: morning}, log: &logBuffer{}}
	site := newSite{name: "Example Org", hosts: []string{"localhost", "127.0.0.1"}, primaryGroup: "default", now: time.Now()}
	var err error
	if p.config, err = site.make(p.dir); err != nil {
		t.Fatalf("make site: %v", err)
	}
	for _, change := range changes {
		change(&p.config)
	}
	p.secret = readSecretOf(t, p.dir, operatorFolder, secretFile)
	p.adminToken = readSecretOf(t, p.dir, portalFolder, adminTokenFile)
	p.contract = loadContract(t)
	p.start(t)
	return p
}

func readSecretOf(t testing.TB, path ...string) string {
	t.Helper()
	secret, err := readSecretFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

func (p *testPortal) start(t testing.TB) {
	t.Helper()
	content, err := os.OpenRoot(filepath.Join(p.dir, portalFolder, contentFolder))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { content.Close() })
	p.web = httptest.NewTLSServer(newServer(p.config, p.store, content, zerolog.New(p.log), p.clock.now))
	t.Cleanup(p.web.Close)
}

// answer is what the portal said.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// problem is the name of the problem that the answer is; empty if it is none.
func (a answer) problem(t testing.TB) string {
	t.Helper()
	problem, _ := protocol.ParseProblem(a.status, a.header.Get("Content-Type"), a.body)
	return problem.Name()
}

func (a answer) decode(t testing.TB, v any) {
	t.Helper()
	if err := protocol.Decode(a.body, protocol.MaxReply, v); err != nil {
		t.Fatalf("decode %d %s: %v", a.status, a.body, err)
	}
}

// call sends a request as it is and holds the exchange against openapi.yaml.
func (p *testPortal) call(t testing.TB, method, path string, body []byte, headers ...string) answer {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, p.web.URL+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if len(body) > 0 {
		request.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := p.web.Client().Do(request)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	got := answer{status: response.StatusCode, header: response.Header, body: content}
	p.contract.check(t, request, body, got)
	return got
}

func (p *testPortal) admin(t testing.TB, method, path string, body []byte) answer {
	t.Helper()
	return p.call(t, method, path, body, "Authorization", "Bearer "+p.adminToken)
}

// device is the only device as an admin sees it.
func (p *testPortal) device(t testing.TB) deviceView {
	t.Helper()
	var list struct{ Devices []deviceView }
	got := p.admin(t, http.MethodGet, "/v1/admin/devices", nil)
	if err := json.Unmarshal(got.body, &list); err != nil {
		t.Fatalf("decode %d %s: %v", got.status, got.body, err)
	}
	if len(list.Devices) != 1 {
		t.Fatalf("%d devices, want 1: %s", len(list.Devices), got.body)
	}
	return list.Devices[0]
}

// sentRow is a row of a table as the admin plane sends it.
type sentRow map[string]any

// vms are the rows as an admin sees them, by name.
func (p *testPortal) vms(t testing.TB) map[string]sentRow {
	t.Helper()
	var list struct{ VMs []sentRow }
	got := p.admin(t, http.MethodGet, "/v1/admin/vms?per_page=1000", nil)
	if err := json.Unmarshal(got.body, &list); err != nil {
		t.Fatalf("decode %s: %v", got.body, err)
	}
	rows := make(map[string]sentRow, len(list.VMs))
	for _, row := range list.VMs {
		rows[row["vm_name"].(string)] = row
	}
	if len(rows) != len(list.VMs) {
		t.Fatalf("two rows have one name: %s", got.body)
	}
	return rows
}

// mac plays the agent's side of the contract.
type mac struct {
	portal   *testPortal
	key      ed25519.PrivateKey
	serial   string
	hardware string
	hint     string
	secret   string
	token    string
	deviceID string
	epoch    string
	sequence uint64
	base     protocol.Baseline
	report   protocol.Report
}

func newMac(t testing.TB, portal *testPortal, serial string) *mac {
	t.Helper()
	return &mac{
		portal: portal, key: newKey(t), serial: serial, hardware: "8B4C0D6E-" + serial, secret: portal.secret,
		epoch: "epoch-of-" + serial,
		report: protocol.Report{
			Agent:   protocol.AgentInfo{Version: "0.1.0", Arch: "arm64", Mode: "monitor"},
			Host:    protocol.Host{ComputerName: "Alice's Mac", Serial: serial, CPU: protocol.CPUArm},
			Product: protocol.Product{Installed: true, Version: "26.4.0", Build: "57513", State: protocol.ProductKey},
			Users:   []protocol.UserLook{{Name: "alice", UID: 501, Count: 1}},
			Policy:  protocol.PolicyReport{State: protocol.PolicyNone},
			VMs:     []protocol.VM{windows("Windows 11")},
		},
	}
}

func newKey(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// windows is a virtual machine of alice, named by its name.
func windows(name string) protocol.VM {
	return protocol.VM{
		VMKey: protocol.VMKey{ID: uuid.NewSHA1(uuid.NameSpaceOID, []byte(name)).String(), Owner: "alice", Bundle: protocol.Bundle{Device: 1, Inode: 2}},
		Name:  name, State: protocol.StateStopped, OS: "win-11", Source: protocol.SourceOther,
		Encryption: protocol.NotEncrypted, CPU: protocol.CPUArm,
		Gaps: map[string]protocol.Code{"vm_edition": protocol.CodeNeverStarted},
	}
}

func (m *mac) enrollment() protocol.EnrollRequest {
	return protocol.EnrollRequest{
		RequestID: uuid.NewString(), Secret: m.secret, Serial: m.serial, HardwareUUID: m.hardware,
		DeviceKey: m.key.Public().(ed25519.PublicKey), AgentVersion: "0.1.0", Epoch: m.epoch,
		GroupHint: m.hint, SentAt: m.portal.clock.now(),
	}
}

func (m *mac) sendEnrollment(t testing.TB, request protocol.EnrollRequest) answer {
	t.Helper()
	payload, err := json.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	m.portal.contract.checkSchema(t, "EnrollRequest", payload)
	body, err := protocol.Sign(protocol.PayloadEnroll, payload, m.key).JSON()
	if err != nil {
		t.Fatal(err)
	}
	return m.portal.call(t, http.MethodPost, "/v1/enroll", body)
}

// enroll enrolls and keeps what it got.
func (m *mac) enroll(t testing.TB, wantStatus int) protocol.EnrollReply {
	t.Helper()
	got := m.sendEnrollment(t, m.enrollment())
	if got.status != wantStatus {
		t.Fatalf("enroll answered %d %s, want %d", got.status, got.body, wantStatus)
	}
	var reply protocol.EnrollReply
	got.decode(t, &reply)
	if reply.Token != "" {
		m.token, m.deviceID = reply.Token, reply.DeviceID
	}
	return reply
}

// next makes the request of the next check-in and the baseline it leads to.
func (m *mac) next(t testing.TB) (protocol.CheckinRequest, protocol.Baseline) {
	t.Helper()
	m.sequence++
	now := m.portal.clock.now()
	request := protocol.CheckinRequest{
		Protocol: protocol.Version, RequestID: uuid.NewString(), Epoch: m.epoch, Sequence: m.sequence, SentAt: now,
		Triggers: []protocol.Trigger{{Reason: "manual", Count: 1, FirstAt: now, LastAt: now}},
	}
	base, err := m.report.Fill(&request, m.base)
	if err != nil {
		t.Fatal(err)
	}
	return request, base
}

func (m *mac) send(t testing.TB, request protocol.CheckinRequest) answer {
	t.Helper()
	body, err := json.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	return m.sendBody(t, body)
}

func (m *mac) sendBody(t testing.TB, body []byte, headers ...string) answer {
	t.Helper()
	return m.portal.call(t, http.MethodPost, "/v1/checkin", body, append(headers, "Authorization", "Bearer "+m.token)...)
}

// checkin reports, follows send_full once, and gives the last reply.
func (m *mac) checkin(t testing.TB) protocol.CheckinReply {
	t.Helper()
	for {
		request, base := m.next(t)
		got := m.send(t, request)
		if got.status != http.StatusOK {
			t.Fatalf("check-in answered %d %s", got.status, got.body)
		}
		var reply protocol.CheckinReply
		got.decode(t, &reply)
		if reply.Inventory == protocol.InventoryOK {
			m.base = base
			return reply
		}
		if request.Inventory.Full {
			t.Fatalf("a full report was answered with %s", reply.Inventory)
		}
		m.base = protocol.Baseline{}
	}
}

// enrolled is a Mac that has enrolled and reported once.
func enrolled(t testing.TB, portal *testPortal) *mac {
	t.Helper()
	m := newMac(t, portal, "C02AAAAAAAAA")
	m.enroll(t, http.StatusCreated)
	m.checkin(t)
	return m
}

func wantProblem(t testing.TB, got answer, name string) {
	t.Helper()
	if got.problem(t) != name {
		t.Fatalf("answer is %d %.300s, want the problem %s", got.status, got.body, name)
	}
}

func mustContain(t testing.TB, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q is missing in:\n%s", part, text)
		}
	}
}

// benchEnroll and benchCheckin are enroll and checkin without the checks that
// would be measured with them.
func (m *mac) benchEnroll(b *testing.B) {
	b.Helper()
	payload, err := json.Marshal(m.enrollment())
	if err != nil {
		b.Error(err)
		return
	}
	body, err := protocol.Sign(protocol.PayloadEnroll, payload, m.key).JSON()
	if err != nil {
		b.Error(err)
		return
	}
	var reply protocol.EnrollReply
	m.post(b, "/v1/enroll", body, &reply)
	m.token = reply.Token
}

func (m *mac) benchCheckin(b *testing.B) {
	b.Helper()
	request, base := m.next(b)
	body, err := json.Marshal(request)
	if err != nil {
		b.Error(err)
		return
	}
	var reply protocol.CheckinReply
	m.post(b, "/v1/checkin", body, &reply)
	if reply.Inventory == protocol.InventoryOK {
		m.base = base
	}
}

func (m *mac) post(b *testing.B, path string, body []byte, reply any) {
	b.Helper()
	request, err := http.NewRequestWithContext(b.Context(), http.MethodPost, m.portal.web.URL+path, bytes.NewReader(body))
	if err != nil {
		b.Error(err)
		return
	}
	request.Header.Set("Authorization", "Bearer "+m.token)
	response, err := m.portal.web.Client().Do(request)
	if err != nil {
		b.Error(err)
		return
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(reply); err != nil {
		b.Error(err)
	}
}
