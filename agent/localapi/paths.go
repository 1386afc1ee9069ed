package localapi

import "path/filepath"

// Where things are on a Mac (DESIGN 4).
const (
	macSocketPath     = "/var/run/prlagent.sock"
	macSnapshotFolder = "/Library/Application Support/prlagent"
)

// Names of the snapshot files in macSnapshotFolder.
const (
	StatusJSON     = "status.json"     // world-readable, Status.ForEveryone
	StatusPlist    = "status.plist"    // the same for readers of property lists
	InventoryPlist = "inventory.plist" // root and the admin group, Inventory
)

// SocketUnder is the socket of the Mac in the folder root; of this Mac if root
// is empty.
func SocketUnder(root string) string { return filepath.Join(root, macSocketPath) }

// SnapshotsUnder is the folder of the snapshot files of the Mac in the folder
// root; of this Mac if root is empty.
func SnapshotsUnder(root string) string { return filepath.Join(root, macSnapshotFolder) }
