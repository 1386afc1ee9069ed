package portal

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"prlagent/agent/protocol"
)

// vmRow is one row as the admin plane sends it: see protocol.RowJSON.
type vmRow map[string]any

// vmColumn is a column of the table, of the guide or ours.
type vmColumn struct {
	id    string
	title string
	time  bool
	ours  bool // lies in the row's "extra" object
}

// ourColumns stand beside the guide's twenty (protocol.md 5.1).
var ourColumns = []vmColumn{
	{id: "group", title: "Group", ours: true},
	{id: "group_source", title: "Group source", ours: true},
	{id: "policy_revision", title: "Policy revision", ours: true},
	{id: "policy_state", title: "Policy status", ours: true},
	{id: "last_command_detail", title: "Last command detail", ours: true},
	{id: "agent_version", title: "Agent version", ours: true},
	{id: "first_seen", title: "First seen", time: true, ours: true},
	{id: "device_id", title: "Device ID", ours: true},
}

// columnsForPeople fit a terminal and say the most.
var columnsForPeople = []string{
	"vm_name", "user_name", "computer_name", "vm_state", "vm_os", "last_used",
}

// guideColumns are the twenty.
func guideColumns() []vmColumn {
	columns := make([]vmColumn, 0, len(protocol.Columns)+len(ourColumns))
	for _, column := range protocol.Columns {
		columns = append(columns, vmColumn{id: column.ID, title: column.Title, time: column.Time})
	}
	return columns
}

type vmsOptions struct {
	adminOptions
	columns []string
	format  string
	json    bool
}

func newVMsCommand() *cobra.Command {
	var options vmsOptions
	command := &cobra.Command{
		Use:   "vms --dir DIR",
		Short: "List every virtual machine of every Mac",
		Long: `Vms prints the Virtual Machines page. People get the columns that fit a terminal,
in local time; csv and json have all twenty, in UTC. --columns chooses: ids
separated by commas, "guide" for the twenty, "all" for these and ours.

An empty cell has its reason: the legend below the table explains it.

Columns: ` + strings.Join(columnIDs(append(guideColumns(), ourColumns...)), ", ") + ".",
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if options.json {
				options.format = "json"
			}
			return options.run(command.Context(), command.OutOrStdout())
		},
	}
	options.addFlags(command.Flags())
	flags := command.Flags()
	flags.StringSliceVar(&options.columns, "columns", nil, "columns to show: ids, guide, or all")
	flags.StringVar(&options.format, "format", "table", "table, csv or json")
	flags.BoolVar(&options.json, "json", false, "same as --format json")
	return command
}

func (o vmsOptions) run(ctx context.Context, w io.Writer) error {
	columns, err := chooseColumns(o.columns, o.format)
	if err != nil {
		return err
	}
	client, err := o.open()
	if err != nil {
		return err
	}
	defer client.close()
	rows, err := client.vms(ctx)
	if err != nil {
		return err
	}
	switch o.format {
	case "csv":
		return printVMsCSV(w, columns, rows)
	case "json":
		return writeIndented(w, selectFields(columns, rows, len(o.columns) > 0))
	}
	return printVMs(w, columns, rows, time.Local)
}

func (c *adminClient) vms(ctx context.Context) ([]vmRow, error) {
	var list struct {
		VMs []vmRow `json:"vms"`
	}
	err := c.do(ctx, http.MethodGet, []string{"v1", "admin", "vms"}, nil, &list)
	return list.VMs, err
}

// chooseColumns turns the flag into columns; without one the format decides.
func chooseColumns(ids []string, format string) ([]vmColumn, error) {
	all := append(guideColumns(), ourColumns...)
	switch {
	case !slices.Contains([]string{"table", "csv", "json"}, format):
		return nil, usageError("--format is table, csv or json")
	case len(ids) == 0 && format == "table":
		ids = columnsForPeople
	case len(ids) == 0 || len(ids) == 1 && ids[0] == "guide":
		return guideColumns(), nil
	case len(ids) == 1 && ids[0] == "all":
		return all, nil
	}
	chosen := make([]vmColumn, 0, len(ids))
	for _, id := range ids {
		at := slices.IndexFunc(all, func(c vmColumn) bool { return c.id == id })
		if at < 0 {
			return nil, usageError(fmt.Sprintf("there is no column %s; columns are: %s", protocol.Display(id), strings.Join(columnIDs(all), ", ")))
		}
		chosen = append(chosen, all[at])
	}
	return chosen, nil
}

func columnIDs(columns []vmColumn) []string {
	ids := make([]string, len(columns))
	for i, column := range columns {
		ids[i] = column.id
	}
	return ids
}

