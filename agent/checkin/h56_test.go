package checkin

import (
	"errors"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"prlagent/agent/protocol"
)

// What a portal would refuse for its number of tokens is shed, not sent.
func TestH56_AReportFitsThePortalsNumberOfTokens(t *testing.T) {
	t.Parallel()
	lists := func(n int) []byte {
		return []byte(`{"a":[` + strings.TrimSuffix(strings.Repeat("[[],[],[],[],[],[],[]],", n), ",") + `]}`) // 16 tokens each
	}
	if most := protocol.MaxTokens/16 - 1; !fitsWire(lists(most)) || fitsWire(lists(most+1)) {
		t.Errorf("a body of %d tokens does not just fit", protocol.MaxTokens)
	}
}

// Nor does a portal have the daemon make much of little: a full answer is read,
// and of one of the smallest values nothing is made. (The test is not parallel: it
// counts what is allocated.)
func TestH56_AnAnswerOfAMillionTokensIsRefusedBeforeItIsDecoded(t *testing.T) {
	b := newBench(t)
	for name, body := range map[string]string{
		"commands":       `{"inventory":"ok","commands":[{}` + strings.Repeat(",{}", protocol.MaxReply/3-20) + `]}`,
		"acks":           `{"inventory":"ok","acks":[{}` + strings.Repeat(",{}", protocol.MaxReply/3-20) + `]}`,
		"unknown fields": `{"inventory":"ok","x":[0` + strings.Repeat(",0", protocol.MaxReply/2-40) + `]}`,
	} {
		answer := &portalAnswer{status: http.StatusOK, header: http.Header{"Content-Type": {"application/json"}}, body: []byte(body)}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := b.client.parseReply(answer)
		runtime.ReadMemStats(&after)
		if made := after.TotalAlloc - before.TotalAlloc; !errors.Is(err, protocol.ErrTooManyTokens) || made > 1<<20 {
			t.Errorf("%s: %d bytes were made of %d, %v", name, made, len(body), err)
		}
	}
	full := protocol.CheckinReply{Inventory: protocol.InventoryOK}
	for range protocol.MaxCommandReply {
		full.Commands = append(full.Commands, protocol.Envelope{Signatures: make([]protocol.Signature, 16)})
	}
	for range protocol.MaxResults {
		full.Acks, full.Cancel = append(full.Acks, protocol.Ack{}), append(full.Cancel, "c")
	}
	body, err := protocol.Encode(full)
	if err != nil {
		t.Fatal(err)
	}
	answer := &portalAnswer{status: http.StatusOK, header: http.Header{"Content-Type": {"application/json"}}, body: body}
	if _, err := b.client.parseReply(answer); err != nil {
		t.Errorf("a full answer: %v", err)
	}
}
