package cmd_test

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"prlagent/platform/plist"
	"prlagent/prlctl"
)

// deliverProfile does what an MDM does with a configuration profile: the settings of
// each payload, and what every payload has beside them, are the managed preferences of
// its domain on the Mac of PRLAGENT_ROOT (facts/macos.md 5.3). Further settings, such as
// a pace for tests, go into each.
func deliverProfile(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: deliver FILE.mobileconfig [NAME=VALUE…]")
	}
	document, err := plist.DecodeDict([]byte(ts.ReadFile(args[0])))
	ts.Check(err)
	payloads, _ := document["PayloadContent"].([]any)
	if len(payloads) == 0 {
		ts.Fatalf("%s has no payload", args[0])
	}
	for _, one := range payloads {
		payload, _ := one.(map[string]any)
		domain, _ := payload["PayloadType"].(string)
		for _, setting := range args[1:] {
			name, value, _ := strings.Cut(setting, "=")
			set(payload, strings.Split(name, "."), value)
		}
		replaceManaged(ts, domain, payload)
	}
}

// replaceManaged exchanges the file of a domain as a whole.
func replaceManaged(ts *testscript.TestScript, domain string, values map[string]any) {
	data, err := plist.EncodeXML(values)
	ts.Check(err)
	path := filepath.Join(ts.Getenv("PRLAGENT_ROOT"), prlctl.ManagedPreferences, domain+".plist")
	ts.Check(os.MkdirAll(filepath.Dir(path), 0o755))
	ts.Check(os.WriteFile(path+".new", data, 0o644))
	ts.Check(os.Rename(path+".new", path))
}
