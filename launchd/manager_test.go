package launchd

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"prlagent/platform/safefile"
	"prlagent/platform/tool"
)

// fakeLaunchd is launchd behind a launchctl that answers as it likes.
type fakeLaunchd struct {
	loaded, running, disabled bool
	pid, runs, lastExit       int
	lastChange                time.Time // of what runs
	path                      string    // where it has the job from, as print says it

	slow map[string]time.Duration // how long a verb takes

	gone    time.Time // when a job goes that was booted out; zero: it was not
	crashes bool      // each process ends at once
	print   func() (answer, bool)
	codes   func(verb string) (code int, done bool) // what it answers, and whether it does it; nil: as it should
	calls   []string
}

func (f *fakeLaunchd) Run(_ context.Context, c *tool.Command) (tool.Result, error) {
	if c.Path != "/bin/launchctl" {
		return tool.Result{ExitCode: -1}, errors.New("another program")
	}
	f.calls = append(f.calls, strings.Join(c.Args, " "))
	if !f.gone.IsZero() && time.Now().After(f.gone) {
		f.loaded, f.running, f.gone, f.runs = false, false, time.Time{}, 0
	}
	verb := c.Args[0]
	time.Sleep(f.slow[verb])
	if verb == "print" {
		return f.printed()
	}
	if verb == "print-disabled" {
		word := map[bool]string{true: "disabled", false: "enabled"}[f.disabled]
		return tool.Result{Stdout: fmt.Appendf(nil, "\tdisabled services = {\n\t\t%q => %s\n\t}\n", Label, word)}, nil
	}
	code, done := f.lawful(verb)
	if f.codes != nil {
		code, done = f.codes(verb)
	}
	if code < 0 {
		return tool.Result{ExitCode: -1}, &tool.Error{Code: tool.CodeTimeout, Path: c.Path, Err: context.DeadlineExceeded}
	}
	if done {
		f.do(verb, slices.Contains(c.Args, "-k"))
	}
	return tool.Result{ExitCode: code, Stderr: fmt.Appendf(nil, "%s failed: %d", verb, code)}, nil
}

// lawful is what the facts say of each verb.
func (f *fakeLaunchd) lawful(verb string) (code int, done bool) {
	switch {
	case verb == "bootstrap" && !f.gone.IsZero():
		return 37, false
	case verb == "bootstrap" && f.loaded:
		return 5, false
	case verb == "bootstrap" && f.disabled:
		return 119, false
	case verb == "bootout" && !f.loaded:
		return 3, false
	case verb == "bootout":
		return 36, true
	case verb == "kickstart" && !f.loaded:
		return 113, false
	}
	return 0, true
}

func (f *fakeLaunchd) do(verb string, kill bool) {
	switch verb {
	case "enable":
		f.disabled = false
	case "bootstrap":
		if !f.loaded {
			f.loaded, f.runs = true, 0
			if f.path != "" && f.path != theirPath {
				f.path = PlistPath
			}
			f.start()
		}
	case "bootout":
		if f.loaded && f.gone.IsZero() {
			f.gone = time.Now().Add(3 * time.Second)
		}
	case "kickstart":
		if f.loaded && f.gone.IsZero() && (kill || !f.running) {
			f.start()
		}
	}
}

func (f *fakeLaunchd) start() {
	f.runs++
	f.pid++
	f.running, f.lastChange = !f.crashes, time.Now()
	if f.crashes {
		f.lastExit = 1
	}
}

func (f *fakeLaunchd) printed() (tool.Result, error) {
	if f.print != nil {
		if said, silent := f.print(); silent {
			if said.code < 0 {
				return tool.Result{ExitCode: -1}, &tool.Error{Code: tool.CodeTimeout, Path: launchctlPath, Err: context.DeadlineExceeded}
			}
			return tool.Result{ExitCode: said.code, Stdout: []byte(said.text)}, nil
		}
	}
	if !f.loaded {
		return tool.Result{ExitCode: 113, Stderr: []byte("Bad request.\n")}, nil
	}
	word, pid := "not running", ""
	if f.running {
		word, pid = "running", fmt.Sprintf("\tpid = %d\n", f.pid)
	}
	if f.path != "" {
		pid += "\tpath = " + f.path + "\n"
	}
	return tool.Result{Stdout: fmt.Appendf(nil, "%s = {\n\tstate = %s\n\truns = %d\n%s\tlast exit code = %d\n}\n", target, word, f.runs, pid, f.lastExit)}, nil
}

