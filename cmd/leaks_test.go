package cmd_test

import (
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// quick is a pace at which streams come back at once, in seconds.
var quick = map[string]any{
	"Debounce": 0.1, "EchoWait": 0.1, "Splay": 0.0, "MinimumGap": 0.0, "BucketSize": 1000000,
	"Poll": 0.05, "StreamRetry": 0.05, "StreamRetryCap": 0.1,
}

// slackThreads is how many threads a Go program may keep beyond those that it
// had: it gives none back, and how many it needs at once is up to the kernel.
const slackThreads = 8

// TestNothingIsLeftOfStreamsThatEnded restarts the service and kills the
// streams again and again. Then the daemon has no more children and descriptors
// than it had, and no zombie. Threads have a slack.
func TestNothingIsLeftOfStreamsThatEnded(t *testing.T) {
	t.Parallel()
	needProcesses(t)
	site := newSite(t)
	site.watch(t)
	daemon := site.start(t)
	site.sim(t, "event", "await")
	before := site.atRest(t, daemon)
	for range 20 {
		site.sim(t, "service", "restart")
		site.sim(t, "event", "await")
	}
	for range 50 {
		stream := awaitStreams(t, daemon, 1)[0]
		if err := syscall.Kill(stream.pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		waitUntil(t, func() bool {
			return !slices.ContainsFunc(streams(daemon), func(d descendant) bool { return d.pid == stream.pid })
		})
	}
	site.sim(t, "event", "await")
	after := site.atRest(t, daemon)
	t.Logf("before: %s; after: %s", before, after)
	if len(after.descendants) != len(before.descendants) {
		t.Errorf("children: %v, before: %v", after.descendants, before.descendants)
	}
	if after.descriptors > before.descriptors { // a connection that waits for more may close in between
		t.Errorf("%d descriptors, %d before", after.descriptors, before.descriptors)
	}
	if after.threads > before.threads+slackThreads {
		t.Errorf("%d threads, %d before", after.threads, before.threads)
	}
}

// maxEnd is how long the daemon may take to end.
const maxEnd = 2 * time.Second

// TestTheDaemonEndsWithAllItStarted stops the daemon when it is hard: it is
// gone in time, and so is every child of its children.
func TestTheDaemonEndsWithAllItStarted(t *testing.T) {
	t.Parallel()
	needProcesses(t)
	cases := map[string]func(t *testing.T, site *site, daemon int){
		"idle": func(*testing.T, *site, int) {},
		"with streams that ignore SIGTERM": func(t *testing.T, site *site, daemon int) {
			site.sim(t, "fault", "set", "stubborn")
			for _, stream := range awaitStreams(t, daemon, 2) {
				_ = syscall.Kill(stream.pid, syscall.SIGKILL) // the next one is stubborn
				waitUntil(t, func() bool { return syscall.Kill(stream.pid, 0) != nil })
			}
			site.sim(t, "event", "await")
		},
		"while a tool hangs": func(t *testing.T, site *site, daemon int) {
			site.sim(t, "fault", "set", "hang=0")
			runAside(t, site, "checkin", "--wait")
			waitUntil(t, func() bool {
				return slices.ContainsFunc(descendants(daemon), func(d descendant) bool { return strings.Contains(d.line, " list ") })
			})
		},
		"while the portal hangs in a check-in": func(t *testing.T, site *site, _ int) {
			_ = syscall.Kill(site.portalPID, syscall.SIGSTOP)
			t.Cleanup(func() { _ = syscall.Kill(site.portalPID, syscall.SIGCONT) })
			before := site.status(t)
			runAside(t, site, "checkin", "--wait")
			waitUntil(t, func() bool { return toolRuns(site.status(t)) > toolRuns(before) })
			time.Sleep(500 * time.Millisecond) // the look is over, the exchange waits
		},
	}
	for name, disturb := range cases {
		t.Run(name, func(t *testing.T) {
			site := newSite(t)
			site.watch(t)
			command := site.begin(t)
			daemon := command.Process.Pid
			waitUntil(t, func() bool { return site.status(t).Portal.Sequence > 0 })
			site.sim(t, "event", "await")
			disturb(t, site, daemon)
			family := descendants(daemon)
			began := time.Now()
			_ = command.Process.Signal(syscall.SIGTERM)
			ended := make(chan error, 1)
			go func() { ended <- command.Wait() }()
			select {
			case err := <-ended:
				t.Logf("ended after %s with %d descendants: %v", time.Since(began).Round(time.Millisecond), len(family), err)
			case <-time.After(maxEnd):
				t.Fatalf("runs %s after SIGTERM", maxEnd)
			}
			if len(family) < 2 {
				t.Errorf("it had %v, want the streams of two users", family)
			}
			waitUntil(t, func() bool { return !slices.ContainsFunc(family, lives) })
		})
	}
}

// lives says that a process still runs the program that it ran.
func lives(was descendant) bool {
	is := describeProcess(was.pid)
	return is.line != "" && is.line == was.line && is.state != "Z"
}

// watch makes a Mac with processes, and a portal that serves it.
func (s *site) watch(t *testing.T) {
	t.Helper()
	runProgram(t, s.folder, "prlsim", "mac", "create", s.mac)
	s.serve(t, quick)
}

func needProcesses(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc")
	}
}

// runAside starts prlagent and does not wait for it.
func runAside(t *testing.T, site *site, args ...string) {
	t.Helper()
	command := exec.Command(site.folder+"/prlagent", append(args, "--root", site.mac)...)
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
}

// streams are the daemon's descendants that tell events.
func streams(daemon int) []descendant {
	return slices.DeleteFunc(descendants(daemon), func(d descendant) bool {
		return d.state == "Z" || !strings.Contains(d.line, "monitor-events")
	})
}

func awaitStreams(t *testing.T, daemon, count int) (found []descendant) {
	t.Helper()
	waitUntil(t, func() bool { found = streams(daemon); return len(found) >= count })
	return found
}

// atRest gives the daemon's usage when nothing runs but streams: the one with
// the fewest descriptors of several, because a poll may be under way.
func (s *site) atRest(t *testing.T, daemon int) usage {
	t.Helper()
	s.awaitQuiet(t, 3*time.Second)
	rest := readUsage(t, daemon)
	for range 50 {
		time.Sleep(20 * time.Millisecond)
		if now := readUsage(t, daemon); now.descriptors < rest.descriptors || len(now.descendants) < len(rest.descendants) {
			rest = now
		}
	}
	for _, child := range rest.descendants {
		if child.state == "Z" {
			t.Errorf("a zombie: %+v", child)
		}
	}
	return rest
}
