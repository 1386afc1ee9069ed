package plist

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	library "howett.net/plist"
)

// The tests of this file are the rows of facts/macos.md 6.2, one each.

const xmlHead = `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
`

// document wraps the text of one value.
func document(value string) []byte {
	return []byte(xmlHead + `<plist version="1.0">` + value + "</plist>\n")
}

// wantCode fails the test unless err is an Error with the code.
func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	var coded *Error
	if !errors.As(err, &coded) {
		t.Fatalf("error %v, want one with the code %s", err, code)
	}
	if coded.Code != code {
		t.Fatalf("error %v, want the code %s", err, code)
	}
}

func decoded(t *testing.T, data []byte) any {
	t.Helper()
	tree, err := Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func TestHazardEmptyFileIsNoEmptyDictionary(t *testing.T) {
	t.Parallel()
	_, err := Decode(nil)
	wantCode(t, err, CodeEmpty)
	_, err = DecodeDict([]byte{})
	wantCode(t, err, CodeEmpty)
}

func TestHazardOtherFormatsAreRefused(t *testing.T) {
	t.Parallel()
	utf16 := []byte{0xFF, 0xFE}
	for _, r := range string(document("<true/>")) {
		utf16 = binary.LittleEndian.AppendUint16(utf16, uint16(r))
	}
	cases := map[string][]byte{
		"plain text":       []byte("hello"),
		"JSON":             []byte(`{"a": 1}`),
		"OpenStep":         []byte(`{ a = b; }`),
		"OpenStep data":    []byte(`<abab>`),
		"GNUStep":          []byte(`{ a = <*I5>; }`),
		"strings file":     []byte(`"a" = "b";`),
		"UTF-16":           utf16,
		"other XML":        []byte(`<html><body/></html>`),
		"white space only": []byte(" \n\t"),
		"one NUL":          {0},
	}
	for name, data := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := Decode(data)
			wantCode(t, err, CodeInvalid)
		})
	}
}

func TestHazardTrailingGarbage(t *testing.T) {
	t.Parallel()
	whole := document("<true/>")
	for name, tail := range map[string]string{
		"text":            "garbage",
		"second document": `<plist version="1.0"><false/></plist>`,
		"NUL bytes":       "\x00\x00",
		"open tag":        "<plist>",
		"directive":       "<!DOCTYPE plist>",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Decode(append(bytes.Clone(whole), tail...))
			wantCode(t, err, CodeInvalid)
		})
	}
	if got := decoded(t, append(bytes.Clone(whole), "\n<!-- a comment -->\n"...)); got != true {
		t.Errorf("a comment at the end: got %v", got)
	}
}

func TestHazardMissingRoot(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"bare dictionary": "<dict><key>a</key><true/></dict>",
		"bare string":     "<string>a</string>",
		"no value":        "<plist></plist>",
		"two values":      "<plist><true/><true/></plist>",
		"nested root":     "<plist><plist><true/></plist></plist>",
		"root in array":   "<plist><array><plist><true/></plist></array></plist>",
		"unclosed":        "<plist><dict>",
		"namespace":       `<p:plist xmlns:p="x"><true/></p:plist>`,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Decode([]byte(text))
			wantCode(t, err, CodeInvalid)
		})
	}
}

func TestHazardDuplicateKeys(t *testing.T) {
	t.Parallel()
	_, err := Decode(document("<dict><key>a</key><true/><key>a</key><false/></dict>"))
	wantCode(t, err, CodeInvalid)
	_, err = Decode(document("<dict><key>a</key><true/><key>&#97;</key><false/></dict>"))
	wantCode(t, err, CodeInvalid)

	ascii, wide := []byte{0x51, 'a'}, []byte{0x61, 0, 'a'}
	yes, no := []byte{0x09}, []byte{0x08}
	_, err = Decode(binaryList([]byte{0xD2, 1, 2, 3, 4}, ascii, wide, yes, no))
	wantCode(t, err, CodeInvalid)
	_, err = Decode(binaryList([]byte{0xD2, 1, 1, 2, 3}, ascii, yes, no))
	wantCode(t, err, CodeInvalid)
}

func TestHazardIntegerSpelling(t *testing.T) {
	t.Parallel()
	for _, text := range []string{" 5 ", "+7", "", "5.0", "--5", "0x", "18446744073709551616", "-9223372036854775809", "1_000"} {
		_, err := Decode(document("<integer>" + text + "</integer>"))
		wantCode(t, err, CodeInvalid)
	}
}

