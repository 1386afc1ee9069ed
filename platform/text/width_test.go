package text

import (
	"testing"
	"unicode"

	"golang.org/x/text/width"
)

// The table of wide characters is the library's, for all of Unicode.
func TestWideIsWhatTheLibraryKnows(t *testing.T) {
	t.Parallel()
	for character := rune(0); character <= unicode.MaxRune; character++ {
		kind := width.LookupRune(character).Kind()
		want := kind == width.EastAsianWide || kind == width.EastAsianFullwidth
		if unicode.Is(wide, character) != want {
			t.Errorf("%U: wide is %v", character, !want)
		}
	}
}

func TestH15_ShortenCountsColumns(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text    string
		columns int
		want    string
	}{{"abc", 3, "abc"}, {"abcd", 3, "ab…"}, {"開発用", 5, "開発…"}, {"開発用", 6, "開発用"}, {"e\u0301e\u0301", 2, "e\u0301e\u0301"}} {
		if got := shorten(c.text, c.columns); got != c.want {
			t.Errorf("%q in %d columns is %q, want %q", c.text, c.columns, got, c.want)
		}
	}
}

// Columns that a terminal gives to what people write into names (UAX #11; emoji
// by their default presentation, UTS #51).
func TestWidth(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name, text string
		want       int
	}{
		{"nothing", "", 0},
		{"ASCII", "abc", 3},
		{"accents", "Größe", 5},
		{"a mark of its own", "e\u0301", 1},
		{"CJK", "開発用", 6},
		{"Hangul", "한글", 4},
		{"halfwidth", "ｱ", 1},
		{"fullwidth", "Ａ", 2},
		{"ideographic space", "\u3000", 2},
		{"beyond the first plane", "\U00020000", 2},
		{"symbols", "●†–…→✓°½", 8},
		{"Greek and box drawing, ambiguous in East Asia", "α─", 2},
		{"a picture", "👍", 2},
		{"a green circle, U+1F7E2", "\U0001f7e2", 2},
		{"an hourglass, U+23F3", "\u23f3", 2},
		{"an hourglass that is text, U+29D6", "\u29d6", 1},
		{"a heavy plus sign, U+2795", "\u2795", 2},
		{"a desktop computer, U+1F5A5, text by default", "\U0001f5a5", 1},
		{"with a variation selector", "\U0001f5a5\ufe0f", 1},
		{"a flag", "🇩🇪", 2},
		{"a skin tone counts by itself", "👍🏽", 4},
		{"joined emoji count as their parts", "👩\u200d💻", 4},
		{"Devanagari", "वि", 2},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := Width(c.text); got != c.want {
				t.Errorf("%q takes %d columns, want %d", c.text, got, c.want)
			}
		})
	}
}
