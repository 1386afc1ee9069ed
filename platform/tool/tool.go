// Package tool is the one place that starts external programs.
//
// A run is always the same: an absolute path, an argument vector and no shell,
// a cleared environment with a C locale, its own process group, a cap on what
// it may print, and a kill timer that also holds on a Mac that slept meanwhile.
// A program that tells what happens for as long as it lives is followed line by
// line on a terminal of its own instead, without the timer; everything else is
// the same.
//
// What is logged about a run is the program's name, its action if that is a
// known word (prlctl's "list", launchctl's "asuser"), the exit code and the
// duration. Arguments, input, environment and output are never logged: they
// carry the names of people and machines, and sometimes secrets.
package tool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"
)

// QueryLimit is the wall-clock limit of a run that reads a list, a setting or a
// fact.
const QueryLimit = 60 * time.Second

// Defaults where a Command or a Runner does not say.
const (
	defaultMaxStdout = 16 << 20        // bytes
	defaultMaxStderr = 1 << 20         // bytes
	defaultMaxLine   = 64 << 10        // bytes of one line of a program that is followed (H13)
	defaultGrace     = 5 * time.Second // between SIGTERM and SIGKILL
	wallClockTick    = 5 * time.Second // how often a running program is compared with the wall clock
)

// Codes of Error. They are stable: people and the portal see them.
const (
	CodeMissing  = "tool_missing"          // there is no such program
	CodeTimeout  = "tool_timeout"          // killed at its limit
	CodeTooLarge = "tool_output_too_large" // killed because it printed more than its cap
	CodeRefused  = "tool_refused"          // never started: the request breaks a rule
	CodeFailed   = "tool_failed"           // could not be started, was canceled, or died of a signal
)

// Command is one run of one external program.
type Command struct {
	Path  string   // absolute path on the Mac, clean (no "..", no doubled slashes)
	Args  []string // argv without argv[0]; never secrets, every process on the Mac can read them
	Stdin []byte   // what the program reads; nil is /dev/null; not for Follow
	// SecretArg is one more argument, behind Args, for a program that takes a secret in no
	// other way; empty is none. Only who runs programs as a user takes it, and keeps it
	// from the arguments of every other program (platform.Machine.As).
	SecretArg string
	Socket    bool          // its standard input is a socket of ours that it answers on, which is Result.Stdout; not for Follow
	MaxFiles  int           // descriptors that it may send on the socket, which are Result.Files; more are closed, and the rest of what it says is not read
	Env       []string      // KEY=VALUE beside the fixed environment, which can not be overridden
	Limit     time.Duration // wall-clock kill timer; 0 is QueryLimit; not for Follow
	MaxOutput int           // bytes per stream; 0 is 16 MiB of output and 1 MiB of errors; more is CodeTooLarge; see Follow
}

// Result is what a run left behind. Beside an error it holds what was seen up
// to then, for diagnosis only, and ExitCode is -1.
type Result struct {
	Stdout, Stderr []byte
	Files          []*os.File // that it sent, in their order; whoever asked for them closes them. None beside an error
	ExitCode       int
	Duration       time.Duration
}

// Runner starts programs. The zero value is ready to use and logs nothing. It
// is safe for concurrent use and must not be copied after the first run.
type Runner struct {
	Root string         // absolute, prefixed to Command.Path and to nothing else; "" on a Mac
	Log  zerolog.Logger // gets one line at debug level for every run
	// Children is told of each program that lives; nil is nobody.
	Children Children
	Grace    time.Duration // from SIGTERM to SIGKILL, and for a pipe or terminal that outlives its program; 0 is 5 s

	now  func() time.Time                       // wall clock; nil is time.Now
	tick time.Duration                          // 0 is wallClockTick
	kill func(group int, signal syscall.Signal) // nil is the kernel's

	mu     sync.Mutex
	runs   map[string]uint64
	living map[int]*os.Process // whose end we wait for
}

// Error says why a run has no result. A program that ran to its end is never
// an Error, whatever its exit code.
type Error struct {
	Code string // one of the Code constants, or a code of the caller's own
	Path string // the program, as in Command.Path
	Err  error  // the cause; never holds arguments, input or output
}

// Error gives the code, the program's name and the cause.
func (e *Error) Error() string {
	return fmt.Sprintf("%s: %s: %v", e.Code, filepath.Base(e.Path), e.Err)
}

