package adminapi_test

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	dto "github.com/prometheus/client_model/go"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/portaltest"
	"prlagent/cmd/prlportal/site"
)

// scrape reads the portal's metrics as a Prometheus does.
func scrape(t *testing.T, portal *portaltest.Portal) map[string]*dto.MetricFamily {
	t.Helper()
	got := portal.Admin(t, http.MethodGet, "/metrics", nil)
	if got.Status != http.StatusOK || !strings.HasPrefix(got.Header.Get("Content-Type"), "text/plain; version=0.0.4") {
		t.Fatalf("metrics answered %d %v", got.Status, got.Header)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(got.Body))
	if err != nil {
		t.Fatalf("%v in\n%s", err, got.Body)
	}
	return families
}

// value is that of the sample with this label, of any kind; -1 if there is none.
func value(families map[string]*dto.MetricFamily, name, label string) float64 {
	for _, metric := range families[name].GetMetric() {
		if label != "" && (len(metric.GetLabel()) != 1 || metric.GetLabel()[0].GetValue() != label) {
			continue
		}
		if metric.GetHistogram() != nil {
			return float64(metric.GetHistogram().GetSampleCount())
		}
		return metric.GetGauge().GetValue() + metric.GetCounter().GetValue()
	}
	return -1
}

func TestMetricsAreWhatAPrometheusReads(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Unwell(t, portal) // two check-ins
	request, _ := m.Next(t)
	request.RequestID = "none"
	portaltest.WantProblem(t, m.Send(t, request), protocol.ProblemInvalidRequest)
	m.Sequence--
	portal.Clock.Advance(2*portal.Config.Freshness() + time.Hour)
	other := portaltest.NewMac(t, portal, "C02BBBBBBBBB")
	other.Report.Agent.Version = "9.9 \"\\\n{}\xff"
	other.Enroll(t, http.StatusCreated)
	other.Checkin(t)
	families := scrape(t, portal)
	for _, want := range []struct {
		name, label string
		value       float64
	}{
		{"prlportal_checkins_total", "ok", 3},
		{"prlportal_checkins_total", protocol.ProblemInvalidRequest, 1},
		{"prlportal_enrollments_total", "ok", 2},
		{"prlportal_request_duration_seconds", "POST /v1/checkin", 4},
		{"prlportal_devices", "ok", 2},
		{"prlportal_devices", "retired", 0},
		{"prlportal_devices_by_health", "stale", 1},
		{"prlportal_devices_by_health", "healthy", 1},
		{"prlportal_devices_by_health", "unhealthy", 0},
		{"prlportal_devices_by_agent_version", "0.1.0", 1},
		{"prlportal_devices_by_agent_version", "9.9 \"\\\n{}\uFFFD", 1},
		{"prlportal_devices_by_last_checkin", "hour", 1},
		{"prlportal_devices_by_last_checkin", "day", 1},
		{"prlportal_devices_by_last_checkin", "week", 0},
		{"prlportal_vms_missing", "", 0},
		{"prlportal_certificate_expiry_timestamp_seconds", "", float64(portaltest.CertificateEnd.Unix())},
	} {
		if got := value(families, want.name, want.label); got != want.value {
			t.Errorf("%s of %q is %v, want %v", want.name, want.label, got, want.value)
		}
	}
	if size := value(families, "prlportal_store_size_bytes", ""); size < 1000 {
		t.Errorf("the store has %v bytes", size)
	}
	for name, family := range families {
		if family.GetHelp() == "" || family.GetType() == dto.MetricType_UNTYPED {
			t.Errorf("%s has no help or no type", name)
		}
		for _, metric := range family.GetMetric() {
			for _, label := range metric.GetLabel() {
				for _, own := range []string{m.Serial, m.DeviceID, other.Serial, "Alice's Mac"} {
					if strings.Contains(label.GetValue(), own) {
						t.Errorf("%s names a device: %s", name, label)
					}
				}
			}
		}
	}
}

// A fleet of Macs that each make up a version of their own is a few series.
func TestMetricsDoNotGrowWithWhatMacsSay(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t, func(config *site.Config) { config.Enrollments.PerSource = 100 })
	for i := range 30 {
		m := portaltest.NewMac(t, portal, "C02"+strings.Repeat("X", i+1))
		m.Report.Agent.Version = strings.Repeat("1", i+1)
		m.Enroll(t, http.StatusCreated)
		m.Checkin(t)
	}
	families := scrape(t, portal)
	if got := len(families["prlportal_devices_by_agent_version"].GetMetric()); got != 21 {
		t.Errorf("%d series of versions, want 20 and the others", got)
	}
	if got := value(families, "prlportal_devices_by_agent_version", "other"); got != 10 {
		t.Errorf("%v others", got)
	}
}

// Nobody reads the numbers without a token, loopback or not.
func TestMetricsNeedAToken(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	portaltest.WantProblem(t, portal.Call(t, http.MethodGet, "/metrics", nil), protocol.ProblemUnauthenticated)
	portaltest.WantProblem(t, portal.Call(t, http.MethodGet, "/metrics", nil, "Authorization", "Bearer x"), protocol.ProblemUnauthenticated)
}

// Each Mac has one word of health, also one that has told none yet.
func TestEachMacIsCountedOnceByItsHealth(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	portaltest.Enrolled(t, portal)
	portaltest.NewMac(t, portal, "C02OTHER").Enroll(t, http.StatusCreated)
	counted := make(map[string]float64)
	total := 0.0
	for _, one := range scrape(t, portal)["prlportal_devices_by_health"].GetMetric() {
		counted[one.GetLabel()[0].GetValue()] = one.GetGauge().GetValue()
		total += one.GetGauge().GetValue()
	}
	if _, nameless := counted[""]; nameless || total != 2 || counted["not_reported"] != 1 || counted["healthy"] != 1 {
		t.Errorf("counted are %v", counted)
	}
}
