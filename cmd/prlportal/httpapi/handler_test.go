package httpapi

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/portaltest/hostile"
)

// H15: a line of the log is one line, short, and shows all that it has: of
// those who connect, and of errors.
func TestH15_ALineOfTheRequestLogSteersNothing(t *testing.T) {
	t.Parallel()
	for _, evil := range hostile.Texts {
		t.Run(evil.Name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			p := requestResponder{log: NewLog(&out, zerolog.DebugLevel), now: time.Now}
			for _, fail := range []func(){func() {}, func() { panic(evil.Text) }} {
				request := httptest.NewRequest(http.MethodGet, "/", nil)
				request.Pattern, request.RemoteAddr = evil.Text, evil.Text
				handle := p.answerErrors(func(http.ResponseWriter, *http.Request) error { fail(); return errors.New(evil.Text) })
				p.logRequests(handle).ServeHTTP(httptest.NewRecorder(), request)
			}
			const events = 4
			hostile.WantSafeLog(t, out.Bytes(), events)
		})
	}
}

// Whoever has no token writes so much into the log and no more; who has one is
// always in it.
func TestH56_WrongTokensDoNotFillTheLog(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	handler := NewHandler([]Route{{"GET /x", func(w http.ResponseWriter, r *http.Request) error {
		if BearerToken(r) == "" {
			return protocol.NewProblem(protocol.ProblemUnauthenticated, "")
		}
		SetAdmin(w, "alice")
		return protocol.NewProblem(protocol.ProblemNotFound, "")
	}}}, NewLog(&out, zerolog.InfoLevel), func() time.Time { return now })
	lines := func(source, path, token string, requests int) int {
		out.Reset()
		for range requests {
			request := httptest.NewRequest(http.MethodGet, path, nil)
			request.RemoteAddr = source
			if token != "" {
				request.Header.Set("Authorization", "Bearer "+token)
			}
			handler.ServeHTTP(httptest.NewRecorder(), request)
		}
		return bytes.Count(out.Bytes(), []byte("\n"))
	}
	const flood = 3 * refusedPerHour
	for _, test := range []struct {
		name, source, path, token string
		wanted                    int
	}{
		{"wrong tokens, and one notice", "192.0.2.1:1", "/x", "", refusedPerHour + 1},
		{"nothing there, of the same one", "192.0.2.1:2", "/y", "", 0},
		{"another source", "192.0.2.2:1", "/y", "", refusedPerHour + 1},
		{"an admin of the same one", "192.0.2.1:1", "/x", "good", flood},
	} {
		if got := lines(test.source, test.path, test.token, flood); got != test.wanted {
			t.Errorf("%s: %d lines, want %d", test.name, got, test.wanted)
		}
	}
	if now = now.Add(time.Hour); lines("192.0.2.1:1", "/x", "", 1) != 1 {
		t.Error("an hour later it says nothing")
	}
}
