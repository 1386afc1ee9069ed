package safefile

import "golang.org/x/sys/unix"

// ForeignFolder is an open folder that anybody may own, write in and exchange.
// What is in it proves nothing, so there is no way to read or write files there:
// root finds a link of its own again, and removes. As with a Folder, all is done
// relative to the folder that was opened, and names are those of entries. It is
// safe for concurrent use.
type ForeignFolder struct{ folder Folder }

// OpenForeignFolder opens a folder whoever owns it and those above it, and
// whoever may write there: a Mac's /usr/local is often a user's. No link on the
// way is followed, not even one of root's; it is ErrSymlink.
func OpenForeignFolder(path string) (*ForeignFolder, error) {
	folder, err := openFolder(path, chain{foreign: true})
	if err != nil {
		return nil, err
	}
	return &ForeignFolder{*folder}, nil
}

// Close gives the folder back.
func (f *ForeignFolder) Close() error { return f.folder.Close() }

// ReadLink gives where a link leads. What is no link is unix.EINVAL.
func (f *ForeignFolder) ReadLink(name string) (target string, err error) {
	if err = f.folder.checkName(name); err == nil {
		target, err = readLinkAt(f.folder.handle, name)
	}
	return target, f.folder.error("read link", name, err)
}

// Remove removes an entry that is no folder.
func (f *ForeignFolder) Remove(name string) error { return f.folder.Remove(name) }

// RemoveFolder removes a folder that is empty. One that is not is
// unix.ENOTEMPTY, and what is no folder unix.ENOTDIR.
func (f *ForeignFolder) RemoveFolder(name string) error {
	err := f.folder.checkName(name)
	if err == nil {
		err = unix.Unlinkat(int(f.folder.handle.Fd()), name, unix.AT_REMOVEDIR)
	}
	return f.folder.error("remove", name, err)
}
