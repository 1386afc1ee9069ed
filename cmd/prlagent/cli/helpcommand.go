package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"prlagent/agent/localapi"
	"prlagent/platform/text"
)

// helpCommand is cobra's, but for a topic that there is not, which is a mistake
// and ends as one.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "help [COMMAND]",
		Short:             "Show what a command does",
		Example:           "  prlagent help doctor\n  prlagent help json",
		ValidArgsFunction: completeHelp,
		RunE: func(command *cobra.Command, topic []string) error {
			found, rest, err := command.Root().Find(topic)
			if err != nil || len(rest) > 0 {
				return fmt.Errorf("there is no help for %q", text.DisplayValue(topic[len(topic)-max(len(rest), 1)]))
			}
			found.InitDefaultHelpFlag()
			return found.Help()
		},
	}
}

func completeHelp(command *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
	var names []string
	if len(given) == 0 {
		for _, one := range command.Root().Commands() {
			if one.IsAvailableCommand() || one.IsAdditionalHelpTopicCommand() {
				names = append(names, one.Name()+"\t"+one.Short)
			}
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// versionLine is what version and --version print.
func versionLine() string {
	version, revision := localapi.BuildVersion()
	document := newVersionDocument(version, revision)
	return "prlagent " + joinParts(" ", version, revision, document.Platform, document.Go)
}
