package checkin

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"prlagent/agent/enforce"
	"prlagent/agent/outbox"
	"prlagent/agent/protocol"
	"prlagent/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// skipLarge skips a test with -short, which is for the race detector: one goroutine
// composes or reads much, and that takes the race detector long.
func skipLarge(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("one goroutine at a time, and much of it, which takes the race detector long")
	}
}

// bench is a Mac, a portal and what connects them.
type bench struct {
	t       *testing.T
	portal  *fakePortal
	line    *directly
	dir     string
	now     time.Time
	log     bytes.Buffer
	options Options
	client  *Client
	outbox  *outbox.Outbox
	events  *ring
	report  protocol.Report
	signer  ed25519.PrivateKey
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, events: &ring{}, portal: newFakePortal(t), dir: t.TempDir(), report: sampleReport(2),
		now: time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)}
	began := b.now
	b.portal.clock = func() time.Time { return b.now }
	b.line = &directly{handler: b.portal}
	var public ed25519.PublicKey
	public, b.signer = keyPair(t)
	b.options = Options{
		ServerURL: parseURL(t, "https://portal.example"),
		Secret:    theSecret, PolicyKeys: []protocol.TrustedKey{{ID: protocol.KeyID(public), Key: public}},
		IdentityPath: filepath.Join(b.dir, "node.json"), Host: b.report.Host, Version: "0.1.0",
		Log: zerolog.New(&b.log), Now: func() time.Time { return b.now }, Elapsed: func() time.Duration { return b.now.Sub(began) }, Transport: b.line,
	}
	b.start()
	t.Cleanup(func() { b.stop() })
	return b
}

// newContentBench is a bench whose portal has content, too.
func newContentBench(t *testing.T) *bench {
	t.Helper()
	b := newBench(t)
	b.options.ContentURL = parseURL(t, "https://portal.example/v1/content")
	b.configure()
	return b
}

// start opens the store and makes a client, as the daemon does.
func (b *bench) start() {
	b.t.Helper()
	opened, _, err := store.Open(context.Background(), filepath.Join(b.dir, "state"), store.Options{Log: zerolog.Nop()})
	if err != nil {
		b.t.Fatal(err)
	}
	b.use(opened)
}

// use goes on with a store, as the daemon does after a start.
func (b *bench) use(opened *store.Store) {
	b.t.Helper()
	b.options.Store = opened
	b.outbox = outbox.New(opened, b.events, func(protocol.Trigger) bool { return true })
	left, err := b.outbox.Load()
	if err != nil {
		b.t.Fatal(err)
	}
	b.outbox.Carry(left) // as the loop, with its next exchange
	b.options.Outbox = b.outbox
	b.configure()
}

// configure makes a client of the present options.
func (b *bench) configure() {
	b.client = New(b.options)
	b.client.retry.Backoff = func(time.Duration, time.Duration, int, *http.Response) time.Duration { return 0 }
}

func (b *bench) stop() {
	b.t.Helper()
	b.client.Close()
	if err := b.options.Store.Close(); err != nil {
		b.t.Fatal(err)
	}
}

// crash forgets all that is in memory.
func (b *bench) crash() {
	b.t.Helper()
	b.stop()
	b.start()
}

// do is one check-in that must work.
func (b *bench) do(reasons ...string) *Outcome {
	b.t.Helper()
	outcome, err := b.try(reasons...)
	if err != nil {
		b.t.Fatalf("check-in: %v", err)
	}
	return outcome
}

func (b *bench) try(reasons ...string) (*Outcome, error) {
	b.t.Helper()
	b.outbox.Carry(protocol.CoalesceTriggers(b.outbox.Carried(), b.triggers(reasons...)))
	return b.client.Do(context.Background(), &b.report, Extra{})
}

// sentEvents is the number of the newest event that the portal has.
func (b *bench) sentEvents() uint64 {
	b.t.Helper()
	unsent, err := b.outbox.Unsent()
	if err != nil {
		b.t.Fatal(err)
	}
	if len(unsent) > 0 {
		return unsent[0].Seq - 1
	}
	return uint64(len(b.events.all))
}

// ring are the events of the Mac.
type ring struct{ all []protocol.Event }

func (r *ring) EventsSince(seq uint64, limit int) (events []protocol.Event, next uint64, err error) {
	for _, event := range r.all {
		if event.Seq > seq && len(events) < limit {
			events, next = append(events, event), event.Seq
		}
	}
	return events, next, nil
}

