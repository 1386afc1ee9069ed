package sim

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// macOfVersion is the standard Mac with another version of the product.
func macOfVersion(t *testing.T, version string) Mac {
	t.Helper()
	wanted := standardMac()
	wanted.ProductVersion = version
	return newMac(t, wanted)
}

// The keys of a VM are those of the two captures: nothing more, nothing less.
// The paths of shares and the IP addresses of a running VM are its own.
func TestINV_24_KeysAreThoseOfTheCaptures(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ version, vm, sample string }{
		{"18", "Ubuntu 22.04", "list-linux-suspended.json"},
		{"19", "Ubuntu 22.04", "list-linux-suspended.json"},
		{"20", "Windows 11", "list-windows-running.json"},
		{"26", "Windows 11", "list-windows-running.json"},
		{"27", "Windows 11", "list-windows-running.json"},
	} {
		t.Run(c.version, func(t *testing.T) {
			t.Parallel()
			captured, err := os.ReadFile(filepath.Join("..", "..", "..", "testdata", "prlctl", c.sample))
			if err != nil {
				t.Fatal(err)
			}
			printed := callAs(macOfVersion(t, c.version), "alice").run(t, "prlctl", "list", c.vm, "-i", "--json").stdout
			if diff := cmp.Diff(keysOf(t, captured), keysOf(t, []byte(printed))); diff != "" {
				t.Errorf("(-captured +simulated):\n%s", diff)
			}
		})
	}
}

// keysOf lists the paths of all keys but those that are a VM's own.
func keysOf(t *testing.T, list []byte) []string {
	t.Helper()
	var documents []map[string]any
	if err := json.Unmarshal(list, &documents); err != nil || len(documents) != 1 {
		t.Fatalf("%d documents, %v", len(documents), err)
	}
	var paths []string
	var walk func(prefix string, members map[string]any)
	walk = func(prefix string, members map[string]any) {
		for key, value := range members {
			path := prefix + key
			if inner, section := value.(map[string]any); section && path != "Host Shared Folders" && path != "SmartMount" {
				walk(path+"/", inner)
			}
			if path != "Hardware/net0/dhcp" {
				paths = append(paths, path)
			}
		}
	}
	walk("", documents[0])
	slices.Sort(paths)
	return paths
}

func TestVersionsAndTheirForms(t *testing.T) {
	t.Parallel()
	for major, want := range map[string][2]string{
		"18":           {"prlctl version 18.3.0 (53605)", `"Version": "Desktop 18.3.0-53605"`},
		"27":           {"prlctl version 27.0.0 (58628)", `"Version": "Desktop 27.0.0-58628"`},
		"20.1.0-55732": {"prlctl version 20.1.0 (55732)", `"Version": "Desktop 20.1.0-55732"`},
	} {
		mac := macOfVersion(t, major)
		checkOutcome(t, callAs(mac, "alice").run(t, "prlctl", "--version"), outcome{0, want[0], ""})
		checkOutcome(t, callAs(mac, "alice").run(t, "prlsrvctl", "info", "--json"), outcome{0, want[1], ""})
	}
	for _, wrong := range []string{"17", "26.4", "26.4.0", "latest", ""} {
		if whole, err := wholeVersion(wrong); err == nil {
			t.Errorf("%q is %q", wrong, whole)
		}
	}
}

// What the versions' help shows, and what set takes, is one table.
func TestH43_HelpOfTheVersions(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"18", "26"} {
		mac := macOfVersion(t, version)
		var all strings.Builder
		words := [][]string{{"prlctl", "--help"}, {"prlsrvctl", "set", "--help"}}
		var categories []string
		for _, flag := range setFlags {
			if !slices.Contains(categories, flag.category) {
				categories = append(categories, flag.category)
				words = append(words, []string{"prlctl", "set", flag.category, "--help"})
			}
		}
		for _, line := range words {
			got := callAs(mac, "alice").run(t, line[0], line[1:]...)
			if got.code != 0 || got.stderr != "" {
				t.Errorf("%q: exit code %d, stderr %q", line, got.code, got.stderr)
			}
			all.WriteString("$ " + strings.Join(line, " ") + "\n" + got.stdout)
		}
		checkGolden(t, "help_pd"+version+".txt", all.String())
	}
}

