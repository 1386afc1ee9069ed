package daemon

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// The job runs with umask 077 (launchd.Job): the folder of the log is one that
// anybody may list all the same, and the file is not for them.
func TestLogIsPrivateInAFolderThatIsNot(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	path := filepath.Join(t.TempDir(), "Library", "prlagent", "prlagentd.log")
	log, err := openLog(path, "info")
	if err != nil {
		t.Fatal(err)
	}
	log.Info().Msg("begin")
	log.Close()
	modes := map[string]fs.FileMode{filepath.Dir(path): fs.ModeDir | 0o755, path: 0o600}
	for name, want := range modes {
		if info, err := os.Stat(name); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v; want %v", name, info.Mode(), err, want)
		}
	}
	if err := os.Chmod(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	again, err := openLog(path, "info")
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
	if info, err := os.Stat(filepath.Dir(path)); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the mode that an administrator gave is %v, %v", info.Mode(), err)
	}
}
