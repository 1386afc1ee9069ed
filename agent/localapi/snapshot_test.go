package localapi

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"

	"prlagent/agent/protocol"
	"prlagent/platform/plist"
	"prlagent/platform/safefile"
)

var snapshotNames = []string{StatusJSON, StatusPlist, InventoryPlist}

func TestSnapshotFiles(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	if err := WriteSnapshots(folder, sampleStatus(), sampleInventory()); err != nil {
		t.Fatal(err)
	}
	for _, name := range snapshotNames {
		data, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		checkGolden(t, filepath.Join("testdata", "snapshot", name), data)
	}
}

func TestH16_SnapshotsAreReadableByWhoMay(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	if err := WriteSnapshots(folder, sampleStatus(), sampleInventory()); err != nil {
		t.Fatal(err)
	}
	modes := map[string]fs.FileMode{StatusJSON: 0o644, StatusPlist: 0o644, InventoryPlist: 0o640}
	for name, want := range modes {
		info, err := os.Stat(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", name, info.Mode(), want)
		}
	}
	for _, name := range []string{StatusJSON, StatusPlist} {
		data, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range secretsOf["status"] {
			if strings.Contains(string(data), secret) {
				t.Errorf("%s holds %q", name, secret)
			}
		}
	}
}

func TestSnapshotsAreWrittenOnlyForNews(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name   string
		change func(*Status, *Inventory)
		news   map[string]bool
	}{
		{"a later look that found the same", func(s *Status, i *Inventory) {
			s.At, i.At = s.At.Add(time.Hour), i.At.Add(time.Hour)
		}, nil},
		{"what only administrators see", func(s *Status, _ *Inventory) {
			s.Pass.Number++
			s.ToolRuns["prlctl"]++
		}, nil},
		{"another count", func(s *Status, _ *Inventory) { s.Counts.Running++ }, map[string]bool{StatusJSON: true, StatusPlist: true}},
		{"a condition that began anew", func(s *Status, _ *Inventory) {
			s.Health.Conditions[0].Since = s.At
		}, map[string]bool{StatusJSON: true, StatusPlist: true}},
		{"another row", func(_ *Status, i *Inventory) { i.Rows = i.Rows[:1] }, map[string]bool{InventoryPlist: true}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			status, inventory := sampleStatus(), sampleInventory()
			if err := WriteSnapshots(folder, status, inventory); err != nil {
				t.Fatal(err)
			}
			before := filesIn(t, folder)
			c.change(status, inventory)
			if err := WriteSnapshots(folder, status, inventory); err != nil {
				t.Fatal(err)
			}
			for name, file := range filesIn(t, folder) {
				if written := !os.SameFile(file, before[name]); written != c.news[name] {
					t.Errorf("%s written: %t, want %t", name, written, c.news[name])
				}
			}
		})
	}
}

func filesIn(t *testing.T, folder string) map[string]fs.FileInfo {
	t.Helper()
	found := make(map[string]fs.FileInfo)
	for _, name := range snapshotNames {
		info, err := os.Lstat(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		found[name] = info
	}
	return found
}

func TestSnapshotsMendWhatIsWrongOnDisk(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name  string
		spoil func(path string) error
	}{
		{"damaged", func(path string) error { return os.WriteFile(path, []byte("<"), 0o644) }},
		{"empty", func(path string) error { return os.Truncate(path, 0) }},
		{"opened too far", func(path string) error { return os.Chmod(path, 0o666) }},
		{"deleted", os.Remove},
		{"exchanged for that of another version", func(path string) error { return replaceIn(path, "1.0.0", "9.9.9") }},
		{"with a time that is none", func(path string) error { return replaceIn(path, "2026-11-23T09:4", "99") }},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			write := func() {
				if err := WriteSnapshots(folder, sampleStatus(), sampleInventory()); err != nil {
					t.Fatal(err)
				}
			}
			write()
			written := make(map[string]string)
			for _, name := range snapshotNames {
				written[name] = contentOf(t, filepath.Join(folder, name))
				if err := c.spoil(filepath.Join(folder, name)); err != nil {
					t.Fatal(err)
				}
			}
			write()
			for name, want := range written {
				if got := contentOf(t, filepath.Join(folder, name)); got != want {
					t.Errorf("%s is not what was written: %s", name, got)
				}
			}
			if _, err := ReadSnapshot(filepath.Join(folder, StatusJSON)); err != nil {
				t.Error(err)
			}
			for _, name := range []string{StatusPlist, InventoryPlist} {
				data, err := os.ReadFile(filepath.Join(folder, name))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := plist.DecodeDict(data); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				if info, err := os.Stat(filepath.Join(folder, name)); err != nil || info.Mode()&0o022 != 0 {
					t.Errorf("%s: %v, %v", name, info.Mode(), err)
				}
			}
		})
	}
}

