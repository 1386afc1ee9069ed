// Package hostile has the texts that tests put where a user, a guest, a Mac or a
// stolen portal could.
package hostile

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode"
)

// Texts are strings that users, guests and Macs may give, or a portal that
// was stolen.
var Texts = []struct{ Name, Text string }{
	{"an escape sequence", "\x1b[2J\x1b]52;c;cm0gLXJm\x07"},
	{"C1 controls", "\u009b31m\u0085\x7f"},
	{"a change of direction", "a\u202egpj.exe\u2066"},
	{"invisible characters", "a\u200d\u200d\u200b\ufeff\u3164\u2028"},
	{"another line", "a\r\n{\"end\":{}}\n\tb\rc"},
	{"a NUL", "a\x00b"},
	{"no UTF-8", "a\xff\xed\xa0\x80b"},
	{"a pile of marks", "a" + strings.Repeat("\u0301", 200)},
	{"a formula", "=cmd|' /C calc'!A0"},
	{"a formula of other countries", "a;=cmd|' /C calc'!A0"},
	{"the end of CDATA", "]]>"},
	{"a text without an end", strings.Repeat("x", 20<<10)},
}

// WantSafeLog fails if the log has not one line for each event, short and with
// nothing in it that steers a terminal.
func WantSafeLog(t *testing.T, log []byte, events int) {
	t.Helper()
	if lines := bytes.Count(log, []byte("\n")); lines != events {
		t.Errorf("%d lines of %d events:\n%.2000q", lines, events, log)
	}
	for line := range bytes.Lines(log) {
		if steers := bytes.IndexFunc(bytes.TrimSuffix(line, []byte("\n")), func(c rune) bool { return !unicode.IsGraphic(c) }); steers >= 0 || !json.Valid(line) || len(line) > 32<<10 {
			t.Errorf("%d bytes: %.300q", len(line), line)
		}
	}
}
