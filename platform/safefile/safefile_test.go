package safefile

import (
	"bytes"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// layout makes one of everything that can be at a path.
func layout(t *testing.T) (folder string) {
	t.Helper()
	folder = t.TempDir()
	at := func(name string) string { return filepath.Join(folder, name) }
	for name, content := range map[string]string{"empty": "", "ten": "0123456789", "other": "another file"} {
		if err := os.WriteFile(at(name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	err := errors.Join(
		os.Symlink(at("ten"), at("link")),
		os.Symlink(at("nowhere"), at("dangling")),
		os.Symlink("/dev/zero", at("link-to-device")),
		os.Mkdir(at("folder"), 0o700),
		os.Symlink(at("folder"), at("linked-folder")),
		syscall.Mkfifo(at("pipe"), 0o600),
	)
	if err != nil {
		t.Fatal(err)
	}
	return folder
}

func TestReadFile(t *testing.T) {
	t.Parallel()
	folder := layout(t)
	cases := map[string]struct {
		name string
		max  int64
		want string
		err  error
	}{
		"whole file":            {name: "ten", max: 100, want: "0123456789"},
		"exactly the cap":       {name: "ten", max: 10, want: "0123456789"},
		"one byte more":         {name: "ten", max: 9, err: ErrTooLarge},
		"no bytes":              {name: "empty", max: 100},
		"no bytes, none wanted": {name: "empty", max: 0},
		"missing":               {name: "nothing", max: 100, err: fs.ErrNotExist},
		"link":                  {name: "link", max: 100, err: ErrSymlink},
		"dangling link":         {name: "dangling", max: 100, err: ErrSymlink},
		"link to a device":      {name: "link-to-device", max: 100, err: ErrSymlink},
		"folder":                {name: "folder", max: 100, err: ErrNotRegular},
		"pipe nobody writes to": {name: "pipe", max: 100, err: ErrNotRegular},
		"device":                {name: "/dev/zero", max: 100, err: ErrNotRegular},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := c.name
			if !filepath.IsAbs(path) {
				path = filepath.Join(folder, path)
			}
			data, err := ReadFile(path, c.max)
			if !errors.Is(err, c.err) || string(data) != c.want {
				t.Errorf("got %q, %v; want %q, %v", data, err, c.want, c.err)
			}
			if err != nil && !strings.Contains(err.Error(), path) {
				t.Errorf("the error does not name the file: %v", err)
			}
		})
	}
}

func TestReadSocketIsNoRegularFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "socket")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if _, err := ReadFile(path, 100); !errors.Is(err, ErrNotRegular) {
		t.Errorf("got %v, want %v", err, ErrNotRegular)
	}
}

// Systems differ in what they say about a socket.
func TestWhatOpenSaysOfSocketsAndLinks(t *testing.T) {
	t.Parallel()
	for said, want := range map[syscall.Errno]error{
		syscall.ENXIO: ErrNotRegular, syscall.EOPNOTSUPP: ErrNotRegular, syscall.ELOOP: ErrSymlink, syscall.EACCES: fs.ErrPermission,
	} {
		if err := openError("path", pathError("open", "path", said)); !errors.Is(err, want) {
			t.Errorf("%v became %v, want %v", said, err, want)
		}
	}
}

// The kernel says that such files have no bytes; the cap holds for what is read.
func TestCapHoldsForFilesThatGrow(t *testing.T) {
	t.Parallel()
	const growing = "/proc/self/status"
	if _, err := os.Stat(growing); err != nil {
		t.Skip("needs a Linux process folder")
	}
	if _, err := ReadFile(growing, 10); !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v, want %v", err, ErrTooLarge)
	}
}

