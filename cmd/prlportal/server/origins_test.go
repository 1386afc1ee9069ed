package server

import (
	"crypto/x509"
	"net"
	"testing"

	"prlagent/cmd/prlportal/site"
)

// The portal is reached at the names of its own certificate, at the port of its
// URL and at the one that it listens on, and nowhere else.
func TestH54_OwnOrigins(t *testing.T) {
	t.Parallel()
	certificate := &x509.Certificate{DNSNames: []string{"localhost", "Portal.Example"}, IPAddresses: []net.IP{net.ParseIP("192.0.2.7"), net.ParseIP("2001:db8::7")}}
	config := site.Config{URL: "https://localhost:8443"}
	config.Origins = ownOrigins(config, "https://127.0.0.1:41000", []*x509.Certificate{certificate})
	for origin, own := range map[string]bool{
		"https://localhost:8443": true, "https://portal.example:8443": true, "https://portal.example:41000": true, "https://192.0.2.7:41000": true,
		"https://127.0.0.1:41000": true, "https://2001:db8::7:8443": true,
		"https://portal.example:443": false, "https://127.0.0.1:8443": false, "https://evil.example:8443": false, "http://localhost:8443": false, "": false,
	} {
		if config.AcceptsOrigin(origin) != own {
			t.Errorf("%q: %t, want %t", origin, !own, own)
		}
	}
}

// Commands on the portal's own machine find it by a name that its certificate has.
func TestWhereThePortalIsReachedOnItsOwnMachine(t *testing.T) {
	t.Parallel()
	const public = "https://portal.example:8443"
	ours, theirs := &x509.Certificate{DNSNames: []string{"portal.example", "localhost"}}, &x509.Certificate{DNSNames: []string{"portal.example"}}
	for _, test := range []struct {
		listens     string
		certificate *x509.Certificate
		want        string
	}{
		{"0.0.0.0:8443", ours, "https://localhost:8443"},
		{"[::]:8443", ours, "https://localhost:8443"},
		{"[::]:8443", theirs, public},
		{"192.0.2.7:8443", ours, public},
		{"127.0.0.1:8443", ours, public},
	} {
		address, err := net.ResolveTCPAddr("tcp", test.listens)
		if err != nil {
			t.Fatal(err)
		}
		if got := localURL(address, public, []*x509.Certificate{test.certificate}); got != test.want {
			t.Errorf("%s with %v: %s, want %s", test.listens, test.certificate.DNSNames, got, test.want)
		}
	}
}
