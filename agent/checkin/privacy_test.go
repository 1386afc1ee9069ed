package checkin

import (
	"bytes"
	"context"
	"testing"

	"prlagent/agent/protocol"
)

// A report that waits for an answer is not repeated once names are kept back: its
// bytes have them. Its number is used up.
func TestINV_32_AStoredReportWithNamesIsNotRepeated(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.do("agent_start")
	b.portal.sent()
	b.report.VMs[0].Name = "renamed"
	b.report.VMs[0].Owner = "canary"
	e := &exchange{client: b.client, ctx: context.Background(), report: &b.report, reacted: map[string]bool{}}
	found, _, err := readStoredState(b.options.Store, originOf(b.options.ServerURL), protocol.Privacy{}, b.now)
	if err != nil {
		t.Fatal(err)
	}
	e.record, e.baseline = found.record, found.baseline
	stored, err := e.prepareReport(protocol.MaxEvents)
	if err != nil || !bytes.Contains(stored.Body, []byte("canary")) {
		t.Fatalf("%s, %v", stored.Body, err)
	}
	b.options.Privacy = protocol.Privacy{NoUserNames: true}
	b.report = *b.options.Privacy.Report(&b.report)
	b.crash()
	b.do()
	for _, request := range b.portal.wantSent("POST /v1/checkin") {
		if bytes.Contains(request.body, []byte("canary")) || !bytes.Contains(request.body, []byte("name_withheld")) {
			t.Errorf("sent: %s", request.body)
		}
	}
	if state := b.client.State(); state.Sequence <= stored.Sequence {
		t.Errorf("report %d after %d", state.Sequence, stored.Sequence)
	}
}
