package config

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"prlagent/agent/protocol"
	"prlagent/platform/plist"
)

type dict = map[string]any

// mac is a folder with the two files.
type mac struct {
	t     *testing.T
	paths Paths
}

// loadNow is what the files say, whatever was there before.
func loadNow(paths Paths) *Config { return readFiles(paths, nil).buildConfig(paths) }

func newMac(t *testing.T) mac {
	t.Helper()
	dir := t.TempDir()
	return mac{t: t, paths: Paths{
		Managed:    filepath.Join(dir, "managed.plist"),
		Local:      filepath.Join(dir, "config.plist"),
		LocalOwner: uint32(os.Geteuid()),
	}}
}

func (m mac) write(path string, mode os.FileMode, values dict) {
	m.t.Helper()
	data, err := plist.EncodeXML(values)
	if err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(path, data, mode); err != nil {
		m.t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		m.t.Fatal(err)
	}
}

func (m mac) managed(values dict) { m.t.Helper(); m.write(m.paths.Managed, 0o644, values) }
func (m mac) local(values dict)   { m.t.Helper(); m.write(m.paths.Local, 0o600, values) }

func key(t *testing.T) (dict, string) {
	t.Helper()
	public, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return dict{"KeyID": protocol.KeyID(public), "PublicKey": []byte(public)}, protocol.KeyID(public)
}

