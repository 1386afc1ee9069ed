package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"prlagent/cmd/prlportal/adminapi"
	"prlagent/cmd/prlportal/admins"
	"prlagent/cmd/prlportal/portaltest/hostile"
	"prlagent/cmd/prlportal/site"
)

func newSite(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if _, err := (site.Options{Name: "Example Org", Hosts: []string{"portal.example"}, PrimaryGroup: "default", Now: time.Now()}).Create(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Who gives one half of a site where the other one is needed is told which.
func TestTheOtherHalfOfASite(t *testing.T) {
	t.Parallel()
	dir := newSite(t)
	portal, operator := filepath.Join(dir, site.PortalFolder), filepath.Join(dir, site.OperatorFolder)
	for _, test := range []struct {
		args []string
		says string
	}{
		{[]string{"serve", "--dir", operator}, "is the operator's folder"},
		{[]string{"certificate", "--dir", operator}, "is the operator's folder"},
		{[]string{"certificate", "renew", "--dir", operator}, "is the operator's folder"},
		{[]string{"profile", "--offline", "-o", filepath.Join(t.TempDir(), "x"), "--dir", portal}, "is the portal's folder"},
		{[]string{"serve", "--dir", t.TempDir()}, "there is no site here"},
		{[]string{"certificate", "--dir", t.TempDir()}, "there is no site here"},
		{[]string{"serve", "--dir", portal, "--demo", "--listen", "8443"}, "give one as :8443"},
		{[]string{"serve", "--dir", portal, "--demo", "--listen", "localhost"}, "give one as :8443"},
	} {
		if _, said, code := console(t, test.args...); code != exitFailure || !strings.Contains(said, test.says) {
			t.Errorf("%v: %d, %s", test.args, code, said)
		}
	}
}

// A token that cannot be written is of an admin whom nobody can be: it is found
// out before.
func TestNobodyIsAddedWhoseTokenCannotBeWritten(t *testing.T) {
	t.Parallel()
	dir := newSite(t)
	linked := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink("/dev/null", linked); err != nil {
		t.Fatal(err)
	}
	for _, output := range []string{filepath.Join(t.TempDir(), "no", "such"), t.TempDir(), linked, "/dev/null"} {
		// Nothing answers there: who asks the portal first says that.
		_, said, code := console(t, "admins", "add", "alice", "--role", "viewer", "--dir", dir, "--url", "https://127.0.0.1:1", "-o", output)
		if code != exitFailure || !strings.Contains(said, "nobody was added") {
			t.Errorf("%s: %d, %s", output, code, said)
		}
	}
	kept := t.TempDir()
	if _, said, _ := console(t, "admins", "add", "alice", "--role", "viewer", "--dir", dir, "--url", "https://127.0.0.1:1", "-o", filepath.Join(kept, "x")); !strings.Contains(said, "nothing answers") {
		t.Errorf("where it can be written: %s", said)
	}
	if left, err := os.ReadDir(kept); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// H15: what a portal answers to who adds an admin steers no terminal either.
func TestH15_AnAdminThatAPortalMakesUp(t *testing.T) {
	t.Parallel()
	for _, evil := range hostile.Texts {
		for _, output := range []string{"", filepath.Join(t.TempDir(), "token")} {
			var out bytes.Buffer
			made := adminapi.NewAdmin{Admin: adminapi.Admin{Name: evil.Text, Role: admins.Role(evil.Text)}, Token: evil.Text}
			if err := reportAdmin(&out, made, output, false); err != nil {
				t.Fatal(err)
			}
			wantShown(t, "admins add "+evil.Name, 8<<10, out.String())
			if lines := strings.Count(out.String(), "\n"); lines != 2 {
				t.Errorf("%s: %d lines", evil.Name, lines)
			}
		}
	}
}

// Everybody who uses the portal is told of the end of its certificate, in time.
func TestEveryCommandTellsOfTheEndOfTheCertificate(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		daysLeft int
		isTold   bool
	}{{29, true}, {31, false}, {-1, true}} {
		dir := t.TempDir()
		made := time.Now().Add(time.Duration(test.daysLeft)*24*time.Hour - site.CertificateLifetime)
		if _, err := (site.Options{Name: "Example Org", Hosts: []string{"portal.example"}, PrimaryGroup: "default", Now: made}).Create(dir); err != nil {
			t.Fatal(err)
		}
		_, said, _ := console(t, "devices", "--dir", dir, "--url", "https://127.0.0.1:1")
		if strings.Contains(said, "certificate renew") != test.isTold {
			t.Errorf("%d days before: %s", test.daysLeft, said)
		}
	}
}
