package plist

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	library "howett.net/plist"
)

var update = flag.Bool("update", false, "write the golden files anew")

// libraryBinary writes the tree of a value in the binary format, unguarded.
func libraryBinary(t *testing.T, v any) []byte {
	t.Helper()
	tree, err := build(v)
	if err != nil {
		t.Fatal(err)
	}
	data, err := library.Marshal(tree, library.BinaryFormat)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// inBothFormats gives a value as we write it, and as the library writes it in
// the binary format.
func inBothFormats(t *testing.T, v any) map[string][]byte {
	t.Helper()
	data, err := EncodeXML(v)
	if err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{"XML": data, "binary": libraryBinary(t, v)}
}

// binaryList assembles a binary property list of fewer than 256 objects, the
// first of which is the root; references are one byte, offsets two.
func binaryList(objects ...[]byte) []byte {
	list := []byte("bplist00")
	var table []byte
	for _, object := range objects {
		table = binary.BigEndian.AppendUint16(table, uint16(len(list)))
		list = append(list, object...)
	}
	at := uint64(len(list))
	list = append(append(list, table...), 0, 0, 0, 0, 0, 0, 2, 1)
	for _, n := range []uint64{uint64(len(objects)), 0, at} {
		list = binary.BigEndian.AppendUint64(list, n)
	}
	return list
}

// everyType is the content of testdata/every-type.*, which Python's plistlib
// wrote.
func everyType() map[string]any {
	return map[string]any{
		"string": "plain", "unicode": "Größe 💻",
		"integer": uint64(42), "negative": int64(-7), "large": uint64(1<<63 + 5), "real": 2.5,
		"yes": true, "no": false,
		"date":       time.Date(2026, 11, 23, 12, 30, 15, 0, time.UTC),
		"data":       []byte{0, 1, 2, 3, 4, 5, 6, 7},
		"array":      []any{"a", uint64(1), map[string]any{"inner": []any{}}},
		"dictionary": map[string]any{},
	}
}

func TestDecodeWhatAnotherProgramWrote(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"every-type.plist", "every-type.bplist"} {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeDict(data)
		if err != nil {
			t.Fatal(name, err)
		}
		if diff := cmp.Diff(everyType(), got); diff != "" {
			t.Error(name, diff)
		}
	}
}

func TestEncodeXMLGolden(t *testing.T) {
	t.Parallel()
	got, err := EncodeXML(everyType())
	if err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "encoded.golden")
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Error(diff)
	}
}

func TestEncodeDecodeKeepsEveryType(t *testing.T) {
	t.Parallel()
	for name, data := range inBothFormats(t, everyType()) {
		if diff := cmp.Diff(any(everyType()), decoded(t, data)); diff != "" {
			t.Error(name, diff)
		}
	}
}

type sample struct {
	Name     string            `plist:"name"`
	Count    int8              `plist:"count"`
	Size     *uint32           `plist:"size,omitempty"`
	Ratio    float32           `plist:"ratio"`
	Enabled  bool              `plist:"enabled"`
	Since    time.Time         `plist:"since"`
	Key      []byte            `plist:"key"`
	Digest   [4]byte           `plist:"digest"`
	Labels   map[string]string `plist:"labels"`
	Inner    []inner           `plist:"inner"`
	Address  netip.Addr        `plist:"address"`
	Anything any               `plist:"anything"`
	Untagged string
}

type inner struct{ ID string }

func TestEncodeStruct(t *testing.T) {
	t.Parallel()
	size, since := uint32(1<<31), time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	value := sample{
		Name: "a", Count: -3, Size: &size, Ratio: 0.5, Enabled: true, Since: since,
		Key: []byte("key"), Digest: [4]byte{1, 2, 3, 4},
		Labels: map[string]string{"x": "y"}, Inner: []inner{{"1"}, {"2"}}, Address: netip.MustParseAddr("::1"),
		Anything: map[string]any{"n": int64(-1), "r": 1.5}, Untagged: "u",
	}
	want := map[string]any{
		"name": "a", "count": int64(-3), "size": uint64(1 << 31), "ratio": 0.5, "enabled": true, "since": since,
		"key": []byte("key"), "digest": []byte{1, 2, 3, 4},
		"labels": map[string]any{"x": "y"}, "inner": []any{map[string]any{"ID": "1"}, map[string]any{"ID": "2"}}, "address": "::1",
		"anything": map[string]any{"n": int64(-1), "r": 1.5}, "Untagged": "u",
	}
	data, err := EncodeXML(value)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(any(want), decoded(t, data)); diff != "" {
		t.Error(diff)
	}
}