func TestHazardIntegerTypeFollowsSign(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]any{
		"0": uint64(0), "-0": uint64(0), "5": uint64(5), "-5": int64(-5), "0x1F": uint64(31), "-0x1f": int64(-31),
		"18446744073709551615": uint64(math.MaxUint64), "-9223372036854775808": int64(math.MinInt64),
	} {
		if got := decoded(t, document("<integer>"+text+"</integer>")); got != want {
			t.Errorf("%s: got %T %v, want %T %v", text, got, got, want, want)
		}
	}
	for _, n := range []any{int8(5), int64(5), uint16(5), uint64(5)} {
		for name, data := range inBothFormats(t, n) {
			if got := decoded(t, data); got != uint64(5) {
				t.Errorf("%s of %T: got %T", name, n, got)
			}
		}
	}
}

func TestHazardIntegerIsNoReal(t *testing.T) {
	t.Parallel()
	whole, real := decoded(t, document("<integer>5</integer>")), decoded(t, document("<real>5</real>"))
	if whole != uint64(5) || real != 5.0 {
		t.Errorf("got %T and %T", whole, real)
	}
}

func TestHazardNilIsRefused(t *testing.T) {
	t.Parallel()
	type nilFields struct {
		Pointer *int
		Any     any
	}
	zero := 0
	for name, v := range map[string]any{
		"nil itself":           nil,
		"nil pointer itself":   (*nilFields)(nil),
		"nil pointer field":    nilFields{Any: 1},
		"nil interface field":  nilFields{Pointer: &zero},
		"nil in an array":      []any{1, nil},
		"nil in a dictionary":  map[string]any{"a": nil},
		"nil deep inside":      map[string]any{"a": []any{map[string]any{"b": nil}}},
		"nil pointer in array": []*int{nil},
		"nil map in interface": []any{(*map[string]any)(nil)},
	} {
		t.Run(name, func(t *testing.T) {
			data, err := EncodeXML(v)
			wantCode(t, err, CodeUnsupported)
			if data != nil {
				t.Error("data beside an error")
			}
		})
	}
}

func TestHazardNilFieldsCanBeOmitted(t *testing.T) {
	t.Parallel()
	v := struct {
		Name    string  `plist:"Name"`
		Pointer *int    `plist:"Pointer,omitempty"`
		Any     any     `plist:",omitempty"`
		List    []any   `plist:"List"`
		Hidden  *string `plist:"-"`
	}{Name: "a"}
	data, err := EncodeXML(v)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(any(map[string]any{"Name": "a", "List": []any{}}), decoded(t, data)); diff != "" {
		t.Error(diff)
	}
}

func TestHazardNaNAndInfinity(t *testing.T) {
	t.Parallel()
	for _, f := range []any{math.NaN(), math.Inf(1), math.Inf(-1), float32(math.NaN())} {
		_, err := EncodeXML(map[string]any{"r": f})
		wantCode(t, err, CodeUnsupported)
	}
	// A foreign file may hold them; it stays readable, and comparable.
	nan := decoded(t, document("<real>nan</real>"))
	if !Equal(nan, nan) {
		t.Error("not a number differs from itself: drift without end")
	}
}

func TestHazardDates(t *testing.T) {
	t.Parallel()
	precise := time.Date(2026, 11, 23, 13, 30, 15, 999_999_999, time.FixedZone("CET", 3600))
	want := time.Date(2026, 11, 23, 12, 30, 15, 0, time.UTC)
	for name, data := range inBothFormats(t, precise) {
		if diff := cmp.Diff(want, decoded(t, data)); diff != "" {
			t.Error(name, diff)
		}
	}
	for _, refused := range []time.Time{{}, time.Time{}.Add(time.Millisecond), time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)} {
		_, err := EncodeXML(refused)
		wantCode(t, err, CodeUnsupported)
	}
	// The library counts nanoseconds in 64 bits on the way to the binary format.
	late := time.Date(4001, 1, 1, 0, 0, 0, 0, time.UTC)
	wantCode(t, checkWritten(libraryBinary(t, late), late), CodeRoundTrip)

	// Apple's distantPast must not make a whole file unreadable.
	distantPast := binary.BigEndian.AppendUint64([]byte{0x33}, math.Float64bits(-63114076800))
	if diff := cmp.Diff(any(time.Date(0, 12, 30, 0, 0, 0, 0, time.UTC)), decoded(t, binaryList(distantPast))); diff != "" {
		t.Error(diff)
	}

	for name, seconds := range map[string]float64{
		"not a number": math.NaN(), "infinite": math.Inf(1), "beyond the calendar": 1e300, "before the calendar": -1e12,
	} {
		t.Run("binary date "+name, func(t *testing.T) {
			object := binary.BigEndian.AppendUint64([]byte{0x33}, math.Float64bits(seconds))
			_, err := Decode(binaryList(object))
			wantCode(t, err, CodeInvalid)
		})
	}
}

