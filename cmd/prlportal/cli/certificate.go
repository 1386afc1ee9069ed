package cli

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"prlagent/cmd/prlportal/site"
	"prlagent/platform/text"
)

func newCertificateCommand() *cobra.Command {
	var dir string
	command := &cobra.Command{
		Use:   "certificate --dir DIR",
		Short: "Show the portal's certificate and when it ends, or renew it",
		Long: `Certificate shows the certificate that the portal shows, and the next one, if one
waits: names, end and SHA-256, by which they are compared on another machine. It
exits with 1 if the last of them ends within 30 days.`,
		Example: "  prlportal certificate --dir site/portal\n  prlportal certificate renew --dir site/portal",
		Args:    cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			trusted, err := portalCertificates(dir)
			if err != nil {
				return err
			}
			if err := describeCertificates(command.OutOrStdout(), trusted); err != nil {
				return err
			}
			if end := site.EndOf(trusted); time.Until(end) < site.ExpiryWarning {
				return fmt.Errorf("the certificate ends on %s; run 'prlportal certificate renew'", end.Format(time.DateOnly))
			}
			return nil
		},
	}
	addPortalDir(command, &dir)
	command.AddCommand(newRenewCommand())
	return command
}

func addPortalDir(command *cobra.Command, dir *string) {
	command.Flags().StringVar(dir, "dir", site.PortalFolder, "the portal's folder, or its site's, made by init")
}

func portalCertificates(dir string) ([]*x509.Certificate, error) {
	folder, isThere := site.FindPortal(dir)
	if !isThere {
		return nil, site.NoSite(dir, site.ConfigFile)
	}
	certificates, err := site.TrustedCertificates(folder, time.Now())
	if err != nil {
		return nil, err
	}
	return site.ParseCertificates(certificates)
}

func newRenewCommand() *cobra.Command {
	var dir string
	var renewal site.Renewal
	command := &cobra.Command{
		Use:   "renew --dir DIR",
		Short: "Make the certificate that replaces the portal's own",
		Long: `Renew makes a next certificate, on the server. The portal goes on showing the
present one until a day before its end; until then, profiles have both. So nobody
loses the portal: renew, make profiles with 'prlportal profile', put them on the
Macs, and the rest happens by itself. A portal that runs needs no new start, but
for names that it did not have.

With --now the portal shows the next certificate from now on (the one that waits,
or a new one): when every Mac has the new profile, or when somebody else has the
present key. Macs without the new profile do not connect any more.`,
		Example: `  prlportal certificate renew --dir site/portal
  prlportal certificate renew --dir site/portal --host portal.example.com --host 192.0.2.7
  prlportal certificate renew --dir site/portal --now`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return renew(command.OutOrStdout(), dir, renewal)
		},
	}
	addPortalDir(command, &dir)
	flags := command.Flags()
	flags.StringSliceVar(&renewal.Hosts, "host", nil, "names and addresses of the next certificate, beside those of loopback (default: those of the present one)")
	flags.BoolVar(&renewal.AtOnce, "now", false, "show the next certificate from now on")
	return command
}

func renew(w io.Writer, dir string, renewal site.Renewal) error {
	folder, isThere := site.FindPortal(dir)
	if !isThere {
		return site.NoSite(dir, site.ConfigFile)
	}
	renewal.Now = time.Now()
	if len(renewal.Hosts) > 0 {
		var err error
		if renewal.Hosts, err = site.ParseHosts(renewal.Hosts); err != nil {
			return usageError("--host: " + err.Error())
		}
	}
	if err := renewal.Renew(folder); err != nil {
		return err
	}
	trusted, err := portalCertificates(dir)
	if err != nil {
		return err
	}
	if err := describeCertificates(w, trusted); err != nil {
		return err
	}
	_, err = fmt.Fprint(w, "\nNext, on the operator's machine: 'prlportal profile', and the profile on every Mac.\n")
	return err
}

// describeCertificates shows certificates, the present one first.
func describeCertificates(w io.Writer, certificates []*x509.Certificate) error {
	for i, certificate := range certificates {
		which := "shown"
		if i > 0 {
			which = "next"
		}
		_, err := fmt.Fprintf(w, "%-6s until %s, SHA-256 %s\n       for %s\n", which, certificate.NotAfter.Format(time.DateOnly), fingerprint(certificate), text.DisplayValue(strings.Join(site.HostsOf(certificate), ", ")))
		if err != nil {
			return err
		}
	}
	return nil
}

// fingerprint is what two people compare.
func fingerprint(certificate *x509.Certificate) string {
	sum := sha256.Sum256(certificate.Raw)
	return hex.EncodeToString(sum[:])
}
