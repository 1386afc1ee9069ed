package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"prlagent/agent"
	"prlagent/agent/localapi"
	"prlagent/launchd"
	"prlagent/platform/safefile"
	"prlagent/platform/tool"
)

// ownedKind is what stands at a place of ours. Anything else there is not ours.
type ownedKind int

const (
	ownedFile   ownedKind = iota // a regular file
	ownedSocket                  // a socket
	ownedLink                    // a link that leads to our program
	ownedFolder                  // a folder, if it is empty
	ownedRest                    // all that is in a folder but the programs
	ownedTree                    // a folder with all that is in it
	ownedLinks                   // the folder of the link, if the package made it and it is empty
)

// ownedThing is what stands at one place.
type ownedThing struct {
	path  string
	kind  ownedKind
	purge bool // goes with --purge only
	last  bool // goes when all before it is gone: with it, what was cut off is repeated
}

// owned is everything that is ours outside of the users' worlds, in the order in which
// it goes; the job's file goes before, with the job. With purge everything goes. The
// managed configuration is the MDM's, and the folder of old logs one in which root does
// nothing (H53).
var owned = []ownedThing{
	{path: "/var/run/prlagent.sock", kind: ownedSocket},
	{path: "/usr/local/bin/prlagent", kind: ownedLink},
	{path: "/usr/local/bin", kind: ownedLinks},
	{path: madeLinks, kind: ownedFile},
	{path: localapi.SupportFolder + "/" + localapi.StatusJSON, kind: ownedFile},
	{path: localapi.SupportFolder + "/" + localapi.StatusPlist, kind: ownedFile},
	{path: localapi.SupportFolder + "/" + localapi.InventoryPlist, kind: ownedFile},
	{path: localapi.SupportFolder, kind: ownedRest, purge: true},
	{path: programFolder + "/prlagentd.new", kind: ownedFile}, // of an installation that was cut off
	{path: linkTarget, kind: ownedFile, last: true},
	{path: agent.Program, kind: ownedFile, last: true},
	{path: programFolder, kind: ownedFolder, last: true},
	{path: localapi.SupportFolder, kind: ownedTree, purge: true, last: true},
}

const (
	programFolder = localapi.SupportFolder + "/bin"
	linkTarget    = programFolder + "/prlagent" // where our link leads
)

// madeLinks is there where the package's postinstall has made the folder of the link:
// many Macs have none.
const madeLinks = localapi.SupportFolder + "/made-usr-local-bin"

// removeOwned removes what is ours, and gives what that was. No link is followed, and
// what is another kind of thing than ours stays. What cannot be removed keeps nothing
// else but the programs, which can try again.
func (m *managedMac) removeOwned(things []ownedThing, purge bool) (removed []string, err error) {
	for _, thing := range things {
		if thing.purge && !purge || thing.last && err != nil {
			continue
		}
		gone, thingError := m.removeThing(thing.path, thing.kind)
		if thingError != nil {
			err = errors.Join(err, fmt.Errorf("remove %s: %w", thing.path, thingError))
		}
		if gone {
			removed = append(removed, thing.path)
		}
	}
	return removed, err
}

func (m *managedMac) removeThing(path string, kind ownedKind) (gone bool, err error) {
	if kind == ownedLink || kind == ownedLinks {
		return m.removeAmongOthers(path, kind)
	}
	folder, err := m.openFolderOf(path, kind)
	if err != nil {
		return false, unlessNothing(err)
	}
	defer folder.Close()
	name := filepath.Base(path)
	info, err := folder.Lstat(name)
	if err != nil || !isOurs(info, kind) {
		return false, unlessNothing(err)
	}
	switch kind {
	case ownedTree:
		err = folder.RemoveAll(name)
	case ownedRest:
		return removeRest(folder, name)
	case ownedFolder:
		if !isEmptyFolder(folder, name) {
			return false, nil
		}
		err = folder.Remove(name)
	default:
		err = folder.Remove(name)
	}
	return err == nil, err
}

