package cli

import (
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"prlagent/cmd/prlportal/site"
	"prlagent/platform/text"
)

func newInitCommand() *cobra.Command {
	var options site.Options
	command := &cobra.Command{
		Use:   "init DIR",
		Short: "Make a site: keys, certificate, enrollment secret, folders",
		Long: `Init makes two folders, each of which works alone:

  DIR/portal     what the server needs: the portal's certificate with its key, its
                 configuration and content, and later its database
  DIR/operator   what you keep: the private signing keys, the enrollment secret,
                 your admin token, and the portal's certificate to know it by

Put DIR/portal on the server, where 'prlportal serve' works in it; it needs nothing
else and refuses to start where it can read a signing key. All other commands run
with DIR/operator on your own machine.

The certificate is for the hosts that you name, and for localhost.`,
		Example: `  prlportal init site --host portal.example.com
  prlportal init site --host portal.example.com --host 192.0.2.7 --name "Example Org"`,
		Args: cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			options.Now = time.Now()
			options.PrimaryGroup, options.DefaultGroup = text.TypedWord(options.PrimaryGroup), text.TypedWord(options.DefaultGroup)
			var err error
			if options.Hosts, err = site.ParseHosts(options.Hosts); err != nil {
				return usageError("--host: " + err.Error())
			}
			if err := options.Validate(); err != nil {
				return usageError(err.Error())
			}
			made, err := options.Create(args[0])
			if err != nil {
				return err
			}
			return describeSite(command.OutOrStdout(), args[0], made, options.Now.Add(site.CertificateLifetime))
		},
	}
	flags := command.Flags()
	flags.StringVar(&options.Name, "name", "Example Org", "name of the organization")
	flags.StringSliceVar(&options.Hosts, "host", []string{"localhost", "127.0.0.1"}, "names and addresses under which agents reach the portal, the main one first")
	flags.StringVar(&options.PrimaryGroup, "group", "default", "primary group: of every Mac that no other group claims")
	flags.StringVar(&options.DefaultGroup, "secret-group", "", "group of the Macs that enroll with this secret and name none (default: the primary group)")
	return command
}

func describeSite(w io.Writer, dir string, config site.Config, certificateEnd time.Time) error {
	dir = text.Display(dir)
	portal, operator := filepath.Join(dir, site.PortalFolder), filepath.Join(dir, site.OperatorFolder)
	_, err := fmt.Fprintf(w, `Made the site "%s" (%s).

  %-28s goes to the server; 'prlportal backup' keeps a copy of it
  %-28s stays with you: signing keys, enrollment secret, admin token; back it up
  enrollment                   one secret, group %s
  certificate                  %s/%s, until %s

Next, on the server, away from %s:
  prlportal serve --dir %s --listen :%s
Next, with you, once it serves:
  prlportal profile --dir %s -o prlagent.mobileconfig
  prlportal devices --dir %s
`,
		text.Display(config.Name), config.SiteID, portal, operator, secretGroup(config),
		portal, site.CertificateFile, certificateEnd.Format(time.DateOnly),
		operator, site.PortalFolder, site.DefaultPort, operator, operator)
	return err
}

func secretGroup(config site.Config) string {
	if group := config.EnrollmentSecrets[0].DefaultGroup; group != "" {
		return group
	}
	return config.PrimaryGroup + " (primary)"
}
