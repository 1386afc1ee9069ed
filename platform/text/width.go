package text

import "unicode"

// Width is how many columns of a terminal the text takes, which must have gone
// through Display. Two are what Unicode's East Asian Width (UAX #11) calls wide
// or fullwidth: CJK, and the emoji that are pictures by themselves, such as
// U+1F7E2. Emoji that are joined count as their parts, and a variation selector
// changes nothing: terminals differ there, and a text of others could have any
// number of characters in few columns.
func Width(text string) int {
	columns := 0
	for _, character := range text {
		columns += widthOf(character)
	}
	return columns
}

func widthOf(character rune) int {
	switch {
	case character < 0x300: // before the first mark and the first wide character
		return 1
	case unicode.In(character, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	}
	if unicode.Is(wide, character) {
		return 2
	}
	return 1
}

// shorten cuts text, which must have gone through Display, to a number of
// columns of a terminal, with an ellipsis as the last one.
func shorten(text string, columns int) string {
	if len(text) <= columns || Width(text) <= columns {
		return text
	}
	taken := 0
	for at, character := range text {
		if taken += widthOf(character); taken >= columns {
			return text[:at] + "…"
		}
	}
	return text
}