func TestDecodeDictRefusesOtherRoots(t *testing.T) {
	t.Parallel()
	for _, value := range []string{"<array/>", "<string>text</string>", "<true/>"} {
		_, err := DecodeDict(document(value))
		wantCode(t, err, CodeWrongType)
	}
}

func TestEncodeRefusesWhatHasNoPropertyListType(t *testing.T) {
	t.Parallel()
	type embedded struct{ A int }
	for name, v := range map[string]any{
		"function":           func() {},
		"channel":            make(chan int),
		"complex":            complex(1, 2),
		"integer keys":       map[int]string{1: "a"},
		"embedded struct":    struct{ embedded }{},
		"no exported fields": struct{ a int }{1},
		"a renamed time":     renamedTime(time.Now()),
		"two fields of one key": struct {
			A int `plist:"K"`
			B int `plist:"K"`
		}{},
		"no such type inside":  map[string]any{"a": []any{func() {}}},
		"a method that panics": panics{},
		"a method that fails":  fails{},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := EncodeXML(v)
			wantCode(t, err, CodeUnsupported)
		})
	}
}

type renamedTime time.Time

type panics struct{}

func (panics) MarshalText() ([]byte, error) { panic("no text") }

type fails struct{}

func (fails) MarshalText() ([]byte, error) { return nil, errors.New("no text") }

func TestEncodeErrorsSayWhere(t *testing.T) {
	t.Parallel()
	_, err := EncodeXML(map[string]any{"outer": []any{true, map[string]any{"inner": nil}}})
	const want = `plist_unsupported_value: "outer": [1]: "inner": nil`
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestDecodeErrorsNeverQuoteContent(t *testing.T) {
	t.Parallel()
	const secret = "hunter2"
	for _, text := range []string{
		"<integer>" + secret + "</integer>", "<real>" + secret + "</real>", "<date>" + secret + "</date>", "<data>*" + secret + "</data>",
		"<" + secret + "/>", "<string>&" + secret + ";</string>", "<string></" + secret + ">", "<dict>" + secret + "</dict>",
		"<dict><key>" + secret + "</key></dict>", `<true ` + secret + `="1"/>`, "<true>" + secret + "</true>",
		"<dict><key>" + secret + "</key><true/><key>" + secret + "</key><true/></dict>",
	} {
		_, err := Decode(document(text))
		wantCode(t, err, CodeInvalid)
		if strings.Contains(err.Error(), secret) {
			t.Errorf("%q quotes the file", err)
		}
		if !strings.Contains(err.Error(), "line 3") {
			t.Errorf("%q does not name the line", err)
		}
	}
	_, err := DecodeDict(document("<string>" + secret + "</string>"))
	wantCode(t, err, CodeWrongType)
	if strings.Contains(err.Error(), secret) {
		t.Errorf("%q quotes the file", err)
	}
}

func TestXMLGrammarIsStrict(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"key without value":          "<dict><key>a</key></dict>",
		"two keys":                   "<dict><key>a</key><key>b</key><true/></dict>",
		"value without key":          "<dict><true/></dict>",
		"key in array":               "<array><key>a</key></array>",
		"markup in string":           "<string>a<b/>c</string>",
		"markup in key":              "<dict><key>a<b/></key><true/></dict>",
		"processing instruction":     "<string><?php x?></string>",
		"attribute":                  `<string lang="en">a</string>`,
		"other namespace":            `<string xmlns="urn:x">a</string>`,
		"text in true":               "<true>no</true>",
		"element in true":            "<true><array/></true>",
		"text in dictionary":         "<dict>a<key>a</key><true/></dict>",
		"unknown entity":             "<string>&nbsp;</string>",
		"control character":          "<string>\x01</string>",
		"character reference to NUL": "<string>&#0;</string>",
		"invalid UTF-8":              "<string>\xff</string>",
		"upper case":                 "<TRUE/>",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Decode(document(text))
			wantCode(t, err, CodeInvalid)
		})
	}
	for _, text := range []string{"<dict><key>a</key></dict>", "<dict><key>a</key><key>b</key><true/></dict>"} {
		if _, err := Decode(document(text)); err == nil || !strings.HasSuffix(err.Error(), "line 3: <key> without a value") {
			t.Errorf("%s: %v", text, err)
		}
	}
	entities := `<!DOCTYPE plist [<!ENTITY a "b">]><plist><string>x</string></plist>`
	attribute := `<plist version="1.0" lang="en"><true/></plist>`
	for _, text := range []string{entities, attribute, "<?xml version='1.0' encoding='ISO-8859-1'?><plist><true/></plist>", "<?php?><plist><true/></plist>"} {
		_, err := Decode([]byte(text))
		wantCode(t, err, CodeInvalid)
	}
}

