package cli

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"prlagent/agent/config"
	"prlagent/cmd/prlportal/portaltest"
	"prlagent/platform/plist"
	"prlagent/platform/plist/plisttest"
	"prlagent/platform/safefile"
	"prlagent/platform/text"
)

// canaryKey is a license key that no output may show any part of.
const canaryKey = "CANARY-LLLLLL-KKKKKK-YYYYYY-SECRET"

// profileFile writes a text to a file of the test.
func profileFile(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// payloadOf is the first payload of the profile in a file.
func payloadOf(t *testing.T, path string) (document, payload map[string]any) {
	t.Helper()
	data, err := safefile.ReadFile(path, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	document, err = plist.DecodeDict(data)
	if err != nil {
		t.Fatal(err)
	}
	payload, _ = document["PayloadContent"].([]any)[0].(map[string]any)
	return document, payload
}

// Every kind of profile, by the program: written for its owner alone, the same twice,
// and read by the portal's own lint.
func TestCFP_12_CFP_17_CFP_19_KindsOfProfiles(t *testing.T) {
	t.Parallel()
	key := profileFile(t, "key", canaryKey+"\n")
	requirement := profileFile(t, "requirement", `designated => identifier "prlagentd" and anchor apple generic and certificate leaf[subject.OU] = "ABCDE12345"`)
	for kind, flags := range map[string][]string{
		"pppc":          {"--requirement-file", requirement},
		"login-item":    {"--team", "ABCDE12345"},
		"notifications": nil,
		"licensing":     {"--license-key-file", key, "--organization", "Example Org"},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			var written [2][]byte
			for i, name := range []string{"a.mobileconfig", "b.mobileconfig"} {
				path := filepath.Join(dir, name)
				out := mustRun(t, append([]string{"profile", kind, "-o", path}, flags...)...)
				portaltest.MustContain(t, out, "Wrote "+path)
				info, err := os.Stat(path)
				if err != nil || info.Mode().Perm() != 0o600 {
					t.Errorf("mode %v, %v", info.Mode(), err)
				}
				written[i], _ = os.ReadFile(path)
			}
			if !bytes.Equal(written[0], written[1]) {
				t.Error("made twice, it is not the same")
			}
			mustRun(t, "profile", "lint", filepath.Join(dir, "a.mobileconfig"), filepath.Join(dir, "b.mobileconfig"))
			mustRun(t, append([]string{"profile", kind, "-o", filepath.Join(dir, "c.mobileconfig"), "--json"}, flags...)...)
		})
	}
}

