package portal

import (
	"strings"
	"time"

	"prlagent/agent/protocol"
)

// field is a column together with where its value comes from. Filters, sort
// keys, outputs and the description of the admin plane derive from it.
type field[T any] struct {
	column column
	text   func(*T) string
	at     func(*T) time.Time // of a time
	// unsearched is set where a search does not look.
	unsearched bool
}

func (f field[T]) cell(row *T) cell {
	if f.at != nil {
		return cell{at: f.at(row)}
	}
	return cell{text: f.text(row)}
}

// table is everything that the read side knows of rows of one type.
type table[T any] struct {
	name   string // of its list in JSON, in URLs and on the command line
	fields []field[T]
	search func(*T) string // what a search looks at
}

func (t table[T]) columns() []column {
	columns := make([]column, len(t.fields))
	for i, field := range t.fields {
		columns[i] = field.column
	}
	return columns
}

// searchText is what a search looks at: the values that are words,
// versions or numbers, in lower case, each on a line of its own.
func (t table[T]) searchText(row *T) string {
	var text strings.Builder
	for _, field := range t.fields {
		if field.unsearched || field.column.kind == protocol.KindTime || field.column.kind == protocol.KindBool {
			continue
		}
		if value := field.cell(row).text; value != "" {
			text.WriteString(value)
			text.WriteByte('\n')
		}
	}
	return strings.ToLower(text.String())
}
