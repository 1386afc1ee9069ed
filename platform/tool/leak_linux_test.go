package tool

import (
	"context"
	"errors"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// Whatever way a stream ends, 300 of them leave nothing behind. The test is not
// parallel: it counts what the whole process has.
func TestFollowLeavesNothingBehind(t *testing.T) {
	const rounds, together = 60, 4
	endings := []struct {
		args []string
		code string // "" is no error
	}{
		{args: []string{"number", "3"}},
		{args: []string{"exit-three"}},
		{args: []string{"kill-itself"}, code: CodeFailed},
		{args: []string{"close-terminal"}, code: CodeFailed},
		{args: []string{"sleep"}, code: CodeFailed}, // its context ends
	}
	patient, hasty := &Runner{}, &Runner{Grace: 20 * time.Millisecond} // a program that is about to end has its time, however busy the machine is
	path, before, routines := testBinary(t), openFiles(t), goleak.IgnoreCurrent()
	turns := make(chan int)
	var workers sync.WaitGroup
	for range together {
		workers.Go(func() {
			for turn := range turns {
				ending := endings[turn%len(endings)]
				runner := hasty
				if ending.code == "" {
					runner = patient
				}
				_, err := followUntilEnded(t.Context(), runner, &Command{Path: path, Args: ending.args})
				if code := codeOf(err); code != ending.code {
					t.Errorf("%v: got %v, want the code %q", ending.args, err, ending.code)
				}
			}
		})
	}
	for turn := range rounds * len(endings) {
		turns <- turn
	}
	close(turns)
	workers.Wait()

	goleak.VerifyNone(t, routines)
	if after := openFiles(t); after != before {
		t.Errorf("%d open files, before there were %d", after, before)
	}
	if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); !errors.Is(err, unix.ECHILD) {
		t.Errorf("there is still a child: %d, %v", pid, err)
	}
}

// followUntilEnded ends the context of a program that sleeps.
func followUntilEnded(ctx context.Context, runner *Runner, c *Command) (Result, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if c.Args[0] == "sleep" {
		time.AfterFunc(time.Millisecond, cancel)
	}
	return runner.Follow(ctx, c, func([]byte, bool) {})
}

func codeOf(err error) string {
	var toolError *Error
	if errors.As(err, &toolError) {
		return toolError.Code
	}
	return ""
}

func openFiles(t *testing.T) int {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}