// theirPath is what a launchd says of each job's file that has a way of its own.
const theirPath = "/elsewhere/job"

// counted is how often a verb was used.
func (f *fakeLaunchd) counted(verb string) (count int) {
	for _, call := range f.calls {
		if call == verb || strings.HasPrefix(call, verb+" ") {
			count++
		}
	}
	return count
}

// newManager manages the job of a Mac on which the program is installed.
func newManager(t *testing.T, launchd *fakeLaunchd) *Manager {
	t.Helper()
	root := t.TempDir()
	program := filepath.Join(root, daemonPath)
	if err := errors.Join(os.Chmod(root, 0o755), os.MkdirAll(filepath.Dir(program), 0o755), os.WriteFile(program, nil, 0o755)); err != nil {
		t.Fatal(err)
	}
	return &Manager{Tools: launchd, Root: root}
}

func codeOf(err error) string {
	var coded interface{ ErrorCode() string }
	if errors.As(err, &coded) {
		return coded.ErrorCode()
	}
	return ""
}

// From every state the job ends as it was asked to be, and asking again changes
// nothing.
func TestPKG_12_InstallFromEveryState(t *testing.T) {
	t.Parallel()
	other := func(m *Manager) error {
		return errors.Join(os.MkdirAll(filepath.Dir(m.path(PlistPath)), 0o755), os.WriteFile(m.path(PlistPath), []byte("<plist/>"), 0o644))
	}
	installed := func(m *Manager) error { return errors.Join(other(m), m.writeFile(rendered(t, AgentJob()))) }
	for name, c := range map[string]struct {
		launchd fakeLaunchd
		before  func(*Manager) error
		bootout bool // the job that is loaded goes first: its file changes
	}{
		"nothing is there":              {},
		"another file":                  {before: other},
		"loaded and runs, without file": {launchd: fakeLaunchd{loaded: true, running: true, pid: 7}, bootout: true},
		"loaded with another file":      {launchd: fakeLaunchd{loaded: true, running: true, pid: 7}, before: other, bootout: true},
		"disabled":                      {launchd: fakeLaunchd{disabled: true}},
		"loaded from an older file": {launchd: fakeLaunchd{loaded: true, running: true, pid: 7, path: "/Library/LaunchDaemons/com.example.old.plist"},
			before: installed, bootout: true},
		"submitted without a file": {launchd: fakeLaunchd{loaded: true, running: true, pid: 7, path: "(submitted by smd[1])"},
			before: installed, bootout: true},
		"loaded from our file": {launchd: fakeLaunchd{loaded: true, running: true, pid: 7, path: PlistPath}, before: installed},
		"loaded from our file, by its other name": {launchd: fakeLaunchd{loaded: true, running: true, pid: 7, path: "/System/Volumes/Data" + PlistPath},
			before: installed},
		"loaded, disabled, not running": {launchd: fakeLaunchd{loaded: true, disabled: true}, bootout: true},
		"a link in the file's place": {before: func(m *Manager) error {
			return errors.Join(other(m), os.Rename(m.path(PlistPath), m.path(PlistPath)+".real"), os.Symlink(m.path(PlistPath)+".real", m.path(PlistPath)))
		}},
		"others may write the file": {before: func(m *Manager) error {
			data, err := AgentJob().Plist()
			return errors.Join(err, other(m), os.WriteFile(m.path(PlistPath), data, 0o644), os.Chmod(m.path(PlistPath), 0o666))
		}},
		"it is being booted out": {launchd: fakeLaunchd{loaded: true, running: true, pid: 7}, before: func(*Manager) error { return nil }, bootout: true},
	} {
		synctest.Test(t, func(t *testing.T) {
			launchd := c.launchd
			m := newManager(t, &launchd)
			if name == "it is being booted out" {
				launchd.do("bootout", false)
			}
			if c.before != nil {
				if err := c.before(m); err != nil {
					t.Fatal(err)
				}
			}
			state, err := m.Install(t.Context())
			if err != nil || !state.Running || !launchd.running || launchd.disabled || !launchd.gone.IsZero() {
				t.Fatalf("%s: %+v of %+v, %v", name, state, launchd, err)
			}
			if (launchd.counted("bootout") > 0) != c.bootout {
				t.Errorf("%s: calls %q", name, launchd.calls)
			}
			if first, _, _ := strings.Cut(strings.Join(launchd.calls, "\n"), "bootstrap"); !strings.Contains(first, "enable "+target) {
				t.Errorf("%s: it was not enabled first: %q", name, launchd.calls)
			}
			data, err := os.ReadFile(m.path(PlistPath))
			info, statError := os.Lstat(m.path(PlistPath))
			if err != nil || statError != nil || info.Mode() != 0o644 || string(data) != string(rendered(t, AgentJob())) {
				t.Errorf("%s: the file is %v, %v, %v", name, info, err, statError)
			}
			pid := launchd.pid
			launchd.calls = nil
			_, err = m.Install(t.Context())
			after, statError := os.Lstat(m.path(PlistPath))
			if err != nil || statError != nil || launchd.pid != pid || launchd.counted("bootstrap")+launchd.counted("bootout")+launchd.counted("kickstart") > 0 {
				t.Errorf("%s, again: %v, %v, calls %q", name, err, statError, launchd.calls)
			}
			if !os.SameFile(info, after) || !info.ModTime().Equal(after.ModTime()) {
				t.Errorf("%s: an equal file was written again", name)
			}
			for range 2 {
				if err := m.Uninstall(t.Context()); err != nil || launchd.loaded {
					t.Errorf("%s: uninstall: %v, loaded %v", name, err, launchd.loaded)
				}
			}
			if left, err := os.ReadDir(filepath.Dir(m.path(PlistPath))); err != nil || len(left) > 0 && left[0].Name() == filepath.Base(PlistPath) {
				t.Errorf("%s: left are %v, %v", name, left, err)
			}
		})
	}
}

