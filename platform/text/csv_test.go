package text

import (
	"errors"
	"strings"
	"testing"
)

func TestH15_DisplayCSV(t *testing.T) {
	t.Parallel()
	cases := []struct{ name, cell, want string }{
		{"plain text", "Windows 11; test = yes", "Windows 11; test = yes"},
		{"a formula", "=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"},
		{"a formula behind a tab", "\t=1", `'\x09=1`},
		{"a formula behind a line end", "\n=1", `'\x0a=1`},
		{"a formula behind blanks", " \u00a0=1", "' \u00a0=1"},
		{"a formula in quotes", `"=1"`, `'"=1"`},
		{"wide signs", "＝1", "'＝1"},
		{"a cell of countries with decimal commas", `a;=1; "@x"`, `a;'=1;' "@x"`},
		{"an invisible first character", "\u200b=1", `\u200b=1`},
		{"nothing", "", ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := DisplayCSV(c.cell); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func TestDisplayCSVDefusesFormulas(t *testing.T) {
	t.Parallel()
	for cell, want := range map[string]string{
		"=1+1": "'=1+1", "+1": "'+1", "-1": "'-1", "@SUM": "'@SUM",
		"\t=1": `'\x09=1`, "\r=1": `'\x0d=1`, "": "", "plain": "plain", "a=b": "a=b",
	} {
		if got := DisplayCSV(cell); got != want {
			t.Errorf("DisplayCSV(%q) = %q, want %q", cell, got, want)
		}
	}
}

func TestCSV(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	writer := NewCSV(&out)
	cells := []string{"=1+1", "two\nlines", `a "quote", a comma`, "開発"}
	if err := errors.Join(writer.Write([]string{"id", "name", "note", "os"}), writer.Write(cells), writer.Flush()); err != nil {
		t.Fatal(err)
	}
	if want := "id,name,note,os\n'=1+1,two\\x0alines,\"a \"\"quote\"\", a comma\",開発\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
	if cells[0] != "=1+1" {
		t.Error("the caller's cells were changed")
	}
}

func TestCSVTellsFailures(t *testing.T) {
	t.Parallel()
	full := errors.New("disk full")
	writer := NewCSV(failing{full})
	if err := errors.Join(writer.Write([]string{"a"}), writer.Flush()); !errors.Is(err, full) {
		t.Errorf("got %v", err)
	}
}
