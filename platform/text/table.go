package text

import (
	"fmt"
	"slices"
	"strings"
)

// Table is text in columns, for people.
type Table struct {
	Heads  []string // nil = no line of heads
	Rows   [][]string
	Indent string // before each line
	// MaxCell is how many columns a cell gets at most, so that one long name
	// does not push all others off the screen; 0 is no limit.
	MaxCell int
	// Window is how many columns the terminal has, as WindowWidth gives them; with
	// 0, as in a pipe, nothing is left out. Where the table is wider, columns are
	// left out until it fits, and named in a line below it: first those of Drop, in
	// that order, then the others from the right. The first column always stays.
	Window int
	Drop   []int // indexes of columns
	// Paint gives a cell that was made safe its color, a sequence that takes no
	// columns. The heads are row -1; nil leaves all plain.
	Paint func(row, column int, text string) string
}

// columnGap is how many blanks stand between two columns.
const columnGap = 2

// String aligns the columns by the width that their text takes on a terminal.
// Every cell goes through Display, so that none can leave its place (H15). A
// line ends at its last text, without blanks behind it.
func (t Table) String() string {
	lines := make([][]string, 0, len(t.Rows)+1)
	for _, row := range append([][]string{t.Heads}, t.Rows...) {
		lines = append(lines, t.displayCells(row))
	}
	widths := widthsOf(lines)
	left := t.leaveOut(widths)
	var out strings.Builder
	for i, line := range lines {
		if row := i - 1; row >= 0 || t.Heads != nil {
			out.WriteString(t.Indent + t.formatLine(row, line, widths) + "\n")
		}
	}
	return out.String() + t.leftOutLine(left)
}

func (t Table) displayCells(row []string) []string {
	cells := make([]string, len(row))
	for i, cell := range row {
		if cells[i] = Display(cell); t.MaxCell > 0 {
			cells[i] = shorten(cells[i], t.MaxCell)
		}
	}
	return cells
}

func widthsOf(lines [][]string) []int {
	var widths []int
	for _, line := range lines {
		for i, cell := range line {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], Width(cell))
		}
	}
	return widths
}

// noColumn is the width of a column that is left out.
const noColumn = -1

// leaveOut marks the columns that are left out in widths, and gives them in
// their order.
func (t Table) leaveOut(widths []int) (left []int) {
	if t.Window <= 0 {
		return nil
	}
	for _, column := range t.dropOrder(len(widths)) {
		if t.lineWidth(widths) <= t.Window {
			break
		}
		if column > 0 && column < len(widths) && widths[column] != noColumn {
			widths[column] = noColumn
			left = append(left, column)
		}
	}
	slices.Sort(left)
	return left
}

func (t Table) dropOrder(columns int) []int {
	order := slices.Clone(t.Drop)
	for column := columns - 1; column > 0; column-- {
		order = append(order, column)
	}
	return order
}

func (t Table) lineWidth(widths []int) int {
	total := Width(t.Indent) - columnGap
	for _, width := range widths {
		if width != noColumn {
			total += width + columnGap
		}
	}
	return total
}

// leftOutLine names the columns that have no room; empty if all have.
func (t Table) leftOutLine(left []int) string {
	if len(left) == 0 {
		return ""
	}
	names := make([]string, 0, len(left))
	for _, column := range left {
		name := fmt.Sprintf("column %d", column+1)
		if column < len(t.Heads) {
			name = Display(t.Heads[column])
		}
		names = append(names, name)
	}
	return t.Indent + "No room for: " + strings.Join(names, ", ") + ".\n"
}

func (t Table) formatLine(row int, cells []string, widths []int) string {
	var out strings.Builder
	blanks := 0
	for i, cell := range cells {
		if widths[i] == noColumn {
			continue
		}
		if cell = strings.TrimRight(cell, " "); cell != "" {
			out.WriteString(strings.Repeat(" ", blanks) + t.paintCell(row, i, cell))
			blanks = 0
		}
		blanks += widths[i] - Width(cell) + columnGap
	}
	return out.String()
}

func (t Table) paintCell(row, column int, cell string) string {
	if t.Paint == nil {
		return cell
	}
	return t.Paint(row, column, cell)
}
