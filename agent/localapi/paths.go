package localapi

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Where the agent's own files are on a Mac (DESIGN 4), for the daemon and for who
// looks at them while it is down.
const (
	SupportFolder = "/Library/Application Support/prlagent"
	StateFolder   = SupportFolder + "/state"
	IdentityFile  = StateFolder + "/node.json"
	// DowngradeFile names the version of the agent that may put a state aside which it
	// cannot read; the package has written it.
	DowngradeFile = StateFolder + "/downgrade"
	LocalConfig   = SupportFolder + "/config.plist"
	ManagedConfig = "/Library/Managed Preferences/org.prlagent.agent.plist"
	LogFolder     = SupportFolder + "/logs" // with launchd's file for standard error (H53)
	LogFile       = LogFolder + "/prlagentd.log"

	// OldLogFolder is where the log was before it moved below the support folder.
	// Members of the admin group can exchange it, so root does nothing there.
	OldLogFolder = "/Library/Logs/prlagent"
)

const (
	macSocketPath     = "/var/run/prlagent.sock"
	macSnapshotFolder = SupportFolder
)

// Names of the snapshot files in macSnapshotFolder.
const (
	StatusJSON     = "status.json"     // world-readable, Status.ForEveryone
	StatusPlist    = "status.plist"    // the same for readers of property lists
	InventoryPlist = "inventory.plist" // root and the admin group, Inventory
)

// macOwnFolders are the folders whose files root believes, runs or writes: of the
// agent's programs, state and logs, and of both configurations.
var macOwnFolders = []string{
	SupportFolder, SupportFolder + "/bin", StateFolder, LogFolder,
	"/Library/Managed Preferences",
}

// macInstalled are the files of which an installed agent has at least one: its
// job, its program, and what it left behind at its last run.
var macInstalled = []string{
	"/Library/LaunchDaemons/org.prlagent.agent.plist", macSnapshotFolder + "/bin/prlagentd", macSnapshotFolder + "/" + StatusJSON,
}

// InstalledUnder reports whether there is an agent on the Mac in the folder root,
// running or not; on this Mac if root is empty.
func InstalledUnder(root string) bool {
	for _, file := range macInstalled {
		if _, err := os.Lstat(filepath.Join(root, file)); !errors.Is(err, fs.ErrNotExist) {
			return true
		}
	}
	return false
}

// OwnFoldersUnder are the folders of the Mac in the folder root that nobody but
// root may be able to change, or to exchange by one above them (H53); of this Mac
// if root is empty.
func OwnFoldersUnder(root string) []string {
	folders := make([]string, 0, len(macOwnFolders))
	for _, folder := range macOwnFolders {
		folders = append(folders, filepath.Join(root, folder))
	}
	return folders
}

// SocketUnder is the socket of the Mac in the folder root; of this Mac if root
// is empty.
func SocketUnder(root string) string { return filepath.Join(root, macSocketPath) }

// SnapshotsUnder is the folder of the snapshot files of the Mac in the folder
// root; of this Mac if root is empty.
func SnapshotsUnder(root string) string { return filepath.Join(root, macSnapshotFolder) }
