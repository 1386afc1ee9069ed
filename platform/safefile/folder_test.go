package safefile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// requireRoot skips what only root can set up: folders of other accounts, and a
// group that may write in a folder of root.
func requireRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
}

const stranger = 12345 // a uid and a gid without an account

// H53: one folder of the chain that another can change is enough.
func TestH53_AChainThatOthersCanChange(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		change func(top string) error // of top/middle/last
		unsafe string                 // the folder that is named; empty = the chain is good
		reason string
		root   bool // what only root can set up
	}{
		"as it is":                     {},
		"everybody writes, above":      {change: mode("middle", 0o777), unsafe: "middle", reason: "everybody can write in it (mode 0777)"},
		"everybody writes, the folder": {change: mode("middle/last", 0o757), unsafe: "middle/last", reason: "everybody can write in it (mode 0757)"},
		"sticky, above":                {change: mode("middle", 0o777|unix.S_ISVTX)},
		"sticky, the folder":           {change: mode("middle/last", 0o777|unix.S_ISVTX), unsafe: "middle/last", reason: "everybody"},
		"a group of root's, above":     {change: mode("middle", 0o775), unsafe: "middle", reason: "group 0 can write in it (mode 0775)", root: true},
		"a group of root's, folder":    {change: mode("middle/last", 0o770), unsafe: "middle/last", reason: "group 0", root: true},
		"another's, above":             {change: owner("middle"), unsafe: "middle", reason: "it belongs to uid 12345", root: true},
		"another's, the folder":        {change: owner("middle/last"), unsafe: "middle/last", reason: "uid 12345", root: true},
		"another's, sticky above": {change: func(top string) error {
			return errors.Join(owner("middle")(top), mode("middle", 0o777|unix.S_ISVTX)(top))
		}, unsafe: "middle", reason: "uid 12345", root: true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.root {
				requireRoot(t)
			}
			top := resolved(t, t.TempDir())
			last := filepath.Join(top, "middle/last")
			err := os.MkdirAll(last, 0o755)
			if c.change != nil {
				err = errors.Join(err, c.change(top))
			}
			if err != nil {
				t.Fatal(err)
			}
			folder, err := OpenFolder(last)
			checked := CheckFolder(last, uint32(os.Geteuid()))
			if c.unsafe == "" {
				if err != nil || checked != nil {
					t.Fatalf("refused: %v, %v", err, checked)
				}
				folder.Close()
				return
			}
			var unsafe *UnsafeFolderError
			if !errors.As(err, &unsafe) || unsafe.Path != filepath.Join(top, c.unsafe) || !strings.Contains(unsafe.Reason, c.reason) {
				t.Errorf("got %v, want %s of %s", err, c.reason, c.unsafe)
			}
			if !errors.Is(err, ErrUnsafeDirectory) || unsafe.ErrorCode() != "folder_writable" || checked == nil || checked.Error() != err.Error() {
				t.Errorf("got %v and %v", err, checked)
			}
		})
	}
}

func mode(name string, bits uint32) func(string) error {
	return func(top string) error { return unix.Chmod(filepath.Join(top, name), bits) }
}

func owner(name string) func(string) error {
	return func(top string) error { return os.Chown(filepath.Join(top, name), stranger, -1) }
}

// resolved is a path without the links that the system has in it.
func resolved(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// A Mac's own /var is a link of root; a link that another account made leads
// nowhere, wherever it points to.
func TestH53_LinksInAChain(t *testing.T) {
	t.Parallel()
	top := resolved(t, t.TempDir())
	err := errors.Join(
		os.MkdirAll(filepath.Join(top, "real/last"), 0o755),
		os.MkdirAll(filepath.Join(top, "open/last"), 0o755),
		os.Chmod(filepath.Join(top, "open"), 0o777),
		os.Symlink("real", filepath.Join(top, "relative")),
		os.Symlink(filepath.Join(top, "real"), filepath.Join(top, "absolute")),
		os.Symlink("../"+filepath.Base(top)+"/real", filepath.Join(top, "around")),
		os.Symlink("open", filepath.Join(top, "to-open")),
		os.Symlink("loop", filepath.Join(top, "loop")),
	)
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]error{
		"real/last": nil, "relative/last": nil, "absolute/last": nil, "around/last": nil,
		"to-open/last": ErrUnsafeDirectory, "loop/last": ErrSymlink, "nowhere/last": fs.ErrNotExist,
	}
	if os.Geteuid() == 0 {
		link := filepath.Join(top, "theirs")
		if err := errors.Join(os.Symlink("real", link), os.Lchown(link, stranger, stranger)); err != nil {
			t.Fatal(err)
		}
		cases["theirs/last"] = ErrSymlink
	}
	for path, want := range cases {
		folder, err := OpenFolder(filepath.Join(top, path))
		if !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", path, err, want)
		}
		if err == nil {
			folder.Close()
		}
	}
	if folder, err := OpenFolder("."); err != nil && !errors.Is(err, ErrUnsafeDirectory) {
		t.Errorf("a relative path: %v", err)
	} else if err == nil {
		folder.Close()
	}
}

