package cli

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"prlagent/cmd/prlportal/fleet"
	"prlagent/cmd/prlportal/portaltest"
	"prlagent/cmd/prlportal/site"
	"prlagent/platform/safefile"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares got with a file of testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; got:\n%s", name, got)
	}
}

// prlportal runs the program and gives what it printed.
func prlportal(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	root := newRootCommand()
	root.SetArgs(args)
	root.SetOut(&out)
	root.SetErr(&out)
	err := root.ExecuteContext(t.Context())
	return out.String(), err
}

func mustRun(t *testing.T, args ...string) string {
	t.Helper()
	out, err := prlportal(t, args...)
	if err != nil {
		t.Fatalf("prlportal %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// serving runs 'prlportal serve' until the test ends and gives its URL.
func serving(t *testing.T, dir string) string {
	t.Helper()
	address, _ := servingWithLog(t, dir, "--demo")
	return address
}

func servingWithLog(t *testing.T, dir string, flags ...string) (string, *portaltest.LogBuffer) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	reader, writer := io.Pipe()
	log := &portaltest.LogBuffer{}
	root := newRootCommand()
	root.SetArgs(append([]string{"serve", "--dir", filepath.Join(dir, site.PortalFolder), "--listen", "127.0.0.1:0", "--ready-file", filepath.Join(dir, "ready")}, flags...))
	root.SetOut(writer)
	root.SetErr(log)
	ended := make(chan error, 1)
	go func() {
		err := root.ExecuteContext(ctx)
		writer.CloseWithError(err)
		ended <- err
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	var address string
	if _, err := fmt.Fscanf(reader, "prlportal serves %s\n", &address); err != nil {
		t.Fatalf("serve did not begin: %v\n%s", err, log)
	}
	return address, log
}

func TestInitMakesASiteThatNobodyElseCanRead(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "site")
	out := mustRun(t, "init", dir, "--name", "Test Org", "--host", "portal.example,192.0.2.7", "--group", "everyone", "--secret-group", "lab")
	portaltest.MustContain(t, out, "Test Org", "prlportal serve --dir", "group lab")

	var found []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		if relative, err := filepath.Rel(dir, path); err == nil && !entry.IsDir() {
			found = append(found, relative)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := "operator/.gitignore operator/admin.token operator/command-keys.dsse.json operator/command.key operator/enrollment.secret operator/policy.key operator/portal.crt operator/site.json " +
		"portal/.gitignore portal/admins.json portal/config.json portal/content/command-keys.dsse.json portal/content/heads/everyone.dsse.json portal/content/heads/lab.dsse.json portal/content/policy-keys.dsse.json portal/tls.crt portal/tls.key"
	if got := strings.Join(found, " "); got != want {
		t.Errorf("files are\n%s\nwant\n%s", got, want)
	}
	config, err := os.ReadFile(filepath.Join(dir, site.PortalFolder, site.ConfigFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{portaltest.ReadSecretOf(t, dir, site.OperatorFolder, site.SecretFile), portaltest.ReadSecretOf(t, dir, site.OperatorFolder, site.AdminTokenFile)} {
		if strings.Contains(string(config), secret) || strings.Contains(out, secret) {
			t.Error("a secret is in config.json or was printed")
		}
	}
}

func TestInitCertificateIsShortLivedAndForItsHosts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	mustRun(t, "init", dir, "--host", "portal.example,192.0.2.7")
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, site.PortalFolder, site.CertificateFile), filepath.Join(dir, site.PortalFolder, site.TLSKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"portal.example", "192.0.2.7"} {
		if err := pair.Leaf.VerifyHostname(host); err != nil {
			t.Error(err)
		}
	}
	if lifetime := pair.Leaf.NotAfter.Sub(pair.Leaf.NotBefore); lifetime > 825*24*time.Hour {
		t.Errorf("lifetime is %v", lifetime)
	}
}

func TestInitRefusesToOverwrite(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	mustRun(t, "init", dir)
	before := portaltest.ReadSecretOf(t, dir, site.OperatorFolder, site.AdminTokenFile)
	if out, err := prlportal(t, "init", dir); err == nil || !strings.Contains(err.Error(), "exists already") {
		t.Errorf("second init: %v\n%s", err, out)
	}
	if portaltest.ReadSecretOf(t, dir, site.OperatorFolder, site.AdminTokenFile) != before {
		t.Error("the second init changed the site")
	}
}

func TestServeAnswersItsOperator(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	mustRun(t, "init", dir)
	address := serving(t, dir)
	ready, err := os.ReadFile(filepath.Join(dir, "ready"))
	if err != nil || string(ready) != address+"\n" {
		t.Errorf("ready file is %q, %v, want %s", ready, err, address)
	}
	portaltest.MustContain(t, mustRun(t, "devices", "--dir", dir, "--url", address), "No Mac has enrolled yet.")
	portaltest.MustContain(t, mustRun(t, "vms", "--dir", dir, "--url", address), "No virtual machine was reported yet.")
	if out := mustRun(t, "vms", "--dir", dir, "--url", address, "--json"); !strings.HasPrefix(out, "{\n  \"schema\": 1,\n  \"vms\": [],\n  \"total\": 0,\n  \"as_of\": ") {
		t.Errorf("vms --json printed %s", out)
	}
	if _, err := prlportal(t, "serve", "--demo", "--dir", dir, "--listen", "127.0.0.1:0"); err == nil || !strings.Contains(err.Error(), "in use by another prlportal") {
		t.Errorf("second serve: %v", err)
	}
	if _, err := prlportal(t, "devices", "approve", "C02", "--dir", dir, "--url", address); err == nil || !strings.Contains(err.Error(), "no device C02") {
		t.Errorf("approve of nobody: %v", err)
	}
}

func TestServeResumesSessionsAndRefusesOldTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	mustRun(t, "init", dir)
	address := serving(t, dir)
	certificate, err := os.ReadFile(filepath.Join(dir, site.PortalFolder, site.CertificateFile))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certificate)
	get := func(config *tls.Config) (*http.Response, error) {
		client := http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
		response, err := client.Get(address + "/healthz")
		if err != nil {
			return nil, err
		}
		_, err = io.Copy(io.Discard, response.Body)
		return response, errors.Join(err, response.Body.Close())
	}
	warm := &tls.Config{RootCAs: pool, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	for _, resumed := range []bool{false, true} {
		response, err := get(warm)
		if err != nil {
			t.Fatal(err)
		}
		if response.TLS.DidResume != resumed {
			t.Errorf("resumed is %v, want %v", response.TLS.DidResume, resumed)
		}
	}
	if _, err := get(&tls.Config{RootCAs: pool, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}); err == nil {
		t.Error("TLS 1.1 was accepted")
	}
}

// The operator's token must not go to whoever answers at the portal's address.
func TestDevicesRefusesAnotherCertificate(t *testing.T) {
	t.Parallel()
	ours, theirs := t.TempDir(), t.TempDir()
	mustRun(t, "init", ours)
	mustRun(t, "init", theirs)
	_, err := prlportal(t, "devices", "--dir", ours, "--url", serving(t, theirs))
	if err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("devices: %v, want a refused certificate", err)
	}
}

func TestH31_ServeRefusesASigningKeyInItsFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	mustRun(t, "init", dir)
	if err := os.Rename(filepath.Join(dir, site.OperatorFolder, site.CommandKeyFile), filepath.Join(dir, site.PortalFolder, site.CommandKeyFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := prlportal(t, "serve", "--dir", dir, "--listen", "127.0.0.1:0"); err == nil || !strings.Contains(err.Error(), site.CommandKeyFile) {
		t.Errorf("serve: %v, want a refusal", err)
	}
}

func TestH31_ServeWarnsOfTheOperatorsKeysBesideIt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	mustRun(t, "init", dir)
	_, log := servingWithLog(t, dir, "--demo")
	portaltest.MustContain(t, log.String(), "readable to the portal", filepath.Join(dir, site.OperatorFolder))
}

// A site as init makes it is not served by the account that made it, except to
// try things.
func TestH64_ServeRefusesKeysThatItCanRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	mustRun(t, "init", dir)
	_, err := prlportal(t, "serve", "--dir", dir, "--listen", "127.0.0.1:0")
	if err == nil || exitCode(err) != exitFailure || !strings.Contains(err.Error(), site.OperatorFolder) || !strings.Contains(err.Error(), "--demo") {
		t.Errorf("serve: %v, want a refusal", err)
	}
	if _, err := os.Stat(filepath.Join(dir, site.PortalFolder, site.DatabaseFile)); err == nil {
		t.Error("it made a database before it refused")
	}
	serving(t, dir)
}

