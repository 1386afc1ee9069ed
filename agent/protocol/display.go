package protocol

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
	before, above := rune(0), pile(0)
	for i := 0; i < len(text); {
		character, size := utf8.DecodeRuneInString(text[i:])
		switch {
		case character == utf8.RuneError && size == 1:
			fmt.Fprintf(&out, `\x%02x`, text[i])
			character = 0 // what was written is no character that could be joined
		case above.shows(character) || isJoiner(character) && joins(before):
			out.WriteString(text[i : i+size])
		default:
			out.WriteString(escaped(character))
			character = 0
		}
		before = character
		i += size
	}
	return out.String()
}

// DisplayCSV is Display for a cell of a csv file, and defuses what a
// spreadsheet would run as a formula (protocol.md 5.1): users name their
// machines as they like. It looks at the cell as it came, before a tab or a
// line end is made visible, and also after every semicolon, where a
// spreadsheet of many countries begins a cell.
func DisplayCSV(cell string) string {
	parts := strings.SplitAfter(cell, ";")
	for i, part := range parts {
		parts[i] = Display(part)
		if beginsFormula(part) {
			parts[i] = "'" + parts[i]
		}
	}
	return strings.Join(parts, "")
}

// beginsFormula looks behind blanks and quotes, which spreadsheets drop, and
// knows the wide forms of the signs, which some take for the narrow ones.
func beginsFormula(cell string) bool {
	begin := strings.TrimLeftFunc(cell, func(character rune) bool {
		return character == '"' || unicode.Is(unicode.Zs, character)
	})
	first, size := utf8.DecodeRuneInString(begin)
	return size > 0 && strings.ContainsRune("=+-@\t\r\n＝＋－＠", first)
}

// DisplayError is an error in one line for a person, at most MaxText columns
// wide. Errors that were joined are separated by semicolons.
func DisplayError(err error) string {
	return Shorten(Display(strings.ReplaceAll(err.Error(), "\n", "; ")), MaxText)
}

// Shorten cuts text, which must have gone through Display, to a number of
// columns of a terminal, with an ellipsis as the last one.
func Shorten(text string, columns int) string {
	if len(text) <= columns || DisplayWidth(text) <= columns {
		return text
	}
	width := 0
	for at, character := range text {
		if width += DisplayWidth(string(character)); width >= columns {
			return text[:at] + "…"
		}
	}
	return text
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

// blanks are letters and symbols by their class that show nothing: Hangul
// fillers and the empty Braille pattern.
var blanks = map[rune]bool{0x115f: true, 0x1160: true, 0x3164: true, 0xffa0: true, 0x2800: true}

func isVisible(character rune) bool { return unicode.IsGraphic(character) && !blanks[character] }

// maxMarks is how many marks one character may carry. Scripts use up to four.
const maxMarks = 8

// pile counts the marks on the last character that takes a column.
type pile int

// shows says whether a character can be shown where it stands.
func (p *pile) shows(character rune) bool {
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

// joins says whether a joiner may follow: runs of joiners show nothing.
func joins(before rune) bool { return before >= utf8.RuneSelf && isVisible(before) }

// isJoiner tells the zero-width joiner and non-joiner.
func isJoiner(character rune) bool { return character == 0x200c || character == 0x200d }

func escaped(character rune) string {
	switch {
	case character < 0x100:
		return fmt.Sprintf(`\x%02x`, character)
	case character < 0x10000:
		return fmt.Sprintf(`\u%04x`, character)
	}
	return fmt.Sprintf(`\U%08x`, character)
}

// wide are the blocks whose characters take two columns of a terminal
// (Unicode's East Asian Width W and F, and emoji).
var wide = &unicode.RangeTable{
	R16: []unicode.Range16{
		{Lo: 0x1100, Hi: 0x115f, Stride: 1}, {Lo: 0x231a, Hi: 0x231b, Stride: 1}, {Lo: 0x23e9, Hi: 0x23ec, Stride: 1},
		{Lo: 0x2614, Hi: 0x2615, Stride: 1}, {Lo: 0x2648, Hi: 0x2653, Stride: 1}, {Lo: 0x26a1, Hi: 0x26a1, Stride: 1},
		{Lo: 0x2705, Hi: 0x2705, Stride: 1}, {Lo: 0x274c, Hi: 0x274c, Stride: 1}, {Lo: 0x2b50, Hi: 0x2b50, Stride: 1},
		{Lo: 0x2e80, Hi: 0x303e, Stride: 1}, {Lo: 0x3041, Hi: 0x33ff, Stride: 1}, {Lo: 0x3400, Hi: 0x4dbf, Stride: 1},
		{Lo: 0x4e00, Hi: 0x9fff, Stride: 1}, {Lo: 0xa000, Hi: 0xa4cf, Stride: 1}, {Lo: 0xa960, Hi: 0xa97f, Stride: 1},
		{Lo: 0xac00, Hi: 0xd7a3, Stride: 1}, {Lo: 0xf900, Hi: 0xfaff, Stride: 1}, {Lo: 0xfe30, Hi: 0xfe6f, Stride: 1},
		{Lo: 0xff00, Hi: 0xff60, Stride: 1}, {Lo: 0xffe0, Hi: 0xffe6, Stride: 1},
	},
	R32: []unicode.Range32{
		{Lo: 0x16fe0, Hi: 0x18dff, Stride: 1}, {Lo: 0x1b000, Hi: 0x1b2ff, Stride: 1}, {Lo: 0x1f004, Hi: 0x1f004, Stride: 1},
		{Lo: 0x1f18e, Hi: 0x1f18e, Stride: 1}, {Lo: 0x1f200, Hi: 0x1f320, Stride: 1}, {Lo: 0x1f32d, Hi: 0x1f64f, Stride: 1},
		{Lo: 0x1f680, Hi: 0x1f6ff, Stride: 1}, {Lo: 0x1f900, Hi: 0x1faff, Stride: 1}, {Lo: 0x20000, Hi: 0x3fffd, Stride: 1},
	},
}

// DisplayWidth is how many columns of a terminal the text takes, which must
// have gone through Display. Emoji that are joined count as their parts.
func DisplayWidth(text string) int {
	width := 0
	for _, character := range text {
		switch {
		case unicode.In(character, unicode.Mn, unicode.Me, unicode.Cf):
		case unicode.Is(wide, character):
			width += 2
		default:
			width++
		}
	}
	return width
}