// Each answer that no second try changes has a name, and is not tried again.
func TestFinalAnswersAreNamed(t *testing.T) {
	t.Parallel()
	for _, final := range finalAnswers {
		verb, code, name := final.verb, final.exit, final.code
		synctest.Test(t, func(t *testing.T) {
			launchd := fakeLaunchd{loaded: verb == "kickstart"}
			launchd.codes = func(asked string) (int, bool) {
				if asked == verb {
					return code, false
				}
				return launchd.lawful(asked)
			}
			begun := time.Now()
			_, err := newManager(t, &launchd).Start(t.Context())
			if codeOf(err) != name || launchd.counted(verb) != 1 || time.Since(begun) > time.Second {
				t.Errorf("%s %d: %v after %s, calls %q", verb, code, err, time.Since(begun), launchd.calls)
			}
		})
	}
}

// What lasts has a name too, after a bounded time.
func TestWhatLastsIsNamed(t *testing.T) {
	t.Parallel()
	fixed := func(verb string, code int) func(*fakeLaunchd) func(string) (int, bool) {
		return func(f *fakeLaunchd) func(string) (int, bool) {
			return func(asked string) (int, bool) {
				if asked == verb {
					return code, false
				}
				return f.lawful(asked)
			}
		}
	}
	start := func(m *Manager) error { _, err := m.Start(context.Background()); return err }
	stop := func(m *Manager) error { return m.Stop(context.Background()) }
	restart := func(m *Manager) error { _, err := m.Restart(context.Background()); return err }
	running := fakeLaunchd{loaded: true, running: true, pid: 7}
	changing := 0
	another := func() (answer, bool) {
		changing++
		return answer{text: fmt.Sprintf("\tstate = running\n\tpid = %d\n", changing)}, true
	}
	for name, c := range map[string]struct {
		launchd fakeLaunchd
		codes   func(*fakeLaunchd) func(string) (int, bool)
		do      func(*Manager) error
		code    string
	}{
		"bootstrap always says 5":       {fakeLaunchd{}, fixed("bootstrap", 5), start, CodeNotLoaded},
		"bootstrap always says 37":      {fakeLaunchd{}, fixed("bootstrap", 37), start, CodeNotLoaded},
		"bootstrap says 0, and is not":  {fakeLaunchd{}, fixed("bootstrap", 0), start, CodeNotLoaded},
		"it stays disabled, and runs":   {fakeLaunchd{disabled: true, loaded: true, running: true, pid: 7}, fixed("enable", 0), start, CodeDisabled},
		"it stays disabled":             {fakeLaunchd{disabled: true}, fixed("enable", 0), start, CodeDisabled},
		"bootout always says 36":        {running, fixed("bootout", 36), stop, CodeStuck},
		"bootout says 0, and is not":    {running, fixed("bootout", 0), stop, CodeStuck},
		"it is never kicked":            {fakeLaunchd{loaded: true}, fixed("kickstart", 0), start, CodeNotRunning},
		"it is never another process":   {running, fixed("kickstart", 0), restart, CodeStuck},
		"it is always another process":  {fakeLaunchd{loaded: true, print: another}, nil, start, CodeCrashes},
		"it crashes":                    {fakeLaunchd{crashes: true}, nil, start, CodeCrashes},
		"launchctl hangs at a start":    {fakeLaunchd{print: func() (answer, bool) { return answer{code: -1}, true }}, nil, start, CodeSilent},
		"launchctl hangs at a stop":     {fakeLaunchd{print: func() (answer, bool) { return answer{code: -1}, true }}, nil, stop, CodeSilent},
		"print makes no sense":          {fakeLaunchd{print: func() (answer, bool) { return answer{code: 64}, true }}, nil, start, CodeSilent},
		"print says something else":     {fakeLaunchd{print: func() (answer, bool) { return answer{text: "hello"}, true }}, nil, start, CodeNotRunning},
		"print never forgets what went": {fakeLaunchd{print: func() (answer, bool) { return answer{text: "state = running"}, true }}, nil, stop, CodeStuck},
	} {
		synctest.Test(t, func(t *testing.T) {
			launchd := c.launchd
			if c.codes != nil {
				launchd.codes = c.codes(&launchd)
			}
			begun := time.Now()
			err := c.do(newManager(t, &launchd))
			if codeOf(err) != c.code {
				t.Errorf("%s: %v, want %s", name, err, c.code)
			}
			if took := time.Since(begun); took > time.Minute || len(launchd.calls) > 200 {
				t.Errorf("%s: it took %s and %d calls", name, took, len(launchd.calls))
			}
		})
	}
}