// value is the cell as machines read it; empty if it has none.
func (c vmColumn) value(row vmRow) string {
	fields := map[string]any(row)
	if c.ours {
		fields, _ = row["extra"].(map[string]any)
	}
	switch value := fields[c.id].(type) {
	case string:
		return value
	case json.Number:
		return value.String()
	}
	return ""
}

// gap is why the cell is empty or a state is unknown; empty where nothing is missing.
func (c vmColumn) gap(row vmRow) protocol.Code {
	gaps, _ := row["gaps"].(map[string]any)
	code, _ := gaps[c.id].(string)
	return protocol.Code(code)
}

// forPeople is the cell in local time, and with its reason where it says less
// than it should.
func (c vmColumn) forPeople(row vmRow, zone *time.Location) string {
	value := c.value(row)
	if code := c.gap(row); code != "" {
		return strings.TrimSpace(value + " (" + string(code) + ")")
	}
	if at, err := time.Parse(time.RFC3339, value); c.time && err == nil {
		return at.In(zone).Format(timeForPeople)
	}
	return orEmpty(value)
}

// heading is the guide's title; people see local time, whatever it says.
func (c vmColumn) heading() string { return strings.TrimSuffix(c.title, " (UTC)") }

// staleMark precedes the first cell of a row that is only the last known one.
const staleMark = "* "

// printVMs writes the table and, below it, what is in it and why cells are empty.
func printVMs(w io.Writer, columns []vmColumn, rows []vmRow, zone *time.Location) error {
	if len(rows) == 0 {
		_, err := fmt.Fprintln(w, "No virtual machine was reported yet.")
		return err
	}
	shown := table{}
	for _, column := range columns {
		shown.head = append(shown.head, column.heading())
	}
	reasons := make(map[protocol.Code]struct{})
	for _, row := range rows {
		line := make([]string, 0, len(columns))
		for _, column := range columns {
			line = append(line, column.forPeople(row, zone))
			if code := column.gap(row); code != "" {
				reasons[code] = struct{}{}
			}
		}
		if code := row.stale(); code != "" {
			line[0] = staleMark + line[0]
			reasons[code] = struct{}{}
		}
		shown.rows = append(shown.rows, line)
	}
	if err := shown.write(w); err != nil {
		return err
	}
	text := "\n" + summary(rows)
	if len(reasons) > 0 {
		text += "\n" + legend(reasons)
	}
	_, err := io.WriteString(w, text)
	return err
}

// stale is why the row is only the last known one; empty if it is fresh.
func (r vmRow) stale() protocol.Code {
	code, _ := r["stale"].(string)
	return protocol.Code(code)
}

func summary(rows []vmRow) string {
	macs, stale := make(map[any]struct{}), 0
	for _, row := range rows {
		macs[row["mac_serial"]] = struct{}{}
		if row.stale() != "" {
			stale++
		}
	}
	text := count(len(rows), "virtual machine") + " on " + count(len(macs), "Mac")
	if stale > 0 {
		text += fmt.Sprintf(", %d as last known (*)", stale)
	}
	return text + ".\n"
}

func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// legend explains the reason codes that stand in the table.
func legend(reasons map[protocol.Code]struct{}) string {
	var out strings.Builder
	for _, code := range slices.Sorted(maps.Keys(reasons)) {
		fmt.Fprintf(&out, "(%s) %s\n", protocol.Display(string(code)), protocol.Display(code.Text().Text))
	}
	return out.String()
}

func printVMsCSV(w io.Writer, columns []vmColumn, rows []vmRow) error {
	lines := [][]string{columnIDs(columns)}
	for _, row := range rows {
		line := make([]string, 0, len(columns))
		for _, column := range columns {
			line = append(line, column.value(row))
		}
		lines = append(lines, line)
	}
	return writeCSV(w, lines)
}

// selectFields gives the rows as the portal sent them, or only the columns
// that were asked for by name.
func selectFields(columns []vmColumn, rows []vmRow, chosen bool) any {
	if rows == nil {
		rows = []vmRow{}
	}
	if !chosen {
		return map[string]any{"vms": rows}
	}
	selected := make([]map[string]any, 0, len(rows))
	for _, row := range rows {
		fields := make(map[string]any, len(columns))
		for _, column := range columns {
			fields[column.id] = json.RawMessage("null")
			if value := column.value(row); value != "" {
				fields[column.id] = value
			}
		}
		selected = append(selected, fields)
	}
	return map[string]any{"vms": selected}
}
