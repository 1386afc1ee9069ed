package cli

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"prlagent/cmd/prlportal/adminapi"
	"prlagent/cmd/prlportal/site"
)

// folderCommand has a command work in the portal's folder, on its machine.
func folderCommand(command *cobra.Command, work func(out io.Writer, folder string, args []string) error) *cobra.Command {
	var dir string
	addPortalDir(command, &dir)
	command.RunE = func(command *cobra.Command, args []string) error {
		folder, isThere := site.FindPortal(dir)
		if !isThere {
			return site.NoSite(dir, site.ConfigFile)
		}
		return work(command.OutOrStdout(), folder, args)
	}
	return command
}

// askingCommand has a command ask the portal for one thing, and show the answer as JSON
// or to people. What judge says of an answer that was shown, nil for
// nothing, is the command's error.
func askingCommand[Answer any](command *cobra.Command, ask func(*adminapi.Client, context.Context) (Answer, error),
	show func(io.Writer, Answer) error, judge func(Answer) error) *cobra.Command {
	var admin adminOptions
	admin.addFlags(command)
	asJSON := addJSONFlag(command)
	command.RunE = func(command *cobra.Command, _ []string) error {
		return admin.ask(command.Context(), func(ctx context.Context, client *adminapi.Client) error {
			answer, err := ask(client, ctx)
			if err != nil {
				return err
			}
			if err := showAs(command.OutOrStdout(), *asJSON, answer, show); err != nil || judge == nil {
				return err
			}
			return judge(answer)
		})
	}
	return command
}

// ask has a client do one thing.
func (o adminOptions) ask(ctx context.Context, work func(context.Context, *adminapi.Client) error) error {
	client, err := o.openClient()
	if err != nil {
		return err
	}
	defer client.Close()
	return work(ctx, client)
}

func addJSONFlag(command *cobra.Command) *bool {
	return command.Flags().Bool("json", false, "print JSON")
}

// showAs prints an answer as JSON or for people.
func showAs[Answer any](out io.Writer, asJSON bool, answer Answer, show func(io.Writer, Answer) error) error {
	if asJSON {
		return printJSON(out, answer)
	}
	return show(out, answer)
}
