package store_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"prlagent/platform/safefile"
	"prlagent/store"
)

// H53: a folder above the state in which others can write is as good as the
// state's own: whoever can exchange the folder can exchange the state.
func TestH53_StateBelowAFolderThatOthersCanChange(t *testing.T) {
	t.Parallel()
	above := filepath.Join(t.TempDir(), "above")
	must(t, os.Mkdir(above, 0o755))
	must(t, os.Chmod(above, 0o777))
	state, _, err := store.Open(t.Context(), filepath.Join(above, "state"), store.Options{})
	if err == nil {
		_ = state.Close()
	}
	if !errors.Is(err, store.ErrDenied) || !errors.Is(err, safefile.ErrUnsafeDirectory) {
		t.Errorf("got %v", err)
	}
	if left, err := os.ReadDir(above); err != nil || len(left) > 0 {
		t.Errorf("made there: %v, %v", left, err)
	}
}

// H53: an administrator who renames the state's folder, and puts a link in its
// place, makes root write nowhere else.
func TestH53_StateStaysWhereItWasOpened(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	dir, moved, victim := filepath.Join(top, "state"), filepath.Join(top, "moved"), filepath.Join(top, "victim")
	state, _, err := store.Open(t.Context(), dir, store.Options{})
	must(t, err)
	defer func() { _ = state.Close() }()
	must(t, os.Mkdir(victim, 0o700))
	must(t, os.WriteFile(filepath.Join(victim, "state.db.bak"), []byte("precious"), 0o600))
	must(t, os.Rename(dir, moved))
	must(t, os.Symlink(victim, dir))

	must(t, state.Backup())
	must(t, state.Erase())
	if data, err := os.ReadFile(filepath.Join(victim, "state.db.bak")); err != nil || string(data) != "precious" {
		t.Errorf("the victim has %q, %v", data, err)
	}
	if left, err := os.ReadDir(victim); err != nil || len(left) != 1 {
		t.Errorf("the victim's folder has %v, %v", left, err)
	}
	if _, err := os.Stat(filepath.Join(moved, "state.db.bak")); err != nil {
		t.Errorf("the backup is not where the state is: %v", err)
	}
}
