package audit

import (
	"encoding/json"
	"fmt"
	"io"
)

// Line is a line of the record taken out of it, with the hashes that it stands between.
type Line struct {
	Number uint64 `json:"number"`
	Before string `json:"before,omitempty"` // hash of all lines before, empty for the first
	Text   string `json:"line"`             // byte for byte, without its end
	After  string `json:"after"`            // hash of all lines up to this one
}

// Mark is the line as a whole record has it.
func (l Line) Mark() Mark { return Mark{Number: l.Number, Hash: l.After} }

// Entry is what the line says, if it fits between its hashes.
func (l Line) Entry() (Entry, error) {
	var entry Entry
	before := Mark{Number: l.Number - 1, Hash: l.Before}
	if l.Number == 0 || before.after([]byte(l.Text)) != l.Mark() {
		return entry, fmt.Errorf("%w: line %d has another hash", ErrBroken, l.Number)
	}
	if err := json.Unmarshal([]byte(l.Text), &entry); err != nil {
		return entry, fmt.Errorf("%w: line %d is no entry", ErrBroken, l.Number)
	}
	if entry.Number != l.Number || entry.Chain != l.Before {
		return entry, fmt.Errorf("%w: line %d does not follow on the one before", ErrBroken, l.Number)
	}
	return entry, nil
}

// LinesOf are the lines about a command, of the record as it is now.
func (l *Log) LinesOf(commandID string) ([]Line, error) {
	info, err := l.file.Stat()
	if err != nil {
		return nil, fmt.Errorf("read audit log: %w", err)
	}
	return linesOf(io.NewSectionReader(l.file, 0, info.Size()), commandID)
}

// LinesInFile are the lines about a command, of the record at path, which must be as it was
// written.
func LinesInFile(path, commandID string) ([]Line, error) {
	if _, err := VerifyFile(path, Mark{}, nil); err != nil {
		return nil, err
	}
	file, err := openToRead(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return linesOf(file, commandID)
}

func linesOf(r io.Reader, commandID string) ([]Line, error) {
	lines, chain := []Line{}, chain{}
	err := eachLine(r, func(text []byte) error {
		before := chain.mark()
		chain.add(text)
		var entry Entry
		if json.Unmarshal(text, &entry) == nil && entry.Command != nil && entry.Command.ID == commandID {
			lines = append(lines, Line{Number: chain.mark().Number, Before: before.Hash, Text: string(text), After: chain.mark().Hash})
		}
		return nil
	})
	return lines, err
}
