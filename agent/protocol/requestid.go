package protocol

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
)

// RequestID is a UUID of version 7 (RFC 9562, 5.7), whose order is that of the
// times in it.
type RequestID [16]byte

var errRequestID = errors.New("the request id is not a UUID of version 7")

// NewRequestID makes an id of the time given; where that is not later than
// before, of the millisecond after before. So the ids of one sender rise also
// when its clock is set back.
func NewRequestID(now time.Time, before RequestID) RequestID {
	var id RequestID
	_, _ = rand.Read(id[:]) // never fails
	milliseconds := uint64(max(now.UnixMilli(), 0))
	if before != (RequestID{}) {
		milliseconds = max(milliseconds, uint64(before.Time().UnixMilli())+1)
	}
	var high [8]byte
	binary.BigEndian.PutUint64(high[:], milliseconds<<16)
	copy(id[:6], high[:6])
	id[6] = 7<<4 | id[6]&0x0f
	id[8] = 0b10<<6 | id[8]&0x3f
	return id
}

// ParseRequestID reads an id in the usual form of a UUID.
func ParseRequestID(text string) (RequestID, error) {
	var id RequestID
	if len(text) != 36 || text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-' {
		return id, errRequestID
	}
	digits, err := hex.DecodeString(strings.ReplaceAll(text, "-", ""))
	if err != nil || len(digits) != len(id) || digits[6]>>4 != 7 || digits[8]>>6 != 0b10 {
		return id, errRequestID
	}
	return RequestID(digits), nil
}

// Time is the millisecond in the id.
func (r RequestID) Time() time.Time {
	var high [8]byte
	copy(high[2:], r[:6])
	return time.UnixMilli(int64(binary.BigEndian.Uint64(high[:]))).UTC()
}

// After reports whether the id is newer than another one.
func (r RequestID) After(other RequestID) bool { return bytes.Compare(r[:], other[:]) > 0 }

// String is the usual form, in lower case.
func (r RequestID) String() string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", r[:4], r[4:6], r[6:8], r[8:10], r[10:])
}
