package pkg

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"prlagent/cmd/prlportal/pkg/pkgtest"
	"prlagent/platform/plist"
	"prlagent/platform/plist/plisttest"
)

// What Munki reads of the package is true of it: its sum, sizes, version and receipt, and
// how it is taken off again, without anybody at the Mac.
func TestPKG12PkginfoIsOfThePackage(t *testing.T) {
	t.Parallel()
	files := built(t, false)
	whole, script := files[KindPackage], files[KindUninstall]
	info, err := plist.DecodeDict(files[KindPkginfo].Data)
	if err != nil {
		t.Fatal(err)
	}
	described, err := readTree(unpacked(t)[component+"/PackageInfo"])
	if err != nil {
		t.Fatal(err)
	}
	kilobytes := described.child("payload").attributes["installKBytes"]
	for key, want := range map[string]string{
		"name": "prlagent", "display_name": "prlagent", "version": pkgtest.Version, "catalogs": "[testing]", "minimum_os_version": "12.0",
		"supported_architectures": "[arm64 x86_64]", "installer_item_location": whole.Name,
		"installer_item_hash": fmt.Sprintf("%x", sha256.Sum256(whole.Data)), "installer_item_size": fmt.Sprint(len(whole.Data) / 1024),
		"installed_size": kilobytes, "unattended_install": "true", "unattended_uninstall": "true", "uninstallable": "true",
		"uninstall_method": "uninstall_script", "uninstall_script": string(script.Data),
		"receipts": fmt.Sprintf("[map[installed_size:%s packageid:%s version:%s]]", kilobytes, described.attributes["identifier"], described.attributes["version"]),
	} {
		if got := fmt.Sprint(info[key]); got != want {
			t.Errorf("%s is %s, want %s", key, got, want)
		}
		delete(info, key)
	}
	if diff := cmp.Diff([]string{"description"}, slices.Collect(maps.Keys(info))); diff != "" {
		t.Error(diff)
	}
	// Munki writes the script to a file and runs that: its first line says by what.
	if !strings.HasPrefix(string(script.Data), "#!/bin/sh\n") {
		t.Errorf("the script begins with %.20q", script.Data)
	}
}

func TestPkginfoReadByPlistutil(t *testing.T) {
	t.Parallel()
	if err := plisttest.Find(t).Agrees(built(t, false)[KindPkginfo].Data); err != nil {
		t.Error(err)
	}
}
