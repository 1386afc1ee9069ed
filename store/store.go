package store

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	bolt "go.etcd.io/bbolt"

	"prlagent/platform/safefile"
)

// Store is the open state database. It is safe for concurrent use; one Update
// runs at a time.
type Store struct {
	folder   *safefile.Folder
	opts     Options
	lockFile *os.File
	db       *database
	commits  atomic.Uint64

	// unkeptReport is set while the header has a report the caller may not have kept.
	unkeptReport atomic.Bool

	writerMutex sync.Mutex // one Update at a time, until it is known whether it stopped the store

	backupMutex  sync.Mutex // one Backup or Erase at a time
	backedUp     uint64     // commits at the last backup
	everBackedUp bool

	stateMutex sync.Mutex // guards what follows
	epoch      string
	// stopped is why the store can no longer be used.
	stopped error
	// stuck is set when bbolt's own locks were left locked by a panic: Close
	// would wait for them for ever.
	stuck bool
}

// Tx is one transaction, valid only within the function it is passed to.
type Tx struct {
	bolt    *bolt.Tx
	tallies map[string]*rowTally // of collections changed in this transaction
	changed bool
	walking int
}

// Epoch returns the epoch of this state: 128 random bits in hex. It is a new one
// after every event that may have lost a commit (hardening H22).
func (s *Store) Epoch() string {
	s.stateMutex.Lock()
	epoch := s.epoch
	s.stateMutex.Unlock()
	return epoch
}

// Commits returns how many transactions were committed since Open returned.
func (s *Store) Commits() uint64 { return s.commits.Load() }

// View runs read in a read-only transaction. An error of read is returned as it
// is. Transactions must not be nested.
func (s *Store) View(read func(*Tx) error) error { return s.transact(false, read) }

// Update runs change in a transaction and commits it if change returned nil and
// changed anything; otherwise nothing is written. An error of change is returned
// as it is. After an error of the commit itself (it has a code) whether the
// change is there is unknown: read it again. Transactions must not be nested.
func (s *Store) Update(change func(*Tx) error) error { return s.transact(true, change) }

// transact runs one guarded transaction. A panic, and any failure of a commit
// but a full disk, stops the store: whoever goes on must close and open it, so
// that the file is verified before it is used again. A change that waits for
// its turn gets it only after that, and is refused: bbolt alone would let it in
// as soon as it has rolled back.
func (s *Store) transact(writable bool, work func(*Tx) error) error {
	if writable {
		s.writerMutex.Lock()
		defer s.writerMutex.Unlock()
	}
	if err := s.reasonStopped(); err != nil {
		return err
	}
	ended := false
	err := runGuarded(func() error {
		tx, err := s.db.bolt.Begin(writable)
		if err != nil {
			return withKind(fmt.Errorf("begin transaction: %w", err))
		}
		defer func() {
			_ = tx.Rollback() // after a commit this does nothing
			ended = true
		}()
		return s.runTx(tx, work)
	})
	if isPanic(err) {
		s.stopUse(err, !ended)
	}
	return err
}

func (s *Store) runTx(tx *bolt.Tx, work func(*Tx) error) error {
	own := &Tx{bolt: tx}
	if err := work(own); err != nil {
		return err
	}
	if !own.changed {
		return nil
	}
	if s.unkeptReport.Load() {
		if err := own.forgetReport(); err != nil {
			return err
		}
	}
	if err := own.writeBookkeeping(); err != nil {
		return err
	}
	if err := withKind(tx.Commit()); err != nil {
		if !errors.Is(err, ErrFull) {
			s.stopUse(err, false)
		}
		return fmt.Errorf("commit: %w", err)
	}
	s.commits.Add(1)
	s.unkeptReport.Store(false)
	return nil
}

func (s *Store) reasonStopped() error {
	s.stateMutex.Lock()
	reason := s.stopped
	s.stateMutex.Unlock()
	return reason
}

func (s *Store) stopUse(reason error, stuck bool) {
	s.opts.Log.Error().Err(reason).Msg("state database stopped")
	s.stateMutex.Lock()
	defer s.stateMutex.Unlock()
	if s.stopped == nil {
		s.stopped = fmt.Errorf("state database stopped: %w", reason)
	}
	s.stuck = s.stuck || stuck
}

// Close waits for open transactions, closes the database and gives back the
// lock. A second Close does nothing.
func (s *Store) Close() error {
	s.stateMutex.Lock()
	stuck, lock := s.stuck, s.lockFile
	s.lockFile = nil
	s.stopped = fmt.Errorf("state database: %w", os.ErrClosed)
	s.stateMutex.Unlock()
	if lock == nil {
		return nil
	}
	return withKind(errors.Join(s.db.close(stuck), unlockAndClose(lock), s.folder.Close()))
}

// NewEpoch starts a new epoch and returns it; for an agent that finds itself on
// another Mac (hardening H02).
func (s *Store) NewEpoch() (string, error) {
	epoch := newEpoch()
	err := s.Update(func(tx *Tx) error { return tx.stampEpoch(epoch, nil) })
	if err != nil {
		return "", fmt.Errorf("start new epoch: %w", err)
	}
	s.stateMutex.Lock()
	s.epoch = epoch
	s.stateMutex.Unlock()
	return epoch, nil
}

