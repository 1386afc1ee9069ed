package safefile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// CodeFolderWritable is the code of a folder that others can change, or exchange
// for another one.
const CodeFolderWritable = "folder_writable"

// UnsafeFolderError names the folder of a chain that others can change. It is
// ErrUnsafeDirectory.
type UnsafeFolderError struct {
	Path   string // as it was walked: links of root before it are resolved
	Reason string
}

// Error names folder and reason.
func (e *UnsafeFolderError) Error() string { return e.Path + ": " + e.Reason }

// ErrorCode gives the code.
func (e *UnsafeFolderError) ErrorCode() string { return CodeFolderWritable }

// Unwrap gives ErrUnsafeDirectory.
func (e *UnsafeFolderError) Unwrap() error { return ErrUnsafeDirectory }

// maxLinks bounds the links in a chain of folders.
const maxLinks = 16

// chain is a walk from "/" to a folder. Each folder is opened relative to the
// one before it, without following a link, and looked at when it is open.
type chain struct {
	owner   uint32      // who plays root: beside root itself the only one who may own a folder
	foreign bool        // anybody may own a folder, and write in it: then no link is followed
	create  fs.FileMode // mode of folders that are not there; 0 = they are an error
	repair  bool        // the last folder is the caller's: who may write there is set anew
	links   int
}

// openChain opens the folder at a path. See OpenFolder for what it refuses.
func (c *chain) openChain(path string) (*os.File, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, pathError("open", path, err)
	}
	at, rest := "/", components(path)
	folder, err := os.OpenFile(at, folderFlags, 0)
	if err == nil {
		err = c.check(folder, at, len(rest) == 0)
	}
	for i := 0; i < len(rest) && err == nil; i++ {
		var next *os.File
		next, err = c.openNext(folder, at, rest[i])
		folder.Close()
		var link *linkFound
		if errors.As(err, &link) {
			return c.openChain(filepath.Join(append([]string{link.target}, rest[i+1:]...)...))
		}
		folder, at = next, filepath.Join(at, rest[i])
		if err == nil {
			err = c.check(folder, at, i == len(rest)-1)
		}
	}
	if err != nil {
		folder.Close() // there may be none
		return nil, err
	}
	return folder, nil
}

// components are the names on the way from "/" to a clean path; none for "/"
// itself.
func components(path string) []string {
	return strings.FieldsFunc(path, func(c rune) bool { return c == '/' })
}

const folderFlags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC

// linkFound is the end of a walk that goes on elsewhere.
type linkFound struct{ target string }

func (l *linkFound) Error() string { return "is a link to " + l.target }

// openNext opens a folder in another one, or makes it.
func (c *chain) openNext(parent *os.File, at, name string) (*os.File, error) {
	path := filepath.Join(at, name)
	descriptor, err := openFolderAt(parent, name)
	if errors.Is(err, unix.ENOENT) && c.create != 0 {
		err = makeFolderAt(parent, name, c.create)
		if err == nil || errors.Is(err, unix.EEXIST) {
			descriptor, err = openFolderAt(parent, name)
		}
	}
	if err == nil {
		return os.NewFile(uintptr(descriptor), path), nil
	}
	var stat unix.Stat_t
	if unix.Fstatat(int(parent.Fd()), name, &stat, unix.AT_SYMLINK_NOFOLLOW) == nil && stat.Mode&unix.S_IFMT == unix.S_IFLNK {
		return nil, c.followLink(parent, at, name, stat.Uid)
	}
	return nil, pathError("open", path, err)
}

// makeFolderAt makes a folder of exactly that mode, whatever the umask is.
func makeFolderAt(parent *os.File, name string, mode fs.FileMode) error {
	if err := unix.Mkdirat(int(parent.Fd()), name, uint32(mode.Perm())); err != nil {
		return err
	}
	descriptor, err := openFolderAt(parent, name)
	if err != nil {
		return err
	}
	made := os.NewFile(uintptr(descriptor), name)
	return errors.Join(made.Chmod(mode.Perm()), made.Close(), parent.Sync()) // else a power loss may take it away
}

func openFolderAt(parent *os.File, name string) (int, error) {
	return ignoreInterrupts(func() (int, error) { return unix.Openat(int(parent.Fd()), name, folderFlags, 0) })
}

// ignoreInterrupts calls again what a signal has interrupted.
func ignoreInterrupts(call func() (int, error)) (int, error) {
	for {
		if n, err := call(); !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// followLink gives a *linkFound for a link that root, or who plays root, has
// made: a Mac's own /var and /tmp are such. Everybody else's is refused, and in
// folders that are anybody's each: there others put root's own links anywhere.
func (c *chain) followLink(parent *os.File, at, name string, owner uint32) error {
	path := filepath.Join(at, name)
	if c.links++; c.foreign || c.links > maxLinks || !c.isOurs(owner) {
		return pathError("open", path, ErrSymlink)
	}
	target, err := readLinkAt(parent, name)
	if err != nil {
		return pathError("read link", path, err)
	}
	if !filepath.IsAbs(target) {
		target = filepath.Join(at, target) // at has no links in it any more
	}
	return &linkFound{target}
}

func readLinkAt(parent *os.File, name string) (string, error) {
	buffer := make([]byte, unix.PathMax)
	n, err := ignoreInterrupts(func() (int, error) { return unix.Readlinkat(int(parent.Fd()), name, buffer) })
	if err != nil {
		return "", err
	}
	return string(buffer[:n]), nil
}

func (c *chain) isOurs(uid uint32) bool { return uid == 0 || uid == c.owner }

// check looks at a folder that is open. In a sticky folder nobody exchanges what
// is ours, so it may lie in a chain; it is no place to make files in. A group may
// write where the folder belongs to somebody who plays root: many systems give
// each person a group of their own.
func (c *chain) check(folder *os.File, path string, last bool) error {
	if c.foreign {
		return nil
	}
	var stat unix.Stat_t
	if err := unix.Fstat(int(folder.Fd()), &stat); err != nil {
		return pathError("stat", path, err)
	}
	if !c.isOurs(stat.Uid) {
		return &UnsafeFolderError{path, fmt.Sprintf("it belongs to uid %d", stat.Uid)}
	}
	mode := uint32(stat.Mode)
	writers := mode & 0o022
	if stat.Uid != 0 {
		writers &= 0o002
	}
	switch {
	case writers == 0, mode&unix.S_ISVTX != 0 && !last:
		return nil
	case last && c.repair:
		return folder.Chmod(fs.FileMode(mode & 0o755))
	case writers&0o002 != 0:
		return &UnsafeFolderError{path, fmt.Sprintf("everybody can write in it (mode %04o)", mode&0o7777)}
	}
	return &UnsafeFolderError{path, fmt.Sprintf("group %d can write in it (mode %04o)", stat.Gid, mode&0o7777)}
}

// CheckFolder says what OpenFolder would say to who plays root, without keeping
// anything open. A folder that is missing, or that the caller may not look into,
// is fine: those above it have been looked at.
func CheckFolder(path string, owner uint32) error {
	folder, err := (&chain{owner: owner}).openChain(path)
	if err == nil {
		return folder.Close()
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil
	}
	return err
}
