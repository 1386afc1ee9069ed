package site_test

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"prlagent/cmd/prlportal/site"
)

var made = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// newPortal makes a site and gives its portal's folder.
func newPortal(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	options := site.Options{Name: "Example Org", Hosts: []string{"portal.example"}, PrimaryGroup: "default", Now: made}
	if _, err := options.Create(dir); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, site.PortalFolder)
}

func mustPairs(t *testing.T, folder string) []tls.Certificate {
	t.Helper()
	pairs, err := site.ServedPairs(folder)
	if err != nil {
		t.Fatal(err)
	}
	return pairs
}

func mustTrust(t *testing.T, folder string, now time.Time) []*x509.Certificate {
	t.Helper()
	trusted, err := site.TrustedCertificates(folder, now)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := site.ParseCertificates(trusted)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func TestTheCertificateCoversLoopback(t *testing.T) {
	t.Parallel()
	pair := mustPairs(t, newPortal(t))[0]
	for _, host := range []string{"portal.example", "localhost", "127.0.0.1", "::1"} {
		if err := pair.Leaf.VerifyHostname(host); err != nil {
			t.Error(err)
		}
	}
}

// A Mac trusts what its profile has: the present certificate is shown until a day
// before its end, profiles have both, and after the end the next one alone.
func TestARenewedCertificateIsShownWhenTheOldOneEnds(t *testing.T) {
	t.Parallel()
	folder := newPortal(t)
	later := made.Add(800 * 24 * time.Hour)
	if err := (site.Renewal{Now: later}).Renew(folder); err != nil {
		t.Fatal(err)
	}
	pairs := mustPairs(t, folder)
	if len(pairs) != 2 || !slices.Equal(site.HostsOf(pairs[0].Leaf), site.HostsOf(pairs[1].Leaf)) {
		t.Fatalf("%d certificates", len(pairs))
	}
	end := pairs[0].Leaf.NotAfter
	for _, test := range []struct {
		at            time.Time
		shown, trusts int
	}{{later, 0, 2}, {end.Add(-25 * time.Hour), 0, 2}, {end.Add(-23 * time.Hour), 1, 2}, {end.Add(time.Hour), 1, 1}} {
		if shown := site.ChoosePair(pairs, "portal.example", test.at); shown != &pairs[test.shown] {
			t.Errorf("%v: another one is shown", test.at)
		}
		trusted := mustTrust(t, folder, test.at)
		if len(trusted) != test.trusts || !slices.ContainsFunc(trusted, pairs[test.shown].Leaf.Equal) {
			t.Errorf("%v: a profile has %d", test.at, len(trusted))
		}
	}
	if err := (site.Renewal{Now: later}).Renew(folder); err == nil || !strings.Contains(err.Error(), "waits already") {
		t.Errorf("renewed again: %v", err)
	}
	second := end.Add(700 * 24 * time.Hour)
	if err := (site.Renewal{Now: second}).Renew(folder); err != nil {
		t.Fatal(err)
	}
	if again := mustPairs(t, folder); len(again) != 2 || !again[0].Leaf.Equal(pairs[1].Leaf) {
		t.Error("the second renewal does not begin with the certificate of the first")
	}
}

func TestRenewAtOnce(t *testing.T) {
	t.Parallel()
	folder := newPortal(t)
	before := mustPairs(t, folder)[0]
	if err := (site.Renewal{Now: made}).Renew(folder); err != nil {
		t.Fatal(err)
	}
	waiting := mustPairs(t, folder)[1]
	if err := (site.Renewal{Now: made, AtOnce: true}).Renew(folder); err != nil {
		t.Fatal(err)
	}
	if now := mustPairs(t, folder); len(now) != 1 || !now[0].Leaf.Equal(waiting.Leaf) {
		t.Error("the one that waited is not the present one")
	}
	if trusted := mustTrust(t, folder, made); len(trusted) != 1 || trusted[0].Equal(before.Leaf) {
		t.Error("the old one is trusted still")
	}
	if err := (site.Renewal{Now: made, AtOnce: true}).Renew(folder); err != nil {
		t.Fatal(err)
	}
	if now := mustPairs(t, folder); len(now) != 1 || now[0].Leaf.Equal(waiting.Leaf) {
		t.Error("nothing waited, and the certificate is the same")
	}
}

func TestANameThatOnlyTheNextCertificateHasGetsIt(t *testing.T) {
	t.Parallel()
	folder := newPortal(t)
	if err := (site.Renewal{Now: made, Hosts: []string{"portal.example", "new.example"}}).Renew(folder); err != nil {
		t.Fatal(err)
	}
	pairs := mustPairs(t, folder)
	for name, want := range map[string]int{"": 0, "portal.example": 0, "unknown.example": 0, "new.example": 1} {
		if site.ChoosePair(pairs, name, made) != &pairs[want] {
			t.Errorf("%q gets another one", name)
		}
	}
}

// Whatever files of a change are there, one of the two certificates is whole.
func TestAChangeOfTheCertificateThatBrokeOff(t *testing.T) {
	t.Parallel()
	folder := newPortal(t)
	if err := (site.Renewal{Now: made}).Renew(folder); err != nil {
		t.Fatal(err)
	}
	other := newPortal(t)
	key, err := os.ReadFile(filepath.Join(other, site.TLSKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, site.TLSKeyFile), key, 0o600); err != nil {
		t.Fatal(err)
	}
	if pairs := mustPairs(t, folder); len(pairs) != 1 {
		t.Errorf("%d certificates, want the next one alone", len(pairs))
	}
}

func TestOthersCertificatesAreNotRenewed(t *testing.T) {
	t.Parallel()
	folder := newPortal(t)
	pair := mustPairs(t, folder)[0]
	template := x509.Certificate{SerialNumber: pair.Leaf.SerialNumber, DNSNames: pair.Leaf.DNSNames, NotAfter: pair.Leaf.NotAfter}
	der, err := x509.CreateCertificate(nil, &template, &template, pair.Leaf.PublicKey, pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, site.CertificateFile), site.EncodeCertificates([][]byte{der}), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := (site.Renewal{Now: made}).Renew(folder); err == nil || !strings.Contains(err.Error(), "not made by prlportal") {
		t.Errorf("renewed: %v", err)
	}
}

// The next certificate is shown long after it was made: one without the name that
// Macs know would be found out when they have lost the portal.
func TestARenewalKeepsTheHostOfTheURL(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		hosts  []string
		isFine bool
	}{
		{nil, true},
		{[]string{"portal.example"}, true},
		{[]string{"other.example", "portal.example"}, true},
		{[]string{"other.example"}, false},
		{[]string{"192.0.2.7"}, false},
	} {
		folder := newPortal(t)
		err := (site.Renewal{Now: made, Hosts: test.hosts}).Renew(folder)
		if (err == nil) != test.isFine {
			t.Errorf("%v: %v", test.hosts, err)
		}
		if pairs := mustPairs(t, folder); (len(pairs) == 2) != test.isFine {
			t.Errorf("%v: there are %d certificates", test.hosts, len(pairs))
		}
	}
}