func contentOf(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// replaceIn changes a text wherever a file has it.
func replaceIn(path, old, other string) error {
	data, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, []byte(strings.ReplaceAll(string(data), old, other)), 0o644)
	}
	return err
}

func TestSnapshotsDoNotFollowLinks(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	victim := filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(victim, filepath.Join(folder, InventoryPlist)); err != nil {
		t.Fatal(err)
	}
	if err := WriteSnapshots(folder, sampleStatus(), sampleInventory()); !errors.Is(err, safefile.ErrSymlink) {
		t.Errorf("%v, want ErrSymlink", err)
	}
	if data, err := os.ReadFile(victim); err != nil || string(data) != "precious" {
		t.Errorf("the victim has %q, %v", data, err)
	}
	if info, err := os.Stat(victim); err != nil || info.Mode() != 0o600 {
		t.Errorf("the victim has mode %v, %v", info.Mode(), err)
	}
	if _, err := ReadSnapshot(filepath.Join(folder, StatusJSON)); err != nil {
		t.Errorf("the other files were not written: %v", err)
	}
}

// H15: a guest's name cannot make the property list fail, nor steer whoever reads it.
func TestH15_SnapshotShowsControlCharacters(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	if err := WriteSnapshots(folder, sampleStatus(), sampleInventory()); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(folder, InventoryPlist))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(data), `Evil\x1b[2J\u202egpj.exe`) {
		t.Error("the name is not shown")
	}
}

// spoiled is a document in which every text that is no point in time has more
// behind it.
func spoiled[T any](t *testing.T, document T, more string) T {
	t.Helper()
	var spoil func(value any) any
	spoil = func(value any) any {
		switch value := value.(type) {
		case string:
			if _, err := time.Parse(time.RFC3339, value); err != nil {
				return value + more
			}
		case []any:
			for i := range value {
				value[i] = spoil(value[i])
			}
		case map[string]any:
			for key := range value {
				value[key] = spoil(value[key])
			}
		}
		return value
	}
	data, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	var tree any
	if err := json.Unmarshal(data, &tree); err != nil {
		t.Fatal(err)
	}
	if data, err = json.Marshal(spoil(tree)); err != nil {
		t.Fatal(err)
	}
	var out T
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// H15: whatever texts a document has, its files are written, can be read, have
// no more lines than with harmless text, and steer no terminal.
func TestH15_SnapshotsOfHostileTexts(t *testing.T) {
	t.Parallel()
	write := func(t *testing.T, more string) map[string]string {
		folder := t.TempDir()
		status := spoiled(t, sampleStatus(), more)
		status.Portal.Group.ID += more // public, and of the portal
		if err := WriteSnapshots(folder, status, spoiled(t, sampleInventory(), more)); err != nil {
			t.Fatal(err)
		}
		files := make(map[string]string)
		for _, name := range snapshotNames {
			data, err := os.ReadFile(filepath.Join(folder, name))
			if err != nil {
				t.Fatal(err)
			}
			files[name] = string(data)
		}
		if _, err := ReadSnapshot(filepath.Join(folder, StatusJSON)); err != nil {
			t.Error(err)
		}
		return files
	}
	harmless := write(t, "x")
	for name, text := range map[string]string{
		"an escape sequence":    "\x1b[2J\x1b]52;c;cm0gLXJm\x07",
		"C1 controls":           "\u009b31m\u0085\x7f",
		"a change of direction": "a\u202egpj.exe\u2066",
		"invisible characters":  "a\u200d\u200d\u200b\ufeff\u3164\u2028",
		"another line":          "a\r\n\tb\rc",
		"a NUL":                 "a\x00b",
		"no characters":         "a\ufffe\uffff",
		"no UTF-8":              "a\xff\xed\xa0\x80b",
		"a pile of marks":       "a" + strings.Repeat("\u0301", 200),
		"an entity":             "&lt;&#x1b;<!ENTITY a 'b'>",
		"the end of CDATA":      "]]></string></dict></plist>",
		"a text without an end": strings.Repeat("x", 20<<10),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for file, content := range write(t, text) {
				if strings.Count(content, "\n") != strings.Count(harmless[file], "\n") {
					t.Errorf("%s has other lines: %.3000q", file, content)
				}
				for _, character := range content {
					if !unicode.IsGraphic(character) && character != '\n' && character != '\t' {
						t.Fatalf("%s has %q", file, character)
					}
				}
				if file == StatusJSON {
					continue
				}
				if _, err := plist.DecodeDict([]byte(content)); err != nil {
					t.Errorf("%s: %v", file, err)
				}
			}
		})
	}
}

