package store_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"prlagent/store"
)

// refused opens a store that must not open, checks the code, and that nothing in
// the folder but the lock file has changed.
func refused(t *testing.T, dir, code string, opts store.Options) {
	t.Helper()
	before := folderContent(t, dir)
	s, _, err := store.Open(context.Background(), dir, opts)
	if err == nil {
		_ = s.Close()
	}
	if store.CodeOf(err) != code {
		t.Errorf("open: %v (code %q), want code %q", err, store.CodeOf(err), code)
	}
	checkUntouched(t, dir, before)
}

func checkUntouched(t *testing.T, dir string, before map[string]string) {
	t.Helper()
	after := folderContent(t, dir)
	delete(after, "state.lock")
	for name, content := range before {
		if name != "state.lock" && after[name] != content {
			t.Errorf("%s was changed", name)
		}
		delete(after, name)
	}
	for name := range after {
		t.Errorf("%s was made", name)
	}
}

func folderContent(t *testing.T, dir string) map[string]string {
	t.Helper()
	content := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		raw, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			raw = []byte(err.Error())
		}
		content[entry.Name()] = string(raw)
	}
	return content
}

func TestH50_SecondProcessIsRefused(t *testing.T) {
	t.Parallel()
	dir := newFolder(t)
	s, _ := mustOpen(t, dir, store.Options{})
	putRows(t, s, 0, 100)
	mustClose(t, s)
	release := startHolding(t, dir)
	for _, wait := range []time.Duration{0, time.Millisecond} {
		refused(t, dir, "already_running", store.Options{LockWait: wait})
	}
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := store.Open(canceled, dir, store.Options{LockWait: time.Hour}); !errors.Is(err, context.Canceled) {
		t.Errorf("open with an ended context: %v", err)
	}
	release()
	if s, report := mustOpen(t, dir, store.Options{}); report.Outcome != store.OutcomeOpened || countRows(t, s) != 100 {
		t.Errorf("after the other process ended: %+v", report)
	}
}

// TestH50_LockDecidesBeforeDamage: a second instance must not take a database
// that is just being written, or is damaged, for its own to repair.
func TestH50_LockDecidesBeforeDamage(t *testing.T) {
	t.Parallel()
	dir := newFolder(t)
	mustOpen(t, dir, store.Options{})
	if err := os.WriteFile(filepath.Join(dir, "state.db"), []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, dir, "already_running", store.Options{})
}

// TestH50_LockIsNotTheDatabases: the lock file excludes a second daemon also
// where there is no database that it could find locked.
func TestH50_LockIsNotTheDatabases(t *testing.T) {
	t.Parallel()
	dir := newFolder(t)
	mustOpen(t, dir, store.Options{})
	must(t, os.Rename(filepath.Join(dir, "state.db"), dir+".moved-away"))
	refused(t, dir, "already_running", store.Options{})
}

func TestH50_LockIsWaitedFor(t *testing.T) {
	t.Parallel()
	dir := newFolder(t)
	first, _ := mustOpen(t, dir, store.Options{})
	second := make(chan error)
	go func() {
		s, _, err := store.Open(context.Background(), dir, store.Options{LockWait: time.Minute})
		if err == nil {
			err = s.Close()
		}
		second <- err
	}()
	select {
	case err := <-second:
		t.Fatalf("second open did not wait: %v", err)
	default:
	}
	mustClose(t, first)
	if err := <-second; err != nil {
		t.Errorf("second open: %v", err)
	}
}