// removeAmongOthers removes our link, or its folder. Others may own the folder above, or
// one on the way there, and exchange them at any moment; where a link is on the way,
// nothing is ours.
func (m *managedMac) removeAmongOthers(path string, kind ownedKind) (gone bool, err error) {
	root, err := filepath.EvalSymlinks(cmp.Or(m.root, "/")) // a simulated Mac may lie behind a link
	if err != nil {
		return false, unlessNothing(err)
	}
	folder, err := safefile.OpenForeignFolder(filepath.Join(root, filepath.Dir(path)))
	if err != nil {
		return false, unlessNothing(err, safefile.ErrSymlink)
	}
	defer folder.Close()
	if kind == ownedLinks {
		return m.removeFolderOfLink(folder, filepath.Base(path))
	}
	return m.removeLink(folder, filepath.Base(path))
}

func (m *managedMac) removeLink(folder *safefile.ForeignFolder, name string) (gone bool, err error) {
	target, err := folder.ReadLink(name)
	if err != nil {
		return false, unlessNothing(err, syscall.EINVAL) // it is no link
	}
	if target != linkTarget && target != filepath.Join(m.root, linkTarget) {
		return false, nil
	}
	err = folder.Remove(name)
	return err == nil, err
}

func (m *managedMac) removeFolderOfLink(folder *safefile.ForeignFolder, name string) (gone bool, err error) {
	if mark, err := os.Lstat(filepath.Join(m.root, madeLinks)); err != nil || !mark.Mode().IsRegular() {
		return false, nil
	}
	err = folder.RemoveFolder(name)
	return err == nil, unlessNothing(err, syscall.ENOTEMPTY)
}

// openFolderOf opens the folder in which something of ours stands.
func (m *managedMac) openFolderOf(path string, kind ownedKind) (*os.Root, error) {
	place := filepath.Join(m.root, filepath.Dir(path))
	if kind != ownedSocket { // which is in a folder of root's, to which macOS itself has a link
		// Nobody but root can exchange a folder on the way.
		if err := safefile.CheckFolder(place, uint32(os.Geteuid())); err != nil {
			return nil, err
		}
	}
	if info, err := os.Stat(place); err != nil || !info.IsDir() {
		return nil, cmp.Or(err, error(syscall.ENOTDIR))
	}
	return os.OpenRoot(place)
}

// unlessNothing drops the errors that say that there is nothing of ours at a path; more
// are those that say so to this caller.
func unlessNothing(err error, more ...error) error {
	for _, nothing := range append(more, fs.ErrNotExist, syscall.ENOTDIR, syscall.ELOOP) {
		if errors.Is(err, nothing) {
			return nil
		}
	}
	return err
}

// removeRest removes what is in a folder but for the programs, and gives whether that
// was anything.
func removeRest(parent *os.Root, name string) (gone bool, err error) {
	folder, err := parent.OpenRoot(name)
	if err != nil {
		return false, err
	}
	defer folder.Close()
	names, err := fs.ReadDir(folder.FS(), ".")
	for _, entry := range names {
		if entry.Name() != filepath.Base(programFolder) {
			gone, err = true, errors.Join(err, folder.RemoveAll(entry.Name()))
		}
	}
	return gone, err
}

func isOurs(info fs.FileInfo, kind ownedKind) bool {
	switch kind {
	case ownedFile:
		return info.Mode().IsRegular()
	case ownedSocket:
		return info.Mode()&fs.ModeSocket != 0
	}
	return info.IsDir()
}

func isEmptyFolder(parent *os.Root, name string) bool {
	folder, err := parent.OpenRoot(name) // of a pipe that has taken its place, Open would wait
	if err != nil {
		return false
	}
	defer folder.Close()
	listed, err := folder.Open(".")
	if err != nil {
		return false
	}
	defer listed.Close()
	_, err = listed.Readdirnames(1)
	return errors.Is(err, io.EOF)
}

const pkgutilPath = "/usr/sbin/pkgutil"

// forgetReceipt has macOS forget the package, whose name is the label (facts/macos.md
// 13.3). It gives whether there was a receipt.
func (m *managedMac) forgetReceipt(ctx context.Context) (gone bool) {
	ask := func(option string) bool {
		result, err := m.tools.Run(ctx, &tool.Command{Path: pkgutilPath, Args: []string{option, launchd.Label}})
		return err == nil && result.ExitCode == 0
	}
	if !ask("--pkg-info") {
		return false
	}
	return ask("--forget") && !ask("--pkg-info")
}
