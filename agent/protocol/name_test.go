package protocol

import (
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The grammar of names that end in a path or a URL.
func TestH63_Names(t *testing.T) {
	t.Parallel()
	for name, good := range map[string]bool{
		"staff": true, "Staff": true, "a": true, "9": true, "_": true, "-": true, "a.b": true, "a..b": true, "win-11_25H2.pvmp": true,
		"0198f6b2-7c1e-7d0a-9a55-3f1d0c2b7e11": true, strings.Repeat("z", 64): true,
		"": false, ".": false, "..": false, ".hidden": false, strings.Repeat("z", 65): false,
		"../../../etc/passwd%2f..": false, "a/b": false, `a\b`: false, "a%2fb": false, "a b": false, "a\n": false, "a\x00": false,
		"a:b": false, "a?b": false, "a#b": false, "a;b": false, "a@b": false, "a~": false, "finanzé": false, "a\u202eb": false, "a\xff": false,
	} {
		if ValidName(name) != good {
			t.Errorf("%.80q: %t, want %t", name, !good, good)
		}
	}
}

// FuzzH63_Names: what passes is the grammar of the decision, and is one element
// of a path and of a URL as it stands.
func FuzzH63_Names(f *testing.F) {
	for _, seed := range []string{"staff", "../../../etc/passwd%2f..", ".hidden", strings.Repeat("z", 65), "a\x00b", "é"} {
		f.Add(seed)
	}
	grammar := regexp.MustCompile(`\A[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}\z`)
	f.Fuzz(func(t *testing.T, name string) {
		good := ValidName(name)
		if good != grammar.MatchString(name) {
			t.Fatalf("%q: %t", name, good)
		}
		if good && (!filepath.IsLocal(name) || filepath.Base(name) != name || url.PathEscape(name) != name) {
			t.Fatalf("%q is not one element of a path", name)
		}
	})
}
