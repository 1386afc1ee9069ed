package sim

import (
	"encoding/json"
	"encoding/xml"
	"io"
	"os"
	"strings"
	"testing"

	"prlagent/platform/plist"
)

func TestOutputIsStable(t *testing.T) {
	t.Parallel()
	mac := newMac(t, standardMac())
	old := standardMac()
	old.ProductVersion, old.Intel = "18.3.0-53605", true
	oldMac := newMac(t, old)
	windows, server := idOf(t, mac, "alice", "Windows 11"), callAs(mac, "alice")
	for name, result := range map[string]outcome{
		"list_short.json":     server.run(t, "prlctl", "list", "-a", "--json"),
		"list_bulk.json":      server.run(t, "prlctl", "list", "-a", "-i", "--json"),
		"list_windows.json":   server.run(t, "prlctl", "list", windows, "-i", "--json"),
		"list_windows.txt":    server.run(t, "prlctl", "list", windows, "-i"),
		"list_pd18_bulk.json": callAs(oldMac, "alice").run(t, "prlctl", "list", "-a", "-i", "--json"),
		"list.txt":            server.run(t, "prlctl", "list", "-a"),
		"info.json":           server.run(t, "prlsrvctl", "info", "--json"),
		"info.txt":            server.run(t, "prlsrvctl", "info"),
		"license.json":        server.run(t, "prlsrvctl", "info", "--license", "--json"),
		"license.txt":         server.run(t, "prlsrvctl", "info", "--license"),
		"users.json":          server.run(t, "prlsrvctl", "user", "list", "-j"),
		"users.plist":         callAs(mac, rootUser).run(t, "dscl", "-plist", ".", "-readall", "/Users", "UniqueID", "NFSHomeDirectory", "RealName", "UserShell"),
		"console_user.txt":    call{mac, rootUser, "show State:/Users/ConsoleUser\n"}.run(t, "scutil"),
		"ioreg.plist":         callAs(mac, rootUser).run(t, "ioreg", "-a", "-r", "-d1", "-c", "IOPlatformExpertDevice"),
	} {
		t.Run(name, func(t *testing.T) {
			if result.code != 0 || result.stderr != "" {
				t.Errorf("exit code %d, stderr %q", result.code, result.stderr)
			}
			checkGolden(t, name, result.stdout)
		})
	}
	for _, file := range []string{"config.pvs", "VmInfo.pvi"} {
		content, err := os.ReadFile(mac.Path("/Users/bob/Parallels/Windows 11.pvm/" + file))
		if err != nil {
			t.Fatal(err)
		}
		checkGolden(t, file, string(content))
	}
}

// Types are mixed as in facts/prlctl.md 2.1.
func TestJSONIsReadable(t *testing.T) {
	t.Parallel()
	mac := newMac(t, standardMac())
	result := callAs(mac, "alice").run(t, "prlctl", "list", "Windows 11", "-i", "--json")
	var documents []map[string]any
	if err := json.Unmarshal([]byte(result.stdout), &documents); err != nil || len(documents) != 1 {
		t.Fatalf("%d documents, %v", len(documents), err)
	}
	document := documents[0]
	startup := document["Startup and Shutdown"].(map[string]any)
	for what, pair := range map[string][2]any{
		"switch":           {startup["Autostart"], "off"},
		"number":           {startup["Autostart delay"], 0.0},
		"boolean":          {document["Smart Guard"].(map[string]any)["enabled"], false},
		"number as text":   {document["Uptime"], "37000"},
		"blank at the end": {document["Modality"].(map[string]any)["Show on all spaces "], "on"},
		"path":             {document["Home"], "/Users/alice/Parallels/Windows 11.pvm/"},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: got %#v, want %#v", what, pair[0], pair[1])
		}
	}
	if !strings.Contains(result.stdout, `\/Users\/alice\/Parallels\/`) {
		t.Error("slashes are not escaped")
	}
}

func TestFilesAreReadable(t *testing.T) {
	t.Parallel()
	mac := newMac(t, standardMac())
	for _, path := range []string{
		"/System/Library/CoreServices/SystemVersion.plist",
		"/Applications/Parallels Desktop.app/Contents/Info.plist",
	} {
		content, err := os.ReadFile(mac.Path(path))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := plist.DecodeDict(content); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	config, err := os.Open(mac.Path("/Users/alice/Parallels/macOS.macvm/config.pvs"))
	if err != nil {
		t.Fatal(err)
	}
	defer config.Close()
	for decoder := xml.NewDecoder(config); err != io.EOF; {
		if _, err = decoder.Token(); err != nil && err != io.EOF {
			t.Fatal(err)
		}
	}
}

func TestSeedsMakeDifferentMacs(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, seed := range []int64{1, 2, 3} {
		wanted := standardMac()
		wanted.Seed = seed
		state, err := newMac(t, wanted).Load()
		if err != nil {
			t.Fatal(err)
		}
		for what, value := range map[string]string{
			"serial": state.SerialNumber, "hardware": state.HardwareUUID, "VM": state.VMs[0].ID, "license": state.Product.LicenseUUID,
		} {
			if other, twice := seen[value]; twice {
				t.Errorf("%s %s is also %s", what, value, other)
			}
			seen[value] = what
		}
	}
}

func TestControlCharactersStayRaw(t *testing.T) {
	t.Parallel()
	got := encodeJSON(orderedObject{{"a/b", "x\"\\\n\x01"}, {"n", 3}, {"l", []string{"y"}}})
	want := "{\n\t\"a\\/b\": \"x\\\"\\\\\n\x01\",\n\t\"n\": 3,\n\t\"l\": [\n\t\t\"y\"\n\t]\n}"
	if got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