// TestH50_ForkedChildHoldsNoLock: between its fork and its exec a child holds
// everything open that its parent has open. What the parent lets go is free all
// the same, or a store could not be reopened while programs are started.
func TestH50_ForkedChildHoldsNoLock(t *testing.T) {
	t.Parallel()
	reopen := func(t *testing.T, dir string) {
		t.Helper()
		s, _, err := store.Open(context.Background(), dir, store.Options{})
		if err != nil {
			t.Errorf("open again: %v", err)
			return
		}
		mustClose(t, s)
	}
	t.Run("after a close", func(t *testing.T) {
		t.Parallel()
		dir := newFolder(t)
		s, _ := mustOpen(t, dir, store.Options{})
		stayOpen(t, filepath.Join(dir, "state.lock"))
		stayOpen(t, filepath.Join(dir, "state.db"))
		mustClose(t, s)
		reopen(t, dir)
	})
	t.Run("after an open that failed", func(t *testing.T) {
		t.Parallel()
		dir := folderWith(t, map[string][]byte{"state.db": []byte("damaged")})
		inTheWay := filepath.Join(dir, "state.db.new")
		recovering := func() time.Time { // it has locked and verified, and names the damaged file
			stayOpen(t, filepath.Join(dir, "state.lock"))
			must(t, os.MkdirAll(filepath.Join(inTheWay, "full"), 0o700))
			return time.Now()
		}
		if s, _, err := store.Open(context.Background(), dir, store.Options{Now: recovering}); err == nil {
			mustClose(t, s)
			t.Fatal("opened")
		}
		must(t, os.RemoveAll(inTheWay))
		reopen(t, dir)
	})
}

// stayOpen keeps open, to the test's end, what this process has opened at path.
func stayOpen(t *testing.T, path string) {
	t.Helper()
	var wanted, found unix.Stat_t
	must(t, unix.Lstat(path, &wanted))
	for descriptor := range 1024 {
		if unix.Fstat(descriptor, &found) == nil && found.Dev == wanted.Dev && found.Ino == wanted.Ino {
			duplicate, err := unix.FcntlInt(uintptr(descriptor), unix.F_DUPFD_CLOEXEC, 0)
			must(t, err)
			t.Cleanup(func() { must(t, unix.Close(duplicate)) })
			return
		}
	}
	t.Fatalf("%s is not open", path)
}

// TestH50_ForeignLockIsNotDamage: somebody looks into the database with another
// bbolt program, which takes no notice of the lock file.
func TestH50_ForeignLockIsNotDamage(t *testing.T) {
	t.Parallel()
	dir := newFolder(t)
	s, _ := mustOpen(t, dir, store.Options{})
	putRows(t, s, 0, 10)
	mustClose(t, s)
	foreign, err := bolt.Open(filepath.Join(dir, "state.db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	refused(t, dir, "already_running", store.Options{})
	if err := foreign.Close(); err != nil {
		t.Fatal(err)
	}
	if _, report := mustOpen(t, dir, store.Options{}); report.Outcome != store.OutcomeOpened {
		t.Errorf("afterwards: %+v", report)
	}
}

// TestH50_FullDisk fills the store up to a limit in a child process and opens it
// afterwards without the limit. RLIMIT_FSIZE makes the system refuse to grow the
// file (EFBIG), as a full disk (ENOSPC) or quota (EDQUOT) does, and needs no
// privilege; the size limit of bbolt refuses before the system is asked.
func TestH50_FullDisk(t *testing.T) {
	t.Parallel()
	dir := newFolder(t)
	full := runChild(t, "fill", dir, limitVariable+"=200000")
	if full.Code != "store_full" || full.Written == 0 || full.Written == 10_000 {
		t.Fatalf("child: %+v", full)
	}
	if full.Rows != full.Written || full.After != "" {
		t.Errorf("reading with a full disk: %+v", full)
	}
	s, report := mustOpen(t, dir, store.Options{})
	if report != (store.Report{Outcome: store.OutcomeOpened, Epoch: full.Report.Epoch}) {
		t.Errorf("with space again: %+v", report)
	}
	if got := countRows(t, s); got != full.Written {
		t.Errorf("%d rows, committed were %d", got, full.Written)
	}
}

func TestH50_SizeLimit(t *testing.T) {
	t.Parallel()
	dir := newFolder(t)
	s, _ := mustOpen(t, dir, store.Options{MaxSize: 256 << 10})
	written, big := 0, row{Name: string(bytes.Repeat([]byte("x"), 5000))}
	var err error
	for err == nil && written < 1000 {
		err = s.Update(func(tx *store.Tx) error { return rows.Put(tx, rowKey(written), &big) })
		if err == nil {
			written++
		}
	}
	if store.CodeOf(err) != "store_full" {
		t.Fatalf("after %d rows: %v", written, err)
	}
	mustUpdate(t, s, func(tx *store.Tx) error {
		return errors.Join(rows.Delete(tx, rowKey(0)), rows.Delete(tx, rowKey(1)))
	})
	if got := countRows(t, s); got != written-2 {
		t.Errorf("%d rows, want %d", got, written-2)
	}
	mustClose(t, s)
	s, report := mustOpen(t, dir, store.Options{MaxSize: 256 << 10})
	if report.Outcome != store.OutcomeOpened || countRows(t, s) != written-2 {
		t.Errorf("reopen: %+v, %d rows", report, countRows(t, s))
	}
}

// TestH50_FullDiskWhileOpening: no space for a new database, and none for the
// one that should replace a damaged one, which stays where it is.
func TestH50_FullDiskWhileOpening(t *testing.T) {
	t.Parallel()
	good := goodFolder(t)
	cases := map[string]map[string][]byte{
		"new":                    {},
		"damaged":                {"state.db": []byte("damaged")},
		"damaged, with a backup": {"state.db": []byte("damaged"), "state.db.bak": good["state.db.bak"]},
		"missing, with a backup": {"state.db.bak": good["state.db.bak"]},
	}
	for name, files := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := folderWith(t, files)
			before := folderContent(t, dir)
			if got := runChild(t, "inspect", dir, limitVariable+"=5000"); got.Code != "store_full" {
				t.Errorf("child: %+v", got)
			}
			checkUntouched(t, dir, before)
		})
	}
}

