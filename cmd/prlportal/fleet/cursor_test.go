package fleet_test

import (
	"testing"

	"prlagent/cmd/prlportal/fleet"
)

// A cursor is what somebody typed, or sent.
func TestParseCursor(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"start": true, "c1-0-0000000a": true, "c18446744073709551615-3-deadbeef": true,
		"": false, "c": false, "c1": false, "c1-0-": false, "c1-0-a": false, "c1-0-A": false, "c1-0-0000000A": false, "c0-0-0000000a": false, "c01-0-0000000a": false,
		"c1-0-0000000a ": false, "c1-0-0000000aa": false, "c+1-0-0000000a": false, "c-1-0-0000000a": false, "c18446744073709551616-0-0000000a": false, "c1--1-0000000a": false, "c1-0-+000000a": false,
	} {
		cursor, err := fleet.ParseCursor(text)
		if (err == nil) != want || err == nil && cursor.String() != text {
			t.Errorf("%q: %v, %v", text, cursor, err)
		}
	}
}
