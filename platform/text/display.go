// Package text makes words for people, the same in every program: strings of
// others made safe to show, tables that stay aligned, csv that a spreadsheet
// takes for text, JSON and log lines that a person may look at.
//
// A Mac's users, guests and portals choose most of what is printed. Nothing of
// theirs may steer a terminal, leave its line or its cell, or have no end (H15).
package text

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Display makes a string that came from a user, a guest or another program
// safe to print in a terminal, a log, a csv or XML file or a dialog (H15):
// everything that steers instead of showing something (control and escape
// characters, line breaks, direction marks, invisible characters, bytes that
// are not UTF-8) is written as \x1b, \u202e or \U000e0041. All other text stays
// as it is. The joiners that scripts and emoji need stay where they join, and so
// do marks above and below a letter, up to maxMarks: a pile of them would cover
// the lines around it and take no column that a limit could count.
func Display(text string) string {
	if isPlain(text) {
		return text
	}
	var out strings.Builder
	out.Grow(len(text) + 16)
	before, above := rune(0), markCount(0)
	for i := 0; i < len(text); {
		character, size := utf8.DecodeRuneInString(text[i:])
		switch {
		case character == utf8.RuneError && size == 1:
			fmt.Fprintf(&out, `\x%02x`, text[i])
			character = 0 // what was written is no character that could be joined
		case above.canShow(character) || isJoiner(character) && canJoin(before):
			out.WriteString(text[i : i+size])
		default:
			out.WriteString(escapeRune(character))
			character = 0
		}
		before = character
		i += size
	}
	return out.String()
}

// maxValue is the longest that one value of others gets in a line for people,
// in columns: what the wire carries as one text is shown whole.
const maxValue = 1 << 10

// DisplayValue is one value of others within a line: Display, at most maxValue
// columns wide.
func DisplayValue(value string) string { return shorten(Display(value), maxValue) }

// DisplayError is an error in one line for a person, at most maxValue columns
// wide. Errors that were joined are separated by semicolons.
func DisplayError(err error) string {
	return DisplayValue(strings.ReplaceAll(err.Error(), "\n", "; "))
}

// isPlain spares the usual case its copy.
func isPlain(text string) bool {
	for i := range len(text) {
		if text[i] < 0x20 || text[i] >= 0x7f {
			return false
		}
	}
	return true
}

// blankLetters are letters and symbols by their class that show nothing: Hangul
// fillers and the empty Braille pattern.
var blankLetters = map[rune]bool{0x115f: true, 0x1160: true, 0x3164: true, 0xffa0: true, 0x2800: true}

func isVisible(character rune) bool { return unicode.IsGraphic(character) && !blankLetters[character] }

// maxMarks is how many marks one character may carry. Scripts use up to four.
const maxMarks = 8

// markCount counts the marks on the last character that takes a column.
type markCount int

// canShow reports whether a character can be shown where it stands.
func (p *markCount) canShow(character rune) bool {
	switch {
	case !isVisible(character):
		return false
	case !unicode.In(character, unicode.Mn, unicode.Me):
		*p = 0
		return true
	}
	*p++
	return *p <= maxMarks
}

// canJoin reports whether a joiner may follow: runs of joiners show nothing.
func canJoin(before rune) bool { return before >= utf8.RuneSelf && isVisible(before) }

// isJoiner tells the zero-width joiner and non-joiner.
func isJoiner(character rune) bool { return character == 0x200c || character == 0x200d }

func escapeRune(character rune) string {
	switch {
	case character < 0x100:
		return fmt.Sprintf(`\x%02x`, character)
	case character < 0x10000:
		return fmt.Sprintf(`\u%04x`, character)
	}
	return fmt.Sprintf(`\U%08x`, character)
}
