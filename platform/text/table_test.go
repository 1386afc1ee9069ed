package text

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write golden files anew")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; got:\n%s", name, got)
	}
}

func TestH15_TableKeepsItsColumns(t *testing.T) {
	t.Parallel()
	cells := Table{Heads: []string{"NAME", "STATE"}, MaxCell: 36, Rows: [][]string{
		{"Windows", "Running"}, {"日本語", "Stopped"}, {"two\nlines", "Stopped"}, {strings.Repeat("漢", 40), "Stopped"},
	}}
	golden(t, "wide.txt", cells.String())
}

// Names as people give them to their machines: the second column begins at the
// same column of the terminal in every line.
func TestTableAlignsWideNames(t *testing.T) {
	t.Parallel()
	names := Table{Heads: []string{"NAME", "STATE", "OWNER"}, Indent: "  "}
	for _, name := range []string{
		"Windows 11", "Build \U0001f7e2", "Nightly \u23f3", "Desktop \U0001f5a5", "Desktop \U0001f5a5\ufe0f", "開発用 macOS",
		"한글", "Zoe\u0308", "🇩🇪 Deutsch", "👍🏽 done", "ｱ half", "Ａ full", "a\u200bb", "",
	} {
		names.Rows = append(names.Rows, []string{name, "Running", "alice"})
	}
	names.Rows = append(names.Rows, []string{"without an owner", "Stopped", ""}, []string{"blank at the end ", "Stopped", " "}, []string{"short row"})
	golden(t, "names.txt", names.String())
}

func TestTableForms(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name  string
		table Table
		want  string
	}{
		{"nothing", Table{}, ""},
		{"heads alone", Table{Heads: []string{"A", "B"}}, "A  B\n"},
		{"no heads", Table{Rows: [][]string{{"Network", "up"}, {"Service", "down"}}}, "Network  up\nService  down\n"},
		{"a cell that is cut", Table{Rows: [][]string{{"abcdef", "x"}}, MaxCell: 4}, "abc…  x\n"},
		{"a cell that steers", Table{Rows: [][]string{{"a\x1b[2J", "x"}}}, "a\\x1b[2J  x\n"},
		{"colors", Table{
			Heads: []string{"A", "B"}, Rows: [][]string{{"long", "b"}},
			Paint: func(row, column int, text string) string { return "<" + strings.Repeat("|", row+1+column) + text + ">" },
		}, "<A>     <|B>\n<|long>  <||b>\n"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := c.table.String(); got != c.want {
				t.Errorf("got\n%swant\n%s", got, c.want)
			}
		})
	}
}
