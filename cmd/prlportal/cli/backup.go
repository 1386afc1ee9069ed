package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"prlagent/cmd/prlportal/backup"
	"prlagent/cmd/prlportal/site"
	"prlagent/platform/safefile"
	"prlagent/platform/text"
)

func newBackupCommand() *cobra.Command {
	var admin adminOptions
	command := &cobra.Command{
		Use: "backup FILE --dir DIR", Short: "Write the portal's folder into one file while it serves", Args: cobra.ExactArgs(1),
		Long: `Backup writes the database as it is now, the content, the audit log, the admins,
the configuration and the certificate with its key into FILE, for an approver. The
portal goes on serving. FILE is read again before it has its name: it is whole or
not there. No signing key is in it: those are in the operator's folder, which you
back up yourself. With FILE somebody else can be the portal: keep it as you keep
its folder.`,
		Example: "  prlportal backup portal-$(date +%F).backup --dir site/operator",
		RunE: func(command *cobra.Command, args []string) error {
			client, err := admin.openClient()
			if err != nil {
				return err
			}
			defer client.Close()
			found, err := takeBackup(command.Context(), args[0], client.Backup)
			if err != nil {
				return err
			}
			return describeBackup(command.OutOrStdout(), "Wrote "+text.DisplayValue(args[0]), found)
		},
	}
	admin.addFlags(command)
	return command
}

// takeBackup gives the file its name once it is whole and on disk.
func takeBackup(ctx context.Context, path string, fetch func(context.Context, io.Writer) error) (found backup.Summary, err error) {
	file, err := os.CreateTemp(filepath.Dir(path), safefile.TempPrefix+"*")
	if err != nil {
		return backup.Summary{}, fmt.Errorf("make file: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}()
	err = fetch(ctx, file)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return backup.Summary{}, fmt.Errorf("take backup: %w", err)
	}
	if found, err = backup.Check(ctx, file.Name()); err != nil {
		return backup.Summary{}, fmt.Errorf("what the portal sent broke off; its log says why: %w", err)
	}
	if err = os.Rename(file.Name(), path); err != nil {
		return backup.Summary{}, fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	return found, nil
}

func newRestoreCommand() *cobra.Command {
	var dir string
	var check bool
	command := &cobra.Command{
		Use: "restore FILE --dir DIR", Short: "Make a portal's folder of a backup, or check one", Args: cobra.ExactArgs(1),
		Long: `Restore makes DIR of a backup, for 'prlportal serve' to work in; DIR must be empty
or not there. What Macs have reported since the backup comes again by itself with
their next check-ins. Never let two portals of one site serve at the same time.

With --check nothing is made: all of FILE is read, compared with its sums, and the
database in it opened.`,
		Example: "  prlportal restore --check portal.backup\n  prlportal restore portal.backup --dir portal",
		RunE: func(command *cobra.Command, args []string) error {
			if check {
				found, err := backup.Check(command.Context(), args[0])
				if err != nil {
					return err
				}
				return describeBackup(command.OutOrStdout(), text.DisplayValue(args[0])+" is whole", found)
			}
			found, err := backup.Restore(command.Context(), args[0], dir)
			if err != nil {
				return err
			}
			if err := describeBackup(command.OutOrStdout(), "Made "+text.DisplayValue(dir), found); err != nil {
				return err
			}
			_, err = fmt.Fprintf(command.OutOrStdout(), "\nNext: prlportal serve --dir %s\n", text.DisplayValue(dir))
			return err
		},
	}
	command.Flags().StringVar(&dir, "dir", site.PortalFolder, "folder to make")
	command.Flags().BoolVar(&check, "check", false, "only look whether the file is whole")
	return command
}

func describeBackup(w io.Writer, done string, found backup.Summary) error {
	_, err := fmt.Fprintf(w, "%s: the site \"%s\" (%s) at %s, made %s.\n%s, %s of content.\n", done,
		text.DisplayValue(found.Name), text.DisplayValue(found.SiteID), text.DisplayValue(found.URL),
		found.MadeAt.Local().Format(timeForPeople), countOf(found.Devices, "device"), countOf(found.Content, "file"))
	return err
}
