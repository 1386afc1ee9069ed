package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"unicode"
	"unicode/utf16"
)

// printJSON prints a document for machines, indented.
func (p *program) printJSON(document any) error {
	data, err := json.MarshalIndent(document, "", "  ")
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	return writeLine(p.stdout, visibleJSON(data))
}

// printLineJSON prints a document in one line.
func (p *program) printLineJSON(document any) error {
	data, err := json.Marshal(document)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	return writeLine(p.stdout, visibleJSON(data))
}

func writeLine(out io.Writer, data []byte) error {
	_, err := out.Write(append(data, '\n'))
	return err
}

// visibleJSON writes characters that steer a terminal as JSON's own escapes:
// the document means the same, and a person may look at it (H15). JSON has
// escaped those below the space already.
func visibleJSON(data []byte) []byte {
	if bytes.IndexFunc(data, steers) < 0 {
		return data
	}
	var out bytes.Buffer
	for _, character := range string(data) {
		if !steers(character) {
			out.WriteRune(character)
			continue
		}
		if high, low := utf16.EncodeRune(character); high != unicode.ReplacementChar {
			fmt.Fprintf(&out, `\u%04x\u%04x`, high, low)
			continue
		}
		fmt.Fprintf(&out, `\u%04x`, character)
	}
	return out.Bytes()
}

func steers(character rune) bool { return character >= 0x7f && !unicode.IsGraphic(character) }
