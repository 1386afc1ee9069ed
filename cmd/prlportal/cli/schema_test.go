package cli

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"prlagent/cmd/prlportal/pkg/pkgtest"
	"prlagent/cmd/prlportal/portaltest"
)

// Every document of --json says which form it has, whichever command prints it. A
// command with the flag that is not run here fails the test.
func TestEveryDocumentHasItsSchema(t *testing.T) {
	t.Parallel()
	fleet := writeTree(t, map[string]string{"site.yaml": "primary_group: default\n", "groups/default.yaml": "name: Everybody\n",
		"policies/a.yaml": "name: A\ngroups: [default]\nvm_settings: {other: {no_tools_autoupdate: true}}\n"})
	dir := filepath.Join(t.TempDir(), "site")
	mustRun(t, "init", dir)
	connect := []string{"--dir", dir, "--url", serving(t, dir)}
	receiver := httptest.NewServer(http.NotFoundHandler())
	defer receiver.Close()
	mustRun(t, "webhook", "set", receiver.URL, "--dir", dir)
	portal := portaltest.TwoMacs(t)
	portal.Clock.Advance(max(0, time.Since(portal.Clock.Now()))) // a command is signed by the clock of the operator
	macs := operatorOf(t, portal).flags
	devices, _ := portal.List(t, "devices", nil)
	serial := devices[0]["mac_serial"].(string)
	asked := map[string][]string{
		"admins list": connect, "admins add": append([]string{"alice", "--role", "viewer"}, connect...),
		"webhook show": {"--dir", dir}, "webhook status": connect, "webhook test": connect,
		"keys list": {"--dir", dir}, "lint": {fleet}, "diff": append([]string{fleet}, connect...), "publish": append([]string{fleet}, connect...),
		"renew": connect, "groups": connect, "policies": connect, "policies list": connect, "policies status": connect,
		"policies promote": nil, "policies halt": nil, "policies revert": nil, // as publish
		"devices": macs, "vms": macs, "events": macs, "report compliance": macs, "report licenses": macs,
		"commands": macs, "keys command list": {"--dir", dir}, "audit verify": {"--dir", dir},
		"command":            append([]string{"inventory.refresh", "--device", serial, "--reason", "test", "--yes", serial}, macs...),
		"verify":             judgedEvidence(t),
		"package":            {"--programs", pkgtest.Write(t, pkgtest.Programs()), "--version", pkgtest.Version, "--out", filepath.Join(t.TempDir(), "packages")},
		"profile licensing":  {"--sso", "-o", filepath.Join(t.TempDir(), "license")},
		"profile pppc":       {"-o", filepath.Join(t.TempDir(), "privacy")},
		"profile login-item": {"-o", filepath.Join(t.TempDir(), "login-item")}, "profile notifications": {"-o", filepath.Join(t.TempDir(), "notifications")},
		"profile lint":    {"--rules"},
		"commands cancel": nil, "commands confirm": nil, "commands approve": nil, "devices confirm": nil, // as command
		"devices retire":  append([]string{serial}, macs...),
		"devices approve": nil, "devices reject": nil, // as devices retire
	}
	var found []string
	for _, command := range commandsOf(newRootCommand()) {
		if command.Flags().Lookup("json") == nil {
			continue
		}
		_, name, _ := strings.Cut(command.CommandPath(), " ")
		found = append(found, name)
		if _, known := asked[name]; !known {
			t.Errorf("%s has --json and is not run here", name)
		}
	}
	for name := range asked {
		if !slices.Contains(found, name) {
			t.Errorf("there is no %s --json", name)
		}
	}
	// In the order in which one needs another.
	order := slices.Sorted(maps.Keys(asked))
	order = slices.DeleteFunc(order, func(name string) bool { return name == "publish" || name == "diff" })
	for _, name := range append([]string{"diff", "publish"}, order...) {
		if asked[name] == nil {
			continue
		}
		var out, said bytes.Buffer // notes and errors are no part of the document
		code := runCommand(t.Context(), slices.Concat(strings.Fields(name), asked[name], []string{"--json"}), &out, &said)
		if code != 0 && name != "webhook test" { // which the receiver does not take
			t.Errorf("%s: %d, %s\n%s", name, code, said.String(), out.String())
		}
		var document struct{ Schema int }
		if err := json.Unmarshal(out.Bytes(), &document); err != nil || document.Schema != schema {
			t.Errorf("%s: %v\n%s", name, err, out.String())
		}
	}
	if err := printJSON(io.Discard, []int{1}); err == nil {
		t.Error("a list is printed, which has no room for a schema")
	}
}

// judgedEvidence are a file of evidence and the list of its site's policy keys, as verify
// takes them.
func judgedEvidence(t *testing.T) []string {
	t.Helper()
	file := filepath.Join("..", "evidence", "testdata", "evidence.json")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var bundle struct{ Keys []json.RawMessage }
	if err := json.Unmarshal(data, &bundle); err != nil {
		t.Fatal(err)
	}
	keys := filepath.Join(t.TempDir(), "policy-keys.dsse.json")
	if err := os.WriteFile(keys, bundle.Keys[0], 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{file, "--keys", keys}
}