// Every point in time of a document is a date in its property list, and no
// text is one, also those of fields and columns that are yet to come.
func TestPointsInTimeAreDatesInPropertyLists(t *testing.T) {
	t.Parallel()
	check := func(where, name string, isTime bool) {
		if isTimeKey(name) != isTime {
			t.Errorf("%s: %q is taken for a point in time: %t", where, name, !isTime)
		}
	}
	for _, document := range []any{Status{}, Inventory{}, protocol.VM{}, protocol.RowExtra{}} {
		eachField(reflect.TypeOf(document), check)
	}
	for _, column := range protocol.Columns {
		check("column", column.ID, column.Kind == protocol.KindTime)
	}
}

// eachField calls visit with every named text and point in time below a structure.
func eachField(structure reflect.Type, visit func(where, name string, isTime bool)) {
	for i := range structure.NumField() {
		field := structure.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		inner := field.Type
		for inner.Kind() == reflect.Slice || inner.Kind() == reflect.Pointer || inner.Kind() == reflect.Map {
			inner = inner.Elem()
		}
		switch {
		case inner == reflect.TypeFor[protocol.Row](): // has a form of its own
		case inner == reflect.TypeFor[time.Time](), inner.Kind() == reflect.String:
			visit(structure.String(), name, inner.Kind() != reflect.String)
		case inner.Kind() == reflect.Struct:
			eachField(inner, visit)
		}
	}
}

// H70: what no daemon of this version has written does not count as a status, in
// which whatever is not said would be zero.
func TestH70_WhatIsNoSnapshotIsRefused(t *testing.T) {
	t.Parallel()
	const at = `"at":"2026-11-23T09:00:00Z"`
	for content, good := range map[string]bool{
		`{"schema":1,` + at + `,"health":{"state":"healthy","conditions":[]}}`:     true,
		`{"schema":1,` + at + `,"health":{"state":"not_running","conditions":[]}}`: true,
		`{"schema":2,` + at + `,"health":{"state":"healthy","conditions":[]}}`:     false,
		`{` + at + `,"health":{"state":"healthy","conditions":[]}}`:                false,
		`{"schema":1,"health":{"state":"healthy","conditions":[]}}`:                false,
		`{"schema":1,` + at + `}`: false,
		`{}`:                      false,
		`null`:                    false,
		`[]`:                      false,
		``:                        false,
		`garbage`:                 false,
	} {
		path := filepath.Join(t.TempDir(), StatusJSON)
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if status, err := ReadSnapshot(path); (err == nil) != good {
			t.Errorf("%s: %+v, %v", content, status.Health, err)
		}
	}
}

// H70: nobody makes the check-ins that a daemon planned which is gone.
func TestH70_AnUnansweredStatusPlansNothing(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	status := Status{
		Health: Health{State: Healthy}, Daemon: Daemon{Running: true}, ValidUntil: now, Doing: []Activity{{Step: "observe"}},
		Schedule: Schedule{DailyAt: now}, Portal: PortalStatus{NextAttemptAt: now, NextReason: "cadence", LastSuccessAt: now},
	}
	want := Status{
		Health: Health{State: NotRunning, Last: Healthy}, Daemon: Daemon{State: NotRunning}, Portal: PortalStatus{LastSuccessAt: now},
	}
	if got := status.Unanswered(NotRunning); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	// What it said of itself is kept over another word for its silence.
	if again := want.Unanswered(NotAnswering); again.Health.State != NotAnswering || again.Health.Last != Healthy {
		t.Errorf("%+v", again.Health)
	}
}
