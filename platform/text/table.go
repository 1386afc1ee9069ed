package text

import "strings"

// Table is text in columns, for people.
type Table struct {
	Heads  []string // nil = no line of heads
	Rows   [][]string
	Indent string // before each line
	// MaxCell is how many columns a cell gets at most, so that one long name
	// does not push all others off the screen; 0 is no limit.
	MaxCell int
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
	var out strings.Builder
	for i, line := range lines {
		if row := i - 1; row >= 0 || t.Heads != nil {
			out.WriteString(t.Indent + t.formatLine(row, line, widths) + "\n")
		}
	}
	return out.String()
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

func (t Table) formatLine(row int, cells []string, widths []int) string {
	var out strings.Builder
	blanks := 0
	for i, cell := range cells {
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