func TestXMLFreedomsAreAccepted(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		data []byte
		want any
	}{
		"byte order mark":     {append([]byte("\xef\xbb\xbf"), document("<true/>")...), true},
		"no declaration":      {[]byte("<plist><true/></plist>"), true},
		"comments":            {document("<!-- a --><array><!-- b --><true/></array><!-- c -->"), []any{true}},
		"comment in string":   {document("<string>a<!-- b -->c</string>"), "ac"},
		"CDATA":               {document("<string><![CDATA[<a>&]]></string>"), "<a>&"},
		"spaces in data":      {document("<data>\n\tAA EC\n</data>"), []byte{0, 1, 2}},
		"empty values":        {document("<array><string/><data/><dict/><array/></array>"), []any{"", []byte{}, map[string]any{}, []any{}}},
		"empty key":           {document("<dict><key/><true/></dict>"), map[string]any{"": true}},
		"date with an offset": {document("<date>2026-01-01T01:00:00+01:00</date>"), time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, decoded(t, c.data)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestBinaryStructureIsChecked(t *testing.T) {
	t.Parallel()
	good := binaryList([]byte{0xA1, 1}, []byte{0x09})
	damaged := func(at int, b byte) []byte {
		data := bytes.Clone(good)
		data[len(data)+at] = b
		return data
	}
	huge := binary.BigEndian.AppendUint64(nil, 1<<63)
	for name, data := range map[string][]byte{
		"header only":               []byte("bplist00"),
		"unknown version":           append([]byte("bplist15"), good[8:]...),
		"garbage before trailer":    append(bytes.Clone(good[:len(good)-32]), append([]byte{0}, good[len(good)-32:]...)...),
		"offsets of no size":        damaged(-26, 0),
		"offsets of nine bytes":     damaged(-26, 9),
		"references of no size":     damaged(-25, 0),
		"references of 255 bytes":   damaged(-25, 255),
		"root out of range":         damaged(-9, 2),
		"table in the header":       damaged(-1, 3),
		"table beyond the file":     damaged(-1, 255),
		"table far beyond the file": damaged(-8, 255),
		"null":                      binaryList([]byte{0x00}),
		"fill byte":                 binaryList([]byte{0x0F}),
		"unknown type":              binaryList([]byte{0x70}),
		"set":                       binaryList([]byte{0xC1, 1}, []byte{0x09}),
		"reference out of range":    binaryList([]byte{0xA1, 9}),
		"key out of range":          binaryList([]byte{0xD1, 9, 0}),
		"value out of range":        binaryList([]byte{0xD1, 1, 9}, []byte{0x51, 'a'}),
		"array into the table":      binaryList([]byte{0xAE, 0}),
		"dictionary into the table": binaryList([]byte{0xD2, 0, 0, 0}),
		"count over its own end":    binaryList([]byte{0xAF, 0x13, 1}),
		"key into the table":        binaryList([]byte{0xD1, 1, 1}, []byte{0x62, 0, 'a'}),
		"offset in the header":      damaged(-35, 7),
		"offset in the table":       damaged(-35, 11),
		"integer into the table":    binaryList([]byte{0x13, 1}),
		"integer of 32 bytes":       binaryList([]byte{0x15, 1}),
		"integer over 64 bits":      binaryList(append([]byte{0x14, 0, 0, 0, 0, 0, 0, 0, 1}, make([]byte, 8)...)),
		"real of two bytes":         binaryList([]byte{0x21, 0, 0}),
		"date of four bytes":        binaryList([]byte{0x32, 0, 0, 0, 0}),
		"data into the table":       binaryList([]byte{0x44, 1}),
		"count of 2^63":             binaryList(append([]byte{0xAF, 0x13}, huge...)),
		"count of 2^63 pairs":       binaryList(append([]byte{0xDF, 0x13}, huge...)),
		"UTF-16 of 2^63 units":      binaryList(append([]byte{0x6F, 0x13}, huge...)),
		"count that is a string":    binaryList([]byte{0xAF, 0x51, 'a'}),
		"count into the table":      binaryList([]byte{0xAF}),
		"string that is not ASCII":  binaryList([]byte{0x51, 0xE9}),
		"key that is no string":     binaryList([]byte{0xD1, 1, 1}, []byte{0x09}),
		"UID of three bytes":        binaryList([]byte{0x82, 0, 0, 1}),
	} {
		t.Run(name, func(t *testing.T) {
			// Of the guard itself: the library would refuse some of these too.
			wantCode(t, scanBinary(data), CodeInvalid)
		})
	}
	_, err := Decode(binaryList([]byte{0x87, 0, 0, 0, 1, 0, 0, 0, 0}))
	wantCode(t, err, CodeInvalid) // a UID over 32 bits
	if diff := cmp.Diff(any([]any{true}), decoded(t, good)); diff != "" {
		t.Error(diff)
	}
	_, err = Decode(damaged(-20, 1)) // 2^24 objects and more
	wantCode(t, err, CodeTooLarge)
}

func TestLimitsAreAlikeForReadingAndWriting(t *testing.T) {
	t.Parallel()
	full := make([]any, maxNodes-1)
	for i := range full {
		full[i] = true
	}
	for name, data := range inBothFormats(t, full) {
		if _, err := Decode(data); err != nil {
			t.Errorf("%s of %d values: %v", name, maxNodes, err)
		}
	}
	_, err := EncodeXML(append(full, true))
	wantCode(t, err, CodeTooLarge)
}

func TestLimits(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 250)
	shared := []byte{0xAF, 0x11, 0xFF, 0xFF}
	for range 0xFFFF {
		shared = append(shared, 1)
	}
	text := append([]byte{0x5F, 0x11, 0xFF, 0xFF}, strings.Repeat("y", 0xFFFF)...)
	for name, data := range map[string][]byte{
		"size":                  bytes.Repeat([]byte(" "), MaxSize+1),
		"values":                document("<array>" + strings.Repeat("<true/>", maxNodes) + "</array>"),
		"dictionaries":          document("<array>" + strings.Repeat("<dict/>", maxContainers) + "</array>"),
		"one string many times": wideBinaryList(shared, text),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Decode(data)
			wantCode(t, err, CodeTooLarge)
		})
	}
	for name, v := range map[string]any{
		"values":       make([]int, maxNodes),
		"dictionaries": make([][]int, maxContainers),
		"size":         strings.Repeat(long, MaxSize/len(long)),
		"bytes":        make([]byte, maxExpanded+1),
	} {
		t.Run("encode "+name, func(t *testing.T) {
			_, err := EncodeXML(v)
			wantCode(t, err, CodeTooLarge)
		})
	}
}

