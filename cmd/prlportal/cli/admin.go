package cli

import (
	"crypto/x509"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/adminapi"
	"prlagent/cmd/prlportal/site"
	"prlagent/platform/safefile"
)

// adminOptions say which portal an operator's command talks to.
type adminOptions struct {
	dir string
	url string
}

func (o *adminOptions) addFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.dir, "dir", ".", "the site's folder, made by init")
	flags.StringVar(&o.url, "url", "", "the portal's URL (default: where it listens, else as made by init)")
}

// portalURL is where the portal of this folder listens, or should.
func portalURL(folder string) (string, error) {
	listening, err := safefile.ReadFile(filepath.Join(folder, site.ListeningFile), protocol.MaxText)
	if err == nil {
		return strings.TrimSpace(string(listening)), nil
	}
	config, err := site.LoadConfig(folder)
	return config.URL, err
}

// openClient reads the admin token and the certificate from the portal's
// folder. The token goes to a portal with that very certificate and to no
// other.
func (o adminOptions) openClient() (*adminapi.Client, error) {
	folder := filepath.Join(o.dir, site.PortalFolder)
	if o.url == "" {
		var err error
		if o.url, err = portalURL(folder); err != nil {
			return nil, err
		}
	}
	base, err := url.Parse(o.url)
	if err != nil || base.Scheme != "https" || base.Host == "" {
		return nil, usageError("--url must be an https URL")
	}
	token, err := site.ReadSecret(filepath.Join(folder, site.AdminTokenFile))
	if err != nil {
		return nil, err
	}
	certificates, err := site.LoadCertificates(filepath.Join(folder, site.CertificateFile))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	for _, der := range certificates {
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("parse certificate: %w", err)
		}
		pool.AddCert(certificate)
	}
	return adminapi.NewClient(base, token, pool), nil
}
