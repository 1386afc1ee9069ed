package agentapi

import (
	"bytes"
	"testing"

	"github.com/rs/zerolog"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/httpapi"
	"prlagent/cmd/prlportal/portaltest/hostile"
	"prlagent/cmd/prlportal/storage"
)

// H15: a line of the log is one line, short, and shows all that it has: of the
// reasons that a Mac gives.
func TestH15_ALineOfTheCheckinLogSteersNothing(t *testing.T) {
	t.Parallel()
	for _, evil := range hostile.Texts {
		t.Run(evil.Name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			s := &Server{log: httpapi.NewLog(&out, zerolog.DebugLevel)}
			s.logArrival(storage.Device{ID: evil.Text}, []protocol.Trigger{{Reason: evil.Text, VMID: evil.Text, Count: 1}})
			hostile.WantSafeLog(t, out.Bytes(), 1)
		})
	}
}
