package cmd_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"prlagent/agent"
	"prlagent/agent/localapi"
	"prlagent/cmd/prlsim/sim"
	"prlagent/platform/plist"
)

// Limits of what a script waits for, and how often it looks.
const (
	readyLimit = 90 * time.Second
	stopLimit  = 30 * time.Second
	readyPoll  = 15 * time.Millisecond
	untilPoll  = 40 * time.Millisecond // each look is a program that starts
	untilShare = 20                    // of what was waited already is waited again, where that is longer
)

// stage is what one script has set up.
type stage struct {
	programs string // folder of ours
	folder   string
	running  map[string]*process // by name, see agentName
	portal   *reservedPort       // where every portal of the script listens
	front    *evilPortal         // what answers in its place
	arrived  int                 // check-ins that the script has looked at
	unproven bool                // the last comparison expected nothing, which only a later one proves
}

type stageKey struct{}

// program is the path of one of ours.
func (s *stage) program(name string) string { return filepath.Join(s.programs, name) }

func stageOf(ts *testscript.TestScript) *stage { return ts.Value(stageKey{}).(*stage) }

// process is a program that runs beside the script.
type process struct {
	name    string
	command *exec.Cmd
	output  string // file of its standard error
	ended   chan struct{}
}

const portalName = "prlportal"

func agentName(root string) string { return "prlagentd of " + filepath.Base(root) }

// environment is what background programs get of the script's variables.
var environment = []string{"PATH", "HOME", "TMPDIR", "GORACE", "GOCOVERDIR", "PRLAGENT_ROOT", "PRLPORTAL_DIR"}

