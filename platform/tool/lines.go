package tool

import "bytes"

// lineSplitter cuts a stream into lines and hands each over, without its end of
// line (a terminal makes "\r\n" of a program's "\n"), as soon as it is whole.
type lineSplitter struct {
	max    int // bytes of a line; what goes beyond is thrown away
	handle func(text []byte, cut bool)

	held []byte // the line that is not whole yet
	lost bool   // some of it was thrown away
}

// endOfLine is how many bytes beyond the longest line are held: a program that
// ends its own lines with "\r\n" gets "\r\r\n" from the terminal.
const endOfLine = 2

func (l *lineSplitter) write(data []byte) {
	for len(data) > 0 {
		text, rest, whole := bytes.Cut(data, []byte{'\n'})
		l.holdPart(text)
		if whole {
			l.flushLine()
		}
		data = rest
	}
}

func (l *lineSplitter) holdPart(text []byte) {
	if room := l.max + endOfLine - len(l.held); len(text) > room {
		text, l.lost = text[:room], true
	}
	l.held = append(l.held, text...)
}

func (l *lineSplitter) flushLine() {
	text := bytes.TrimRight(l.held, "\r")
	cut := l.lost || len(text) > l.max
	l.handle(text[:min(len(text), l.max)], cut)
	l.held, l.lost = l.held[:0], false
}

// flushLast hands over a last line that has no end.
func (l *lineSplitter) flushLast() {
	if len(l.held) > 0 {
		l.flushLine()
	}
}