func certificateDER(t *testing.T) []byte {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "portal"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func problemsOf(c *Config, name string) []string {
	var texts []string
	for _, problem := range c.Problems {
		if problem.Key == name {
			texts = append(texts, string(problem.Code)+": "+problem.Text)
		}
	}
	return texts
}

func TestNothingConfiguredGivesDefaults(t *testing.T) {
	t.Parallel()
	c := loadNow(newMac(t).paths)
	if c.ServerURL != nil || c.ContentURL != nil || c.Mode != ModeMonitor || c.LogLevel != "info" || c.Source != SourceNone {
		t.Errorf("defaults: %+v", c)
	}
	if diff := cmp.Diff([]string{"inventory.refresh", "policy.refresh"}, c.AllowedCommands); diff != "" {
		t.Error(diff)
	}
	if c.VendorGates {
		t.Error("the vendor's gates hold without being asked for")
	}
	if c.DestructiveLimit != (DestructiveLimit{Count: 4, WindowHours: 24}) {
		t.Errorf("limit: %+v", c.DestructiveLimit)
	}
	want := protocol.Timing{Debounce: 15 * time.Second, MinimumGap: time.Minute, BucketSize: 6, BucketRefill: 10 * time.Minute,
		Splay: 5 * time.Minute, WakeSplay: 10 * time.Minute, NetworkQuiet: 15 * time.Minute, Tick: 30 * time.Second,
		Daily: 24 * time.Hour, CadenceMinimum: 5 * time.Minute, CadenceMaximum: 24 * time.Hour,
		RetryBase: 5 * time.Second, RetryCap: 30 * time.Minute, CircuitAfter: 24 * time.Hour, CircuitInterval: time.Hour, ProfileGrace: 10 * time.Minute, UserLook: 75 * time.Second, CommandLook: time.Second,
		SafetyNet: 15 * time.Minute, Poll: 7500 * time.Millisecond, NetworkSettle: 5 * time.Second, WakeStay: time.Minute,
		EchoWait: 2 * time.Second, StreamRetry: time.Second, StreamRetryCap: 5 * time.Minute}
	if diff := cmp.Diff(want, c.Timing); diff != "" {
		t.Error(diff)
	}
	if len(c.Problems) != 0 {
		t.Errorf("problems: %v", c.Problems)
	}
}

func TestEveryKeyIsRead(t *testing.T) {
	t.Parallel()
	m := newMac(t)
	policyKey, policyID := key(t)
	commandKey, commandID := key(t)
	m.managed(dict{
		"ServerURL": "https://portal.example:8443/base/", "ContentURL": "https://cdn.example/content",
		"EnrollmentSecret": "canary", "Group": "finance",
		"PolicyKeys": []any{policyKey}, "CommandKeys": []any{commandKey}, "AllowedCommands": []any{"vm.lock"}, "CommandThreshold": dict{"vm.lock": 1},
		"DestructiveLimit":   dict{"Count": 2, "WindowHours": 48},
		"ServerCertificates": []any{certificateDER(t)},
		"Mode":               "enforce", "Proxy": "http://user:hush@proxy.example:3128", "LogLevel": "debug", "VendorGates": true, "AllowUnprovenLocks": true, "NotifyUsers": true,
		"ReportUserNames": false, "ReportComputerName": 0,
		"PayloadUUID": "1", "_manualProfile": true, "SomethingNew": 1,
	})
	c := loadNow(m.paths)
	if len(c.Problems) != 0 {
		t.Fatalf("problems: %v", c.Problems)
	}
	want := map[string]string{
		"ServerURL": "https://portal.example:8443/base", "ContentURL": "https://cdn.example/content",
		"EnrollmentSecret": "[secret]", "Group": "finance", "PolicyKeys": policyID, "CommandKeys": commandID,
		"AllowedCommands": "vm.lock", "CommandThreshold": "vm.lock: 1", "DestructiveLimit": "2 in 48 hours", "ServerCertificates": "CN=portal",
		"Mode": "enforce", "Proxy": "http://user:xxxxx@proxy.example:3128", "LogLevel": "debug", "VendorGates": "true", "AllowUnprovenLocks": "true", "NotifyUsers": "true",
		"ReportUserNames": "false", "ReportComputerName": "false",
	}
	for name, value := range shownValues(c) {
		if name != timingKey && value != want[name] {
			t.Errorf("%s: %q, want %q", name, value, want[name])
		}
	}
	if c.EnrollmentSecret.Reveal() != "canary" || c.Source != SourceManaged {
		t.Errorf("secret or source %s", c.Source)
	}
}

// shownValues are the values in force, as people see them.
func shownValues(c *Config) map[string]string {
	values := make(map[string]string, len(keyTable))
	for _, key := range keyTable {
		values[key.name] = key.show(c)
	}
	return values
}

func TestContentURLFollowsServerURL(t *testing.T) {
	t.Parallel()
	m := newMac(t)
	m.managed(dict{"ServerURL": "https://portal.example/"})
	if got := loadNow(m.paths).ContentURL.String(); got != "https://portal.example/v1/content" {
		t.Error(got)
	}
	m.managed(dict{"ContentURL": "https://cdn.example/"})
	if c := loadNow(m.paths); c.ContentURL != nil {
		t.Errorf("content without a portal: %v", c.ContentURL)
	}
}

// A folder of this Mac is a source without a portal, where Group says whose policy
// is meant.
func TestContentOfAFolder(t *testing.T) {
	t.Parallel()
	m := newMac(t)
	for location, want := range map[string]string{
		"file:///Library/Policies/content/": "/Library/Policies/content", "file:///Library/Our%20Policies": "/Library/Our Policies", "FILE:///Library/x": "/Library/x",
	} {
		m.managed(dict{"ContentURL": location, "Group": "finance"})
		if c := loadNow(m.paths); c.ContentFolder() != want || len(c.Problems) > 0 {
			t.Errorf("%s: folder %q, %v", location, c.ContentFolder(), c.Problems)
		}
		m.managed(dict{"ContentURL": location})
		if c := loadNow(m.paths); len(problemsOf(c, "Group")) != 1 {
			t.Errorf("%s without a group: %v", location, c.Problems)
		}
		m.managed(dict{"ContentURL": location, "ServerURL": "https://portal.example"})
		if c := loadNow(m.paths); c.ContentFolder() != want || len(c.Problems) > 0 {
			t.Errorf("%s with a portal: folder %q, %v", location, c.ContentFolder(), c.Problems)
		}
	}
}

// A policy of the configuration is a trust key: a profile that has one keeps
// everything of config.plist out that is one.
func TestH05_APolicyOfTheConfigurationIsATrustKey(t *testing.T) {
	t.Parallel()
	m := newMac(t)
	document := func(id string) dict { return dict{"schema": 1, "policy_id": id, "revision": 3, "name": "n"} }
	m.managed(dict{"Policy": document("managed")})
	m.local(dict{"Policy": document("local"), "ServerURL": "https://local.example"})
	c := loadNow(m.paths)
	if c.Policy.Pointer.PolicyID != "managed" || c.ServerURL != nil || c.Source != SourceManaged {
		t.Errorf("policy %+v, server %v", c.Policy.Pointer, c.ServerURL)
	}
}

func TestH05_TrustKeysComeFromOneSource(t *testing.T) {
	t.Parallel()
	localKey, _ := key(t)
	local := dict{"ServerURL": "https://local.example", "EnrollmentSecret": "canary", "PolicyKeys": []any{localKey},
		"Mode": "enforce", "DestructiveLimit": dict{"Count": 100}, "LogLevel": "debug"}
	cases := []struct {
		name    string
		managed dict
		server  string
		level   string
		source  Source
		ignored []string
	}{
		{"no profile", nil, "https://local.example", "debug", SourceLocal, nil},
		{"a profile with other keys only", dict{"LogLevel": "warn", "PayloadUUID": "1"}, "https://local.example", "warn", SourceLocal, nil},
		{"a profile with every trust key", dict{"ServerURL": "https://mdm.example"}, "https://mdm.example", "debug", SourceManaged,
			[]string{"ServerURL", "EnrollmentSecret", "PolicyKeys", "DestructiveLimit", "Mode"}},
		{"a profile with one trust key", dict{"Mode": "monitor"}, "", "debug", SourceManaged,
			[]string{"ServerURL", "EnrollmentSecret", "PolicyKeys", "DestructiveLimit", "Mode"}},
		{"a profile with one bad trust key", dict{"ServerURL": "http://mdm.example"}, "", "debug", SourceManaged,
			[]string{"ServerURL", "EnrollmentSecret", "PolicyKeys", "DestructiveLimit", "Mode"}},
	}
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			m := newMac(t)
			m.local(local)
			if test.managed != nil {
				m.managed(test.managed)
			}
			c := loadNow(m.paths)
			if got := showURL(c.ServerURL); got != test.server || c.LogLevel != test.level || c.Source != test.source {
				t.Errorf("server %q, level %s, source %s", got, c.LogLevel, c.Source)
			}
			if managed := c.Source == SourceManaged; managed == (len(c.PolicyKeys) > 0) || managed == (c.DestructiveLimit.Count == 100) ||
				managed == (c.EnrollmentSecret != "") || managed == (c.Mode == ModeEnforce) {
				t.Errorf("mixed: %+v", shownValues(c))
			}
			var ignored []string
			for _, problem := range c.Problems {
				if problem.Code == protocol.CodeConfigMixedSource {
					ignored = append(ignored, problem.Key)
				}
			}
			if diff := cmp.Diff(test.ignored, ignored); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestH05_AnUnreadableProfileIsNotAMissingOne(t *testing.T) {
	t.Parallel()
	m := newMac(t)
	m.local(dict{"ServerURL": "https://local.example"})
	if err := os.WriteFile(m.paths.Managed, []byte("<plist"), 0o644); err != nil {
		t.Fatal(err)
	}
	c := loadNow(m.paths)
	if c.ServerURL != nil || c.Source != SourceNone {
		t.Errorf("server %v, source %s", c.ServerURL, c.Source)
	}
	if len(problemsOf(c, m.paths.Managed)) != 1 {
		t.Errorf("problems: %v", c.Problems)
	}
}

func TestH05_LocalFileMustBePrivate(t *testing.T) {
	t.Parallel()
	values := dict{"ServerURL": "https://local.example"}
	cases := []struct {
		name    string
		arrange func(m *mac)
		says    string
	}{
		{"readable by others", func(m *mac) { m.write(m.paths.Local, 0o644, values) }, "0644"},
		{"writable by the group", func(m *mac) { m.write(m.paths.Local, 0o620, values) }, "0620"},
		{"of another owner", func(m *mac) { m.local(values); m.paths.LocalOwner++ }, "another user"},
		{"a symbolic link", func(m *mac) {
			elsewhere := m.paths.Local + ".elsewhere"
			m.write(elsewhere, 0o600, values)
			if err := os.Symlink(elsewhere, m.paths.Local); err != nil {
				m.t.Fatal(err)
			}
		}, "symbolic link"},
		{"a folder", func(m *mac) {
			if err := os.Mkdir(m.paths.Local, 0o700); err != nil {
				m.t.Fatal(err)
			}
		}, "regular"},
	}
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			m := newMac(t)
			test.arrange(&m)
			c := loadNow(m.paths)
			problems := problemsOf(c, m.paths.Local)
			if c.ServerURL != nil || len(problems) != 1 || !strings.Contains(problems[0], test.says) {
				t.Errorf("server %v, problems %v", c.ServerURL, problems)
			}
		})
	}
}

