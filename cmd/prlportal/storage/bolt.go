package storage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// Errors of OpenBolt.
var (
	// ErrInUse says that another portal has the database open.
	ErrInUse = errors.New("the database is in use by another prlportal")
	// ErrDamaged says that the file is not to be trusted. Nothing was changed.
	ErrDamaged = errors.New("the database is damaged; put a backup in its place, or move it away: Macs enroll again by their own keys")
)

// Bolt is a store in one bbolt file of plain JSON records.
type Bolt struct{ db *bbolt.DB }

var (
	bucketDevices = []byte("devices") // id -> Device
	bucketReports = []byte("reports") // id -> Report
	bucketHistory = []byte("history") // id -> History
	bucketEvents  = []byte("events")  // id -> EventLog
	bucketKeys    = []byte("keys")    // Key -> id

	bucketVerdicts = []byte("verdicts")        // id -> Verdicts
	bucketChanges  = []byte("verdict_changes") // journalKey -> VerdictChanges
	bucketJournal  = []byte("journal")         // number -> JournalEntry
	bucketMarks    = []byte("journal_marks")   // journalKey, or forgottenMark -> number

	bucketCommands   = []byte("commands")          // id -> CommandLog
	bucketEnvelopes  = []byte("command_envelopes") // commandKey -> CommandEnvelopes
	bucketCommandIDs = []byte("command_ids")       // id of a command -> id of its device, in JSON
)

// lockTimeout is how long opening waits for another portal to let go.
const lockTimeout = time.Second

// batchDelay is how long a commit waits for others to join it.
const batchDelay = 2 * time.Millisecond

// OpenBolt opens or makes the database at path with mode 0600. An existing one
// is read as a whole before it is used, about a second for 100 MB.
func OpenBolt(path string) (*Bolt, error) {
	var db *bbolt.DB
	err := guardDamage(func() (err error) {
		db, err = bbolt.Open(path, 0o600, &bbolt.Options{Timeout: lockTimeout, FreelistType: bbolt.FreelistMapType})
		return err
	})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, ErrInUse
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrChecksum), errors.Is(err, bolterrors.ErrVersionMismatch):
		return nil, fmt.Errorf("open database: %w (%w)", ErrDamaged, err)
	case err != nil:
		return nil, fmt.Errorf("open database: %w", err)
	}
	db.MaxBatchDelay = batchDelay
	if err := guardDamage(func() error { return prepare(db) }); err != nil {
		return nil, errors.Join(fmt.Errorf("prepare database: %w", err), db.Close())
	}
	return &Bolt{db: db}, nil
}

// prepare changes nothing before everything was read.
func prepare(db *bbolt.DB) error {
	if err := db.View(verifyRecords); err != nil {
		return err
	}
	if err := db.Update(makeBuckets); err != nil {
		return err
	}
	return addMissingKeys(db)
}

// guardDamage makes an error of what bbolt does with a damaged file: it panics,
// or reads beyond the end of what is mapped.
func guardDamage(work func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("%w (%v)", ErrDamaged, cause)
		}
	}()
	return work()
}

// verifyRecords reads every record. It stays in its goroutine, where
// guardDamage can catch what a damaged page does; tx.Check would not.
func verifyRecords(tx *bbolt.Tx) error {
	return tx.ForEach(func(name []byte, bucket *bbolt.Bucket) error {
		return bucket.ForEach(func(_, data []byte) error {
			if string(name) != string(bucketKeys) && !json.Valid(data) {
				return fmt.Errorf("%w (a record of %s is no JSON)", ErrDamaged, name)
			}
			return nil
		})
	})
}

