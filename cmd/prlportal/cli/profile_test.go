package cli

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/portaltest"
	"prlagent/cmd/prlportal/site"
	"prlagent/platform/plist"
	"prlagent/platform/safefile"
)

func encodePEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// fixedCertificate is for portal.example and other.example.
func fixedCertificate(t *testing.T) []byte {
	t.Helper()
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{3}, ed25519.SeedSize))
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"portal.example", "other.example"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2126, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	der, err := x509.CreateCertificate(nil, &template, &template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// fixedSite is a site whose profile is the same in every run.
func fixedSite(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, folder := range []string{site.PortalFolder, site.OperatorFolder} {
		if err := os.Mkdir(filepath.Join(dir, folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	files := map[string][]byte{
		filepath.Join(site.OperatorFolder, site.SiteFile):      []byte(`{"site_id":"5f0c2c1e-8a9b-4c57-9c0f-2d8f4f1a7b3e","name":"Example Org","url":"https://portal.example:8443"}`),
		filepath.Join(site.OperatorFolder, site.SecretFile):    []byte("the enrollment secret\n"),
		filepath.Join(site.PortalFolder, site.CertificateFile): encodePEM("CERTIFICATE", fixedCertificate(t)),
		filepath.Join(site.PortalFolder, site.ConfigFile):      []byte(`{"url":"https://portal.example:8443"}`),
	}
	for name, seed := range map[string]byte{site.PolicyKeyFile: 1, site.CommandKeyFile: 2} {
		key, err := x509.MarshalPKCS8PrivateKey(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize)))
		if err != nil {
			t.Fatal(err)
		}
		files[filepath.Join(site.OperatorFolder, name)] = encodePEM("PRIVATE KEY", key)
	}
	for name, content := range files {
		if err := safefile.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestProfile(t *testing.T) {
	t.Parallel()
	dir := fixedSite(t)
	for name, flags := range map[string][]string{
		"default.mobileconfig": nil,
		"group.mobileconfig":   {"--group", "finance", "--mode", "enforce", "--url", "https://other.example"},
		"preferences.plist":    {"--format", "plist"},
	} {
		output := filepath.Join(dir, name)
		mustRun(t, append([]string{"profile", "--dir", dir, "-o", output}, flags...)...)
		data, err := safefile.ReadFile(output, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name, data)
		info, err := os.Stat(output)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v", name, info.Mode(), err)
		}
	}
}

func TestProfileCarriesKeysThatVerify(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	mustRun(t, "init", dir)
	output := filepath.Join(dir, "config.plist")
	mustRun(t, "profile", "--dir", dir, "--format", "plist", "-o", output)
	data, err := safefile.ReadFile(output, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	var read struct {
		ServerURL          string
		EnrollmentSecret   string
		ServerCertificates [][]byte
		AllowedCommands    []string
		Mode               string
		PolicyKeys         []struct {
			KeyID     string
			PublicKey []byte
		}
	}
	values, err := plist.DecodeDict(data)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := json.Marshal(values)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(encoded, &read); err != nil {
		t.Fatal(err)
	}
	key, err := site.LoadSigningKey(filepath.Join(dir, site.OperatorFolder, site.PolicyKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	envelope := protocol.Sign(protocol.PayloadHead, []byte("{}"), key)
	trusted := []protocol.TrustedKey{{ID: read.PolicyKeys[0].KeyID, Key: read.PolicyKeys[0].PublicKey}}
	if _, err := envelope.Verify(protocol.PayloadHead, trusted, 1); err != nil {
		t.Error(err)
	}
	if read.ServerURL != "https://localhost:8443" || read.Mode != "monitor" || len(read.ServerCertificates) != 1 || len(read.AllowedCommands) != len(protocol.CommandTypes) {
		t.Errorf("profile is %+v", read)
	}
	if read.EnrollmentSecret != portaltest.ReadSecretOf(t, dir, site.OperatorFolder, site.SecretFile) {
		t.Error("the profile has another enrollment secret")
	}
}

// The content can lie on any web server, whose certificate the profile must have:
// a Mac trusts no other.
func TestProfileOfContentElsewhere(t *testing.T) {
	t.Parallel()
	dir, elsewhere := t.TempDir(), t.TempDir()
	mustRun(t, "init", dir)
	mustRun(t, "init", elsewhere, "--host", "web.example")
	output, certificate := filepath.Join(dir, "x.plist"), filepath.Join(elsewhere, site.PortalFolder, site.CertificateFile)
	flags := []string{"profile", "--dir", dir, "--format", "plist", "-o", output, "--content-url", "https://web.example/prlagent"}
	if _, err := prlportal(t, flags...); exitCode(err) != exitUsage {
		t.Errorf("a web server that no Mac would trust: %v", err)
	}
	mustRun(t, append(flags, "--content-certificate", certificate)...)
	data, err := os.ReadFile(output)
	if err != nil {
		t.Fatal(err)
	}
	values, err := plist.DecodeDict(data)
	if err != nil {
		t.Fatal(err)
	}
	if trusted, _ := values["ServerCertificates"].([]any); values["ContentURL"] != "https://web.example/prlagent" || len(trusted) != 2 {
		t.Errorf("ContentURL is %v, with %d certificates", values["ContentURL"], len(trusted))
	}
}
