package lane

import "testing"

// The limits of this package (H12).
func TestLimits(t *testing.T) {
	t.Parallel()
	for name, limit := range map[string]struct{ got, want int }{
		"the part of the patience for one who hung":        {shortPatience, 10},
		"the part of the patience after which a run hangs": {hangingAfter, 8},
	} {
		wantEqual(t, name, limit.got, limit.want)
	}
}
