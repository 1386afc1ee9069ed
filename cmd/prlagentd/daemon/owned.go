package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

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
	ownedTree                    // a folder with all that is in it
	ownedLinks                   // the folder of the link, if the package made it and it is empty
)

// owned is everything that is ours outside of the users' worlds, in the order in which
// it goes; the job's file goes before, with the job. With purge everything goes. The
// managed configuration is the MDM's, and the folder of old logs one in which root does
// nothing (H53).
var owned = []struct {
	path  string
	kind  ownedKind
	purge bool // goes with --purge only
}{
	{"/var/run/prlagent.sock", ownedSocket, false},
	{"/usr/local/bin/prlagent", ownedLink, false},
	{"/usr/local/bin", ownedLinks, false},
	{madeLinks, ownedFile, false},
	{localapi.SupportFolder + "/bin/prlagent", ownedFile, false},
	{localapi.SupportFolder + "/bin/prlagentd", ownedFile, false},
	{localapi.SupportFolder + "/bin/prlagentd.new", ownedFile, false}, // of an installation that was cut off
	{localapi.SupportFolder + "/bin", ownedFolder, false},
	{localapi.SupportFolder + "/" + localapi.StatusJSON, ownedFile, false},
	{localapi.SupportFolder + "/" + localapi.StatusPlist, ownedFile, false},
	{localapi.SupportFolder + "/" + localapi.InventoryPlist, ownedFile, false},
	{localapi.SupportFolder, ownedTree, true},
}

// madeLinks is there where the package's postinstall has made the folder of the link:
// many Macs have none.
const madeLinks = localapi.SupportFolder + "/made-usr-local-bin"

// linkTarget is where our link leads.
const linkTarget = localapi.SupportFolder + "/bin/prlagent"

// removeOwned removes what is ours, and gives what that was. No link is followed, and
// what is another kind of thing than ours stays.
func (m *managedMac) removeOwned(purge bool) (removed []string, err error) {
	for _, thing := range owned {
		if thing.purge && !purge {
			continue
		}
		gone, err := m.removeThing(thing.path, thing.kind)
		if err != nil {
			return removed, fmt.Errorf("remove %s: %w", thing.path, err)
		}
		if gone {
			removed = append(removed, thing.path)
		}
	}
	return removed, nil
}

func (m *managedMac) removeThing(path string, kind ownedKind) (gone bool, err error) {
	place := filepath.Join(m.root, path)
	if kind != ownedLink && kind != ownedSocket && kind != ownedLinks {
		// Nobody but root can exchange a folder on the way. Of the other places
		// others may be the owners; there one name is removed and nothing below it.
		if err := safefile.CheckFolder(filepath.Dir(place), uint32(os.Geteuid())); err != nil {
			return false, err
		}
	}
	folder, err := os.OpenRoot(filepath.Dir(place))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer folder.Close()
	name := filepath.Base(place)
	info, err := folder.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil || !m.isOurs(folder, info, kind) {
		return false, err
	}
	switch kind {
	case ownedTree:
		err = folder.RemoveAll(name)
	case ownedFolder, ownedLinks:
		if !isEmptyFolder(folder, name) {
			return false, nil
		}
		err = folder.Remove(name)
	default:
		err = folder.Remove(name)
	}
	return err == nil, err
}

func (m *managedMac) isOurs(folder *os.Root, info fs.FileInfo, kind ownedKind) bool {
	switch kind {
	case ownedFile:
		return info.Mode().IsRegular()
	case ownedSocket:
		return info.Mode()&fs.ModeSocket != 0
	case ownedLink:
		target, err := folder.Readlink(info.Name())
		return err == nil && (target == linkTarget || target == filepath.Join(m.root, linkTarget))
	case ownedLinks:
		mark, err := os.Lstat(filepath.Join(m.root, madeLinks))
		return err == nil && mark.Mode().IsRegular() && info.IsDir()
	}
	return info.IsDir()
}

func isEmptyFolder(parent *os.Root, name string) bool {
	folder, err := parent.Open(name)
	if err != nil {
		return false
	}
	defer folder.Close()
	names, _ := folder.Readdirnames(1)
	return len(names) == 0
}

const pkgutilPath = "/usr/sbin/pkgutil"

// forgetReceipt has macOS forget the package, whose name is the label (facts/macos.md
// 13.3). It gives whether there was a receipt.
func (m *managedMac) forgetReceipt(ctx context.Context) (gone bool) {
	ask := func(option string) bool {
		result, err := m.tools.Run(ctx, tool.Command{Path: pkgutilPath, Args: []string{option, launchd.Label}})
		return err == nil && result.ExitCode == 0
	}
	if !ask("--pkg-info") {
		return false
	}
	return ask("--forget") && !ask("--pkg-info")
}
