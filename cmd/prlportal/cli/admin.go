package cli

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/adminapi"
	"prlagent/cmd/prlportal/site"
	"prlagent/platform/safefile"
	"prlagent/platform/text"
)

// adminOptions say which portal an operator's command talks to, as whom, and what
// certificate it must show. All three have defaults in either of a site's folders,
// so that a command runs on the operator's machine and on the portal's.
type adminOptions struct {
	dir         string
	url         string
	tokenFile   string
	certificate string

	command *cobra.Command
}

func (o *adminOptions) addFlags(command *cobra.Command) {
	o.command = command
	flags := command.Flags()
	flags.StringVar(&o.dir, "dir", ".", "the operator's folder, the portal's, or the one that has both, made by init")
	flags.StringVar(&o.url, "url", "", "the portal's URL (default: where it listens on this machine, else as made by init)")
	flags.StringVar(&o.tokenFile, "token-file", "", "file with your admin token (default: "+site.AdminTokenFile+" of the operator's folder, else the portal's own while it runs)")
	flags.StringVar(&o.certificate, "certificate", "", "PEM file with what the portal's certificate must be (default: that of the folder)")
}

// openClient finds URL, token and certificate. The token goes to a portal with
// that very certificate and to no other.
func (o adminOptions) openClient() (*adminapi.Client, error) {
	base, err := o.portalURL()
	if err != nil {
		return nil, err
	}
	token, err := o.readToken()
	if err != nil {
		return nil, err
	}
	trusted, err := o.trusted()
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	for _, certificate := range trusted {
		pool.AddCert(certificate)
	}
	if err := site.CheckCovered(base, trusted); err != nil {
		return nil, usageError("--url: " + err.Error())
	}
	o.warnOfEnd(trusted)
	return adminapi.NewClient(base, token, pool), nil
}

// portalURL is what the flag says, or where the portal of this machine listens, or
// what init was told.
func (o adminOptions) portalURL() (*url.URL, error) {
	if typed := text.TrimTyped(o.url); typed != "" || o.command.Flags().Changed("url") {
		location, err := site.ParseURL(typed)
		if err != nil {
			return nil, usageError("--url: " + err.Error())
		}
		return location, nil
	}
	known, err := o.knownURL()
	if err != nil {
		return nil, err
	}
	location, err := site.ParseURL(known)
	if err != nil {
		return nil, fmt.Errorf("read the portal's URL: %w", err)
	}
	return location, nil
}

func (o adminOptions) knownURL() (string, error) {
	if folder, isThere := site.FindPortal(o.dir); isThere {
		listening, err := safefile.ReadFile(filepath.Join(folder, site.ListeningFile), protocol.MaxText)
		if err == nil {
			return strings.TrimSpace(string(listening)), nil
		}
		config, err := site.LoadConfig(folder)
		return config.URL, err
	}
	folder, isThere := site.FindOperator(o.dir)
	if !isThere {
		return "", o.noFolder("--url")
	}
	operator, err := site.LoadOperatorSite(folder)
	return operator.URL, err
}

// noFolder says what is missing where no folder of a site was given.
func (o adminOptions) noFolder(flag string) error {
	return usageError(fmt.Sprintf("there is no site in %s; name its folder with --dir, give %s, or make a site with 'prlportal init'", text.DisplayValue(o.dir), flag))
}

// readToken prefers the operator's own token to that of the machine.
func (o adminOptions) readToken() (string, error) {
	if o.tokenFile != "" {
		return site.ReadSecret(o.tokenFile)
	}
	var tried error = o.noFolder("--token-file")
	for _, place := range []struct {
		find func(string) (string, bool)
		name string
	}{{site.FindOperator, site.AdminTokenFile}, {site.FindPortal, site.LocalTokenFile}, {site.FindPortal, site.AdminTokenFile}} {
		folder, isThere := place.find(o.dir)
		if !isThere {
			continue
		}
		token, err := site.ReadSecret(filepath.Join(folder, place.name))
		if err == nil {
			return token, nil
		}
		tried = err
	}
	if errors.As(tried, new(usageError)) {
		return "", tried
	}
	return "", fmt.Errorf("find an admin token: %w; start the portal with 'prlportal serve', or give yours with --token-file", tried)
}

// trusted are the certificates that the portal may show.
func (o adminOptions) trusted() ([]*x509.Certificate, error) {
	certificates, err := o.trustedDER()
	if err != nil {
		return nil, err
	}
	return site.ParseCertificates(certificates)
}

func (o adminOptions) trustedDER() ([][]byte, error) {
	if o.certificate != "" {
		return site.LoadCertificates(o.certificate)
	}
	if folder, isThere := site.FindPortal(o.dir); isThere {
		return site.TrustedCertificates(folder, time.Now())
	}
	folder, isThere := site.FindOperator(o.dir)
	if !isThere {
		return nil, o.noFolder("--certificate")
	}
	return site.LoadCertificates(filepath.Join(folder, site.TrustFile))
}

// warnOfEnd tells an operator of the end that the Macs will see.
func (o adminOptions) warnOfEnd(trusted []*x509.Certificate) {
	if end := site.EndOf(trusted); time.Until(end) < site.ExpiryWarning {
		fmt.Fprint(o.command.ErrOrStderr(), text.Complaint("prlportal", fmt.Errorf("the portal's certificate ends on %s", end.Format(time.DateOnly)),
			"On the server: prlportal certificate renew. Then 'prlportal profile', and the profile on every Mac."))
	}
}
