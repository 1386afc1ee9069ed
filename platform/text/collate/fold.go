// Package collate compares texts as people do. It stands beside package text for
// the tables of Unicode's composition, which the daemon has no use for.
package collate

import (
	"strings"

	"golang.org/x/text/unicode/norm"

	"prlagent/platform/text"
)

// Fold is what two texts have in common that people take for one and the same:
// it is equal for a text and its other letter case, and for its composed and
// decomposed forms (NFC and NFD of Unicode's UAX #15; macOS and what people type
// on it have either). It is for comparing, searching and sorting, never for
// showing: what is shown stays as it came. A letter is not found in one with a
// mark, which text.SameName's form would have it.
func Fold(value string) string {
	if text.IsASCII(value) {
		return strings.ToLower(value)
	}
	// Composed before, because İ is a letter with one lower case and two
	// characters with another; and after, because lower case composes anew.
	return norm.NFC.String(strings.Map(text.FoldLetter, norm.NFC.String(value)))
}
