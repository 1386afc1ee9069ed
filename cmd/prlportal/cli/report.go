package cli

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"prlagent/cmd/prlportal/fleet"
	"prlagent/platform/text"
)

func newReportCommand() *cobra.Command {
	command := &cobra.Command{
		Use:     "report",
		Short:   "Reports for people who are asked how it stands",
		Example: "  prlportal report compliance --dir site/operator\n  prlportal report licenses --dir site/operator",
		Args:    cobra.NoArgs,
		RunE:    func(command *cobra.Command, _ []string) error { return command.Help() },
	}
	command.AddCommand(newComplianceCommand(), newLicensesCommand())
	return command
}

// reportColumn is a column of a report.
type reportColumn[T any] struct {
	id, title string
	cell      func(*T) string
}

// renderReport writes csv, or gives the table for people.
func renderReport[T any](w io.Writer, format string, columns []reportColumn[T], rows []T) (table string, err error) {
	heads, ids, cells := []string{}, []string{}, [][]string{}
	for _, column := range columns {
		heads, ids = append(heads, column.title), append(ids, column.id)
	}
	for i := range rows {
		row := make([]string, 0, len(columns))
		for _, column := range columns {
			row = append(row, column.cell(&rows[i]))
		}
		cells = append(cells, row)
	}
	if format != formatCSV {
		return text.Table{Heads: heads, Rows: cells, MaxCell: maxPipeCell, Window: text.WindowWidth(w)}.String(), nil
	}
	out := text.NewCSV(w)
	for _, row := range append([][]string{ids}, cells...) {
		if err := out.Write(row); err != nil {
			return "", fmt.Errorf("write report: %w", err)
		}
	}
	return "", out.Flush()
}

// complianceOptions are the flags of 'report compliance'.
type complianceOptions struct {
	admin  adminOptions
	at     string
	format string
	asJSON bool
}

func newComplianceCommand() *cobra.Command {
	var options complianceOptions
	command := &cobra.Command{
		Use:   "compliance --dir DIR",
		Short: "In how many virtual machines of each group each setting is in place",
		Long: `Compliance counts, for each group and setting, the virtual machines in which it is
in place, is about to be set (pending; on a Mac that monitors: would be), waits for
the machine or its user (deferred), is in place in part, is put back by something
else again and again (contended), failed, is not for this guest or version, has no
way to be set (unsupported), or is unknown.

--at shows how it stood at the end of a day, in UTC, or at a time, by what the portal
had received until then. Changes are kept for 400 days, and of each Mac 1 MiB; Macs
of which less is kept are named below the table, and count as unknown. Macs count
with the group that they are in now.`,
		Example: `  prlportal report compliance --dir site/operator
  prlportal report compliance --dir site/operator --at 2026-09-30 --format csv
  prlportal report compliance --dir site/operator --at -7d --json`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			options.format = typedFormat(options.format, options.asJSON)
			if !slices.Contains([]string{formatTable, formatCSV, formatJSON}, options.format) {
				return usageError("--format is table, csv or json")
			}
			client, err := options.admin.openClient()
			if err != nil {
				return err
			}
			defer client.Close()
			found, err := client.Compliance(command.Context(), options.at)
			if err != nil {
				return asUsage(err)
			}
			return options.write(command.OutOrStdout(), found)
		},
	}
	options.admin.addFlags(command)
	flags := command.Flags()
	flags.StringVar(&options.at, "at", "", "as it stood then: 2026-11-23, 2026-11-23T09:00Z, or how long ago: -7d (default: now)")
	flags.StringVar(&options.format, "format", formatTable, "table, csv or json")
	flags.BoolVar(&options.asJSON, "json", false, "same as --format json")
	return command
}

// complianceColumns are the columns of the report.
var complianceColumns = []reportColumn[fleet.ComplianceRow]{
	{"group", "Group", func(r *fleet.ComplianceRow) string { return r.Group }},
	{"path", "Setting", func(r *fleet.ComplianceRow) string { return r.Path }},
	{"macs", "Macs", func(r *fleet.ComplianceRow) string { return strconv.Itoa(r.Macs) }},
	{"in_place", "In place", func(r *fleet.ComplianceRow) string { return strconv.Itoa(r.InPlace) }},
	{"failed", "Failed", func(r *fleet.ComplianceRow) string { return strconv.Itoa(r.Failed) }},
	{"deferred", "Deferred", func(r *fleet.ComplianceRow) string { return strconv.Itoa(r.Deferred) }},
	{"contended", "Contended", func(r *fleet.ComplianceRow) string { return strconv.Itoa(r.Contended) }},
	{"pending", "Pending", func(r *fleet.ComplianceRow) string { return strconv.Itoa(r.Pending) }},
	{"partial", "Partial", func(r *fleet.ComplianceRow) string { return strconv.Itoa(r.Partial) }},
	{"not_applicable", "Not applicable", func(r *fleet.ComplianceRow) string { return strconv.Itoa(r.NotApplicable) }},
	{"unsupported", "Unsupported", func(r *fleet.ComplianceRow) string { return strconv.Itoa(r.Unsupported) }},
	{"unknown", "Unknown", func(r *fleet.ComplianceRow) string { return strconv.Itoa(r.Unknown) }},
}

func (o complianceOptions) write(w io.Writer, found fleet.Compliance) error {
	if o.format == formatJSON {
		return printJSON(w, found)
	}
	shown, err := renderReport(w, o.format, complianceColumns, found.Rows)
	if err != nil || o.format == formatCSV {
		return err
	}
	if len(found.Rows) == 0 {
		shown = "No setting was reported.\n"
	}
	return writeText(w, shown+"\n"+complianceWords(found, time.Local))
}

// complianceWords says what the counts are of, and of what they are not.
func complianceWords(found fleet.Compliance, zone *time.Location) string {
	words := "As of " + localTime(found.At, zone) + ": " + countOf(found.Macs, "Mac") + " with settings"
	for _, part := range []struct {
		count int
		words string
	}{{found.Stale, "not heard of for too long"}, {found.Forgotten, "unknown then"}, {found.Silent, "without any"}} {
		if part.count > 0 {
			words += fmt.Sprintf(", %d %s", part.count, part.words)
		}
	}
	return words + fmt.Sprintf(".\nChanges are kept for %d days.\n", found.KeptDays)
}
