package checkin

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"prlagent/agent/protocol"
)

func TestReportsThatThePortalRefuses(t *testing.T) {
	t.Parallel()
	withEvents := []protocol.Event{{Seq: 9, Type: "x"}}
	cases := []struct {
		name    string
		problem string
		events  []protocol.Event
		answers int // how often the portal refuses
		sends   int
		code    protocol.Code
	}{
		{"too large with events", protocol.ProblemTooLarge, withEvents, 1, 2, ""},
		{"too large without events", protocol.ProblemTooLarge, withEvents, 2, 2, protocol.CodeReportTooLarge},
		{"too large and had none", protocol.ProblemTooLarge, nil, 1, 1, protocol.CodeReportTooLarge},
		{"invalid with events", protocol.ProblemInvalidRequest, withEvents, 1, 2, ""},
		{"invalid", protocol.ProblemInvalidRequest, nil, 1, 1, protocol.CodePortalRefused},
		{"another protocol", protocol.ProblemUnsupported, withEvents, 1, 1, protocol.CodePortalRefused},
	}
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.do("agent_start")
			b.portal.sent()
			for range test.answers {
				b.portal.on("POST /v1/checkin", problem(test.problem))
			}
			b.events.all = test.events
			outcome, err := b.try("daily")
			if outcome.Code != test.code || (err == nil) != (test.code == "") {
				t.Fatalf("outcome %q, error %v", outcome.Code, err)
			}
			sent := b.portal.sent()
			if len(sent) != test.sends {
				t.Fatalf("%d requests, want %d", len(sent), test.sends)
			}
			if len(sent) == 2 && (len(sent[1].checkin(t).Events) != 0 || sent[1].checkin(t).Triggers[0].Reason != "daily") {
				t.Errorf("the second: %s", sent[1].body)
			}
			if b.client.State().Unanswered {
				t.Error("the refused report is kept")
			}
			b.do("daily")
			for _, request := range b.portal.sent() {
				for _, refused := range sent[:test.answers] {
					if bytes.Equal(request.body, refused.body) {
						t.Error("refused bytes were sent again")
					}
				}
			}
		})
	}
}

// What is longer than a portal keeps is cut, and what is more than the protocol
// takes waits: there is no report that is not sent.
func TestH51_AReportBeyondTheProtocolsSizeIsSent(t *testing.T) {
	skipLarge(t)
	t.Parallel()
	b := newBench(t)
	b.do("agent_start")
	b.portal.sent()
	b.events.all = make([]protocol.Event, 900)
	for i := range b.events.all {
		b.events.all[i] = protocol.Event{Seq: uint64(i + 1), Type: "x", Data: map[string]string{}}
		for part := range 4 {
			b.events.all[i].Data[fmt.Sprint("text", part)] = strings.Repeat("e", 4000)
		}
	}
	b.report.Host.ComputerName = strings.Repeat("n", protocol.MaxRequest)
	if _, err := b.try(); err != nil {
		t.Fatal(err)
	}
	sent := b.portal.wantSent("POST /v1/checkin")[0]
	request := sent.checkin(t)
	if len(request.Events) < 450 || len(request.Events) == 900 || request.Events[0].Seq != 1 || len(sent.body) > protocol.MaxRequest {
		t.Errorf("%d events in %d bytes", len(request.Events), len(sent.body))
	}
	if got := len(request.Host.ComputerName); got != protocol.MaxName {
		t.Errorf("a name of %d bytes", got)
	}
}

// A single event that is too large for its report is cut, and goes out with it.
func TestH51_AnEventThatIsTooLargeIsCut(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.do("agent_start")
	b.portal.sent()
	noise := make([]byte, protocol.MaxRequestGzip)
	_, _ = rand.Read(noise)
	b.events.all = []protocol.Event{{Seq: 1, Type: "x", Data: map[string]string{"text": base64.StdEncoding.EncodeToString(noise)}}}
	if _, err := b.try("vm_started"); err != nil || b.sentEvents() != 1 {
		t.Fatalf("%v, events up to %d are sent", err, b.sentEvents())
	}
	request := b.portal.wantSent("POST /v1/checkin")[0].checkin(t)
	if len(request.Events) != 1 || len(request.Events[0].Data["text"]) != protocol.MaxText || len(request.Triggers) != 1 {
		t.Errorf("%+v", request)
	}
}

// A user who gives machines long random names must not keep what happened from
// the portal: events that are too large together go out in parts, and each part
// is acknowledged.
func TestEventsThatAreTooLargeTogetherGoOutInParts(t *testing.T) {
	skipLarge(t)
	t.Parallel()
	b := newBench(t)
	b.do("agent_start")
	for i := range protocol.MaxEvents {
		noise := make([]byte, 500)
		_, _ = rand.Read(noise)
		b.events.all = append(b.events.all, protocol.Event{Seq: uint64(i + 1), Type: "vm_renamed",
			Data: map[string]string{"vm_name": base64.StdEncoding.EncodeToString(noise)}})
	}
	var got []uint64
	for range 8 {
		b.portal.sent()
		b.do()
		for _, event := range b.portal.wantSent("POST /v1/checkin")[0].checkin(t).Events {
			got = append(got, event.Seq)
		}
		if b.sentEvents() == protocol.MaxEvents {
			break
		}
	}
	waiting := protocol.MaxEvents - b.sentEvents()
	if waiting > 0 || len(got) != protocol.MaxEvents || !slices.IsSorted(got) {
		t.Errorf("%d events still wait, %d came", waiting, len(got))
	}
}

