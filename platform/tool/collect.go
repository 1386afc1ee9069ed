package tool

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// collection is a program whose output is kept until it has ended.
type collection struct {
	*process
	limit          time.Duration
	deadline       time.Time // by the wall clock
	stdout, stderr *capture
	overflow       chan struct{} // closed when one of the two streams is full
}

// collect is the way of Run.
func (r *Runner) collect(ctx context.Context, p *process) (Result, *Error) {
	run := r.newCollection(p)
	if err := run.start(); err != nil {
		return noResult, err
	}
	stopped := r.reasonToStop(ctx, run)
	if stopped != nil && !run.stop(r.grace()) {
		return noResult, notKilled(stopped)
	}
	if run.stdout.full || run.stderr.full {
		stopped = tooLarge(p.command.Path)
	}
	code, err := run.outcome(stopped)
	return Result{Stdout: run.stdout.kept(), Stderr: run.stderr.kept(), ExitCode: code}, err
}

func (r *Runner) newCollection(p *process) *collection {
	c := p.command
	run := &collection{process: p, limit: cmp.Or(c.Limit, QueryLimit), overflow: make(chan struct{})}
	run.deadline = r.wallClock().Add(run.limit)
	tell := sync.OnceFunc(func() { close(run.overflow) })
	run.stdout = &capture{max: cmp.Or(c.MaxOutput, DefaultMaxStdout), tell: tell}
	run.stderr = &capture{max: cmp.Or(c.MaxOutput, DefaultMaxStderr), tell: tell}

	p.cmd.Stdout, p.cmd.Stderr = run.stdout, run.stderr
	if c.Stdin != nil {
		p.cmd.Stdin = bytes.NewReader(c.Stdin)
	}
	p.cmd.SysProcAttr = ownGroup()
	p.cmd.WaitDelay = r.grace()
	return run
}

// reasonToStop waits for the end of the program, which is nil, or a reason to
// stop it. It watches two clocks. Timers stand still while a Mac sleeps
// (facts/macos.md 2.4), so the wall clock is compared on a coarse tick; the
// timer holds when somebody sets the wall clock back.
func (r *Runner) reasonToStop(ctx context.Context, run *collection) *Error {
	path := run.command.Path
	timer := time.NewTimer(run.limit)
	defer timer.Stop()
	tick := time.NewTicker(cmp.Or(r.tick, wallClockTick))
	defer tick.Stop()
	for {
		select {
		case <-run.ended:
			return nil
		case <-ctx.Done():
			return interrupted(ctx, path)
		case <-run.overflow:
			return tooLarge(path)
		case <-timer.C:
			return timeout(path, run.limit)
		case <-tick.C:
			if !r.wallClock().Before(run.deadline) {
				return timeout(path, run.limit)
			}
		}
	}
}

func timeout(path string, limit time.Duration) *Error {
	return &Error{CodeTimeout, path, fmt.Errorf("killed at its limit of %s", limit)}
}

func tooLarge(path string) *Error {
	return &Error{CodeTooLarge, path, errors.New("printed more than the cap")}
}

// wallClock is the time without its monotonic reading.
func (r *Runner) wallClock() time.Time {
	if r.now != nil {
		return r.now().Round(0)
	}
	return time.Now().Round(0)
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
