package sim

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"prlagent/platform/plist"
)

// plutil changes one key, keeps the others and the format, and refuses the rest.
func TestPlutil(t *testing.T) {
	t.Parallel()
	mac := newMac(t, standardMac())
	file := filepath.Join(t.TempDir(), "a list.plist")
	for _, encode := range []func(any) ([]byte, error){plist.EncodeXML, encodeBinary} {
		content, err := encode(map[string]any{"other": "kept", "old": int64(1)})
		if err != nil || writeFile(file, content) != nil {
			t.Fatal(err)
		}
		for _, test := range []struct {
			words []string
			fails string // a part of the message; empty: it does not
		}{
			{[]string{"-replace", "text", "-string", "Activated (SSO)", file}, ""},
			{[]string{"-replace", "number", "-integer", "4", file}, ""},
			{[]string{"-replace", "number", "-integer", "5", file}, ""},
			{[]string{"-remove", "old", file}, ""},
			{[]string{"-remove", "old", file}, "No value to remove"},
			{[]string{"-replace", "a.b", "-string", "x", file}, "Key path not found"},
			{[]string{"-replace", "number", "-integer", "many", file}, "for a number"},
			{[]string{"-replace", "a", "-text", "x", file}, "Unknown insert or replace type"},
			{[]string{"-replace", "a", "-string", "x", file + ".none"}, "does not exist"},
			{[]string{"-insert", "a", "-string", "x", file}, "no script needs"},
			{[]string{"-convert", "xml1", "-o", "-", file + ".none"}, "does not exist"},
			{[]string{"-convert", "json", "-o", "-", file}, "no script needs"},
			{[]string{"-lint"}, "No files specified"},
		} {
			got := callAs(mac, rootUser).run(t, "plutil", test.words...)
			if (got.code == 0) != (test.fails == "") || !strings.Contains(got.stderr, test.fails) {
				t.Errorf("%v: exit code %d: %s", test.words, got.code, got.stderr)
			}
		}
		if shown := callAs(mac, rootUser).run(t, "plutil", "-convert", "xml1", "-o", "-", file); shown.code != 0 || !strings.Contains(shown.stdout, "<key>text</key>\n\t\t<string>Activated (SSO)</string>") {
			t.Errorf("converted, exit code %d: %s%s", shown.code, shown.stdout, shown.stderr)
		}
		after, err := os.ReadFile(file)
		if err != nil || string(after[:6]) != string(content[:6]) {
			t.Fatalf("%v: another format: %q", err, after)
		}
		values, err := plist.DecodeDict(after)
		if want := map[string]any{"other": "kept", "text": "Activated (SSO)", "number": uint64(5)}; err != nil || !equalNumbers(values, want) {
			t.Errorf("%v: %v, want %v", err, values, want)
		}
	}
}

// equalNumbers compares, whatever type an integer has.
func equalNumbers(a, b map[string]any) bool {
	return maps.EqualFunc(a, b, func(x, y any) bool { return plist.Equal(x, y) })
}
