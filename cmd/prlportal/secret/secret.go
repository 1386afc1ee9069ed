// Package secret makes the portal's secrets and recognizes them again: the
// enrollment secret, the admin token and the devices' tokens. Only their
// SHA-256 is kept, so that a copy of a file or of the database opens nothing.
package secret

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
)

// New is 256 random bits in base64url.
func New() string {
	bits := make([]byte, 32)
	_, _ = rand.Read(bits) // never fails (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(bits)
}

// Hash is what is stored of a secret: its SHA-256 in hex.
func Hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// Matches reports whether hash is the hash of text, in a time that does not
// depend on where they differ.
func Matches(text, hash string) bool {
	return subtle.ConstantTimeCompare([]byte(Hash(text)), []byte(hash)) == 1
}
