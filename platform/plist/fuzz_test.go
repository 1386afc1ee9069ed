package plist

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	library "howett.net/plist"
)

func addSeeds(f *testing.F) {
	files, err := filepath.Glob("testdata/every-type.*")
	if err != nil || len(files) != 2 {
		f.Fatal("seed files missing", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for _, text := range []string{
		"<dict><key>a</key><integer>-1</integer></dict>", "<array><real>1e3</real><data>AA==</data></array>",
		"<date>2026-01-01T00:00:00Z</date>", "<dict><key>a</key></dict>", "<dict><key>CF$UID</key><integer>1</integer></dict>",
	} {
		f.Add(document(text))
	}
	f.Add([]byte(nil))
	f.Add([]byte("{ a = b; }"))
	f.Add(binaryList([]byte{0xD1, 1, 2}, []byte{0x51, 'a'}, []byte{0x80, 1}))
	f.Add(binaryList([]byte{0xA2, 1, 1}, []byte{0xA2, 2, 2}, []byte{0x61, 0, 0xE9}))
	f.Add(binaryList([]byte{0xA1, 0}))
}

// FuzzDecode: no input makes Decode panic, and it gives either a tree or an
// error with a code, never both and never neither.
func FuzzDecode(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		before := bytes.Clone(data)
		tree, err := Decode(data)
		var coded *Error
		switch {
		case (tree == nil) != (err != nil):
			t.Fatalf("tree %v with error %v", tree, err)
		case err != nil && !errors.As(err, &coded):
			t.Fatalf("error without a code: %v", err)
		case !bytes.Equal(before, data):
			t.Fatal("the input was changed")
		}
	})
}

// FuzzRoundTrip: what could be read either is refused by the encoder for a
// named reason or comes back from XML equal and, written again, byte for byte. It
// is what the library writes.
func FuzzRoundTrip(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		tree, err := Decode(data)
		if err != nil {
			t.Skip()
		}
		written, err := EncodeXML(tree)
		var coded *Error
		if errors.As(err, &coded) && (coded.Code == CodeUnsupported || coded.Code == CodeTooLarge) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if theirs, err := library.MarshalIndent(tree, library.XMLFormat, "\t"); err != nil || !bytes.Equal(written, append(theirs, '\n')) {
			t.Fatalf("the library writes other bytes: %v", err)
		}
		again, err := Decode(written)
		if err != nil || !Equal(tree, again) {
			t.Fatalf("not equal after a round trip: %v", err)
		}
		if twice, err := EncodeXML(again); err != nil || !bytes.Equal(written, twice) {
			t.Fatalf("written twice, different bytes: %v", err)
		}
	})
}
