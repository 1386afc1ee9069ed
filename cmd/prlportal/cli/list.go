package cli

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/adminapi"
	"prlagent/cmd/prlportal/fleet"
	"prlagent/cmd/prlportal/query"
	"prlagent/platform/text"
	"prlagent/platform/text/collate"
)

// tableListing is a table of the admin plane as the command line shows it.
type tableListing struct {
	name         string
	columns      []query.Column
	columnSets   map[string]int // name of a set -> how many of the columns it has
	csvSet       string         // the set of csv, where none is asked for
	usualColumns []string       // columns that say the most; a narrow terminal leaves out those on the right
	order        []string       // columns that people look rows up by
	printTable   func(w io.Writer, columns []query.Column, rows []tableRow, zone *time.Location) error
}

// Formats of a list.
const (
	formatTable  = "table"
	formatCSV    = "csv"
	formatJSON   = "json"
	formatNDJSON = "ndjson"
)

// listOptions are the flags of a command that lists.
type listOptions struct {
	admin    adminOptions
	view     tableView
	path     string // of the table in the admin plane; the table's name where empty
	viewName string
	saveView string
	viewFile string
	format   string
	asJSON   bool
	bom      bool
}

const filterHelp = `

A filter is COLUMN OPERATOR VALUE, and every --filter must hold:
  vm_state=Running        vm_state!=Running       vm_name contains win
  pd_version<26.1         and <=, >, >=           vm_os in "Windows 11, Pro", macOS
  last_used before 2026-11-01      last_reported after -7d
  vm_serial empty         vm_serial not empty
Text compares without regard to case, to composed and decomposed characters (é), to
typographic quotes and dashes and to braces around ids; versions part by part;
2026-11-01 is the whole day, in UTC. An empty cell fits "empty" and != only.

--since lists what changed since then, with the rows that were removed. Give
as_of of the JSON as the next one: rows may come again, and none is missed. That
a check-in confirmed a row is no change of it.

People get a table as wide as their terminal: columns on the right are left out and
named below it, and none in a pipe. Without --sort it is in the order of names.

--columns takes ids; %s for a set; or +ID and -ID to show and hide.
--save-view keeps columns, filters, search, sort and page size under a name for
--view; the view "default" is what people get without --view.

Columns: `

func newListCommand(shown tableListing, options *listOptions, short, long, examples string) *cobra.Command {
	command := &cobra.Command{
		Use:     shown.name + " --dir DIR",
		Short:   short,
		Long:    long + shown.helpText(),
		Example: examples,
		Args:    cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			options.format = typedFormat(options.format, options.asJSON)
			if !slices.Contains([]string{formatTable, formatCSV, formatJSON, formatNDJSON}, options.format) {
				return usageError("--format is table, csv, json or ndjson")
			}
			if err := options.applyView(shown, command.Flags()); err != nil {
				return err
			}
			return options.writeList(command.Context(), shown, command.OutOrStdout())
		},
	}
	options.admin.addFlags(command)
	options.addQueryFlags(command.Flags())
	flags := command.Flags()
	flags.Var(countFlag{&options.view.Query.Page}, "page", "page to show, from 1 (default: everything)")
	flags.Var(countFlag{&options.view.Query.PerPage}, "per-page", "rows of a page: 10, 20, 30, 40 … 1000 (default 40, with --page)")
	flags.StringVar(&options.format, "format", formatTable, "table, csv, json or ndjson")
	flags.BoolVar(&options.asJSON, "json", false, "same as --format json")
	return command
}

// typedFormat is the format that was asked for, where --json is a short form of one.
func typedFormat(format string, asJSON bool) string {
	if asJSON {
		return formatJSON
	}
	return text.TypedWord(format)
}

// withOne lets a command that lists show one row as a whole, where it is named by the
// argument: what is called so is a noun.
func (o *listOptions) withOne(command *cobra.Command, argument, noun string, show func(ctx context.Context, w io.Writer, name string) error) {
	list, name := command.RunE, command.Name()
	command.Use = name + " [" + argument + "] --dir DIR"
	command.Args = cobra.MaximumNArgs(1)
	command.RunE = func(command *cobra.Command, args []string) error {
		if len(args) == 0 {
			return list(command, args)
		}
		o.format = typedFormat(o.format, o.asJSON)
		if o.format != formatTable && o.format != formatJSON {
			return usageError("--format of one " + noun + " is table or json")
		}
		for _, flag := range []string{"filter", "search", "sort", "since", "columns", "view", "save-view", "page", "per-page"} {
			if command.Flags().Changed(flag) {
				return usageError("--" + flag + " is for the list of " + noun + "s, without " + argument)
			}
		}
		return show(command.Context(), command.OutOrStdout(), args[0])
	}
}

// countFlag is a number from 1, read as in the URL of the admin plane.
type countFlag struct{ number *int }

func (c countFlag) String() string {
	if c.number == nil || *c.number == 0 {
		return ""
	}
	return strconv.Itoa(*c.number)
}

