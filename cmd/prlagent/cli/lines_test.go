package cli

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
)

func TestEachLine(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", maxLogLine)
	for name, c := range map[string]struct{ text, want string }{
		"nothing":                {"", ""},
		"an end at the end":      {"a\nb\n", "a|b"},
		"none at the end":        {"a\nb", "a|b"},
		"nothing in a line":      {"a\n\nb\n", "a||b"},
		"the ends of another OS": {"a\r\nb\r\n", "a|b"},
		"as long as can be":      {long + "\nb\n", long + "|b"},
		"longer":                 {long + "yz\nb\n", long + cutMark + "|b"},
		"longer, and the last":   {"a\n" + long + long, "a|" + long + cutMark},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []string
			err := eachLine(strings.NewReader(c.text), func(line []byte) error {
				got = append(got, string(line))
				return nil
			})
			if joined := strings.Join(got, "|"); joined != c.want || err != nil {
				t.Errorf("%d bytes in %d lines, %v; want %d bytes", len(joined), len(got), err, len(c.want))
			}
		})
	}
	broken, got := errors.New("broken"), 0
	if err := eachLine(strings.NewReader("a\nb\n"), func([]byte) error { got++; return broken }); !errors.Is(err, broken) || got != 1 {
		t.Errorf("%v after %d lines", err, got)
	}
	last := ""
	err := eachLine(iotest.TimeoutReader(iotest.OneByteReader(strings.NewReader("ab\n"))), func(line []byte) error { last = string(line); return nil })
	if !errors.Is(err, iotest.ErrTimeout) || last != "a" {
		t.Errorf("what was read before an error: %q, %v", last, err)
	}
}

// damagedMac is a Mac whose log has a line without an end, for everybody but a
// person, and whose older log broke off.
func damagedMac(t *testing.T) string {
	t.Helper()
	root := mac(t)
	folder := logFolder(t, root)
	writeFile(t, filepath.Join(folder, "prlagentd.log"), record(30, "error", "before")+strings.Repeat("A", 3<<20)+"\n"+record(31, "info", "after"))
	whole := packed(t, record(20, "info", "older"))
	writeFile(t, filepath.Join(folder, "prlagentd.log.1.gz"), whole[:len(whole)-6])
	writeFile(t, filepath.Join(folder, "prlagentd.log.2.gz"), packed(t, record(10, "info", "oldest")))
	return root
}

// What is wrong with one line or file of a log hides nothing else of it.
func TestADamagedLogIsReadAsFarAsItGoes(t *testing.T) {
	if testing.Short() {
		t.Skip("one goroutine reads, which takes the race detector long")
	}
	t.Parallel()
	root := damagedMac(t)
	for _, command := range [][]string{{"logs"}, {"logs", "--since", "1d"}, {"logs", "--since", "1d", "--json"}} {
		got := run(t, root, command...)
		for _, word := range []string{"oldest", "older", "before", "AAAA", "after"} {
			if !strings.Contains(got.stdout, word) {
				t.Errorf("%v: no %q", command, word)
			}
		}
		if got.code != exitDegraded || !strings.Contains(got.stderr, "prlagentd.log.1.gz") || strings.Contains(got.stderr, "2.gz") {
			t.Errorf("%v: exit code %d, %s", command, got.code, got.stderr)
		}
	}
	wantResult(t, checkNow(t, root, "log", localapi.Status{}, nil), outcomeWarning, protocol.CodeLogErrors, "before")

	path := filepath.Join(root, "bundle.zip")
	run(t, root, "support-bundle", path, "--timeout", "1s")
	log := readZip(t, path)["logs/prlagentd.log"]
	for _, word := range []string{"oldest", "older", "(read prlagentd.log.1.gz", "before", "after"} {
		if !strings.Contains(log, word) {
			t.Errorf("the bundle's log has no %q", word)
		}
	}
}

// A line without a time, as a crash leaves, is as old as the one before it; a record
// says neither which schema its document has nor hides what stands behind it.
func TestLinesOfTheLogThatAreNoRecords(t *testing.T) {
	t.Parallel()
	root := mac(t)
	writeFile(t, filepath.Join(logFolder(t, root), "prlagentd.log"), record(1, "info", "old")+"goroutine of old\n"+record(40, "info", "new")+
		"goroutine of new\nnull\n"+`{"a":1} behind it`+"\n"+`{"time":"2026-11-23T09:41:00Z","schema":7,"message":"m"}`+"\n")
	got := run(t, root, "logs", "--json", "--since", "15m")
	var messages []string
	for line := range strings.Lines(got.stdout) {
		var document struct {
			Schema  int    `json:"schema"`
			Message string `json:"message"`
		}
		if err := json.Unmarshal([]byte(line), &document); err != nil || document.Schema != localapi.Schema {
			t.Errorf("%s: %v", line, err)
		}
		messages = append(messages, document.Message)
	}
	if want := `new|goroutine of new|null|{"a":1} behind it|m`; strings.Join(messages, "|") != want {
		t.Errorf("%q, want %q", messages, want)
	}
}

// A log that grows without an end of its line takes no more room than one line.
func TestAFollowerKeepsOneLineAtMost(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "prlagentd.log")
	writeFile(t, path, strings.Repeat("x", 3*maxLogLine))
	f := &logFollower{path: path}
	defer f.close()
	var got []string
	each := func(line []byte) error { got = append(got, string(line)); return nil }
	if err := f.poll(each); err != nil || len(got) != 0 || len(f.lines.part) > maxLogLine {
		t.Fatalf("%d lines, %d bytes kept, %v", len(got), len(f.lines.part), err)
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteString("\nnext\n"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(file.Close(), f.poll(each)); err != nil || len(got) != 2 || got[1] != "next" || len(got[0]) != maxLogLine+len(cutMark) {
		t.Errorf("%d lines, %v", len(got), err)
	}
}
