package agent

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
	"prlagent/platform"
	"prlagent/platform/safefile"
)

// H53: the folders that are looked at are those in which the agent has its files.
func TestH53_EveryOwnFolderIsLookedAt(t *testing.T) {
	t.Parallel()
	folders := localapi.OwnFoldersUnder("/mac")
	for _, file := range []string{LogFile, IdentityFile, LocalConfig, ManagedConfig, Program, StateFolder + "/state.db"} {
		if folder := filepath.Dir("/mac" + file); !slices.Contains(folders, folder) {
			t.Errorf("%s is not among %q", folder, folders)
		}
	}
}

// H53: each unsafe folder is named once, however many lie below it.
func TestH53_UnsafeFoldersAreNamedOnce(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	folders := localapi.OwnFoldersUnder(root)
	for _, folder := range folders {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	us := uint32(os.Geteuid())
	if found := unsafeFolders(folders, us); found != nil {
		t.Errorf("found %q", found)
	}
	for _, name := range []string{"Library/Application Support", "Library/Managed Preferences"} {
		if err := os.Chmod(filepath.Join(root, name), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	found := unsafeFolders(folders, us)
	if len(found) != 2 || !strings.Contains(found[0], "/Library/Application Support: everybody") || !strings.Contains(found[1], "/Library/Managed Preferences: everybody") {
		t.Errorf("found %q", found)
	}
}

// H53: the condition names the folder, and stands for what follows from it.
func TestH53_AnUnsafeFolderIsACondition(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "folder")
	if err := errors.Join(os.Mkdir(folder, 0o755), os.Chmod(folder, 0o777)); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		d := newDaemon(t, settings(t))
		d.parts.ownFolders = []string{folder}
		stop := d.run(t)
		defer stop()
		d.ask(t)
		conditions := d.Status().Health.Conditions
		index := slices.IndexFunc(conditions, func(c localapi.Condition) bool { return c.Code == protocol.CodeFolderWritable })
		if index < 0 || !strings.Contains(conditions[index].Detail, folder) || conditions[index].Remedy == "" || conditions[index].Pending {
			t.Errorf("conditions %+v", conditions)
		}
	})
}

// H53: a start repairs the mode of the agent's own folders, and refuses what is
// wrong above them.
func TestH53_FoldersAtTheStart(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	mac := platform.New(root, nil)
	support, state := filepath.Join(root, SupportFolder), filepath.Join(root, StateFolder)
	requireModes := func() {
		t.Helper()
		if err := prepareFolders(mac); err != nil {
			t.Fatal(err)
		}
		for path, want := range map[string]fs.FileMode{support: 0o755, state: 0o700} {
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
				t.Errorf("%s: %v, %v", path, info.Mode(), err)
			}
		}
	}
	requireModes()
	if err := errors.Join(os.Chmod(support, 0o777), os.Chmod(state, 0o777)); err != nil {
		t.Fatal(err)
	}
	requireModes()
	if err := os.Chmod(filepath.Dir(support), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := prepareFolders(mac); !errors.Is(err, safefile.ErrUnsafeDirectory) || protocol.CodeOf(err) != protocol.CodeFolderWritable {
		t.Errorf("got %v", err)
	}
}
