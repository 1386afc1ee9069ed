package text

import (
	"encoding/json"
	"fmt"
	"io"
	"unicode/utf8"
)

// Limits of the log, in bytes: of one string, and of a line, which has few.
const (
	maxLogText = 4 << 10
	maxLogLine = 64 << 10
)

// LogWriter stands between a logger that writes a JSON object per Write and
// its file: names and errors of others in it can neither steer the terminal of
// whoever reads the log (H15) nor fill the disk. Strings of a line that is
// longer than 4 KiB are cut to that, with an ellipsis. A line that has more than
// 64 KiB all the same gives way to one that says so and has its beginning.
// Usual lines pass without a copy.
type LogWriter struct{ Out io.Writer }

// Write writes one line. It reports the whole of it or nothing as written.
func (w LogWriter) Write(line []byte) (int, error) {
	short := shortStrings(line)
	if len(short) > maxLogLine {
		short = fmt.Appendf(nil, `{"level":"error","message":"a line of the log is too long","bytes":%d,"begin":%s}`+"\n", len(line), quoteJSON(short[:maxLogText]))
	}
	if _, err := w.Out.Write(displayJSON(short)); err != nil {
		return 0, err
	}
	return len(line), nil
}

func quoteJSON(text []byte) []byte {
	data, _ := json.Marshal(string(text)) // every string has a form in JSON
	return data
}

// shortStrings cuts the strings of a JSON text to maxLogText bytes each, and
// never inside of an escape or a character.
func shortStrings(line []byte) []byte {
	if len(line) <= maxLogText {
		return line
	}
	var out []byte
	inside, length := false, 0
	for i := 0; i < len(line); {
		size := unitOf(line[i:], inside)
		unit := line[i : i+size]
		i += size
		switch {
		case unit[0] == '"':
			if length > maxLogText {
				out = append(out, "…"...)
			}
			inside, length = !inside, 0
		case inside:
			if length += size; length > maxLogText {
				continue
			}
		}
		out = append(out, unit...)
	}
	return out
}

// unitOf is the size of the first character or escape.
func unitOf(text []byte, inside bool) int {
	size := 1
	switch {
	case inside && len(text) > 1 && text[0] == '\\' && text[1] == 'u':
		size = len(`\u0000`)
	case inside && text[0] == '\\':
		size = len(`\n`)
	case text[0] >= utf8.RuneSelf:
		_, size = utf8.DecodeRune(text)
	}
	return min(size, len(text))
}
