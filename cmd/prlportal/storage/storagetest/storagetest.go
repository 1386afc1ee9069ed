// Package storagetest is the behavior that the portal expects of a store, as
// tests that every implementation runs.
package storagetest

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/secret"
	"prlagent/cmd/prlportal/storage"
)

// Store is what is tested.
type Store interface {
	Device(ctx context.Context, key storage.Key) (storage.Device, error)
	ID(ctx context.Context, key storage.Key) (string, error)
	IDs(ctx context.Context, after string, limit int) ([]string, error)
	LiveIDs(ctx context.Context, serial string, limit int) ([]string, error)
	Report(ctx context.Context, deviceID string) (storage.Report, error)
	History(ctx context.Context, deviceID string) (storage.History, error)
	Events(ctx context.Context, deviceID string) (storage.EventLog, error)
	Verdicts(ctx context.Context, deviceID string) (storage.Verdicts, error)
	Changes(ctx context.Context, deviceID string, first uint64) (storage.VerdictChanges, error)
	Journal(ctx context.Context, after uint64, limit int) (storage.JournalPage, error)
	Size(ctx context.Context) (int64, error)
	Save(ctx context.Context, change storage.Change) error
	Commands(ctx context.Context, deviceID string) (storage.CommandLog, error)
	CommandEnvelopes(ctx context.Context, deviceID, commandID string) (storage.CommandEnvelopes, error)
	CommandDevice(ctx context.Context, commandID string) (string, error)
	AuditMark(ctx context.Context) (storage.AuditMark, error)
	NextOutgoing(ctx context.Context, after string) (storage.Outgoing, error)
	Settle(ctx context.Context, settled storage.Settlement) error
	OutgoingState(ctx context.Context) (storage.OutgoingState, error)
}