// ErrorCode gives the code.
func (e *Error) ErrorCode() string { return e.Code }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Runs gives the number of programs started so far by base name. A program that
// runs through sudo or launchctl asuser counts under its own name, not theirs.
func (r *Runner) Runs() map[string]uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.runs == nil {
		return map[string]uint64{}
	}
	return maps.Clone(r.runs)
}

func (r *Runner) countRun(program string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.runs == nil {
		r.runs = make(map[string]uint64)
	}
	r.runs[program]++
}

// Run starts the program and waits for its end. A non-zero exit code is not an
// error. Every error is an *Error; one that came from the context unwraps to
// the context's error.
//
// At the limit, at a full output and when ctx ends, the whole process group
// gets SIGTERM, a grace, then SIGKILL; the same SIGKILL follows when the
// program itself was killed by somebody else. A program that ended by itself
// may leave a process behind on purpose (a service it started): that one is
// left alone, and what it may still print is not waited for beyond the grace.
// One that not even SIGKILL ends, because the kernel holds it (a dead mount), is
// given up after two more graces.
func (r *Runner) Run(ctx context.Context, c *Command) (Result, error) {
	return r.runLogged(ctx, c, r.collectOutput)
}

// runMode is how a program that may start is started, watched and ended.
type runMode func(context.Context, *childProcess) (Result, *Error)

func (r *Runner) runLogged(ctx context.Context, c *Command, carryOut runMode) (Result, error) {
	program, action := describeRun(c.Path, c.Args)
	begun := time.Now()
	result, err := r.runValid(ctx, c, program, carryOut)
	result.Duration = time.Since(begun)

	line := r.Log.Debug().Str("tool", program).Dur("took_ms", result.Duration).Int("exit", result.ExitCode)
	if action != "" {
		line = line.Str("action", action)
	}
	if err != nil {
		line.Str("code", err.Code).Msg("tool run failed")
		return result, err
	}
	line.Msg("tool run")
	return result, nil
}

func (r *Runner) runValid(ctx context.Context, c *Command, program string, carryOut runMode) (Result, *Error) {
	if err := c.validate(); err != nil {
		return noResult, &Error{CodeRefused, c.Path, err}
	}
	if ctx.Err() != nil {
		return noResult, interruptedError(ctx, c.Path)
	}
	return carryOut(ctx, r.newProcess(c, program))
}

// noResult is that of a program that did not run to its end.
var noResult = Result{ExitCode: -1}

// validate refuses what must never reach the kernel.
func (c *Command) validate() error {
	if !filepath.IsAbs(c.Path) || filepath.Clean(c.Path) != c.Path {
		return errors.New("the path is not absolute and clean")
	}
	if c.SecretArg != "" {
		return errors.New("a secret argument is for a program that runs as a user")
	}
	if c.MaxFiles != 0 && !c.Socket {
		return errors.New("descriptors come on a socket only")
	}
	if c.Limit < 0 || c.MaxOutput < 0 || c.MaxFiles < 0 {
		return errors.New("the limit is negative")
	}
	for _, entry := range c.Env {
		key, _, found := strings.Cut(entry, "=")
		if !found || key == "" || isReserved(key) {
			return errors.New("the environment entry is not allowed")
		}
	}
	return nil
}

// fixedEnvironment is all a program gets beside Command.Env. The C locale keeps
// the wording and the numbers of tools the same on every Mac.
var fixedEnvironment = []string{"PATH=/usr/bin:/bin:/usr/sbin:/sbin", "LANG=C", "LC_ALL=C"}

// isReserved reports whether a name is fixed, or makes the loader run somebody
// else's code.
func isReserved(key string) bool {
	fixed := slices.ContainsFunc(fixedEnvironment, func(entry string) bool {
		return strings.HasPrefix(entry, key+"=")
	})
	return fixed || strings.HasPrefix(key, "DYLD_") || strings.HasPrefix(key, "LD_")
}

func startError(path string, err error) *Error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return &Error{CodeMissing, path, err}
	}
	return &Error{CodeFailed, path, err}
}

func interruptedError(ctx context.Context, path string) *Error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &Error{CodeTimeout, path, ctx.Err()}
	}
	return &Error{CodeFailed, path, ctx.Err()}
}
