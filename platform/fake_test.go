package platform

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"prlagent/platform/tool"
)

// fakeRunner answers by the program and its arguments in one line, and keeps
// what it was asked.
type fakeRunner struct {
	answers map[string]answer

	mu    sync.Mutex
	asked []tool.Command
}

type answer struct {
	stdout string
	exit   int
	err    error
}

func (r *fakeRunner) Run(_ context.Context, c *tool.Command) (tool.Result, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = append(r.asked, *c)
	reply, known := r.answers[line(c)]
	if !known {
		return tool.Result{ExitCode: -1}, &tool.Error{Code: tool.CodeMissing, Path: c.Path, Err: os.ErrNotExist}
	}
	return tool.Result{Stdout: []byte(reply.stdout), ExitCode: reply.exit}, reply.err
}

// Follow answers as Run does, and hands over the output line by line.
func (r *fakeRunner) Follow(
	ctx context.Context, c *tool.Command, line func(text []byte, cut bool),
) (tool.Result, error) {
	result, err := r.Run(ctx, c)
	for text := range bytes.Lines(result.Stdout) {
		line(bytes.TrimSuffix(text, []byte("\n")), false)
	}
	result.Stdout = nil
	return result, err
}

// times counts the runs of one program so far.
func (r *fakeRunner) times(path string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	count := 0
	for _, c := range r.asked {
		if c.Path == path {
			count++
		}
	}
	return count
}

// timesAbout counts the runs so far that have this as their last argument.
func (r *fakeRunner) timesAbout(last string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	count := 0
	for _, c := range r.asked {
		if len(c.Args) > 0 && c.Args[len(c.Args)-1] == last {
			count++
		}
	}
	return count
}

func line(c *tool.Command) string { return strings.Join(append([]string{c.Path}, c.Args...), " ") }

func sample(t testing.TB, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// place writes a file of the simulated Mac.
func place(t *testing.T, root, macPath, content string) {
	t.Helper()
	syscall.ForkLock.RLock() // a process that starts meanwhile would keep a program from running
	defer syscall.ForkLock.RUnlock()
	path := filepath.Join(root, macPath)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}
