package portal

import (
	"bytes"
	"context"
	"crypto/ed25519"
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

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/storage"
	"prlagent/platform/plist"
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
	address, _ := servingWithLog(t, dir)
	return address
}

func servingWithLog(t *testing.T, dir string) (string, *logBuffer) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	reader, writer := io.Pipe()
	log := &logBuffer{}
	root := newRootCommand()
	root.SetArgs([]string{"serve", "--dir", filepath.Join(dir, portalFolder), "--listen", "127.0.0.1:0", "--ready-file", filepath.Join(dir, "ready")})
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
	mustContain(t, out, "Test Org", "prlportal serve --dir", "group lab")

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
	want := "operator/command.key operator/enrollment.secret operator/policy.key operator/site.json " +
		"portal/admin.token portal/config.json portal/content/heads/everyone.dsse.json portal/content/heads/lab.dsse.json portal/tls.crt portal/tls.key"
	if got := strings.Join(found, " "); got != want {
		t.Errorf("files are\n%s\nwant\n%s", got, want)
	}
	config, err := os.ReadFile(filepath.Join(dir, portalFolder, configFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{readSecretOf(t, dir, operatorFolder, secretFile), readSecretOf(t, dir, portalFolder, adminTokenFile)} {
		if strings.Contains(string(config), secret) || strings.Contains(out, secret) {
			t.Error("a secret is in config.json or was printed")
		}
	}
}

func TestInitCertificateIsShortLivedAndForItsHosts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	mustRun(t, "init", dir, "--host", "portal.example,192.0.2.7")
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, portalFolder, certificateFile), filepath.Join(dir, portalFolder, tlsKeyFile))
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
	before := readSecretOf(t, dir, portalFolder, adminTokenFile)
	if out, err := prlportal(t, "init", dir); err == nil || !strings.Contains(err.Error(), "exists already") {
		t.Errorf("second init: %v\n%s", err, out)
	}
	if readSecretOf(t, dir, portalFolder, adminTokenFile) != before {
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
	mustContain(t, mustRun(t, "devices", "--dir", dir, "--url", address), "No Mac has enrolled yet.")
	mustContain(t, mustRun(t, "vms", "--dir", dir, "--url", address), "No virtual machine was reported yet.")
	if out := mustRun(t, "vms", "--dir", dir, "--url", address, "--json"); !strings.HasPrefix(out, "{\n  \"vms\": [],\n  \"total\": 0,\n  \"as_of\": ") {
		t.Errorf("vms --json printed %s", out)
	}
	if _, err := prlportal(t, "serve", "--dir", dir, "--listen", "127.0.0.1:0"); err == nil || !strings.Contains(err.Error(), "in use by another prlportal") {
		t.Errorf("second serve: %v", err)
	}
	if _, err := prlportal(t, "approve", "C02", "--dir", dir, "--url", address); err == nil || !strings.Contains(err.Error(), "no device C02") {
		t.Errorf("approve of nobody: %v", err)
	}
}

func TestServeResumesSessionsAndRefusesOldTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	mustRun(t, "init", dir)
	address := serving(t, dir)
	certificate, err := os.ReadFile(filepath.Join(dir, portalFolder, certificateFile))
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
	if err := os.Rename(filepath.Join(dir, operatorFolder, commandKeyFile), filepath.Join(dir, portalFolder, commandKeyFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := prlportal(t, "serve", "--dir", dir, "--listen", "127.0.0.1:0"); err == nil || !strings.Contains(err.Error(), commandKeyFile) {
		t.Errorf("serve: %v, want a refusal", err)
	}
}

func TestH31_ServeWarnsOfTheOperatorsKeysBesideIt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	mustRun(t, "init", dir)
	_, log := servingWithLog(t, dir)
	mustContain(t, log.String(), "readable to the portal", filepath.Join(dir, operatorFolder))
}

func TestServeNeedsNothingOfTheOperator(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	mustRun(t, "init", dir)
	if err := os.RemoveAll(filepath.Join(dir, operatorFolder)); err != nil {
		t.Fatal(err)
	}
	address, log := servingWithLog(t, dir)
	mustContain(t, mustRun(t, "devices", "--dir", dir, "--url", address), "No Mac")
	if strings.Contains(log.String(), "readable to the portal") {
		t.Error("it warns of keys that are not there")
	}
}

