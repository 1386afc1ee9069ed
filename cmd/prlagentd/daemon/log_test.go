package daemon

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unicode"

	"prlagent/agent/protocol"
	"prlagent/platform/safefile"
	"prlagent/platform/text"
)

// The job runs with umask 077 (launchd.Job): the folder of the log is one that
// anybody may list all the same, and the file is not for them.
func TestLogIsPrivateInAFolderThatIsNot(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	path := filepath.Join(t.TempDir(), "Library", "prlagent", "prlagentd.log")
	log, err := openLog(path, "info")
	if err != nil {
		t.Fatal(err)
	}
	log.logger.Info().Msg("begin")
	log.Close()
	modes := map[string]fs.FileMode{filepath.Dir(path): fs.ModeDir | 0o755, path: 0o600}
	for name, want := range modes {
		if info, err := os.Stat(name); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v; want %v", name, info.Mode(), err, want)
		}
	}
	if err := os.Chmod(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	again, err := openLog(path, "info")
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
	if info, err := os.Stat(filepath.Dir(path)); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the mode that an administrator gave is %v, %v", info.Mode(), err)
	}
}

// Whatever became of the file between two records, the next one is where a
// reader looks for it (H53), in a file that is for root.
func TestALogThatWasDeletedOrReplacedIsMadeAnew(t *testing.T) {
	for name, change := range map[string]func(path string) error{
		"deleted":         os.Remove,
		"with its folder": func(path string) error { return os.RemoveAll(filepath.Dir(path)) },
		"moved":           func(path string) error { return os.Rename(path, path+".old") },
		"replaced by a file": func(path string) error {
			return errors.Join(os.Remove(path), os.WriteFile(path, []byte("theirs\n"), 0o600))
		},
		"replaced by a link": func(path string) error {
			elsewhere := filepath.Join(filepath.Dir(filepath.Dir(path)), "elsewhere")
			return errors.Join(os.WriteFile(elsewhere, nil, 0o600), os.Remove(path), os.Symlink(elsewhere, path))
		},
		"replaced by a pipe": func(path string) error { return errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600)) },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "log", "prlagentd.log")
			log, err := openLog(path, "info")
			if err != nil {
				t.Fatal(err)
			}
			defer log.Close()
			log.logger.Info().Msg("before")
			if err := change(path); err != nil {
				t.Fatal(err)
			}
			log.logger.Info().Msg("after")
			log.logger.Info().Msg("later")
			written, err := os.ReadFile(path)
			if err != nil || !bytes.Contains(written, []byte("after")) || !bytes.Contains(written, []byte("later")) {
				t.Errorf("%q, %v", written, err)
			}
			if info, err := os.Lstat(path); err != nil || info.Mode() != 0o600 {
				t.Errorf("%v, %v", info.Mode(), err)
			}
			if elsewhere, err := os.ReadFile(filepath.Join(filepath.Dir(filepath.Dir(path)), "elsewhere")); err == nil && len(elsewhere) > 0 {
				t.Errorf("through the link: %q", elsewhere)
			}
		})
	}
}

// hostile are strings that users, guests and tools may give.
var hostile = map[string]string{
	"an escape sequence":    "\x1b[2J\x1b]52;c;cm0gLXJm\x07",
	"C1 controls":           "\u009b31m\u0085\x7f",
	"a change of direction": "a\u202egpj.exe\u2066",
	"invisible characters":  "a\u200d\u200d\u200b\ufeff\u3164\u2028",
	"another line":          "a\r\n{\"level\":\"error\",\"message\":\"forged\"}\n\tb",
	"a NUL":                 "a\x00b",
	"no UTF-8":              "a\xff\xed\xa0\x80b",
	"a pile of marks":       "a" + strings.Repeat("\u0301", 1000),
	"far too long":          strings.Repeat("x", 100<<10),
	"a formula":             "=cmd|' /C calc'!A0",
	"the end of CDATA":      "]]>",
}

// H15: whatever a line has of others, it is one line, short, and shows all
// that it has.
func TestH15_ALineOfTheLogSteersNothing(t *testing.T) {
	for name, text := range hostile {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "log", "prlagentd.log")
			log, err := openLog(path, "info")
			if err != nil {
				t.Fatal(err)
			}
			log.logger.Warn().Str("user", text).Strs("users", []string{text}).Err(errors.New(text)).
				AnErr("cause", errors.New(text)).Interface("panic", text).Str(text, "key").Msg(text)
			log.Close()
			written, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			line := bytes.TrimSuffix(written, []byte("\n"))
			for _, character := range string(line) {
				if !unicode.IsGraphic(character) {
					t.Fatalf("%q is in %.200q", character, line)
				}
			}
			fields := make(map[string]any)
			if err := json.Unmarshal(line, &fields); err != nil || fields["level"] != "warn" || fields["user"] != fields["message"] {
				t.Errorf("%v: %.200s", err, line)
			}
			if len(line) > 64<<10 {
				t.Errorf("the line has %d bytes", len(line))
			}
			if got := fields["user"]; len(text) < 4<<10 && got != strings.ToValidUTF8(text, "\ufffd") && name != "no UTF-8" {
				t.Errorf("%q became %q", text, got)
			}
		})
	}
}

// launchd keeps what the daemon prints in a file that a person reads.
func TestH15_ErrorsOfTheCommandLine(t *testing.T) {
	t.Parallel()
	for _, typed := range hostile {
		for _, args := range [][]string{{"--" + typed}, {"x" + typed}, {"run", "--root", "/nowhere/" + typed}} {
			var stdout, stderr bytes.Buffer
			if code := runProgram(args, &stdout, &stderr); code == exitOK {
				t.Errorf("%q was accepted", args)
			}
			line := strings.TrimSuffix(stderr.String(), "\n")
			line = strings.TrimSuffix(line, "\n  → See 'prlagentd help'.") // the only other one
			if text.Display(line) != line || len(line) > 5*protocol.MaxText {
				t.Errorf("%q", line)
			}
		}
	}
}

// A file that was deleted while a record was written is made anew by the next.
func TestALogThatWasDeletedDuringARecordIsMadeAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log", "prlagentd.log")
	log, err := openLog(path, "info")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	log.logger.Info().Msg("before")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if gone, err := safefile.EntryOf(log.file.file); err != nil || gone.Links != 0 || !gone.IsSameFile(log.file.written) {
		t.Errorf("what was written to is %+v, remembered as %+v, %v", gone, log.file.written, err)
	}
	log.logger.Info().Msg("after")
	if written, err := os.ReadFile(path); err != nil || !bytes.Contains(written, []byte("after")) {
		t.Errorf("%q, %v", written, err)
	}
}
