package cli

import (
	"fmt"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"prlagent/cmd/prlportal/httpapi"
	"prlagent/cmd/prlportal/server"
	"prlagent/cmd/prlportal/site"
)

func newServeCommand() *cobra.Command {
	var options server.Options
	var logLevel string
	command := &cobra.Command{
		Use:   "serve --dir DIR/portal",
		Short: "Run the portal",
		Long: `Serve answers agents and the operator's commands until SIGTERM or an interrupt.
Its log is JSON lines on standard error; standard output gets one line with the
portal's URL when it is ready.

It does not start where it can read a private signing key, in its own folder or in
the operator's beside it, as init makes them: whoever takes the portal over could
sign policies with it. Keep DIR/operator on the operator's machine, or run serve as
an account that cannot open it. --demo serves all the same, to try things.`,
		Example: `  sudo -u prlportal prlportal serve --dir /srv/portal --listen :8443
  prlportal serve --dir site/portal --demo`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			level, err := zerolog.ParseLevel(logLevel)
			if err != nil {
				return usageError("--log-level is one of debug, info, warn, error")
			}
			log := httpapi.NewLog(command.ErrOrStderr(), level)
			options.Folder, options.Version = site.ServedFolder(options.Folder), programVersion()
			return server.Serve(command.Context(), options, log, func(address string) error {
				_, err := fmt.Fprintln(command.OutOrStdout(), "prlportal serves", address)
				return err
			})
		},
	}
	flags := command.Flags()
	flags.StringVar(&options.Folder, "dir", site.PortalFolder, "the portal's folder, or its site's, made by init")
	flags.StringVar(&options.Listen, "listen", "127.0.0.1:"+site.DefaultPort, "address and port; port 0 takes a free one")
	flags.StringVar(&options.ReadyFile, "ready-file", "", "file that gets the portal's URL when it is ready")
	flags.BoolVar(&options.Demo, "demo", false, "serve although signing keys can be read here; for trying things only")
	flags.StringVar(&logLevel, "log-level", "info", "debug, info, warn or error")
	return command
}
