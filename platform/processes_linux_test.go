package platform

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// vmAppRole lets the test binary play a process of the simulated Mac: named
// prl_vm_app it says that it is there and lives until its input ends. With
// becomeWord it executes another program, named by the next argument, when it is
// told a line.
func vmAppRole() {
	become := len(os.Args) == 3 && os.Args[1] == becomeWord
	if !become && filepath.Base(os.Args[0]) != "prl_vm_app" {
		return
	}
	_, _ = os.Stdout.WriteString("there\n")
	_, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if become && err == nil {
		_ = syscall.Exec(os.Args[2], []string{os.Args[2], "--uuid", vmID}, nil)
	}
	syscall.Exit(0) // os.Exit waits a second in a program built with -race
}

const (
	becomeWord = "become"
	vmID       = "{5fbaabe3-0000-4000-8000-000000000001}"
)

// actor is a process of a simulated Mac that the test binary plays.
type actor struct {
	pid    int
	input  io.WriteCloser
	output *bufio.Reader
	end    func() // may be called again
}

// startActor starts the program at a Mac path below root, and waits until it is
// there.
func startActor(t *testing.T, root, macPath string, args ...string) actor {
	t.Helper()
	path := placeSelf(t, root, macPath)
	command := exec.Command(path, args...)
	input, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	errorsAreFatal(t, command.Start())
	played := actor{command.Process.Pid, input, bufio.NewReader(output), sync.OnceFunc(func() {
		_ = input.Close()
		if err := command.Wait(); err != nil {
			t.Errorf("end the process: %v", err)
		}
	})}
	t.Cleanup(played.end)
	played.waitUntilThere(t)
	return played
}

func (a actor) waitUntilThere(t *testing.T) {
	t.Helper()
	if _, err := a.output.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
}

// placeSelf puts the test binary at a Mac path below root.
func placeSelf(t *testing.T, root, macPath string) (path string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(root, macPath)
	errorsAreFatal(t, os.MkdirAll(filepath.Dir(path), 0o755), os.Symlink(self, path))
	return path
}

func startVMApp(t *testing.T, root string) actor {
	t.Helper()
	return startActor(t, root, vmAppPath, "--vm-name", "Windows 11", "--uuid", vmID, "--dir-uuid", "{2}")
}

func TestProcessesOfASimulatedMac(t *testing.T) {
	t.Parallel()
	root, otherRoot := t.TempDir(), t.TempDir()
	before := time.Now().Add(-time.Minute)
	vm := startVMApp(t, root)
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
		PID: vm.pid, UID: uint32(os.Geteuid()), Name: "prl_vm_app", Path: vmAppPath, Arguments: VMArguments{VMID: vmID, DirectoryID: "{2}"},
	}
	if diff := cmp.Diff(want, processes[0]); diff != "" {
		t.Errorf("process (-want +got):\n%s", diff)
	}
}

func TestProcessesOfThisMachine(t *testing.T) {
	t.Parallel()
	vm := startVMApp(t, t.TempDir())
	machine := New("", nil)
	found := processWith(t, machine, vm.pid)
	if found.Name != "prl_vm_app" || found.Path == "" || found.Arguments != (VMArguments{}) { // its folder is not the bundle (H61)
		t.Errorf("the VM's process: %+v", found)
	}
	if self := processWith(t, machine, os.Getpid()); self.PID != 0 {
		t.Errorf("this very process has no vendor's name: %+v", self)
	}
}

// processWith gives the process with the id, or nothing.
func processWith(t *testing.T, machine *Machine, pid int) Process {
	t.Helper()
	processes, err := machine.Processes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(processes, func(p Process) bool { return p.PID == pid })
	if at < 0 {
		return Process{}
	}
	return processes[at]
}