func TestAPortalWithoutGzipGetsPlainBodies(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.do("agent_start")
	b.portal.sent()
	b.portal.on("POST /v1/checkin", problem(protocol.ProblemEncoding))
	b.do("daily")
	b.do("daily")
	sent := b.portal.wantSent("POST /v1/checkin", "POST /v1/checkin", "POST /v1/checkin")
	if !bytes.Equal(sent[0].body, sent[1].body) || sent[1].header.Get("Content-Encoding") != "" || sent[2].header.Get("Content-Encoding") != "" {
		t.Error("the portal got gzip again")
	}
}

func TestProtocol7_AnswersOfBadShapeAreRefused(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("[", 17) + strings.Repeat("]", 17)
	cases := []struct {
		name   string
		answer scripted
		code   protocol.Code
	}{
		{"duplicate keys", plainAnswer(200, "application/json", `{"inventory":"ok","inventory":"send_full"}`), protocol.CodePortalReplyInvalid},
		{"too deep", plainAnswer(200, "application/json", `{"inventory":"ok","x":`+deep+`}`), protocol.CodePortalReplyInvalid},
		{"too large", plainAnswer(200, "application/json", `{"inventory":"ok","x":"`+strings.Repeat("x", protocol.MaxReply)+`"}`), protocol.CodePortalReplyTooLarge},
		{"trailing bytes", plainAnswer(200, "application/json", `{"inventory":"ok"}{}`), protocol.CodePortalReplyInvalid},
		{"cut off", plainAnswer(200, "application/json", `{"inventory":`), protocol.CodePortalReplyInvalid},
		{"no verdict", plainAnswer(200, "application/json", `{}`), protocol.CodePortalReplyInvalid},
		{"an impossible group", plainAnswer(200, "application/json", `{"inventory":"ok","group":{"id":"a\u001bb"}}`), protocol.CodePortalReplyInvalid},
		{"a web page", plainAnswer(200, "text/html", `<html>`), protocol.CodePortalWebPage},
		{"an unknown encoding", func(w http.ResponseWriter) {
			w.Header().Set("Content-Encoding", "br")
			answerJSON(w, http.StatusOK, protocol.CheckinReply{Inventory: protocol.InventoryOK})
		}, protocol.CodePortalReplyInvalid},
		{"a redirect", func(w http.ResponseWriter) {
			w.Header().Set("Location", "https://evil.example/v1/checkin")
			w.WriteHeader(http.StatusTemporaryRedirect)
		}, protocol.CodePortalRedirect},
		{"not found", plainAnswer(404, "text/plain", "nothing"), protocol.CodePortalOutage},
	}
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.do("agent_start")
			b.portal.sent()
			b.portal.on("POST /v1/checkin", test.answer)
			if outcome := b.fails(test.code); outcome.Requests != 1 {
				t.Errorf("%d requests", outcome.Requests)
			}
			b.do()
			sent := b.portal.wantSent("POST /v1/checkin", "POST /v1/checkin")
			if !bytes.Equal(sent[0].body, sent[1].body) {
				t.Error("the unanswered report was not repeated")
			}
		})
	}
}

func TestProtocol8_AGzipBombIsBounded(t *testing.T) {
	skipLarge(t)
	t.Parallel()
	b := newBench(t)
	b.do("agent_start")
	bomb, err := packAlways(bytes.Repeat([]byte(" "), 16<<20))
	if err != nil {
		t.Fatal(err)
	}
	serve := func(status int) scripted {
		return func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Encoding", "gzip")
			w.WriteHeader(status)
			_, _ = w.Write(bomb)
		}
	}
	b.portal.on("POST /v1/checkin", serve(http.StatusOK))
	b.fails(protocol.CodePortalReplyTooLarge)
	b.portal.on("POST /v1/checkin", serve(http.StatusForbidden))
	b.fails(protocol.CodePortalOutage)
	b.portal.set(func(f *fakePortal) { f.encode = true })
	b.do("daily") // a small one is fine
}

func TestCommandsOfAReplyAreBounded(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.portal.set(func(f *fakePortal) { f.reply.Commands = make([]protocol.Envelope, 20) })
	if got := len(b.do("agent_start").Reply.Commands); got != protocol.MaxCommandReply {
		t.Errorf("%d commands", got)
	}
}

func TestCadenceIsClamped(t *testing.T) {
	t.Parallel()
	for asked, want := range map[int]time.Duration{0: 0, -5: 0, 1: 5 * time.Minute, 3600: time.Hour, 1 << 30: 24 * time.Hour} {
		b := newBench(t)
		b.portal.set(func(f *fakePortal) { f.reply.NextCheckin = asked })
		if got := b.do("agent_start").NextCheckin; got != want || b.client.State().NextCheckin != want {
			t.Errorf("%d: %v, want %v", asked, got, want)
		}
	}
}
