package safefile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// Who may own a folder and write there is the question that makes the difference; and
// where it may be anybody, no link is followed.
func TestH53_WhoMayOwnAFolder(t *testing.T) {
	t.Parallel()
	const middle, last = "middle", "middle/last"
	cases := map[string]struct {
		change  func(top string) error // of top/middle/last
		ours    error                  // of OpenFolder
		foreign error                  // of OpenForeignFolder
		root    bool                   // what only root can set up
	}{
		"ours":                         {},
		"another's, above":             {change: owner(middle), ours: ErrUnsafeDirectory, root: true},
		"another's, the folder":        {change: owner(last), ours: ErrUnsafeDirectory, root: true},
		"a group writes, above":        {change: mode(middle, 0o775), ours: ErrUnsafeDirectory, root: true},
		"a group writes, the folder":   {change: mode(last, 0o775), ours: ErrUnsafeDirectory, root: true},
		"everybody writes, above":      {change: mode(middle, 0o777), ours: ErrUnsafeDirectory},
		"everybody writes, the folder": {change: mode(last, 0o777), ours: ErrUnsafeDirectory},
		"another's link":               {change: both(link(middle, "moved"), linkOwner(middle)), ours: ErrSymlink, foreign: ErrSymlink, root: true},
		"a link above":                 {change: link(middle, "moved"), foreign: ErrSymlink},
		"a link, the folder":           {change: link(last, "moved"), foreign: ErrSymlink},
		"a link in another's folder":   {change: both(link(last, "moved"), owner(middle)), ours: ErrUnsafeDirectory, foreign: ErrSymlink, root: true},
		"a link to itself":             {change: link(middle, middle), ours: ErrSymlink, foreign: ErrSymlink},
		"a broken link":                {change: link(middle, "nowhere"), ours: fs.ErrNotExist, foreign: ErrSymlink},
		"missing, above":               {change: moveAway(middle), ours: fs.ErrNotExist, foreign: fs.ErrNotExist},
		"missing, the folder":          {change: moveAway(last), ours: fs.ErrNotExist, foreign: fs.ErrNotExist},
		"a file":                       {change: both(moveAway(middle), file(middle)), ours: unix.ENOTDIR, foreign: unix.ENOTDIR},
		"a pipe":                       {change: both(moveAway(last), pipe(last)), ours: unix.ENOTDIR, foreign: unix.ENOTDIR},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.root {
				requireRoot(t)
			}
			top := resolved(t, t.TempDir())
			err := os.MkdirAll(filepath.Join(top, last), 0o755)
			if c.change != nil {
				err = errors.Join(err, c.change(top))
			}
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(top, last)
			folder, err := OpenFolder(path)
			if !errors.Is(err, c.ours) {
				t.Errorf("OpenFolder: got %v, want %v", err, c.ours)
			}
			if err == nil {
				folder.Close()
			}
			foreign, err := OpenForeignFolder(path)
			if !errors.Is(err, c.foreign) {
				t.Errorf("OpenForeignFolder: got %v, want %v", err, c.foreign)
			}
			if err == nil {
				foreign.Close()
			}
		})
	}
}

func both(first, second func(string) error) func(string) error {
	return func(top string) error { return errors.Join(first(top), second(top)) }
}

// moveAway renames top/name to top/moved.
func moveAway(name string) func(string) error {
	return func(top string) error { return os.Rename(filepath.Join(top, name), filepath.Join(top, "moved")) }
}

// link moves a folder away and puts a link to top/target in its place.
func link(name, target string) func(string) error {
	return both(moveAway(name), func(top string) error {
		return os.Symlink(filepath.Join(top, target), filepath.Join(top, name))
	})
}

func linkOwner(name string) func(string) error {
	return func(top string) error { return os.Lchown(filepath.Join(top, name), stranger, stranger) }
}

func file(name string) func(string) error {
	return func(top string) error { return os.WriteFile(filepath.Join(top, name), nil, 0o600) }
}

func pipe(name string) func(string) error {
	return func(top string) error { return unix.Mkfifo(filepath.Join(top, name), 0o600) }
}

// What is read and removed is an entry of its kind, of the folder that was opened, whatever
// its path leads to by now.
func TestH53_EntriesOfAForeignFolder(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ read, remove, removeFolder error }{
		"link":    {nil, nil, unix.ENOTDIR},
		"file":    {unix.EINVAL, nil, unix.ENOTDIR},
		"pipe":    {unix.EINVAL, nil, unix.ENOTDIR},
		"empty":   {unix.EINVAL, errFolder, nil},
		"full":    {unix.EINVAL, errFolder, unix.ENOTEMPTY},
		"nothing": {fs.ErrNotExist, fs.ErrNotExist, fs.ErrNotExist},
		"":        {errNoName, errNoName, errNoName},
		".":       {errNoName, errNoName, errNoName},
		"..":      {errNoName, errNoName, errNoName},
		"full/x":  {errNoName, errNoName, errNoName},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			read := func(f *ForeignFolder, name string) error {
				target, err := f.ReadLink(name)
				if err == nil && target != "full" {
					t.Errorf("the link leads to %q", target)
				}
				return err
			}
			checkForeign(t, name, read, c.read, false)
			checkForeign(t, name, (*ForeignFolder).Remove, c.remove, true)
			checkForeign(t, name, (*ForeignFolder).RemoveFolder, c.removeFolder, true)
		})
	}
}

var errFolder = errors.New("it is a folder")

// checkForeign has something done with an entry of a folder that has been exchanged for
// another one since it was opened.
func checkForeign(t *testing.T, name string, do func(*ForeignFolder, string) error, want error, removes bool) {
	t.Helper()
	top := resolved(t, t.TempDir())
	path := filepath.Join(top, "folder")
	for _, place := range []string{path, filepath.Join(top, "victim")} {
		err := errors.Join(os.MkdirAll(filepath.Join(place, "full/x"), 0o755), os.Mkdir(filepath.Join(place, "empty"), 0o755),
			os.Symlink("full", filepath.Join(place, "link")), file("file")(place), pipe("pipe")(place))
		if err != nil {
			t.Fatal(err)
		}
	}
	folder, err := OpenForeignFolder(path)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	if err := link("folder", "victim")(top); err != nil {
		t.Fatal(err)
	}
	got := do(folder, name)
	if errors.Is(got, unix.EISDIR) || errors.Is(got, unix.EPERM) { // as Linux and macOS call it
		got = errFolder
	}
	if !errors.Is(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	all := []string{"empty", "file", "full", "link", "pipe"}
	left := slices.DeleteFunc(slices.Clone(all), func(entry string) bool { return removes && want == nil && entry == name })
	if names := namesIn(t, filepath.Join(top, "moved")); !slices.Equal(names, left) {
		t.Errorf("left are %v, want %v", names, left)
	}
	if names := namesIn(t, filepath.Join(top, "victim")); !slices.Equal(names, all) {
		t.Errorf("the other folder has %v", names)
	}
}
