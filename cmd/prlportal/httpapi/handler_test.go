package httpapi

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/rs/zerolog"

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
