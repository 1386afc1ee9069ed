package portal

import (
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"prlagent/platform/text"
)

func newInitCommand() *cobra.Command {
	site := newSite{}
	command := &cobra.Command{
		Use:   "init DIR",
		Short: "Make a site: keys, certificate, enrollment secret, folders",
		Long: `Init makes DIR/portal, which 'prlportal serve' works in, and DIR/operator, which
holds the private signing keys and the enrollment secret. Keep DIR/operator on
the operator's machine: the portal never needs it.`,
		Args: cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			site.now = time.Now()
			if err := site.check(); err != nil {
				return usageError(err.Error())
			}
			made, err := site.make(args[0])
			if err != nil {
				return err
			}
			return describeSite(command.OutOrStdout(), args[0], made, site.now.Add(certificateLifetime))
		},
	}
	flags := command.Flags()
	flags.StringVar(&site.name, "name", "Example Org", "name of the organization")
	flags.StringSliceVar(&site.hosts, "host", []string{"localhost", "127.0.0.1"}, "names and addresses under which agents reach the portal, the main one first")
	flags.StringVar(&site.primaryGroup, "group", "default", "primary group: of every Mac that no other group claims")
	flags.StringVar(&site.defaultGroup, "secret-group", "", "group of the Macs that enroll with this secret and name none (default: the primary group)")
	return command
}

func describeSite(w io.Writer, dir string, config Config, certificateEnd time.Time) error {
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
		filepath.Join(dir, portalFolder), filepath.Join(dir, operatorFolder), secretGroup(config),
		dir, portalFolder, certificateFile, certificateEnd.Format(time.DateOnly),
		filepath.Join(dir, portalFolder), dir, dir)
	return err
}

func secretGroup(config Config) string {
	if group := config.EnrollmentSecrets[0].DefaultGroup; group != "" {
		return group
	}
	return config.PrimaryGroup + " (primary)"
}
