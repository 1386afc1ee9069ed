package adminapi

import (
	"fmt"
	"net/http"
	"time"

	"prlagent/cmd/prlportal/fleet"
	"prlagent/cmd/prlportal/metrics"
	"prlagent/cmd/prlportal/webhook"
)

// Measured is what the portal measures of itself.
type Measured struct {
	Requests *metrics.Requests
	// CertificateEnd is when the certificate that the portal shows expires.
	CertificateEnd func() time.Time
}

// ResultOK is the result of a request that was answered with what it asked for;
// others are names of problems.
const ResultOK = "ok"

// Patterns of the requests whose results are counted, as in package agentapi.
const (
	checkinPattern = "POST /v1/checkin"
	enrollPattern  = "POST /v1/enroll"
)

// metrics answers a Prometheus. It is for who may read: the numbers say how large a
// fleet is and how it does, and a connection from loopback proves nothing where a
// proxy runs on the same machine. No label names a device.
func (s *Server) metrics(w http.ResponseWriter, r *http.Request) error {
	counted, err := s.newScan(s.now().UTC(), time.Time{}).Counts(r.Context())
	if err != nil {
		return fmt.Errorf("count devices: %w", err)
	}
	size, err := s.devices.Size(r.Context())
	if err != nil {
		return fmt.Errorf("measure store: %w", err)
	}
	hook, err := s.webhook.Status(r.Context())
	if err != nil {
		return err
	}
	var text metrics.Text
	s.addRequests(&text)
	addCounts(&text, counted)
	text.Add("prlportal_store_size_bytes", metrics.Gauge, "Size of the database.", float64(size))
	text.Add("prlportal_certificate_expiry_timestamp_seconds", metrics.Gauge, "When the portal's certificate expires.", float64(s.measured.CertificateEnd().Unix()))
	if end := s.headsEnd(r.Context()); !end.IsZero() {
		text.Add("prlportal_head_expiry_timestamp_seconds", metrics.Gauge, "When the first of the signed heads ends; 'prlportal renew' signs them anew.", float64(end.Unix()))
	}
	if hook.Configured {
		addWebhook(&text, hook)
	}
	w.Header().Set("Content-Type", metrics.ContentType)
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(text.Bytes()) // a client that is gone is no failure of ours
	return nil
}

func (s *Server) addRequests(text *metrics.Text) {
	for _, counted := range []struct{ pattern, name, help string }{
		{checkinPattern, "prlportal_checkins_total", "Check-ins by their result: ok, or the problem that was answered."},
		{enrollPattern, "prlportal_enrollments_total", "Enrollments by their result."},
	} {
		results := s.measured.Requests.Results(counted.pattern)
		results[ResultOK] += 0
		text.AddBy(counted.name, metrics.Counter, counted.help, "result", results)
	}
	s.measured.Requests.AddDurations(text, "prlportal_request_duration_seconds", "How long requests took, by route.")
}

// addCounts adds the devices; words that no device has are 0, so that an alarm on
// one can tell "none" from "not measured".
func addCounts(text *metrics.Text, counted fleet.Counts) {
	for _, word := range fleet.States {
		counted.States[word] += 0
	}
	for _, word := range fleet.HealthWords {
		counted.Health[word] += 0
	}
	for _, within := range fleet.SeenWithin {
		counted.Seen[within.Word] += 0
	}
	if untold, some := counted.Health[""]; some {
		delete(counted.Health, "")
		counted.Health[healthNotReported] = untold
	}
	text.AddBy("prlportal_devices", metrics.Gauge, "Devices by their state.", "state", counted.States)
	text.AddBy("prlportal_devices_by_health", metrics.Gauge, "Devices that are not retired, by their health.", "health", counted.Health)
	text.AddBy("prlportal_devices_by_agent_version", metrics.Gauge, "Devices that are not retired, by the version of their agent; the rarer ones are one.", "version", counted.Versions)
	text.AddBy("prlportal_devices_by_last_checkin", metrics.Gauge, "Devices that are not retired, by the span in which they checked in last.", "within", counted.Seen)
	text.Add("prlportal_vms_missing", metrics.Gauge, "Virtual machines that reports had no room for.", float64(counted.Missing))
}

// addWebhook adds how the webhook does; nothing where there is none.
func addWebhook(text *metrics.Text, hook webhook.Status) {
	text.Add("prlportal_webhook_queued", metrics.Gauge, "Messages of the webhook that wait.", float64(hook.Queued))
	if !hook.OldestAt.IsZero() {
		text.Add("prlportal_webhook_oldest_timestamp_seconds", metrics.Gauge, "Since when the oldest of them waits.", float64(hook.OldestAt.Unix()))
	}
	text.Add("prlportal_webhook_sent_total", metrics.Counter, "Messages that the receiver has taken.", float64(hook.Sent))
	text.AddBy("prlportal_webhook_dropped_total", metrics.Counter, "Messages that are not sent, by why.", "reason", map[string]int{
		"full": hook.Dropped.Full, "expired": hook.Dropped.Expired, "cleared": hook.Dropped.Cleared,
	})
	text.Add("prlportal_webhook_failures", metrics.Gauge, "Attempts in a row that failed.", float64(hook.Failures))
	troubled := 0.0
	if hook.Condition != nil {
		troubled = 1
	}
	text.Add("prlportal_webhook_troubled", metrics.Gauge, "1 where somebody should look: nothing was taken for an hour, or the receiver wants none.", troubled)
}

// healthNotReported stands for agents that do not tell their health.
const healthNotReported = "not_reported"
