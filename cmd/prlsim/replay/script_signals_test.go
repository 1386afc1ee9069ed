package replay

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// moment is a point at which signals come to the script and all that it runs, as
// Ctrl-C and a terminal that is closed send them: a call of a tool, which then waits
// until they were sent, or a question.
type moment struct {
	tool, call string // below the Mac's folder or by name in PATH; the call is a pattern of sh
	question   string // in place of a tool: the name of a step
	signals    []syscall.Signal
	held       string // the tool goes on only when the script has said this
}

var (
	ctrlC      = []syscall.Signal{syscall.SIGINT}
	terminated = []syscall.Signal{syscall.SIGTERM}
	hungUp     = []syscall.Signal{syscall.SIGHUP}
	anySignal  = []syscall.Signal{syscall.SIGINT, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGPIPE}
)

const (
	sudoPath   = "usr/bin/sudo"
	prlctlPath = "Applications/Parallels Desktop.app/Contents/MacOS/prlctl"
)

// gated makes the tools of the moments wait at their calls, each only once the
// moment before it has come. The folder has N.hit when the N-th waits, N.sent before
// its signals are sent, and lets it go by N.go.
func (mac fakeMac) gated(t *testing.T, programs string, moments []moment) (folder string) {
	t.Helper()
	folder = mac.moments()
	if err := errors.Join(os.Mkdir(folder, 0o700), os.WriteFile(filepath.Join(folder, "-1.sent"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	for i, m := range moments {
		if m.tool == "" {
			continue
		}
		path, content := filepath.Join(mac.root, m.tool), "#!/bin/sh\n"
		if !strings.Contains(m.tool, "/") {
			path = filepath.Join(programs, m.tool)
			real, err := exec.LookPath(m.tool)
			if err != nil {
				t.Fatal(err)
			}
			content += "exec '" + real + "' \"$@\"\n"
		}
		if there, err := os.ReadFile(path); err == nil {
			content = string(there)
		}
		n := filepath.Join(folder, strconv.Itoa(i))
		gate := "case \"$*\" in " + m.call + ") if [ -e '" + filepath.Join(folder, strconv.Itoa(i-1)) + ".sent' ] && [ ! -e '" + n + ".hit' ]; then\n" +
			": >'" + n + ".hit'; while [ ! -e '" + n + ".go' ]; do sleep 0.02; done; fi ;; esac\n"
		fakeMac{filepath.Dir(path), mac.calls}.putFile(t, filepath.Base(path), "#!/bin/sh\n"+gate+strings.TrimPrefix(content, "#!/bin/sh\n"), 0o755)
	}
	return folder
}

func (mac fakeMac) moments() string { return mac.root + "-moments" }

// interrupt sends the signals of each moment when it has come.
func (s *scriptRun) interrupt(t *testing.T, folder string, moments []moment, questions <-chan string) {
	t.Helper()
	for i, m := range moments {
		n := filepath.Join(folder, strconv.Itoa(i))
		if m.question != "" {
			for asked := range questions {
				if asked == m.question {
					break
				}
			}
		} else {
			await(t, m.tool+" "+m.call, func() bool { _, err := os.Stat(n + ".hit"); return err == nil })
		}
		mark(t, n+".sent") // what the signals cause can be at the next moment at once
		for _, signal := range m.signals {
			if err := syscall.Kill(-s.command.Process.Pid, signal); err != nil {
				t.Fatal(err)
			}
		}
		if m.held == "" && m.question == "" {
			mark(t, n+".go")
		}
	}
}

func mark(t *testing.T, file string) {
	t.Helper()
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

// await polls for what another process does.
func await(t *testing.T, what string, come func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !come(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it never came: %s", what)
		}
	}
}

// signalled is how a run ended that was interrupted.
type signalled struct {
	mac  fakeMac
	run  *scriptRun
	code int
}

// interrupted runs one step of the script with signals at the moments.
func interrupted(t *testing.T, step string, moments []moment, options ...string) signalled {
	t.Helper()
	mac, programs := newInstalledMac(t)
	return mac.interrupted(t, programs, step, moments, options...)
}

func (mac fakeMac) interrupted(t *testing.T, programs, step string, moments []moment, options ...string) signalled {
	t.Helper()
	folder := mac.gated(t, programs, moments)
	s := startScriptWith(t, programs+":", mac.root, append(mac.everyOption(), options...)...)
	questions, over := make(chan string, 64), make(chan struct{})
	go func() {
		defer close(over)
		held := len(moments) - 1
		s.converseUntil(t, func(asked string) string {
			questions <- asked
			return only(step)(asked)
		}, moments[held].held, func() { mark(t, filepath.Join(folder, strconv.Itoa(held)+".go")) })
	}()
	s.interrupt(t, folder, moments, questions)
	<-over
	return signalled{mac, s, s.end(t)}
}

// Whatever signals come, at whatever moment, also a second time while it cleans up:
// the script ends by itself, and leaves no process, no temporary file, no job, and an
// archive only if it says so.
func TestScriptThatIsInterrupted(t *testing.T) {
	t.Parallel()
	final := moment{tool: "rm", call: "'-rf '*/first-mac.*", signals: anySignal}
	removes := moment{tool: sudoPath, call: "*' bootout system/'*", signals: anySignal}
	for name, test := range map[string]struct {
		step    string
		moments []moment
	}{
		"at a question":                             {"", []moment{{question: "versions", signals: ctrlC}, final}},
		"before there is anything":                  {"", []moment{{tool: "mktemp", call: "*", signals: ctrlC}}},
		"while names are read":                      {"", []moment{{tool: prlctlPath, call: "'list -a -i --json'", signals: hungUp}, final}},
		"while a tool is at work":                   {"lists", []moment{{tool: prlctlPath, call: "'list -a'", signals: ctrlC}, final}},
		"while a tool is at work, by TERM":          {"lists", []moment{{tool: prlctlPath, call: "'list -a'", signals: terminated}, final}},
		"while it listens":                          {"events", []moment{{tool: prlctlPath, call: "'monitor-events --json'", signals: hungUp}, final}},
		"while a notification is shown":             {"notify", []moment{{tool: "usr/bin/osascript", call: "*", signals: ctrlC}, final}},
		"while it runs a tool as root":              {"user", []moment{{tool: sudoPath, call: "*'/usr/bin/env'", signals: terminated}, final}},
		"while the job gets its place":              {"job", []moment{{tool: sudoPath, call: "*'/bin/mkdir '*", signals: ctrlC}, removes}},
		"while the job is half in place":            {"job", []moment{{tool: sudoPath, call: "*'/install -m 0644 '*", signals: hungUp}, {tool: sudoPath, call: "*'/bin/rm -f '*", signals: anySignal}}},
		"while the job is loaded":                   {"job", []moment{{tool: sudoPath, call: "*'/bin/cat '*", signals: ctrlC}, removes}},
		"with the job, and again later":             {"job", []moment{{tool: sudoPath, call: "*'/bin/cat '*", signals: ctrlC}, removes, {tool: sudoPath, call: "*'/bin/rm -rf '*", signals: anySignal}, final}},
		"with the job, when the terminal is closed": {"job", []moment{{tool: sudoPath, call: "*'/bin/cat '*", signals: hungUp}, removes}},
		"while the job is taken away as planned":    {"job", []moment{{tool: sudoPath, call: "*'/bin/rm -f '*", signals: ctrlC}, {tool: sudoPath, call: "*'/bin/rm -rf '*", signals: anySignal}, final}},
		"while the archive is made":                 {"", []moment{{tool: "gzip", call: "*", signals: ctrlC}, final}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := interrupted(t, test.step, test.moments)
			if got.code != 130 || !strings.Contains(got.run.heard.String(), "Interrupted: nothing was kept.") {
				t.Errorf("exit code %d: %s%s", got.code, got.run.heard.String(), got.run.errors.String())
			}
			if _, err := os.Stat(got.run.archive); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("there is an archive: %v", err)
			}
			if said := strings.Contains(got.run.heard.String(), "Taking the job away again"); said != (test.step == "job") {
				t.Errorf("that it takes the job away is said: %v", said)
			}
			expectGone(t, got.mac.root)
			expectNoTrial(t, got.mac)
		})
	}
}

// An installation and an uninstallation are not stopped in the middle of their work:
// the script waits for them, but not for ever.
func TestScriptThatIsInterruptedAtAnInstallation(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		step string
		at   moment
		said string
	}{
		"an installer that ends":         {"install", moment{tool: "usr/sbin/installer", call: "*", signals: anySignal, held: "half done …"}, ""},
		"an uninstallation that ends":    {"uninstall", moment{tool: sudoPath, call: "*uninstall.sh", signals: anySignal, held: "half done …"}, ""},
		"an installer that goes on long": {"install", moment{tool: "usr/sbin/installer", call: "*", signals: anySignal, held: "goes on: process "}, "It is still at work and goes on: process "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := interrupted(t, test.step, []moment{test.at}, "--limit", "1")
			if got.code != 130 || !strings.Contains(got.run.heard.String(), "Interrupted: nothing was kept.") || !strings.Contains(got.run.heard.String(), test.said) {
				t.Errorf("exit code %d: %s%s", got.code, got.run.heard.String(), got.run.errors.String())
			}
			expectGone(t, got.mac.root)
			calls, err := os.ReadFile(got.mac.calls)
			if err != nil || !strings.Contains(string(calls), map[string]string{"install": "\ninstaller -verbose", "uninstall": "\nuninstall\n"}[test.step]) {
				t.Errorf("it did not end its work: %v\n%s", err, calls)
			}
		})
	}
}