func TestServeNeedsNothingOfTheOperator(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	mustRun(t, "init", dir)
	if err := os.RemoveAll(filepath.Join(dir, site.OperatorFolder)); err != nil {
		t.Fatal(err)
	}
	address, log := servingWithLog(t, dir)
	portaltest.MustContain(t, mustRun(t, "devices", "--dir", dir, "--url", address), "No Mac")
	if strings.Contains(log.String(), "readable to the portal") {
		t.Error("it warns of keys that are not there")
	}
}

func TestH01_ApproveCommand(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	portaltest.NewMac(t, portal, m.Serial).Enroll(t, http.StatusAccepted)
	usePortalsCertificate(t, portal)
	flags := []string{"--dir", portal.Dir, "--url", portal.Web.URL}
	portaltest.MustContain(t, mustRun(t, append(flags, "devices")...), "pending_approval", "asks to be enrolled with another key", "prlportal devices approve "+m.DeviceID)

	portaltest.MustContain(t, mustRun(t, append(flags, "devices", "approve", m.Serial)...), "Approved key", m.DeviceID)
	if _, err := prlportal(t, append(flags, "devices", "approve", m.Serial)...); err == nil || !strings.Contains(err.Error(), "nothing waits") {
		t.Errorf("second approve: %v", err)
	}
}

