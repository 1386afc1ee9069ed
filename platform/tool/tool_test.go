package tool

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
)

func testBinary(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func requireCode(t *testing.T, err error, code string) *Error {
	t.Helper()
	var toolError *Error
	if !errors.As(err, &toolError) {
		t.Fatalf("got error %v, want a *tool.Error with the code %s", err, code)
	}
	if toolError.Code != code {
		t.Fatalf("got code %s (%v), want %s", toolError.Code, err, code)
	}
	return toolError
}

// ways are both ways to start a program, for the rules that they share.
var ways = map[string]func(*Runner, context.Context, *Command) (Result, error){
	"run": (*Runner).Run,
	"follow": func(r *Runner, ctx context.Context, c *Command) (Result, error) {
		return r.Follow(ctx, c, func([]byte, bool) {})
	},
}

func TestProgramSeesArgumentsInputAndNothingElse(t *testing.T) {
	t.Setenv("SECRET_OF_THE_PARENT", "must not be inherited")
	path := testBinary(t)
	result, err := new(Runner).Run(t.Context(), &Command{
		Path:  path,
		Args:  []string{"report", "two words", "$HOME; *"},
		Stdin: []byte("in\nput"),
		Env:   []string{"EXTRA=yes"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := "argv0 " + path + "\n" +
		`args ["two words" "$HOME; *"]` + "\n" +
		`env ["EXTRA=yes" "LANG=C" "LC_ALL=C" "PATH=/usr/bin:/bin:/usr/sbin:/sbin"]` + "\n" +
		`stdin "in\nput"` + "\n" +
		"dir /\n"
	if diff := cmp.Diff(want, string(result.Stdout)); diff != "" {
		t.Errorf("what the program saw (-want +got):\n%s", diff)
	}
	if result.ExitCode != 0 || result.Duration <= 0 {
		t.Errorf("got exit code %d after %s", result.ExitCode, result.Duration)
	}
}

func TestRootMovesTheProgramButNotItsArguments(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	onDisk := filepath.Join(root, "usr/bin/reporter")
	if err := os.MkdirAll(filepath.Dir(onDisk), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(testBinary(t), onDisk); err != nil {
		t.Fatal(err)
	}
	runner := &Runner{Root: root}
	result, err := runner.Run(t.Context(), &Command{Path: "/usr/bin/reporter", Args: []string{"report", "/Users/alice"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"argv0 " + onDisk + "\n", `args ["/Users/alice"]`} {
		if !strings.Contains(string(result.Stdout), want) {
			t.Errorf("%q is not in the report:\n%s", want, result.Stdout)
		}
	}
	if diff := cmp.Diff(map[string]uint64{"reporter": 1}, runner.Runs()); diff != "" {
		t.Errorf("runs (-want +got):\n%s", diff)
	}
}

func TestExitCodeIsNoError(t *testing.T) {
	t.Parallel()
	result, err := new(Runner).Run(t.Context(), &Command{Path: testBinary(t), Args: []string{"exit-three"}})
	if err != nil {
		t.Fatal(err)
	}
	if result.ExitCode != 3 || string(result.Stdout) != "to stdout" || string(result.Stderr) != "to stderr" {
		t.Errorf("got %d, %q, %q", result.ExitCode, result.Stdout, result.Stderr)
	}
}

func TestInputThatNobodyReadsIsNoError(t *testing.T) {
	t.Parallel()
	_, err := new(Runner).Run(t.Context(), &Command{
		Path: testBinary(t), Args: []string{"exit-three"}, Stdin: make([]byte, 1<<20),
	})
	if err != nil {
		t.Error(err)
	}
}

func TestRefusedBeforeAnythingStarts(t *testing.T) {
	t.Parallel()
	path := testBinary(t)
	cases := map[string]Command{
		"relative path":         {Path: "prlctl"},
		"relative with a slash": {Path: "./prlctl"},
		"no path":               {},
		"path with dots":        {Path: "/usr/bin/../bin/true"},
		"path with a slash end": {Path: "/usr/bin/true/"},
		"negative limit":        {Path: path, Limit: -1},
		"negative cap":          {Path: path, MaxOutput: -1},
		"environment, no value": {Path: path, Env: []string{"WORD"}},
		"environment, no key":   {Path: path, Env: []string{"=value"}},
		"fixed environment":     {Path: path, Env: []string{"PATH=/tmp"}},
		"locale":                {Path: path, Env: []string{"LC_ALL=de_DE"}},
		"loader of macOS":       {Path: path, Env: []string{"DYLD_INSERT_LIBRARIES=/tmp/x"}},
		"loader of Linux":       {Path: path, Env: []string{"LD_PRELOAD=/tmp/x"}},
	}
	for name, command := range cases {
		for way, start := range ways {
			t.Run(way+", "+name, func(t *testing.T) {
				t.Parallel()
				runner := new(Runner)
				_, err := start(runner, t.Context(), &command)
				requireCode(t, err, CodeRefused)
				if len(runner.Runs()) != 0 {
					t.Errorf("it ran: %v", runner.Runs())
				}
			})
		}
	}
}

func TestProgramThatCanNotStart(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	text := filepath.Join(folder, "text")
	if err := os.WriteFile(text, []byte("no program"), 0o600); err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct{ path, code string }{
		"missing":        {filepath.Join(folder, "nothing"), CodeMissing},
		"below a file":   {filepath.Join(text, "program"), CodeMissing},
		"not executable": {text, CodeFailed},
		"a folder":       {folder, CodeFailed},
	}
	for name, c := range cases {
		for way, start := range ways {
			t.Run(way+", "+name, func(t *testing.T) {
				t.Parallel()
				runner := new(Runner)
				result, err := start(runner, t.Context(), &Command{Path: c.path})
				toolError := requireCode(t, err, c.code)
				if toolError.Path != c.path || result.ExitCode != -1 || len(runner.Runs()) != 0 {
					t.Errorf("got path %q, exit code %d, runs %v", toolError.Path, result.ExitCode, runner.Runs())
				}
				var cause *fs.PathError
				if !errors.As(err, &cause) {
					t.Errorf("%v does not unwrap to the system's error", err)
				}
			})
		}
	}
}

func TestOutputCap(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		command Command
		tooMuch bool
	}{
		"exactly the cap":     {Command{Args: []string{"print", "12345678"}, MaxOutput: 8}, false},
		"one byte more":       {Command{Args: []string{"print", "123456789"}, MaxOutput: 8}, true},
		"endless output":      {Command{Args: []string{"flood"}, MaxOutput: 1 << 20}, true},
		"endless, by default": {Command{Args: []string{"flood"}}, true},
		"endless errors":      {Command{Args: []string{"flood-error"}}, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.command.Path = testBinary(t)
			result, err := new(Runner).Run(t.Context(), &c.command)
			if c.tooMuch {
				requireCode(t, err, CodeTooLarge)
				return
			}
			if err != nil || len(result.Stdout) != c.command.MaxOutput {
				t.Errorf("got %d bytes, %v", len(result.Stdout), err)
			}
		})
	}
}

func TestDeathBySomebodyElsesSignalIsAnError(t *testing.T) {
	t.Parallel()
	for way, start := range ways {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			_, err := start(new(Runner), t.Context(), &Command{Path: testBinary(t), Args: []string{"kill-itself"}})
			requireCode(t, err, CodeFailed)
		})
	}
}

func TestContextThatHasEnded(t *testing.T) {
	t.Parallel()
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	expired, cancelExpired := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancelExpired()
	cases := map[string]struct {
		ctx   context.Context
		code  string
		cause error
	}{
		"canceled": {canceled, CodeFailed, context.Canceled},
		"expired":  {expired, CodeTimeout, context.DeadlineExceeded},
	}
	for name, c := range cases {
		for way, start := range ways {
			t.Run(way+", "+name, func(t *testing.T) {
				t.Parallel()
				runner := new(Runner)
				_, err := start(runner, c.ctx, &Command{Path: testBinary(t), Args: []string{"sleep"}})
				requireCode(t, err, c.code)
				if !errors.Is(err, c.cause) || len(runner.Runs()) != 0 {
					t.Errorf("got %v, runs %v", err, runner.Runs())
				}
			})
		}
	}
}

// A canary goes through everything that can be secret, in every kind of run.
func TestLogAndErrorsNameNothingButProgramAndAction(t *testing.T) {
	t.Parallel()
	const canary = "hunter2-canary"
	path := testBinary(t)
	secret := Command{
		Path:  path,
		Args:  []string{"report", canary},
		Stdin: []byte(canary),
		Env:   []string{"TOKEN=" + canary},
	}
	with := func(change func(*Command)) Command {
		changed := secret
		change(&changed)
		return changed
	}
	cases := map[string]Command{
		"good":      secret,
		"prints it": with(func(c *Command) { c.Args = []string{"say", canary} }),
		"exit code": with(func(c *Command) { c.Args = []string{"exit-three", canary} }),
		"refused":   with(func(c *Command) { c.Env = []string{"PATH=" + canary} }),
		"missing":   with(func(c *Command) { c.Path = "/nonexistent/program" }),
		"too large": with(func(c *Command) { c.MaxOutput = 1 }),
		"timeout":   with(func(c *Command) { c.Args, c.Limit = []string{"sleep", canary}, time.Millisecond }),
		"killed":    with(func(c *Command) { c.Args = []string{"kill-itself", canary} }),
	}
	for name, command := range cases {
		for way, start := range ways {
			command := command
			if way == "follow" {
				command.Stdin = nil
			}
			if way == "follow" && slices.Contains([]string{"good", "timeout", "too large"}, name) {
				continue // it has no input, no limit and no cap
			}
			t.Run(way+", "+name, func(t *testing.T) {
				t.Parallel()
				var log bytes.Buffer
				runner := &Runner{Log: zerolog.New(&log), Grace: 20 * time.Millisecond}
				_, err := start(runner, t.Context(), &command)
				if strings.Contains(log.String(), canary) {
					t.Errorf("the log has the secret: %s", &log)
				}
				if err != nil && strings.Contains(err.Error(), canary) {
					t.Errorf("the error has the secret: %v", err)
				}
				if !strings.Contains(log.String(), filepath.Base(command.Path)) {
					t.Errorf("the log does not name the program: %s", &log)
				}
			})
		}
	}
}

func TestConcurrentRunsAreCounted(t *testing.T) {
	t.Parallel()
	runner := new(Runner)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			if _, err := runner.Run(t.Context(), &Command{Path: testBinary(t), Args: []string{"print", ""}}); err != nil {
				t.Error(err)
			}
			runner.Runs()["not the runner's own map"]++
		})
	}
	group.Wait()
	if diff := cmp.Diff(map[string]uint64{filepath.Base(testBinary(t)): 4}, runner.Runs()); diff != "" {
		t.Errorf("runs (-want +got):\n%s", diff)
	}
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	const prlctl = "/Applications/Parallels Desktop.app/Contents/MacOS/prlctl"
	sudo := []string{"-n", "-H", "-u", "#501"}
	cases := map[string]struct {
		path            string
		args            []string
		program, action string
	}{
		"known action":             {prlctl, []string{"list", "-a"}, "prlctl", "list"},
		"unknown first word":       {prlctl, []string{"my secret"}, "prlctl", ""},
		"action not in front":      {prlctl, []string{"my secret", "list"}, "prlctl", ""},
		"no arguments":             {"/usr/sbin/ioreg", nil, "ioreg", ""},
		"program not in table":     {"/opt/thing", []string{"list"}, "thing", ""},
		"through sudo":             {"/usr/bin/sudo", append(sudo, prlctl, "set", "x"), "prlctl", "set"},
		"through the session":      {"/bin/launchctl", append([]string{"asuser", "501", "/usr/bin/sudo"}, append(sudo, "/usr/bin/defaults", "export")...), "defaults", "export"},
		"with a secret argument":   {"/usr/bin/sudo", append(sudo, "/usr/bin/xargs", "-0", prlctl, "set", "x"), "prlctl", "set"},
		"launchctl for itself":     {"/bin/launchctl", []string{"bootstrap", "system", "/Library/x.plist"}, "launchctl", "bootstrap"},
		"sudo without a program":   {"/usr/bin/sudo", []string{"-n"}, "sudo", ""},
		"asuser without a command": {"/bin/launchctl", []string{"asuser", "501"}, "launchctl", "asuser"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			program, action := describeRun(c.path, c.args)
			if program != c.program || action != c.action {
				t.Errorf("got %q %q, want %q %q", program, action, c.program, c.action)
			}
		})
	}
}
