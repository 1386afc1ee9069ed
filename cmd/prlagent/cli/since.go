package cli

import (
	"fmt"
	"strconv"
	"strings"
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

// sinceLayouts are the forms of a date, in the local zone unless it names one.
var sinceLayouts = []string{time.RFC3339, "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02T15:04:05", "2006-01-02T15:04", time.DateOnly}

// parseSince reads a number, a time that has passed, or a date; nothing is
// everything.
func parseSince(text string, now time.Time, zone *time.Location) (eventsFrom, error) {
	if text == "" {
		return eventsFrom{}, nil
	}
	if number, err := strconv.ParseUint(text, 10, 64); err == nil {
		return eventsFrom{number: number}, nil
	}
	if passed, err := parsePassed(text); err == nil {
		return eventsFrom{at: now.Add(-passed)}, nil
	}
	for _, layout := range sinceLayouts {
		if at, err := time.ParseInLocation(layout, text, zone); err == nil {
			return eventsFrom{at: at}, nil
		}
	}
	return eventsFrom{}, fmt.Errorf("--since must be a number, a time such as 90m, 12h or 2d, or a date such as 2026-11-23, not %q", text)
}

// parsePassed reads a duration, in days too.
func parsePassed(text string) (time.Duration, error) {
	if days, isDays := strings.CutSuffix(text, "d"); isDays {
		number, err := strconv.ParseUint(days, 10, 16)
		return time.Duration(number) * 24 * time.Hour, err
	}
	passed, err := time.ParseDuration(text)
	if err == nil && passed < 0 {
		err = fmt.Errorf("%s has not passed yet", text)
	}
	return passed, err
}
