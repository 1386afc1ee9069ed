package platform

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"prlagent/platform/safefile"
	"prlagent/platform/tool"
)

// heldBundle is a bundle with two disk images, and what holds it.
func heldBundle(t *testing.T) (machine *Machine, root string, held *Held) {
	t.Helper()
	machine, _, root = helped(t)
	place(t, root, "/Users/alice/Parallels/a.pvm/config.pvs", "<xml/>")
	place(t, root, "/Users/alice/Parallels/a.pvm/a-0.hdd/a-0.hds", "disk")
	place(t, root, "/Users/alice/Parallels/a.pvm/a-1.hdd/a-1.hds", "disk")
	held, err := machine.HoldFiles(t.Context(), aliceOnDisk, []string{"/Users/alice/Parallels/a.pvm"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(held.Close)
	return machine, root, held
}

func paths(files []HeldFile) (names []string) {
	for i := range files {
		names = append(names, strings.TrimPrefix(files[i].Path, "/Users/alice/Parallels/"))
	}
	slices.Sort(names)
	return names
}

func TestH25_EverythingInABundleIsHeld(t *testing.T) {
	t.Parallel()
	_, root, held := heldBundle(t)
	want := []string{"a.pvm", "a.pvm/a-0.hdd/a-0.hds", "a.pvm/a-1.hdd/a-1.hds", "a.pvm/config.pvs"}
	if got := paths(held.Files); !slices.Equal(got, want) || !held.Whole || held.Problems[0] != nil {
		t.Errorf("got %q, whole %t, %v", got, held.Whole, held.Problems)
	}
	for i := range held.Files {
		file := &held.Files[i]
		var stat unix.Stat_t
		errorsAreFatal(t, unix.Lstat(filepath.Join(root, file.Path), &stat))
		if file.Inode != stat.Ino || file.Device != uint64(stat.Dev) || file.Folder != (stat.Mode&unix.S_IFMT == unix.S_IFDIR) || file.Top != file.Folder {
			t.Errorf("%s: %+v", file.Path, file)
		}
	}
}

// What the user does beside a deletion, and what is left then of what was held.
func TestH25_WhatIsLeftOfABundle(t *testing.T) {
	t.Parallel()
	const disk = "a.pvm/a-0.hdd/a-0.hds"
	all := []string{"a.pvm", "a.pvm/a-0.hdd/a-0.hds", "a.pvm/a-1.hdd/a-1.hds", "a.pvm/config.pvs"}
	for name, c := range map[string]struct {
		do   func(folder string) error // folder has a.pvm in it
		left []string
	}{
		"deleted":               {func(folder string) error { return os.RemoveAll(folder + "/a.pvm") }, nil},
		"nothing":               {func(string) error { return nil }, all},
		"moved":                 {func(folder string) error { return os.Rename(folder+"/a.pvm", folder+"/b.pvm") }, all},
		"moved to another user": {func(folder string) error { return os.Rename(folder+"/a.pvm", folder+"/../../bob.pvm") }, all},
		"put in the trash": {func(folder string) error {
			return errors.Join(os.Mkdir(folder+"/../.Trash", 0o700), os.Rename(folder+"/a.pvm", folder+"/../.Trash/a.pvm"))
		}, all},
		"a disk is hard-linked first": {func(folder string) error {
			return errors.Join(os.Link(folder+"/"+disk, folder+"/kept"), os.RemoveAll(folder+"/a.pvm"))
		}, []string{disk}},
		"a disk is moved out first": {func(folder string) error {
			return errors.Join(os.Rename(folder+"/"+disk, folder+"/kept"), os.RemoveAll(folder+"/a.pvm"))
		}, []string{disk}},
		"another one is put in its place": {func(folder string) error {
			return errors.Join(os.Rename(folder+"/a.pvm", folder+"/kept"), os.Mkdir(folder+"/a.pvm", 0o700), os.RemoveAll(folder+"/a.pvm"))
		}, all},
		"a disk stays": {func(folder string) error {
			return errors.Join(os.RemoveAll(folder+"/a.pvm/a-1.hdd"), os.Remove(folder+"/a.pvm/config.pvs"))
		}, []string{"a.pvm", disk}},
		"an empty folder stays": {func(folder string) error {
			return errors.Join(os.RemoveAll(folder+"/a.pvm/a-1.hdd"), os.RemoveAll(folder+"/a.pvm/a-0.hdd"), os.Remove(folder+"/a.pvm/config.pvs"))
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			machine, root, held := heldBundle(t)
			errorsAreFatal(t, c.do(filepath.Join(root, "Users/alice/Parallels")))
			left, err := held.Left(t.Context())
			if got := paths(left); err != nil || !slices.Equal(got, c.left) {
				t.Errorf("want %q, got %q, %v", c.left, got, err)
			}
			requireFound(t, machine, held, left)
		})
	}
}

// requireFound looks for what was held once nothing is open any more, as after a crash:
// the files that are left are found wherever they are, and no other one.
func requireFound(t *testing.T, machine *Machine, held *Held, left []HeldFile) {
	t.Helper()
	var ids, want []string
	for i := range held.Files {
		if !held.Files[i].Folder {
			ids = append(ids, held.Files[i].ID)
		}
	}
	for i := range left {
		if !left[i].Folder {
			want = append(want, left[i].ID)
		}
	}
	held.Close()
	found, volume, err := machine.FindFiles(t.Context(), aliceOnDisk, "/Users/alice/Parallels/a.pvm", ids)
	if errors.Is(err, ErrNotFindable) {
		return // an account that may not ask
	}
	slices.Sort(found)
	slices.Sort(want)
	if err != nil || !slices.Equal(found, want) {
		t.Errorf("found %q, want %q, volume %q, %v", found, want, volume, err)
	}
}

// What makes it impossible to say that all is gone.
func TestH25_WhatCannotBeHeldIsNotWhole(t *testing.T) {
	t.Parallel()
	const bundle = "/Users/alice/a.pvm"
	for name, c := range map[string]struct {
		make  func(bundle string) error
		whole bool
	}{
		"a link out of it": {func(bundle string) error { return os.Symlink("/etc/passwd", bundle+"/disk.hds") }, false},
		"a link up":        {func(bundle string) error { return os.Symlink("../b", bundle+"/disk.hds") }, false},
		"a link inside":    {func(bundle string) error { return os.Symlink("config.pvs", bundle+"/link") }, true},
		"a FIFO":           {func(bundle string) error { return unix.Mkfifo(bundle+"/fifo", 0o600) }, true},
		"too deep":         {func(bundle string) error { return os.MkdirAll(bundle+strings.Repeat("/x", maxHeldDepth+2), 0o700) }, false},
		"too many files": {func(bundle string) (err error) {
			for i := range maxHeld {
				err = errors.Join(err, os.WriteFile(fmt.Sprintf("%s/%d", bundle, i), nil, 0o600))
			}
			return err
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			machine, _, root := helped(t)
			place(t, root, bundle+"/config.pvs", "<xml/>")
			errorsAreFatal(t, c.make(root+bundle))
			held, err := machine.HoldFiles(t.Context(), aliceOnDisk, []string{bundle})
			if err != nil {
				t.Fatal(err)
			}
			defer held.Close()
			if held.Whole != c.whole || len(held.Files) > maxHeld {
				t.Errorf("whole %t, %d files", held.Whole, len(held.Files))
			}
		})
	}
}

// What stands at a path that is no bundle.
func TestH25_PathsThatHoldNothing(t *testing.T) {
	t.Parallel()
	machine, _, root := helped(t)
	place(t, root, "/Users/alice/file", "x")
	errorsAreFatal(t, os.Symlink("file", root+"/Users/alice/link"), unix.Mkfifo(root+"/Users/alice/fifo", 0o600))
	asked := []string{"/Users/alice/nothing", "/Users/alice/link", "/Users/alice/fifo", "/Users/alice/file"}
	held, err := machine.HoldFiles(t.Context(), aliceOnDisk, asked)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	for i, want := range []error{fs.ErrNotExist, safefile.ErrSymlink, safefile.ErrNotRegular, nil} {
		if !errors.Is(held.Problems[i], want) || want == nil && held.Problems[i] != nil {
			t.Errorf("%s: %v", asked[i], held.Problems[i])
		}
	}
	if len(held.Files) != 1 || !held.Files[0].Top || held.Files[0].Asked != 3 {
		t.Errorf("held %+v", held.Files)
	}
	if _, err := machine.HoldFiles(t.Context(), aliceOnDisk, []string{"/Users/alice/../bob"}); err == nil {
		t.Error("a path that is not clean is not refused")
	}
}

// A child that a user has taken over says whatever it likes.
func TestH25_H11_HostileAnswersAboutHeldFiles(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	file := filepath.Join(folder, "file")
	errorsAreFatal(t, os.WriteFile(file, nil, 0o600))
	open := func(names ...string) (files []*os.File) {
		for _, name := range names {
			opened, err := os.Open(name)
			errorsAreFatal(t, err)
			files = append(files, opened)
		}
		return files
	}
	for name, result := range map[string]tool.Result{
		"nothing":                  {},
		"no JSON":                  {Stdout: []byte("   so what")},
		"fewer descriptors":        {Stdout: []byte(`{"files":[{"path":"YQ=="}],"problems":[""],"whole":true}`)},
		"more descriptors":         {Stdout: []byte(`{"files":[],"problems":[""],"whole":true}`), Files: open(file)},
		"no problems":              {Stdout: []byte(`{"files":[{"path":"YQ=="}],"problems":[],"whole":true}`), Files: open(file)},
		"an unknown problem":       {Stdout: []byte(`{"files":[],"problems":["\u001b[31m"],"whole":true}`)},
		"a folder for a disk":      {Stdout: []byte(`{"files":[{"path":"YQ=="}],"problems":[""],"whole":true}`), Files: open(folder)},
		"a terminal":               {Stdout: []byte(`{"files":[{"path":"YQ=="}],"problems":[""],"whole":true}`), Files: open("/dev/null")},
		"of a path not asked for":  {Stdout: []byte(`{"files":[{"path":"YQ==","asked":1}],"problems":[""],"whole":true}`), Files: open(file)},
		"a volume that steers":     {Stdout: []byte(`{"files":[{"path":"YQ==","volume":"../x"}],"problems":[""],"whole":true}`), Files: open(file)},
		"a path without end":       {Stdout: []byte(`{"files":[{"path":"` + strings.Repeat("YWFh", maxUserPath) + `"}],"problems":[""],"whole":true}`), Files: open(file)},
		"a path before all others": {Stdout: []byte(`{"files":[{"path":"YQ==","asked":-1}],"problems":[""],"whole":true}`), Files: open(file)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			held, err := New("", nil).takeHeld(result, 1)
			held.Close()
			if err == nil {
				t.Error("it is believed")
			}
			for _, file := range result.Files {
				if file.Close() == nil {
					t.Error("a descriptor is left open")
				}
			}
		})
	}
}

// A folder that is not where it was is looked for in places, as the user, with links
// left alone and within limits; where the system finds it by its number it is found
// everywhere.
func TestH25_AFolderIsLookedFor(t *testing.T) {
	t.Parallel()
	const bundle = "/Users/alice/Parallels/a.pvm"
	for name, c := range map[string]struct {
		do             func(root string) error
		present, whole bool
	}{
		"where it was": {func(string) error { return nil }, true, true},
		"deleted":      {func(root string) error { return os.RemoveAll(root + bundle) }, false, true},
		"moved and hidden": {func(root string) error {
			return errors.Join(os.MkdirAll(root+"/Users/alice/.x/y", 0o700), os.Rename(root+bundle, root+"/Users/alice/.x/y/z"))
		}, true, true},
		"a copy is there": {func(root string) error {
			return errors.Join(os.CopyFS(root+"/Users/alice/copy", os.DirFS(root+bundle)), os.RemoveAll(root+bundle))
		}, false, true},
		"only a link leads to somewhere": {func(root string) error {
			return errors.Join(os.RemoveAll(root+bundle), os.Symlink("/", root+bundle))
		}, false, true},
		"deeper than anybody looks": {func(root string) error {
			deep := root + "/Users/alice" + strings.Repeat("/x", maxSearchDepth+3)
			return errors.Join(os.MkdirAll(deep, 0o700), os.Rename(root+bundle, deep+"/a"))
		}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			machine, _, root := helped(t)
			place(t, root, bundle+"/config.pvs", "<xml/>")
			var stat unix.Stat_t
			errorsAreFatal(t, unix.Lstat(root+bundle, &stat), c.do(root))
			found, err := machine.FindFolder(t.Context(), aliceOnDisk, bundle, FolderSearch{Inode: stat.Ino, Places: []string{"/Users/alice", "/Users/Shared"}})
			if err != nil {
				t.Fatal(err)
			}
			if found.Known { // on a Mac its number is enough
				return
			}
			if found.Present != c.present || found.Whole != c.whole {
				t.Errorf("got %+v", found)
			}
		})
	}
}