// TestH50_FullDiskDuringBackup keeps the backups there are.
func TestH50_FullDiskDuringBackup(t *testing.T) {
	t.Parallel()
	dir := folderWith(t, goodFolder(t))
	before := folderContent(t, dir)
	if got := runChild(t, "backup", dir, limitVariable+"=20000"); got.Code != "store_full" {
		t.Errorf("child: %+v", got)
	}
	checkUntouched(t, dir, before)
}

func TestH50_DeniedIsNotDamage(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name    string
		prepare func(t *testing.T, dir string) string
	}{
		{"folder is a link", func(t *testing.T, dir string) string {
			link := dir + "-link"
			must(t, os.Symlink(dir, link))
			return link
		}},
		{"folder is group writable", func(t *testing.T, dir string) string {
			must(t, os.Chmod(dir, 0o770))
			return dir
		}},
		{"folder is world writable", func(t *testing.T, dir string) string {
			must(t, os.Chmod(dir, 0o702))
			return dir
		}},
		{"folder is a file", func(_ *testing.T, dir string) string { return filepath.Join(dir, "..", "a-file") }},
		{"folder belongs to another", func(t *testing.T, dir string) string {
			if os.Geteuid() != 0 {
				t.Skip("needs root to give a folder away")
			}
			must(t, os.Chown(dir, 12345, -1))
			return dir
		}},
		{"database is not readable", func(t *testing.T, dir string) string {
			if os.Geteuid() == 0 {
				t.Skip("root reads every file")
			}
			must(t, os.Chmod(filepath.Join(dir, "state.db"), 0))
			return dir
		}},
		{"database is a link", func(t *testing.T, dir string) string {
			must(t, os.Rename(filepath.Join(dir, "state.db"), filepath.Join(dir, "elsewhere")))
			must(t, os.Symlink("elsewhere", filepath.Join(dir, "state.db")))
			return dir
		}},
		{"database is a folder", func(t *testing.T, dir string) string {
			must(t, os.Remove(filepath.Join(dir, "state.db")))
			must(t, os.Mkdir(filepath.Join(dir, "state.db"), 0o700))
			return dir
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := folderWith(t, goodFolder(t))
			must(t, os.WriteFile(filepath.Join(dir, "..", "a-file"), nil, 0o600))
			before := folderContent(t, dir)
			opened := c.prepare(t, dir)
			s, _, err := store.Open(context.Background(), opened, store.Options{})
			if err == nil {
				_ = s.Close()
			}
			if store.CodeOf(err) != "store_denied" {
				t.Errorf("open: %v (code %q)", err, store.CodeOf(err))
			}
			if bad, _ := filepath.Glob(filepath.Join(dir, "*.bad-*")); len(bad) > 0 {
				t.Errorf("taken for damage: %v", bad)
			}
			if after := folderContent(t, dir); after["state.db.bak"] != before["state.db.bak"] {
				t.Error("the backup was touched")
			}
		})
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
