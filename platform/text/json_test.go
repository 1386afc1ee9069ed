package text

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"unicode"
)

func TestH15_DisplayJSON(t *testing.T) {
	t.Parallel()
	cases := []struct{ name, text, want string }{
		{"plain text", `{"a": "Größe 開発 👍"}`, `{"a": "Größe 開発 👍"}`},
		{"layout", "{\n  \"a\": 1\n}", "{\n  \"a\": 1\n}"},
		{"delete and C1 controls", "\"a\x7f\u009b31m\"", `"a\u007f\u009b31m"`},
		{"what an encoder forgot", "\"a\x1b[2J\r\"", `"a\u001b[2J\u000d"`},
		{"a change of direction", "\"a\u202egpj.exe\"", `"a\u202egpj.exe"`},
		{"joiners", "\"👩\u200d💻\"", `"👩\u200d💻"`},
		{"beyond the first plane", "\"\U000e0041\"", `"\udb40\udc41"`},
		{"letters that show nothing", "\"\u3164\u2800\"", `"\u3164\u2800"`},
		{"a pile of marks", "\"a" + strings.Repeat("\u0301", 9) + "\"", "\"a" + strings.Repeat("\u0301", 8) + `\u0301"`},
		{"bytes that are not UTF-8", "\"a\xff\"", `"a\ufffd"`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := string(displayJSON([]byte(c.text))); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

// FuzzDisplayJSON: the value stays, and nothing that steers does.
func FuzzDisplayJSON(f *testing.F) {
	for _, seed := range []string{"Windows 11", "\x1b[2J", "\u202e\u009b", "\xff", "👩\u200d💻", "a\u0301\u0301", "\U000e0041"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		data, err := json.Marshal([]string{text})
		if err != nil {
			t.Fatal(err)
		}
		shown := displayJSON(data)
		for _, character := range string(shown) {
			if !unicode.IsGraphic(character) {
				t.Fatalf("%q of %q steers", shown, text)
			}
		}
		var before, after any
		if errors.Join(json.Unmarshal(data, &before), json.Unmarshal(shown, &after)) != nil || !reflect.DeepEqual(before, after) {
			t.Fatalf("%s became %s", data, shown)
		}
	})
}

func TestH15_JSONEscapesWhatActsOnATerminal(t *testing.T) {
	t.Parallel()
	const text = "c1\u009b bidi\u202e tag\U000e0041 del\u007f plain é"
	got, err := EncodeJSON(text, "", "")
	if err != nil {
		t.Fatal(err)
	}
	if want := `"c1\u009b bidi\u202e tag\udb40\udc41 del\u007f plain é"`; string(got) != want {
		t.Errorf("JSON is %s, want %s", got, want)
	}
	var back string
	if err := json.Unmarshal(got, &back); err != nil || back != text {
		t.Errorf("JSON reads back as %q, %v", back, err)
	}
}

func TestEncodeJSON(t *testing.T) {
	t.Parallel()
	document := map[string]any{"a": "<b> & c", "d": []int{1}}
	cases := []struct{ name, prefix, indent, want string }{
		{"one line", "", "", `{"a":"<b> & c","d":[1]}`},
		{"indented", "", "  ", "{\n  \"a\": \"<b> & c\",\n  \"d\": [\n    1\n  ]\n}"},
		{"inside another document", "    ", "  ", "{\n      \"a\": \"<b> & c\",\n      \"d\": [\n        1\n      ]\n    }"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got, err := EncodeJSON(document, c.prefix, c.indent); err != nil || string(got) != c.want {
				t.Errorf("got %s, %v; want %s", got, err, c.want)
			}
		})
	}
	if got, err := EncodeJSON(func() {}, "", ""); err == nil || got != nil {
		t.Errorf("a function became %s, %v", got, err)
	}
}
