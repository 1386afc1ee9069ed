package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/fleet"
	"prlagent/cmd/prlportal/query"
	"prlagent/platform/text"
)

// tableRow is one row as the admin plane sends it, with json.Number as numbers.
type tableRow map[string]any

func readRow(data []byte) (tableRow, error) {
	var row tableRow
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber() // an inode does not fit a float
	if err := decoder.Decode(&row); err != nil {
		return nil, fmt.Errorf("read row: %w", err)
	}
	return row, nil
}

// rawCell is the cell as it was sent; nil if it is empty.
func (row tableRow) rawCell(c query.Column) any {
	path := c.Path
	if path == "" {
		path = c.ID
	}
	fields := map[string]any(row)
	for outer, inner, deeper := strings.Cut(path, "."); deeper; outer, inner, deeper = strings.Cut(path, ".") {
		fields, _ = fields[outer].(map[string]any)
		path = inner
	}
	if fields[path] == "" {
		return nil
	}
	return fields[path]
}

// cellText is the cell as machines read it in one text; empty if it has none.
func (row tableRow) cellText(c query.Column) string {
	switch value := row.rawCell(c).(type) {
	case string:
		return value
	case json.Number:
		return value.String()
	case bool:
		return strconv.FormatBool(value)
	case []any: // conditions
		codes := make([]string, 0, len(value))
		for _, one := range value {
			fields, _ := one.(map[string]any)
			code, _ := fields["code"].(string)
			codes = append(codes, code)
		}
		return strings.Join(codes, ", ")
	case map[string]any:
		codes := make(map[string]string, len(value))
		for id, code := range value {
			codes[id], _ = code.(string)
		}
		return fleet.GapsText(codes)
	}
	return ""
}

// gapCode is why the cell is empty or a state is unknown; empty where nothing
// is missing.
func (row tableRow) gapCode(c query.Column) protocol.Code {
	gaps, _ := row[fleet.GapsColumn].(map[string]any)
	code, _ := gaps[c.ID].(string)
	return protocol.Code(code)
}

// displayCell is the cell in local time, and with its reason where it says less
// than it should.
func (row tableRow) displayCell(c query.Column, zone *time.Location) string {
	value := row.cellText(c)
	if at, err := time.Parse(time.RFC3339, value); c.Kind == protocol.KindTime && err == nil {
		value = localTime(at, zone)
	}
	if code := row.gapCode(c); code != "" {
		return strings.TrimSpace(value + " (" + string(code) + ")")
	}
	return orEmpty(value)
}

// columnHeading is the guide's title; people see local time, whatever it says.
func columnHeading(c query.Column) string { return strings.TrimSuffix(c.Title, " (UTC)") }

// printRows writes the table for people, with the marks of its rows.
func printRows(w io.Writer, columns []query.Column, rows []tableRow, zone *time.Location) error {
	return printCells(w, columns, rows, zone, maxCell)
}

// printCells is printRows with another width of the widest cell.
func printCells(w io.Writer, columns []query.Column, rows []tableRow, zone *time.Location, widest int) error {
	shown := text.Table{MaxCell: maxPipeCell, Window: text.WindowWidth(w)}
	if shown.Window > 0 {
		shown.MaxCell = widest
	}
	for _, column := range columns {
		shown.Heads = append(shown.Heads, columnHeading(column))
	}
	for _, row := range rows {
		line := make([]string, 0, len(columns))
		for _, column := range columns {
			line = append(line, row.displayCell(column, zone))
		}
		if marks := row.rowMarks(); marks != "" {
			line[0] = marks + " " + line[0]
		}
		shown.Rows = append(shown.Rows, line)
	}
	return writeText(w, shown.String())
}

// rowWriter writes the rows of a table for machines, one at a time.
type rowWriter interface {
	write(row tableRow) error
	// end writes what comes after the last row; about is an adminapi.Page or ListInfo.
	end(about any) error
}

