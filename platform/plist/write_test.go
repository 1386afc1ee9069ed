package plist

import (
	"bytes"
	"math"
	"testing"
	"time"

	library "howett.net/plist"
)

// Byte for byte, so that nobody's file changes with the writer.
func TestXMLIsWhatTheLibraryWrites(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name string
		tree any
	}{
		{"nothing in it", map[string]any{"array": []any{}, "dictionary": map[string]any{}, "data": []byte{}, "string": "", "": "key"}},
		{"reals", []any{0.0, 1.0, -2.5, 1e300, 1e-7, 1e21, math.MaxFloat64, math.SmallestNonzeroFloat64}},
		{"integers", []any{uint64(0), uint64(math.MaxUint64), int64(-1), int64(math.MinInt64)}},
		{"booleans", []any{true, false}},
		{"text that XML spells otherwise", []any{"<a href=\"b\">&amp;'c'</a>", "\t\r\n", " edge ", "\u0085\u2028Größe 💻", "]]>"}},
		{"keys in order", map[string]any{"b": "2", "a": "1", "B": "0", "é": "4", "<&>": "3", "aa": "5"}},
		{"data", bytes.Repeat([]byte{0xff, 0x00}, 100)},
		{"a date", time.Date(2026, 11, 23, 12, 30, 15, 0, time.FixedZone("east", 3600))},
		{"the root is text", "text"},
		{"nested", []any{[]any{map[string]any{"in": []any{map[string]any{"side": true}}}}}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			want, err := library.MarshalIndent(c.tree, library.XMLFormat, "\t")
			if err != nil {
				t.Fatal(err)
			}
			if got, err := writeXML(c.tree); err != nil || string(got) != string(want)+"\n" {
				t.Errorf("got\n%s, %v\nwant\n%s", got, err, want)
			}
		})
	}
}

func TestXMLOfAnUnknownTypeIsRefused(t *testing.T) {
	t.Parallel()
	if data, err := writeXML([]any{map[string]any{"a": int32(1)}}); err == nil {
		t.Errorf("written as %s", data)
	}
}
