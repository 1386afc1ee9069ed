package store_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"prlagent/store"
)

func TestOpenCreatesThenOpens(t *testing.T) {
	t.Parallel()
	dir := newFolder(t)
	s, created := mustOpen(t, dir, store.Options{Collections: []string{rows.Name}})
	if created.Outcome != store.OutcomeCreated || len(created.Epoch) != 32 || created.Reason != "" {
		t.Errorf("first open: %+v", created)
	}
	putRows(t, s, 0, 500)
	mustClose(t, s)
	s, opened := mustOpen(t, dir, store.Options{Collections: []string{rows.Name}})
	if opened != (store.Report{Outcome: store.OutcomeOpened, Epoch: created.Epoch}) {
		t.Errorf("second open: %+v", opened)
	}
	if got := countRows(t, s); got != 500 {
		t.Errorf("rows after reopen: %d", got)
	}
	if s.Commits() != 0 {
		t.Errorf("opening committed %d times", s.Commits())
	}
}

func TestFilesArePrivate(t *testing.T) {
	t.Parallel()
	dir := newFolder(t)
	s, _ := mustOpen(t, dir, store.Options{})
	putRows(t, s, 0, 10)
	if err := s.Backup(); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	if err := os.Chmod(filepath.Join(dir, "state.db"), 0o644); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, dir, store.Options{})
	want := map[string]fs.FileMode{".": 0o700, "state.db": 0o600, "state.db.bak": 0o600, "state.lock": 0o600}
	for name, mode := range want {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v, want mode %v", name, info, err, mode)
		}
	}
}

// TestNothingChangedWritesNothing holds the budget "idle: 0 bytes written":
// an Update that changes nothing leaves file and commit count alone.
func TestNothingChangedWritesNothing(t *testing.T) {
	t.Parallel()
	ring := store.Ring[*row]{Name: "ring", Capacity: 3}
	cases := []struct {
		name    string
		change  func(*store.Tx) error
		commits uint64
	}{
		{"no access", func(*store.Tx) error { return nil }, 0},
		{"same record again", func(tx *store.Tx) error { return rows.Put(tx, "a", &row{Name: "a", Count: 1}) }, 0},
		{"delete of what is not there", func(tx *store.Tx) error { return rows.Delete(tx, "none") }, 0},
		{"delete in a collection that is not there", func(tx *store.Tx) error {
			return store.Collection[*row]{Name: "none"}.Delete(tx, "none")
		}, 0},
		{"reads", func(tx *store.Tx) error { rows.Len(tx); _, err := rows.Get(tx, "a", new(row)); return err }, 0},
		{"change, then error", func(tx *store.Tx) error {
			return errors.Join(rows.Put(tx, "b", &row{}), errRefused)
		}, 0},
		{"another record", func(tx *store.Tx) error { return rows.Put(tx, "a", &row{Name: "a", Count: 2}) }, 1},
		{"delete", func(tx *store.Tx) error { return rows.Delete(tx, "a") }, 1},
		{"append", func(tx *store.Tx) error { _, err := ring.Append(tx, &row{}); return err }, 1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := newFolder(t)
			s, _ := mustOpen(t, dir, store.Options{})
			mustUpdate(t, s, func(tx *store.Tx) error { return rows.Put(tx, "a", &row{Name: "a", Count: 1}) })
			commits, before := s.Commits(), readState(t, dir)
			if err := s.Update(c.change); err != nil && !errors.Is(err, errRefused) {
				t.Fatal(err)
			}
			after := readState(t, dir)
			if got := s.Commits() - commits; got != c.commits {
				t.Errorf("%d commits, want %d", got, c.commits)
			}
			if same := after == before; same != (c.commits == 0) {
				t.Errorf("file untouched: %v", same)
			}
		})
	}
}

var errRefused = errors.New("refused")

// fileState is what a write would change.
type fileState struct{ content, modified string }

func readState(t testing.TB, dir string) fileState {
	t.Helper()
	path := filepath.Join(dir, "state.db")
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return fileState{string(content), info.ModTime().String()}
}

