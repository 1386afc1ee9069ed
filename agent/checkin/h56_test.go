package checkin

import (
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
