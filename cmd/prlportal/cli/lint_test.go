package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"prlagent/cmd/prlportal/portaltest"
)

// writeTree makes a tree of names and contents.
func writeTree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// POL-01, POL-02, POL-03: what is wrong is said with its place, and ends with 1.
func TestLint(t *testing.T) {
	t.Parallel()
	files := map[string]string{
		"site.yaml": "primary_group: default\n", "groups/default.yaml": "name: Default\n",
		"policies/a.yaml": "name: A\ngroups: [default]\nvm_settings: {other: {clipboard: guest_to_mac}}\n",
	}
	fine := writeTree(t, files)
	portaltest.MustContain(t, mustRun(t, "lint", fine), "policies/a.yaml:3:34: note: vm_settings.other.clipboard: no public tool sets guest_to_mac",
		"Copying and pasting between the Mac and the guest.", "0 errors, 0 warnings, 2 notes.")

	files["policies/b.yaml"] = "name: \"A\\e[31m\"\ngroups: [default]\n"
	wrong := writeTree(t, files)
	out, err := prlportal(t, "lint", wrong, "--json")
	var found struct{ Findings []map[string]any }
	if exitCode(err) != exitFailure || json.Unmarshal([]byte(out), &found) != nil || len(found.Findings) != 3 {
		t.Errorf("%v, %s", err, out)
	}
	out, err = prlportal(t, "lint", wrong)
	if exitCode(err) != exitFailure || strings.Contains(out, "\x1b") {
		t.Errorf("%v, %q", err, out)
	}
	portaltest.MustContain(t, out, wrong+"/policies/b.yaml:2:10: error: groups: group default has the policy of policies/a.yaml already (line 2) (one_policy_per_group)")
	portaltest.MustContain(t, mustRun(t, "lint", "--rules"), "one_policy_per_group", "A group has at most one policy.")
	for _, args := range [][]string{{"lint", fine + "/nowhere"}, {"lint", fine, fine}, {"lint", "--jason"}} {
		if _, err := prlportal(t, args...); exitCode(err) != exitUsage {
			t.Errorf("%v: %v", args, err)
		}
	}
}