func TestH01_ApproveCommand(t *testing.T) {
	t.Parallel()
	portal := newTestPortal(t)
	m := enrolled(t, portal)
	newMac(t, portal, m.serial).enroll(t, http.StatusAccepted)
	usePortalsCertificate(t, portal)
	flags := []string{"--dir", portal.dir, "--url", portal.web.URL}
	mustContain(t, mustRun(t, append(flags, "devices")...), "pending_approval", "asks to be enrolled with another key", "prlportal approve "+m.deviceID)

	mustContain(t, mustRun(t, append(flags, "approve", m.serial)...), "Approved key", m.deviceID)
	if _, err := prlportal(t, append(flags, "approve", m.serial)...); err == nil || !strings.Contains(err.Error(), "nothing waits") {
		t.Errorf("second approve: %v", err)
	}
}

// usePortalsCertificate makes the operator's commands trust httptest's certificate.
func usePortalsCertificate(t *testing.T, portal *testPortal) {
	t.Helper()
	if err := safefile.WriteFile(filepath.Join(portal.dir, portalFolder, certificateFile), encodeCertificate(portal.web.Certificate().Raw), 0o600); err != nil {
		t.Fatal(err)
	}
}

// fixedSite is a site whose profile is the same in every run.
func fixedSite(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := makeFolders(dir); err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{
		filepath.Join(operatorFolder, siteFile):      []byte(`{"site_id":"5f0c2c1e-8a9b-4c57-9c0f-2d8f4f1a7b3e","name":"Example Org","url":"https://portal.example:8443"}`),
		filepath.Join(operatorFolder, secretFile):    []byte("the enrollment secret\n"),
		filepath.Join(portalFolder, certificateFile): encodeCertificate([]byte("a certificate in DER")),
	}
	for name, seed := range map[string]byte{policyKeyFile: 1, commandKeyFile: 2} {
		key, err := encodeKey(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize)))
		if err != nil {
			t.Fatal(err)
		}
		files[filepath.Join(operatorFolder, name)] = key
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
		data, err := safefile.ReadFile(output, maxSiteFile)
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
	data, err := safefile.ReadFile(output, maxSiteFile)
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
	key, err := loadSigningKey(filepath.Join(dir, operatorFolder, policyKeyFile))
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
	if read.EnrollmentSecret != readSecretOf(t, dir, operatorFolder, secretFile) {
		t.Error("the profile has another enrollment secret")
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
		{"approve"},
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
	mustContain(t, mustRun(t, "serve", "--help"), "[PRLPORTAL_READY_FILE]")
	t.Setenv("PRLPORTAL_JSON", "perhaps")
	if _, err := prlportal(t, "devices"); exitCode(err) != exitUsage {
		t.Errorf("a wrong twin: %v", err)
	}
}

func TestVersionAndCompletion(t *testing.T) {
	t.Parallel()
	mustContain(t, mustRun(t, "version"), "prlportal ")
	mustContain(t, mustRun(t, "completion", "zsh"), "#compdef prlportal")
}

// sampleRows are rows as a client of the admin plane reads them.
func sampleRows(t *testing.T) []tableRow {
	t.Helper()
	host := protocol.Host{ComputerName: "Alice's MacBook", Serial: "C02AAAAAAAAA"}
	product := protocol.Product{Installed: true, Version: "26.4.0", Build: "57513", State: protocol.ProductKey}
	running := windows("Windows 11")
	running.ID, running.State, running.LastUsedAt, running.ToolsVersion = "1f3c2a1b-6d1e-4f63-9c5b-2f1f4f1a7b3e", protocol.StateRunning, morning.Add(-time.Hour), "26.4.0.57513"
	fresh := windows("=cmd|' /C calc'!A0")
	fresh.ID, fresh.Gaps = "2a4d3b2c-7e2f-4a74-8d6c-3a2a5a2b8c4f", map[string]protocol.Code{"last_used": protocol.CodeNeverStarted}
	hostile := windows("name\x1b[2J\u202egpj.exe\nnext line")
	hostile.ID, hostile.Owner, hostile.Stale = "3b5e4c3d-8f3a-4b85-9e7d-4b3b6b3c9d5a", "bob", protocol.CodeUserSession
	hostile.Gaps = map[string]protocol.Code{"last_used": protocol.CodeNotSeenRunning}
	rows := make([]tableRow, 0, 3)
	for i, vm := range []protocol.VM{running, fresh, hostile} {
		view := vmView{Row: protocol.Row{
			VM: vm, Host: host, Product: product, Status: protocol.StatusActive, LastCommand: protocol.CommandNone, LastReportedAt: morning,
			Extra: protocol.RowExtra{Group: "default", GroupSource: protocol.GroupFromPrimary, PolicyRevision: 7, PolicyState: protocol.PolicyNone, AgentVersion: "0.1.0", FirstSeenAt: morning, DeviceID: "0198f6b2-7c1e-7d0a-9a55-3f1d0c2b7e11"},
		}, ChangedAt: morning, StaleReport: i == 1}
		if i == 2 {
			view.RemovedAt = morning
		}
		rows = append(rows, rowAsSent(t, view))
	}
	return rows
}

