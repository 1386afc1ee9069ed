package cmd_test

import (
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"prlagent/agent/protocol"
)

// evilAnswer is one entry of the list that an evil portal plays.
type evilAnswer struct {
	To      string            `json:"to"`      // what is answered: begins a path, as /v1/checkin; empty = everything
	Times   int               `json:"times"`   // how often; 0 = once, -1 = for ever
	Delay   string            `json:"delay"`   // before the answer, as 50s
	Real    bool              `json:"real"`    // the portal's own answer
	Problem string            `json:"problem"` // or one of protocol.Problems
	Status  int               `json:"status"`  // or this one; beside the others it replaces theirs
	Headers map[string]string `json:"headers"`
	Body    string            `json:"body"` // ${TOKEN} is the token of the request
	File    string            `json:"file"` // or the content of a file
	Repeat  int               `json:"repeat"`
	// Set changes fields of an answer that is JSON, by their path (policy.head_version)
	// to any JSON; ${TOKEN} in a text as above.
	Set map[string]json.RawMessage `json:"set"`
}

// evilPortal answers in the portal's place, with its certificate, as its list
// says: for each request the first entry that fits and is not used up. What none
// fits gets the portal's own answer, if there is a portal behind.
type evilPortal struct {
	behind *reservedPort // where the portal itself listens; nil = there is none
	portal http.Handler  // the same
	server *http.Server
	ended  chan struct{}
	asked  chan struct{} // a request arrived

	mu      sync.Mutex
	answers []evilAnswer
	left    []int // times for each of them; -1 = for ever
	played  chan struct{}
}

// newEvilPortal makes one with the certificate of the script's portal; target is
// where that listens, nil if it does not.
func newEvilPortal(target *url.URL, certificate tls.Certificate, answers ...evilAnswer) *evilPortal {
	quiet := log.New(io.Discard, "", 0)
	e := &evilPortal{
		answers: answers, ended: make(chan struct{}), asked: make(chan struct{}, 1), played: make(chan struct{}),
		portal: http.NotFoundHandler(),
	}
	for _, answer := range answers {
		e.left = append(e.left, map[bool]int{true: 1, false: answer.Times}[answer.Times == 0])
	}
	if target != nil {
		proxy := httputil.NewSingleHostReverseProxy(target)
		proxy.ErrorLog = quiet
		proxy.Transport = &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} // on loopback, at a port that is ours
		e.portal = proxy
	}
	e.server = &http.Server{ErrorLog: quiet, TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}}, Handler: e}
	e.notePlayed()
	return e
}

// take gives the entry for a request, and whether there is one.
func (e *evilPortal) take(path string) (evilAnswer, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i, answer := range e.answers {
		if e.left[i] != 0 && strings.HasPrefix(path, answer.To) {
			e.left[i] = max(e.left[i]-1, -1)
			return answer, true
		}
	}
	return evilAnswer{}, false
}

// notePlayed tells those who wait that all entries that end are used up.
func (e *evilPortal) notePlayed() {
	e.mu.Lock()
	defer e.mu.Unlock()
	select {
	case <-e.played:
	default:
		if !slices.ContainsFunc(e.left, func(left int) bool { return left > 0 }) {
			close(e.played)
		}
	}
}

// ServeHTTP plays the next entry.
func (e *evilPortal) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer e.notePlayed()
	answer, has := e.take(r.URL.Path)
	select {
	case e.asked <- struct{}{}:
	default:
	}
	if !has {
		e.portal.ServeHTTP(w, r)
		return
	}
	delay, _ := time.ParseDuration(answer.Delay) // checked when the list was read
	select {
	case <-time.After(delay):
	case <-r.Context().Done():
		return
	}
	if answer.Real && len(answer.Set)+len(answer.Headers)+answer.Status == 0 {
		e.portal.ServeHTTP(w, r)
		return
	}
	e.play(w, r, answer)
}

// play writes what an entry makes of its origin.
func (e *evilPortal) play(w http.ResponseWriter, r *http.Request, answer evilAnswer) {
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	header, status, body := e.origin(r, answer)
	if len(answer.Set) > 0 {
		body = changeFields(body, answer.Set)
	}
	body = bytes.ReplaceAll(body, []byte("${TOKEN}"), []byte(token))
	maps.Copy(w.Header(), header)
	for name, value := range answer.Headers {
		w.Header().Set(name, strings.ReplaceAll(value, "${TOKEN}", token))
	}
	if answer.Status != 0 {
		status = answer.Status
	}
	w.WriteHeader(status)
	for range max(answer.Repeat, 1) {
		if _, err := w.Write(body); err != nil {
			return
		}
	}
}

