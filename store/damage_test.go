package store_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"prlagent/store"
)

const (
	rowsCommitted = 300 // in state.db; the last commit added one of them
	rowsInBackup  = 240 // in state.db.bak
)

var buildGood = sync.OnceValues(func() (map[string][]byte, error) {
	parent, err := os.MkdirTemp("", "store-good-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(parent)
	return makeGood(filepath.Join(parent, "state"))
})

// goodFolder returns the files of a healthy store with a backup.
func goodFolder(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := buildGood()
	if err != nil {
		t.Fatal(err)
	}
	copied := map[string][]byte{}
	for name, content := range files {
		copied[name] = slices.Clone(content)
	}
	return copied
}

func goodRow(i int) row { return row{Name: strings.Repeat("v", 100), Count: i} }

func makeGood(dir string) (map[string][]byte, error) {
	s, _, err := store.Open(context.Background(), dir, store.Options{})
	if err != nil {
		return nil, err
	}
	add := func(from, before int) error {
		return s.Update(func(tx *store.Tx) error {
			for i := from; i < before; i++ {
				if err := rows.Put(tx, rowKey(i), new(goodRow(i))); err != nil {
					return err
				}
			}
			return nil
		})
	}
	steps := []func() error{
		func() error { return add(0, rowsInBackup) },
		s.Backup,
		func() error { return add(rowsInBackup, rowsCommitted-1) },
		func() error { return add(rowsCommitted-1, rowsCommitted) },
		s.Close,
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return nil, err
		}
	}
	files := map[string][]byte{}
	for _, name := range []string{"state.db", "state.db.bak"} {
		if files[name], err = os.ReadFile(filepath.Join(dir, name)); err != nil {
			return nil, err
		}
	}
	return files, nil
}

func openCopyOfContent(t testing.TB, content []byte) (*store.Store, store.Report) {
	t.Helper()
	return mustOpen(t, folderWith(t, map[string][]byte{"state.db": content}), store.Options{})
}

// TestDamage_OfRecords changes records behind the store's back, in ways that
// leave bbolt's own structure in order.
func TestDamage_OfRecords(t *testing.T) {
	t.Parallel()
	in := func(change func(*bolt.Bucket) error) func(*bolt.Tx) error {
		return func(tx *bolt.Tx) error { return change(tx.Bucket([]byte(rows.Name))) }
	}
	cases := map[string]func(*bolt.Tx) error{
		"a row is lost": in(func(b *bolt.Bucket) error { return b.Delete([]byte(rowKey(17))) }),
		"a value is changed": in(func(b *bolt.Bucket) error {
			raw := slices.Clone(b.Get([]byte(rowKey(17))))
			raw[len(raw)-3] ^= 1
			return b.Put([]byte(rowKey(17)), raw)
		}),
		"a row under another key": in(func(b *bolt.Bucket) error {
			return b.Put([]byte(rowKey(17)), b.Get([]byte(rowKey(18))))
		}),
		"a value that is too short": in(func(b *bolt.Bucket) error { return b.Put([]byte(rowKey(17)), []byte("{}")) }),
		"a bucket is lost":          func(tx *bolt.Tx) error { return tx.DeleteBucket([]byte(rows.Name)) },
		"the tallies are lost":      func(tx *bolt.Tx) error { return tx.DeleteBucket([]byte("_tallies")) },
		"the header is lost":        func(tx *bolt.Tx) error { return tx.DeleteBucket([]byte("_store")) },
		"a bucket within a bucket": in(func(b *bolt.Bucket) error {
			_, err := b.CreateBucket([]byte("zzz"))
			return err
		}),
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := folderWith(t, goodFolder(t))
			changeWithBolt(t, dir, change)
			s, report := mustOpen(t, dir, store.Options{})
			if report.Outcome != store.OutcomeRestored || countRows(t, s) != rowsInBackup || strings.Contains(report.Reason, "the meta is of") {
				t.Errorf("%+v, %d rows", report, countRows(t, s))
			}
		})
	}
}

