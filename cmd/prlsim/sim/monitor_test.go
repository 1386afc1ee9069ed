package sim

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/google/go-cmp/cmp"
)

// listener is a stream inside the test process, as on a terminal; the test
// decides when it looks.
type listener struct {
	*stream
	output *bytes.Buffer
}

func listen(t *testing.T, mac Mac, account string) listener {
	t.Helper()
	state, err := mac.Load()
	if err != nil {
		t.Fatal(err)
	}
	output := &bytes.Buffer{}
	s, err := newStream(&invocation{mac: mac, state: state, caller: account, name: "prlctl", stdout: output}, true)
	if err != nil {
		t.Fatal(err)
	}
	s.terminal = true
	return listener{s, output}
}

// heard is what was told since it was last called, as "EVENT" or "EVENT STATE",
// lines that are no event left out.
func (l listener) heard(t *testing.T) (events []string) {
	t.Helper()
	l.output.Reset()
	if err := l.look(); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(l.output.String()) {
		if event := eventIn(line); event != "" {
			events = append(events, event)
		}
	}
	return events
}

func eventIn(line string) string {
	var told toldEvent
	if err := json.Unmarshal([]byte(line), &told); err != nil || told.Name == "" {
		return ""
	}
	if told.Additional == nil {
		return told.Name
	}
	return told.Name + " " + told.Additional.State
}

// What a VM's life tells (facts/prlctl.md 3), and to whom.
func TestEventsOfAVMsLife(t *testing.T) {
	t.Parallel()
	mac := newMac(t, standard())
	alice, bob := listen(t, mac, "alice"), listen(t, mac, "bob")
	vm := func(apply func(*State, *VM) error) func(*testing.T) {
		return func(t *testing.T) { mustUpdate(t, mac, func(s *State) error { return withVM(s, "Lab", apply) }) }
	}
	act := func(action string) func(*testing.T) {
		return vm(func(s *State, vm *VM) error { return mac.perform(s, vm, transitions[action]) })
	}
	for _, step := range []struct {
		name string
		do   func(*testing.T)
		want []string
	}{
		{"create", func(t *testing.T) {
			mustUpdate(t, mac, func(s *State) error {
				_, err := mac.createVM(s, NewVM{OS: "ubuntu", Owner: "alice", Name: "Lab"})
				return err
			})
		}, []string{"vm_added"}},
		{"start", act("start"), []string{"vm_state_changed starting", "vm_state_changed running"}},
		{"pause", act("pause"), []string{"vm_state_changed pausing", "vm_state_changed paused"}},
		{"continue", act("resume"), []string{"vm_state_changed continuing", "vm_state_changed running"}},
		{"suspend", act("suspend"), []string{"vm_state_changed suspending", "vm_state_changed suspended"}},
		{"start a suspended one", act("start"), []string{"vm_state_changed resuming", "vm_state_changed running"}},
		{"stop", act("stop"), []string{"vm_state_changed stopping", "vm_state_changed stopped"}},
		{"any state", vm(func(s *State, vm *VM) error { return mac.enter(s, vm, "compacting") }), []string{"vm_state_changed compacting"}},
		{"stopped again", vm(func(s *State, vm *VM) error { return mac.enter(s, vm, "stopped") }), []string{"vm_state_changed stopped"}},
		{"rename", vm(func(s *State, vm *VM) error { return mac.configure(s, vm, "name=Lab", false) }), []string{"vm_config_changed"}},
		{"tools", vm(func(s *State, vm *VM) error { return mac.configure(s, vm, "tools=none", false) }),
			[]string{"vm_config_changed", "vm_tools_state_changed"}},
		{"set", func(t *testing.T) { as(mac, "alice").run(t, "prlctl", "set", "Lab", "--autostart-delay", "5") }, []string{"vm_config_changed"}},
		{"read", func(t *testing.T) { as(mac, "alice").run(t, "prlctl", "list", "Lab", "-i", "-j") }, []string{"vm_config_changed"}},
		{"ask for the state", func(t *testing.T) { as(mac, "alice").run(t, "prlctl", "status", "Lab") }, nil},
		{"unregister", vm(mac.unregister), []string{"vm_unregistered"}},
	} {
		step.do(t)
		if diff := cmp.Diff(step.want, alice.heard(t)); diff != "" {
			t.Errorf("%s (-want +told):\n%s", step.name, diff)
		}
	}
	if told := bob.heard(t); told != nil {
		t.Errorf("bob was told %v of a VM of alice", told)
	}
	as(mac, "alice").run(t, "prlctl", "list", "Team Linux", "-i", "-j")
	if told := bob.heard(t); len(told) != 1 {
		t.Errorf("bob was told %v of a shared VM", told)
	}
	if _, err := os.Stat(mac.Path("/Users/alice/Parallels/Lab.pvm/config.pvs")); err != nil {
		t.Errorf("unregistering removed the files: %v", err)
	}
}