func TestReadOwnedFile(t *testing.T) {
	t.Parallel()
	folder := layout(t)
	us := uint32(os.Geteuid())
	cases := map[string]struct {
		name string
		uid  uint32
		err  error
	}{
		"ours":                {"ten", us, nil},
		"not the user's":      {"ten", us + 1, ErrOwner},
		"our link":            {"link", us, ErrSymlink},
		"our pipe":            {"pipe", us, ErrNotRegular},
		"our folder":          {"folder", us, ErrNotRegular},
		"somebody's big file": {"other", us + 1, ErrOwner},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data, err := ReadOwnedFile(filepath.Join(folder, c.name), c.uid, 10)
			if !errors.Is(err, c.err) || (err == nil) != (string(data) == "0123456789") {
				t.Errorf("got %q, %v; want %v", data, err, c.err)
			}
		})
	}
}

// requireNoLeftovers fails if a temporary file is left in the folder.
func requireNoLeftovers(t *testing.T, folder string) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(folder, TempPrefix+"*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left in the folder: %v, %v", left, err)
	}
}

func TestWriteFile(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		name string
		err  error
	}{
		"new file":           {name: "new"},
		"existing file":      {name: "ten"},
		"link":               {name: "link", err: ErrSymlink},
		"dangling link":      {name: "dangling", err: ErrSymlink},
		"folder":             {name: "folder", err: ErrNotRegular},
		"pipe":               {name: "pipe", err: ErrNotRegular},
		"in a folder":        {name: "folder/new"},
		"in a linked folder": {name: "linked-folder/new", err: ErrSymlink},
		"below a linked one": {name: "linked-folder/deeper/new"},
		"in a missing one":   {name: "nowhere/new", err: fs.ErrNotExist},
		"below a file":       {name: "ten/new", err: syscall.ENOTDIR},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folder := layout(t)
			if err := os.Mkdir(filepath.Join(folder, "folder/deeper"), 0o700); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(folder, c.name)
			before, _ := os.Lstat(path)
			err := WriteFile(path, []byte("written"), 0o640)
			requireNoLeftovers(t, filepath.Dir(path))
			if c.err != nil {
				after, _ := os.Lstat(path)
				if !errors.Is(err, c.err) || (before != nil && !os.SameFile(before, after)) {
					t.Errorf("got %v, want %v and the same thing at the path", err, c.err)
				}
				return
			}
			data, readError := os.ReadFile(path)
			if err != nil || readError != nil || string(data) != "written" {
				t.Errorf("got %q, %v, %v", data, err, readError)
			}
		})
	}
	t.Run("what a link points to stays", func(t *testing.T) {
		t.Parallel()
		folder := layout(t)
		_ = WriteFile(filepath.Join(folder, "link"), []byte("written"), 0o600)
		if data, err := os.ReadFile(filepath.Join(folder, "ten")); err != nil || string(data) != "0123456789" {
			t.Errorf("got %q, %v", data, err)
		}
	})
}

// A target that cannot be looked at is refused before anything is written.
func TestTargetThatCannotBeLookedAt(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), strings.Repeat("x", 300))
	var failed *fs.PathError
	if err := WriteFile(path, nil, 0o600); !errors.As(err, &failed) || failed.Op != "write" || !errors.Is(err, syscall.ENAMETOOLONG) {
		t.Errorf("got %v", err)
	}
}

// Not parallel: the umask belongs to the whole process.
func TestPermissionsDoNotDependOnTheUmask(t *testing.T) {
	folder := t.TempDir()
	for _, umask := range []int{0, 0o022, 0o077} {
		for _, perm := range []fs.FileMode{0o600, 0o644, 0o666} {
			path := filepath.Join(folder, "file")
			previous := syscall.Umask(umask)
			err := WriteFile(path, nil, perm|fs.ModeSetuid)
			syscall.Umask(previous)
			if err != nil {
				t.Fatal(err)
			}
			info, err := os.Stat(path)
			if err != nil || info.Mode() != perm {
				t.Errorf("umask %o: got mode %v, %v; want %v", umask, info.Mode(), err, perm)
			}
		}
	}
}

