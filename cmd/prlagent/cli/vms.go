package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
	"prlagent/platform/text"
	"prlagent/platform/text/collate"
)

// usefulColumns are those of the table for people unless they choose others.
var usefulColumns = []string{"user_name", "vm_name", "vm_state", "vm_status", "vm_os", "last_used"}

// dropFirst are the columns that a narrow terminal leaves out first, in this
// order; the others follow from the right.
var dropFirst = []string{"vm_status", "vm_os", "last_used", "vm_id"}

// Formats of vms.
const (
	formatTable = "table"
	formatCSV   = "csv"
	formatJSON  = "json"
)

var vmsFormats = []string{formatTable, formatCSV, formatJSON}

func (p *program) vmsCommand() *cobra.Command {
	var columns, format string
	var bom bool
	command := &cobra.Command{
		Use:   "vms",
		Short: "List the virtual machines of this Mac",
		Long: `List the virtual machines of all users of this Mac as the agent has them.
Users who are not administrators see their own.

An empty cell of the table shows the reason in parentheses; machines get null
and the reasons beside it. Without --columns people see the most useful ones,
csv and JSON have all. People see them by user and name, and on a narrow terminal
without vm_status, vm_os, last_used, vm_id and then what stands on the right;
below the table is what was left out. In a pipe nothing is. Columns:
` + columnHelp(),
		Example: "  prlagent vms\n  prlagent vms --columns all\n  prlagent vms --columns user_name,vm_name,vm_os_build --format csv",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if format = text.TypedWord(format); p.json {
				format = formatJSON
			}
			if !slices.Contains(vmsFormats, format) {
				return fmt.Errorf("--format must be one of %s, not %q", strings.Join(vmsFormats, ", "), format)
			}
			if bom && format != formatCSV {
				return errors.New("--bom is for --format csv")
			}
			chosen, err := chooseColumns(columns, format)
			if err != nil {
				return err
			}
			return p.runVMs(cmd.Context(), chosen, format, bom)
		},
	}
	command.Flags().StringVar(&columns, "columns", "", "columns by id with commas between, or all")
	command.Flags().StringVar(&format, "format", formatTable, strings.Join(vmsFormats, ", "))
	command.Flags().BoolVar(&bom, "bom", false, "begin csv with a byte order mark, by which Excel knows it as UTF-8")
	completeFrom(command, "format", vmsFormats)
	completeFrom(command, "columns", append(columnIDs(), "all"))
	return command
}

// completeFrom offers the words for a flag to the shell. It can only fail for
// a flag that is not there.
func completeFrom(command *cobra.Command, flag string, words []string) {
	complete := cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)
	if err := command.RegisterFlagCompletionFunc(flag, complete); err != nil {
		panic(err)
	}
}

func columnIDs() []string {
	ids := make([]string, 0, len(protocol.Columns))
	for _, column := range protocol.Columns {
		ids = append(ids, column.ID)
	}
	return ids
}

func columnHelp() string {
	var out strings.Builder
	for _, column := range protocol.Columns {
		fmt.Fprintf(&out, "  %-15s %s\n", column.ID, column.Title)
	}
	return out.String()
}

// chooseColumns reads the flag; without it the format decides.
func chooseColumns(flag, format string) ([]protocol.Column, error) {
	switch {
	case text.TypedWord(flag) == "all", flag == "" && format != formatTable:
		return protocol.Columns, nil
	case flag == "":
		return columnsByID(usefulColumns)
	}
	return columnsByID(strings.Split(flag, ","))
}

func columnsByID(ids []string) ([]protocol.Column, error) {
	columns := make([]protocol.Column, 0, len(ids))
	for _, id := range ids {
		column, found := protocol.ColumnByID(text.TypedWord(id))
		if !found {
			return nil, fmt.Errorf("there is no column %q; 'prlagent vms --help' lists them", id)
		}
		columns = append(columns, *column)
	}
	return columns, nil
}

func (p *program) runVMs(ctx context.Context, columns []protocol.Column, format string, bom bool) error {
	ctx, cancel := p.withTimeout(ctx)
	defer cancel()
	inventory, err := p.newClient().Inventory(ctx)
	if err != nil {
		return exitFor(err)
	}
	switch format {
	case formatJSON:
		err = p.printJSON(inventoryJSON(inventory, columns))
	case formatCSV:
		err = p.printCSV(inventory, columns, bom)
	default:
		_, err = fmt.Fprint(p.stdout, vmsPage(p.newView(), cleanDocument(inventory), columns))
	}
	if err != nil {
		return exitFor(err)
	}
	return nil
}

// inventoryJSON leaves the columns out that were not chosen; what our rows
// have beside the columns stays.
func inventoryJSON(inventory localapi.Inventory, columns []protocol.Column) map[string]any {
	rows := make([]map[string]any, 0, len(inventory.Rows))
	for _, row := range inventory.Rows {
		document := protocol.RowJSON(row)
		gaps := make(map[string]protocol.Code)
		for _, column := range columns {
			if code := column.Reason(&row); code != "" {
				gaps[column.ID] = code
			}
		}
		document["gaps"] = gaps
		for _, column := range protocol.Columns {
			if !slices.ContainsFunc(columns, func(chosen protocol.Column) bool { return chosen.ID == column.ID }) {
				delete(document, column.ID)
			}
		}
		rows = append(rows, document)
	}
	return map[string]any{"schema": inventory.Schema, "at": inventory.At, "rows": rows, "restricted": inventory.Restricted, "left_out": inventory.LeftOut}
}

