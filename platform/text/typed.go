package text

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// IsASCII reports whether all of the text is ASCII.
func IsASCII(text string) bool {
	for i := range len(text) {
		if text[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// Straighten undoes what chats, text editors and phones do to typed text: curly
// quotes and long dashes become ' " and -, wide and unbreakable blanks become
// blanks, and characters that show nothing are left out. The joiners of scripts
// and emoji stay.
func Straighten(typed string) string {
	if IsASCII(typed) {
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
