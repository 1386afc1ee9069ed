package daemon

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/rs/zerolog"

	"prlagent/agent"
	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
	"prlagent/launchd"
	"prlagent/platform/safefile"
)

func openedFile(t *testing.T, path string) *rotatedFile {
	t.Helper()
	file := &rotatedFile{path: path, maxSize: 1000, kept: 3}
	t.Cleanup(func() {
		if err := file.Close(); err != nil {
			t.Error(err)
		}
	})
	return file
}

func writeRecord(t *testing.T, file io.Writer, record string) {
	t.Helper()
	if _, err := io.WriteString(file, record+"\n"); err != nil {
		t.Fatal(err)
	}
}

func contentOf(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// precious makes a folder that only root may change, with a file in it that has
// the log's name.
func precious(t *testing.T) (folder, file string) {
	t.Helper()
	folder = t.TempDir()
	file = filepath.Join(folder, "prlagentd.log")
	errorsAreFatal(t, os.WriteFile(file, []byte("precious"), 0o600))
	return folder, file
}

func errorsAreFatal(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// H53: a folder above the log becomes one in which others can write. They rename
// the log's folder and put a link, or a folder of their own with a link in it, in
// its place: root appends nothing there, and loses no record.
func TestH53_ALogFolderThatWasExchanged(t *testing.T) {
	for name, attack := range map[string]func(logs, victims, victim string) error{
		"for a link": func(logs, victims, _ string) error { return os.Symlink(victims, logs) },
		"for a folder with a link": func(logs, _, victim string) error {
			return errors.Join(os.Mkdir(logs, 0o755), os.Symlink(victim, filepath.Join(logs, "prlagentd.log")))
		},
		"for a folder with another name of a file": func(logs, _, victim string) error {
			return errors.Join(os.Mkdir(logs, 0o755), os.Link(victim, filepath.Join(logs, "prlagentd.log")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			above := filepath.Join(t.TempDir(), "Logs")
			logs, moved := filepath.Join(above, "prlagent"), filepath.Join(above, "moved")
			victims, victim := precious(t)
			file := openedFile(t, filepath.Join(logs, "prlagentd.log"))
			writeRecord(t, file, "before")
			errorsAreFatal(t, os.Chmod(above, 0o777), os.Rename(logs, moved), attack(logs, victims, victim))
			writeRecord(t, file, "after")
			if got := contentOf(t, victim); got != "precious" {
				t.Errorf("root wrote %q", got)
			}
			if got := contentOf(t, filepath.Join(moved, "prlagentd.log")); got != "before\nafter\n" {
				t.Errorf("the log has %q", got)
			}

			restarted := openedFile(t, filepath.Join(logs, "prlagentd.log"))
			_, err := io.WriteString(restarted, "again\n")
			if protocol.CodeOf(err) != protocol.Code(safefile.CodeFolderWritable) || protocol.CodeOf(err).Text().Remedy == "" {
				t.Errorf("after a restart: %v", err)
			}
			if got := contentOf(t, victim); got != "precious" {
				t.Errorf("root wrote %q after a restart", got)
			}
		})
	}
}

// The mode of the agent's own folder is set again before a file below it is opened; what
// is wrong above it, or is a link, is refused.
func TestH53_TheModeOfTheSupportFolder(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		attack  func(support string) error
		wasOpen bool
		err     error
	}{
		"nothing there": {attack: os.Remove},
		"as it is":      {attack: func(string) error { return nil }},
		"open":          {attack: func(support string) error { return os.Chmod(support, 0o777) }, wasOpen: true},
		"open above":    {attack: func(support string) error { return os.Chmod(filepath.Dir(support), 0o777) }, err: safefile.ErrUnsafeDirectory},
		"a file": {attack: func(support string) error {
			return errors.Join(os.Remove(support), os.WriteFile(support, nil, 0o644))
		}, err: syscall.ENOTDIR},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			support := filepath.Join(root, localapi.SupportFolder)
			errorsAreFatal(t, os.MkdirAll(support, 0o755), c.attack(support))
			wasOpen, err := repairSupportFolder(root)
			if !errors.Is(err, c.err) || (wasOpen != nil) != c.wasOpen {
				t.Fatalf("got %v, %v", wasOpen, err)
			}
			if info, _ := os.Lstat(support); c.err == nil && info.Mode().Perm() != 0o755 {
				t.Errorf("it has mode %v", info.Mode())
			}
		})
	}
}

