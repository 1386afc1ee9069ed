package prlctl

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// The one-letter escapes of JSON, and in the same order what they stand for. The
// slash alone does not stay escaped in canonical text; other control characters
// are written there as \u00xx, everything else as itself, so that equal strings
// have equal text.
const (
	escapeLetters    = `"\bfnrt/`
	escapeCharacters = "\"\\\b\f\n\r\t/"
)

// appendString copies a string in its canonical form. Raw control bytes, which the
// tools let through, are dropped (facts/prlctl.md 2.1).
func (d *document) appendString() error {
	d.copyByte()
	for {
		d.appendPlain()
		switch c := d.peekByte(); {
		case c == '"':
			d.copyByte()
			return nil
		case d.at == len(d.source):
			return errSyntax
		case c == '\\':
			if err := d.appendEscape(); err != nil {
				return err
			}
		case c < ' ':
			d.dropped = true
			d.at++
		default:
			d.appendCharacter()
		}
	}
}

// appendPlain copies a run of ASCII that needs no attention.
func (d *document) appendPlain() {
	start := d.at
	for d.at < len(d.source) {
		c := d.source[d.at]
		if c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' {
			break
		}
		d.at++
	}
	d.text = append(d.text, d.source[start:d.at]...)
}

// appendCharacter copies one character beyond ASCII.
func (d *document) appendCharacter() {
	r, size := utf8.DecodeRune(d.source[d.at:])
	if r == utf8.RuneError && size == 1 {
		d.replaced = true
	}
	d.text = utf8.AppendRune(d.text, r)
	d.at += size
}

// appendEscape reads one escape sequence and writes the character it stands for.
func (d *document) appendEscape() error {
	d.at++
	letter := d.peekByte()
	if letter == 'u' {
		r, err := d.unicodeEscape()
		if err != nil {
			return err
		}
		d.appendRune(r)
		return nil
	}
	at := strings.IndexByte(escapeLetters, letter)
	if at < 0 {
		return errSyntax
	}
	d.at++
	d.appendRune(rune(escapeCharacters[at]))
	return nil
}

// unicodeEscape reads uXXXX, or two of them that make one character. Half a
// pair becomes the replacement character.
func (d *document) unicodeEscape() (rune, error) {
	r, ok := d.hexRune(d.at + 1)
	if !ok {
		return 0, errSyntax
	}
	d.at += 5
	if !utf16.IsSurrogate(r) {
		return r, nil
	}
	if d.at+1 < len(d.source) && d.source[d.at] == '\\' && d.source[d.at+1] == 'u' {
		low, ok := d.hexRune(d.at + 2)
		if pair := utf16.DecodeRune(r, low); ok && pair != utf8.RuneError {
			d.at += 6
			return pair, nil
		}
	}
	d.replaced = true
	return utf8.RuneError, nil
}

// hexRune reads four hexadecimal digits at a position of the source.
func (d *document) hexRune(at int) (rune, bool) {
	if at+4 > len(d.source) {
		return 0, false
	}
	var r rune
	for _, c := range d.source[at : at+4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// appendRune writes a character of a string in its canonical form.
func (d *document) appendRune(r rune) {
	if at := strings.IndexRune(escapeCharacters, r); at >= 0 && r != '/' {
		d.text = append(d.text, '\\', escapeLetters[at])
		return
	}
	if r < ' ' {
		const digits = "0123456789abcdef"
		d.text = append(d.text, '\\', 'u', '0', '0', digits[r>>4], digits[r&15])
		return
	}
	d.text = utf8.AppendRune(d.text, r)
}
