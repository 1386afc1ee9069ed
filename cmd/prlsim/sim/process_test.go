package sim

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
)

func findBundle(mac Mac, bundle string) (os.FileInfo, error) { return os.Lstat(mac.Path(bundle)) }

// readRecords decodes the lines of a record file.
func readRecords[T any](t *testing.T, mac Mac, file string) []T {
	t.Helper()
	in, err := os.Open(mac.markerPath(file))
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	var records []T
	for lines := bufio.NewScanner(in); lines.Scan(); {
		var record T
		if err := json.Unmarshal(lines.Bytes(), &record); err != nil {
			t.Fatalf("line %q: %v", lines.Text(), err)
		}
		records = append(records, record)
	}
	return records
}

// toolCommand runs a program of the Mac as a real process, with an empty
// environment as the agent does.
func toolCommand(mac Mac, path string, args ...string) *exec.Cmd {
	command := exec.Command(mac.Path(path), args...)
	command.Env = []string{}
	return command
}

// childProcess starts a VM's process as a child of the test and makes it the
// VM's process, so that the test can wait for its end.
func childProcess(t *testing.T, mac Mac, name string) *exec.Cmd {
	t.Helper()
	var child *exec.Cmd
	mustUpdate(t, mac, func(state *State) error {
		vm, err := findVM(state.VMs, name)
		if err != nil {
			return err
		}
		if err := mac.setVMState(state, vm, "running"); err != nil {
			return err
		}
		child = toolCommand(mac, vmAppPath, state.vmAppArguments(vm)...)
		if err := child.Start(); err != nil {
			return err
		}
		vm.PID = child.Process.Pid
		return nil
	})
	return child
}

func TestVMProcessEnds(t *testing.T) {
	t.Parallel()
	for name, finish := range map[string]func(*testing.T, Mac){
		"when the VM stops": func(t *testing.T, mac Mac) {
			if got := callAs(mac, "alice").run(t, "prlctl", "stop", "macOS"); got.code != 0 {
				t.Errorf("stop: %+v", got)
			}
		},
		"when the VM is suspended": func(t *testing.T, mac Mac) {
			if got := callAs(mac, "alice").run(t, "prlctl", "suspend", "macOS"); got.code != 0 {
				t.Errorf("suspend: %+v", got)
			}
		},
		"when the folder is removed": func(t *testing.T, mac Mac) {
			if err := os.RemoveAll(mac.Dir); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mac := newMac(t, standardMac())
			child := childProcess(t, mac, "macOS")
			finish(t, mac)
			// A process that was still starting when the folder went ends with 1.
			if err := child.Wait(); err != nil && !child.ProcessState.Exited() {
				t.Errorf("process ended with %v", err)
			}
		})
	}
}

func TestStartedVMHasAProcess(t *testing.T) {
	t.Parallel()
	wanted := standardMac()
	wanted.NoProcesses = false
	mac := newMac(t, wanted)
	state, err := mac.Load()
	if err != nil {
		t.Fatal(err)
	}
	running, err := findVM(state.ownedBy("alice"), "Windows 11")
	if err != nil {
		t.Fatal(err)
	}
	if running.PID == 0 || syscall.Kill(running.PID, 0) != nil {
		t.Errorf("no process %d", running.PID)
	}
	if got := callAs(mac, "alice").run(t, "prlctl", "pause", "Windows 11"); got.code != 0 {
		t.Errorf("pause: %+v", got)
	}
	after, err := mac.Load()
	if err != nil {
		t.Fatal(err)
	}
	if after.VMs[0].PID != running.PID {
		t.Errorf("a paused VM has process %d, had %d", after.VMs[0].PID, running.PID)
	}
}

// A hanging tool answers nothing until it is killed; with the stubborn fault it
// survives SIGTERM.
func TestHangingToolIsKilled(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		tool   []string
		faults []string
		want   string
	}{
		{"SIGTERM ends it", []string{appTools + "/prlctl", "list"}, []string{"hang=0"}, "signal: terminated"},
		{"a stubborn one goes on", []string{appTools + "/prlctl", "list"}, []string{"slow=50", "stubborn"}, ""},
		{"SIGTERM ends defaults", []string{"/usr/bin/defaults", "export", productDomain, "-"}, []string{"defaults_hangs"}, "signal: terminated"},
		{"SIGTERM ends an action that hangs", []string{appTools + "/prlctl", "start", "macOS"}, []string{"action_hangs=start"}, "signal: terminated"},
		{"SIGTERM ends an action that hangs when done", []string{appTools + "/prlctl", "start", "macOS"}, []string{"action_hangs_when_done=any"}, "signal: terminated"},
		{"SIGTERM ends a notification", []string{"/usr/bin/osascript", "-e", "x"}, []string{"notification_hangs"}, "signal: terminated"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			mac := newMac(t, standardMac())
			mustUpdate(t, mac, func(state *State) error {
				return errors.Join(state.setFault(test.faults[0], ""), state.setFault(test.faults[len(test.faults)-1], ""))
			})
			log := mac.markerPath("log")
			if err := syscall.Mkfifo(log, 0o644); err != nil {
				t.Fatal(err)
			}
			child := toolCommand(mac, "/usr/bin/sudo", append([]string{"-n", "-H", "-u", "#501"}, test.tool...)...)
			if err := child.Start(); err != nil {
				t.Fatal(err)
			}
			if _, err := os.ReadFile(log); err != nil { // returns when the tool has said that it blocks
				t.Fatal(err)
			}
			if err := child.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			if err := child.Wait(); fmt.Sprint(err) != test.want && (err != nil || test.want != "") {
				t.Errorf("ended with %v, want %q", err, test.want)
			}
			if done := strings.Contains(test.faults[0], "when_done"); done != (len(effectsOf(t, mac)) == 1) {
				t.Errorf("effects %v", effectsOf(t, mac))
			}
		})
	}
}

