package content_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"prlagent/cmd/prlportal/content"
	"prlagent/cmd/prlportal/site"
)

// What a write that was killed has left, or what somebody put in its way, holds up
// nobody and is not written through; a half of a file is never a head or a policy.
func TestAnInterruptedWrite(t *testing.T) {
	t.Parallel()
	for name, leave := range map[string]func(path string) error{
		"half a file": func(path string) error { return os.WriteFile(path, []byte(`{"payl`), 0o600) },
		"a pipe":      func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"a link":      func(path string) error { return os.Symlink("b.dsse.json", path) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t)
			f.publish(content.Publication{})
			dir := f.root.Name()
			for _, file := range []string{"heads/.new-a.dsse.json", "policies/.new-x.json"} {
				if err := leave(filepath.Join(dir, file)); err != nil {
					t.Fatal(err)
				}
			}
			f.setPolicy("p", 1, "a")
			f.want(f.publish(content.Publication{}), "a: changed p 1; b: unchanged")
			f.want(f.versions(), "a 2, b 1")
		})
	}
	f := newFleet(t)
	f.publish(content.Publication{})
	if err := syscall.Mkfifo(filepath.Join(f.root.Name(), filepath.FromSlash(site.HeadPath("c"))), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := f.folder.Published(t.Context()); err == nil {
		t.Error("a pipe is read as a head")
	}
}