// newRowWriter writes rows as csv, json or ndjson. Without columns JSON has
// every field as it was sent.
func newRowWriter(w io.Writer, format, name string, columns []query.Column) (rowWriter, error) {
	switch format {
	case "csv":
		out := csvRows{text.NewCSV(w), columns}
		return out, out.out.Write(query.ColumnIDs(columns))
	case "json":
		return &jsonRows{w: w, name: name, columns: columns}, nil
	}
	return ndjsonRows{w, columns}, nil
}

// csvRows writes a line for each row below one of the columns' ids.
type csvRows struct {
	out     text.CSV
	columns []query.Column
}

func (c csvRows) write(row tableRow) error {
	cells := make([]string, 0, len(c.columns))
	for _, column := range c.columns {
		cells = append(cells, row.cellText(column))
	}
	return c.out.Write(cells)
}

func (c csvRows) end(any) error { return c.out.Flush() }

// ndjsonRows writes one row on each line and nothing else.
type ndjsonRows struct {
	w       io.Writer
	columns []query.Column
}

func (n ndjsonRows) write(row tableRow) error {
	encoded, err := text.EncodeJSON(selectFields(n.columns, row), "", "")
	if err != nil {
		return err
	}
	return writeText(n.w, string(encoded)+"\n")
}

func (n ndjsonRows) end(any) error { return nil }

// schema is the version of the documents of --json. It rises when a field changes
// its meaning or goes, and not when one comes.
const schema = 1

// jsonRows writes one object: the rows under the table's name, and what there
// is to say about them.
type jsonRows struct {
	w       io.Writer
	name    string
	columns []query.Column
	begun   bool
}

func (j *jsonRows) write(row tableRow) error {
	encoded, err := text.EncodeJSON(selectFields(j.columns, row), "    ", "  ")
	if err != nil {
		return err
	}
	before := ",\n    "
	if !j.begun {
		before = fmt.Sprintf("{\n  \"schema\": %d,\n  %q: [\n    ", schema, j.name)
	}
	j.begun = true
	return writeText(j.w, before+string(encoded))
}

func (j *jsonRows) end(about any) error {
	encoded, err := text.EncodeJSON(about, "", "  ")
	if err != nil {
		return err
	}
	before := "\n  ],"
	if !j.begun {
		before = fmt.Sprintf("{\n  \"schema\": %d,\n  %q: [],", schema, j.name)
	}
	return writeText(j.w, before+strings.TrimPrefix(string(encoded), "{")+"\n")
}

// printJSON prints a document for machines, indented, with its schema before all
// else. The document is an object that has a field.
func printJSON(w io.Writer, document any) error {
	encoded, err := text.EncodeJSON(document, "", "  ")
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	fields, isObject := strings.CutPrefix(string(encoded), "{\n")
	if !isObject {
		return errNoObject
	}
	return writeText(w, fmt.Sprintf("{\n  \"schema\": %d,\n", schema)+fields+"\n")
}

var errNoObject = errors.New("encode: the document is no object")

func writeText(w io.Writer, rows string) error {
	if _, err := io.WriteString(w, rows); err != nil {
		return fmt.Errorf("write rows: %w", err)
	}
	return nil
}

// selectFields gives the row as it was sent, or only the columns asked for,
// null where they are empty.
func selectFields(columns []query.Column, row tableRow) any {
	if columns == nil {
		return row
	}
	fields := make(map[string]any, len(columns))
	for _, column := range columns {
		fields[column.ID] = row.rawCell(column)
	}
	return fields
}

// timeForPeople is local time with its zone; machines get RFC 3339 in UTC.
const timeForPeople = "2006-01-02 15:04 MST"

// emptyCell stands where there is nothing to say.
const emptyCell = "–"

// The widest that a cell of a table gets, in columns: on a terminal, and in a
// pipe, where names are whole.
const (
	maxCell     = 36
	maxPipeCell = 255
)
