package portal

import (
	"bytes"
	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/storage"
	"testing"

	"github.com/rs/zerolog"
)

// H15: a line of the log is one line, short, and shows all that it has: of the
// reasons that a Mac gives.
func TestH15_ALineOfTheCheckinLogSteersNothing(t *testing.T) {
	t.Parallel()
	for _, evil := range hostile {
		t.Run(evil.name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			s := &agentServer{log: newLog(&out, zerolog.DebugLevel)}
			s.logArrival(storage.Device{ID: evil.text}, []protocol.Trigger{{Reason: evil.text, VMID: evil.text, Count: 1}})
			wantSafeLog(t, out.Bytes(), 1)
		})
	}
}