func TestUnusableValuesAreReportedAndReplaced(t *testing.T) {
	t.Parallel()
	good, id := key(t)
	other, _ := key(t)
	short := dict{"KeyID": id, "PublicKey": []byte("short")}
	stranger := dict{"KeyID": id, "PublicKey": other["PublicKey"]}
	cases := []struct {
		name string
		key  string
		give any
		says string
		want string // Value in force
	}{
		{"http portal", "ServerURL", "http://portal.example", "expected https", ""},
		{"portal of wrong type", "ServerURL", 5, "found an integer, expected a string", ""},
		{"portal with a password", "ServerURL", "https://u:canary@portal.example", "user", ""},
		{"portal with a query", "ServerURL", "https://portal.example/?canary", "query", ""},
		{"portal without a host", "ServerURL", "https:///x", "host", ""},
		{"no URL at all", "ServerURL", "https://[canary", "no URL", ""},
		{"file content of another host", "ContentURL", "file://canary/content", "just a folder", ""},
		{"file content that climbs", "ContentURL", "file:///Library/../tmp/canary", "just a folder", ""},
		{"file content of a relative path", "ContentURL", "file:canary", "just a folder", ""},
		{"file content of everything", "ContentURL", "file:///", "just a folder", ""},
		{"file content with a query", "ContentURL", "file:///Library/x?canary", "just a folder", ""},
		{"a policy that is none", "Policy", []any{"canary"}, "a dictionary with a policy", "the last good one"},
		{"a policy with a hole", "Policy", dict{"schema": 1, "policy_id": "p", "revision": 1}, "name: it is mandatory", "the last good one"},
		{"a policy with data", "Policy", dict{"schema": 1, "vm_settings": dict{"other": dict{"network": []byte("canary")}}}, "vm_settings.other.network: it is data", "the last good one"},
		{"secret of wrong type", "EnrollmentSecret", []byte("canary"), "found data, expected a string", ""},
		{"secret too long", "EnrollmentSecret", strings.Repeat("canary", 999), "at most", ""},
		{"empty group", "Group", "", "expected 1 to 64", ""},
		{"group that is a path", "Group", "../canary", "expected 1 to 64", ""},
		{"group with a space", "Group", "two canaries", "expected 1 to 64", ""},
		{"group of wrong type", "Group", 7, "found an integer", ""},
		{"a command with an escape", "AllowedCommands", []any{"a\u202eb"}, "printable", ""},
		{"keys are no array", "PolicyKeys", "canary", "found a string, expected an array", ""},
		{"a key is no dictionary", "PolicyKeys", []any{good, "x"}, "element 2: found a string", id},
		{"a key is too short", "PolicyKeys", []any{short, good}, "element 1: PublicKey: found 5 bytes", id},
		{"a key of another id", "CommandKeys", []any{stranger}, "another key", ""},
		{"a key without id", "CommandKeys", []any{dict{"PublicKey": []byte("x")}}, "KeyID: found nothing", ""},
		{"a key as text", "CommandKeys", []any{dict{"KeyID": id, "PublicKey": "canary"}}, "PublicKey: found a string", ""},
		{"commands of wrong type", "AllowedCommands", true, "found a boolean", "inventory.refresh, policy.refresh"},
		{"a command of wrong type", "AllowedCommands", []any{"vm.lock", 1.5}, "element 2: found a real", "vm.lock"},
		{"threshold of wrong type", "CommandThreshold", 2, "found an integer, expected a dictionary", noneRun()},
		{"threshold as text", "CommandThreshold", dict{"vm.delete": "2"}, "vm.delete: found no number of keys, expected 1 to 16; commands of this type are not run", "vm.delete: not run"},
		{"threshold of nothing", "CommandThreshold", dict{"vm.delete": 0}, "vm.delete: found no number of keys", "vm.delete: not run"},
		{"threshold not whole", "CommandThreshold", dict{"vm.delete": 1.5}, "vm.delete: found no number of keys", "vm.delete: not run"},
		{"threshold of a misspelled type", "CommandThreshold", dict{"vm.delet": 2}, "expected vm.delete; until then none of that type is run", "vm.delete: not run"},
		{"threshold beyond the keys", "CommandThreshold", dict{"vm.lock": 2}, "vm.lock: found 2, with 0 in CommandKeys", "vm.lock: 2"},
		{"threshold twice", "CommandThreshold", dict{"vm.lock": 3, "VM.Lock": 2}, "vm.lock: found 3", "vm.lock: 3"},
		{"limit of wrong type", "DestructiveLimit", []any{}, "found an array", "4 in 24 hours"},
		{"limit out of range", "DestructiveLimit", dict{"Count": -1, "WindowHours": 1 << 40}, "out of range", "0 in 8760 hours"},
		{"limit not whole", "DestructiveLimit", dict{"Count": 1.5}, "Count: found a real", "4 in 24 hours"},
		{"certificate that is none", "ServerCertificates", []any{[]byte("canary")}, "no certificate", ""},
		{"unknown mode", "Mode", "canary", "expected one of monitor, enforce", "monitor"},
		{"mode of wrong type", "Mode", time.Now(), "found a date", "monitor"},
		{"proxy that is none", "Proxy", "canary", "no URL of a proxy", ""},
		{"gates as text", "VendorGates", "yes", "found a string, expected a boolean", "false"},
		{"unknown level", "LogLevel", "canary", "expected one of", "info"},
	}
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			m := newMac(t)
			m.managed(dict{test.key: test.give})
			c := loadNow(m.paths)
			problems := strings.Join(problemsOf(c, test.key), "\n")
			if !strings.Contains(problems, string(protocol.CodeConfigInvalid)) || !strings.Contains(problems, test.says) {
				t.Errorf("problems %q, want %q", problems, test.says)
			}
			if shown := strings.Contains(fmt.Sprint(c.Problems), "canary"); shown != valuesShown[test.name] {
				t.Errorf("the value is shown: %t, in %v", shown, c.Problems)
			}
			if got := shownValues(c)[test.key]; got != test.want {
				t.Errorf("in force %q, want %q", got, test.want)
			}
		})
	}
}

