package cli

import "prlagent/platform/text"

// tableCell is one field of a table for people.
type tableCell struct {
	text  string
	style textStyle // empty = plain
}

// maxCell is the widest that a cell of a table gets, in columns of the terminal.
const maxCell = 80

// styledTable is a table for people whose cells may have colors.
type styledTable struct {
	heads []string
	rows  [][]tableCell
}

// render gives the table, each line after the indent, heads in bold.
func (t styledTable) render(v outputView, indent string) string {
	rows := make([][]string, 0, len(t.rows))
	for _, row := range t.rows {
		texts := make([]string, 0, len(row))
		for _, field := range row {
			texts = append(texts, field.text)
		}
		rows = append(rows, texts)
	}
	paint := func(row, column int, shown string) string {
		if row < 0 {
			return v.paint(styleBold, shown)
		}
		return v.paint(t.rows[row][column].style, shown)
	}
	return text.Table{Heads: t.heads, Rows: rows, Indent: indent, MaxCell: maxCell, Paint: paint}.String()
}
