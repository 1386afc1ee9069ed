package server

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/audit"
	"prlagent/cmd/prlportal/storage"
)

// H30: the database was put back to before a command was issued and another one was
// cancelled; the audit log was not. The command is listed and not sent, the cancel holds,
// and nothing destructive goes to the Mac; what is replayed once is not replayed again.
func TestH30_TheAuditLogIsReplayed(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	id := func() string { return protocol.NewRequestID(now, protocol.RequestID{}).String() }
	kept, issued := id(), id()
	store := storage.NewMemory()
	var commands storage.CommandLog
	target := protocol.CommandTarget{DeviceID: "a", UID: 501, VMID: "vm", Epoch: "e"}
	if err := commands.Add(storage.Command{ID: kept, Type: "vm.delete", Target: target, IssuedAt: now, ExpiresAt: now.Add(time.Hour), Signers: []storage.Signer{{}}}, 1, storage.By{At: now}); err != nil {
		t.Fatal(err)
	}
	change := storage.Change{Device: storage.Device{ID: "a", Serial: "C02", HardwareUUID: "u"}}
	if err := change.KeepCommands(commands, now); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "audit.log")
	log, err := audit.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	record := func(entry audit.Entry) {
		t.Helper()
		entry.Outcome, entry.DeviceID = audit.OutcomeDecided, "a"
		if err := log.Append(entry); err != nil {
			t.Fatal(err)
		}
	}
	record(audit.Entry{Action: audit.ActionCommand, Command: &audit.Command{ID: kept, Type: "vm.delete"}})
	mark := log.Mark()
	change.Audit = &storage.AuditMark{Number: mark.Number, Hash: mark.Hash}
	if err := store.Save(t.Context(), change); err != nil {
		t.Fatal(err)
	}
	record(audit.Entry{Action: audit.ActionCancelCommand, Admin: "op", Command: &audit.Command{ID: kept}})
	record(audit.Entry{Action: audit.ActionCommand, Command: &audit.Command{ID: issued, Type: "vm.delete", IssuedAt: now, ExpiresAt: now.Add(time.Hour)}})

	for range 2 {
		if err := replayAudit(t.Context(), path, store, zerolog.Nop(), now); err != nil {
			t.Fatal(err)
		}
	}
	replayed, err := store.Commands(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if replayed.Frozen == nil || len(replayed.Commands) != 2 || replayed.Find(kept).CancelAsked.IsZero() || replayed.Find(issued).State != protocol.CommandUnknown {
		t.Fatalf("commands are %+v", replayed)
	}
	sent := replayed.Deliver(storage.CommandWord{Epoch: "e", Sequence: 1, At: now})
	if len(sent.Commands) != 0 || len(sent.Cancel) != 1 {
		t.Errorf("%+v is sent", sent)
	}
	replayed.Thaw(storage.By{At: now})
	change.Device, change.Audit = storage.Device{}, nil
	if change.Device, err = store.Device(t.Context(), storage.ByID("a")); err != nil {
		t.Fatal(err)
	}
	if err := change.KeepCommands(replayed, now); err != nil {
		t.Fatal(err)
	}
	if err := store.Save(t.Context(), change); err != nil {
		t.Fatal(err)
	}
	if err := replayAudit(t.Context(), path, store, zerolog.Nop(), now); err != nil {
		t.Fatal(err)
	}
	if again, err := store.Commands(t.Context(), "a"); err != nil || again.Frozen != nil {
		t.Errorf("what an administrator confirmed is frozen again: %+v, %v", again.Frozen, err)
	}
}
