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

// outputRun is a program whose output is kept until it has ended.
type outputRun struct {
	program        *childProcess
	limit          time.Duration
	deadline       time.Time // by the wall clock
	stdout, stderr *outputCapture
	overflowed     chan struct{} // closed when one of the two streams is full
}

// collectOutput is the mode of Run.
func (r *Runner) collectOutput(ctx context.Context, p *childProcess) (Result, *Error) {
	run, err := r.newOutputRun(p)
	if err != nil {
		return noResult, err
	}
	if err := run.program.start(); err != nil {
		return noResult, err
	}
	stopped := r.reasonToStop(ctx, run)
	if stopped != nil && !run.program.stop(r.gracePeriod()) {
		p.talk.takeFiles(true)
		return noResult, notKilledError(stopped)
	}
	if run.stdout.full || run.stderr.full {
		stopped = tooLargeError(p.command.Path)
	}
	code, failed := run.program.exitOutcome(stopped)
	files := p.talk.takeFiles(failed != nil)
	return Result{Stdout: run.stdout.buffer.Bytes(), Stderr: run.stderr.buffer.Bytes(), Files: files, ExitCode: code}, failed
}

func (r *Runner) newOutputRun(p *childProcess) (*outputRun, *Error) {
	c := p.command
	run := &outputRun{program: p, limit: cmp.Or(c.Limit, QueryLimit), overflowed: make(chan struct{})}
	run.deadline = r.wallClock().Add(run.limit)
	tell := sync.OnceFunc(func() { close(run.overflowed) })
	run.stdout = &outputCapture{max: cmp.Or(c.MaxOutput, defaultMaxStdout), reportFull: tell}
	run.stderr = &outputCapture{max: cmp.Or(c.MaxOutput, defaultMaxStderr), reportFull: tell}

	p.cmd.SysProcAttr = ownGroup()
	p.cmd.WaitDelay = r.gracePeriod()
	p.cmd.Stderr = run.stderr
	switch {
	case c.Socket:
		var err error
		if p.talk, err = newConversation(c.Stdin, run.stdout, c.MaxFiles); err != nil {
			return nil, &Error{CodeFailed, c.Path, err}
		}
		p.cmd.Stdin = p.talk.theirs
		return run, nil
	case c.Stdin != nil:
		p.cmd.Stdin = bytes.NewReader(c.Stdin)
	}
	p.cmd.Stdout = run.stdout
	return run, nil
}

// reasonToStop waits for the end of the program, which is nil, or a reason to
// stop it. It watches two clocks. Timers stand still while a Mac sleeps
// (facts/macos.md 2.4), so the wall clock is compared on a coarse tick; the
// timer holds when somebody sets the wall clock back.
func (r *Runner) reasonToStop(ctx context.Context, run *outputRun) *Error {
	path := run.program.command.Path
	timer := time.NewTimer(run.limit)
	defer timer.Stop()
	tick := time.NewTicker(cmp.Or(r.tick, wallClockTick))
	defer tick.Stop()
	for {
		select {
		case <-run.program.ended:
			return nil
		case <-ctx.Done():
			return interruptedError(ctx, path)
		case <-run.overflowed:
			return tooLargeError(path)
		case <-timer.C:
			return timeoutError(path, run.limit)
		case <-tick.C:
			if !r.wallClock().Before(run.deadline) {
				return timeoutError(path, run.limit)
			}
		}
	}
}

func timeoutError(path string, limit time.Duration) *Error {
	return &Error{CodeTimeout, path, fmt.Errorf("killed at its limit of %s", limit)}
}

func tooLargeError(path string) *Error {
	return &Error{CodeTooLarge, path, errors.New("printed more than the cap")}
}

// wallClock is the time without its monotonic reading.
func (r *Runner) wallClock() time.Time {
	if r.now != nil {
		return r.now().Round(0)
	}
	return time.Now().Round(0)
}

// outputCapture keeps what one stream prints, up to a cap. Beyond it, it swallows
// the rest so that the program can be ended instead of blocking on a full pipe.
type outputCapture struct {
	buffer     bytes.Buffer
	max        int
	full       bool
	reportFull func()
}

// Write never fails.
func (c *outputCapture) Write(data []byte) (int, error) {
	if c.full || c.buffer.Len()+len(data) > c.max {
		c.full = true
		c.reportFull()
		return len(data), nil
	}
	return c.buffer.Write(data)
}
