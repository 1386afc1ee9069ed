package cli

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"prlagent/agent/localapi"
)

// record is a line of the log at a minute of the test's hour.
func record(minute int, level, message string) string {
	return fmt.Sprintf(`{"level":%q,"time":"2026-11-23T09:%02d:00Z","count":%d,"empty":"","message":%q}`+"\n", level, minute, minute, message)
}

func logFolder(t *testing.T, root string) string {
	t.Helper()
	folder := filepath.Join(root, localapi.LogFolder)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	return folder
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func packed(t *testing.T, content string) string {
	t.Helper()
	var out bytes.Buffer
	writer := gzip.NewWriter(&out)
	if _, err := writer.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// rotated is a Mac with a log and two older ones.
func rotated(t *testing.T) string {
	t.Helper()
	root := mac(t)
	folder := logFolder(t, root)
	writeFile(t, filepath.Join(folder, "prlagentd.log"), record(30, "error", "third")+"no record\x1b[2J\n"+record(31, "info", "fourth"))
	writeFile(t, filepath.Join(folder, "prlagentd.log.1.gz"), packed(t, record(20, "info", "second")))
	writeFile(t, filepath.Join(folder, "prlagentd.log.10.gz"), packed(t, record(10, "warn", "first")))
	writeFile(t, filepath.Join(folder, "prlagentd.panic.log"), "panic: no\n")
	writeFile(t, filepath.Join(folder, "prlagentd.log.old"), record(1, "info", "of nobody"))
	return root
}

func TestLogsForPeopleAndMachines(t *testing.T) {
	t.Parallel()
	root := rotated(t)
	got := run(t, root, "logs")
	checkGolden(t, "logs.txt", got.stdout)
	if got.code != exitHealthy {
		t.Errorf("exit code %d: %s", got.code, got.stderr)
	}
	for since, want := range map[string]string{"15m": "third fourth", "2026-11-23T09:15:00Z": "second third fourth", "10:31": "fourth", "1d": "first second third fourth"} {
		got := run(t, root, "logs", "--json", "--since", since)
		var words []string
		for line := range strings.Lines(got.stdout) {
			if !strings.Contains(line, `"schema":1`) {
				t.Errorf("no schema in %s", line)
			}
			for _, word := range []string{"first", "second", "third", "fourth"} {
				if strings.Contains(line, `"message":"`+word) {
					words = append(words, word)
				}
			}
		}
		if strings.Join(words, " ") != want {
			t.Errorf("--since %s: %v, want %s", since, words, want)
		}
	}
	if got := run(t, root, "logs", "--since", "yesterday"); got.code != exitUsage || !strings.Contains(got.stderr, "--since is a time") {
		t.Errorf("%+v", got)
	}
	if got := run(t, mac(t), "logs"); got.code != exitDegraded || !strings.Contains(got.stderr, "There is no log") {
		t.Errorf("without a log: %+v", got)
	}
}

// Whoever follows sees each line once, however often the file is rotated, emptied
// or deleted under their eyes.
func TestFollowingALogOverItsRotation(t *testing.T) {
	t.Parallel()
	root := mac(t)
	folder := logFolder(t, root)
	path := filepath.Join(folder, "prlagentd.log")
	append := func(text string) {
		file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if _, err := file.WriteString(text); err != nil {
			t.Fatal(err)
		}
	}
	append("before\n")
	follower := &logFollower{path: path}
	defer follower.close()
	if err := follower.skipToEnd(); err != nil {
		t.Fatal(err)
	}
	var seen []string
	poll := func(want ...string) {
		t.Helper()
		seen = nil
		if err := follower.poll(func(line []byte) error { seen = appendTo(seen, string(line)); return nil }); err != nil {
			t.Fatal(err)
		}
		if strings.Join(seen, " ") != strings.Join(want, " ") {
			t.Errorf("%q, want %q", seen, want)
		}
	}
	poll()
	append("one\ntw")
	poll("one")
	append("o\nthree\n")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	append("four\n")
	poll("two", "three", "four")
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	poll()
	append("five\n")
	poll("five")
	if err := os.RemoveAll(folder); err != nil {
		t.Fatal(err)
	}
	poll()
	logFolder(t, root)
	append("six\n")
	poll("six")
}

func appendTo(lines []string, line string) []string { return append(lines, line) }

func TestMomentsAsPeopleTypeThem(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 9, 41, 30, 0, time.UTC)
	zone := time.FixedZone("CET", 3600)
	for typed, want := range map[string]string{
		"90s": "2026-11-23T09:40:00Z", "2h": "2026-11-23T07:41:30Z", "1d": "2026-11-22T09:41:30Z", "-30m": "2026-11-23T09:11:30Z",
		"2026-11-20": "2026-11-19T23:00:00Z", "2026-11-20 08:30": "2026-11-20T07:30:00Z", "09:00": "2026-11-23T08:00:00Z",
		"2026-11-20T08:30:00Z": "2026-11-20T08:30:00Z", " 1D ": "2026-11-22T09:41:30Z",
		"": "", "soon": "", "99999999d": "", "1.5d": "",
	} {
		at, err := parseMoment(typed, now, zone)
		if got := at.UTC().Format(time.RFC3339); (err != nil) != (want == "") || want != "" && got != want {
			t.Errorf("%q: %s, %v; want %s", typed, got, err, want)
		}
	}
}
