package plisttest

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"prlagent/platform/plist"
)

// whole has a value of every type.
var whole = map[string]any{
	"text": "a <b> & \"c\" 'd' é \t x", "empty": "", "many lines": "a\nb", "yes": true, "no": false,
	"numbers": []any{0, 1, -1, math.MaxInt64, math.MinInt64, uint64(math.MaxUint64), 1.5, -2.25e30}, "date": time.Date(2026, 11, 29, 1, 2, 3, 0, time.UTC),
	"data": []byte("\x00\xff"), "no data": []byte{}, "{a}.0.b c": map[string]any{"x": []any{}, "y": map[string]any{}},
}

// A second parser reads what platform/plist writes, of every type.
func TestSecondParserReadsWhatIsEncoded(t *testing.T) {
	t.Parallel()
	parser := Find(t)
	for key, value := range whole {
		data, err := plist.EncodeXML(map[string]any{key: value})
		if err != nil {
			t.Fatal(err)
		}
		if err := parser.Agrees(data); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
}

// A parser that fails, or reads something else than we do, does not agree.
func TestParsersThatDisagree(t *testing.T) {
	t.Parallel()
	data, err := plist.EncodeXML(map[string]any{"a": 1})
	if err != nil {
		t.Fatal(err)
	}
	for answer, agrees := range map[string]bool{
		"cat": true, "exit 1": false, "echo": false,
		`sed s/1/2/`: false, `sed s/integer/string/g`: false, `sed 's/<dict>/<dict><key>b<\/key><true\/>/'`: false,
	} {
		path := filepath.Join(t.TempDir(), "parser")
		syscall.ForkLock.RLock() // a process that starts meanwhile would keep it from running
		err := os.WriteFile(path, []byte("#!/bin/sh\n"+answer+"\n"), 0o755)
		syscall.ForkLock.RUnlock()
		if err != nil {
			t.Fatal(err)
		}
		if err := (Parser{path}).Agrees(data); (err == nil) != agrees {
			t.Errorf("%s: %v", answer, err)
		}
	}
}

// It is only worth something if it refuses what is broken.
func TestSecondParserSeesWhatIsBroken(t *testing.T) {
	t.Parallel()
	parser := Find(t)
	data, err := plist.EncodeXML(map[string]any{"a": 1, "b": true})
	if err != nil {
		t.Fatal(err)
	}
	for name, cut := range map[string][2]string{
		"key without a value": {"<integer>1</integer>", ""},
		"unclosed":            {"</dict>", ""},
		"unknown element":     {"<true/>", "<yes/>"},
	} {
		if err := parser.Agrees([]byte(strings.Replace(string(data), cut[0], cut[1], 1))); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
