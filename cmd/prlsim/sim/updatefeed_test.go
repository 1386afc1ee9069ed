package sim

import (
	"os"
	"strings"
	"testing"
)

// offer offers a version and gives what the last application says of it.
func offer(t *testing.T, mac Mac, version, server string) (said string) {
	t.Helper()
	mustUpdate(t, mac, func(state *State) (err error) {
		said, err = mac.offerVersion(state, version, server)
		return err
	})
	return said[strings.LastIndex(said, "; ")+2:]
}

// The application looks for updates by the preferences that it read at its launch.
func TestUpdateFeed(t *testing.T) {
	t.Parallel()
	const server, later = "https://updates.example.com/feed.xml", "26.5.0-58001"
	for name, c := range map[string]struct {
		edition string
		values  map[string]any
		at      string
		want    string
	}{
		"nothing set":                {"enterprise", nil, "", "alice: tells of " + later},
		"downloads":                  {"enterprise", map[string]any{updateDownloadKey: true}, "", "alice: installs " + later + " at its quit"},
		"downloads as a word":        {"enterprise", map[string]any{updateDownloadKey: "true"}, "", "alice: tells of " + later},
		"the vendor":                 {"enterprise", map[string]any{updatePolicyKey: "Parallels"}, "", "alice: tells of " + later},
		"none":                       {"enterprise", map[string]any{updatePolicyKey: "None"}, "", "alice: does not look for updates"},
		"none in lower case":         {"enterprise", map[string]any{updatePolicyKey: "none"}, "", "alice: finds nothing new"},
		"none with Pro":              {"pro", map[string]any{updatePolicyKey: "None"}, "", "alice: tells of " + later},
		"never":                      {"enterprise", map[string]any{updateCheckKey: uint64(0)}, "", "alice: does not look for updates"},
		"never as a word":            {"enterprise", map[string]any{updateCheckKey: "0"}, "", "alice: tells of " + later},
		"a server":                   {"enterprise", map[string]any{updatePolicyKey: server}, server, "alice: tells of " + later},
		"a server with Pro":          {"pro", map[string]any{updatePolicyKey: server}, server, "alice: finds nothing new"},
		"a server, and the vendor":   {"enterprise", map[string]any{updatePolicyKey: server}, "", "alice: finds nothing new"},
		"the vendor, and a server":   {"enterprise", nil, server, "alice: finds nothing new"},
		"the server is one slash on": {"enterprise", map[string]any{updatePolicyKey: server + "/"}, server, "alice: finds nothing new"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mac := newMac(t, standardMac())
			changeDomainOf(t, mac, func(state *State, daemon preferenceDaemon) error {
				state.Product.Edition = c.edition
				if c.values == nil {
					c.values = map[string]any{}
				}
				return daemon.replace(productDomain, c.values)
			})
			launch(t, mac, "alice")
			defaultsOf(t, mac, "alice", "write", productDomain, updatePolicyKey, "-string", "https://too.late.example.com")
			if got := offer(t, mac, later, c.at); got != c.want {
				t.Errorf("%s", got)
			}
			if got := offer(t, mac, "26.3.0-1", c.at); strings.Contains(got, "26.3.0") {
				t.Errorf("an older version: %s", got)
			}
			quit(t, mac)
			if installed := mustLoad(t, mac).Product.Version == later; installed != strings.Contains(c.want, "installs") {
				t.Errorf("installed: %v", installed)
			}
		})
	}
}

// What an MDM forces is what the application goes by.
func TestForcedUpdatePolicy(t *testing.T) {
	t.Parallel()
	mac := newMac(t, standardMac())
	forceKey(t, mac, updatePolicyKey, "None")
	launch(t, mac, "alice")
	if got := offer(t, mac, "26.5.0-58001", ""); got != "alice: does not look for updates" {
		t.Error(got)
	}
}

// An application that is launched finds what was offered before; what it installs
// is noted with its user.
func TestUpdateAtNextLaunch(t *testing.T) {
	t.Parallel()
	mac := newMac(t, standardMac())
	offer(t, mac, "26.5.0-58001", "")
	launch(t, mac, "bob")
	quit(t, mac)
	state := mustLoad(t, mac)
	if len(state.Updates) != 1 || state.Updates[0].User != "bob" || state.Updates[0].From != "26.4.0-57513" || state.Product.Version != "26.5.0-58001" {
		t.Errorf("%+v, %s", state.Updates, state.Product.Version)
	}
	content, err := os.ReadFile(mac.Path(appFolder + "/Contents/Info.plist"))
	if err != nil || !strings.Contains(string(content), "58001") {
		t.Errorf("%s, %v", content, err)
	}
}