// A profile for an address that the portal may not know says so.
func TestH54_ProfileNamesAnAddressThatThePortalMustKnow(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	mustRun(t, "init", dir, "--host", "localhost", "--host", "proxy.example")
	output := filepath.Join(t.TempDir(), "x.plist")
	run := func(flags ...string) string {
		return mustRun(t, append([]string{"profile", "--dir", dir, "--format", "plist", "-o", output}, flags...)...)
	}
	portaltest.MustContain(t, run("--url", "https://proxy.example"), `add "https://proxy.example:443" to "origins"`)
	for _, known := range []string{run(), run("--url", "https://localhost:8443")} {
		if strings.Contains(known, "origins") {
			t.Errorf("it says %s", known)
		}
	}
}

func TestH55_RejectAndRetireCommands(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	bogus := portaltest.NewMac(t, portal, m.Serial)
	bogus.Enroll(t, http.StatusAccepted)
	usePortalsCertificate(t, portal)
	flags := []string{"--dir", portal.Dir, "--url", portal.Web.URL}
	run := func(args ...string) string { t.Helper(); return mustRun(t, append(args, flags...)...) }
	refused := func(words string, args ...string) {
		t.Helper()
		if _, err := prlportal(t, append(args, flags...)...); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%v: %v, want %q", args, err, words)
		}
	}
	portaltest.MustContain(t, run("devices"), bogus.KeyID(), "prlportal devices reject "+m.DeviceID)
	portaltest.MustContain(t, run("devices", "reject", m.Serial, "--reason", "nobody erased it"), "Rejected 1 of 1 waiting keys at "+m.DeviceID)
	refused("no key waits", "devices", "reject", m.Serial)
	refused("No key waits", "devices", "reject", m.Serial, "--all")
	refused("no device", "devices", "retire", "C02NOBODY")

	board := m.OtherMac(t, "D16E8CA5-3B60-5BBE-AFF4-5BA1012DD0CC")
	board.Enroll(t, http.StatusAccepted)
	portaltest.MustContain(t, run("devices"), "as another Mac, D16E8CA5-3B60-5BBE-AFF4-5BA1012DD0CC", "prlportal devices approve "+m.DeviceID+" --supersede")
	refused("--supersede", "devices", "approve", m.Serial)
	portaltest.MustContain(t, run("devices", "approve", m.Serial, "--supersede"), "as the new device", "Retired "+m.DeviceID)
	board.Enroll(t, http.StatusCreated)
	board.Checkin(t)

	var retired fleet.Device // the serial number is that of the living one now
	if err := json.Unmarshal([]byte(run("devices", "retire", m.Serial, "--json")), &retired); err != nil || retired.DeviceID != board.DeviceID || retired.State != fleet.StateRetired {
		t.Errorf("retire --json: %+v, %v", retired, err)
	}
	log, err := os.ReadFile(portal.AuditPath())
	if err != nil {
		t.Fatal(err)
	}
	portaltest.MustContain(t, string(log), `"action":"reject"`, "nobody erased it", `"by":"`, `"supersedes":["`+m.DeviceID+`"]`, `"action":"retire"`)
	for _, command := range []string{"approve", "reject", "retire"} {
		portaltest.MustContain(t, mustRun(t, "devices", command, "--help"), "Examples:", "prlportal devices "+command+" C02", "--json", "--reason", "exit code", "[PRLPORTAL_REASON]")
	}
}

