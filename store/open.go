package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/rs/zerolog"
)

// defaultMaxSize bounds the database file, in bytes, where Options.MaxSize is 0.
const defaultMaxSize = 64 << 20

// Options say how a store is opened. The zero value is usable.
type Options struct {
	// Log gets a line for each damage, restore and stop.
	Log zerolog.Logger
	// Now names bad files; nil is time.Now.
	Now func() time.Time
	// MaxSize bounds the database file, in bytes; 0 is 64 MiB.
	MaxSize int
	// LockWait is how long to wait for another process to let go; 0 tries once.
	LockWait time.Duration
	// Collections are made, empty, where they are missing.
	Collections []string
	// ReplaceNewer puts what a damaged database gets in the place of one that is of a
	// later format, too. Without it Open leaves that one alone, and is ErrNewer.
	ReplaceNewer bool
}

// Outcome says what Open found.
type Outcome string

const (
	// OutcomeCreated: there was no database and no backup of one.
	OutcomeCreated Outcome = "created"
	// OutcomeOpened: everything that was committed is there.
	OutcomeOpened Outcome = "opened"
	// OutcomeRepaired: one of the two metas was invalid. All else is right, but
	// the last commit may be lost with it.
	OutcomeRepaired Outcome = "repaired"
	// OutcomeRestored: the newest backup that verifies has taken the place of a
	// damaged or missing database.
	OutcomeRestored Outcome = "restored"
	// OutcomeReset: the database was damaged and no backup verifies; it is empty.
	OutcomeReset Outcome = "reset"
)

// Report is what Open found and did, for status, log and the next check-in. One
// with a reason is given again by each later Open until an Update has committed
// something: the caller keeps it in that first commit, or it is told once more.
type Report struct {
	Outcome Outcome
	// Reason says in words what was wrong; "" for created and opened.
	Reason string
	// BadFile is the name, within the folder, the damaged file was kept under.
	BadFile string
	// RestoredFrom is the name of the backup that was restored.
	RestoredFrom string
	// Epoch is the present epoch.
	Epoch string
	// PreviousEpoch is the epoch before this Open, if it is known and changed.
	PreviousEpoch string
}

// Open opens the state database in dir, after it took the lock and verified the
// file, and restores it from a backup if, and only if, it is damaged. dir is
// made (0700, its parent must exist) if absent, and refused (ErrDenied) if it
// is a symbolic link, belongs to another user, or if others can write in it or
// exchange it or a folder above it (safefile.OpenFolder). Errors
// are of the kinds of this package, or ctx's; with any of them the database
// file is as it was.
func Open(ctx context.Context, dir string, opts Options) (*Store, Report, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.MaxSize == 0 {
		opts.MaxSize = defaultMaxSize
	}
	folder, err := openDir(dir)
	if err != nil {
		return nil, Report{}, fmt.Errorf("open state database: %w", err)
	}
	lock, err := acquireLock(ctx, folder, opts.LockWait)
	if err != nil {
		return nil, Report{}, fmt.Errorf("open state database: %w", errors.Join(err, folder.Close()))
	}
	s := &Store{folder: folder, opts: opts, lockFile: lock}
	report, err := s.openDatabase(ctx)
	if err != nil {
		return nil, Report{}, fmt.Errorf("open state database: %w", errors.Join(err, unlockAndClose(lock), folder.Close()))
	}
	return s, *report, nil
}

func (s *Store) openDatabase(ctx context.Context) (*Report, error) {
	if err := s.removeLeftovers(); err != nil {
		return nil, err
	}
	report, db, err := s.openOrRecover(ctx)
	if err != nil {
		return nil, err
	}
	s.db, s.epoch = db, db.contents.header.Epoch
	if err := errors.Join(s.restoreMode(), s.makeCollections()); err != nil {
		return nil, errors.Join(err, db.close(s.stuck))
	}
	s.commits.Store(0)
	s.unkeptReport.Store(db.contents.header.UnkeptReport != nil)
	report.Epoch = s.epoch
	s.logReport(report)
	return report, nil
}

// openOrRecover opens the database as it is, or what recovery puts in its place.
func (s *Store) openOrRecover(ctx context.Context) (*Report, *database, error) {
	db, err := s.openPresent(ctx)
	if err == nil {
		return presentReport(db), db, nil
	}
	if !errors.Is(err, ErrDamaged) && !(s.opts.ReplaceNewer && errors.Is(err, ErrNewer)) {
		return nil, nil, err
	}
	report, err := s.recoverDatabase(ctx, err)
	if err != nil {
		return nil, nil, err
	}
	db, err = openVerified(ctx, s.folder, databaseName, &s.opts)
	return report, db, err
}

func (s *Store) openPresent(ctx context.Context) (*database, error) {
	_, err := s.folder.Lstat(databaseName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errMissing
	}
	if err != nil {
		return nil, withKind(fmt.Errorf("inspect: %w", err))
	}
	return openVerified(ctx, s.folder, databaseName, &s.opts)
}

func presentReport(db *database) *Report {
	if unkept := db.contents.header.UnkeptReport; unkept != nil {
		return unkept
	}
	return &Report{Outcome: OutcomeOpened}
}

// restoreMode gives the file its mode back if somebody changed it.
func (s *Store) restoreMode() error {
	info, err := s.db.file.Stat()
	if err == nil && info.Mode().Perm() != 0o600 {
		err = s.db.file.Chmod(0o600)
	}
	return withKind(err)
}

func (s *Store) makeCollections() error {
	return s.Update(func(tx *Tx) error {
		for _, name := range s.opts.Collections {
			if _, err := tx.ensureBucket(name); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Store) logReport(report *Report) {
	event := s.opts.Log.Info()
	if report.Reason != "" {
		event = s.opts.Log.Error()
	}
	event.Str("outcome", string(report.Outcome)).Str("reason", report.Reason).
		Str("bad_file", report.BadFile).Str("restored_from", report.RestoredFrom).
		Str("epoch", report.Epoch).Msg("state database open")
}
