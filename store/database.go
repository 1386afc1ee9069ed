package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	bolt "go.etcd.io/bbolt"

	"prlagent/platform/safefile"
)

// database is a verified file in bbolt's hands.
type database struct {
	bolt     *bolt.DB
	file     *os.File
	contents fileContents
}

// openVerified locks a file of the folder, verifies it, hands the same descriptor to
// bbolt, so that what was verified is what is used, and lets bbolt check it once
// more. If only one meta is valid, the database gets a new epoch: the commit that
// does so also overwrites the invalid meta, which Check would not accept.
func openVerified(ctx context.Context, folder *safefile.Folder, name string, opts *Options) (*database, error) {
	file, err := openRegular(folder, name, os.O_RDWR)
	if err != nil {
		return nil, err
	}
	d := &database{file: file}
	if err = waitForLock(ctx, file, opts.LockWait); err == nil {
		err = d.contents.verifyOpen(file)
	}
	if err != nil {
		return nil, errors.Join(err, unlockAndClose(file))
	}
	if err = d.handToBolt(opts); err == nil && !d.contents.intact {
		err = d.startEpoch(&Report{Outcome: OutcomeRepaired, Epoch: newEpoch(), PreviousEpoch: d.contents.header.Epoch,
			Reason: "one of the two metas was invalid: the last commit may be lost"})
	}
	if err == nil {
		err = d.checkWithBolt()
	}
	if err != nil {
		return nil, errors.Join(err, d.close(isPanic(err)))
	}
	return d, nil
}

// handToBolt opens the database on the descriptor that is open, with the options
// of facts/macos.md 9.
func (d *database) handToBolt(opts *Options) error {
	settings := &bolt.Options{
		Timeout:      max(opts.LockWait, time.Millisecond), // 0 is for ever
		FreelistType: bolt.FreelistMapType,
		MaxSize:      opts.MaxSize,
		NoStatistics: true,
		OpenFile:     func(string, int, os.FileMode) (*os.File, error) { return d.file, nil },
	}
	err := runGuarded(func() (err error) {
		d.bolt, err = bolt.Open(d.file.Name(), 0o600, settings)
		return err
	})
	if err != nil {
		return withKind(fmt.Errorf("open with bbolt: %w", err))
	}
	return nil
}

// checkWithBolt lets bbolt check itself.
func (d *database) checkWithBolt() error {
	return runGuarded(func() error {
		return d.bolt.View(func(tx *bolt.Tx) error {
			var first error
			// Check blocks until every finding is taken.
			for finding := range tx.Check() {
				if first == nil {
					first = damagedError("bbolt: %v", finding)
				}
			}
			return first
		})
	})
}

// startEpoch starts the epoch of a report, and keeps the report if it has a
// reason.
func (d *database) startEpoch(began *Report) error {
	stamped := storeHeader{Format: formatOfRecords, Epoch: began.Epoch, PreviousEpoch: d.contents.header.Epoch}
	if began.Reason != "" {
		stamped.UnkeptReport = began
	}
	err := runGuarded(func() error {
		return d.bolt.Update(func(tx *bolt.Tx) error {
			own := &Tx{bolt: tx}
			if err := own.stampEpoch(stamped.Epoch, stamped.UnkeptReport); err != nil {
				return err
			}
			return own.writeBookkeeping()
		})
	})
	if err != nil {
		return withKind(fmt.Errorf("start new epoch: %w", err))
	}
	d.contents.header = stamped
	return nil
}

// close gives everything back. After a panic bbolt's own locks may still be
// locked and its Close would wait for ever; then only the file is closed, which
// also ends its lock, and the mapping is lost: address space, no memory.
func (d *database) close(stuck bool) error {
	if stuck || d.bolt == nil {
		_ = unlockAndClose(d.file) // bbolt may have closed it already
		return nil
	}
	return withKind(runGuarded(d.bolt.Close))
}

// makeEmpty makes a database without records in the folder.
func makeEmpty(folder *safefile.Folder, name string, began *Report, opts *Options) error {
	file, err := folder.OpenFile(name, newFileFlags, 0o600)
	if err != nil {
		return withKind(fmt.Errorf("create database: %w", err))
	}
	d := &database{file: file}
	if err = d.handToBolt(opts); err == nil {
		err = d.startEpoch(began)
	}
	return errors.Join(err, d.close(isPanic(err)))
}
