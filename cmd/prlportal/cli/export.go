package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"prlagent/platform/safefile"
	"prlagent/platform/text"
)

// newExportCommand lists for machines only: everything, into a file.
func newExportCommand() *cobra.Command {
	var options listOptions
	var output, cursorFile string
	command := &cobra.Command{
		Use:   "export [vms|devices|events|verdicts] --dir DIR",
		Short: "Write every row as csv, json or ndjson, or what is new for a SIEM",
		Long: `Export writes all rows, or those that fit, with all columns. A file appears as a
whole or not at all, and only its owner can read it. The rows pass through as
they come, so that a table of any size needs no memory; with --sort the portal
holds them.

What is told on to a SIEM are verdicts, which is each change of one setting on one
virtual machine, and events with a cursor: --since start, or the cursor of the last
row that arrived. They are ndjson in the order in which the portal kept them; each
has an id of its own, and the cursor to go on with, so that each comes once and none
is missed. --cursor-file keeps the cursor between runs; it is written once the rows
are. Where something new is kept no longer, that is said on standard error: the
portal keeps 500 events of each Mac, and changes for 400 days.` + vmListing.helpText(),
		Example: `  prlportal export vms --dir site/operator -o vms.csv --bom
  prlportal export devices --dir site/operator --format ndjson
  prlportal export verdicts --dir site/operator --since start
  prlportal export events --dir site/operator --cursor-file events.cursor -o events.ndjson`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			write := func(write func(io.Writer) error) error {
				if output == "-" {
					return write(command.OutOrStdout())
				}
				return writeWhole(output, write)
			}
			if len(args) == 1 && options.wantsJournal(text.TypedWord(args[0]), cursorFile) {
				if err := onlyForTables(command); err != nil {
					return err
				}
				return options.exportJournal(command.Context(), journalOptions{text.TypedWord(args[0]), cursorFile, command.ErrOrStderr()}, write)
			}
			if cursorFile != "" {
				return usageError("--cursor-file is for events and verdicts")
			}
			shown := vmListing
			if len(args) == 1 {
				switch text.TypedWord(args[0]) {
				case vmListing.name:
				case deviceListing.name:
					shown = deviceListing
				case eventListing.name:
					shown = eventListing
				default:
					return usageError("export writes vms, devices, events or verdicts")
				}
			}
			options.format = text.TypedWord(options.format)
			if !slices.Contains([]string{formatCSV, formatJSON, formatNDJSON}, options.format) {
				return usageError("--format is csv, json or ndjson")
			}
			if err := options.applyView(shown, command.Flags()); err != nil {
				return err
			}
			options.view.Query.Page, options.view.Query.PerPage = 0, 0
			if len(options.view.Columns) == 0 && options.format == formatCSV {
				options.view.Columns = []string{"all"}
			}
			return write(func(w io.Writer) error { return options.writeList(command.Context(), shown, w) })
		},
	}
	options.admin.addFlags(command)
	options.addQueryFlags(command.Flags())
	command.Flags().StringVar(&options.format, "format", formatCSV, "csv, json or ndjson")
	command.Flags().StringVar(&cursorFile, "cursor-file", "", "file that has the cursor to go on with, and gets the next one")
	command.Flags().StringVarP(&output, "output", "o", "-", "file to write, - for standard output")
	return command
}

// onlyForTables refuses flags that say nothing of a journal.
func onlyForTables(command *cobra.Command) error {
	for _, name := range []string{"filter", "search", "sort", "columns", "view", "save-view", "bom"} {
		if command.Flags().Changed(name) {
			return usageError("--" + name + " is for tables, and not for what is told on with a cursor")
		}
	}
	if format := command.Flags().Lookup("format"); format.Changed && text.TypedWord(format.Value.String()) != formatNDJSON {
		return usageError("--format of what is told on with a cursor is ndjson")
	}
	return nil
}

// writeWhole streams into a file that has its name only once it is complete
// and on disk.
func writeWhole(path string, write func(io.Writer) error) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), safefile.TempPrefix+"*")
	if err != nil {
		return fmt.Errorf("make file: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}()
	if err := errors.Join(write(file), file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	return nil
}
