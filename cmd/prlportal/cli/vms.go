package cli

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/fleet"
	"prlagent/cmd/prlportal/query"
	"prlagent/platform/text"
)

// vmListing is how 'prlportal vms' shows the Virtual Machines page.
var vmListing = tableListing{
	name:         fleet.VMTable.Name,
	columns:      fleet.VMTable.Columns(),
	columnSets:   map[string]int{"guide": len(protocol.Columns), "all": len(fleet.VMTable.Fields)},
	csvSet:       "guide",
	usualColumns: []string{"vm_name", "user_name", "computer_name", "vm_state", "vm_os", "last_used", "policy_state", "settings_failed", "settings_deferred", "settings_drifts"},
	order:        []string{"computer_name", "user_name", "vm_name"},
	printTable:   printVMs,
}

func newVMsCommand() *cobra.Command {
	options := new(listOptions)
	command := newListCommand(vmListing, options, "List every virtual machine of every Mac, or show the settings of one",
		`Vms prints the Virtual Machines page; with VM, which is an id or a name, what became
of each setting of the policy on that one, and why. People get the columns that fit a terminal,
in local time; csv has the guide's twenty, JSON everything, in UTC.

An empty cell has its reason: the legend below the table explains it. The column
gaps has the reasons for machines. In front of a row stand * where it is only the
last known one, ! where its Mac has not reported for longer than twice the
check-in interval (stale_report), and - where it was removed (removed_at).`,
		`  prlportal vms --dir site/operator
  prlportal vms --dir site/operator --filter 'vm_state=Running' --sort user_name
  prlportal vms --dir site/operator --filter 'pd_version<26.1' --columns +pd_version --page 2
  prlportal vms --dir site/operator --filter 'settings_failed>0' --sort -settings_failed
  prlportal vms --dir site/operator --since -1h --json
  prlportal vms 'Windows 11' --dir site/operator`)
	options.withOne(command, "VM", "virtual machine", options.showVM)
	return command
}

// Marks precede the first cell of a row.
const (
	markRemoved     = "-"
	markStaleReport = "!"
	markLastKnown   = "*"
)

func (row tableRow) rowMarks() string {
	var marks string
	if removed, _ := row["removed_at"].(string); removed != "" {
		marks += markRemoved
	}
	if late, _ := row["stale_report"].(bool); late {
		marks += markStaleReport
	}
	if row.staleCode() != "" {
		marks += markLastKnown
	}
	return marks
}

// printVMs writes the table and, below it, what is in it and why cells are empty.
func printVMs(w io.Writer, columns []query.Column, rows []tableRow, zone *time.Location) error {
	if err := printRows(w, columns, rows, zone); err != nil {
		return err
	}
	reasons := make(map[protocol.Code]struct{})
	for _, row := range rows {
		for _, column := range columns {
			if code := row.gapCode(column); code != "" {
				reasons[code] = struct{}{}
			}
		}
		if code := row.staleCode(); code != "" {
			reasons[code] = struct{}{}
		}
	}
	text := "\n" + tableSummary(rows)
	if len(reasons) > 0 {
		text += "\n" + gapLegend(reasons)
	}
	_, err := io.WriteString(w, text)
	return err
}

// staleCode is why the row is only the last known one; empty if it is fresh.
func (row tableRow) staleCode() protocol.Code {
	code, _ := row["stale"].(string)
	return protocol.Code(code)
}

func tableSummary(rows []tableRow) string {
	macs, marked := make(map[any]struct{}), make(map[rune]int)
	for _, row := range rows {
		macs[row["mac_serial"]] = struct{}{}
		for _, mark := range row.rowMarks() {
			marked[mark]++
		}
	}
	text := countOf(len(rows), "virtual machine") + " on " + countOf(len(macs), "Mac")
	for _, mark := range []struct{ sign, words string }{
		{markLastKnown, "as last known"}, {markStaleReport, "not reported for too long"}, {markRemoved, "removed"},
	} {
		if n := marked[rune(mark.sign[0])]; n > 0 {
			text += fmt.Sprintf(", %d %s (%s)", n, mark.words, mark.sign)
		}
	}
	return text + ".\n"
}

func countOf(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// gapLegend explains the reason codes that stand in the table.
func gapLegend(reasons map[protocol.Code]struct{}) string {
	var out strings.Builder
	for _, code := range slices.Sorted(maps.Keys(reasons)) {
		fmt.Fprintf(&out, "(%s) %s\n", text.DisplayValue(string(code)), text.DisplayValue(code.Text().Text))
	}
	return out.String()
}