// wideBinaryList is binaryList with offsets of four bytes.
func wideBinaryList(objects ...[]byte) []byte {
	list := []byte("bplist00")
	var table []byte
	for _, object := range objects {
		table = binary.BigEndian.AppendUint32(table, uint32(len(list)))
		list = append(list, object...)
	}
	at := uint64(len(list))
	list = append(append(list, table...), 0, 0, 0, 0, 0, 0, 4, 1)
	for _, n := range []uint64{uint64(len(objects)), 0, at} {
		list = binary.BigEndian.AppendUint64(list, n)
	}
	return list
}

func TestDecodedTreeSharesNoMemory(t *testing.T) {
	t.Parallel()
	// Both elements are one data object, and the string overlaps its bytes.
	data := binaryList([]byte{0xA3, 1, 1, 2}, []byte{0x42, 0x51, 'a'}, []byte{0x51, 'b'})
	array := decoded(t, data).([]any)
	array[0].([]byte)[1] = 'z'
	clear(data)
	if diff := cmp.Diff([]any{[]byte{0x51, 'z'}, []byte{0x51, 'a'}, "b"}, array); diff != "" {
		t.Error(diff)
	}
}

func ExampleEncodeXML() {
	data, err := EncodeXML(map[string]any{"Label": "org.example.job", "RunAtLoad": true})
	fmt.Printf("%s%v\n", data, err)
	// Output:
	// <?xml version="1.0" encoding="UTF-8"?>
	// <!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
	// <plist version="1.0">
	// 	<dict>
	// 		<key>Label</key>
	// 		<string>org.example.job</string>
	// 		<key>RunAtLoad</key>
	// 		<true/>
	// 	</dict>
	// </plist>
	// <nil>
}
