package platform

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

var errReplaceable = errors.New("somebody else could have replaced it")

// checkHelper makes sure that nobody but root, or who plays root, can have put
// the helper where it is: otherwise one user's program would run as another
// user. It must be a file and no link, it and every folder above it ours or
// root's, and not writable by others; a folder that is must be sticky.
func (m *Machine) checkHelper() error {
	path := m.Path(Helper)
	lowest, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return withoutPath(err)
	}
	var stat unix.Stat_t
	if err := unix.Lstat(path, &stat); err != nil {
		return err
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFREG || !isOurs(stat.Uid) || stat.Mode&0o002 != 0 || stat.Uid == 0 && stat.Mode&0o020 != 0 {
		return fmt.Errorf("the program: %w", errReplaceable)
	}
	for folder := lowest; ; folder = filepath.Dir(folder) {
		if err := unix.Lstat(folder, &stat); err != nil {
			return err
		}
		if !isOurs(stat.Uid) || stat.Mode&0o002 != 0 && stat.Mode&unix.S_ISVTX == 0 {
			return fmt.Errorf("a folder above the program: %w", errReplaceable)
		}
		if folder == filepath.Dir(folder) {
			return nil
		}
	}
}

func isOurs(uid uint32) bool { return uid == 0 || uid == uint32(os.Geteuid()) }

// withoutPath keeps a path of this disk out of what the portal may see.
func withoutPath(err error) error {
	var failed *fs.PathError
	if errors.As(err, &failed) {
		return failed.Err
	}
	return err
}
