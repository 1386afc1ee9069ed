package cli

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"prlagent/cmd/prlportal/audit"
	"prlagent/cmd/prlportal/site"
	"prlagent/platform/text"
)

func newAuditCommand() *cobra.Command {
	command := &cobra.Command{
		Use: "audit", Short: "Check the record of what administrators decided", Args: cobra.NoArgs,
		Long:    `Audit works on audit.log in the portal's folder: one JSON object a line, each with the hash of all lines before.`,
		Example: "  prlportal audit verify --dir portal",
		RunE:    func(command *cobra.Command, _ []string) error { return command.Help() },
	}
	command.AddCommand(newAuditVerifyCommand())
	return command
}

func newAuditVerifyCommand() *cobra.Command {
	var dir, known string
	var asJSON bool
	command := &cobra.Command{
		Use: "verify --dir DIR/portal", Short: "See whether the audit log is as it was written", Args: cobra.NoArgs,
		Long: `Verify reads the whole log and prints its last line's number and hash. A line that was
changed, taken out or put in between is named, and the exit code is 1. That lines were taken
off the end is seen with --known, the number and hash of an earlier run: keep them elsewhere.
Serve compares the log with the database at each start, and adds a line (log_changed) where
it was changed.`,
		Example: "  prlportal audit verify --dir portal\n  prlportal audit verify --dir portal --known 42:9c41e0…",
		RunE: func(command *cobra.Command, _ []string) error {
			folder, isThere := site.FindPortal(dir)
			if !isThere {
				return site.NoSite(dir, site.ConfigFile)
			}
			mark, err := parseMark(known)
			if err != nil {
				return err
			}
			found, err := audit.VerifyFile(filepath.Join(folder, site.AuditFile), mark, nil)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(command.OutOrStdout(), found)
			}
			return writeText(command.OutOrStdout(), fmt.Sprintf("%s, %d with a hash of what is before, %d cut off by a crash.\nLast: %d:%s\n",
				countOf(int(found.Lines), "line"), found.Chained, found.Cut, found.Last.Number, found.Last.Hash))
		},
	}
	addPortalDir(command, &dir)
	command.Flags().StringVar(&known, "known", "", "NUMBER:HASH of a line that the log must have")
	command.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return command
}

func parseMark(typed string) (audit.Mark, error) {
	if typed = text.TrimTyped(typed); typed == "" {
		return audit.Mark{}, nil
	}
	number, hash, _ := strings.Cut(typed, ":")
	count, err := strconv.ParseUint(number, 10, 64)
	if err != nil || len(hash) != 64 {
		return audit.Mark{}, usageError("--known is NUMBER:HASH, as verify prints it")
	}
	return audit.Mark{Number: count, Hash: strings.ToLower(hash)}, nil
}