// Where print calls each job's file otherwise, the job is loaded anew once, and runs.
func TestAFileOfAnotherName(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		launchd := fakeLaunchd{loaded: true, running: true, pid: 7, path: theirPath}
		state, err := newManager(t, &launchd).Start(t.Context())
		if err != nil || !state.Running || launchd.counted("bootout") != 1 || launchd.counted("bootstrap") != 1 {
			t.Errorf("%+v, %v, calls %q", state, err, launchd.calls)
		}
	})
}

// However long each run of launchctl takes, the whole has an end.
func TestTheWholeIsBounded(t *testing.T) {
	t.Parallel()
	for name, verb := range map[string]string{"start": "bootstrap", "stop": "bootout", "look": "print"} {
		synctest.Test(t, func(t *testing.T) {
			launchd := fakeLaunchd{loaded: verb == "bootout", slow: map[string]time.Duration{verb: launchctlLimit}}
			launchd.codes = func(asked string) (int, bool) {
				if asked == verb {
					return -1, false
				}
				return launchd.lawful(asked)
			}
			m, begun := newManager(t, &launchd), time.Now()
			var err error
			if verb == "bootout" {
				err = m.Stop(t.Context())
			} else {
				_, err = m.Start(t.Context())
			}
			if took := time.Since(begun); took > wholeLimit+2*launchctlLimit || err == nil && verb != "print" {
				t.Errorf("%s: it took %s: %v", name, took, err)
			}
		})
	}
}

