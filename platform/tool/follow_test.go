package tool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// follow gives all that the program printed.
func follow(t *testing.T, runner *Runner, args ...string) (got []heard, result Result, err error) {
	t.Helper()
	result, err = runner.Follow(t.Context(), &Command{Path: testBinary(t), Args: args}, func(text []byte, cut bool) {
		got = append(got, heard{string(text), cut})
	})
	return got, result, err
}

func TestFollowedOutput(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		args []string
		want []heard
		exit int
	}{
		"nothing":               {args: []string{"print", ""}},
		"no end at the end":     {args: []string{"print", "12345678"}, want: []heard{{"xxxxxxxx", false}}},
		"returns of its own":    {args: []string{"carriage-return"}, want: []heard{{"one", false}, {"two", false}, {"", false}, {"three", false}}},
		"errors are told, too":  {args: []string{"exit-three"}, want: []heard{{"to stdoutto stderr", false}}, exit: 3},
		"a program's arguments": {args: []string{"number", "2"}, want: []heard{{"line 0", false}, {"line 1", false}}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, result, err := follow(t, new(Runner), c.args...)
			if err != nil || result.ExitCode != c.exit || result.Duration <= 0 || result.Stdout != nil || result.Stderr != nil {
				t.Errorf("got %+v, %v", result, err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("lines (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFollowedProgramIsOnATerminalOfItsOwn(t *testing.T) {
	t.Parallel()
	got, _, err := follow(t, new(Runner), "terminal")
	if err != nil {
		t.Fatal(err)
	}
	want := []heard{
		{"input: terminal true, echo false", false},
		{"output: terminal true, echo false", false},
		{"error: terminal true, echo false", false},
		{"leads its session true, controlled by the terminal true", false},
		{`env ["PATH=/usr/bin:/bin:/usr/sbin:/sbin" "LANG=C" "LC_ALL=C"]`, false},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what the program saw (-want +got):\n%s", diff)
	}
}

func TestH13_LongLineIsCutAndTheStreamGoesOn(t *testing.T) {
	t.Parallel()
	cases := map[string]struct{ asked, longest int }{
		"by default": {0, defaultMaxLine},
		"by the cap": {100, 100},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []heard
			_, err := new(Runner).Follow(t.Context(), &Command{
				Path: testBinary(t), Args: []string{"long-line"}, MaxOutput: c.asked,
			}, func(text []byte, cut bool) { got = append(got, heard{string(text), cut}) })
			if err != nil {
				t.Fatal(err)
			}
			want := []heard{{strings.Repeat("x", c.longest), true}, {"after", false}}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%d lines (-want +got):\n%.500s", len(got), diff)
			}
		})
	}
}

func TestNoLineOfALongStreamIsLost(t *testing.T) {
	t.Parallel()
	const count = 10_000
	got, _, err := follow(t, new(Runner), "number", fmt.Sprint(count))
	if err != nil || len(got) != count {
		t.Fatalf("got %d lines, %v", len(got), err)
	}
	for n, line := range got {
		if want := (heard{fmt.Sprintf("line %d", n), false}); line != want {
			t.Fatalf("line %d is %+v", n, line)
		}
	}
}

// Each line is told only when the one before has arrived.
func TestLineArrivesWhileTheProgramRuns(t *testing.T) {
	t.Parallel()
	pipe := newPipe(t)
	arrived, ended := make(chan string), make(chan error, 1)
	go func() {
		_, err := new(Runner).Follow(t.Context(), &Command{Path: testBinary(t), Args: []string{"repeat", pipe}},
			func(text []byte, _ bool) { arrived <- string(text) })
		ended <- err
	}()
	told := tellThrough(t, pipe)
	for n := range 5 {
		word := fmt.Sprint("event ", n)
		if _, err := fmt.Fprintln(told, word); err != nil {
			t.Fatal(err)
		}
		if got := <-arrived; got != word {
			t.Errorf("got %q, want %q", got, word)
		}
	}
	if err := told.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// tellThrough opens the pipe, which waits for the program that reads it.
func tellThrough(t *testing.T, pipe string) io.WriteCloser {
	t.Helper()
	file, err := os.OpenFile(pipe, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	return file
}

func TestFollowRefusesWhatAStreamDoesNotHave(t *testing.T) {
	t.Parallel()
	cases := map[string]Command{
		"input": {Stdin: []byte{}},
		"limit": {Limit: time.Second},
	}
	for name, command := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			command.Path = testBinary(t)
			runner := new(Runner)
			_, err := ways["follow"](runner, t.Context(), &command)
			requireCode(t, err, CodeRefused)
			if len(runner.Runs()) != 0 {
				t.Errorf("it ran: %v", runner.Runs())
			}
		})
	}
}

