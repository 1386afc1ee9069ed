package cli

import (
	"encoding/json"
	"fmt"
	"io"

	"prlagent/agent/protocol"
)

// printJSON prints a document for machines, indented. A person may look at it
// all the same (H15).
func (p *program) printJSON(document any) error {
	data, err := json.MarshalIndent(document, "", "  ")
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	return writeLine(p.stdout, protocol.DisplayJSON(data))
}

// printLineJSON prints a document in one line.
func (p *program) printLineJSON(document any) error {
	data, err := json.Marshal(document)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	return writeLine(p.stdout, protocol.DisplayJSON(data))
}

func writeLine(out io.Writer, data []byte) error {
	_, err := out.Write(append(data, '\n'))
	return err
}
