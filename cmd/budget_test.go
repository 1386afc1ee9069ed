package cmd_test

import (
	"debug/elf"
	"debug/gosym"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
)

// The figures of DESIGN 11 that only the programs as they ship can show. The
// sizes are a test like any other; the idle daemon takes its time and is a step
// of CI; the others depend on the machine:
//
//	go test ./cmd -run TestBudgetSize -targets linux/amd64,darwin/arm64,darwin/amd64 -v
//	go test ./cmd -run TestBudgetIdle -idle 20s -v [-peer PROGRAM]
//	go test ./cmd -run xxx -bench BenchmarkCommandLine
//	go test ./cmd -run xxx -bench BenchmarkTriggerToCheckin -benchtime 40x
var (
	idle    = flag.Duration("idle", 0, "measure the idle daemon for this long")
	peer    = flag.String("peer", "", "another agent, to be measured beside the idle daemon")
	targets = flag.String("targets", runtime.GOOS+"/"+runtime.GOARCH, "systems whose programs are weighed")
)

// maxProgram is the budget of a stripped program, in bytes: the 10 MB of DESIGN 11.
const maxProgram = 10 << 20

func TestBudgetSize(t *testing.T) {
	t.Parallel()
	for _, target := range strings.Split(*targets, ",") {
		t.Run(target, func(t *testing.T) {
			folder := programsFor(t, target)
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

// maxGenericSorts is how many types the daemon may sort by package slices. They
// are the standard library's own, strings and numbers. Each further type costs
// 12 kB (SortFunc) or 5 kB (SortStableFunc), more than all sorts by sort.Interface
// together: the packages of the daemon sort structs and pointers by that.
const maxGenericSorts = 13

func TestBudgetGenericSorts(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("reads ELF")
	}
	sorts := make(map[string]int)
	for _, function := range functionsOf(t, filepath.Join(programsAsShipped(t), "prlagentd")) {
		name, _, isInstance := strings.Cut(function, "[")
		if isInstance && slices.Contains([]string{"slices.pdqsortOrdered", "slices.pdqsortCmpFunc", "slices.stableCmpFunc"}, name) {
			sorts[name]++
		}
	}
	if count := sorts["slices.pdqsortOrdered"] + sorts["slices.pdqsortCmpFunc"] + sorts["slices.stableCmpFunc"]; count > maxGenericSorts || count == 0 {
		t.Errorf("the daemon has %d instances of generic sorts, at most %d: %v", count, maxGenericSorts, sorts)
	}
}

// functionsOf are the names of the functions of a program, which also a stripped
// one has.
func functionsOf(t *testing.T, program string) (names []string) {
	t.Helper()
	file, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines, err := file.Section(".gopclntab").Data()
	if err != nil {
		t.Fatal(err)
	}
	table, err := gosym.NewTable(nil, gosym.NewLineTable(lines, file.Section(".text").Addr))
	if err != nil {
		t.Fatal(err)
	}
	for _, function := range table.Funcs {
		names = append(names, function.Name)
	}
	return names
}

// programsFor gives the folder of the programs for a system; those for this one
// are there already.
func programsFor(t *testing.T, target string) string {
	if target == runtime.GOOS+"/"+runtime.GOARCH {
		return programsAsShipped(t)
	}
	folder := t.TempDir()
	if err := build(folder, target, "prlagentd", "prlagent"); err != nil {
		t.Fatal(err)
	}
	return folder
}

// TestBudgetIdle measures the daemon when everything that its start caused is
// over, with the portal there and nothing going on. All sources are on, at the
// default pace.
func TestBudgetIdle(t *testing.T) {
	if *idle == 0 {
		t.Skip("run with -idle 20s")
	}
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc")
	}
	surround(t, 100)
	for _, users := range []string{"alice,bob", "alice,bob,carol,dave,erin,frank,grace,heidi"} {
		count := 1 + strings.Count(users, ",")
		t.Run(fmt.Sprintf("%d users", count), func(t *testing.T) {
			t.Parallel() // they mostly wait
			site := newSite(t)
			runProgram(t, site.folder, "prlsim", "mac", "create", site.mac, "--users", users)
			runProgram(t, site.folder, "prlsim", "app", "launch", "--mac", site.mac)
			site.serve(t, map[string]any{"Debounce": 1.0}) // that of the first looks
			daemon, empty := site.start(t), startEmpty(t)
			if count == 2 { // one of it
				comparePeer(t)
			}
			waitUntil(t, func() bool { return site.status(t).Portal.Sequence > 0 })
			site.awaitQuiet(t, 8*time.Second)
			time.Sleep(settled)
			judgeIdle(t, daemon, empty, maxResident+int64(count-2)*maxStreamResident)
		})
	}
}

// settled is how old a process is that costs the watch of the process table
// little.
const settled = time.Minute

// The budget of an idle daemon (DESIGN 11), and what the test accepts. Memory
// and bytes are as they should be on any machine; two thirds of the memory is the
// program itself, all of which Linux keeps mapped where a Mac maps what is used. How
// often the daemon wakes and what it computes depends on what else the machine
// does, so the gates are wider than the budget, and one of a few windows is
// enough: others only add to it.
const (
	maxResident       = 15 << 20  // bytes, with two users
	maxStreamResident = 256 << 10 // bytes for each further one: a stream has two threads

	budgetWakeups = 1.0 // a second, above an empty program
	maxWakeups    = 2.0
	budgetIdleCPU = 15 * time.Millisecond // a minute
	maxIdleCPU    = 60 * time.Millisecond

	idleWindows = 6
)

// judgeIdle measures one window after the other until one is within the limits.
func judgeIdle(t *testing.T, daemon, empty int, resident int64) {
	t.Helper()
	var problems []string
	for range idleWindows {
		if problems = measureIdle(t, daemon, empty, resident); len(problems) == 0 {
			return
		}
		t.Logf("over the limit: %s", strings.Join(problems, "; "))
	}
	t.Errorf("no window was within the limits; the last: %s", strings.Join(problems, "; "))
}

func measureIdle(t *testing.T, daemon, empty int, resident int64) (problems []string) {
	t.Helper()
	emptyBefore, before := readUsage(t, empty), readUsage(t, daemon)
	time.Sleep(*idle)
	emptyAfter, after := readUsage(t, empty), readUsage(t, daemon)
	perSecond := float64(after.wakeups-before.wakeups-emptyAfter.wakeups+emptyBefore.wakeups) / idle.Seconds()
	cpu := time.Duration(float64(after.cpu-before.cpu) * float64(time.Minute) / float64(*idle))
	written := after.written - before.written
	var beside int64
	for _, child := range after.descendants {
		beside += child.rss
	}
	t.Logf("idle for %s: RSS %.1f MiB, CPU %.1f ms/min (budget %s), %.2f wake-ups/s above an empty program (budget %.0f), %d bytes written, %d threads, %d descriptors",
		*idle, mebibytes(after.rss), cpu.Seconds()*1000, budgetIdleCPU, perSecond, budgetWakeups, written, after.threads, after.descriptors)
	t.Logf("beside it: %d processes with RSS %.1f MiB; %d processes on the machine", len(after.descendants), mebibytes(beside), processes(t))
	limit := func(over bool, problem string, args ...any) {
		if over {
			problems = append(problems, fmt.Sprintf(problem, args...))
		}
	}
	limit(written != 0, "%d bytes written", written)
	limit(after.rss > resident, "%d bytes of resident memory, at most %d", after.rss, resident)
	limit(perSecond > maxWakeups, "%.2f wake-ups/s, at most %.0f", perSecond, maxWakeups)
	limit(cpu > maxIdleCPU, "%s of processor time a minute, at most %s", cpu, maxIdleCPU)
	return problems
}

// comparePeer starts the other agent, and tells at the end how it was all the while. It
// has no budget.
func comparePeer(t *testing.T) {
	t.Helper()
	if *peer == "" {
		return
	}
	pid, began := startProgram(t, "", *peer), time.Now()
	before := readUsage(t, pid)
	t.Cleanup(func() {
		after, minutes := readUsage(t, pid), time.Since(began).Minutes()
		t.Logf("%s: RSS %.1f MiB, CPU %.1f ms/min and %.2f wake-ups/s since its start", filepath.Base(*peer), mebibytes(after.rss),
			(after.cpu-before.cpu).Seconds()*1000/minutes, float64(after.wakeups-before.wakeups)/minutes/60)
	})
}

func mebibytes(bytes int64) float64 { return float64(bytes) / (1 << 20) }

// surround makes sure that the machine has that many processes.
func surround(t *testing.T, count int) {
	t.Helper()
	for range count - processes(t) {
		stranger := exec.Command("/bin/sleep", "3600")
		if err := stranger.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = stranger.Process.Kill()
			_ = stranger.Wait()
		})
	}
}

