package cmd_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The figures of DESIGN 11 that only the programs as they ship can show. The
// sizes are a test like any other; the others take their time and depend on
// the machine:
//
//	go test ./cmd -run TestBudgetSize -targets linux/amd64,darwin/arm64,darwin/amd64 -v
//	go test ./cmd -run TestBudgetIdle -idle 60s -v
//	go test ./cmd -run xxx -bench BenchmarkCommandLine
var (
	idle    = flag.Duration("idle", 0, "measure the idle daemon for this long")
	targets = flag.String("targets", runtime.GOOS+"/"+runtime.GOARCH, "systems whose programs are weighed")
)

// maxProgram is the budget of a stripped program, in bytes.
const maxProgram = 10 << 20

func TestBudgetSize(t *testing.T) {
	t.Parallel()
	for _, target := range strings.Split(*targets, ",") {
		t.Run(target, func(t *testing.T) {
			folder := t.TempDir()
			buildStripped(t, folder, target, "prlagentd", "prlagent")
			for _, program := range []string{"prlagentd", "prlagent"} {
				info, err := os.Stat(filepath.Join(folder, program))
				if err != nil {
					t.Fatal(err)
				}
				t.Logf("%s %s: %.1f MB", program, target, float64(info.Size())/1e6)
				if info.Size() > maxProgram {
					t.Errorf("%s for %s has %d bytes, at most %d", program, target, info.Size(), maxProgram)
				}
			}
		})
	}
}

func buildStripped(t testing.TB, folder, target string, programs ...string) {
	t.Helper()
	system, arch, _ := strings.Cut(target, "/")
	args := []string{"build", "-trimpath", "-ldflags=-s -w", "-o", folder + "/"}
	for _, program := range programs {
		args = append(args, module+"/cmd/"+program)
	}
	command := exec.Command("go", args...)
	command.Env = append(os.Environ(), "GOOS="+system, "GOARCH="+arch, "CGO_ENABLED=0")
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, output)
	}
}

// usage is what the kernel says of a process.
type usage struct {
	rss      int64 // bytes
	cpu      time.Duration
	wakeups  int64 // voluntary context switches of all threads
	written  int64 // bytes
	children int
}

// TestBudgetIdle measures the daemon after its first check-in, with the
// portal there and nothing going on.
func TestBudgetIdle(t *testing.T) {
	if *idle == 0 {
		t.Skip("run with -idle 60s")
	}
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc")
	}
	folder := t.TempDir()
	buildStripped(t, folder, runtime.GOOS+"/"+runtime.GOARCH, "prlagentd", "prlagent", "prlportal", "prlsim")
	mac := filepath.Join(folder, "mac")
	runProgram(t, folder, "prlsim", "mac", "create", mac)
	runProgram(t, folder, "prlportal", "init", filepath.Join(folder, "site"))
	ready := filepath.Join(folder, "url")
	startProgram(t, folder, "prlportal", "serve", "--dir", filepath.Join(folder, "site"), "--listen", "127.0.0.1:0", "--ready-file", ready)
	waitUntil(t, func() bool { data, err := os.ReadFile(ready); return err == nil && len(data) > 0 })
	url, _ := os.ReadFile(ready)
	runProgram(t, folder, "prlportal", "profile", "--dir", filepath.Join(folder, "site"), "--url", strings.TrimSpace(string(url)),
		"--format", "plist", "-o", filepath.Join(mac, "Library/Managed Preferences/org.prlagent.agent.plist"))
	pid := startProgram(t, folder, "prlagentd", "run", "--root", mac)
	waitUntil(t, func() bool { return enrolled(folder, mac) })
	time.Sleep(2 * time.Second) // let the first pass's garbage go
	before := readUsage(t, pid)
	time.Sleep(*idle)
	after := readUsage(t, pid)
	perSecond := float64(after.wakeups-before.wakeups) / idle.Seconds()
	t.Logf("idle for %s: RSS %.1f MiB, CPU %s, %.2f wake-ups/s, %d bytes written, %d children, %d processes on the machine",
		*idle, float64(after.rss)/(1<<20), after.cpu-before.cpu, perSecond, after.written-before.written, after.children, processes(t))
	if after.written != before.written {
		t.Errorf("an idle daemon wrote %d bytes", after.written-before.written)
	}
	if after.rss > 15<<20 {
		t.Errorf("resident memory is %d bytes, at most 15 MiB", after.rss)
	}
}

func runProgram(t testing.TB, folder, program string, args ...string) {
	t.Helper()
	if output, err := exec.Command(filepath.Join(folder, program), args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", program, args, err, output)
	}
}

func startProgram(t testing.TB, folder, program string, args ...string) int {
	t.Helper()
	command := exec.Command(filepath.Join(folder, program), args...)
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Signal(syscall.SIGTERM)
		_ = command.Wait()
	})
	return command.Process.Pid
}

func waitUntil(t testing.TB, ready func() bool) {
	t.Helper()
	for range 1000 {
		if ready() {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("what was waited for did not happen")
}

func enrolled(folder, mac string) bool {
	output, err := exec.Command(filepath.Join(folder, "prlagent"), "status", "--json", "--root", mac).Output()
	if err != nil {
		return false
	}
	var status struct {
		Portal struct{ Sequence uint64 }
	}
	return json.Unmarshal(output, &status) == nil && status.Portal.Sequence > 0
}

// readUsage reads proc(5): stat, status and io of the process and its threads.
func readUsage(t *testing.T, pid int) usage {
	t.Helper()
	var u usage
	stat := strings.Fields(string(readProc(t, pid, "stat")))
	const ticksPerSecond = 100 // USER_HZ on every Linux that Go runs on
	ticks := number(t, stat[13]) + number(t, stat[14])
	u.cpu = time.Duration(ticks) * time.Second / ticksPerSecond
	u.rss = field(t, readProc(t, pid, "status"), "VmRSS:") << 10
	u.written = field(t, readProc(t, pid, "io"), "write_bytes:")
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, thread := range threads {
		data, err := os.ReadFile(thread)
		if err == nil {
			u.wakeups += field(t, data, "voluntary_ctxt_switches:")
		}
	}
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	u.children = len(strings.Fields(string(children)))
	return u
}

func readProc(t *testing.T, pid int, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func field(t *testing.T, data []byte, name string) int64 {
	t.Helper()
	for line := range strings.Lines(string(data)) {
		if value, found := strings.CutPrefix(line, name); found {
			return number(t, strings.Fields(value)[0])
		}
	}
	t.Fatalf("no %s", name)
	return 0
}

func number(t *testing.T, text string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func processes(t *testing.T) int {
	t.Helper()
	found, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	return len(found)
}

// BenchmarkCommandLine times the programs as a user runs them, offline: with
// no daemon, status answers from the snapshot.
func BenchmarkCommandLine(b *testing.B) {
	folder := b.TempDir()
	buildStripped(b, folder, runtime.GOOS+"/"+runtime.GOARCH, "prlagent", "prlsim")
	mac := filepath.Join(folder, "mac")
	runProgram(b, folder, "prlsim", "mac", "create", mac, "--no-processes")
	for _, args := range [][]string{{"version"}, {"status", "--root", mac}, {"doctor", "--root", mac}} {
		b.Run(args[0], func(b *testing.B) {
			for b.Loop() {
				_ = exec.Command(filepath.Join(folder, "prlagent"), args...).Run() // without a daemon: exit code 3
			}
		})
	}
}
