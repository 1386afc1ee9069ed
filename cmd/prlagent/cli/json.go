package cli

import "prlagent/platform/text"

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
