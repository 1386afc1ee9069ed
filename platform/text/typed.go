package text

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Fold is what two texts have in common that people take for one and the same:
// it is equal for a text and its other letter case, and for its composed and
// decomposed forms (NFC and NFD of Unicode's UAX #15; macOS and what people type
// on it have either). It is for comparing, searching and sorting, never for
// showing: what is shown stays as it came.
func Fold(text string) string {
	if isASCII(text) {
		return strings.ToLower(text)
	}
	// Composed before, because İ is a letter with one lower case and two
	// characters with another; and after, because lower case composes anew.
	return norm.NFC.String(strings.Map(foldRune, norm.NFC.String(text)))
}

func isASCII(text string) bool {
	for i := range len(text) {
		if text[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// foldRune is the same for all characters that strings.EqualFold calls equal.
func foldRune(character rune) rune {
	first := character
	for next := unicode.SimpleFold(character); next != character; next = unicode.SimpleFold(next) {
		first = min(first, next)
	}
	return unicode.ToLower(first)
}

// Straighten undoes what chats, text editors and phones do to typed text: curly
// quotes and long dashes become ' " and -, wide and unbreakable blanks become
// blanks, and characters that show nothing are left out. The joiners of scripts
// and emoji stay.
func Straighten(typed string) string {
	if isASCII(typed) {
		return typed
	}
	return strings.Map(straightRune, typed)
}

// Characters that stand for one on the keyboard.
const (
	singleQuotes = "‘’‚‛′ʼ＇"
	doubleQuotes = "“”„‟″«»＂"
	dashes       = "‐‑‒–—―−﹣－"
)

func straightRune(character rune) rune {
	switch {
	case character < utf8.RuneSelf:
		return character
	case strings.ContainsRune(singleQuotes, character):
		return '\''
	case strings.ContainsRune(doubleQuotes, character):
		return '"'
	case strings.ContainsRune(dashes, character):
		return '-'
	case unicode.Is(unicode.Zs, character):
		return ' '
	case isInvisible(character):
		return -1
	}
	return character
}

// isInvisible reports whether the character steers or marks text and shows
// nothing, such as a byte order mark or a direction mark.
func isInvisible(character rune) bool {
	return unicode.Is(unicode.Cf, character) && !isJoiner(character)
}

// TrimTyped takes blanks, line ends and all that shows nothing off both ends.
func TrimTyped(typed string) string {
	return strings.TrimFunc(typed, func(character rune) bool {
		return unicode.IsSpace(character) || unicode.In(character, unicode.Cc, unicode.Cf)
	})
}

// TypedWord is a fixed word, such as the name of a column, a unit or a format,
// as people type it: in any letter case, with blanks around.
func TypedWord(typed string) string { return strings.ToLower(TrimTyped(Straighten(typed))) }

// TypedID is an id as people type or copy it: in any letter case, with blanks or
// with the braces of Parallels Desktop around, or with one brace of them.
func TypedID(typed string) string {
	return TrimTyped(strings.TrimSuffix(strings.TrimPrefix(TypedWord(typed), "{"), "}"))
}
