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

// testStream is a stream inside the test process, as on a terminal; the test
// decides when it polls.
type testStream struct {
	stream *eventStream
	output *bytes.Buffer
}

func openTestStream(t *testing.T, mac Mac, account string) testStream {
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
	return testStream{s, output}
}

// newEvents is what was written since it was last called, as "EVENT" or "EVENT
// STATE", lines that are no event left out.
func (s testStream) newEvents(t *testing.T) (events []string) {
	t.Helper()
	s.output.Reset()
	if err := s.stream.poll(); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(s.output.String()) {
		if event := eventIn(line); event != "" {
			events = append(events, event)
		}
	}
	return events
}

func eventIn(line string) string {
	var printed printedEvent
	if err := json.Unmarshal([]byte(line), &printed); err != nil || printed.Name == "" {
		return ""
	}
	if printed.Additional == nil {
		return printed.Name
	}
	return printed.Name + " " + printed.Additional.State
}

// Which events a VM's changes make (facts/prlctl.md 3), and who gets them.
func TestEventsOfAVMsLife(t *testing.T) {
	t.Parallel()
	mac := newMac(t, standardMac())
	alice, bob := openTestStream(t, mac, "alice"), openTestStream(t, mac, "bob")
	vm := func(apply func(*State, *VM) error) func(*testing.T) {
		return func(t *testing.T) { mustUpdate(t, mac, func(s *State) error { return withVM(s, "Lab", apply) }) }
	}
	act := func(action string) func(*testing.T) {
		return vm(func(s *State, vm *VM) error { return mac.applyTransition(s, vm, transitions[action]) })
	}
	for _, step := range []struct {
		name string
		do   func(*testing.T)
		want []string
	}{
		{"create", func(t *testing.T) {
			mustUpdate(t, mac, func(s *State) error {
				_, err := mac.createVM(s, newVMOptions{OS: "ubuntu", Owner: "alice", Name: "Lab"})
				return err
			})
		}, []string{"vm_added"}},
		{"start", act("start"), []string{"vm_state_changed starting", "vm_state_changed running"}},
		{"pause", act("pause"), []string{"vm_state_changed pausing", "vm_state_changed paused"}},
		{"continue", act("resume"), []string{"vm_state_changed continuing", "vm_state_changed running"}},
		{"suspend", act("suspend"), []string{"vm_state_changed suspending", "vm_state_changed suspended"}},
		{"start a suspended one", act("start"), []string{"vm_state_changed resuming", "vm_state_changed running"}},
		{"stop", act("stop"), []string{"vm_state_changed stopping", "vm_state_changed stopped"}},
		{"any state", vm(func(s *State, vm *VM) error { return mac.setVMState(s, vm, "compacting") }), []string{"vm_state_changed compacting"}},
		{"stopped again", vm(func(s *State, vm *VM) error { return mac.setVMState(s, vm, "stopped") }), []string{"vm_state_changed stopped"}},
		{"rename", vm(func(s *State, vm *VM) error { return mac.configureVM(s, vm, "name=Lab", false) }), []string{"vm_config_changed"}},
		{"tools", vm(func(s *State, vm *VM) error { return mac.configureVM(s, vm, "tools=none", false) }),
			[]string{"vm_config_changed", "vm_tools_state_changed"}},
		{"set", func(t *testing.T) { callAs(mac, "alice").run(t, "prlctl", "set", "Lab", "--autostart-delay", "5") }, []string{"vm_config_changed"}},
		{"read", func(t *testing.T) { callAs(mac, "alice").run(t, "prlctl", "list", "Lab", "-i", "-j") }, []string{"vm_config_changed"}},
		{"ask for the state", func(t *testing.T) { callAs(mac, "alice").run(t, "prlctl", "status", "Lab") }, nil},
		{"unregister", vm(mac.unregisterVM), []string{"vm_unregistered"}},
	} {
		step.do(t)
		if diff := cmp.Diff(step.want, alice.newEvents(t)); diff != "" {
			t.Errorf("%s (-want +told):\n%s", step.name, diff)
		}
	}
	if told := bob.newEvents(t); told != nil {
		t.Errorf("bob was told %v of a VM of alice", told)
	}
	callAs(mac, "alice").run(t, "prlctl", "list", "Team Linux", "-i", "-j")
	if told := bob.newEvents(t); len(told) != 1 {
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
	wanted := standardMac()
	wanted.Empty = true
	return newMac(t, wanted)
}

// recordTestEvents records count events of a VM of alice that is not there.
func recordTestEvents(t *testing.T, mac Mac, event string, count int) {
	t.Helper()
	state, err := mac.Load()
	if err != nil {
		t.Fatal(err)
	}
	told, err := state.eventToEmit(emitOptions{vm: "11111111-2222-4333-8444-555555555555", user: "alice", name: event})
	if err != nil {
		t.Fatal(err)
	}
	if err := mac.recordEvents(slices.Repeat([]eventRecord{told}, count)...); err != nil {
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
			alice, again, root := openTestStream(t, mac, "alice"), openTestStream(t, mac, "alice"), openTestStream(t, mac, rootUser)
			mustUpdate(t, mac, func(state *State) error { return state.setFault(test.fault, "alice") })
			recordTestEvents(t, mac, "vm_config_changed", events)
			told := alice.newEvents(t)
			if len(told) < test.least || len(told) > test.most {
				t.Errorf("%d events of %d are told, want %d to %d", len(told), events, test.least, test.most)
			}
			if noisy := alice.output.Len() > events*150; noisy != test.noisy {
				t.Errorf("noise: %v (%d bytes)", noisy, alice.output.Len())
			}
			if again.newEvents(t); !bytes.Equal(again.output.Bytes(), alice.output.Bytes()) {
				t.Error("chance is another for another stream of the same user")
			}
			if got := root.newEvents(t); got != nil {
				t.Errorf("root was told %v", got)
			}
			mustUpdate(t, mac, func(state *State) error { state.clearFault("", ""); return nil })
			recordTestEvents(t, mac, "vm_perfstats", 2)
			if told := alice.newEvents(t); !slices.Equal(told, []string{"vm_perfstats", "vm_perfstats"}) {
				t.Errorf("after the fault: %v", told)
			}
		})
	}
}

