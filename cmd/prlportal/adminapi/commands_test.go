package adminapi_test

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"

	"prlagent/cmd/prlportal/adminapi"
	"prlagent/cmd/prlportal/audit"
	"prlagent/cmd/prlportal/fleet"
	"prlagent/cmd/prlportal/portaltest"
	"prlagent/cmd/prlportal/storage"
)

// betweenStore lets something happen between a decision and its save, once.
type betweenStore struct {
	fleet.Store
	mutex  sync.Mutex
	happen func()
}

func (s *betweenStore) Save(ctx context.Context, change storage.Change) error {
	s.mutex.Lock()
	happen := s.happen
	s.happen = nil
	s.mutex.Unlock()
	if happen == nil {
		return s.Store.Save(ctx, change)
	}
	happen()
	return storage.ErrConflict
}

// What was recorded as decided, and was refused when it was decided anew because something
// came between, is recorded as failed: a replay must not do it later (H30).
func TestH30_ADecisionThatIsRefusedInTheEndIsRecordedAsFailed(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	between := &betweenStore{Store: portal.Store}
	portal.Store = between
	portal.Start(t)
	m := portaltest.Enrolled(t, portal)
	command := portal.Issue(t, m.NewCommand("vm.delete", &m.Report.VMs[0], nil))
	between.happen = func() { // another one cancels it
		log, err := between.Commands(t.Context(), m.DeviceID)
		device, failed := between.Device(t.Context(), storage.ByID(m.DeviceID))
		if err != nil || failed != nil || log.Cancel(command.CommandID, storage.By{Admin: "other", At: portal.Clock.Now()}) != nil {
			t.Errorf("%v, %v", err, failed)
		}
		change := storage.Change{Device: device}
		if err := change.KeepCommands(log, portal.Clock.Now()); err != nil {
			t.Error(err)
		}
		if err := between.Store.Save(t.Context(), change); err != nil {
			t.Error(err)
		}
	}
	if got := portal.DecideCommand(t, "cancel", command.CommandID); got.Status != http.StatusBadRequest {
		t.Fatalf("cancel: %d %s", got.Status, got.Body)
	}
	between.happen = func() { portal.Clock.Advance(0) }
	if got := portal.Decide(t, audit.ActionApprove, m.DeviceID, adminapi.Decision{}); got.Status != http.StatusBadRequest {
		t.Fatalf("approve: %d %s", got.Status, got.Body)
	}
	text, err := os.ReadFile(portal.AuditPath())
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Split(strings.TrimSpace(string(text)), "\n"); len(lines) != 3 || !strings.Contains(lines[2], `"outcome":"failed"`) {
		t.Errorf("recorded is\n%s", text)
	}
}

// lineStore sees how many lines the audit log has while a command is being kept.
type lineStore struct {
	fleet.Store
	path string
	t    *testing.T
}

func (s *lineStore) Save(ctx context.Context, change storage.Change) error {
	for range 50 * len(change.Envelopes) {
		runtime.Gosched() // whoever else decides gets on
		text, err := os.ReadFile(s.path)
		if lines := bytes.Count(text, []byte("\n")); err != nil || uint64(lines) != change.Audit.Number {
			s.t.Errorf("line %d is being kept, and the log has %d (%v)", change.Audit.Number, lines, err)
			break
		}
	}
	return s.Store.Save(ctx, change)
}

// Of two operators at the same moment one decides after the other, from the line of the record
// until it is kept: with the line of the other one the database would hide, after a crash in
// between, that the other decision is not kept.
func TestH30_NoDecisionIsRecordedWhileAnotherIsBeingKept(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	portal.Store = &lineStore{Store: portal.Store, path: portal.AuditPath(), t: t}
	portal.Start(t)
	var group sync.WaitGroup
	for _, serial := range []string{"C02A", "C02B", "C02C", "C02D", "C02E", "C02F", "C02G", "C02H"} {
		m := portaltest.NewMac(t, portal, serial)
		m.Enroll(t, http.StatusCreated)
		m.Checkin(t)
		command := m.NewCommand("inventory.refresh", nil, nil)
		group.Go(func() { portal.Issue(t, command) })
	}
	group.Wait()
}
