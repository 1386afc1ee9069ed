package tool

import (
	"cmp"
	"context"
	"errors"
)

// Follow starts the program on a pseudo-terminal of its own and hands over each
// line as soon as it is printed: the vendor's tool keeps minutes of its events
// back from anything but a terminal (facts/prlctl.md 3). Standard output and
// error are one stream. Nothing is ever typed, and the terminal does not echo.
//
// There is no kill timer: the program lives until it ends or ctx is done. Then
// its group is ended as Run does it. The rules, the codes of an *Error, the log
// and the count are those of Run; a Command with Stdin or Limit is refused.
//
// line is called from one goroutine, never after Follow has returned. text has
// no end of line and is valid during the call only. A line longer than MaxOutput
// (0 is 64 KiB) is handed over up to there, as cut, and its rest is
// thrown away (H13). While line takes its time the program waits.
//
// A program that closes its terminal has nothing more to say, and is stopped
// after a grace. One that ended and left a process behind ends the stream
// nevertheless: the kernel takes the terminal from that process, and what it may
// still hold is not waited for beyond the grace.
func (r *Runner) Follow(ctx context.Context, c *Command, line func(text []byte, cut bool)) (Result, error) {
	return r.runLogged(ctx, c, func(ctx context.Context, p *childProcess) (Result, *Error) {
		return r.followLines(ctx, p, line)
	})
}

func (r *Runner) followLines(ctx context.Context, p *childProcess, line func(text []byte, cut bool)) (Result, *Error) {
	path := p.command.Path
	if p.command.Stdin != nil || p.command.Socket || p.command.Limit != 0 {
		return noResult, &Error{CodeRefused, path, errors.New("a followed program has no input and no limit")}
	}
	screen, err := openTerminal()
	if err != nil {
		return noResult, &Error{CodeFailed, path, err}
	}
	defer screen.close()
	screen.attachTo(p.cmd)
	if err := p.start(); err != nil {
		return noResult, err
	}
	screen.readLines(&lineSplitter{max: cmp.Or(p.command.MaxOutput, defaultMaxLine), handle: line})

	stopped := r.reasonToLeave(ctx, p, screen)
	if stopped != nil && !p.stop(r.gracePeriod()) {
		return noResult, notKilledError(stopped)
	}
	closesWithin(r.gracePeriod(), screen.silent)
	code, failed := p.exitOutcome(stopped)
	return Result{ExitCode: code}, failed
}

// reasonToLeave waits for the end of the program, which is nil, or a reason to
// stop it.
func (r *Runner) reasonToLeave(ctx context.Context, p *childProcess, screen *pseudoTerminal) *Error {
	select {
	case <-p.ended:
		return nil
	case <-ctx.Done():
		return interruptedError(ctx, p.command.Path)
	case <-screen.silent:
	}
	if closesWithin(r.gracePeriod(), p.ended) { // as every program whose terminal is closed by its end
		return nil
	}
	return &Error{CodeFailed, p.command.Path, errors.New("closed its terminal and lived on")}
}
