package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
)

const (
	badPrefix = "state.db.bad-"
	badTime   = "20060102T150405Z"
	// badFilesKept bounds the damaged files that are kept: a machine that
	// damages its database at every start must not fill its disk with them.
	badFilesKept = 4
)

// errMissing is taken for damage only if there is a backup; without one it is a
// first start.
var errMissing = fmt.Errorf("%w: state.db is missing", ErrDamaged)

// removeLeftovers removes what a crash left half made. Nothing else uses these
// names, and the lock is held.
func (s *Store) removeLeftovers() error {
	return errors.Join(
		s.removeIfThere(freshName),
		s.removeIfThere(freshCopyName))
}

// recoverDatabase puts a good database in the place of a damaged or missing
// one: the newest backup that verifies, else an empty one. It is made aside,
// with a new epoch, and takes its place in one step; until then the damaged
// file stays where it is, and afterwards under a name of its own.
func (s *Store) recoverDatabase(ctx context.Context, cause error) (report *Report, err error) {
	report = &Report{Outcome: OutcomeReset, Reason: cause.Error(), Epoch: newEpoch()}
	missing := errors.Is(cause, errMissing)
	if missing && !s.anyBackup() {
		report.Outcome, report.Reason = OutcomeCreated, ""
	}
	if !missing {
		if report.BadFile, err = s.nameForBad(); err != nil {
			return nil, err
		}
	}
	if err := s.prepareFresh(ctx, report); err != nil {
		return nil, errors.Join(err, s.removeLeftovers())
	}
	if !missing {
		if err := s.keepBad(report.BadFile); err != nil {
			return nil, errors.Join(err, s.removeLeftovers())
		}
	}
	if err := s.folder.Rename(freshName, databaseName); err != nil {
		return nil, withKind(fmt.Errorf("install database: %w", err))
	}
	if err := s.folder.Sync(); err != nil {
		return nil, withKind(err)
	}
	if report.BadFile == "" {
		return report, nil
	}
	return report, s.pruneBad(report.BadFile)
}

// prepareFresh makes state.db.new from the newest good backup, or empty.
func (s *Store) prepareFresh(ctx context.Context, report *Report) error {
	for _, name := range backupNames {
		restored := *report
		restored.Outcome, restored.RestoredFrom = OutcomeRestored, name
		err := s.freshFrom(ctx, &restored)
		switch {
		case err == nil:
			*report = restored
			return nil
		case errors.Is(err, fs.ErrNotExist):
		case errors.Is(err, ErrDamaged), errors.Is(err, ErrIO), s.opts.ReplaceNewer && errors.Is(err, ErrNewer):
			// A backup that cannot be read is not a reason to stay down.
			s.opts.Log.Error().Err(err).Str("backup", name).Msg("backup is of no use")
		default:
			return err
		}
		if err := s.removeIfThere(freshName); err != nil {
			return err
		}
	}
	return makeEmpty(s.folder, freshName, report, &s.opts)
}

// freshFrom copies the backup the report names to state.db.new, verifies the
// copy, and gives it the epoch of the report, which learns the epoch before.
func (s *Store) freshFrom(ctx context.Context, report *Report) error {
	source, err := openRegular(s.folder, report.RestoredFrom, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer source.Close()
	err = s.writeNew(freshName, func(file io.Writer) error {
		_, err := io.Copy(file, source)
		return err
	})
	if err != nil {
		return err
	}
	db, err := openVerified(ctx, s.folder, freshName, &s.opts)
	if err != nil {
		return err
	}
	if report.PreviousEpoch = db.contents.header.Epoch; !db.contents.intact {
		report.PreviousEpoch = db.contents.header.PreviousEpoch // opening it has started a new one already
	}
	err = db.startEpoch(report)
	return errors.Join(err, db.close(isPanic(err)))
}

func (s *Store) anyBackup() bool {
	return slices.ContainsFunc(backupNames, func(name string) bool {
		_, err := s.folder.Lstat(name)
		return err == nil
	})
}

// nameForBad finds the second name of the damaged file. A restore that was cut
// off may have given it one; a third would cost an older damaged file its place.
func (s *Store) nameForBad() (string, error) {
	if name, err := s.keptAlready(); name != "" || err != nil {
		return name, err
	}
	base := badPrefix + s.opts.Now().UTC().Format(badTime)
	name := base
	for n := 1; ; n++ {
		_, err := s.folder.Lstat(name)
		if errors.Is(err, fs.ErrNotExist) {
			return name, nil
		}
		if err != nil {
			return "", withKind(fmt.Errorf("keep damaged file: %w", err))
		}
		name = fmt.Sprintf("%s-%d", base, n)
	}
}

// keepBad gives the damaged file its second name, so that it survives when the
// new one takes the first.
func (s *Store) keepBad(name string) error {
	err := s.folder.Link(databaseName, name)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return withKind(fmt.Errorf("keep damaged file: %w", err))
	}
	return nil
}

// keptAlready returns the second name of the damaged file, or "".
func (s *Store) keptAlready() (string, error) {
	file, err := s.folder.Lstat(databaseName)
	if err != nil {
		return "", withKind(fmt.Errorf("inspect damaged file: %w", err))
	}
	kept, err := s.badFiles()
	if err != nil {
		return "", err
	}
	for _, name := range kept {
		other, err := s.folder.Lstat(name)
		if err == nil && file.IsSameFile(other) {
			return name, nil
		}
	}
	return "", nil
}

// badFiles lists the damaged files, oldest first.
func (s *Store) badFiles() ([]string, error) {
	names, err := s.folder.Names()
	if err != nil {
		return nil, withKind(fmt.Errorf("list state folder: %w", err))
	}
	names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, badPrefix) })
	slices.Sort(names)
	return names, nil
}

// pruneBad removes all but the newest damaged files. The one just kept stays
// even if the clock was set back and its name sorts first.
func (s *Store) pruneBad(justKept string) error {
	names, err := s.badFiles()
	if err != nil {
		return err
	}
	names = slices.DeleteFunc(names, func(name string) bool { return name == justKept })
	for len(names) >= badFilesKept {
		if err := s.removeIfThere(names[0]); err != nil {
			return err
		}
		names = names[1:]
	}
	return nil
}