// H53: what is done in a folder is done in the one that was looked at, whatever
// becomes of the path.
func TestH53_AFolderStaysTheOneThatWasLookedAt(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	path, moved := filepath.Join(top, "folder"), filepath.Join(top, "moved")
	folder, err := MakeFolder(path, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	if !folder.LeadsHere() {
		t.Error("its path does not lead to it")
	}
	victim := filepath.Join(top, "victim")
	if err := errors.Join(os.Rename(path, moved), os.Mkdir(victim, 0o755), os.Symlink(victim, path)); err != nil {
		t.Fatal(err)
	}
	if folder.LeadsHere() {
		t.Error("its path leads elsewhere by now")
	}
	file, err := folder.OpenFile("opened", os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(file.Close(), folder.WriteFile("written", []byte("x"), 0o600, -1),
		folder.Link("written", "linked"), folder.Rename("opened", "renamed"), folder.Remove("linked"))
	if err != nil {
		t.Fatal(err)
	}
	for place, want := range map[string][]string{moved: {"renamed", "written"}, victim: nil} {
		if got := namesIn(t, place); !slices.Equal(got, want) {
			t.Errorf("%s has %v, want %v", filepath.Base(place), got, want)
		}
	}
	names, err := folder.Names()
	slices.Sort(names)
	if err != nil || !slices.Equal(names, []string{"renamed", "written"}) {
		t.Errorf("its names are %v, %v", names, err)
	}
}

func namesIn(t *testing.T, folder string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

func TestH53_EntriesThatAreNotOpened(t *testing.T) {
	t.Parallel()
	folder, err := OpenFolder(layout(t))
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	for name, want := range map[string]error{
		"ten": nil, "link": ErrSymlink, "dangling": ErrSymlink, "link-to-device": ErrSymlink, "folder": ErrNotRegular,
		"pipe": ErrNotRegular, "nothing": fs.ErrNotExist,
		"": errNoName, ".": errNoName, "..": errNoName, "folder/x": errNoName, "/etc/passwd": errNoName, "a\x00b": errNoName,
	} {
		for kind, flags := range map[string]int{"reading": os.O_RDONLY, "appending": os.O_WRONLY | os.O_APPEND} {
			file, err := folder.OpenFile(name, flags, 0)
			if err == nil {
				file.Close()
			}
			if !errors.Is(err, want) {
				t.Errorf("%s, %s: got %v, want %v", name, kind, err, want)
			}
		}
		if _, err := folder.ReadFile(name, 100); !errors.Is(err, want) {
			t.Errorf("%s, read: got %v, want %v", name, err, want)
		}
	}
	if _, err := folder.ReadFile("ten", 9); !errors.Is(err, ErrTooLarge) {
		t.Errorf("over the limit: %v", err)
	}
	if _, err := folder.ReadOwnedFile("ten", uint32(os.Geteuid())+1, 100); !errors.Is(err, ErrOwner) {
		t.Errorf("of another owner: %v", err)
	}
	for _, err := range []error{folder.Rename("ten", "../x"), folder.Link("../x", "y"), folder.Remove("folder/.."), folder.WriteFile("../x", nil, 0o600, -1)} {
		if !errors.Is(err, errNoName) {
			t.Errorf("a path as a name: %v", err)
		}
	}
	if _, err := folder.Lstat("../x"); !errors.Is(err, errNoName) {
		t.Errorf("a path as a name: %v", err)
	}
}

func TestMakeFolder(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	top := t.TempDir()
	path := filepath.Join(top, "a/b")
	make := func(want fs.FileMode) {
		t.Helper()
		folder, err := MakeFolder(path, 0o755)
		if err != nil {
			t.Fatal(err)
		}
		folder.Close()
		for name, want := range map[string]fs.FileMode{filepath.Dir(path): 0o755, path: want} {
			if info, err := os.Stat(name); err != nil || info.Mode().Perm() != want {
				t.Errorf("%s: %v, %v; want %v", name, info.Mode(), err, want)
			}
		}
	}
	make(0o755)
	for found, want := range map[fs.FileMode]fs.FileMode{0o700: 0o700, 0o777: 0o755, 0o722: 0o700} {
		if err := os.Chmod(path, found); err != nil {
			t.Fatal(err)
		}
		make(want)
	}
	if err := os.Chmod(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := MakeFolder(path, 0o755); !errors.Is(err, ErrUnsafeDirectory) {
		t.Errorf("below a folder that others write in: %v", err)
	}
	requireRoot(t)
	if err := errors.Join(os.Chmod(filepath.Dir(path), 0o755), os.Chown(path, stranger, stranger)); err != nil {
		t.Fatal(err)
	}
	if _, err := MakeFolder(path, 0o755); !errors.Is(err, ErrUnsafeDirectory) {
		t.Errorf("another's folder: %v", err)
	}
}

// What cannot be looked at, or is not there yet, is no reason to alarm anybody.
func TestCheckFolderOfWhatIsNotThere(t *testing.T) {
	t.Parallel()
	top := resolved(t, t.TempDir())
	if err := CheckFolder(filepath.Join(top, "a/b"), uint32(os.Geteuid())); err != nil {
		t.Error(err)
	}
	if err := os.Chmod(top, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := CheckFolder(filepath.Join(top, "a/b"), uint32(os.Geteuid())); !errors.Is(err, ErrUnsafeDirectory) {
		t.Errorf("got %v", err)
	}
}

// A file for administrators is theirs before anybody can open it.
func TestWriteFileForAGroup(t *testing.T) {
	t.Parallel()
	requireRoot(t)
	path := t.TempDir()
	folder, err := OpenFolder(path)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	if err := folder.WriteFile("file", []byte("x"), 0o640, stranger); err != nil {
		t.Fatal(err)
	}
	var stat unix.Stat_t
	if err := unix.Stat(filepath.Join(path, "file"), &stat); err != nil || stat.Gid != stranger || stat.Mode&0o777 != 0o640 {
		t.Errorf("group %d, mode %o, %v", stat.Gid, stat.Mode, err)
	}
}
