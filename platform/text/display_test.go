package text

import (
	"errors"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestH15_Display(t *testing.T) {
	t.Parallel()
	cases := []struct{ name, text, want string }{
		{"plain text", `Windows 11 "Pro" \o/`, `Windows 11 "Pro" \o/`},
		{"letters of the world", "Größe 開発用 वि 한글", "Größe 開発用 वि 한글"},
		{"a terminal's escape", "a\x1b]0;pwned\x07b", `a\x1b]0;pwned\x07b`},
		{"line breaks and tabs", "a\r\nb\tc", `a\x0d\x0ab\x09c`},
		{"delete among plain text", "a\x7fb", `a\x7fb`},
		{"delete and C1 controls", "a\x7fb\u009bc\u0085d", `a\x7fb\x9bc\x85d`},
		{"a change of direction", "a\u202egpj.exe\u2066", `a\u202egpj.exe\u2066`},
		{"line and paragraph separators", "a\u2028b\u2029c", `a\u2028b\u2029c`},
		{"invisible characters", "a\u200bb\ufeffc\u00add\u2060", `a\u200bb\ufeffc\xadd\u2060`},
		{"letters that show nothing", "a\u3164b\u2800c", `a\u3164b\u2800c`},
		{"tags", "a\U000e0041", `a\U000e0041`},
		{"private use", "a\ue000", `a\ue000`},
		{"bytes that are not UTF-8", "a\xff\xc3b", `a\xff\xc3b`},
		{"a real replacement character", "a\ufffdb", "a\ufffdb"},
		{"joined emoji", "👩\u200d💻", "👩\u200d💻"},
		{"a joiner in Persian", "می\u200cخواهم", "می\u200cخواهم"},
		{"a joiner that joins nothing", "a\u200db", `a\u200db`},
		{"a letter under marks", "Vie\u0302\u0323t", "Vie\u0302\u0323t"},
		{"a pile of marks", "a" + strings.Repeat("\u0301", 10) + "b", "a" + strings.Repeat("\u0301", 8) + `\u0301\u0301b`},
		{"a pile of marks and joiners", "é" + strings.Repeat("\u0301\u200d", 9), "é" + strings.Repeat("\u0301\u200d", 8) + `\u0301\u200d`},
		{"nothing", "", ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := Display(c.text); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func TestH15_ErrorsAreOneShortLine(t *testing.T) {
	t.Parallel()
	err := errors.Join(errors.New("open \x1b[2J"), errors.New(strings.Repeat("x", 100<<10)))
	got := DisplayError(err)
	if !strings.HasPrefix(got, `open \x1b[2J; xxx`) || !strings.HasSuffix(got, "x…") || Width(got) != maxValue {
		t.Errorf("%d columns: %.60s", Width(got), got)
	}
}

// What is displayed never steers, is valid UTF-8, and is displayed as itself.
func FuzzDisplay(f *testing.F) {
	for _, seed := range []string{"Windows 11", "\x1b[2J", "\u202e", "\xff", "👩\u200d💻", "a\u200d\u200d", "a\xe2\x01\x8d\u200d"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		shown := Display(text)
		if !utf8.ValidString(shown) {
			t.Fatalf("%q is not UTF-8", shown)
		}
		for _, character := range shown {
			if !unicode.IsGraphic(character) && !isJoiner(character) {
				t.Fatalf("%q of %q steers", shown, text)
			}
		}
		if again := Display(shown); again != shown {
			t.Fatalf("%q is displayed as %q", shown, again)
		}
	})
}