// Our own command line runs only where nobody else can have put it.
func TestCMD_H53_OurCommandLineIsNobodyElses(t *testing.T) {
	t.Parallel()
	machine, _, root := helped(t)
	var asked tool.Command
	if _, err := machine.RunCommandLine(t.Context(), &asked); err == nil || asked.Path != "" {
		t.Errorf("there is none: %v, and of what was asked became %q", err, asked.Path)
	}
	executable, err := os.Executable()
	errorsAreFatal(t, err, os.Symlink(executable, root+CommandLine))
	_, err = machine.RunCommandLine(t.Context(), &tool.Command{})
	var failed *tool.Error
	if !errors.As(err, &failed) || failed.Code != tool.CodeRefused {
		t.Errorf("a link: %v", err)
	}
}

// Two looks at one bundle hold each file once: a descriptor of the daemon's is dear.
func TestH25_MergedLooksHoldEachFileOnce(t *testing.T) {
	t.Parallel()
	machine, root, held := heldBundle(t)
	place(t, root, "/Users/alice/Parallels/a.pvm/new.mem", "x")
	again, err := machine.HoldFiles(t.Context(), aliceOnDisk, []string{"/Users/alice/Parallels/a.pvm"})
	errorsAreFatal(t, err)
	held.Merge(again)
	want := []string{"a.pvm", "a.pvm/a-0.hdd/a-0.hds", "a.pvm/a-1.hdd/a-1.hds", "a.pvm/config.pvs", "a.pvm/new.mem"}
	if got := paths(held.Files); !slices.Equal(got, want) || len(again.Files) != 0 {
		t.Errorf("got %q", got)
	}
	errorsAreFatal(t, os.RemoveAll(filepath.Join(root, "Users/alice/Parallels/a.pvm")))
	if left, err := held.Left(t.Context()); err != nil || len(left) > 0 {
		t.Errorf("left %q, %v", paths(left), err)
	}
}