func TestPanicStopsTheStore(t *testing.T) {
	t.Parallel()
	dir := newFolder(t)
	s, first := mustOpen(t, dir, store.Options{})
	putRows(t, s, 0, 10)
	err := s.Update(func(tx *store.Tx) error {
		if err := rows.Put(tx, "half", &row{}); err != nil {
			return err
		}
		panic("a bug in the caller")
	})
	if store.CodeOf(err) != "store_damaged" {
		t.Errorf("panic became %v", err)
	}
	if err := s.View(func(*store.Tx) error { return nil }); !errors.Is(err, store.ErrDamaged) {
		t.Errorf("access after the panic: %v", err)
	}
	mustClose(t, s)
	s, report := mustOpen(t, dir, store.Options{})
	if report.Outcome != store.OutcomeOpened || report.Epoch != first.Epoch || countRows(t, s) != 10 {
		t.Errorf("after reopen: %+v, %d rows", report, countRows(t, s))
	}
}

func TestClosedStore(t *testing.T) {
	t.Parallel()
	s, _ := mustOpen(t, newFolder(t), store.Options{})
	mustClose(t, s)
	mustClose(t, s)
	if err := s.View(func(*store.Tx) error { return nil }); !errors.Is(err, os.ErrClosed) {
		t.Errorf("view: %v", err)
	}
	if err := s.Backup(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("backup: %v", err)
	}
}