// A stopped program says nothing and does nothing, not even end on SIGTERM,
// until somebody lets it go on; other users' programs run.
func TestStoppedTool(t *testing.T) {
	t.Parallel()
	mac := newMac(t, standardMac())
	mustUpdate(t, mac, func(state *State) error { return state.setFault("stopped", "alice") })
	if _, err := toolCommand(mac, "/usr/bin/sudo", "-n", "-H", "-u", "#502", appTools+"/prlctl", "list").Output(); err != nil {
		t.Errorf("another user's tool: %v", err)
	}
	child := toolCommand(mac, "/usr/bin/sudo", "-n", "-H", "-u", "#501", appTools+"/prlctl", "list")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(child.Process.Pid, &status, syscall.WUNTRACED, nil); err != nil || !status.Stopped() {
		t.Errorf("status %v, %v", status, err)
	}
	if err := errors.Join(child.Process.Signal(syscall.SIGTERM), child.Process.Signal(syscall.SIGCONT)); err != nil {
		t.Error(err)
	}
	if err := child.Wait(); fmt.Sprint(err) != "signal: terminated" {
		t.Errorf("ended with %v", err)
	}
}

// Many tools at once: nothing is lost, and every reader sees a whole state.
func TestParallelUse(t *testing.T) {
	t.Parallel()
	wanted := standardMac()
	wanted.Empty = true
	mac := newMac(t, wanted)
	const workers, rounds = 4, 2
	prlctlAs := func(arguments ...string) ([]byte, error) {
		return toolCommand(mac, "/usr/bin/sudo", append([]string{"-n", "-H", "-u", "#501", appTools + "/prlctl"}, arguments...)...).Output()
	}
	var group sync.WaitGroup
	for worker := range workers {
		group.Go(func() {
			name := fmt.Sprintf("VM %d", worker)
			if err := mac.update(func(state *State) error {
				_, err := mac.createVM(state, newVMOptions{OS: "ubuntu", Owner: "alice", Name: name})
				return err
			}); err != nil {
				t.Error(err)
			}
			for range rounds {
				for _, action := range []string{"start", "suspend", "resume", "stop"} {
					if output, err := prlctlAs(action, name); err != nil {
						t.Errorf("%s %s: %v, %s", action, name, err, output)
					}
				}
				output, err := prlctlAs("list", "-a", "-i", "--json")
				if err != nil || !json.Valid(output) {
					t.Errorf("list: %v, %.200s", err, output)
				}
			}
		})
	}
	group.Wait()
	state, err := mac.Load()
	if err != nil || len(state.VMs) != workers {
		t.Fatalf("state %+v, %v", state, err)
	}
	ids := map[string]bool{}
	for _, vm := range state.VMs {
		ids[vm.ID] = true
		if vm.State != "stopped" {
			t.Errorf("%s is %s", vm.Name, vm.State)
		}
	}
	changes := 0
	for _, event := range readRecords[eventRecord](t, mac, "events") {
		if event.Name == "vm_state_changed" && slices.Contains([]string{"running", "suspended", "stopped"}, event.State) {
			changes++
		}
	}
	if len(ids) != workers || changes != workers*rounds*4 {
		t.Errorf("%d ids, %d state changes; want %d, %d", len(ids), changes, workers, workers*rounds*4)
	}
}

func TestMacIsFoundFromInside(t *testing.T) {
	t.Parallel()
	mac := newMac(t, standardMac())
	found, err := findMac(mac.Path("/Users/alice/Parallels"))
	if err != nil || found != mac {
		t.Errorf("found %v, %v", found, err)
	}
	if _, err := findMac(os.TempDir()); !errors.Is(err, errNoMac) {
		t.Errorf("outside: %v", err)
	}
	if got := mac.Path("/../../etc/passwd"); !strings.HasPrefix(got, mac.Dir+"/etc") {
		t.Errorf("path %s leaves the Mac", got)
	}
	if _, err := createMac(mac.Dir, os.Args[0], standardMac()); err == nil {
		t.Error("a Mac is created twice in one folder")
	}
}

// Only through `launchctl asuser` does a program run in a user's session; sudo
// inside of it stays there, and sudo alone does not enter it.
func TestSessionIsReachedThroughLaunchctl(t *testing.T) {
	t.Parallel()
	mac := macAssuming(t, "plain_sudo=stopped")
	list := []string{"-n", "-H", "-u", "#501", appTools + "/prlctl", "status", "Windows 11"}
	for name, test := range map[string]struct {
		command *exec.Cmd
		want    string
	}{
		"sudo alone":          {toolCommand(mac, "/usr/bin/sudo", list...), "stopped"},
		"in the session":      {toolCommand(mac, "/bin/launchctl", append([]string{"asuser", "501", "/usr/bin/sudo"}, list...)...), "running"},
		"without the account": {toolCommand(mac, "/bin/launchctl", append([]string{"asuser", "501"}, list[4:]...)...), "could not be found"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			output, err := test.command.CombinedOutput()
			if !strings.Contains(string(output), test.want) {
				t.Errorf("got %q, %v; want %q", output, err, test.want)
			}
		})
	}
}
