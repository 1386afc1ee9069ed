package text

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

func TestTableFitsItsWindow(t *testing.T) {
	t.Parallel()
	table := Table{
		Heads: []string{"Name", "Owner", "State", "System"},
		Rows:  [][]string{{"Windows", "alice", "Running", "Windows 11"}, {"A", "b", "Stopped", "macOS 26"}},
	}
	cases := []struct {
		name   string
		window int
		drop   []int
		want   string
	}{
		{"a pipe", 0, []int{1}, "Name     Owner  State    System\nWindows  alice  Running  Windows 11\nA        b      Stopped  macOS 26\n"},
		{"as wide as the table", 35, nil, "Name     Owner  State    System\nWindows  alice  Running  Windows 11\nA        b      Stopped  macOS 26\n"},
		{"one column less", 34, nil, "Name     Owner  State\nWindows  alice  Running\nA        b      Stopped\nNo room for: System.\n"},
		{"in a stated order", 34, []int{1, 2}, "Name     State    System\nWindows  Running  Windows 11\nA        Stopped  macOS 26\nNo room for: Owner.\n"},
		{"then from the right", 10, []int{1}, "Name\nWindows\nA\nNo room for: Owner, State, System.\n"},
		{"the first column always stays", 3, []int{0, 0, 9}, "Name\nWindows\nA\nNo room for: Owner, State, System.\n"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			shown := table
			shown.Window, shown.Drop = c.window, c.drop
			got := shown.String()
			if got != c.want {
				t.Errorf("got\n%swant\n%s", got, c.want)
			}
			for line := range strings.Lines(got) {
				if c.window > 10 && Width(strings.TrimSuffix(line, "\n")) > c.window {
					t.Errorf("wider than the window: %q", line)
				}
			}
		})
	}
}

func TestOnlyATerminalHasAWindow(t *testing.T) {
	t.Parallel()
	file, err := os.Create(t.TempDir() + "/file")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if WindowWidth(&bytes.Buffer{}) != 0 || WindowWidth(file) != 0 {
		t.Error("a file or a buffer has one")
	}
}

func TestComplaints(t *testing.T) {
	t.Parallel()
	for want, got := range map[string]string{
		"prlx: it broke\n":                  Complaint("prlx", errText("it broke"), ""),
		"prlx: a\\x1b[2J; b\n  → mend it\n": Complaint("prlx", errText("a\x1b[2J\nb"), "mend it"),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

type errText string

func (e errText) Error() string { return string(e) }