// A process that executes another program keeps its id and its start time.
func TestProcessThatExecutesAVendorProgramIsNoticed(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		launcher string
		settled  time.Duration // how old a process is to be read less often
		calls    int           // that may be needed
	}{
		"young":                       {launcher: "/usr/bin/sudo", calls: 1},
		"settled":                     {launcher: "/usr/bin/sudo", settled: 1, calls: rereadRotation},
		"with a vendor's name before": {launcher: "/opt/prl_vm_app", settled: 1, calls: 1},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			launcher := startActor(t, root, c.launcher, becomeWord, placeSelf(t, root, vmAppPath))
			machine := New(root, nil)
			machine.processes.settled = c.settled
			if before := processWith(t, machine, launcher.pid); before.Path == vmAppPath {
				t.Fatalf("it is no VM yet: %+v", before)
			}
			before := machine.processes.known[launcher.pid]
			if _, err := io.WriteString(launcher.input, "now\n"); err != nil {
				t.Fatal(err)
			}
			launcher.waitUntilThere(t)

			var after Process
			for range c.calls {
				if after = processWith(t, machine, launcher.pid); after.PID != 0 {
					break
				}
			}
			if after.Path != vmAppPath || after.Arguments.VMID != vmID {
				t.Errorf("got %+v after %d calls", after, c.calls)
			}
			if now := machine.processes.known[launcher.pid]; now.inode != before.inode || now.started != before.started {
				t.Errorf("the test is about one process: %+v, then %+v", before, now)
			}
		})
	}
}

// The id of a process that was somebody else's is used again.
func TestProcessWithAnIDThatIsUsedAgainIsNoticedAtOnce(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	vm := startVMApp(t, root)
	machine := New(root, nil)
	machine.processes.settled = 1
	processWith(t, machine, 0)
	was := machine.processes.known[vm.pid]
	for range rereadRotation {
		machine.processes.known[vm.pid] = knownProcess{inode: was.inode + 1, started: 1}
		if found := processWith(t, machine, vm.pid); found.Path != vmAppPath {
			t.Errorf("got %+v", found)
		}
	}
}

func TestProcessKeepsItsStartAndIsForgottenAtItsEnd(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	vm := startVMApp(t, root)
	machine := New(root, nil)
	first, second := processWith(t, machine, vm.pid), processWith(t, machine, vm.pid)
	if diff := cmp.Diff(first, second); diff != "" || first.Started.IsZero() {
		t.Errorf("two calls (-first +second):\n%s", diff)
	}
	vm.end()
	if left := processWith(t, machine, vm.pid); left.PID != 0 {
		t.Errorf("it has ended: %+v", left)
	}
	if _, known := machine.processes.known[vm.pid]; known {
		t.Error("it is still remembered")
	}
	for program := range machine.processes.programs.known {
		if program.pid == vm.pid {
			t.Errorf("its program is still remembered: %+v", program)
		}
	}
}

// What has ended is no process, though its parent has not waited for it, and is
// not read again.
func TestProcessThatEndedIsGoneBeforeItsParentWaits(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	program := exec.Command(placeSelf(t, root, vmAppPath))
	program.Args[0] = filepath.Join(root, vmAppPath)
	machine := New(root, nil)
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = program.Wait() })
	if err := program.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	var info unix.Siginfo
	if err := unix.Waitid(unix.P_PID, program.Process.Pid, &info, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	if found := processWith(t, machine, program.Process.Pid); found.PID != 0 {
		t.Errorf("got %+v", found)
	}
	if seen := machine.processes.known[program.Process.Pid]; seen.vendor || !seen.neverExecs {
		t.Errorf("it would be read again: %+v", seen)
	}
}

// startStrangers starts processes that have nothing to do with the vendor.
func startStrangers(t testing.TB, count int) {
	t.Helper()
	for range count {
		stranger := exec.Command("/bin/sleep", "600")
		if err := stranger.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = stranger.Process.Kill()
			_ = stranger.Wait()
		})
	}
}

// settledMachine has seen all processes, which all count as settled.
func settledMachine(t testing.TB) *Machine {
	t.Helper()
	machine := New(t.TempDir(), nil)
	machine.processes.settled = 1
	if _, err := machine.Processes(t.Context()); err != nil {
		t.Fatal(err)
	}
	return machine
}

// Strangers are listed without an allocation; to read the part of them whose
// turn it is takes a small one each. The vendor's, of which other simulated Macs
// may have some at the same time, are described at each call.
func TestRepeatedProcessesAllocateLittle(t *testing.T) {
	const strangers = 100
	startStrangers(t, strangers)
	machine := settledMachine(t)
	allocations := testing.AllocsPerRun(10*rereadRotation, func() {
		if _, err := machine.Processes(t.Context()); err != nil {
			t.Error(err)
		}
	})
	known, vendors := len(machine.processes.known), 0
	for _, seen := range machine.processes.known {
		if seen.vendor {
			vendors++
		}
	}
	if limit := float64(known/rereadRotation + 16 + 10*vendors); known < strangers || allocations > limit {
		t.Errorf("%.0f allocations a call with %d processes, want at most %.0f", allocations, known, limit)
	}
}

