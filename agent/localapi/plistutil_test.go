package localapi

import (
	"os"
	"path/filepath"
	"testing"

	"prlagent/platform/plist/plisttest"
)

// What Jamf, Munki and osquery read, a second parser reads as we do, whatever texts
// it has.
func TestSnapshotsReadByPlistutil(t *testing.T) {
	t.Parallel()
	parser := plisttest.Find(t)
	for name, more := range map[string]string{"as they are": "", "with hostile texts": "\x1b[2J\u202e\x00\xff</string>&amp;]]>\r\n"} {
		folder := t.TempDir()
		if err := WriteSnapshots(folder, spoiled(t, sampleStatus(), more), spoiled(t, sampleInventory(), more)); err != nil {
			t.Fatal(err)
		}
		for _, file := range []string{StatusPlist, InventoryPlist} {
			data, err := os.ReadFile(filepath.Join(folder, file))
			if err != nil {
				t.Fatal(err)
			}
			if err := parser.Agrees(data); err != nil {
				t.Errorf("%s %s: %v", file, name, err)
			}
		}
	}
}
