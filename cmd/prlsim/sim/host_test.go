package sim

import (
	"errors"
	"os"
	"strings"
	"testing"
)

// What the host's tools say on an Apple silicon and on an Intel Mac.
func TestHostFacts(t *testing.T) {
	t.Parallel()
	intel := standardMac()
	intel.Intel = true
	macs := map[string]Mac{"arm": newMac(t, standardMac()), "intel": newMac(t, intel)}
	for _, test := range []struct {
		name, stdin, line string
		want              map[string]string // by Mac; empty: refused
	}{
		{"arm64", "", "sysctl -n hw.optional.arm64", map[string]string{"arm": "1", "intel": ""}},
		{"model", "", "sysctl -n hw.model", map[string]string{"arm": "Mac15,6", "intel": "MacBookPro16,1"}},
		{"processor", "", "sysctl -n machdep.cpu.brand_string", map[string]string{"arm": "Apple M3 Pro", "intel": "Intel(R) Core"}},
		{"system", "", "sysctl -n kern.osproductversion", map[string]string{"arm": "26.4.1", "intel": "26.4.1"}},
		{"build", "", "sysctl -n kern.osversion", map[string]string{"arm": "25E253", "intel": "25E253"}},
		{"local host name", "", "scutil --get LocalHostName", map[string]string{"arm": "Alices-MacBook-Pro", "intel": "Alices-MacBook-Pro"}},
		{"unknown key", "show State:/Nothing\n", "scutil", map[string]string{"arm": "No such key", "intel": "No such key"}},
		{"unknown word", "nonsense\nquit\n", "scutil", map[string]string{"arm": "nonsense: unknown", "intel": "nonsense: unknown"}},
		{"version", "", "prlctl --version", map[string]string{"arm": "prlctl version 26.4.0 (57513)", "intel": "prlctl version 26.4.0 (57513)"}},
		{"server version", "", "prlsrvctl --version", map[string]string{"arm": "prlsrvctl version 26.4.0 (57513)", "intel": "prlsrvctl version 26.4.0 (57513)"}},
		{"user list", "", "prlsrvctl user list", map[string]string{"arm": "/Users/bob/Parallels", "intel": "/Users/bob/Parallels"}},
		{"dispatcher", "", "launchctl print " + dispatcherJob, map[string]string{"arm": "state = running", "intel": "state = running"}},
	} {
		for name, want := range test.want {
			t.Run(test.name+" "+name, func(t *testing.T) {
				words := strings.Fields(test.line)
				got := call{macs[name], rootUser, test.stdin}.run(t, words[0], words[1:]...)
				if (got.code != 0) != (want == "") || !strings.Contains(got.stdout, want) {
					t.Errorf("%+v, want %q", got, want)
				}
			})
		}
	}
}

// On Intel a macOS guest is an ordinary VM (facts/prlctl.md 2.7 is about Apple
// silicon only).
func TestMacOSGuestByProcessor(t *testing.T) {
	t.Parallel()
	intel := standardMac()
	intel.Intel = true
	for name, test := range map[string]struct {
		wanted newMacOptions
		kind   string
		bundle string
	}{
		"Apple silicon": {standardMac(), `"Type": "APPLE_VZ_VM"`, "/Users/alice/Parallels/macOS.macvm"},
		"Intel":         {intel, `"Type": "VM"`, "/Users/alice/Parallels/macOS.pvm"},
	} {
		mac := newMac(t, test.wanted)
		if got := callAs(mac, "alice").run(t, "prlctl", "list", "macOS", "-i", "-j").stdout; !strings.Contains(got, test.kind) {
			t.Errorf("%s: not %s", name, test.kind)
		}
		if _, err := findBundle(mac, test.bundle); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A script in the place of a tool has no signature, whoever put it there (H10).
func TestCodesignOfAScriptInAToolsPlace(t *testing.T) {
	t.Parallel()
	mac := newMac(t, standardMac())
	tool := mac.Path(appTools + "/prlctl")
	if err := errors.Join(os.Remove(tool), os.WriteFile(tool, []byte("#!/bin/sh\n"), 0o755)); err != nil {
		t.Fatal(err)
	}
	got := callAs(mac, rootUser).run(t, "codesign", "--verify", "-R="+teamID, appTools+"/prlctl")
	if got.code != 1 || !strings.Contains(got.stderr, "not signed at all") {
		t.Errorf("%+v", got)
	}
}
