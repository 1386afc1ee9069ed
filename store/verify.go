package store

import (
	"errors"
	"fmt"
	"os"

	"prlagent/platform/safefile"
)

// fileContents is what a verified file turned out to hold.
type fileContents struct {
	header storeHeader
	intact bool // both metas are valid
}

// verifyFile reads a whole database file without mapping it and checks
// structure, records and tallies. The error is ErrDamaged only if the content is
// wrong, never for a failure of the system.
func verifyFile(folder *safefile.Folder, name string) error {
	file, err := openRegular(folder, name, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer file.Close()
	return new(fileContents).verifyOpen(file)
}

// verifyOpen is verifyFile of an open file, and notes what it holds.
func (c *fileContents) verifyOpen(file *os.File) error {
	sums := recordSums{contents: c, counted: map[string]rowTally{}, tallies: map[string]rowTally{}}
	newest, intact, err := walkFile(file, sums.visitRecord)
	if err != nil {
		return err
	}
	c.intact = intact
	return sums.compareTallies(newest.txid)
}

// openRegular opens a file that must be a regular one and no link.
func openRegular(folder *safefile.Folder, name string, access int) (*os.File, error) {
	file, err := folder.OpenFile(name, access, 0)
	if err != nil {
		return nil, withKind(fmt.Errorf("open: %w", err))
	}
	return file, nil
}

// recordSums collects what the rows add up to and what the tallies say.
type recordSums struct {
	contents *fileContents
	commit   commitMark
	counted  map[string]rowTally
	tallies  map[string]rowTally
}

func (s *recordSums) visitRecord(bucket string, key, raw []byte) error {
	switch bucket {
	case headerBucket:
		if string(key) == commitKey {
			return decodeOwn(bucket, key, raw, &s.commit)
		}
		if err := checkFormat(bucket, key, raw); err != nil {
			return err
		}
		return decodeOwn(bucket, key, raw, &s.contents.header)
	case tallyBucket:
		var kept rowTally
		err := decodeOwn(bucket, key, raw, &kept)
		s.tallies[string(key)] = kept
		return err
	}
	if _, err := checkRecord(bucket, key, raw); err != nil {
		return err
	}
	found := s.counted[bucket]
	found.addRow(raw)
	s.counted[bucket] = found
	return nil
}

// checkFormat refuses the header of a newer version before anything else of it is read:
// what looks like damage may be what this version does not know.
func checkFormat(bucket string, key, raw []byte) error {
	var named struct {
		Format int `json:"format"`
	}
	if err := decodeOwn(bucket, key, raw, &named); err != nil {
		return err
	}
	if named.Format > formatOfRecords {
		return fmt.Errorf("%w: format %d, and this version reads up to %d", ErrNewer, named.Format, formatOfRecords)
	}
	return nil
}

// decodeOwn decodes a record of the store itself, whose type is always known.
func decodeOwn(bucket string, key, raw []byte, into any) error {
	err := decodeRecord(bucket, key, raw, into)
	if err != nil && !errors.Is(err, ErrDamaged) {
		return damagedError("%v", err)
	}
	return err
}

func (s *recordSums) compareTallies(txid uint64) error {
	if s.contents.header.Epoch == "" || s.contents.header.Format != formatOfRecords {
		return damagedError("no header of format %d", formatOfRecords)
	}
	for name, found := range s.counted {
		if _, known := s.tallies[name]; !known {
			return damagedError("collection %s has %d rows and no count", name, found.Rows)
		}
	}
	for name, kept := range s.tallies {
		if found := s.counted[name]; found != kept {
			return damagedError("collection %s has %d rows with sum %x, should have %d with %x",
				name, found.Rows, found.Sum, kept.Rows, kept.Sum)
		}
	}
	return s.compareCommit(txid)
}

// compareCommit checks that the records are those of the commit the meta is of.
// The second meta of a backup has the number before that of the first and leads
// to the same records; it counts if the first is invalid.
func (s *recordSums) compareCommit(txid uint64) error {
	if s.commit.Number == txid || !s.contents.intact && s.commit.Number == txid+1 {
		return nil
	}
	return damagedError("the records are those of commit %d, the meta is of %d", s.commit.Number, txid)
}