// What is given wrongly is usage, and writes nothing.
func TestProfilesThatAreNotWritten(t *testing.T) {
	t.Parallel()
	certificate, key := ecSigner(t)
	for name, args := range map[string][]string{
		"no such kind":                {"nonsense"},
		"no key and no sign-on":       {"licensing"},
		"both":                        {"licensing", "--sso", "--license-key-file", profileFile(t, "k", canaryKey)},
		"no license key":              {"licensing", "--license-key-file", profileFile(t, "k", "CANARY")},
		"an empty license key":        {"licensing", "--license-key-file", profileFile(t, "k", "\n")},
		"a file that is not there":    {"licensing", "--license-key-file", "/no/such/file"},
		"no team":                     {"login-item", "--team", "x"},
		"an empty requirement":        {"pppc", "--requirement-file", profileFile(t, "r", "")},
		"no identifier":               {"notifications", "--application", "x"},
		"a certificate without a key": {"licensing", "--sso", "--sign", certificate},
		"a key without a certificate": {"licensing", "--sso", "--key", key},
		"no such setting":             {"agent", "--only-set", "--set", "LogLevl=info"},
		"a setting without a value":   {"agent", "--only-set", "--set", "LogLevel"},
		"a value that is refused":     {"agent", "--only-set", "--set", "Mode=enforced"},
		"a secret as an argument":     {"agent", "--only-set", "--set", "EnrollmentSecret=CANARY"},
		"nothing set":                 {"agent", "--only-set"},
		"the secret for its file":     {"agent", "--only-set", "--set-file", "EnrollmentSecret=CANARY"},
		"the secret for a long file":  {"agent", "--only-set", "--set-file", "EnrollmentSecret=" + strings.Repeat("CANARY", 50)},
		"the key for its file":        {"licensing", "--license-key-file", canaryKey},
		"the key for no flag":         {"licensing", canaryKey},
		"the key for a switch":        {"licensing", "--sso=" + canaryKey},
		"the secret for no flag":      {"agent", "--only-set", "--set-file", "EnrollmentSecret", "CANARY"},
		"a mode that nobody writes":   {"agent", "--only-set", "--set", "NotifyUsers=true", "--mode", "enforce"},
		"certificates of nobody":      {"agent", "--only-set", "--set", "NotifyUsers=true", "--offline"},
		"a certificate of no content": {"agent", "--dir", "x", "--content-certificate", certificate},
		"no such command":             {"agent", "--only-set", "--set", "AllowedCommands=vm.lock,nonsense"},
		"a number of no name":         {"agent", "--only-set", "--set", "DestructiveLimit=Nonsense=1"},
		"a number that is there":      {"agent", "--only-set", "--set", "DestructiveLimit=Count=1,Count=2"},
		"a number out of range":       {"agent", "--only-set", "--set", "DestructiveLimit=Count=99999"},
		"a number beyond all":         {"agent", "--only-set", "--set", "DestructiveLimit=Count=18446744073709551617"},
		"a group of no portal":        {"agent", "--only-set", "--set", "Mode=monitor", "--group", "x"},
		"a signed property list":      {"agent", "--format", "plist", "--only-set", "--set", "Mode=monitor", "--sign", certificate, "--key", key},
	} {
		output := filepath.Join(t.TempDir(), "x.mobileconfig")
		out, err := prlportal(t, append(append([]string{"profile"}, args...), "-o", output)...)
		if exitCode(err) != exitUsage || err != nil && strings.Contains(err.Error()+out, "CANARY") {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(output); err == nil {
			t.Errorf("%s: it is written", name)
		}
	}
	for _, kind := range []string{"pppc", "login-item", "notifications", "agent"} {
		if _, err := prlportal(t, "profile", kind); exitCode(err) != exitUsage {
			t.Errorf("%s without --output: %v", kind, err)
		}
	}
}

// The agent's profile takes other settings, checked as the agent checks them: of the
// portal's, or alone.
func TestSettingsOfTheCommandLine(t *testing.T) {
	t.Parallel()
	dir := fixedSite(t)
	path := filepath.Join(dir, "x.mobileconfig")
	secret := profileFile(t, "secret", "CANARY-secret\n")
	out := mustRun(t, "profile", "agent", "--dir", dir, "-o", path, "--set", "NotifyUsers=true", "--set", "AllowedCommands=vm.lock,vm.unlock",
		"--set", "DestructiveLimit=Count=1,WindowHours=48", "--set-file", "EnrollmentSecret="+secret)
	if strings.Contains(out, "CANARY") {
		t.Errorf("the secret is shown: %s", out)
	}
	_, payload := payloadOf(t, path)
	want := map[string]any{"NotifyUsers": true, "AllowedCommands": []any{"vm.lock", "vm.unlock"}, "EnrollmentSecret": "CANARY-secret",
		"DestructiveLimit": map[string]any{"Count": uint64(1), "WindowHours": uint64(48)}, "ServerURL": "https://portal.example:8443", "PayloadType": config.Domain}
	for name, value := range want {
		if !plist.Equal(payload[name], value) {
			t.Errorf("%s is %v, want %v", name, payload[name], value)
		}
	}
	mustRun(t, "profile", "agent", "--only-set", "--set", "Group=finance", "--set", "Mode=enforce", "-o", path)
	document, payload := payloadOf(t, path)
	if payload["Group"] != "finance" || payload["Mode"] != "enforce" || payload["ServerURL"] != nil || document["PayloadIdentifier"] != "org.prlagent.profile.settings" {
		t.Errorf("%v", document)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "settings.mobileconfig", data)
}

// A profile is replaced by another one; the files that it is made of are not.
func TestProfilesReplaceNothingElse(t *testing.T) {
	t.Parallel()
	certificate, key := ecSigner(t)
	license := profileFile(t, "license", canaryKey)
	for name, c := range map[string]struct {
		output string
		args   []string
	}{
		"the license key":       {license, []string{"licensing", "--license-key-file", license}},
		"the key that signs":    {key, []string{"login-item", "--sign", certificate, "--key", key}},
		"settings of something": {profileFile(t, "x.json", "{}"), []string{"agent", "--only-set", "--set", "Mode=monitor"}},
		"a list of settings":    {profileFile(t, "x.json", "{}"), []string{"agent", "--format", "plist", "--only-set", "--set", "Mode=monitor"}},
		"what is large":         {profileFile(t, "large", strings.Repeat("x", maxInput+1)), []string{"login-item"}},
	} {
		before, err := os.ReadFile(c.output)
		if err != nil {
			t.Fatal(err)
		}
		_, err = prlportal(t, append(append([]string{"profile"}, c.args...), "-o", c.output)...)
		if after, _ := os.ReadFile(c.output); exitCode(err) != exitUsage || !bytes.Equal(before, after) {
			t.Errorf("%s: %v", name, err)
		}
	}
	path := profileFile(t, "again", "")
	for _, args := range [][]string{{"login-item"}, {"login-item", "--sign", certificate, "--key", key}, {"agent", "--format", "plist", "--only-set", "--set", "Mode=monitor"}, {"pppc"}} {
		mustRun(t, append(append([]string{"profile"}, args...), "-o", path)...)
	}
}

// GRP-01: the group of a profile is the same however it is given, and profiles of two
// groups are two.
func TestGRP_01_ProfilesOfGroups(t *testing.T) {
	t.Parallel()
	dir := fixedSite(t)
	written := make(map[string]string)
	for name, flags := range map[string][]string{
		"none": nil, "finance": {"--group", "finance"}, "typed": {"--set", "Group=finance"}, "sales": {"--set", "Group=sales"},
	} {
		path := filepath.Join(t.TempDir(), "x")
		mustRun(t, append([]string{"profile", "agent", "--dir", dir, "-o", path}, flags...)...)
		document, payload := payloadOf(t, path)
		written[name] = fmt.Sprint(document["PayloadUUID"], payload["PayloadUUID"], payload["Group"])
	}
	if written["finance"] != written["typed"] || written["finance"] == written["sales"] || written["none"] == written["sales"] {
		t.Errorf("%v", written)
	}
}

// 'profile' and 'profile agent' write the same.
func TestProfileIsTheAgentsOwn(t *testing.T) {
	t.Parallel()
	dir := fixedSite(t)
	for name, command := range map[string][]string{"a": {"profile"}, "b": {"profile", "agent"}} {
		mustRun(t, append(command, "--dir", dir, "-o", filepath.Join(dir, name))...)
	}
	one, _ := os.ReadFile(filepath.Join(dir, "a"))
	other, _ := os.ReadFile(filepath.Join(dir, "b"))
	if len(one) == 0 || !bytes.Equal(one, other) {
		t.Error("they differ")
	}
}

// ecSigner gives the files of a certificate and its key.
func ecSigner(t *testing.T) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return profileFile(t, "certificate", string(encodePEM("CERTIFICATE", der))), profileFile(t, "key", string(encodePEM("PRIVATE KEY", encoded)))
}

