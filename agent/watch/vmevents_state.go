package watch

import "time"

// StreamState is how it stands with the stream of events of one user.
type StreamState struct {
	UID      uint32
	Open     bool      // its program runs
	Since    time.Time // when that was started last; zero = never
	Failures int       // how many ended by themselves, one after the other
}

// States gives how the streams are of those who are to have one, by uid.
func (v *VMEvents) States() []StreamState {
	v.mu.Lock()
	defer v.mu.Unlock()
	states := make([]StreamState, 0, len(v.chosen))
	for _, uid := range v.chosen {
		states = append(states, v.accounts[uid].streamState())
	}
	return states
}

func (a *followedAccount) streamState() StreamState {
	a.mu.Lock()
	defer a.mu.Unlock()
	return StreamState{UID: a.uid, Open: a.pace.open, Since: a.pace.began, Failures: a.pace.failures}
}
