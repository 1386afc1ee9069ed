package store

import (
	"bytes"
	"errors"
	"fmt"

	bolt "go.etcd.io/bbolt"
)

// ErrStop ends a walk early; Each and EachFrom then return nil.
var ErrStop = errors.New("stop the walk")

// Collection is a set of records of one type, each under a key, in the order of
// the keys' bytes. It holds no state of its own: a Collection is a name.
type Collection[T any] struct{ rows rows }

// rows is a collection whatever its records are. The work is done here, because
// a program has the methods of a Collection once for each type of records.
type rows struct{ name string }

// NewCollection names a collection: lower-case letters, digits, '_', '.' and
// '-', at most 64, a letter first. Changes under any other name are refused.
func NewCollection[T any](name string) Collection[T] { return Collection[T]{rows{name}} }

// CollectionName returns the name of the collection, as Options.Collections takes
// it. Under the name Name, which interfaces of the standard library have, a program
// would keep three functions of it for each type.
func (c Collection[T]) CollectionName() string { return c.rows.name }

// Put stores value under key (1 to 32,768 bytes). A record that is there already
// with the same content is left alone and makes no commit necessary.
func (c Collection[T]) Put(tx *Tx, key string, value T) error {
	return c.rows.put(tx, key, value)
}

func (r rows) put(tx *Tx, key string, value any) error {
	return r.wrapError("put", r.putRow(tx, []byte(key), value))
}

func (r rows) putRow(tx *Tx, key []byte, value any) error {
	if err := tx.mayChange(r.name); err != nil {
		return err
	}
	raw, err := encodeRecord(r.name, key, value)
	if err != nil {
		return err
	}
	bucket, err := tx.ensureBucket(r.name)
	if err != nil {
		return err
	}
	present := bucket.Get(key)
	if bytes.Equal(present, raw) {
		return nil
	}
	if err := tx.countChange(r.name, key, present, raw); err != nil {
		return err
	}
	return bucket.Put(key, raw)
}

// Delete removes a record. One that is not there makes no commit necessary.
func (c Collection[T]) Delete(tx *Tx, key string) error {
	return c.rows.delete(tx, key)
}

func (r rows) delete(tx *Tx, key string) error {
	return r.wrapError("delete", r.deleteRow(tx, []byte(key)))
}

func (r rows) deleteRow(tx *Tx, key []byte) error {
	if err := tx.mayChange(r.name); err != nil {
		return err
	}
	bucket := tx.bolt.Bucket([]byte(r.name))
	if bucket == nil {
		return nil
	}
	present := bucket.Get(key)
	if present == nil {
		return nil
	}
	if err := tx.countChange(r.name, key, present, nil); err != nil {
		return err
	}
	return bucket.Delete(key)
}

// countChange enters in the tally that present becomes next (nil: none).
func (tx *Tx) countChange(name string, key, present, next []byte) error {
	kept, err := tx.tallyOf(name)
	if err != nil {
		return err
	}
	if present != nil {
		if _, err := checkRecord(name, key, present); err != nil {
			return err
		}
		kept.removeRow(present)
	}
	if next != nil {
		kept.addRow(next)
	}
	tx.changed = true
	return nil
}

func (tx *Tx) mayChange(name string) error {
	switch {
	case !isCollectionName(name):
		return errors.New("this is no name for a collection")
	case !tx.bolt.Writable():
		return errors.New("change within View")
	case tx.walking > 0:
		// bbolt's cursor skips keys when the tree changes under it.
		return errors.New("change during a walk")
	}
	return nil
}

// Get returns the record under key. ErrDamaged if it is not what was stored.
func (c Collection[T]) Get(tx *Tx, key string) (value T, found bool, err error) {
	found, err = c.rows.get(tx, key, &value)
	return value, found, err
}

func (r rows) get(tx *Tx, key string, into any) (found bool, err error) {
	bucket := tx.bolt.Bucket([]byte(r.name))
	if bucket == nil {
		return false, nil
	}
	raw := bucket.Get([]byte(key))
	if raw == nil {
		return false, nil
	}
	err = decodeRecord(r.name, []byte(key), raw, into)
	return err == nil, r.wrapError("get", err)
}

// Len returns the number of records.
func (c Collection[T]) Len(tx *Tx) int { return c.rows.len(tx) }

func (r rows) len(tx *Tx) int {
	kept, err := tx.tallyOf(r.name)
	if err != nil {
		return 0
	}
	return kept.Rows
}

// Each calls do for every record in the order of the keys, until do returns an
// error, which Each returns (ErrStop ends the walk without one). Within do,
// nothing may be changed: collect the keys and change afterwards.
func (c Collection[T]) Each(tx *Tx, do func(key string, value T) error) error {
	return c.walkRecords(tx, (*bolt.Cursor).First, (*bolt.Cursor).Next, do)
}

// EachFrom is Each, beginning with the first key that is not below from.
func (c Collection[T]) EachFrom(tx *Tx, from string, do func(key string, value T) error) error {
	seek := func(cursor *bolt.Cursor) ([]byte, []byte) { return cursor.Seek([]byte(from)) }
	return c.walkRecords(tx, seek, (*bolt.Cursor).Next, do)
}

// Last returns the record with the highest key.
func (c Collection[T]) Last(tx *Tx) (key string, value T, found bool, err error) {
	err = c.walkRecords(tx, (*bolt.Cursor).Last, (*bolt.Cursor).Prev, func(k string, v T) error {
		key, value, found = k, v, true
		return ErrStop
	})
	return key, value, found, err
}

func (c Collection[T]) walkRecords(tx *Tx, start, next cursorMove, do func(key string, value T) error) error {
	return c.rows.walkRecords(tx, start, next, func(key string, decode func(into any) error) error {
		var value T
		if err := decode(&value); err != nil {
			return err
		}
		return do(key, value)
	})
}

func (r rows) walkRecords(tx *Tx, start, next cursorMove, do func(key string, decode func(into any) error) error) error {
	return r.walk(tx, start, next, func(key, raw []byte) error {
		return do(string(key), func(into any) error {
			return r.wrapError("walk", decodeRecord(r.name, key, raw, into))
		})
	})
}

type cursorMove = func(*bolt.Cursor) (key, value []byte)

func (r rows) walk(tx *Tx, start, next cursorMove, do func(key, raw []byte) error) error {
	bucket := tx.bolt.Bucket([]byte(r.name))
	if bucket == nil {
		return nil
	}
	tx.walking++
	defer func() { tx.walking-- }()
	cursor := bucket.Cursor()
	for key, raw := start(cursor); key != nil; key, raw = next(cursor) {
		err := do(key, raw)
		if errors.Is(err, ErrStop) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// edgeKey returns the key that a cursor's First or Last finds, whatever the
// record under it is.
func (r rows) edgeKey(tx *Tx, to cursorMove) (key string, found bool) {
	bucket := tx.bolt.Bucket([]byte(r.name))
	if bucket == nil {
		return "", false
	}
	raw, _ := to(bucket.Cursor())
	return string(raw), raw != nil
}

func (r rows) wrapError(verb string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s in collection %s: %w", verb, r.name, err)
}
