package tool

import "bytes"

// lines cuts a stream into lines and hands each over, without its end of line
// (a terminal makes "\r\n" of a program's "\n"), as soon as it is whole.
type lines struct {
	max    int // bytes of a line; what goes beyond is thrown away
	handle func(text []byte, cut bool)

	held []byte // the line that is not whole yet
	lost bool   // some of it was thrown away
}

// endOfLine is how many bytes beyond the longest line are held: a program that
// ends its own lines with "\r\n" gets "\r\r\n" from the terminal.
const endOfLine = 2

func (l *lines) write(data []byte) {
	for len(data) > 0 {
		text, rest, whole := bytes.Cut(data, []byte{'\n'})
		l.hold(text)
		if whole {
			l.flush()
		}
		data = rest
	}
}

func (l *lines) hold(text []byte) {
	if room := l.max + endOfLine - len(l.held); len(text) > room {
		text, l.lost = text[:room], true
	}
	l.held = append(l.held, text...)
}

func (l *lines) flush() {
	text := bytes.TrimRight(l.held, "\r")
	cut := l.lost || len(text) > l.max
	l.handle(text[:min(len(text), l.max)], cut)
	l.held, l.lost = l.held[:0], false
}

// end hands over a last line that has no end.
func (l *lines) end() {
	if len(l.held) > 0 {
		l.flush()
	}
}
