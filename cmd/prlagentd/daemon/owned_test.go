package daemon

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"syscall"
	"testing"

	"prlagent/agent"
	"prlagent/agent/localapi"
	"prlagent/platform/safefile"
	"prlagent/platform/tool"
)

// macWithAgent is a Mac with everything that is ours.
func macWithAgent(t *testing.T) *managedMac {
	t.Helper()
	root := filepath.Join(t.TempDir(), "mac")
	m := &managedMac{root: root, tools: &tool.Runner{Root: root}}
	for _, thing := range owned {
		place := filepath.Join(root, thing.path)
		errorsAreFatal(t, os.MkdirAll(filepath.Dir(place), 0o755))
		switch thing.kind {
		case ownedFile:
			errorsAreFatal(t, os.WriteFile(place, []byte("ours"), 0o644))
		case ownedSocket:
			errorsAreFatal(t, makeSocket(place))
		case ownedLink:
			errorsAreFatal(t, os.Symlink(linkTarget, place))
		case ownedFolder, ownedRest, ownedTree, ownedLinks:
			errorsAreFatal(t, os.MkdirAll(place, 0o755))
		}
	}
	errorsAreFatal(t, os.MkdirAll(filepath.Join(root, localapi.StateFolder), 0o700),
		os.WriteFile(filepath.Join(root, localapi.StateFolder, "state.db"), []byte("ours"), 0o600))
	return m
}

// everything below a folder, but for the folders that were there before us.
func everything(t *testing.T, root string) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if relative, _ := filepath.Rel(root, path); err == nil && !(entry.IsDir() && slices.Contains([]string{
			".", "var", "var/run", "usr", "usr/local", "usr/local/bin", "Library", "Library/Application Support"}, relative)) {
			paths = append(paths, relative)
		}
		return err
	})
	errorsAreFatal(t, err)
	sort.Strings(paths)
	return paths
}

// The table is all that there is: after a purge nothing of ours is left, and before it
// configuration, state and logs.
func TestH47_EverythingThatIsOursGoes(t *testing.T) {
	t.Parallel()
	m := macWithAgent(t)
	if _, err := m.removeOwned(owned, false); err != nil {
		t.Fatal(err)
	}
	support := localapi.SupportFolder[1:]
	if left := everything(t, m.root); !slices.Equal(left, []string{support, support + "/state", support + "/state/state.db"}) {
		t.Errorf("left are %q", left)
	}
	if _, err := m.removeOwned(owned, true); err != nil {
		t.Fatal(err)
	}
	if left := everything(t, m.root); len(left) > 0 {
		t.Errorf("after a purge there are %q", left)
	}
	if removed, err := m.removeOwned(owned, true); err != nil || len(removed) > 0 {
		t.Errorf("again: %q, %v", removed, err)
	}
}

// Cut off after any step it is repeated: as long as anything else of ours is there, the
// program is.
func TestH47_ARemovalThatIsCutOff(t *testing.T) {
	t.Parallel()
	for _, purge := range []bool{false, true} {
		for steps := range owned {
			m := macWithAgent(t)
			if _, err := m.removeOwned(owned[:steps], purge); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Lstat(filepath.Join(m.root, agent.Program)); err != nil {
				for _, path := range everything(t, m.root) {
					if kept := !purge && filepath.Base(filepath.Dir(path)) != "bin"; !kept && path != localapi.SupportFolder[1:] && path != programFolder[1:] {
						t.Errorf("after %d steps the program is gone, and %s is not", steps, path)
					}
				}
			}
			if _, err := m.removeOwned(owned, purge); err != nil {
				t.Fatal(err)
			}
			if left := everything(t, m.root); purge && len(left) > 0 {
				t.Errorf("cut off after %d steps: left are %q", steps, left)
			}
		}
	}
}

