package site_test

import (
	"crypto/x509"
	"net"
	"slices"
	"strings"
	"testing"

	"prlagent/cmd/prlportal/site"
)

func TestHostsAreNamesOrAddresses(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		typed []string
		want  []string
		says  string
	}{
		{typed: []string{"portal.example.com", "192.0.2.7"}, want: []string{"portal.example.com", "192.0.2.7"}},
		{typed: []string{" Portal.Example.COM. ", "portal.example.com"}, want: []string{"portal.example.com"}},
		{typed: []string{"[2001:db8::7]", "2001:DB8:0::7"}, want: []string{"2001:db8::7"}},
		{typed: []string{"mac_lab", "localhost"}, want: []string{"mac_lab", "localhost"}},
		{typed: nil, says: "portal.example.com"},
		{typed: []string{""}, says: "a blank is no host"},
		{typed: []string{"portal.example.com", "  "}, says: "a blank is no host"},
		{typed: []string{"https://portal.example.com:8443/x"}, says: "is a URL; give the name alone: portal.example.com"},
		{typed: []string{"portal.example.com/"}, says: "is a URL; give the name alone: portal.example.com"},
		{typed: []string{"portal.example.com:8443"}, says: "give the name alone: portal.example.com"},
		{typed: []string{"[2001:db8::7]:8443"}, says: "give the name alone: 2001:db8::7"},
		{typed: []string{"0.0.0.0"}, says: "no address that a Mac can reach"},
		{typed: []string{"192.0.2.999"}, says: "no name and no address"},
		{typed: []string{"por tal"}, says: "no name and no address"},
		{typed: []string{"*.example.com"}, says: "no name and no address"},
		{typed: []string{"-portal"}, says: "no name and no address"},
		{typed: []string{strings.Repeat("a", 64) + ".example"}, says: "no name and no address"},
	} {
		hosts, err := site.ParseHosts(test.typed)
		if test.says == "" && (err != nil || !slices.Equal(hosts, test.want)) {
			t.Errorf("%q: %q, %v, want %q", test.typed, hosts, err, test.want)
		}
		if test.says != "" && (err == nil || !strings.Contains(err.Error(), test.says)) {
			t.Errorf("%q: %q, %v, want an error with %q", test.typed, hosts, err, test.says)
		}
	}
}

func TestURLsHaveOneForm(t *testing.T) {
	t.Parallel()
	for typed, want := range map[string]string{
		"https://Portal.Example.com:8443/": "https://portal.example.com:8443",
		"https://portal.example.com/mac":   "https://portal.example.com/mac",
	} {
		if location, err := site.ParseURL(typed); err != nil || location.String() != want {
			t.Errorf("%q: %v, %v, want %s", typed, location, err, want)
		}
	}
	for typed, says := range map[string]string{
		"":                             "a blank is no URL",
		"portal.example.com:8443":      "give it as https://portal.example.com:8443",
		"portal.example.com":           "give it as https://portal.example.com",
		"http://portal.example.com":    "give it as https://portal.example.com:8443",
		"https://":                     "no https URL",
		"https://u:p@portal.example":   "has a user",
		"https://portal.example/?a=b":  "has a user, a query",
		"https://por%20tal.example":    "https URL",
		"https://portal_.example..com": "no name and no address",
		"https://portal.example:0":     "the port of",
		"https://portal.example:65536": "the port of",
		"https://portal.example:":      "the port of",
		"https://[::1]:":               "the port of",
		"https://0.0.0.0:8443":         "no name and no address",
	} {
		if location, err := site.ParseURL(typed); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, %v, want an error with %q", typed, location, err, says)
		}
	}
	if _, err := site.ParseURL("https://alice:hunter2@portal.example"); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a password that was typed: %v", err)
	}
}

func TestAURLThatTheCertificateLacksIsRefused(t *testing.T) {
	t.Parallel()
	ours := &x509.Certificate{DNSNames: []string{"portal.example"}, IPAddresses: []net.IP{net.ParseIP("192.0.2.7")}}
	next := &x509.Certificate{DNSNames: []string{"other.example"}}
	for typed, want := range map[string]bool{
		"https://portal.example:8443": true, "https://192.0.2.7": true, "https://other.example": true, "https://third.example": false,
	} {
		location, err := site.ParseURL(typed)
		if err != nil {
			t.Fatal(err)
		}
		err = site.CheckCovered(location, []*x509.Certificate{ours, next})
		if (err == nil) != want {
			t.Errorf("%s: %v", typed, err)
		}
		if err != nil && !strings.Contains(err.Error(), "portal.example, 192.0.2.7, other.example") {
			t.Errorf("%s: the right forms are not in %v", typed, err)
		}
		if err != nil && !strings.HasSuffix(err.Error(), "renew --host portal.example --host 192.0.2.7 --host other.example --host third.example") {
			t.Errorf("%s: who does as it says loses a name: %v", typed, err)
		}
		if err := site.CheckCovered(location, []*x509.Certificate{{IsCA: true}}); err != nil {
			t.Errorf("%s: a certificate that signs others: %v", typed, err)
		}
	}
}
