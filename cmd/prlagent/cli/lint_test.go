package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"prlagent/agent/protocol"
)

const lintHead = `"schema":1,"policy_id":"finance","revision":7,"name":"Finance","groups":["finance"]`

// lint checks a file without a daemon.
func lint(t *testing.T, content string, more ...string) screen {
	t.Helper()
	file := filepath.Join(t.TempDir(), "policy")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return run(t, t.TempDir(), append([]string{"policy", "lint", file}, more...)...)
}

func plistOf(members string) string {
	return `<?xml version="1.0" encoding="UTF-8"?><plist version="1.0"><dict>` + members + `</dict></plist>`
}

const plistHead = `<key>schema</key><integer>1</integer><key>policy_id</key><string>finance</string><key>revision</key><integer>7</integer><key>name</key><string>Finance</string>`

// POL-02: what is wrong with a policy is said with its path, its code and what the
// setting does; what will not be in place is a note.
func TestPOL02_PolicyLint(t *testing.T) {
	t.Parallel()
	settings := func(members string) string { return "{" + lintHead + `,"vm_settings":{` + members + "}}" }
	inDictionary := `<key>vm_settings</key><dict><key>other</key><dict><key>network</key><string>fast</string></dict></dict>`
	for name, c := range map[string]struct {
		content string
		code    int
		path    string
		found   protocol.Code // of a finding, or of a note
		doc     string
	}{
		"good":                    {settings(`"other":{"network":"shared"}`), 0, "", "", ""},
		"a wrong value":           {settings(`"other":{"network":"fast"}`), 1, "vm_settings.other.network", protocol.CodePolicyWrongValue, "network of every adapter"},
		"a wrong type":            {settings(`"golden_image":{"vtpm":"yes"}`), 1, "vm_settings.golden_image.vtpm", protocol.CodePolicyWrongType, "TPM"},
		"null":                    {settings(`"other":{"network":null}`), 1, "vm_settings.other.network", protocol.CodePolicyNull, "adapter"},
		"a key twice":             {settings(`"other":{"vtpm":true,"vtpm":true}`), 1, "vm_settings.other.vtpm", protocol.CodePolicyDuplicateKey, "TPM"},
		"a member that is passed": {"{" + lintHead + `,"colour":"red"}`, 1, "colour", protocol.CodePolicyUnknownMember, ""},
		"no name":                 {`{"schema":1,"policy_id":"finance","revision":7}`, 1, "name", protocol.CodePolicyMissing, ""},
		"not JSON":                {`{"schema":1,`, 1, "", protocol.CodePolicySyntax, ""},
		"nothing":                 {"", 1, "", protocol.CodePolicySyntax, ""},
		"something else":          {"policy: finance", 1, "", protocol.CodePolicySyntax, ""},
		"no public way":           {settings(`"other":{"no_external_devices":true}`), 0, "vm_settings.other.no_external_devices", protocol.CodeNoPublicWay, "USB"},
		"a stricter value":        {settings(`"on_unsupported":"stricter","other":{"clipboard":"mac_to_guest"}`), 0, "vm_settings.other.clipboard", protocol.CodeStricterValue, ""},
		"an unknown setting":      {settings(`"other":{"neighbors":true}`), 0, "vm_settings.other.neighbors", protocol.CodeSettingUnknown, ""},
		"a lock":                  {settings(`"other":{"no_config_changes":true}`), 0, "vm_settings.other.no_config_changes", protocol.CodeReleaseUnproven, "password"},
		"a section":               {"{" + lintHead + `,"security_controls":{"no_vm_creation":true}}`, 0, "security_controls.no_vm_creation", protocol.CodeSectionNotSupported, ""},
		"a good dictionary":       {plistOf(plistHead), 0, "", "", ""},
		"a dictionary":            {plistOf(plistHead + inDictionary), 1, "vm_settings.other.network", protocol.CodePolicyWrongValue, "adapter"},
		"a configuration":         {plistOf("<key>Policy</key><dict>" + plistHead + inDictionary + "</dict>"), 1, "vm_settings.other.network", protocol.CodePolicyWrongValue, "adapter"},
		"an empty dictionary":     {plistOf("<key>Policy</key><dict/>"), 1, "", protocol.CodePolicyMissing, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := lint(t, c.content, "--json")
			var report lintReport
			if err := json.Unmarshal([]byte(got.stdout), &report); err != nil || got.code != c.code {
				t.Fatalf("exit %d, %v: %s%s", got.code, err, got.stdout, got.stderr)
			}
			all := append(report.Findings, report.Notes...)
			if c.found == "" {
				if len(all) > 0 {
					t.Errorf("found %+v", all)
				}
				return
			}
			if len(all) != 1 || all[0].Path != c.path || all[0].Code != c.found || !strings.Contains(all[0].Doc, c.doc) || all[0].Text == "" {
				t.Errorf("found %+v", all)
			}
			if page := lint(t, c.content); page.code != c.code || !strings.Contains(page.stdout, string(c.found)) {
				t.Errorf("page, exit %d: %s", page.code, page.stdout)
			}
		})
	}
}

func TestPolicyLintOfNoFile(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"policy", "lint"}, {"policy", "lint", filepath.Join(t.TempDir(), "none")}, {"policy", "lint", "a", "b"}} {
		if got := run(t, t.TempDir(), args...); got.code != exitUsage {
			t.Errorf("%v: exit %d: %s", args, got.code, got.stderr)
		}
	}
}

// Who has a folder of YAML at hand is told which program checks it.
func TestPOL02_PolicyLintOfAFolderOfYAML(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	file := filepath.Join(folder, "finance.yaml")
	if err := os.WriteFile(file, []byte("name: Finance\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{folder, file} {
		got := run(t, t.TempDir(), "policy", "lint", path)
		if got.code != exitUsage || !strings.Contains(got.stderr, "prlportal lint FOLDER") {
			t.Errorf("%s: exit code %d: %s", path, got.code, got.stderr)
		}
	}
}
