package site

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"prlagent/platform/safefile"
)

// A portal has the certificate that it shows, tls.crt and tls.key, and while that
// is being replaced a next one, tls-next.pem. Macs trust nothing but what is in
// their profile, so that the next one must be in it before it is shown: serve
// shows the old one until it ends, and profiles have both.

// ExpiryWarning is how long before the end of the last certificate a person is
// told, here and on the Macs.
const ExpiryWarning = 30 * 24 * time.Hour

// certificateName is the common name of the certificates that are made here.
const certificateName = "prlportal"

// ServedPairs are the certificates of a portal's folder with their keys: the
// present one, then the next one, if there is one. What broke off between the
// files of the present one leaves the next one.
func ServedPairs(folder string) ([]tls.Certificate, error) {
	present, err := tls.LoadX509KeyPair(filepath.Join(folder, CertificateFile), filepath.Join(folder, TLSKeyFile))
	next, isThere, failed := nextPair(folder)
	switch {
	case failed != nil:
		return nil, failed
	case err != nil && !isThere:
		return nil, fmt.Errorf("load certificate: %w", err)
	case err != nil:
		return []tls.Certificate{next}, nil
	case !isThere:
		return []tls.Certificate{present}, nil
	}
	return []tls.Certificate{present, next}, nil
}

func nextPair(folder string) (pair tls.Certificate, isThere bool, err error) {
	data, err := safefile.ReadFile(filepath.Join(folder, NextCertificateFile), maxSiteFile)
	if errors.Is(err, fs.ErrNotExist) {
		return tls.Certificate{}, false, nil
	}
	if err == nil {
		pair, err = tls.X509KeyPair(data, data)
	}
	if err != nil {
		return tls.Certificate{}, false, fmt.Errorf("load the next certificate: %w", err)
	}
	return pair, true, nil
}

// ChoosePair is the certificate to show to a client that asks for the name, which
// is empty where it asks for an address. The present one is shown until it ends,
// but for names that only the next one has.
func ChoosePair(pairs []tls.Certificate, name string, now time.Time) *tls.Certificate {
	for i := range pairs {
		isLast := i == len(pairs)-1
		if isLast || !hasEnded(pairs[i].Leaf, now) && (name == "" || pairs[i].Leaf.VerifyHostname(name) == nil || pairs[i+1].Leaf.VerifyHostname(name) != nil) {
			return &pairs[i]
		}
	}
	return nil
}

// hasEnded reports whether a certificate should not be shown any more where there
// is a next one: a little before its end, because the clocks of Macs differ.
func hasEnded(certificate *x509.Certificate, now time.Time) bool {
	const clocksDiffer = 24 * time.Hour
	return now.After(certificate.NotAfter.Add(-clocksDiffer))
}

// TrustedCertificates are what a Mac must trust from now on, in DER: all that the
// portal of the folder shows and will show. No key is read.
func TrustedCertificates(folder string, now time.Time) ([][]byte, error) {
	trusted, err := LoadCertificates(filepath.Join(folder, CertificateFile))
	if err != nil {
		return nil, err
	}
	next, err := LoadCertificates(filepath.Join(folder, NextCertificateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return trusted, nil
	}
	if err != nil {
		return nil, err
	}
	if present, err := x509.ParseCertificate(trusted[0]); err == nil && now.After(present.NotAfter) {
		return next, nil
	}
	return append(trusted, next...), nil
}

// EncodeCertificates writes certificates in DER as PEM.
func EncodeCertificates(certificates [][]byte) []byte {
	var encoded []byte
	for _, der := range certificates {
		encoded = append(encoded, encodeCertificate(der)...)
	}
	return encoded
}

// ParseCertificates reads certificates in DER.
func ParseCertificates(certificates [][]byte) ([]*x509.Certificate, error) {
	parsed := make([]*x509.Certificate, 0, len(certificates))
	for _, der := range certificates {
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("parse certificate: %w", err)
		}
		parsed = append(parsed, certificate)
	}
	return parsed, nil
}