// Where /usr/local is no folder, or leads in circles, there is nothing of ours; and where
// a user owns it, as Homebrew has it, our link goes.
func TestH47_StrangePlacesOfTheLink(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(local string) error{
		"a file": func(local string) error {
			return errors.Join(os.RemoveAll(local), os.WriteFile(local, []byte("theirs"), 0o644))
		},
		"a circle":       func(local string) error { return errors.Join(os.RemoveAll(local), os.Symlink(local, local)) },
		"a broken link":  func(local string) error { return errors.Join(os.RemoveAll(local), os.Symlink("/nowhere", local)) },
		"nothing":        os.RemoveAll,
		"open to others": func(local string) error { return os.Chmod(filepath.Join(local, "bin"), 0o777) },
		"a user's": func(local string) error {
			if os.Geteuid() != 0 {
				return nil
			}
			return os.Chown(filepath.Join(local, "bin"), 12345, 12345)
		},
		"a user's, and a group's": func(local string) error {
			bin := filepath.Join(local, "bin")
			err := errors.Join(os.Chmod(local, 0o775), os.Chmod(bin, 0o775))
			if os.Geteuid() == 0 {
				err = errors.Join(err, os.Chown(local, 12345, 12345), os.Chown(bin, 12345, 12345))
			}
			return err
		},
	} {
		m := macWithAgent(t)
		errorsAreFatal(t, spoil(filepath.Join(m.root, "usr/local")))
		if _, err := m.removeOwned(owned, true); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Lstat(filepath.Join(m.root, "/usr/local/bin/prlagent")); err == nil {
			t.Errorf("%s: the link is there", name)
		}
		if _, err := os.Lstat(filepath.Join(m.root, localapi.SupportFolder)); err == nil {
			t.Errorf("%s: the agent is there", name)
		}
	}
}

// A simulated Mac may lie behind a link, as everything in /tmp of a real one does.
func TestH47_AMacBehindALink(t *testing.T) {
	t.Parallel()
	m := macWithAgent(t)
	link := filepath.Join(t.TempDir(), "link")
	errorsAreFatal(t, os.Symlink(m.root, link))
	behind := &managedMac{root: link, tools: m.tools}
	if _, err := behind.removeOwned(owned, true); err != nil {
		t.Fatal(err)
	}
	if left := everything(t, m.root); len(left) > 0 {
		t.Errorf("left are %q", left)
	}
	if _, err := os.Lstat(filepath.Join(m.root, "/usr/local/bin")); err == nil {
		t.Error("the folder of the link is there")
	}
}

// What cannot be removed is named, the rest goes, and the programs stay to try again.
func TestH47_WhatCannotBeRemoved(t *testing.T) {
	t.Parallel()
	m := macWithAgent(t)
	socket := filepath.Join(m.root, "/var/run")
	broken := append([]ownedThing{{path: localapi.SupportFolder, kind: ownedFile}, {path: "/x\x00/y", kind: ownedFile}}, owned...)
	removed, err := m.removeOwned(broken, true)
	if err == nil || !strings.Contains(err.Error(), "remove /x") {
		t.Errorf("it is not named: %v", err)
	}
	if _, err := os.Lstat(filepath.Join(m.root, agent.Program)); err != nil || slices.Contains(removed, agent.Program) {
		t.Errorf("the program: %v, removed %q", err, removed)
	}
	if _, err := os.Lstat(filepath.Join(m.root, localapi.StateFolder)); err == nil {
		t.Error("the state is there")
	}
	if left, err := os.ReadDir(socket); err != nil || len(left) > 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}

