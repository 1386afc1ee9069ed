package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/site"
	"prlagent/platform/text"
)

func newKeysCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "keys",
		Short: "List the policy keys, replace them, and say who may sign commands",
		Long: `Keys replaces the key that signs policies, without a Mac that misses a policy:

  prlportal keys rotate            makes a next key; from now on heads are signed by both
  prlportal renew                  publishes heads with both signatures
  prlportal profile                names both keys: put it on the Macs
  prlportal keys rotate --finish   once all Macs have it: the old key signs no more
  prlportal renew                  publishes heads of the new key alone
  prlportal profile                names the new key alone: the Macs refuse the old one

A Mac that sleeps through it takes the heads of the profile that it has, and keeps
its policy where there are none.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error { return command.Help() },
	}
	command.AddCommand(newKeysListCommand(), newKeysRotateCommand(), newCommandKeysCommand())
	return command
}

// keyRow is a policy key of the operator's folder.
type keyRow struct {
	KeyID string `json:"key_id"`
	Use   string `json:"use"`
}

func newKeysListCommand() *cobra.Command {
	var dir string
	var asJSON bool
	command := &cobra.Command{
		Use: "list --dir DIR/operator", Short: "List the policy keys", Args: cobra.NoArgs,
		Long:    "List shows the ids of the policy keys of the operator's folder, and no key.",
		Example: "  prlportal keys list --dir site/operator\n  prlportal keys list --dir site/operator --json",
		RunE: func(command *cobra.Command, _ []string) error {
			rows, err := keyRows(dir)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(command.OutOrStdout(), map[string]any{"keys": rows})
			}
			return printKeys(command.OutOrStdout(), rows)
		},
	}
	addOperatorDir(command, &dir)
	command.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return command
}

func addOperatorDir(command *cobra.Command, dir *string) {
	command.Flags().StringVar(dir, "dir", ".", "the operator's folder, or the one that has both, made by init")
}

func operatorFolder(dir string) (string, error) {
	folder, isThere := site.FindOperator(dir)
	if !isThere {
		return "", usageError(fmt.Sprintf("there is no operator's folder in %s; name it with --dir", text.DisplayValue(dir)))
	}
	return folder, nil
}

func keyRows(dir string) ([]keyRow, error) {
	folder, err := operatorFolder(dir)
	if err != nil {
		return nil, err
	}
	keys, err := site.LoadPolicyKeys(folder)
	if err != nil {
		return nil, err
	}
	var rows []keyRow
	for i, public := range site.PublicHalves(keys) {
		use := "signs"
		if i > 0 {
			use = "signs as well, and alone after 'keys rotate --finish'"
		}
		rows = append(rows, keyRow{KeyID: protocol.KeyID(public), Use: use})
	}
	return rows, nil
}

func printKeys(w io.Writer, rows []keyRow) error {
	table := text.Table{Heads: []string{"Policy key", "Use"}}
	for _, row := range rows {
		table.Rows = append(table.Rows, []string{row.KeyID, row.Use})
	}
	_, err := io.WriteString(w, table.String())
	return err
}

func newKeysRotateCommand() *cobra.Command {
	var dir string
	var finish bool
	command := &cobra.Command{
		Use: "rotate --dir DIR/operator", Short: "Make a next policy key, or have it sign alone", Args: cobra.NoArgs,
		Long: `Rotate makes a next policy key in the operator's folder. With --finish the next key
takes the place of the one before, which stays in policy-retired.key and signs
nothing. Both print what to do next, and refuse to begin the next rotation before
the last one is published.`,
		Example: "  prlportal keys rotate --dir site/operator\n  prlportal keys rotate --dir site/operator --finish",
		RunE: func(command *cobra.Command, _ []string) error {
			folder, err := operatorFolder(dir)
			if err != nil {
				return err
			}
			unlock, err := site.LockSigning(command.Context(), folder)
			if err != nil {
				return err
			}
			defer unlock()
			step, next := site.BeginRotation, "Next: 'prlportal renew', then 'prlportal profile' for the Macs; once all of them have it, 'prlportal keys rotate --finish'.\n"
			if finish {
				step, next = site.FinishRotation, "Next: 'prlportal renew', then 'prlportal profile' for the Macs, which refuse the old key from then on.\n"
			}
			if err := step(folder); err != nil {
				return err
			}
			rows, err := keyRows(dir)
			if err != nil {
				return err
			}
			if err := printKeys(command.OutOrStdout(), rows); err != nil {
				return err
			}
			_, err = io.WriteString(command.OutOrStdout(), next)
			return err
		},
	}
	addOperatorDir(command, &dir)
	command.Flags().BoolVar(&finish, "finish", false, "have the next key sign alone")
	return command
}