// TestDamage_OldRowIsNoticed: a lost write leaves an older state of a row, whose
// checksum is right and which changes no count.
func TestDamage_OldRowIsNoticed(t *testing.T) {
	t.Parallel()
	dir := newFolder(t)
	s, _ := mustOpen(t, dir, store.Options{})
	put := func(count int) {
		mustUpdate(t, s, func(tx *store.Tx) error { return rows.Put(tx, "a", &row{Count: count}) })
	}
	put(1)
	mustClose(t, s)
	var old []byte
	changeWithBolt(t, dir, func(tx *bolt.Tx) error {
		old = slices.Clone(tx.Bucket([]byte(rows.Name)).Get([]byte("a")))
		return nil
	})
	s, _ = mustOpen(t, dir, store.Options{})
	put(2)
	mustClose(t, s)
	changeWithBolt(t, dir, func(tx *bolt.Tx) error { return tx.Bucket([]byte(rows.Name)).Put([]byte("a"), old) })
	if _, report := mustOpen(t, dir, store.Options{}); report.Outcome != store.OutcomeReset || strings.Contains(report.Reason, "the meta is of") {
		t.Errorf("%+v", report)
	}
}

func changeWithBolt(t testing.TB, dir string, change func(*bolt.Tx) error) {
	t.Helper()
	db, err := bolt.Open(filepath.Join(dir, "state.db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Update(change); err != nil {
		t.Error(err)
	}
	must(t, db.Close())
}

// TestDamage_NewestGoodBackupIsTaken: damaged backups are passed over, and
// without a good one the store begins empty.
func TestDamage_NewestGoodBackupIsTaken(t *testing.T) {
	t.Parallel()
	good := goodFolder(t)["state.db.bak"]
	harmed := zeroMeta(0, 1)(nil, slices.Clone(good))
	bad := []byte("no database")
	cases := []struct {
		name  string
		files map[string][]byte
		want  store.Report
		rows  int
	}{
		{"only the third is good",
			map[string][]byte{"state.db": bad, "state.db.bak": harmed, "state.db.bak.1": bad, "state.db.bak.2": good, "state.db.bak.3": harmed},
			store.Report{Outcome: store.OutcomeRestored, RestoredFrom: "state.db.bak.2"}, rowsInBackup},
		{"the newest is missing",
			map[string][]byte{"state.db": bad, "state.db.bak.1": good},
			store.Report{Outcome: store.OutcomeRestored, RestoredFrom: "state.db.bak.1"}, rowsInBackup},
		{"none is good", map[string][]byte{"state.db": bad, "state.db.bak": harmed}, store.Report{Outcome: store.OutcomeReset}, 0},
		{"there is none", map[string][]byte{"state.db": bad}, store.Report{Outcome: store.OutcomeReset}, 0},
		{"the database is missing", map[string][]byte{"state.db.bak": good},
			store.Report{Outcome: store.OutcomeRestored, RestoredFrom: "state.db.bak"}, rowsInBackup},
		{"database missing, backup bad", map[string][]byte{"state.db.bak": bad}, store.Report{Outcome: store.OutcomeReset}, 0},
		{"leftovers of a crash", map[string][]byte{"state.db.new": bad, "state.db.bak.new": bad},
			store.Report{Outcome: store.OutcomeCreated}, 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := folderWith(t, c.files)
			s, got := mustOpen(t, dir, store.Options{})
			if got.Outcome != c.want.Outcome || got.RestoredFrom != c.want.RestoredFrom || countRows(t, s) != c.rows {
				t.Errorf("%+v, %d rows, want %+v, %d rows", got, countRows(t, s), c.want, c.rows)
			}
			if told := got.Reason != ""; told == (c.want.Outcome == store.OutcomeCreated) {
				t.Errorf("reason %q", got.Reason)
			}
			if kept := got.BadFile != ""; kept != (c.files["state.db"] != nil) {
				t.Errorf("bad file %q", got.BadFile)
			}
			for name, content := range c.files {
				if now, err := os.ReadFile(filepath.Join(dir, name)); strings.HasPrefix(name, "state.db.bak.") &&
					name != "state.db.bak.new" && (err != nil || string(now) != string(content)) {
					t.Errorf("%s was touched: %v", name, err)
				}
			}
		})
	}
}