// What print says of the job itself counts, and nothing of what the job has; and what it
// ends with decides whether it says anything.
func TestParseState(t *testing.T) {
	t.Parallel()
	seven := 7
	for name, c := range map[string]struct {
		code    int
		printed string
		want    State
		unknown bool
	}{
		"nothing": {want: State{Loaded: true}},
		"it runs": {printed: "system/x = {\n\tactive count = 1\n\tpath = " + PlistPath + "\n\tstate = running\n\truns = 3\n\tpid = 12\n\tlast exit code = 7\n}\n",
			want: State{Loaded: true, Running: true, Path: PlistPath, Runs: 3, PID: 12, LastExit: &seven}},
		"one of its endpoints runs": {printed: "\tstate = spawn scheduled\n\tendpoints = {\n\t\tstate = running\n\t\tpid = 12\n\t}\n", want: State{Loaded: true}},
		"a variable says it runs":   {printed: "\tstate = not running\n\tenvironment = {\n\t\tX => a\n\tstate = running\n\t}\n", want: State{Loaded: true}},
		"it ran":                    {printed: "\tlast state = running\n\tstate = exited\n\tlast exit code = 7: EX_OTHER\n", want: State{Loaded: true, LastExit: &seven}},
		"never exited":              {printed: "\tstate = running\n\tlast exit code = (never exited)\n", want: State{Loaded: true, Running: true}},
		"numbers without end":       {printed: "\tstate = running\n\tpid = 99999999999\n\truns = -1\n\tlast exit code = 1e9\n", want: State{Loaded: true, Running: true}},
		"other ends of lines":       {printed: "\tstate = running\r\n\tpid = 12\r\n", want: State{Loaded: true}},
		"no text at all":            {printed: strings.Repeat("\x00\xff", 1<<16), want: State{Loaded: true}},
		"not loaded":                {code: 113, printed: "\tstate = running\n"},
		"no sense":                  {code: 1, printed: "\tstate = running\n", unknown: true},
		"ended by a signal":         {code: -1, unknown: true},
	} {
		got, known := ParseState(c.code, c.printed)
		if diff := cmp.Diff(c.want, got); diff != "" || known == c.unknown {
			t.Errorf("%s: known %t, %s", name, known, diff)
		}
	}
}

func TestParseDisabled(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		printed string
		want    bool
	}{
		"nothing":               {"", false},
		"by a word":             {"disabled services = {\n\t\"com.apple.x\" => enabled\n\t\"" + Label + "\" => disabled\n}\n", true},
		"by true":               {"\t\"" + Label + "\" => true\n", true},
		"enabled":               {"\t\"com.apple.x\" => disabled\n\t\"" + Label + "\" => enabled\n", false},
		"by false":              {"\t\"" + Label + "\" => false\n", false},
		"a longer name":         {"\t\"" + Label + ".other\" => disabled\n\t\"x." + Label + "\" => disabled\n", false},
		"its dots are no signs": {"\t\"" + strings.ReplaceAll(Label, ".", "x") + "\" => disabled\n", false},
	} {
		if got := ParseDisabled(c.printed); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// Root starts nothing that others can exchange.
func TestH53_AProgramThatOthersCanChange(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil func(program string) error
		code  string
	}{
		"others write in it":         {func(program string) error { return os.Chmod(program, 0o777) }, CodeProgramUnsafe},
		"its group writes in it":     {func(program string) error { return os.Chmod(program, 0o775) }, CodeProgramUnsafe},
		"others write in its folder": {func(program string) error { return os.Chmod(filepath.Dir(program), 0o777) }, safefile.CodeFolderWritable},
		"a link": {func(program string) error {
			return errors.Join(os.Rename(program, program+".real"), os.Symlink(program+".real", program))
		}, CodeProgramMissing},
		"gone with its folder": {func(program string) error { return os.RemoveAll(filepath.Dir(program)) }, CodeProgramMissing},
	} {
		launchd := fakeLaunchd{}
		m := newManager(t, &launchd)
		if err := c.spoil(m.path(daemonPath)); err != nil {
			t.Fatal(err)
		}
		if _, err := m.Install(t.Context()); codeOf(err) != c.code || len(launchd.calls) > 0 {
			t.Errorf("%s: %v, calls %q", name, err, launchd.calls)
		}
	}
	if os.Geteuid() == 0 {
		launchd := fakeLaunchd{}
		m := newManager(t, &launchd)
		if err := os.Chown(m.path(daemonPath), 12345, 12345); err != nil {
			t.Fatal(err)
		}
		if _, err := m.Install(t.Context()); codeOf(err) != CodeProgramUnsafe {
			t.Errorf("of another account: %v", err)
		}
	}
}

// A restart is another process, and of a job that does not run a start.
func TestRestart(t *testing.T) {
	t.Parallel()
	for name, launchd := range map[string]fakeLaunchd{
		"running": {loaded: true, running: true, pid: 7}, "loaded": {loaded: true, pid: 7}, "not loaded": {pid: 7}, "disabled": {disabled: true, pid: 7},
	} {
		synctest.Test(t, func(t *testing.T) {
			state, err := newManager(t, &launchd).Restart(t.Context())
			if err != nil || !state.Running || state.PID != 8 || launchd.counted("bootout") > 0 {
				t.Errorf("%s: %+v, %v, calls %q", name, state, err, launchd.calls)
			}
		})
	}
}

