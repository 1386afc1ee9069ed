package tool

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// A program sends descriptors of files that it may open, with what it says: no more
// than were asked for, and none beside an error.
func TestH25_DescriptorsOfFilesOnASocket(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	var names []string
	for _, name := range []string{"a", "b", "c"} {
		names = append(names, filepath.Join(folder, name))
		if err := os.WriteFile(names[len(names)-1], []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		max, files, exit int
		said             string
	}{
		"as many":  {3, 3, 0, "   sent"},
		"more":     {2, 2, -1, ""}, // it may learn that nobody listens
		"unwanted": {0, 0, -1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runner := &Runner{Grace: 200 * time.Millisecond}
			result, err := runner.Run(t.Context(), &Command{
				Path: testBinary(t), Args: append([]string{"send-files"}, names...), Socket: true, MaxFiles: c.max, Limit: time.Minute,
			})
			if len(result.Files) != c.files {
				t.Fatalf("want %d descriptors, got %d, %v", c.files, len(result.Files), err)
			}
			if c.exit == 0 && (err != nil || string(result.Stdout) != c.said) {
				t.Errorf("got %q, %v", result.Stdout, err)
			}
			for i, file := range result.Files {
				content := make([]byte, 2)
				if n, _ := file.Read(content); string(content[:n]) != filepath.Base(names[i]) {
					t.Errorf("descriptor %d: read %q", i, content[:n])
				}
				if err := file.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// What was sent by a program that is killed is closed.
func TestH25_NoDescriptorsBesideAnError(t *testing.T) {
	t.Parallel()
	sent := filepath.Join(t.TempDir(), "only-this-test-sends-it")
	if err := os.WriteFile(sent, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	result, err := (&Runner{Grace: 200 * time.Millisecond}).Run(t.Context(), &Command{
		Path: testBinary(t), Args: []string{"send-and-sleep", sent}, Socket: true, MaxFiles: 3, Limit: 300 * time.Millisecond,
	})
	requireCode(t, err, CodeTimeout)
	if len(result.Files) != 0 {
		t.Errorf("got %d descriptors", len(result.Files))
	}
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("this system does not tell its descriptors")
	}
	if slices.ContainsFunc(open, func(entry os.DirEntry) bool {
		target, _ := os.Readlink("/proc/self/fd/" + entry.Name())
		return strings.HasSuffix(target, "only-this-test-sends-it")
	}) {
		t.Error("a descriptor is left open")
	}
	if _, err := new(Runner).Run(t.Context(), &Command{Path: testBinary(t), MaxFiles: 1}); err == nil {
		t.Error("descriptors without a socket are not refused")
	}
}
