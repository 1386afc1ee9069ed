package query

import (
	"cmp"
	"errors"
	"slices"
	"strconv"
	"strings"
)

// versionPart is a run of digits or of letters in a version.
type versionPart struct {
	isNumber bool
	number   uint64
	word     string // lower case
}

// maxVersionParts is how much of a version is compared; what comes after it
// would be no version of anything.
const maxVersionParts = 12

// namedParts is how many parts a version has before its build.
const namedParts = 3

// parseVersion splits "26.4.0 (57513)" into 26, 4, 0, 57513 and "25E246" into
// 25, e, 246. Digits beyond 19 are cut off.
func parseVersion(text string) []versionPart {
	parts := make([]versionPart, 0, 6)
	text = strings.TrimPrefix(strings.ToLower(text), "v")
	for at := 0; at < len(text) && len(parts) < maxVersionParts; {
		end := at
		switch {
		case isDigit(text[at]):
			for end < len(text) && isDigit(text[end]) {
				end++
			}
			number, _ := strconv.ParseUint(text[at:min(end, at+19)], 10, 64) // 19 digits fit
			parts = append(parts, versionPart{isNumber: true, number: number})
		case isLetter(text[at]):
			for end < len(text) && isLetter(text[end]) {
				end++
			}
			parts = append(parts, versionPart{word: text[at:end]})
		default:
			end++
		}
		at = end
	}
	return parts
}

// readVersion reads the version that a filter names. What parseVersion would
// leave out is not understood: 26.* would be 26.0.0.
func readVersion(word string) ([]versionPart, error) {
	version := parseVersion(word)
	isForeign := func(r rune) bool {
		return r >= 0x80 || !isDigit(byte(r)) && !isLetter(byte(r)) && !strings.ContainsRune(".,-_+() ", r)
	}
	switch {
	case !slices.ContainsFunc(version, func(p versionPart) bool { return p.isNumber }):
		return nil, errors.New("expected a version like 26.1")
	case strings.ContainsFunc(word, isForeign), slices.Contains(version, versionPart{word: "x"}):
		return nil, errors.New("expected a version like 26.1, of which every part counts; for all of 26 write >=26 and <27")
	}
	return version, nil
}

func isDigit(b byte) bool { return '0' <= b && b <= '9' }

func isLetter(b byte) bool { return 'a' <= b && b <= 'z' || b >= 0x80 }

// IsOlder reports whether a version is older than the one that is named, as a filter with
// < does.
func IsOlder(version, named string) bool {
	return compareNamed(parseVersion(version), parseVersion(named)) < 0
}

// compareNamed compares a version with the one that a filter names. Missing
// parts are 0; a build, which is the fourth part, counts only where it is named.
func compareNamed(version, named []versionPart) int {
	if len(named) <= namedParts && !hasWord(version) {
		version = version[:min(len(version), namedParts)]
	}
	return compareVersions(version, named)
}

func hasWord(version []versionPart) bool {
	for _, part := range version[:min(len(version), namedParts)] {
		if !part.isNumber {
			return true
		}
	}
	return false
}

// compareVersions orders part by part: 26.10 comes after 26.9, and 1.0-rc1
// before 1.0.
func compareVersions(a, b []versionPart) int {
	zero := versionPart{isNumber: true}
	for i := range max(len(a), len(b)) {
		left, right := zero, zero
		if i < len(a) {
			left = a[i]
		}
		if i < len(b) {
			right = b[i]
		}
		if order := left.compare(right); order != 0 {
			return order
		}
	}
	return 0
}

func (p versionPart) compare(other versionPart) int {
	switch {
	case p.isNumber && other.isNumber:
		return cmp.Compare(p.number, other.number)
	case p.isNumber:
		return 1
	case other.isNumber:
		return -1
	}
	return strings.Compare(p.word, other.word)
}
