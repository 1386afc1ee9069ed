package storage_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/storage"
)

// leftAt is a machine, with a name of that many bytes, that left then.
func leftAt(at time.Time, bytes int) storage.PastRow {
	return storage.PastRow{Row: storage.Row{VM: protocol.VM{Name: strings.Repeat("<", bytes)}}, RemovedAt: at}
}

func TestH56_AHistoryIsBoundedBySizeAgeAndNumber(t *testing.T) {
	t.Parallel()
	now := day(20)
	for name, test := range map[string]struct {
		bytes int
		every time.Duration // between two that leave
		want  func(storage.History) error
	}{
		"many small rows": {1, time.Second, func(h storage.History) error {
			if len(h.Rows) != storage.MaxHistory {
				return fmt.Errorf("%d rows are kept, want %d", len(h.Rows), storage.MaxHistory)
			}
			return nil
		}},
		"large rows": {10_000, time.Second, func(h storage.History) error {
			if len(h.Rows) < 40 || len(h.Rows) > storage.MaxHistoryBytes/10_000 {
				return fmt.Errorf("%d rows of 10 kB are kept", len(h.Rows))
			}
			return nil
		}},
		"old rows": {1, 10 * 24 * time.Hour, func(h storage.History) error {
			if age := now.Sub(h.Rows[0].RemovedAt); age > storage.MaxHistoryAge || len(h.Rows) != 41 {
				return fmt.Errorf("%d rows are kept, the oldest left %v ago", len(h.Rows), age)
			}
			return nil
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var history storage.History
			for i := 600; i > 0; i -= 50 { // in several reports
				var rows []storage.PastRow
				for j := range 50 {
					rows = append(rows, leftAt(now.Add(-time.Duration(i-j-1)*test.every), test.bytes))
				}
				if err := history.Add(rows, now); err != nil {
					t.Fatal(err)
				}
			}
			if err := test.want(history); err != nil {
				t.Error(err)
			}
			if newest := history.Rows[len(history.Rows)-1].RemovedAt; !newest.Equal(now) {
				t.Errorf("the newest row that is kept left at %v", newest)
			}
			if history.Covers(history.ForgottenTo) || !history.Covers(history.ForgottenTo.Add(time.Second)) || history.Rows[0].RemovedAt.Before(history.ForgottenTo) {
				t.Errorf("forgotten until %v, the oldest that is kept left at %v", history.ForgottenTo, history.Rows[0].RemovedAt)
			}
		})
	}
	if empty := (storage.History{}); !empty.Covers(time.Time{}) {
		t.Error("a history of which nothing was forgotten lacks something")
	}
}