func (c countFlag) Set(typed string) (err error) {
	*c.number, err = query.ParseCount(typed)
	return err
}

func (c countFlag) Type() string { return "int" }

func (l tableListing) helpText() string {
	sets := "all"
	if len(l.columnSets) > 1 {
		sets = "guide or all"
	}
	return fmt.Sprintf(filterHelp, sets) + strings.Join(query.ColumnIDs(l.columns), ", ") + "."
}

func (o *listOptions) addQueryFlags(flags *pflag.FlagSet) {
	asked := &o.view.Query
	flags.StringArrayVar(&asked.Filters, "filter", nil, "COLUMN OPERATOR VALUE; repeat it, all must hold")
	flags.StringVar(&asked.Search, "search", "", "part of any text of the row")
	flags.StringSliceVar(&asked.Sort, "sort", nil, "columns, the first counts most; -COLUMN for falling")
	flags.StringVar(&asked.Since, "since", "", "only what changed since: a time, or -1h, -7d")
	flags.StringSliceVar(&o.view.Columns, "columns", nil, "columns to show")
	flags.StringVar(&o.viewName, "view", "", "saved view to begin with")
	flags.StringVar(&o.saveView, "save-view", "", "name to save this view under")
	flags.StringVar(&o.viewFile, "views", "", "file of saved views (default: views.json in the user's configuration)")
	flags.BoolVar(&o.bom, "bom", false, "begin csv with a byte order mark, by which Excel knows it as UTF-8")
}

// applyView adds the saved view, checks what is asked for, and saves it if
// wished.
func (o *listOptions) applyView(shown tableListing, flags *pflag.FlagSet) error {
	if o.bom && o.format != formatCSV {
		return usageError("--bom is for csv")
	}
	if err := checkGiven(flags); err != nil {
		return err
	}
	if err := o.useView(shown.name, flags); err != nil {
		return err
	}
	if _, err := shown.chooseColumns(o.view.Columns, o.format); err != nil {
		return err
	}
	if _, err := o.view.Query.Plan(shown.columns, time.Now()); err != nil {
		return asUsage(err)
	}
	if o.saveView != "" {
		return o.keepView(shown.name)
	}
	return nil
}

// checkGiven refuses flags without a value, as a variable that is not set leaves
// them: they would list everything.
func checkGiven(flags *pflag.FlagSet) error {
	for _, name := range []string{"search", "sort", "since", "columns"} {
		given := flags.Lookup(name)
		if given.Changed && strings.Trim(text.TrimTyped(given.Value.String()), "[]") == "" {
			return usageError(name + ": expected a value")
		}
	}
	return nil
}

// asUsage makes a mistake in a query one in how the program was called, also
// where only the portal found it.
func asUsage(err error) error {
	var wrong query.Error
	var problem protocol.Problem
	switch {
	case errors.As(err, &wrong):
		return usageError(wrong.Error())
	case errors.As(err, &problem) && problem.Name() == protocol.ProblemInvalidRequest && problem.Field != "":
		return usageError(text.Display(problem.Field + ": " + problem.Detail))
	}
	return err
}

// chooseColumns turns the flag into columns; without one the format decides, and
// JSON has everything, which is nil.
func (l tableListing) chooseColumns(typed []string, format string) ([]query.Column, error) {
	ids := make([]string, len(typed))
	for i, id := range typed {
		ids[i] = text.TypedWord(id)
	}
	relative := len(ids) > 0 && !slices.ContainsFunc(ids, func(id string) bool { return !strings.HasPrefix(id, "+") && !strings.HasPrefix(id, "-") })
	switch {
	case len(ids) == 0 && (format == formatJSON || format == formatNDJSON):
		return nil, nil
	case relative:
		return l.changeColumns(ids, format)
	case len(ids) == 0 && format == formatTable:
		ids = l.usualColumns
	case len(ids) == 0:
		ids = []string{l.csvSet}
	}
	if size, isSet := l.columnSets[ids[0]]; isSet && len(ids) == 1 {
		return l.columns[:size], nil
	}
	chosen := make([]query.Column, 0, len(ids))
	for _, id := range ids {
		found, err := query.FindColumn(l.columns, id)
		if err != nil {
			return nil, usageError("--columns: " + err.Error())
		}
		chosen = append(chosen, found)
	}
	return chosen, nil
}

// changeColumns shows (+) and hides (-) columns of those that the format would
// have.
func (l tableListing) changeColumns(changes []string, format string) ([]query.Column, error) {
	if format != formatTable {
		format = formatCSV
	}
	before, err := l.chooseColumns(nil, format)
	if err != nil {
		return nil, err
	}
	chosen := slices.Clone(before)
	for _, change := range changes {
		found, err := query.FindColumn(l.columns, change[1:])
		if err != nil {
			return nil, usageError("--columns: " + err.Error())
		}
		chosen = slices.DeleteFunc(chosen, func(c query.Column) bool { return c.ID == found.ID })
		if change[0] == '+' {
			chosen = append(chosen, found)
		}
	}
	if len(chosen) == 0 {
		return nil, usageError("--columns hides every column")
	}
	return chosen, nil
}

