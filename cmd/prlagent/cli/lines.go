package cli

import (
	"bytes"
	"errors"
	"io"
)

// maxLogLine is how much of one line of a log is read, in bytes; the daemon writes
// no longer ones. What a line has beyond it is left out, and the next line is read
// as any other.
const maxLogLine = 1 << 20

// cutMark ends a line that was cut.
const cutMark = " …"

// lineCutter makes lines of what is written to it piece by piece.
type lineCutter struct {
	part []byte // of a line that is not whole yet
	long bool   // that line is longer than maxLogLine
}

// write gives the lines that end in the piece to each, which must not keep them.
func (c *lineCutter) write(piece []byte, each func([]byte) error) error {
	for len(piece) > 0 {
		line, rest, ended := bytes.Cut(piece, []byte{'\n'})
		room := maxLogLine - len(c.part)
		c.part = append(c.part, line[:min(len(line), room)]...)
		c.long = c.long || len(line) > room
		if piece = rest; !ended {
			return nil
		}
		if err := c.end(each); err != nil {
			return err
		}
	}
	return nil
}

// end gives what there is of the current line, and begins the next one.
func (c *lineCutter) end(each func([]byte) error) error {
	line := bytes.TrimSuffix(c.part, []byte{'\r'})
	if c.long {
		line = append(line, cutMark...)
	}
	c.part, c.long = c.part[:0], false
	return each(line)
}

// readLines writes what is read until the end, where the last line need not be
// whole.
func (c *lineCutter) readLines(from io.Reader, each func([]byte) error) error {
	piece := make([]byte, 64<<10)
	for {
		n, err := from.Read(piece)
		if failed := c.write(piece[:n], each); failed != nil {
			return failed
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// eachLine gives every line of a text, also the last one without an end.
func eachLine(from io.Reader, each func([]byte) error) error {
	var lines lineCutter
	err := lines.readLines(from, each)
	if len(lines.part) > 0 {
		err = errors.Join(lines.end(each), err)
	}
	return err
}
