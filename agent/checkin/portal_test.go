package checkin

import (
	"bytes"
	"compress/gzip"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"prlagent/agent/protocol"
)

// seen is one request as it reached the portal.
type seen struct {
	what     string // "POST /v1/checkin"
	header   http.Header
	body     []byte // unpacked
	received int    // bytes of the body as sent
}

// checkin decodes a report.
func (s seen) checkin(t *testing.T) protocol.CheckinRequest {
	t.Helper()
	var request protocol.CheckinRequest
	if err := protocol.Decode(s.body, protocol.MaxRequest, &request); err != nil {
		t.Fatalf("decode report: %v", err)
	}
	return request
}

// scripted is an answer that a test gives in the portal's place.
type scripted func(w http.ResponseWriter)

// fakePortal does what agent/protocol's package comment says a portal does, for
// one device, and as scripted where a test wants something else.
type fakePortal struct {
	t  *testing.T
	mu sync.Mutex

	clock    func() time.Time
	requests []seen
	script   map[string][]scripted // by seen.what; used up one by one
	loseNext int                   // replies that get lost after the portal did its work

	secret   string
	pending  bool // new and unproven devices wait for approval
	device   ed25519.PublicKey
	token    string
	tokens   int
	answers  map[string]protocol.CheckinReply // by request id
	bodies   map[string][]byte                // by request id
	sequence uint64
	held     string // hash of the report on record
	rows     int    // reports that made an inventory row

	reply   protocol.CheckinReply // what every check-in is answered with
	content map[string][]byte     // by path below /v1/content/
	encode  bool                  // gzip answers
}

const (
	theSecret = "canary-secret"
	theSite   = "example"
)

func newFakePortal(t *testing.T) *fakePortal {
	return &fakePortal{t: t, secret: theSecret, answers: map[string]protocol.CheckinReply{}, bodies: map[string][]byte{},
		script: map[string][]scripted{}, content: map[string][]byte{},
		reply: protocol.CheckinReply{NextCheckin: 3600, Group: protocol.Group{ID: "staff", Source: protocol.GroupFromPrimary}}}
}

// on scripts the next answer to a kind of request.
func (f *fakePortal) on(what string, answer scripted) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.script[what] = append(f.script[what], answer)
}

func problem(name string) scripted {
	return func(w http.ResponseWriter) { protocol.NewProblem(name, "").Write(w) }
}

func plainAnswer(status int, contentType, body string) scripted {
	return func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// sent lists what arrived since the last call.
func (f *fakePortal) sent() []seen {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := f.requests
	f.requests = nil
	return list
}

// wantSent compares the kinds of requests since the last call.
func (f *fakePortal) wantSent(want ...string) []seen {
	f.t.Helper()
	list := f.sent()
	var got []string
	for _, request := range list {
		got = append(got, request.what)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		f.t.Fatalf("requests: %s", diff)
	}
	return list
}

func (f *fakePortal) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		f.t.Errorf("read request: %v", err)
	}
	body := raw
	if r.Header.Get("Content-Encoding") == "gzip" {
		reader, err := gzip.NewReader(bytes.NewReader(raw))
		if err == nil {
			body, err = io.ReadAll(reader)
		}
		if err != nil {
			f.t.Errorf("unpack request: %v", err)
		}
	}
	what := r.Method + " " + r.URL.EscapedPath()
	f.requests = append(f.requests, seen{what: what, header: r.Header.Clone(), body: body, received: len(raw)})
	if queue := f.script[what]; len(queue) > 0 {
		f.script[what] = queue[1:]
		queue[0](w)
		return
	}
	switch {
	case what == "POST /v1/enroll":
		f.enroll(w, body)
	case what == "POST /v1/checkin":
		f.checkin(w, r, body)
	default:
		f.serve(w, r)
	}
}

func (f *fakePortal) enroll(w http.ResponseWriter, body []byte) {
	envelope, err := protocol.ParseEnvelope(body, protocol.MaxRequest)
	if err != nil {
		f.t.Errorf("enrollment: %v", err)
	}
	request := f.openEnrollment(envelope)
	known := f.device != nil
	switch {
	case known && !f.device.Equal(request.DeviceKey), f.pending:
		answerJSON(w, http.StatusAccepted, protocol.EnrollReply{State: protocol.EnrollPending, DeviceID: "device-1", RetryAfter: 120})
		return
	case !known && request.Secret != f.secret:
		protocol.NewProblem(protocol.ProblemEnrollmentRefused, "").Write(w)
		return
	}
	f.device = request.DeviceKey
	f.tokens++
	f.token = "canary-token-" + strconv.Itoa(f.tokens) + strings.Repeat("x", 30)
	f.lose()
	answerJSON(w, http.StatusCreated, protocol.EnrollReply{State: protocol.EnrollApproved, DeviceID: "device-1", Token: f.token})
}

