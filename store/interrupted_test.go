package store_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"prlagent/store"
)

const (
	killsWhileRestoring = 50
	// nobody owns the folder that is opened without root's rights.
	nobody = 65534
)

// openOnly opens the store and closes it.
func openOnly(dir string) (result childResult) {
	s, report, err := store.Open(context.Background(), dir, store.Options{})
	if err != nil {
		return result.failed(err)
	}
	result.Report = report
	return result.failed(s.Close())
}

// TestDamage_KilledWhileRestoring kills the process that restores, each time one
// step later, and leaves what it left to the next one: every other time that one
// is killed as well, after the database was damaged again.
func TestDamage_KilledWhileRestoring(t *testing.T) {
	t.Parallel()
	good := goodFolder(t)
	_, original := openCopyOfContent(t, good["state.db"])
	dir := newFastFolder(t)
	refill(t, dir, map[string][]byte{"state.db.bak": good["state.db.bak"]})
	killer, inspector := newBatch(t, "record", tracedRoleVariable+"=open"), newBatch(t, "inspect")
	before := 0
	for kills := 0; kills < killsWhileRestoring; {
		harmed := append(zeroMeta(0, 1)(nil, slices.Clone(good["state.db"])), byte(kills))
		path := filepath.Join(dir, "state.db")
		_ = os.Remove(path) // a damaged file that was kept is another file
		must(t, os.WriteFile(path, harmed, 0o600))
		got := killer.play(fmt.Sprintf("%s\t%d", dir, before))
		if got.Error != "" || got.Died != "" {
			skipWithoutPtrace(t, got)
			t.Fatalf("%+v", got)
		}
		before++
		if got.After != "killed" {
			before = 0 // it was done before that change
			continue
		}
		kills++
		if kills%2 == 0 {
			got := inspector.play(dir)
			if err := checkAfterKill(dir, harmed, original.Epoch, got); err != nil {
				t.Errorf("killed before change %d: %v: %+v", before-1, err, got)
			}
		}
	}
	checkLastRestore(t, dir)
}

// checkAfterKill wants the backup in its place, the damaged file kept and the
// reason told, whether the open that was killed did it or the one after it.
func checkAfterKill(dir string, harmed []byte, epoch string, got childResult) error {
	if got.Error != "" || got.Died != "" || got.Report.Outcome != store.OutcomeRestored || got.Report.Reason == "" {
		return fmt.Errorf("%s%s, want it restored, with the reason", got.Error, got.Died)
	}
	if got.Digest != goodDigests()[rowsInBackup] || got.Report.Epoch == epoch {
		return fmt.Errorf("want the backup and not the epoch %s", epoch)
	}
	if kept, err := os.ReadFile(filepath.Join(dir, got.Report.BadFile)); err != nil || !slices.Equal(kept, harmed) {
		return fmt.Errorf("the damaged file is lost: %w", err)
	}
	return nil
}

// checkLastRestore: after all that the folder is bounded and clean.
func checkLastRestore(t *testing.T, dir string) {
	t.Helper()
	must(t, os.WriteFile(filepath.Join(dir, "state.db"), []byte("damaged"), 0o600))
	if s, report := mustOpen(t, dir, store.Options{}); report.Outcome != store.OutcomeRestored || countRows(t, s) != rowsInBackup {
		t.Errorf("%+v", report)
	}
	if bad, _ := filepath.Glob(filepath.Join(dir, "state.db.bad-*")); len(bad) > 4 {
		t.Errorf("kept: %v", bad)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.new")); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
}

// TestDamage_CutOffRestoreKeepsOneName: the damaged file of a restore that was
// cut off before its end is not kept again, which would push out an older one.
func TestDamage_CutOffRestoreKeepsOneName(t *testing.T) {
	t.Parallel()
	files := goodFolder(t)
	files["state.db"] = []byte("damaged")
	dir := folderWith(t, files)
	kept := filepath.Join(dir, "state.db.bad-20260102T030405Z")
	must(t, os.Link(filepath.Join(dir, "state.db"), kept))
	if _, report := mustOpen(t, dir, store.Options{}); report.BadFile != filepath.Base(kept) {
		t.Errorf("%+v", report)
	}
	if bad, _ := filepath.Glob(filepath.Join(dir, "state.db.bad-*")); len(bad) != 1 {
		t.Errorf("kept: %v", bad)
	}
}

// inspectAsNobody inspects a folder without root's rights. It is entered before,
// because the way to it is closed afterwards.
func inspectAsNobody(dir string) (result childResult) {
	if err := os.Chdir(dir); err != nil {
		return result.failed(err)
	}
	if os.Geteuid() == 0 {
		if err := syscall.Setuid(nobody); err != nil {
			return result.failed(err)
		}
	}
	return inspect(".")
}

// TestH50_ReadOnlyFolder: where nothing can be made or renamed, a healthy
// database is used as it is, and a damaged one stays as it is.
func TestH50_ReadOnlyFolder(t *testing.T) {
	t.Parallel()
	good := goodFolder(t)
	cases := []struct {
		name  string
		files map[string][]byte
		mode  os.FileMode // of state.db
		code  string
	}{
		{"healthy", map[string][]byte{"state.db": good["state.db"], "state.lock": {}}, 0o600, ""},
		{"never opened", map[string][]byte{"state.db": good["state.db"]}, 0o600, "store_denied"},
		{"the file as well", map[string][]byte{"state.db": good["state.db"], "state.lock": {}}, 0o400, "store_denied"},
		{"damaged", map[string][]byte{"state.db": []byte("damaged"), "state.db.bak": good["state.db.bak"], "state.lock": {}}, 0o600, "store_denied"},
		{"missing", map[string][]byte{"state.db.bak": good["state.db.bak"], "state.lock": {}}, 0o600, "store_denied"},
		{"empty", map[string][]byte{"state.lock": {}}, 0o600, "store_denied"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := folderWith(t, c.files)
			before := folderContent(t, dir)
			closeFolder(t, dir, c.mode)
			got := runChild(t, "nobody", dir)
			if got.Code != c.code || c.code == "" && (got.Error != "" || got.Rows != rowsCommitted) {
				t.Errorf("%+v, want code %q", got, c.code)
			}
			if c.code != "" {
				checkUntouched(t, dir, before)
			}
		})
	}
}

// closeFolder makes a folder one that its owner, who is not root, cannot change.
func closeFolder(t *testing.T, dir string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(filepath.Join(dir, "state.db"), mode); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	must(t, os.Chmod(dir, 0o500))
	t.Cleanup(func() { _ = os.Chmod(dir, 0o700) })
	if os.Geteuid() != 0 {
		return
	}
	for name := range filesOf(t, dir) {
		must(t, os.Chown(filepath.Join(dir, name), nobody, -1))
	}
	must(t, os.Chown(dir, nobody, -1))
	for above := filepath.Dir(dir); above != filepath.Clean(os.TempDir()) && above != "/"; above = filepath.Dir(above) {
		must(t, os.Chmod(above, 0o755)) // it looks at the whole chain
	}
}
