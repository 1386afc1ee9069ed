package launchd

import (
	"context"
	"fmt"
	"time"
)

// Codes of Error. They are stable: people see them.
const (
	CodeNotLoaded      = "job_not_loaded"      // launchd does not take the job
	CodeDisabled       = "job_disabled"        // it stays disabled, although it was enabled
	CodeNotRunning     = "job_not_running"     // it is loaded, and does not run
	CodeCrashes        = "job_crashes"         // it ends soon after each start
	CodeStuck          = "job_stuck"           // launchd does not let go of it
	CodeFileMissing    = "job_file_missing"    // there is no property list of it
	CodeFileUnsafe     = "job_file_unsafe"     // others than root can change that, or a folder above it
	CodeDomain         = "job_domain"          // the domain takes no daemon
	CodeNotPermitted   = "job_not_permitted"   // launchd lets us do nothing with it
	CodeProgramMissing = "job_program_missing" // the program that it starts is not installed
	CodeProgramUnsafe  = "job_program_unsafe"  // others than root can change that program
	CodeSilent         = "launchd_silent"      // launchctl cannot be run, or says nothing that makes sense
)

// Error says why the job is not as it was asked to be.
type Error struct {
	Code string
	Err  error
}

// Error gives code and cause.
func (e *Error) Error() string { return e.Code + ": " + e.Err.Error() }

// ErrorCode gives the code.
func (e *Error) ErrorCode() string { return e.Code }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Manager installs the job, and starts and stops it. What launchctl answers is a hint;
// how the job stands print says, and whatever state it is in, each method ends with
// the job as it was asked to be, or with an *Error (or ctx's error) after a bounded
// time.
type Manager struct {
	Tools Tools
	Root  string // of a simulated Mac; empty: this one
}

// Bounds of a wait. Fleet asks up to 30 times, once a second (facts/macos.md 1.2).
const (
	firstPause = 100 * time.Millisecond
	lastPause  = time.Second
	// loadTries are for a job that is still being torn down by somebody else, which
	// takes up to its ExitTimeOut.
	loadTries = 45
	// settleTime is how long one process must have been seen to count: one that cannot
	// work ends at once.
	settleTime = time.Second
	// idleLimit is how long a loaded job may be seen not running. Whether a kickstart waits
	// for the ThrottleInterval of 10 s is not in the facts.
	idleLimit = 15 * time.Second
	// maxStarts is how often launchd may say that it has started a job meanwhile that does
	// not run.
	maxStarts = 3
	// patience is how often the job may be seen as another process than before, or be told
	// to become one.
	patience = 4
	// maxSilent is how often in a row launchctl may say nothing that makes sense.
	maxSilent = 5
	// wholeLimit is for the whole of it, however long each run of launchctl takes.
	wholeLimit = 2 * time.Minute
	// maxDisabled is how often launchd may say that the job is disabled which was enabled.
	maxDisabled = 3
)

