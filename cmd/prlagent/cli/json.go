package cli

import (
	"fmt"

	"prlagent/platform/text"
)

// printDocument prints a document as JSON, or as the page that people get of it, in
// which nothing steers a terminal.
func printDocument[T any](p *program, document T, page func(outputView, T) string) error {
	if p.json {
		return p.printJSON(document)
	}
	_, err := fmt.Fprint(p.stdout, page(p.newView(), cleanDocument(document)))
	return err
}

// printJSON prints a document for machines, indented.
func (p *program) printJSON(document any) error { return p.writeJSON(document, "  ") }

// printLineJSON prints a document in one line.
func (p *program) printLineJSON(document any) error { return p.writeJSON(document, "") }

func (p *program) writeJSON(document any, indent string) error {
	data, err := text.EncodeJSON(document, "", indent)
	if err != nil {
		return err
	}
	_, err = p.stdout.Write(append(data, '\n'))
	return err
}