func withVM(state *State, name string, apply func(*State, *VM) error) error {
	vm, err := findVM(state.VMs, name)
	if err != nil {
		return err
	}
	return apply(state, vm)
}

// emptyMac has no VMs, and is made quickly.
func emptyMac(t *testing.T) Mac {
	t.Helper()
	wanted := standard()
	wanted.Empty = true
	return newMac(t, wanted)
}

// emit tells count events of a VM of alice that is not there.
func emit(t *testing.T, mac Mac, event string, count int) {
	t.Helper()
	state, err := mac.Load()
	if err != nil {
		t.Fatal(err)
	}
	told, err := state.emitted(emission{vm: "11111111-2222-4333-8444-555555555555", user: "alice", name: event})
	if err != nil {
		t.Fatal(err)
	}
	if err := mac.tellNow(slices.Repeat([]Event{told}, count)...); err != nil {
		t.Fatal(err)
	}
}

func TestMonitorFaults(t *testing.T) {
	t.Parallel()
	const events = 400
	for _, test := range []struct {
		fault       string
		least, most int // of the events that are told
		noisy       bool
	}{
		{"monitor_drops=0", events, events, false},
		{"monitor_drops=25", events / 2, events - events/8, false},
		{"monitor_drops=100", 0, 0, false},
		{"monitor_hangs", 0, 0, false},
		{"monitor_noise", events * 3 / 4, events - 1, true}, // some are glued to half a line
	} {
		t.Run(test.fault, func(t *testing.T) {
			t.Parallel()
			mac := emptyMac(t)
			alice, again, root := listen(t, mac, "alice"), listen(t, mac, "alice"), listen(t, mac, rootUser)
			mustUpdate(t, mac, func(state *State) error { return state.setFault(test.fault, "alice") })
			emit(t, mac, "vm_config_changed", events)
			told := alice.heard(t)
			if len(told) < test.least || len(told) > test.most {
				t.Errorf("%d events of %d are told, want %d to %d", len(told), events, test.least, test.most)
			}
			if noisy := alice.output.Len() > events*150; noisy != test.noisy {
				t.Errorf("noise: %v (%d bytes)", noisy, alice.output.Len())
			}
			if again.heard(t); !bytes.Equal(again.output.Bytes(), alice.output.Bytes()) {
				t.Error("chance is another for another stream of the same user")
			}
			if got := root.heard(t); got != nil {
				t.Errorf("root was told %v", got)
			}
			mustUpdate(t, mac, func(state *State) error { state.clearFault("", ""); return nil })
			emit(t, mac, "vm_perfstats", 2)
			if told := alice.heard(t); !slices.Equal(told, []string{"vm_perfstats", "vm_perfstats"}) {
				t.Errorf("after the fault: %v", told)
			}
		})
	}
}

// monitor is a stream that runs as a real program, started as the agent does.
type monitor struct {
	*exec.Cmd
	terminal *os.File // its other end
}

var monitorAlice = []string{"-n", "-H", "-u", "#501", appTools + "/prlctl", "monitor-events", "--json"}

func startMonitor(t *testing.T, mac Mac) monitor {
	t.Helper()
	m := monitor{Cmd: program(mac, "/usr/bin/sudo", monitorAlice...)}
	var err error
	if m.terminal, err = pty.Start(m.Cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = m.Process.Kill()
		_ = m.terminal.Close()
	})
	awaitMonitor(t, mac)
	return m
}

func awaitMonitor(t *testing.T, mac Mac) {
	t.Helper()
	awaitTrue(t, "the stream is connected", func() bool { return len(mac.Monitors()) > 0 })
}

// awaitTrue waits for what other processes do.
func awaitTrue(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not so: %s", what)
		}
	}
}

// On a terminal each event comes at once, as a line that ends in \r\n.
func TestMonitorOnATerminal(t *testing.T) {
	t.Parallel()
	mac := emptyMac(t)
	m := startMonitor(t, mac)
	lines := bufio.NewReader(m.terminal)
	for _, event := range []string{"vm_config_changed", "vm_perfstats"} {
		emit(t, mac, event, 1)
		line, err := lines.ReadString('\n')
		if err != nil || !strings.HasSuffix(line, "}\r\n") || eventIn(line) != event {
			t.Errorf("got %q, %v", line, err)
		}
	}
}

