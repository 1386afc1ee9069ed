package cmd_test

import (
	"context"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"prlagent/agent"
	"prlagent/agent/localapi"
	"prlagent/platform/plist"
)

// site is a folder with the programs as they ship, a portal and a Mac, for
// what is measured or needs processes as they are.
type site struct {
	folder string // with the programs
	mac    string
	portal string
	url    string // of the portal that serves

	portalPID int
}

func newSite(t testing.TB) *site {
	t.Helper()
	folder := shortFolder(t)
	s := &site{folder: filepath.Join(folder, "bin"), mac: filepath.Join(folder, "mac"), portal: filepath.Join(folder, "portal")}
	shipped := programsAsShipped(t)
	if err := os.Mkdir(s.folder, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, program := range programNames {
		if err := os.Symlink(filepath.Join(shipped, program), filepath.Join(s.folder, program)); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func programsAsShipped(t testing.TB) string {
	t.Helper()
	folder, err := shippedPrograms()
	if err != nil {
		t.Fatal(err)
	}
	return folder
}

// shortFolder is one whose name is short: the length of a socket's path is limited.
func shortFolder(t testing.TB) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "site")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	return folder
}

// serve starts the portal and leaves its profile on the Mac, with a pace in
// seconds of its own.
func (s *site) serve(t testing.TB, timing map[string]any) {
	t.Helper()
	ready := s.portal + ".url"
	runProgram(t, s.folder, "prlportal", "init", s.portal)
	s.portalPID = startProgram(t, s.folder, "prlportal", "serve", "--demo", "--dir", s.portal, "--listen", "127.0.0.1:0", "--ready-file", ready)
	waitUntil(t, func() bool { data, err := os.ReadFile(ready); return err == nil && len(data) > 0 })
	url, err := os.ReadFile(ready)
	if err != nil {
		t.Fatal(err)
	}
	s.url = strings.TrimSpace(string(url))
	profile := filepath.Join(s.mac, agent.ManagedConfig)
	runProgram(t, s.folder, "prlportal", "profile", "--dir", s.portal, "--url", s.url, "--format", "plist", "-o", profile)
	data, err := os.ReadFile(profile)
	if err != nil {
		t.Fatal(err)
	}
	values, err := plist.DecodeDict(data)
	if err != nil {
		t.Fatal(err)
	}
	values["Timing"] = maps.Clone(timing)
	if data, err = plist.EncodeXML(values); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(profile, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// start starts the daemon. It is stopped at the end of the test if nobody does
// so before.
func (s *site) start(t testing.TB) (daemon int) {
	t.Helper()
	return startProgram(t, s.folder, "prlagentd", "run", "--root", s.mac)
}

// begin starts the daemon for a test that ends it itself.
func (s *site) begin(t testing.TB) *exec.Cmd {
	t.Helper()
	daemon := exec.Command(filepath.Join(s.folder, "prlagentd"), "run", "--root", s.mac)
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = daemon.Process.Signal(syscall.SIGKILL) // no effect if it was waited for
		_ = daemon.Wait()
	})
	return daemon
}

func (s *site) sim(t testing.TB, args ...string) {
	t.Helper()
	runProgram(t, s.folder, "prlsim", append(args, "--mac", s.mac)...)
}

// status is zero while nobody answers.
func (s *site) status(t testing.TB) localapi.Status {
	ctx, cancel := context.WithTimeout(t.Context(), readyLimit)
	defer cancel()
	status, _ := localapi.NewClient(localapi.SocketUnder(s.mac)).Status(ctx)
	return status
}

// awaitQuiet waits until the agent has not called a tool for as long.
func (s *site) awaitQuiet(t testing.TB, quiet time.Duration) {
	t.Helper()
	const poll = 500 * time.Millisecond
	last, since := toolRuns(s.status(t)), time.Now()
	for time.Since(since) < quiet {
		time.Sleep(poll)
		if now := toolRuns(s.status(t)); now != last {
			last, since = now, time.Now()
		}
	}
}

func toolRuns(status localapi.Status) (total uint64) {
	for _, runs := range status.ToolRuns {
		total += runs
	}
	return total
}
