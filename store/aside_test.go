package store

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// writeLaterFormat makes a database of a folder one of a later format, whose records
// this version does not understand either.
func writeLaterFormat(t *testing.T, file string) {
	t.Helper()
	db, err := bolt.Open(file, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		header := map[string]any{"format": formatOfRecords + 1, "epoch": "of later", "and": []string{"more"}}
		return errors.Join(putRecord(tx.Bucket([]byte(headerBucket)), headerBucket, headerKey, header),
			tx.Bucket([]byte("notes")).Put([]byte("later"), []byte("another form")))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

// newerState is a folder whose database is of a later format.
func newerState(t *testing.T, withBackup bool) (dir, database string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "state")
	s := openForTest(t, dir)
	if err := s.Update(func(tx *Tx) error { return notes.Put(tx, "a", new("note")) }); err != nil {
		t.Fatal(err)
	}
	if err := s.Backup(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	database = filepath.Join(dir, databaseName)
	writeLaterFormat(t, database)
	if !withBackup {
		writeLaterFormat(t, filepath.Join(dir, backupNames[0]))
	}
	return dir, database
}

// Who is allowed to go back keeps it aside, and begins with the newest backup that can
// be read, in a new epoch (H22), else with nothing.
func TestH22_ALaterFormatIsKeptAsideOnRequest(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		withBackup bool
		outcome    Outcome
	}{
		"nothing that can be read": {false, OutcomeReset},
		"a backup of before":       {true, OutcomeRestored},
	} {
		dir, database := newerState(t, test.withBackup)
		later, err := os.ReadFile(database)
		if err != nil {
			t.Fatal(err)
		}
		s, report, err := Open(context.Background(), dir, Options{ReplaceNewer: true})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if report.Outcome != test.outcome || report.Reason == "" || report.Epoch == "of later" {
			t.Errorf("%s: %+v", name, report)
		}
		if kept, err := os.ReadFile(filepath.Join(dir, report.BadFile)); err != nil || !bytes.Equal(kept, later) {
			t.Errorf("%s: it was not kept: %v", name, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if s, report, err = Open(context.Background(), dir, Options{}); err != nil || report.Outcome != test.outcome {
			t.Fatalf("%s, again: %+v, %v", name, report, err)
		}
		_ = s.Close()
	}
}