// Into a pipe it writes only when 4 KiB are full (facts/prlctl.md 3).
func TestMonitorBuffersIntoAPipe(t *testing.T) {
	t.Parallel()
	mac := emptyMac(t)
	m := program(mac, "/usr/bin/sudo", monitorAlice...)
	pipe, err := m.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	awaitMonitor(t, mac)
	first := make(chan int)
	go func() {
		count, _ := pipe.Read(make([]byte, 64<<10))
		first <- count
	}()
	const events = 50 // of more than 100 bytes each
	for range events {
		emit(t, mac, "vm_config_changed", 1)
	}
	if count := <-first; count < stdioBuffer {
		t.Errorf("got %d bytes at once, want %d", count, stdioBuffer)
	}
	if err := m.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if err := m.Wait(); fmt.Sprint(err) != "signal: terminated" {
		t.Errorf("ended with %v", err)
	}
}

func TestMonitorEnds(t *testing.T) {
	t.Parallel()
	fault := func(setting string) func(*testing.T, Mac, monitor) {
		return func(t *testing.T, mac Mac, _ monitor) {
			mustUpdate(t, mac, func(state *State) error { return state.setFault(setting, "alice") })
			emit(t, mac, "vm_config_changed", 3)
		}
	}
	for name, test := range map[string]struct {
		do   func(*testing.T, Mac, monitor)
		want []string // of these ends
	}{
		"when the service restarts": {func(t *testing.T, mac Mac, _ monitor) {
			mustUpdate(t, mac, func(state *State) error { state.Service.Running = false; return nil })
		}, []string{"exit status 255"}},
		"when the service stops": {func(t *testing.T, mac Mac, _ monitor) {
			mustUpdate(t, mac, func(state *State) error { return state.setFault("service_down", "") })
		}, []string{"exit status 255"}},
		"when its user loses the service": {fault("service_down"), []string{"exit status 255"}},
		"when it dies":                    {fault("monitor_dies=3"), []string{"signal: killed"}},
		"when it is told to": {func(t *testing.T, _ Mac, m monitor) {
			if err := m.Process.Signal(syscall.SIGTERM); err != nil {
				t.Error(err)
			}
		}, []string{"signal: terminated"}},
		"when its terminal hangs up": {func(_ *testing.T, _ Mac, m monitor) { m.terminal.Close() },
			[]string{"signal: hangup", "exit status 1"}},
		"when the folder is removed": {func(t *testing.T, mac Mac, _ monitor) {
			if err := os.RemoveAll(mac.Dir); err != nil {
				t.Error(err)
			}
		}, []string{"exit status 1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mac := emptyMac(t)
			m := startMonitor(t, mac)
			test.do(t, mac, m)
			if err := m.Wait(); !slices.Contains(test.want, fmt.Sprint(err)) {
				t.Errorf("ended with %v, want %v", err, test.want)
			}
			if left := mac.Monitors(); len(left) > 0 {
				t.Errorf("still connected: %v", left)
			}
		})
	}
}

func TestMonitorIsRefused(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		version string
		fault   string
		words   string
		want    outcome
	}{
		"by an old version":       {"19", "", "monitor-events --json", outcome{255, "", "Unrecognized option: monitor-events"}},
		"with the service down":   {"26", "service_down", "monitor-events --json", outcome{253, "", "Login failed: Unable to connect to Parallels Service."}},
		"without JSON":            {"26", "old_version", "monitor-events --json", outcome{255, "", "Unrecognized option: --json"}},
		"with an unknown option":  {"26", "", "monitor-events --nonsense", outcome{255, "", "Unrecognized option: --nonsense"}},
		"with too many arguments": {"26", "", "monitor-events --json macOS", outcome{255, "", "Unrecognized option: macOS"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mac := macOfVersion(t, test.version)
			if test.fault != "" {
				mustUpdate(t, mac, func(state *State) error { return state.setFault(test.fault, "") })
			}
			checkOutcome(t, as(mac, "alice").run(t, "prlctl", strings.Fields(test.words)...), test.want)
		})
	}
}

// Without --json there is one line of text for each event.
func TestMonitorAsText(t *testing.T) {
	t.Parallel()
	mac := newMac(t, standard())
	s := listen(t, mac, "alice")
	s.json = false
	mustUpdate(t, mac, func(state *State) error {
		return withVM(state, "macOS", func(state *State, vm *VM) error { return mac.perform(state, vm, transitions["start"]) })
	})
	if err := s.look(); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(s.output.String()), "\n")
	if len(lines) != 2 || !strings.HasSuffix(lines[1], "{"+idOf(t, mac, "alice", "macOS")+"} vm_state_changed running") {
		t.Errorf("got %q", lines)
	}
}
