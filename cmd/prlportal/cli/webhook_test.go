package cli

import (
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/portaltest"
	"prlagent/cmd/prlportal/site"
	"prlagent/cmd/prlportal/webhook"
	"prlagent/platform/text"
)

// SEC-25: an operator sets a webhook on the portal's machine, and a portal that runs
// takes it over, its change and its end; the secret is in one file with mode 0600, in
// the backup, and in nothing that is printed or logged.
func TestSEC25_AnOperatorSetsAWebhook(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "site")
	mustRun(t, "init", dir)
	address, log := servingWithLog(t, dir, "--demo", "--log-level", "debug")
	connect := []string{"--dir", dir, "--url", address}
	var printed strings.Builder
	run := func(wants string, args ...string) {
		t.Helper()
		out, err := prlportal(t, args...)
		printed.WriteString(out)
		if err != nil {
			printed.WriteString(err.Error())
			out += err.Error()
		}
		if !strings.Contains(out, wants) {
			t.Errorf("%v: %q, want %q", args, out, wants)
		}
	}
	asking := func(command string) []string { return append([]string{"webhook", command}, connect...) }
	var status atomic.Int32
	status.Store(http.StatusOK)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(int(status.Load())) }))
	defer receiver.Close()

	run("There is no webhook", asking("status")...)
	run("There is no webhook", asking("test")...)
	run("There is no webhook.", "webhook", "show", "--dir", dir)
	run("there is no webhook", "webhook", "rotate", "--dir", dir)
	run("there is no webhook", "webhook", "disable", "--dir", dir)
	run("begins with https://", "webhook", "set", "http://hooks.example/", "--dir", dir)
	run("begins with https://", "webhook", "set", "https://user:password@hooks.example/", "--dir", dir)
	run("Messages go to", "webhook", "set", receiver.URL+"/hook?token=x", "--dir", dir)
	run(receiver.URL+"/hook?token=x", "webhook", "show", "--dir", dir)
	run("has taken a test message (200)", asking("test")...)
	run("Waiting     0", asking("status")...)
	status.Store(http.StatusNotFound)
	run("has not taken the test message: it answered 404 Not Found", asking("test")...)

	secretFile := filepath.Join(dir, site.PortalFolder, site.WebhookSecretFile)
	secretsIn := func(path string) []string {
		t.Helper()
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Fields(string(data))
	}
	first := secretsIn(secretFile)
	run("Messages go to", "webhook", "set", receiver.URL+"/elsewhere", "--dir", dir)
	if got := secretsIn(secretFile); got[0] != first[0] {
		t.Error("another path of the same receiver has another secret")
	}
	run("Messages go to", "webhook", "set", "https://hooks.example/", "--dir", dir)
	if got := secretsIn(secretFile); len(got) != 1 || got[0] == first[0] {
		t.Error("another receiver has the secret of the one before")
	}
	run("Messages go to", "webhook", "set", receiver.URL, "--dir", dir)
	first = append(first, secretsIn(secretFile)...)
	run("signs as well until", "webhook", "rotate", "--dir", dir, "--overlap", "1h")
	run("signs as well until", "webhook", "show", "--dir", dir)
	run("Signatures  2, the second until", asking("status")...)
	run("still signs", "webhook", "rotate", "--dir", dir)
	run("signs no more", "webhook", "rotate", "--dir", dir, "--now")
	own := filepath.Join(t.TempDir(), "hook.secret")
	if err := os.WriteFile(own, []byte("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD\nmore\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run("Messages go to", "webhook", "set", receiver.URL, "--dir", dir, "--secret-file", own)
	if got := secretsIn(secretFile); len(got) != 1 || got[0] != "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD" {
		t.Error("the secret is another one than that of the file")
	}
	if err := os.WriteFile(own, []byte("whsec_dG9vIHNob3J0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run("base64 of 24 to 64 bytes", "webhook", "rotate", "--dir", dir, "--now", "--secret-file", own)
	for _, name := range []string{site.WebhookFile, site.WebhookSecretFile} {
		if info, err := os.Stat(filepath.Join(dir, site.PortalFolder, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	// A standby signs as the portal did.
	backup, standby := filepath.Join(t.TempDir(), "portal.backup"), filepath.Join(t.TempDir(), "standby")
	run("", append([]string{"backup", backup}, connect...)...)
	run("", "restore", backup, "--dir", standby)
	if _, err := site.LoadWebhook(site.ServedFolder(standby)); err != nil {
		t.Errorf("the standby: %v", err)
	}
	if err := os.WriteFile(secretFile, []byte("whsec_damaged\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run("cannot be used", asking("status")...)
	run("cannot be used", asking("test")...)
	run("give the secret with --secret-file", "webhook", "set", receiver.URL, "--dir", dir)
	run("No messages are sent any more.", "webhook", "disable", "--dir", dir)
	run("There is no webhook", asking("status")...)
	if _, err := os.Stat(secretFile); !os.IsNotExist(err) {
		t.Errorf("the secret is still there: %v", err)
	}
	all := printed.String() + log.String()
	for _, secret := range append(first, "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "whsec_dG9vIHNob3J0", "whsec_damaged") {
		for _, spelling := range append(text.Spellings(secret), text.Spellings(strings.TrimPrefix(secret, "whsec_"))...) {
			if strings.Contains(strings.ToLower(all), strings.ToLower(spelling)) {
				t.Errorf("a secret is printed as %q", spelling)
			}
		}
	}
	if strings.Contains(log.String(), "token=x") {
		t.Error("the log has the receiver's URL")
	}
	err := filepath.WalkDir(filepath.Join(dir, site.OperatorFolder), func(path string, entry fs.DirEntry, err error) error {
		if err == nil && strings.HasPrefix(entry.Name(), "webhook") {
			t.Errorf("the operator's folder has %s", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// The page of the webhook's status.
func TestWebhookStatusPage(t *testing.T) {
	t.Parallel()
	at := portaltest.Morning
	words := protocol.CodeWebhookUndelivered.Text()
	var out strings.Builder
	if err := printWebhookStatus(&out, webhook.Status{
		Configured: true, Receiver: "https://hooks.example", Signatures: 2, OverlapUntil: at.Add(time.Hour), Queued: 3, OldestAt: at.Add(-2 * time.Hour),
		Sent: 12, SentAt: at.Add(-3 * time.Hour), Dropped: webhook.Dropped{Full: 1, Expired: 2}, Failures: 40, FailedAt: at, LastError: "it answered 502 Bad Gateway",
		RetryAt: at.Add(time.Minute), Condition: &webhook.Trouble{Code: protocol.CodeWebhookUndelivered, Text: words.Text, Remedy: words.Remedy},
	}, time.UTC); err != nil {
		t.Fatal(err)
	}
	const want = `Receiver    https://hooks.example
Signatures  2, the second until 2026-11-23 10:00 UTC
Waiting     3, the oldest since 2026-11-23 07:00 UTC
Sent        12, the last 2026-11-23 06:00 UTC
Dropped     1 for want of room, 2 after a day, 0 when it was disabled
Last error  it answered 502 Bad Gateway, 2026-11-23 09:00 UTC
Failing     40 attempts in a row, the next 2026-11-23 09:01 UTC
`
	if out.String() != want {
		t.Errorf("got\n%s", out.String())
	}
}