// rowAsSent is a row as a client of the admin plane reads it.
func rowAsSent(t *testing.T, view any) tableRow {
	t.Helper()
	data, err := json.Marshal(view)
	if err != nil {
		t.Fatal(err)
	}
	row, err := readRow(data)
	if err != nil {
		t.Fatal(err)
	}
	return row
}

func TestVMsOutput(t *testing.T) {
	t.Parallel()
	rows := sampleRows(t)
	zone := time.FixedZone("CET", 3600)
	for name, columns := range map[string][]string{"vms.table": nil, "vms-all.table": {"all"}} {
		var out bytes.Buffer
		if err := printVMs(&out, mustChoose(t, columns, formatTable), rows, zone); err != nil {
			t.Fatal(err)
		}
		golden(t, name, out.Bytes())
	}
	for name, columns := range map[string][]string{
		"vms.csv": nil, "vms-all.csv": {"all"}, "vms.json": nil, "vms-chosen.json": {"vm_id", "last_used", "group", "gaps"}, "vms.ndjson": nil,
	} {
		var out bytes.Buffer
		format := strings.TrimPrefix(filepath.Ext(name), ".")
		writer, err := newRowWriter(&out, format, "vms", mustChoose(t, columns, format))
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			err = errors.Join(err, writer.write(row))
		}
		if err := errors.Join(err, writer.end(listed{Total: 3, AsOf: morning})); err != nil {
			t.Fatal(err)
		}
		golden(t, name, out.Bytes())
	}
}

func mustChoose(t *testing.T, ids []string, format string) []column {
	t.Helper()
	columns, err := vmListing.choose(ids, format)
	if err != nil {
		t.Fatal(err)
	}
	return columns
}

func TestDevicesOutput(t *testing.T) {
	t.Parallel()
	devices := []deviceView{
		{
			DeviceID: "0198f6b2-7c1e-7d0a-9a55-3f1d0c2b7e11", State: deviceOK, ComputerName: "Alice's MacBook", MacSerial: "C02AAAAAAAAA",
			PDVersion: "26.4.0", AgentVersion: "0.1.0", Mode: "monitor", Group: protocol.Group{ID: "default"}, VMs: 5, LastCheckinAt: morning,
		},
		{
			DeviceID: "0198f6b2-7c1e-7d0a-9a55-3f1d0c2b7e12", State: deviceDuplicate, MacSerial: "C02BBBBBBBBB", AgentVersion: "0.1.0", Group: protocol.Group{ID: "finance"},
			Pending:   []pendingView{{KeyID: "0123456789abcdef", AskedAt: morning, Source: "192.0.2.9"}},
			Duplicate: &storage.Duplicate{Reason: storage.DuplicateSequence, At: morning, Count: 2},
		},
	}
	var out bytes.Buffer
	rows := []tableRow{rowAsSent(t, devices[0]), rowAsSent(t, devices[1])}
	columns, err := deviceListing.choose(nil, formatTable)
	if err != nil {
		t.Fatal(err)
	}
	if err := printDevices(&out, columns, rows, time.FixedZone("CET", 3600)); err != nil {
		t.Fatal(err)
	}
	golden(t, "devices.table", out.Bytes())
}
