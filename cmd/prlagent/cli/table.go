package cli

import (
	"strings"

	"prlagent/agent/protocol"
)

// cell is one field of a table for people.
type cell struct {
	text string
	ink  ink // empty = plain
}

// maxCell is the widest that a cell gets, in columns of the terminal: one long
// name must not push all others off the screen.
const maxCell = 80

// table aligns columns by the width that their text takes on a terminal.
type table struct {
	heads []string
	rows  [][]cell
}

// render gives the table, each line after the indent, heads in bold.
func (t table) render(v view, indent string) string {
	for _, row := range t.rows {
		for i := range row {
			row[i].text = protocol.Shorten(row[i].text, maxCell)
		}
	}
	widths := t.widths()
	heads := make([]cell, 0, len(t.heads))
	for _, head := range t.heads {
		heads = append(heads, cell{head, bold})
	}
	var out strings.Builder
	for _, row := range append([][]cell{heads}, t.rows...) {
		out.WriteString(indent + line(v, row, widths) + "\n")
	}
	return out.String()
}

func (t table) widths() []int {
	widths := make([]int, len(t.heads))
	for i, head := range t.heads {
		widths[i] = protocol.DisplayWidth(head)
	}
	for _, row := range t.rows {
		for i, field := range row {
			widths[i] = max(widths[i], protocol.DisplayWidth(field.text))
		}
	}
	return widths
}

// line ends at its last text: a row never has trailing blanks.
func line(v view, row []cell, widths []int) string {
	var out strings.Builder
	blanks := 0
	for i, field := range row {
		if field.text != "" {
			out.WriteString(strings.Repeat(" ", blanks) + v.paint(field.ink, field.text))
			blanks = 0
		}
		blanks += widths[i] - protocol.DisplayWidth(field.text) + 2
	}
	return out.String()
}
