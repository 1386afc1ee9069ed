package agent

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"prlagent/agent/checkin"
	"prlagent/agent/config"
	"prlagent/agent/enforce"
	"prlagent/agent/inventory"
	"prlagent/agent/lane"
	"prlagent/agent/localapi"
	"prlagent/agent/outbox"
	"prlagent/agent/policy"
	"prlagent/agent/protocol"
	"prlagent/store"
)

// nolog is a log that nobody reads.
var nolog = zerolog.Nop()

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeMac is what the looker sees; change it and look again.
type fakeMac struct {
	mu       sync.Mutex
	look     *inventory.Look
	recalled *inventory.Look
	err      error
	looks    int
	hold     chan struct{} // if not nil, a look waits for it
}

func (f *fakeMac) Close() {}

func (f *fakeMac) Collect(ctx context.Context, _ time.Duration) (*inventory.Look, error) {
	if f.hold != nil {
		select {
		case <-f.hold:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.looks++
	look := *f.look
	look.At = wallClock().UTC()
	return &look, f.err
}

func (f *fakeMac) Recall() (*inventory.Look, error) { return f.recalled, nil }

func (f *fakeMac) Visiting() []inventory.Visiting { return nil }

func (f *fakeMac) change(how func(*fakeMac)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	how(f)
}

// fakePortal is an exchange that answers as it is told, and keeps what it got.
type fakePortal struct {
	trusted  time.Time // zero: no server time was believed
	mu       sync.Mutex
	outcome  checkin.Outcome
	outbox   *outbox.Outbox
	untold   bool // it lacks what the looks see
	loses    bool // a failure comes before the report is stored
	content  bool // outcome's code is about the content; the report is acknowledged
	policy   protocol.PolicyReport
	document string                 // of the policy; empty = fakePolicy
	shape    func(*policy.Content)  // the rest of the content, if not nil
	arriving *protocol.PolicyReport // fetched by the next exchange
	reread   int                    // calls of Refresh
	noticed  []protocol.Event       // by the next Refresh
	found    func()                 // what the next Refresh does to the content, if not nil
	got      []exchanged
	orders   []protocol.Envelope // commands that the portal wants open on the Mac
	cancel   []string
	holds    *protocol.Envelope     // the signed list of holds, in every answer
	held     *protocol.HoldReport   // at the last check-in
	results  []protocol.Result      // that it was told, each time
	open     []protocol.OpenCommand // at the last check-in
	told     int                    // how often everything was asked for
	hold     chan struct{}          // if not nil, an exchange waits for it
	silent   bool                   // once a report is stored, its exchange ends with the daemon
}

// exchanged is one check-in as it arrived.
type exchanged struct {
	at       time.Time
	report   protocol.Report
	triggers []protocol.Trigger
	events   []protocol.Event
}

func (f *fakePortal) Do(ctx context.Context, report *protocol.Report, extra checkin.Extra) (*checkin.Outcome, error) {
	if f.hold != nil {
		select {
		case <-f.hold:
		case <-ctx.Done():
			return &checkin.Outcome{Code: protocol.CodePortalUnreachable}, ctx.Err()
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	events, err := f.outbox.Unsent()
	if err != nil {
		return &checkin.Outcome{}, err
	}
	f.got = append(f.got, exchanged{wallClock(), *report, f.outbox.Carried(), events})
	answer := f.outcome
	outcome := &answer
	outcome.Requests = 1
	err = f.outbox.Update(func(_ *store.Tx, change *outbox.Change) error {
		if !f.loses || outcome.Code == "" {
			change.Seal()
		}
		if n := len(events); n > 0 && outcome.Code == "" && !f.silent {
			change.Settle(events[n-1].Seq)
		}
		return nil
	})
	if err != nil {
		return outcome, err
	}
	if f.silent {
		f.mu.Unlock()
		<-ctx.Done()
		f.mu.Lock()
		return outcome, ctx.Err()
	}
	if f.arriving != nil {
		f.policy, f.arriving = *f.arriving, nil
	}
	if outcome.Code != "" && !f.content {
		return outcome, errors.New("not acknowledged")
	}
	return f.answerCommands(outcome, extra), nil
}

// answerCommands acknowledges results, and delivers what the Mac does not have.
func (f *fakePortal) answerCommands(outcome *checkin.Outcome, extra checkin.Extra) *checkin.Outcome {
	f.open, f.held = extra.OpenCommands, extra.Holds
	var ids []string
	for _, result := range extra.Results {
		f.results = append(f.results, result)
		ids = append(ids, result.CommandID)
	}
	if len(ids) > 0 {
		err := f.outbox.Update(func(tx *store.Tx, _ *outbox.Change) error { return extra.Settler.Settle(tx, ids) })
		if err == nil {
			extra.Settler.Settled(ids)
		}
	}
	if len(f.results) == 0 && len(f.orders)+len(f.cancel) > 0 {
		outcome.Reply = &protocol.CheckinReply{Commands: f.orders, Cancel: f.cancel}
	}
	if f.holds != nil {
		if outcome.Reply == nil {
			outcome.Reply = &protocol.CheckinReply{}
		}
		outcome.Reply.Holds = f.holds
	}
	return outcome
}

// Clock is the Mac's own.
func (f *fakePortal) Clock() (trusted, likely time.Time, proven bool) {
	return wallClock(), wallClock(), true
}

func (f *fakePortal) SignReceipt(payload []byte) (protocol.Envelope, bool) {
	return protocol.Sign(protocol.PayloadReceipt, payload, fakeDeviceKey), true
}

func (f *fakePortal) TellAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.told++
}

func (f *fakePortal) AskForPolicy() { f.TellAll() }

var fakeDeviceKey = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))

// Acknowledged is true of the policy and the health that the last report had, unless the test says that
// the portal lacks something.
func (f *fakePortal) Acknowledged(report *protocol.Report) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.untold || len(f.got) == 0 {
		return !f.untold
	}
	last := f.got[len(f.got)-1].report
	return reflect.DeepEqual(last.Policy, report.Policy) && reflect.DeepEqual(last.Health, report.Health)
}

