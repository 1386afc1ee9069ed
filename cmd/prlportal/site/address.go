package site

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// loopbackHosts are in every certificate that is made here: what the portal is
// called on its own machine, where its operator's commands reach it.
var loopbackHosts = []string{"localhost", "127.0.0.1", "::1"}

// hostLabel is one part of a name (RFC 1123, with the underscore that internal
// names have).
var hostLabel = regexp.MustCompile(`^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?$`)

// ParseHosts reads the names and addresses of a certificate as people type them.
// Its errors say the right form.
func ParseHosts(typed []string) ([]string, error) {
	var hosts []string
	for _, one := range typed {
		host, err := parseHost(one)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	if len(hosts) == 0 {
		return nil, errors.New("give a name or an address, as portal.example.com or 192.0.2.7")
	}
	return hosts, nil
}

func parseHost(typed string) (string, error) {
	host := strings.ToLower(strings.TrimSpace(typed))
	switch {
	case host == "":
		return "", errors.New("a blank is no host; give a name or an address, as portal.example.com or 192.0.2.7")
	case strings.ContainsAny(host, "/?#@"):
		return "", formError(typed, "is a URL", hostOfURL(host))
	}
	if address, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		if address.IsUnspecified() || address.Zone() != "" {
			return "", fmt.Errorf("%q is no address that a Mac can reach; give one that it can, as 192.0.2.7", typed)
		}
		return address.String(), nil
	}
	if name, port, err := net.SplitHostPort(host); err == nil && port != "" {
		return "", formError(typed, "has a port, which belongs to serve --listen and to --url", name)
	}
	if host = strings.TrimSuffix(host, "."); !isHostName(host) {
		return "", fmt.Errorf("%q is no name and no address; give one, as portal.example.com or 192.0.2.7", typed)
	}
	return host, nil
}

// formError says what is wrong with a host and, where it can be told, how it
// would be right.
func formError(typed, wrong, right string) error {
	if _, err := parseHost(right); err != nil || right == "" {
		right = "portal.example.com"
	}
	return fmt.Errorf("%q %s; give the name alone: %s", typed, wrong, right)
}

func hostOfURL(typed string) string {
	if !strings.Contains(typed, "://") {
		typed = "https://" + typed
	}
	location, err := url.Parse(typed)
	if err != nil {
		return ""
	}
	return location.Hostname()
}

func isHostName(host string) bool {
	labels := strings.Split(host, ".")
	last := labels[len(labels)-1]
	if len(host) > 253 || strings.Trim(last, "0123456789") == "" {
		return false // a last label of digits makes it an address, which it is not
	}
	return !slices.ContainsFunc(labels, func(label string) bool { return !hostLabel.MatchString(label) })
}

// ParseURL reads a portal's URL as the agent would, which also accepts a path: a
// proxy can have one. Its errors say the right form.
func ParseURL(typed string) (*url.URL, error) {
	const form = "give it as https://portal.example.com:8443"
	location, err := url.Parse(typed)
	switch {
	case strings.TrimSpace(typed) == "":
		return nil, errors.New("a blank is no URL; " + form)
	case err != nil || location.Scheme != "https" || location.Host == "":
		if host := hostOfURL(typed); !strings.Contains(typed, "://") && host != "" {
			return nil, fmt.Errorf("%q has no scheme; give it as https://%s", typed, typed)
		}
		return nil, fmt.Errorf("%q is no https URL; %s", typed, form)
	case location.User != nil || location.RawQuery != "" || location.Fragment != "":
		return nil, fmt.Errorf("%q has a user, a query or a fragment; %s", location.Redacted(), form)
	case !isPort(location):
		return nil, fmt.Errorf("the port of %q is no number from 1 to 65535; %s", typed, form)
	}
	if _, err := parseHost(location.Hostname()); err != nil {
		return nil, fmt.Errorf("the host of %q is no name and no address; %s", typed, form)
	}
	location.Host = strings.ToLower(location.Host)
	location.Path = strings.TrimRight(location.Path, "/")
	return location, nil
}

// isPort reports whether the URL has a port that can be reached, or none.
func isPort(location *url.URL) bool {
	if location.Port() == "" {
		return !strings.HasSuffix(location.Host, ":")
	}
	port, err := strconv.ParseUint(location.Port(), 10, 16)
	return err == nil && port > 0
}

// CheckCovered says which names there are instead where none of the certificates
// is for the URL's host. One that signs others may have signed one for it.
func CheckCovered(location *url.URL, certificates []*x509.Certificate) error {
	var names []string
	for _, certificate := range certificates {
		if certificate.IsCA || certificate.VerifyHostname(location.Hostname()) == nil {
			return nil
		}
		for _, name := range HostsOf(certificate) {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	// A renewal has the names that it is given and no other.
	wanted := append(slices.DeleteFunc(slices.Clone(names), func(name string) bool { return slices.Contains(loopbackHosts, name) }), location.Hostname())
	return fmt.Errorf("the portal's certificate is not for %s but for %s; use one of these, or add the name on the server: prlportal certificate renew --host %s",
		location.Hostname(), strings.Join(names, ", "), strings.Join(wanted, " --host "))
}

// HostsOf are the names and addresses of a certificate.
func HostsOf(certificate *x509.Certificate) []string {
	hosts := slices.Clone(certificate.DNSNames)
	for _, address := range certificate.IPAddresses {
		hosts = append(hosts, address.String())
	}
	return hosts
}
