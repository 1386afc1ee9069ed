package storage

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"strconv"

	"go.etcd.io/bbolt"
)

// forgottenMark is the key of the highest number of an entry of this kind that was
// forgotten.
func forgottenMark(kind string) []byte { return []byte("forgotten " + kind) }

// Journal gives at most limit entries after a number, in their order.
func (b *Bolt) Journal(ctx context.Context, after uint64, limit int) (JournalPage, error) {
	var page JournalPage
	err := b.readTransaction(ctx, func(tx *bbolt.Tx) (err error) {
		journal := tx.Bucket(bucketJournal)
		page.Last = journal.Sequence()
		page.Forgotten = make(map[string]uint64)
		for _, kind := range []string{JournalEvents, JournalVerdicts} {
			if page.Forgotten[kind], err = markedNumber(tx, forgottenMark(kind)); err != nil {
				return err
			}
		}
		cursor := journal.Cursor()
		for key, data := cursor.Seek(numberKey(after + 1)); key != nil && len(page.Entries) < limit; key, data = cursor.Next() {
			var entry JournalEntry
			if err := decodeRecord(data, &entry); err != nil {
				return err
			}
			page.Entries = append(page.Entries, entry)
		}
		return nil
	})
	return page, err
}

// noteInJournal adds what is new of a change to the journal, and takes out what
// is forgotten by it.
func noteInJournal(tx *bbolt.Tx, change *Change) error {
	for _, one := range change.journal() {
		if one.count > 0 {
			if err := addEntry(tx, JournalEntry{DeviceID: change.Device.ID, Kind: one.kind, First: one.first, Count: one.count}); err != nil {
				return fmt.Errorf("add to journal: %w", err)
			}
		}
		if err := forgetEntries(tx, change.Device.ID, one); err != nil {
			return fmt.Errorf("forget in journal: %w", err)
		}
	}
	return nil
}

func addEntry(tx *bbolt.Tx, entry JournalEntry) (err error) {
	journal := tx.Bucket(bucketJournal)
	if entry.Number, err = journal.NextSequence(); err != nil {
		return err
	}
	data, err := encodeEntry(entry)
	if err != nil {
		return err
	}
	if err := journal.Put(numberKey(entry.Number), data); err != nil {
		return err
	}
	return tx.Bucket(bucketMarks).Put(journalKey(entry.Kind, entry.DeviceID, entry.First), strconv.AppendUint(nil, entry.Number, 10))
}

// forgetEntries takes a device's entries out of which nothing is kept any more.
func forgetEntries(tx *bbolt.Tx, deviceID string, one journaled) error {
	marks, journal, prefix := tx.Bucket(bucketMarks), tx.Bucket(bucketJournal), journalPrefix(one.kind, deviceID)
	for {
		key, data := marks.Cursor().Seek(prefix)
		if !bytes.HasPrefix(key, prefix) || binary.BigEndian.Uint64(key[len(prefix):]) >= one.oldest {
			return nil
		}
		number, err := strconv.ParseUint(string(data), 10, 64)
		if err != nil {
			return err
		}
		var entry JournalEntry
		if err := loadRecord(tx, bucketJournal, numberKey(number), &entry); err != nil {
			return err
		}
		if !one.isForgotten(entry) {
			return nil
		}
		highest, err := markedNumber(tx, forgottenMark(one.kind))
		if err != nil {
			return err
		}
		for _, gone := range []struct {
			bucket *bbolt.Bucket
			key    []byte
		}{{journal, numberKey(number)}, {tx.Bucket(bucketChanges), bytes.Clone(key)}, {marks, bytes.Clone(key)}} {
			if err := gone.bucket.Delete(gone.key); err != nil {
				return err
			}
		}
		if err := marks.Put(forgottenMark(one.kind), strconv.AppendUint(nil, max(highest, number), 10)); err != nil {
			return err
		}
	}
}

func markedNumber(tx *bbolt.Tx, key []byte) (uint64, error) {
	data := tx.Bucket(bucketMarks).Get(key)
	if data == nil {
		return 0, nil
	}
	return strconv.ParseUint(string(data), 10, 64)
}
