package localapi

import "time"

// StreamStatus is how it stands with the stream of events of one user.
type StreamStatus struct {
	UID      uint32    `json:"uid"`
	Open     bool      `json:"open"`
	Since    time.Time `json:"since,omitzero"` // when it was started last
	Failures int       `json:"failures"`       // in a row
}
