package store

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
)

// Buckets of the store itself. Their names are no names of collections.
const (
	headerBucket = "_store"
	tallyBucket  = "_tallies"
	headerKey    = "header"
	commitKey    = "commit"
)

// isCollectionName reports whether a collection may be called so: 1 to 64 of a-z, 0-9,
// _ . and -, with a letter in front.
func isCollectionName(name string) bool {
	return name != "" && len(name) <= 64 && name[0] >= 'a' && name[0] <= 'z' && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789_.-") == ""
}

const (
	// formatOfRecords is what this version writes, and the newest that it reads. A
	// newer one keeps the header's place, its checksum and the field that names it,
	// so that every older version knows that the database is not for it.
	formatOfRecords = 1
	checksumSize    = 8
)

// storeHeader is the record of headerBucket under headerKey.
type storeHeader struct {
	Format        int    `json:"format"`
	Epoch         string `json:"epoch"`
	PreviousEpoch string `json:"previous_epoch,omitempty"`
	// UnkeptReport is the report of the event this epoch began with, until the caller
	// has committed something: it must not be lost with a process that is killed
	// between the restore and its own first record of it.
	UnkeptReport *Report `json:"untold,omitempty"`
}

// commitMark is the record of headerBucket under commitKey: the number of the
// transaction that wrote it, which the meta must name too. bbolt writes a commit
// into the pages that the one before last has left. If a disk loses all of these
// writes but the one of the meta, the meta leads to the state of two commits ago,
// whole and consistent: nothing but this mark tells it from the last one.
type commitMark struct {
	Number uint64 `json:"number,string"`
}

// rowTally is what a collection knows about itself, kept in the same
// transaction as its rows: how many there are, and the sum of their checksums.
// The sum notices what a count cannot: a row that a lost write has put back to
// an older state.
type rowTally struct {
	Rows int    `json:"rows"`
	Sum  uint64 `json:"sum,string"`
}

func (t *rowTally) addRow(raw []byte) {
	t.Rows++
	t.Sum += storedChecksum(raw)
}

func (t *rowTally) removeRow(raw []byte) {
	t.Rows--
	t.Sum -= storedChecksum(raw)
}

// recordChecksum covers bucket, key and value, each with its length, so that a
// record that turns up in a wrong place is noticed as well as a changed one. It
// is SHA-256 cut to 64 bits: fast in hardware on every Mac, and, unlike a CRC,
// not linear, which the sums in the tallies need. It guards against accidents;
// who can write the file as root can also compute it.
func recordChecksum(bucket string, key, value []byte) uint64 {
	sum := sha256.New()
	for _, part := range [][]byte{[]byte(bucket), key, value} {
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(part)))
		sum.Write(length[:])
		sum.Write(part)
	}
	return binary.BigEndian.Uint64(sum.Sum(nil))
}

func storedChecksum(raw []byte) uint64 { return binary.BigEndian.Uint64(raw) }

// encodeRecord encodes a value as it lies in the file: checksum, then JSON.
func encodeRecord(bucket string, key []byte, value any) ([]byte, error) {
	encoded, err := json.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("encode record of %s: %w", bucket, err)
	}
	raw := binary.BigEndian.AppendUint64(make([]byte, 0, checksumSize+len(encoded)), recordChecksum(bucket, key, encoded))
	return append(raw, encoded...), nil
}

// checkRecord checks a record and returns its JSON, which lies in the memory
// mapping and ends with the transaction.
func checkRecord(bucket string, key, raw []byte) ([]byte, error) {
	if len(raw) < checksumSize || storedChecksum(raw) != recordChecksum(bucket, key, raw[checksumSize:]) {
		return nil, damagedError("wrong checksum of a record of %s", bucket)
	}
	return raw[checksumSize:], nil
}

// decodeRecord checks a record and decodes it. JSON that does not fit the type
// is no damage: it was committed like that, by another version of the program.
func decodeRecord(bucket string, key, raw []byte, into any) error {
	encoded, err := checkRecord(bucket, key, raw)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(encoded, into); err != nil {
		return fmt.Errorf("decode record of %s: %w", bucket, err)
	}
	return nil
}