// valuesShown are the cases of the above whose value holds no secret: a person
// sees it, to find it in the profile.
var valuesShown = map[string]bool{
	"file content of another host": true, "file content that climbs": true, "file content of a relative path": true, "no URL at all": true, "group that is a path": true,
	"unknown mode": true, "unknown level": true, "proxy that is none": true,
}

// What is refused is shown as it was found, in one short line, and never with
// what may be a secret.
func TestRefusedValuesAreShown(t *testing.T) {
	t.Parallel()
	good, _ := key(t)
	cases := []struct {
		name  string
		key   string
		give  any
		shown string // "" = the problem ends with what was expected
	}{
		{"text", "Mode", "Enforced", `: "Enforced"`},
		{"a host without a scheme", "ServerURL", "portal.example/base", `: "portal.example/base"`},
		{"an integer", "ServerURL", 5, ": 5"},
		{"a real", "Group", 1.5, ": 1.5"},
		{"a boolean", "LogLevel", true, ": true"},
		{"data", "Group", []byte{1, 2, 3}, ": 3 bytes"},
		{"a date", "Mode", time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC), ": 2026-11-23T09:00:00Z"},
		{"an element", "AllowedCommands", []any{"vm.lock", "vm.delet"}, `element 2: found no type of command, expected vm.delete: "vm.delet"`},
		{"a number out of range", "DestructiveLimit", dict{"Count": -1}, "Count: out of range, 0 is used: -1"},
		{"what steers a terminal", "Mode", "a\u202eb", `: "a\u202eb"`},
		{"something long", "Mode", strings.Repeat("x", 1<<10), "xxxxxxxx…\""},
		{"a password in a URL", "ServerURL", "https://user:hush@portal.example/", `: "https://[secret]@portal.example/"`},
		{"a password in what is no URL", "Proxy", "user:hu/s@hush@proxy.example:3128", `: "[secret]@proxy.example:3128"`},
		{"a password behind a proxy", "Proxy", "http://proxy.example:3128 user=u password=hush", `: "[secret]"`},
		{"a password as a port", "Proxy", "proxy.example:hush", `: "[secret]"`},
		{"a password on both sides", "Proxy", "u:hush@proxy.example hush", `: "[secret]"`},
		{"a proxy of another kind", "Proxy", "socks5://proxy.example:1080", `: "socks5://proxy.example:1080"`},
		{"a dash in place of a hyphen", "ServerURL", "https://portal–eu.example", `: "https://portal–eu.example"`},
		{"a host with something invisible", "ServerURL", "https://portal\u200b.example/", `: "https://portal\u200b.example/"`},
		{"a query", "ServerURL", "https://portal.example/?hush", `: "https://portal.example/?[secret]"`},
		{"a fragment", "ServerURL", "https://portal.example/#hush", `: "https://portal.example/#[secret]"`},
		{"a secret", "EnrollmentSecret", 12345, "expected a string of at most 255 bytes"},
		{"a private key by mistake", "PolicyKeys", "hush", "expected an array"},
		{"a private key in place of a public one", "PolicyKeys", []any{dict{"KeyID": good["KeyID"], "PublicKey": "hush"}}, "expected data"},
		{"a key's id in the wrong place", "PolicyKeys", []any{dict{"KeyId": "x"}}, "KeyID: found nothing, expected a string; KeyId: not read, it is called KeyID"},
	}
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			m := newMac(t)
			m.managed(dict{test.key: test.give})
			problems := problemsOf(loadNow(m.paths), test.key)
			if len(problems) != 1 || !strings.HasSuffix(problems[0], test.shown) || strings.Contains(problems[0], "hush") || len(problems[0]) > 300 {
				t.Errorf("%q, want it to end with %q", problems, test.shown)
			}
		})
	}
}

