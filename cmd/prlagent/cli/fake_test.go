package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeDaemon says what the contract's documents say, after change.
type fakeDaemon struct {
	status    localapi.Status
	inventory localapi.Inventory
	policy    localapi.Policy
	events    []protocol.Event
	checkin   localapi.CheckinResult
	hand      localapi.HandResult
	commands  localapi.CommandList
	password  localapi.PasswordResult
	passwords []localapi.PasswordRequest // that were asked for
	asked     localapi.HandRequest       // by hand
	release   chan struct{}              // nil = check-ins end at once
}

func (d *fakeDaemon) Status() *localapi.Status       { return &d.status }
func (d *fakeDaemon) Inventory() *localapi.Inventory { return &d.inventory }
func (d *fakeDaemon) Policy() *localapi.Policy       { return &d.policy }

func (d *fakeDaemon) Checkin(ctx context.Context, wait bool) localapi.CheckinResult {
	if !wait {
		return localapi.CheckinResult{Schema: localapi.Schema, Accepted: d.checkin.Accepted}
	}
	if d.release != nil {
		select {
		case <-d.release:
		case <-ctx.Done():
		}
	}
	return d.checkin
}

func (d *fakeDaemon) ByHand(_ context.Context, request *localapi.HandRequest, _ string) *localapi.HandResult {
	if d.release != nil {
		<-d.release
	}
	d.asked = *request
	return &d.hand
}

func (d *fakeDaemon) GuestPassword(_ context.Context, request *localapi.PasswordRequest, _ string) *localapi.PasswordResult {
	d.passwords = append(d.passwords, *request)
	d.password.User = request.User
	return &d.password
}

func (d *fakeDaemon) Commands(id string) (*localapi.CommandList, error) {
	list := d.commands
	list.Commands = slices.DeleteFunc(slices.Clone(list.Commands), func(one localapi.Command) bool { return !strings.HasPrefix(one.CommandID, id) })
	return &list, nil
}

func (d *fakeDaemon) EventsSince(seq uint64, limit int) ([]protocol.Event, uint64, error) {
	page := d.events[min(int(seq), len(d.events)):]
	page = page[:min(len(page), limit)]
	if len(page) == 0 {
		return nil, seq, nil
	}
	return page, page[len(page)-1].Seq, nil
}

func (d *fakeDaemon) EventsChanged(uint64) <-chan struct{} { return nil }

// contract reads one of the contract's documents.
func contract[T any](t *testing.T, name string) T {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("../../../testdata/contract", name))
	if err != nil {
		t.Fatal(err)
	}
	var document T
	if err := json.Unmarshal(data, &document); err != nil {
		t.Fatal(err)
	}
	return document
}

func sampleDaemon(t *testing.T) *fakeDaemon {
	t.Helper()
	inventory := contract[localapi.Inventory](t, "vms.json")
	for _, row := range inventory.Rows {
		for i := range row.SeenBy {
			row.SeenBy[i].UID = user.UID // a daemon has it; the document has the name
		}
	}
	return &fakeDaemon{
		status:    contract[localapi.Status](t, "status.json"),
		inventory: inventory,
		policy:    contract[localapi.Policy](t, "policy.json"),
		events:    contract[localapi.EventList](t, "events.json").Events,
		hand:      contract[localapi.HandResult](t, "hand-result.json"),
		checkin:   contract[localapi.CheckinResult](t, "checkin-result.json"),
		commands:  contract[localapi.CommandList](t, "commands.json"),
	}
}

// mac is a folder that plays the Mac; its path is short for the socket's sake.
func mac(t *testing.T) string {
	t.Helper()
	root, err := os.MkdirTemp("", "prl")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	program := filepath.Join(localapi.SnapshotsUnder(root), "bin", "prlagentd") // of an agent that is installed
	for _, folder := range []string{filepath.Dir(localapi.SocketUnder(root)), filepath.Dir(program)} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(program, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	return root
}

// serve runs the daemon on the Mac until the test ends or stop is called.
func (d *fakeDaemon) serve(t *testing.T, root string, actor localapi.Actor) (stop func()) {
	t.Helper()
	listener, err := localapi.Listen(t.Context(), localapi.SocketUnder(root))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- localapi.Serve(ctx, listener, localapi.Options{
			Agent: d, Events: d, Policy: d, Hands: d, Commands: d, Log: zerolog.Nop(),
			Authorize: func(localapi.Peer) localapi.Actor { return actor },
		})
	}()
	finished := false
	stop = func() {
		cancel()
		if !finished {
			finished = true
			if err := <-ended; err != nil {
				t.Errorf("serve: %v", err)
			}
		}
	}
	t.Cleanup(stop)
	return stop
}

var (
	admin = localapi.Actor{UID: 503, Name: "carol", Admin: true}
	user  = localapi.Actor{UID: 502, Name: "bob"}
)

// screen is what one run of the program printed, and its exit code.
type screen struct {
	stdout, stderr string
	code           int
}

// testProgram runs at a fixed time in a fixed zone, without a terminal.
func testProgram(environment map[string]string) (*program, *bytes.Buffer, *bytes.Buffer) {
	var stdout, stderr bytes.Buffer
	return &program{
		stdin: strings.NewReader(""), stdout: &stdout, stderr: &stderr,
		environment:   func(name string) string { return environment[name] },
		now:           func() time.Time { return time.Date(2026, 11, 23, 9, 41, 30, 0, time.UTC) },
		zone:          time.FixedZone("CET", 3600),
		progressDelay: time.Hour, retryDelay: 10 * time.Millisecond,
	}, &stdout, &stderr
}

func run(t *testing.T, root string, arguments ...string) screen {
	t.Helper()
	p, stdout, stderr := testProgram(map[string]string{"PRLAGENT_ROOT": root})
	code := p.run(t.Context(), arguments)
	return screen{stdout.String(), stderr.String(), code}
}