// What a test of a wait is worth: a daemon that ends within settleTime does not count.
func TestAProcessHasToStay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		launchd := fakeLaunchd{}
		looks := 0
		launchd.print = func() (answer, bool) {
			if looks++; launchd.running && time.Since(launchd.lastChange) > 300*time.Millisecond {
				launchd.running, launchd.lastExit = false, 1
			}
			return answer{}, false
		}
		if state, err := newManager(t, &launchd).Start(t.Context()); codeOf(err) != CodeCrashes {
			t.Errorf("%+v, %v", state, err)
		}
	})
}

// A kickstart that waits for ThrottleInterval is no crash, whatever the process before it
// ended with.
func TestAKickstartMayWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		launchd := fakeLaunchd{loaded: true, running: true, pid: 7}
		var due time.Time
		launchd.codes = func(verb string) (int, bool) {
			if verb == "kickstart" && launchd.running {
				launchd.running, launchd.lastExit, due = false, 9, time.Now().Add(10*time.Second)
			}
			return 0, verb != "kickstart"
		}
		launchd.print = func() (answer, bool) {
			if !launchd.running && time.Now().After(due) {
				launchd.start()
			}
			return answer{}, false
		}
		if state, err := newManager(t, &launchd).Restart(t.Context()); err != nil || state.PID != 8 {
			t.Errorf("%+v, %v", state, err)
		}
	})
}

// namedCodes are all that may end a method.
var namedCodes = []string{
	CodeNotLoaded, CodeDisabled, CodeNotRunning, CodeCrashes, CodeStuck, CodeFileMissing, CodeFileUnsafe, CodeDomain, CodeNotPermitted, CodeSilent,
}

// 1,000 orders of answers, each verb done or not whatever it answers, and print silent
// now and then: each method ends as it was asked to be, or with a name.
func TestThousandOrdersOfAnswers(t *testing.T) {
	t.Parallel()
	codes := []int{-1, 0, 0, 0, 0, 1, 2, 3, 5, 5, 5, 36, 36, 37, 37, 113, 119, 122, 125, 133, 150}
	ended := map[string]int{}
	for seed := range uint64(1000) {
		random := rand.New(rand.NewPCG(seed, 15))
		launchd := fakeLaunchd{
			loaded: random.IntN(2) == 0, running: random.IntN(2) == 0, disabled: random.IntN(2) == 0, pid: 7, crashes: random.IntN(8) == 0,
		}
		launchd.running = launchd.running && launchd.loaded
		calm := random.IntN(30) // from then on it answers as it should
		launchd.codes = func(verb string) (int, bool) {
			if len(launchd.calls) > calm {
				return launchd.lawful(verb)
			}
			return codes[random.IntN(len(codes))], random.IntN(2) == 0
		}
		launchd.print = func() (answer, bool) {
			if len(launchd.calls) > calm || random.IntN(4) > 0 {
				return answer{}, false
			}
			return answer{code: []int{-1, 1, 64}[random.IntN(3)]}, true
		}
		var state State
		var err error
		verb := []string{"start", "restart", "stop"}[seed%3]
		synctest.Test(t, func(t *testing.T) {
			m := &Manager{Tools: &launchd}
			switch verb {
			case "start":
				state, err = m.Start(t.Context())
			case "restart":
				state, err = m.Restart(t.Context())
			case "stop":
				err = m.Stop(t.Context())
			}
		})
		right := launchd.running && !launchd.disabled && state.Running && state.PID == launchd.pid
		if verb == "stop" {
			right = !launchd.loaded
		}
		switch {
		case len(launchd.calls) > 250:
			t.Errorf("seed %d, %s: %d calls", seed, verb, len(launchd.calls))
		case err == nil && !right:
			t.Errorf("seed %d, %s: ended well with %+v, loaded %v, disabled %v, pid %d", seed, verb, state, launchd.loaded, launchd.disabled, launchd.pid)
		case err != nil && !slices.Contains(namedCodes, codeOf(err)):
			t.Errorf("seed %d, %s: no name: %v", seed, verb, err)
		}
		ended[codeOf(err)]++
	}
	if ended[""] < 300 {
		t.Errorf("they ended %v", ended)
	}
}