// fails is one check-in that must fail with the code.
func (b *bench) fails(code protocol.Code) *Outcome {
	b.t.Helper()
	outcome, err := b.try("daily")
	var failure *exchangeError
	if !errors.As(err, &failure) || failure.Code != code || outcome.Code != code {
		b.t.Fatalf("check-in: %v (outcome %q), want %s", err, outcome.Code, code)
	}
	if got := b.client.State(); got.LastCode != code || got.LastError == "" {
		b.t.Errorf("state says %q %q, want %s", got.LastCode, got.LastError, code)
	}
	return outcome
}

func (b *bench) triggers(reasons ...string) []protocol.Trigger {
	var list []protocol.Trigger
	for _, reason := range reasons {
		list = append(list, protocol.Trigger{Reason: reason, Count: 1, FirstAt: b.now, LastAt: b.now})
	}
	return list
}

// publish puts a policy and its head on the portal and hints at it.
func (b *bench) publish(group string, version uint64, revision uint64) {
	b.t.Helper()
	document := policyDocument("p-"+group, revision)
	pointer := protocol.PointTo("p-"+group, revision, document)
	b.publishHead(b.head(group, version, &pointer))
	b.portal.set(func(f *fakePortal) { f.content["policies/"+pointer.SHA256+".json"] = document })
}

func (b *bench) head(group string, version uint64, pointer *protocol.PolicyPointer) protocol.Head {
	return protocol.Head{SiteID: theSite, GroupID: group, HeadVersion: version, Policy: pointer,
		IssuedAt: b.now, ExpiresAt: b.now.Add(30 * 24 * time.Hour)}
}

func (b *bench) publishHead(head protocol.Head) {
	b.t.Helper()
	b.serveHead(head.GroupID, head, b.signer)
	hint := &protocol.Hint{HeadVersion: head.HeadVersion}
	if head.Policy != nil {
		hint.SHA256 = head.Policy.SHA256
	}
	b.portal.set(func(f *fakePortal) { f.reply.Policy = hint })
}

// serveHead puts a head where the one of a group belongs.
func (b *bench) serveHead(group string, head protocol.Head, signer ed25519.PrivateKey) {
	b.t.Helper()
	payload, err := json.Marshal(head)
	if err != nil {
		b.t.Fatal(err)
	}
	body, err := protocol.Sign(protocol.PayloadHead, payload, signer).JSON()
	if err != nil {
		b.t.Fatal(err)
	}
	b.portal.set(func(f *fakePortal) { f.content["heads/"+group+".dsse.json"] = body })
}

// wantPolicy compares what is stored.
func (b *bench) wantPolicy(state string, code protocol.Code, version, revision uint64) {
	b.t.Helper()
	got := enforce.Report(b.client.Content(), enforce.Gates{})
	if got.State != state || got.Code != code || got.HeadVersion != version || got.Revision != revision {
		b.t.Errorf("policy %+v, want %s %q head %d revision %d", got, state, code, version, revision)
	}
}

func policyDocument(id string, revision uint64) []byte {
	return fmt.Appendf(nil, `{"schema":1,"policy_id":%q,"revision":%d,"name":"n","groups":["staff"]}`, id, revision)
}

func keyPair(t *testing.T) (ed25519.PublicKey, ed25519.PrivateKey) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return public, private
}

func parseURL(t *testing.T, text string) *url.URL {
	t.Helper()
	parsed, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func decodeBase64(t *testing.T, text string) []byte {
	t.Helper()
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func sampleReport(vms int) protocol.Report {
	report := protocol.Report{
		Agent: protocol.AgentInfo{Version: "0.1.0", Arch: "arm64", Mode: "monitor"},
		Host: protocol.Host{ComputerName: "Alice's MacBook", Serial: "C02XYZ", HardwareUUID: "11111111-2222-3333-4444-555555555555",
			Model: "Mac15,3", MacOS: "26.1", CPU: protocol.CPUArm},
		Product: protocol.Product{Installed: true, Version: "26.1.0", State: protocol.ProductKey},
		Users:   []protocol.UserLook{{Name: "alice", UID: 501, Count: vms}},
	}
	for i := range vms {
		report.VMs = append(report.VMs, protocol.VM{
			VMKey: protocol.VMKey{ID: fmt.Sprintf("00000000-0000-0000-0000-%012d", i), UID: 501}, Owner: "alice", Bundle: protocol.Bundle{Device: 1, Inode: uint64(i + 1)},
			Name: fmt.Sprintf("Windows %d", i), State: protocol.StateStopped, OS: "Windows 11", Source: protocol.SourceOther})
	}
	return report
}
