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
		Long: `Init makes DIR/portal, which 'prlportal serve' works in, and DIR/operator, which
holds the private signing keys and the enrollment secret. Keep DIR/operator on
the operator's machine: the portal never needs it.`,
		Args: cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			options.Now = time.Now()
			options.PrimaryGroup, options.DefaultGroup = text.TypedWord(options.PrimaryGroup), text.TypedWord(options.DefaultGroup)
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
	_, err := fmt.Fprintf(w, `Made the site "%s" (%s).

  %-28s what the portal serves from; back it up
  %-28s signing keys and the enrollment secret; keep it to yourself
  enrollment                   one secret, group %s
  certificate                  %s/%s/%s, until %s

Next:
  prlportal serve --dir %s
  prlportal profile --dir %s -o prlagent.mobileconfig
  prlportal devices --dir %s
`,
		text.Display(config.Name), config.SiteID,
		filepath.Join(dir, site.PortalFolder), filepath.Join(dir, site.OperatorFolder), secretGroup(config),
		dir, site.PortalFolder, site.CertificateFile, certificateEnd.Format(time.DateOnly),
		filepath.Join(dir, site.PortalFolder), dir, dir)
	return err
}

func secretGroup(config site.Config) string {
	if group := config.EnrollmentSecrets[0].DefaultGroup; group != "" {
		return group
	}
	return config.PrimaryGroup + " (primary)"
}
