package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// contents is what a verified file turned out to hold.
type contents struct {
	header header
	intact bool // both metas are valid
}

// verifyFile reads a whole database file without mapping it and checks
// structure, records and tallies. The error is ErrDamaged only if the content is
// wrong, never for a failure of the system.
func verifyFile(path string) (contents, error) {
	file, err := openRegular(path, os.O_RDONLY)
	if err != nil {
		return contents{}, err
	}
	defer file.Close()
	return verify(file)
}

func verify(file *os.File) (contents, error) {
	check := recordCheck{found: map[string]tally{}, kept: map[string]tally{}}
	newest, intact, err := walkFile(file, check.visit)
	if err != nil {
		return contents{}, err
	}
	check.intact = intact
	return check.contents, check.compare(newest.txid)
}

// openRegular opens a file that must be a regular one and no link.
func openRegular(path string, access int) (*os.File, error) {
	file, err := os.OpenFile(path, access|syscall.O_NOFOLLOW|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, classify(fmt.Errorf("open: %w", err))
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = denied("%s is not a regular file", filepath.Base(path))
	}
	if err != nil {
		_ = file.Close()
		return nil, classify(err)
	}
	return file, nil
}

// recordCheck collects what the rows add up to and what the tallies say.
type recordCheck struct {
	contents
	mark  commitMark
	found map[string]tally
	kept  map[string]tally
}

func (c *recordCheck) visit(bucket string, key, raw []byte) error {
	switch bucket {
	case headerBucket:
		if string(key) == commitKey {
			return decodeOwn(bucket, key, raw, &c.mark)
		}
		return decodeOwn(bucket, key, raw, &c.header)
	case tallyBucket:
		var kept tally
		err := decodeOwn(bucket, key, raw, &kept)
		c.kept[string(key)] = kept
		return err
	}
	if _, err := unseal(bucket, key, raw); err != nil {
		return err
	}
	found := c.found[bucket]
	found.add(raw)
	c.found[bucket] = found
	return nil
}

// decodeOwn decodes a record of the store itself, whose type is always known.
func decodeOwn(bucket string, key, raw []byte, into any) error {
	err := decode(bucket, key, raw, into)
	if err != nil && !errors.Is(err, ErrDamaged) {
		return damaged("%v", err)
	}
	return err
}

func (c *recordCheck) compare(txid uint64) error {
	if c.header.Epoch == "" || c.header.Format != formatOfRecords {
		return damaged("no header of format %d", formatOfRecords)
	}
	for name, found := range c.found {
		if _, known := c.kept[name]; !known {
			return damaged("collection %s has %d rows and no count", name, found.Rows)
		}
	}
	for name, kept := range c.kept {
		if found := c.found[name]; found != kept {
			return damaged("collection %s has %d rows with sum %x, should have %d with %x",
				name, found.Rows, found.Sum, kept.Rows, kept.Sum)
		}
	}
	return c.compareCommit(txid)
}

// compareCommit checks that the records are those of the commit the meta is of.
// The second meta of a backup has the number before that of the first and leads
// to the same records; it counts if the first is invalid.
func (c *recordCheck) compareCommit(txid uint64) error {
	if c.mark.Number == txid || !c.intact && c.mark.Number == txid+1 {
		return nil
	}
	return damaged("the records are those of commit %d, the meta is of %d", c.mark.Number, txid)
}
