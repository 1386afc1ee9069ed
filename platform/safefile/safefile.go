// Package safefile reads and writes files the way a root daemon must: atomically,
// without following a symbolic link at the last component, regular files only,
// and never more than was agreed.
//
// Root's own files and those that it believes are read and written through a
// Folder, which nobody but root can change or exchange. ReadFile is for facts in
// files of others, which prove nothing, and a ForeignFolder for what root once put
// where others rule.
package safefile

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// What can be wrong with a file beside the system's own errors. They come
// wrapped in an *fs.PathError.
var (
	ErrTooLarge        = errors.New("file is larger than allowed")
	ErrNotRegular      = errors.New("not a regular file")
	ErrSymlink         = errors.New("is a symbolic link")
	ErrOwner           = errors.New("file belongs to another user")
	ErrWritable        = errors.New("others can write in the file")
	ErrUnsafeDirectory = errors.New("others can write in the directory")
)

// ReadFile gives the content of a regular file of at most max bytes. A symbolic
// link at the last component is ErrSymlink; a directory, FIFO, socket or device
// is ErrNotRegular and never blocks; one byte more than max is ErrTooLarge.
func ReadFile(path string, max int64) ([]byte, error) {
	return readAccepted(path, max, func(*unix.Stat_t) error { return nil })
}

// ReadOwnedFile is ReadFile for a file that must belong to uid, else ErrOwner.
// The check is on the open file, so it holds for the bytes that are returned.
func ReadOwnedFile(path string, uid uint32, max int64) ([]byte, error) {
	return readAccepted(path, max, ownedBy(uid))
}

func ownedBy(uid uint32) func(*unix.Stat_t) error {
	return func(stat *unix.Stat_t) error {
		if stat.Uid != uid {
			return ErrOwner
		}
		return nil
	}
}

func readAccepted(path string, max int64, accept func(*unix.Stat_t) error) ([]byte, error) {
	file, err := os.OpenFile(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, openError(path, err)
	}
	defer file.Close()
	return readOpen(file, max, accept)
}

// readOpen reads a file that is open, if it is one to be read.
func readOpen(file *os.File, max int64, accept func(*unix.Stat_t) error) ([]byte, error) {
	path := file.Name()
	var stat unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &stat); err != nil {
		return nil, pathError("stat", path, err)
	}
	if err := errors.Join(checkRegular(&stat), accept(&stat)); err != nil {
		return nil, pathError("read", path, err)
	}
	if stat.Size > max {
		return nil, pathError("read", path, ErrTooLarge)
	}
	data, err := io.ReadAll(io.LimitReader(file, max+1))
	if err != nil {
		return nil, pathError("read", path, err)
	}
	if int64(len(data)) > max {
		return nil, pathError("read", path, ErrTooLarge)
	}
	return data, nil
}

// openError turns what open says about links and sockets into our words.
func openError(path string, err error) error {
	switch {
	case errors.Is(err, unix.ELOOP):
		return pathError("open", path, ErrSymlink)
	case errors.Is(err, unix.ENXIO), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EISDIR):
		return pathError("open", path, ErrNotRegular)
	}
	return err
}

func checkRegular(stat *unix.Stat_t) error {
	switch stat.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return nil
	case unix.S_IFLNK:
		return ErrSymlink
	}
	return ErrNotRegular
}

func pathError(operation, path string, err error) error {
	return &fs.PathError{Op: operation, Path: path, Err: err}
}

// openDirectory opens the folder of a file to be written. Its last component
// must not be a symbolic link; those before it may be (/var is one on a Mac).
// The folder must belong to root or to us, nobody else may write in it, and a
// group may only where it is our own folder and we are not root: whoever can
// write in a folder can replace what we put there. A sticky bit changes nothing
// about that, so /tmp and its like are refused.
func openDirectory(path string) (*os.File, error) {
	name := filepath.Dir(path)
	directory, err := os.OpenFile(name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, directoryError(name, err)
	}
	var stat unix.Stat_t
	if err := unix.Fstat(int(directory.Fd()), &stat); err != nil {
		directory.Close()
		return nil, pathError("stat", name, err)
	}
	if !isTrustworthy(stat.Uid, uint32(os.Geteuid()), uint32(stat.Mode)) {
		directory.Close()
		return nil, pathError("write in", name, ErrUnsafeDirectory)
	}
	return directory, nil
}

// directoryError names the link that Linux reports as "not a directory".
func directoryError(name string, err error) error {
	if info, statError := os.Lstat(name); statError == nil && info.Mode()&fs.ModeSymlink != 0 {
		return pathError("open", name, ErrSymlink)
	}
	return err
}

func isTrustworthy(owner, euid, mode uint32) bool {
	ours := owner == euid
	if !ours && owner != 0 || mode&0o002 != 0 {
		return false
	}
	return ours && euid != 0 || mode&0o020 == 0
}