// What people type and paste survives, where it can be told what is meant.
func TestTypedValuesSurvive(t *testing.T) {
	t.Parallel()
	good, id := key(t)
	typed := dict{"KeyID": " " + strings.ToUpper(id) + "\n", "PublicKey": good["PublicKey"]}
	der := certificateDER(t)
	asPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	cases := []struct {
		name string
		key  string
		give any
		want string
	}{
		{"blanks around a URL", "ServerURL", " https://portal.example/\n", "https://portal.example"},
		{"what comes along with a copy from a page", "ServerURL", "\ufeffhttps://portal.example\u00a0\u200b", "https://portal.example"},
		{"marks of a direction", "ServerURL", "\u200ehttps://portal.example/\u202c", "https://portal.example"},
		{"a host in other letters", "ServerURL", "https://m\u00fcller.example", "https://m%C3%BCller.example"},
		{"an address", "ServerURL", "https://[2001:db8::1]:8443/x", "https://[2001:db8::1]:8443/x"},
		{"upper case in a URL", "ServerURL", "HTTPS://Portal.Example/Base", "https://portal.example/Base"},
		{"blanks around a proxy", "Proxy", "\thttp://proxy.example:3128 ", "http://proxy.example:3128"},
		{"blanks around a group", "Group", " finance ", "finance"},
		{"upper case in a mode", "Mode", "Enforce ", "enforce"},
		{"upper case in a level", "LogLevel", "DEBUG", "debug"},
		{"upper case in a command", "AllowedCommands", []any{" VM.Delete"}, "vm.delete"},
		{"a command of a later version", "AllowedCommands", []any{"vm.paint"}, "vm.paint"},
		{"upper-case hex and a line end", "PolicyKeys", []any{typed}, id},
		{"a certificate as .pem", "ServerCertificates", []any{asPEM}, "CN=portal"},
		{"1 for true, as macOS takes it", "VendorGates", 1, "true"},
		{"0 for false", "VendorGates", 0, "false"},
		{"-1 for true", "VendorGates", -1, "true"},
	}
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			m := newMac(t)
			m.managed(dict{test.key: test.give})
			c := loadNow(m.paths)
			if got := shownValues(c)[test.key]; got != test.want || len(c.Problems) != 0 {
				t.Errorf("%q, problems %v; want %q", got, c.Problems, test.want)
			}
		})
	}
	m := newMac(t)
	m.managed(dict{"EnrollmentSecret": "canary\n"})
	if c := loadNow(m.paths); c.EnrollmentSecret.Reveal() != "canary" {
		t.Errorf("the secret has %d bytes", len(c.EnrollmentSecret.Reveal()))
	}
}

