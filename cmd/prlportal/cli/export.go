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
	var output string
	command := &cobra.Command{
		Use:   "export [vms|devices|events] --dir DIR",
		Short: "Write every row as csv, json or ndjson",
		Long: `Export writes all rows, or those that fit, with all columns. A file appears as a
whole or not at all, and only its owner can read it. The rows pass through as
they come, so that a table of any size needs no memory; with --sort the portal
holds them.` + vmListing.helpText(),
		Example: `  prlportal export vms --dir site/operator -o vms.csv --bom
  prlportal export devices --dir site/operator --format ndjson`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			shown := vmListing
			if len(args) == 1 {
				switch text.TypedWord(args[0]) {
				case vmListing.name:
				case deviceListing.name:
					shown = deviceListing
				case eventListing.name:
					shown = eventListing
				default:
					return usageError("export writes vms, devices or events")
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
			write := func(w io.Writer) error { return options.writeList(command.Context(), shown, w) }
			if output == "-" {
				return write(command.OutOrStdout())
			}
			return writeWhole(output, write)
		},
	}
	options.admin.addFlags(command)
	options.addQueryFlags(command.Flags())
	command.Flags().StringVar(&options.format, "format", formatCSV, "csv, json or ndjson")
	command.Flags().StringVarP(&output, "output", "o", "-", "file to write, - for standard output")
	return command
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
