package tool

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"
)

// process is one program while it runs.
type process struct {
	cmd            *exec.Cmd
	stdout, stderr *capture
	overflow       chan struct{} // closed when one of the two streams is full
}

func (r *Runner) prepare(c Command) *process {
	p := &process{overflow: make(chan struct{})}
	tell := sync.OnceFunc(func() { close(p.overflow) })
	p.stdout = &capture{max: cmp.Or(c.MaxOutput, DefaultMaxStdout), tell: tell}
	p.stderr = &capture{max: cmp.Or(c.MaxOutput, DefaultMaxStderr), tell: tell}

	file := filepath.Join(r.Root, c.Path)
	p.cmd = &exec.Cmd{
		Path: file,
		// A program that acts by the name and place it is called by sees both.
		Args:        append([]string{file}, c.Args...),
		Env:         slices.Concat(c.Env, fixedEnvironment),
		Dir:         "/",
		Stdout:      p.stdout,
		Stderr:      p.stderr,
		SysProcAttr: ownGroup(),
		WaitDelay:   r.grace(),
	}
	if c.Stdin != nil {
		p.cmd.Stdin = bytes.NewReader(c.Stdin)
	}
	return p
}

func (r *Runner) grace() time.Duration { return cmp.Or(r.Grace, DefaultGrace) }

// finish waits for the end of a started process, which a supervisor brings
// about if the process does not.
func (r *Runner) finish(ctx context.Context, c Command, p *process) (Result, *Error) {
	ended := make(chan struct{})
	verdict := make(chan *Error, 1)
	go func() { verdict <- r.supervise(ctx, c, p, ended) }()
	waitError := p.cmd.Wait()
	close(ended)
	stopped := <-verdict

	result := Result{Stdout: p.stdout.kept(), Stderr: p.stderr.kept(), ExitCode: p.cmd.ProcessState.ExitCode()}
	err := p.failure(c.Path, stopped, waitError)
	if err != nil {
		p.signal(syscall.SIGKILL)
		result.ExitCode = -1
	}
	return result, err
}

// failure tells a run that counts from one that does not.
func (p *process) failure(path string, stopped *Error, waitError error) *Error {
	if p.stdout.full || p.stderr.full {
		return tooLarge(path)
	}
	if stopped != nil {
		return stopped
	}
	var exit *exec.ExitError
	switch {
	case !p.cmd.ProcessState.Exited():
		return &Error{CodeFailed, path, fmt.Errorf("ended by itself: %s", p.cmd.ProcessState)}
	// The program is gone and all it wrote was read; only a process it left
	// behind still holds the pipe.
	case waitError == nil, errors.As(waitError, &exit), errors.Is(waitError, exec.ErrWaitDelay):
		return nil
	}
	return &Error{CodeFailed, path, fmt.Errorf("read the output: %w", waitError)}
}

func tooLarge(path string) *Error {
	return &Error{CodeTooLarge, path, errors.New("printed more than the cap")}
}

// supervise returns nil when the process ended by itself; else it ends the
// process and says why.
func (r *Runner) supervise(ctx context.Context, c Command, p *process, ended <-chan struct{}) *Error {
	reason := r.reasonToStop(ctx, c, p, ended)
	if reason == nil {
		return nil
	}
	p.signal(syscall.SIGTERM)
	grace := time.NewTimer(r.grace())
	defer grace.Stop()
	select {
	case <-ended:
	case <-grace.C:
	}
	p.signal(syscall.SIGKILL)
	<-ended
	return reason
}

// reasonToStop watches two clocks. Timers stand still while a Mac sleeps
// (facts/macos.md 2.4), so the wall clock is compared on a coarse tick; the
// timer holds when somebody sets the wall clock back.
func (r *Runner) reasonToStop(ctx context.Context, c Command, p *process, ended <-chan struct{}) *Error {
	limit := cmp.Or(c.Limit, QueryLimit)
	deadline := r.wallClock().Add(limit)
	timer := time.NewTimer(limit)
	defer timer.Stop()
	tick := time.NewTicker(cmp.Or(r.tick, wallClockTick))
	defer tick.Stop()
	for {
		select {
		case <-ended:
			return nil
		case <-ctx.Done():
			return interrupted(ctx, c.Path)
		case <-p.overflow:
			return tooLarge(c.Path)
		case <-timer.C:
			return timeout(c.Path, limit)
		case <-tick.C:
			if !r.wallClock().Before(deadline) {
				return timeout(c.Path, limit)
			}
		}
	}
}

func timeout(path string, limit time.Duration) *Error {
	return &Error{CodeTimeout, path, fmt.Errorf("killed at its limit of %s", limit)}
}

// wallClock is the time without its monotonic reading.
func (r *Runner) wallClock() time.Time {
	if r.now != nil {
		return r.now().Round(0)
	}
	return time.Now().Round(0)
}

// signal reaches every process of the group that is left; none being left is
// as good.
func (p *process) signal(s syscall.Signal) {
	_ = syscall.Kill(-p.cmd.Process.Pid, s)
}

// capture keeps what one stream prints, up to a cap. Beyond it, it swallows
// the rest so that the program can be ended instead of blocking on a full pipe.
type capture struct {
	buffer bytes.Buffer
	max    int
	full   bool
	tell   func()
}

// Write never fails.
func (c *capture) Write(data []byte) (int, error) {
	if c.full || c.buffer.Len()+len(data) > c.max {
		c.full = true
		c.tell()
		return len(data), nil
	}
	return c.buffer.Write(data)
}

func (c *capture) kept() []byte { return c.buffer.Bytes() }
