package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"prlagent/cmd/prlportal/adminapi"
	"prlagent/cmd/prlportal/admins"
	"prlagent/platform/safefile"
	"prlagent/platform/text"
)

func newAdminsCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "admins",
		Short: "List, add and revoke those who may use the portal",
		Long: `Everybody who works with the portal has a name, a role and a token of their own:

  viewer     reads and exports
  operator   publishes and sends commands as well
  approver   decides as well which devices and admins are let in

The portal's log and audit.log say who did what. 'prlportal init' makes the first
admin, an approver; on the portal's machine its own token does, while it runs.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error { return command.Help() },
	}
	command.AddCommand(newAdminsListCommand(), newAdminsAddCommand(), newAdminsRevokeCommand())
	return command
}

func newAdminsListCommand() *cobra.Command {
	var admin adminOptions
	var asJSON bool
	command := &cobra.Command{
		Use: "list --dir DIR", Short: "List the admins", Args: cobra.NoArgs,
		Long:    "List shows the admins, also those that were revoked, and never a token.",
		Example: "  prlportal admins list --dir site/operator\n  prlportal admins list --dir site/operator --json",
		RunE: func(command *cobra.Command, _ []string) error {
			client, err := admin.openClient()
			if err != nil {
				return err
			}
			defer client.Close()
			list, err := client.Admins(command.Context())
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(command.OutOrStdout(), map[string]any{"admins": list})
			}
			return printAdmins(command.OutOrStdout(), list)
		},
	}
	admin.addFlags(command)
	command.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return command
}

func printAdmins(w io.Writer, list []adminapi.Admin) error {
	table := text.Table{Heads: []string{"Name", "Role", "Since", "By", "Revoked"}, MaxCell: maxPipeCell, Window: text.WindowWidth(w)}
	for _, one := range list {
		revoked := emptyCell
		if !one.RevokedAt.IsZero() {
			revoked = localTime(one.RevokedAt, time.Local) + " by " + one.RevokedBy
		}
		table.Rows = append(table.Rows, []string{one.Name, string(one.Role), localTime(one.AddedAt, time.Local), orEmpty(one.AddedBy), revoked})
	}
	_, err := io.WriteString(w, table.String())
	return err
}

func newAdminsAddCommand() *cobra.Command {
	var admin adminOptions
	var role, output string
	var asJSON bool
	command := &cobra.Command{
		Use: "add NAME --role ROLE --dir DIR", Short: "Add an admin and show the token, once", Args: cobra.ExactArgs(1),
		Long: `Add makes an admin with a token of their own and prints the token: nobody can see
it again. With -o it goes into a file, with mode 0600, and is not printed. The
admin gives the file as --token-file, with --url and --certificate.`,
		Example: `  prlportal admins add alice --role viewer --dir site/operator -o alice.token
  prlportal admins add helpdesk --role operator --dir site/operator --json`,
		RunE: func(command *cobra.Command, args []string) error {
			wanted := admins.Role(text.TypedWord(role))
			if _, _, err := admins.New(text.TypedWord(args[0]), wanted, "", time.Now()); err != nil {
				return usageError(err.Error())
			}
			if err := checkOutput(output); err != nil {
				return err
			}
			client, err := admin.openClient()
			if err != nil {
				return err
			}
			defer client.Close()
			made, err := client.AddAdmin(command.Context(), text.TypedWord(args[0]), wanted)
			if err != nil {
				return err
			}
			return reportAdmin(command.OutOrStdout(), made, output, asJSON)
		},
	}
	admin.addFlags(command)
	flags := command.Flags()
	flags.StringVar(&role, "role", "", "viewer, operator or approver")
	flags.StringVarP(&output, "output", "o", "", "file to write the token to")
	flags.BoolVar(&asJSON, "json", false, "print JSON")
	return command
}

// checkOutput reports what keeps a file from being written there, before there is
// a token that would be lost with it.
func checkOutput(path string) error {
	if path == "" {
		return nil
	}
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("write the token: %s is no file; nobody was added", text.DisplayValue(path))
	}
	tried, err := os.CreateTemp(filepath.Dir(path), safefile.TempPrefix+"*")
	if err == nil {
		err = errors.Join(tried.Close(), os.Remove(tried.Name()))
	}
	if err != nil {
		return fmt.Errorf("nobody was added: write the token: %w", err)
	}
	return nil
}

func reportAdmin(w io.Writer, made adminapi.NewAdmin, output string, asJSON bool) error {
	if output != "" {
		if err := safefile.WriteFile(output, []byte(made.Token+"\n"), 0o600); err != nil {
			return fmt.Errorf("write the token, which is lost now (revoke %s and add them again): %w", made.Name, err)
		}
		made.Token = ""
	}
	if asJSON {
		return printJSON(w, made)
	}
	words := fmt.Sprintf("Their token, which is shown this once: %s\n", text.DisplayValue(made.Token))
	if output != "" {
		words = fmt.Sprintf("Wrote their token to %s; it is not to be had again.\n", text.DisplayValue(output))
	}
	_, err := fmt.Fprintf(w, "Added %s as %s.\n%s", text.DisplayValue(made.Name), text.DisplayValue(string(made.Role)), words)
	return err
}

func newAdminsRevokeCommand() *cobra.Command {
	var admin adminOptions
	command := &cobra.Command{
		Use: "revoke NAME --dir DIR", Short: "End an admin's token", Args: cobra.ExactArgs(1),
		Long: `Revoke ends the token of an admin at once. The name stays in the list and in the
logs, and can be given a new token with add.`,
		Example: "  prlportal admins revoke alice --dir site/operator",
		RunE: func(command *cobra.Command, args []string) error {
			client, err := admin.openClient()
			if err != nil {
				return err
			}
			defer client.Close()
			revoked, err := client.RevokeAdmin(command.Context(), text.TypedWord(args[0]))
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(command.OutOrStdout(), "Revoked %s.\n", text.DisplayValue(revoked.Name))
			return err
		},
	}
	admin.addFlags(command)
	return command
}
