package server

import (
	"bytes"
	"testing"

	"github.com/rs/zerolog"

	"prlagent/cmd/prlportal/httpapi"
	"prlagent/cmd/prlportal/portaltest/hostile"
)

// H15: a line of the log is one line, short, and shows all that it has: of
// connections that failed.
func TestH15_ALineOfTheConnectionLogSteersNothing(t *testing.T) {
	t.Parallel()
	for _, evil := range hostile.Texts {
		t.Run(evil.Name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			log := httpapi.NewLog(&out, zerolog.DebugLevel)
			if _, err := (connectionLog{log}).Write([]byte("http: TLS handshake error from " + evil.Text + "\n")); err != nil {
				t.Fatal(err)
			}
			hostile.WantSafeLog(t, out.Bytes(), 1)
		})
	}
}
