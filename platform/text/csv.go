package text

import (
	"encoding/csv"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// CSV writes the lines of a csv file (RFC 4180) whose cells a spreadsheet takes
// for text and nothing else, see DisplayCSV.
type CSV struct{ out *csv.Writer }

// ByteOrderMark at the beginning of a csv file tells Excel that it is UTF-8; without
// one it reads names in the encoding of its system. Other programs may take it for
// a part of the first head.
const ByteOrderMark = "\ufeff"

// NewCSV makes a writer of csv; what it has written is complete after Flush.
func NewCSV(out io.Writer) CSV { return CSV{csv.NewWriter(out)} }

// Write writes one line.
func (c CSV) Write(cells []string) error {
	line := make([]string, len(cells))
	for i, cell := range cells {
		line[i] = DisplayCSV(cell)
	}
	if err := c.out.Write(line); err != nil {
		return fmt.Errorf("write csv: %w", err)
	}
	return nil
}

// Flush writes what is left of the lines before, and gives the first error.
func (c CSV) Flush() error {
	c.out.Flush()
	if err := c.out.Error(); err != nil {
		return fmt.Errorf("write csv: %w", err)
	}
	return nil
}

// DisplayCSV is Display for a cell of a csv file, and defuses what a
// spreadsheet would run as a formula (protocol.md 5.1): users name their
// machines as they like. It looks at the cell as it came, before a tab or a
// line end is made visible, and also after every semicolon, where a
// spreadsheet of many countries begins a cell.
func DisplayCSV(cell string) string {
	parts := strings.SplitAfter(cell, ";")
	for i, part := range parts {
		parts[i] = Display(part)
		if beginsFormula(part) {
			parts[i] = "'" + parts[i]
		}
	}
	return strings.Join(parts, "")
}

// beginsFormula looks behind blanks and quotes, which spreadsheets drop, and
// knows the wide forms of the signs, which some take for the narrow ones.
func beginsFormula(cell string) bool {
	begin := strings.TrimLeftFunc(cell, func(character rune) bool {
		return character == '"' || unicode.Is(unicode.Zs, character)
	})
	first, size := utf8.DecodeRuneInString(begin)
	return size > 0 && strings.ContainsRune("=+-@\t\r\n＝＋－＠", first)
}
