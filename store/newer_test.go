package store_test

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"prlagent/store"
	"prlagent/store/storetest"
)

// TestPKG12_H50_DatabaseOfANewerVersionStays: a version that is older than the database
// neither repairs nor replaces it, by a backup or by an empty one; the files stay as they
// are, for the version that reads them.
func TestPKG12_H50_DatabaseOfANewerVersionStays(t *testing.T) {
	t.Parallel()
	good := goodFolder(t)
	newer, newerBackup := ofFormat(t, good["state.db"], '2'), ofFormat(t, good["state.db.bak"], '2')
	unknown := bytes.Replace(slices.Clone(newer), []byte("rows"), []byte("sowr"), 1) // order and counts may mean something else then
	for name, files := range map[string]map[string][]byte{
		"alone":                             {"state.db": newer},
		"with a backup of this format":      {"state.db": newer, "state.db.bak": good["state.db.bak"]},
		"with contents that look damaged":   {"state.db": unknown, "state.db.bak": good["state.db.bak"]},
		"one meta is damaged":               {"state.db": zeroMeta(1)(nil, slices.Clone(newer)), "state.db.bak": good["state.db.bak"]},
		"it is missing, and the backup new": {"state.db.bak": newerBackup, "state.db.bak.1": good["state.db.bak"]},
		"it is damaged, and the backup new": {"state.db": []byte("no database"), "state.db.bak": newerBackup},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := folderWith(t, files)
			s, _, err := store.Open(t.Context(), dir, store.Options{})
			if err == nil {
				t.Fatal("opened", s.Close())
			}
			if !errors.Is(err, store.ErrNewer) || errors.Is(err, store.ErrDamaged) || store.CodeOf(err) != "store_newer" || !store.Failed(err) {
				t.Errorf("error %v", err)
			}
			found := filesIn(t, dir)
			delete(found, "state.lock")
			if !maps.EqualFunc(found, files, bytes.Equal) {
				t.Errorf("the folder has %v", slices.Sorted(maps.Keys(found)))
			}
		})
	}
}

func filesIn(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	found := map[string][]byte{}
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, entry := range entries {
		content, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		must(t, err)
		found[entry.Name()] = content
	}
	return found
}

// ofFormat gives a database with another format in its header.
func ofFormat(t *testing.T, database []byte, format byte) []byte {
	t.Helper()
	changed, err := storetest.OfFormat(database, format)
	must(t, err)
	return changed
}
