package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"prlagent/cmd/prlportal/admins"
	"prlagent/cmd/prlportal/fleet"
	"prlagent/cmd/prlportal/query"
)

// valuesOf are the values of the flags that have a few, and the arguments of
// commands that do, by the name of the flag or of the command.
func valuesOf() map[string][]string {
	var roles []string
	for _, role := range admins.Roles {
		roles = append(roles, string(role))
	}
	return map[string][]string{
		"format":    {formatTable, formatCSV, formatJSON, formatNDJSON},
		"mode":      {"monitor", "enforce"},
		"log-level": {"debug", "info", "warn", "error"},
		"role":      roles,
		"when":      {"at_stop", "now"},
		"export":    {vmListing.name, deviceListing.name, eventListing.name, fleet.JournalVerdicts},
	}
}

// formatsOf are the formats of commands that have others than a list has.
var formatsOf = map[string][]string{
	"compliance": {formatTable, formatCSV, formatJSON},
	"licenses":   {formatTable, formatCSV, formatJSON},
	"export":     {formatCSV, formatJSON, formatNDJSON},
	"profile":    {"mobileconfig", "plist"},
	"agent":      {"mobileconfig", "plist"},
}

// completeValues has the shell offer the values of the command's flags.
func completeValues(command *cobra.Command) {
	values := valuesOf()
	if formats, own := formatsOf[command.Name()]; own {
		values["format"] = formats
	}
	columns := query.ColumnIDs(vmListing.columns)
	switch command.Name() {
	case fleet.DeviceTable.Name:
		columns = query.ColumnIDs(deviceListing.columns)
	case fleet.EventTable.Name:
		columns = query.ColumnIDs(eventListing.columns)
	case fleet.CommandTable.Name:
		columns = query.ColumnIDs(commandListing.columns)
	}
	values["columns"], values["sort"], values["filter"] = columns, columns, columns
	command.Flags().VisitAll(func(flag *pflag.Flag) {
		offered, few := values[flag.Name]
		if !few {
			return
		}
		// The error would be of a flag that is not there, or is registered twice.
		_ = command.RegisterFlagCompletionFunc(flag.Name, func(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
			return continued(offered, typed), cobra.ShellCompDirectiveNoFileComp
		})
	})
	if offered, few := values[command.Name()]; few {
		command.ValidArgs = offered
	}
}

// continued are the values that go on with what was typed, after the last comma
// where several may be given.
func continued(values []string, typed string) []string {
	before := typed[:strings.LastIndexByte(typed, ',')+1]
	fitting := slices.DeleteFunc(slices.Clone(values), func(value string) bool { return !strings.HasPrefix(value, typed[len(before):]) })
	for i := range fitting {
		fitting[i] = before + fitting[i]
	}
	return fitting
}