func TestPortsOutOfRangeAreRefused(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"ServerURL", "Proxy"} {
		for port, good := range map[string]bool{"1": true, "65535": true, "0": false, "65536": false} {
			m := newMac(t)
			m.managed(dict{name: "https://host.example:" + port})
			if problems := problemsOf(loadNow(m.paths), name); (len(problems) == 0) != good {
				t.Errorf("%s with port %s: %v", name, port, problems)
			}
		}
	}
}

func TestBadCertificatesNeverMeanSystemRoots(t *testing.T) {
	t.Parallel()
	for name, give := range map[string]any{"none": []any{}, "broken": []any{[]byte("x")}, "wrong type": "x"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMac(t)
			m.managed(dict{"ServerURL": "https://portal.example", "ServerCertificates": give})
			if c := loadNow(m.paths); c.ServerURL != nil || c.ContentURL != nil {
				t.Errorf("portal %v is used with the system's roots", c.ServerURL)
			}
		})
	}
}

func TestTimingCountsOnlyUnderRoot(t *testing.T) {
	t.Parallel()
	m := newMac(t)
	m.managed(dict{"Timing": dict{"Debounce": 0.05, "MinimumGap": 1, "BucketSize": 3, "RetryCap": 1e9, "Splay": "soon"}})
	if c := loadNow(m.paths); c.Timing != defaultConfig().Timing || len(c.Problems) != 0 {
		t.Errorf("without --root: %+v %v", c.Timing, c.Problems)
	}
	m.paths.Root = true
	c := loadNow(m.paths)
	if c.Timing.Debounce != 50*time.Millisecond || c.Timing.MinimumGap != time.Second || c.Timing.BucketSize != 3 ||
		c.Timing.RetryCap != 24*time.Hour || c.Timing.Splay != 5*time.Minute {
		t.Errorf("under --root: %+v", c.Timing)
	}
	if got := strings.Join(problemsOf(c, "Timing"), "\n"); !strings.Contains(got, "RetryCap: out of range, 86400") ||
		!strings.Contains(got, "Splay: found a string, expected a number") {
		t.Error(got)
	}
}