func (f *fakePortal) change(how func(*fakePortal)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	how(f)
}

func (f *fakePortal) State() *checkin.State {
	f.mu.Lock()
	defer f.mu.Unlock()
	return &checkin.State{Enrollment: checkin.EnrollmentDone, DeviceID: "device-1", TrustedTime: f.trusted}
}

// fakePolicy manages nothing.
const fakePolicy = `{"schema": 1, "policy_id": "finance", "revision": 7, "name": "Finance"}`

func (f *fakePortal) Content() *policy.Content {
	f.mu.Lock()
	defer f.mu.Unlock()
	report := f.policy
	content := &policy.Content{
		Verified: report.State == protocol.PolicyFetched, HeadVersion: report.HeadVersion, Document: []byte(cmp.Or(f.document, fakePolicy)), Code: report.Code,
		Pointer: protocol.PolicyPointer{PolicyID: report.PolicyID, Revision: report.Revision, SHA256: report.SHA256},
	}
	if f.shape != nil {
		f.shape(content)
	}
	return content
}

func (f *fakePortal) Refresh(context.Context, bool) []protocol.Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reread++
	if f.found != nil {
		f.found()
	}
	noticed := f.noticed
	f.noticed, f.found = nil, nil
	return noticed
}

func (f *fakePortal) Close() {}

func (f *fakePortal) answer(outcome checkin.Outcome) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.outcome = outcome
}

func (f *fakePortal) checkins() []exchanged {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]exchanged(nil), f.got...)
}

// daemon is an agent on a fake Mac, with a real store.
type daemon struct {
	*agent
	mac    *fakeMac
	portal *fakePortal
}

// testHost is a Mac whose identity is known.
var testHost = protocol.Host{Serial: "C02TEST", HardwareUUID: "00000000-0000-0000-0000-000000000001"}

func newDaemon(t *testing.T, settings config.Config) daemon {
	t.Helper()
	folder := t.TempDir()
	state, report, err := store.Open(t.Context(), filepath.Join(folder, "state"), store.Options{
		Log: zerolog.Nop(), Collections: slices.Concat(ownCollections(), outbox.Collections()),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = state.Close() })
	events, err := openEventLog(state, &nolog)
	if err != nil {
		t.Fatal(err)
	}
	d := daemon{
		mac:    &fakeMac{look: &inventory.Look{Host: testHost}, recalled: &inventory.Look{}},
		portal: &fakePortal{policy: protocol.PolicyReport{State: protocol.PolicyNone}},
	}
	enforcer, applied := newEnforcer(enforce.Options{Store: state, Lanes: lane.New(), Log: zerolog.Nop()})
	d.agent = newAgent(parts{
		enforcer: enforcer, applied: applied,
		log: &nolog, owner: uint32(os.Geteuid()), authorize: localapi.AuthorizeLocal(uint32(os.Geteuid())), snapshots: folder, identity: filepath.Join(folder, "state", "node.json"),
		looker:     d.mac,
		loadConfig: func() *config.Config { return &settings },
		connect: func(_ *config.Config, _ protocol.Host, _ *store.Store, box *outbox.Outbox) exchanger {
			d.portal.outbox = box
			return d.portal
		},
		follow:   func([]inventory.Account) []uint32 { return nil },
		toolRuns: func() map[string]uint64 { return nil },
		setLevel: func(string) {},

		managedPreferences: filepath.Join(folder, "Managed Preferences"),

		restoreSocket: func(context.Context) (bool, error) { return false, nil },
	}, state, report, events)
	return d
}

// again is the daemon after a restart: another process on the same Mac.
func (d daemon) again(t *testing.T) daemon {
	t.Helper()
	events, err := openEventLog(d.store, &nolog)
	if err != nil {
		t.Fatal(err)
	}
	d.agent = newAgent(d.parts, d.store, store.Report{}, events)
	return d
}

// skipHours skips a test with -short, which is for the race detector: in hours of fake
// time the loop does the same again and again, or with hundreds of machines, and that
// takes the race detector long.
func skipHours(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("hours of fake time, which takes the race detector long")
	}
}

// run starts the daemon's loop; the returned function stops it and waits.
func (d daemon) run(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = d.loop(ctx)
	}()
	return func() {
		cancel()
		<-ended
	}
}

// ask is a person's `prlagent checkin --wait`.
func (d daemon) ask(t *testing.T) localapi.CheckinResult {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	return d.Checkin(ctx, true)
}
