package store

import (
	"encoding/binary"
	"fmt"
	"reflect"

	bolt "go.etcd.io/bbolt"
)

// Ring is a bounded list on a collection: Append gives every entry the next
// sequence number and drops the oldest entries beyond the capacity. Keys are the
// sequence numbers, big-endian, so that the order of the keys is the order of
// the entries. Numbers begin at 1, and begin anew after Erase or a reset: a
// reader that keeps one must keep the epoch beside it. P is what it is for a
// Collection.
type Ring[P any] struct {
	// Name is that of the ring's collection.
	Name string
	// Capacity is how many entries are kept; the newest one always is.
	Capacity int
}

// Append adds an entry and returns its sequence number. It decodes no other
// entry, so entries of a type that an older version had stand in nobody's way.
func (r Ring[P]) Append(tx *Tx, entry P) (uint64, error) {
	entries := rows{r.Name}
	key, _ := entries.edgeKey(tx, (*bolt.Cursor).Last)
	next := sequenceOf(key) + 1
	if err := entries.put(tx, sequenceKey(next), entry); err != nil {
		return 0, fmt.Errorf("append: %w", err)
	}
	return next, entries.trimOldest(tx, max(r.Capacity, 1))
}

// trimOldest drops the oldest entries of a ring beyond its capacity: more than one
// only if the capacity was lowered.
func (r rows) trimOldest(tx *Tx, capacity int) error {
	for r.len(tx) > capacity {
		oldest, found := r.edgeKey(tx, (*bolt.Cursor).First)
		if !found {
			return damagedError("ring %s counts entries it does not have", r.name)
		}
		if err := r.delete(tx, oldest); err != nil {
			return fmt.Errorf("trim: %w", err)
		}
	}
	return nil
}

// Since calls do for every entry after the given sequence number (0: for all),
// oldest first. ErrStop ends the walk without an error.
func (r Ring[P]) Since(tx *Tx, after uint64, do func(sequence uint64, entry P) error) error {
	if after == 1<<64-1 {
		return nil
	}
	var none P
	return rows{r.Name}.each(tx, sequenceKey(after+1), reflect.TypeOf(none), func(key string, entry any) error {
		return do(sequenceOf(key), entry.(P))
	})
}

// Last returns the sequence number of the newest entry, 0 if there is none. It decodes
// no entry, as Append does not.
func (r Ring[P]) Last(tx *Tx) uint64 {
	key, _ := rows{r.Name}.edgeKey(tx, (*bolt.Cursor).Last)
	return sequenceOf(key)
}

func sequenceKey(sequence uint64) string {
	return string(binary.BigEndian.AppendUint64(nil, sequence))
}

// sequenceOf reads a key; no key is 0.
func sequenceOf(key string) uint64 {
	if len(key) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64([]byte(key))
}
