package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

const (
	databaseName  = "state.db"
	freshName     = "state.db.new"     // a database in the making, not yet in its place
	freshCopyName = "state.db.bak.new" // a backup in the making
)

// newFileFlags open a file that must not be there yet.
const newFileFlags = os.O_RDWR | os.O_CREATE | os.O_EXCL

// backupNames are the backups, newest first.
var backupNames = []string{"state.db.bak", "state.db.bak.1", "state.db.bak.2", "state.db.bak.3"}

// Backup copies the database to state.db.bak, verifies the copy, and only then
// moves the older backups one place on. Without a commit since the last backup
// it does nothing. On an error the older backups are as they were.
func (s *Store) Backup() error {
	s.backupMutex.Lock()
	defer s.backupMutex.Unlock()
	if s.everBackedUp && s.backedUp == s.Commits() {
		return nil
	}
	return s.writeBackup()
}

func (s *Store) writeBackup() error {
	commits := s.Commits() // a commit during the copy belongs to the next backup
	if err := s.copyTo(freshCopyName); err != nil {
		return errors.Join(fmt.Errorf("back up: %w", err), s.removeIfThere(freshCopyName))
	}
	if err := verifyFile(s.folder, freshCopyName); err != nil {
		return errors.Join(fmt.Errorf("verify backup: %w", err), s.removeIfThere(freshCopyName))
	}
	if err := s.rotateBackups(); err != nil {
		return fmt.Errorf("rotate backups: %w", err)
	}
	s.everBackedUp, s.backedUp = true, commits
	return nil
}

func (s *Store) copyTo(name string) error {
	return s.View(func(tx *Tx) error {
		return s.writeNew(name, func(file io.Writer) error {
			_, err := tx.bolt.WriteTo(file)
			return err
		})
	})
}

// writeNew makes a file that must not be there yet, 0600, and flushes it to the
// disk.
func (s *Store) writeNew(name string, fill func(io.Writer) error) error {
	file, err := s.folder.OpenFile(name, newFileFlags, 0o600)
	if err != nil {
		return withKind(fmt.Errorf("create %s: %w", name, err))
	}
	err = fill(file)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return withKind(fmt.Errorf("write %s: %w", name, err))
	}
	return nil
}

// rotateBackups moves every backup one place on, the oldest is lost, and the
// copy in the making becomes the newest. Cut off at any point it leaves each
// backup under one of the names.
func (s *Store) rotateBackups() error {
	for i := len(backupNames) - 1; i > 0; i-- {
		err := s.folder.Rename(backupNames[i-1], backupNames[i])
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return withKind(err)
		}
	}
	if err := s.folder.Rename(freshCopyName, backupNames[0]); err != nil {
		return withKind(err)
	}
	return withKind(s.folder.Sync())
}

func (s *Store) removeIfThere(name string) error {
	if err := s.folder.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return withKind(fmt.Errorf("remove %s: %w", name, err))
	}
	return nil
}
