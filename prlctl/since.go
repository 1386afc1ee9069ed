package prlctl

import (
	"slices"
	"strings"
)

// keysSince are the first major versions whose lists show keys that came after the
// oldest captures, by their paths (facts/prlctl.md 2.2, column V). Print Management
// is not among them: it goes by the guest.
var keysSince = []struct {
	path  string
	major int
}{
	{"Restore Image", 20}, {"Guest Shared Folders", 20}, {"Network", 20}, {"Security/Packed", 20},
	{"Miscellaneous Sharing/Shared clipboard mode", 20}, {"Advanced/Rosetta Linux", 20},
	{"USB and Bluetooth/Automatic sharing gamepads", 18}, {"Security/TPM type", 18}, {"SMBIOS settings", 18},
	{"Hardware/cpu/auto", 18}, {"Hardware/cpu/type", 18},
}

// TooOldFor reports whether a version is known to be older than the first whose list
// shows the key, given by its path with slashes. Of an unknown version, and of
// a key that every version shows, nothing is said.
func (v Version) TooOldFor(key string) bool {
	for _, since := range keysSince {
		if since.path == key {
			return !v.IsZero() && v.Major < since.major
		}
	}
	return false
}

// windowsKeys are sections that the list shows for Windows guests only: in
// versions 16 to 18 it was there for Windows and not for macOS and Linux
// (facts/captures.md 2; the rule is inferred).
var windowsKeys = []string{"Print Management"}

// LacksKey reports whether the list is known not to show a section for this kind
// of guest, in any version, given by its path with slashes.
func (v *VM) LacksKey(key string) bool {
	section, _, _ := strings.Cut(key, "/")
	return slices.Contains(windowsKeys, section) && !v.WindowsGuest()
}

// toolsOutdated is the state in which the product calls the tools old.
const toolsOutdated = "outdated"

// Outdated reports whether Parallels Tools are older than the product: by the
// product's own word; where it only remembers them, because the machine does
// not run, by their version (facts/prlctl.md 2.2).
func (g GuestTools) Outdated(product Version) bool {
	switch g.State {
	case toolsOutdated:
		return g.Version != ""
	case "possibly_installed":
		version, err := ParseVersion(g.Version)
		return err == nil && !product.IsZero() && version.Compare(product) < 0
	}
	return false
}

// EncryptionMethod is what opens an encrypted machine.
type EncryptionMethod string

// Methods of encryption. That by license has no row in the table of plugins
// yet: its plugin's name is not known (facts/prlctl.md 2.9).
const (
	MethodPassword EncryptionMethod = "password"
	MethodLicense  EncryptionMethod = "license"
	MethodUnknown  EncryptionMethod = ""
)

// defaultPlugin asks for a password (facts/prlctl.md 2.9).
const defaultPlugin = "<parallels-default-plugin>"

// Method says how the machine is encrypted; MethodUnknown where the plugin is
// not one that we know.
func (i *VMEncryptionInfo) Method() EncryptionMethod {
	if i.PluginID == defaultPlugin {
		return MethodPassword
	}
	return MethodUnknown
}
