package sim

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// seededBytes is a stable stream of bytes for one purpose of one seed.
func seededBytes(seed int64, purpose string) []byte {
	sum := sha256.Sum256(fmt.Appendf(nil, "prlsim %d %s", seed, purpose))
	return sum[:]
}

// seededUUID makes a version 4 UUID that is the same for the same seed.
func seededUUID(seed int64, purpose string) string {
	raw := seededBytes(seed, purpose)[:16]
	raw[6] = raw[6]&0x0f | 0x40
	raw[8] = raw[8]&0x3f | 0x80
	text := hex.EncodeToString(raw)
	return strings.Join([]string{text[:8], text[8:12], text[12:16], text[16:20], text[20:]}, "-")
}

// seededSerial makes ten characters in the style of a recent Mac's serial
// number, which has no vowels and no 0 or 1.
func seededSerial(seed int64) string {
	const alphabet = "23456789CDFGHJKLMNPQRTVWXY"
	raw := seededBytes(seed, "serial")
	serial := make([]byte, 10)
	for i := range serial {
		serial[i] = alphabet[int(raw[i])%len(alphabet)]
	}
	return string(serial)
}

// nextID hands out a purpose string that is used once on this Mac.
func (s *State) nextID(kind string) string {
	s.Counter++
	return fmt.Sprintf("%s %d", kind, s.Counter)
}