// start runs a program beside the script, with its standard error in a file.
func (s *stage) start(ts *testscript.TestScript, name, output, program string, args ...string) *process {
	if s.running[name] != nil {
		ts.Fatalf("%s runs already", name)
	}
	log, err := os.OpenFile(output, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	ts.Check(err)
	defer log.Close()
	command := exec.Command(s.program(program), args...)
	command.Dir, command.Stderr = s.folder, log
	for _, variable := range environment {
		if value := ts.Getenv(variable); value != "" {
			command.Env = append(command.Env, variable+"="+value)
		}
	}
	ts.Check(command.Start())
	started := &process{name: name, command: command, output: output, ended: make(chan struct{})}
	go func() {
		_ = command.Wait()
		close(started.ended)
	}()
	s.running[name] = started
	return started
}

// awaitReady polls until the program is ready; it fails as soon as it ends.
func (p *process) awaitReady(ts *testscript.TestScript, ready func() bool) {
	for deadline := time.Now().Add(readyLimit); !ready(); time.Sleep(readyPoll) {
		select {
		case <-p.ended:
			ts.Fatalf("%s ended with %d: %s", p.name, p.command.ProcessState.ExitCode(), p.words())
		default:
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s is not ready after %s: %s", p.name, readyLimit, p.words())
		}
	}
}

func (p *process) words() string {
	words, _ := os.ReadFile(p.output)
	return string(words)
}

// stop ends a program and says what was wrong with its end.
func (s *stage) stop(name string, how syscall.Signal, limit time.Duration) error {
	running := s.running[name]
	if running == nil {
		return fmt.Errorf("%s does not run", name)
	}
	delete(s.running, name)
	_ = running.command.Process.Signal(how) // it may have ended by itself: the exit code tells
	select {
	case <-running.ended:
	case <-time.After(limit):
		_ = running.command.Process.Kill()
		<-running.ended
		return fmt.Errorf("%s did not stop within %s of %s", name, limit, how)
	}
	if code := running.command.ProcessState.ExitCode(); how == syscall.SIGTERM && code != 0 {
		return fmt.Errorf("%s ended with %d: %s", name, code, running.words())
	}
	if words := running.words(); strings.Contains(words, "DATA RACE") || strings.Contains(words, "panic:") {
		return errors.New(words)
	}
	return nil
}

// close ends everything that a script has started, and shows the logs of a
// script that failed.
func (s *stage) close(t testscript.T) {
	test := t.(interface {
		Errorf(format string, args ...any)
		Logf(format string, args ...any)
		Failed() bool
	})
	if s.unproven && !test.Failed() {
		test.Errorf("the last comparison expects nothing: only another one after it finds what comes late")
	}
	s.closeFront()
	for name := range s.running {
		_ = s.signal(name, syscall.SIGCONT) // a frozen one ends too
		if err := s.stop(name, syscall.SIGTERM, stopLimit); err != nil {
			test.Errorf("at the end: %v", err)
		}
	}
	if test.Failed() {
		for _, log := range []string{filepath.Join(s.folder, "mac", agent.LogFile), filepath.Join(s.folder, "portal.log")} {
			content, _ := os.ReadFile(log)
			test.Logf("%s:\n%s", filepath.Base(log), content[max(0, len(content)-4000):])
		}
	}
	if s.portal != nil {
		s.portal.release()
	}
	if err := os.RemoveAll(s.folder); err != nil {
		test.Errorf("at the end: %v", err)
	}
}

// run executes a program whose output the script may look at; it must end well.
func run(ts *testscript.TestScript, program string, args ...string) {
	if err := ts.Exec(program, args...); err != nil {
		ts.Fatalf("%s %s: %v\n%s%s", program, strings.Join(args, " "), err, ts.ReadFile("stdout"), ts.ReadFile("stderr"))
	}
}

func controlPortal(ts *testscript.TestScript, neg bool, args []string) {
	s := stageOf(ts)
	switch {
	case !neg && len(args) == 2 && args[0] == "slow":
		_, err := time.ParseDuration(args[1])
		ts.Check(err)
		startEvilPortal(ts, evilAnswer{Times: -1, Real: true, Delay: args[1]})
		return
	case !neg && len(args) == 2 && args[0] == "evil":
		startEvilPortal(ts, readAnswers(ts, args[1])...)
		return
	case !neg && len(args) == 1 && args[0] == "asked" && s.front != nil:
		s.front.await(ts, "nobody has asked the portal", s.front.asked)
		return
	case !neg && len(args) == 1 && args[0] == "answered" && s.front != nil:
		s.front.await(ts, "the answers are not used up", s.front.played)
		return
	}
	s.closeFront()
	control(ts, neg, args, portalName, startPortal)
}

// signal sends a signal to a program that goes on.
func (s *stage) signal(name string, what syscall.Signal) error {
	running := s.running[name]
	if running == nil {
		return fmt.Errorf("%s does not run", name)
	}
	return running.command.Process.Signal(what)
}

func controlAgent(ts *testscript.TestScript, neg bool, args []string) {
	control(ts, neg, args, agentName(ts.Getenv("PRLAGENT_ROOT")), startAgent)
}

func control(ts *testscript.TestScript, neg bool, args []string, name string, start func(*testscript.TestScript)) {
	limit := stopLimit
	if len(args) == 2 && args[0] == "stop" {
		within, err := time.ParseDuration(args[1])
		ts.Check(err)
		limit, args = within, args[:1]
	}
	if neg || len(args) != 1 {
		ts.Fatalf("usage: agent|portal start|stop [LIMIT]|kill|freeze|thaw")
	}
	switch args[0] {
	case "start":
		start(ts)
	case "freeze":
		ts.Check(stageOf(ts).signal(name, syscall.SIGSTOP))
	case "thaw":
		ts.Check(stageOf(ts).signal(name, syscall.SIGCONT))
	case "stop":
		ts.Check(stageOf(ts).stop(name, syscall.SIGTERM, limit))
	case "kill":
		ts.Check(stageOf(ts).stop(name, syscall.SIGKILL, limit))
	default:
		ts.Fatalf("unknown word %q", args[0])
	}
}

// startPortal starts the portal at the address that is the script's own.
func startPortal(ts *testscript.TestScript) {
	s := stageOf(ts)
	if s.portal == nil {
		reserved, err := reservePort()
		ts.Check(err)
		s.portal = reserved
	}
	servePortal(ts, s.portal.address)
}

// servePortal starts the portal at an address of loopback.
func servePortal(ts *testscript.TestScript, address string) {
	s := stageOf(ts)
	ready := filepath.Join(s.folder, "portal.url")
	if err := os.Remove(ready); err != nil && !errors.Is(err, os.ErrNotExist) {
		ts.Check(err)
	}
	flags := []string{"serve", "--listen", address, "--ready-file", ready}
	if _, err := os.Stat(filepath.Join(ts.Getenv("PRLPORTAL_DIR"), "operator")); err == nil {
		flags = append(flags, "--demo") // the operator's folder lies beside the portal's
	}
	started := s.start(ts, portalName, ts.Getenv("PORTAL_LOG"), "prlportal", flags...)
	var url string
	started.awaitReady(ts, func() bool {
		content, err := os.ReadFile(ready)
		url = strings.TrimSpace(string(content))
		return err == nil && url != ""
	})
	ts.Setenv("PRLPORTAL_URL", url)
}

// startAgent starts the daemon and waits for the end of its first pass, and for
// the snapshots of it, which are written after it is shown.
func startAgent(ts *testscript.TestScript) {
	root := ts.Getenv("PRLAGENT_ROOT")
	started := stageOf(ts).start(ts, agentName(root), root+".err", "prlagentd", "run")
	client, pid := localapi.NewClient(localapi.SocketUnder(root)), started.command.Process.Pid
	started.awaitReady(ts, func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), readyLimit)
		defer cancel()
		status, err := client.Status(ctx)
		return err == nil && status.Pass != nil && status.Daemon.PID == pid && hasSnapshots(root, pid)
	})
}

