package text

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestWhatChatsDoToTypedText(t *testing.T) {
	t.Parallel()
	for typed, want := range map[string]string{
		"Alice’s Mac":                 "Alice's Mac",
		"“Windows 11, Pro”":           `"Windows 11, Pro"`,
		"„Windows“ «Windows»":         `"Windows" "Windows"`,
		"–7d —7d −7d":                 "-7d -7d -7d",
		"2026‑11‑23":                  "2026-11-23",
		"a\u00a0b\u2009c\u3000d":      "a b c d",
		"\ufeffvm\u200b_\u2060name":   "vm_name",
		"\u202eabc\u200e":             "abc",
		"می\u200cخواهم":               "می\u200cخواهم",
		"plain 'text' - \"as it is\"": "plain 'text' - \"as it is\"",
	} {
		if got := Straighten(typed); got != want || !utf8.ValidString(got) {
			t.Errorf("%+q is %+q, want %+q", typed, got, want)
		}
	}
}

func TestTypedWordsAndIDs(t *testing.T) {
	t.Parallel()
	for typed, want := range map[string]string{
		" VM_Name\t": "vm_name", "\u00a0CSV\ufeff": "csv", "finance–eu": "finance-eu", "": "",
		"\u200etable\x00": "table", "table\u200d": "table", "\u00adtable\u202c": "table",
	} {
		if got := TypedWord(typed); got != want {
			t.Errorf("the word %+q is %q, want %q", typed, got, want)
		}
	}
	const id = "f11d8098-10fe-40d9-871e-27af1e66161e"
	for _, typed := range []string{id, strings.ToUpper(id), "{" + id + "}", " { " + id + " } ", "{" + id, id + "}", strings.ReplaceAll(id, "-", "‑"), "\u200b" + id + "\n"} {
		if got := TypedID(typed); got != id {
			t.Errorf("the id %+q is %q", typed, got)
		}
	}
}