// CFP-18: a profile can be signed; lint says so, and what a Mac needs then.
func TestCFP_18_ProfilesThatAreSigned(t *testing.T) {
	t.Parallel()
	certificate, key := ecSigner(t)
	dir := fixedSite(t)
	for name, command := range map[string][]string{"license": {"profile", "licensing", "--sso"}, "agent": {"profile", "agent", "--dir", dir}} {
		path := filepath.Join(dir, name)
		out := mustRun(t, append(command, "--sign", certificate, "--key", key, "-o", path)...)
		if name == "license" {
			portaltest.MustContain(t, out, "signer's certificate")
		}
		data, err := os.ReadFile(path)
		if err != nil || data[0] != 0x30 {
			t.Errorf("%s: %v, it begins with %x", name, err, data[0])
		}
		portaltest.MustContain(t, mustRun(t, "profile", "lint", path), "(profile_signed)", "0 errors, 0 warnings, 1 note")
	}
}

// CFP-17: findings have a code, a severity and a remedy, in words and in JSON, and end
// with 1 unless they are notes.
func TestCFP_17_LintOfProfiles(t *testing.T) {
	t.Parallel()
	bad, err := plist.EncodeXML(map[string]any{"PayloadType": "Configuration", "PayloadVersion": 1, "PayloadIdentifier": "x", "PayloadUUID": "y", "PayloadContent": []any{
		map[string]any{"PayloadType": "com.parallels.desktop.managedprefs", "PayloadVersion": 1, "PayloadIdentifier": "x.y\u202e", "PayloadUUID": "z",
			"ActivationExperience": "License Key", "LicenceKey": canaryKey}}})
	if err != nil {
		t.Fatal(err)
	}
	path := profileFile(t, "bad.mobileconfig", string(bad))
	out, err := prlportal(t, "profile", "lint", path)
	if exitCode(err) != exitFailure || strings.Contains(out, "CANARY") || strings.Contains(out, "\u202e") {
		t.Errorf("%v\n%q", err, out)
	}
	portaltest.MustContain(t, out, "error: ", "(licensing_key_missing)", "(key_unknown)", "(licensing_removable)", "→ Set PayloadRemovalDisallowed to true.")
	out, err = prlportal(t, "profile", "lint", path, "--json")
	var document struct {
		Schema   int
		Findings []struct{ File, Payload, Code, Severity, Text, Detail, Remedy string }
	}
	if exitCode(err) != exitFailure || json.Unmarshal([]byte(out), &document) != nil || document.Schema != schema || len(document.Findings) != 4 {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, one := range document.Findings {
		if one.File != path || one.Code == "" || one.Severity == "" || one.Remedy == "" {
			t.Errorf("%+v", one)
		}
	}
	portaltest.MustContain(t, mustRun(t, "profile", "lint", "--rules"), "licensing_twice")
	if _, err := prlportal(t, "profile", "lint"); exitCode(err) != exitUsage {
		t.Errorf("lint of nothing: %v", err)
	}
}

// The license key is in the profile that it is for, and nowhere else: not in what is
// printed, not in an error, not in the settings of the process.
func TestCFP_12_TheLicenseKeyIsShownNowhere(t *testing.T) {
	t.Parallel()
	key := profileFile(t, "key", canaryKey)
	path := filepath.Join(t.TempDir(), "license.mobileconfig")
	other := profileFile(t, "other", strings.ReplaceAll(canaryKey, "LLLLLL", "MMMMMM"))
	second := filepath.Join(t.TempDir(), "second.mobileconfig")
	var said string
	for _, args := range [][]string{
		{"profile", "licensing", "--license-key-file", key, "-o", path},
		{"profile", "licensing", "--license-key-file", key, "-o", path, "--json"},
		{"profile", "licensing", "--license-key-file", other, "-o", second},
		{"profile", "licensing", "--license-key-file", key, "-o", "/no/such/folder/x"},
		{"profile", "lint", path, second},
		{"profile", "lint", path, second, "--json"},
	} {
		var out, problems bytes.Buffer
		runCommand(t.Context(), args, &out, &problems)
		said += out.String() + problems.String()
	}
	if !strings.Contains(said, "licensing_twice") {
		t.Errorf("two keys are not told apart:\n%s", said)
	}
	for _, secret := range []string{canaryKey, "CANARY", "LLLLLL", "KKKKKK"} {
		for _, spelling := range text.Spellings(secret) {
			if strings.Contains(said, spelling) {
				t.Errorf("%s is shown:\n%s", spelling, said)
			}
		}
	}
	data, err := os.ReadFile(path)
	if err != nil || !bytes.Contains(data, []byte(canaryKey)) {
		t.Errorf("the profile does without: %v", err)
	}
}

// The page and the manifest of the keys are printed as they stand beside the table.
func TestReferenceAndManifestArePrinted(t *testing.T) {
	t.Parallel()
	for command, file := range map[string]string{"reference": "keys.md", "manifest": config.Domain + ".plist"} {
		want, err := os.ReadFile(filepath.Join("..", "..", "..", "agent", "config", file))
		if got := mustRun(t, "profile", command); err != nil || got != string(want) {
			t.Errorf("%s: %v, it is not %s", command, err, file)
		}
	}
	if err := plisttest.Find(t).Agrees([]byte(mustRun(t, "profile", "manifest"))); err != nil {
		t.Error(err)
	}
}