// startEmpty starts a program that does nothing, in Go.
func startEmpty(t *testing.T) int {
	t.Helper()
	folder := t.TempDir()
	source := filepath.Join(folder, "main.go")
	if err := os.WriteFile(source, []byte("package main\nimport \"time\"\nfunc main() { time.Sleep(time.Hour) }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if output, err := exec.Command("go", "build", "-o", filepath.Join(folder, "empty"), source).CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, output)
	}
	pid := startProgram(t, folder, "empty")
	time.Sleep(time.Second) // its start is no idleness
	return pid
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

// BenchmarkCommandLine times the programs as a user runs them, offline: with
// no daemon, status answers from the snapshot.
func BenchmarkCommandLine(b *testing.B) {
	folder, mac := programsAsShipped(b), filepath.Join(b.TempDir(), "mac")
	runProgram(b, folder, "prlsim", "mac", "create", mac, "--no-processes")
	for _, args := range [][]string{{"version"}, {"status", "--root", mac}, {"doctor", "--root", mac}} {
		b.Run(args[0], func(b *testing.B) {
			for b.Loop() {
				_ = exec.Command(filepath.Join(folder, "prlagent"), args...).Run() // without a daemon: exit code 3
			}
		})
	}
}

// TestBudgetToolRuns counts the runs of the vendor's tool that a start of the
// daemon and a change of one virtual machine cost with two users whose streams
// run: a look is one list for each user, and one more run for each machine that
// is new or changed. The start is one look, one that follows the streams'
// start, and one that follows the first event, which that look's echo is; of the
// change it is one, and the list itself has the state. A hint that just misses a look (the machine's process,
// another echo) may cost one more.
func TestBudgetToolRuns(t *testing.T) {
	t.Parallel()
	needProcesses(t)
	if testing.Short() {
		t.Skip("counts, and nothing races")
	}
	const users, machines, slackLooks = 2, 5, 1
	site := newSite(t)
	runProgram(t, site.folder, "prlsim", "mac", "create", site.mac)
	site.serve(t, map[string]any{
		"Debounce": 1.0, "EchoWait": 0.3, "Splay": 0.0, "MinimumGap": 0.0, "BucketSize": 1000000, "Poll": 0.2,
	})
	site.start(t)
	site.sim(t, "event", "await")
	site.awaitQuiet(t, 5*time.Second)
	begun := site.status(t)
	t.Logf("the start: %d passes, tool runs %v", begun.Pass.Number, begun.ToolRuns)
	most := (3+slackLooks)*users + machines + users + slackLooks // and a stream each; one more look has a machine read again
	if int(begun.ToolRuns["prlctl"]) > most {
		t.Errorf("%d runs of prlctl, at most %d", begun.ToolRuns["prlctl"], most)
	}
	for _, action := range []string{"start", "stop"} {
		before := site.status(t)
		site.sim(t, "vm", action, "macOS")
		site.awaitQuiet(t, 5*time.Second)
		after := site.status(t)
		runs := after.ToolRuns["prlctl"] - before.ToolRuns["prlctl"]
		t.Logf("vm %s: %d passes, %d runs of prlctl, %d of the helper", action, after.Pass.Number-before.Pass.Number,
			runs, after.ToolRuns["prlagentd"]-before.ToolRuns["prlagentd"])
		if most := uint64((1+slackLooks)*users + 1); runs > most || runs < users {
			t.Errorf("%d runs of prlctl for one change, want %d to %d", runs, users, most)
		}
	}
}

// BenchmarkTriggerToCheckin measures how long the agent itself takes from an
// event to the end of the check-in that tells it: from when prlsim has told the
// event and ended, to when the daemon notes the end of the pass, which is after
// the portal's answer. Two waits that are not the agent's own are taken off: the
// debounce, and the pass's first step, observe, which is the wait for the tools,
// one after the other. What is left is the way of the event through terminal,
// parser and loop, the rest of the pass, and the exchange with a portal on the
// same machine. The event is told a little before prlsim has ended, which is
// time that is not seen: observed/op is the whole, for comparison.
func BenchmarkTriggerToCheckin(b *testing.B) {
	site := newSite(b)
	runProgram(b, site.folder, "prlsim", "mac", "create", site.mac)
	const debounce = 100 * time.Millisecond
	site.serve(b, map[string]any{
		"Debounce": debounce.Seconds(), "EchoWait": 0.05, "Splay": 0.0, "MinimumGap": 0.0, "BucketSize": 1000000,
		"Poll": 600.0, "Tick": 600.0, // no other source adds to what is measured
	})
	site.start(b)
	waitUntil(b, func() bool { return site.status(b).Portal.Sequence > 0 })
	site.sim(b, "event", "await")
	site.awaitQuiet(b, 4*time.Second)
	var beyond, whole []time.Duration
	for i := 0; b.Loop(); i++ {
		before := site.status(b).Pass.Number
		action := []string{"start", "stop"}[i%2]
		site.sim(b, "vm", action, "macOS")
		told := time.Now()
		pass := site.awaitTold(b, before, []string{"vm_started", "vm_shutdown"}[i%2])
		took := pass.EndedAt.Sub(told)
		whole = append(whole, took)
		beyond = append(beyond, took-debounce-time.Duration(pass.Steps[0].Millis)*time.Millisecond)
		time.Sleep(500 * time.Millisecond) // the echo of the look has been looked into
	}
	b.ReportMetric(milliseconds(median(beyond)), "ms/beyond")
	b.ReportMetric(milliseconds(slices.Max(beyond)), "ms/beyond-max")
	b.ReportMetric(milliseconds(median(whole)), "ms/observed")
	b.ReportMetric(0, "ns/op") // the waits between two rounds mean nothing
}

// awaitTold gives the first pass after a number that has told the reason.
func (s *site) awaitTold(t testing.TB, after uint64, reason string) localapi.Pass {
	t.Helper()
	var told localapi.Pass
	waitUntil(t, func() bool {
		pass := s.status(t).Pass
		if pass == nil || pass.Number <= after {
			return false
		}
		told = *pass
		return slices.ContainsFunc(pass.Triggers, func(found protocol.Trigger) bool { return found.Reason == reason })
	})
	return told
}

func median(all []time.Duration) time.Duration {
	return slices.Sorted(slices.Values(all))[len(all)/2]
}

func milliseconds(d time.Duration) float64 { return d.Seconds() * 1000 }
