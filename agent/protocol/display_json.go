package protocol

import (
	"encoding/json"
	"fmt"
	"io"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// DisplayJSON is Display for a JSON text as a whole: what steers instead of
// showing something is written in JSON's own escapes, so that the text means
// what it meant and a person may look at it (H15). Encoders of JSON have escaped
// the characters below the space already; its layout may have tabs and line
// feeds. Bytes that are not UTF-8 become U+FFFD,
// which is what readers of JSON take them for. A text with nothing to escape
// is given back itself.
func DisplayJSON(data []byte) []byte {
	var out []byte // nil as long as nothing was escaped
	above := pile(0)
	for i := 0; i < len(data); {
		size, shown := above.showsJSON(data[i:])
		switch {
		case !shown:
			if out == nil {
				out = append(make([]byte, 0, len(data)+64), data[:i]...)
			}
			character, _ := utf8.DecodeRune(data[i:])
			out = appendEscape(out, character)
		case out != nil:
			out = append(out, data[i:i+size]...)
		}
		i += size
	}
	if out == nil {
		return data
	}
	return out
}

// showsJSON looks at the first character of a JSON text: its size in bytes,
// and whether it can be shown.
func (p *pile) showsJSON(text []byte) (size int, shown bool) {
	if text[0] >= ' ' && text[0] < 0x7f || text[0] == '\n' || text[0] == '\t' {
		*p = 0
		return 1, true
	}
	character, size := utf8.DecodeRune(text)
	if character == utf8.RuneError && size == 1 {
		return size, false
	}
	return size, p.shows(character)
}

func appendEscape(out []byte, character rune) []byte {
	if high, low := utf16.EncodeRune(character); high != unicode.ReplacementChar {
		return fmt.Appendf(out, `\u%04x\u%04x`, high, low)
	}
	return fmt.Appendf(out, `\u%04x`, character)
}

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
		short = fmt.Appendf(nil, `{"level":"error","message":"a line of the log is too long","bytes":%d,"begin":%s}`+"\n", len(line), quoted(short[:maxLogText]))
	}
	if _, err := w.Out.Write(DisplayJSON(short)); err != nil {
		return 0, err
	}
	return len(line), nil
}

func quoted(text []byte) []byte {
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
