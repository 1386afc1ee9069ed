package platform

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"prlagent/platform/tool"
)

// exchangedMac is a Mac whose application somebody can exchange for another, of
// which codesign says the truth. Its tools say which of the two they are.
type exchangedMac struct {
	machine *Machine
	root    string
	runner  *tool.Runner
	started func() // right before a tool of the vendor's starts
	said    func() // when it has ended
	evil    atomic.Int64
	changes atomic.Int64 // that the machine told of
}

const signedTool, unsignedTool = "#!/bin/sh\necho signed\n", "#!/bin/sh\necho unsigned\n"

func newExchangedMac(t *testing.T) *exchangedMac {
	t.Helper()
	root := t.TempDir()
	m := &exchangedMac{root: root, runner: &tool.Runner{Root: root}, started: func() {}, said: func() {}}
	place(t, root, prlctlPath, signedTool)
	place(t, root, m.other(prlctlPath), unsignedTool)
	errorsAreFatal(t, os.Chmod(filepath.Join(root, prlctlPath), 0o755), os.Chmod(filepath.Join(root, m.other(prlctlPath)), 0o755))
	m.machine = New(root, m)
	m.machine.ToolChanged = func(string) { m.changes.Add(1) }
	return m
}

// other is a path in the other application.
func (m *exchangedMac) other(macPath string) string {
	return "/Users/mallory/Other.app" + strings.TrimPrefix(macPath, VendorBundle)
}

// exchange exchanges what is at a path of the application with the other's.
func (m *exchangedMac) exchange(t *testing.T, macPath string) {
	err := unix.Renameat2(unix.AT_FDCWD, filepath.Join(m.root, macPath), unix.AT_FDCWD, filepath.Join(m.root, m.other(macPath)), unix.RENAME_EXCHANGE)
	if err != nil {
		t.Error(err)
	}
}

// Run plays codesign and sudo.
func (m *exchangedMac) Run(ctx context.Context, c *tool.Command) (tool.Result, error) {
	last := c.Args[len(c.Args)-1]
	if c.Path == "/usr/bin/codesign" {
		if last == VendorBundle {
			last = prlctlPath
		}
		if content, err := os.ReadFile(filepath.Join(m.root, last)); err != nil || string(content) != signedTool {
			return tool.Result{ExitCode: 3}, nil
		}
		return tool.Result{}, nil
	}
	m.started()
	result, err := m.runner.Run(ctx, &tool.Command{Path: last})
	if string(result.Stdout) == "unsigned\n" {
		m.evil.Add(1)
	}
	m.said()
	return result, err
}

// Follow says what a run said, line by line.
func (m *exchangedMac) Follow(ctx context.Context, c *tool.Command, line func(text []byte, cut bool)) (tool.Result, error) {
	result, err := m.Run(ctx, c)
	for range 2 {
		line(result.Stdout, false)
	}
	return tool.Result{}, err
}

var alice = User{Name: "alice", UID: 501}

// ask runs the tool, or follows it, and gives what counts of what it said.
func (m *exchangedMac) ask(ctx context.Context, follow bool) (string, error) {
	c := &tool.Command{Path: prlctlPath}
	if !follow {
		result, err := m.machine.As(alice, false).Run(ctx, c)
		return string(result.Stdout), err
	}
	var said strings.Builder
	_, err := m.machine.Follow(ctx, alice, false, c, func(text []byte, _ bool) { said.Write(text) })
	return said.String(), err
}

func codeOf(err error) string {
	var failed *tool.Error
	if errors.As(err, &failed) {
		return failed.Code
	}
	return ""
}

// Between the check and the end of a run the program, a folder above it or the
// whole application is exchanged, also there and back: nothing that the other
// said counts, and somebody is told.
func TestH58_AToolThatIsExchangedWhileItRuns(t *testing.T) {
	t.Parallel()
	for _, follow := range []bool{false, true} {
		for _, exchanged := range []string{prlctlPath, filepath.Dir(prlctlPath), VendorBundle + "/Contents", VendorBundle} {
			for _, back := range []bool{false, true} {
				t.Run(strings.TrimPrefix(exchanged, filepath.Dir(VendorBundle)), func(t *testing.T) {
					t.Parallel()
					m := newExchangedMac(t)
					if said, err := m.ask(t.Context(), follow); err != nil || !strings.HasPrefix(said, "signed\n") || m.changes.Load() != 0 {
						t.Fatalf("before: %q, %v", said, err)
					}
					m.started = func() { m.exchange(t, exchanged) }
					if back {
						m.said = func() { m.exchange(t, exchanged) }
					}
					said, err := m.ask(t.Context(), follow)
					if said != "" || codeOf(err) != CodeToolsChanged || m.evil.Load() != 1 || m.changes.Load() != 1 {
						t.Errorf("%q, %v; it ran %d times and %d were told", said, err, m.evil.Load(), m.changes.Load())
					}
					m.started, m.said = func() {}, func() {}
					said, err = m.ask(t.Context(), follow)
					if back && (err != nil || !strings.HasPrefix(said, "signed\n")) || !back && codeOf(err) != CodeToolsUntrusted {
						t.Errorf("after: %q, %v", said, err)
					}
				})
			}
		}
	}
}

// The same as fast as it goes: the application is exchanged all the time while
// its tool runs again and again. No result of the unsigned one is believed.
func TestH58_AnApplicationThatIsExchangedAllTheTime(t *testing.T) {
	t.Parallel()
	m := newExchangedMac(t)
	stop, done := make(chan struct{}), sync.WaitGroup{}
	moments := rand.New(rand.NewPCG(58, 58))
	exchanges := 0
	done.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				m.exchange(t, VendorBundle)
				exchanges++
				time.Sleep(time.Duration(moments.IntN(20)) * time.Millisecond) // the moment is what is tested
			}
		}
	})
	runs, believed, refused := 0, 0, 0
	for ; runs < 500_000 && (believed == 0 || m.evil.Load() < 3); runs++ {
		said, err := m.ask(t.Context(), false)
		switch {
		case err != nil:
			refused++
		case said == "signed\n":
			believed++
		default:
			t.Errorf("run %d: %q is believed", runs, said)
		}
	}
	close(stop)
	done.Wait()
	if m.evil.Load() == 0 || believed == 0 {
		t.Errorf("of %d runs the unsigned tool ran %d times, %d were believed: nothing is shown", runs, m.evil.Load(), believed)
	}
	if told := m.changes.Load(); told < m.evil.Load() {
		t.Errorf("%d runs of the unsigned tool, %d told", m.evil.Load(), told)
	}
	t.Logf("%d exchanges, %d runs: %d of the unsigned tool, %d believed, %d refused", exchanges, runs, m.evil.Load(), believed, refused)
}
