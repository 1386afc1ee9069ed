package trigger

import (
	"fmt"
	"testing"
	"time"
)

// The limits of this package: each is a promise, or the reason of one.
func TestLimits(t *testing.T) {
	t.Parallel()
	for name, limit := range map[string]struct{ got, want any }{
		"a day":                                     {Day, 24 * time.Hour},
		"the daily check moves at most":             {dailySlack, Day / 10},
		"doublings after empty hints":               {patientAfter, 3},
		"the longest splay that a portal may ask":   {maxSplay, time.Hour},
		"ticks after which a time counts as missed": {missedAfter, 3},
	} {
		if fmt.Sprint(limit.got) != fmt.Sprint(limit.want) {
			t.Errorf("%s: %v, want %v", name, limit.got, limit.want)
		}
	}
}
