package portal

import (
	"bytes"
	"testing"

	"github.com/rs/zerolog"
)

// H15: a line of the log is one line, short, and shows all that it has: of
// connections that failed.
func TestH15_ALineOfTheConnectionLogSteersNothing(t *testing.T) {
	t.Parallel()
	for _, evil := range hostile {
		t.Run(evil.name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			log := newLog(&out, zerolog.DebugLevel)
			if _, err := (connectionLog{log}).Write([]byte("http: TLS handshake error from " + evil.text + "\n")); err != nil {
				t.Fatal(err)
			}
			wantSafeLog(t, out.Bytes(), 1)
		})
	}
}