func (o listOptions) writeList(ctx context.Context, shown tableListing, w io.Writer) error {
	columns, err := shown.chooseColumns(o.view.Columns, o.format)
	if err != nil {
		return err
	}
	client, err := o.admin.openClient()
	if err != nil {
		return err
	}
	defer client.Close()
	if o.format == formatTable {
		return o.writeTable(ctx, client, shown, columns, w)
	}
	buffered := bufio.NewWriter(w)
	if o.bom {
		_, _ = buffered.WriteString(text.ByteOrderMark) // Flush gives the error
	}
	out, err := newRowWriter(buffered, o.format, shown.name, columns)
	if err != nil {
		return err
	}
	about, err := client.Rows(ctx, o.tablePath(shown), o.view.Query, func(data json.RawMessage) error {
		row, err := readRow(data)
		if err != nil {
			return err
		}
		return out.write(row)
	})
	if err != nil {
		return asUsage(err)
	}
	return errors.Join(out.end(about), buffered.Flush())
}

func (o listOptions) writeTable(ctx context.Context, client *adminapi.Client, shown tableListing, columns []query.Column, w io.Writer) error {
	var rows []tableRow
	about, err := client.Rows(ctx, o.tablePath(shown), o.view.Query, func(data json.RawMessage) error {
		row, err := readRow(data)
		rows = append(rows, row)
		return err
	})
	if err != nil {
		return asUsage(err)
	}
	part, paged := about.(adminapi.Page)
	info, _ := about.(adminapi.ListInfo)
	if paged {
		info = part.ListInfo
	}
	switch {
	case len(rows) > 0:
		if len(o.view.Query.Sort) == 0 && !paged {
			shown.sortForPeople(rows)
		}
		if err := shown.printTable(w, columns, rows, time.Local); err != nil {
			return err
		}
	case !paged || part.Total == 0:
		return writeText(w, shown.emptyMessage(o.view.Query)+"\n"+remarks(info))
	}
	return writeText(w, pageWords(part, len(rows))+remarks(info))
}

// tablePath is where the admin plane has the table.
func (o listOptions) tablePath(shown tableListing) string { return cmp.Or(o.path, shown.name) }

// pageWords says which part of the rows was shown; nothing where that is all.
func pageWords(part adminapi.Page, shown int) string {
	if part.PerPage == 0 {
		return ""
	}
	pages := (part.Total + part.PerPage - 1) / part.PerPage
	if shown == 0 {
		return fmt.Sprintf("There is no page %d: %s %s of %d.\n", part.Page, countOf(part.Total, "row")+fitWord(part.Total), countOf(pages, "page"), part.PerPage)
	}
	return fmt.Sprintf("\nPage %d of %d, %d in all.\n", part.Page, pages, part.Total)
}

func fitWord(rows int) string {
	if rows == 1 {
		return " fits on"
	}
	return " fit on"
}

// remarks are what is not in a list that should be.
func remarks(info adminapi.ListInfo) string {
	var words string
	if info.Missing > 0 {
		words += fmt.Sprintf("\n%s in no row, of all Macs: a report has room for %d at most. 'prlportal devices --filter \"vms_missing not empty\"' names the Macs.\n",
			wereCountOf(info.Missing, "virtual machine"), protocol.MaxVMs)
	}
	if info.Incomplete {
		words += "\nMore was removed, or happened, since then than the portal keeps; list everything to see how it is now.\n"
	}
	return words
}

func wereCountOf(n int, thing string) string {
	if n == 1 {
		return "1 " + thing + " is"
	}
	return countOf(n, thing) + " are"
}

// sortForPeople orders a whole table by the columns that people look things up
// by, numbers in names as numbers. A page is in the portal's order: where it
// begins must not depend on who looks.
func (l tableListing) sortForPeople(rows []tableRow) {
	columns := make([]query.Column, 0, len(l.order))
	for _, id := range l.order {
		if column, err := query.FindColumn(l.columns, id); err == nil {
			columns = append(columns, column)
		}
	}
	slices.SortStableFunc(rows, func(a, b tableRow) int {
		for _, column := range columns {
			if order := collate.CompareNatural(a.cellText(column), b.cellText(column)); order != 0 {
				return order
			}
		}
		return 0
	})
}

func (l tableListing) emptyMessage(asked query.Query) string {
	switch {
	case l.name == fleet.EventTable.Name && asked.Since == usualSpan:
		return "Nothing that fits happened in the last day; --since 7d looks further back."
	case l.name == fleet.EventTable.Name:
		return "Nothing that fits happened."
	case len(asked.Values()) > 0:
		return "Nothing fits."
	case l.name == fleet.CommandTable.Name:
		return "No command was issued yet."
	case l.name == fleet.DeviceTable.Name:
		return "No Mac has enrolled yet."
	}
	return "No virtual machine was reported yet."
}