// The calendar of the binary format counts from 2001 and has the edges of the
// one that XML can spell: the years 0 to 9999.
func TestHazardDatesAtTheEdgesOfTheCalendar(t *testing.T) {
	t.Parallel()
	epoch := time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	for _, c := range []struct {
		at time.Time
		ok bool
	}{
		{time.Date(-1, 12, 31, 23, 59, 59, 0, time.UTC), false},
		{time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC), true},
		{time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), true},
		{time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), false},
	} {
		object := binary.BigEndian.AppendUint64([]byte{0x33}, math.Float64bits(float64(c.at.Unix()-epoch)))
		got, err := Decode(binaryList(object))
		if c.ok && (err != nil || got != any(c.at)) {
			t.Errorf("%v is %v, %v", c.at, got, err)
		}
		if !c.ok {
			wantCode(t, err, CodeInvalid)
		}
	}
}

// Integers of 16 bytes are read where 64 bits hold them; the library alone
// would drop the upper half.
func TestHazardIntegersOfSixteenBytes(t *testing.T) {
	t.Parallel()
	const ones = math.MaxUint64
	for _, c := range []struct {
		high, low uint64
		want      any // nil: refused
	}{
		{0, 0, uint64(0)},
		{0, 1<<63 + 5, uint64(1<<63 + 5)},
		{0, ones, uint64(ones)},
		{ones, ones, int64(-1)},
		{ones, 1 << 63, int64(math.MinInt64)},
		{ones, 1<<63 - 1, nil},
		{ones, 0x00ff << 48, nil},
		{ones - 1, ones, nil},
		{1, 0, nil},
		{1 << 63, 0, nil},
	} {
		object := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64([]byte{0x14}, c.high), c.low)
		got, err := Decode(binaryList(object))
		if c.want != nil && (err != nil || got != c.want) {
			t.Errorf("%x %x is %v, %v, want %v", c.high, c.low, got, err, c.want)
		}
		if c.want == nil {
			wantCode(t, err, CodeInvalid)
		}
	}
}

func TestHazardTextThatXMLCannotCarry(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"control character": "a\x01b", "NUL": "a\x00", "escape": "\x1b[31m", "invalid UTF-8": "a\xffb",
		"surrogate": "\xed\xa0\x80", "noncharacter": "\uffff",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := EncodeXML([]any{text})
			wantCode(t, err, CodeUnsupported)
			_, err = EncodeXML(map[string]any{text: true})
			wantCode(t, err, CodeUnsupported)
		})
	}
	const kept = "tab\tnewline\nreturn\r <&>\"' Größe 💻 \u2028 \ufffd \x7f"
	for name, data := range inBothFormats(t, map[string]any{kept: kept}) {
		if diff := cmp.Diff(map[string]any{kept: kept}, decoded(t, data)); diff != "" {
			t.Error(name, diff)
		}
	}
}

func TestHazardUIDDictionary(t *testing.T) {
	t.Parallel()
	want := map[string]any{"CF$UID": uint64(7)}
	for name, data := range map[string][]byte{
		"XML":    document("<dict><key>CF$UID</key><integer>7</integer></dict>"),
		"binary": binaryList([]byte{0x80, 7}),
	} {
		if diff := cmp.Diff(any(want), decoded(t, data)); diff != "" {
			t.Error(name, diff)
		}
	}
	_, err := EncodeXML(want)
	wantCode(t, err, CodeUnsupported)
	_, err = EncodeXML([]any{map[string]any{"CF$UID": "text"}})
	wantCode(t, err, CodeUnsupported)
	_, err = Decode(document("<dict><key>CF$UID</key><integer>-1</integer></dict>"))
	wantCode(t, err, CodeInvalid)
}

