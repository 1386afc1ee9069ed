package cli

import "prlagent/platform/text"

// tableCell is one field of a table for people.
type tableCell struct {
	text  string
	style textStyle // empty = plain
}

// The widest that a cell of a table gets, in columns: on a terminal, and in a
// pipe, where names are whole, and nothing is without an end all the same (H15).
const (
	maxCell     = 80
	maxPipeCell = 500
)

// styledTable is a table for people whose cells may have colors.
type styledTable struct {
	heads []string
	rows  [][]tableCell
	drop  []int // columns that a narrow terminal leaves out first
}

// render gives the table, each line after the indent, heads in bold. In a pipe
// nothing is cut or left out.
func (t styledTable) render(v outputView, indent string) string {
	rows := make([][]string, 0, len(t.rows))
	for _, row := range t.rows {
		texts := make([]string, 0, len(row))
		for _, field := range row {
			texts = append(texts, field.text)
		}
		rows = append(rows, texts)
	}
	shown := text.Table{Heads: t.heads, Rows: rows, Indent: indent, Window: v.window, Drop: t.drop, MaxCell: maxPipeCell}
	if v.window > 0 {
		shown.MaxCell = maxCell
	}
	shown.Paint = func(row, column int, cell string) string {
		if row < 0 {
			return v.paint(styleBold, cell)
		}
		return v.paint(t.rows[row][column].style, cell)
	}
	return shown.String()
}