// Who asks the kernel, and is not waited for any more, goes on beside the end of what is
// held: nothing is read that changes, and no descriptor is closed under it.
func TestH25_AQuestionThatNobodyWaitsForAnyMore(t *testing.T) {
	t.Parallel()
	for range 200 {
		held := &Held{}
		for range 64 {
			file, err := os.Open(os.DevNull)
			errorsAreFatal(t, err)
			held.Files = append(held.Files, HeldFile{descriptor: file})
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, _ = held.Left(ctx)
		held.Close()
	}
}

// On a volume without an id, which may be another one by now, no file is called gone.
func TestH25_NothingIsFoundOnAVolumeWithoutAnID(t *testing.T) {
	t.Parallel()
	machine, root, held := heldBundle(t)
	ids := []string{held.Files[1].ID}
	if _, volume, err := machine.FindFiles(t.Context(), aliceOnDisk, "/Users/alice/Parallels/a.pvm", ids); err != nil || volume == "" {
		t.Skip("this account may not find files by their numbers, or not here")
	}
	nameless := New(root, withoutVolumes{&sudoRunner{Runner: &tool.Runner{Root: root}}})
	_, _, err := nameless.FindFiles(t.Context(), aliceOnDisk, "/Users/alice/Parallels/a.pvm", ids)
	if !errors.Is(err, ErrNotFindable) {
		t.Errorf("got %v", err)
	}
}

// withoutVolumes is a Mac whose volumes have no ids.
type withoutVolumes struct{ *sudoRunner }

var volumeSaid = regexp.MustCompile(`"volume":"[^"]*"`)

func (w withoutVolumes) Run(ctx context.Context, c *tool.Command) (tool.Result, error) {
	result, err := w.sudoRunner.Run(ctx, c)
	result.Stdout = volumeSaid.ReplaceAll(result.Stdout, []byte(`"volume":""`))
	return result, err
}