func TestFollowedProgramIsFoundBelowTheRootAndCounted(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	if err := os.Symlink(testBinary(t), filepath.Join(root, "monitor")); err != nil {
		t.Fatal(err)
	}
	runner := &Runner{Root: root}
	result, err := runner.Follow(t.Context(), &Command{Path: "/monitor", Args: []string{"print", ""}}, func([]byte, bool) {})
	if err != nil || result.ExitCode != 0 {
		t.Errorf("got %+v, %v", result, err)
	}
	if diff := cmp.Diff(map[string]uint64{"monitor": 1}, runner.Runs()); diff != "" {
		t.Errorf("runs (-want +got):\n%s", diff)
	}
}

func TestFollowedProgramEndsWithTheContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	pipe := newPipe(t)
	go func() { _, _ = fmt.Fprintln(tellThrough(t, pipe), "first") }()
	result, err := new(Runner).Follow(ctx, &Command{Path: testBinary(t), Args: []string{"repeat", pipe}},
		func([]byte, bool) { cancel() })
	requireCode(t, err, CodeFailed)
	if !errors.Is(err, context.Canceled) || result.ExitCode != -1 {
		t.Errorf("got %+v, %v", result, err)
	}
}

// One of the two processes obeys, or none does: both are gone afterwards.
func TestFollowedProgramThatIgnoresTheEndIsKilled(t *testing.T) {
	t.Parallel()
	for _, role := range []string{"stubborn", "polite-parent"} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			pipe := newPipe(t)
			processes := watchHolders(pipe)
			go func() {
				<-processes.ready
				cancel()
			}()
			runner := &Runner{Grace: 20 * time.Millisecond}
			_, err := ways["follow"](runner, ctx, &Command{Path: testBinary(t), Args: []string{role, pipe}})
			requireCode(t, err, CodeFailed)
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%v does not unwrap to the cancellation", err)
			}
			if err := <-processes.gone; err != nil {
				t.Errorf("watch the pipe: %v", err)
			}
		})
	}
}

// The program ends and leaves a process behind that has the terminal open and
// lives on: the kernel takes the terminal from it, or we leave it.
func TestProcessLeftBehindDoesNotHoldTheStream(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"controlled", "uncontrolled"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			pipe := newPipe(t)
			var told io.WriteCloser
			var got []string
			runner := &Runner{Grace: 20 * time.Millisecond}
			result, err := runner.Follow(t.Context(), &Command{
				Path: testBinary(t), Args: []string{"hold-terminal", how, pipe},
			}, func(text []byte, _ bool) {
				got = append(got, string(text))
				told = tellThrough(t, pipe)
				if _, err := fmt.Fprint(told, "x"); err != nil {
					t.Error(err)
				}
			})
			if err != nil || result.ExitCode != 0 || len(got) != 1 || got[0] != "ready" {
				t.Fatalf("got %+v, %q, %v", result, got, err)
			}
			if _, err := fmt.Fprint(told, "still there?"); err != nil {
				t.Errorf("the process does not live any more: %v", err)
			}
		})
	}
}

func TestFollowedProgramThatClosesItsTerminalIsStopped(t *testing.T) {
	t.Parallel()
	_, result, err := follow(t, &Runner{Grace: 20 * time.Millisecond}, "close-terminal")
	requireCode(t, err, CodeFailed)
	if result.ExitCode != -1 {
		t.Errorf("got exit code %d", result.ExitCode)
	}
}

// A signal that does not arrive stands for a program that the kernel holds. When
// that lets go of it, it finds no terminal any more.
func TestFollowedProgramThatCanNotBeKilledIsGivenUp(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	pipe := newPipe(t)
	go func() { _, _ = fmt.Fprintln(tellThrough(t, pipe), "first") }()
	runner := &Runner{Grace: time.Millisecond, kill: func(int, syscall.Signal) {}}
	_, err := runner.Follow(ctx, &Command{Path: testBinary(t), Args: []string{"repeat", pipe}},
		func([]byte, bool) { cancel() })
	requireCode(t, err, CodeFailed)
	if !strings.Contains(err.Error(), "can not be killed") {
		t.Errorf("got %v", err)
	}
}