// What is found in the log's place before the first record is treated as what is
// put there later.
func TestH53_WhatStandsInTheLogsPlace(t *testing.T) {
	for name, place := range map[string]func(log, victim string) error{
		"a link":                 func(log, victim string) error { return os.Symlink(victim, log) },
		"another name of a file": func(log, victim string) error { return os.Link(victim, log) },
		"a pipe":                 func(log, _ string) error { return syscall.Mkfifo(log, 0o600) },
		"another account's file": func(log, _ string) error {
			if os.Geteuid() != 0 {
				return os.Symlink("elsewhere", log)
			}
			return errors.Join(os.WriteFile(log, []byte("theirs"), 0o666), os.Chown(log, 12345, 12345))
		},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			victim, log := filepath.Join(folder, "victim"), filepath.Join(folder, "prlagentd.log")
			errorsAreFatal(t, os.WriteFile(victim, []byte("precious"), 0o600), place(log, victim))
			writeRecord(t, openedFile(t, log), "first")
			if got := contentOf(t, victim); got != "precious" {
				t.Errorf("root wrote %q", got)
			}
			info, err := os.Lstat(log)
			if got := contentOf(t, log); err != nil || got != "first\n" || info.Mode() != 0o600 || info.Sys().(*syscall.Stat_t).Uid != uint32(os.Geteuid()) {
				t.Errorf("the log is %v with %q, %v", info.Mode(), got, err)
			}
		})
	}
}

// H53: a disk that was full leaves a part of a record, to which the next one is
// not glued, neither in this process nor in the next.
func TestH53_AfterAFullDiskARecordHasALineOfItsOwn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "prlagentd.log")
	file := openedFile(t, path)
	writeRecord(t, file, "whole")

	var limit syscall.Rlimit
	errorsAreFatal(t, syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit))
	full := syscall.Rlimit{Cur: 10, Max: limit.Max}
	errorsAreFatal(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &full))
	_, first := io.WriteString(file, "cut off\n")
	_, second := io.WriteString(file, "lost\n")
	errorsAreFatal(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit))
	if first == nil || second == nil {
		t.Fatalf("the disk was not full: %v, %v", first, second)
	}
	writeRecord(t, file, "next")
	if got := contentOf(t, path); got != "whole\ncut \nnext\n" {
		t.Errorf("the log has %q", got)
	}

	errorsAreFatal(t, os.WriteFile(path, []byte("of a process that was killed"), 0o600))
	writeRecord(t, openedFile(t, path), "next")
	if got := contentOf(t, path); got != "of a process that was killed\nnext\n" {
		t.Errorf("the log of the process after has %q", got)
	}
}

// However much is written, the files and their bytes are bounded, and the newest
// records are there.
func TestTheLogStaysSmall(t *testing.T) {
	folder := t.TempDir()
	file := openedFile(t, filepath.Join(folder, "prlagentd.log"))
	record := func(number int) string { return fmt.Sprintf("record %04d %s", number, strings.Repeat("x", 87)) }
	const written = 75 // of 100 bytes: seven full files, and a half
	for number := range written {
		writeRecord(t, file, record(number))
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil || info.Mode() != 0o600 || info.Size() > file.maxSize {
			t.Errorf("%s: %v, %d bytes, %v", entry.Name(), info.Mode(), info.Size(), err)
		}
		names = append(names, entry.Name())
	}
	if want := []string{"prlagentd.log", "prlagentd.log.1.gz", "prlagentd.log.2.gz", "prlagentd.log.3.gz"}; !slices.Equal(names, want) {
		t.Fatalf("the files are %v", names)
	}
	kept := unpacked(t, folder, names[3]) + unpacked(t, folder, names[2]) + unpacked(t, folder, names[1]) + contentOf(t, filepath.Join(folder, names[0]))
	var want strings.Builder
	for number := 40; number < written; number++ {
		want.WriteString(record(number) + "\n")
	}
	if kept != want.String() {
		t.Errorf("kept are %d bytes, want %d:\n%.120s", len(kept), want.Len(), kept)
	}

	writeRecord(t, openedFile(t, file.path), strings.Repeat("y", 5000)) // larger than a file may be
	writeRecord(t, file, "after it")
	if got := contentOf(t, file.path); got != "after it\n" {
		t.Errorf("after a large record the log has %.40q", got)
	}
}