func TestBackupRotates(t *testing.T) {
	t.Parallel()
	dir := newFolder(t)
	s, _ := mustOpen(t, dir, store.Options{})
	for round := range 6 {
		putRows(t, s, round, round+1)
		for range 2 { // the second one has nothing new and does nothing
			if err := s.Backup(); err != nil {
				t.Fatalf("backup %d: %v", round, err)
			}
		}
	}
	mustClose(t, s)
	for age, name := range []string{"state.db.bak", "state.db.bak.1", "state.db.bak.2", "state.db.bak.3"} {
		s, report := openCopyOf(t, filepath.Join(dir, name))
		if got := countRows(t, s); got != 6-age || report.Outcome != store.OutcomeOpened {
			t.Errorf("%s: %d rows (%+v), want %d", name, got, report, 6-age)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.new")); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
}

// openCopyOf opens a copy of a database file in a folder of its own.
func openCopyOf(t testing.TB, path string) (*store.Store, store.Report) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return mustOpen(t, folderWith(t, map[string][]byte{"state.db": content}), store.Options{})
}

func folderWith(t testing.TB, files map[string][]byte) string {
	t.Helper()
	dir := newFolder(t)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestH02_EraseLeavesNothingToRestore(t *testing.T) {
	t.Parallel()
	dir := newFolder(t)
	s, first := mustOpen(t, dir, store.Options{Collections: []string{"other"}})
	for round := range 5 {
		putRows(t, s, round*100, round*100+100)
		if err := s.Backup(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Erase(); err != nil {
		t.Fatal(err)
	}
	if got := countRows(t, s); got != 0 {
		t.Errorf("%d rows after Erase", got)
	}
	if s.Epoch() != first.Epoch {
		t.Error("Erase changed the epoch")
	}
	putRows(t, s, 0, 7)
	mustClose(t, s)
	s, report := mustOpen(t, dir, store.Options{})
	if got := countRows(t, s); got != 7 || report.Outcome != store.OutcomeOpened {
		t.Errorf("after reopen %d rows, %+v", got, report)
	}
	mustClose(t, s)
	backups, err := filepath.Glob(filepath.Join(dir, "state.db.bak*"))
	if err != nil || len(backups) != 1 {
		t.Fatalf("backups after Erase: %v, %v", backups, err)
	}
	restored, _ := openCopyOf(t, backups[0])
	if got := countRows(t, restored); got != 0 {
		t.Errorf("the backup brings %d rows back", got)
	}
}

func TestH02_NewEpochLasts(t *testing.T) {
	t.Parallel()
	dir := newFolder(t)
	s, first := mustOpen(t, dir, store.Options{})
	epoch, err := s.NewEpoch()
	if err != nil || epoch == first.Epoch || len(epoch) != 32 || s.Epoch() != epoch {
		t.Fatalf("new epoch %q (%v), store says %q, before %q", epoch, err, s.Epoch(), first.Epoch)
	}
	mustClose(t, s)
	if _, report := mustOpen(t, dir, store.Options{}); report.Epoch != epoch {
		t.Errorf("after reopen %+v, want epoch %s", report, epoch)
	}
}

// TestKilledProcessLosesNothing kills a process that commits without pause:
// what it said was committed is there, in the same epoch.
func TestKilledProcessLosesNothing(t *testing.T) {
	t.Parallel()
	dir := newFolder(t)
	s, first := mustOpen(t, dir, store.Options{})
	mustClose(t, s)
	for round := range 5 {
		said := killWhileCommitting(t, dir, 3+round*7)
		s, report := mustOpen(t, dir, store.Options{})
		if report != (store.Report{Outcome: store.OutcomeOpened, Epoch: first.Epoch}) {
			t.Errorf("round %d: %+v", round, report)
		}
		if got := countRows(t, s); got < said {
			t.Errorf("round %d: %d rows, %d were committed", round, got, said)
		}
		mustClose(t, s)
	}
}

// killWhileCommitting kills the child after some commits and returns the last
// number it said.
func killWhileCommitting(t *testing.T, dir string, commits int) (said int) {
	t.Helper()
	child := command(t, "commit", dir)
	output, err := child.StdoutPipe()
	must(t, err)
	must(t, child.Start())
	lines := bufio.NewScanner(output)
	for n := 1; lines.Scan(); n++ {
		if said, err = strconv.Atoi(lines.Text()); err != nil {
			t.Errorf("child: %s", lines.Text())
		}
		if n == commits {
			must(t, child.Process.Kill())
		}
	}
	if err := child.Wait(); err == nil {
		t.Error("the child ended by itself")
	}
	return said
}

// TestConcurrentUse: readers, writers and backups at the same time; with -race.
func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	s, _ := mustOpen(t, newFolder(t), store.Options{})
	var workers sync.WaitGroup
	for worker := range 4 {
		workers.Go(func() {
			for i := range 20 {
				err := s.Update(func(tx *store.Tx) error { return rows.Put(tx, rowKey(worker*100+i), &row{Count: i}) })
				err = errors.Join(err, s.View(func(tx *store.Tx) error {
					return rows.Each(tx, func(string, *row) error { return nil })
				}))
				if i%10 == 0 {
					err = errors.Join(err, s.Backup())
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	workers.Wait()
	if got := countRows(t, s); got != 80 || s.Commits() != 80 {
		t.Errorf("%d rows in %d commits", got, s.Commits())
	}
}

// TestBigTree has branch pages, overflow pages, inline buckets and a long
// freelist: what the reader of the file format must understand.
func TestBigTree(t *testing.T) {
	t.Parallel()
	dir := newFolder(t)
	s, first := mustOpen(t, dir, store.Options{Collections: []string{"empty"}})
	content := bytes.Repeat([]byte("x"), 20_000)
	for batch := range 4 {
		mustUpdate(t, s, func(tx *store.Tx) error {
			for i := batch; i < 2000; i += 4 {
				if err := rows.Put(tx, fmt.Sprintf("%0200d", i), &row{Name: string(content[:i*i%20_000])}); err != nil {
					return err
				}
			}
			return store.Collection[*int]{Name: "small"}.Put(tx, fmt.Sprint(batch), &batch)
		})
	}
	mustUpdate(t, s, func(tx *store.Tx) error {
		for i := range 1500 {
			if err := rows.Delete(tx, fmt.Sprintf("%0200d", i)); err != nil {
				return err
			}
		}
		return nil
	})
	mustClose(t, s)
	s, report := mustOpen(t, dir, store.Options{})
	if report != (store.Report{Outcome: store.OutcomeOpened, Epoch: first.Epoch}) || countRows(t, s) != 500 {
		t.Errorf("%d rows, %+v", countRows(t, s), report)
	}
}
