// Package storetest makes state databases that no version here writes, for tests.
package storetest

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"regexp"
	"slices"
)

// headerRecord is the record of a database that names its format.
var headerRecord = regexp.MustCompile(`\{"format":[0-9],"epoch":"[^{}]*"\}`)

// OfFormat gives a copy of a database with another format of records in its header, a
// digit, and the checksum that fits: what a newer version leaves.
func OfFormat(database []byte, format byte) ([]byte, error) {
	changed := slices.Clone(database)
	places := headerRecord.FindAllIndex(changed, -1)
	if len(places) == 0 {
		return nil, errors.New("the database has no header")
	}
	for _, place := range places {
		header := changed[place[0]:place[1]]
		header[len(`{"format":`)] = format
		sum := sha256.New()
		for _, part := range [][]byte{[]byte("_store"), []byte("header"), header} {
			sum.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
			sum.Write(part)
		}
		copy(changed[place[0]-8:], sum.Sum(nil)[:8])
	}
	return changed, nil
}