func unpacked(t *testing.T, folder, name string) string {
	t.Helper()
	reader, err := gzip.NewReader(strings.NewReader(contentOf(t, filepath.Join(folder, name))))
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(reader)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// H53: both logs are in one folder below the support folder.
func TestH53_LaunchdsFileIsBesideTheLog(t *testing.T) {
	t.Parallel()
	if got := path.Dir(launchd.AgentJob().StandardErrorPath); got != agent.LogFolder || path.Dir(got) != agent.SupportFolder {
		t.Errorf("launchd's file for standard error is in %s, the log in %s", got, agent.LogFolder)
	}
}

// A daemon that cannot start is started again every ten seconds, and says why.
func TestLaunchdsFileStaysSmall(t *testing.T) {
	folder := t.TempDir()
	place := filepath.Join(folder, "prlagentd.panic.log")
	for name, c := range map[string]struct {
		size  int64
		path  string
		empty bool
	}{
		"small":          {maxPanicLog, place, false},
		"large":          {maxPanicLog + 1, place, true},
		"large, another": {maxPanicLog + 1, filepath.Join(folder, "other"), false},
	} {
		errorsAreFatal(t, os.WriteFile(place, nil, 0o600), os.WriteFile(filepath.Join(folder, "other"), nil, 0o600), os.Truncate(place, c.size))
		stderr, err := os.OpenFile(place, os.O_WRONLY, 0)
		errorsAreFatal(t, err)
		_, err = stderr.Seek(0, io.SeekEnd)
		errorsAreFatal(t, err, boundPanicLog(stderr, c.path))
		_, err = stderr.WriteString("x")
		errorsAreFatal(t, err, stderr.Close())
		want := c.size + 1
		if c.empty {
			want = 1
		}
		if info, err := os.Stat(place); err != nil || info.Size() != want {
			t.Errorf("%s: it has %d bytes, want %d, %v", name, info.Size(), want, err)
		}
	}
	errorsAreFatal(t, os.Remove(place), os.Symlink("other", place), os.Truncate(filepath.Join(folder, "other"), maxPanicLog+1))
	stderr, err := os.OpenFile(place, os.O_WRONLY, 0)
	errorsAreFatal(t, err, boundPanicLog(stderr, place), stderr.Close())
	if info, err := os.Stat(place); err != nil || info.Size() != maxPanicLog+1 {
		t.Errorf("what a link leads to has %d bytes, %v", info.Size(), err)
	}
}

func TestALogThatCannotBeWrittenIsToldOnce(t *testing.T) {
	t.Parallel()
	var stderr bytes.Buffer
	tell := tellOnce(&stderr)
	for range 1000 {
		tell(errors.New("no space left on device"))
	}
	if got := stderr.String(); got != "prlagentd: the log cannot be written: no space left on device\n" {
		t.Errorf("got %q", got)
	}
}

// The old folder is named, and nothing is done there.
func TestH53_LogsOfAnOlderVersion(t *testing.T) {
	t.Parallel()
	victims, victim := precious(t)
	folder := filepath.Join(t.TempDir(), "prlagent")
	for place, want := range map[string]bool{folder: false, victims: true} {
		var log bytes.Buffer
		tellOfOldLogs(zerolog.New(&log), place)
		if said := strings.Contains(log.String(), `"folder":"/Library/Logs/prlagent"`); said != want {
			t.Errorf("%s: it says %q", place, log.String())
		}
	}
	if got := contentOf(t, victim); got != "precious" {
		t.Errorf("root wrote %q", got)
	}
}