func TestFingerprintFollowsEveryKey(t *testing.T) {
	t.Parallel()
	trusted, _ := key(t)
	values := dict{
		"ServerURL": "https://portal.example", "ContentURL": "https://cdn.example", "EnrollmentSecret": "canary", "SiteID": "5b1f6c3e-8d0a-4c1b-9e57-0f6a2d3c4b5e", "Group": "x",
		"PolicyKeys": []any{trusted}, "CommandKeys": []any{trusted}, "CommandThreshold": dict{"vm.delete": 1}, "AllowedCommands": []any{}, "DestructiveLimit": dict{"Count": 1},
		"ServerCertificates": []any{certificateDER(t)}, "Mode": "enforce", "Proxy": "http://user:hush@proxy.example",
		"LogLevel": "warn", "Policy": dict{"schema": 1, "policy_id": "p", "revision": 1, "name": "n"}, "VendorGates": true, "AllowUnprovenLocks": true, "NotifyUsers": true, "ReportUserNames": false, "ReportComputerName": false, "Timing": dict{"Tick": 1},
	}
	m := newMac(t)
	m.paths.Root = true
	m.managed(values)
	before := loadNow(m.paths).Fingerprint()
	if again := loadNow(m.paths).Fingerprint(); again != before {
		t.Error("the same configuration has two fingerprints")
	}
	for _, row := range keyTable {
		fewer := dict{}
		for name, value := range values {
			if name != row.name {
				fewer[name] = value
			}
		}
		m.managed(fewer)
		if loadNow(m.paths).Fingerprint() == before {
			t.Errorf("%s does not change the fingerprint", row.name)
		}
	}
	values["Proxy"] = "http://user:other@proxy.example"
	m.managed(values)
	if loadNow(m.paths).Fingerprint() == before {
		t.Error("a new proxy password does not change the fingerprint")
	}
}