func (p *program) printCSV(inventory localapi.Inventory, columns []protocol.Column, bom bool) error {
	if bom {
		if _, err := io.WriteString(p.stdout, text.ByteOrderMark); err != nil {
			return fmt.Errorf("write csv: %w", err)
		}
	}
	out := text.NewCSV(p.stdout)
	heads := make([]string, 0, len(columns))
	for _, column := range columns {
		heads = append(heads, column.ID)
	}
	if err := out.Write(heads); err != nil {
		return err
	}
	for _, row := range inventory.Rows {
		fields := make([]string, 0, len(columns))
		for _, column := range columns {
			fields = append(fields, column.Value(&row))
		}
		if err := out.Write(fields); err != nil {
			return err
		}
	}
	return out.Flush()
}

// vmsPage is the table for people, with what its reasons mean below it.
func vmsPage(v outputView, inventory localapi.Inventory, columns []protocol.Column) string {
	if len(inventory.Rows) == 0 {
		return "No virtual machines.\n" + vmsNote(v, inventory)
	}
	machines := styledTable{drop: columnIndexes(columns, dropFirst)}
	slices.SortStableFunc(inventory.Rows, func(a, b protocol.Row) int {
		return cmp.Or(collate.CompareNatural(a.Owner, b.Owner), collate.CompareNatural(a.Name, b.Name), a.VMKey.Compare(b.VMKey))
	})
	reasons := make(map[protocol.Code]bool)
	for _, column := range columns {
		machines.heads = append(machines.heads, v.columnTitle(column))
	}
	for _, row := range inventory.Rows {
		fields := make([]tableCell, 0, len(columns))
		for _, column := range columns {
			fields = append(fields, v.fieldCell(column, row))
			if code := column.Reason(&row); code != "" {
				reasons[code] = true
			}
		}
		machines.rows = append(machines.rows, fields)
	}
	return machines.render(v, "") + totalNote(inventory.Rows) + staleNotes(v, inventory.Rows) + reasonNotes(v, reasons) + vmsNote(v, inventory)
}

func columnIndexes(columns []protocol.Column, ids []string) (indexes []int) {
	for _, id := range ids {
		if at := slices.IndexFunc(columns, func(c protocol.Column) bool { return c.ID == id }); at >= 0 {
			indexes = append(indexes, at)
		}
	}
	return indexes
}

// totalNote counts what is in the table.
func totalNote(rows []protocol.Row) string {
	owners, running := make(map[uint32]bool), 0
	for _, row := range rows {
		owners[row.UID] = true
		if row.State == protocol.StateRunning && row.Stale == "" {
			running++
		}
	}
	return fmt.Sprintf("\n%s of %s, %d running.\n", countWords(len(rows), "virtual machine"), countWords(len(owners), "user"), running)
}

// columnTitle is the guide's, with the zone that the times are shown in.
func (v outputView) columnTitle(column protocol.Column) string {
	return strings.TrimSuffix(column.Title, " (UTC)")
}

// staleSign marks rows that are only the last known ones.
const staleSign = "†"

func (v outputView) fieldCell(column protocol.Column, row protocol.Row) tableCell {
	if code := column.Gap(&row); code != "" {
		return tableCell{"(" + string(code) + ")", styleDim}
	}
	if code := column.Remark(&row); code != "" {
		return tableCell{column.Value(&row) + " (" + string(code) + ")", ""}
	}
	switch {
	case column.Kind == protocol.KindTime:
		return tableCell{v.localTime(column.At(&row)), ""}
	case column.ID == "vm_state" && row.Stale != "":
		return tableCell{column.Value(&row) + " " + staleSign, styleYellow}
	case column.ID == "vm_state" && row.State == protocol.StateRunning:
		return tableCell{column.Value(&row), styleGreen}
	}
	return tableCell{column.Value(&row), ""}
}

func staleNotes(v outputView, rows []protocol.Row) string {
	var out strings.Builder
	for _, row := range rows {
		if row.Stale == "" {
			continue
		}
		seen := ""
		if !row.SeenAt.IsZero() {
			seen = "last seen " + v.momentWords(row.SeenAt)
		}
		fmt.Fprintf(&out, "%s %s of %s: %s\n", staleSign, row.Name, row.Owner,
			joinParts("; ", "only the last known row", seen, codeWords(row.Stale)))
	}
	if out.Len() == 0 {
		return ""
	}
	return "\n" + out.String()
}

func reasonNotes(v outputView, reasons map[protocol.Code]bool) string {
	if len(reasons) == 0 {
		return ""
	}
	var out strings.Builder
	out.WriteString("\n")
	for _, code := range slices.Sorted(maps.Keys(reasons)) {
		words := code.Text()
		out.WriteString(v.paint(styleDim, fmt.Sprintf("(%s) %s", code, joinParts(" ", words.Text, words.Remedy))) + "\n")
	}
	return out.String()
}

// missingWords say that there is more on this Mac than is shown.
func missingWords(leftOut int) string {
	if leftOut == 0 {
		return ""
	}
	return fmt.Sprintf("%d more are not shown: the agent keeps at most %d. ", leftOut, protocol.MaxVMs)
}

func vmsNote(v outputView, inventory localapi.Inventory) string {
	looked := missingWords(inventory.LeftOut) + "As of " + v.momentWords(inventory.At) + "."
	if inventory.At.IsZero() {
		looked = "The agent has not looked yet."
	}
	if inventory.Restricted {
		looked += " Only your own are shown: sudo prlagent vms"
	}
	return "\n" + looked + "\n"
}
