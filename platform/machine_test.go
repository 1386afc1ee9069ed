package platform

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"prlagent/platform/safefile"
)

func TestPathStaysBelowTheRoot(t *testing.T) {
	t.Parallel()
	cases := map[string]struct{ root, macPath, want string }{
		"real Mac":            {"", "/Users/alice", "/Users/alice"},
		"simulated Mac":       {"/sim", "/Users/alice", "/sim/Users/alice"},
		"spaces":              {"/sim", "/Library/Application Support", "/sim/Library/Application Support"},
		"climbing out":        {"/sim", "/../../etc/passwd", "/sim/etc/passwd"},
		"climbing in between": {"/sim", "/Users/../../etc/passwd", "/sim/etc/passwd"},
		"relative":            {"/sim", "../etc", "/sim/etc"},
		"the root itself":     {"/sim", "/", "/sim"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := New(c.root, nil).Path(c.macPath); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestFilesOfTheMac(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	place(t, root, "/Users/alice/Parallels/a.pvm/config.pvs", "<xml/>")
	machine := New(root, nil)

	device, inode, err := machine.Identity("/Users/alice/Parallels/a.pvm")
	if err != nil || inode == 0 {
		t.Errorf("got device %d, inode %d, %v", device, inode, err)
	}
	if uid, err := machine.Owner("/Users/alice"); err != nil || uid != uint32(os.Geteuid()) {
		t.Errorf("got owner %d, %v", uid, err)
	}
	if free, err := machine.FreeSpace("/Users/alice"); err != nil || free == 0 {
		t.Errorf("got %d bytes free, %v", free, err)
	}
	_, _, identityError := machine.Identity("/nothing")
	_, ownerError := machine.Owner("/nothing")
	_, spaceError := machine.FreeSpace("/nothing")
	for _, err := range []error{identityError, ownerError, spaceError} {
		if !errors.Is(err, os.ErrNotExist) {
			t.Errorf("got %v for a missing path", err)
		}
	}
}

func TestReadUserFile(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	alice := User{Name: "alice", UID: 501, Home: "/Users/alice"}
	place(t, root, "/Users/alice/config.pvs", "<xml/>")
	if err := os.Symlink("config.pvs", filepath.Join(root, "Users/alice/link")); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	cases := map[string]struct {
		ctx  context.Context
		path string
		max  int64
		want string
		err  error
	}{
		"file":          {t.Context(), "/Users/alice/config.pvs", 100, "<xml/>", nil},
		"too large":     {t.Context(), "/Users/alice/config.pvs", 3, "", safefile.ErrTooLarge},
		"link":          {t.Context(), "/Users/alice/link", 100, "", safefile.ErrSymlink},
		"context ended": {ended, "/Users/alice/config.pvs", 100, "", context.Canceled},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data, err := New(root, nil).ReadUserFile(c.ctx, alice, c.path, c.max)
			if string(data) != c.want || !errors.Is(err, c.err) {
				t.Errorf("got %q, %v", data, err)
			}
		})
	}
	t.Run("another user's, on a real Mac", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(root, "Users/alice/config.pvs")
		somebody := User{Name: "bob", UID: uint32(os.Geteuid()) + 1}
		if _, err := New("", nil).ReadUserFile(t.Context(), somebody, path, 100); !errors.Is(err, safefile.ErrOwner) {
			t.Errorf("got %v, want %v", err, safefile.ErrOwner)
		}
	})
}