// Run tests the stores that open makes; each call must give an empty one.
func Run(t *testing.T, open func(t *testing.T) Store) {
	for name, test := range map[string]func(*testing.T, Store){
		"unknown devices are not found":                   testNotFound,
		"a device comes back by every key":                testKeys,
		"keys that a device lost find nothing":            testLostKeys,
		"a stale version is a conflict":                   testStaleVersion,
		"a key has one holder":                            testOneHolder,
		"a refused change leaves nothing behind":          testNothingLeft,
		"report, history and events stay unless replaced": testReports,
		"devices are listed in pages by id":               testPages,
		"living devices are found by their serial number": testLiveIDs,
		"what was read shares nothing":                    testCopies,
		"of concurrent changes one wins":                  testConcurrentChanges,
		"a canceled context stops the call":               testCanceled,
		"H56: records have an end":                        testTooLarge,
		"verdicts and their changes are kept":             testVerdicts,
		"the journal has everything in its order":         testJournal,
		"what is forgotten leaves the journal":            testForgotten,
		"commands come back as they were signed":          testCommands,
		"commands are forgotten with their envelopes":     testForgottenCommands,
		"SEC-25: messages wait in the order of a device":  testOutgoing,
		"SEC-25: messages have an end":                    testOutgoingBounds,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

var enrolledAt = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

func newDevice(id string, tokens ...string) storage.Device {
	made := storage.Device{
		ID: id, Serial: "C02" + id, HardwareUUID: "uuid-" + id,
		Key:   ed25519.PublicKey("an ed25519 public key, 32 bytes."),
		Group: protocol.Group{ID: "default", Source: protocol.GroupFromPrimary}, EnrolledAt: enrolledAt,
	}
	for _, token := range tokens {
		made.Tokens = append(made.Tokens, storage.Token{SHA256: secret.Hash(token), IssuedAt: enrolledAt})
	}
	return made
}

func mustSave(t *testing.T, store Store, change storage.Change) {
	t.Helper()
	if err := store.Save(t.Context(), change); err != nil {
		t.Fatalf("Save: %v", err)
	}
}

func mustLoad(t *testing.T, store Store, key storage.Key) storage.Device {
	t.Helper()
	found, err := store.Device(t.Context(), key)
	if err != nil {
		t.Fatalf("Device(%s): %v", key, err)
	}
	return found
}

func wantError(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error is %v, want %v", err, want)
	}
}

func wantEqual(t *testing.T, got, want any) {
	t.Helper()
	if difference := cmp.Diff(want, got); difference != "" {
		t.Fatalf("-want +got:\n%s", difference)
	}
}

func testNotFound(t *testing.T, store Store) {
	for _, key := range []storage.Key{storage.ByID("a"), storage.ByToken("t"), storage.ByMac("s", "u")} {
		_, err := store.Device(t.Context(), key)
		wantError(t, err, storage.ErrNotFound)
		_, err = store.ID(t.Context(), key)
		wantError(t, err, storage.ErrNotFound)
	}
	report, err := store.Report(t.Context(), "a")
	wantError(t, err, nil)
	wantEqual(t, report, storage.Report{})
	history, err := store.History(t.Context(), "a")
	wantError(t, err, nil)
	wantEqual(t, history, storage.History{})
	events, err := store.Events(t.Context(), "a")
	wantError(t, err, nil)
	wantEqual(t, events, storage.EventLog{})
}

func testKeys(t *testing.T, store Store) {
	saved := newDevice("a", "one", "two")
	mustSave(t, store, storage.Change{Device: saved})
	saved.Version = 1
	for _, key := range []storage.Key{
		storage.ByID("a"), storage.ByToken("one"), storage.ByToken("two"),
		storage.ByMac("C02a", "uuid-a"), storage.ByMac("c02A", "UUID-A"),
	} {
		wantEqual(t, mustLoad(t, store, key), saved)
		id, err := store.ID(t.Context(), key)
		wantError(t, err, nil)
		wantEqual(t, id, saved.ID)
	}
}

func testLostKeys(t *testing.T, store Store) {
	mustSave(t, store, storage.Change{Device: newDevice("a", "old", "new")})
	changed := mustLoad(t, store, storage.ByID("a"))
	changed.Tokens = changed.Tokens[1:]
	mustSave(t, store, storage.Change{Device: changed})
	_, err := store.Device(t.Context(), storage.ByToken("old"))
	wantError(t, err, storage.ErrNotFound)
	wantEqual(t, mustLoad(t, store, storage.ByToken("new")).Version, uint64(2))
}

func testStaleVersion(t *testing.T, store Store) {
	mustSave(t, store, storage.Change{Device: newDevice("a")})
	wantError(t, store.Save(t.Context(), storage.Change{Device: newDevice("a")}), storage.ErrConflict)
	ahead := newDevice("b")
	ahead.Version = 7
	wantError(t, store.Save(t.Context(), storage.Change{Device: ahead}), storage.ErrConflict)
}

func testOneHolder(t *testing.T, store Store) {
	mustSave(t, store, storage.Change{Device: newDevice("a", "token")})
	sameToken := newDevice("b", "token")
	wantError(t, store.Save(t.Context(), storage.Change{Device: sameToken}), storage.ErrConflict)
	sameMac := newDevice("c")
	sameMac.Serial, sameMac.HardwareUUID = "C02a", "uuid-a"
	wantError(t, store.Save(t.Context(), storage.Change{Device: sameMac}), storage.ErrConflict)
}

func testNothingLeft(t *testing.T, store Store) {
	mustSave(t, store, storage.Change{Device: newDevice("a", "token")})
	refused := newDevice("b", "fresh", "token")
	wantError(t, store.Save(t.Context(), storage.Change{Device: refused, Report: &storage.Report{Truncated: true}}), storage.ErrConflict)
	for _, key := range []storage.Key{storage.ByID("b"), storage.ByToken("fresh")} {
		_, err := store.Device(t.Context(), key)
		wantError(t, err, storage.ErrNotFound)
		_, err = store.ID(t.Context(), key)
		wantError(t, err, storage.ErrNotFound)
	}
	report, err := store.Report(t.Context(), "b")
	wantError(t, err, nil)
	wantEqual(t, report, storage.Report{})
}

func testReports(t *testing.T, store Store) {
	vm := protocol.VM{VMKey: protocol.VMKey{ID: "id", UID: 501}, Owner: "alice", Name: "Windows", Gaps: map[string]protocol.Code{"cpu": protocol.CodeNotShown}}
	report := storage.Report{Host: protocol.Host{Serial: "C02a"}, Rows: []storage.Row{{VM: vm, FirstSeenAt: enrolledAt}}}
	history := storage.History{Rows: []storage.PastRow{{Row: storage.Row{VM: vm}, RemovedAt: enrolledAt}}}
	events := storage.EventLog{Last: 7, Events: []storage.KeptEvent{{Number: 7, ReceivedAt: enrolledAt, Epoch: "e", Event: protocol.Event{Seq: 3, At: enrolledAt, Type: "vm_added"}}}}
	mustSave(t, store, storage.Change{Device: newDevice("a"), Report: &report, History: &history, Events: &events})
	mustSave(t, store, storage.Change{Device: mustLoad(t, store, storage.ByID("a"))})
	gotReport, err := store.Report(t.Context(), "a")
	wantError(t, err, nil)
	wantEqual(t, gotReport, report)
	gotHistory, err := store.History(t.Context(), "a")
	wantError(t, err, nil)
	wantEqual(t, gotHistory, history)
	gotEvents, err := store.Events(t.Context(), "a")
	wantError(t, err, nil)
	wantEqual(t, gotEvents, events)
	size, err := store.Size(t.Context())
	wantError(t, err, nil)
	if size < 500 {
		t.Fatalf("the store has %d bytes", size)
	}
}

func testPages(t *testing.T, store Store) {
	for _, id := range []string{"c", "a", "d", "b"} {
		mustSave(t, store, storage.Change{Device: newDevice(id)})
	}
	for _, page := range []struct {
		after string
		limit int
		want  string
	}{{"", 3, "abc"}, {"c", 3, "d"}, {"d", 3, ""}, {"bb", 1, "c"}, {"", 9, "abcd"}} {
		ids, err := store.IDs(t.Context(), page.after, page.limit)
		wantError(t, err, nil)
		wantEqual(t, strings.Join(ids, ""), page.want)
	}
}

func testCopies(t *testing.T, store Store) {
	saved := newDevice("a", "token")
	mustSave(t, store, storage.Change{Device: saved})
	saved.Tokens[0].SHA256 = "changed after it was saved"
	read := mustLoad(t, store, storage.ByID("a"))
	read.Tokens[0].SHA256 = "changed after it was read"
	wantEqual(t, mustLoad(t, store, storage.ByID("a")).Tokens[0].SHA256, secret.Hash("token"))
}

func testConcurrentChanges(t *testing.T, store Store) {
	mustSave(t, store, storage.Change{Device: newDevice("a")})
	read := mustLoad(t, store, storage.ByID("a"))
	results := make([]error, 8)
	var group sync.WaitGroup
	for i := range results {
		group.Go(func() {
			changed := read
			changed.AgentVersion = fmt.Sprint(i)
			results[i] = store.Save(t.Context(), storage.Change{Device: changed})
		})
	}
	group.Wait()
	won := 0
	for i, err := range results {
		if err == nil {
			won++
			wantEqual(t, mustLoad(t, store, storage.ByID("a")).AgentVersion, fmt.Sprint(i))
			continue
		}
		wantError(t, err, storage.ErrConflict)
	}
	wantEqual(t, won, 1)
}

func testTooLarge(t *testing.T, store Store) {
	kept := storage.Report{Host: protocol.Host{ComputerName: strings.Repeat("<", storage.MaxReportBytes/2)}} // as many bytes in the store
	mustSave(t, store, storage.Change{Device: newDevice("a", "token"), Report: &kept})
	device := mustLoad(t, store, storage.ByID("a"))
	long := strings.Repeat("x", storage.MaxReportBytes)
	history := storage.History{Rows: []storage.PastRow{{Row: storage.Row{VM: protocol.VM{Name: long}}}}}
	for _, change := range []storage.Change{
		{Device: device, Report: &storage.Report{Host: protocol.Host{ComputerName: long}}},
		{Device: device, History: &history},
		{Device: device, Events: &storage.EventLog{Events: []storage.KeptEvent{{Event: protocol.Event{Type: long}}}}},
		{Device: newDevice(strings.Repeat("b", storage.MaxDeviceBytes))},
	} {
		wantError(t, store.Save(t.Context(), change), storage.ErrTooLarge)
	}
	wantEqual(t, mustLoad(t, store, storage.ByID("a")), device)
	report, err := store.Report(t.Context(), "a")
	wantError(t, err, nil)
	wantEqual(t, report, kept)
}

func testCanceled(t *testing.T, store Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantError(t, store.Save(ctx, storage.Change{Device: newDevice("a")}), context.Canceled)
	_, err := store.IDs(ctx, "", 1)
	wantError(t, err, context.Canceled)
	_, err = store.Device(t.Context(), storage.ByID("a"))
	wantError(t, err, storage.ErrNotFound)
}

func testLiveIDs(t *testing.T, store Store) {
	for _, id := range []string{"b", "a", "c"} {
		device := newDevice(id)
		device.Serial = "C02 \"x\""
		if id == "c" {
			device.RetiredAt = enrolledAt
		}
		mustSave(t, store, storage.Change{Device: device})
	}
	other := newDevice("d")
	other.Serial = "C02 \"x\" "
	mustSave(t, store, storage.Change{Device: other})
	for serial, want := range map[string]string{`C02 "x"`: "[a b]", `c02 "X"`: "[a b]", "C02": "[]", "": "[]"} {
		ids, err := store.LiveIDs(t.Context(), serial, 10)
		if err != nil || fmt.Sprint(ids) != want {
			t.Errorf("%q: %v, %v, want %s", serial, ids, err, want)
		}
	}
	if ids, err := store.LiveIDs(t.Context(), `C02 "x"`, 1); err != nil || fmt.Sprint(ids) != "[a]" {
		t.Errorf("the first one: %v, %v", ids, err)
	}
}