// The folder of the link goes if the package made it, and nothing else is in it.
func TestH47_FolderOfTheLink(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		made, used, stays bool
	}{
		"made": {made: true}, "made, and used by others": {made: true, used: true, stays: true}, "there before": {stays: true},
	} {
		m := macWithAgent(t)
		folder := filepath.Join(m.root, "/usr/local/bin")
		if !c.made {
			errorsAreFatal(t, os.Remove(filepath.Join(m.root, madeLinks)))
		}
		if c.used {
			errorsAreFatal(t, os.WriteFile(filepath.Join(folder, "theirs"), nil, 0o755))
		}
		if _, err := m.removeOwned(owned, false); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Lstat(folder); (err == nil) != c.stays {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What others put in the places of ours stays, and so does what a link leads to.
func TestH47_NothingElseGoes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		attack func(m *managedMac, victims string) error
		stays  string // a path of the Mac
		err    error
	}{
		"another program's link": {func(m *managedMac, victims string) error {
			link := filepath.Join(m.root, "/usr/local/bin/prlagent")
			return errors.Join(os.Remove(link), os.Symlink("/opt/other/prlagent", link))
		}, "/usr/local/bin/prlagent", nil},
		"a program in the link's place": {func(m *managedMac, victims string) error {
			link := filepath.Join(m.root, "/usr/local/bin/prlagent")
			return errors.Join(os.Remove(link), os.WriteFile(link, []byte("theirs"), 0o755))
		}, "/usr/local/bin/prlagent", nil},
		"a folder in the link's place": {func(m *managedMac, victims string) error {
			link := filepath.Join(m.root, "/usr/local/bin/prlagent")
			return errors.Join(os.Remove(link), os.Mkdir(link, 0o755))
		}, "/usr/local/bin/prlagent", nil},
		"a pipe in place of the link's folder": {func(m *managedMac, victims string) error {
			folder := filepath.Join(m.root, "/usr/local/bin")
			return errors.Join(os.RemoveAll(folder), syscall.Mkfifo(folder, 0o600))
		}, "/usr/local/bin", nil},
		"a file in the socket's place": {func(m *managedMac, victims string) error {
			socket := filepath.Join(m.root, "/var/run/prlagent.sock")
			return errors.Join(os.Remove(socket), os.WriteFile(socket, []byte("theirs"), 0o644))
		}, "/var/run/prlagent.sock", nil},
		"a link in place of the link's folder": {func(m *managedMac, victims string) error {
			folder := filepath.Join(m.root, "/usr/local/bin")
			return errors.Join(os.Symlink(linkTarget, filepath.Join(victims, "prlagent")), os.RemoveAll(folder), os.Symlink(victims, folder))
		}, "/usr/local/bin/prlagent", nil},
		"a link above the link's folder": {func(m *managedMac, victims string) error {
			folder := filepath.Join(m.root, "/usr/local")
			return errors.Join(os.Mkdir(filepath.Join(victims, "bin"), 0o755), os.RemoveAll(folder), os.Symlink(victims, folder))
		}, "/usr/local/bin", nil},
		"links in the state": {func(m *managedMac, victims string) error {
			state := filepath.Join(m.root, localapi.StateFolder)
			return errors.Join(os.Symlink(victims, filepath.Join(state, "folder")), os.Symlink(filepath.Join(victims, "victim"), filepath.Join(state, "file")))
		}, "", nil},
		"a link in our folder's place": {func(m *managedMac, victims string) error {
			support := filepath.Join(m.root, localapi.SupportFolder)
			return errors.Join(os.Rename(support, support+".moved"), os.Symlink(victims, support))
		}, localapi.SupportFolder, nil},
		"others can exchange our folder": {func(m *managedMac, victims string) error {
			return os.Chmod(filepath.Join(m.root, filepath.Dir(localapi.SupportFolder)), 0o777)
		}, localapi.StateFolder + "/state.db", safefile.ErrUnsafeDirectory},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := macWithAgent(t)
			victims, victim := precious(t)
			for _, name := range []string{"victim", "config.plist"} {
				errorsAreFatal(t, os.WriteFile(filepath.Join(victims, name), []byte("precious"), 0o600))
			}
			errorsAreFatal(t, c.attack(m, victims))
			if _, err := m.removeOwned(owned, true); !errors.Is(err, c.err) {
				t.Errorf("got %v, want %v", err, c.err)
			}
			if _, err := os.Lstat(filepath.Join(m.root, c.stays)); err != nil {
				t.Errorf("what is not ours is gone: %v", err)
			}
			for _, name := range []string{filepath.Base(victim), "victim", "config.plist"} {
				if got := contentOf(t, filepath.Join(victims, name)); got != "precious" {
					t.Errorf("what a link leads to has %q", got)
				}
			}
		})
	}
}

// makeSocket makes a socket that nobody listens at. Its path has room for any folder.
func makeSocket(path string) error {
	folder, err := os.MkdirTemp("", "s")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	short := filepath.Join(folder, "s")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: short, Net: "unix"})
	if err != nil {
		return err
	}
	listener.SetUnlinkOnClose(false)
	return errors.Join(listener.Close(), os.Rename(short, path))
}

// Whoever owns the folder above may exchange ours after the look: a pipe is no empty
// folder, and does not hold root up.
func TestH47_APipeIsNoEmptyFolder(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	if err := errors.Join(syscall.Mkfifo(filepath.Join(folder, "pipe"), 0o600), os.Mkdir(filepath.Join(folder, "empty"), 0o755)); err != nil {
		t.Fatal(err)
	}
	writer, err := os.OpenFile(filepath.Join(folder, "pipe"), os.O_RDWR, 0) // so that nobody who opens it waits
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	root, err := os.OpenRoot(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if isEmptyFolder(root, "pipe") || isEmptyFolder(root, "absent") || !isEmptyFolder(root, "empty") || isEmptyFolder(root, ".") {
		t.Error("the empty folder is not the one that is")
	}
}