func (f *fakePortal) openEnrollment(envelope protocol.Envelope) protocol.EnrollRequest {
	var request protocol.EnrollRequest
	var unverified struct {
		DeviceKey ed25519.PublicKey `json:"device_key"`
	}
	payload := decodeBase64(f.t, envelope.Payload)
	if err := json.Unmarshal(payload, &unverified); err != nil {
		f.t.Errorf("enrollment: %v", err)
	}
	key := protocol.TrustedKey{ID: protocol.KeyID(unverified.DeviceKey), Key: unverified.DeviceKey}
	verified, err := envelope.Verify(protocol.PayloadEnroll, []protocol.TrustedKey{key}, 1)
	if err != nil {
		f.t.Errorf("enrollment is not signed by its key: %v", err)
	}
	if err := json.Unmarshal(verified, &request); err != nil {
		f.t.Errorf("enrollment: %v", err)
	}
	return request
}

func (f *fakePortal) checkin(w http.ResponseWriter, r *http.Request, body []byte) {
	if f.token == "" || r.Header.Get("Authorization") != "Bearer "+f.token {
		protocol.NewProblem(protocol.ProblemDeviceUnknown, "").Write(w)
		return
	}
	var request protocol.CheckinRequest
	if err := protocol.Decode(body, protocol.MaxRequest, &request); err != nil {
		f.t.Errorf("report: %v", err)
	}
	reply, repeated := f.answers[request.RequestID]
	if repeated && !bytes.Equal(f.bodies[request.RequestID], body) {
		f.t.Errorf("request %s came with two bodies", request.RequestID)
	}
	if !repeated {
		if request.Sequence <= f.sequence {
			conflict := protocol.NewProblem(protocol.ProblemSequenceConflict, "")
			conflict.Expected = f.sequence + 10
			conflict.Write(w)
			return
		}
		reply = f.record(request)
		f.answers[request.RequestID], f.bodies[request.RequestID] = reply, body
	}
	f.lose()
	if f.encode {
		w.Header().Set("Content-Encoding", "gzip")
	}
	answerJSON(w, http.StatusOK, reply)
}

// lose breaks the connection where a reply is to get lost.
func (f *fakePortal) lose() {
	if f.loseNext > 0 {
		f.loseNext--
		panic(http.ErrAbortHandler)
	}
}

// record makes the inventory row, or asks for everything.
func (f *fakePortal) record(request protocol.CheckinRequest) protocol.CheckinReply {
	reply := f.reply
	reply.ServerTime = f.clock()
	reply.Inventory = protocol.InventoryOK
	inventory := request.Inventory
	f.sequence = request.Sequence
	for _, result := range request.Results {
		reply.Acks = append(reply.Acks, protocol.Ack{CommandID: result.CommandID})
	}
	if !inventory.Full && inventory.Hash != f.held && (inventory.Base == "" || inventory.Base != f.held) {
		reply.Inventory = protocol.InventorySendFull
		return reply
	}
	f.held = inventory.Hash
	f.rows++
	return reply
}

// serve is a plain web server with validators.
func (f *fakePortal) serve(w http.ResponseWriter, r *http.Request) {
	name, below := strings.CutPrefix(r.URL.Path, "/v1/content/")
	data, there := f.content[name]
	if !below || !there {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("ETag", strconv.Quote(strconv.Itoa(len(data))+name+string(data[max(0, len(data)-12):len(data)-4])))
	http.ServeContent(w, r, "x.json", time.Time{}, bytes.NewReader(data))
}

// forget makes a portal that was restored from before the device enrolled.
func (f *fakePortal) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.token, f.held, f.sequence = "", "", 0
	f.answers, f.bodies = map[string]protocol.CheckinReply{}, map[string][]byte{}
}

// set changes the portal's mind.
func (f *fakePortal) set(change func(*fakePortal)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func answerJSON(w http.ResponseWriter, status int, v any) {
	body, _ := json.Marshal(v)
	w.Header().Set("Content-Type", "application/json")
	if w.Header().Get("Content-Encoding") == "gzip" {
		body, _ = packAlways(body)
	}
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

func packAlways(body []byte) ([]byte, error) {
	var packed bytes.Buffer
	writer := gzip.NewWriter(&packed)
	_, err := writer.Write(body)
	err = errors.Join(err, writer.Close())
	return packed.Bytes(), err
}

// directly serves a request without a socket. A handler that aborts is a
// connection that broke, and one that panics with another error fails with that;
// down is a portal that cannot be reached.
type directly struct {
	handler http.Handler
	down    bool
}

var errBroken = errors.New("connection reset by peer")

func (d *directly) RoundTrip(r *http.Request) (response *http.Response, err error) {
	if d.down {
		return nil, errBroken
	}
	if r.Body == nil {
		r.Body = http.NoBody
	}
	recorder := httptest.NewRecorder()
	defer func() {
		if cause := recover(); cause != nil {
			response, err = nil, errBroken
			if other, is := cause.(error); is && !errors.Is(other, http.ErrAbortHandler) {
				err = other
			}
		}
	}()
	d.handler.ServeHTTP(recorder, r)
	response = recorder.Result()
	response.Request = r
	return response, nil
}
