package launchd

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"prlagent/platform/tool"
)

// Tools runs external programs; *tool.Runner does.
type Tools interface {
	Run(ctx context.Context, c *tool.Command) (tool.Result, error)
}

const launchctlPath = "/bin/launchctl"

// launchctlLimit is the limit of one run of launchctl. A bootout that waits for the
// job's end is not waited for: print says when the job is gone.
const launchctlLimit = 15 * time.Second

// Where the job is: daemons are in the domain of the system.
const (
	domain = "system"
	target = domain + "/" + Label
)

// State is what launchd says of the job.
type State struct {
	Loaded bool // launchd knows the job
	// Path is the file that it has the job from, or where else it says it has it from;
	// empty if it does not say it.
	Path    string
	Running bool
	PID     int // 0 if it does not run, or launchd does not say it
	Runs    int // how often it was started since it was loaded; 0 if launchd does not say it
	// LastExit is how its last process ended; nil if none did, or launchd does not say
	// it. It is another number for a process that a signal has ended.
	LastExit *int
}

// exitNotLoaded is the exit code of print for a job that launchd does not know
// (facts/acting.md 3).
const exitNotLoaded = 113

// State asks launchd for the job.
func (m *Manager) State(ctx context.Context) (State, error) {
	said, err := m.launchctl(ctx, "print", target)
	if err != nil {
		return State{}, err
	}
	state, known := ParseState(said.code, said.text)
	if !known {
		return State{}, said.problem(CodeSilent)
	}
	return state, nil
}

// isOfOtherFile reports whether launchd has the job from elsewhere than PlistPath: from
// an older place, or from somebody's own file with our label.
func (s State) isOfOtherFile() bool {
	return s.Path != "" && strings.TrimPrefix(s.Path, dataVolume) != PlistPath
}

// dataVolume is where macOS has the volume that /Library is on.
const dataVolume = "/System/Volumes/Data"

// pattern is a regular expression that is compiled when it is first used: a daemon
// that runs, and most commands, need none of these.
func pattern(expression string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expression) })
}

var (
	stateLine    = pattern(`(?m)^\s*state = (.+)$`)
	pathLine     = pattern(`(?m)^\s*path = (.+)$`)
	pidLine      = pattern(`(?m)^\s*pid = (\d{1,9})$`)
	runsLine     = pattern(`(?m)^\s*runs = (\d{1,9})$`)
	lastExitLine = pattern(`(?m)^\s*last exit code = (-?\d{1,9})\b`)
)

// ParseState reads what launchctl print ended with and printed of the job; known is
// false if that says nothing of it. The text is for people and no interface, so only
// lines are looked for that others look for too (facts/macos.md 1.2); one that is not
// there says nothing. Of each kind the first line counts: those of the job itself come
// before those of what it has, such as its endpoints.
func ParseState(exitCode int, printed string) (state State, known bool) {
	if exitCode != 0 {
		return State{}, exitCode == exitNotLoaded
	}
	word := func(line func() *regexp.Regexp) string {
		found := line().FindStringSubmatch(printed)
		if found == nil {
			return ""
		}
		return found[1]
	}
	number := func(line func() *regexp.Regexp) (int, bool) {
		value, err := strconv.Atoi(word(line))
		return value, err == nil
	}
	state = State{Loaded: true, Running: word(stateLine) == "running", Path: word(pathLine)}
	state.Runs, _ = number(runsLine)
	if state.Running {
		state.PID, _ = number(pidLine)
	}
	if exit, ended := number(lastExitLine); ended {
		state.LastExit = &exit
	}
	return state, true
}

var disabledLine = pattern(`(?m)^\s*"` + regexp.QuoteMeta(Label) + `" => (disabled|true)$`)

// ParseDisabled reports whether the job is disabled in what launchctl print-disabled
// printed: by words, or by true and false, which depends on the version of macOS (not in
// the facts).
func ParseDisabled(printed string) bool { return disabledLine().MatchString(printed) }

// IsDisabled reports whether launchd would not load the job at the next boot.
func (m *Manager) IsDisabled(ctx context.Context) (bool, error) {
	said, err := m.launchctl(ctx, "print-disabled", domain)
	if err != nil {
		return false, err
	}
	if said.code != 0 {
		return false, said.problem(CodeSilent)
	}
	return ParseDisabled(said.text), nil
}

// answer is what a run of launchctl left.
type answer struct {
	verb string
	code int
	text string // of both streams
}

// launchctl runs it once. Its error is that it could not be run.
func (m *Manager) launchctl(ctx context.Context, args ...string) (answer, error) {
	result, err := m.Tools.Run(ctx, &tool.Command{Path: launchctlPath, Args: args, Limit: launchctlLimit})
	if ctx.Err() != nil {
		return answer{}, ctx.Err()
	}
	if err != nil {
		return answer{}, &Error{Code: CodeSilent, Err: fmt.Errorf("ask launchd: %w", err)}
	}
	return answer{args[0], result.ExitCode, string(result.Stdout) + string(result.Stderr)}, nil
}

// maxSaid is how much of launchctl's text an error repeats.
const maxSaid = 200

// problem is the answer as an error.
func (a answer) problem(code string) *Error {
	line, _, _ := strings.Cut(strings.TrimSpace(a.text), "\n")
	if len(line) > maxSaid {
		line = line[:maxSaid]
	}
	return &Error{Code: code, Err: fmt.Errorf("launchctl %s ended with %d: %q", a.verb, a.code, line)}
}

// finalAnswers are the answers that no second try changes, with their codes. By all
// other answers nothing is decided: 0 says that it was heard, 36 that it takes its
// time, 3 and 113 that there is no such job, and 5 and 37 anything of that. What
// became of it print says (facts/acting.md 3).
var finalAnswers = []struct {
	verb string
	exit int
	code string
}{
	{"bootstrap", 2, CodeFileMissing},
	{"bootstrap", 122, CodeFileUnsafe},
	{"bootstrap", 125, CodeDomain},
	{"kickstart", 1, CodeNotPermitted},
	{"kickstart", 150, CodeNotPermitted},
}

// saysDisabled reports whether a bootstrap's answer is that of a job that is disabled;
// which one it is depends on the version of macOS.
func (a answer) saysDisabled() bool { return a.code == 119 || a.code == 133 }

// ask runs a verb that changes something. Its error is final: what else went wrong
// is in the answer, which is for an error's text and decides nothing.
func (m *Manager) ask(ctx context.Context, args ...string) (answer, error) {
	said, err := m.launchctl(ctx, args...)
	if err != nil {
		return answer{verb: args[0], code: -1, text: err.Error()}, ctx.Err()
	}
	for _, final := range finalAnswers {
		if final.verb == args[0] && final.exit == said.code {
			return said, said.problem(final.code)
		}
	}
	return said, nil
}
