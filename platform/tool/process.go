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
	limit          time.Duration
	deadline       time.Time // by the wall clock
	stdout, stderr *capture
	overflow       chan struct{} // closed when one of the two streams is full
	ended          chan struct{} // closed when the program is gone and its output read
	waitError      error         // what Wait said; to be read after ended
	kill           func(group int, signal syscall.Signal)
}

func (r *Runner) prepare(c Command) *process {
	p := &process{
		limit:    cmp.Or(c.Limit, QueryLimit),
		overflow: make(chan struct{}),
		ended:    make(chan struct{}),
		kill:     r.kill,
	}
	p.deadline = r.wallClock().Add(p.limit)
	if p.kill == nil {
		p.kill = killGroup
	}
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

// start starts the program and has it waited for. One thread does both: the
// kernel ties a child's parent-death signal to the thread that started it.
func (p *process) start() error {
	started := make(chan error)
	go func() {
		release := holdThread()
		defer release()
		err := p.cmd.Start()
		started <- err
		if err != nil {
			return
		}
		p.waitError = p.cmd.Wait()
		close(p.ended)
	}()
	return <-started
}

// finish waits for the end of a started program, or brings it about.
func (r *Runner) finish(ctx context.Context, c Command, p *process) (Result, *Error) {
	stopped := r.reasonToStop(ctx, c, p)
	if stopped != nil && !p.stop(r.grace()) {
		stopped.Err = fmt.Errorf("%w, and can not be killed", stopped.Err)
		return Result{ExitCode: -1}, stopped
	}
	result := Result{Stdout: p.stdout.kept(), Stderr: p.stderr.kept(), ExitCode: p.cmd.ProcessState.ExitCode()}
	err := p.failure(c.Path, stopped)
	if err != nil {
		p.kill(p.cmd.Process.Pid, syscall.SIGKILL) // what is left of the group
		result.ExitCode = -1
	}
	return result, err
}

// stop ends the group, and reports whether it did.
func (p *process) stop(grace time.Duration) bool {
	p.kill(p.cmd.Process.Pid, syscall.SIGTERM)
	if p.endsWithin(grace) {
		return true
	}
	p.kill(p.cmd.Process.Pid, syscall.SIGKILL)
	return p.endsWithin(2 * grace) // one of them is for a pipe that somebody else holds
}

func (p *process) endsWithin(duration time.Duration) bool {
	timer := time.NewTimer(duration)
	defer timer.Stop()
	select {
	case <-p.ended:
		return true
	case <-timer.C:
		return false
	}
}

// failure tells a run that counts from one that does not.
func (p *process) failure(path string, stopped *Error) *Error {
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
	case p.waitError == nil, errors.As(p.waitError, &exit), errors.Is(p.waitError, exec.ErrWaitDelay):
		return nil
	}
	return &Error{CodeFailed, path, fmt.Errorf("read the output: %w", p.waitError)}
}

func tooLarge(path string) *Error {
	return &Error{CodeTooLarge, path, errors.New("printed more than the cap")}
}

// reasonToStop waits for the end of the program, which is nil, or a reason to
// stop it. It watches two clocks. Timers stand still while a Mac sleeps
// (facts/macos.md 2.4), so the wall clock is compared on a coarse tick; the
// timer holds when somebody sets the wall clock back.
func (r *Runner) reasonToStop(ctx context.Context, c Command, p *process) *Error {
	timer := time.NewTimer(p.limit)
	defer timer.Stop()
	tick := time.NewTicker(cmp.Or(r.tick, wallClockTick))
	defer tick.Stop()
	for {
		select {
		case <-p.ended:
			return nil
		case <-ctx.Done():
			return interrupted(ctx, c.Path)
		case <-p.overflow:
			return tooLarge(c.Path)
		case <-timer.C:
			return timeout(c.Path, p.limit)
		case <-tick.C:
			if !r.wallClock().Before(p.deadline) {
				return timeout(c.Path, p.limit)
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

// killGroup reaches every process of the group that is left; none being left is
// as good.
func killGroup(group int, signal syscall.Signal) { _ = syscall.Kill(-group, signal) }

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