func makeBuckets(tx *bbolt.Tx) error {
	for _, name := range [][]byte{bucketDevices, bucketReports, bucketHistory, bucketEvents, bucketKeys, bucketVerdicts, bucketChanges, bucketJournal, bucketMarks,
		bucketOutgoing, bucketOutgoingState, bucketCommands, bucketEnvelopes, bucketCommandIDs} {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	return nil
}

// addMissingKeys gives devices of a portal before this one the keys that they
// lack. It writes nothing where there are none.
func addMissingKeys(db *bbolt.DB) error {
	missing := make(map[Key]string)
	err := db.View(func(tx *bbolt.Tx) error {
		keys := tx.Bucket(bucketKeys)
		return tx.Bucket(bucketDevices).ForEach(func(_, data []byte) error {
			var device Device
			if err := decodeRecord(data, &device); err != nil {
				return err
			}
			for _, key := range device.Keys() {
				if keys.Get([]byte(key)) == nil {
					missing[key] = device.ID
				}
			}
			return nil
		})
	})
	if err != nil || len(missing) == 0 {
		return err
	}
	return db.Update(func(tx *bbolt.Tx) error {
		for key, id := range missing {
			if err := tx.Bucket(bucketKeys).Put([]byte(key), []byte(id)); err != nil {
				return err
			}
		}
		return nil
	})
}

// Close waits for open transactions and closes the file.
func (b *Bolt) Close() error { return b.db.Close() }

// Device finds one device; ErrNotFound if no device has the key.
func (b *Bolt) Device(ctx context.Context, key Key) (Device, error) {
	var device Device
	err := b.readTransaction(ctx, func(tx *bbolt.Tx) error {
		id := tx.Bucket(bucketKeys).Get([]byte(key))
		if id == nil {
			return ErrNotFound
		}
		return loadRecord(tx, bucketDevices, id, &device)
	})
	return device, err
}

// ID is the id of the device that has the key, without reading the device;
// ErrNotFound if no device has it.
func (b *Bolt) ID(ctx context.Context, key Key) (id string, err error) {
	err = b.readTransaction(ctx, func(tx *bbolt.Tx) error {
		held := tx.Bucket(bucketKeys).Get([]byte(key))
		if held == nil {
			return ErrNotFound
		}
		id = string(held)
		return nil
	})
	return id, err
}

// IDs lists the ids of at most limit devices in their order, beginning after
// the id given.
func (b *Bolt) IDs(ctx context.Context, after string, limit int) ([]string, error) {
	var ids []string
	err := b.readTransaction(ctx, func(tx *bbolt.Tx) error {
		cursor := tx.Bucket(bucketDevices).Cursor()
		id, _ := cursor.Seek([]byte(after))
		if string(id) == after {
			id, _ = cursor.Next()
		}
		for ; id != nil && len(ids) < limit; id, _ = cursor.Next() {
			ids = append(ids, string(id))
		}
		return nil
	})
	return ids, err
}

// LiveIDs are the ids of at most limit devices that have this serial number and
// are not retired.
func (b *Bolt) LiveIDs(ctx context.Context, serial string, limit int) ([]string, error) {
	var ids []string
	err := b.readTransaction(ctx, func(tx *bbolt.Tx) error {
		prefix := []byte(bySerial(serial))
		cursor := tx.Bucket(bucketKeys).Cursor()
		for key, id := cursor.Seek(prefix); bytes.HasPrefix(key, prefix) && len(ids) < limit; key, id = cursor.Next() {
			ids = append(ids, string(id))
		}
		return nil
	})
	return ids, err
}

// Report is the device's report; an empty one if it never reported.
func (b *Bolt) Report(ctx context.Context, id string) (Report, error) {
	var report Report
	err := b.readTransaction(ctx, func(tx *bbolt.Tx) error { return loadOptional(tx, bucketReports, []byte(id), &report) })
	return report, err
}

// History is the device's history; an empty one if nothing was ever removed.
func (b *Bolt) History(ctx context.Context, id string) (History, error) {
	var history History
	err := b.readTransaction(ctx, func(tx *bbolt.Tx) error { return loadOptional(tx, bucketHistory, []byte(id), &history) })
	return history, err
}

// Events are the device's events; an empty log if it never told of one.
func (b *Bolt) Events(ctx context.Context, id string) (EventLog, error) {
	var events EventLog
	err := b.readTransaction(ctx, func(tx *bbolt.Tx) error { return loadOptional(tx, bucketEvents, []byte(id), &events) })
	return events, err
}

// Verdicts is what became of each setting; nothing if the device never told it.
func (b *Bolt) Verdicts(ctx context.Context, id string) (Verdicts, error) {
	var verdicts Verdicts
	err := b.readTransaction(ctx, func(tx *bbolt.Tx) error { return loadOptional(tx, bucketVerdicts, []byte(id), &verdicts) })
	return verdicts, err
}

// Changes are the changes of a device's verdicts that begin with this number;
// ErrNotFound if they are kept no longer.
func (b *Bolt) Changes(ctx context.Context, id string, first uint64) (VerdictChanges, error) {
	var changes VerdictChanges
	err := b.readTransaction(ctx, func(tx *bbolt.Tx) error {
		return loadRecord(tx, bucketChanges, journalKey(JournalVerdicts, id, first), &changes)
	})
	return changes, err
}

// Size is how many bytes the file has.
func (b *Bolt) Size(ctx context.Context) (size int64, err error) {
	err = b.readTransaction(ctx, func(tx *bbolt.Tx) error {
		size = tx.Size()
		return nil
	})
	return size, err
}

func (b *Bolt) readTransaction(ctx context.Context, read func(*bbolt.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return b.db.View(read)
}

// Save keeps the change in one commit, which it may share with others. It is
// ErrConflict if the stored device is not of the version that the change
// started from, and ErrTooLarge beyond the bounds of one device; Version 0 makes a
// new device.
func (b *Bolt) Save(ctx context.Context, change Change) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	encoded, err := encodeChange(change)
	if err != nil {
		return err
	}
	return b.db.Batch(func(tx *bbolt.Tx) error { return saveIn(tx, change, encoded) })
}

// WriteSnapshot writes the database as it is now; what is saved meanwhile is not
// in it, and may wait until it is written.
func (b *Bolt) WriteSnapshot(ctx context.Context, w io.Writer) error {
	return b.readTransaction(ctx, func(tx *bbolt.Tx) error {
		if _, err := tx.WriteTo(w); err != nil {
			return fmt.Errorf("copy database: %w", err)
		}
		return nil
	})
}

func saveIn(tx *bbolt.Tx, change Change, encoded encodedChange) error {
	id := []byte(change.Device.ID)
	var before Device
	if err := loadOptional(tx, bucketDevices, id, &before); err != nil {
		return err
	}
	if before.Version != change.Device.Version {
		return ErrConflict
	}
	if err := moveKeys(tx, before, change.Device); err != nil {
		return err
	}
	for _, record := range []struct{ bucket, data []byte }{
		{bucketDevices, encoded.device}, {bucketReports, encoded.report}, {bucketHistory, encoded.history}, {bucketEvents, encoded.events},
		{bucketVerdicts, encoded.verdicts}, {bucketCommands, encoded.commands},
	} {
		if record.data == nil {
			continue
		}
		if err := tx.Bucket(record.bucket).Put(id, record.data); err != nil {
			return err
		}
	}
	if encoded.changes != nil {
		if err := tx.Bucket(bucketChanges).Put(journalKey(JournalVerdicts, change.Device.ID, change.Changes.First), encoded.changes); err != nil {
			return err
		}
	}
	if encoded.audit != nil {
		if err := tx.Bucket(bucketMarks).Put(auditMark, encoded.audit); err != nil {
			return err
		}
	}
	if err := keepEnvelopes(tx, &change); err != nil {
		return err
	}
	if err := addOutgoing(tx, change.Outgoing); err != nil {
		return err
	}
	return noteInJournal(tx, &change)
}

func moveKeys(tx *bbolt.Tx, before, after Device) error {
	bucket := tx.Bucket(bucketKeys)
	if before.ID != "" {
		for _, key := range lostKeys(before, after) {
			if err := bucket.Delete([]byte(key)); err != nil {
				return err
			}
		}
	}
	for _, key := range after.Keys() {
		holder := bucket.Get([]byte(key))
		if string(holder) == after.ID {
			continue
		}
		if holder != nil {
			return ErrConflict
		}
		if err := bucket.Put([]byte(key), []byte(after.ID)); err != nil {
			return err
		}
	}
	return nil
}

func loadRecord(tx *bbolt.Tx, bucket, key []byte, v any) error {
	data := tx.Bucket(bucket).Get(key)
	if data == nil {
		return ErrNotFound
	}
	return decodeRecord(data, v)
}

func loadOptional(tx *bbolt.Tx, bucket, key []byte, v any) error {
	if err := loadRecord(tx, bucket, key, v); !errors.Is(err, ErrNotFound) {
		return err
	}
	return nil
}
