package watch

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"prlagent/agent/trigger"
)

// openWatchers counts the descriptors of inotify that this process has.
func openWatchers(t *testing.T) int {
	t.Helper()
	descriptors, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, descriptor := range descriptors {
		if target, err := os.Readlink(descriptor); err == nil && target == "anon_inode:inotify" {
			count++
		}
	}
	return count
}

// A watched folder costs one descriptor here (on a Mac one more for each entry),
// also after its file was replaced and removed again and again, and none after
// the end.
func TestFileWatchDescriptors(t *testing.T) {
	before := openWatchers(t)
	t.Run("watching", func(t *testing.T) {
		dir := t.TempDir()
		preferences, parallels := filepath.Join(dir, "Managed Preferences"), filepath.Join(dir, "Parallels")
		for _, folder := range []string{preferences, parallels} {
			if err := os.Mkdir(folder, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		profile, license := filepath.Join(preferences, "org.prlagent.agent.plist"), filepath.Join(parallels, "licenses.json")
		profiles, licenses := realWatch(t, profile, Hint{Reason: trigger.ProfileChanged}), realWatch(t, license, Hint{})
		for range 20 {
			saveAndRemove(t, profile, profiles)
			saveAndRemove(t, license, licenses)
		}
		if count := openWatchers(t) - before; count != 2 {
			t.Errorf("%d watchers are open, want one for each folder", count)
		}
	})
	if count := openWatchers(t) - before; count != 0 {
		t.Errorf("%d watchers are left", count)
	}
}

// A watcher that the system has no descriptor for is an error, not a watch that
// says nothing.
func TestFileWatchWithoutADescriptor(t *testing.T) { // not parallel: it takes them from all
	folder := t.TempDir()
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 3, Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	_, err := openFolderEvents(folder)
	if restore := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &before); restore != nil {
		t.Fatal(restore)
	}
	if !errors.Is(err, syscall.EMFILE) {
		t.Errorf("got %v, want EMFILE", err)
	}
}

// saveAndRemove waits for the hint of each.
func saveAndRemove(t *testing.T, path string, told <-chan Hint) {
	t.Helper()
	saveAtomically(t, path, "text")
	<-told
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	<-told
}