// pause waits before the next look: shortly at first, then a second.
func pause(ctx context.Context, try int) error {
	wait := lastPause
	if try < 4 {
		wait = firstPause << try
	}
	select {
	case <-time.After(wait):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Install has the job's file in place and the job running. An equal file is not
// written again: that would raise the notice of background items anew (facts/acting.md
// 4). launchd keeps what it read when it loaded the job, so the job goes before its
// file changes: wherever this ends, the next call finds what is left to do.
func (m *Manager) Install(ctx context.Context) (State, error) {
	if err := m.checkProgram(); err != nil {
		return State{}, err
	}
	data, err := AgentJob().Plist()
	if err != nil {
		return State{}, err
	}
	if err := m.makeFolders(); err != nil {
		return State{}, err
	}
	if !m.hasFile(data) {
		if err := m.Stop(ctx); err != nil {
			return State{}, err
		}
		if err := m.writeFile(data); err != nil {
			return State{}, err
		}
	}
	return m.Start(ctx)
}

// Uninstall has the job gone, and then its file.
func (m *Manager) Uninstall(ctx context.Context) error {
	if err := m.Stop(ctx); err != nil {
		return err
	}
	return m.removeFile()
}

// Start has the job loaded and running, at the next boot as well.
func (m *Manager) Start(ctx context.Context) (State, error) {
	return m.converge(ctx, run{})
}

// Restart has the job run as another process than now.
func (m *Manager) Restart(ctx context.Context) (State, error) {
	before, err := m.State(ctx)
	if err != nil {
		return State{}, err
	}
	return m.converge(ctx, run{restart: before.Running, old: before.PID})
}

// Stop has launchd forget the job until the next boot or start, and with it its
// process gone: KeepAlive starts one that was only ended again.
func (m *Manager) Stop(ctx context.Context) error {
	var said answer
	silent, begun := 0, time.Now()
	for try := 0; try < loadTries && time.Since(begun) < wholeLimit; try++ {
		state, err := m.State(ctx)
		if err == nil && !state.Loaded {
			return nil
		}
		if silent = countSilent(silent, err); silent >= maxSilent || ctx.Err() != nil {
			return err
		}
		if try%10 == 0 { // what was heard is not said again and again
			if said, err = m.ask(ctx, "bootout", target); err != nil {
				return err
			}
		}
		if err := pause(ctx, try); err != nil {
			return err
		}
	}
	return said.problem(CodeStuck)
}

// countSilent counts on, or begins anew.
func countSilent(before int, err error) int {
	if err == nil {
		return 0
	}
	return before + 1
}

// run is one attempt to have the job running.
type run struct {
	restart bool // by another process than old
	old     int
	said    answer // the last answer to what changes something
	moved   bool   // a job of another file was asked to go

	seen      int       // the process that runs
	seenAt    time.Time // it was seen first
	idleSince time.Time // the job is loaded and does not run
	idleRuns  int       // how often launchd had started it by then
	changes   int       // how often it ran as another process than before
	kills     int       // how often it was told to
	disabled  int       // how often launchd said so
	silent    int       // how often in a row it said nothing
}

// converge looks, does what is missing, and looks again.
func (m *Manager) converge(ctx context.Context, r run) (state State, err error) {
	if _, err := m.ask(ctx, "enable", target); err != nil { // before a bootstrap, and for the next boot
		return State{}, err
	}
	begun := time.Now()
	for try := 0; try < loadTries && time.Since(begun) < wholeLimit; try++ {
		state, err = m.State(ctx)
		if r.silent = countSilent(r.silent, err); r.silent >= maxSilent || ctx.Err() != nil {
			return state, err
		}
		if err == nil {
			done, err := m.step(ctx, &r, state)
			if done && err == nil {
				done, err = m.keepEnabled(ctx, &r)
			}
			if done || err != nil {
				return state, err
			}
		}
		if err := pause(ctx, try); err != nil {
			return state, err
		}
	}
	if err == nil && state.Loaded {
		return state, notRunning(state)
	}
	return state, r.said.problem(CodeNotLoaded)
}

// step does what the state asks for, and reports whether the job is as it is to be.
func (m *Manager) step(ctx context.Context, r *run, state State) (done bool, err error) {
	switch {
	case !state.Loaded:
		r.restart, r.seenAt, r.idleSince = false, time.Time{}, time.Time{} // whatever runs next is another process
		return false, m.load(ctx, r)
	case state.isOfOtherFile() && !r.moved: // once: what print calls our file is not in the facts
		r.moved = true
		return false, m.Stop(ctx)
	case r.restart && (!state.Running || state.PID != r.old):
		r.restart = false
		return false, nil
	case r.restart:
		if r.kills++; r.kills > patience {
			return false, r.said.problem(CodeStuck)
		}
		r.restart = r.old != 0 // else nobody can tell one process from the next
		r.said, err = m.ask(ctx, "kickstart", "-k", target)
		return false, err
	case state.Running && !r.seenAt.IsZero() && r.seen == state.PID:
		return time.Since(r.seenAt) >= settleTime, nil
	case state.Running:
		if r.changes++; r.changes > patience {
			return false, notRunning(state)
		}
		r.seen, r.seenAt, r.idleSince = state.PID, time.Now(), time.Time{}
		return false, nil
	}
	if r.seenAt = (time.Time{}); r.idleSince.IsZero() {
		r.idleSince, r.idleRuns = time.Now(), state.Runs
	}
	if time.Since(r.idleSince) > idleLimit || state.Runs >= r.idleRuns+maxStarts {
		return false, notRunning(state)
	}
	r.said, err = m.ask(ctx, "kickstart", target)
	return false, err
}

// load asks launchd to load the job.
func (m *Manager) load(ctx context.Context, r *run) (err error) {
	r.said, err = m.ask(ctx, "bootstrap", domain, PlistPath)
	if err != nil || !r.said.saysDisabled() {
		return err
	}
	return m.enableAgain(ctx, r)
}

func (m *Manager) enableAgain(ctx context.Context, r *run) error {
	if r.disabled++; r.disabled >= maxDisabled {
		return &Error{CodeDisabled, fmt.Errorf("it was enabled %d times", maxDisabled)}
	}
	_, err := m.ask(ctx, "enable", target)
	return err
}

// keepEnabled reports whether a job that runs starts at the next boot, too, as far as
// launchd says; else it is enabled once more.
func (m *Manager) keepEnabled(ctx context.Context, r *run) (done bool, err error) {
	disabled, err := m.IsDisabled(ctx)
	if err != nil || !disabled {
		return ctx.Err() == nil, ctx.Err()
	}
	return false, m.enableAgain(ctx, r)
}

// notRunning says why a job counts as not running that is loaded.
func notRunning(state State) *Error {
	switch {
	case state.Running:
		return &Error{CodeCrashes, fmt.Errorf("it runs as another process at each look")}
	case state.LastExit != nil && *state.LastExit != 0:
		return &Error{CodeCrashes, fmt.Errorf("its last process ended with %d", *state.LastExit)}
	}
	return &Error{CodeNotRunning, fmt.Errorf("launchd knows it, and does not start it")}
}
