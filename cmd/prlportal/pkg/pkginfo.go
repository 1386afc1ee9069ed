package pkg

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"prlagent/platform/plist"
)

// munkiItem is what Munki wants to know of the package: a pkginfo, with the keys of
// Munki's wiki (Supported Pkginfo Keys) and the values that its makepkginfo gives them
// (munki/munki: code/cli/munki/shared/admin/pkginfolib.swift). Sizes are kilobytes.
type munkiItem struct {
	Name        string   `plist:"name"`
	DisplayName string   `plist:"display_name"`
	Description string   `plist:"description"`
	Version     string   `plist:"version"`
	Catalogs    []string `plist:"catalogs"`

	MinimumSystem string   `plist:"minimum_os_version"`
	Architectures []string `plist:"supported_architectures"`

	Location      string `plist:"installer_item_location"`
	Hash          string `plist:"installer_item_hash"` // SHA-256
	Size          int    `plist:"installer_item_size"`
	InstalledSize int    `plist:"installed_size"`

	// A receipt of this version or a newer one: it is installed.
	Receipts []munkiReceipt `plist:"receipts"`

	UnattendedInstall   bool   `plist:"unattended_install"`
	UnattendedUninstall bool   `plist:"unattended_uninstall"`
	Uninstallable       bool   `plist:"uninstallable"`
	UninstallMethod     string `plist:"uninstall_method"`
	UninstallScript     string `plist:"uninstall_script"`
}

type munkiReceipt struct {
	Identifier    string `plist:"packageid"`
	Version       string `plist:"version"`
	InstalledSize int    `plist:"installed_size"`
}

// describeForMunki gives the pkginfo of a package, which is named by its place in the
// repository's pkgs. Its catalog is testing, as makepkginfo has it.
func describeForMunki(whole File, version string, entries []entry, scripts scripts) ([]byte, error) {
	sum, installed := sha256.Sum256(whole.Data), describePackage(version, entries).Payload.Kilobytes
	encoded, err := plist.EncodeXML(munkiItem{
		Name: "prlagent", DisplayName: "prlagent", Version: version, Catalogs: []string{"testing"},
		Description:   "Watches Parallels Desktop, applies policies and reports virtual machines to the portal.",
		MinimumSystem: "12.0", // of Go's linker (facts/macos.md 13.2)
		Architectures: []string{"arm64", "x86_64"},
		Location:      whole.Name, Hash: hex.EncodeToString(sum[:]), Size: len(whole.Data) / 1024, InstalledSize: installed,
		Receipts:          []munkiReceipt{{Identifier, version, installed}},
		UnattendedInstall: true, UnattendedUninstall: true,
		Uninstallable: true, UninstallMethod: "uninstall_script", UninstallScript: string(scripts.uninstall),
	})
	if err != nil {
		return nil, fmt.Errorf("make pkginfo: %w", err)
	}
	return encoded, nil
}
