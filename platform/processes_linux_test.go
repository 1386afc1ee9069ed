package platform

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// vmAppRole lets the test binary play a process of the simulated Mac: named
// prl_vm_app it says that it is there and lives until its input ends.
func vmAppRole() {
	if filepath.Base(os.Args[0]) == "prl_vm_app" {
		_, _ = os.Stdout.WriteString("there\n")
		_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
		syscall.Exit(0) // os.Exit waits a second in a program built with -race
	}
}

// startVMApp starts a VM's process on the simulated Mac below root.
func startVMApp(t *testing.T, root string) (pid int) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(root, vmAppPath)
	errorsAreFatal(t, os.MkdirAll(filepath.Dir(path), 0o755), os.Symlink(self, path))
	command := exec.Command(path, "--vm-name", "Windows 11")
	input, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	errorsAreFatal(t, command.Start())
	t.Cleanup(func() {
		_ = input.Close()
		if err := command.Wait(); err != nil {
			t.Errorf("end the process: %v", err)
		}
	})
	if _, err := bufio.NewReader(output).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	return command.Process.Pid
}

func TestProcessesOfASimulatedMac(t *testing.T) {
	t.Parallel()
	root, otherRoot := t.TempDir(), t.TempDir()
	before := time.Now().Add(-time.Minute)
	pid := startVMApp(t, root)
	startVMApp(t, otherRoot)

	processes, err := New(root, nil).Processes(t.Context())
	if err != nil || len(processes) != 1 {
		t.Fatalf("got %+v, %v; want one process", processes, err)
	}
	started := processes[0].Started
	if started.Before(before) || started.After(time.Now().Add(time.Minute)) {
		t.Errorf("started at %s", started)
	}
	processes[0].Started = time.Time{}
	want := Process{
		PID: pid, UID: uint32(os.Geteuid()), Name: "prl_vm_app", Path: vmAppPath, Args: []string{"--vm-name", "Windows 11"},
	}
	if diff := cmp.Diff(want, processes[0]); diff != "" {
		t.Errorf("process (-want +got):\n%s", diff)
	}
}

func TestProcessesOfThisMachine(t *testing.T) {
	t.Parallel()
	pid := startVMApp(t, t.TempDir())
	processes, err := New("", nil).Processes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	with := func(pid int) Process {
		index := slices.IndexFunc(processes, func(p Process) bool { return p.PID == pid })
		if index < 0 {
			t.Fatalf("process %d is not in the table", pid)
		}
		return processes[index]
	}
	if self := with(os.Getpid()); self.Path != "" || self.UID != uint32(os.Geteuid()) || self.Name == "" {
		t.Errorf("this very process: %+v", self)
	}
	if vm := with(pid); vm.Name != "prl_vm_app" || !slices.Equal(vm.Args, []string{"--vm-name", "Windows 11"}) {
		t.Errorf("the VM's process: %+v", vm)
	}
}

func TestParseProcessStat(t *testing.T) {
	t.Parallel()
	const tail = " S 1 42 42 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 1 0 250 1000 10"
	booted := time.Unix(1_000_000, 0)
	cases := map[string]struct {
		line string
		want Process
		bad  bool
	}{
		"usual":                    {line: "42 (sleep)" + tail, want: Process{PID: 42, Name: "sleep", Started: booted.Add(2500 * time.Millisecond)}},
		"name with parentheses":    {line: "42 (a) S 1 (b)" + tail, want: Process{PID: 42, Name: "a) S 1 (b", Started: booted.Add(2500 * time.Millisecond)}},
		"name is missing":          {line: "42" + tail, bad: true},
		"parentheses are reversed": {line: "42 )sleep(" + tail, bad: true},
		"id is no number":          {line: "x (sleep)" + tail, bad: true},
		"cut short":                {line: "42 (sleep) S 1 42", bad: true},
		"start is no number":       {line: "42 (sleep) S 1 42 42 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 1 0 x 1000 10", bad: true},
		"nothing":                  {line: "", bad: true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			process, err := parseProcessStat([]byte(c.line), booted)
			if (err != nil) != c.bad {
				t.Errorf("got error %v", err)
			}
			if diff := cmp.Diff(c.want, process); diff != "" {
				t.Errorf("process (-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzParseProcessStat(f *testing.F) {
	f.Add([]byte("42 (sleep) S 1 42 42 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 1 0 250 1000 10"))
	f.Add([]byte("1 ()) R"))
	f.Fuzz(func(t *testing.T, line []byte) {
		process, err := parseProcessStat(line, time.Unix(0, 0))
		if err != nil && process.Name != "" {
			t.Errorf("got %+v beside %v", process, err)
		}
	})
}
