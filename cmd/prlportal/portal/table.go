package portal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"prlagent/agent/protocol"
)

// timeForPeople is local time with its zone; machines get RFC 3339 in UTC.
const timeForPeople = "2006-01-02 15:04 MST"

// emptyCell stands where there is nothing to say.
const emptyCell = "–"

// maxCell is the widest that a cell of a table gets, in columns of the terminal.
const maxCell = 36

// grid is text in columns, for people.
type grid struct {
	head []string
	rows [][]string
}

// write aligns the columns with two spaces between them. Every cell passes
// protocol.Display, so no cell can leave its place (H15).
func (t grid) write(w io.Writer) error {
	widths := make([]int, len(t.head))
	lines := make([][]string, 0, len(t.rows)+1)
	for _, row := range append([][]string{t.head}, t.rows...) {
		line := make([]string, len(row))
		for i, cell := range row {
			line[i] = protocol.Shorten(protocol.Display(cell), maxCell)
			widths[i] = max(widths[i], protocol.DisplayWidth(line[i]))
		}
		lines = append(lines, line)
	}
	var out strings.Builder
	for _, line := range lines {
		var padded strings.Builder
		for i, cell := range line {
			padded.WriteString(cell)
			padded.WriteString(strings.Repeat(" ", widths[i]-protocol.DisplayWidth(cell)+2))
		}
		out.WriteString(strings.TrimRight(padded.String(), " ") + "\n")
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// shown is one text of others within a line for people.
func shown(text string) string { return protocol.Shorten(protocol.Display(text), protocol.MaxText) }

// encodeJSON makes JSON for programs and for people who look (H15). Values stay
// what they are: characters that would act on a terminal are escaped in JSON's
// own way.
func encodeJSON(v any, prefix, indent string) (string, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	if prefix+indent != "" {
		encoder.SetIndent(prefix, indent)
	}
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return "", fmt.Errorf("encode json: %w", err)
	}
	return strings.TrimSuffix(string(protocol.DisplayJSON(out.Bytes())), "\n"), nil
}
