package text

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// EncodeJSON is a document as JSON for programs, which a person may look at all
// the same (H15): values stay what they are, and what would act on a terminal is
// in JSON's own escapes. Each line after the first begins with prefix; without
// prefix and indent there is one line. The text does not end with a line end.
func EncodeJSON(document any, prefix, indent string) ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetIndent(prefix, indent)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(document); err != nil {
		return nil, fmt.Errorf("encode json: %w", err)
	}
	return displayJSON(bytes.TrimSuffix(out.Bytes(), []byte("\n"))), nil
}

// displayJSON is Display for a JSON text as a whole: what steers instead of
// showing something is written in JSON's own escapes, so that the text means
// what it meant and a person may look at it (H15). Encoders of JSON have escaped
// the characters below the space already; its layout may have tabs and line
// feeds. Bytes that are not UTF-8 become U+FFFD,
// which is what readers of JSON take them for. A text with nothing to escape
// is given back itself.
func displayJSON(data []byte) []byte {
	var out []byte // nil as long as nothing was escaped
	above := markCount(0)
	for i := 0; i < len(data); {
		size, shown := above.canShowJSON(data[i:])
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

// canShowJSON looks at the first character of a JSON text: its size in bytes,
// and whether it can be shown.
func (p *markCount) canShowJSON(text []byte) (size int, shown bool) {
	if text[0] >= ' ' && text[0] < 0x7f || text[0] == '\n' || text[0] == '\t' {
		*p = 0
		return 1, true
	}
	character, size := utf8.DecodeRune(text)
	if character == utf8.RuneError && size == 1 {
		return size, false
	}
	return size, p.canShow(character)
}

func appendEscape(out []byte, character rune) []byte {
	if high, low := utf16.EncodeRune(character); high != unicode.ReplacementChar {
		return fmt.Appendf(out, `\u%04x\u%04x`, high, low)
	}
	return fmt.Appendf(out, `\u%04x`, character)
}
