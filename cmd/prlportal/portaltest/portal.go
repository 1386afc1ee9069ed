// Package portaltest runs a whole portal for tests, plays Macs that report to it,
// and holds every exchange against openapi.yaml.
package portaltest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/adminapi"
	"prlagent/cmd/prlportal/admins"
	"prlagent/cmd/prlportal/audit"
	"prlagent/cmd/prlportal/backup"
	"prlagent/cmd/prlportal/fleet"
	"prlagent/cmd/prlportal/server"
	"prlagent/cmd/prlportal/site"
	"prlagent/cmd/prlportal/storage"
	"prlagent/cmd/prlportal/webhook"
)

// Morning is when the tests' clock begins.
var Morning = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

// CertificateEnd is when the portal says that its certificate expires.
var CertificateEnd = Morning.AddDate(1, 0, 0)

// clock is a clock that only the test moves.
type clock struct {
	mutex sync.Mutex
	time  time.Time
}

// Now is the time that the portal sees.
func (c *clock) Now() time.Time {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.time
}

// Advance moves the clock.
func (c *clock) Advance(d time.Duration) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.time = c.time.Add(d)
}

// LogBuffer collects log lines of many goroutines.
type LogBuffer struct {
	mutex sync.Mutex
	lines bytes.Buffer
}

func (l *LogBuffer) Write(line []byte) (int, error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.lines.Write(line)
}

func (l *LogBuffer) String() string {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.lines.String()
}

// Portal is a site made by init, served on loopback with TLS.
type Portal struct {
	Database   backup.Snapshot // what a backup has of Store; nil: there are no backups
	Dir        string
	Config     site.Config
	Secret     string
	AdminToken string
	Store      fleet.Store
	Clock      *clock
	Log        *LogBuffer
	Web        *httptest.Server
	Webhook    *webhook.Sender // runs only where a test runs it
	Contract   Contract
	RestoredAt time.Time // when it was put back to an older state, for the next Start
}

// New makes a site, changes its configuration and serves it until the test ends.
func New(t testing.TB, changes ...func(*site.Config)) *Portal {
	t.Helper()
	p := &Portal{Dir: t.TempDir(), Store: storage.NewMemory(), Clock: &clock{time: Morning}, Log: &LogBuffer{}}
	options := site.Options{Name: "Example Org", Hosts: []string{"localhost", "127.0.0.1"}, PrimaryGroup: "default", Now: time.Now()}
	var err error
	if p.Config, err = options.Create(p.Dir); err != nil {
		t.Fatalf("make site: %v", err)
	}
	for _, change := range changes {
		change(&p.Config)
	}
	p.Secret = ReadSecretOf(t, p.Dir, site.OperatorFolder, site.SecretFile)
	p.AdminToken = ReadSecretOf(t, p.Dir, site.OperatorFolder, site.AdminTokenFile)
	p.Contract = LoadContract(t)
	p.Start(t)
	return p
}

// ReadSecretOf reads a secret of a site.
func ReadSecretOf(t testing.TB, path ...string) string {
	t.Helper()
	secret, err := site.ReadSecret(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

// Start serves the site as it is now, at another address.
func (p *Portal) Start(t testing.TB) {
	t.Helper()
	folder := filepath.Join(p.Dir, site.PortalFolder)
	content, err := os.OpenRoot(filepath.Join(folder, site.ContentFolder))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { content.Close() })
	record, err := audit.Open(p.AuditPath())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { record.Close() })
	book, err := admins.Open(filepath.Join(folder, site.AdminsFile), "")
	if err != nil {
		t.Fatal(err)
	}
	queue, isQueue := p.Store.(webhook.Queue)
	if !isQueue { // of a test that stands between
		queue = storage.NewMemory()
	}
	if err := server.WithholdRestored(t.Context(), p.Store, p.RestoredAt, zerolog.New(p.Log), p.Clock.Now()); err != nil {
		t.Fatal(err)
	}
	made := server.New(server.Parts{
		Config: p.Config, Store: p.Store, Queue: queue, Admins: book, Source: backup.Source{Folder: folder, Content: content, Database: p.Database},
		Version: "test", Record: record, CertificateEnd: func() time.Time { return CertificateEnd }, RestoredAt: p.RestoredAt, Log: zerolog.New(p.Log), Now: p.Clock.Now,
	})
	p.Webhook, p.Web = made.Webhook, httptest.NewTLSServer(made.Handler)
	t.Cleanup(p.Web.Close)
}

// Answer is what the portal said.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Problem is the name of the problem that the answer is; empty if it is none.
func (a Answer) Problem(t testing.TB) string {
	t.Helper()
	problem, _ := protocol.ParseProblem(a.Status, a.Header.Get("Content-Type"), a.Body)
	return problem.Name()
}

// Decode reads the body of an answer as what the agent reads.
func (a Answer) Decode(t testing.TB, v any) {
	t.Helper()
	if err := protocol.Decode(a.Body, protocol.MaxReply, v); err != nil {
		t.Fatalf("decode %d %s: %v", a.Status, a.Body, err)
	}
}

// AuditPath is where decisions are recorded.
func (p *Portal) AuditPath() string { return filepath.Join(p.Dir, site.PortalFolder, site.AuditFile) }