// monitorProcess is a stream that runs as a real program, started as the agent
// does.
type monitorProcess struct {
	command  *exec.Cmd
	terminal *os.File // its other end
}

var monitorAlice = []string{"-n", "-H", "-u", "#501", appTools + "/prlctl", "monitor-events", "--json"}

func startMonitor(t *testing.T, mac Mac) monitorProcess {
	t.Helper()
	m := monitorProcess{command: toolCommand(mac, "/usr/bin/sudo", monitorAlice...)}
	var err error
	if m.terminal, err = pty.Start(m.command); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = m.command.Process.Kill()
		_ = m.terminal.Close()
	})
	awaitMonitor(t, mac)
	return m
}

func awaitMonitor(t *testing.T, mac Mac) {
	t.Helper()
	awaitTrue(t, "the stream is connected", func() bool { return len(mac.connectedStreams()) > 0 })
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
		recordTestEvents(t, mac, event, 1)
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
	m := toolCommand(mac, "/usr/bin/sudo", monitorAlice...)
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
		recordTestEvents(t, mac, "vm_config_changed", 1)
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
	fault := func(setting string) func(*testing.T, Mac, monitorProcess) {
		return func(t *testing.T, mac Mac, _ monitorProcess) {
			mustUpdate(t, mac, func(state *State) error { return state.setFault(setting, "alice") })
			recordTestEvents(t, mac, "vm_config_changed", 3)
		}
	}
	for name, test := range map[string]struct {
		do   func(*testing.T, Mac, monitorProcess)
		want []string // of these ends
	}{
		"when the service restarts": {func(t *testing.T, mac Mac, _ monitorProcess) {
			mustUpdate(t, mac, func(state *State) error { state.Service.Running = false; return nil })
		}, []string{"exit status 255"}},
		"when the service stops": {func(t *testing.T, mac Mac, _ monitorProcess) {
			mustUpdate(t, mac, func(state *State) error { return state.setFault("service_down", "") })
		}, []string{"exit status 255"}},
		"when its user loses the service": {fault("service_down"), []string{"exit status 255"}},
		"when it dies":                    {fault("monitor_dies=3"), []string{"signal: killed"}},
		"when it is told to": {func(t *testing.T, _ Mac, m monitorProcess) {
			if err := m.command.Process.Signal(syscall.SIGTERM); err != nil {
				t.Error(err)
			}
		}, []string{"signal: terminated"}},
		"when its terminal hangs up": {func(_ *testing.T, _ Mac, m monitorProcess) { m.terminal.Close() },
			[]string{"signal: hangup", "exit status 1"}},
		"when the folder is removed": {func(t *testing.T, mac Mac, _ monitorProcess) {
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
			if err := m.command.Wait(); !slices.Contains(test.want, fmt.Sprint(err)) {
				t.Errorf("ended with %v, want %v", err, test.want)
			}
			if left := mac.connectedStreams(); len(left) > 0 {
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
			checkOutcome(t, callAs(mac, "alice").run(t, "prlctl", strings.Fields(test.words)...), test.want)
		})
	}
}

// Without --json there is one line of text for each event.
func TestMonitorAsText(t *testing.T) {
	t.Parallel()
	mac := newMac(t, standardMac())
	s := openTestStream(t, mac, "alice")
	s.stream.json = false
	mustUpdate(t, mac, func(state *State) error {
		return withVM(state, "macOS", func(state *State, vm *VM) error { return mac.applyTransition(state, vm, transitions["start"]) })
	})
	if err := s.stream.poll(); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(s.output.String()), "\n")
	if len(lines) != 2 || !strings.HasSuffix(lines[1], "{"+idOf(t, mac, "alice", "macOS")+"} vm_state_changed running") {
		t.Errorf("got %q", lines)
	}
}