// origin is what an entry begins with: the portal's answer, a problem, or its own
// words.
func (e *evilPortal) origin(r *http.Request, answer evilAnswer) (http.Header, int, []byte) {
	recorded := &recordedAnswer{header: make(http.Header), status: http.StatusOK}
	switch {
	case answer.Real:
		r.Header.Del("Accept-Encoding")
		e.portal.ServeHTTP(recorded, r)
		recorded.header.Del("Content-Length")
	case answer.Problem != "":
		protocol.NewProblem(answer.Problem, answer.Body).Write(recorded)
	default:
		recorded.header.Set("Content-Type", "application/json")
		recorded.body.WriteString(answer.Body)
	}
	return recorded.header, recorded.status, unpacked(recorded)
}

// unpacked is the body that was recorded, as it was before it was packed.
func unpacked(recorded *recordedAnswer) []byte {
	if recorded.header.Get("Content-Encoding") != "gzip" {
		return recorded.body.Bytes()
	}
	reader, err := gzip.NewReader(&recorded.body)
	if err != nil {
		return nil
	}
	recorded.header.Del("Content-Encoding")
	body, _ := io.ReadAll(reader)
	return body
}

// changeFields puts values into a JSON object; objects in between are made.
func changeFields(body []byte, values map[string]json.RawMessage) []byte {
	whole := make(map[string]any)
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	if err := decoder.Decode(&whole); err != nil {
		whole = make(map[string]any)
	}
	for path, value := range values {
		at, names := whole, strings.Split(path, ".")
		for _, name := range names[:len(names)-1] {
			inner, _ := at[name].(map[string]any)
			if inner == nil {
				inner = make(map[string]any)
				at[name] = inner
			}
			at = inner
		}
		at[names[len(names)-1]] = value
	}
	changed, _ := json.Marshal(whole)
	return changed
}

// recordedAnswer keeps an answer to be changed.
type recordedAnswer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header is what the answer's header will be.
func (r *recordedAnswer) Header() http.Header { return r.header }

// WriteHeader keeps the status.
func (r *recordedAnswer) WriteHeader(status int) { r.status = status }

// Write keeps the body.
func (r *recordedAnswer) Write(data []byte) (int, error) { return r.body.Write(data) }

// serve answers until it is closed.
func (e *evilPortal) serve(listener net.Listener) {
	go func() {
		defer close(e.ended)
		_ = e.server.ServeTLS(listener, "", "")
	}()
}

func (e *evilPortal) close() {
	_ = e.server.Close()
	<-e.ended
	if e.behind != nil {
		e.behind.release()
	}
}

// readAnswers reads a list of answers; files in it are the script's.
func readAnswers(ts *testscript.TestScript, name string) []evilAnswer {
	var answers []evilAnswer
	decoder := json.NewDecoder(strings.NewReader(ts.ReadFile(name)))
	decoder.DisallowUnknownFields()
	ts.Check(decoder.Decode(&answers))
	for i := range answers {
		answer := &answers[i]
		if _, err := time.ParseDuration(answer.Delay); answer.Delay != "" && err != nil {
			ts.Fatalf("delay: %v", err)
		}
		if answer.Problem != "" && protocol.KindOfProblem(answer.Problem) == nil {
			ts.Fatalf("there is no problem %q", answer.Problem)
		}
		if answer.File != "" {
			content, err := os.ReadFile(ts.MkAbs(answer.File))
			ts.Check(err)
			answer.Body = string(content)
		}
	}
	return answers
}

// portalCertificate is that of the script's portal.
func portalCertificate(ts *testscript.TestScript) tls.Certificate {
	folder := filepath.Join(ts.Getenv("PORTAL"), "portal")
	certificate, err := tls.LoadX509KeyPair(filepath.Join(folder, "tls.crt"), filepath.Join(folder, "tls.key"))
	ts.Check(err)
	return certificate
}

// startEvilPortal starts the portal, which must be stopped, behind an evil one.
// The operator's commands reach it directly.
func startEvilPortal(ts *testscript.TestScript, answers ...evilAnswer) {
	s := stageOf(ts)
	if s.portal == nil {
		ts.Fatalf("nobody knows the portal yet")
	}
	certificate := portalCertificate(ts)
	behind, err := reservePort()
	ts.Check(err)
	servePortal(ts, behind.address)
	target, err := url.Parse(ts.Getenv("PRLPORTAL_URL"))
	ts.Check(err)
	listener, err := net.Listen("tcp", s.portal.address)
	ts.Check(err)
	s.front = newEvilPortal(target, certificate, answers...)
	s.front.behind = behind
	s.front.serve(listener)
}

