package agent

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"prlagent/agent/inventory"
	"prlagent/agent/protocol"
	"prlagent/agent/watch"
	"prlagent/platform"
	"prlagent/platform/tool"
	"prlagent/prlctl"
	"prlagent/store"
)

// signedTools are the tools of a Mac: codesign says what the test says, and
// streams of events go on until they are ended.
type signedTools struct {
	mu        sync.Mutex
	refused   []string // paths whose signature is not the vendor's
	streams   int      // that were started
	endStream chan struct{}
}

func (s *signedTools) Run(_ context.Context, c *tool.Command) (tool.Result, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.Path == "/usr/bin/codesign" && !slices.Contains(s.refused, c.Args[len(c.Args)-1]) {
		return tool.Result{}, nil
	}
	return tool.Result{ExitCode: 3}, nil
}

func (s *signedTools) Follow(ctx context.Context, c *tool.Command, _ func([]byte, bool)) (tool.Result, error) {
	s.mu.Lock()
	s.streams++
	s.mu.Unlock()
	select {
	case <-ctx.Done():
		return tool.Result{ExitCode: -1}, ctx.Err()
	case <-s.endStream:
		return tool.Result{}, nil
	}
}

func (s *signedTools) refuse(paths ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused = paths
}

func (s *signedTools) started() int {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.streams
}

// placeTool puts a new file at a path of the Mac.
func placeTool(t *testing.T, root, macPath string) {
	t.Helper()
	path := filepath.Join(root, macPath)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".new", []byte("program"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// Root starts no stream of a program that is not the vendor's: its signature is
// asked for before each start, and its stream starts when it is good.
func TestH10_NoStreamOfAnUntrustedProgram(t *testing.T) {
	root := t.TempDir()
	placeTool(t, root, prlctl.Prlctl)
	synctest.Test(t, func(t *testing.T) {
		tools := &signedTools{endStream: make(chan struct{})}
		tools.refuse(prlctl.Prlctl)
		events := streamsOf(platform.New(root, tools), protocol.Timing{StreamRetry: time.Second, StreamRetryCap: time.Minute}, func(uint32, prlctl.Event) {}, &nolog)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- events.Watch(ctx, func(watch.Hint) {}) }()
		events.SetService(true)
		events.SetUsers([]watch.Followed{{User: platform.User{Name: "alice", UID: 501, Home: "/Users/alice"}}})
		time.Sleep(time.Hour)
		if got := tools.started(); got != 0 {
			t.Errorf("%d streams of a program that is not the vendor's", got)
		}
		tools.refuse()
		time.Sleep(2 * time.Minute)
		if got := tools.started(); got != 1 {
			t.Errorf("%d streams of the vendor's program", got)
		}
		placeTool(t, root, prlctl.Prlctl) // another file
		tools.refuse(prlctl.Prlctl)
		tools.endStream <- struct{}{}
		time.Sleep(time.Hour)
		if got := tools.started(); got != 1 {
			t.Errorf("%d streams after the program was replaced", got-1)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// A look uses both of the vendor's tools, and trusts neither for the other.
func TestH10_ALookTrustsBothTools(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		refused []string
		trusted bool
	}{
		"both":           {nil, true},
		"not prlctl":     {[]string{prlctl.Prlctl}, false},
		"not prlsrvctl":  {[]string{prlctl.Prlsrvctl}, false},
		"neither of two": {[]string{prlctl.Prlctl, prlctl.Prlsrvctl}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root, tools := t.TempDir(), &signedTools{refused: test.refused}
			placeTool(t, root, prlctl.Prlctl)
			placeTool(t, root, prlctl.Prlsrvctl)
			err := sourcesOf(platform.New(root, tools), nil).Trusted(t.Context())
			if (err == nil) != test.trusted {
				t.Errorf("trusted: %v", err)
			}
		})
	}
}

// Whom a look saw is followed, with the file of each machine whose bundle is
// known: without it no echo could be told from a change.
func TestTRG_09_FollowedUsersHaveTheirFiles(t *testing.T) {
	t.Parallel()
	alice, bob := platform.User{Name: "alice", UID: 501}, platform.User{Name: "bob", UID: 502}
	got := followed([]inventory.Account{
		{User: alice, Session: true, Bundles: map[string]string{"a": "/Users/alice/Parallels/A.pvm", "b": "/Volumes/VMs/B.pvm/"}},
		{User: bob},
	})
	want := []watch.Followed{
		{User: alice, Session: true, Configs: map[string]string{"a": "/Users/alice/Parallels/A.pvm/config.pvs", "b": "/Volumes/VMs/B.pvm/config.pvs"}},
		{User: bob, Configs: map[string]string{}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// recordedRuns is a runner that does nothing but note what was run.
type recordedRuns struct{ log *[]string }

func (r recordedRuns) Run(_ context.Context, c *tool.Command) (tool.Result, error) {
	*r.log = append(*r.log, c.Args[0])
	return tool.Result{}, nil
}

// Whatever is run for a user is announced before it starts and until it has
// ended, whatever it is: a setting of ours echoes as a query does. What changes a
// machine is told before that is over.
func TestTRG_09_EveryRunForAUserIsAnnounced(t *testing.T) {
	t.Parallel()
	const machine = "01234567-89ab-4cde-8f01-23456789abcd"
	var log []string
	runner := &announced{recordedRuns{&log}, func() func() {
		log = append(log, "announced")
		return func() { log = append(log, "over") }
	}, func(vmID string) { log = append(log, "changed "+vmID) }}
	for _, verb := range []string{"list", "set", "delete"} {
		if _, err := runner.Run(t.Context(), &tool.Command{Path: prlctl.Prlctl, Args: []string{verb, machine}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := runner.Run(t.Context(), &tool.Command{Path: prlctl.Prlctl, Args: []string{"set", "cpu", "--help"}}); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"announced", "list", "over",
		"announced", "set", "changed " + machine, "over",
		"announced", "delete", "changed " + machine, "over",
		"announced", "set", "over",
	}
	if diff := cmp.Diff(want, log); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// platform ties the vendor's programs to where prlctl calls them.
func TestH58_TheVendorsToolsLieInItsBundle(t *testing.T) {
	t.Parallel()
	if prlctl.AppBundle != platform.VendorBundle {
		t.Errorf("%q and %q", prlctl.AppBundle, platform.VendorBundle)
	}
}

// Who can exchange the tools at will makes a security event an hour, which tells
// how many runs did not count, and flushes nothing.
func TestH58_ExchangedToolsAreASecurityEvent(t *testing.T) {
	t.Parallel()
	events, state := openTestLog(t, t.TempDir())
	now := time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)
	changed := toolChanges(events, func() time.Time { return now })
	for range 90 {
		changed(prlctl.Prlctl)
		now = now.Add(time.Minute)
	}
	now = now.Add(-time.Hour) // a clock that was set back tells nothing of an hour
	changed(prlctl.Prlsrvctl)
	var kept []protocol.Event
	err := state.View(func(tx *store.Tx) error {
		return securityRing.Since(tx, 0, func(_ uint64, event *protocol.Event) error {
			kept = append(kept, *event)
			return nil
		})
	})
	var got []string
	for _, event := range kept {
		got = append(got, fmt.Sprint(event.Type, " ", event.Code, " ", event.Data["tool"], " ", event.Data["discarded_runs"]))
	}
	want := []string{"tools_changed tools_changed prlctl 1", "tools_changed tools_changed prlctl 60", "tools_changed tools_changed prlsrvctl 30"}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v, events (-want +got):\n%s", err, diff)
	}
}