func TestH22_EveryPossibleLossMakesANewEpoch(t *testing.T) {
	t.Parallel()
	good := goodFolder(t)
	_, healthy := openCopyOfContent(t, good["state.db"])
	cases := map[string]struct {
		harm     damage
		backup   bool
		outcome  store.Outcome
		previous string
	}{
		"healthy":  {cutTo(len(good["state.db"])), true, store.OutcomeOpened, ""},
		"repaired": {zeroMeta(1), true, store.OutcomeRepaired, healthy.Epoch},
		"restored": {cutTo(9000), true, store.OutcomeRestored, healthy.Epoch},
		"reset":    {cutTo(9000), false, store.OutcomeReset, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := goodFolder(t)
			files["state.db"] = c.harm(nil, files["state.db"])
			if !c.backup {
				delete(files, "state.db.bak")
			}
			dir := folderWith(t, files)
			s, first := mustOpen(t, dir, store.Options{})
			if first.Outcome != c.outcome || first.PreviousEpoch != c.previous {
				t.Errorf("%+v, want %s with previous epoch %q", first, c.outcome, c.previous)
			}
			if same := first.Epoch == healthy.Epoch; same != (c.outcome == store.OutcomeOpened) || first.Epoch != s.Epoch() {
				t.Errorf("epoch %s, before %s", first.Epoch, healthy.Epoch)
			}
			mustClose(t, s)
			// Until something is committed the report may have got lost.
			s, again := mustOpen(t, dir, store.Options{})
			if again != first {
				t.Errorf("opened again: %+v", again)
			}
			mustUpdate(t, s, func(tx *store.Tx) error { return rows.Put(tx, "told", &row{}) })
			mustClose(t, s)
			if _, again := mustOpen(t, dir, store.Options{}); again != (store.Report{Outcome: store.OutcomeOpened, Epoch: first.Epoch}) {
				t.Errorf("opened again: %+v", again)
			}
		})
	}
}

// TestDamage_UnderTheOpenStore cuts the file off while it is mapped: the read
// faults, which must become an error, and the next open restores.
func TestDamage_UnderTheOpenStore(t *testing.T) {
	t.Parallel()
	got := runChild(t, "truncate-below", folderWith(t, goodFolder(t)))
	if got.Code != "store_damaged" || got.After != "store_damaged" {
		t.Errorf("reading a cut off file: %+v", got)
	}
	if got.Reopen.Outcome != store.OutcomeRestored {
		t.Errorf("reopen: %+v (%s)", got.Reopen, got.Error)
	}
}

func TestDamage_BadFilesAreBounded(t *testing.T) {
	t.Parallel()
	dir := folderWith(t, goodFolder(t))
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for round := range 7 {
		must(t, os.WriteFile(filepath.Join(dir, "state.db"), []byte{byte(round)}, 0o600))
		// The clock stands still, then goes backwards.
		s, report := mustOpen(t, dir, store.Options{Now: func() time.Time { return now.AddDate(-round/3, 0, 0) }})
		mustClose(t, s)
		if kept, err := os.ReadFile(filepath.Join(dir, report.BadFile)); err != nil || kept[0] != byte(round) {
			t.Errorf("round %d: %q has %v, %v", round, report.BadFile, kept, err)
		}
	}
	if bad, _ := filepath.Glob(filepath.Join(dir, "state.db.bad-*")); len(bad) != 4 {
		t.Errorf("kept: %v", bad)
	}
}

// TestPageSizeOfAnotherMac: a file made where pages have 16 KiB (Apple silicon)
// is opened and repaired where they have 4 KiB, and the other way around.
func TestPageSizeOfAnotherMac(t *testing.T) {
	t.Parallel()
	for _, size := range []int{4096, 16384} {
		for name, metas := range map[string][]int{"healthy": {}, "first": {0}, "second": {1}} {
			dir := folderWith(t, goodFolder(t))
			content := withPageSize(t, filepath.Join(dir, "state.db"), size)
			for _, id := range metas {
				clear(content[id*size : (id+1)*size])
			}
			s, report := openCopyOfContent(t, content)
			want := map[bool]store.Outcome{true: store.OutcomeOpened, false: store.OutcomeRepaired}[len(metas) == 0]
			if report.Outcome != want || countRows(t, s) != rowsCommitted {
				t.Errorf("page size %d, %s: %+v", size, name, report)
			}
		}
	}
}

func commitNumber(t *testing.T, db *bolt.DB) (number int) {
	t.Helper()
	must(t, db.View(func(tx *bolt.Tx) error { number = tx.ID(); return nil }))
	return number
}

// withPageSize copies a database into one with another page size.
func withPageSize(t *testing.T, path string, size int) []byte {
	t.Helper()
	source, err := bolt.Open(path, 0o600, nil)
	must(t, err)
	target, err := bolt.Open(path+".copy", 0o600, &bolt.Options{PageSize: size})
	must(t, err)
	must(t, bolt.Compact(target, source, 0))
	// More commits, so that both metas know the rows and the number is right.
	for commitNumber(t, target) < commitNumber(t, source) {
		must(t, target.Update(func(*bolt.Tx) error { return nil }))
	}
	must(t, source.Close())
	must(t, target.Close())
	content, err := os.ReadFile(path + ".copy")
	must(t, err)
	return content
}
