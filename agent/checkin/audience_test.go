package checkin

import (
	"math"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"prlagent/agent/protocol"
)

// enrollments opens those that were sent since the last call.
func (b *bench) enrollments() []protocol.EnrollRequest {
	b.t.Helper()
	var requests []protocol.EnrollRequest
	for _, sent := range b.portal.sent() {
		if sent.what != "POST /v1/enroll" {
			continue
		}
		envelope, err := protocol.ParseEnvelope(sent.body, protocol.MaxRequest)
		if err != nil {
			b.t.Fatal(err)
		}
		requests = append(requests, b.portal.openEnrollment(envelope))
	}
	return requests
}

func requestID(t *testing.T, request protocol.EnrollRequest) protocol.RequestID {
	t.Helper()
	id, err := protocol.ParseRequestID(request.RequestID)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestH54_AnEnrollmentNamesItsPortal(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.options.ServerURL, b.options.SiteID = parseURL(t, "https://Portal.Example"), "5b1f6c3e-8d0a-4c1b-9e57-0f6a2d3c4b5e"
	b.configure()
	b.do("agent_start")
	sent := b.enrollments()
	if len(sent) != 1 || sent[0].Origin != "https://portal.example:443" || sent[0].SiteID != b.options.SiteID || !sent[0].SentAt.Equal(b.now) {
		t.Errorf("sent %+v", sent)
	}
	if id := requestID(t, sent[0]); id.Time().Sub(b.now).Abs() > time.Second {
		t.Errorf("its id is of %v", id.Time())
	}
}

// The ids rise while a clock is set back, and over restarts.
func TestH54_RequestIDsRise(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.do("agent_start")
	last := requestID(t, b.enrollments()[0])
	for step := range 4 {
		b.now = b.now.Add(-6 * time.Hour)
		if step%2 == 0 {
			b.crash()
		}
		b.portal.forget()
		b.do("daily")
		sent := b.enrollments()
		if len(sent) != 1 || !requestID(t, sent[0]).After(last) {
			t.Fatalf("step %d: sent %+v after %s", step, sent, last)
		}
		last = requestID(t, sent[0])
	}
}

// A portal that has a newer enrollment, as of a request whose answer was lost, or
// of before node.json was put back, gets one that is newer still, at once.
func TestH54_AReplayIsAskedAnew(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	newest := b.now.Add(20 * time.Hour)
	b.portal.on("POST /v1/enroll", func(w http.ResponseWriter) {
		refused := protocol.NewProblem(protocol.ProblemEnrollmentReplay, "")
		refused.Expected = uint64(newest.UnixMilli())
		refused.Write(w)
	})
	b.do("agent_start")
	sent := b.enrollments()
	if len(sent) != 2 || requestID(t, sent[1]).Time().Before(newest) || !sent[1].SentAt.Equal(b.now) {
		t.Errorf("sent %+v", sent)
	}
}

// A number that no portal of ours has is not followed, and nothing is asked for
// ever.
func TestH54_AnImpossibleReplayIsNotFollowed(t *testing.T) {
	t.Parallel()
	for name, expected := range map[string]uint64{"the end of numbers": math.MaxUint64, "next year": uint64(time.Date(2027, 11, 23, 0, 0, 0, 0, time.UTC).UnixMilli())} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.portal.on("POST /v1/enroll", func(w http.ResponseWriter) {
				refused := protocol.NewProblem(protocol.ProblemEnrollmentReplay, "")
				refused.Expected = expected
				refused.Write(w)
			})
			b.fails(protocol.CodeEnrollmentReplayed)
			if sent := b.enrollments(); len(sent) != 1 {
				t.Errorf("sent %+v", sent)
			}
			b.do("daily")
			if sent := b.enrollments(); len(sent) != 1 || requestID(t, sent[0]).Time().Sub(b.now).Abs() > time.Minute {
				t.Errorf("then sent %+v", sent)
			}
		})
	}
	b := newBench(t)
	for range 3 {
		b.portal.on("POST /v1/enroll", problem(protocol.ProblemEnrollmentReplay))
	}
	b.fails(protocol.CodeEnrollmentReplayed)
	if sent := b.enrollments(); len(sent) != 2 {
		t.Errorf("asked %d times", len(sent))
	}
}

// What an administrator compares is shown, also before there is any approval, and
// is no part of the key.
func TestH55_TheKeyIDIsShown(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.portal.set(func(f *fakePortal) { f.pending = true })
	b.fails(protocol.CodeEnrollmentPending)
	want := protocol.KeyID(b.enrollments()[0].DeviceKey)
	if got := b.client.State(); got.KeyID != want || len(want) != 16 {
		t.Errorf("state %+v, want key %s", got, want)
	}
	file, err := os.ReadFile(b.options.IdentityPath)
	if err != nil || strings.Contains(string(file), want) {
		t.Errorf("node.json: %v", err)
	}
}