// closeFront ends what answers in the portal's place, and with it what waits
// there.
func (s *stage) closeFront() {
	if s.front != nil {
		s.front.close()
		s.front = nil
	}
}

// await waits for something that an evil portal tells.
func (e *evilPortal) await(ts *testscript.TestScript, what string, told <-chan struct{}) {
	select {
	case <-told:
	case <-time.After(readyLimit):
		e.mu.Lock()
		defer e.mu.Unlock()
		ts.Fatalf("%s: %v are left of the answers", what, e.left)
	}
}

// strangers are what may answer in the portal's place.
var strangers = map[string]evilAnswer{
	"page": {Status: http.StatusOK, Headers: map[string]string{"Content-Type": "text/html; charset=utf-8"},
		Body: "<html><body>Please accept the terms of this network."},
	"redirect": {Status: http.StatusFound, Headers: map[string]string{"Location": "http://sign-in.example/?from=${TOKEN}"}},
	"refusal":  {Status: http.StatusForbidden, Headers: map[string]string{"Content-Type": "text/plain; charset=utf-8"}, Body: "blocked by policy"},
	"gone":     {Status: http.StatusGone, Headers: map[string]string{"Content-Type": "text/plain; charset=utf-8"}, Body: "gone"},
}

// meetStranger runs a command while something else listens where the portal,
// which must be stopped, was.
func meetStranger(ts *testscript.TestScript, neg bool, args []string) {
	stranger, known := evilAnswer{}, false
	if len(args) > 0 {
		stranger, known = strangers[args[0]]
	}
	if neg || len(args) < 3 || !known {
		ts.Fatalf("usage: stranger page|redirect|refusal|gone CODE COMMAND…")
	}
	stranger.Times = -1
	listener, err := net.Listen("tcp", strings.TrimPrefix(ts.Getenv("PRLPORTAL_URL"), "https://"))
	ts.Check(err)
	front := newEvilPortal(nil, portalCertificate(ts), stranger)
	front.serve(listener)
	defer front.close()
	expectExit(ts, false, args[1:])
}

// TestEvilAnswers: what an evil portal makes of its list.
func TestEvilAnswers(t *testing.T) {
	t.Parallel()
	evil := newEvilPortal(nil, tls.Certificate{},
		evilAnswer{To: "/a", Times: 2, Status: 418, Body: "${TOKEN}", Headers: map[string]string{"X-Word": "w ${TOKEN}"}},
		evilAnswer{To: "/a", Real: true, Set: map[string]json.RawMessage{"x.y": json.RawMessage("18446744073709551615"), "z": json.RawMessage(`"${TOKEN}"`)}},
		evilAnswer{To: "/b", Problem: protocol.ProblemSequenceConflict, Set: map[string]json.RawMessage{"expected": json.RawMessage("7")}},
		evilAnswer{To: "/c", Times: -1, Body: "c", Repeat: 3},
	)
	evil.portal = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"x":{"n":12345678901234567890}}`)
	})
	var got []string
	for _, path := range []string{"/c", "/a", "/a", "/a", "/b", "/a", "/c"} {
		request, err := http.NewRequest(http.MethodGet, path, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer tok")
		answer := &recordedAnswer{header: make(http.Header), status: http.StatusOK}
		evil.ServeHTTP(answer, request)
		got = append(got, fmt.Sprintf("%d %s%s", answer.status, answer.header.Get("X-Word"), answer.body.String()))
	}
	want := []string{
		"200 ccc", "418 w toktok", "418 w toktok", `200 {"x":{"n":12345678901234567890,"y":18446744073709551615},"z":"tok"}`,
		"", `200 {"x":{"n":12345678901234567890}}`, "200 ccc",
	}
	for i := range want {
		if i == 4 {
			if !strings.HasPrefix(got[i], "409 ") || !strings.Contains(got[i], `"expected":7`) || !strings.Contains(got[i], "sequence-conflict") {
				t.Errorf("%s", got[i])
			}
			continue
		}
		if got[i] != want[i] {
			t.Errorf("%s, want %s", got[i], want[i])
		}
	}
	select {
	case <-evil.played:
	default:
		t.Error("the list is not played")
	}
}
