package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"prlagent/cmd/prlportal/adminapi"
	"prlagent/cmd/prlportal/fleet"
	"prlagent/cmd/prlportal/query"
	"prlagent/platform/text"
)

// eventListing is how 'prlportal events' shows what happened.
var eventListing = tableListing{
	name:         fleet.EventTable.Name,
	columns:      fleet.EventTable.Columns(),
	columnSets:   map[string]int{"all": len(fleet.EventTable.Fields)},
	csvSet:       "all",
	usualColumns: query.ColumnIDs(fleet.EventTable.Columns()[:6]),
	printTable:   printEvents,
}

// usualSpan is what is listed of all Macs where nobody says since when.
const usualSpan = "-1d"

func newEventsCommand() *cobra.Command {
	var options listOptions
	var types []string
	command := newListCommand(eventListing, &options, "List what happened on the Macs",
		`Events prints what Macs told the portal that happened on them, in the order of their
clocks: of one DEVICE all that is kept, of all Macs the last day. DEVICE is a device
id, a Mac serial number or a hardware UUID. The portal keeps the newest 500 of each
Mac; an event keeps its id.

--since looks at when the portal received an event (received_at): a Mac that was
away tells late. Give as_of of the JSON as the next --since, and none is missed.`,
		`  prlportal events --dir site
  prlportal events C02XL0THJGH5 --dir site --since 7d
  prlportal events --dir site --type vm_removed --since 2026-11-01 --json`)
	command.Use = "events [DEVICE] --dir DIR"
	command.Args = cobra.MaximumNArgs(1)
	command.ValidArgsFunction = options.admin.completeDevice
	command.Flags().StringSliceVar(&types, "type", nil, "only events of these types")
	list := command.RunE
	command.RunE = func(command *cobra.Command, args []string) error {
		if len(types) > 0 {
			options.view.Query.Filters = append(options.view.Query.Filters, "type in "+quotedList(types))
		}
		if len(options.view.Query.Sort) == 0 {
			options.view.Query.Sort = []string{"at", "received_at"}
		}
		if len(args) == 0 {
			if options.view.Query.Since == "" && options.viewName == "" {
				options.view.Query.Since = usualSpan
			}
			return list(command, args)
		}
		if err := options.onDevice(command.Context(), args[0]); err != nil {
			return err
		}
		return list(command, nil)
	}
	return command
}

// onDevice lists the events of one device.
func (o *listOptions) onDevice(ctx context.Context, name string) error {
	client, err := o.admin.openClient()
	if err != nil {
		return err
	}
	defer client.Close()
	device, err := askForDevice(ctx, client, name)
	if err == nil {
		o.path, err = adminapi.EventsOf(device.DeviceID)
	}
	return err
}

// quotedList is values as a filter takes them.
func quotedList(values []string) string {
	quoted := make([]string, len(values))
	for i, value := range values {
		quoted[i] = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text.TrimTyped(value)) + `"`
	}
	return strings.Join(quoted, ", ")
}

// maxEventCell is the widest cell of an event: its details are what it is about.
const maxEventCell = 200

// printEvents writes the table and, below it, how many events of how many Macs.
func printEvents(w io.Writer, columns []query.Column, rows []tableRow, zone *time.Location) error {
	if err := printCells(w, columns, rows, zone, maxEventCell); err != nil {
		return err
	}
	macs := make(map[any]struct{})
	for _, row := range rows {
		macs[row["device_id"]] = struct{}{}
	}
	_, err := fmt.Fprintf(w, "\n%s on %s.\n", countOf(len(rows), "event"), countOf(len(macs), "Mac"))
	return err
}
