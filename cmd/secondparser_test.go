package cmd_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// readElsewhere are the packages whose property lists are read by a second parser in
// another one's tests, or by nobody else than us.
var readElsewhere = map[string]string{
	"agent":           "it shows people the fragment that platform writes",
	"cmd/prlsim/demo": "it writes the configuration of a simulated Mac, as prlportal profile does",
}

// DESIGN 12: whoever writes a property list has a second parser read it.
func TestWhatWritesPropertyListsHasASecondParser(t *testing.T) {
	t.Parallel()
	writes := regexp.MustCompile(`\bplist\.Encode(XML|Fragment)\(|\bencodeBinary\(`)
	writers, readers := map[string]bool{}, map[string]bool{}
	err := filepath.WalkDir("..", func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".go" {
			return err
		}
		data, err := os.ReadFile(path)
		folder := filepath.ToSlash(filepath.Dir(strings.TrimPrefix(path, "../")))
		switch {
		case !strings.HasSuffix(path, "_test.go"):
			writers[folder] = writers[folder] || writes.Match(data)
		case strings.Contains(string(data), "plisttest.Find("):
			readers[folder] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for folder, is := range writers {
		if is && !readers[folder] && readElsewhere[folder] == "" {
			t.Errorf("%s writes property lists that no second parser reads", folder)
		}
		if !is && readElsewhere[folder] != "" {
			t.Errorf("%s writes none", folder)
		}
	}
	if !writers["launchd"] {
		t.Error("no writer was found")
	}
}
