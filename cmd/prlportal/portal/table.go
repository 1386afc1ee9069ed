package portal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"

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
			line[i] = shorten(protocol.Display(cell), maxCell)
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

// shorten cuts text to limit columns, with an ellipsis as the last one.
func shorten(text string, limit int) string {
	if protocol.DisplayWidth(text) <= limit {
		return text
	}
	end, width := 0, 0
	for at, character := range text {
		if width += protocol.DisplayWidth(string(character)); width >= limit {
			end = at
			break
		}
	}
	return text[:end] + "…"
}

// encodeJSON makes JSON for programs and for people who look. Values stay what
// they are: characters that would act on a terminal are escaped in JSON's own
// way.
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
	return escapeInvisible(strings.TrimSuffix(out.String(), "\n")), nil
}

// escapeInvisible replaces what encoding/json leaves as it is: C1 controls,
// bidi marks and their like. Outside of strings JSON has only ASCII.
func escapeInvisible(text string) string {
	var out strings.Builder
	for _, r := range text {
		if r < 0x7f || protocol.Display(string(r)) == string(r) {
			out.WriteRune(r)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&out, `\u%04x`, unit)
		}
	}
	return out.String()
}