func newEpoch() string {
	var random [16]byte
	_, _ = rand.Read(random[:]) // never fails
	return hex.EncodeToString(random[:])
}

// stampEpoch writes the header with a new epoch and the report to be told; the
// present epoch becomes the previous one.
func (tx *Tx) stampEpoch(epoch string, unkept *Report) error {
	bucket, err := tx.bolt.CreateBucketIfNotExists([]byte(headerBucket))
	if err != nil {
		return withKind(fmt.Errorf("make header: %w", err))
	}
	stamped := storeHeader{Format: formatOfRecords, Epoch: epoch, UnkeptReport: unkept}
	if raw := bucket.Get([]byte(headerKey)); raw != nil {
		var present storeHeader
		if err := decodeRecord(headerBucket, []byte(headerKey), raw, &present); err != nil {
			return err
		}
		stamped.PreviousEpoch = present.Epoch
	}
	tx.changed = true
	return putRecord(bucket, headerBucket, headerKey, stamped)
}

// forgetReport drops the report that was to be told.
func (tx *Tx) forgetReport() error {
	bucket := tx.bolt.Bucket([]byte(headerBucket))
	var present storeHeader
	if err := decodeRecord(headerBucket, []byte(headerKey), bucket.Get([]byte(headerKey)), &present); err != nil {
		return err
	}
	present.UnkeptReport = nil
	return putRecord(bucket, headerBucket, headerKey, present)
}

func putRecord(bucket *bolt.Bucket, name, key string, value any) error {
	raw, err := encodeRecord(name, []byte(key), value)
	if err != nil {
		return err
	}
	return withKind(bucket.Put([]byte(key), raw))
}

// tallyOf returns the tally of a collection for reading and changing.
func (tx *Tx) tallyOf(name string) (*rowTally, error) {
	if known := tx.tallies[name]; known != nil {
		return known, nil
	}
	loaded := &rowTally{}
	if bucket := tx.bolt.Bucket([]byte(tallyBucket)); bucket != nil {
		if raw := bucket.Get([]byte(name)); raw != nil {
			if err := decodeRecord(tallyBucket, []byte(name), raw, loaded); err != nil {
				return nil, err
			}
		}
	}
	if tx.tallies == nil {
		tx.tallies = map[string]*rowTally{}
	}
	tx.tallies[name] = loaded
	return loaded, nil
}

// writeBookkeeping writes what the store itself keeps of a transaction.
func (tx *Tx) writeBookkeeping() error {
	if err := tx.writeTallies(); err != nil {
		return err
	}
	bucket := tx.bolt.Bucket([]byte(headerBucket))
	return putRecord(bucket, headerBucket, commitKey, commitMark{Number: uint64(tx.bolt.ID())})
}

// writeTallies stores the tallies of the collections this transaction looked at.
func (tx *Tx) writeTallies() error {
	bucket, err := tx.bolt.CreateBucketIfNotExists([]byte(tallyBucket))
	if err != nil {
		return withKind(fmt.Errorf("make tallies: %w", err))
	}
	for name, kept := range tx.tallies {
		if err := putRecord(bucket, tallyBucket, name, kept); err != nil {
			return fmt.Errorf("write tally of %s: %w", name, err)
		}
	}
	return nil
}

// ensureBucket makes a collection that is not there yet.
func (tx *Tx) ensureBucket(name string) (*bolt.Bucket, error) {
	if bucket := tx.bolt.Bucket([]byte(name)); bucket != nil {
		return bucket, nil
	}
	if !isCollectionName(name) {
		return nil, fmt.Errorf("make collection: %q is no name for one", name)
	}
	bucket, err := tx.bolt.CreateBucket([]byte(name))
	if err != nil {
		return nil, withKind(fmt.Errorf("make collection %s: %w", name, err))
	}
	if _, err := tx.tallyOf(name); err != nil {
		return nil, err
	}
	tx.changed = true
	return bucket, nil
}

// Erase removes every record of every collection and, because they hold the same
// records, all backups; then it makes a new backup. Epoch and file stay. After
// an error or a crash it must be repeated. It is no secure deletion: freed pages
// and the file system may keep old bytes.
func (s *Store) Erase() error {
	s.backupMutex.Lock()
	defer s.backupMutex.Unlock()
	if err := s.Update((*Tx).eraseRecords); err != nil {
		return fmt.Errorf("erase: %w", err)
	}
	for _, name := range backupNames {
		if err := s.removeIfThere(name); err != nil {
			return fmt.Errorf("erase backup: %w", err)
		}
	}
	return s.writeBackup()
}

func (tx *Tx) eraseRecords() error {
	var full []string
	err := tx.bolt.ForEach(func(name []byte, bucket *bolt.Bucket) error {
		if key, _ := bucket.Cursor().First(); key != nil && isCollectionName(string(name)) {
			full = append(full, string(name))
		}
		return nil
	})
	if err != nil {
		return withKind(err)
	}
	for _, name := range full {
		if err := tx.bolt.DeleteBucket([]byte(name)); err != nil {
			return withKind(fmt.Errorf("empty collection %s: %w", name, err))
		}
		if _, err := tx.ensureBucket(name); err != nil {
			return err
		}
		tx.tallies[name] = &rowTally{}
	}
	return nil
}
