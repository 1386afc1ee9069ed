package pkg

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"prlagent/launchd"
)

// Identifier is the package's name in receipts: pkgutil --pkg-info Identifier.
const Identifier = launchd.Label

// StoreFormat is the format of the state database that the packaged agent writes,
// and the newest that it reads.
const StoreFormat = 1

// Owners of what is on a Mac. Root and wheel are 0; admin is the group of
// /Library/Application Support (not verified on a Mac; overwrite-permissions is off,
// so a folder that is there stays as it is).
const (
	root  = 0
	wheel = 0
	admin = 80
)

// entry is one file or folder of an archive.
type entry struct {
	path  string // below the volume, without a slash in front; "." is the volume itself
	mode  fs.FileMode
	owner uint32
	group uint32
	data  []byte // of a file

	shared bool // a folder of the system's: we are not alone in it
}

func (e entry) isFolder() bool { return e.mode.IsDir() }

// unixMode is the mode as stat(2) has it, with the type.
func (e entry) unixMode() uint32 {
	if e.isFolder() {
		return 0o040000 | uint32(e.mode.Perm())
	}
	return 0o100000 | uint32(e.mode.Perm())
}

// Where things are installed: as the job says, which is the one place that knows.
var (
	daemonFile    = launchd.AgentJob().Program
	programFolder = path.Dir(daemonFile)
	cliFile       = path.Join(programFolder, "prlagent")
	supportFolder = launchd.AgentJob().WorkingDirectory
	logFolder     = path.Dir(launchd.AgentJob().StandardErrorPath)
	stateFolder   = path.Join(supportFolder, "state")
	// releaseFile says what is installed, in lines that a script reads: the version
	// and the store's format. It outlives an uninstallation that keeps the state.
	releaseFile = path.Join(supportFolder, "release.txt")
	// permissionFile names the version that may put a state aside which it cannot read.
	permissionFile = path.Join(stateFolder, "downgrade")
	// runtimeFiles are what the agent makes for others beside its socket, and needs no more.
	runtimeFiles = []string{
		path.Join(supportFolder, "status.json"), path.Join(supportFolder, "status.plist"), path.Join(supportFolder, "inventory.plist"), daemonFile + ".new",
	}
)

const socketFile = "/var/run/prlagent.sock"

// cliLink is made by postinstall (DESIGN 4), with its folder where there is none: then
// there is the file madeLinks, for the uninstallation. Its name is the program's.
const cliLink = "/usr/local/bin/prlagent"

var madeLinks = path.Join(supportFolder, "made-usr-local-bin")

// payload is all that the package installs, parents before children. The job's property
// list is not in it: 'prlagentd install', which postinstall runs, writes it where it
// differs, with the job stopped. An installer would write an equal one anew, which can
// raise the notice of background items (facts/acting.md 4), and a changed one while
// launchd keeps what it read before.
func payload(version string, daemon, cli []byte) []entry {
	folder := func(name string, group uint32, shared bool) entry {
		return entry{path: below(name), mode: fs.ModeDir | 0o755, owner: root, group: group, shared: shared}
	}
	file := func(name string, mode fs.FileMode, data []byte) entry {
		return entry{path: below(name), mode: mode, owner: root, group: wheel, data: data}
	}
	entries := []entry{
		folder("/", wheel, true),
		folder("/Library", wheel, true),
		folder("/Library/Application Support", admin, true),
		folder(supportFolder, wheel, false),
		folder(programFolder, wheel, false),
		folder(logFolder, wheel, false),
		file(daemonFile, 0o755, daemon),
		file(cliFile, 0o755, cli),
		file(releaseFile, 0o644, fmt.Appendf(nil, "version=%s\nstore_format=%d\n", version, StoreFormat)),
	}
	sortEntries(entries)
	return entries
}

// below is an absolute path as an archive has it.
func below(name string) string { return path.Join(".", strings.TrimPrefix(name, "/")) }

// sortEntries puts entries in the order of their path's components, so that a folder
// comes before what is in it, and the order does not depend on who made the list.
func sortEntries(entries []entry) {
	slices.SortFunc(entries, func(a, b entry) int {
		return slices.Compare(components(a.path), components(b.path))
	})
}

func components(name string) []string {
	if name == "." {
		return nil
	}
	return strings.Split(name, "/")
}

// checkEntries refuses what an archive must not have: links and other files that are
// none, what others can write, paths that lead out, what lies in no folder of the
// list, and /usr/local (facts/acting.md 4).
func checkEntries(entries []entry) error {
	folders := map[string]bool{}
	for i, e := range entries {
		switch {
		case i == 0 && e.path != ".":
			return fmt.Errorf("the first entry is %q, not the volume", e.path)
		case e.mode&^(fs.ModeDir|fs.ModePerm) != 0:
			return fmt.Errorf("%s is neither a plain file nor a folder", e.path)
		case e.mode.Perm()&0o022 != 0:
			return fmt.Errorf("others can write %s", e.path)
		case !fs.ValidPath(e.path) || strings.ContainsAny(e.path, "\x00\n\\"):
			return fmt.Errorf("%q is no path for a package", e.path)
		case e.path == "usr" || strings.HasPrefix(e.path, "usr/"):
			return fmt.Errorf("%s would change the owner of what others have below /usr", e.path)
		case i > 0 && !folders[path.Dir(e.path)]:
			return fmt.Errorf("%s comes before its folder, or without it", e.path)
		case i > 0 && slices.Compare(components(entries[i-1].path), components(e.path)) >= 0:
			return fmt.Errorf("%s is not where it belongs in the order", e.path)
		case e.isFolder() && len(e.data) > 0:
			return errors.New(e.path + " is a folder with data")
		}
		if e.isFolder() {
			folders[e.path] = true
		}
	}
	return nil
}

// parentOf gives the index of the folder of each entry; of the first, -1.
func parentOf(entries []entry) []int {
	at, parents := map[string]int{}, make([]int, len(entries))
	for i, e := range entries {
		at[e.path], parents[i] = i, -1
		if i > 0 {
			parents[i] = at[path.Dir(e.path)]
		}
	}
	return parents
}

// timeOfArchives stands in archives where the programs say nothing of their source:
// any fixed time, for the same bytes.
var timeOfArchives = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
