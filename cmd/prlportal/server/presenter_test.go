package server

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"prlagent/cmd/prlportal/site"
)

func TestARunningPortalShowsARenewedCertificate(t *testing.T) {
	t.Parallel()
	dir, now := t.TempDir(), time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	if _, err := (site.Options{Name: "Example Org", Hosts: []string{"portal.example"}, PrimaryGroup: "default", Now: now}).Create(dir); err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(dir, site.PortalFolder)
	var log strings.Builder
	shown, err := newPresenter(folder, func() time.Time { return now }, zerolog.New(&log))
	if err != nil {
		t.Fatal(err)
	}
	show := func() *tls.Certificate {
		pair, err := shown.forClient(&tls.ClientHelloInfo{ServerName: "portal.example"})
		if err != nil || pair == nil {
			t.Fatalf("nothing is shown: %v", err)
		}
		return pair
	}
	first := show().Leaf
	if log.Len() > 0 {
		t.Errorf("at first the log has %s", log.String())
	}

	now = first.NotAfter.Add(-site.ExpiryWarning + time.Hour)
	for range 3 {
		show()
	}
	if said := log.String(); strings.Count(said, "ends soon") != 1 || !strings.Contains(said, "certificate renew") {
		t.Errorf("30 days before the end the log has %s", said)
	}
	if err := (site.Renewal{Now: now}).Renew(folder); err != nil {
		t.Fatal(err)
	}
	log.Reset()
	if now = now.Add(48 * time.Hour); !show().Leaf.Equal(first) || strings.Contains(log.String(), "ends soon") {
		t.Errorf("renewed: %s", log.String())
	}
	now = first.NotAfter.Add(-time.Hour)
	second := show().Leaf
	if second.Equal(first) {
		t.Error("the old one is shown to its end")
	}

	// What cannot be used leaves what was shown before.
	if err := os.WriteFile(filepath.Join(folder, site.NextCertificateFile), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if !show().Leaf.Equal(second) || !strings.Contains(log.String(), "cannot be used") {
		t.Errorf("after a broken file: %s", log.String())
	}
}
