package store_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// caseTimeout is when a case counts as hung. It is never waited for unless one
// hangs.
const caseTimeout = 20 * time.Second

// batch plays one role for many folders in one child process, so that a case
// costs no process. A child that dies is replaced, and it is known over which
// folder it died.
type batch struct {
	t           testing.TB
	role        string
	environment []string

	child  *exec.Cmd
	input  io.WriteCloser
	output *bufio.Reader
	errors *bytes.Buffer
}

func newBatch(t testing.TB, role string, environment ...string) *batch {
	b := &batch{t: t, role: role, environment: environment}
	t.Cleanup(func() { b.end() })
	return b
}

func (b *batch) start() {
	b.t.Helper()
	b.child, b.errors = command(b.t, b.role, "", b.environment...), &bytes.Buffer{}
	b.child.Stderr = b.errors
	input, err := b.child.StdinPipe()
	must(b.t, err)
	output, err := b.child.StdoutPipe()
	must(b.t, err)
	must(b.t, b.child.Start())
	b.input, b.output = input, bufio.NewReader(output)
}

// play returns the child's answer, or how it died.
func (b *batch) play(dir string) (result childResult) {
	b.t.Helper()
	if b.child == nil {
		b.start()
	}
	var hung atomic.Bool
	watchdog := time.AfterFunc(caseTimeout, func() {
		hung.Store(true)
		_ = b.child.Process.Signal(syscall.SIGQUIT) // which prints every goroutine
	})
	defer watchdog.Stop()
	_, err := fmt.Fprintln(b.input, dir)
	answer := []byte{}
	if err == nil {
		answer, err = b.output.ReadBytes('\n')
	}
	if err == nil {
		must(b.t, json.Unmarshal(answer, &result))
		return result
	}
	how := map[bool]string{true: "hung", false: "crashed"}[hung.Load()]
	return childResult{Died: fmt.Sprintf("%s: %.2000s", how, b.end())}
}

// skipWithoutPtrace skips a test where nobody may be traced, as in some
// containers.
func skipWithoutPtrace(t testing.TB, got childResult) {
	t.Helper()
	if strings.Contains(got.Error, "ptrace refused") {
		t.Skip(got.Error)
	}
}

// end ends the child and returns what it complained about.
func (b *batch) end() string {
	if b.child == nil {
		return ""
	}
	_ = b.input.Close()
	_, _ = io.Copy(io.Discard, b.output)
	_ = b.child.Wait()
	b.child = nil
	return b.errors.String()
}
