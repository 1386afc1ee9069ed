package tool

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

func newPipe(t *testing.T) string {
	t.Helper()
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	return pipe
}

// holders watches a pipe that two processes hold open.
type holders struct {
	ready chan struct{} // closed when both are there
	gone  chan error    // gets the end of the pipe: nil when nobody holds it any more
}

func watchHolders(pipe string) holders {
	h := holders{ready: make(chan struct{}), gone: make(chan error, 1)}
	go func() {
		file, err := os.Open(pipe) // waits for the first holder
		if err != nil {
			h.gone <- err
			return
		}
		defer file.Close()
		lines := bufio.NewReader(file)
		for range 2 {
			if _, err := lines.ReadString('\n'); err != nil {
				h.gone <- err
				return
			}
		}
		close(h.ready)
		_, err = io.Copy(io.Discard, lines)
		h.gone <- err
	}()
	return h
}

// The process group holds two processes that ignore SIGTERM, or one that obeys
// and one that does not: whatever ends the run, both are gone afterwards.
func TestStoppedRunLeavesNoOrphan(t *testing.T) {
	t.Parallel()
	type stop struct {
		wallClockAhead *atomic.Int64
		cancel         context.CancelFunc
	}
	reasons := map[string]struct {
		stop  func(stop)
		code  string
		cause error
	}{
		"wall clock past the limit, as after a sleep": {
			stop: func(s stop) { s.wallClockAhead.Store(int64(time.Hour)) },
			code: CodeTimeout,
		},
		"context canceled": {
			stop:  func(s stop) { s.cancel() },
			code:  CodeFailed,
			cause: context.Canceled,
		},
	}
	for name, reason := range reasons {
		for _, role := range []string{"stubborn", "polite-parent"} {
			t.Run(name+", "+role, func(t *testing.T) {
				t.Parallel()
				var ahead atomic.Int64
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				runner := &Runner{
					Grace: 20 * time.Millisecond,
					now:   func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) },
					tick:  5 * time.Millisecond,
				}
				pipe := newPipe(t)
				processes := watchHolders(pipe)
				go func() {
					<-processes.ready
					reason.stop(stop{&ahead, cancel})
				}()
				_, err := runner.Run(ctx, &Command{Path: testBinary(t), Args: []string{role, pipe}, Limit: 30 * time.Minute})
				requireCode(t, err, reason.code)
				if reason.cause != nil && !errors.Is(err, reason.cause) {
					t.Errorf("%v does not unwrap to %v", err, reason.cause)
				}
				if err := <-processes.gone; err != nil {
					t.Errorf("watch the pipe: %v", err)
				}
			})
		}
	}
}

func TestTimerKillsAtTheLimit(t *testing.T) {
	t.Parallel()
	runner := &Runner{Grace: 20 * time.Millisecond}
	result, err := runner.Run(t.Context(), &Command{
		Path: testBinary(t), Args: []string{"sleep"}, Limit: 20 * time.Millisecond,
	})
	requireCode(t, err, CodeTimeout)
	if result.ExitCode != -1 {
		t.Errorf("got exit code %d of a program that was killed", result.ExitCode)
	}
}

func TestWallClockSetBackDoesNotStopTheTimer(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	runner := &Runner{
		Grace: 20 * time.Millisecond,
		now:   func() time.Time { return time.Unix(1e9-3600*calls.Add(1), 0) },
		tick:  time.Millisecond,
	}
	_, err := runner.Run(t.Context(), &Command{
		Path: testBinary(t), Args: []string{"sleep"}, Limit: 20 * time.Millisecond,
	})
	requireCode(t, err, CodeTimeout)
}

// A process that a program left behind keeps the output pipe open; the run ends
// nevertheless, with all the program said, and the process lives on.
func TestProcessLeftBehindIsNotWaitedForAndNotKilled(t *testing.T) {
	t.Parallel()
	pipe := newPipe(t)
	runner := &Runner{Grace: 20 * time.Millisecond}
	result, err := runner.Run(t.Context(), &Command{Path: testBinary(t), Args: []string{"leave-behind", pipe}})
	if err != nil {
		t.Fatal(err)
	}
	if result.ExitCode != 0 || string(result.Stdout) != "all said" {
		t.Errorf("got exit code %d, output %q", result.ExitCode, result.Stdout)
	}
	file, err := os.OpenFile(pipe, os.O_WRONLY, 0) // waits until the process left behind reads
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteString("still there?"); err != nil {
		t.Error(err)
	}
	if err := file.Close(); err != nil { // lets it end
		t.Error(err)
	}
}

// A signal that does not arrive stands for a program that the kernel holds.
func TestProgramThatCanNotBeKilledIsGivenUp(t *testing.T) {
	t.Parallel()
	pipe := newPipe(t)
	var sent []syscall.Signal
	runner := &Runner{
		Grace: time.Millisecond,
		kill:  func(_ int, signal syscall.Signal) { sent = append(sent, signal) },
	}
	result, err := runner.Run(t.Context(), &Command{
		Path: testBinary(t), Args: []string{"read-all", pipe}, Limit: time.Millisecond,
	})
	requireCode(t, err, CodeTimeout)
	if result.ExitCode != -1 || result.Stdout != nil {
		t.Errorf("got exit code %d and output %q", result.ExitCode, result.Stdout)
	}
	if !slices.Equal(sent, []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL}) {
		t.Errorf("got signals %v", sent)
	}
	file, err := os.OpenFile(pipe, os.O_WRONLY, 0) // waits until it reads, then lets it end
	if err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Error(err)
	}
}
