package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"prlagent/cmd/prlportal/tree"
	"prlagent/platform/text"
)

// errFindings says that there is something to correct; what, was printed.
var errFindings = errors.New("the tree has something to correct")

func newLintCommand() *cobra.Command {
	var asJSON, rules bool
	command := &cobra.Command{
		Use:   "lint [DIR]",
		Short: "Check the tree of policies before it is published",
		Long: `Lint checks the folder that policies are published from:

  site.yaml             primary_group; site_id, splay_s, deleted_policies
  groups/ID.yaml        name; description, mode (monitor or enforce)
  policies/ID.yaml      name; groups, golden_image (an id), vm_settings, adopt, …
  golden-images/ID.yaml name, images; description, rollout_percent, download

Policies are read by the agent's own code: what is refused here is what a Mac would
refuse. A Mac has one group, and one policy, for all its users.

Errors and warnings end with 1, notes do not; publish refuses errors. --rules prints
all that is checked.`,
		Example: "  prlportal lint fleet\n  prlportal lint fleet --json\n  prlportal lint --rules",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			out := command.OutOrStdout()
			if rules {
				return printRules(out)
			}
			dir := "."
			if len(args) > 0 {
				dir = args[0]
			}
			read, err := readTree(dir)
			if err != nil {
				return err
			}
			if asJSON {
				err = printJSON(out, map[string]any{"findings": append([]tree.Finding{}, read.Findings...)})
			} else {
				err = printFindings(out, dir, read.Findings)
			}
			if err == nil && (read.Has(tree.Failure) || read.Has(tree.Warning)) {
				err = errFindings
			}
			return err
		},
	}
	command.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	command.Flags().BoolVar(&rules, "rules", false, "print the rules and check nothing")
	return command
}

// readTree reads the tree of a folder. Nothing outside of it is read, whatever
// links are in it.
func readTree(dir string) (tree.Tree, error) {
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return tree.Tree{}, usageError(fmt.Sprintf("there is no folder %s", text.DisplayValue(dir)))
	}
	if err != nil {
		return tree.Tree{}, fmt.Errorf("open tree: %w", err)
	}
	defer root.Close()
	return tree.Read(root.FS())
}

// printFindings writes a line that editors find the place by, and what the
// setting means below it.
func printFindings(w io.Writer, dir string, findings []tree.Finding) error {
	var words strings.Builder
	counts := make(map[tree.Severity]int)
	for _, found := range findings {
		counts[found.Severity]++
		place := text.Display(filepath.Join(dir, filepath.FromSlash(found.File)))
		fmt.Fprintf(&words, "%s:%d:%d: %s: ", place, found.Line, found.Column, found.Severity)
		if found.Path != "" {
			fmt.Fprintf(&words, "%s: ", text.Display(found.Path))
		}
		fmt.Fprintf(&words, "%s (%s)\n", text.Display(found.Message), found.Rule)
		if found.Doc != "" {
			fmt.Fprintf(&words, "    %s\n", found.Doc)
		}
	}
	fmt.Fprintf(&words, "%s: %s, %s, %s.\n", text.Display(dir), countOf(counts[tree.Failure], "error"), countOf(counts[tree.Warning], "warning"), countOf(counts[tree.Note], "note"))
	_, err := io.WriteString(w, words.String())
	return err
}

func printRules(w io.Writer) error {
	table := text.Table{Heads: []string{"Rule", "Severity", "What it asks for"}}
	for _, rule := range tree.Rules {
		table.Rows = append(table.Rows, []string{rule.Name, string(rule.Severity), rule.Doc})
	}
	_, err := io.WriteString(w, table.String())
	return err
}