// Call sends a request as it is and holds the exchange against openapi.yaml.
func (p *Portal) Call(t testing.TB, method, path string, body []byte, headers ...string) Answer {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, p.Web.URL+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if len(body) > 0 {
		request.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	got := p.exchange(t, request)
	p.Contract.check(t, request, body, got)
	return got
}

func (p *Portal) exchange(t testing.TB, request *http.Request) Answer {
	t.Helper()
	response, err := p.Web.Client().Do(request)
	if err != nil {
		t.Fatalf("%s %s: %v", request.Method, request.URL, err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", request.Method, request.URL, err)
	}
	return Answer{Status: response.StatusCode, Header: response.Header, Body: content}
}

// ListAsTyped is AskAsTyped with an answer that is a page.
func (p *Portal) ListAsTyped(t testing.TB, table string, asked url.Values) []Row {
	t.Helper()
	got := p.AskAsTyped(t, table, asked)
	if got.Status != http.StatusOK {
		t.Errorf("%v: answer is %d %s", asked, got.Status, got.Body)
		return nil
	}
	rows, _ := readPage(t, table, got)
	return rows
}

// AskAsTyped asks for a table in a way that openapi.yaml does not describe, and
// the portal understands all the same.
func (p *Portal) AskAsTyped(t testing.TB, table string, asked url.Values) Answer {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.Web.URL+"/v1/admin/"+table+"?"+asked.Encode(), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+p.AdminToken)
	return p.exchange(t, request)
}

// Admin sends a request with the admin token.
func (p *Portal) Admin(t testing.TB, method, path string, body []byte) Answer {
	t.Helper()
	return p.Call(t, method, path, body, "Authorization", "Bearer "+p.AdminToken)
}

// Decide is what an admin decides of a device: approve, reject or retire.
func (p *Portal) Decide(t testing.TB, action, deviceID string, asked adminapi.Decision) Answer {
	t.Helper()
	body, err := json.Marshal(asked)
	if err != nil {
		t.Fatal(err)
	}
	return p.Admin(t, http.MethodPost, "/v1/admin/devices/"+deviceID+"/"+action, body)
}

// MustDecide is Decide, and the device as it is then.
func (p *Portal) MustDecide(t testing.TB, action, deviceID string, asked adminapi.Decision) fleet.Device {
	t.Helper()
	got := p.Decide(t, action, deviceID, asked)
	if got.Status != http.StatusOK {
		t.Fatalf("%s answered %d %s", action, got.Status, got.Body)
	}
	var view fleet.Device
	if err := json.Unmarshal(got.Body, &view); err != nil {
		t.Fatal(err)
	}
	return view
}

// Device is the only device as an admin sees it.
func (p *Portal) Device(t testing.TB) fleet.Device {
	t.Helper()
	var list struct{ Devices []fleet.Device }
	got := p.Admin(t, http.MethodGet, "/v1/admin/devices", nil)
	if err := json.Unmarshal(got.Body, &list); err != nil {
		t.Fatalf("decode %d %s: %v", got.Status, got.Body, err)
	}
	if len(list.Devices) != 1 {
		t.Fatalf("%d devices, want 1: %s", len(list.Devices), got.Body)
	}
	return list.Devices[0]
}

// Row is a row of a table as the admin plane sends it.
type Row map[string]any

// VMs are the rows as an admin sees them, by name.
func (p *Portal) VMs(t testing.TB) map[string]Row {
	t.Helper()
	var list struct{ VMs []Row }
	got := p.Admin(t, http.MethodGet, "/v1/admin/vms?per_page=1000", nil)
	if err := json.Unmarshal(got.Body, &list); err != nil {
		t.Fatalf("decode %s: %v", got.Body, err)
	}
	rows := make(map[string]Row, len(list.VMs))
	for _, row := range list.VMs {
		rows[row["vm_name"].(string)] = row
	}
	if len(rows) != len(list.VMs) {
		t.Fatalf("two rows have one name: %s", got.Body)
	}
	return rows
}

// WantProblem ends the test unless the answer is the problem of that name.
func WantProblem(t testing.TB, got Answer, name string) {
	t.Helper()
	if got.Problem(t) != name {
		t.Fatalf("answer is %d %.300s, want the problem %s", got.Status, got.Body, name)
	}
}

// MustContain fails for every part that the text does not have.
func MustContain(t testing.TB, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q is missing in:\n%s", part, text)
		}
	}
}

// List asks for a table and gives the page with its rows.
func (p *Portal) List(t testing.TB, table string, asked url.Values) (rows []Row, about adminapi.Page) {
	t.Helper()
	got := p.Admin(t, http.MethodGet, "/v1/admin/"+table+"?"+asked.Encode(), nil)
	if got.Status != http.StatusOK {
		t.Fatalf("%v: answer is %d %s", asked, got.Status, got.Body)
	}
	return readPage(t, table, got)
}

func readPage(t testing.TB, table string, got Answer) (rows []Row, about adminapi.Page) {
	t.Helper()
	var reply map[string]json.RawMessage
	var sent []json.RawMessage
	for _, err := range []error{json.Unmarshal(got.Body, &reply), json.Unmarshal(reply[table], &sent), json.Unmarshal(got.Body, &about)} {
		if err != nil {
			t.Fatalf("decode %s: %v", got.Body, err)
		}
	}
	for _, data := range sent {
		decoder := json.NewDecoder(bytes.NewReader(data))
		decoder.UseNumber()
		var row Row
		if err := decoder.Decode(&row); err != nil {
			t.Fatalf("decode %s: %v", data, err)
		}
		rows = append(rows, row)
	}
	return rows, about
}