func TestSetOfTheVersions(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		version string
		args    []string
		want    outcome
	}{
		"bluetooth is gone in 26":         {"26", []string{"--auto-share-bluetooth", "on"}, outcome{255, "", "Unrecognized option: --auto-share-bluetooth"}},
		"bluetooth was there in 20":       {"20", []string{"--auto-share-bluetooth", "on"}, outcome{0, "The VM has been successfully configured.", ""}},
		"rosetta came with 20":            {"19", []string{"--rosetta-linux=on"}, outcome{255, "", "Unrecognized option"}},
		"one unknown flag fails all":      {"26", []string{"--pause-idle", "on", "--of-tomorrow", "on"}, outcome{255, "", "Unrecognized option: --of-tomorrow"}},
		"a category is no option":         {"26", []string{"security", "--help"}, outcome{255, "", "Unrecognized option: security"}},
		"a value that is none":            {"26", []string{"--pause-idle", "maybe"}, outcome{255, "", "Invalid argument"}},
		"a value is missing":              {"26", []string{"--pause-idle"}, outcome{255, "", "requires an argument"}},
		"not while it runs":               {"26", []string{"--cpus", "2"}, outcome{255, "", "not in the required state"}},
		"what nobody has built is no lie": {"26", []string{"--custom-pwd"}, outcome{255, "", "not simulated yet"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mac := macOfVersion(t, c.version)
			before := callAs(mac, "alice").run(t, "prlctl", "list", "Windows 11", "-i", "--json").stdout
			checkOutcome(t, callAs(mac, "alice").run(t, "prlctl", append([]string{"set", "Windows 11"}, c.args...)...), c.want)
			after := callAs(mac, "alice").run(t, "prlctl", "list", "Windows 11", "-i", "--json").stdout
			if changed := before != after; changed != (c.want.code == 0) {
				t.Errorf("changed: %t", changed)
			}
		})
	}
}

// A setting is read back where the facts say that it shows.
func TestSetIsReadBack(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ version, args, key string }{
		{"26", "--shared-clipboard off", `"Shared clipboard mode": "off"`},
		{"19", "--shared-clipboard off", `"Shared clipboard": "off"`},
		{"26", "--smart-mount=on", `"SmartMount": {` + "\n\t\t\t\"enabled\": true"},
		{"26", "--pause-idle on --autostart=start-host", `"Autostart": "start-host"`},
		{"26", "--name Accounting", `"Name": "Accounting"`},
	} {
		mac := macOfVersion(t, c.version)
		id := idOf(t, mac, "alice", "Windows 11")
		checkOutcome(t, callAs(mac, "alice").run(t, "prlctl", append([]string{"set", id}, strings.Fields(c.args)...)...), outcome{0, "configured", ""})
		checkOutcome(t, callAs(mac, "alice").run(t, "prlctl", "list", id, "-i", "--json"), outcome{0, c.key, ""})
	}
	mac := macOfVersion(t, "26")
	checkOutcome(t, callAs(mac, "alice").run(t, "prlctl", "set", "Windows 11", "--isolate-vm", "on", "--tools-autoupdate", "no"), outcome{0, "configured", ""})
	content, err := os.ReadFile(mac.Path("/Users/alice/Parallels/Windows 11.pvm/config.pvs"))
	if err != nil {
		t.Fatal(err)
	}
	for _, element := range []string{"<IsolatedVm>1</IsolatedVm>", "<LockGuestOnSuspend>0</LockGuestOnSuspend>"} {
		if !strings.Contains(string(content), element) {
			t.Errorf("config.pvs lacks %s", element)
		}
	}
}

func TestEditions(t *testing.T) {
	t.Parallel()
	for _, edition := range editions {
		wanted := standardMac()
		wanted.Edition = edition
		mac := newMac(t, wanted)
		gate := ""
		if edition == "standard" {
			gate = editionGate
		}
		for _, args := range [][]string{{"list", "-a", "--json"}, {"set", "usb", "--help"}} {
			got := callAs(mac, "alice").run(t, "prlctl", args...)
			if got.code != 0 || strings.HasPrefix(got.stdout, editionGate) != (gate != "") {
				t.Errorf("%s %q: %+v", edition, args, got)
			}
		}
		set := callAs(mac, "alice").run(t, "prlctl", "set", "Windows 11", "--pause-idle=on") // closed to Standard, captures.md 4.1
		if want := map[bool]outcome{true: {255, editionGate, ""}, false: {0, "Set pause idle: on.\nThe VM has been successfully configured.\n", ""}}[gate != ""]; set != want {
			t.Errorf("%s set: %+v", edition, set)
		}
		checkOutcome(t, callAs(mac, "alice").run(t, "prlsrvctl", "info", "--license", "--json"), outcome{0, `"edition": "` + edition + `"`, ""})
	}
	wanted := standardMac()
	wanted.Edition = "home"
	if _, err := newState(wanted); err == nil {
		t.Error("there is no edition of that name")
	}
}
