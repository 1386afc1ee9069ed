package storage_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/storage"
)

// day is the nth day of a month of reboots.
func day(n int) time.Time { return time.Date(2026, 11, n, 9, 0, 0, 0, time.UTC) }

// olderRow is a row as it was kept before keys had a uid, seen first on a day,
// when its disk had that number.
func olderRow(id, owner string, device uint64, first int, how ...func(*storage.Row)) storage.Row {
	row := storage.Row{
		VM:          protocol.VM{VMKey: protocol.VMKey{ID: id}, Owner: owner, Bundle: protocol.Bundle{Device: device, Inode: 7}},
		FirstSeenAt: day(first), ChangedAt: day(first),
	}
	for _, change := range how {
		change(&row)
	}
	return row
}

func past(row storage.Row, removed int) storage.PastRow {
	return storage.PastRow{Row: row, RemovedAt: day(removed)}
}

// healed is what is wanted of a row: key, whose it is, and since when.
type healed struct {
	Key   string
	Since int
}

func healedRows(report storage.Report) (rows []healed) {
	for _, row := range report.Rows {
		rows = append(rows, healed{row.VM.VMKey.String(), row.FirstSeenAt.Day()})
	}
	return rows
}

func healedPast(history storage.History) (keys []string) {
	for _, past := range history.Rows {
		keys = append(keys, past.VM.VMKey.String())
	}
	return keys
}

func TestH21_OlderRowsAreHealed(t *testing.T) {
	t.Parallel()
	users := []protocol.UserLook{
		{Name: "bob", UID: 70001, Code: protocol.CodeAccountNotLocal}, // somebody else of that name, whose machines nobody lists
		{Name: "alice", UID: 501}, {Name: "bob", UID: 502},
	}
	cases := map[string]struct {
		rows []storage.Row
		past []storage.PastRow
		want []healed
		keys []string // of the history
	}{
		"a machine that was rebooted twice": {
			[]storage.Row{olderRow("a", "alice", 3, 20)},
			[]storage.PastRow{past(olderRow("a", "alice", 1, 2), 10), past(olderRow("a", "alice", 2, 10), 20)},
			[]healed{{"a/501", 2}}, []string{"a/501", "a/501"},
		},
		"one that is gone stays in the history": {
			[]storage.Row{olderRow("a", "alice", 3, 20)}, []storage.PastRow{past(olderRow("b", "bob", 1, 2), 10)},
			[]healed{{"a/501", 20}}, []string{"b/502"},
		},
		"one id in two accounts": {
			[]storage.Row{olderRow("a", "alice", 3, 20), olderRow("a", "bob", 3, 21)},
			[]storage.PastRow{past(olderRow("a", "bob", 1, 2), 10)},
			[]healed{{"a/501", 20}, {"a/502", 2}}, []string{"a/502"},
		},
		"an account that was renamed since": {
			[]storage.Row{olderRow("a", "alice", 3, 20)}, []storage.PastRow{past(olderRow("a", "al", 3, 2), 20)},
			[]healed{{"a/501", 2}}, []string{"a/501"},
		},
		"an account that nobody knows any more": {
			[]storage.Row{olderRow("a", "alice", 3, 20)},
			[]storage.PastRow{past(olderRow("b", "carol", 3, 2), 20), past(olderRow("a", "carol", 3, 2, func(r *storage.Row) { r.VM.Bundle.Inode = 8 }), 20)},
			[]healed{{"a/501", 20}}, []string{"b/0", "a/0"},
		},
		"two rows of one machine": {
			[]storage.Row{olderRow("a", "alice", 1, 2), olderRow("a", "alice", 2, 10)}, nil, []healed{{"a/501", 2}}, nil,
		},
		"what is healed already": {
			[]storage.Row{olderRow("a", "alice", 3, 20, func(r *storage.Row) { r.VM.UID = 501 })},
			[]storage.PastRow{past(olderRow("a", "alice", 1, 2), 10)}, []healed{{"a/501", 20}}, []string{"a/501"},
		},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			report, history := storage.Report{Users: users, Rows: test.rows}, storage.History{Rows: test.past}
			for _, time := range []string{"once", "twice"} {
				storage.Heal(&report, &history)
				if diff := cmp.Diff(test.want, healedRows(report)); diff != "" {
					t.Errorf("%s: rows (-want +got):\n%s", time, diff)
				}
				if diff := cmp.Diff(test.keys, healedPast(history)); diff != "" {
					t.Errorf("%s: history (-want +got):\n%s", time, diff)
				}
			}
			if report.IsOlder() {
				t.Error("there are rows to heal")
			}
		})
	}
}

// A report as a portal before this one kept it, word for word.
func TestH21_OlderReportIsRead(t *testing.T) {
	t.Parallel()
	const kept = `{"agent":{"version":"0.3.0","arch":"arm64","mode":"monitor"},"host":{"serial":"C02"},"product":{"installed":true},
		"users":[{"user_name":"alice","uid":501,"vms":1},{"user_name":"bob","uid":502,"vms":1}],"policy":{"state":"none"},
		"rows":[{"vm":{"vm_id":"a","user_name":"alice","bundle":{"device":16777234,"inode":7},"seen_by":["bob"],
			"vm_name":"Windows 11","vm_state":"Stopped","vm_source":"Other"},"first_seen_at":"2026-11-02T09:00:00Z"}]}`
	var report storage.Report
	if err := json.Unmarshal([]byte(kept), &report); err != nil {
		t.Fatal(err)
	}
	if !report.IsOlder() {
		t.Error("it is not taken for an older one")
	}
	storage.Heal(&report, &storage.History{})
	vm := report.Rows[0].VM
	if vm.UID != 501 || vm.Owner != "alice" || vm.SeenBy[0] != (protocol.Account{UID: 502, Name: "bob"}) || vm.Bundle.Device != 16777234 {
		t.Errorf("%+v", vm)
	}
}
