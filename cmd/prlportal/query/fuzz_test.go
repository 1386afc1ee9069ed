package query_test

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"prlagent/cmd/prlportal/fleet"
	"prlagent/cmd/prlportal/portaltest"
	"prlagent/cmd/prlportal/query"
)

// A day is the whole of it: what is after it begins with the next one.
func TestINV_31_BeforeAndAfterADay(t *testing.T) {
	t.Parallel()
	columns := fleet.VMTable.Columns()
	first := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	moments := []struct {
		name string
		at   time.Time
	}{
		{"the moment before", first.Add(-time.Nanosecond)},
		{"its first moment", first},
		{"its noon", first.Add(12 * time.Hour)},
		{"its last moment", first.Add(24*time.Hour - time.Nanosecond)},
		{"the next midnight", first.Add(24 * time.Hour)},
	}
	for filter, want := range map[string][]bool{
		"last_used before 2026-11-01": {true, false, false, false, false},
		"last_used < 2026-11-01":      {true, false, false, false, false},
		"last_used <= 2026-11-01":     {true, true, true, true, false},
		"last_used = 2026-11-01":      {false, true, true, true, false},
		"last_used >= 2026-11-01":     {false, true, true, true, true},
		"last_used > 2026-11-01":      {false, false, false, false, true},
		"last_used after 2026-11-01":  {false, false, false, false, true},
	} {
		_, matches, err := query.ReadFilter(columns, filter, portaltest.Morning)
		if err != nil {
			t.Errorf("%s: %v", filter, err)
			continue
		}
		for i, moment := range moments {
			if got := matches(query.TimeCell(moment.at)); got != want[i] {
				t.Errorf("%s: %s matches: %v, want %v", filter, moment.name, got, want[i])
			}
		}
	}
}

func FuzzParseFilter(f *testing.F) {
	for _, wanted := range portaltest.ColumnFilters {
		for _, filter := range wanted {
			f.Add(filter[0])
		}
	}
	f.Add(`vm_name="\\`)
	f.Add("last_used after -18446744073709551616d")
	columns := fleet.VMTable.Columns()
	view := fleet.VM{}
	f.Fuzz(func(t *testing.T, text string) {
		id, matches, err := query.ReadFilter(columns, text, portaltest.Morning)
		if err != nil {
			if utf8.ValidString(err.Error()) && !strings.ContainsAny(err.Error(), "\x1b\r") {
				return
			}
			t.Fatalf("error of %q would steer a terminal: %q", text, err)
		}
		for _, field := range fleet.VMTable.Fields {
			if field.Column.ID == id {
				matches(field.Cell(&view))
			}
		}
		matches(query.TextCell(text))
	})
}
