package cli

import (
	"archive/zip"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"prlagent/agent/localapi"
	"prlagent/platform/plist"
	"prlagent/prlctl"
)

// Canaries of each secret that a Mac has.
const (
	canaryEnrollment = `enroll-"canary"/+&<>-0123456789`
	canaryProxy      = "proxy-canary-p@ss:word/0123456789"
	canaryToken      = "token-canary-AbCdEfGhIjKlMnOpQrStUvWxYz"
	canarySeed       = "seed-canary-0123456789-abcdef-32"
	canaryLicense    = "CANARY-123456-ABCDEF-789012-GHIJKL"
	otherLicense     = "ZZYYXX-998877-WWVVUU-665544-TTSSRR"
	canaryUnknown    = "UnKnOwN.zyxwvutsrqponm98765"
)

// secretMac is a Mac whose files are full of its secrets, in every form.
func secretMac(t *testing.T) string {
	t.Helper()
	root := mac(t)
	proxy := url.URL{Scheme: "http", User: url.UserPassword("proxyuser", canaryProxy), Host: "proxy.example:3128"}
	put := func(macPath string, data []byte) {
		path := filepath.Join(root, macPath)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	property := func(values map[string]any) []byte {
		data, err := plist.EncodeXML(values)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	put(localapi.ManagedConfig, property(map[string]any{
		"ServerURL": "https://portal.invalid", "EnrollmentSecret": canaryEnrollment, "Proxy": proxy.String(),
	}))
	put(prlctl.ManagedPreferences+"/"+prlctl.LicensingFile, property(map[string]any{"ActivationExperience": "License Key", "LicenseKey": canaryLicense}))
	identity, err := json.Marshal(map[string]any{"version": 1, "seed": []byte(canarySeed), "token": canaryToken})
	if err != nil {
		t.Fatal(err)
	}
	put(localapi.IdentityFile, identity)
	var log, install strings.Builder
	for _, secret := range []string{canaryEnrollment, canaryProxy, canaryToken, canarySeed} {
		quoted, _ := json.Marshal(secret)
		for _, form := range []string{
			secret, string(quoted), url.QueryEscape(secret), url.PathEscape(secret), hex.EncodeToString([]byte(secret)),
			base64.StdEncoding.EncodeToString([]byte(secret)), base64.URLEncoding.EncodeToString([]byte("proxyuser:" + secret)), secret[:20], secret[10:],
		} {
			line, _ := json.Marshal(map[string]string{"level": "info", "time": "2026-11-23T09:00:00Z", "message": "said " + form})
			log.Write(append(line, '\n'))
			install.WriteString("2026-11-23 Parallels Desktop: " + form + "\n")
		}
	}
	for _, line := range []string{
		"Authorization: Bearer " + canaryUnknown, `password="` + canaryUnknown + `"`, "https://user:" + canaryUnknown + "@host/", "key " + canaryLicense, "another key " + otherLicense,
	} {
		install.WriteString("Parallels: " + line + "\n")
	}
	install.WriteString("another product, " + canaryUnknown + "\nInstalled \"Parallels Desktop\" (26.4.0)\n")
	put(localapi.LogFile, []byte(log.String()))
	put(localapi.LogFolder+"/prlagentd.panic.log", []byte("panic: "+canaryToken+"\n"))
	put(installLog, []byte(install.String()))
	return root
}

func readZip(t *testing.T, path string) map[string]string {
	t.Helper()
	archive, err := zip.OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	contents := make(map[string]string)
	for _, file := range archive.File {
		opened, err := file.Open()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(opened)
		if err != nil {
			t.Fatal(err)
		}
		contents[file.Name] = string(data)
	}
	return contents
}

// H62: no secret of this Mac is in a bundle, in no form that a program may give
// it, nor a part of one; nor is one of others that looks like one.
func TestH62_PKG_09_NoSecretIsInABundle(t *testing.T) {
	t.Parallel()
	root := secretMac(t)
	path := filepath.Join(root, "bundle.zip")
	got := run(t, root, "support-bundle", path, "--timeout", "1s")
	if got.code != exitHealthy {
		t.Fatalf("exit code %d: %s", got.code, got.stderr)
	}
	contents := readZip(t, path)
	for _, name := range []string{"README.txt", "configuration.json", "doctor.json", "logs/prlagentd.log", "logs/prlagentd.panic.log", "install-log.txt"} {
		if contents[name] == "" {
			t.Errorf("%s is missing or empty", name)
		}
		if !strings.Contains(got.stdout, name) {
			t.Errorf("%s is not named before", name)
		}
	}
	contents["what it prints"] = got.stdout + got.stderr
	for _, secret := range []string{canaryEnrollment, canaryProxy, canaryToken, canarySeed, canaryLicense, otherLicense, canaryUnknown} {
		for _, form := range []string{secret, url.QueryEscape(secret), hex.EncodeToString([]byte(secret)), base64.RawStdEncoding.EncodeToString([]byte(secret))} {
			for name, content := range contents {
				for at := 0; at+8 <= len(form); at++ {
					if strings.Contains(content, form[at:at+8]) && form[at:at+8] != "01234567" && form[at:at+8] != "12345678" {
						t.Errorf("%s has %q of %q", name, form[at:at+8], form)
						break
					}
				}
			}
		}
	}
	if lines := contents["install-log.txt"]; strings.Contains(lines, "another product") || !strings.Contains(lines, "Installed \"Parallels Desktop\" (26.4.0)") {
		t.Errorf("lines of install.log:\n%s", lines)
	}
	var document any
	for _, name := range []string{"configuration.json", "doctor.json", "versions.json"} {
		if err := json.Unmarshal([]byte(contents[name]), &document); err != nil {
			t.Errorf("%s is no JSON any more: %v", name, err)
		}
	}
}

// H53: a bundle is a new file for its maker alone; it goes through no link, and
// replaces nothing.
func TestH53_ABundleReplacesNothing(t *testing.T) {
	t.Parallel()
	root := mac(t)
	made := run(t, root, "support-bundle", "--json")
	var report bundleReport
	if err := json.Unmarshal([]byte(made.stdout), &report); err != nil || made.code != exitHealthy {
		t.Fatalf("%+v, %v", made, err)
	}
	info, err := os.Lstat(report.File)
	if err != nil || info.Mode() != 0o600 || info.Size() != report.Bytes || filepath.Dir(report.File) != filepath.Join(root, supportFolder) {
		t.Errorf("%s: %v, %v, %d bytes", report.File, info, err, report.Bytes)
	}
	folder := t.TempDir()
	victim := filepath.Join(folder, "victim")
	writeFile(t, victim, "precious")
	link := filepath.Join(folder, "link.zip")
	if err := os.Symlink(victim, link); err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{victim, link} {
		if got := run(t, root, "support-bundle", target); got.code != exitDegraded {
			t.Errorf("%s: exit code %d", target, got.code)
		}
	}
	if kept, err := os.ReadFile(victim); err != nil || string(kept) != "precious" {
		t.Errorf("%q, %v", kept, err)
	}
	open := filepath.Join(folder, "open")
	if err := os.Mkdir(open, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	got := run(t, root, "support-bundle", filepath.Join(open, "x.zip"))
	if _, err := os.Lstat(filepath.Join(open, "x.zip")); err == nil || got.code != exitDegraded || !strings.Contains(got.stderr, "everybody can write in it") {
		t.Errorf("in a folder that others can write in: %+v", got)
	}
	if got := run(t, root, "support-bundle", "--list"); got.code != exitHealthy || strings.Contains(got.stdout, "Written") {
		t.Errorf("--list: %+v", got)
	}
	names, err := os.ReadDir(filepath.Join(root, supportFolder))
	if err != nil || len(names) != 1 {
		t.Errorf("--list left %v, %v", names, err)
	}
}

func TestIdentityThatCannotBeReadIsSaid(t *testing.T) {
	t.Parallel()
	root := mac(t)
	path := filepath.Join(root, localapi.IdentityFile)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, path, "damaged")
	if _, read := identitySecrets(root); read {
		t.Error("a damaged one counts as read")
	}
	if _, read := identitySecrets(mac(t)); !read {
		t.Error("there is none, and none to hide")
	}
}

// Nobody is told to give a folder of a user's to root, and a place that cannot be
// is said before the work.
func TestWhereABundleCannotBeTheRemedyIsAnotherPlace(t *testing.T) {
	t.Parallel()
	root, folder := mac(t), t.TempDir()
	open := filepath.Join(folder, "open")
	if err := errors.Join(os.Mkdir(open, 0o755), os.Chmod(open, 0o777)); err != nil {
		t.Fatal(err)
	}
	taken := filepath.Join(folder, "taken.zip")
	writeFile(t, taken, "precious")
	for name, file := range map[string]string{
		"others can write": filepath.Join(open, "x.zip"), "it is there": taken, "no folder": filepath.Join(folder, "none", "x.zip"), "a folder": folder,
	} {
		got := run(t, root, "support-bundle", file, "--json")
		var body localapi.ErrorBody
		if err := json.Unmarshal([]byte(got.stdout), &body); err != nil || got.code != exitDegraded {
			t.Fatalf("%s: %+v, %v", name, got, err)
		}
		if body.Remedy != placeRemedy || strings.Contains(got.stderr, "chown") || strings.Contains(got.stdout, "entries") {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
