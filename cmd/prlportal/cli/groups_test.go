package cli

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/content"
	"prlagent/cmd/prlportal/fleet"
	"prlagent/cmd/prlportal/portaltest"
)

// onePolicy is a store with one policy.
type onePolicy struct{ data []byte }

func (s onePolicy) Policy(context.Context, string) ([]byte, error) { return s.data, nil }
func (s onePolicy) Published(context.Context) (content.Published, error) {
	return content.Published{}, nil
}
func (s onePolicy) Add(context.Context, content.Upload) error { return nil }

// GRP-12: each group with where its members come from, its policy, golden image, mode
// and how many Macs.
func TestGRP12_Groups(t *testing.T) {
	t.Parallel()
	document := []byte(`{"schema":1,"policy_id":"p","revision":7,"name":"Finance","groups":["default"],"golden_image":{"id":"w","name":"Windows 11","images":{"arm64":` +
		`{"url":"https://images.example.com/w.zip","format":"zip","sha256":"` + strings.Repeat("a", 64) + `"}}}}`)
	pointer := protocol.PointTo("p", 7, document)
	work := workplace{
		store:     onePolicy{document},
		status:    reported{Groups: []fleet.GroupStatus{{Group: "default", Macs: 3, InPlace: 2, None: 1, Sources: map[string]int{"profile": 2, "primary": 1}}}},
		published: content.Published{Groups: []content.GroupNamed{{ID: "default", Name: "Everybody"}}},
		state:     content.State{Heads: map[string]protocol.Head{"default": {Policy: &pointer, Mode: protocol.ModeEnforce}, "lab": {}}},
	}
	rows, err := work.groupRows(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := printGroups(&out, rows); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 3 {
		t.Fatalf("%s", out.String())
	}
	portaltest.MustContain(t, lines[1], "default", "Everybody", "Finance", "7", "Windows 11", "enforce", "3", "1 primary, 2 profile", "2 in place, 1 without")
}

// A cursor file is written by whole files; what is no such file is not read.
func TestCursorFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := write("good", "c7-0-0000000a\n")
	link := filepath.Join(dir, "link")
	if err := os.Symlink(good, link); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ file, cursor string }{
		"a cursor":     {good, "c7-0-0000000a"},
		"none yet":     {filepath.Join(dir, "none"), fleet.CursorStart},
		"an empty one": {write("empty", "\n"), fleet.CursorStart},
		"garbage":      {write("garbage", "c7-0-a"), ""},
		"a link":       {link, ""},
		"a large one":  {write("large", strings.Repeat(" ", 1<<20)), ""},
	} {
		cursor, err := (&listOptions{}).journalCursor(journalOptions{cursorFile: test.file})
		if cursor != test.cursor || (err == nil) != (test.cursor != "") || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %q, %v", name, cursor, err)
		}
	}
}
