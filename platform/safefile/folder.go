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

// Folder is an open folder that nobody but root can change or exchange (H53).
// What is done in it is done relative to the folder that was looked at, whatever
// becomes of the path; names are those of entries, never paths, and no link is
// followed. It is safe for concurrent use.
type Folder struct {
	path   string
	handle *os.File
}

// OpenFolder opens a folder of ours: it and every folder above it, up to "/",
// must belong to root or to this process' user, and neither its group nor others
// may write there. Else the error is an *UnsafeFolderError, with the code
// folder_writable. Two kinds are no danger and accepted: a sticky folder above
// (not the folder itself), and for everybody but root a group that may write
// where the folder is the user's own. Links in the chain are followed where root
// or this user has made them, and their targets are looked at in the same way.
//
// Access control lists are not looked at: there is no way to them without cgo.
func OpenFolder(path string) (*Folder, error) {
	return openFolder(path, chain{owner: uint32(os.Geteuid())})
}

// ReadTrustedFile is Folder.ReadOwnedFile for a single file: of uid, in a folder
// that nobody but root can change or exchange.
func ReadTrustedFile(path string, uid uint32, max int64) ([]byte, error) {
	folder, err := OpenFolder(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	return folder.ReadOwnedFile(filepath.Base(path), uid, max)
}

// ReadGuardedFile is ReadTrustedFile for a file of root or of this process' user
// that nobody else may write in, and whose path has no link of anybody's but
// root's or this user's.
func ReadGuardedFile(path string, max int64) ([]byte, error) {
	folder, err := OpenFolder(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	return folder.readAccepted(filepath.Base(path), max, func(stat *unix.Stat_t) error {
		if !isTrustworthy(stat.Uid, uint32(os.Geteuid()), uint32(stat.Mode)) {
			return ErrWritable
		}
		return nil
	})
}

// Stamp is a text that is another one once the entry at a path is exchanged, or
// its content or rights are changed; empty if there is none. It costs one call.
func Stamp(path string) string {
	var stat unix.Stat_t
	if unix.Lstat(path, &stat) != nil {
		return ""
	}
	return fmt.Sprint(stat.Dev, stat.Ino, stat.Size, stat.Ctim)
}

// MakeFolder is OpenFolder for a folder that may be missing: it and those above
// it are made as needed, all of the given mode. One that is there keeps its
// mode, but for the right to write of group and others, which is taken away: the
// folder must be the caller's own.
func MakeFolder(path string, perm fs.FileMode) (*Folder, error) {
	return openFolder(path, chain{owner: uint32(os.Geteuid()), create: perm.Perm(), repair: true})
}

func openFolder(path string, walk chain) (*Folder, error) {
	handle, err := walk.openChain(path)
	if err != nil {
		return nil, err
	}
	return &Folder{path: path, handle: handle}, nil
}

// Close gives the folder back.
func (f *Folder) Close() error { return f.handle.Close() }

// Chmod sets the mode of the folder itself.
func (f *Folder) Chmod(perm fs.FileMode) error { return f.handle.Chmod(perm.Perm()) }

// Sync makes the folder's entries survive a power loss.
func (f *Folder) Sync() error { return f.handle.Sync() }

// SyncWith is Sync by another function, which may count it.
func (f *Folder) SyncWith(sync func(*os.File) error) error { return sync(f.handle) }

// LeadsHere reports whether the folder's path still leads to it.
func (f *Folder) LeadsHere() bool {
	now, err := os.Stat(f.path)
	if err != nil {
		return false
	}
	ours, err := f.handle.Stat()
	return err == nil && os.SameFile(now, ours)
}

// Names are the names of the folder's entries, in no order.
func (f *Folder) Names() ([]string, error) {
	again, err := openFolderAt(f.handle, ".") // a handle of its own has a position of its own
	if err != nil {
		return nil, pathError("list", f.path, err)
	}
	list := os.NewFile(uintptr(again), f.path)
	defer list.Close()
	return list.Readdirnames(-1)
}

// Entry says what an entry of a folder is.
type Entry struct {
	Device, Inode uint64
	UID           uint32
	Links         uint64 // names that the file has
	Size          int64
	Mode          fs.FileMode // permission bits
	Regular       bool
}

// IsSameFile reports whether both are one file.
func (e Entry) IsSameFile(other Entry) bool {
	return e.Device == other.Device && e.Inode == other.Inode
}

func entryOf(stat *unix.Stat_t) Entry {
	return Entry{
		Device: uint64(stat.Dev), Inode: stat.Ino, UID: stat.Uid, Links: uint64(stat.Nlink), Size: stat.Size,
		Mode: fs.FileMode(stat.Mode & 0o777), Regular: stat.Mode&unix.S_IFMT == unix.S_IFREG,
	}
}

// EntryOf is the entry of a file that is open.
func EntryOf(file *os.File) (Entry, error) {
	var stat unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &stat); err != nil {
		return Entry{}, pathError("stat", file.Name(), err)
	}
	return entryOf(&stat), nil
}

// Lstat looks at an entry. A missing one is fs.ErrNotExist.
func (f *Folder) Lstat(name string) (Entry, error) {
	var stat unix.Stat_t
	err := f.checkName(name)
	if err == nil {
		err = unix.Fstatat(int(f.handle.Fd()), name, &stat, unix.AT_SYMLINK_NOFOLLOW)
	}
	if err != nil {
		return Entry{}, f.error("stat", name, err)
	}
	return entryOf(&stat), nil
}

// OpenFile opens a regular file with the flags of os.OpenFile; perm is before
// the umask. A link is ErrSymlink and anything else ErrNotRegular.
func (f *Folder) OpenFile(name string, flags int, perm fs.FileMode) (*os.File, error) {
	if err := f.checkName(name); err != nil {
		return nil, f.error("open", name, err)
	}
	flags |= unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC
	descriptor, err := ignoreInterrupts(func() (int, error) {
		return unix.Openat(int(f.handle.Fd()), name, flags, uint32(perm.Perm()))
	})
	path := filepath.Join(f.path, name)
	if err != nil {
		return nil, openError(path, pathError("open", path, err))
	}
	file := os.NewFile(uintptr(descriptor), path)
	if entry, err := EntryOf(file); err != nil || !entry.Regular {
		file.Close()
		return nil, errors.Join(err, pathError("open", path, ErrNotRegular))
	}
	return file, nil
}

// ReadFile is ReadFile of this package for an entry of the folder.
func (f *Folder) ReadFile(name string, max int64) ([]byte, error) {
	return f.readAccepted(name, max, func(*unix.Stat_t) error { return nil })
}

// ReadOwnedFile is ReadOwnedFile of this package for an entry of the folder.
func (f *Folder) ReadOwnedFile(name string, uid uint32, max int64) ([]byte, error) {
	return f.readAccepted(name, max, ownedBy(uid))
}

func (f *Folder) readAccepted(name string, max int64, accept func(*unix.Stat_t) error) ([]byte, error) {
	file, err := f.OpenFile(name, unix.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return readOpen(file, max, accept)
}

// WriteFile replaces the content of a file in one step, as WriteFile of this
// package does. A group of at least 0 is the file's from its first moment on.
func (f *Folder) WriteFile(name string, data []byte, perm fs.FileMode, group int) error {
	if err := f.checkName(name); err != nil {
		return f.error("write", name, err)
	}
	return replaceFile(f.handle, filepath.Join(f.path, name), data, access{perm.Perm(), group})
}

// Rename gives an entry another name, in place of what has it.
func (f *Folder) Rename(from, to string) error {
	err := errors.Join(f.checkName(from), f.checkName(to))
	if err == nil {
		err = unix.Renameat(int(f.handle.Fd()), from, int(f.handle.Fd()), to)
	}
	return f.error("rename", from, err)
}

// Link gives a file a second name, which must be free.
func (f *Folder) Link(from, to string) error {
	err := errors.Join(f.checkName(from), f.checkName(to))
	if err == nil {
		err = unix.Linkat(int(f.handle.Fd()), from, int(f.handle.Fd()), to, 0)
	}
	return f.error("link", from, err)
}

// Remove removes an entry that is no folder. A missing one is fs.ErrNotExist.
func (f *Folder) Remove(name string) error {
	err := f.checkName(name)
	if err == nil {
		err = unix.Unlinkat(int(f.handle.Fd()), name, 0)
	}
	return f.error("remove", name, err)
}

var errNoName = errors.New("not the name of an entry")

func (f *Folder) checkName(name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return errNoName
	}
	return nil
}

func (f *Folder) error(operation, name string, err error) error {
	if err == nil {
		return nil
	}
	return pathError(operation, filepath.Join(f.path, name), err)
}
