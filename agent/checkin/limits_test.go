package checkin

import (
	"fmt"
	"testing"
	"time"

	"prlagent/agent/protocol"
	"prlagent/platform/text"
)

// The limits of this package (protocol.md 2.11, 2.13): each is a promise, or the
// reason of one.
func TestLimits(t *testing.T) {
	t.Parallel()
	for name, limit := range map[string]struct{ got, want any }{
		"a request":                                 {requestLimit, time.Minute},
		"a request with its retry, by the wall":     {exchangeLimit, 3 * time.Minute},
		"a connection":                              {dialLimit, 15 * time.Second},
		"the first backoff":                         {retryBase, 5 * time.Second},
		"the longest backoff":                       {retryCap, 30 * time.Minute},
		"a wait within one exchange":                {maxRetryWait, 30 * time.Second},
		"Retry-After at least":                      {retryAfterLow, time.Second},
		"Retry-After at most":                       {retryAfterHigh, 24 * time.Hour},
		"a revoked device asks (H04)":               {probeInterval, time.Hour},
		"bytes of an error body":                    {maxProblemBody, 64 << 10},
		"next_checkin_s at least":                   {protocol.DefaultTiming().CadenceMinimum, 300 * time.Second},
		"next_checkin_s at most":                    {protocol.DefaultTiming().CadenceMaximum, 86400 * time.Second},
		"an unanswered report is repeated for":      {pendingLife, 24 * time.Hour},
		"bytes of node.json":                        {maxIdentity, 16 << 10},
		"server time ahead of the wall clock (H07)": {maxAhead, 24 * time.Hour},
		"skew that is told (H07)":                   {maxSkew, 5 * time.Minute},
		"the wall clock is looked at":               {wallTick, time.Second},
		"answers that drop a trusted time (H65)":    {doubtQuorum, 3},
		"time between two of them (H65)":            {doubtInterval, time.Hour},
		"groups whose heads node.json knows (H65)":  {maxMarks, 16},
		"bytes of a secret that stay hidden (H62)":  {text.SecretShard, 8},
		"a jump of the sequence (H52)":              {protocol.MaxSequenceJump, 1 << 20},
	} {
		if fmt.Sprint(limit.got) != fmt.Sprint(limit.want) {
			t.Errorf("%s: %v, want %v", name, limit.got, limit.want)
		}
	}
}
