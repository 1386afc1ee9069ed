package prlctl

import (
	"bytes"
	"crypto/sha256"
)

// selfChanging are the elements of config.pvs that change while nobody changes
// a setting, with the characters of their values: a number of seconds, and a
// date with a time (facts/prlctl.md 6, "config.pvs element map").
var selfChanging = []struct{ name, characters string }{
	{"VmUptimeInSeconds", "0123456789 "},
	{"VmUptimeStartDateTime", "0123456789: -"},
}

// maxSelfChanging is the length of the longest value that is left out. A real
// one has 19 characters.
const maxSelfChanging = 24

// ConfigDigest is the SHA-256 of the bytes of a config.pvs without the elements
// that change by themselves: equal digests mean that no setting was changed in
// between. Every other byte counts, also in what is no XML at all, so that
// nothing has to be understood of a text that a user can write. What is left out
// is found by its whole form, which has no room for anything else. The text is
// read once, and not copied.
func ConfigDigest(config []byte) [32]byte {
	digest := sha256.New()
	from := 0 // what is not digested yet
	for at := 0; ; {
		next := bytes.Index(config[at:], []byte("<VmUptime"))
		if next < 0 {
			break
		}
		at += next
		size := selfChangingSize(config[at:])
		if size > 0 {
			_, _ = digest.Write(config[from:at])
			from = at + size
		}
		at += max(size, 1)
	}
	_, _ = digest.Write(config[from:])
	return [32]byte(digest.Sum(nil))
}

// selfChangingSize is the length of the element that the text begins with, 0 if
// it is none that changes by itself.
func selfChangingSize(text []byte) int {
	for _, element := range selfChanging {
		opening, closing := "<"+element.name+">", "</"+element.name+">"
		rest, found := bytes.CutPrefix(text, []byte(opening))
		if !found {
			continue
		}
		value := rest[:min(len(rest), maxSelfChanging+1)]
		length := len(value) - len(bytes.TrimLeft(value, element.characters))
		if length <= maxSelfChanging && bytes.HasPrefix(rest[length:], []byte(closing)) {
			return len(opening) + length + len(closing)
		}
	}
	return 0
}
