package inventory

import (
	"fmt"
	"testing"
	"time"

	"prlagent/prlctl"
)

// The limits of this package: each is a promise, or the reason of one.
func TestLimits(t *testing.T) {
	t.Parallel()
	for name, limit := range map[string]struct{ got, want any }{
		"a look waits for a user (H12)":            {DefaultPatience, 75 * time.Second},
		"bytes of a file in a bundle":              {int64(prlctl.MaxFile), int64(4 << 20)},
		"bytes of a description that is kept":      {maxDescription, 32 << 10},
		"an account without traces is skipped for": {unusedFor, time.Hour},
		"a process is older than its state by":     {startSlack, 2 * time.Second},
	} {
		if fmt.Sprint(limit.got) != fmt.Sprint(limit.want) {
			t.Errorf("%s: %v, want %v", name, limit.got, limit.want)
		}
	}
}
