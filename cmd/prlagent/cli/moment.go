package cli

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"prlagent/platform/text"
)

// sinceForms are the layouts of a date, in the zone of whoever types it.
var sinceForms = []string{time.RFC3339, "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02T15:04:05", "2006-01-02T15:04", time.DateOnly, "15:04"}

// parseMoment reads a point in time as people type it: so long ago (90s, 30m, 2h,
// 1d), or a date.
func parseMoment(typed string, now time.Time, zone *time.Location) (time.Time, error) {
	word := text.TrimTyped(text.Straighten(typed))
	if ago, is := parseAgo(word); is {
		return now.Add(-ago), nil
	}
	for _, form := range sinceForms {
		at, err := time.ParseInLocation(form, word, zone)
		if err != nil {
			continue
		}
		if form == "15:04" {
			today := now.In(zone)
			at = time.Date(today.Year(), today.Month(), today.Day(), at.Hour(), at.Minute(), 0, 0, zone)
		}
		return at, nil
	}
	return time.Time{}, fmt.Errorf("--since is a time such as 30m, 2h, 1d, 15:04, 2006-01-02 or \"2006-01-02 15:04\", not %q", text.DisplayValue(typed))
}

// parseAgo reads a duration, which may be in days.
func parseAgo(word string) (ago time.Duration, is bool) {
	word = strings.ToLower(strings.TrimPrefix(word, "-"))
	if days, inDays := strings.CutSuffix(word, "d"); inDays {
		number, err := strconv.ParseUint(days, 10, 16)
		return time.Duration(number) * 24 * time.Hour, err == nil
	}
	ago, err := time.ParseDuration(word)
	return ago, err == nil && ago >= 0
}