func TestFolderInWhichOthersCanWrite(t *testing.T) {
	t.Parallel()
	for mode, safe := range map[fs.FileMode]bool{
		0o700: true, 0o755: true, 0o775: os.Geteuid() != 0, 0o777: false, 0o702: false, 0o777 | fs.ModeSticky: false,
	} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			folder := filepath.Join(t.TempDir(), "folder")
			if err := errors.Join(os.Mkdir(folder, 0o700), os.Chmod(folder, mode)); err != nil {
				t.Fatal(err)
			}
			err := WriteFile(filepath.Join(folder, "file"), nil, 0o600)
			if safe && err != nil || !safe && !errors.Is(err, ErrUnsafeDirectory) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestTrustworthy(t *testing.T) {
	t.Parallel()
	const root, us, somebody = 0, 501, 502
	cases := map[string]struct {
		owner, euid, mode uint32
		want              bool
	}{
		"our own":                     {us, us, 0o755, true},
		"our own, our group writes":   {us, us, 0o775, true},
		"our own, everybody writes":   {us, us, 0o777, false},
		"root's":                      {root, us, 0o755, true},
		"root's, a group writes":      {root, us, 0o775, false},
		"root's, and we are, a group": {root, root, 0o775, false},
		"root's, sticky":              {root, us, 0o1777, false},
		"root's, sticky, we are root": {root, root, 0o1777, false},
		"somebody's":                  {somebody, us, 0o700, false},
		"a user's, we are root":       {somebody, root, 0o755, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := isTrustworthy(c.owner, c.euid, c.mode); got != c.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

// A crash while writing leaves the temporary file and the old content.
func TestTemporaryFileIsHiddenPrivateAndNextToTheTarget(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	target := filepath.Join(folder, "target")
	if err := WriteFile(target, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	directory, err := openDirectory(target)
	if err != nil {
		t.Fatal(err)
	}
	defer directory.Close()
	name := TempPrefix + "crashed"
	if err := writeTemporary(directory, name, []byte("new"), access{0o600, -1}); err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(filepath.Join(folder, name))
	if err != nil || info.Mode() != 0o600 || !strings.HasPrefix(name, ".") {
		t.Errorf("got %v, %v", info, err)
	}
	if data, err := ReadFile(target, 100); err != nil || string(data) != "old" {
		t.Errorf("the target has %q, %v", data, err)
	}
	if err := WriteFile(target, []byte("new"), 0o644); err != nil {
		t.Errorf("the leftover is in the way: %v", err)
	}
}

func TestTemporaryFileNeverReusesWhatIsThere(t *testing.T) {
	t.Parallel()
	folder := layout(t)
	directory, err := openDirectory(filepath.Join(folder, "target"))
	if err != nil {
		t.Fatal(err)
	}
	defer directory.Close()
	for _, name := range []string{"ten", "link", "dangling", "pipe"} {
		if err := writeTemporary(directory, name, []byte("new"), access{0o600, -1}); !errors.Is(err, fs.ErrExist) {
			t.Errorf("%s: got %v, want %v", name, err, fs.ErrExist)
		}
	}
}

func TestConcurrentWritersAndReadersSeeWholeFiles(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	path := filepath.Join(folder, "file")
	content := func(writer int) []byte { return bytes.Repeat([]byte{byte('a' + writer)}, 1+writer*10_000) }
	if err := WriteFile(path, content(0), 0o600); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for writer := range 3 {
		group.Go(func() {
			for range 4 {
				if err := WriteFile(path, content(writer), 0o600); err != nil {
					t.Error(err)
				}
				data, err := ReadFile(path, 1<<20)
				if err != nil || !bytes.Equal(data, content(int(data[0]-'a'))) {
					t.Errorf("read %d bytes that nobody wrote, %v", len(data), err)
				}
			}
		})
	}
	group.Wait()
	requireNoLeftovers(t, folder)
}
