package agentapi_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/portaltest"
	"prlagent/cmd/prlportal/site"
	"prlagent/cmd/prlportal/storage"
)

func TestProtocol7_RefusedBodies(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	before := storedVersion(t, portal, m.DeviceID)
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
			portaltest.WantProblem(t, m.SendBody(t, []byte(test.body)), test.want)
		})
	}
	if after := storedVersion(t, portal, m.DeviceID); after != before {
		t.Error("a refused body changed the device")
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

func TestProtocol8_GzipBombIsTooLarge(t *testing.T) {
	t.Parallel()
	m := portaltest.Enrolled(t, portaltest.New(t))
	bomb := bytes.Repeat(zipped(t, make([]byte, 1<<20)), 64) // members of gzip add up
	portaltest.WantProblem(t, m.SendBody(t, bomb, "Content-Encoding", "gzip"), protocol.ProblemTooLarge)
}

func TestCheckinEncodings(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	request, _ := m.Next(t)
	body, err := json.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	portaltest.WantProblem(t, m.SendBody(t, body, "Content-Encoding", "br"), protocol.ProblemEncoding)
	portaltest.WantProblem(t, m.SendBody(t, body, "Content-Encoding", "gzip"), protocol.ProblemInvalidRequest)
	if got := m.SendBody(t, zipped(t, body), "Content-Encoding", "gzip"); got.Status != http.StatusOK {
		t.Errorf("gzip: %d %s", got.Status, got.Body)
	}
}

// FuzzBodies: whatever a client sends, the portal neither fails nor answers
// with anything but its own problems.
func FuzzBodies(f *testing.F) {
	portal := portaltest.New(f, func(config *site.Config) {
		config.Enrollments = site.EnrollmentLimits{PerSource: 1 << 30, PerSerial: 1 << 30}
		config.Checkins.PerDevice = 1 << 30
	})
	m := portaltest.Enrolled(f, portal)
	request, _ := m.Next(f)
	report, err := json.Marshal(request)
	if err != nil {
		f.Fatal(err)
	}
	payload, err := json.Marshal(m.Enrollment())
	if err != nil {
		f.Fatal(err)
	}
	envelope, err := protocol.Sign(protocol.PayloadEnroll, payload, m.Key).JSON()
	if err != nil {
		f.Fatal(err)
	}
	f.Add("/v1/checkin", "", report)
	f.Add("/v1/checkin", "gzip", zipped(f, report))
	f.Add("/v1/enroll", "", envelope)
	f.Add("/v1/enroll", "gzip", []byte{0x1f, 0x8b})
	f.Add("/v1/checkin", "", []byte(`{"protocol":1,"inventory":{"vms":[null],"removed":[{}]}}`))
	handler := portal.Web.Config.Handler
	f.Fuzz(func(t *testing.T, path, encoding string, body []byte) {
		if path != "/v1/checkin" && path != "/v1/enroll" {
			return
		}
		request := httptest.NewRequest(http.MethodPost, path, bytes.NewReader(body))
		request.Header.Set("Authorization", "Bearer "+m.Token)
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
	portal := portaltest.New(b)
	database, err := storage.OpenBolt(filepath.Join(b.TempDir(), "portal.db"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { database.Close() })
	portal.Store = database
	portal.Config.Enrollments = site.EnrollmentLimits{PerSource: 1 << 20, PerSerial: 1 << 20}
	portal.Config.Checkins.PerDevice = 1 << 20
	portal.Start(b)
	portal.Contract = portaltest.Contract{}
	portal.Web.Client().Transport.(*http.Transport).MaxIdleConnsPerHost = 64
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		m := portaltest.NewMac(b, portal, uuid.NewString())
		m.BenchEnroll(b)
		for pb.Next() {
			m.BenchCheckin(b)
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "check-ins/s")
}
