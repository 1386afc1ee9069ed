package store

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"

	bolt "go.etcd.io/bbolt"
)

// ErrStop ends a walk early; Each and Since then return nil.
var ErrStop = errors.New("stop the walk")

// Collection is a set of records, each under a key, in the order of the keys'
// bytes. P is the type of a pointer to a record: with a Collection[*Note] notes are
// put, got and walked by their pointers, and the compiler takes nothing else. That
// P is a pointer it cannot check: whatever puts, gets or walks does, and is an error
// without one, or with one that is nil. To the compiler all pointers have one shape,
// so a program has each method once, however many types of records it keeps.
//
// A Collection holds no state of its own: it is a name.
type Collection[P any] struct {
	// Name is lower-case letters, digits, '_', '.' and '-', at most 64, a letter
	// first. Changes under any other name are refused.
	Name string
}

// rows is a collection whatever its records are; it does the work of one.
type rows struct{ name string }

// errNoPointer is that the type of a Collection is not that of a pointer, or that a
// pointer is nil.
var errNoPointer = errors.New("a record must be given by a pointer to it")

// recordBehind returns the record that a pointer of a Collection's type leads to.
func recordBehind(pointer any) (reflect.Value, error) {
	given := reflect.ValueOf(pointer)
	if given.Kind() != reflect.Pointer || given.IsNil() {
		return reflect.Value{}, errNoPointer
	}
	return given.Elem(), nil
}

// Put stores a record under key (1 to 32,768 bytes). One that is there already
// with the same content is left alone and makes no commit necessary.
func (c Collection[P]) Put(tx *Tx, key string, record P) error {
	return rows{c.Name}.put(tx, key, record)
}

func (r rows) put(tx *Tx, key string, record any) error {
	return r.wrapError("put", r.putRow(tx, []byte(key), record))
}

func (r rows) putRow(tx *Tx, key []byte, record any) error {
	if err := tx.mayChange(r.name); err != nil {
		return err
	}
	if _, err := recordBehind(record); err != nil {
		return err
	}
	raw, err := encodeRecord(r.name, key, record)
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
func (c Collection[P]) Delete(tx *Tx, key string) error {
	return rows{c.Name}.delete(tx, key)
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

// Get makes the record that into leads to the one under key, or an empty one where
// there is none. ErrDamaged if it is not what was stored; what the record is after
// an error is not said.
func (c Collection[P]) Get(tx *Tx, key string, into P) (found bool, err error) {
	return rows{c.Name}.get(tx, key, into)
}

func (r rows) get(tx *Tx, key string, into any) (found bool, err error) {
	record, err := recordBehind(into)
	if err != nil {
		return false, r.wrapError("get", err)
	}
	record.SetZero()
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

// Load is Get in a transaction of its own.
func (c Collection[P]) Load(s *Store, key string, into P) (found bool, err error) {
	return rows{c.Name}.load(s, key, into)
}

// LoadEach is Each in a transaction of its own.
func (c Collection[P]) LoadEach(s *Store, do func(key string, record P) error) error {
	return s.View(func(tx *Tx) error { return c.Each(tx, do) })
}

func (r rows) load(s *Store, key string, into any) (found bool, err error) {
	err = s.View(func(tx *Tx) (err error) {
		found, err = r.get(tx, key, into)
		return err
	})
	return found, err
}

// Len returns the number of records.
func (c Collection[P]) Len(tx *Tx) int { return rows{c.Name}.len(tx) }

func (r rows) len(tx *Tx) int {
	kept, err := tx.tallyOf(r.name)
	if err != nil {
		return 0
	}
	return kept.Rows
}

// Each calls do for every record in the order of the keys, until do returns an
// error, which Each returns (ErrStop ends the walk without one). Each record is a
// new one, which do may keep. Within do, nothing in the store may be changed:
// collect the keys and change afterwards.
func (c Collection[P]) Each(tx *Tx, do func(key string, record P) error) error {
	var none P
	return rows{c.Name}.each(tx, "", reflect.TypeOf(none), func(key string, record any) error { return do(key, record.(P)) })
}

// each begins with the first key that is not below from; pointer is the type of a
// pointer to a record.
func (r rows) each(tx *Tx, from string, pointer reflect.Type, do func(key string, record any) error) error {
	if pointer == nil || pointer.Kind() != reflect.Pointer {
		return r.wrapError("walk", errNoPointer)
	}
	bucket := tx.bolt.Bucket([]byte(r.name))
	if bucket == nil {
		return nil
	}
	tx.walking++
	defer func() { tx.walking-- }()
	cursor := bucket.Cursor()
	for key, raw := cursor.Seek([]byte(from)); key != nil; key, raw = cursor.Next() {
		record := reflect.New(pointer.Elem()).Interface()
		if err := decodeRecord(r.name, key, raw, record); err != nil {
			return r.wrapError("walk", err)
		}
		err := do(string(key), record)
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
func (r rows) edgeKey(tx *Tx, to func(*bolt.Cursor) (key, value []byte)) (key string, found bool) {
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
