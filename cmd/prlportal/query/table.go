package query

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"prlagent/agent/protocol"
	"prlagent/platform/text"
)

// Field is a column together with where its value comes from. Filters, sort
// keys, outputs and the description of the admin plane derive from it.
type Field[T any] struct {
	Column Column
	Text   func(*T) string
	At     func(*T) time.Time // of a time
	// Unsearched is set where a search does not look.
	Unsearched bool
}

// Cell is the value of the row in this column.
func (f Field[T]) Cell(row *T) Cell {
	if f.At != nil {
		return Cell{at: f.At(row)}
	}
	return Cell{text: f.Text(row)}
}

// Table is everything that the read side knows of rows of one type.
type Table[T any] struct {
	Name   string // of its list in JSON, in URLs and on the command line
	Fields []Field[T]
	Search func(*T) string // what a search looks at
}

// Columns are the columns of the table in their order.
func (t Table[T]) Columns() []Column {
	columns := make([]Column, len(t.Fields))
	for i, field := range t.Fields {
		columns[i] = field.Column
	}
	return columns
}

// SearchText is what a search looks at: the values that are words,
// versions or numbers, made comparable, each on a line of its own.
func (t Table[T]) SearchText(row *T) string {
	var text strings.Builder
	for _, field := range t.Fields {
		if field.Unsearched || field.Column.Kind == protocol.KindTime || field.Column.Kind == protocol.KindBool {
			continue
		}
		if value := field.Cell(row).text; value != "" {
			text.WriteString(comparisonKey(value))
			text.WriteByte('\n')
		}
	}
	return text.String()
}

// FindColumn finds a column by its id as typed; the error names those that there
// are.
func FindColumn(columns []Column, typed string) (Column, error) {
	id := text.TypedWord(typed)
	at := slices.IndexFunc(columns, func(c Column) bool { return c.ID == id })
	if at < 0 {
		return Column{}, fmt.Errorf("there is no column %q; columns are %s", text.Display(typed), strings.Join(ColumnIDs(columns), ", "))
	}
	return columns[at], nil
}

// Column says what a table has in one place. The id is its name everywhere:
// csv header, JSON name, filter and sort key.
type Column struct {
	ID    string
	Title string
	Kind  protocol.Kind
	Path  string // where the value lies in the row's JSON; the id where empty
}

// ColumnIDs are the names of columns.
func ColumnIDs(columns []Column) []string {
	ids := make([]string, len(columns))
	for i, column := range columns {
		ids[i] = column.ID
	}
	return ids
}
