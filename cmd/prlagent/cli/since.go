package cli

import (
	"fmt"
	"strconv"
	"time"

	"prlagent/agent/protocol"
)

// eventsFrom is where a list of events begins: behind a number, or at a time.
type eventsFrom struct {
	number uint64
	at     time.Time // zero = no matter when
}

// isBefore reports whether the event was before the time.
func (f eventsFrom) isBefore(event protocol.Event) bool { return event.At.Before(f.at) }

// parseSince reads a number, a time that has passed, or a date; nothing is
// everything.
func parseSince(text string, now time.Time, zone *time.Location) (eventsFrom, error) {
	if text == "" {
		return eventsFrom{}, nil
	}
	if number, err := strconv.ParseUint(text, 10, 64); err == nil {
		return eventsFrom{number: number}, nil
	}
	if at, err := parseMoment(text, now, zone); err == nil {
		return eventsFrom{at: at}, nil
	}
	return eventsFrom{}, fmt.Errorf("--since must be a number, a time such as 90m, 12h or 2d, or a date such as 2026-11-23, not %q", text)
}