func BenchmarkRepeatedProcesses(b *testing.B) {
	startStrangers(b, 100)
	machine := settledMachine(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := machine.Processes(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(machine.processes.known)), "processes")
}

// A user starts programs that are called like the vendor's, with as much of
// arguments as the kernel takes, also the vendor's own program. What that costs
// the daemon does not grow with the arguments.
func TestH61_HugeArgumentsOfManyProcesses(t *testing.T) {
	root := t.TempDir()
	var huge []string
	for range 18 {
		huge = append(huge, strings.Repeat("x", 100_000))
	}
	const processes = 20
	for i := range processes {
		folder := fmt.Sprintf("/Users/alice/%d", i)
		if i%2 == 0 {
			folder = fmt.Sprintf("%s/%d", VendorBundle, i)
		}
		startActor(t, root, folder+"/prl_vm_app", append([]string{"--uuid", vmID}, huge...)...)
	}
	machine := New(root, nil)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	found, err := machine.Processes(t.Context())
	runtime.ReadMemStats(&after)
	ours := 0
	for _, process := range found {
		want := VMArguments{}
		if isInside(process.Path, VendorBundle) {
			ours++
			want.VMID = vmID
		}
		if process.Arguments != want {
			t.Errorf("%s: %+v", process.Path, process.Arguments)
		}
	}
	if err != nil || len(found) != processes || ours != processes/2 {
		t.Errorf("%d processes, %d in the bundle, %v", len(found), ours, err)
	}
	const limit = 1 << 20
	if cost := after.TotalAlloc - before.TotalAlloc; cost > limit {
		t.Errorf("%d processes with %d bytes of arguments each cost %d bytes, want at most %d", processes, 18*100_000, cost, limit)
	}
}

func TestParseProcessStatus(t *testing.T) {
	t.Parallel()
	const tail = " S 1 42 42 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 1 0 250 1000 10"
	const newTail = tail + " 18446744073709551615 1 1 0 0 0 0 0 4096 1256 0 0 0 17 1 0 0 0 0 0 7 8 9 140736 11 12 13 0"
	type fields struct {
		PID     int
		Name    string
		Kernel  bool
		Ended   bool
		Started int64
		Place   uint64
	}
	cases := map[string]struct {
		line string
		want fields
		bad  bool
	}{
		"usual":                    {line: "42 (sleep)" + newTail, want: fields{42, "sleep", false, false, 250, 140736}},
		"old kernel":               {line: "42 (sleep)" + tail, want: fields{42, "sleep", false, false, 250, 0}},
		"kernel thread":            {line: "2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 3 0 0", want: fields{2, "kthreadd", true, false, 3, 0}},
		"not waited for":           {line: "42 (sleep) Z 1 42 42 0 -1 4194560 0 0 0 0 1 2 0 0 20 0 1 0 250 0 0", want: fields{42, "sleep", false, true, 250, 0}},
		"dead":                     {line: "42 (sleep) X 1 42 42 0 -1 4194560 0 0 0 0 1 2 0 0 20 0 1 0 250 0 0", want: fields{42, "sleep", false, true, 250, 0}},
		"name with parentheses":    {line: "42 (a) S 1 (b)" + tail, want: fields{42, "a) S 1 (b", false, false, 250, 0}},
		"name is missing":          {line: "42" + tail, bad: true},
		"parentheses are reversed": {line: "42 )sleep(" + tail, bad: true},
		"id is no number":          {line: "x (sleep)" + tail, bad: true},
		"cut short":                {line: "42 (sleep) S 1 42", bad: true},
		"flags are no number":      {line: "42 (sleep) S 1 42 42 0 -1 x", bad: true},
		"start is no number":       {line: "42 (sleep) S 1 42 42 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 1 0 x 1000 10", bad: true},
		"nothing":                  {line: "", bad: true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			status, err := parseProcessStatus([]byte(c.line))
			if (err != nil) != c.bad {
				t.Errorf("got error %v", err)
			}
			got := fields{status.pid, string(status.name), status.kernel, status.ended, status.started, status.argsAddress}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("status (-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzParseProcessStatus(f *testing.F) {
	f.Add([]byte("42 (sleep) S 1 42 42 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 1 0 250 1000 10"))
	f.Add([]byte("1 ()) R"))
	f.Fuzz(func(t *testing.T, line []byte) {
		status, err := parseProcessStatus(line)
		if err != nil && status.name != nil {
			t.Errorf("got %+v beside %v", status, err)
		}
	})
}