// An archive is there as a whole, or not at all; the script says which.
func TestScriptThatIsInterruptedAtItsArchive(t *testing.T) {
	t.Parallel()
	got := interrupted(t, "", []moment{{tool: "cat", call: "*/archive", signals: anySignal}})
	if got.code != 130 || !strings.Contains(got.run.heard.String(), "Interrupted: the answers are in "+got.run.archive) {
		t.Errorf("exit code %d: %s%s", got.code, got.run.heard.String(), got.run.errors.String())
	}
	if read, err := openArchive(got.run.archive); err != nil || len(read.Skipped) < 10 {
		t.Errorf("%+v, %v", read, err)
	}
}

// What cannot be taken away is named, with the commands that do it.
func TestScriptSaysWhatIsLeftOfItsJob(t *testing.T) {
	t.Parallel()
	mac, programs := newInstalledMac(t)
	mac.putTool(t, sudoPath, "[ -e '"+mac.moments()+"/0.hit' ] && exit 1\n"+plainSudo) // as when the password is asked for again
	got := mac.interrupted(t, programs, "job", []moment{{tool: sudoPath, call: "*'/bin/cat '*", signals: ctrlC}})
	for _, command := range []string{"launchctl bootout system/" + trialLabel, "launchctl enable system/" + trialLabel,
		"rm -f '" + mac.root + trialFile + "'", "rm -rf '" + mac.root + trialDir + "'"} {
		if !strings.Contains(got.run.heard.String(), "\n    sudo "+command+"\n") {
			t.Errorf("%s is not said:\n%s", command, got.run.heard.String())
		}
	}
}
