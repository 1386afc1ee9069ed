package sim

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// startStandIn runs the test binary as an agent.
func startStandIn(t *testing.T, environment []string, arguments ...string) int {
	t.Helper()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), agentProgram)
	if err := os.Symlink(executable, program); err != nil {
		t.Fatal(err)
	}
	command := exec.Command(program, arguments...)
	command.Env = environment
	input, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = input.Close()
		_ = command.Process.Signal(syscall.SIGCONT)
		_ = command.Wait()
	})
	if line, err := bufio.NewReader(output).ReadString('\n'); err != nil || line != "there\n" {
		t.Fatalf("stand-in said %q, %v", line, err)
	}
	return command.Process.Pid
}

// isStopped reports whether the kernel shows the process as stopped.
func isStopped(t *testing.T, pid int) bool {
	t.Helper()
	folder := "/proc/" + strconv.Itoa(pid)
	line, err := os.ReadFile(folder + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(line[strings.LastIndexByte(string(line), ')')+1:]))[0] == "T"
}

// While the Mac sleeps its processes and its agents are stopped, those of others
// are not; then they go on.
func TestSleep(t *testing.T) {
	t.Parallel()
	mac, other := macWithProcesses(t), newMac(t, standardMac())
	state := mustLoad(t, mac)
	ours := []int{
		state.Service.PID, state.VMs[0].PID,
		startStandIn(t, nil, "run", "--root", mac.Dir), startStandIn(t, nil, "run", "--root="+mac.Dir),
		startStandIn(t, []string{agentRootVariable + "=" + mac.Dir}, "run"),
	}
	others := []int{
		os.Getpid(), startStandIn(t, nil, "run"), startStandIn(t, nil, "run", "--root", other.Dir),
		startStandIn(t, []string{agentRootVariable + "=" + mac.Dir}, "run", "--root", other.Dir),
	}
	ctx, wake := context.WithCancel(context.Background())
	defer wake()
	slept := make(chan int)
	go func() {
		count, err := mac.sleepFor(ctx, time.Hour)
		if err != nil {
			t.Error(err)
		}
		slept <- count
	}()
	all := func(pids []int, want bool) bool {
		return !slices.ContainsFunc(pids, func(pid int) bool { return isStopped(t, pid) != want })
	}
	awaitTrue(t, "they sleep", func() bool { return all(ours, true) })
	if !all(others, false) {
		t.Error("others sleep, too")
	}
	wake()
	if count := <-slept; count != len(ours) {
		t.Errorf("%d processes slept, want %d", count, len(ours))
	}
	awaitTrue(t, "they are awake", func() bool { return all(ours, false) })
}