func TestHazardChecksumCollisionInBinary(t *testing.T) {
	t.Parallel()
	first, second := []byte("uejgtcuo"), []byte("iiwucoup")
	if crc32.ChecksumIEEE(first) != crc32.ChecksumIEEE(second) {
		t.Fatal("the two values do not collide")
	}
	pair := []any{first, second}
	wantCode(t, checkWritten(libraryBinary(t, pair), pair), CodeRoundTrip)
	data, err := EncodeXML(pair)
	if err != nil {
		t.Fatal(err)
	}
	if !Equal(pair, decoded(t, data)) {
		t.Error("XML lost one of two data values")
	}
}

func TestHazardOutputIsDeterministic(t *testing.T) {
	t.Parallel()
	v := map[string]any{}
	for _, key := range strings.Fields("z a m B b 9 é ab aa") {
		v[key] = map[string]any{"y": 1, "x": key}
	}
	first, err := EncodeXML(v)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if again, _ := EncodeXML(v); !bytes.Equal(first, again) {
			t.Fatal("two encodings differ")
		}
	}
}

func TestHazardDeepNesting(t *testing.T) {
	t.Parallel()
	nested := func(levels int) []byte {
		return document(strings.Repeat("<array>", levels) + strings.Repeat("</array>", levels))
	}
	if _, err := Decode(nested(maxDepth)); err != nil {
		t.Errorf("%d levels: %v", maxDepth, err)
	}
	_, err := Decode(nested(maxDepth + 1))
	wantCode(t, err, CodeTooDeep)
	_, err = Decode(document(strings.Repeat("<dict><key/>", 1000)))
	wantCode(t, err, CodeTooDeep)
	_, err = Decode([]byte("<plist>" + strings.Repeat("<array>", 500_000)))
	wantCode(t, err, CodeTooDeep)
	// The size of the fact's example: it must be refused before anything is parsed.
	_, err = Decode([]byte(strings.Repeat("<array>", 1_500_000)))
	wantCode(t, err, CodeTooLarge)

	chain := make([][]byte, maxDepth+1)
	for i := range chain {
		chain[i] = []byte{0xA1, byte(i + 1)}
	}
	_, err = Decode(binaryList(append(chain, []byte{0x09})...))
	wantCode(t, err, CodeTooDeep)
	if _, err = Decode(binaryList(append(chain[:maxDepth:maxDepth], []byte{0x09})...)); err != nil {
		t.Errorf("binary, %d levels: %v", maxDepth, err)
	}
	_, err = Decode(binaryList([]byte{0xA1, 0}))
	wantCode(t, err, CodeTooDeep)

	var tower any = true
	for range maxDepth + 1 {
		tower = []any{tower}
	}
	itself := map[string]any{}
	itself["itself"] = itself
	var pointer any
	pointer = &pointer
	for _, v := range []any{tower, itself, pointer} {
		_, err = EncodeXML(v)
		wantCode(t, err, CodeTooDeep)
	}
}

func TestHazardSharedReferenceBomb(t *testing.T) {
	t.Parallel()
	const levels = 27
	objects := make([][]byte, levels)
	for i := range objects {
		objects[i] = []byte{0xA2, byte(i + 1), byte(i + 1)}
	}
	bomb := binaryList(append(objects, []byte{0x09})...)
	if len(bomb) > 250 {
		t.Fatalf("the bomb has %d bytes", len(bomb))
	}
	s, root, err := newBinaryScanner(bomb)
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, s.value(root, 1), CodeTooLarge)
	if s.budget.nodes > maxNodes+1 || s.budget.containers > maxContainers+1 {
		t.Errorf("visited %d values and %d arrays before giving up", s.budget.nodes, s.budget.containers)
	}
	_, err = Decode(bomb)
	wantCode(t, err, CodeTooLarge)
}

// The library's own behavior, so that a release that mends a hazard is noticed.
func TestHazardsAreTheLibrarysStill(t *testing.T) {
	t.Parallel()
	var tree any
	if _, err := library.Unmarshal(nil, &tree); err != nil {
		t.Errorf("the library refuses an empty file now: %v", err)
	}
	data, err := library.Marshal(struct{ A *int }{}, library.XMLFormat)
	if err != nil || !bytes.Contains(data, []byte("<dict><key>A</key></dict>")) {
		t.Errorf("the library handles nil fields now: %s, %v", data, err)
	}
	var narrow int8
	if _, err := library.Unmarshal(document("<integer>300</integer>"), &narrow); err != nil || narrow != 44 {
		t.Errorf("the library minds overflow now: %v, %v", narrow, err)
	}
}