func TestSecretIsShownNowhere(t *testing.T) {
	t.Parallel()
	secret := Secret("canary")
	holder := struct{ S Secret }{secret}
	var shown bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%08b", "%!", "%t"} {
		fmt.Fprintf(&shown, verb+verb+verb+"\n", secret, holder, &holder)
	}
	encoded, err := json.Marshal(map[string]any{"a": secret, "b": &secret, "c": holder})
	if err != nil {
		t.Fatal(err)
	}
	shown.Write(encoded)
	log := zerolog.New(&shown)
	log.Info().Interface("a", secret).Interface("b", holder).Stringer("c", secret).Any("d", []Secret{secret}).Msgf("%v", secret)
	for _, leak := range []string{"canary", "63616e617279", "43414e415259"} {
		if strings.Contains(shown.String(), leak) {
			t.Errorf("%s in %s", leak, shown.String())
		}
	}
	if secret.Reveal() != "canary" {
		t.Error("Reveal does not reveal")
	}
}

func TestLogLevelOfAFlag(t *testing.T) {
	t.Parallel()
	c := loadNow(newMac(t).paths)
	if got := c.WithLogLevel("debug"); got.LogLevel != "debug" || len(got.Problems) != 0 {
		t.Errorf("%s %v", got.LogLevel, got.Problems)
	}
	if got := c.WithLogLevel(""); got.LogLevel != "info" {
		t.Error(got.LogLevel)
	}
	if got := c.WithLogLevel("loud"); got.LogLevel != "info" || len(problemsOf(got, "LogLevel")) != 1 {
		t.Errorf("%s %v", got.LogLevel, got.Problems)
	}
}

func TestTableOfKeysIsComplete(t *testing.T) {
	t.Parallel()
	for _, row := range keyTable {
		if row.name == "" || row.valueType == "" || !strings.HasSuffix(row.doc, ".") {
			t.Errorf("%+v", row)
		}
	}
}

// FuzzLoad feeds both files with anything; whatever comes out must be usable.
func FuzzLoad(f *testing.F) {
	seed, err := plist.EncodeXML(dict{"ServerURL": "https://portal.example", "PolicyKeys": []any{dict{"KeyID": "x"}},
		"DestructiveLimit": dict{"Count": 1e300}, "Timing": dict{"Tick": -5}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add([]byte("bplist00"))
	dir := f.TempDir()
	paths := Paths{Managed: filepath.Join(dir, "m.plist"), Local: filepath.Join(dir, "l.plist"), LocalOwner: uint32(os.Geteuid()), Root: true}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, path := range []string{paths.Managed, paths.Local} {
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		c := loadNow(paths)
		if c.ServerURL != nil && (c.ServerURL.Scheme != "https" || c.ContentURL == nil) {
			t.Errorf("server %v, content %v", c.ServerURL, c.ContentURL)
		}
		if c.Timing.Tick <= 0 || c.DestructiveLimit.WindowHours < 1 || c.Mode == "" {
			t.Errorf("%+v", c)
		}
	})
}

// noneRun is how a threshold shows that cannot be read at all.
func noneRun() string {
	names := protocol.CommandNames(func(*protocol.CommandType) bool { return true })
	slices.Sort(names)
	return strings.Join(names, ": not run, ") + ": not run"
}
