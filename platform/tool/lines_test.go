package tool

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// heard is one line as a follower gets it.
type heard struct {
	Text string
	Cut  bool
}

func split(max int, chunks ...string) (got []heard) {
	out := lineSplitter{max: max, handle: func(text []byte, cut bool) { got = append(got, heard{string(text), cut}) }}
	for _, chunk := range chunks {
		out.write([]byte(chunk))
	}
	out.flushLast()
	return got
}

func TestH13_LinesOfAStreamAreCapped(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		chunks []string
		want   []heard
	}{
		"nothing":                      {},
		"one line":                     {[]string{"one\n"}, []heard{{"one", false}}},
		"lines in one chunk":           {[]string{"one\ntwo\n"}, []heard{{"one", false}, {"two", false}}},
		"a line in chunks":             {[]string{"o", "n", "e\nt", "wo\n"}, []heard{{"one", false}, {"two", false}}},
		"empty lines":                  {[]string{"\n\r\n\n"}, []heard{{"", false}, {"", false}, {"", false}}},
		"end of line of a terminal":    {[]string{"one\r\n"}, []heard{{"one", false}}},
		"program's own, on a terminal": {[]string{"one\r\r\n"}, []heard{{"one", false}}},
		"end of line in chunks":        {[]string{"one\r", "\ntwo"}, []heard{{"one", false}, {"two", false}}},
		"return inside":                {[]string{"o\rne\n"}, []heard{{"o\rne", false}}},
		"no end at the end":            {[]string{"one\ntwo"}, []heard{{"one", false}, {"two", false}}},
		"as long as allowed":           {[]string{"12345678\r\r\n"}, []heard{{"12345678", false}}},
		"one byte longer":              {[]string{"123456789\n"}, []heard{{"12345678", true}}},
		"longer, on a terminal":        {[]string{"123456789\r\n"}, []heard{{"12345678", true}}},
		"far longer, in chunks":        {[]string{strings.Repeat("12345678", 9), strings.Repeat("x", 99), "y\nnext\n"}, []heard{{"12345678", true}, {"next", false}}},
		"too long, no end":             {[]string{strings.Repeat("12345678", 9)}, []heard{{"12345678", true}}},
		"next to the long one":         {[]string{"1234567890123\n12345678\n"}, []heard{{"12345678", true}, {"12345678", false}}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(c.want, split(8, c.chunks...)); diff != "" {
				t.Errorf("lines (-want +got):\n%s", diff)
			}
		})
	}
}

// However a stream arrives, its lines are the same, and none is too long.
func FuzzH13_Lines(f *testing.F) {
	f.Add("one\r\ntwo\r\r\n", 3)
	f.Add("12345678\r\n123456789\r\n", 9)
	f.Add("no end", 0)
	f.Fuzz(func(t *testing.T, stream string, at int) {
		at = max(0, min(at, len(stream)))
		whole, parts := split(8, stream), split(8, stream[:at], stream[at:])
		if diff := cmp.Diff(whole, parts); diff != "" {
			t.Errorf("in one, and cut at %d (-one +cut):\n%s", at, diff)
		}
		for _, line := range whole {
			if len(line.Text) > 8 || strings.Contains(line.Text, "\n") {
				t.Errorf("got the line %q", line.Text)
			}
		}
	})
}
