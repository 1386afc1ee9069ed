package lane

import "time"

// Parts of the patience with one user's work. A user whose tools hung before is
// waited for shortly: whoever is fine again answers within that, and who is not
// delays nobody's report. A run that takes a part of it is taken for one that
// hangs.
const (
	shortPatience = 10
	hangingAfter  = 8
)

// Patience is how long to wait for work of a user, of the whole patience that
// there is with one whose tools answer.
func (l *Lanes) Patience(uid uint32, whole time.Duration) time.Duration {
	if l.Hanging(uid) {
		return whole / shortPatience
	}
	return whole
}

// RunLimit is what a single run may take before it is taken for one that hangs,
// where the work that it belongs to is waited for with this patience.
func RunLimit(patience time.Duration) time.Duration { return patience / hangingAfter }
