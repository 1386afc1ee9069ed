package tool

import (
	"cmp"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// childProcess is one program while it runs.
type childProcess struct {
	command   *Command
	cmd       *exec.Cmd
	runner    *Runner
	started   func()        // counts the run
	talk      *conversation // nil where the program reads no socket
	ended     chan struct{} // closed when the program is gone and its pipes read
	waitError error         // what Wait said; to be read after ended
	kill      func(group int, signal syscall.Signal)
}

func (r *Runner) newProcess(c *Command, program string) *childProcess {
	file := filepath.Join(r.Root, c.Path)
	p := &childProcess{
		command: c,
		cmd: &exec.Cmd{
			Path: file,
			// A program that acts by the name and place it is called by sees both.
			Args: append([]string{file}, c.Args...),
			Env:  slices.Concat(c.Env, fixedEnvironment),
			Dir:  "/",
		},
		runner:  r,
		started: func() { r.countRun(program) },
		ended:   make(chan struct{}),
		kill:    r.kill,
	}
	if p.kill == nil {
		p.kill = killGroup
	}
	return p
}

func (r *Runner) gracePeriod() time.Duration { return cmp.Or(r.Grace, defaultGrace) }

// start starts the program and has it waited for. One thread does both: the
// kernel ties a child's parent-death signal to the thread that started it.
func (p *childProcess) start() *Error {
	started := make(chan error)
	go func() {
		release := holdThread()
		defer release()
		err := p.cmd.Start()
		p.talk.begin(err == nil)
		if err == nil {
			p.runner.onBegan(p.cmd.Process)
		}
		started <- err
		if err != nil {
			return
		}
		p.waitError = p.cmd.Wait()
		p.runner.onEnded(p.cmd.Process)
		p.talk.end(p.cmd.WaitDelay)
		close(p.ended)
	}()
	if err := <-started; err != nil {
		return startError(p.command.Path, err)
	}
	p.started()
	return nil
}

// stop ends the group, and reports whether it did.
func (p *childProcess) stop(grace time.Duration) bool {
	p.kill(p.cmd.Process.Pid, syscall.SIGTERM)
	if closesWithin(grace, p.ended) {
		return true
	}
	p.kill(p.cmd.Process.Pid, syscall.SIGKILL)
	return closesWithin(2*grace, p.ended) // one of them is for a pipe that somebody else holds
}

// closesWithin reports whether the channel is closed before the duration is over.
func closesWithin(duration time.Duration, closed <-chan struct{}) bool {
	timer := time.NewTimer(duration)
	defer timer.Stop()
	select {
	case <-closed:
		return true
	case <-timer.C:
		return false
	}
}

// exitOutcome is what an ended program leaves: its exit code, or why it does not
// count. What is left of the group of one that does not count is killed.
func (p *childProcess) exitOutcome(stopped *Error) (exitCode int, err *Error) {
	if err := p.runError(stopped); err != nil {
		p.kill(p.cmd.Process.Pid, syscall.SIGKILL)
		return -1, err
	}
	return p.cmd.ProcessState.ExitCode(), nil
}

// runError is why a run does not count; nil if it does.
func (p *childProcess) runError(stopped *Error) *Error {
	if stopped != nil {
		return stopped
	}
	var exit *exec.ExitError
	switch {
	case !p.cmd.ProcessState.Exited():
		return &Error{CodeFailed, p.command.Path, fmt.Errorf("ended by itself: %s", p.cmd.ProcessState)}
	// The program is gone and all it wrote was read; only a process it left
	// behind still holds the pipe.
	case p.waitError == nil, errors.As(p.waitError, &exit), errors.Is(p.waitError, exec.ErrWaitDelay):
		return nil
	}
	return &Error{CodeFailed, p.command.Path, fmt.Errorf("read the output: %w", p.waitError)}
}

// notKilledError is for an end that was asked for and could not be brought about.
func notKilledError(stopped *Error) *Error {
	return &Error{stopped.Code, stopped.Path, fmt.Errorf("%w, and can not be killed", stopped.Err)}
}

// killGroup reaches every process of the group that is left; none being left is
// as good.
func killGroup(group int, signal syscall.Signal) { _ = syscall.Kill(-group, signal) }
