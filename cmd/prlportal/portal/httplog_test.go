package portal

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// H15: a line of the log is one line, short, and shows all that it has: of
// those who connect, and of errors.
func TestH15_ALineOfTheRequestLogSteersNothing(t *testing.T) {
	t.Parallel()
	for _, evil := range hostile {
		t.Run(evil.name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			p := responder{log: newLog(&out, zerolog.DebugLevel), now: time.Now}
			for _, fail := range []func(){func() {}, func() { panic(evil.text) }} {
				request := httptest.NewRequest(http.MethodGet, "/", nil)
				request.Pattern, request.RemoteAddr = evil.text, evil.text
				handle := p.answer(func(http.ResponseWriter, *http.Request) error { fail(); return errors.New(evil.text) })
				p.logged(handle).ServeHTTP(httptest.NewRecorder(), request)
			}
			const events = 4
			wantSafeLog(t, out.Bytes(), events)
		})
	}
}
