package cmd_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"io/fs"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"prlagent/agent"
)

// templates have names in place of paths; what is made of them is below their testdata.
const templates = "cmd/prlportal/pkg/scripts"

// shellScripts are the files of the tree that a shell runs, with that shell.
func shellScripts(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	root := os.DirFS(repositoryFolder())
	if err := fs.WalkDir(root, ".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (path == ".git" || path == templates):
			return fs.SkipDir
		case !entry.Type().IsRegular() || strings.HasSuffix(path, ".go"):
			return nil
		}
		content, err := fs.ReadFile(root, path)
		switch line, _, _ := bytes.Cut(content, []byte("\n")); string(line) {
		case "#!/bin/sh":
			found[path] = "sh"
		case "#!/usr/bin/env bash":
			found[path] = "bash"
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return found
}

// What is run by root on many Macs is looked at by shellcheck too.
func TestShellScripts(t *testing.T) {
	t.Parallel()
	required := os.Getenv("REQUIRE_SHELLCHECK") != "" // asked always, so that no cached result stands for another answer
	shellcheck, err := exec.LookPath("shellcheck")
	if err != nil {
		if required {
			t.Fatal(err)
		}
		t.Skip("no shellcheck")
	}
	scripts := shellScripts(t)
	for _, known := range []string{"launchd/first-mac.sh", "launchd/deploy/munki/prlagent", "cmd/prlportal/pkg/testdata/preinstall", ".ci/run"} {
		if scripts[known] == "" {
			t.Errorf("%s is not looked at", known)
		}
	}
	for path, shell := range scripts {
		if out, err := exec.CommandContext(t.Context(), shellcheck, "--shell", shell, filepath.Join(repositoryFolder(), path)).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", path, err, out)
		}
	}
}

// requirementScript is no tool for a Mac: it is for who signs.
const requirementScript = "launchd/deploy/requirement.sh"

// The files for the tools of admins are put where they are run as they are: each is
// executable, works below one folder that is the Mac's, and starts what it starts by
// an absolute path, or by a search path of the system's.
func TestPKG12FilesForToolsOfAdmins(t *testing.T) {
	t.Parallel()
	count := 0
	for path := range shellScripts(t) {
		if !strings.HasPrefix(path, "launchd/deploy/") || path == requirementScript {
			continue
		}
		count++
		file := filepath.Join(repositoryFolder(), path)
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(file); err != nil || info.Mode().Perm()&0o111 == 0 {
			t.Errorf("%s is not executable: %v", path, err)
		}
		if strings.Count(string(content), "\nroot=\n") != 1 {
			t.Errorf("%s has not one line root=", path)
		}
		for line := range strings.Lines(string(content)) {
			if !strings.HasPrefix(line, "#") && strings.Contains(line, "/usr/local") || strings.Contains(line, "sudo ") {
				t.Errorf("%s runs what others may have exchanged: %s", path, line)
			}
		}
	}
	if count < 5 {
		t.Errorf("%d files", count)
	}
}

// H53: root runs the agent's programs from them only where nobody else can have put these
// there. Each file is copied alone, so each has the lines for that: the same, with the
// function of the package's scripts and all folders above the programs.
func TestH53_FilesForToolsOfAdminsLookBeforeTheyRun(t *testing.T) {
	t.Parallel()
	read := func(path string) string {
		content, err := os.ReadFile(filepath.Join(repositoryFolder(), path))
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
	var folders []string
	for folder := agent.SupportFolder; folder != "/"; folder = filepath.Dir(folder) {
		folders = append([]string{`"$root` + folder + `"`}, folders...)
	}
	chain := strings.Replace(strings.Join(folders, " "), `"$root`+agent.SupportFolder+`"`, `"$support"`, 1)
	want := read(templates+"/is_roots") + "\n# is_ours PROGRAM: root may run it.\nis_ours() {\n  is_roots " + chain + ` "$support/bin" "$support/bin/$1"` + "\n}\n\n"
	var asking string
	for path := range shellScripts(t) {
		if !strings.HasPrefix(path, "launchd/deploy/") || path == requirementScript {
			continue
		}
		_, block, _ := strings.Cut(read(path), want)
		block, _, _ = strings.Cut(block, "\n}\n")
		if asking == "" {
			asking = block
		}
		if block != asking || !strings.Contains(block, "\nask_health() {\n") || !strings.Contains(block, "if is_ours prlagent; then") {
			t.Errorf("%s does not look as the others do:\n%s", path, block)
		}
	}
}

// Jamf's and Intune's are one script, but for what the value stands in.
func TestPKG12TheAttributesOfJamfAndIntuneAreTwins(t *testing.T) {
	t.Parallel()
	after := func(path string) string {
		content, err := os.ReadFile(filepath.Join(repositoryFolder(), "launchd/deploy", path))
		if err != nil {
			t.Fatal(err)
		}
		_, code, _ := strings.Cut(string(content), "\nset -u\n")
		return code
	}
	jamf := strings.NewReplacer(" '<result></result>'", "", "'<result>unknown</result>'", "unknown", "<result>$health</result>", "$health",
		" --ea", "", "result=", "value=", `"$result"`, `"$value"`).Replace(after("jamf/extension-attribute.sh"))
	const isoDate = `if [ "$field" = last_checkin ] && [ -n "$value" ]; then
  value="${value% *}T${value#* }Z"
fi
`
	if intune := strings.Replace(after("intune/custom-attribute.sh"), isoDate, "", 1); intune != jamf || jamf == "" {
		t.Error(cmp.Diff(jamf, intune))
	}
}

// The binary requirement is what the script says, whatever the length of the identifier;
// what is no certificate gives none.
func TestRequirementOfACertificate(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("no openssl")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "a certificate.crt")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}), 0o644); err != nil {
		t.Fatal(err)
	}
	script, hash := filepath.Join(repositoryFolder(), requirementScript), sha1.Sum(certificate)
	for _, identifier := range []string{"org.prlagent.agent", "org.prlagent.agent.cli", "a", "four", "of.five"} {
		text := append([]byte(identifier), make([]byte, (4-len(identifier)%4)%4)...)
		var want []byte
		for _, part := range [][]byte{ // the forms of Apple's requirement.h; relic's own reader gives the text back
			number(6), number(2), number(len(identifier)), text, number(4), number(0), number(20), hash[:],
		} {
			want = append(want, part...)
		}
		want = slices.Concat(number(0xfade0c00), number(12+len(want)), number(1), want)
		got, err := exec.CommandContext(t.Context(), "sh", script, identifier, file).Output()
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %v: %x, want %x", identifier, err, got, want)
		}
	}
	if got, err := exec.CommandContext(t.Context(), "sh", script, "a", script).Output(); err == nil || len(got) > 0 {
		t.Errorf("what is no certificate gives %x", got)
	}
}

func number(value int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(value)) }