// usePortalsCertificate makes the operator's commands trust httptest's
// certificate.
func usePortalsCertificate(t *testing.T, portal *portaltest.Portal) {
	t.Helper()
	if err := safefile.WriteFile(filepath.Join(portal.Dir, site.PortalFolder, site.CertificateFile), encodePEM("CERTIFICATE", portal.Web.Certificate().Raw), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestUsageErrors(t *testing.T) {
	t.Parallel()
	dir := fixedSite(t)
	for _, args := range [][]string{
		{"init"},
		{"init", dir, "--group", "Not A Group"},
		{"profile", "--dir", dir},
		{"profile", "--dir", dir, "-o", filepath.Join(dir, "x"), "--url", "http://portal.example"},
		{"profile", "--dir", dir, "-o", filepath.Join(dir, "x"), "--mode", "strict"},
		{"vms", "--dir", dir, "--columns", "no_such_column"},
		{"vms", "--dir", dir, "--format", "xml"},
		{"devices", "--dir", dir, "--url", "http://127.0.0.1"},
		{"serve", "--no-such-flag"},
		{"devices", "approve"}, {"devices", "reject"}, {"devices", "retire"}, {"devices", "reject", "C02", "--all", "--key", "1"},
	} {
		if _, err := prlportal(t, args...); exitCode(err) != exitUsage {
			t.Errorf("%v: error %v is not a usage error", args, err)
		}
	}
}

func TestFlagsHaveTwinsInTheEnvironment(t *testing.T) {
	dir := fixedSite(t)
	output := filepath.Join(dir, "from-environment.plist")
	t.Setenv("PRLPORTAL_DIR", dir)
	t.Setenv("PRLPORTAL_OUTPUT", output)
	t.Setenv("PRLPORTAL_FORMAT", "mobileconfig")
	mustRun(t, "profile", "--format", "plist")
	data, err := os.ReadFile(output)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "preferences.plist", data)
	portaltest.MustContain(t, mustRun(t, "serve", "--help"), "[PRLPORTAL_READY_FILE]")
	t.Setenv("PRLPORTAL_JSON", "perhaps")
	if _, err := prlportal(t, "devices"); exitCode(err) != exitUsage {
		t.Errorf("a wrong twin: %v", err)
	}
}

func TestVersionAndCompletion(t *testing.T) {
	t.Parallel()
	portaltest.MustContain(t, mustRun(t, "version"), "prlportal ")
	portaltest.MustContain(t, mustRun(t, "completion", "zsh"), "#compdef prlportal")
}
