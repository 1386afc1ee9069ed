package safefile

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// TempPrefix begins the name of every file that is being written. One is left
// behind only by a crash, has mode 0600 and is never read by this package.
const TempPrefix = ".prlagent-tmp-"

// WriteFile replaces the content of a file in one step: readers see the old
// content or the new, also after a crash or a power loss, and never a part.
// The file ends with exactly the permission bits of perm, whatever the umask.
//
// A symbolic link at the target is refused with ErrSymlink, anything else that
// is not a regular file with ErrNotRegular. The folder must exist and must not
// be one in which others can write: owned by root or by us, not writable by
// others (sticky or not), writable by a group only if it is ours and we are not
// root; else ErrUnsafeDirectory. Symbolic links before the folder's own name are followed,
// so the path up to there must be under the caller's control.
func WriteFile(path string, data []byte, perm fs.FileMode) error {
	directory, err := openDirectory(path)
	if err != nil {
		return err
	}
	defer directory.Close()
	return replaceFile(directory, path, data, access{perm.Perm(), -1})
}

// access is who may open a file.
type access struct {
	perm  fs.FileMode
	group int // -1 = that of who makes it
}

// replaceFile replaces the file at the last component of path in a folder that
// is open.
func replaceFile(directory *os.File, path string, data []byte, may access) error {
	target := filepath.Base(path)
	if err := checkReplaceable(directory, target); err != nil {
		return pathError("write", path, err)
	}
	temporary := TempPrefix + rand.Text()
	if err := writeTemporary(directory, temporary, data, may); err != nil {
		return pathError("write", path, err)
	}
	descriptor := int(directory.Fd())
	if err := unix.Renameat(descriptor, temporary, descriptor, target); err != nil {
		return pathError("rename", path, errors.Join(err, unix.Unlinkat(descriptor, temporary, 0)))
	}
	if err := directory.Sync(); err != nil {
		return pathError("sync folder of", path, err)
	}
	return nil
}

// checkReplaceable accepts a missing or a regular file.
func checkReplaceable(directory *os.File, name string) error {
	var stat unix.Stat_t
	err := unix.Fstatat(int(directory.Fd()), name, &stat, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	return checkRegular(&stat)
}

// writeTemporary leaves a complete file on the disk, or none.
func writeTemporary(directory *os.File, name string, data []byte, may access) error {
	descriptor, err := unix.Openat(int(directory.Fd()), name,
		unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	file := os.NewFile(uintptr(descriptor), name)
	err = errors.Join(writeContent(file, data, may), file.Close())
	if err != nil {
		return errors.Join(err, unix.Unlinkat(int(directory.Fd()), name, 0))
	}
	return nil
}

// writeContent sets group and mode after the content, so that nobody reads a
// part.
func writeContent(file *os.File, data []byte, may access) error {
	if _, err := file.Write(data); err != nil {
		return err
	}
	if may.group >= 0 {
		if err := file.Chown(-1, may.group); err != nil {
			return err
		}
	}
	if err := file.Chmod(may.perm); err != nil {
		return err
	}
	return file.Sync() // F_FULLFSYNC on a Mac (facts/macos.md 9)
}