// EndOf is when the last of the certificates ends.
func EndOf(certificates []*x509.Certificate) (end time.Time) {
	for _, certificate := range certificates {
		if certificate.NotAfter.After(end) {
			end = certificate.NotAfter
		}
	}
	return end
}

// Renewal is how the certificate of a portal's folder is replaced.
type Renewal struct {
	Hosts []string // names and addresses; those of before where empty
	Now   time.Time
	// AtOnce shows the next certificate from now on, and not from the end of the
	// present one on. Macs whose profile does not have it lose the portal.
	AtOnce bool
}

// Errors of Renew.
var (
	errNotOurs  = errors.New("the certificate was not made by prlportal: put its renewal into tls.crt and tls.key, and profiles with it on the Macs before")
	errMainHost = errors.New("the certificate would not be for the host of the portal's own URL, at which Macs reach it: give that host too, or change \"url\" in config.json first")
	errWaiting  = errors.New("a next certificate waits already; put profiles with it on the Macs, or show it from now on with --now")
)

// Renew makes a next certificate for the portal of the folder. A portal that runs
// takes it up by itself.
func (r Renewal) Renew(folder string) error {
	pairs, err := ServedPairs(folder)
	if err != nil {
		return err
	}
	last := pairs[len(pairs)-1].Leaf
	if last.Subject.CommonName != certificateName || last.Issuer.CommonName != certificateName {
		return errNotOurs
	}
	_, waits, err := nextPair(folder)
	if err != nil {
		return err
	}
	if waits && (r.AtOnce || len(pairs) == 1 || hasEnded(pairs[0].Leaf, r.Now)) {
		if err := showNext(folder, pairs[len(pairs)-1]); err != nil || r.AtOnce {
			return err
		}
	} else if waits {
		return errWaiting
	}
	if err := r.makeNext(folder, last); err != nil || !r.AtOnce {
		return err
	}
	next, _, err := nextPair(folder)
	if err != nil {
		return err
	}
	return showNext(folder, next)
}

func (r Renewal) makeNext(folder string, last *x509.Certificate) error {
	hosts := r.Hosts
	if len(hosts) == 0 {
		hosts = HostsOf(last)
	} else if err := checkMainHost(folder, hosts); err != nil {
		return err
	}
	certificate, key, err := newCertificate(organizationOf(last), hosts, r.Now)
	if err != nil {
		return err
	}
	if err := safefile.WriteFile(filepath.Join(folder, NextCertificateFile), slices.Concat(certificate, key), 0o600); err != nil {
		return fmt.Errorf("write certificate: %w", err)
	}
	return nil
}

// checkMainHost holds that what Macs call the portal is among the hosts. They
// would lose it when the present certificate ends, long after the mistake.
func checkMainHost(folder string, hosts []string) error {
	config, err := LoadConfig(folder)
	if err != nil {
		return err
	}
	location, err := url.Parse(config.URL)
	if err != nil {
		return fmt.Errorf("%w: url is no URL", errConfig)
	}
	if main, err := parseHost(location.Hostname()); err != nil || !slices.Contains(append(slices.Clone(hosts), loopbackHosts...), main) {
		return fmt.Errorf("%w (%s)", errMainHost, location.Hostname())
	}
	return nil
}

func organizationOf(certificate *x509.Certificate) string {
	if len(certificate.Subject.Organization) == 0 {
		return certificateName
	}
	return certificate.Subject.Organization[0]
}

// showNext makes the next certificate the present one. The next one's own file
// goes last, so that one of the two is whole at any time.
func showNext(folder string, next tls.Certificate) error {
	key, err := encodeKey(next.PrivateKey)
	if err != nil {
		return err
	}
	for _, file := range []struct {
		name    string
		content []byte
	}{{TLSKeyFile, key}, {CertificateFile, encodeCertificate(next.Certificate[0])}} {
		if err := safefile.WriteFile(filepath.Join(folder, file.name), file.content, 0o600); err != nil {
			return fmt.Errorf("write %s: %w", file.name, err)
		}
	}
	if err := os.Remove(filepath.Join(folder, NextCertificateFile)); err != nil {
		return fmt.Errorf("remove %s: %w", NextCertificateFile, err)
	}
	return nil
}
