package storage

import (
	"fmt"
	"slices"
	"time"

	"prlagent/agent/protocol"
)

// Bounds of a history. It must not grow with what a Mac sends, or else one that
// reports other machines each time fills the disk.
const (
	MaxHistory       = 500                  // rows
	MaxHistoryBytes  = 512 << 10            // of its rows
	MaxHistoryAge    = 400 * 24 * time.Hour // forgotten with the next row that leaves
	maxHistoryRecord = MaxHistoryBytes + 4<<10
)

// History is the virtual machines that the Mac had, oldest first.
type History struct {
	Rows []PastRow `json:"rows,omitempty"`
	// ForgottenTo is when the newest row that was forgotten had left.
	ForgottenTo time.Time `json:"forgotten_to,omitzero"`
}

// PastRow is a virtual machine that left the list.
type PastRow struct {
	Row
	RemovedAt time.Time `json:"removed_at"` // when the portal learned of it
}

// Add appends rows that have left now, and forgets the oldest ones beyond the
// bounds.
func (h *History) Add(rows []PastRow, now time.Time) error {
	h.Rows = append(h.Rows, rows...)
	keep, err := countNewest(h.Rows, MaxHistory, MaxHistoryBytes, func(row PastRow) bool { return now.Sub(row.RemovedAt) <= MaxHistoryAge })
	if err != nil {
		return fmt.Errorf("encode history: %w", err)
	}
	if forgotten := len(h.Rows) - keep; forgotten > 0 {
		h.ForgottenTo = h.Rows[forgotten-1].RemovedAt
		h.Rows = slices.Delete(h.Rows, 0, forgotten)
	}
	return nil
}

// Covers reports whether every row that left since then is in the history.
// Portals before this one forgot rows without a note, beyond MaxHistory.
func (h History) Covers(since time.Time) bool {
	if h.ForgottenTo.IsZero() {
		return len(h.Rows) < MaxHistory || h.Rows[0].RemovedAt.Before(since)
	}
	return h.ForgottenTo.Before(since)
}

// countNewest is how many of the last records of a device are kept: those that are
// young enough, as long as neither their number nor their bytes are over the limit.
func countNewest[T any](records []T, most, maxBytes int, isYoung func(T) bool) (keep int, err error) {
	size := 0
	for _, record := range slices.Backward(records) {
		data, err := protocol.Encode(record)
		if err != nil {
			return 0, err
		}
		size += len(data) + 1 // its comma
		if keep == most || size > maxBytes || !isYoung(record) {
			break
		}
		keep++
	}
	return keep, nil
}