// hasSnapshots reports whether a daemon has written its snapshots, of which
// inventory.plist is the last.
func hasSnapshots(root string, pid int) bool {
	folder := localapi.SnapshotsUnder(root)
	status, err := localapi.ReadSnapshot(filepath.Join(folder, localapi.StatusJSON))
	if err != nil || status.Daemon.PID != pid {
		return false
	}
	_, err = os.Stat(filepath.Join(folder, localapi.InventoryPlist))
	return err == nil
}

// beginEnrolled is the beginning of most scripts.
func beginEnrolled(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("unsupported: ! enrolled")
	}
	run(ts, "prlportal", "init", ts.Getenv("PORTAL"))
	startPortal(ts)
	run(ts, "prlsim", append([]string{"mac", "create", ts.Getenv("MAC"), "--no-processes"}, args...)...)
	installProfile(ts, false, nil)
	startAgent(ts)
	ts.Check(ts.Chdir(ts.Getenv("MAC")))
}

// installProfile does what MDM would: it leaves the portal's preferences on
// the Mac of PRLAGENT_ROOT.
func installProfile(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("unsupported: ! profile")
	}
	managed := filepath.Join(ts.Getenv("PRLAGENT_ROOT"), agent.ManagedConfig)
	run(ts, "prlportal", append([]string{"profile", "--format", "plist", "--output", managed}, args...)...)
	// An agent that starts again would wait for a minute, and for others that might do so as well.
	changeSettings(ts, false, []string{managed, "Timing.Splay=0", "Timing.WakeSplay=0", "Timing.MinimumGap=0"})
}

// changeSettings edits a property list in place.
func changeSettings(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: settings FILE NAME=VALUE…")
	}
	path := ts.MkAbs(args[0])
	values := map[string]any{}
	data, err := os.ReadFile(path)
	if err == nil {
		values, err = plist.DecodeDict(data)
	}
	if !errors.Is(err, os.ErrNotExist) {
		ts.Check(err)
	}
	for _, setting := range args[1:] {
		name, value, _ := strings.Cut(setting, "=")
		set(values, strings.Split(name, "."), value)
	}
	data, err = plist.EncodeXML(values)
	ts.Check(err)
	ts.Check(os.MkdirAll(filepath.Dir(path), 0o755))
	ts.Check(os.WriteFile(path, data, 0o600))
}

func set(values map[string]any, path []string, value string) {
	if len(path) > 1 {
		inner, _ := values[path[0]].(map[string]any)
		if inner == nil {
			inner = make(map[string]any)
		}
		values[path[0]] = inner
		set(inner, path[1:], value)
		return
	}
	var number float64
	switch _, err := fmt.Sscanf(value, "%g", &number); {
	case value == "":
		delete(values, path[0])
	case err == nil && fmt.Sprint(number) == value:
		values[path[0]] = number
	case value == "true" || value == "false":
		values[path[0]] = value == "true"
	default:
		values[path[0]] = value
	}
}

// macOf is the simulated Mac of PRLAGENT_ROOT.
func macOf(ts *testscript.TestScript) sim.Mac { return sim.Mac{Dir: ts.Getenv("PRLAGENT_ROOT")} }
