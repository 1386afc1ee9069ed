package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"prlagent/cmd/prlportal/portaltest"
)

// What is refused is said with its code, and with what to do; nothing is written.
func TestPackageSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "packages")
	programs := t.TempDir()
	writeProgram := func(name, content string) {
		t.Helper()
		path := filepath.Join(programs, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, test := range map[string]struct {
		args []string
		code int
		said string
	}{
		"no folder":         {[]string{"--version", "1.2.0", "--out", out}, exitUsage, "--programs is missing"},
		"no version":        {[]string{"--programs", programs, "--out", out}, exitUsage, "--version is missing"},
		"nowhere to write":  {[]string{"--programs", programs, "--version", "1.2.0"}, exitUsage, "--out is missing"},
		"no version at all": {[]string{"--programs", programs, "--version", "latest", "--out", out}, exitFailure, "(invalid_version)\n  → a version is two to four numbers"},
		"another downgrade": {[]string{"--programs", programs, "--version", "1.2.0", "--allow-downgrade-to", "1.1.0", "--out", out}, exitFailure, "(other_downgrade)\n  → give --allow-downgrade-to the package's own version"},
		"no programs":       {[]string{"--programs", t.TempDir(), "--version", "1.2.0", "--out", out}, exitFailure, "(program_missing)\n  → build the programs"},
		"programs of Linux": {[]string{"--programs", programs, "--version", "1.2.0", "--out", out}, exitFailure, "darwin-amd64/prlagentd is a program for Linux (not_mach_o)\n  → build it with GOOS=darwin"},
	} {
		writeProgram("darwin-amd64/prlagentd", "\x7fELF")
		var stdout, stderr strings.Builder
		code := runCommand(t.Context(), append([]string{"package"}, test.args...), &stdout, &stderr)
		if code != test.code || stdout.Len() > 0 || !strings.Contains(stderr.String(), test.said) {
			t.Errorf("%s: exit code %d, %q: %s", name, code, stdout.String(), stderr.String())
		}
		if _, err := os.Stat(out); err == nil {
			t.Errorf("%s: something was written", name)
		}
	}
}

// The sums are those of the files, in lines that sha256sum -c reads; the permission to
// replace a newer version is said, and the JSON has the same.
func TestPackageSaysWhatItWrote(t *testing.T) {
	t.Parallel()
	result := packageResult{Schema: 1, Version: "1.2.0", Identifier: "org.prlagent.agent", StoreFormat: 1, AllowDowngrade: true,
		Files: []packagedFile{{Path: "packages/prlagent-1.2.0.pkg", Kind: "package", Size: 3, SHA256: strings.Repeat("ab", 32)}}}
	var said strings.Builder
	if err := (packageOptions{}).describe(&said, result); err != nil {
		t.Fatal(err)
	}
	portaltest.MustContain(t, said.String(), strings.Repeat("ab", 32)+"  packages/prlagent-1.2.0.pkg\n", "Not signed.", "replaces newer versions too")
	said.Reset()
	if err := (packageOptions{asJSON: true}).describe(&said, result); err != nil {
		t.Fatal(err)
	}
	var read packageResult
	if err := json.Unmarshal([]byte(said.String()), &read); err != nil || len(read.Files) != 1 || read.Files[0] != result.Files[0] || !read.AllowDowngrade {
		t.Errorf("%v: %s", err, said.String())
	}
}
