package cli

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"prlagent/cmd/prlportal/pkg/pkgtest"
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
	out := filepath.Join(t.TempDir(), "packages")
	args := []string{"package", "--programs", pkgtest.Write(t, pkgtest.Programs()), "--version", pkgtest.Version, "--out", out}
	said := mustRun(t, args...)
	names := []string{"prlagent-1.2.3.pkg", "prlagent-1.2.3.tar.gz", "prlagent-1.2.3-uninstall.sh", "prlagent-1.2.3.pkginfo"}
	sums := map[string]string{}
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(out, name))
		if err != nil {
			t.Fatal(err)
		}
		sums[name] = fmt.Sprintf("%x", sha256.Sum256(data))
		portaltest.MustContain(t, said, sums[name]+"  "+filepath.Join(out, name)+"\n")
	}
	portaltest.MustContain(t, said, "Not signed. Next: ")
	portaltest.MustContain(t, mustRun(t, append(args, "--replace", "--allow-downgrade-to", pkgtest.Version)...), "replaces newer versions too")
	var read packageResult
	if err := json.Unmarshal([]byte(mustRun(t, append(args, "--replace", "--json")...)), &read); err != nil || read.AllowDowngrade || read.Version != pkgtest.Version {
		t.Errorf("%v: %+v", err, read)
	}
	for i, file := range read.Files { // again the package that replaces none
		if filepath.Base(file.Path) != names[i] || file.SHA256 != sums[names[i]] || file.Size == 0 {
			t.Errorf("%+v", file)
		}
	}
}

// A package of the same name and another content is not written over silently, neither
// is anything else that is there; the same package again is.
func TestPackageDoesNotReplaceAnother(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "packages")
	args := []string{"package", "--programs", pkgtest.Write(t, pkgtest.Programs()), "--version", pkgtest.Version, "--out", out}
	mustRun(t, args...)
	mustRun(t, args...)
	for _, name := range []string{"prlagent-1.2.3.pkg", "prlagent-1.2.3.tar.gz", "prlagent-1.2.3-uninstall.sh", "prlagent-1.2.3.pkginfo"} {
		path := filepath.Join(out, name)
		if err := os.WriteFile(path, []byte("another"), 0o644); err != nil {
			t.Fatal(err)
		}
		var stdout, stderr strings.Builder
		if code := runCommand(t.Context(), args, &stdout, &stderr); code != exitFailure || !strings.Contains(stderr.String(), name+" is there, with another content (already_there)\n  → ") {
			t.Errorf("%s: exit code %d: %s", name, code, stderr.String())
		}
		if kept, err := os.ReadFile(path); err != nil || string(kept) != "another" {
			t.Errorf("%s has %q, %v", name, kept, err)
		}
		mustRun(t, append(args, "--replace")...)
		if entries, err := os.ReadDir(out); err != nil || len(entries) != 4 {
			t.Errorf("there are %v, %v", entries, err)
		}
	}
}
