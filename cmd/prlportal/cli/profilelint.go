package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"prlagent/cmd/prlportal/profile"
	"prlagent/platform/text"
)

// errProfileFindings says that there is something to correct; what, was printed.
var errProfileFindings = errors.New("the profiles have something to correct")

func newProfileLintCommand() *cobra.Command {
	var rules bool
	command := &cobra.Command{
		Use:   "lint FILE…",
		Short: "Check profiles before they are deployed, also those of other tools",
		Long: `Lint checks configuration profiles, signed or not: the vendor's licensing profile, the
agent's settings by the agent's own reader, and the privacy profile. Give it all the
profiles that go to the same Macs: two licensing profiles that say different things are
an error. It never shows a license key. - is the standard input.

Errors and warnings end with 1, notes do not. --rules prints all that is checked.`,
		Example: `  prlportal profile lint license.mobileconfig prlagent.mobileconfig
  prlportal profile lint license.mobileconfig --json
  prlportal profile lint --rules`,
		Args: cobra.ArbitraryArgs,
	}
	command.Flags().BoolVar(&rules, "rules", false, "print the rules and check nothing")
	asJSON := addJSONFlag(command)
	command.RunE = func(command *cobra.Command, args []string) error {
		out := command.OutOrStdout()
		if rules {
			return printProfileRules(out, *asJSON)
		}
		if len(args) == 0 {
			return usageError("a FILE is missing")
		}
		found, err := lintProfiles(args, command.InOrStdin())
		if err != nil {
			return err
		}
		if err := showAs(out, *asJSON, map[string][]profile.Finding{"findings": found}, printProfileFindings); err != nil {
			return err
		}
		for _, one := range found {
			if one.Severity != profile.Note {
				return errProfileFindings
			}
		}
		return nil
	}
	return command
}

func lintProfiles(names []string, input io.Reader) ([]profile.Finding, error) {
	files := make([]profile.File, 0, len(names))
	for _, name := range names {
		data, err := readInput(name, input)
		if err != nil {
			return nil, err
		}
		files = append(files, profile.File{Name: name, Data: data})
	}
	return profile.Lint(files), nil
}

func printProfileFindings(w io.Writer, document map[string][]profile.Finding) error {
	var words strings.Builder
	counts := make(map[profile.Severity]int)
	for _, found := range document["findings"] {
		counts[found.Severity]++
		fmt.Fprintf(&words, "%s: %s: ", text.Display(found.File), found.Severity)
		if found.Payload != "" {
			fmt.Fprintf(&words, "%s: ", text.DisplayValue(found.Payload))
		}
		words.WriteString(found.Text)
		if found.Detail != "" {
			fmt.Fprintf(&words, " %s.", text.DisplayValue(found.Detail))
		}
		fmt.Fprintf(&words, " (%s)\n    → %s\n", found.Code, found.Remedy)
	}
	fmt.Fprintf(&words, "%s, %s, %s.\n", countOf(counts[profile.Failure], "error"), countOf(counts[profile.Warning], "warning"), countOf(counts[profile.Note], "note"))
	return writeText(w, words.String())
}

func printProfileRules(w io.Writer, asJSON bool) error {
	return showAs(w, asJSON, map[string][]profile.Rule{"rules": profile.Rules}, func(w io.Writer, document map[string][]profile.Rule) error {
		table := text.Table{Heads: []string{"Rule", "Severity", "What it means"}}
		for _, rule := range document["rules"] {
			table.Rows = append(table.Rows, []string{rule.Code, string(rule.Severity), rule.Text})
		}
		return writeText(w, table.String())
	})
}
